//! Looks at what the nodes hold while they run: what two nodes have folded to the same slot must be the same, and what a
//! node keeps of a slot is what lies there.
//!
//! Must not know what is right; the checkers fold the bucket and compare. A node that gives up is noticed here, and
//! started again, as an operator's supervisor would.

use std::hash::{DefaultHasher, Hasher};
use std::sync::Arc;
use std::time::Duration;

use strandline_core::Error;
use strandline_core::manifest::{Journal, ObjectId, checkpoint};
use tokio::time::sleep;

use crate::history::Audit;
use crate::world::World;

/// The newest slots that are looked at.
const COMPARED: u64 = 40;

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

/// Bytes that were damaged on their way must not stay: readers of this node would get nothing but errors.
pub(crate) fn compare_tail(world: &World, machine: &str, journal: &Journal) {
    let applied = journal.view(|manifest| manifest.applied);
    for slot in applied.saturating_sub(COMPARED)..=applied {
        let Some(kept) = journal.tail().get(&ObjectId::Slot(slot)) else { continue };
        // The first content: what a sleeper puts where a slot was deleted is no part of the log.
        if world.bucket.slot(slot).is_some_and(|there| there != kept.to_bytes()) {
            world.violated("J10", format!("{machine} keeps other bytes of slot {slot} than lie there"));
        }
    }
}

/// What is among the open transactions must be open, or nobody ever ends it.
pub(crate) fn check_open(world: &World, machine: &str, journal: &Journal) {
    let closed = journal.view(|manifest| {
        let mut open = manifest.open_transactions();
        open.find(|(_, of)| !of.is_ongoing()).map(|(id, of)| format!("{id}: {of:?}"))
    });
    if let Some(closed) = closed {
        world.violated("K6", format!("{machine} takes a transaction for open that is not: {closed}"));
    }
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
                    compare_tail(&world, &machine.name, &journal);
                    check_open(&world, &machine.name, &journal);
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
