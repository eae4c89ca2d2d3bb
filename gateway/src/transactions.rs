//! What requests about transactions have in common: which transaction they mean, and how they are decided; and the end of
//! those that take too long.
//!
//! Must not know any request. Invariants: a change names the transaction that was open when its request came, so that it
//! takes no effect in a later one, however late it is put (KAFKA-17754); whatever is answered was decided in the fold.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use strandline_core::Error;
use strandline_core::manifest::{
    self, Change, EndTransaction, Identity, Manifest, Outcome, Transaction, TransactionOf,
};
use strandline_kafka::error::ErrorCode;
use strandline_reader::Isolation;
use tokio::time::{Instant, sleep, timeout};
use tracing::{debug, info, warn};

use crate::errors;
use crate::limits::{ABORTED_TOGETHER, CATCH_UP_TIMEOUT, TRANSACTION_SWEEP};
use crate::phase::Phase;
use crate::services::Services;

/// Kafka's number of the level.
const READ_COMMITTED: i8 = 1;

/// What a request is about to do to a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Intent {
    /// Begin one, or go on with the open one.
    Join,
    /// End the open one.
    End,
}

/// What a request means that has just come.
#[derive(Debug, Clone)]
pub(crate) struct Meant {
    /// Which transaction.
    pub(crate) of: TransactionOf,
    /// How often it had been given offsets.
    pub(crate) step: u64,
}

/// Which transaction a request of this producer means: the one that is known here now. To be asked before anything else is
/// waited for: what is learned later may be of one that the producer began elsewhere, after it gave up on us. Where what is
/// known is behind, the fold says so, and the producer asks again.
pub(crate) async fn meant(
    services: &Services,
    transactional_id: &str,
    (id, epoch): (i64, i16),
    intent: Intent,
) -> Result<Meant, ErrorCode> {
    if id < 0 || epoch < 0 {
        return Err(ErrorCode::InvalidProducerIdMapping);
    }
    let producer = Identity { id, epoch };
    if transactional_id.is_empty() {
        return Err(ErrorCode::InvalidRequest);
    }
    let look = |manifest: &Manifest| {
        let transaction = manifest.transaction(transactional_id)?;
        let number = match intent {
            Intent::Join => transaction.number_to_join(),
            Intent::End => transaction.number,
        };
        Some((transaction.producer == producer, (number, transaction.next_step())))
    };
    let (number, step) = match services.journal.view(look) {
        Some((true, meant)) => meant,
        _ => {
            services.catch_up().await.map_err(|error| errors::transaction(&error))?;
            match services.journal.view(look) {
                None => return Err(ErrorCode::InvalidProducerIdMapping),
                Some((true, _)) => return Err(ErrorCode::CoordinatorNotAvailable),
                // It is fenced, or has not heard the answer to the raise of its epoch: the fold knows.
                Some((false, meant)) => meant,
            }
        }
    };
    let transactional_id = transactional_id.to_owned();
    Ok(Meant { of: TransactionOf { transactional_id, producer_id: id, epoch, number }, step })
}

/// Proposes the change in the next flush; what the fold made of it, or the code to answer.
pub(crate) async fn decide(services: &Services, change: Change) -> Result<Outcome, ErrorCode> {
    match propose(services, vec![change]).await.map(|mut outcomes| outcomes.pop()) {
        Ok(Some(Outcome::Void(void))) => Err(errors::transaction_void(&void)),
        Ok(Some(outcome)) => Ok(outcome),
        Ok(None) => Err(ErrorCode::UnknownServerError),
        Err(error) => Err(errors::transaction(&error)),
    }
}

async fn propose(services: &Services, changes: Vec<Change>) -> Result<Vec<Outcome>, Error> {
    let decided = timeout(CATCH_UP_TIMEOUT, services.ingest.propose(changes)).await;
    decided.unwrap_or_else(|_| Err(Error::Unknown("no answer in time".into())))
}

/// Of the level that a request names.
pub(crate) fn isolation(level: i8) -> Isolation {
    if level == READ_COMMITTED { Isolation::ReadCommitted } else { Isolation::ReadUncommitted }
}

/// Clients that do not know PRODUCER_FENCED take an old epoch for the same (KIP-588).
pub(crate) fn fenced(code: ErrorCode, version: i16, since: i16) -> ErrorCode {
    match code {
        ErrorCode::ProducerFenced if version < since => ErrorCode::InvalidProducerEpoch,
        code => code,
    }
}

/// Aborts what takes longer than it may, until the node stops. Sleeps while nothing is open.
///
/// Any node may do it, and the fold takes it once. Those that do not look after a transaction leave it to the one that does,
/// for a while.
pub(crate) async fn run(services: Arc<Services>) {
    let mut folded = services.journal.subscribe();
    let mut seen = Seen::new();
    let sweeping = async {
        loop {
            sweep(&services, &mut seen).await;
            if !seen.is_empty() {
                sleep(TRANSACTION_SWEEP).await;
            } else if folded.changed().await.is_err() {
                return;
            }
        }
    };
    tokio::select! {
        biased;
        () = services.phases.reached(Phase::Stopping) => {}
        () = sweeping => {}
    }
}

/// The open transactions, by id and number, and since when they are known here. Journal time moves with the clocks of all
/// nodes: one that is ahead must not cut short what the others work on.
type Seen = BTreeMap<(String, u64), Instant>;

async fn sweep(services: &Services, seen: &mut Seen) {
    let (now, now_ms) = (Instant::now(), services.journal.stamp_ms());
    let mut open = Seen::new();
    let due = services.journal.view(|manifest| {
        let mut due = Vec::new();
        for (id, of) in manifest.open_transactions() {
            let key = (id.to_owned(), of.number);
            let since = seen.get(&key).copied().unwrap_or(now);
            if is_due(services, id, of, (now - since, now_ms)) {
                due.push(expired(id, of));
            }
            open.insert(key, since);
        }
        due
    });
    *seen = open;
    for together in due.chunks(ABORTED_TOGETHER) {
        abort(services, together).await;
    }
}

async fn abort(services: &Services, due: &[EndTransaction]) {
    let changes = due.iter().cloned().map(Change::EndTransaction).collect();
    let decided = match propose(services, changes).await {
        Ok(decided) => decided,
        Err(error) => {
            warn!(%error, transactions = due.len(), "transactions take too long and could not be aborted");
            return;
        }
    };
    for (end, outcome) in due.iter().zip(decided) {
        let id = &end.of.transactional_id;
        match outcome {
            Outcome::Void(why) => {
                debug!(transactional_id = id, ?why, "a transaction that takes too long was not aborted")
            }
            _ => info!(transactional_id = id, "a transaction took too long and was aborted"),
        }
    }
}

fn is_due(services: &Services, id: &str, of: &Transaction, (open_for, now_ms): (Duration, i64)) -> bool {
    let others = match services.nodes.is_coordinator(id) {
        true => Duration::ZERO,
        false => 2 * TRANSACTION_SWEEP,
    };
    let may_take = Duration::from_millis(u64::try_from(of.timeout_ms).unwrap_or(0));
    open_for >= may_take + others && of.due_ms() <= now_ms
}

fn expired(id: &str, of: &Transaction) -> EndTransaction {
    let of = TransactionOf {
        transactional_id: id.to_owned(),
        producer_id: of.producer.id,
        epoch: of.producer.epoch,
        number: of.number,
    };
    EndTransaction { of, commit: false, bump: true, if_due: true }
}

/// Kafka's names of the states.
pub(crate) fn state(of: &Transaction) -> &'static str {
    match of.phase {
        manifest::Phase::Empty => EMPTY,
        manifest::Phase::Ongoing => ONGOING,
        manifest::Phase::Committed => COMPLETE_COMMIT,
        manifest::Phase::Aborted => COMPLETE_ABORT,
    }
}

const EMPTY: &str = "Empty";
const ONGOING: &str = "Ongoing";
const COMPLETE_COMMIT: &str = "CompleteCommit";
const COMPLETE_ABORT: &str = "CompleteAbort";
/// All that Kafka knows; nothing here is ever in one of the last four.
pub(crate) const STATES: [&str; 8] = [
    EMPTY,
    ONGOING,
    COMPLETE_COMMIT,
    COMPLETE_ABORT,
    "PrepareCommit",
    "PrepareAbort",
    "PrepareEpochFence",
    "Dead",
];
