//! The task of one group: requests in, answers out, and what must last to the fold.
//!
//! Must not know what the protocols decide: that is the machine's. Invariants: one save at a time, against the version that
//! was seen; a group that somebody else has changed is loaded anew before anybody is answered.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};

use strandline_core::manifest::{Group, GroupKind};
use strandline_core::mutation::{self, Mutation};
use strandline_kafka::error::ErrorCode;
use strandline_kafka::messages::{consumer_group_heartbeat, join_group, sync_group};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until};
use tracing::debug;

use super::active::{Active, Turn};
use super::classic::{Answer, Classic, Joining, Save, Ticket};
use super::consumer::{ConsumerGroup, JOIN, Refusal, Topic};
use super::message::Message;
use super::{Caller, saving};
use crate::limits::{GROUP_INBOX, GROUP_WATCH};
use crate::phase::Phase;

/// Whoever waits for an answer of the machine.
enum Waiter {
    Join(oneshot::Sender<join_group::Response>),
    Sync(oneshot::Sender<sync_group::Response>),
}

impl Waiter {
    fn is_gone(&self) -> bool {
        match self {
            Waiter::Join(reply) => reply.is_closed(),
            Waiter::Sync(reply) => reply.is_closed(),
        }
    }
}

/// A group as the manifest had it when it was last seen or saved.
#[derive(Debug, Clone, Copy, Default)]
struct Seen {
    version: u64,
    epoch: i32,
    /// It had no members.
    bare: bool,
    /// Its members speak another protocol.
    foreign: bool,
}

/// What became of a save: its number, and the group as the manifest has it.
type Saved = (u64, Result<Seen, ErrorCode>);

/// The task of one group.
pub(super) struct Coordinator {
    active: Arc<Active>,
    name: String,
    number: u64,
    inbox: mpsc::Receiver<Message>,
    state: Arc<Mutex<&'static str>>,
    machine: Classic,
    seen: Seen,
    waiting: BTreeMap<Ticket, Waiter>,
    tickets: Ticket,
    saving: Option<Pin<Box<dyn Future<Output = Saved> + Send>>>,
    /// What must wait for the save that is under way.
    later: VecDeque<Message>,
    /// Bytes that are counted for the group.
    counted: usize,
    /// When to look next whether those who wait are still there.
    watch_at: Instant,
}

impl Coordinator {
    /// The group as the manifest has it.
    pub(super) fn new(
        active: Arc<Active>,
        name: &str,
        number: u64,
        inbox: mpsc::Receiver<Message>,
        state: Arc<Mutex<&'static str>>,
    ) -> Coordinator {
        let now = Instant::now();
        let (machine, seen) = load(&active, name, now);
        Coordinator {
            active,
            name: name.to_owned(),
            number,
            inbox,
            state,
            machine,
            seen,
            waiting: BTreeMap::new(),
            tickets: 0,
            saving: None,
            later: VecDeque::new(),
            counted: 0,
            watch_at: now,
        }
    }

    /// Until the group is idle, another node's, or the node stops; or until it is to be one whose coordinator assigns: then
    /// it is handed over.
    pub(super) async fn run(mut self, first: Option<Message>) -> Option<Turn> {
        let phases = self.active.phases.clone();
        let stopping = phases.reached(Phase::Stopping);
        tokio::pin!(stopping);
        self.later.extend(first);
        let code = loop {
            self.settle();
            let message = self.later.pop_front_if(|_| self.saving.is_none());
            if message.is_none() && self.is_idle() && self.active.retire(&self.name, self.number, &self.inbox)
            {
                return None;
            }
            let due = self.due();
            let heard = match message {
                Some(message) => Ok(Some(message)),
                None => tokio::select! {
                    biased;
                    () = &mut stopping => Err(ErrorCode::NotCoordinator),
                    saved = finished(&mut self.saving) => self.saved(saved).map(|()| None),
                    message = self.inbox.recv() => message.map(Some).ok_or(ErrorCode::NotCoordinator),
                    () = until(due) => self.look().map(|_| None),
                },
            };
            let turn = match heard {
                Ok(Some(message)) => self.hear(message),
                Ok(None) => Ok(None),
                Err(code) => Err(code),
            };
            match turn {
                Ok(None) => {}
                Ok(Some((message, upgrade))) => return Some(self.hand_over(message, upgrade)),
                Err(code) => break code,
            }
        };
        debug!(group = self.name, code = code.code(), "a group is given up");
        self.active.resign(&self.name, self.number);
        self.machine.refuse_all(code);
        self.settle_answers();
        self.active.count(self.counted, 0);
        None
    }

    /// Follows a message, or says that another task has to, and with what.
    fn hear(&mut self, message: Message) -> Result<Option<(Message, Option<Group>)>, ErrorCode> {
        let now = self.look()?;
        if self.seen.foreign {
            return Ok(Some((message, None)));
        }
        match message {
            Message::Beat { .. } if self.saving.is_some() && self.later.len() < GROUP_INBOX => {
                self.later.push_back(message);
            }
            Message::Beat { .. } if self.is_idle() => return Ok(Some((message, None))),
            Message::Beat { caller, request, reply } if request.member_epoch == JOIN => {
                match self.upgrade(&caller, &request, now) {
                    Ok(group) => return Ok(Some((Message::Beat { caller, request, reply }, Some(group)))),
                    // Whoever asked may be gone.
                    Err(refusal) => drop(reply.send(Err(refusal))),
                }
            }
            message => self.take(now, message),
        }
        Ok(None)
    }

    /// The group for the one that assigns, if it would take the member.
    fn upgrade(
        &self,
        caller: &Caller,
        request: &consumer_group_heartbeat::Request,
        now: Instant,
    ) -> Result<Group, Refusal> {
        let unavailable = ErrorCode::CoordinatorNotAvailable;
        if self.saving.is_some() || !self.active.has_room() {
            return Err(Refusal { code: unavailable, message: unavailable.to_string() });
        }
        let group = self.machine.snapshot(self.seen.version);
        let (mut trial, wanted, topics) = self.active.journal.view(|manifest| {
            let topic = |name: &str| manifest.topic_named(name).map(Topic::of);
            let trial = ConsumerGroup::upgrade(&self.name, &group, topic, now)?;
            let wanted = trial.wanted(Some(request));
            let topics = wanted.of(manifest);
            Ok((trial, wanted, topics))
        })?;
        trial.look(&wanted, &topics);
        trial.heartbeat(request, caller, now)?;
        Ok(group)
    }

    /// Whoever waits is to ask again, of the next task.
    fn hand_over(mut self, message: Message, upgrade: Option<Group>) -> Turn {
        self.machine.refuse_all(ErrorCode::RebalanceInProgress);
        self.settle_answers();
        self.active.count(self.counted, 0);
        Turn { inbox: self.inbox, message: Some(message), upgrade }
    }

    fn is_idle(&self) -> bool {
        self.machine.is_idle() && self.saving.is_none() && self.waiting.is_empty()
    }

    fn due(&self) -> Option<Instant> {
        let watch = (!self.waiting.is_empty()).then_some(self.watch_at);
        watch.into_iter().chain(self.machine.due()).min()
    }

    /// Answers what can be answered, saves what is to be saved.
    fn settle(&mut self) {
        self.settle_answers();
        if self.saving.is_none()
            && let Some(save) = self.machine.take_save()
        {
            self.saving = Some(Box::pin(self.save(save)));
        }
        let now = self.machine.bytes();
        self.active.count(std::mem::replace(&mut self.counted, now), now);
        *self.state.lock().unwrap_or_else(PoisonError::into_inner) = self.machine.state_name();
    }

    fn settle_answers(&mut self) {
        for (ticket, answer) in self.machine.take_answers() {
            // Whoever asked may be gone.
            let _ = match (self.waiting.remove(&ticket), answer) {
                (Some(Waiter::Join(reply)), Answer::Join(response)) => reply.send(response).is_ok(),
                (Some(Waiter::Sync(reply)), Answer::Sync(response)) => reply.send(response).is_ok(),
                _ => false,
            };
        }
    }

    fn save(&self, save: Save) -> impl Future<Output = Saved> + Send + use<> {
        let Save { number, mut update } = save;
        update.seen_version = match mutation::is(Mutation::CoordinatorNeverReloads) {
            true => see(&self.active, &self.name).version,
            false => self.seen.version,
        };
        let (epoch, bare) = (update.epoch, update.put.is_empty());
        let (journal, ingest) = (self.active.journal.clone(), self.active.ingest.clone());
        async move {
            let version = saving::save(journal, ingest, update).await;
            (number, version.map(|version| Seen { version, epoch, bare, foreign: false }))
        }
    }

    fn saved(&mut self, (number, saved): Saved) -> Result<(), ErrorCode> {
        self.saving = None;
        self.seen = saved?;
        self.machine.saved(Instant::now(), number);
        Ok(())
    }

    /// Before anything is answered: whether the group is still ours and as we know it, and what time has done to it.
    fn look(&mut self) -> Result<Instant, ErrorCode> {
        if !self.active.is_ours(&self.name) {
            return Err(ErrorCode::NotCoordinator);
        }
        let now = Instant::now();
        // While a save is under way the manifest may have it already.
        if self.saving.is_none() && !mutation::is(Mutation::CoordinatorNeverReloads) {
            self.reload(now);
        }
        if now >= self.watch_at {
            self.watch_at = now + GROUP_WATCH;
            let gone = |(ticket, waiter): (&Ticket, &Waiter)| waiter.is_gone().then_some(*ticket);
            let gone: BTreeSet<Ticket> = self.waiting.iter().filter_map(gone).collect();
            self.waiting.retain(|ticket, _| !gone.contains(ticket));
            if !gone.is_empty() {
                self.machine.abandon(now, &gone);
            }
        }
        self.machine.tick(now);
        Ok(now)
    }

    /// Somebody else may have changed the group: then what we know of it is of no use.
    fn reload(&mut self, now: Instant) {
        let seen = see(&self.active, &self.name);
        if seen.version == self.seen.version {
            return;
        }
        let harmless = self.seen.bare && seen.bare && seen.epoch <= self.seen.epoch;
        if !harmless || seen.foreign != self.seen.foreign {
            debug!(group = self.name, "a group was changed by somebody else");
            let (machine, _) = load(&self.active, &self.name, now);
            let mut old = std::mem::replace(&mut self.machine, machine);
            self.machine.inherit(&mut old);
            old.refuse_all(ErrorCode::NotCoordinator);
            std::mem::swap(&mut self.machine, &mut old);
            self.settle_answers();
            self.machine = old;
        }
        self.seen = seen;
    }

    fn take(&mut self, now: Instant, message: Message) {
        match message {
            Message::Join { caller, version, request, reply } => {
                if !self.active.has_room() {
                    let _ = reply.send(join_group::Response {
                        error_code: ErrorCode::CoordinatorNotAvailable.code(),
                        ..join_group::Response::default()
                    });
                    return;
                }
                let ticket = self.wait(Waiter::Join(reply));
                let Caller { client_id, client_host } = caller;
                let dice = self.active.journal.env().uuid();
                self.machine.join(now, Joining { ticket, version, client_id, client_host, dice, request });
            }
            Message::Sync { request, reply } => {
                let ticket = self.wait(Waiter::Sync(reply));
                self.machine.sync(now, ticket, request);
            }
            Message::Heartbeat { request, reply } => {
                let instance_id = request.group_instance_id.as_deref();
                let beat =
                    self.machine.heartbeat(now, &request.member_id, request.generation_id, instance_id);
                let _ = reply.send(beat);
            }
            Message::Leave { members, reply } => {
                let _ = reply.send(self.machine.leave(now, members));
            }
            Message::Commit { member, generation, instance_id, reply } => {
                let admitted = self.machine.admit_commit(now, &member, generation, instance_id.as_deref());
                let _ = reply.send(admitted);
            }
            Message::Describe { reply } => {
                let _ = reply.send(self.machine.live());
            }
            beat @ Message::Beat { .. } => beat.refuse(&self.name),
            Message::Wake => {}
        }
    }

    fn wait(&mut self, waiter: Waiter) -> Ticket {
        self.tickets += 1;
        if self.waiting.is_empty() {
            self.watch_at = Instant::now() + GROUP_WATCH;
        }
        self.waiting.insert(self.tickets, waiter);
        self.tickets
    }
}

fn see(active: &Active, name: &str) -> Seen {
    active.journal.view(|manifest| match manifest.group(name) {
        Some(group) => Seen {
            version: group.version,
            epoch: group.epoch,
            bare: group.members.is_empty(),
            foreign: group.kind == GroupKind::Consumer && !group.members.is_empty(),
        },
        None => Seen { bare: true, ..Seen::default() },
    })
}

fn load(active: &Active, name: &str, now: Instant) -> (Classic, Seen) {
    let seen = see(active, name);
    let machine = active.journal.view(|manifest| {
        let group = manifest
            .group(name)
            .filter(|group| group.kind != GroupKind::Consumer || group.members.is_empty());
        Classic::load(name, group, now)
    });
    (machine, seen)
}

/// The save under way; for ever if there is none.
async fn finished(saving: &mut Option<Pin<Box<dyn Future<Output = Saved> + Send>>>) -> Saved {
    match saving {
        Some(saving) => saving.await,
        None => std::future::pending().await,
    }
}

async fn until(due: Option<Instant>) {
    match due {
        Some(due) => sleep_until(due).await,
        None => std::future::pending().await,
    }
}
