//! Two gateways on one store: what clients are told of both.

use std::time::Duration;

use strandline_kafka::error::ErrorCode;
use strandline_kafka::messages::{
    Response, delete_topics, describe_cluster, find_coordinator, list_offsets, metadata,
};
use tokio::time::{sleep, timeout};

use crate::support::{Client, Node, PATIENCE, batch, create, memory, node_on, produce, stranger_on};

async fn cluster(client: &mut Client) -> metadata::Response {
    let topic = metadata::RequestTopic { name: Some("t".into()), ..Default::default() };
    let request = metadata::Request { topics: Some(vec![topic]), ..Default::default() };
    let Response::Metadata(response) = client.call(12, request).await else { unreachable!() };
    response
}

/// Waits until the brokers are these.
async fn brokers(client: &mut Client, ids: &[i32]) -> metadata::Response {
    let seen = async {
        loop {
            let response = cluster(client).await;
            if response.brokers.iter().map(|broker| broker.node_id).eq(ids.iter().copied()) {
                return response;
            }
            sleep(Duration::from_millis(100)).await;
        }
    };
    timeout(PATIENCE, seen).await.expect("the brokers are not those")
}

async fn coordinators(client: &mut Client) -> Vec<i32> {
    let coordinator_keys = (0..50).map(|n| format!("group-{n}")).collect();
    let request = find_coordinator::Request { coordinator_keys, ..Default::default() };
    let Response::FindCoordinator(response) = client.call(6, request).await else { unreachable!() };
    response.coordinators.iter().map(|found| found.node_id).collect()
}

/// The code, and the offset after the last record of `t`.
async fn latest(client: &mut Client) -> (i16, i64) {
    let partition = list_offsets::RequestPartition { timestamp: -1, ..Default::default() };
    let topic = list_offsets::RequestTopic { name: "t".into(), partitions: vec![partition] };
    let request = list_offsets::Request { topics: vec![topic], ..Default::default() };
    let Response::ListOffsets(response) = client.call(7, request).await else { unreachable!() };
    let found = &response.topics[0].partitions[0];
    (found.error_code, found.offset)
}

async fn stop(mut node: Node) {
    node.stop.take().unwrap().send(()).unwrap();
    node.served.await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn two_nodes_are_listed_share_the_load_and_leave() {
    let store = memory();
    let one = node_on(store.clone(), Some(1), "a").await;
    let two = node_on(store.clone(), Some(2), "b").await;
    let mut clients = [one.client().await, two.client().await];
    clients[0].call(7, create("t", 40)).await;
    let mut told = Vec::new();
    for client in &mut clients {
        let response = brokers(client, &[1, 2]).await;
        let seen: Vec<_> = response.brokers.iter().map(|b| (b.port, b.rack.as_deref().unwrap())).collect();
        assert_eq!(seen, [(i32::from(one.kafka.port()), "a"), (i32::from(two.kafka.port()), "b")]);
        let leaders: Vec<i32> = response.topics[0].partitions.iter().map(|p| p.leader_id).collect();
        assert!((8..=32).contains(&leaders.iter().filter(|leader| **leader == 1).count()), "{leaders:?}");
        for partition in &response.topics[0].partitions {
            let mut all = partition.replica_nodes.clone();
            assert_eq!((all[0], &partition.isr_nodes), (partition.leader_id, &partition.replica_nodes));
            all.sort_unstable();
            assert_eq!(all, [1, 2]);
        }
        told.push((leaders, coordinators(client).await));
    }
    assert_eq!(told[0], told[1]);
    assert!(told[0].1.contains(&1) && told[0].1.contains(&2));

    // A client that says where it is gets the node that is near, whichever it asks.
    for (id, leader) in
        [("app,strandline_az=a", Some(1)), ("app|ws_az=b|x", Some(2)), ("strandline_az=c", None)]
    {
        for client in &mut clients {
            client.id = id.into();
            let response = cluster(client).await;
            let leaders: Vec<i32> = response.topics[0].partitions.iter().map(|p| p.leader_id).collect();
            match leader {
                Some(leader) => assert!(leaders.iter().all(|at| *at == leader), "{id}: {leaders:?}"),
                None => assert_eq!(leaders, told[0].0),
            }
        }
    }

    drop(clients);
    let mut client = one.client().await;
    sleep(Duration::from_millis(100)).await;
    stop(two).await;
    let response = timeout(Duration::from_secs(7), brokers(&mut client, &[1])).await.unwrap();
    assert!(response.topics[0].partitions.iter().all(|p| p.leader_id == 1 && p.replica_nodes == [1]));
    assert!(coordinators(&mut client).await.iter().all(|node| *node == 1));
}

/// Who came in on one listener is told the addresses of that listener.
#[tokio::test(flavor = "multi_thread")]
async fn each_listener_has_its_own_addresses() {
    let store = memory();
    let one = node_on(store.clone(), None, "a").await;
    let two = node_on(store.clone(), None, "a").await;
    assert!(one.id != two.id && one.id > 0 && two.id > 0, "{} {}", one.id, two.id);
    let mut ids = [one.id, two.id];
    ids.sort_unstable();
    let mut second = Client::connect(one.second).await;
    brokers(&mut second, &ids).await;
    let Response::DescribeCluster(response) = second.call(2, describe_cluster::Request::default()).await
    else {
        unreachable!()
    };
    let mut ports: Vec<_> = response.brokers.iter().map(|b| b.port).collect();
    ports.sort_unstable();
    let mut expected = [one.second, two.second].map(|address| i32::from(address.port()));
    expected.sort_unstable();
    assert_eq!(ports, expected);
    assert_eq!(response.controller_id, one.id);
}

/// What a node that is behind knows under a name may be gone, and another topic may have the name.
#[tokio::test(flavor = "multi_thread")]
async fn a_name_is_that_of_the_newest_topic_also_at_a_node_that_is_behind() {
    let store = memory();
    let (one, two) = (stranger_on(store.clone()).await, stranger_on(store).await);
    let (mut ahead, mut behind) = (one.client().await, two.client().await);
    let by_name = || delete_topics::Request { topic_names: vec!["t".into()], ..Default::default() };
    ahead.create("t", 1).await;
    for records in 1..=3 {
        assert_eq!(latest(&mut behind).await, (0, records - 1));
        ahead.call(5, by_name()).await;
        ahead.create("t", 1).await;
        for _ in 0..records {
            ahead.call(9, produce("t", 0, -1, Some(batch(&["a"])))).await;
        }
    }
    let Response::DeleteTopics(response) = behind.call(5, by_name()).await else { unreachable!() };
    assert_eq!(response.responses[0].error_code, 0);
    assert_eq!(latest(&mut ahead).await.0, ErrorCode::UnknownTopicOrPartition.code());
}

/// The younger of two nodes with one id ends, and says what to do.
#[tokio::test(flavor = "multi_thread")]
async fn an_id_that_is_taken_is_refused() {
    let store = memory();
    let one = node_on(store.clone(), Some(5), "a").await;
    let _client = one.client().await;
    sleep(Duration::from_secs(3)).await;
    let two = node_on(store, Some(5), "a").await;
    let ended = timeout(PATIENCE, two.served).await.expect("it goes on").unwrap();
    let error = ended.unwrap_err().to_string();
    assert!(error.contains("--node-id") && error.contains(&one.kafka.to_string()), "{error}");
    assert!(!one.served.is_finished());
}

/// A node that dies without a word is not named any more long before its beats are missed: whoever asks for nodes makes
/// this one look whether the others can be reached.
#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_cannot_be_reached_is_not_named() {
    let store = memory();
    let one = node_on(store.clone(), Some(1), "a").await;
    let two = node_on(store.clone(), Some(2), "b").await;
    let mut client = one.client().await;
    brokers(&mut client, &[1, 2]).await;
    assert!(coordinators(&mut client).await.contains(&2));
    two.served.abort();
    let gone = timeout(Duration::from_secs(4), brokers(&mut client, &[1])).await;
    gone.expect("a dead node is still named after 4 s");
    assert!(coordinators(&mut client).await.iter().all(|id| *id == 1));
}
