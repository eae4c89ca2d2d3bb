//! Writes the seeds of the corpus: golden objects, real requests and responses, real batches in every codec.
//!
//! Owns what `cargo test` cannot make up by mutation. Does nothing unless `STRANDLINE_WRITE_CORPUS` is set; what a fuzzer
//! found lies beside the seeds and is left alone.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fs;
use std::io::Write;
use std::path::Path;

use bytes::Bytes;
use strandline_core::chunk::footer_range;
use strandline_core::record::{BATCH_HEADER_BYTES, RecordBuilder};
use strandline_kafka::api::{self, ApiKey};
use strandline_kafka::codec::{Records, Writer};
use strandline_kafka::frame::{RequestHeader, encode_request};
use strandline_kafka::messages::*;

fn write(target: &str, name: &str, bytes: &[u8]) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target);
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join(name), bytes).unwrap();
}

#[test]
fn seeds_are_written_when_asked_for() {
    if std::env::var_os("STRANDLINE_WRITE_CORPUS").is_none() {
        return;
    }
    requests();
    responses();
    batches();
    objects();
    dense();
    urls();
    for target in ["fold", "commit", "checkpoint", "segment", "chunk", "index"] {
        for (name, length) in [("chosen-short", 24), ("chosen-long", 400)] {
            let bytes: Vec<u8> = (0..length).map(|n: u32| (n * 151 % 251) as u8).collect();
            write(target, name, &bytes);
        }
    }
}

#[test]
fn every_api_has_a_seed() {
    for range in api::table() {
        assert_eq!(request(range.key).api_key(), range.key);
    }
}

/// Two records, the second without a key.
fn batch() -> Bytes {
    let mut builder = RecordBuilder::default();
    builder.push(1_767_225_600_000, Some(b"key"), Some(b"value"));
    builder.push(1_767_225_600_005, None, Some(&[b'v'; 200]));
    builder.finish_as(1_000, 3, 7)
}

/// One request of every API, in its oldest and its newest version.
fn requests() {
    for range in api::table() {
        for version in [range.min, range.max] {
            let request = request(range.key);
            let header = RequestHeader {
                api_key: range.key.code(),
                api_version: version,
                correlation_id: 7,
                client_id: Some("client".to_owned()),
            };
            let frame = encode_request(&header, &request).unwrap().into_parts().concat();
            write("frame", &format!("{}-v{version}", range.key.name()), &frame[4..]);
        }
    }
}

fn request(api: ApiKey) -> Request {
    let name = || "orders".to_owned();
    match api {
        ApiKey::Produce => {
            let partition = produce::PartitionData { index: 1, records: Some(Records::from(batch())) };
            let (topic_id, partition_data) = ([7; 16], vec![partition]);
            let topic = produce::TopicData { name: name(), topic_id, partition_data };
            produce::Request { acks: -1, topic_data: vec![topic], ..Default::default() }.into()
        }
        ApiKey::Fetch => {
            let partition = fetch::FetchPartition { replica_directory_id: [3; 16], ..Default::default() };
            let (topic_id, partitions) = ([7; 16], vec![partition]);
            let topic = fetch::FetchTopic { topic: name(), topic_id, partitions };
            let cluster_id = Some("cluster".to_owned());
            fetch::Request { cluster_id, topics: vec![topic], ..Default::default() }.into()
        }
        ApiKey::ListOffsets => {
            let partition = list_offsets::RequestPartition { timestamp: -1, ..Default::default() };
            let topic = list_offsets::RequestTopic { name: name(), partitions: vec![partition] };
            list_offsets::Request { topics: vec![topic], ..Default::default() }.into()
        }
        ApiKey::Metadata => {
            let topic = metadata::RequestTopic { name: Some(name()), ..Default::default() };
            metadata::Request { topics: Some(vec![topic]), ..Default::default() }.into()
        }
        ApiKey::ApiVersions => {
            let (client_software_name, client_software_version) = (name(), name());
            api_versions::Request { client_software_name, client_software_version }.into()
        }
        ApiKey::InitProducerId => {
            let transactional_id = Some(name());
            init_producer_id::Request { transactional_id, ..Default::default() }.into()
        }
        ApiKey::OffsetForLeaderEpoch => {
            let partition = offset_for_leader_epoch::RequestPartition::default();
            let topic = offset_for_leader_epoch::RequestTopic { topic: name(), partitions: vec![partition] };
            offset_for_leader_epoch::Request { topics: vec![topic], ..Default::default() }.into()
        }
        _ => group_request(api),
    }
}

fn group_request(api: ApiKey) -> Request {
    let name = || "orders".to_owned();
    match api {
        ApiKey::OffsetCommit => {
            let committed_metadata = Some(name());
            let partition = offset_commit::RequestPartition { committed_metadata, ..Default::default() };
            let topic = offset_commit::RequestTopic { name: name(), partitions: vec![partition] };
            let (group_id, member_id, group_instance_id) = (name(), name(), Some(name()));
            let topics = vec![topic];
            offset_commit::Request { group_id, member_id, group_instance_id, topics, ..Default::default() }
                .into()
        }
        ApiKey::OffsetFetch => {
            let topic = offset_fetch::RequestTopic { name: name(), partition_indexes: vec![0, 1] };
            let (member_id, topics) = (Some(name()), Some(vec![topic]));
            let group = offset_fetch::RequestGroup {
                group_id: name(),
                member_id,
                topics: topics.clone(),
                ..Default::default()
            };
            let (group_id, groups) = (name(), vec![group]);
            offset_fetch::Request { group_id, topics, groups, ..Default::default() }.into()
        }
        ApiKey::FindCoordinator => {
            let (key, coordinator_keys) = (name(), vec![name(), name()]);
            find_coordinator::Request { key, coordinator_keys, ..Default::default() }.into()
        }
        ApiKey::JoinGroup => {
            let protocols = vec![join_group::Protocol { name: name(), metadata: batch() }];
            let (group_id, protocol_type, reason) = (name(), name(), Some(name()));
            join_group::Request { group_id, protocol_type, protocols, reason, ..Default::default() }.into()
        }
        ApiKey::SyncGroup => {
            let assignments = vec![sync_group::Assignment { member_id: name(), assignment: batch() }];
            let (group_id, member_id, protocol_name) = (name(), name(), Some(name()));
            sync_group::Request { group_id, member_id, protocol_name, assignments, ..Default::default() }
                .into()
        }
        ApiKey::Heartbeat => {
            let (group_id, member_id, group_instance_id) = (name(), name(), Some(name()));
            heartbeat::Request { group_id, member_id, group_instance_id, ..Default::default() }.into()
        }
        ApiKey::LeaveGroup => {
            let (member_id, reason) = (name(), Some(name()));
            let member = leave_group::Member { member_id: name(), reason, ..Default::default() };
            leave_group::Request { group_id: name(), member_id, members: vec![member] }.into()
        }
        ApiKey::DescribeGroups => {
            describe_groups::Request { groups: vec![name(), name()], ..Default::default() }.into()
        }
        ApiKey::ListGroups => {
            list_groups::Request { states_filter: vec![name()], types_filter: vec![name()] }.into()
        }
        ApiKey::DeleteGroups => delete_groups::Request { groups_names: vec![name(), name()] }.into(),
        ApiKey::OffsetDelete => {
            let partitions = vec![Default::default(); 2];
            let topics = vec![offset_delete::RequestTopic { name: name(), partitions }];
            offset_delete::Request { group_id: name(), topics }.into()
        }
        ApiKey::ConsumerGroupHeartbeat => {
            let held =
                consumer_group_heartbeat::TopicPartitions { topic_id: [7; 16], partitions: vec![0, 1] };
            consumer_group_heartbeat::Request {
                group_id: name(),
                member_id: name(),
                subscribed_topic_names: Some(vec![name()]),
                subscribed_topic_regex: Some(name()),
                server_assignor: Some(name()),
                topic_partitions: Some(vec![held]),
                ..Default::default()
            }
            .into()
        }
        ApiKey::ConsumerGroupDescribe => {
            consumer_group_describe::Request { group_ids: vec![name(), name()], ..Default::default() }.into()
        }
        _ => transaction_request(api),
    }
}

fn transaction_request(api: ApiKey) -> Request {
    let name = || "orders".to_owned();
    match api {
        ApiKey::AddPartitionsToTxn => {
            let topic = add_partitions_to_txn::RequestTopic { name: name(), partitions: vec![0, 1] };
            let (transactional_id, topics) = (name(), vec![topic]);
            add_partitions_to_txn::Request { transactional_id, topics, ..Default::default() }.into()
        }
        ApiKey::AddOffsetsToTxn => {
            let (transactional_id, group_id) = (name(), name());
            add_offsets_to_txn::Request { transactional_id, group_id, ..Default::default() }.into()
        }
        ApiKey::EndTxn => {
            let (transactional_id, committed) = (name(), true);
            end_txn::Request { transactional_id, committed, ..Default::default() }.into()
        }
        ApiKey::TxnOffsetCommit => {
            let committed_metadata = Some(name());
            let partition = txn_offset_commit::RequestPartition { committed_metadata, ..Default::default() };
            let topic = txn_offset_commit::RequestTopic { name: name(), partitions: vec![partition] };
            txn_offset_commit::Request {
                transactional_id: name(),
                group_id: name(),
                member_id: name(),
                group_instance_id: Some(name()),
                topics: vec![topic],
                ..Default::default()
            }
            .into()
        }
        ApiKey::DescribeProducers => {
            let topic = describe_producers::RequestTopic { name: name(), partition_indexes: vec![0, 1] };
            describe_producers::Request { topics: vec![topic] }.into()
        }
        ApiKey::DescribeTransactions => {
            describe_transactions::Request { transactional_ids: vec![name(), name()] }.into()
        }
        ApiKey::ListTransactions => {
            let (state_filters, transactional_id_pattern) = (vec![name()], Some(name()));
            let producer_id_filters = vec![7, 9];
            list_transactions::Request {
                state_filters,
                producer_id_filters,
                transactional_id_pattern,
                ..Default::default()
            }
            .into()
        }
        _ => admin_request(api),
    }
}

fn admin_request(api: ApiKey) -> Request {
    let name = || "orders".to_owned();
    match api {
        ApiKey::CreateTopics => {
            let assignment = create_topics::Assignment { partition_index: 0, broker_ids: vec![1, 2] };
            let config = create_topics::ConfigEntry { name: name(), value: Some("1".to_owned()) };
            let (assignments, configs) = (vec![assignment], vec![config]);
            let topic = create_topics::NewTopic { name: name(), assignments, configs, ..Default::default() };
            create_topics::Request { topics: vec![topic], ..Default::default() }.into()
        }
        ApiKey::DeleteTopics => {
            let topics = vec![delete_topics::TopicState { name: Some(name()), topic_id: [7; 16] }];
            delete_topics::Request { topics, topic_names: vec![name()], ..Default::default() }.into()
        }
        ApiKey::DescribeCluster => describe_cluster::Request::default().into(),
        ApiKey::DescribeConfigs => {
            let configuration_keys = Some(vec![name()]);
            let resource = describe_configs::Resource { configuration_keys, ..Default::default() };
            describe_configs::Request { resources: vec![resource], ..Default::default() }.into()
        }
        ApiKey::CreatePartitions => {
            let assignments = Some(vec![create_partitions::Assignment { broker_ids: vec![1, 2] }]);
            let topic = create_partitions::RequestTopic { name: name(), count: 3, assignments };
            create_partitions::Request { topics: vec![topic], ..Default::default() }.into()
        }
        ApiKey::DeleteRecords => {
            let partitions = vec![Default::default(); 2];
            let topics = vec![delete_records::RequestTopic { name: name(), partitions }];
            delete_records::Request { topics, ..Default::default() }.into()
        }
        ApiKey::IncrementalAlterConfigs => {
            let change = incremental_alter_configs::ConfigChange { name: name(), ..Default::default() };
            let configs = vec![change];
            let resource = incremental_alter_configs::Resource { configs, ..Default::default() };
            incremental_alter_configs::Request { resources: vec![resource], ..Default::default() }.into()
        }
        ApiKey::AlterConfigs => {
            let configs = vec![alter_configs::ConfigEntry { name: name(), value: Some(name()) }];
            let resource = alter_configs::Resource { configs, ..Default::default() };
            alter_configs::Request { resources: vec![resource], ..Default::default() }.into()
        }
        ApiKey::DescribeLogDirs => {
            let topic = describe_log_dirs::RequestTopic { topic: name(), partitions: vec![0, 1] };
            describe_log_dirs::Request { topics: Some(vec![topic]) }.into()
        }
        ApiKey::ListPartitionReassignments => {
            let partition_indexes = vec![0, 1];
            let topic = list_partition_reassignments::RequestTopic { name: name(), partition_indexes };
            list_partition_reassignments::Request { topics: Some(vec![topic]), ..Default::default() }.into()
        }
        ApiKey::DescribeAcls => {
            let (resource_name_filter, host_filter) = (Some(name()), Some(name()));
            describe_acls::Request { resource_name_filter, host_filter, ..Default::default() }.into()
        }
        ApiKey::CreateAcls => {
            let creations = vec![create_acls::Creation { resource_name: name(), ..Default::default() }];
            create_acls::Request { creations }.into()
        }
        ApiKey::DeleteAcls => {
            let (resource_name_filter, host_filter) = (Some(name()), Some(name()));
            let filter = delete_acls::Filter { resource_name_filter, host_filter, ..Default::default() };
            delete_acls::Request { filters: vec![filter] }.into()
        }
        other => panic!("{} has no seed", other.name()),
    }
}

/// The responses with most in them; requests come by in `frame`.
fn responses() {
    let name = || "orders".to_owned();
    let partition = fetch::PartitionResponse {
        records: Some(Records::from(batch())),
        aborted_transactions: Some(vec![Default::default()]),
        current_leader: fetch::LeaderIdAndEpoch { leader_id: 1, leader_epoch: 0 },
        ..Default::default()
    };
    let topic = fetch::TopicResponse { topic: name(), topic_id: [7; 16], partitions: vec![partition] };
    let broker = metadata::Broker { host: name(), ..Default::default() };
    let partition = metadata::Partition { replica_nodes: vec![1], ..Default::default() };
    let known = metadata::Topic { name: Some(name()), partitions: vec![partition], ..Default::default() };
    let config = create_topics::ResultConfig { name: name(), ..Default::default() };
    let created =
        create_topics::TopicResult { name: name(), configs: Some(vec![config]), ..Default::default() };
    let (api_keys, zk_migration_ready) = (api_versions::advertised(), true);
    let responses: [Response; 4] = [
        fetch::Response { responses: vec![topic], ..Default::default() }.into(),
        metadata::Response { brokers: vec![broker], topics: vec![known], ..Default::default() }.into(),
        create_topics::Response { topics: vec![created], ..Default::default() }.into(),
        api_versions::Response { api_keys, zk_migration_ready, ..Default::default() }.into(),
    ];
    for response in responses {
        let range = response.api_key().range();
        let index = api::table().iter().position(|other| *other == range).unwrap();
        for version in [range.min, range.max] {
            let mut writer = Writer::new(range.is_flexible(version));
            response.encode(&mut writer, version).unwrap();
            let mut bytes = vec![index as u8, (version - range.min) as u8, 1];
            bytes.extend(writer.into_parts().concat());
            write("message", &format!("{}-v{version}", range.key.name()), &bytes);
        }
    }
}

/// The same records in every codec, as a batch and without its header; and a megabyte of nothing.
fn batches() {
    let (plain, nothing) = (batch(), vec![0; 1 << 20]);
    for (codec, name, fold) in CODECS {
        let mut batch = plain[..BATCH_HEADER_BYTES].to_vec();
        batch[22] = codec;
        batch.extend(fold(&plain[BATCH_HEADER_BYTES..]));
        write("batch", name, &batch);
        write("unfold", name, &[&[codec], &batch[BATCH_HEADER_BYTES..]].concat());
        let bomb = fold(&nothing);
        if bomb.len() < 8_192 {
            write("unfold", &format!("{name}-bomb"), &[&[codec], bomb.as_slice()].concat());
        }
    }
    write("batch", "two", &[&plain[..], &plain[..]].concat());
}

type Fold = fn(&[u8]) -> Vec<u8>;

const CODECS: [(u8, &str, Fold); 6] = [
    (0, "none", <[u8]>::to_vec),
    (1, "gzip", gzip),
    (2, "snappy", snappy),
    (2, "xerial", xerial),
    (3, "lz4", lz4),
    (4, "zstd", zstd),
];

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    gzip.write_all(bytes).unwrap();
    gzip.finish().unwrap()
}

fn snappy(bytes: &[u8]) -> Vec<u8> {
    snap::raw::Encoder::new().compress_vec(bytes).unwrap()
}

fn xerial(bytes: &[u8]) -> Vec<u8> {
    let block = snappy(bytes);
    let head = b"\x82SNAPPY\0\0\0\0\x01\0\0\0\x01".as_slice();
    [head, &(block.len() as u32).to_be_bytes(), &block].concat()
}

fn lz4(bytes: &[u8]) -> Vec<u8> {
    let mut lz4 = lz4_flex::frame::FrameEncoder::new(Vec::new());
    lz4.write_all(bytes).unwrap();
    lz4.finish().unwrap()
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    ruzstd::encoding::compress_to_vec(bytes, ruzstd::encoding::CompressionLevel::Fastest)
}

fn objects() {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../core/tests/golden/v4");
    let of = |kind: &str| format!("{kind}/11112222-3333-4444-5555-666677778888/2");
    let folders = [
        ("commit", "journal".to_owned()),
        ("checkpoint", "checkpoint".to_owned()),
        ("segment", "segment/07".to_owned()),
        ("chunk", of("chunk")),
        ("index", of("index")),
    ];
    for (target, folder) in folders {
        for found in fs::read_dir(golden.join(folder)).unwrap() {
            let found = found.unwrap();
            let name = found.file_name().into_string().unwrap();
            let object = fs::read(found.path()).unwrap();
            write(target, &format!("golden-v4-{name}"), &object);
            if target == "chunk" {
                let footer = footer_range(&name, object.len() as u64, &object).unwrap();
                write(target, "golden-v4-footer", &object[footer.start as usize..footer.end as usize]);
            }
        }
    }
}

/// Headers that are nothing but the smallest thing that they may hold, over and over: the most memory for the bytes.
fn dense() {
    let id = [[0x0a, 16].as_slice(), &[1; 16]].concat();
    let append = [id.as_slice(), &[0x32, 0].repeat(2_000)].concat();
    let append = field(0x2a, &field(0x0a, &append));
    let topic = field(0x32, &[id.as_slice(), &[0x22, 0].repeat(2_000)].concat());
    // All partitions of one topic, and nobody wrote to them yet: -1 is 1 on the wire.
    let columns: Vec<u8> = (0..=127).collect();
    let columns = [id.as_slice(), &field(0x12, &columns), &field(0x1a, &[1; 128])].concat();
    let parts = [&[0x0a, 1, b't', 0x12, 0, 0x30, 1], field(0x4a, &columns).as_slice()].concat();
    let parts = [[0x20, 1].as_slice(), &field(0x4a, &parts)].concat();
    // In a run, the end of a transaction takes one byte, and what the first of all objects holds two.
    let swap = |run: &[u8]| {
        let run = field(0x12, &[id.as_slice(), run].concat());
        let swap = [[0x92, 1].as_slice(), &field(0, &[id.as_slice(), &run].concat())[1..]].concat();
        field(0x2a, &swap)
    };
    let (inputs, outputs) = (swap(&field(0x22, &[2; 3_500])), swap(&[0x2a, 0].repeat(2_000)));
    // Of a node that is asked for by this name: chunks of which nothing is said, and leaves in one column.
    let golden = 0x1111_2222_3333_4444_5555_6666_7777_8888_u128.to_be_bytes();
    let mut name = (1_767_225_600_063_u128 << 80 | 0xabcd_ef3f).to_be_bytes().to_vec();
    name.splice(..0, [&[0x0a, 16], golden.as_slice(), &[0x10, 2, 0x1a, 16]].concat());
    let dense = [
        ("index", "dense-chunks", [name.as_slice(), &[0x2a, 0].repeat(2_000)].concat()),
        ("index", "dense-leaves", [name.as_slice(), &field(0x32, &field(0x12, &[1; 3_500]))].concat()),
        (
            "chunk",
            "dense-positions",
            [&[0x08, 4], field(0x32, &field(0x0a, &[1; 3_500])).as_slice()].concat(),
        ),
        ("chunk", "dense-aborted", [&[0x08, 4], field(0x3a, &field(0x12, &[1; 3_500])).as_slice()].concat()),
        ("commit", "dense-batches", [id.as_slice(), &append].concat()),
        ("commit", "dense-inputs", [id.as_slice(), &inputs].concat()),
        ("commit", "dense-outputs", [id.as_slice(), &outputs].concat()),
        ("commit", "dense-ticks", [id.as_slice(), &[0x2a, 2, 0x30, 1].repeat(1_000)].concat()),
        ("commit", "dense-unknown", [id.as_slice(), &[0x2a, 0].repeat(2_000)].concat()),
        ("checkpoint", "dense-partitions", topic),
        ("checkpoint", "dense-topics", [0x32, 0].repeat(2_000)),
        ("checkpoint", "dense-transactions", [0x4a, 0].repeat(2_000)),
        ("checkpoint", "dense-parts", parts),
        ("segment", "dense-runs", [id.as_slice(), &[0x12, 0].repeat(2_000)].concat()),
    ];
    for (target, name, header) in dense {
        let mut object = b"SL\0\0\0\x01\0\0".to_vec();
        object.extend((header.len() as u32).to_be_bytes());
        object.extend([0; 4]);
        object.extend(header);
        write(target, name, &object);
    }
    let names = [b"\0\x14\0\x05\0\0\0\0\xff\xff\0".as_slice(), &[0x81, 0x20], &[1; 4_096], &[0; 5]];
    write("frame", "dense-names", &names.concat());
    // The same for empty groups: OffsetFetch v8 asks for 1,365 of them, ListGroups v3 lists as many.
    let groups = [[0xd6, 0x0a].as_slice(), &[1, 1, 0].repeat(1_365), &[0]].concat();
    let fetch = [b"\0\x09\0\x08\0\0\0\0\xff\xff\0".as_slice(), &groups, &[0]];
    write("frame", "dense-groups", &fetch.concat());
    let index = api::table().iter().position(|range| range.key == ApiKey::ListGroups).unwrap();
    write("message", "dense-groups", &[[index as u8, 3, 1].as_slice(), &[0; 6], &groups].concat());
}

fn field(tag: u8, bytes: &[u8]) -> Vec<u8> {
    let length = [0x80 | bytes.len() as u8, (bytes.len() >> 7) as u8];
    [&[tag], length.as_slice(), bytes].concat()
}

/// Where the secret goes, then scheme, what stands before and after it, and the rest.
fn urls() {
    let urls = [
        ("password", "0s3\nab\ncd\nbucket/prefix"),
        ("password-slash", "0gs\na/b\n?c#d\nbucket/prefix"),
        ("query", "1az\ntoken=\n&x=y\ncontainer/prefix"),
        ("fragment", "2abfss\na\nb\ncontainer@account.dfs.core.windows.net/prefix"),
        ("memory", "3memory\ntoken=\n\n//prefix"),
    ];
    for (name, url) in urls {
        write("url", name, url.as_bytes());
    }
}
