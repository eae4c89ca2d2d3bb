//! A group, a clock and clients that ask in one line.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use strandline_core::manifest::UpdateGroup;
use strandline_kafka::error::ErrorCode;
use strandline_kafka::messages::{join_group, leave_group, sync_group};
use tokio::time::Instant;
use uuid::Uuid;

use super::super::{Answer, Classic, Joining, Save, Ticket};

pub(super) struct Kit {
    pub(super) group: Classic,
    pub(super) now: Instant,
    tickets: Ticket,
    answers: BTreeMap<Ticket, Answer>,
    /// Everything that was saved, in order.
    pub(super) saved: Vec<UpdateGroup>,
    /// Saves that the fold has not answered.
    pub(super) waiting: Vec<Save>,
    /// Whether the fold answers at once.
    pub(super) folds: bool,
}

/// A JoinGroup as clients send it: version 5, sessions of 10 s, a minute to rejoin.
#[derive(Clone)]
pub(super) struct Client {
    pub(super) version: i16,
    pub(super) id: String,
    pub(super) instance: Option<String>,
    pub(super) protocols: Vec<(&'static str, &'static str)>,
    pub(super) session: i32,
    pub(super) rebalance: i32,
    pub(super) protocol_type: &'static str,
}

impl Default for Client {
    fn default() -> Client {
        Client {
            version: 5,
            id: String::new(),
            instance: None,
            protocols: vec![("range", "t")],
            session: 10_000,
            rebalance: 60_000,
            protocol_type: "consumer",
        }
    }
}

impl Client {
    pub(super) fn instance(instance: &str) -> Client {
        Client { instance: Some(instance.to_owned()), ..Client::default() }
    }

    pub(super) fn id(id: &str) -> Client {
        Client { id: id.to_owned(), ..Client::default() }
    }
}

impl Kit {
    pub(super) fn new() -> Kit {
        let now = Instant::now();
        Kit {
            group: Classic::load("g", None, now),
            now,
            tickets: 0,
            answers: BTreeMap::new(),
            saved: Vec::new(),
            waiting: Vec::new(),
            folds: true,
        }
    }

    /// Sends JoinGroup.
    pub(super) fn send_join(&mut self, client: &Client) -> Ticket {
        self.tickets += 1;
        let protocol = |(name, metadata): &(&str, &'static str)| join_group::Protocol {
            name: (*name).to_owned(),
            metadata: Bytes::from_static(metadata.as_bytes()),
        };
        let request = join_group::Request {
            group_id: "g".to_owned(),
            session_timeout_ms: client.session,
            rebalance_timeout_ms: client.rebalance,
            member_id: client.id.clone(),
            group_instance_id: client.instance.clone(),
            protocol_type: client.protocol_type.to_owned(),
            protocols: client.protocols.iter().map(protocol).collect(),
            reason: None,
        };
        let joining = Joining {
            ticket: self.tickets,
            version: client.version,
            client_id: "c".to_owned(),
            client_host: "/127.0.0.1".to_owned(),
            dice: Uuid::from_u128(u128::from(self.tickets)),
            request,
        };
        self.group.tick(self.now);
        self.group.join(self.now, joining);
        self.settle();
        self.tickets
    }

    /// As [`Kit::send_join`], with an id from the group first if there is none.
    pub(super) fn join(&mut self, client: &Client) -> Ticket {
        let ticket = self.send_join(client);
        match self.joined(ticket) {
            Some(refused) if refused.error_code == ErrorCode::MemberIdRequired.code() => {
                self.send_join(&Client { id: refused.member_id, ..client.clone() })
            }
            Some(answer) => {
                self.answers.insert(ticket, Answer::Join(answer));
                ticket
            }
            None => ticket,
        }
    }

    /// A refusal, at once.
    pub(super) fn refused(&mut self, client: &Client) -> ErrorCode {
        let ticket = self.send_join(client);
        code(self.joined(ticket).expect("it waits").error_code)
    }

    /// The answer to a JoinGroup, if it is there.
    pub(super) fn joined(&mut self, ticket: Ticket) -> Option<join_group::Response> {
        match self.answers.remove(&ticket)? {
            Answer::Join(response) => Some(response),
            Answer::Sync(_) => panic!("not a JoinGroup"),
        }
    }

    /// The generation that a JoinGroup got into.
    pub(super) fn generation(&mut self, ticket: Ticket) -> join_group::Response {
        let joined = self.joined(ticket).expect("the JoinGroup still waits");
        assert_eq!(code(joined.error_code), ErrorCode::None);
        joined
    }

    /// Sends SyncGroup.
    pub(super) fn sync(&mut self, id: &str, generation: i32, assignments: &[(&str, &str)]) -> Ticket {
        let assign = |(id, assignment): &(&str, &str)| sync_group::Assignment {
            member_id: (*id).to_owned(),
            assignment: Bytes::copy_from_slice(assignment.as_bytes()),
        };
        let request = sync_group::Request {
            group_id: "g".to_owned(),
            generation_id: generation,
            member_id: id.to_owned(),
            assignments: assignments.iter().map(assign).collect(),
            ..sync_group::Request::default()
        };
        self.send_sync(request)
    }

    pub(super) fn send_sync(&mut self, request: sync_group::Request) -> Ticket {
        self.tickets += 1;
        self.group.tick(self.now);
        self.group.sync(self.now, self.tickets, request);
        self.settle();
        self.tickets
    }

    /// The answer to a SyncGroup, if it is there: the assignment or the error.
    pub(super) fn synced(&mut self, ticket: Ticket) -> Option<Result<String, ErrorCode>> {
        let Answer::Sync(response) = self.answers.remove(&ticket)? else { panic!("not a SyncGroup") };
        Some(match code(response.error_code) {
            ErrorCode::None => Ok(String::from_utf8(response.assignment.to_vec()).unwrap()),
            code => Err(code),
        })
    }

    pub(super) fn heartbeat(&mut self, id: &str, generation: i32) -> Result<(), ErrorCode> {
        self.group.tick(self.now);
        let beat = self.group.heartbeat(self.now, id, generation, None);
        self.settle();
        beat
    }

    /// One member goes.
    pub(super) fn leave(&mut self, id: &str, instance: Option<&str>) -> ErrorCode {
        let member = leave_group::Member {
            member_id: id.to_owned(),
            group_instance_id: instance.map(str::to_owned),
            ..leave_group::Member::default()
        };
        self.group.tick(self.now);
        let left = self.group.leave(self.now, vec![member]);
        self.settle();
        code(left[0].error_code)
    }

    /// Time passes; timers go off when they are due.
    pub(super) fn pass(&mut self, milliseconds: u64) {
        let end = self.now + Duration::from_millis(milliseconds);
        while let Some(due) = self.group.due().filter(|due| *due <= end) {
            self.now = self.now.max(due);
            self.group.tick(self.now);
            self.settle();
        }
        self.now = end;
    }

    /// The fold answers what waits.
    pub(super) fn fold(&mut self) {
        for save in std::mem::take(&mut self.waiting) {
            self.saved.push(save.update);
            self.group.saved(self.now, save.number);
        }
        self.answers.extend(self.group.take_answers());
    }

    pub(super) fn settle(&mut self) {
        self.answers.extend(self.group.take_answers());
        self.waiting.extend(self.group.take_save());
        if self.folds {
            self.fold();
        }
    }

    /// Members that are in a stable generation: their ids, the leader first. Each is assigned its own id.
    pub(super) fn stable(&mut self, clients: &[Client]) -> (i32, Vec<String>) {
        let tickets: Vec<_> = clients.iter().map(|client| self.join(client)).collect();
        self.pass(3_000);
        let joined: Vec<_> = tickets.into_iter().map(|ticket| self.generation(ticket)).collect();
        let generation = joined[0].generation_id;
        let leader = joined[0].leader.clone();
        let mut ids: Vec<_> = joined.into_iter().map(|joined| joined.member_id).collect();
        ids.sort_by_key(|id| *id != leader);
        self.assign(generation, &ids);
        (generation, ids)
    }

    /// The leader, who stands first, assigns to each member its own id; all get it.
    pub(super) fn assign(&mut self, generation: i32, ids: &[String]) {
        let assignments: Vec<_> = ids.iter().map(|id| (id.as_str(), id.as_str())).collect();
        let mut tickets = vec![self.sync(&ids[0], generation, &assignments)];
        tickets.extend(ids[1..].iter().map(|id| self.sync(id, generation, &[])));
        for (id, ticket) in ids.iter().zip(tickets) {
            assert_eq!(self.synced(ticket), Some(Ok(id.clone())));
        }
    }

    pub(super) fn state(&self) -> &'static str {
        self.group.state_name()
    }
}

pub(super) fn code(code: i16) -> ErrorCode {
    ErrorCode::try_from(code).unwrap()
}
