//! What every job is done with.
//!
//! Must not know any job.

use strandline_core::manifest::Journal;

use crate::pace::Pace;
use crate::plan::Policy;

/// Handed down to whatever reads or writes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Means<'a> {
    pub(crate) journal: &'a Journal,
    pub(crate) pace: &'a Pace,
    pub(crate) policy: &'a Policy,
}
