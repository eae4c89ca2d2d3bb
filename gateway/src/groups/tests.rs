//! Coordinators on a journal in memory: two nodes on one bucket, changes behind a coordinator's back, ends.
#![allow(clippy::unwrap_used, clippy::panic, clippy::expect_used)]

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use strandline_core::env::{Clock, Env};
use strandline_core::manifest::{Change, Outcome, journal};
use strandline_core::store::Store;
use strandline_kafka::messages::{heartbeat, join_group, leave_group, sync_group};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

use super::*;
use crate::limits::GROUP_SWEEP;
use crate::node::{Address, Peer};

/// One node's groups.
struct Node {
    groups: Arc<Groups>,
    journal: Journal,
    phase: watch::Sender<Phase>,
}

async fn node(store: &Store) -> Node {
    let journal = Journal::open(store.clone(), journal::Options::default()).await.unwrap();
    let ingest = Ingest::start(journal.clone(), strandline_ingest::Config::default());
    let address = Address { name: "kafka".to_owned(), host: "localhost".to_owned(), port: 9_092 };
    let nodes = Arc::new(Nodes::alone(Peer { id: 1, rack: None, listeners: Arc::from([address]) }));
    let (phase, phases) = Phases::new();
    phase.send_replace(Phase::Serving);
    let groups = Arc::new(Groups::new(journal.clone(), ingest, nodes, phases));
    Node { groups, journal, phase }
}

/// Both clocks go with tokio's, which the tests pause.
#[derive(Debug)]
struct Paused {
    begun: Instant,
    system: Env,
}

impl Clock for Paused {
    fn wall_ms(&self) -> i64 {
        1_700_000_000_000 + self.begun.elapsed().as_millis() as i64
    }

    fn boot_ms(&self) -> u64 {
        self.begun.elapsed().as_millis() as u64
    }

    fn entropy(&self) -> u128 {
        self.system.uuid().as_u128() ^ self.system.uuid().as_u128().rotate_left(64)
    }
}

fn store() -> Store {
    let clock = Paused { begun: Instant::now(), system: Env::system() };
    Store::open("memory:", Env::new(clock)).unwrap()
}

fn asks(member_id: &str) -> join_group::Request {
    join_group::Request {
        group_id: "g".to_owned(),
        session_timeout_ms: 10_000,
        rebalance_timeout_ms: 30_000,
        member_id: member_id.to_owned(),
        protocol_type: "consumer".to_owned(),
        protocols: vec![join_group::Protocol {
            name: "range".to_owned(),
            metadata: Bytes::from_static(b"t"),
        }],
        ..join_group::Request::default()
    }
}

fn beat(member_id: &str, generation_id: i32) -> heartbeat::Request {
    heartbeat::Request {
        group_id: "g".to_owned(),
        generation_id,
        member_id: member_id.to_owned(),
        ..heartbeat::Request::default()
    }
}

impl Node {
    /// Joins as clients of today do: asks for an id first.
    async fn join(&self, member_id: &str) -> join_group::Response {
        let joined = self.groups.join(Caller::default(), 9, asks(member_id)).await;
        match joined.error_code {
            79 => self.groups.join(Caller::default(), 9, asks(&joined.member_id)).await,
            _ => joined,
        }
    }

    fn joining(&self, member_id: &str) -> JoinHandle<join_group::Response> {
        let (groups, request) = (Arc::clone(&self.groups), asks(member_id));
        tokio::spawn(async move { groups.join(Caller::default(), 3, request).await })
    }

    async fn sync(&self, member_id: &str, generation_id: i32, assigned: &[&str]) -> sync_group::Response {
        let assign = |id: &&str| sync_group::Assignment {
            member_id: (*id).to_owned(),
            assignment: Bytes::copy_from_slice(id.as_bytes()),
        };
        let request = sync_group::Request {
            group_id: "g".to_owned(),
            generation_id,
            member_id: member_id.to_owned(),
            assignments: assigned.iter().map(assign).collect(),
            ..sync_group::Request::default()
        };
        self.groups.sync(request).await
    }

    /// A group with one member: its id.
    async fn settled(&self) -> String {
        let joined = self.join("").await;
        assert_eq!((joined.error_code, joined.generation_id), (0, 1));
        let synced = self.sync(&joined.member_id, 1, &[&joined.member_id]).await;
        assert_eq!((synced.error_code, &synced.assignment[..]), (0, joined.member_id.as_bytes()));
        joined.member_id
    }

    async fn leave(&self, member_id: &str) -> i16 {
        let member = leave_group::Member { member_id: member_id.to_owned(), ..Default::default() };
        self.groups.leave("g", vec![member]).await.unwrap()[0].error_code
    }

    async fn live(&self) -> Option<Live> {
        self.groups.describe("g").await
    }

    fn epoch(&self) -> (i32, usize) {
        self.journal.view(|manifest| {
            let group = manifest.group("g").unwrap();
            (group.epoch, group.members.len())
        })
    }
}

#[tokio::test(start_paused = true)]
async fn a_group_lives_and_ends_and_leaves_no_task_behind() {
    let node = node(&store()).await;
    let id = node.settled().await;
    assert_eq!(node.groups.heartbeat(beat(&id, 1)).await, Ok(()));
    assert_eq!(node.groups.admit_commit("g", &id, 1, None).await, Ok(()));
    assert_eq!(node.groups.admit_commit("g", &id, 0, None).await, Err(ErrorCode::IllegalGeneration));
    let live = node.live().await.unwrap();
    assert_eq!((live.state, live.protocol.as_str(), live.members.len()), ("Stable", "range", 1));
    assert_eq!((&live.members[0].metadata[..], &live.members[0].assignment[..]), (&b"t"[..], id.as_bytes()));
    assert_eq!(node.epoch(), (1, 1));
    assert_eq!(node.leave(&id).await, 0);
    sleep(Duration::from_secs(1)).await;
    assert_eq!((node.epoch(), node.groups.state("g")), ((2, 0), None));
    assert_eq!(node.groups.heartbeat(beat(&id, 1)).await, Err(ErrorCode::UnknownMemberId));
    assert_eq!(node.groups.state("g"), None);
    assert_eq!(node.groups.heartbeat(heartbeat::Request::default()).await, Err(ErrorCode::InvalidGroupId));
}

#[tokio::test(start_paused = true)]
async fn another_coordinator_takes_over_without_a_rebalance() {
    let store = store();
    let (old, new) = (node(&store).await, node(&store).await);
    let id = old.settled().await;
    drop(old.phase);
    assert_eq!(new.groups.heartbeat(beat(&id, 1)).await, Ok(()));
    assert_eq!(new.sync(&id, 1, &[]).await.assignment, id.as_bytes());
    // It counts the silence from then on.
    sleep(Duration::from_secs(11)).await;
    assert_eq!(new.epoch(), (2, 0));
}

#[tokio::test(start_paused = true)]
async fn a_coordinator_that_was_passed_over_notices() {
    let store = store();
    let (old, new) = (node(&store).await, node(&store).await);
    let first = old.settled().await;
    // Clients turn to another node, which takes the group on; the old one knows nothing of it.
    let second = new.joining("");
    sleep(Duration::from_millis(100)).await;
    let rejoined = new.join(&first).await;
    let second = second.await.unwrap();
    assert_eq!((rejoined.generation_id, second.generation_id), (2, 2));
    let leader = [&rejoined, &second].into_iter().find(|joined| joined.leader == joined.member_id).unwrap();
    new.sync(&leader.member_id, 2, &[&first]).await;
    // The old one looks before it answers once it has not looked for a while.
    sleep(Duration::from_secs(6)).await;
    assert_eq!(old.groups.heartbeat(beat(&first, 1)).await, Err(ErrorCode::IllegalGeneration));
    assert_eq!(old.groups.heartbeat(beat(&first, 2)).await, Ok(()));
    assert_eq!(old.live().await.unwrap().members.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_generation_that_was_overtaken_assigns_nothing() {
    let store = store();
    let (old, new) = (node(&store).await, node(&store).await);
    let first = old.settled().await;
    assert_eq!(new.groups.heartbeat(beat(&first, 1)).await, Ok(()));
    // Both bring the second generation about; one of them is decided first.
    let (one, other) = (old.join(&first).await, new.join(&first).await);
    assert_eq!((one.generation_id, other.generation_id), (2, 2));
    assert_eq!(new.sync(&first, 2, &[&first]).await.error_code, 0);
    assert_eq!(old.sync(&first, 2, &["nobody"]).await.error_code, ErrorCode::NotCoordinator.code());
    assert_eq!(old.sync(&first, 2, &[]).await.assignment, first.as_bytes());
}

#[tokio::test(start_paused = true)]
async fn members_that_died_with_their_coordinator_do_not_stay_for_ever() {
    let store = store();
    let old = node(&store).await;
    old.settled().await;
    drop(old);
    let new = node(&store).await;
    assert_eq!(new.epoch(), (1, 1));
    sleep(GROUP_SWEEP + Duration::from_secs(12)).await;
    assert_eq!((new.epoch(), new.groups.state("g")), ((2, 0), None));
}

#[tokio::test(start_paused = true)]
async fn what_waits_is_answered_when_the_node_stops() {
    let node = node(&store()).await;
    node.settled().await;
    let waits = node.joining("");
    sleep(Duration::from_millis(300)).await;
    assert_eq!(node.live().await.unwrap().state, "PreparingRebalance");
    node.phase.send_replace(Phase::Stopping);
    let answered = timeout(Duration::from_millis(100), waits).await.unwrap().unwrap();
    assert_eq!(answered.error_code, ErrorCode::NotCoordinator.code());
    assert_eq!(node.groups.heartbeat(beat("x", 1)).await, Err(ErrorCode::NotCoordinator));
}

#[tokio::test(start_paused = true)]
async fn a_client_that_gives_up_waiting_leaves_nothing_behind() {
    let node = node(&store()).await;
    let id = node.settled().await;
    let waits = node.joining("");
    sleep(Duration::from_millis(100)).await;
    waits.abort();
    sleep(Duration::from_secs(2)).await;
    assert_eq!(node.live().await.unwrap().members.len(), 1);
    let joined = node.join(&id).await;
    assert_eq!((joined.error_code, joined.members.len()), (0, 1));
}

#[tokio::test(start_paused = true)]
async fn a_group_that_was_deleted_or_committed_to_meanwhile_goes_on() {
    let node = node(&store()).await;
    let id = node.settled().await;
    assert_eq!(node.leave(&id).await, 0);
    // An id was handed out: the group is active, and empty.
    let asked = node.groups.join(Caller::default(), 9, asks("")).await;
    assert_eq!((asked.error_code, node.groups.state("g")), (79, Some("Empty")));
    let deleted = node.journal.propose(vec![Change::DeleteGroup { group: "g".to_owned() }]).await.unwrap();
    assert_eq!(deleted, [Outcome::Applied]);
    let joined = node.groups.join(Caller::default(), 9, asks(&asked.member_id)).await;
    assert_eq!(joined.error_code, 0);
    let synced = node.sync(&joined.member_id, joined.generation_id, &[&joined.member_id]).await;
    assert_eq!((synced.error_code, node.epoch().1), (0, 1));
}
