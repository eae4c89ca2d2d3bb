//! Classic groups over the real gateway and TCP: two members, a coordinator that ends, clients that hang up.

use std::time::Duration;

use bytes::Bytes;
use strandline_kafka::api::ApiKey;
use strandline_kafka::messages::{
    Request, Response, heartbeat, join_group, leave_group, metadata, sync_group,
};
use tokio::time::{Instant, sleep};

use crate::support::{Client, memory, node, node_on};

const GROUP: &str = "g";

macro_rules! answer {
    ($name:ident, $call:expr) => {
        match $call {
            Response::$name(response) => response,
            other => panic!("{other:?}"),
        }
    };
}

fn join(version: i16, member_id: &str, subscription: &'static str) -> join_group::Request {
    join_group::Request {
        group_id: GROUP.into(),
        session_timeout_ms: 6_000,
        rebalance_timeout_ms: if version == 0 { -1 } else { 20_000 },
        member_id: member_id.into(),
        protocol_type: "consumer".into(),
        protocols: vec![join_group::Protocol {
            name: "range".into(),
            metadata: Bytes::from_static(subscription.as_bytes()),
        }],
        ..Default::default()
    }
}

fn sync(generation_id: i32, member_id: &str, assigned: &[(&str, &str)]) -> sync_group::Request {
    let assign = |(id, share): &(&str, &str)| sync_group::Assignment {
        member_id: (*id).into(),
        assignment: Bytes::copy_from_slice(share.as_bytes()),
    };
    sync_group::Request {
        group_id: GROUP.into(),
        generation_id,
        member_id: member_id.into(),
        assignments: assigned.iter().map(assign).collect(),
        ..Default::default()
    }
}

/// One member on a connection of its own.
struct Member {
    client: Client,
    id: String,
    generation: i32,
}

impl Member {
    fn new(client: Client) -> Member {
        Member { client, id: String::new(), generation: -1 }
    }

    /// Sends JoinGroup, with an id from the group.
    async fn send_join(&mut self) {
        if self.id.is_empty() {
            let asked = answer!(JoinGroup, self.client.call(9, join(9, "", "t")).await);
            assert_eq!(asked.error_code, 79);
            assert!(asked.member_id.starts_with("test-"), "{}", asked.member_id);
            self.id = asked.member_id;
        }
        let id = self.id.clone();
        self.client.send(9, join(9, &id, "t")).await;
    }

    async fn joined(&mut self) -> join_group::Response {
        let joined = answer!(JoinGroup, self.client.receive(ApiKey::JoinGroup, 9).await.1);
        assert_eq!((joined.error_code, &joined.member_id), (0, &self.id));
        self.generation = joined.generation_id;
        joined
    }

    async fn sync(&mut self, assigned: &[(&str, &str)]) -> (i16, String) {
        let request = sync(self.generation, &self.id, assigned);
        let synced = answer!(SyncGroup, self.client.call(5, request).await);
        (synced.error_code, String::from_utf8(synced.assignment.to_vec()).unwrap())
    }

    async fn heartbeat(&mut self) -> i16 {
        let request = heartbeat::Request {
            group_id: GROUP.into(),
            generation_id: self.generation,
            member_id: self.id.clone(),
            ..Default::default()
        };
        answer!(Heartbeat, self.client.call(4, request).await).error_code
    }

    /// Heartbeats until the group rebalances.
    async fn told_to_rejoin(&mut self) {
        let mut answered = self.heartbeat().await;
        for _ in 0..100 {
            if answered != 0 {
                break;
            }
            sleep(Duration::from_millis(20)).await;
            answered = self.heartbeat().await;
        }
        assert_eq!(answered, 27);
    }

    async fn leave(&mut self) -> i16 {
        let member = leave_group::Member { member_id: self.id.clone(), ..Default::default() };
        let request =
            leave_group::Request { group_id: GROUP.into(), members: vec![member], ..Default::default() };
        answer!(LeaveGroup, self.client.call(5, request).await).members[0].error_code
    }
}

/// Two members of a first generation, the leader first; it has assigned `a` to itself, `b` to the other.
async fn pair(one: Client, other: Client) -> (Member, Member) {
    let (mut one, mut other) = (Member::new(one), Member::new(other));
    one.send_join().await;
    other.send_join().await;
    let joined = [one.joined().await, other.joined().await];
    assert_eq!(joined[0].leader, joined[1].leader);
    let (mut leader, mut follower) = if joined[0].leader == one.id { (one, other) } else { (other, one) };
    let request = sync(follower.generation, &follower.id, &[]);
    follower.client.send(5, request).await;
    let shares = [(leader.id.clone(), "a"), (follower.id.clone(), "b")];
    let shares: Vec<_> = shares.iter().map(|(id, share)| (id.as_str(), *share)).collect();
    assert_eq!(leader.sync(&shares).await, (0, "a".to_owned()));
    let synced = answer!(SyncGroup, follower.client.receive(ApiKey::SyncGroup, 5).await.1);
    assert_eq!((synced.error_code, &synced.assignment[..]), (0, &b"b"[..]));
    (leader, follower)
}

#[tokio::test(flavor = "multi_thread")]
async fn one_member_is_in_at_once() {
    let node = node().await;
    let begun = Instant::now();
    let mut member = Member::new(node.client().await);
    member.send_join().await;
    let joined = member.joined().await;
    assert_eq!((joined.leader, joined.members.len()), (member.id.clone(), 1));
    assert_eq!(joined.members[0].metadata, "t");
    let id = member.id.clone();
    assert_eq!(member.sync(&[(&id, "all")]).await, (0, "all".to_owned()));
    let taken = begun.elapsed();
    println!("one member joins an empty group in {taken:?}");
    assert!(taken < Duration::from_millis(700), "{taken:?}");
    assert_eq!(member.leave().await, 0);
    assert_eq!(member.heartbeat().await, 25);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_members_share_and_one_takes_all_when_the_other_leaves() {
    let node = node().await;
    let (mut leader, mut follower) = pair(node.client().await, node.client().await).await;
    assert_eq!((leader.heartbeat().await, follower.heartbeat().await), (0, 0));
    // While it waits for the others, other connections are answered, and so is its own in order.
    leader.send_join().await;
    let waiting =
        leader.client.send(4, metadata::Request { topics: Some(Vec::new()), ..Default::default() }).await;
    follower.told_to_rejoin().await;
    assert_eq!(follower.leave().await, 0);
    let joined = leader.joined().await;
    assert_eq!((joined.generation_id, joined.members.len()), (2, 1));
    assert_eq!(leader.client.receive(ApiKey::Metadata, 4).await.0, waiting);
    let id = leader.id.clone();
    assert_eq!(leader.sync(&[(&id, "a, b")]).await, (0, "a, b".to_owned()));
    assert_eq!((leader.heartbeat().await, follower.heartbeat().await), (0, 25));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_coordinator_that_ends_costs_no_rebalance() {
    let store = memory();
    let mut node = node_on(store.clone(), Some(1), "a").await;
    let (mut leader, mut follower) = pair(node.client().await, node.client().await).await;
    node.stop.take().unwrap().send(()).unwrap();
    node.served.await.unwrap().unwrap();
    let node = node_on(store, Some(2), "a").await;
    for member in [&mut leader, &mut follower] {
        member.client = node.client().await;
        // Until the node has seen that it is alone.
        let mut answered = member.heartbeat().await;
        for _ in 0..100 {
            if answered != 16 {
                break;
            }
            sleep(Duration::from_millis(50)).await;
            answered = member.heartbeat().await;
        }
        assert_eq!(answered, 0);
    }
    assert_eq!(leader.sync(&[]).await, (0, "a".to_owned()));
    assert_eq!(follower.sync(&[]).await, (0, "b".to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_hangs_up_while_it_waits_holds_nobody_up() {
    let node = node().await;
    let (mut leader, mut follower) = pair(node.client().await, node.client().await).await;
    let mut vanishing = Member::new(node.client().await);
    vanishing.send_join().await;
    drop(vanishing);
    let begun = Instant::now();
    leader.send_join().await;
    follower.send_join().await;
    // It has joined already, or its session ends: nobody waits for the whole rebalance.
    let joined = leader.joined().await;
    follower.joined().await;
    assert!(begun.elapsed() < Duration::from_secs(12), "{:?}", begun.elapsed());
    assert!(joined.generation_id == 2 && (2..=3).contains(&joined.members.len()), "{joined:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_stops_answers_those_who_wait() {
    let mut node = node().await;
    let (mut leader, mut follower) = pair(node.client().await, node.client().await).await;
    leader.send_join().await;
    follower.told_to_rejoin().await;
    node.stop.take().unwrap().send(()).unwrap();
    let refused = answer!(JoinGroup, leader.client.receive(ApiKey::JoinGroup, 9).await.1);
    assert_eq!(refused.error_code, 16);
    node.served.await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_have_the_shape_of_their_version() {
    let node = node().await;
    for version in 0..=9 {
        let mut client = node.client().await;
        let group_id = format!("v{version}");
        let mut request = join(version, "", "t");
        request.group_id.clone_from(&group_id);
        let mut joined = answer!(JoinGroup, client.call(version, request.clone()).await);
        if version >= 4 {
            let none = (version < 7).then(String::new);
            assert_eq!((joined.error_code, &joined.protocol_name), (79, &none));
            request.member_id.clone_from(&joined.member_id);
            joined = answer!(JoinGroup, client.call(version, request.clone()).await);
        }
        assert_eq!((joined.error_code, joined.generation_id, joined.members.len()), (0, 1, 1));
        assert_eq!(joined.protocol_name.as_deref(), Some("range"));
        assert_eq!(joined.protocol_type.as_deref(), (version >= 7).then_some("consumer"));
        let mut ask = sync(1, &joined.member_id, &[(&joined.member_id, "all")]);
        ask.group_id.clone_from(&group_id);
        let synced = answer!(SyncGroup, client.call(version.min(5), ask).await);
        assert_eq!((synced.error_code, &synced.assignment[..]), (0, &b"all"[..]));
        assert_eq!(synced.protocol_name.as_deref(), (version >= 5).then_some("range"));
        let member = leave_group::Member { member_id: joined.member_id.clone(), ..Default::default() };
        let version = version.min(5);
        let leave = match version >= 3 {
            true => leave_group::Request { group_id, members: vec![member], ..Default::default() },
            false => leave_group::Request { group_id, member_id: joined.member_id, ..Default::default() },
        };
        let left: Request = leave.into();
        let left = answer!(LeaveGroup, client.call(version, left).await);
        assert_eq!((left.error_code, left.members.len()), (0, usize::from(version >= 3)));
    }
    // Names that no group may have.
    let mut client = node.client().await;
    let nameless = join_group::Request { group_id: String::new(), ..join(9, "", "t") };
    assert_eq!(answer!(JoinGroup, client.call(9, nameless).await).error_code, 24);
    let long = heartbeat::Request { group_id: "x".repeat(2_000), ..Default::default() };
    assert_eq!(answer!(Heartbeat, client.call(4, long).await).error_code, 24);
}
