//! DescribeProducers: who wrote to a partition lately, and whose transaction is open there (KIP-664).
//!
//! Must not know transactional ids. Invariant: told from the journal's end.

use strandline_core::manifest::Partition;
use strandline_kafka::api::ApiKey;
use strandline_kafka::error::ErrorCode;
use strandline_kafka::messages::describe_producers::{
    PartitionResponse, ProducerState, Request, Response, TopicResponse,
};

use crate::limits::DESCRIBED_PER_REQUEST;
use crate::metrics;
use crate::session::Session;
use crate::topics::{self, Wanted};

/// Each partition that is asked for; of a request that asks for too many, none.
pub(crate) async fn answer(session: &Session, request: Request) -> Response {
    let asked: usize = request.topics.iter().map(|topic| topic.partition_indexes.len()).sum();
    let wanted: Vec<Wanted<'_>> = request.topics.iter().map(|topic| Wanted::Name(&topic.name)).collect();
    let ids = topics::resolve_latest(session, &wanted, |topic| topic.id).await;
    let mut answers = Vec::with_capacity(request.topics.len());
    // A producer of many partitions is told for each: the answer as a whole is bounded.
    let mut left = DESCRIBED_PER_REQUEST;
    for (topic, id) in request.topics.into_iter().zip(ids) {
        let mut partition = |index: i32| {
            let found = match id {
                _ if asked > DESCRIBED_PER_REQUEST => Err(ErrorCode::InvalidRequest),
                Ok(id) => session.journal.view(|manifest| {
                    let number = u32::try_from(index).ok();
                    let found = number.and_then(|number| manifest.partition(&id, number));
                    found.map(|found| producers(found, &mut left)).ok_or(ErrorCode::UnknownTopicOrPartition)
                }),
                Err(code) => Err(code),
            };
            let code = found.as_ref().err().copied().unwrap_or(ErrorCode::None);
            PartitionResponse {
                partition_index: index,
                error_code: metrics::failed(ApiKey::DescribeProducers, code),
                active_producers: found.unwrap_or_default(),
                ..PartitionResponse::default()
            }
        };
        let partitions = topic.partition_indexes.into_iter().map(&mut partition).collect();
        answers.push(TopicResponse { name: topic.name, partitions });
    }
    Response { topics: answers, ..Response::default() }
}

fn producers(partition: &Partition, left: &mut usize) -> Vec<ProducerState> {
    let all: Vec<ProducerState> = partition
        .producers()
        .take(*left)
        .map(|producer| ProducerState {
            producer_id: producer.id,
            producer_epoch: i32::from(producer.epoch),
            last_sequence: producer.last_sequence,
            last_timestamp: producer.last_ms,
            coordinator_epoch: 0,
            current_txn_start_offset: producer.open_since.unwrap_or(-1),
        })
        .collect();
    *left -= all.len();
    all
}
