//! A copier's requests. What Kafka's clients take for an error that ends them is a broken promise, unless it says that
//! somebody else has taken over.

use std::collections::BTreeMap;
use std::time::Duration;

use strandline_kafka::codec::Records;
use strandline_kafka::error::ErrorCode;
use strandline_kafka::messages::{
    Request, Response, add_offsets_to_txn, add_partitions_to_txn, end_txn, fetch, init_producer_id,
    list_offsets, produce, txn_offset_commit,
};
use tokio::time::{sleep, timeout};

use super::{Copier, Identity, Input, Output, Stop};
use crate::history::Ended;
use crate::plan::{chance, pick};
use crate::stable;

const READ_COMMITTED: i8 = 1;

/// What a code means for the process.
enum Told {
    Fine,
    Again,
    Fenced,
    Broken,
}

fn told(code: i16) -> Told {
    match ErrorCode::try_from(code) {
        Ok(ErrorCode::None) => Told::Fine,
        Ok(
            ErrorCode::RequestTimedOut
            | ErrorCode::KafkaStorageError
            | ErrorCode::CoordinatorLoadInProgress
            | ErrorCode::CoordinatorNotAvailable
            | ErrorCode::NotCoordinator
            | ErrorCode::ConcurrentTransactions,
        ) => Told::Again,
        Ok(
            ErrorCode::InvalidProducerEpoch | ErrorCode::ProducerFenced | ErrorCode::InvalidProducerIdMapping,
        ) => Told::Fenced,
        _ => Told::Broken,
    }
}

/// The code of the only partition.
fn produced(response: &Response) -> i16 {
    match response {
        Response::Produce(answer) => answer.responses[0].partition_responses[0].error_code,
        _ => -1,
    }
}

impl Copier {
    /// Asks until it is known what came of it. How often that took, and the answer.
    async fn call(
        &mut self,
        version: i16,
        request: Request,
        code: impl Fn(&Response) -> i16,
    ) -> Result<(u32, Response), (u32, Stop)> {
        let mut attempts = 0;
        loop {
            attempts += 1;
            if self.client.is_none() || chance(&mut self.dice, 60) {
                self.client = Some(self.world.connect(&mut self.dice).await);
            }
            let Some(mut client) = self.client.take() else { continue };
            let patience = Duration::from_millis(self.dice.u64(1_500..8_000));
            let name = request.api_key();
            let Ok(Ok(response)) = timeout(patience, client.call(version, request.clone())).await else {
                self.note(format_args!("{name:?} to {}: no answer", client.node));
                self.unsure = true;
                self.may_crash().map_err(|stop| (attempts, stop))?;
                sleep(Duration::from_millis(self.dice.u64(20..300))).await;
                continue;
            };
            let code = code(&response);
            if code != 0 {
                self.note(format_args!("{name:?} to {} got code {code}", client.node));
            }
            self.client = Some(client);
            match told(code) {
                Told::Fine => return Ok((attempts, response)),
                // It may have come to something all the same.
                Told::Again => self.unsure = true,
                Told::Fenced => return Err((attempts, Stop::Fenced)),
                Told::Broken => {
                    let what = format!("{}/{}: {name:?} got code {code}", self.life.name, self.process);
                    self.world.violated("K6", what);
                    return Err((attempts, Stop::Fenced));
                }
            }
            self.may_crash().map_err(|stop| (attempts, stop))?;
            sleep(Duration::from_millis(self.dice.u64(20..300))).await;
        }
    }

    /// Becomes the producer of the name, or raises its own epoch.
    pub(super) async fn init(&mut self, known: Option<Identity>) -> Result<(), Stop> {
        let known = known.unwrap_or(Identity { id: -1, epoch: -1 });
        let request = init_producer_id::Request {
            transactional_id: Some(self.life.name.clone()),
            transaction_timeout_ms: self.timeout_ms,
            producer_id: known.id,
            producer_epoch: known.epoch,
        };
        let code = |response: &Response| match response {
            Response::InitProducerId(answer) => answer.error_code,
            _ => -1,
        };
        let (_, answer) =
            self.call(4, Request::InitProducerId(request), code).await.map_err(|(_, stop)| stop)?;
        let Response::InitProducerId(answer) = answer else { return Err(Stop::Crashed) };
        self.become_producer(Identity { id: answer.producer_id, epoch: answer.producer_epoch });
        Ok(())
    }

    fn become_producer(&mut self, identity: Identity) {
        if identity != self.identity {
            self.sequences.clear();
        }
        (self.identity, self.unsure) = (identity, false);
    }

    pub(super) async fn committed_positions(&mut self) -> Result<BTreeMap<u32, i64>, Stop> {
        loop {
            if let Some(found) = stable::positions(&self.world, &self.life, &mut self.dice).await {
                return Ok(found.into_iter().map(|(partition, offset)| (partition, offset.max(0))).collect());
            }
            self.may_crash()?;
            sleep(Duration::from_millis(self.dice.u64(20..300))).await;
        }
    }

    /// What comes next in its partitions, and where it goes on behind that.
    pub(super) async fn read(&mut self) -> (Vec<Input>, BTreeMap<u32, i64>) {
        let mut next = self.positions.clone();
        let partitions = self.positions.iter().map(|(partition, offset)| fetch::FetchPartition {
            partition: *partition as i32,
            fetch_offset: *offset,
            partition_max_bytes: pick(&mut self.dice, &[300, 1_000, 20_000]),
            ..Default::default()
        });
        let topic_id = self.life.input.into_bytes();
        let partitions = partitions.collect();
        let request = fetch::Request {
            max_wait_ms: pick(&mut self.dice, &[0, 100]),
            min_bytes: 1,
            max_bytes: 1 << 20,
            isolation_level: READ_COMMITTED,
            session_epoch: -1,
            topics: vec![fetch::FetchTopic { topic_id, partitions, ..Default::default() }],
            ..Default::default()
        };
        let answer = self.world.ask(&mut self.dice, 13, Request::Fetch(request)).await;
        let Ok(Response::Fetch(answer)) = answer else { return (Vec::new(), next) };
        let mut inputs = Vec::new();
        for found in answer.responses.iter().flat_map(|topic| &topic.partitions) {
            let partition = found.partition_index as u32;
            let position = self.positions.get(&partition).copied().unwrap_or(0);
            match (told(found.error_code), stable::take(found, position, true, false)) {
                (Told::Fine, Ok((records, behind))) => {
                    inputs.extend(records.iter().map(|(offset, _)| (partition, *offset)));
                    next.insert(partition, behind);
                }
                (Told::Again, _) => {}
                (_, taken) => {
                    let what = format!("{}: {partition} at {position}: {found:?} {taken:?}", self.life.name);
                    self.world.violated("K3", what);
                }
            }
        }
        (inputs, next)
    }

    /// Whether everything was copied.
    pub(super) async fn is_at_end(&mut self) -> bool {
        for (partition, position) in self.positions.clone() {
            let wanted = list_offsets::RequestPartition {
                partition_index: partition as i32,
                timestamp: -1,
                ..Default::default()
            };
            let name = self.life.input_name.clone();
            let request = list_offsets::Request {
                replica_id: -1,
                isolation_level: READ_COMMITTED,
                topics: vec![list_offsets::RequestTopic { name, partitions: vec![wanted] }],
                ..Default::default()
            };
            let answer = self.world.ask(&mut self.dice, 7, Request::ListOffsets(request)).await;
            let Ok(Response::ListOffsets(answer)) = answer else { return false };
            let found = &answer.topics[0].partitions[0];
            if found.error_code != 0 || found.offset > position {
                return false;
            }
        }
        true
    }

    pub(super) async fn add_partitions(&mut self, partitions: &[u32]) -> Result<(), Stop> {
        let topic = add_partitions_to_txn::RequestTopic {
            name: self.life.output_name.clone(),
            partitions: partitions.iter().map(|partition| *partition as i32).collect(),
        };
        let request = add_partitions_to_txn::Request {
            transactional_id: self.life.name.clone(),
            producer_id: self.identity.id,
            producer_epoch: self.identity.epoch,
            topics: vec![topic],
        };
        let code = |response: &Response| match response {
            Response::AddPartitionsToTxn(answer) => {
                let mut codes = answer.topics.iter().flat_map(|topic| &topic.partitions);
                codes.find(|one| one.error_code != 0).map_or(0, |one| one.error_code)
            }
            _ => -1,
        };
        self.call(3, Request::AddPartitionsToTxn(request), code).await.map_err(|(_, stop)| stop)?;
        Ok(())
    }

    pub(super) async fn add_group(&mut self) -> Result<(), Stop> {
        let request = add_offsets_to_txn::Request {
            transactional_id: self.life.name.clone(),
            producer_id: self.identity.id,
            producer_epoch: self.identity.epoch,
            group_id: self.life.group.clone(),
        };
        let code = |response: &Response| match response {
            Response::AddOffsetsToTxn(answer) => answer.error_code,
            _ => -1,
        };
        self.call(3, Request::AddOffsetsToTxn(request), code).await.map_err(|(_, stop)| stop)?;
        Ok(())
    }

    /// A batch of a transaction that is not open must be refused.
    pub(super) async fn produce_too_late(&mut self, output: &Output) -> Result<(), Stop> {
        let code = |response: &Response| match produced(response) {
            0 => ErrorCode::UnknownServerError.code(),
            code if code == ErrorCode::TransactionAbortable.code() => 0,
            code => code,
        };
        self.world.attempt(output.sent, 0);
        let called = self.call(11, self.produce_request(output), code).await;
        self.settle(output, Ended::Refused(ErrorCode::TransactionAbortable.code()));
        called.map(drop).map_err(|(_, stop)| stop)
    }

    fn produce_request(&self, output: &Output) -> Request {
        let mut records = Records::default();
        records.push(output.bytes.clone());
        let partition = produce::PartitionData { index: output.partition as i32, records: Some(records) };
        let topic = produce::TopicData {
            name: self.life.output_name.clone(),
            partition_data: vec![partition],
            ..Default::default()
        };
        Request::Produce(produce::Request {
            transactional_id: Some(self.life.name.clone()),
            acks: -1,
            timeout_ms: 30_000,
            topic_data: vec![topic],
        })
    }

    pub(super) async fn produce(&mut self, output: &Output) -> Result<(), Stop> {
        // Whatever comes of it.
        self.world.attempt(output.sent, 0);
        let version = if self.life.modern { 12 } else { 11 };
        match self.call(version, self.produce_request(output), produced).await {
            Ok((_, Response::Produce(answer))) => {
                let base = answer.responses[0].partition_responses[0].base_offset;
                self.settle(output, Ended::Acked(base));
                Ok(())
            }
            Ok(_) => Err(Stop::Crashed),
            Err((1, Stop::Fenced)) => {
                self.settle(output, Ended::Refused(ErrorCode::ProducerFenced.code()));
                Err(Stop::Fenced)
            }
            Err((_, stop)) => {
                self.settle(output, Ended::Unknown);
                Err(stop)
            }
        }
    }

    pub(super) async fn commit_offsets(
        &mut self,
        number: usize,
        next: &BTreeMap<u32, i64>,
    ) -> Result<(), Stop> {
        let partitions = next.iter().map(|(partition, offset)| txn_offset_commit::RequestPartition {
            partition_index: *partition as i32,
            committed_offset: *offset,
            committed_metadata: Some(String::new()),
            ..Default::default()
        });
        let topic = txn_offset_commit::RequestTopic {
            name: self.life.input_name.clone(),
            partitions: partitions.collect(),
        };
        let request = txn_offset_commit::Request {
            transactional_id: self.life.name.clone(),
            group_id: self.life.group.clone(),
            producer_id: self.identity.id,
            producer_epoch: self.identity.epoch,
            topics: vec![topic],
            ..Default::default()
        };
        let code = |response: &Response| match response {
            Response::TxnOffsetCommit(answer) => {
                let mut codes = answer.topics.iter().flat_map(|topic| &topic.partitions);
                codes.find(|one| one.error_code != 0).map_or(0, |one| one.error_code)
            }
            _ => -1,
        };
        let version = if self.life.modern { 5 } else { 4 };
        self.call(version, Request::TxnOffsetCommit(request), code).await.map_err(|(_, stop)| stop)?;
        let now_ms = self.world.trace.now_ms();
        self.world.history().transacted[number].offsets_ms = Some(now_ms);
        Ok(())
    }

    pub(super) async fn end(&mut self, number: usize, commit: bool) -> Result<(), Stop> {
        let request = end_txn::Request {
            transactional_id: self.life.name.clone(),
            producer_id: self.identity.id,
            producer_epoch: self.identity.epoch,
            committed: commit,
        };
        let code = |response: &Response| match response {
            Response::EndTxn(answer) => answer.error_code,
            _ => -1,
        };
        let now_ms = self.world.trace.now_ms();
        {
            let mut history = self.world.history();
            let transacted = &mut history.transacted[number];
            (transacted.asked, transacted.end_begun_ms) = (Some(commit), Some(now_ms));
        }
        let version = if self.life.modern { 5 } else { 4 };
        let ended = self.call(version, Request::EndTxn(request), code).await;
        self.note(format_args!("transaction {number}: commit {commit} ended {:?}", ended.as_ref().err()));
        match ended {
            Ok((_, Response::EndTxn(answer))) => {
                let mut history = self.world.history();
                let transacted = &mut history.transacted[number];
                // One that took too long may be aborted again by its producer, late (KIP-588).
                (transacted.ended, transacted.lasted) = (Some(commit), commit);
                drop(history);
                if self.life.modern {
                    self.become_producer(Identity { id: answer.producer_id, epoch: answer.producer_epoch });
                }
                Ok(())
            }
            Ok(_) => Err(Stop::Crashed),
            Err((attempts, stop)) => {
                if (attempts, stop) == (1, Stop::Fenced) {
                    self.world.history().transacted[number].ended = Some(false);
                }
                Err(stop)
            }
        }
    }
}
