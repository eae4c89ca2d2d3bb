//! What each API answers, asked over TCP of the real gateway.

use bytes::Bytes;
use strandline_kafka::codec::Records;
use strandline_kafka::messages::{
    Response, create_topics, delete_topics, describe_cluster, describe_configs, find_coordinator,
    init_producer_id, list_offsets, metadata, offset_for_leader_epoch,
};

use crate::support::{Client, batch, create, fetch, node, produce};

/// Unwraps the response of one API.
macro_rules! answer {
    ($Api:ident, $call:expr) => {
        match $call.await {
            Response::$Api(response) => response,
            other => panic!("{other:?}"),
        }
    };
}

async fn named(client: &mut Client, version: i16, name: &str, create: bool) -> metadata::Topic {
    let topic = metadata::RequestTopic { name: Some(name.into()), ..Default::default() };
    let request = metadata::Request {
        topics: Some(vec![topic.clone(), topic]),
        allow_auto_topic_creation: create,
        ..Default::default()
    };
    let mut response = answer!(Metadata, client.call(version, request));
    assert_eq!(response.topics.len(), 1, "a repeated name is answered once");
    response.topics.remove(0)
}

#[tokio::test(flavor = "multi_thread")]
async fn metadata_knows_this_node_and_creates_topics_when_it_may() {
    let node = node().await;
    let mut client = node.client().await;
    let response =
        answer!(Metadata, client.call(0, metadata::Request { topics: Some(vec![]), ..Default::default() }));
    assert_eq!((response.brokers[0].node_id, response.brokers[0].port), (7, i32::from(node.kafka.port())));
    assert_eq!((response.brokers[0].host.as_str(), response.topics.len()), ("127.0.0.1", 0));
    assert_eq!(named(&mut client, 9, "t", false).await.error_code, 3);
    assert_eq!(named(&mut client, 9, "no/such", true).await.error_code, 17);
    let made = named(&mut client, 12, "t", true).await;
    assert_eq!((made.error_code, made.partitions.len(), made.is_internal), (0, 4, false));
    let first = &made.partitions[0];
    assert_eq!((first.leader_id, first.leader_epoch, first.replica_nodes.as_slice()), (7, 0, &[7][..]));
    assert_eq!(made.topic_authorized_operations, i32::MIN);
    // Before version 4 nobody could say no.
    assert_eq!(named(&mut client, 1, "u", false).await.error_code, 0);
    for (id, code) in [(made.topic_id, 0), ([9; 16], 100)] {
        let topic = metadata::RequestTopic { topic_id: id, name: None };
        let request = metadata::Request {
            topics: Some(vec![topic]),
            include_topic_authorized_operations: true,
            ..Default::default()
        };
        let response = answer!(Metadata, client.call(12, request));
        assert_eq!((response.topics[0].error_code, response.topics[0].topic_id), (code, id));
        assert_eq!(response.topics[0].topic_authorized_operations, 3_576);
    }
    let all = metadata::Request { topics: None, ..Default::default() };
    let response = answer!(Metadata, client.call(13, all));
    let names: Vec<_> = response.topics.iter().filter_map(|topic| topic.name.as_deref()).collect();
    assert_eq!((names.as_slice(), response.controller_id), (&["t", "u"][..], 7));
}

#[tokio::test(flavor = "multi_thread")]
async fn produce_refuses_what_is_wrong_and_nothing_else() {
    let node = node().await;
    let mut client = node.client().await;
    let id = client.create("t", 1).await;
    let good = batch(&["a", "b"]);
    let mut torn = good.to_vec();
    *torn.last_mut().unwrap() ^= 1;
    for (records, code) in [
        (Some(good.clone()), 0),
        (None, 87),
        (Some(Bytes::from([good.clone(), good.clone()].concat())), 87),
        (Some(Bytes::from(torn)), 2),
        (Some(good.slice(..40)), 2),
    ] {
        let response = answer!(Produce, client.call(9, produce("t", 0, -1, records)));
        let partition = &response.responses[0].partition_responses[0];
        assert_eq!(partition.error_code, code, "{partition:?}");
        assert_eq!(partition.base_offset, if code == 0 { 0 } else { -1 });
    }
    for (topic, partition, code) in [("t", 1, 3), ("t", -1, 3), ("u", 0, 3)] {
        let response = answer!(Produce, client.call(9, produce(topic, partition, -1, Some(good.clone()))));
        assert_eq!(response.responses[0].partition_responses[0].error_code, code);
    }
    // The batch is what counts, not what the request says of it.
    let mut named = produce("t", 0, -1, Some(good.clone()));
    named.transactional_id = Some("x".into());
    let response = answer!(Produce, client.call(9, named));
    assert_eq!(response.responses[0].partition_responses[0].error_code, 0);
    for (id, code) in [(id, 0), ([9; 16], 100)] {
        let mut by_id = produce("", 0, 1, Some(good.clone()));
        by_id.topic_data[0].topic_id = id;
        let response = answer!(Produce, client.call(13, by_id));
        assert_eq!(
            (response.responses[0].partition_responses[0].error_code, response.responses[0].topic_id),
            (code, id)
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn fetch_answers_every_partition_in_the_order_asked() {
    let node = node().await;
    let mut client = node.client().await;
    client.create("t", 3).await;
    for partition in 0..2 {
        client.call(9, produce("t", partition, -1, Some(batch(&["a", "b", "c"])))).await;
    }
    // Not 5: a partition that is not there. The others are answered nevertheless, and in the middle of a batch.
    let mut request = fetch("t", &[(2, 0), (0, 1), (5, 0), (1, 3), (1, 4)], 30_000);
    request.max_bytes = 1;
    for committed in [0, 1] {
        request.isolation_level = committed;
        let response = answer!(Fetch, client.call(11, request.clone()));
        let partitions = &response.responses[0].partitions;
        let codes: Vec<_> = partitions.iter().map(|p| (p.partition_index, p.error_code)).collect();
        assert_eq!(codes, [(2, 0), (0, 0), (5, 3), (1, 0), (1, 1)]);
        let sizes: Vec<_> = partitions.iter().map(|p| p.records.as_ref().map_or(0, Records::len)).collect();
        assert_eq!(sizes, [0, batch(&["a", "b", "c"]).len(), 0, 0, 0]);
        assert_eq!((partitions[1].high_watermark, partitions[1].last_stable_offset), (3, 3));
        assert_eq!(partitions[1].aborted_transactions, (committed == 1).then(Vec::new));
    }
    let mut in_session = fetch("t", &[(0, 0)], 0);
    in_session.session_id = 5;
    let response = answer!(Fetch, client.call(11, in_session));
    assert_eq!((response.error_code, response.session_id, response.responses.len()), (70, 0, 0));
    let response = answer!(Fetch, client.call(11, fetch("nowhere", &[(0, 0)], 30_000)));
    assert_eq!(response.responses[0].partitions[0].error_code, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_made_again_is_another_topic() {
    let node = node().await;
    let mut client = node.client().await;
    let old = client.create("t", 1).await;
    client.call(9, produce("t", 0, -1, Some(batch(&["a"])))).await;
    let by_name =
        |name: &str| delete_topics::Request { topic_names: vec![name.into()], ..Default::default() };
    let response = answer!(DeleteTopics, client.call(5, by_name("t")));
    assert_eq!(response.responses[0].error_code, 0);
    assert_eq!(answer!(DeleteTopics, client.call(5, by_name("t"))).responses[0].error_code, 3);
    let new = client.create("t", 1).await;
    assert_ne!(old, new);
    for (id, code) in [(old, 100), (new, 0)] {
        let mut request = fetch("", &[(0, 0)], 0);
        request.topics[0].topic_id = id;
        let response = answer!(Fetch, client.call(16, request));
        assert_eq!(response.responses[0].partitions[0].error_code, code);
        assert_eq!(response.responses[0].topic_id, id);
        let topic = delete_topics::TopicState { name: None, topic_id: id };
        let request = delete_topics::Request { topics: vec![topic], ..Default::default() };
        assert_eq!(answer!(DeleteTopics, client.call(6, request)).responses[0].error_code, code);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn create_topics_says_what_is_wrong() {
    let node = node().await;
    let mut client = node.client().await;
    client.create("taken", 2).await;
    let config = |name: &str, value: &str| {
        let mut request = create("c", 1);
        let config = create_topics::ConfigEntry { name: name.into(), value: Some(value.into()) };
        request.topics[0].configs.push(config);
        request
    };
    let mut twice = create("a", 1);
    twice.topics.push(twice.topics[0].clone());
    let mut no_replicas = create("a", 1);
    no_replicas.topics[0].replication_factor = 0;
    let mut validate = create("checked", 3);
    validate.validate_only = true;
    let cases = [
        (create("taken", 1), 36),
        (create("a/b", 1), 17),
        (create("a", 0), 37),
        (create("a", 10_001), 37),
        (no_replicas, 38),
        (twice, 42),
        (config("no.such.config", "1"), 40),
        (config("retention.ms", "soon"), 40),
        (config("cleanup.policy", "compact"), 0),
        (validate.clone(), 0),
        (validate, 0),
        (create("d", -1), 0),
    ];
    for (request, code) in cases {
        let name = request.topics[0].name.clone();
        let response = answer!(CreateTopics, client.call(7, request));
        assert_eq!((response.topics.len(), response.topics[0].error_code), (1, code), "{name}: {response:?}");
        assert_eq!(response.topics[0].error_message.is_some(), code != 0);
    }
    let topic = |name: &str, keys: Option<Vec<String>>| describe_configs::Resource {
        resource_type: 2,
        resource_name: name.into(),
        configuration_keys: keys,
    };
    let resources = vec![
        topic("c", Some(vec!["cleanup.policy".into(), "retention.ms".into()])),
        topic("d", None),
        topic("nowhere", None),
        describe_configs::Resource { resource_type: 4, resource_name: "7".into(), configuration_keys: None },
        describe_configs::Resource { resource_type: 4, resource_name: "8".into(), configuration_keys: None },
    ];
    let request =
        describe_configs::Request { resources, include_synonyms: true, include_documentation: true };
    let response = answer!(DescribeConfigs, client.call(4, request));
    let codes: Vec<_> = response.results.iter().map(|result| result.error_code).collect();
    assert_eq!(codes, [0, 0, 3, 0, 42]);
    let first = &response.results[0].configs;
    let values: Vec<_> =
        first.iter().map(|c| (c.name.as_str(), c.value.as_deref(), c.config_source)).collect();
    assert_eq!(values, [("cleanup.policy", Some("compact"), 1), ("retention.ms", Some("604800000"), 5)]);
    assert_eq!((first[0].synonyms.len(), first[0].documentation.is_some()), (2, true));
    assert!(response.results[1].configs.len() > 30);
}

async fn offset(client: &mut Client, version: i16, timestamp: i64) -> list_offsets::PartitionResponse {
    let partition = list_offsets::RequestPartition { timestamp, ..Default::default() };
    let topic = list_offsets::RequestTopic { name: "t".into(), partitions: vec![partition] };
    let request = list_offsets::Request { topics: vec![topic], ..Default::default() };
    let mut response = answer!(ListOffsets, client.call(version, request));
    response.topics[0].partitions.remove(0)
}

#[tokio::test(flavor = "multi_thread")]
async fn offsets_ids_and_coordinators() {
    let node = node().await;
    let mut client = node.client().await;
    client.create("t", 1).await;
    client.call(9, produce("t", 0, -1, Some(batch(&["a", "b"])))).await;
    for (timestamp, expected) in
        [(-1, (0, 2, 0)), (-2, (0, 0, 0)), (-4, (0, 0, 0)), (-5, (0, -1, -1)), (-9, (35, -1, -1))]
    {
        let found = offset(&mut client, 10, timestamp).await;
        assert_eq!((found.error_code, found.offset, found.leader_epoch), expected, "{timestamp}");
    }
    assert_eq!(offset(&mut client, 0, -1).await.old_style_offsets, [2]);

    let epoch = |partition, leader_epoch| offset_for_leader_epoch::RequestPartition {
        partition,
        leader_epoch,
        ..Default::default()
    };
    let topic = offset_for_leader_epoch::RequestTopic {
        topic: "t".into(),
        partitions: vec![epoch(0, 0), epoch(0, 1), epoch(1, 0)],
    };
    let request = offset_for_leader_epoch::Request { topics: vec![topic], ..Default::default() };
    let response = answer!(OffsetForLeaderEpoch, client.call(4, request));
    let ends = response.topics[0].partitions.iter().map(|p| (p.error_code, p.leader_epoch, p.end_offset));
    assert_eq!(ends.collect::<Vec<_>>(), [(0, 0, 2), (0, -1, -1), (3, -1, -1)]);

    let first = answer!(InitProducerId, client.call(0, init_producer_id::Request::default()));
    let again =
        init_producer_id::Request { producer_id: first.producer_id, producer_epoch: 0, ..Default::default() };
    let second = answer!(InitProducerId, client.call(4, again));
    assert_eq!(
        (first.error_code, first.producer_epoch, second.error_code, second.producer_epoch),
        (0, 0, 0, 0)
    );
    assert_ne!(first.producer_id, second.producer_id);
    for (id, code) in [("", 42), ("without a time-out", 50)] {
        let request = init_producer_id::Request { transactional_id: Some(id.into()), ..Default::default() };
        assert_eq!(answer!(InitProducerId, client.call(2, request)).error_code, code);
    }

    let one = find_coordinator::Request { key: "g".into(), ..Default::default() };
    let response = answer!(FindCoordinator, client.call(3, one));
    assert_eq!((response.error_code, response.node_id, response.port), (0, 7, i32::from(node.kafka.port())));
    let many =
        find_coordinator::Request { coordinator_keys: vec!["g".into(), "h".into()], ..Default::default() };
    let response = answer!(FindCoordinator, client.call(6, many));
    assert_eq!(response.coordinators.iter().map(|c| c.node_id).collect::<Vec<_>>(), [7, 7]);

    let response = answer!(DescribeCluster, client.call(2, describe_cluster::Request::default()));
    assert_eq!((response.controller_id, response.brokers[0].rack.as_deref()), (7, Some("a")));
    assert!(!response.cluster_id.is_empty());
}
