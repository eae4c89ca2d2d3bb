//! The bytes of one run, checked as they come by: its checksum, its batches' checksums, where batches begin and end.
//!
//! Must not know where the bytes come from or what becomes of a finding. Holds 61 bytes of a run at most, however large
//! its batches are.

use crate::record::{BATCH_HEADER_BYTES, BatchHeader, CRC_FROM};

/// Batches side by side that somebody relies on: an extent, or one batch of a commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Span {
    /// From the start of the object.
    pub(super) at: u64,
    pub(super) bytes: u64,
    /// That its batches take; at most, if they have offsets of their own.
    pub(super) offsets: u64,
    /// The base offset of the first batch, where batches have real ones: then they ascend. None: they are as producers sent
    /// them.
    pub(super) from: Option<i64>,
}

impl Span {
    pub(super) fn end(&self) -> u64 {
        self.at.saturating_add(self.bytes)
    }
}

/// What is wrong with a run; the first thing that was met.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Problem {
    /// Of the spans; none: nobody relies on the damaged place, or it is not known.
    pub(super) span: Option<usize>,
    /// Offsets of that span, if it is one batch: first and last, counted from the span's first.
    pub(super) offsets: Option<(u64, u64)>,
    /// The bytes are not those that were written; else they are, and somebody is wrong about them.
    pub(super) damaged: bool,
    pub(super) what: String,
}

#[derive(Debug)]
enum State {
    Head {
        bytes: [u8; BATCH_HEADER_BYTES],
        filled: usize,
    },
    Body {
        batch: Batch,
        left: usize,
        crc: u32,
    },
    /// Where the next batch begins is not known any more.
    Lost,
}

#[derive(Debug, Clone, Copy)]
struct Batch {
    at: u64,
    base_offset: i64,
    bytes: u64,
    offsets: u64,
    crc: u32,
}

const HEAD: State = State::Head { bytes: [0; BATCH_HEADER_BYTES], filled: 0 };

#[derive(Debug)]
pub(super) struct RunCheck {
    at: u64,
    end: u64,
    crc: Option<u32>,
    actual: u32,
    state: State,
    /// By place, inside the run.
    spans: Vec<Span>,
    next: usize,
    /// Offsets up to here in the next span, counted from its first.
    sum: u64,
    problem: Option<Problem>,
}

impl RunCheck {
    /// A run of `bytes` from `at` on. `spans` must be sorted by place and lie inside it.
    pub(super) fn new(at: u64, bytes: u64, crc: Option<u32>, spans: Vec<Span>) -> RunCheck {
        let end = at.saturating_add(bytes);
        let (next, sum, actual) = (0, 0, 0);
        let mut check = RunCheck { at, end, crc, actual, state: HEAD, spans, next, sum, problem: None };
        let overlap = check.spans.windows(2).position(|pair| match pair {
            [one, other] => other.at < one.end(),
            _ => false,
        });
        if let Some(at) = overlap {
            check.disagree(Some(at + 1), "two runs of offsets share bytes");
        }
        check
    }

    /// A run whose bytes are no batches: only its checksum is looked at.
    pub(super) fn of_checksum(at: u64, bytes: u64, crc: u32) -> RunCheck {
        RunCheck { state: State::Lost, ..RunCheck::new(at, bytes, Some(crc), Vec::new()) }
    }

    /// Where the next byte belongs, from the start of the object.
    pub(super) fn at(&self) -> u64 {
        self.at
    }

    pub(super) fn end(&self) -> u64 {
        self.end
    }

    /// The bytes that follow those that came before. They must not go beyond the run.
    pub(super) fn feed(&mut self, mut piece: &[u8]) {
        self.actual = crc32c::crc32c_append(self.actual, piece);
        while !piece.is_empty() {
            let taken = self.take(piece);
            self.at += taken as u64;
            piece = piece.get(taken..).unwrap_or_default();
        }
    }

    /// Takes what belongs to the header or to the body under way.
    fn take(&mut self, piece: &[u8]) -> usize {
        match &mut self.state {
            State::Lost => piece.len(),
            State::Head { bytes, filled } => {
                let room = bytes.get_mut(*filled..).unwrap_or_default();
                let taken = room.len().min(piece.len());
                for (to, from) in room.iter_mut().zip(piece) {
                    *to = *from;
                }
                *filled += taken;
                if *filled == BATCH_HEADER_BYTES {
                    let header = *bytes;
                    self.head(&header, self.at + taken as u64);
                }
                taken
            }
            State::Body { batch, left, crc } => {
                let taken = (*left).min(piece.len());
                *crc = crc32c::crc32c_append(*crc, piece.get(..taken).unwrap_or_default());
                *left -= taken;
                if *left == 0 {
                    let (batch, crc) = (*batch, *crc);
                    self.complete(batch, crc);
                }
                taken
            }
        }
    }

    fn head(&mut self, header: &[u8; BATCH_HEADER_BYTES], upto: u64) {
        let at = upto - BATCH_HEADER_BYTES as u64;
        let fits = |batch: &BatchHeader| at.saturating_add(batch.bytes as u64) <= self.end;
        let batch = match BatchHeader::parse(header) {
            Ok(batch) if fits(&batch) => batch,
            Ok(_) => return self.lose("a batch is longer than the run that it lies in".to_owned()),
            Err(error) => return self.lose(format!("what should be a batch is none ({error})")),
        };
        let crc = crc32c::crc32c(header.get(CRC_FROM..).unwrap_or_default());
        let left = batch.bytes - BATCH_HEADER_BYTES;
        let BatchHeader { base_offset, crc: stored, .. } = batch;
        let (bytes, offsets) = (batch.bytes as u64, u64::from(batch.offsets));
        let batch = Batch { at, base_offset, bytes, offsets, crc: stored };
        match left {
            0 => self.complete(batch, crc),
            _ => self.state = State::Body { batch, left, crc },
        }
    }

    /// A whole batch went by.
    fn complete(&mut self, batch: Batch, crc: u32) {
        self.state = HEAD;
        let end = batch.at + batch.bytes;
        while self.spans.get(self.next).is_some_and(|span| span.end() <= batch.at) {
            self.next_span();
        }
        let Some(span) = self.spans.get(self.next).copied().filter(|span| span.at < end) else { return };
        let index = self.next;
        if let Some(from) = span.from {
            self.place(&span, &batch, from);
        }
        if batch.at < span.at || end > span.end() {
            self.disagree(Some(index), "a run of offsets does not begin and end with a batch");
        } else if crc != batch.crc {
            let offsets = (self.sum, self.sum.saturating_add(batch.offsets).saturating_sub(1));
            self.found(Problem {
                span: Some(index),
                offsets: Some(offsets),
                damaged: true,
                what: "the checksum of a batch does not hold".to_owned(),
            });
        }
        self.sum = self.sum.saturating_add(batch.offsets);
        if end >= span.end() {
            if self.sum != span.offsets && span.from.is_none() {
                self.disagree(Some(index), "its batches take another number of offsets");
            }
            self.next_span();
        }
    }

    /// A batch with an offset of its own: it lies behind those before it, and ends inside the span.
    fn place(&mut self, span: &Span, batch: &Batch, from: i64) {
        let relative = batch.base_offset.checked_sub(from).and_then(|relative| u64::try_from(relative).ok());
        let begins = |relative: &u64| match batch.at == span.at {
            true => *relative == 0,
            false => *relative >= self.sum,
        };
        let ends = |relative: &u64| relative.saturating_add(batch.offsets) <= span.offsets;
        match relative.filter(|relative| begins(relative) && ends(relative)) {
            Some(relative) => self.sum = relative,
            None => {
                self.disagree(Some(self.next), "the offsets of its batches do not ascend where they should")
            }
        }
    }

    fn next_span(&mut self) {
        (self.next, self.sum) = (self.next + 1, 0);
    }

    fn lose(&mut self, what: String) {
        self.state = State::Lost;
        // Without any span left, nobody reads what follows.
        let span = Some(self.next).filter(|next| *next < self.spans.len());
        self.found(Problem { span, offsets: None, damaged: true, what });
    }

    fn disagree(&mut self, span: Option<usize>, what: &str) {
        self.found(Problem { span, offsets: None, damaged: false, what: what.to_owned() });
    }

    fn found(&mut self, problem: Problem) {
        self.problem.get_or_insert(problem);
    }

    /// What was wrong, once all bytes have come.
    pub(super) fn finish(mut self) -> Option<Problem> {
        let cut = match self.state {
            State::Head { filled, .. } => filled > 0,
            State::Body { .. } => true,
            State::Lost => false,
        };
        if cut {
            self.lose("it ends inside a batch".to_owned());
        } else if self.next < self.spans.len() && self.problem.is_none() {
            self.disagree(Some(self.next), "a run of offsets does not begin and end with a batch");
        }
        let holds = self.crc.is_none_or(|crc| crc == self.actual);
        match self.problem {
            // The bytes are not what was written: then nobody is wrong about them.
            Some(problem) if !holds => Some(Problem { damaged: true, ..problem }),
            None if !holds => {
                let what = match self.spans.is_empty() {
                    true => "its checksum does not hold",
                    false => "its checksum does not hold, though those of its batches do",
                };
                let what = what.to_owned();
                Some(Problem { span: None, offsets: None, damaged: true, what })
            }
            // Batches that nobody relies on may be anything.
            problem => problem.filter(|problem| problem.span.is_some()),
        }
    }
}

#[cfg(test)]
mod tests;
