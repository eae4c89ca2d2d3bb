//! The task of a group whose coordinator assigns (KIP-848): requests in, answers out, and what must last to the fold.
//!
//! Must not know what the protocol decides: that is the machine's. Invariants: an answer goes out only after the change that
//! it stands on holds; a group that somebody else has changed is loaded anew before anybody is answered. Requests that
//! come while a change is on its way share the next one.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use strandline_core::manifest::{Group, GroupKind};
use strandline_kafka::error::ErrorCode;
use strandline_kafka::messages::consumer_group_heartbeat::Request;
use strandline_kafka::messages::{join_group, leave_group, sync_group};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until};
use tracing::debug;

use super::active::{Active, Seat, Turn};
use super::classic::joining;
use super::consumer::{ClassicJoin, ConsumerGroup, JOIN, Refusal, Topic, Wanted};
use super::message::{Beaten, Message};
use super::{Caller, saving};
use crate::limits::{GROUP_INBOX, GROUP_LOOK, GROUP_PATTERN_LOOK, GROUP_TIMER_LATE};
use crate::phase::Phase;

/// Answers that wait for the next change, and hear whether it holds.
type Answers = Vec<Box<dyn FnOnce(Result<(), ErrorCode>) + Send>>;

/// What becomes of the task.
enum Next {
    Stay,
    /// The group is one that assigns itself, or the message makes it one.
    HandOver(Option<Box<Message>>),
}

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
    /// The group as the manifest has it, or the classic group that is to become one.
    pub(super) fn new(seat: &Seat, inbox: mpsc::Receiver<Message>, upgrade: Option<Group>) -> Assigning {
        let now = Instant::now();
        let group = match upgrade {
            Some(group) => seat.active.journal.view(|manifest| {
                let topic = |name: &str| manifest.topic_named(name).map(Topic::of);
                ConsumerGroup::upgrade(&seat.name, &group, topic, now)
            }),
            None => load(&seat.active, &seat.name, now),
        };
        Assigning {
            active: Arc::clone(&seat.active),
            name: seat.name.clone(),
            number: seat.number,
            state: Arc::clone(&seat.state),
            inbox,
            group,
            looked: now,
            counted: 0,
        }
    }

    /// Until the group has no members, is another node's, or the node stops; or until its members are to assign themselves:
    /// then it is handed over.
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
                Ok(Next::Stay) => {}
                Ok(Next::HandOver(message)) => {
                    self.count(0);
                    let message = message.map(|message| *message);
                    return Some(Turn { inbox: self.inbox, message, upgrade: None });
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

    /// Hears all that has come, then what time has done, and answers once that is in the manifest.
    async fn step(&mut self, message: Option<Message>, due: Option<Instant>) -> Result<Next, ErrorCode> {
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
        let held = saved.as_ref().map(|_| ()).map_err(|code| *code);
        answers.into_iter().for_each(|answer| answer(held));
        Ok(match (saved?, other) {
            (GroupKind::Consumer, None) => Next::Stay,
            (_, message) => Next::HandOver(message.map(Box::new)),
        })
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

    /// Gives back what the other task must answer.
    fn take(&mut self, message: Message, now: Instant, answers: &mut Answers) -> Option<Message> {
        let empty = match &self.group {
            Ok(group) => group.is_empty(),
            // Somebody else has made it a classic group.
            Err(_) if self.active.kind(&self.name) != Some(GroupKind::Consumer) => return Some(message),
            Err(_) => false,
        };
        match message {
            Message::Beat { caller, request, reply } => {
                let answer = self.beat(&caller, &request, now);
                let refusal = |code: ErrorCode| Err(Refusal { code, message: code.to_string() });
                answers.push(Box::new(move |held| answered(reply, held.map_or_else(refusal, |()| answer))));
            }
            Message::Join { .. } if empty => return Some(message),
            message => match &mut self.group {
                Ok(_) if !empty => self.take_classic(message, now, answers),
                _ => message.refuse(&self.name),
            },
        }
        None
    }

    /// What members of the classic protocol say.
    fn take_classic(&mut self, message: Message, now: Instant, answers: &mut Answers) {
        if self.group.as_ref().is_ok_and(ConsumerGroup::is_blind) {
            self.look(now, |group| group.wanted(None));
        }
        let room = self.active.has_room();
        let Ok(group) = &mut self.group else { return };
        match message {
            Message::Join { caller, version, request, reply } => {
                let member_id = request.member_id.clone();
                let refused = |code: ErrorCode| join_group::Response {
                    error_code: code.code(),
                    member_id,
                    ..join_group::Response::default()
                };
                let dice = self.active.journal.env().uuid();
                let new_id = joining::new_id(&request, &caller.client_id, dice);
                let read = ClassicJoin::read(caller, version, new_id, request);
                let full = if room { Ok(()) } else { Err(ErrorCode::CoordinatorNotAvailable) };
                let answer = read.and_then(|join| full.map(|()| self.join(join, now)));
                answers.push(Box::new(move |held| {
                    answered(reply, held.and(answer).unwrap_or_else(refused));
                }));
            }
            Message::Sync { request, reply } => {
                let answer = group.sync(&request, now);
                answers.push(Box::new(move |held| {
                    let refused = |code: ErrorCode| sync_group::Response {
                        error_code: code.code(),
                        ..sync_group::Response::default()
                    };
                    answered(reply, held.and(answer).unwrap_or_else(refused));
                }));
            }
            Message::Heartbeat { request, reply } => {
                let instance_id = request.group_instance_id.as_deref();
                let answer =
                    group.classic_heartbeat(&request.member_id, request.generation_id, instance_id, now);
                answers.push(Box::new(move |held| answered(reply, held.and(answer))));
            }
            Message::Leave { members, reply } => {
                let left = group.leave_group(members);
                answers.push(Box::new(move |held| answered(reply, with_code(left, held))));
            }
            Message::Commit { member, generation, instance_id, reply } => {
                // At once: the fold decides, and on what was decided before.
                answered(reply, group.admit_commit(&member, generation, instance_id.as_deref(), now));
            }
            message => message.refuse(&self.name),
        }
    }

    fn beat(&mut self, caller: &Caller, request: &Request, now: Instant) -> Beaten {
        let group = self.group.as_mut().map_err(|refusal| refusal.clone())?;
        if request.member_epoch == JOIN && !self.active.has_room() {
            let code = ErrorCode::CoordinatorNotAvailable;
            return Err(Refusal { code, message: code.to_string() });
        }
        let wait = if group.has_patterns() { GROUP_PATTERN_LOOK } else { GROUP_LOOK };
        if group.must_look(request) || now.saturating_duration_since(self.looked) >= wait {
            self.look(now, |group| group.wanted(Some(request)));
        }
        let group = self.group.as_mut().map_err(|refusal| refusal.clone())?;
        group.heartbeat(request, caller, now)
    }

    fn join(&mut self, join: ClassicJoin, now: Instant) -> join_group::Response {
        self.look(now, |group| group.wanted_to_join(&join));
        match &mut self.group {
            Ok(group) => group.join(join, now),
            Err(refusal) => {
                join_group::Response { error_code: refusal.code.code(), ..join_group::Response::default() }
            }
        }
    }

    /// Looks at the topics that the group wants.
    fn look(&mut self, now: Instant, wanted: impl FnOnce(&ConsumerGroup) -> Wanted) {
        let Ok(group) = &mut self.group else { return };
        let wanted = wanted(group);
        let topics = self.active.journal.view(|manifest| wanted.of(manifest));
        group.look(&wanted, &topics);
        self.looked = now;
    }

    /// What the group is now.
    async fn save(&mut self) -> Result<GroupKind, ErrorCode> {
        if self.group.as_ref().is_ok_and(|group| group.downgrades() && group.is_blind()) {
            // A classic group names the topics that its members hold.
            self.look(Instant::now(), |group| group.wanted(None));
        }
        let Ok(group) = &mut self.group else { return Ok(GroupKind::Consumer) };
        let Some(update) = group.update() else { return Ok(GroupKind::Consumer) };
        let kind = update.kind;
        let (journal, ingest) = (self.active.journal.clone(), self.active.ingest.clone());
        group.committed(saving::save(journal, ingest, update).await?);
        Ok(kind)
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

/// Whoever asked may be gone.
fn answered<R>(reply: oneshot::Sender<R>, answer: R) {
    let _ = reply.send(answer);
}

/// One result a member; the others are for nothing if the change does not hold.
fn with_code(
    mut left: Vec<leave_group::MemberResponse>,
    held: Result<(), ErrorCode>,
) -> Vec<leave_group::MemberResponse> {
    if let Err(code) = held {
        left.iter_mut().for_each(|member| member.error_code = code.code());
    }
    left
}

async fn until(due: Option<Instant>) {
    match due {
        Some(due) => sleep_until(due + Duration::from_millis(1)).await,
        None => std::future::pending().await,
    }
}
