//! Looks at what the nodes hold while they run: what two nodes have folded to the same slot must be the same.
//!
//! Must not know what is right; the checkers fold the bucket and compare. A node that gives up is noticed here, and
//! started again, as an operator's supervisor would.

use std::hash::{DefaultHasher, Hasher};
use std::sync::Arc;
use std::time::Duration;

use strandline_core::Error;
use strandline_core::manifest::{Journal, checkpoint};
use tokio::time::sleep;

use crate::history::Audit;
use crate::world::World;

/// A manifest's fingerprint.
pub(crate) fn fingerprint(encoded: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write(encoded);
    hasher.finish()
}

/// What a node holds now.
pub(crate) fn audit(machine: &str, journal: &Journal) -> Audit {
    let (applied, encoded) = journal.view(|manifest| (manifest.applied, checkpoint::encode(manifest)));
    Audit { machine: machine.to_owned(), applied, fingerprint: fingerprint(&encoded) }
}

/// Looks around every few seconds until the run ends.
pub(crate) async fn run(world: Arc<World>) {
    while !world.at_work().await {
        for machine in &world.machines {
            let Some(journal) = machine.journal() else { continue };
            match journal.health() {
                Ok(()) => {
                    let audit = audit(&machine.name, &journal);
                    world.history().audits.push(audit);
                    let (held, most) = (journal.tail().bytes(), world.plan.limits.tail_bytes);
                    if held > most {
                        world.violated(
                            "X1",
                            format!("{}: the tail holds {held} bytes, {most} are allowed", machine.name),
                        );
                    }
                }
                // Killed a moment ago.
                Err(Error::Closed) => {}
                Err(error) => {
                    world.violated("J10", format!("{} gave up: {error}", machine.name));
                    machine.kill();
                    let machine = Arc::clone(machine);
                    tokio::spawn(async move { machine.start().await });
                }
            }
        }
        sleep(Duration::from_millis(2_700)).await;
    }
}
