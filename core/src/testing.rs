//! What the tests of this crate share: seeded dice, a clock that can be set, a store that fails on demand.
//!
//! Never part of a program. Must not know what is tested.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod faulty;

pub(crate) use faulty::{Faulty, Flaw, Gate, PutFault, Rates, contents};

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};

use object_store::memory::InMemory;
use object_store::path::Path;
use tokio::time::Instant;

use crate::env::{Clock, Env};
use crate::store::{Provider, Store};

/// Numbers that look random and are the same for the same seed (splitmix64).
#[derive(Debug, Clone)]
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Dice {
        Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x5851_f42d_4c95_7f2d)
    }

    pub(crate) fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// From 0 to one below `end`.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.draw() % end.max(1)
    }

    pub(crate) fn between(&mut self, from: u64, to: u64) -> u64 {
        from + self.below(to - from + 1)
    }

    pub(crate) fn per_mille(&mut self, chance: u64) -> bool {
        self.below(1_000) < chance
    }

    pub(crate) fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len() as u64) as usize]
    }

    pub(crate) fn u128(&mut self) -> u128 {
        u128::from(self.draw()) << 64 | u128::from(self.draw())
    }
}

/// Runs `one` for many seeds; says which seed failed. `STRANDLINE_SEED` runs a single one.
pub(crate) fn for_seeds(count: u64, one: impl Fn(u64)) {
    if let Some(seed) = std::env::var("STRANDLINE_SEED").ok().and_then(|seed| seed.parse().ok()) {
        return one(seed);
    }
    let count = std::env::var("STRANDLINE_SEEDS").ok().and_then(|count| count.parse().ok()).unwrap_or(count);
    for seed in 0..count {
        let failed = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| one(seed)));
        if let Err(panic) = failed {
            eprintln!("failed with STRANDLINE_SEED={seed}");
            std::panic::resume_unwind(panic);
        }
    }
}

/// Runs `one` for many seeds, each on a runtime of its own whose time stands still until nothing else is left to do.
pub(crate) fn for_seeds_paused<F: Future<Output = ()>>(count: u64, one: impl Fn(u64) -> F) {
    for_seeds(count, |seed| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
        runtime.unwrap().block_on(one(seed));
    });
}

/// A clock that follows tokio's and can be set at will.
#[derive(Debug, Clone)]
pub(crate) struct TestClock(Arc<Hands>);

#[derive(Debug)]
struct Hands {
    begun: Instant,
    wall_ahead_ms: AtomicI64,
    boot_ahead_ms: AtomicI64,
    dice: Mutex<Dice>,
}

/// 2026-01-01, when every test begins.
pub(crate) const EPOCH_MS: i64 = 1_767_225_600_000;

impl TestClock {
    pub(crate) fn new(begun: Instant, seed: u64) -> TestClock {
        let (wall_ahead_ms, boot_ahead_ms) = (AtomicI64::new(0), AtomicI64::new(0));
        let dice = Mutex::new(Dice::new(seed));
        TestClock(Arc::new(Hands { begun, wall_ahead_ms, boot_ahead_ms, dice }))
    }

    pub(crate) fn move_wall(&self, by_ms: i64) {
        self.0.wall_ahead_ms.fetch_add(by_ms, Ordering::Relaxed);
    }

    pub(crate) fn move_boot(&self, by_ms: i64) {
        self.0.boot_ahead_ms.fetch_add(by_ms, Ordering::Relaxed);
    }

    fn elapsed_ms(&self) -> i64 {
        self.0.begun.elapsed().as_millis() as i64
    }
}

impl Clock for TestClock {
    fn wall_ms(&self) -> i64 {
        EPOCH_MS + self.elapsed_ms() + self.0.wall_ahead_ms.load(Ordering::Relaxed)
    }

    fn boot_ms(&self) -> u64 {
        (1_000_000_000 + self.elapsed_ms() + self.0.boot_ahead_ms.load(Ordering::Relaxed)) as u64
    }

    fn entropy(&self) -> u128 {
        self.0.dice.lock().unwrap().u128()
    }
}

/// What several machines share: the objects, and the time at which it all began. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Bucket {
    objects: Arc<InMemory>,
    begun: Instant,
}

impl Bucket {
    pub(crate) fn new() -> Bucket {
        Bucket { objects: Arc::new(InMemory::new()), begun: Instant::now() }
    }
}

impl std::ops::Deref for Bucket {
    type Target = InMemory;

    fn deref(&self) -> &InMemory {
        &self.objects
    }
}

/// One process' way to a bucket that several share.
#[derive(Debug, Clone)]
pub(crate) struct Machine {
    pub(crate) store: Store,
    pub(crate) faults: Arc<Faulty>,
    pub(crate) clock: TestClock,
}

impl Machine {
    pub(crate) fn new(bucket: &Bucket, seed: u64) -> Machine {
        let clock = TestClock::new(bucket.begun, seed);
        let faults = Arc::new(Faulty::new(Arc::clone(&bucket.objects), seed));
        let objects = Arc::clone(&faults) as _;
        let store =
            Store::new(objects, Path::default(), Provider::Memory, "memory:", Env::new(clock.clone()));
        Machine { store, faults, clock }
    }
}
