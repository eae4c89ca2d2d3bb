//! Everything that happened, in order: a fingerprint always, the text when somebody wants to read it.
//!
//! Must not know what the lines mean. Two runs are the same run if their fingerprints are.

use std::fmt::Arguments;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex};

use tokio::time::Instant;

/// A handle on one run's trace. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Trace {
    begun: Instant,
    lines: Arc<Mutex<Lines>>,
}

#[derive(Debug, Default)]
struct Lines {
    keep: bool,
    text: Vec<String>,
    count: u64,
    // The standard hasher with its fixed keys: the same in every run.
    fingerprint: DefaultHasher,
}

impl Trace {
    /// Begins now. `keep`: the text is wanted, not just its fingerprint.
    pub(crate) fn new(keep: bool) -> Trace {
        let lines = Lines { keep, ..Lines::default() };
        Trace { begun: Instant::now(), lines: Arc::new(Mutex::new(lines)) }
    }

    /// Milliseconds of simulated time since the run began.
    pub(crate) fn now_ms(&self) -> u64 {
        self.begun.elapsed().as_millis() as u64
    }

    /// One line: who, and what.
    pub(crate) fn note(&self, who: &str, what: Arguments<'_>) {
        let line = format!("{:>12} {who:<12} {what}", self.now_ms());
        let mut lines = self.lines.lock().unwrap();
        line.hash(&mut lines.fingerprint);
        lines.count += 1;
        if lines.keep {
            lines.text.push(line);
        }
    }

    pub(crate) fn fingerprint(&self) -> u64 {
        self.lines.lock().unwrap().fingerprint.finish()
    }

    pub(crate) fn count(&self) -> u64 {
        self.lines.lock().unwrap().count
    }

    pub(crate) fn take_text(&self) -> Vec<String> {
        std::mem::take(&mut self.lines.lock().unwrap().text)
    }
}
