//! Groups whose coordinator assigns, on a journal in memory: answers after the fold, takeover, and the way between the
//! protocols.

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
