//! Two gateways that know each other: only the one that looks after a group answers for it, but for what it has committed.

use std::time::Duration;

use strandline_kafka::messages::{
    Request, Response, delete_groups, describe_groups, find_coordinator, list_groups, offset_commit,
    offset_delete, offset_fetch,
};
use tokio::time::{sleep, timeout};

use crate::support::{Client, PATIENCE, memory, node_on};

/// Unwraps the response of one API.
macro_rules! answer {
    ($Api:ident, $call:expr) => {
        match $call.await {
            Response::$Api(response) => response,
            other => panic!("{other:?}"),
        }
    };
}

fn name(number: usize) -> String {
    format!("group-{number}")
}

/// For each of 40 groups, the id of the node that looks after it.
async fn coordinators(client: &mut Client) -> Vec<i32> {
    let coordinator_keys = (0..40).map(name).collect();
    let request = find_coordinator::Request { coordinator_keys, ..Default::default() };
    let response = answer!(FindCoordinator, client.call(6, request));
    response.coordinators.iter().map(|found| found.node_id).collect()
}

fn commit(group: &str) -> offset_commit::Request {
    let partition = offset_commit::RequestPartition {
        committed_offset: 7,
        committed_leader_epoch: -1,
        ..Default::default()
    };
    let topic =
        offset_commit::RequestTopic { name: "t".into(), partitions: vec![partition.clone(), partition] };
    offset_commit::Request { group_id: group.into(), topics: vec![topic], ..Default::default() }
}

/// The codes of every API that asks a coordinator.
async fn codes(client: &mut Client, group: &str) -> Vec<i16> {
    let group = group.to_owned();
    let committed = answer!(OffsetCommit, client.call(8, commit(&group)));
    let mut codes: Vec<i16> = committed.topics[0].partitions.iter().map(|of| of.error_code).collect();
    let topic = offset_fetch::RequestTopic { name: "t".into(), partition_indexes: vec![0] };
    for version in [1, 7] {
        let request = offset_fetch::Request {
            group_id: group.clone(),
            topics: Some(vec![topic.clone()]),
            ..Default::default()
        };
        let fetched = answer!(OffsetFetch, client.call(version, request));
        let of_partitions = fetched.topics.iter().flat_map(|topic| &topic.partitions).map(|of| of.error_code);
        codes.push(of_partitions.chain([fetched.error_code]).max().unwrap());
    }
    let groups = vec![offset_fetch::RequestGroup { group_id: group.clone(), ..Default::default() }];
    let request = offset_fetch::Request { groups, ..Default::default() };
    codes.push(answer!(OffsetFetch, client.call(9, request)).groups[0].error_code);
    let request = describe_groups::Request { groups: vec![group.clone()], ..Default::default() };
    codes.push(answer!(DescribeGroups, client.call(6, request)).groups[0].error_code);
    let request = offset_delete::Request { group_id: group.clone(), topics: vec![] };
    codes.push(answer!(OffsetDelete, client.call(0, request)).error_code);
    let request: Request = delete_groups::Request { groups_names: vec![group] }.into();
    codes.push(answer!(DeleteGroups, client.call(2, request)).results[0].error_code);
    codes
}

#[tokio::test(flavor = "multi_thread")]
async fn each_group_is_answered_for_by_one_node() {
    let store = memory();
    let nodes = [node_on(store.clone(), Some(1), "a").await, node_on(store, Some(2), "a").await];
    let mut clients = [nodes[0].client().await, nodes[1].client().await];
    clients[0].create("t", 1).await;
    let agreed = async {
        loop {
            let told = [coordinators(&mut clients[0]).await, coordinators(&mut clients[1]).await];
            if told[0] == told[1] && told[0].contains(&1) && told[0].contains(&2) {
                return told[0].clone();
            }
            sleep(Duration::from_millis(100)).await;
        }
    };
    let coordinators = timeout(PATIENCE, agreed).await.expect("the nodes do not find each other");
    for (number, id) in coordinators.iter().enumerate() {
        let [right, wrong] = if *id == 1 { [0, 1] } else { [1, 0] };
        let response = answer!(OffsetCommit, clients[right].call(8, commit(&name(number))));
        assert_eq!(response.topics[0].partitions[0].error_code, 0, "{number}");
        if number < 4 {
            // OffsetFetch is answered by any node.
            assert_eq!(
                codes(&mut clients[wrong], &name(number)).await,
                [16, 16, 0, 0, 0, 16, 16, 16],
                "{number}"
            );
        }
    }
    // Clients ask all nodes and add the answers up.
    let mut listed = Vec::new();
    for client in &mut clients {
        let response = answer!(ListGroups, client.call(5, list_groups::Request::default()));
        assert!(!response.groups.is_empty());
        listed.extend(response.groups.into_iter().map(|group| group.group_id));
    }
    listed.sort_unstable();
    let mut all: Vec<_> = (0..40).map(name).collect();
    all.sort_unstable();
    assert_eq!(listed, all);
    let right = usize::from(coordinators[0] == 2);
    assert_eq!(codes(&mut clients[right], &name(0)).await, [0; 8]);
}
