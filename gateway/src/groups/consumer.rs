//! A group whose coordinator assigns (KIP-848), as a state machine. Some of its members may speak the classic protocol:
//! a JoinGroup of theirs stands for the heartbeat by which others say what they hold.
//!
//! Must not know tasks, clocks, sockets or the journal: time and topics are handed in, and what must last is handed out
//! as one change of the group. Invariants: no partition is held by two members at a time; no answer goes out before the
//! change that it stands on holds in the manifest, which whoever drives the machine sees to.

mod describe;
mod upgrade;
mod change;
mod classic_member;
mod heartbeat;
mod request;
mod rebalance;
mod timers;
mod members;
mod records;
mod member;
mod assignor;
mod topics;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::time::Duration;

use strandline_core::manifest::{Group, GroupKind};
use strandline_kafka::error::ErrorCode;
use strandline_kafka::messages::consumer_group_heartbeat::Request;
use tokio::time::Instant;

pub(crate) use classic_member::ClassicJoin;
pub(crate) use describe::{describe, state};
pub(crate) use member::JOIN;
pub(crate) use records::speaks_classic;
pub(crate) use request::check;
pub(crate) use topics::{Topic, Wanted};

use members::Members;
use records::State;
use timers::Timer;
use topics::View;

/// Kafka's `group.consumer.session.timeout.ms`: a member that is silent for so long is gone.
pub(crate) const SESSION_TIMEOUT: Duration = Duration::from_secs(45);
/// Kafka's `group.consumer.heartbeat.interval.ms`: members are asked to speak so often.
pub(crate) const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(5);
/// What `protocol_type` says of these groups.
const PROTOCOL_TYPE: &str = "consumer";

/// Why a request is not followed. It changed nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// As Kafka would answer.
    pub(crate) code: ErrorCode,
    /// In words.
    pub(crate) message: String,
}

/// The group. What it says may be told to members once [`committed`](ConsumerGroup::committed) was called for
/// everything that [`update`](ConsumerGroup::update) gave before; if the update does not hold, the group is loaded anew.
#[derive(Debug)]
pub(crate) struct ConsumerGroup {
    name: String,
    version: u64,
    epoch: i32,
    /// The first change of a group of another kind.
    converts: bool,
    /// The last member that spoke the new protocol is gone, and nothing was made of what it held.
    orphaned: bool,
    /// As the manifest knows the epoch and the state.
    known: (i32, State),
    state: State,
    members: Members,
    view: View,
    /// Somebody looked since the group was loaded.
    looked: bool,
    /// The view is another one than the last epoch was made for, or may be.
    view_changed: bool,
    timers: BTreeMap<String, Timer>,
    /// Not later than any of the timers.
    next: Option<Instant>,
}

impl ConsumerGroup {
    /// The group as the manifest has it; `None` there: it is new. All members have a whole session before them.
    ///
    /// # Errors
    /// It is a group of another kind that has members, or cannot be read.
    pub(crate) fn load(name: &str, group: Option<&Group>, now: Instant) -> Result<ConsumerGroup, Refusal> {
        let (mut state, mut members) = (State::default(), Vec::new());
        let consumer = group.filter(|group| group.kind == GroupKind::Consumer);
        if let Some(group) = consumer {
            let unreadable =
                || refuse(ErrorCode::UnknownServerError, format!("Group {name} cannot be read."));
            (state, members) = records::decode_group(group).ok_or_else(unreadable)?;
        } else if group.is_some_and(|group| !group.members.is_empty()) {
            let message = format!("Group {name} is not a consumer group.");
            return Err(refuse(ErrorCode::GroupIdNotFound, message));
        }
        Ok(ConsumerGroup::of(name, group, state, Members::load(members), now))
    }

    fn of(name: &str, group: Option<&Group>, state: State, members: Members, now: Instant) -> ConsumerGroup {
        let epoch = group.map_or(0, |group| group.epoch);
        let mut loaded = ConsumerGroup {
            name: name.to_owned(),
            version: group.map_or(0, |group| group.version),
            epoch,
            converts: group.is_none_or(|group| group.kind != GroupKind::Consumer),
            orphaned: false,
            known: (epoch, state),
            state,
            members,
            view: View::default(),
            looked: false,
            view_changed: true,
            timers: BTreeMap::new(),
            next: None,
        };
        loaded.revive(now);
        loaded
    }

    /// The version of the group in the manifest on which this stands; 0: there is none.
    pub(crate) fn version(&self) -> u64 {
        self.version
    }

    /// Whether it has members.
    pub(crate) fn is_empty(&self) -> bool {
        self.members.len() == 0
    }

    /// Whether somebody subscribes by pattern.
    pub(crate) fn has_patterns(&self) -> bool {
        self.view.has_patterns()
    }

    /// Bytes that its members take, about.
    pub(crate) fn bytes(&self) -> usize {
        self.members.bytes()
    }

    /// Kafka's name for its state.
    pub(crate) fn state_name(&self) -> &'static str {
        match () {
            () if self.is_empty() => "Empty",
            () if self.epoch > self.state.assignment_epoch => "Assigning",
            () if self.members.unsettled(self.state.assignment_epoch) => "Reconciling",
            () => "Stable",
        }
    }

    /// Which topics to look up, for what the members want and what this request asks for.
    pub(crate) fn wanted(&self, request: Option<&Request>) -> Wanted {
        let mut wanted = Wanted::default();
        for member in self.members.iter() {
            wanted.names.extend(member.names.iter().cloned());
            wanted.patterns.insert(member.regex.clone());
        }
        if let Some(request) = request {
            wanted.names.extend(request.subscribed_topic_names.iter().flatten().cloned());
            wanted.patterns.extend(request.subscribed_topic_regex.clone());
        }
        wanted.patterns.remove("");
        wanted
    }

    /// Whether a request cannot be judged by the topics that were seen last.
    pub(crate) fn must_look(&self, request: &Request) -> bool {
        let member = self.members.get(&request.member_id);
        let names = |names: &Vec<String>| {
            member.is_none_or(|member| !names.iter().all(|name| member.names.contains(name)))
        };
        let regex = |regex: &String| member.is_none_or(|member| member.regex != *regex);
        !self.looked
            || request.subscribed_topic_names.as_ref().is_some_and(names)
            || request.subscribed_topic_regex.as_ref().is_some_and(regex)
    }

    /// Whether the topics were never looked at.
    pub(crate) fn is_blind(&self) -> bool {
        !self.looked
    }

    /// Takes note of the topics, which may be more than wanted. The next heartbeat acts on what has changed.
    pub(crate) fn look(&mut self, wanted: &Wanted, topics: &BTreeMap<String, Topic>) {
        let view = View::new(wanted, topics);
        self.view_changed |= view != self.view;
        (self.view, self.looked) = (view, true);
    }
}

fn refuse(code: ErrorCode, message: String) -> Refusal {
    Refusal { code, message }
}
