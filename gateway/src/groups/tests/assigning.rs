//! Groups whose coordinator assigns, on a journal in memory: answers after the fold, takeover, and groups that change their
//! kind, empty or not.

use strandline_core::manifest::GroupKind;
use strandline_kafka::messages::consumer_group_heartbeat::{Request, Response};

use super::*;

async fn beat(node: &Node, request: &Request) -> Result<Response, ErrorCode> {
    let caller = Caller { client_id: "c".to_owned(), client_host: "/127.0.0.1".to_owned() };
    node.groups.consumer_heartbeat(caller, request.clone()).await.map_err(|refusal| refusal.code)
}

fn of(member: &str, epoch: i32) -> Request {
    Request {
        group_id: "g".to_owned(),
        member_id: member.to_owned(),
        member_epoch: epoch,
        ..Request::default()
    }
}

fn joining(member: &str) -> Request {
    Request {
        rebalance_timeout_ms: 60_000,
        subscribed_topic_names: Some(vec!["t".to_owned()]),
        topic_partitions: Some(Vec::new()),
        ..of(member, 0)
    }
}

fn held(response: &Response) -> usize {
    let topics = response.assignment.iter().flat_map(|assignment| &assignment.topic_partitions);
    topics.map(|topic| topic.partitions.len()).sum()
}

fn members(node: &Node) -> Option<(GroupKind, usize)> {
    node.journal.view(|manifest| manifest.group("g").map(|group| (group.kind, group.members.len())))
}

#[tokio::test(start_paused = true)]
async fn a_member_is_in_the_manifest_before_it_hears_of_it_and_another_node_takes_over() {
    let store = store();
    let (one, other) = (node(&store).await, node(&store).await);
    one.journal.create_topic("t", 4, std::collections::BTreeMap::new()).await.unwrap().unwrap();
    let joined = beat(&one, &joining("a")).await.unwrap();
    assert_eq!((joined.member_epoch, held(&joined)), (1, 4));
    assert_eq!(members(&one), Some((GroupKind::Consumer, 1)));
    let applied = one.journal.view(|manifest| manifest.applied);
    assert_eq!(beat(&one, &of("a", 1)).await.unwrap().member_epoch, 1);
    assert_eq!(
        one.journal.view(|manifest| manifest.applied),
        applied,
        "nothing changed, nothing was written"
    );
    // Another node looks after the group now, and goes on where the first one was.
    assert_eq!(beat(&other, &of("a", 1)).await.unwrap().member_epoch, 1);
    assert_eq!(beat(&other, &joining("b")).await.unwrap().member_epoch, 2);
    // The first one is asked again: it must not answer from what it knew.
    sleep(crate::limits::GROUP_VERIFY).await;
    let told = beat(&one, &of("a", 1)).await.unwrap();
    assert_eq!((told.member_epoch, held(&told)), (1, 2));
}

#[tokio::test(start_paused = true)]
async fn silent_members_leave_and_an_empty_group_changes_its_protocol() {
    let store = store();
    let node = node(&store).await;
    assert_eq!(beat(&node, &of("a", 1)).await, Err(ErrorCode::GroupIdNotFound));
    assert_eq!(beat(&node, &joining("a")).await.unwrap().member_epoch, 1);
    let classic = join_group::Request {
        group_id: "g".to_owned(),
        session_timeout_ms: 10_000,
        rebalance_timeout_ms: 10_000,
        protocol_type: "consumer".to_owned(),
        protocols: vec![join_group::Protocol { name: "range".to_owned(), metadata: Bytes::new() }],
        ..join_group::Request::default()
    };
    let refused = node.groups.join(Caller::default(), 3, classic.clone()).await;
    assert_eq!(refused.error_code, ErrorCode::InconsistentGroupProtocol.code());
    sleep(consumer::SESSION_TIMEOUT + Duration::from_secs(1)).await;
    assert_eq!(members(&node), Some((GroupKind::Consumer, 0)));
    assert_eq!(node.groups.state("g"), None, "no task is left behind");
    let joined = node.groups.join(Caller::default(), 3, classic).await;
    assert_eq!(joined.error_code, 0);
    assert!(joined.generation_id > 1, "{joined:?}");
    assert_eq!(beat(&node, &joining("a")).await, Err(ErrorCode::GroupIdNotFound));
}

/// A JoinGroup of a consumer that reads `t`.
fn subscribing(member_id: &str) -> join_group::Request {
    let mut request = asks(member_id);
    request.protocols[0].metadata = Bytes::from_static(b"\0\0\0\0\0\x01\0\x01t\xff\xff\xff\xff");
    request
}

/// All of its four partitions.
const ALL: &[u8] = b"\0\0\0\0\0\x01\0\x01t\0\0\0\x04\0\0\0\0\0\0\0\x01\0\0\0\x02\0\0\0\x03\xff\xff\xff\xff";

async fn assign(
    node: &Node,
    id: &str,
    generation_id: i32,
    assignment: &'static [u8],
) -> sync_group::Response {
    let assignment =
        sync_group::Assignment { member_id: id.to_owned(), assignment: Bytes::from_static(assignment) };
    let request = sync_group::Request {
        group_id: "g".to_owned(),
        generation_id,
        member_id: id.to_owned(),
        assignments: vec![assignment],
        ..sync_group::Request::default()
    };
    node.groups.sync(request).await
}

#[tokio::test(start_paused = true)]
async fn members_of_both_protocols_share_a_group_and_any_node_goes_on_with_it() {
    let store = store();
    let (one, other) = (node(&store).await, node(&store).await);
    one.journal.create_topic("t", 4, std::collections::BTreeMap::new()).await.unwrap().unwrap();
    let alive = async |node: &Node, id: &str, generation| {
        sleep(crate::limits::GROUP_VERIFY).await;
        node.groups.heartbeat(super::beat(id, generation)).await
    };
    let joined = one.groups.join(Caller::default(), 3, subscribing("")).await;
    let (id, generation) = (joined.member_id.as_str(), joined.generation_id);
    assert_eq!(&assign(&one, id, generation, ALL).await.assignment[..], ALL);
    // The first new member comes: the old one goes on in its generation.
    let came = beat(&one, &joining("a")).await.unwrap();
    assert_eq!((came.member_epoch, held(&came)), (generation + 1, 0));
    assert_eq!(members(&one), Some((GroupKind::Consumer, 2)));
    assert_eq!(one.groups.admit_commit("g", id, generation, None).await, Ok(()));
    let stale = one.groups.admit_commit("g", id, generation - 1, None).await;
    assert_eq!(stale, Err(ErrorCode::IllegalGeneration));
    let rejoin = Err(ErrorCode::RebalanceInProgress);
    assert_eq!(alive(&one, id, generation).await, rejoin);
    // Another node knows all of it.
    assert_eq!(alive(&other, id, generation).await, rejoin);
    let again = other.groups.join(Caller::default(), 3, subscribing(id)).await;
    assert_eq!((again.error_code, again.generation_id, again.leader.as_str()), (0, generation + 1, ""));
    let told = assign(&other, id, generation + 1, b"").await;
    assert_eq!(told.assignment.len(), ALL.len() - 2 * 4, "half of them");
    assert_eq!(held(&beat(&other, &of("a", generation + 1)).await.unwrap()), 2);
    assert_eq!(alive(&other, id, generation + 1).await, Ok(()));
    // The new member leaves: the old one shares out on its own again, whoever looks after it.
    beat(&other, &of("a", -1)).await.unwrap();
    assert_eq!(members(&other), Some((GroupKind::Classic, 1)));
    assert_eq!(alive(&other, id, generation + 1).await, rejoin);
    assert_eq!(alive(&one, id, generation + 1).await, rejoin);
    let alone = one.groups.join(Caller::default(), 3, subscribing(id)).await;
    assert_eq!((alone.generation_id, alone.leader.as_str()), (generation + 2, id));
    assert_eq!(&assign(&one, id, generation + 2, ALL).await.assignment[..], ALL);
    assert_eq!(alive(&one, id, generation + 2).await, Ok(()));
}

#[tokio::test(start_paused = true)]
async fn a_new_member_comes_while_classic_ones_wait() {
    let store = store();
    let node = node(&store).await;
    node.journal.create_topic("t", 4, std::collections::BTreeMap::new()).await.unwrap().unwrap();
    let first = node.groups.join(Caller::default(), 3, subscribing("")).await;
    assert_eq!(&assign(&node, &first.member_id, 1, ALL).await.assignment[..], ALL);
    let named = node.groups.join(Caller::default(), 9, subscribing("")).await.member_id;
    let waiting = {
        let (groups, request) = (Arc::clone(&node.groups), subscribing(&named));
        tokio::spawn(async move { groups.join(Caller::default(), 9, request).await })
    };
    sleep(Duration::from_secs(1)).await;
    assert_eq!(beat(&node, &joining("a")).await.unwrap().member_epoch, 2);
    assert_eq!(waiting.await.unwrap().error_code, ErrorCode::RebalanceInProgress.code());
    assert_eq!(members(&node), Some((GroupKind::Consumer, 3)));
    let joined = node.groups.join(Caller::default(), 9, subscribing(&named)).await;
    assert_eq!((joined.error_code, joined.generation_id), (0, 2));
    let joined = node.groups.join(Caller::default(), 9, subscribing(&first.member_id)).await;
    assert_eq!((joined.error_code, joined.generation_id), (0, 2));
}

#[tokio::test(start_paused = true)]
async fn a_new_member_that_cannot_join_disturbs_no_classic_one() {
    let store = store();
    let node = node(&store).await;
    let first = node.join("").await;
    node.sync(&first.member_id, first.generation_id, &[&first.member_id]).await;
    assert_eq!(beat(&node, &joining("a")).await, Err(ErrorCode::GroupIdNotFound));
    assert_eq!(beat(&node, &of("a", 3)).await, Err(ErrorCode::GroupIdNotFound));
    let alive = node.groups.heartbeat(super::beat(&first.member_id, first.generation_id)).await;
    assert_eq!(alive, Ok(()));
    assert_eq!(members(&node), Some((GroupKind::Classic, 1)));
}
