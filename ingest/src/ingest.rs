//! The handle on ingest: admit, append, close.
//!
//! Must not know sockets. A batch is checked here, once, before anything is kept of it; batches appended earlier are
//! sequenced earlier.

use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use strandline_core::manifest::{AppendRules, Change, Joins, Journal, Outcome};
use strandline_core::{Error, env};
use tokio::task::JoinHandle;
use uuid::Uuid;

use crate::ack::{Append, AppendError, Entry, Rider, STOOD_STILL};
use crate::admit::{Admission, Gate};
use crate::batcher::Batcher;
use crate::check::{self, Checked, Now};
use crate::config::Config;
use crate::flush::Flusher;
use crate::metrics;

/// A cheap handle. [`Ingest::close`] flushes what is there; without it, what was not acknowledged may be lost.
#[derive(Debug, Clone)]
pub struct Ingest(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    journal: Journal,
    gate: Gate,
    batcher: Arc<Batcher>,
    flusher: Mutex<Option<JoinHandle<()>>>,
}

impl Ingest {
    /// Starts flushing. Must be called inside a tokio runtime.
    pub fn start(journal: Journal, config: Config) -> Ingest {
        metrics::appear();
        let batcher = Arc::new(Batcher::new(config.full_bytes()));
        let flusher = env::spawn(Flusher::new(journal.clone(), Arc::clone(&batcher), &config).run());
        Ingest(Arc::new(Shared {
            journal,
            gate: Gate::new(config.inflight_bytes),
            batcher,
            flusher: Mutex::new(Some(flusher)),
        }))
    }

    /// Waits until `bytes` fit among those in flight. To be called before a request's body is read.
    pub async fn admit(&self, bytes: usize) -> Result<Admission, AppendError> {
        self.0.gate.admit(self.0.journal.era(), bytes).await.ok_or(AppendError::Closed)
    }

    /// Checks one RecordBatch v2 and takes it in; synchronous, so that the order of calls is the order of records. If it is
    /// part of a transaction, its partition must have been added to that.
    pub fn append(&self, topic: Uuid, partition: u32, batch: Bytes, admission: Admission) -> Append {
        self.append_as(Joins::Added, (topic, partition), batch, admission)
    }

    /// The same; if the batch is part of a transaction, then in this way.
    pub fn append_as(
        &self,
        joins: Joins,
        (topic, partition): (Uuid, u32),
        batch: Bytes,
        admission: Admission,
    ) -> Append {
        let era = admission.era();
        if era != self.0.journal.era() {
            return Append::refused(AppendError::Unavailable(STOOD_STILL.to_owned()));
        }
        let Checked { meta, batch, append_time_ms } = match self.check(topic, partition, batch, joins) {
            Ok(checked) => checked,
            Err(error) => return Append::refused(error),
        };
        metrics::BATCHES.inc();
        metrics::RECORDS.inc_by(u64::from(meta.offsets));
        metrics::BYTES.inc_by(batch.len() as u64);
        let (append, waiter) = Append::waiting(admission, append_time_ms);
        match self.0.batcher.push(era, topic, partition, Entry { meta, bytes: batch, waiter }) {
            Ok(()) => append,
            Err(_) => Append::refused(AppendError::Closed),
        }
    }

    /// The times that records of a topic with these rules may carry now, in milliseconds; `None`: any.
    pub fn times(&self, rules: &AppendRules) -> Option<RangeInclusive<i64>> {
        let journal = &self.0.journal;
        let journal_ms = journal.view(|manifest| manifest.now_ms);
        check::times(rules, Now { wall_ms: journal.env().wall_ms(), journal_ms })
    }

    /// Proposes changes that carry no records, in the commit of the next flush: however many callers there are, they cost
    /// no more PUTs than the flush interval allows. They have their place in the order as soon as this returns, and go on
    /// whether anybody waits for the future or not. One outcome a change.
    ///
    /// # Errors
    /// As [`Journal::propose`]; [`Error::Unknown`] means that they may still take effect.
    pub fn propose(
        &self,
        changes: Vec<Change>,
    ) -> impl Future<Output = Result<Vec<Outcome>, Error>> + Send + use<> {
        let (rider, answer) = Rider::new(changes);
        let taken = self.0.batcher.ride(self.0.journal.era(), rider);
        async move {
            taken?;
            answer.await.unwrap_or_else(|_| Err(Error::Unknown("the node stopped".into())))
        }
    }

    /// Takes nothing more in, flushes what is there and waits until it is decided.
    pub async fn close(&self) {
        self.0.gate.close();
        self.0.batcher.close();
        let flusher = self.0.flusher.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(flusher) = flusher {
            // It ends by itself; had it panicked, there would be nothing left to wait for.
            let _ = flusher.await;
        }
    }

    fn check(&self, topic: Uuid, partition: u32, batch: Bytes, joins: Joins) -> Result<Checked, AppendError> {
        let journal = &self.0.journal;
        let (rules, journal_ms) = journal.view(|manifest| {
            let topic = manifest.topic(&topic).ok_or(AppendError::UnknownTopic)?;
            if partition as usize >= topic.partitions.len() {
                return Err(AppendError::UnknownPartition);
            }
            Ok((topic.rules(), manifest.now_ms))
        })?;
        check::batch(batch, &rules, Now { wall_ms: journal.env().wall_ms(), journal_ms }, joins)
    }
}
