//! Topics are administered over sockets: partitions, configs, records, sizes, and what is refused with which code.

use crate::support::{Client, create, fetch, node, produce as produced};
use bytes::Bytes;
use strandline_core::record::RecordBuilder;
use strandline_kafka::codec::Records;
use strandline_kafka::messages::{
    Response, alter_configs, create_acls, create_partitions, create_topics, delete_acls, delete_records,
    describe_acls, describe_configs, describe_log_dirs, incremental_alter_configs, init_producer_id,
    list_offsets, list_partition_reassignments, metadata, produce,
};

macro_rules! answer {
    ($api:ident, $call:expr) => {
        match $call.await {
            Response::$api(response) => response,
            other => panic!("another answer: {other:?}"),
        }
    };
}

const TOPIC: i8 = 2;
const BROKER: i8 = 4;
const LOGGER: i8 = 8;
const SET: i8 = 0;
const DELETE: i8 = 1;
const APPEND: i8 = 2;
const SUBTRACT: i8 = 3;

async fn create_with(client: &mut Client, name: &str, configs: &[(&str, &str)]) -> i16 {
    let mut request = create(name, 1);
    request.topics[0].configs = configs
        .iter()
        .map(|(name, value)| create_topics::ConfigEntry {
            name: (*name).into(),
            value: Some((*value).into()),
        })
        .collect();
    answer!(CreateTopics, client.call(7, request)).topics[0].error_code
}

/// Records with these keys and timestamps.
fn records(records: &[(Option<&str>, i64)]) -> Bytes {
    let mut builder = RecordBuilder::default();
    for (key, timestamp) in records {
        builder.push(*timestamp, key.map(str::as_bytes), Some(b"value"));
    }
    builder.finish()
}

async fn send(client: &mut Client, topic: &str, batch: Bytes) -> produce::PartitionResponse {
    let mut response = answer!(Produce, client.call(9, produced(topic, 0, -1, Some(batch))));
    response.responses[0].partition_responses.remove(0)
}

async fn offset(client: &mut Client, topic: &str, timestamp: i64) -> (i64, i64) {
    let partition = list_offsets::RequestPartition { timestamp, ..Default::default() };
    let topic = list_offsets::RequestTopic { name: topic.into(), partitions: vec![partition] };
    let request = list_offsets::Request { topics: vec![topic], ..Default::default() };
    let found = answer!(ListOffsets, client.call(7, request)).topics[0].partitions.remove(0);
    assert_eq!(found.error_code, 0);
    (found.offset, found.timestamp)
}

fn now_ms() -> i64 {
    strandline_core::env::Env::system().wall_ms()
}

#[tokio::test(flavor = "multi_thread")]
async fn partitions_are_added_or_it_is_said_why_not() {
    let node = node().await;
    let mut client = node.client().await;
    client.create("t", 2).await;
    let topic = |name: &str, count, assignments: Option<&[&[i32]]>| create_partitions::RequestTopic {
        name: name.into(),
        count,
        assignments: assignments.map(|all| {
            all.iter().map(|ids| create_partitions::Assignment { broker_ids: ids.to_vec() }).collect()
        }),
    };
    let request = |topics: Vec<_>, validate_only| create_partitions::Request {
        topics,
        validate_only,
        ..Default::default()
    };
    for (asked, code, why) in [
        (topic("t", 2, None), 37, "Topic already has 2 partition(s)."),
        (topic("t", 1, None), 37, "The topic t currently has 2 partition(s); 1 would not be an increase."),
        (topic("t", -1, None), 37, "The topic t currently has 2 partition(s); -1 would not be an increase."),
        (topic("t", 10_001, None), 37, "A topic has at most 10000 partitions."),
        (topic("no", 3, None), 3, "The topic 'no' does not exist."),
        (
            topic("t", 4, Some(&[&[7]])),
            39,
            "Attempted to add 2 additional partition(s), but only 1 assignment(s) were specified.",
        ),
        (
            topic("t", 3, Some(&[&[9]])),
            39,
            "The manual partition assignment includes broker 9, but no such broker is registered.",
        ),
        (
            topic("t", 3, Some(&[&[7, 7]])),
            39,
            "The manual partition assignment includes the broker 7 more than once.",
        ),
        (topic("t", 3, Some(&[&[]])), 39, "The manual partition assignment includes an empty replica list."),
    ] {
        let response = answer!(CreatePartitions, client.call(3, request(vec![asked], false)));
        let result = &response.results[0];
        assert_eq!((result.error_code, result.error_message.as_deref()), (code, Some(why)));
    }
    let twice = request(vec![topic("t", 3, None), topic("t", 4, None)], false);
    let response = answer!(CreatePartitions, client.call(0, twice));
    assert_eq!((response.results.len(), response.results[0].error_code), (1, 42));
    for (validate_only, count, there) in [(true, 5, 2), (false, 5, 5), (true, 6, 5)] {
        let one = request(vec![topic("t", count, None)], validate_only);
        assert_eq!(answer!(CreatePartitions, client.call(2, one)).results[0].error_code, 0);
        let all = metadata::Request { topics: None, ..Default::default() };
        assert_eq!(answer!(Metadata, client.call(9, all)).topics[0].partitions.len(), there);
    }
    let assigned = request(vec![topic("t", 7, Some(&[&[7], &[7]]))], false);
    assert_eq!(answer!(CreatePartitions, client.call(3, assigned)).results[0].error_code, 0);
    let batch = records(&[(None, 1_000)]);
    let response = answer!(Produce, client.call(9, produced("t", 6, -1, Some(batch))));
    assert_eq!(response.responses[0].partition_responses[0].error_code, 0);
}

async fn delete(client: &mut Client, topic: &str, partition: i32, offset: i64) -> (i16, i64) {
    let partition = delete_records::RequestPartition { partition_index: partition, offset };
    let topic = delete_records::RequestTopic { name: topic.into(), partitions: vec![partition] };
    let request = delete_records::Request { topics: vec![topic], timeout_ms: 1_000 };
    let response = answer!(DeleteRecords, client.call(2, request));
    let result = &response.topics[0].partitions[0];
    (result.error_code, result.low_watermark)
}

#[tokio::test(flavor = "multi_thread")]
async fn deleted_records_are_gone_for_everybody_who_asks() {
    let node = node().await;
    let mut client = node.client().await;
    client.create("t", 1).await;
    for times in [[5_000, 1_000, 9_000, 2_000], [3_000, 4_000, 7_000, 6_000]] {
        let batch = records(&times.map(|at| (Some("k"), at)));
        assert_eq!(send(&mut client, "t", batch).await.error_code, 0);
    }
    assert_eq!(create_with(&mut client, "compacted", &[("cleanup.policy", "compact")]).await, 0);
    assert_eq!(create_with(&mut client, "both", &[("cleanup.policy", "compact,delete")]).await, 0);
    for (topic, partition, before, expected) in [
        ("t", 0, 9, (1, -1)),
        ("t", 0, -2, (1, -1)),
        ("t", 1, 0, (3, -1)),
        ("t", -1, 0, (3, -1)),
        ("no", 0, 0, (3, -1)),
        ("compacted", 0, 0, (44, -1)),
        ("both", 0, 0, (0, 0)),
        ("t", 0, 0, (0, 0)),
        ("t", 0, 3, (0, 3)),
        ("t", 0, 1, (0, 3)),
    ] {
        assert_eq!(delete(&mut client, topic, partition, before).await, expected, "{topic} {before}");
    }
    // The first extent begins below the start: its batch comes whole, but nothing below counts any more.
    assert_eq!(offset(&mut client, "t", -2).await.0, 3);
    assert_eq!(offset(&mut client, "t", 0).await, (3, 2_000), "the times below are gone");
    assert_eq!(offset(&mut client, "t", 4_500).await, (6, 7_000));
    assert_eq!(offset(&mut client, "t", -3).await, (6, 7_000), "the largest time was deleted");
    for (from, code, bytes) in [(2, 1, false), (0, 1, false), (3, 0, true), (8, 0, false), (9, 1, false)] {
        let response = answer!(Fetch, client.call(11, fetch("t", &[(0, from)], 0)));
        let partition = &response.responses[0].partitions[0];
        assert_eq!(partition.error_code, code, "from {from}");
        assert_eq!(partition.records.as_ref().map_or(0, Records::len) > 0, bytes, "from {from}");
        assert!(code != 0 || partition.log_start_offset == 3);
    }
    let batch = records(&[(None, 1_000)]);
    let appended = send(&mut client, "t", batch.clone()).await;
    assert_eq!((appended.base_offset, appended.log_start_offset), (8, 3));
    assert_eq!(delete(&mut client, "t", 0, -1).await, (0, 9), "everything");
    assert_eq!((offset(&mut client, "t", -2).await.0, offset(&mut client, "t", -1).await.0), (9, 9));
    assert_eq!((offset(&mut client, "t", 0).await.0, offset(&mut client, "t", -3).await.0), (-1, -1));
    assert_eq!(send(&mut client, "t", batch).await.base_offset, 9, "offsets go on");
}

fn resource(
    kind: i8,
    name: &str,
    changes: &[(&str, i8, Option<&str>)],
) -> incremental_alter_configs::Resource {
    incremental_alter_configs::Resource {
        resource_type: kind,
        resource_name: name.into(),
        configs: changes
            .iter()
            .map(|(name, config_operation, value)| incremental_alter_configs::ConfigChange {
                name: (*name).into(),
                config_operation: *config_operation,
                value: value.map(str::to_owned),
            })
            .collect(),
    }
}

async fn alter(
    client: &mut Client,
    resources: Vec<incremental_alter_configs::Resource>,
    validate_only: bool,
) -> Vec<(i16, String)> {
    let request = incremental_alter_configs::Request { resources, validate_only };
    let response = answer!(IncrementalAlterConfigs, client.call(1, request));
    let result =
        |result: alter_configs::ResourceResult| (result.error_code, result.error_message.unwrap_or_default());
    response.responses.into_iter().map(result).collect()
}

async fn config(client: &mut Client, topic: &str, name: &str) -> (String, i8) {
    let resource = describe_configs::Resource {
        resource_type: TOPIC,
        resource_name: topic.into(),
        configuration_keys: Some(vec![name.into()]),
    };
    let request = describe_configs::Request { resources: vec![resource], ..Default::default() };
    let config = answer!(DescribeConfigs, client.call(1, request)).results[0].configs.remove(0);
    (config.value.unwrap(), config.config_source)
}

#[tokio::test(flavor = "multi_thread")]
async fn single_configs_change() {
    let node = node().await;
    let mut client = node.client().await;
    client.create("t", 1).await;
    let policy = "cleanup.policy";
    let default = ("604800000", 5);
    for (changes, validate_only, name, expected) in [
        (&[("retention.ms", SET, Some("5"))][..], true, "retention.ms", default),
        (&[("retention.ms", SET, Some("5"))], false, "retention.ms", ("5", 1)),
        (&[(policy, APPEND, Some("compact"))], false, policy, ("delete,compact", 1)),
        (&[(policy, APPEND, Some("compact"))], false, policy, ("delete,compact", 1)),
        (
            &[(policy, SUBTRACT, Some("delete")), ("retention.ms", DELETE, None)],
            false,
            policy,
            ("compact", 1),
        ),
        (&[], false, "retention.ms", default),
        (&[(policy, DELETE, None)], false, policy, ("delete", 5)),
    ] {
        let results = alter(&mut client, vec![resource(TOPIC, "t", changes)], validate_only).await;
        assert_eq!(results, [(0, String::new())], "{changes:?}");
        let (value, source) = config(&mut client, "t", name).await;
        assert_eq!((value.as_str(), source), expected, "{changes:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_that_make_no_sense_are_refused() {
    let node = node().await;
    let mut client = node.client().await;
    client.create("t", 1).await;
    for (kind, name, change, code, why) in [
        (TOPIC, "t", ("no.such", SET, Some("1")), 40, "Unknown topic config name: no.such"),
        (TOPIC, "t", ("retention.ms", SET, Some("soon")), 40, "Invalid value soon for configuration"),
        (TOPIC, "t", ("retention.ms", APPEND, Some("1")), 40, "Can't APPEND to key retention.ms"),
        (TOPIC, "t", ("retention.ms", SET, None), 42, "Null value not supported for : retention.ms"),
        (TOPIC, "t", ("retention.ms", 4, Some("1")), 42, "Unknown operation type 4"),
        (TOPIC, "no", ("retention.ms", SET, Some("1")), 3, "The topic 'no' does not exist."),
        (TOPIC, "a/b", ("retention.ms", SET, Some("1")), 17, "The topic name is invalid."),
        (BROKER, "7", ("node.id", SET, Some("1")), 42, "Cannot update these configs dynamically: node.id"),
        (BROKER, "", ("log.retention.ms", SET, Some("1")), 42, "Cannot update these configs dynamically"),
        (BROKER, "8", ("node.id", SET, Some("1")), 42, "Unexpected broker id, expected 7"),
        (BROKER, "x", ("node.id", SET, Some("1")), 42, "Unexpected broker id, expected 7"),
        (LOGGER, "7", ("root", SET, Some("INFO")), 42, "log levels are set with --log-level"),
        (32, "g", ("x", SET, Some("1")), 42, "Unexpected resource type 32."),
    ] {
        let results = alter(&mut client, vec![resource(kind, name, &[change])], false).await;
        assert_eq!(results[0].0, code, "{change:?}: {results:?}");
        assert!(results[0].1.starts_with(why), "{results:?}");
    }
    let long = "x".repeat(32 * 1_024 + 1);
    let long = resource(TOPIC, "t", &[("follower.replication.throttled.replicas", SET, Some(&long))]);
    assert_eq!(alter(&mut client, vec![long], false).await[0].0, 40);
    let twice = [("retention.ms", SET, Some("1")), ("retention.ms", DELETE, None)];
    assert_eq!(alter(&mut client, vec![resource(TOPIC, "t", &twice)], false).await[0].0, 42);
    let (good, other) = (("retention.ms", SET, Some("1")), ("segment.ms", SET, Some("2")));
    let same = vec![resource(TOPIC, "t", &[good]), resource(TOPIC, "t", &[other])];
    assert_eq!(alter(&mut client, same, false).await.iter().map(|r| r.0).collect::<Vec<_>>(), [42, 42]);
    assert_eq!(config(&mut client, "t", "retention.ms").await.1, 5, "nothing of all that was set");
    // One that is refused does not stop the others.
    let mixed =
        vec![resource(TOPIC, "no", &[good]), resource(TOPIC, "t", &[good]), resource(BROKER, "7", &[])];
    assert_eq!(alter(&mut client, mixed, false).await.iter().map(|r| r.0).collect::<Vec<_>>(), [3, 0, 0]);
    assert_eq!(config(&mut client, "t", "retention.ms").await, ("1".to_owned(), 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn all_configs_are_replaced() {
    let node = node().await;
    let mut client = node.client().await;
    assert_eq!(create_with(&mut client, "t", &[("retention.ms", "5"), ("segment.ms", "6")]).await, 0);
    let replace = |name: &str, value: Option<&str>, validate_only| {
        let config = alter_configs::ConfigEntry { name: name.into(), value: value.map(str::to_owned) };
        let resource = alter_configs::Resource {
            resource_type: TOPIC,
            resource_name: "t".into(),
            configs: vec![config],
        };
        alter_configs::Request { resources: vec![resource], validate_only }
    };
    for (request, code, retention) in [
        (replace("segment.ms", Some("7"), true), 0, "5"),
        (replace("segment.ms", Some("x"), false), 40, "5"),
        (replace("segment.ms", None, false), 42, "5"),
        (replace("segment.ms", Some("7"), false), 0, "604800000"),
    ] {
        let response = answer!(AlterConfigs, client.call(2, request));
        assert_eq!(response.responses[0].error_code, code);
        assert_eq!(config(&mut client, "t", "retention.ms").await.0, retention);
    }
    assert_eq!(config(&mut client, "t", "segment.ms").await, ("7".to_owned(), 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn configs_are_described_with_where_they_come_from() {
    let node = node().await;
    let mut client = node.client().await;
    assert_eq!(create_with(&mut client, "t", &[("cleanup.policy", "compact")]).await, 0);
    let ask = |kind, name: &str, keys: Option<&[&str]>| describe_configs::Resource {
        resource_type: kind,
        resource_name: name.into(),
        configuration_keys: keys.map(|keys| keys.iter().map(|&key| key.into()).collect()),
    };
    let resources = vec![
        ask(TOPIC, "t", Some(&["cleanup.policy", "max.message.bytes", "no.such"])),
        ask(BROKER, "7", Some(&["node.id", "log.retention.ms"])),
        ask(BROKER, "", None),
        ask(BROKER, "8", None),
        ask(TOPIC, "no", None),
        ask(TOPIC, "a/b", None),
        ask(LOGGER, "7", None),
        ask(0, "t", None),
    ];
    let request =
        describe_configs::Request { resources, include_synonyms: true, include_documentation: true };
    let response = answer!(DescribeConfigs, client.call(4, request));
    let codes: Vec<_> = response.results.iter().map(|result| result.error_code).collect();
    assert_eq!(codes, [0, 0, 0, 42, 3, 17, 42, 42]);
    let shown: Vec<_> = response.results[..2]
        .iter()
        .flat_map(|result| &result.configs)
        .map(|config| {
            assert!(config.documentation.as_ref().is_some_and(|text| !text.is_empty()));
            let synonyms = config.synonyms.iter();
            let synonyms: Vec<_> =
                synonyms.map(|s| (s.name.as_str(), s.value.as_deref().unwrap(), s.source)).collect();
            (config.name.as_str(), config.config_source, config.read_only, synonyms)
        })
        .collect();
    let expected = [
        (
            "cleanup.policy",
            1,
            false,
            vec![("cleanup.policy", "compact", 1), ("log.cleanup.policy", "delete", 5)],
        ),
        ("max.message.bytes", 5, false, vec![("message.max.bytes", "1048588", 5)]),
        ("log.retention.ms", 5, true, vec![("log.retention.ms", "604800000", 5)]),
        ("node.id", 4, true, vec![("node.id", "7", 4)]),
    ];
    assert_eq!(shown, expected);
    assert!(response.results[2].configs.is_empty(), "nothing is set for all brokers");
}

#[tokio::test(flavor = "multi_thread")]
async fn topics_are_checked_when_they_are_made() {
    let node = node().await;
    let mut client = node.client().await;
    for (name, code) in [("a.b_c", 0), ("a_b_c", 17), ("a.b.c", 17), ("a.b_c", 36), ("a.b_d", 0), ("abc", 0)]
    {
        let mut request = create(name, 1);
        for validate_only in [true, false] {
            request.validate_only = validate_only;
            let response = answer!(CreateTopics, client.call(7, request.clone()));
            assert_eq!(response.topics[0].error_code, code, "{name}: {response:?}");
        }
    }
    let topic = metadata::RequestTopic { name: Some("a.b.d".into()), ..Default::default() };
    let request = metadata::Request {
        topics: Some(vec![topic]),
        allow_auto_topic_creation: true,
        ..Default::default()
    };
    assert_eq!(answer!(Metadata, client.call(9, request)).topics[0].error_code, 17, "nor on demand");
}

#[tokio::test(flavor = "multi_thread")]
async fn records_without_a_key_stay_out_of_compacted_topics() {
    let node = node().await;
    let mut client = node.client().await;
    client.create("t", 1).await;
    let keyless = records(&[(Some("a"), 1_000), (None, 1_000), (Some(""), 1_000), (None, 1_000)]);
    assert_eq!(send(&mut client, "t", keyless.clone()).await.error_code, 0);
    let compact = resource(TOPIC, "t", &[("cleanup.policy", APPEND, Some("compact"))]);
    assert_eq!(alter(&mut client, vec![compact], false).await[0].0, 0);
    let refused = send(&mut client, "t", keyless).await;
    let blamed: Vec<_> = refused.record_errors.iter().map(|error| error.batch_index).collect();
    assert_eq!((refused.error_code, refused.base_offset, blamed), (87, -1, vec![1, 3]));
    assert!(refused.error_message.is_some() && refused.record_errors[0].batch_index_error_message.is_some());
    assert_eq!(send(&mut client, "t", records(&[(Some("a"), 1_000)])).await.base_offset, 4);
    let delete = resource(TOPIC, "t", &[("cleanup.policy", DELETE, None)]);
    assert_eq!(alter(&mut client, vec![delete], false).await[0].0, 0);
    assert_eq!(send(&mut client, "t", records(&[(None, 1_000)])).await.base_offset, 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn times_far_from_now_are_refused() {
    let node = node().await;
    let mut client = node.client().await;
    client.create("t", 1).await;
    let hour = 3_600_000;
    let around = |before: i64, after: i64| {
        let now = now_ms();
        records(&[(None, now), (None, now - before), (None, now + after), (None, -1)])
    };
    // The default: an hour ahead, any time behind.
    assert_eq!(send(&mut client, "t", around(1_000_000 * hour, hour / 2)).await.error_code, 0);
    assert_eq!(send(&mut client, "t", around(0, 2 * hour)).await.error_code, 32);
    let bounds = [
        ("message.timestamp.before.max.ms", SET, Some("7200000")),
        ("message.timestamp.after.max.ms", SET, Some("60000")),
    ];
    assert_eq!(alter(&mut client, vec![resource(TOPIC, "t", &bounds)], false).await[0].0, 0);
    assert_eq!(send(&mut client, "t", around(hour, 10_000)).await.error_code, 0);
    assert_eq!(send(&mut client, "t", around(hour, hour)).await.error_code, 32);
    // The first record is not the oldest one: each of them is looked at.
    let refused = send(&mut client, "t", around(3 * hour, 0)).await;
    let blamed: Vec<_> = refused.record_errors.iter().map(|error| error.batch_index).collect();
    assert_eq!((refused.error_code, blamed), (32, vec![1]));
    let stamped = [("message.timestamp.type", SET, Some("LogAppendTime"))];
    assert_eq!(alter(&mut client, vec![resource(TOPIC, "t", &stamped)], false).await[0].0, 0);
    assert_eq!(send(&mut client, "t", around(3 * hour, hour)).await.error_code, 0, "nobody reads them");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_gives_records_their_time() {
    let node = node().await;
    let mut client = node.client().await;
    assert_eq!(create_with(&mut client, "t", &[("message.timestamp.type", "LogAppendTime")]).await, 0);
    let before = now_ms();
    let sent = records(&[(None, 9_000), (None, 1_000), (None, 5_000)]);
    let first = send(&mut client, "t", sent.clone()).await;
    assert_eq!((first.error_code, first.base_offset), (0, 0));
    let at = first.log_append_time_ms;
    assert!((before..=now_ms()).contains(&at), "{at}");
    let response = answer!(Fetch, client.call(11, fetch("t", &[(0, 0)], 0)));
    let got = response.responses[0].partitions[0].records.clone().unwrap();
    let got: Bytes = got.into_parts().concat().into();
    let read = strandline_core::record::records(&got).unwrap();
    assert_eq!(read.iter().map(|record| record.timestamp).collect::<Vec<_>>(), [at; 3]);
    assert_eq!(
        got[strandline_core::record::BATCH_HEADER_BYTES..],
        sent[strandline_core::record::BATCH_HEADER_BYTES..]
    );
    strandline_core::record::BatchHeader::check(&got).unwrap();
    let second = send(&mut client, "t", sent.clone()).await.log_append_time_ms;
    assert!(second >= at);
    // Found by the time that the log gave, never by that of the producer: the first record of a batch is as good as any.
    assert_eq!(offset(&mut client, "t", 1_000).await, (0, at));
    assert_eq!(offset(&mut client, "t", second + 1).await, (-1, -1));
    // Producers must not pretend to be the log.
    let pretended = strandline_core::record::stamp_append_time(&sent, before).unwrap();
    assert_eq!(send(&mut client, "t", pretended).await.error_code, 32);
    let create_time = [("message.timestamp.type", DELETE, None)];
    assert_eq!(alter(&mut client, vec![resource(TOPIC, "t", &create_time)], false).await[0].0, 0);
    assert_eq!(send(&mut client, "t", sent).await.log_append_time_ms, -1);
}

#[tokio::test(flavor = "multi_thread")]
async fn large_batches_are_refused_from_the_next_one_on() {
    let node = node().await;
    let mut client = node.client().await;
    client.create("t", 1).await;
    let batch = records(&[(None, 1_000), (None, 1_000)]);
    let bytes = batch.len();
    for (most, code) in [(bytes - 1, 10), (bytes, 0)] {
        let most = most.to_string();
        let limit = resource(TOPIC, "t", &[("max.message.bytes", SET, Some(&most))]);
        assert_eq!(alter(&mut client, vec![limit], false).await[0].0, 0);
        assert_eq!(send(&mut client, "t", batch.clone()).await.error_code, code);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sizes_lie_in_the_store() {
    let node = node().await;
    let mut client = node.client().await;
    client.create("t", 2).await;
    client.create("u", 1).await;
    let batch = records(&[(None, 1_000)]);
    let bytes = batch.len() as i64;
    for _ in 0..2 {
        assert_eq!(send(&mut client, "t", batch.clone()).await.error_code, 0);
    }
    let topic = |topic: &str, partitions: &[i32]| describe_log_dirs::RequestTopic {
        topic: topic.into(),
        partitions: partitions.to_vec(),
    };
    let some = vec![topic("t", &[1, 0, 1, 9]), topic("no", &[0]), topic("u", &[])];
    for (topics, expected) in [
        (None, vec![("t", vec![(0, 2 * bytes), (1, 0)]), ("u", vec![(0, 0)])]),
        (Some(some), vec![("t", vec![(0, 2 * bytes), (1, 0)])]),
        (Some(vec![]), vec![]),
    ] {
        let request = describe_log_dirs::Request { topics };
        let response = answer!(DescribeLogDirs, client.call(4, request));
        assert_eq!((response.error_code, response.results.len()), (0, 1));
        let dir = &response.results[0];
        assert_eq!((dir.log_dir.as_str(), dir.total_bytes, dir.usable_bytes), ("memory:", -1, -1));
        let found: Vec<_> = dir
            .topics
            .iter()
            .map(|topic| {
                let sizes = topic.partitions.iter().map(|p| (p.partition_index, p.partition_size));
                (topic.name.as_str(), sizes.collect::<Vec<_>>())
            })
            .collect();
        assert_eq!(found, expected);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_there_is_nothing_of() {
    let node = node().await;
    let mut client = node.client().await;
    let moves = list_partition_reassignments::Request::default();
    let response = answer!(ListPartitionReassignments, client.call(0, moves));
    assert_eq!((response.error_code, response.topics.len()), (0, 0));
    let described = answer!(DescribeAcls, client.call(3, describe_acls::Request::default()));
    assert_eq!((described.error_code, described.resources.len()), (54, 0));
    let rule = create_acls::Creation::default();
    let made = create_acls::Request { creations: vec![rule.clone(), rule] };
    let made = answer!(CreateAcls, client.call(3, made));
    assert_eq!(made.results.iter().map(|result| result.error_code).collect::<Vec<_>>(), [54, 54]);
    let deleted = delete_acls::Request { filters: vec![delete_acls::Filter::default()] };
    let deleted = answer!(DeleteAcls, client.call(3, deleted));
    assert_eq!(deleted.filter_results.iter().map(|result| result.error_code).collect::<Vec<_>>(), [54]);
    // An id without its epoch says nothing.
    let half = init_producer_id::Request { producer_id: 5, producer_epoch: -1, ..Default::default() };
    assert_eq!(answer!(InitProducerId, client.call(3, half)).error_code, 42);
}
