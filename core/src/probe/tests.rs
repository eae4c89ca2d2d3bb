//! Stores that must not hold a log, and one that may.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use super::*;
use crate::error::Kind;
use crate::testing::{Bucket, Dice, Flaw, Machine, Rates, for_seeds_paused};

/// Each of these was shipped by a server that speaks S3.
#[tokio::test(start_paused = true)]
async fn unsafe_stores_are_refused_with_the_reason() {
    let table = [
        (Flaw::IgnoresCondition, "32 of 32 writers were told that they had won"),
        (Flaw::ChecksThenActs, "writers were told that they had won: If-None-Match is ignored or not atomic"),
        (Flaw::OverwritesWhenRefusing, "what was read is not what the winner wrote"),
        (Flaw::ListsNothing, "the object was missing from the listing"),
    ];
    for (flaw, why) in table {
        let machine = Machine::new(&Bucket::new(), 1);
        machine.faults.set_flaw(flaw);
        let error = refuse_unsafe(&machine.store, machine.store.env()).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Unsupported, "{flaw:?}");
        let message = error.to_string();
        assert!(message.starts_with("memory: is not safe to keep a log in: it must hold that"), "{message}");
        assert!(message.contains(why), "{flaw:?}: {message}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_safe_store_is_taken_and_left_clean() {
    let (bucket, machine) = {
        let bucket = Bucket::new();
        let machine = Machine::new(&bucket, 1);
        (bucket, machine)
    };
    let findings = probe(&machine.store, machine.store.env()).await.unwrap();
    assert_eq!(findings.len(), 5);
    assert!(findings.iter().all(|finding| finding.outcome.is_ok()), "{findings:?}");
    assert!(crate::testing::contents(&bucket, "").await.is_empty());
}

/// Lost answers and repeated requests are no reason to refuse a store.
#[test]
fn a_safe_store_on_a_bad_day_is_not_called_unsafe() {
    for_seeds_paused(100, |seed| async move {
        let machine = Machine::new(&Bucket::new(), seed);
        machine.faults.set_rates(Rates::drawn(&mut Dice::new(seed)));
        if let Err(error) = refuse_unsafe(&machine.store, machine.store.env()).await {
            assert_ne!(error.kind(), Kind::Unsupported, "{error}");
        }
    });
}
