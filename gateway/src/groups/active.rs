//! Which groups are active on this node, and how to reach their tasks.
//!
//! Must not know the protocols. Invariants: a group has at most one task here; a task ends only when nothing waits for it;
//! what all tasks hold is bounded.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use strandline_core::env::Moment;
use strandline_core::manifest::{Group, GroupKind, Journal};
use strandline_ingest::Ingest;
use strandline_kafka::error::ErrorCode;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tracing::debug;

use super::message::Message;
use crate::limits::{
    ACTIVE_GROUP_BYTES, CATCH_UP_TIMEOUT, GROUP_INBOX, GROUP_UNVERIFIED, GROUP_VERIFY, GROUP_VERIFY_WAIT,
    MAX_ACTIVE_GROUPS,
};
use crate::nodes::Nodes;
use crate::phase::Phases;

/// The place of a task among all that are active.
#[derive(Debug)]
pub(super) struct Seat {
    /// What all tasks share.
    pub(super) active: Arc<Active>,
    /// The group.
    pub(super) name: String,
    /// Tells the tasks that the group had and has apart.
    pub(super) number: u64,
    /// Kafka's name for the state of the group.
    pub(super) state: Arc<Mutex<&'static str>>,
}

/// A task hands its group over.
pub(super) struct Turn {
    /// What is still to be heard.
    pub(super) inbox: mpsc::Receiver<Message>,
    /// What it could not follow.
    pub(super) message: Option<Message>,
    /// A classic group as it was to its last moment, for the message makes it one whose coordinator assigns.
    pub(super) upgrade: Option<Group>,
}

/// Starts the task of a group.
pub(super) type Start = fn(Seat, mpsc::Receiver<Message>);

/// What all tasks share, and where they are found.
pub(super) struct Active {
    start: Start,
    pub(super) journal: Journal,
    pub(super) ingest: Ingest,
    nodes: Arc<Nodes>,
    pub(super) phases: Phases,
    // Never held across an await, nor while the manifest is looked at.
    tasks: Mutex<Tasks>,
    /// When the journal was last known to be read to its end.
    verified: Mutex<Option<Moment>>,
    bytes: AtomicUsize,
}

#[derive(Default)]
struct Tasks {
    by_group: BTreeMap<String, Handle>,
    started: u64,
}

/// How to reach a task. Dropping it tells the task to give the group up.
struct Handle {
    number: u64,
    inbox: mpsc::Sender<Message>,
    state: Arc<Mutex<&'static str>>,
}

impl fmt::Debug for Active {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Active").field("groups", &self.tasks().by_group.len()).finish()
    }
}

impl Active {
    pub(super) fn new(
        start: Start,
        journal: Journal,
        ingest: Ingest,
        nodes: Arc<Nodes>,
        phases: Phases,
    ) -> Active {
        Active {
            start,
            journal,
            ingest,
            nodes,
            phases,
            tasks: Mutex::default(),
            verified: Mutex::default(),
            bytes: AtomicUsize::new(0),
        }
    }

    /// Whether this node looks after the group.
    pub(super) fn is_ours(&self, group: &str) -> bool {
        self.nodes.is_coordinator(group)
    }

    /// How the members of a group agree, as the manifest has it; `None`: it has no members.
    pub(super) fn kind(&self, group: &str) -> Option<GroupKind> {
        self.journal.view(|manifest| {
            manifest.group(group).filter(|group| !group.members.is_empty()).map(|group| group.kind)
        })
    }

    /// Of a group that is active; Kafka's name.
    pub(super) fn state(&self, group: &str) -> Option<&'static str> {
        let tasks = self.tasks();
        let handle = tasks.by_group.get(group)?;
        Some(*handle.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// What must hold before the group's task may answer: the group is ours, and whatever another coordinator did before
    /// this call is folded here, or was looked for a moment ago.
    pub(super) async fn prepare(&self, group: &str) -> Result<(), ErrorCode> {
        if !self.nodes.coordinates(group).await {
            self.tasks().by_group.remove(group);
            return Err(ErrorCode::NotCoordinator);
        }
        match self.state(group) {
            Some(_) => self.verify().await,
            None if self.catch_up().await => Ok(()),
            None => Err(ErrorCode::CoordinatorLoadInProgress),
        }
    }

    /// Looks for what other nodes did, now and then. While the store does not answer, nobody else does much either: members
    /// go on for a while, and the fold decides on whatever they want to last.
    async fn verify(&self) -> Result<(), ErrorCode> {
        let verified = *self.verified.lock().unwrap_or_else(PoisonError::into_inner);
        // Both clocks: a node that slept knows that it did.
        let within = |span| verified.is_some_and(|then| self.journal.env().within(then, span));
        let begun = self.journal.env().moment();
        if within(GROUP_VERIFY) {
            return Ok(());
        }
        match timeout(GROUP_VERIFY_WAIT, self.journal.refresh()).await {
            Ok(Ok(_)) => self.has_verified(begun),
            Ok(Err(_)) | Err(_) if within(GROUP_UNVERIFIED) => {}
            Ok(Err(_)) | Err(_) => return Err(ErrorCode::CoordinatorNotAvailable),
        }
        Ok(())
    }

    /// Reads the journal to its end.
    pub(super) async fn catch_up(&self) -> bool {
        let begun = self.journal.env().moment();
        let caught_up = timeout(CATCH_UP_TIMEOUT, self.journal.catch_up()).await;
        if let Ok(Err(error)) = &caught_up {
            debug!(%error, "a coordinator cannot read the journal");
        }
        let caught_up = matches!(caught_up, Ok(Ok(_)));
        if caught_up {
            self.has_verified(begun);
        }
        caught_up
    }

    fn has_verified(&self, begun: Moment) {
        *self.verified.lock().unwrap_or_else(PoisonError::into_inner) = Some(begun);
    }

    /// Hands a message to the group's task, which is started if there is none.
    pub(super) fn send(active: &Arc<Active>, group: &str, message: Message) -> Result<(), ErrorCode> {
        let mut tasks = active.tasks();
        if tasks.by_group.get(group).is_none_or(|handle| handle.inbox.is_closed()) {
            if tasks.by_group.len() >= MAX_ACTIVE_GROUPS {
                return Err(ErrorCode::CoordinatorNotAvailable);
            }
            tasks.started += 1;
            let number = tasks.started;
            let (inbox, messages) = mpsc::channel(GROUP_INBOX);
            let state = Arc::new(Mutex::new("Empty"));
            let (name, shown) = (group.to_owned(), Arc::clone(&state));
            (active.start)(Seat { active: Arc::clone(active), name, number, state: shown }, messages);
            tasks.by_group.insert(group.to_owned(), Handle { number, inbox, state });
        }
        // Sent while the lock is held: a task that has nothing to do ends only if nothing was sent to it.
        let sent = tasks.by_group.get(group).map(|handle| handle.inbox.try_send(message).is_ok());
        match sent {
            Some(true) => Ok(()),
            Some(false) | None => Err(ErrorCode::CoordinatorNotAvailable),
        }
    }

    /// A task has nothing more to do. Whether it may end: nothing was sent to it in the meantime.
    pub(super) fn retire(&self, group: &str, number: u64, inbox: &mpsc::Receiver<Message>) -> bool {
        let mut tasks = self.tasks();
        if !inbox.is_empty() {
            return false;
        }
        tasks.forget(group, number);
        true
    }

    /// A task gives the group up, whatever was sent to it.
    pub(super) fn resign(&self, group: &str, number: u64) {
        self.tasks().forget(group, number);
    }

    /// Whether more members may be taken in.
    pub(super) fn has_room(&self) -> bool {
        self.bytes.load(Ordering::Relaxed) < ACTIVE_GROUP_BYTES
    }

    /// The members of a group take so many bytes now.
    pub(super) fn count(&self, before: usize, now: usize) {
        self.bytes.fetch_add(now, Ordering::Relaxed);
        self.bytes.fetch_sub(before, Ordering::Relaxed);
    }

    fn tasks(&self) -> MutexGuard<'_, Tasks> {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Tasks {
    /// Only if it is still this task's.
    fn forget(&mut self, group: &str, number: u64) {
        if self.by_group.get(group).is_some_and(|handle| handle.number == number) {
            self.by_group.remove(group);
        }
    }
}
