//! The task of one group: requests in, answers out, and what must last to the fold.
//!
//! Must not know what the protocols decide: that is the machine's. Invariants: one save at a time, against the version that
//! was seen; a group that somebody else has changed is loaded anew before anybody is answered.

use std::collections::{BTreeMap, BTreeSet};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};

use strandline_core::manifest::GroupKind;
use strandline_core::mutation::{self, Mutation};
use strandline_kafka::error::ErrorCode;
use strandline_kafka::messages::{join_group, sync_group};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until};
use tracing::debug;

use super::active::{Active, Turn};
use super::classic::{Answer, Classic, Joining, Save, Ticket};
use super::message::Message;
use super::{Caller, saving};
use crate::limits::GROUP_WATCH;
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
            counted: 0,
            watch_at: now,
        }
    }

    /// Until the group is idle, another node's, or the node stops; or somebody without members in the way speaks the other
    /// protocol: then that is given back.
    pub(super) async fn run(mut self, first: Option<Message>) -> Option<Turn> {
        let phases = self.active.phases.clone();
        let stopping = phases.reached(Phase::Stopping);
        tokio::pin!(stopping);
        if let Some(message) = first {
            self.take(Instant::now(), message);
        }
        let code = loop {
            self.settle();
            if self.is_idle() && self.active.retire(&self.name, self.number, &self.inbox) {
                return None;
            }
            let due = self.due();
            let step = tokio::select! {
                biased;
                () = &mut stopping => Err(ErrorCode::NotCoordinator),
                saved = finished(&mut self.saving) => self.saved(saved),
                message = self.inbox.recv() => match message {
                    Some(message) => match self.look() {
                        Ok(_) if self.is_idle() && matches!(message, Message::Beat { .. }) => {
                            return Some((self.inbox, message));
                        }
                        looked => looked.map(|now| self.take(now, message)),
                    },
                    None => Err(ErrorCode::NotCoordinator),
                },
                () = until(due) => self.look().map(|_| ()),
            };
            if let Err(code) = step {
                break code;
            }
        };
        debug!(group = self.name, code = code.code(), "a group is given up");
        self.active.resign(&self.name, self.number);
        self.machine.refuse_all(code);
        self.settle_answers();
        self.active.count(self.counted, 0);
        None
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
        if self.seen.foreign {
            return message.refuse(&self.name);
        }
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
