//! Kafka's rules for idempotent producers (KIP-98, `ProducerAppendInfo`), for one partition.
//!
//! Must not know extents. The last five batches of a producer are remembered; an exact duplicate of one of them gets its
//! original offset, a gap or an old epoch is refused, sequence numbers wrap after 2^31 - 1.

use std::collections::{BTreeMap, BTreeSet};

use super::super::commit::{Producer, Void};
use crate::limits::{MAX_PRODUCERS_PER_PARTITION, PRODUCER_EXPIRATION};
use crate::mutation::{self, Mutation};

/// Batches remembered for each producer (Kafka's `NUM_BATCHES_TO_RETAIN`).
pub(crate) const REMEMBERED_BATCHES: usize = 5;

/// One batch that was appended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Remembered {
    pub(crate) sequence: i32,
    pub(crate) offsets: u32,
    pub(crate) base_offset: i64,
}

impl Remembered {
    fn last_sequence(&self) -> i32 {
        wrapping_add(self.sequence, self.offsets - 1)
    }
}

/// What is known of one producer.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct State {
    pub(crate) epoch: i16,
    /// Journal time of its last batch.
    pub(crate) last_ms: i64,
    /// It began with sequence number 0 in this epoch, so that everything before the remembered batches was appended.
    pub(crate) from_zero: bool,
    /// Oldest first, at most [`REMEMBERED_BATCHES`], never empty.
    pub(crate) batches: Vec<Remembered>,
}

/// The transactions that are open in a partition: first offset and producer. Whoever has one may still repeat a batch of it,
/// and is not forgotten.
pub(super) type Open = BTreeSet<(i64, i64)>;

fn producers_of(open: &Open) -> BTreeSet<i64> {
    open.iter().map(|(_, producer)| *producer).collect()
}

/// All producers of a partition.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Producers(pub(crate) BTreeMap<i64, State>);

impl Producers {
    /// Takes the next batch of a producer, or says why not. `Ok(Some(offset))`: it was appended before, there.
    ///
    /// `overtaken`: an earlier commit of the same node is still to come, so that a producer of whom nothing is known may
    /// have its beginning in that one (0 is no proof of a beginning: it follows 2^31 - 1, too); otherwise Kafka takes any
    /// first sequence number.
    pub(super) fn admit(
        &mut self,
        producer: Producer,
        offsets: u32,
        base_offset: i64,
        overtaken: bool,
        (open, now_ms): (&Open, i64),
    ) -> Result<Option<i64>, Void> {
        let batch = Remembered { sequence: producer.sequence, offsets, base_offset };
        if producer.id < 0 || producer.epoch < 0 || producer.sequence < 0 {
            return Err(Void::Malformed);
        }
        match self.0.get_mut(&producer.id) {
            None if overtaken && !takes_zero_for_a_beginning(producer) => Err(Void::OutOfOrderSequence),
            None => {
                self.make_room(open);
                self.0.insert(producer.id, State::new(producer.epoch, batch, now_ms));
                Ok(None)
            }
            Some(state) => state.admit(producer.epoch, batch, now_ms),
        }
    }

    /// Forgets those whose last batch is too long ago.
    pub(super) fn expire(&mut self, open: &Open, now_ms: i64) {
        let open = producers_of(open);
        let before = now_ms.saturating_sub(PRODUCER_EXPIRATION.as_millis() as i64);
        self.0.retain(|id, state| state.last_ms > before || open.contains(id));
    }

    fn make_room(&mut self, open: &Open) {
        if self.0.len() < MAX_PRODUCERS_PER_PARTITION {
            return;
        }
        let open = producers_of(open);
        let others = self.0.iter().filter(|(id, _)| !open.contains(id));
        let silent_longest = others.min_by_key(|(id, state)| (state.last_ms, **id)).map(|(id, _)| *id);
        if let Some(id) = silent_longest {
            self.0.remove(&id);
        }
    }
}

impl State {
    /// -1: there is none.
    pub(super) fn last_sequence(&self) -> i32 {
        self.batches.last().map_or(-1, Remembered::last_sequence)
    }

    fn new(epoch: i16, first: Remembered, now_ms: i64) -> State {
        State { epoch, last_ms: now_ms, from_zero: first.sequence == 0, batches: vec![first] }
    }

    fn admit(&mut self, epoch: i16, batch: Remembered, now_ms: i64) -> Result<Option<i64>, Void> {
        if epoch < self.epoch {
            return Err(Void::InvalidProducerEpoch);
        }
        if epoch > self.epoch {
            if batch.sequence != 0 {
                return Err(Void::OutOfOrderSequence);
            }
            *self = State::new(epoch, batch, now_ms);
            return Ok(None);
        }
        let same = |known: &&Remembered| known.sequence == batch.sequence && known.offsets == batch.offsets;
        if let Some(known) = self.batches.iter().find(same)
            && !mutation::is(Mutation::DuplicateAppended)
        {
            return Ok(Some(known.base_offset));
        }
        let last = self.last_sequence();
        let again =
            mutation::is(Mutation::DuplicateAppended) && self.batches.iter().any(|known| same(&known));
        if batch.sequence != wrapping_add(last, 1) && !again {
            let oldest = self.batches.first().map_or(0, |oldest| oldest.sequence);
            // Kafka 4 says "out of order" here, too, and its clients then begin anew under a new epoch, and write the batch
            // twice. "Duplicate" they take for success: it may be given only if the batch was surely appended.
            let forgotten = self.from_zero && behind(batch.last_sequence(), oldest);
            return Err(if forgotten { Void::DuplicateSequence } else { Void::OutOfOrderSequence });
        }
        if self.batches.len() >= REMEMBERED_BATCHES - usize::from(mutation::is(Mutation::FourBatchWindow)) {
            self.batches.remove(0);
        }
        self.batches.push(batch);
        self.last_ms = now_ms;
        Ok(None)
    }
}

fn takes_zero_for_a_beginning(producer: Producer) -> bool {
    mutation::is(Mutation::ZeroIsABeginning) && producer.sequence == 0
}

/// Sequence numbers count 0 to 2^31 - 1 and begin anew.
fn wrapping_add(sequence: i32, by: u32) -> i32 {
    ((i64::from(sequence) + i64::from(by)) % (1 << 31)) as i32
}

/// Whether `a` comes before `b`, on the shorter way round.
fn behind(a: i32, b: i32) -> bool {
    let ahead = (i64::from(b) - i64::from(a)).rem_euclid(1 << 31);
    ahead != 0 && ahead < 1 << 30
}
