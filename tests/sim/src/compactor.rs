//! The production compactor inside a node: at work while clients are, and once in a while at night.
//!
//! Must not know the plan of the run, nor what is worth compacting. What it has begun is given up wherever it stands when
//! the time of day changes: that is one more way in which a compactor may die.

use std::ops::ControlFlow;
use std::time::Duration;

use fastrand::Rng;
use strandline_compactor::sweep::Sweep;
use strandline_compactor::{Compactor, Config, Turn};
use strandline_core::manifest::Journal;
use tokio::sync::watch;
use tokio::time::timeout;

/// Longer than any run.
pub(crate) const NEVER: Duration = Duration::from_secs(10 * 365 * 86_400);

/// How much compactors do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Duty {
    /// All that they can.
    Busy,
    /// One pass every few hours: simulated nights are long.
    Seldom,
    /// Nothing.
    Never,
}

/// Works until the process ends.
pub(crate) async fn run(journal: Journal, config: Config, mut duty: watch::Receiver<Duty>, mut dice: Rng) {
    loop {
        let now = *duty.borrow_and_update();
        let compactor = Compactor::new(journal.clone(), config.clone());
        match now {
            Duty::Busy => tokio::select! {
                biased;
                Ok(()) = duty.changed() => {}
                () = compactor.run(|| Turn::Busy) => return,
            },
            Duty::Seldom => {
                let pause = Duration::from_secs(dice.u64(1_800..36_000));
                if timeout(pause, duty.changed()).await.is_err() {
                    pass(compactor).await;
                    if config.sweep_every < NEVER {
                        sweep(&journal).await;
                    }
                }
            }
            Duty::Never => return,
        }
    }
}

/// What fails is tried again hours later.
async fn sweep(journal: &Journal) {
    let _ = Sweep::new(journal.clone()).run(&|_| ControlFlow::Continue(())).await;
}

/// The same.
async fn pass(mut compactor: Compactor) {
    let _ = compactor.pass(Turn::Busy, |_| {}).await;
}
