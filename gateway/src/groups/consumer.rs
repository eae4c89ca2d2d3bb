//! A group whose coordinator assigns (KIP-848), as a state machine.
//!
//! Must not know tasks, clocks, sockets or the journal: time and topics are handed in, and what must last is handed out
//! as one change of the group. Invariants: no partition is held by two members at a time; no answer goes out before the
//! change that it stands on holds in the manifest, which whoever drives the machine sees to.

mod describe;
mod request;
mod members;
mod records;
mod member;
mod assignor;
mod topics;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use strandline_core::limits::MAX_GROUP_MEMBERS;
use strandline_core::manifest::{Group, GroupKind, UpdateGroup};
use strandline_kafka::error::ErrorCode;
use strandline_kafka::messages::consumer_group_heartbeat::{Assignment, Request, Response, TopicPartitions};
use tokio::time::Instant;
use uuid::Uuid;

pub(crate) use describe::{describe, state};
pub(crate) use request::check;
pub(crate) use topics::{Topic, Wanted};

use super::Caller;
use crate::limits::MAX_PATTERNS_PER_GROUP;
use assignor::{Assignor, Subscriber};
use member::{JOIN, LEAVE_STATIC, Member, Step};
use members::Members;
use records::State;
use topics::{Partitions, View};

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

/// When a member is gone unless something happens.
#[derive(Debug, Clone, Copy)]
struct Timer {
    session: Instant,
    /// The epoch in which it must give up partitions, and until when.
    rebalance: Option<(i32, Instant)>,
}

impl ConsumerGroup {
    /// The group as the manifest has it; `None` there: it is new. All members have a whole session before them.
    ///
    /// # Errors
    /// It is a group of another kind that has members (Kafka's migration policy `disabled`), or cannot be read.
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
        let epoch = group.map_or(0, |group| group.epoch);
        let mut loaded = ConsumerGroup {
            name: name.to_owned(),
            version: group.map_or(0, |group| group.version),
            epoch,
            converts: consumer.is_none(),
            known: (epoch, state),
            state,
            members: Members::load(members),
            view: View::default(),
            looked: false,
            view_changed: true,
            timers: BTreeMap::new(),
            next: None,
        };
        loaded.revive(now);
        Ok(loaded)
    }

    /// All members have a whole session before them.
    pub(crate) fn revive(&mut self, now: Instant) {
        self.timers.clear();
        self.next = None;
        let ids: Vec<String> = self.members.iter().map(|member| member.id.clone()).collect();
        ids.iter().for_each(|id| self.keep_alive(id, now));
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

    /// Takes note of the topics, which may be more than wanted. The next heartbeat acts on what has changed.
    pub(crate) fn look(&mut self, wanted: &Wanted, topics: &BTreeMap<String, Topic>) {
        let view = View::new(wanted, topics);
        self.view_changed |= view != self.view;
        (self.view, self.looked) = (view, true);
    }

    /// A member says that it lives, joins, changes or leaves.
    ///
    /// # Errors
    /// The refusal; nothing has changed.
    pub(crate) fn heartbeat(
        &mut self,
        request: &Request,
        client: &Caller,
        now: Instant,
    ) -> Result<Response, Refusal> {
        if request.member_epoch < JOIN {
            return self.leave(request);
        }
        if self.converts && request.member_epoch != JOIN {
            return Err(refuse(ErrorCode::GroupIdNotFound, format!("Group {} not found.", self.name)));
        }
        let owned = request::owned(request);
        let (before, replaced) = self.sender(request, owned.as_ref())?;
        let mut member = before.clone();
        self.apply(&mut member, request, client)?;
        if let Some(id) = replaced {
            self.members.remove(&id);
            self.timers.remove(&id);
        }
        let subscribes = before.id.is_empty() || member.names != before.names || member.regex != before.regex;
        member.id.clone_from(&request.member_id);
        self.members.put(member);
        self.renew(subscribes);
        let stale = request.member_epoch != JOIN && request.member_epoch != before.epoch;
        // What a member with a lost answer says was true before that answer, not after it.
        let owned = owned.filter(|_| !stale);
        let changed = self.reconcile(&request.member_id, owned.as_ref());
        self.keep_alive(&request.member_id, now);
        Ok(self.answer(request, changed))
    }

    /// The member that a request comes from, as it was before, and the id of one whose place it takes. An empty id: new.
    fn sender(
        &self,
        request: &Request,
        owned: Option<&Partitions>,
    ) -> Result<(Member, Option<String>), Refusal> {
        let id = &request.member_id;
        let joins = request.member_epoch == JOIN;
        let known = match &request.instance_id {
            None => self.members.get(id),
            Some(instance_id) => self.members.instance(instance_id, id),
        };
        match known {
            None if !joins => Err(self.unknown(id)),
            // A dynamic member does not become a static one under the same id, nor another static one.
            None if self.members.get(id).is_some() => {
                let message = format!("Member {id} has another InstanceId, or none.");
                Err(refuse(ErrorCode::InvalidRequest, message))
            }
            None if self.members.len() >= MAX_GROUP_MEMBERS => {
                let message =
                    format!("The consumer group has reached its maximum of {MAX_GROUP_MEMBERS} members.");
                Err(refuse(ErrorCode::GroupMaxSizeReached, message))
            }
            None => Ok((Member::default(), None)),
            Some(member) if member.id != *id && joins => self.replacement(member, request),
            Some(member) if member.id != *id => Err(self.fenced_instance(request)),
            Some(member) if joins || member.accepts(request.member_epoch, owned) => {
                Ok((member.clone(), None))
            }
            Some(member) => {
                let (than, sent, epoch) = match request.member_epoch > member.epoch {
                    true => ("greater", request.member_epoch, member.epoch),
                    false => ("smaller", request.member_epoch, member.epoch),
                };
                let message = format!(
                    "The consumer group member has a {than} member epoch ({sent}) than the one known by the group \
                     coordinator ({epoch}). The member must abandon all its partitions and rejoin."
                );
                Err(refuse(ErrorCode::FencedMemberEpoch, message))
            }
        }
    }

    /// A static member comes back under a new id, if the old one has left for a while.
    fn replacement(&self, old: &Member, request: &Request) -> Result<(Member, Option<String>), Refusal> {
        if old.epoch != LEAVE_STATIC {
            let message = format!(
                "Static member {} with instance id {} cannot join the group because the instance id is owned by {} member.",
                request.member_id,
                request.instance_id.as_deref().unwrap_or_default(),
                old.id,
            );
            return Err(refuse(ErrorCode::UnreleasedInstanceId, message));
        }
        let member = Member { id: request.member_id.clone(), epoch: 0, previous_epoch: 0, ..old.clone() };
        Ok((member, Some(old.id.clone())))
    }

    /// What the request says of its member; nulls mean that nothing has changed.
    fn apply(&self, member: &mut Member, request: &Request, client: &Caller) -> Result<(), Refusal> {
        let joins = request.member_epoch == JOIN;
        if request.instance_id.is_some() {
            member.instance_id.clone_from(&request.instance_id);
        }
        if request.rack_id.is_some() || joins {
            member.rack.clone_from(&request.rack_id);
        }
        if request.rebalance_timeout_ms != -1 {
            member.rebalance_timeout_ms = request.rebalance_timeout_ms;
        }
        if let Some(name) = &request.server_assignor {
            member.assignor = Assignor::named(name);
        }
        if let Some(names) = &request.subscribed_topic_names {
            member.names = names.iter().cloned().collect();
        }
        if let Some(regex) = request.subscribed_topic_regex.as_ref().filter(|regex| **regex != member.regex) {
            if self.wanted(Some(request)).patterns.len() > MAX_PATTERNS_PER_GROUP {
                let message = format!("A group has at most {MAX_PATTERNS_PER_GROUP} regular expressions.");
                return Err(refuse(ErrorCode::InvalidRegularExpression, message));
            }
            member.regex.clone_from(regex);
        }
        if joins {
            member.client_id.clone_from(&client.client_id);
            member.client_host.clone_from(&client.client_host);
        }
        Ok(())
    }

    /// A new epoch if members or topics ask for it, and a new target for a new epoch.
    fn renew(&mut self, subscribes: bool) {
        let pending = self.epoch > self.state.assignment_epoch;
        if !(subscribes || self.view_changed || pending) {
            return;
        }
        let (of_members, topics) = self.subscriptions();
        let topics_hash = topics::hash(&topics);
        let differs = topics_hash != self.state.topics_hash;
        (self.state.topics_hash, self.view_changed) = (topics_hash, false);
        // An epoch without a target takes whatever the topics have become meanwhile.
        if subscribes || (differs && !pending) {
            self.bump();
        }
        if self.epoch > self.state.assignment_epoch {
            self.retarget(&of_members, &topics);
            self.state.assignment_epoch = self.epoch;
        }
    }

    fn bump(&mut self) {
        self.epoch = self.epoch.saturating_add(1);
    }

    /// Topics of each member, in the order of the members, and the partitions of all of them.
    fn subscriptions(&self) -> (Vec<BTreeSet<Uuid>>, BTreeMap<Uuid, u32>) {
        let (mut of_members, mut topics) = (Vec::with_capacity(self.members.len()), BTreeMap::new());
        for member in self.members.iter() {
            let seen: BTreeMap<Uuid, u32> = self
                .view
                .of(&member.names, &member.regex)
                .map(|topic| (topic.id, topic.partitions))
                .collect();
            of_members.push(seen.keys().copied().collect());
            topics.extend(seen);
        }
        (of_members, topics)
    }

    fn retarget(&mut self, of_members: &[BTreeSet<Uuid>], topics: &BTreeMap<Uuid, u32>) {
        let subscriber = |(member, topics)| {
            let Member { id, instance_id, target, .. }: &Member = member;
            Subscriber { id, instance_id: instance_id.as_deref(), topics, target }
        };
        let subscribers: Vec<_> = self.members.iter().zip(of_members).map(subscriber).collect();
        let targets = self.assignor().assign(&subscribers, topics);
        let changed: Vec<Member> = self
            .members
            .iter()
            .zip(targets)
            .filter(|(member, target)| member.target != *target)
            .map(|(member, target)| Member { target, ..member.clone() })
            .collect();
        changed.into_iter().for_each(|member| self.members.put(member));
    }

    /// The one that most members ask for; the default if none does.
    fn assignor(&self) -> Assignor {
        let votes = |of: Assignor| self.members.iter().filter(|member| member.assignor == Some(of)).count();
        let best = Assignor::ALL.into_iter().rev().max_by_key(|of| votes(*of));
        best.filter(|of| votes(*of) > 0).unwrap_or_default()
    }

    /// Takes a member one step on. Whether what it is to hold has changed.
    fn reconcile(&mut self, id: &str, owned: Option<&Partitions>) -> bool {
        let Some(before) = self.members.get(id) else { return false };
        let mut member = before.clone();
        member.reconcile(self.state.assignment_epoch, owned, |of| self.members.holds_other(of, id));
        let changed = member.assigned != before.assigned;
        self.members.put(member);
        changed
    }

    fn answer(&self, request: &Request, changed: bool) -> Response {
        // A member that lost an answer tells everything, and is told everything.
        let full = request.rebalance_timeout_ms != -1
            && (request.subscribed_topic_names.is_some() || request.subscribed_topic_regex.is_some())
            && request.topic_partitions.is_some();
        let member = self.members.get(&request.member_id);
        let tell = request.member_epoch == JOIN || full || changed;
        Response {
            member_id: Some(request.member_id.clone()),
            member_epoch: member.map_or(0, |member| member.epoch),
            heartbeat_interval_ms: HEARTBEAT_INTERVAL.as_millis() as i32,
            assignment: member.filter(|_| tell).map(|member| assignment(&member.assigned)),
            ..Response::default()
        }
    }

    fn leave(&mut self, request: &Request) -> Result<Response, Refusal> {
        if self.converts {
            return Err(refuse(ErrorCode::GroupIdNotFound, format!("Group {} not found.", self.name)));
        }
        let id = &request.member_id;
        let member = match &request.instance_id {
            None => self.members.get(id).ok_or_else(|| self.unknown(id))?,
            Some(instance_id) => self.members.instance(instance_id, id).ok_or_else(|| self.unknown(id))?,
        };
        if member.id != *id {
            return Err(self.fenced_instance(request));
        }
        if request.member_epoch == LEAVE_STATIC {
            // It comes back soon: nothing moves until its session is over.
            let away = Member {
                epoch: LEAVE_STATIC,
                step: Step::Stable,
                revoking: Partitions::new(),
                ..member.clone()
            };
            self.members.put(away);
            if let Some(timer) = self.timers.get_mut(id) {
                timer.rebalance = None;
            }
        } else {
            self.remove(id);
        }
        Ok(Response {
            member_id: Some(id.clone()),
            member_epoch: request.member_epoch,
            ..Response::default()
        })
    }

    fn remove(&mut self, id: &str) {
        self.timers.remove(id);
        if self.members.remove(id).is_some() {
            self.bump();
        }
    }

    fn keep_alive(&mut self, id: &str, now: Instant) {
        let Some(member) = self.members.get(id) else { return };
        let old = self.timers.get(id).and_then(|timer| timer.rebalance);
        let limit = Duration::from_millis(member.rebalance_timeout_ms.max(0).unsigned_abs().into());
        let rebalance = (member.step == Step::Unrevoked).then(|| {
            // Each epoch has its own time; a heartbeat that gives nothing up does not prolong it.
            old.filter(|(epoch, _)| *epoch == member.epoch).unwrap_or((member.epoch, now + limit))
        });
        let timer = Timer { session: now + SESSION_TIMEOUT, rebalance };
        self.next = Some(self.next.map_or(timer.first(), |next| next.min(timer.first())));
        self.timers.insert(id.to_owned(), timer);
    }

    /// When [`expire`](ConsumerGroup::expire) is to be called, at the latest; `None`: there are no members.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.next
    }

    /// Removes members that were silent for a session, or did not give up partitions in time.
    pub(crate) fn expire(&mut self, now: Instant) {
        let over = self.timers.iter().filter(|(_, timer)| timer.first() <= now);
        let over: Vec<String> = over.map(|(id, _)| id.clone()).collect();
        over.iter().for_each(|id| self.remove(id));
        self.next = self.timers.values().map(Timer::first).min();
    }

    /// What the manifest does not know yet, as one change. `None`: it knows all.
    pub(crate) fn update(&self) -> Option<UpdateGroup> {
        let (put, remove) = self.members.changes();
        let state_same = self.known == (self.epoch, self.state);
        if put.is_empty() && remove.is_empty() && state_same {
            return None;
        }
        Some(UpdateGroup {
            group: self.name.clone(),
            seen_version: self.version,
            kind: GroupKind::Consumer,
            protocol_type: PROTOCOL_TYPE.to_owned(),
            protocol: self.assignor().name().to_owned(),
            epoch: self.epoch,
            leader: String::new(),
            state: prost::Message::encode_to_vec(&self.state).into(),
            replace: false,
            put: put.into_iter().map(records::encode).collect(),
            remove,
        })
    }

    /// The last [`update`](ConsumerGroup::update) holds: the group has this version.
    pub(crate) fn committed(&mut self, version: u64) {
        (self.version, self.known, self.converts) = (version, (self.epoch, self.state), false);
        self.members.told();
    }

    fn unknown(&self, id: &str) -> Refusal {
        let message = format!("Member {id} is not a member of group {}.", self.name);
        refuse(ErrorCode::UnknownMemberId, message)
    }

    fn fenced_instance(&self, request: &Request) -> Refusal {
        let message = format!(
            "Static member {} with instance id {} was fenced by another member.",
            request.member_id,
            request.instance_id.as_deref().unwrap_or_default(),
        );
        refuse(ErrorCode::FencedInstanceId, message)
    }
}

impl Timer {
    fn first(&self) -> Instant {
        self.rebalance.map_or(self.session, |(_, until)| until.min(self.session))
    }
}

fn refuse(code: ErrorCode, message: String) -> Refusal {
    Refusal { code, message }
}

fn assignment(partitions: &Partitions) -> Assignment {
    let mut topics: BTreeMap<Uuid, Vec<i32>> = BTreeMap::new();
    for (topic, partition) in partitions {
        topics.entry(*topic).or_default().push(partition.cast_signed());
    }
    let topic = |(topic, partitions): (Uuid, _)| TopicPartitions { topic_id: topic.into_bytes(), partitions };
    Assignment { topic_partitions: topics.into_iter().map(topic).collect() }
}
