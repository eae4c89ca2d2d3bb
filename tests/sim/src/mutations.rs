//! Every promise broken once, and whether the simulation notices: if it does not, the simulation is wrong.
//!
//! Must not know how a break works; that stands where the rule is kept, in the log itself.

use strandline_core::mutation::Mutation as M;

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

/// A break that must be noticed.
#[derive(Debug, Clone)]
pub struct Break {
    /// Its name.
    pub name: String,
    /// What is broken.
    pub broken: Broken,
    /// A seed that noticed it when this was written: the first that is worth a try.
    pub known_seed: u64,
}

/// Rules, and a seed that notices their break.
const RULES: [(M, u64); 59] = [
    (M::AckBeforeFold, 0),
    (M::ExistsIsSuccess, 0),
    (M::ExistsIsLoss, 3),
    (M::NoLeaseForWriter, 36),
    (M::NoLeaseForReader, 160),
    (M::NoFloorOnLoad, 462),
    (M::UnknownCleansUp, 2),
    (M::TimeoutIsRefusal, 3),
    (M::PointerBeforeBytes, 1),
    (M::FourBatchWindow, 11),
    (M::HashOrderInFold, 0),
    (M::LocalClockInFold, 0),
    (M::DuplicateAppended, 0),
    (M::OvertakenIsFinal, 0),
    (M::LoserLosesItsPlace, 11),
    (M::CheckpointTooFar, 0),
    (M::OutOfRangeFromStale, 1),
    (M::UnknownTopicFromStale, 0),
    (M::StaleListOffsets, 0),
    (M::CrcNotChecked, 7),
    (M::OffsetsNotStamped, 0),
    (M::DamagedSlotIsFinal, 3),
    (M::DamagedRecordsKept, 88),
    (M::DamagedBlockKept, 334),
    (M::GapOverlooked, 468),
    (M::ZeroIsABeginning, 3),
    (M::CloneTakenForOwn, 45),
    (M::StandstillOverlooked, 33),
    (M::RidersOvertake, 11),
    (M::StaleGenerationCommits, 11),
    (M::GroupVersionIgnored, 7),
    (M::AssignedBeforeFold, 9),
    (M::StaleOffsetFetch, 8),
    (M::CoordinatorNeverReloads, 29),
    (M::LogStartForgotten, 6),
    (M::UndecidedIsStable, 4),
    (M::AbortForgotten, 8),
    (M::AnyBatchJoins, 8),
    (M::LateChangeTaken, 10),
    (M::LateOffsetsTaken, 21),
    (M::ZombieNotFenced, 8),
    (M::InitKeepsOpen, 8),
    (M::AbortedTooEarly, 4),
    (M::AbortCommitsOffsets, 8),
    (M::OffsetsNotHeldBack, 4),
    (M::UnstableOffsetsTold, 4),
    (M::SwapsUnchecked, 6),
    (M::SwapsUndecided, 4),
    (M::IndexUnchecked, 6),
    (M::CompactsUndecided, 4),
    (M::AbortedCompacts, 67),
    (M::TombstonesTooEarly, 35),
    (M::RetentionUnchecked, 112),
    (M::StaleOutputsTaken, 0),
    (M::MarkersLost, 4),
    (M::AbortedNotIndexed, 11),
    (M::ExpiresByOwnClock, 17),
    (M::DamagedMerged, 31),
    (M::MergedTooEarly, 27),
];

/// All of them.
pub fn all() -> Vec<Break> {
    let stores = [(Flaw::IgnoresCondition, 0), (Flaw::ChecksThenActs, 0), (Flaw::ForgetsWrites, 0)];
    let rules = RULES.into_iter().map(|(rule, known_seed)| Break {
        name: format!("{rule:?}"),
        broken: Broken::Rule(rule),
        known_seed,
    });
    let stores = stores.into_iter().map(|(flaw, known_seed)| Break {
        name: format!("Store{flaw:?}"),
        broken: Broken::Store(flaw),
        known_seed,
    });
    rules.chain(stores).collect()
}

/// Runs seeds from `first` on, at most `most` of them, until one notices the break.
pub fn hunt(one: &Break, first: u64, most: u64) -> Caught {
    for seed in first..first + most {
        let mut report = run(seed, one.broken, false);
        if !report.violations.is_empty() {
            let by = Some((seed, report.violations.swap_remove(0)));
            return Caught { name: one.name.clone(), by, seeds: seed - first + 1 };
        }
    }
    Caught { name: one.name.clone(), by: None, seeds: most }
}
