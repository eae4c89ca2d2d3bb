//! Which handler answers a request, and whether it runs now, in a task of its own, or waits for acknowledgements.
//!
//! Must not know what a request means. Invariant: batches and committed offsets are handed to ingest before the next
//! request of the connection is read, so that their order is the order of arrival. What a client says of its membership is
//! heard one after the other, and in its place among its commits; who asks what is committed hears of all of them.

use std::sync::Arc;

use strandline_kafka::api::ApiKey;
use strandline_kafka::frame::{self, RequestHeader};
use strandline_kafka::messages::{Request, Response};
use tokio::sync::OwnedMutexGuard;
use tokio::time::timeout;

use crate::handlers::{
    add_offsets_to_txn, add_partitions_to_txn, alter_configs, api_versions, consumer_group_describe,
    consumer_group_heartbeat, create_acls, create_partitions, create_topics, delete_acls, delete_groups,
    delete_records, delete_topics, describe_acls, describe_cluster, describe_configs, describe_groups,
    describe_log_dirs, describe_producers, describe_transactions, end_txn, fetch, find_coordinator,
    heartbeat, incremental_alter_configs, init_producer_id, join_group, leave_group, list_groups,
    list_offsets, list_partition_reassignments, list_transactions, metadata, offset_commit, offset_delete,
    offset_fetch, offset_for_leader_epoch, produce, sync_group, txn_offset_commit,
};
use crate::limits::CATCH_UP_TIMEOUT;
use crate::metrics;
use crate::reply::{Answer, Reply, ReplyError};
use crate::session::{Held, Session};

/// Begins a request. `None`: it gets no answer.
pub(crate) async fn begin(
    session: &Arc<Session>,
    header: RequestHeader,
    request: Request,
    held: Held,
) -> Option<Reply> {
    let api = request.api_key();
    metrics::request(api);
    session.nodes.activity();
    let request = match (request, held) {
        (Request::Produce(request), Held::Admission(admission)) => {
            return produce::begin(session, header, request, admission).await;
        }
        (Request::ApiVersions(request), _) => {
            let response = api_versions::answer(header.api_version, &request);
            return Some(Reply::ready(api, Answer::encode(&header, &response.into())));
        }
        (Request::OffsetCommit(request), held) => {
            return Some(offset_commit::begin(session, header, request, held).await);
        }
        other => other,
    };
    let turn = match &request.0 {
        Request::JoinGroup(_)
        | Request::SyncGroup(_)
        | Request::Heartbeat(_)
        | Request::LeaveGroup(_)
        | Request::ConsumerGroupHeartbeat(_) => Some(Arc::clone(&session.turn).lock_owned().await),
        Request::OffsetFetch(_) => {
            // While commits get no answer, the journal cannot be read either, and that is what it will say.
            drop(timeout(CATCH_UP_TIMEOUT, session.commits.write()).await);
            None
        }
        _ => None,
    };
    Some(begin_task(Arc::clone(session), header, request, turn))
}

/// Not `async`, as the listener's `start` is not: the handlers are compiled here only.
fn begin_task(
    session: Arc<Session>,
    header: RequestHeader,
    (request, held): (Request, Held),
    turn: Option<OwnedMutexGuard<()>>,
) -> Reply {
    let api = request.api_key();
    match request {
        Request::Fetch(request) => {
            Reply::spawn(api, held, async move { fetch::answer(&session, &header, request).await })
        }
        request => Reply::spawn(api, held, async move {
            let response = respond(&session, &header, request).await?;
            drop(turn);
            Answer::encode(&header, &response)
        }),
    }
}

async fn respond(
    session: &Session,
    header: &RequestHeader,
    request: Request,
) -> Result<Response, ReplyError> {
    let version = header.api_version;
    Ok(match request {
        Request::ListOffsets(request) => list_offsets::answer(session, version, request).await.into(),
        Request::Metadata(request) => metadata::answer(session, header, request).await.into(),
        Request::InitProducerId(request) => init_producer_id::answer(session, version, request).await.into(),
        Request::AddPartitionsToTxn(request) => {
            add_partitions_to_txn::answer(session, version, request).await.into()
        }
        Request::AddOffsetsToTxn(request) => {
            add_offsets_to_txn::answer(session, version, request).await.into()
        }
        Request::TxnOffsetCommit(request) => {
            txn_offset_commit::answer(session, version, request).await.into()
        }
        Request::EndTxn(request) => end_txn::answer(session, version, request).await.into(),
        Request::DescribeProducers(request) => describe_producers::answer(session, request).await.into(),
        Request::DescribeTransactions(request) => {
            describe_transactions::answer(session, request).await.into()
        }
        Request::ListTransactions(request) => list_transactions::answer(session, request).await.into(),
        Request::OffsetForLeaderEpoch(request) => {
            offset_for_leader_epoch::answer(session, request).await.into()
        }
        Request::FindCoordinator(request) => find_coordinator::answer(session, version, request).await.into(),
        Request::CreateTopics(request) => create_topics::answer(session, request).await.into(),
        Request::DeleteTopics(request) => delete_topics::answer(session, version, request).await.into(),
        Request::DescribeCluster(request) => describe_cluster::answer(session, &request).await.into(),
        Request::DescribeConfigs(request) => describe_configs::answer(session, request).await.into(),
        Request::OffsetFetch(request) => offset_fetch::answer(session, version, request).await.into(),
        Request::OffsetDelete(request) => offset_delete::answer(session, request).await.into(),
        Request::ListGroups(request) => list_groups::answer(session, request).await.into(),
        Request::DescribeGroups(request) => describe_groups::answer(session, version, request).await.into(),
        Request::DeleteGroups(request) => delete_groups::answer(session, request).await.into(),
        Request::JoinGroup(request) => {
            join_group::answer(session, version, header.client_id.clone(), request).await.into()
        }
        Request::SyncGroup(request) => sync_group::answer(session, request).await.into(),
        Request::Heartbeat(request) => heartbeat::answer(session, request).await.into(),
        Request::LeaveGroup(request) => leave_group::answer(session, version, request).await.into(),
        Request::ConsumerGroupHeartbeat(request) => {
            let client_id = header.client_id.clone();
            consumer_group_heartbeat::answer(session, version, client_id, request).await.into()
        }
        Request::ConsumerGroupDescribe(request) => {
            consumer_group_describe::answer(session, request).await.into()
        }
        Request::CreatePartitions(request) => create_partitions::answer(session, request).await.into(),
        Request::DeleteRecords(request) => delete_records::answer(session, request).await.into(),
        Request::AlterConfigs(request) => alter_configs::answer(session, request).await.into(),
        Request::IncrementalAlterConfigs(request) => {
            incremental_alter_configs::answer(session, request).await.into()
        }
        Request::DescribeLogDirs(request) => describe_log_dirs::answer(session, request).await.into(),
        Request::ListPartitionReassignments(_) => list_partition_reassignments::answer().into(),
        Request::DescribeAcls(_) => describe_acls::answer().into(),
        Request::CreateAcls(request) => create_acls::answer(&request).into(),
        Request::DeleteAcls(request) => delete_acls::answer(&request).into(),
        // Begun in `begin`; a Produce frame always comes with an admission, by the same two bytes.
        Request::Produce(_) | Request::Fetch(_) | Request::ApiVersions(_) | Request::OffsetCommit(_) => {
            return Err(ReplyError::Handler);
        }
    })
}

/// The answer to ApiVersions in a version that we do not serve: the whole table, in the layout that everybody reads.
pub(crate) fn unsupported_api_versions(correlation_id: i32) -> Reply {
    metrics::request(ApiKey::ApiVersions);
    Reply::ready(ApiKey::ApiVersions, Ok(Answer::new(frame::encode_unsupported_api_versions(correlation_id))))
}
