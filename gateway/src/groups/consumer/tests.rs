//! The rules of Kafka's coordinator one by one; `clients` plays random groups.
#![allow(clippy::unwrap_used, clippy::panic, clippy::expect_used)]

mod clients;
mod mixed;
mod mixed_kit;
mod mixed_clients;

use std::collections::BTreeMap;
use std::time::Duration;

use strandline_core::manifest::{Group, GroupKind, GroupMember, UpdateGroup};
use strandline_kafka::error::ErrorCode;
use strandline_kafka::messages::consumer_group_heartbeat::{Assignment, Request, Response, TopicPartitions};
use tokio::time::Instant;
use uuid::Uuid;

use super::topics::Partitions;
use super::{ConsumerGroup, HEARTBEAT_INTERVAL, Refusal, SESSION_TIMEOUT, Topic, check, heartbeat};
use crate::groups::Caller;

/// A group, the manifest below it and the topics.
struct Bench {
    group: ConsumerGroup,
    durable: Option<Group>,
    topics: BTreeMap<String, Topic>,
    now: Instant,
    commits: usize,
}

impl Bench {
    fn new(topics: &[(&str, u32)]) -> Bench {
        let now = Instant::now();
        let mut bench = Bench {
            group: ConsumerGroup::load("g", None, now).unwrap(),
            durable: None,
            topics: BTreeMap::new(),
            now,
            commits: 0,
        };
        topics.iter().for_each(|(name, partitions)| bench.create(name, *partitions));
        bench
    }

    /// Or lets it grow.
    fn create(&mut self, name: &str, partitions: u32) {
        let id = id_of(name);
        self.topics.insert(name.to_owned(), Topic { id, partitions });
    }

    /// One heartbeat, without its commit.
    fn begin(&mut self, request: &Request) -> Result<Response, Refusal> {
        check(request, 1)?;
        let wanted = self.group.wanted(Some(request));
        self.group.look(&wanted, &self.topics);
        let client = Caller { client_id: "client".to_owned(), client_host: "/127.0.0.1".to_owned() };
        self.group.heartbeat(request, &client, self.now)
    }

    /// What the fold does.
    fn commit(&mut self) {
        let Some(update) = self.group.update() else { return };
        assert_eq!(update.seen_version, self.durable.as_ref().map_or(0, |group| group.version));
        self.commits += 1;
        let version = update.seen_version + 1;
        fold(self.durable.get_or_insert_default(), update, version);
        self.group.committed(version);
        if !self.is_classic() {
            assert_eq!(self.group.update(), None);
        }
    }

    /// The group assigns itself now, and this machine is of no use any more.
    fn is_classic(&self) -> bool {
        let durable = self.durable.as_ref();
        durable.is_some_and(|group| group.kind == GroupKind::Classic && !group.members.is_empty())
    }

    /// Another node takes over.
    fn reload(&mut self) {
        self.group = ConsumerGroup::load("g", self.durable.as_ref(), self.now).unwrap();
    }

    fn send(&mut self, request: &Request) -> Result<Response, ErrorCode> {
        let answer = self.begin(request);
        self.commit();
        answer.map_err(|refusal| refusal.code)
    }

    fn ok(&mut self, request: &Request) -> (i32, Option<Partitions>) {
        let response = self.send(request).unwrap();
        (response.member_epoch, response.assignment.map(|assignment| told(&assignment)))
    }

    fn later(&mut self, by: Duration) {
        self.now += by;
        if self.group.deadline().is_some_and(|deadline| deadline <= self.now) {
            self.group.expire(self.now);
        }
        self.commit();
    }
}

fn fold(group: &mut Group, update: UpdateGroup, version: u64) {
    assert!(update.epoch >= group.epoch);
    assert!(update.replace || update.kind == group.kind || group.members.is_empty());
    if update.replace {
        group.members.clear();
    }
    for id in &update.remove {
        group.members.remove(id);
    }
    group.members.extend(update.put.into_iter().map(|member| (member.id.clone(), member)));
    (group.kind, group.epoch, group.version) = (update.kind, update.epoch, version);
    (group.state, group.protocol) = (update.state, update.protocol);
    (group.leader, group.protocol_type) = (update.leader, update.protocol_type);
}

fn id_of(name: &str) -> Uuid {
    Uuid::from_u128(name.bytes().fold(1, |id, byte| id << 8 | u128::from(byte)))
}

fn told(assignment: &Assignment) -> Partitions {
    let topics = assignment.topic_partitions.iter();
    topics.flat_map(|of| of.partitions.iter().map(|p| (Uuid::from_bytes(of.topic_id), *p as u32))).collect()
}

fn owned(partitions: &Partitions) -> Option<Vec<TopicPartitions>> {
    Some(heartbeat::assignment(partitions).topic_partitions)
}

fn of(topic: &str, partitions: impl IntoIterator<Item = u32>) -> Partitions {
    partitions.into_iter().map(|partition| (id_of(topic), partition)).collect()
}

fn join(member: &str, topics: &[&str]) -> Request {
    Request {
        group_id: "g".to_owned(),
        member_id: member.to_owned(),
        member_epoch: 0,
        rebalance_timeout_ms: 60_000,
        subscribed_topic_names: Some(topics.iter().map(|topic| (*topic).to_owned()).collect()),
        topic_partitions: Some(Vec::new()),
        ..Request::default()
    }
}

fn beat(member: &str, epoch: i32, holds: Option<&Partitions>) -> Request {
    Request {
        group_id: "g".to_owned(),
        member_id: member.to_owned(),
        member_epoch: epoch,
        topic_partitions: holds.and_then(owned),
        ..Request::default()
    }
}

#[test]
fn a_partition_moves_only_after_its_owner_gave_it_up() {
    let mut bench = Bench::new(&[("t", 4)]);
    assert_eq!(bench.ok(&join("a", &["t"])), (1, Some(of("t", 0..4))));
    // The second one gets nothing yet, and is at the newest epoch.
    assert_eq!(bench.ok(&join("b", &["t"])), (2, Some(Partitions::new())));
    assert_eq!(bench.ok(&beat("b", 2, None)), (2, None));
    // The first one is told to give two up, and stays at its epoch until it did.
    assert_eq!(bench.ok(&beat("a", 1, Some(&of("t", 0..4)))), (1, Some(of("t", 0..2))));
    assert_eq!(bench.ok(&beat("a", 1, None)), (1, None));
    assert_eq!(bench.ok(&beat("a", 1, Some(&of("t", 0..3)))), (1, None));
    assert_eq!(bench.ok(&beat("b", 2, None)), (2, None));
    assert_eq!(bench.ok(&beat("a", 1, Some(&of("t", 0..2)))), (2, None));
    assert_eq!(bench.ok(&beat("b", 2, None)), (2, Some(of("t", 2..4))));
    let commits = bench.commits;
    assert_eq!(bench.ok(&beat("b", 2, Some(&of("t", 2..4)))), (2, None));
    assert_eq!(bench.ok(&beat("a", 2, None)), (2, None));
    assert_eq!(bench.commits, commits, "a heartbeat that changes nothing costs nothing");
    // What the fold checks offset commits against.
    assert_eq!(bench.durable.as_ref().unwrap().check_member("a", 2, None), Ok(()));
    assert!(bench.durable.as_ref().unwrap().check_member("a", 1, None).is_err());
    // The one that leaves makes room at once.
    assert_eq!(bench.ok(&beat("a", -1, None)), (-1, None));
    assert_eq!(bench.ok(&beat("b", 2, None)), (3, Some(of("t", 0..4))));
}

#[test]
fn a_lost_answer_is_given_again_and_a_stale_member_is_fenced() {
    let mut bench = Bench::new(&[("t", 4)]);
    bench.ok(&join("a", &["t"]));
    bench.ok(&join("b", &["t"]));
    bench.ok(&beat("a", 1, None));
    // The answer to this one is lost.
    assert_eq!(bench.ok(&beat("a", 1, Some(&of("t", 0..2)))), (2, None));
    let full = Request {
        rebalance_timeout_ms: 60_000,
        subscribed_topic_names: Some(vec!["t".to_owned()]),
        ..beat("a", 1, Some(&of("t", 0..2)))
    };
    assert_eq!(bench.ok(&full), (2, Some(of("t", 0..2))));
    assert_eq!(bench.send(&beat("a", 1, None)), Err(ErrorCode::FencedMemberEpoch));
    assert_eq!(bench.send(&beat("a", 1, Some(&of("t", 0..3)))), Err(ErrorCode::FencedMemberEpoch));
    assert_eq!(bench.send(&beat("a", 3, None)), Err(ErrorCode::FencedMemberEpoch));
    assert_eq!(bench.send(&beat("c", 3, None)), Err(ErrorCode::UnknownMemberId));
    // It joins again under its old id, and nothing is moved for that.
    assert_eq!(bench.ok(&join("a", &["t"])), (2, Some(of("t", 0..2))));
    assert_eq!(bench.durable.as_ref().unwrap().epoch, 2);
}

#[test]
fn requests_that_contradict_themselves_are_refused() {
    let mut bench = Bench::new(&[("t", 1)]);
    let join = join("a", &["t"]);
    let mut refused = |request: &Request, code: ErrorCode| assert_eq!(bench.send(request), Err(code));
    refused(&beat("a", 1, None), ErrorCode::GroupIdNotFound);
    refused(&beat("a", -1, None), ErrorCode::GroupIdNotFound);
    let invalid = ErrorCode::InvalidRequest;
    refused(&Request { group_id: String::new(), ..join.clone() }, invalid);
    refused(&Request { member_id: String::new(), ..join.clone() }, invalid);
    refused(&Request { instance_id: Some(" ".to_owned()), ..join.clone() }, invalid);
    refused(&Request { rack_id: Some(String::new()), ..join.clone() }, invalid);
    refused(&Request { rebalance_timeout_ms: -1, ..join.clone() }, invalid);
    refused(&Request { topic_partitions: None, ..join.clone() }, invalid);
    refused(&Request { topic_partitions: owned(&of("t", 0..1)), ..join.clone() }, invalid);
    refused(&Request { subscribed_topic_names: None, ..join.clone() }, invalid);
    refused(&Request { member_epoch: -2, ..join.clone() }, invalid);
    refused(&Request { member_epoch: -3, ..join.clone() }, invalid);
    let other = Request { server_assignor: Some("sticky".to_owned()), ..join.clone() };
    refused(&other, ErrorCode::UnsupportedAssignor);
    for regex in ["(", "a)|(b", "a(?=b)", r"\1", "(a{1000}){1000}", &"a".repeat(2_000)] {
        let regex = Request { subscribed_topic_regex: Some(regex.to_owned()), ..join.clone() };
        refused(&regex, ErrorCode::InvalidRegularExpression);
    }
    assert_eq!(bench.commits, 0);
    assert_eq!(check(&Request { member_id: String::new(), ..join }, 0), Ok(()));
}

#[test]
fn a_pattern_matches_whole_names_and_follows_the_topics() {
    let mut bench = Bench::new(&[("orders", 1), ("orders-eu", 1), ("reorders", 1)]);
    let request = Request {
        subscribed_topic_names: None,
        subscribed_topic_regex: Some("orders|orders-.*".to_owned()),
        ..join("a", &[])
    };
    let mut all = &of("orders", 0..1) | &of("orders-eu", 0..1);
    assert_eq!(bench.ok(&request), (1, Some(all.clone())));
    assert_eq!(bench.ok(&beat("a", 1, Some(&all))), (1, None));
    bench.create("orders-us", 2);
    bench.reload();
    all.extend(of("orders-us", 0..2));
    assert_eq!(bench.ok(&beat("a", 1, None)), (2, Some(all.clone())));
    bench.create("orders", 2);
    all.extend(of("orders", 1..2));
    assert_eq!(bench.ok(&beat("a", 2, None)), (3, Some(all.clone())));
    bench.create("other", 2);
    assert_eq!(bench.ok(&beat("a", 3, None)), (3, None));
    bench.topics.remove("orders-us");
    all.retain(|(topic, _)| *topic != id_of("orders-us"));
    assert_eq!(bench.ok(&beat("a", 3, None)), (3, Some(all.clone())));
    assert_eq!(bench.ok(&beat("a", 3, Some(&all))), (4, None));
    // Names take the place of the pattern.
    let names = Request {
        subscribed_topic_names: Some(vec!["other".to_owned()]),
        subscribed_topic_regex: Some(String::new()),
        ..beat("a", 4, Some(&all))
    };
    assert_eq!(bench.ok(&names), (4, Some(Partitions::new())));
    assert_eq!(bench.ok(&beat("a", 4, Some(&Partitions::new()))), (5, Some(of("other", 0..2))));
}

#[test]
fn a_static_member_that_comes_back_gets_what_it_had() {
    let mut bench = Bench::new(&[("t", 4)]);
    let of_instance = |request: Request| Request { instance_id: Some("i".to_owned()), ..request };
    let mine = of("t", 0..4);
    assert_eq!(bench.ok(&of_instance(join("a", &["t"]))), (1, Some(mine.clone())));
    assert_eq!(bench.send(&of_instance(join("b", &["t"]))), Err(ErrorCode::UnreleasedInstanceId));
    assert_eq!(bench.send(&of_instance(beat("b", 1, None))), Err(ErrorCode::FencedInstanceId));
    assert_eq!(bench.send(&of_instance(beat("b", -2, None))), Err(ErrorCode::FencedInstanceId));
    let other = Request { instance_id: Some("j".to_owned()), ..beat("a", 1, None) };
    assert_eq!(bench.send(&other), Err(ErrorCode::UnknownMemberId));
    assert_eq!(bench.ok(&of_instance(beat("a", -2, None))), (-2, None));
    assert_eq!(bench.send(&of_instance(beat("a", 1, None))), Err(ErrorCode::FencedMemberEpoch));
    bench.reload();
    assert_eq!(bench.ok(&of_instance(join("b", &["t"]))), (1, Some(mine.clone())));
    assert_eq!(bench.durable.as_ref().unwrap().epoch, 1, "no rebalance");
    assert_eq!(bench.send(&of_instance(beat("a", 1, None))), Err(ErrorCode::FencedInstanceId));
    // One that does not come back is gone when its session is over.
    assert_eq!(bench.ok(&of_instance(beat("b", -2, None))), (-2, None));
    assert_eq!(bench.ok(&join("c", &["t"])), (2, Some(Partitions::new())));
    bench.later(SESSION_TIMEOUT / 2);
    assert_eq!(bench.ok(&beat("c", 2, None)), (2, None));
    bench.later(SESSION_TIMEOUT / 2);
    assert_eq!(bench.ok(&beat("c", 2, None)), (3, Some(mine)));
}

#[test]
fn silent_members_and_those_that_keep_what_they_should_give_up_are_gone() {
    let mut bench = Bench::new(&[("t", 2)]);
    let quick = Request { rebalance_timeout_ms: 10_000, ..join("a", &["t"]) };
    assert_eq!(bench.ok(&quick), (1, Some(of("t", 0..2))));
    bench.ok(&join("b", &["t"]));
    for _ in 0..2 {
        assert_eq!(bench.send(&beat("a", 1, None)).unwrap().member_epoch, 1);
        bench.later(HEARTBEAT_INTERVAL);
    }
    assert_eq!(bench.send(&beat("a", 1, None)), Err(ErrorCode::UnknownMemberId));
    assert_eq!(bench.ok(&beat("b", 2, None)), (3, Some(of("t", 0..2))));
    bench.later(SESSION_TIMEOUT - Duration::from_millis(1));
    bench.reload();
    bench.later(SESSION_TIMEOUT - Duration::from_millis(1));
    assert!(!bench.group.is_empty(), "a new coordinator gives everybody a whole session");
    bench.later(Duration::from_millis(1));
    assert!(bench.group.is_empty());
    assert_eq!(bench.durable.as_ref().unwrap().members.len(), 0);
    assert_eq!(bench.send(&beat("b", 3, None)), Err(ErrorCode::UnknownMemberId));
}

#[test]
fn the_assignor_that_most_members_ask_for_assigns() {
    let mut bench = Bench::new(&[("s", 2), ("t", 2)]);
    let range = |member| Request { server_assignor: Some("range".to_owned()), ..join(member, &["s", "t"]) };
    bench.ok(&join("a", &["s", "t"]));
    bench.ok(&range("b"));
    assert_eq!(bench.durable.as_ref().unwrap().protocol, "range");
    bench.ok(&join("c", &["s", "t"]));
    bench.ok(&Request { server_assignor: Some("uniform".to_owned()), ..join("d", &["s", "t"]) });
    assert_eq!(bench.durable.as_ref().unwrap().protocol, "uniform");
    bench.ok(&range("e"));
    assert_eq!(bench.durable.as_ref().unwrap().protocol, "range");
}

#[test]
fn an_empty_group_of_another_kind_becomes_one_and_one_with_members_does_not() {
    let mut bench = Bench::new(&[("t", 1)]);
    let mut classic = Group { kind: GroupKind::Classic, epoch: 7, version: 3, ..Group::default() };
    bench.durable = Some(classic.clone());
    bench.reload();
    assert_eq!(bench.send(&beat("a", 7, None)), Err(ErrorCode::GroupIdNotFound));
    assert_eq!(bench.ok(&join("a", &["t"])), (8, Some(of("t", 0..1))));
    assert_eq!(bench.durable.as_ref().map(|group| group.kind), Some(GroupKind::Consumer));
    classic.members.insert("x".to_owned(), GroupMember { id: "x".to_owned(), ..GroupMember::default() });
    let refused = ConsumerGroup::load("g", Some(&classic), bench.now).unwrap_err();
    assert_eq!(refused.code, ErrorCode::GroupIdNotFound);
}

#[test]
fn damaged_members_are_not_taken_for_members_without_partitions() {
    let mut bench = Bench::new(&[("t", 1)]);
    bench.ok(&join("a", &["t"]));
    let mut group = bench.durable.take().unwrap();
    group.members.get_mut("a").unwrap().assignment = vec![0xff; 8].into();
    let refused = ConsumerGroup::load("g", Some(&group), bench.now).unwrap_err();
    assert_eq!(refused.code, ErrorCode::UnknownServerError);
}
