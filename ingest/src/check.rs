//! What a topic asks of a batch: its size, and the keys and times of its records.
//!
//! Must not know who sent it or where it goes. Invariant: a batch of a topic without rules of its own is neither copied nor
//! decompressed, nor are configs read for it.

use std::ops::RangeInclusive;

use bytes::Bytes;
use strandline_core::manifest::{AppendRules, BatchMeta, Joins, Producer};
use strandline_core::record::{self, BatchHeader, Outline};

use crate::ack::{AppendError, Refused};

/// Records that are named when a batch is refused for them.
const NAMED: usize = 100;
/// No time at all, as Kafka writes it.
const NO_TIMESTAMP: i64 = -1;

/// What time it is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Now {
    /// By the clock of the machine.
    pub(crate) wall_ms: i64,
    /// By the commits so far.
    pub(crate) journal_ms: i64,
}

impl Now {
    /// Never behind what others wrote already.
    fn latest_ms(self) -> i64 {
        self.wall_ms.max(self.journal_ms)
    }
}

/// A batch that may be appended.
#[derive(Debug)]
pub(crate) struct Checked {
    pub(crate) meta: BatchMeta,
    pub(crate) batch: Bytes,
    /// The time that its records got; -1: none.
    pub(crate) append_time_ms: i64,
}

/// Checks the batch, and puts the time on its records if the topic wants that.
/// `joins`: how it belongs to a transaction, if it says that it does; it must not if that is nothing.
pub(crate) fn batch(
    batch: Bytes,
    rules: &AppendRules,
    now: Now,
    joins: Joins,
) -> Result<Checked, AppendError> {
    if batch.len() > rules.max_message_bytes {
        return Err(AppendError::TooLarge { bytes: batch.len(), max: rules.max_message_bytes });
    }
    let header = BatchHeader::check(&batch)?;
    if header.transactional() && header.producer_id < 0 {
        return Err(AppendError::Invalid("a transactional batch without a producer id".to_owned()));
    }
    if header.transactional() && joins == Joins::Nothing {
        return Err(AppendError::NotTransactional);
    }
    let times = Times::new(rules, now);
    if let Some(times) = &times {
        times.check_header(&header)?;
    } else if header.append_time() {
        let why = "a producer must not set the timestamp type to LogAppendTime".to_owned();
        return Err(AppendError::InvalidTimestamp(Refused { records: Vec::new(), why }));
    }
    // Only here are records looked at one by one.
    if rules.keyed || times.as_ref().is_some_and(Times::has_lower_bound) {
        check_records(&batch, rules, times.as_ref())?;
    }
    let meta = |max_timestamp| BatchMeta {
        bytes: batch.len() as u32,
        offsets: header.offsets,
        max_timestamp,
        producer: (header.producer_id >= 0).then_some(Producer {
            id: header.producer_id,
            epoch: header.producer_epoch,
            sequence: header.base_sequence,
        }),
        joins: if header.transactional() { joins } else { Joins::Nothing },
    };
    if rules.append_time {
        let append_time_ms = now.latest_ms();
        let batch = record::stamp_append_time(&batch, append_time_ms)?;
        return Ok(Checked { meta: meta(append_time_ms), batch, append_time_ms });
    }
    Ok(Checked { meta: meta(header.max_timestamp), batch, append_time_ms: NO_TIMESTAMP })
}

/// The times that records may carry now; `None`: any, the topic takes no notice of them.
pub(crate) fn times(rules: &AppendRules, now: Now) -> Option<RangeInclusive<i64>> {
    Times::new(rules, now).map(|times| times.from_ms..=times.upto_ms)
}

/// Which times records may carry, where producers give them.
#[derive(Debug)]
struct Times {
    from_ms: i64,
    upto_ms: i64,
}

impl Times {
    /// `None`: the topic takes no notice of them.
    fn new(rules: &AppendRules, now: Now) -> Option<Times> {
        (!rules.append_time).then(|| Times {
            from_ms: match rules.before_max_ms {
                i64::MAX => i64::MIN,
                before => now.wall_ms.saturating_sub(before),
            },
            upto_ms: now.latest_ms().saturating_add(rules.after_max_ms),
        })
    }

    fn has_lower_bound(&self) -> bool {
        self.from_ms > i64::MIN
    }

    fn contain(&self, timestamp: i64) -> bool {
        timestamp == NO_TIMESTAMP || (self.from_ms..=self.upto_ms).contains(&timestamp)
    }

    /// The largest timestamp is in the header, so that no record has to be looked at. A producer that lies there is found
    /// out only where records are looked at anyway.
    fn check_header(&self, header: &BatchHeader) -> Result<(), AppendError> {
        match header.max_timestamp <= self.upto_ms {
            true => Ok(()),
            false => Err(self.refuse(Vec::new())),
        }
    }

    fn refuse(&self, records: Vec<i32>) -> AppendError {
        let Times { from_ms, upto_ms } = self;
        let why = format!("its timestamp is not within [{from_ms}, {upto_ms}]");
        AppendError::InvalidTimestamp(Refused { records, why })
    }
}

/// Looks at every record: compressed ones are unfolded as they are read, within the bounds of the codecs.
fn check_records(batch: &[u8], rules: &AppendRules, times: Option<&Times>) -> Result<(), AppendError> {
    let (mut keyless, mut untimely) = (Vec::new(), Vec::new());
    let name = |records: &mut Vec<i32>, record: &Outline| {
        if records.len() < NAMED {
            records.push(record.offset_delta);
        }
    };
    for record in record::outlines(batch)? {
        let record = record?;
        if rules.keyed && !record.keyed {
            name(&mut keyless, &record);
        }
        if times.is_some_and(|times| !times.contain(record.timestamp)) {
            name(&mut untimely, &record);
        }
    }
    if !keyless.is_empty() {
        let why = "a compacted topic takes no record without a key".to_owned();
        return Err(AppendError::Keyless(Refused { records: keyless, why }));
    }
    match times {
        Some(times) if !untimely.is_empty() => Err(times.refuse(untimely)),
        _ => Ok(()),
    }
}
