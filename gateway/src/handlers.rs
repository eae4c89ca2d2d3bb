//! What each API does, one file an API: request in, response out.
//!
//! Must not know sockets or frames. Invariant: handlers keep no state of a client between requests; whatever they
//! decide is decided from the manifest, by the fold, or by a group's coordinator.

pub(crate) mod produce;
pub(crate) mod fetch;
pub(crate) mod add_partitions_to_txn;
pub(crate) mod add_offsets_to_txn;
pub(crate) mod txn_offset_commit;
pub(crate) mod end_txn;
pub(crate) mod describe_transactions;
pub(crate) mod list_transactions;
pub(crate) mod describe_producers;
pub(crate) mod offset_for_leader_epoch;
pub(crate) mod list_offsets;
pub(crate) mod metadata;
pub(crate) mod api_versions;
pub(crate) mod init_producer_id;
pub(crate) mod find_coordinator;
pub(crate) mod create_topics;
pub(crate) mod delete_topics;
pub(crate) mod describe_cluster;
pub(crate) mod describe_configs;
pub(crate) mod offset_commit;
pub(crate) mod offset_fetch;
pub(crate) mod offset_delete;
pub(crate) mod list_groups;
pub(crate) mod describe_groups;
pub(crate) mod delete_groups;
pub(crate) mod join_group;
pub(crate) mod sync_group;
pub(crate) mod heartbeat;
pub(crate) mod leave_group;
pub(crate) mod consumer_group_heartbeat;
pub(crate) mod consumer_group_describe;
pub(crate) mod create_partitions;
pub(crate) mod delete_records;
pub(crate) mod alter_configs;
pub(crate) mod incremental_alter_configs;
mod altering;
pub(crate) mod describe_log_dirs;
pub(crate) mod list_partition_reassignments;
pub(crate) mod describe_acls;
pub(crate) mod create_acls;
pub(crate) mod delete_acls;
