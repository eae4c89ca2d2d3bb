//! The task of a group whose coordinator assigns (KIP-848): heartbeats in, answers out, and what must last to the fold.
//!
//! Must not know what the protocol decides: that is the machine's. Invariants: an answer goes out only after the change that
//! it stands on holds; a group that somebody else has changed is loaded anew before anybody is answered. Heartbeats that
//! come while a change is on its way share the next one.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use strandline_kafka::error::ErrorCode;
use strandline_kafka::messages::consumer_group_heartbeat::Request;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until};
use tracing::debug;

use super::active::{Active, Seat, Turn};
use super::consumer::{ConsumerGroup, Refusal};
use super::message::{Beaten, Message};
use super::{Caller, saving};
use crate::limits::{GROUP_INBOX, GROUP_LOOK, GROUP_PATTERN_LOOK, GROUP_TIMER_LATE};
use crate::phase::Phase;

/// Answers that wait for the next change.
type Answers = Vec<(oneshot::Sender<Beaten>, Beaten)>;

/// The task of one group.
pub(super) struct Assigning {
    active: Arc<Active>,
    name: String,
    number: u64,
    state: Arc<Mutex<&'static str>>,
    inbox: mpsc::Receiver<Message>,
    group: Result<ConsumerGroup, Refusal>,
    /// When the topics were looked at.
    looked: Instant,
    /// Bytes that are counted for the group.
    counted: usize,
}

impl Assigning {
    /// The group as the manifest has it.
    pub(super) fn new(seat: &Seat, inbox: mpsc::Receiver<Message>) -> Assigning {
        let now = Instant::now();
        Assigning {
            active: Arc::clone(&seat.active),
            name: seat.name.clone(),
            number: seat.number,
            state: Arc::clone(&seat.state),
            inbox,
            group: load(&seat.active, &seat.name, now),
            looked: now,
            counted: 0,
        }
    }

    /// Until the group has no members, is another node's, or the node stops; or somebody wants to speak the other protocol
    /// with a group that has none: then that is given back.
    pub(super) async fn run(mut self, mut first: Option<Message>) -> Option<Turn> {
        let phases = self.active.phases.clone();
        let stopping = phases.reached(Phase::Stopping);
        tokio::pin!(stopping);
        loop {
            self.show();
            let idle = first.is_none() && self.group.as_ref().map_or(true, ConsumerGroup::is_empty);
            if idle && self.active.retire(&self.name, self.number, &self.inbox) {
                break;
            }
            let due = self.group.as_ref().ok().and_then(ConsumerGroup::deadline);
            let message = match first.take() {
                Some(message) => Some(message),
                None => tokio::select! {
                    biased;
                    () = &mut stopping => break,
                    message = self.inbox.recv() => match message {
                        Some(message) => Some(message),
                        None => break,
                    },
                    () = until(due) => None,
                },
            };
            let turn = tokio::select! {
                biased;
                () = &mut stopping => break,
                turn = self.step(message, due) => turn,
            };
            match turn {
                Ok(None) => {}
                Ok(Some(message)) => {
                    self.count(0);
                    return Some((self.inbox, message));
                }
                Err(code) => {
                    debug!(group = self.name, code = code.code(), "a group is given up");
                    break;
                }
            }
        }
        // Whoever still waits finds the door closed, and asks again.
        self.active.resign(&self.name, self.number);
        self.count(0);
        None
    }

    /// Hears all that has come, then what time has done, and answers once that is in the manifest. Gives back what belongs
    /// to the other protocol.
    async fn step(
        &mut self,
        message: Option<Message>,
        due: Option<Instant>,
    ) -> Result<Option<Message>, ErrorCode> {
        if !self.active.is_ours(&self.name) {
            return Err(ErrorCode::NotCoordinator);
        }
        let now = Instant::now();
        self.reload(now);
        let (mut answers, mut other) = (Vec::new(), None);
        let mut next = message;
        while let Some(message) = next.take() {
            other = self.take(message, now, &mut answers);
            if other.is_none() && answers.len() < GROUP_INBOX {
                next = self.inbox.try_recv().ok();
            }
        }
        if let Ok(group) = &mut self.group {
            match due.is_some_and(|due| now > due + GROUP_TIMER_LATE) {
                // The node stood still; whether the members did, nobody knows.
                true => group.revive(now),
                false => group.expire(now),
            }
        }
        let saved = self.save().await;
        for (reply, answer) in answers {
            let answer = match saved {
                Ok(()) => answer,
                Err(code) => Err(Refusal { code, message: code.to_string() }),
            };
            // Whoever asked may be gone.
            let _ = reply.send(answer);
        }
        saved.map(|()| other)
    }

    /// Somebody else may have changed the group: then what we know of it is of no use.
    fn reload(&mut self, now: Instant) {
        let version =
            self.active.journal.view(|manifest| manifest.group(&self.name).map_or(0, |group| group.version));
        if self.group.as_ref().is_ok_and(|group| group.version() == version) {
            return;
        }
        debug!(group = self.name, "a group was changed by somebody else");
        self.group = load(&self.active, &self.name, now);
    }

    /// Gives back what the other protocol must answer.
    fn take(&mut self, message: Message, now: Instant, answers: &mut Answers) -> Option<Message> {
        match message {
            Message::Beat { caller, request, reply } => {
                let answer = self.beat(&caller, &request, now);
                answers.push((reply, answer));
            }
            Message::Join { .. } if self.group.as_ref().map_or(true, ConsumerGroup::is_empty) => {
                return Some(message);
            }
            message => message.refuse(&self.name),
        }
        None
    }

    fn beat(&mut self, caller: &Caller, request: &Request, now: Instant) -> Beaten {
        let group = self.group.as_mut().map_err(|refusal| refusal.clone())?;
        if request.member_epoch == 0 && !self.active.has_room() {
            let code = ErrorCode::CoordinatorNotAvailable;
            return Err(Refusal { code, message: code.to_string() });
        }
        let wait = if group.has_patterns() { GROUP_PATTERN_LOOK } else { GROUP_LOOK };
        if group.must_look(request) || now.saturating_duration_since(self.looked) >= wait {
            let wanted = group.wanted(Some(request));
            let topics = self.active.journal.view(|manifest| wanted.of(manifest));
            group.look(&wanted, &topics);
            self.looked = now;
        }
        group.heartbeat(request, caller, now)
    }

    async fn save(&mut self) -> Result<(), ErrorCode> {
        let Ok(group) = &mut self.group else { return Ok(()) };
        let Some(update) = group.update() else { return Ok(()) };
        let (journal, ingest) = (self.active.journal.clone(), self.active.ingest.clone());
        group.committed(saving::save(journal, ingest, update).await?);
        Ok(())
    }

    fn show(&mut self) {
        let (bytes, name) = match &self.group {
            Ok(group) => (group.bytes(), group.state_name()),
            Err(_) => (0, "Empty"),
        };
        self.count(bytes);
        *self.state.lock().unwrap_or_else(PoisonError::into_inner) = name;
    }

    fn count(&mut self, bytes: usize) {
        self.active.count(std::mem::replace(&mut self.counted, bytes), bytes);
    }
}

fn load(active: &Active, name: &str, now: Instant) -> Result<ConsumerGroup, Refusal> {
    active.journal.view(|manifest| ConsumerGroup::load(name, manifest.group(name), now))
}

async fn until(due: Option<Instant>) {
    match due {
        Some(due) => sleep_until(due + Duration::from_millis(1)).await,
        None => std::future::pending().await,
    }
}
