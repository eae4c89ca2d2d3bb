//! Compaction and what it leaves: bytes written anew against bytes that are merely copied, and everything read back.
//!
//! Must not know how compaction works. Both are told by the second and by the second of a processor: in a node, compaction
//! shares the machine with live traffic.

use anyhow::Result;
use strandline_compactor::plan::Policy;
use strandline_compactor::{Compactor, Config, Turn};
use strandline_core::manifest::{Journal, journal};
use strandline_core::store::Store;
use tokio::time::Instant;

use super::raw;
use super::report::{Figures, mib_per_second};

/// Seconds, and seconds of all processors, since a moment.
pub(super) struct Spent {
    begun: Instant,
    processor: f64,
}

impl Spent {
    pub(super) fn begin() -> Spent {
        Spent { begun: Instant::now(), processor: processor_seconds() }
    }

    fn seconds(&self) -> (f64, f64) {
        (self.begun.elapsed().as_secs_f64(), processor_seconds() - self.processor)
    }
}

fn processor_seconds() -> f64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    now.tv_sec as f64 + now.tv_nsec as f64 / 1e9
}

/// Objects of the store alone, read and written again; then all of the log, into chunks.
pub(super) async fn compact(store: &Store, figures: &mut Figures) -> Result<()> {
    let spent = Spent::begin();
    let bytes = raw::copy(store).await?;
    let (seconds, processor) = spent.seconds();
    figures.set("raw_copy_mib_s", mib_per_second(bytes, seconds));
    figures.set("raw_copy_mib_cpu_s", mib_per_second(bytes, processor));

    let options = journal::Options { tail_bytes: 0, ..journal::Options::default() };
    let journal = Journal::open(store.clone(), options).await?;
    let config = Config { policy: Policy::everything(), ..Config::default() };
    let mut compactor = Compactor::new(journal.clone(), config);
    let spent = Spent::begin();
    let done = compactor.pass(Turn::Busy, |_| {}).await?;
    let (seconds, processor) = spent.seconds();
    journal.close().await;
    let bytes = usize::try_from(done.bytes)?;
    figures.set("compact_mib_s", mib_per_second(bytes, seconds));
    figures.set("compact_mib_cpu_s", mib_per_second(bytes, processor));
    Ok(())
}
