//! A client of the classic protocol, and what the bench does for it.

use bytes::Bytes;
use strandline_kafka::consumer_protocol;
use strandline_kafka::messages::{join_group, sync_group};

use super::super::ClassicJoin;
use super::*;
use crate::groups::classic::subscription;

/// A client of the classic protocol; it subscribes to `t`.
#[derive(Debug, Clone, Default)]
pub(super) struct Old {
    pub(super) id: String,
    pub(super) instance: Option<String>,
    pub(super) generation: i32,
    pub(super) holds: Partitions,
    /// It keeps what it holds while it joins again.
    pub(super) cooperative: bool,
    pub(super) topics: Vec<String>,
}

impl Old {
    pub(super) fn new(cooperative: bool, topics: &[&str]) -> Old {
        let topics = topics.iter().map(|topic| (*topic).to_owned()).collect();
        Old { cooperative, topics, generation: -1, ..Old::default() }
    }

    pub(super) fn metadata(&self) -> Bytes {
        let count = |bytes: &mut Vec<u8>, count: usize| bytes.extend((count as i32).to_be_bytes());
        let text = |bytes: &mut Vec<u8>, text: &str| {
            bytes.extend((text.len() as i16).to_be_bytes());
            bytes.extend(text.as_bytes());
        };
        let mut bytes = vec![0, 3];
        count(&mut bytes, self.topics.len());
        self.topics.iter().for_each(|topic| text(&mut bytes, topic));
        bytes.extend((-1_i32).to_be_bytes());
        let owned = if self.cooperative { self.holds.clone() } else { Partitions::new() };
        count(&mut bytes, owned.len());
        for (topic, partition) in owned {
            text(&mut bytes, &name_of(topic));
            count(&mut bytes, 1);
            bytes.extend(partition.to_be_bytes());
        }
        bytes.extend(self.generation.to_be_bytes());
        bytes.extend((-1_i16).to_be_bytes());
        bytes.into()
    }

    pub(super) fn request(&self) -> join_group::Request {
        let name = if self.cooperative { "cooperative-sticky" } else { "range" };
        let mut protocols = vec![join_group::Protocol { name: name.to_owned(), metadata: self.metadata() }];
        protocols.push(join_group::Protocol { name: "common".to_owned(), metadata: self.metadata() });
        join_group::Request {
            group_id: "g".to_owned(),
            session_timeout_ms: 10_000,
            rebalance_timeout_ms: 20_000,
            member_id: self.id.clone(),
            group_instance_id: self.instance.clone(),
            protocol_type: "consumer".to_owned(),
            protocols,
            ..join_group::Request::default()
        }
    }
}

pub(super) fn name_of(topic: Uuid) -> String {
    let bytes = topic.as_u128().to_be_bytes();
    // The first byte that is not zero is the one that `id_of` begins with.
    let text = bytes.iter().copied().skip_while(|byte| *byte == 0).skip(1).collect();
    String::from_utf8(text).unwrap()
}

pub(super) fn in_words(assignment: &Bytes) -> Partitions {
    let topics = consumer_protocol::assigned_partitions(assignment).unwrap();
    let of = |of: consumer_protocol::TopicPartitions| {
        let id = id_of(&of.topic);
        of.partitions.into_iter().map(move |partition| (id, partition.cast_unsigned()))
    };
    topics.into_iter().flat_map(of).collect()
}

impl Bench {
    /// A JoinGroup, without its commit.
    pub(super) fn begin_join(&mut self, request: join_group::Request, new_id: &str) -> join_group::Response {
        let caller = Caller { client_id: "old".to_owned(), client_host: "/127.0.0.1".to_owned() };
        match ClassicJoin::read(caller, 9, new_id.to_owned(), request) {
            Ok(join) => {
                let wanted = self.group.wanted_to_join(&join);
                self.group.look(&wanted, &self.topics);
                self.group.join(join, self.now)
            }
            Err(code) => join_group::Response { error_code: code.code(), ..Default::default() },
        }
    }

    /// Joins, as clients do: the first answer only brings the id.
    pub(super) fn join(&mut self, old: &mut Old, id: &str) -> Result<i32, ErrorCode> {
        let mut answer = self.begin_join(old.request(), id);
        if answer.error_code == ErrorCode::MemberIdRequired.code() {
            old.id = answer.member_id;
            answer = self.begin_join(old.request(), id);
        }
        self.commit();
        let codes = [ErrorCode::FencedInstanceId, ErrorCode::UnknownMemberId];
        if answer.error_code != 0 {
            return Err(codes.into_iter().find(|code| code.code() == answer.error_code).unwrap());
        }
        assert!(answer.members.is_empty() && answer.leader.is_empty(), "nobody leads");
        (old.id, old.generation) = (answer.member_id, answer.generation_id);
        Ok(old.generation)
    }

    pub(super) fn sync(&mut self, old: &mut Old) -> Result<Partitions, ErrorCode> {
        let request = sync_group::Request {
            generation_id: old.generation,
            member_id: old.id.clone(),
            group_instance_id: old.instance.clone(),
            ..sync_group::Request::default()
        };
        let answer = self.group.sync(&request, self.now);
        self.commit();
        old.holds = in_words(&answer?.assignment);
        Ok(old.holds.clone())
    }

    pub(super) fn alive(&mut self, old: &Old) -> Result<(), ErrorCode> {
        let beat = self.group.classic_heartbeat(&old.id, old.generation, old.instance.as_deref(), self.now);
        self.commit();
        beat
    }

    /// Whether the fold would take a commit.
    pub(super) fn may_commit(&self, id: &str, generation: i32) -> bool {
        self.durable.as_ref().unwrap().check_member(id, generation, None).is_ok()
    }

    /// A classic group that has this member, which was assigned all of `t`.
    pub(super) fn found(&mut self, old: &mut Old) {
        (old.id, old.generation, old.holds) = ("old".to_owned(), 7, of("t", 0..4));
        let told = heartbeat::assignment(&old.holds).topic_partitions;
        let assigned_partitions = told.into_iter().map(|of| consumer_protocol::TopicPartitions {
            topic: name_of(Uuid::from_bytes(of.topic_id)),
            partitions: of.partitions,
        });
        let assignment = consumer_protocol::Assignment {
            assigned_partitions: assigned_partitions.collect(),
            user_data: None,
        };
        let protocols: Vec<_> = old.request().protocols.into_iter().map(|p| (p.name, p.metadata)).collect();
        let member = GroupMember {
            id: old.id.clone(),
            epoch: 7,
            instance_id: old.instance.clone(),
            session_timeout_ms: 10_000,
            rebalance_timeout_ms: 20_000,
            subscription: subscription::encode(&protocols),
            assignment: consumer_protocol::encode_assignment(3, &assignment).unwrap(),
            ..GroupMember::default()
        };
        self.durable = Some(Group {
            kind: GroupKind::Classic,
            protocol_type: "consumer".to_owned(),
            protocol: protocols[0].0.clone(),
            epoch: 7,
            version: 3,
            leader: old.id.clone(),
            members: [(old.id.clone(), member)].into(),
            ..Group::default()
        });
    }

    pub(super) fn upgrade(&mut self) -> Result<(), Refusal> {
        let topics = self.topics.clone();
        let topic = |name: &str| topics.get(name).copied();
        self.group = ConsumerGroup::upgrade("g", self.durable.as_ref().unwrap(), topic, self.now)?;
        Ok(())
    }
}
