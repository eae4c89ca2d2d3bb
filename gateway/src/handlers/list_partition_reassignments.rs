//! ListPartitionReassignments: there are none. Any node serves any partition, so that nothing is ever moved.
//!
//! Must not know topics.

use strandline_kafka::messages::list_partition_reassignments::Response;

/// Nothing is being moved.
pub(crate) fn answer() -> Response {
    Response::default()
}
