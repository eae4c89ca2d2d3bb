//! Every request and response that we serve, one file per API, and the two enums that hold any.
//!
//! Must not know frames or headers. Invariant: each file is the protocol's own message definition
//! in our notation; behaviour lives elsewhere.
//!
//! A new API takes a file here, a line in `all_messages!`, a line in the table of `api`, and a line
//! in `differential!` of the tests.

pub mod produce;
pub mod fetch;
pub mod list_offsets;
pub mod metadata;
pub mod api_versions;
pub mod init_producer_id;
pub mod offset_for_leader_epoch;
pub mod find_coordinator;
pub mod create_topics;
pub mod delete_topics;
pub mod describe_cluster;
pub mod describe_configs;
pub mod offset_commit;
pub mod offset_fetch;
pub mod join_group;
pub mod sync_group;
pub mod heartbeat;
pub mod leave_group;
pub mod describe_groups;
pub mod list_groups;
pub mod delete_groups;
pub mod offset_delete;
pub mod consumer_group_heartbeat;
pub mod consumer_group_describe;
pub mod create_partitions;
pub mod delete_records;
pub mod incremental_alter_configs;
pub mod alter_configs;
pub mod describe_log_dirs;
pub mod list_partition_reassignments;
pub mod describe_acls;
pub mod create_acls;
pub mod delete_acls;
pub mod add_partitions_to_txn;
pub mod add_offsets_to_txn;
pub mod end_txn;
pub mod txn_offset_commit;
pub mod describe_producers;
pub mod describe_transactions;
pub mod list_transactions;

#[cfg(test)]
mod tests;

use crate::api::ApiKey;
use crate::codec::{Reader, Wire, Writer};
use crate::error::{DecodeError, EncodeError};

/// Makes both enums, and what both have in common, out of one list.
macro_rules! any_message {
    ($(#[$doc:meta])* $Any:ident $Message:ident: $($Api:ident $module:ident,)*) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq)]
        pub enum $Any {
            $(#[doc = concat!("See [`", stringify!($module), "`].")] $Api($module::$Message),)*
        }

        impl $Any {
            /// The API that the message belongs to.
            pub const fn api_key(&self) -> ApiKey {
                match self {
                    $(Self::$Api(_) => ApiKey::$Api,)*
                }
            }

            /// Reads the body of a message of this API and version.
            pub fn decode(
                api: ApiKey,
                reader: &mut Reader,
                version: i16,
            ) -> Result<Self, DecodeError> {
                Ok(match api {
                    $(ApiKey::$Api => Self::$Api(Wire::decode(reader, version)?),)*
                })
            }

            /// Writes the body of the message in this version.
            pub fn encode(&self, writer: &mut Writer, version: i16) -> Result<(), EncodeError> {
                match self {
                    $(Self::$Api(message) => message.encode(writer, version),)*
                }
            }

            /// A random message of this API that this version can carry without loss.
            #[cfg(test)]
            pub(crate) fn random(
                api: ApiKey,
                random: &mut crate::codec::random::Random,
                version: i16,
            ) -> Self {
                match api {
                    $(ApiKey::$Api => Self::$Api(Wire::random(random, version)),)*
                }
            }
        }

        $(impl From<$module::$Message> for $Any {
            fn from(message: $module::$Message) -> Self {
                Self::$Api(message)
            }
        })*
    };
}

macro_rules! all_messages {
    ($($Api:ident $module:ident,)*) => {
        any_message! {
            /// Any request.
            Request Request: $($Api $module,)*
        }
        any_message! {
            /// Any response.
            Response Response: $($Api $module,)*
        }
    };
}

all_messages! {
    Produce produce,
    Fetch fetch,
    ListOffsets list_offsets,
    Metadata metadata,
    ApiVersions api_versions,
    InitProducerId init_producer_id,
    OffsetForLeaderEpoch offset_for_leader_epoch,
    FindCoordinator find_coordinator,
    CreateTopics create_topics,
    DeleteTopics delete_topics,
    DescribeCluster describe_cluster,
    DescribeConfigs describe_configs,
    OffsetCommit offset_commit,
    OffsetFetch offset_fetch,
    JoinGroup join_group,
    SyncGroup sync_group,
    Heartbeat heartbeat,
    LeaveGroup leave_group,
    DescribeGroups describe_groups,
    ListGroups list_groups,
    DeleteGroups delete_groups,
    OffsetDelete offset_delete,
    ConsumerGroupHeartbeat consumer_group_heartbeat,
    ConsumerGroupDescribe consumer_group_describe,
    CreatePartitions create_partitions,
    DeleteRecords delete_records,
    IncrementalAlterConfigs incremental_alter_configs,
    AlterConfigs alter_configs,
    DescribeLogDirs describe_log_dirs,
    ListPartitionReassignments list_partition_reassignments,
    DescribeAcls describe_acls,
    CreateAcls create_acls,
    DeleteAcls delete_acls,
    AddPartitionsToTxn add_partitions_to_txn,
    AddOffsetsToTxn add_offsets_to_txn,
    EndTxn end_txn,
    TxnOffsetCommit txn_offset_commit,
    DescribeProducers describe_producers,
    DescribeTransactions describe_transactions,
    ListTransactions list_transactions,
}
