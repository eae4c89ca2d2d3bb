//! Compares every message, in every version that both know, with the oracle's codec.
//!
//! A new message joins by one line in `differential!`.

use std::fmt::Debug;

use bytes::{Buf, Bytes, BytesMut};
use kafka_protocol::messages as oracle;
use kafka_protocol::protocol::{Decodable, Encodable, Message};

use super::*;
use crate::api;
use crate::codec::Nullable;
use crate::codec::random::Random;

/// How many random messages per direction and version.
const CASES: usize = 150;

fn encode<T: Wire>(message: &T, flexible: bool, version: i16) -> Result<Bytes, EncodeError> {
    let mut writer = Writer::new(flexible);
    message.encode(&mut writer, version)?;
    let parts = writer.into_parts();
    assert!(parts.iter().all(|part| !part.is_empty()));
    Ok(Bytes::from(parts.concat()))
}

/// Our bytes mean the same to the oracle, and the oracle's bytes mean the same to us.
fn compare<Ours, Oracle>(api: ApiKey)
where
    Ours: Nullable + Default + Clone + PartialEq + Debug,
    Oracle: Encodable + Decodable + Message + Debug,
{
    let range = api.range();
    let mut random = Random::seeded(api.code() as u64);
    let known = range.min.max(Oracle::VERSIONS.min)..=range.max.min(Oracle::VERSIONS.max);
    assert!(known.clone().count() >= 1, "{} has no version in common", api.name());
    for version in range.min..=range.max {
        let flexible = range.is_flexible(version);
        for case in 0..CASES {
            let place = format!("{} v{version} case {case}", std::any::type_name::<Ours>());
            let ours = if case == 0 { Ours::default() } else { Ours::random(&mut random, version) };
            let bytes = match encode(&ours, flexible, version) {
                Err(EncodeError::UnexpectedNull { .. }) if case == 0 => continue,
                encoded => encoded.expect(&place),
            };
            assert!(bytes.len() >= Ours::min_size(version, flexible), "{place}: min_size");

            let mut reader = Reader::new(bytes.clone(), flexible);
            let back = Ours::decode(&mut reader, version).expect(&place);
            assert_eq!(reader.remaining(), 0, "{place}: bytes left over");
            assert_eq!(encode(&back, flexible, version).expect(&place), bytes, "{place}");
            if case > 0 {
                assert_eq!(back, ours, "{place}: our bytes mean something else to us");
            }

            if known.contains(&version) {
                let mut rest = bytes.clone();
                let theirs = Oracle::decode(&mut rest, version).expect(&place);
                assert!(!rest.has_remaining(), "{place}: the oracle left bytes over");
                // The oracle would write a tag of ours that it does not know back as it was.
                let shown = format!("{theirs:?}").replace("unknown_tagged_fields: {}", "");
                assert!(!shown.contains("unknown_tagged_fields"), "{place}: wrong tag in {shown}");
                let mut again = BytesMut::new();
                theirs.encode(&mut again, version).expect(&place);
                assert_eq!(again.freeze(), bytes, "{place}: the oracle read {theirs:?} from {ours:?}");
            }
        }
    }
}

/// A message filled for the newest version is legal in every older one: what an old version lacks
/// is left out, and only a null that it cannot say is an error.
fn downgrade<Ours, Oracle>(api: ApiKey)
where
    Ours: Wire + Debug,
    Oracle: Encodable + Decodable + Message + Debug,
{
    let range = api.range();
    let mut random = Random::seeded(!api.code() as u64);
    let mut written = 0;
    for _ in 0..CASES {
        let ours = Ours::random(&mut random, range.max);
        for version in range.min..=range.max {
            let bytes = match encode(&ours, range.is_flexible(version), version) {
                Err(EncodeError::UnexpectedNull { .. }) => continue,
                encoded => encoded.expect("only a null may be an error"),
            };
            written += 1;
            if Oracle::VERSIONS.min <= version && version <= Oracle::VERSIONS.max {
                let mut rest = bytes;
                Oracle::decode(&mut rest, version).expect("an older version of a newer message");
                assert!(!rest.has_remaining());
            }
        }
    }
    assert!(written > CASES / 2, "hardly ever encoded: {written}");
}

macro_rules! differential {
    ($($api:ident $module:ident $request:ident $response:ident;)*) => {
        const COMPARED: &[ApiKey] = &[$(ApiKey::$api),*];

        mod should_agree_with_the_oracle {
            use super::*;

            $(#[test]
            fn $module() {
                compare::<super::super::$module::Request, oracle::$request>(ApiKey::$api);
                compare::<super::super::$module::Response, oracle::$response>(ApiKey::$api);
                downgrade::<super::super::$module::Request, oracle::$request>(ApiKey::$api);
                downgrade::<super::super::$module::Response, oracle::$response>(ApiKey::$api);
            })*
        }
    };
}

differential! {
    Produce produce ProduceRequest ProduceResponse;
    Fetch fetch FetchRequest FetchResponse;
    ListOffsets list_offsets ListOffsetsRequest ListOffsetsResponse;
    Metadata metadata MetadataRequest MetadataResponse;
    ApiVersions api_versions ApiVersionsRequest ApiVersionsResponse;
    InitProducerId init_producer_id InitProducerIdRequest InitProducerIdResponse;
    OffsetForLeaderEpoch offset_for_leader_epoch OffsetForLeaderEpochRequest OffsetForLeaderEpochResponse;
    FindCoordinator find_coordinator FindCoordinatorRequest FindCoordinatorResponse;
    CreateTopics create_topics CreateTopicsRequest CreateTopicsResponse;
    DeleteTopics delete_topics DeleteTopicsRequest DeleteTopicsResponse;
    DescribeCluster describe_cluster DescribeClusterRequest DescribeClusterResponse;
    DescribeConfigs describe_configs DescribeConfigsRequest DescribeConfigsResponse;
    OffsetCommit offset_commit OffsetCommitRequest OffsetCommitResponse;
    OffsetFetch offset_fetch OffsetFetchRequest OffsetFetchResponse;
    JoinGroup join_group JoinGroupRequest JoinGroupResponse;
    SyncGroup sync_group SyncGroupRequest SyncGroupResponse;
    Heartbeat heartbeat HeartbeatRequest HeartbeatResponse;
    LeaveGroup leave_group LeaveGroupRequest LeaveGroupResponse;
    DescribeGroups describe_groups DescribeGroupsRequest DescribeGroupsResponse;
    ListGroups list_groups ListGroupsRequest ListGroupsResponse;
    DeleteGroups delete_groups DeleteGroupsRequest DeleteGroupsResponse;
    OffsetDelete offset_delete OffsetDeleteRequest OffsetDeleteResponse;
    ConsumerGroupHeartbeat consumer_group_heartbeat ConsumerGroupHeartbeatRequest ConsumerGroupHeartbeatResponse;
    ConsumerGroupDescribe consumer_group_describe ConsumerGroupDescribeRequest ConsumerGroupDescribeResponse;
    CreatePartitions create_partitions CreatePartitionsRequest CreatePartitionsResponse;
    DeleteRecords delete_records DeleteRecordsRequest DeleteRecordsResponse;
    IncrementalAlterConfigs incremental_alter_configs IncrementalAlterConfigsRequest IncrementalAlterConfigsResponse;
    AlterConfigs alter_configs AlterConfigsRequest AlterConfigsResponse;
    DescribeLogDirs describe_log_dirs DescribeLogDirsRequest DescribeLogDirsResponse;
    ListPartitionReassignments list_partition_reassignments ListPartitionReassignmentsRequest ListPartitionReassignmentsResponse;
    DescribeAcls describe_acls DescribeAclsRequest DescribeAclsResponse;
    CreateAcls create_acls CreateAclsRequest CreateAclsResponse;
    DeleteAcls delete_acls DeleteAclsRequest DeleteAclsResponse;
    AddPartitionsToTxn add_partitions_to_txn AddPartitionsToTxnRequest AddPartitionsToTxnResponse;
    AddOffsetsToTxn add_offsets_to_txn AddOffsetsToTxnRequest AddOffsetsToTxnResponse;
    EndTxn end_txn EndTxnRequest EndTxnResponse;
    TxnOffsetCommit txn_offset_commit TxnOffsetCommitRequest TxnOffsetCommitResponse;
    DescribeProducers describe_producers DescribeProducersRequest DescribeProducersResponse;
    DescribeTransactions describe_transactions DescribeTransactionsRequest DescribeTransactionsResponse;
    ListTransactions list_transactions ListTransactionsRequest ListTransactionsResponse;
}

#[test]
fn should_compare_every_api_in_the_table() {
    for range in api::table() {
        assert!(COMPARED.contains(&range.key), "{} has no differential test", range.key.name());
    }
}
