//! Vectors for the versions that Kafka 4 and the oracle have dropped and that old clients still send.

use bytes::Bytes;

use super::{body, header};
use crate::api::ApiKey;
use crate::frame::{decode_request, decode_response, encode_request, encode_response};
use crate::messages::{Request, Response, describe_configs, list_offsets, offset_commit};

#[test]
fn should_read_and_write_list_offsets_v0() {
    #[rustfmt::skip]
    let bytes = Bytes::from_static(&[
        0, 2, 0, 0, 1, 2, 3, 4, 0, 2, b'm', b'e',       // key 2, version 0, correlation id, "me"
        0xff, 0xff, 0xff, 0xff,                         // replica -1
        0, 0, 0, 1, 0, 1, b't', 0, 0, 0, 1,             // one topic "t", one partition
        0, 0, 0, 7,                                     // partition 7
        0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xfe, // timestamp -2
        0, 0, 0, 5,                                     // at most 5 offsets
    ]);
    let request = list_offsets::Request {
        replica_id: -1,
        topics: vec![list_offsets::RequestTopic {
            name: "t".into(),
            partitions: vec![list_offsets::RequestPartition {
                partition_index: 7,
                timestamp: -2,
                max_num_offsets: 5,
                ..Default::default()
            }],
        }],
        ..Default::default()
    };
    let header = header(ApiKey::ListOffsets, 0);
    let request = Request::ListOffsets(request);
    assert_eq!(body(encode_request(&header, &request).unwrap()), bytes);
    assert_eq!(decode_request(bytes).unwrap(), (header.clone(), request));

    #[rustfmt::skip]
    let bytes: &[u8] = &[
        1, 2, 3, 4,                         // correlation id
        0, 0, 0, 1, 0, 1, b't', 0, 0, 0, 1, // one topic "t", one partition
        0, 0, 0, 7, 0, 3,                   // partition 7, error 3
        0, 0, 0, 2,                         // two offsets: 9 and -1
        0, 0, 0, 0, 0, 0, 0, 9, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
    ];
    let response = Response::ListOffsets(list_offsets::Response {
        // Not in v0, so neither may show.
        throttle_time_ms: 1,
        topics: vec![list_offsets::TopicResponse {
            name: "t".into(),
            partitions: vec![list_offsets::PartitionResponse {
                partition_index: 7,
                error_code: 3,
                old_style_offsets: vec![9, -1],
                offset: 9,
                ..Default::default()
            }],
        }],
    });
    assert_eq!(body(encode_response(&header, &response).unwrap()), bytes);
}

#[test]
fn should_read_and_write_offset_commit_v1() {
    #[rustfmt::skip]
    let bytes = Bytes::from_static(&[
        0, 8, 0, 1, 1, 2, 3, 4, 0, 2, b'm', b'e', // key 8, version 1, correlation id, "me"
        0, 1, b'g', 0, 0, 0, 3, 0, 1, b'i',       // group "g", generation 3, member "i"
        0, 0, 0, 1, 0, 1, b't', 0, 0, 0, 1,       // one topic "t", one partition
        0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0, 9,       // partition 7, offset 9
        0, 0, 0, 0, 0, 0, 0, 5,                   // timestamp 5
        0, 1, b'x',                               // metadata "x"
    ]);
    let request = Request::from(offset_commit::Request {
        group_id: "g".into(),
        generation_id_or_member_epoch: 3,
        member_id: "i".into(),
        topics: vec![offset_commit::RequestTopic {
            name: "t".into(),
            partitions: vec![offset_commit::RequestPartition {
                partition_index: 7,
                committed_offset: 9,
                commit_timestamp: 5,
                committed_metadata: Some("x".into()),
                ..Default::default()
            }],
        }],
        ..Default::default()
    });
    let header = header(ApiKey::OffsetCommit, 1);
    assert_eq!(body(encode_request(&header, &request).unwrap()), bytes);
    assert_eq!(decode_request(bytes).unwrap(), (header.clone(), request));

    #[rustfmt::skip]
    let bytes = Bytes::from_static(&[
        1, 2, 3, 4,                         // correlation id
        0, 0, 0, 1, 0, 1, b't', 0, 0, 0, 1, // one topic "t", one partition
        0, 0, 0, 7, 0, 22,                  // partition 7, error 22
    ]);
    let response = Response::from(offset_commit::Response {
        topics: vec![offset_commit::TopicResponse {
            name: "t".into(),
            partitions: vec![offset_commit::PartitionResponse { partition_index: 7, error_code: 22 }],
        }],
        ..Default::default()
    });
    assert_eq!(body(encode_response(&header, &response).unwrap()), bytes);
    assert_eq!(decode_response(ApiKey::OffsetCommit, 1, bytes).unwrap(), (header.correlation_id, response));
}

#[test]
fn should_read_and_write_describe_configs_v0() {
    #[rustfmt::skip]
    let bytes = Bytes::from_static(&[
        0, 32, 0, 0, 1, 2, 3, 4, 0, 2, b'm', b'e',      // key 32, version 0, correlation id, "me"
        0, 0, 0, 1, 2, 0, 1, b't',                      // one resource, topic "t"
        0, 0, 0, 1, 0, 1, b'k',                         // one setting, "k"
    ]);
    let resource = describe_configs::Resource {
        resource_type: 2,
        resource_name: "t".into(),
        configuration_keys: Some(vec!["k".into()]),
    };
    let request = describe_configs::Request { resources: vec![resource], ..Default::default() };
    let header = header(ApiKey::DescribeConfigs, 0);
    let request = Request::DescribeConfigs(request);
    assert_eq!(body(encode_request(&header, &request).unwrap()), bytes);
    assert_eq!(decode_request(bytes).unwrap(), (header.clone(), request));

    #[rustfmt::skip]
    let bytes: &[u8] = &[
        1, 2, 3, 4,                                     // correlation id
        0, 0, 0, 0,                                     // no throttling
        0, 0, 0, 1, 0, 0, 0xff, 0xff, 2, 0, 1, b't',    // one resource, no error, topic "t"
        0, 0, 0, 1, 0, 1, b'k', 0, 1, b'v',             // one setting, "k" is "v"
        0, 1, 0,                                        // can be changed, is the default, is no secret
    ];
    let config = describe_configs::ConfigEntry {
        name: "k".into(),
        value: Some("v".into()),
        is_default: true,
        // Not in v0.
        config_source: 5,
        ..Default::default()
    };
    let result = describe_configs::ResourceResult {
        resource_type: 2,
        resource_name: "t".into(),
        configs: vec![config],
        ..Default::default()
    };
    let response = describe_configs::Response { results: vec![result], ..Default::default() };
    let response = Response::DescribeConfigs(response);
    assert_eq!(body(encode_response(&header, &response).unwrap()), bytes);
}
