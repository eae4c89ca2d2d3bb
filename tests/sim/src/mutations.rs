//! Every promise broken once, and whether the simulation notices: if it does not, the simulation is wrong.
//!
//! Must not know how a break works; that stands where the rule is kept, in the log itself.

use strandline_core::mutation::Mutation;

use crate::bucket::Flaw;
use crate::run::{Broken, Violation, run};

/// One break and how it was noticed.
#[derive(Debug)]
pub struct Caught {
    /// Its name.
    pub name: String,
    /// The first seed that noticed, and the first promise that it found broken; `None`: no seed did.
    pub by: Option<(u64, Violation)>,
    /// Seeds tried.
    pub seeds: u64,
}

/// All of them, with their names.
pub fn all() -> Vec<(String, Broken)> {
    use Mutation as M;
    let rules = [
        M::AckBeforeFold,
        M::ExistsIsSuccess,
        M::ExistsIsLoss,
        M::NoLeaseForWriter,
        M::NoLeaseForReader,
        M::NoFloorOnLoad,
        M::UnknownCleansUp,
        M::TimeoutIsRefusal,
        M::PointerBeforeBytes,
        M::FourBatchWindow,
        M::HashOrderInFold,
        M::LocalClockInFold,
        M::DuplicateAppended,
        M::OvertakenIsFinal,
        M::LoserLosesItsPlace,
        M::CheckpointTooFar,
        M::OutOfRangeFromStale,
        M::UnknownTopicFromStale,
        M::StaleListOffsets,
        M::CrcNotChecked,
        M::OffsetsNotStamped,
        M::DamagedSlotIsFinal,
        M::DamagedRecordsKept,
        M::DamagedBlockKept,
        M::GapOverlooked,
        M::CloneTakenForOwn,
    ];
    let stores = [Flaw::IgnoresCondition, Flaw::ChecksThenActs, Flaw::ForgetsWrites];
    let rules = rules.into_iter().map(|rule| (format!("{rule:?}"), Broken::Rule(rule)));
    let stores = stores.into_iter().map(|flaw| (format!("Store{flaw:?}"), Broken::Store(flaw)));
    rules.chain(stores).collect()
}

/// Runs seeds from `first` on, at most `most` of them, until one notices the break.
pub fn hunt(name: &str, broken: Broken, first: u64, most: u64) -> Caught {
    for seed in first..first + most {
        let mut report = run(seed, broken, false);
        if !report.violations.is_empty() {
            let by = Some((seed, report.violations.swap_remove(0)));
            return Caught { name: name.to_owned(), by, seeds: seed - first + 1 };
        }
    }
    Caught { name: name.to_owned(), by: None, seeds: most }
}
