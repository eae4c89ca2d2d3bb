//! How far a command has come, on a terminal and only there.
//!
//! Must not know what is counted. Draws on standard error, so that standard output stays what was asked for.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::output;

/// A bar, or nothing. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Progress(ProgressBar);

impl Progress {
    /// Counts bytes; without a total it shows only what has gone by.
    pub(crate) fn bytes(total: Option<u64>, shown: bool) -> Progress {
        let template = match total {
            Some(_) => "{bar:30} {bytes}/{total_bytes}  {binary_bytes_per_sec}  {msg}  {eta} left",
            None => "{spinner} {bytes}  {binary_bytes_per_sec}  {msg}  {elapsed}",
        };
        Progress::new(total, template, shown)
    }

    /// Counts records.
    pub(crate) fn records(total: Option<u64>, shown: bool) -> Progress {
        let template = match total {
            Some(_) => "{bar:30} {human_pos}/{human_len} records  {msg}  {eta} left",
            None => "{spinner} {human_pos} records  {msg}  {elapsed}",
        };
        Progress::new(total, template, shown)
    }

    /// Counts slots of the journal.
    pub(crate) fn slots(total: u64) -> Progress {
        Progress::new(Some(total), "{bar:30} {human_pos}/{human_len} slots  {msg}  {eta} left", true)
    }

    /// Counts objects, whose number nobody knows.
    pub(crate) fn objects() -> Progress {
        Progress::new(None, "{spinner} {human_pos} objects  {msg}  {elapsed}", true)
    }

    /// Counts steps; the message says which one is under way.
    pub(crate) fn steps(total: u64) -> Progress {
        Progress::new(Some(total), "{spinner} {bar:30} {pos}/{len}  {elapsed}  {msg}", true)
    }

    fn new(total: Option<u64>, template: &str, shown: bool) -> Progress {
        let target = match shown && output::is_watched() {
            true => ProgressDrawTarget::stderr_with_hz(10),
            false => ProgressDrawTarget::hidden(),
        };
        let bar = ProgressBar::with_draw_target(total, target);
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        if !bar.is_hidden() {
            bar.enable_steady_tick(Duration::from_millis(200));
        }
        Progress(bar)
    }

    /// So much more is done.
    pub(crate) fn add(&self, count: u64) {
        self.0.inc(count);
    }

    /// So much is done by now, of so much.
    pub(crate) fn reach(&self, done: u64, total: u64) {
        self.0.set_length(total);
        self.0.set_position(done);
    }

    /// So much is done by now.
    pub(crate) fn stand_at(&self, done: u64) {
        self.0.set_position(done);
    }

    /// What is under way, or how fast.
    pub(crate) fn message(&self, text: impl FnOnce() -> String) {
        if !self.0.is_hidden() {
            self.0.set_message(text());
        }
    }

    /// Leaves the line as if nothing had been there.
    pub(crate) fn clear(&self) {
        self.0.finish_and_clear();
    }

    /// Seconds since it began.
    pub(crate) fn seconds(&self) -> f64 {
        self.0.elapsed().as_secs_f64()
    }
}
