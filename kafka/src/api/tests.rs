//! Checks the table for what clients insist on, and against the oracle's.

use kafka_protocol::messages as oracle;

use super::{ApiKey, table};

/// Versions that a client sends whatever we advertise, or without which it fails or loses a feature.
const INSISTED: &[(&str, &[(ApiKey, i16)])] = &[
    ("librdkafka 1.0 to 1.2", &[(ApiKey::ListOffsets, 0), (ApiKey::OffsetCommit, 1)]),
    ("librdkafka before 2.11.1, to compress", &[(ApiKey::Produce, 0), (ApiKey::Produce, 7)]),
    (
        "librdkafka, to see that we have coordinators and groups",
        &[
            (ApiKey::FindCoordinator, 0),
            (ApiKey::OffsetCommit, 1),
            (ApiKey::OffsetFetch, 1),
            (ApiKey::JoinGroup, 0),
            (ApiKey::SyncGroup, 0),
            (ApiKey::Heartbeat, 0),
            (ApiKey::LeaveGroup, 0),
        ],
    ),
    (
        "librdkafka with KIP-848",
        &[
            (ApiKey::ConsumerGroupHeartbeat, 1),
            (ApiKey::ConsumerGroupDescribe, 0),
            (ApiKey::OffsetCommit, 9),
            (ApiKey::OffsetFetch, 9),
        ],
    ),
    (
        "platformatic",
        &[
            (ApiKey::Fetch, 12),
            (ApiKey::FindCoordinator, 4),
            (ApiKey::JoinGroup, 6),
            (ApiKey::Heartbeat, 4),
            (ApiKey::SyncGroup, 4),
            (ApiKey::LeaveGroup, 4),
            (ApiKey::ListGroups, 4),
            (ApiKey::OffsetCommit, 8),
            (ApiKey::OffsetFetch, 8),
            (ApiKey::CreateTopics, 7),
            (ApiKey::DeleteTopics, 6),
            (ApiKey::OffsetForLeaderEpoch, 4),
            (ApiKey::AddPartitionsToTxn, 3),
        ],
    ),
    (
        "librdkafka with transactions",
        &[
            (ApiKey::FindCoordinator, 2),
            (ApiKey::InitProducerId, 3),
            (ApiKey::AddPartitionsToTxn, 0),
            (ApiKey::AddOffsetsToTxn, 0),
            (ApiKey::EndTxn, 1),
            (ApiKey::TxnOffsetCommit, 3),
        ],
    ),
    (
        "clients of the newer transaction protocol (KIP-890)",
        &[(ApiKey::Produce, 12), (ApiKey::EndTxn, 5), (ApiKey::TxnOffsetCommit, 5)],
    ),
    ("kafka-python 2.0 and aiokafka", &[(ApiKey::Metadata, 0), (ApiKey::ApiVersions, 0)]),
    ("Sarama 1.22", &[(ApiKey::OffsetCommit, 1), (ApiKey::OffsetFetch, 1), (ApiKey::FindCoordinator, 0)]),
];

#[test]
fn should_advertise_what_clients_insist_on() {
    for (client, versions) in INSISTED {
        for (api, version) in *versions {
            let range = api.range();
            let advertised = range.advertised_min..=range.max;
            assert!(advertised.contains(version), "{client} needs {} v{version}", api.name());
        }
    }
}

/// Clients choose the highest version that they know, and cannot tell whom it is meant for.
#[test]
fn should_not_advertise_versions_that_only_brokers_send() {
    for (api, first) in [(ApiKey::Fetch, 18), (ApiKey::AddPartitionsToTxn, 4)] {
        assert!(api.range().max < first, "{} v{first}", api.name());
    }
}

#[test]
fn should_list_each_api_once_and_ascending() {
    assert!(table().windows(2).all(|pair| pair[0].key.code() < pair[1].key.code()));
}

/// A version above the oracle's has no differential test; below it, it needs vectors of its own.
#[test]
fn should_serve_what_the_oracle_knows_but_for_three_old_versions() {
    for range in table() {
        let known = oracle::ApiKey::try_from(range.key.code()).unwrap().valid_versions();
        let oldest = match range.key {
            ApiKey::ListOffsets | ApiKey::DescribeConfigs => 0,
            ApiKey::OffsetCommit => 1,
            _ => known.min,
        };
        assert!(oldest <= range.min, "{}", range.key.name());
        assert!(range.max <= known.max, "{}", range.key.name());
    }
}
