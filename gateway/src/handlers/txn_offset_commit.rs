//! TxnOffsetCommit: offsets that are committed if the transaction is.
//!
//! Must not know the group protocols. Invariant: nobody is told these offsets before the transaction is committed, and the
//! fold takes them only from a member of the current generation, if a member is named (KIP-447).

use strandline_core::manifest::{Change, CommitOffsets, OffsetCommit, TransactionOffsets};
use strandline_kafka::api::ApiKey;
use strandline_kafka::error::ErrorCode;
use strandline_kafka::messages::offset_commit as plain;
use strandline_kafka::messages::txn_offset_commit::{
    PartitionResponse, Request, RequestTopic, Response, TopicResponse,
};

use super::offset_commit::{check, known};
use crate::metrics;
use crate::session::Session;
use crate::transactions::{self, Intent, Meant};

/// The first version that adds the group to the transaction by itself (KIP-890).
const ADDS: i16 = 5;

/// Keeps them for the decision. Partitions that are not there get a code of their own.
pub(crate) async fn answer(session: &Session, version: i16, request: Request) -> Response {
    let meant = meant(session, &request).await;
    let topics: Vec<plain::RequestTopic> = request.topics.iter().map(as_plain).collect();
    let known = known(session, &topics).await;
    let (mut offsets, mut refused) = (Vec::new(), Vec::new());
    for topic in &topics {
        for partition in &topic.partitions {
            let checked = check(&known, &topic.name, partition);
            refused.push(checked.as_ref().err().copied());
            offsets.extend(checked.ok());
        }
    }
    let kept = match offsets.is_empty() {
        true => Ok(()),
        false => keep(session, version, &request, meant, offsets).await,
    };
    // What Kafka's group coordinators never say here, some of their clients do not know here.
    let code = match kept.err().unwrap_or(ErrorCode::None) {
        ErrorCode::ProducerFenced => ErrorCode::InvalidProducerEpoch,
        ErrorCode::StaleMemberEpoch => ErrorCode::IllegalGeneration,
        code => code,
    };
    let mut codes = refused.into_iter().map(|refused| refused.unwrap_or(code));
    let mut partition = |index: i32| PartitionResponse {
        partition_index: index,
        error_code: metrics::failed(ApiKey::TxnOffsetCommit, codes.next().unwrap_or(code)),
    };
    let topics = request.topics.into_iter().map(|topic| TopicResponse {
        partitions: topic.partitions.iter().map(|asked| partition(asked.partition_index)).collect(),
        name: topic.name,
    });
    Response { topics: topics.collect(), ..Response::default() }
}

/// As OffsetCommit names them.
fn as_plain(topic: &RequestTopic) -> plain::RequestTopic {
    let partitions = topic.partitions.iter().map(|asked| plain::RequestPartition {
        partition_index: asked.partition_index,
        committed_offset: asked.committed_offset,
        committed_leader_epoch: asked.committed_leader_epoch,
        committed_metadata: asked.committed_metadata.clone(),
        ..plain::RequestPartition::default()
    });
    plain::RequestTopic { name: topic.name.clone(), partitions: partitions.collect() }
}

async fn meant(session: &Session, request: &Request) -> Result<Meant, ErrorCode> {
    if request.group_id.is_empty() {
        return Err(ErrorCode::InvalidGroupId);
    }
    let producer = (request.producer_id, request.producer_epoch);
    transactions::meant(session, &request.transactional_id, producer, Intent::Join).await
}

async fn keep(
    session: &Session,
    version: i16,
    request: &Request,
    meant: Result<Meant, ErrorCode>,
    offsets: Vec<OffsetCommit>,
) -> Result<(), ErrorCode> {
    let Meant { of, step } = meant?;
    let commit = CommitOffsets {
        group: request.group_id.clone(),
        member: request.member_id.clone(),
        epoch: request.generation_id,
        instance_id: request.group_instance_id.clone(),
        offsets,
    };
    let adds = version >= ADDS;
    let change = Change::TransactionOffsets(TransactionOffsets { of, adds, step, commit });
    transactions::decide(session, change).await.map(drop)
}
