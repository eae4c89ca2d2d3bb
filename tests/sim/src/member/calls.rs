//! A member's requests: to the coordinator, to whoever serves records.

use std::collections::BTreeMap;
use std::time::Duration;

use strandline_kafka::error::ErrorCode;
use strandline_kafka::messages::{
    Request, Response, fetch, find_coordinator, heartbeat, leave_group, list_offsets, metadata,
    offset_commit, offset_fetch,
};
use tokio::time::{Instant, timeout};

use super::{BEAT, Member, Told};
use crate::client::{Client, Gone};
use crate::history::{Beat, Committed, Fetched};
use crate::plan::{chance, pick};

const FETCH_VERSION: i16 = 13;
const EARLIEST: i64 = -2;

impl Member {
    /// One request to the coordinator. `None`: no answer, or nobody knows who that is.
    pub(crate) async fn call(
        &mut self,
        version: i16,
        request: Request,
        patience: Duration,
    ) -> Option<Response> {
        self.call_all(version, vec![request], patience).await.pop()
    }

    /// All of them are sent before the first answer is waited for. As many answers as came.
    async fn call_all(&mut self, version: i16, requests: Vec<Request>, patience: Duration) -> Vec<Response> {
        if self.coordinator.is_none() {
            self.coordinator = self.find().await;
        }
        let Some(client) = self.coordinator.as_mut() else { return Vec::new() };
        let count = requests.len();
        let mut answers = Vec::new();
        let called = async {
            let mut sent = Vec::new();
            for request in requests {
                sent.push(client.send(version, request).await?);
            }
            for answer in sent {
                answers.push(answer.await.map_err(|_| Gone)?);
            }
            Ok::<(), Gone>(())
        };
        // Whoever is late, or hung up, is left.
        let _ = timeout(patience, called).await;
        if answers.len() < count {
            self.coordinator = None;
        }
        answers
    }

    async fn find(&mut self) -> Option<Client> {
        let coordinator_keys = vec![self.group.name.clone()];
        let request = find_coordinator::Request { coordinator_keys, ..Default::default() };
        let answer = self.world.ask(&mut self.dice, 4, Request::FindCoordinator(request)).await;
        let Ok(Response::FindCoordinator(answer)) = answer else { return None };
        let found = answer.coordinators.first().filter(|found| found.error_code == 0)?;
        let machine = self.world.machines.get(usize::try_from(found.node_id).ok()?.checked_sub(1)?)?;
        Some(Client::new(&machine.name, machine.connect()?))
    }

    /// How many partitions the topic has.
    pub(crate) async fn ask_width(&mut self) -> Option<u32> {
        let name = Some(self.group.topic_name.clone());
        let topic = metadata::RequestTopic { name, ..Default::default() };
        let request = metadata::Request {
            topics: Some(vec![topic]),
            allow_auto_topic_creation: false,
            ..Default::default()
        };
        let answer = self.world.ask(&mut self.dice, 12, Request::Metadata(request)).await;
        let Ok(Response::Metadata(answer)) = answer else { return None };
        let topic = answer.topics.first().filter(|topic| topic.error_code == 0)?;
        Some(topic.partitions.len() as u32).filter(|width| *width > 0)
    }

    pub(super) async fn heartbeat(&mut self, generation: i32) -> bool {
        let request = heartbeat::Request {
            group_id: self.group.name.clone(),
            generation_id: generation,
            member_id: self.id.clone(),
            group_instance_id: self.instance.clone(),
        };
        let begun_ms = self.world.trace.now_ms();
        let answer = self.call(4, Request::Heartbeat(request), Duration::from_secs(4)).await;
        let Some(Response::Heartbeat(beat)) = answer else { return false };
        self.beat_at = Instant::now() + BEAT;
        let is_fine = self.told("Heartbeat", beat.error_code) == Told::Fine;
        if is_fine {
            let group = self.group.name.clone();
            self.world.history().beats.push(Beat { group, generation, begun_ms });
        }
        is_fine
    }

    /// Says good-bye, once; whoever does not hear it counts the silence.
    pub(super) async fn leave(&mut self) {
        if self.id.is_empty() {
            return;
        }
        self.note(format_args!("leaves"));
        let member = leave_group::Member {
            member_id: self.id.clone(),
            group_instance_id: self.instance.clone(),
            reason: None,
        };
        let (group_id, members) = (self.group.name.clone(), vec![member]);
        let request = leave_group::Request { group_id, members, ..Default::default() };
        self.call(5, Request::LeaveGroup(request), Duration::from_secs(3)).await;
        self.forget();
    }

    /// Where to go on: where the group had come to, or at the beginning of what is there.
    pub(crate) async fn positions(&mut self, partitions: &[u32]) -> Option<BTreeMap<u32, i64>> {
        if partitions.is_empty() {
            return Some(BTreeMap::new());
        }
        let topic = offset_fetch::RequestTopic {
            name: self.group.topic_name.clone(),
            partition_indexes: partitions.iter().map(|partition| *partition as i32).collect(),
        };
        let (group_id, topics) = (self.group.name.clone(), Some(vec![topic]));
        let group = offset_fetch::RequestGroup { group_id, topics, ..Default::default() };
        let request = offset_fetch::Request { groups: vec![group], ..Default::default() };
        let begun_ms = self.world.trace.now_ms();
        let answer = self.call(8, Request::OffsetFetch(request), Duration::from_secs(8)).await;
        let Some(Response::OffsetFetch(answer)) = answer else { return None };
        let group = answer.groups.first()?;
        if self.told("OffsetFetch", group.error_code) != Told::Fine {
            return None;
        }
        let mut positions = BTreeMap::new();
        for found in group.topics.first()?.partitions.clone() {
            let partition = found.partition_index as u32;
            if self.told("OffsetFetch", found.error_code) != Told::Fine {
                return None;
            }
            self.world.fetched(Fetched {
                group: self.group.name.clone(),
                topic: self.group.topic,
                partition,
                begun_ms,
                offset: found.committed_offset,
                commit: found.metadata.filter(|text| !text.is_empty()),
            });
            let position = match found.committed_offset {
                -1 => self.earliest(partition).await?,
                offset => offset,
            };
            positions.insert(partition, position);
        }
        Some(positions)
    }

    /// The first offset of a partition.
    async fn earliest(&mut self, partition: u32) -> Option<i64> {
        let (topic, name) = (self.group.topic, self.group.topic_name.clone());
        let low = self.world.log_start(topic, partition).0;
        let wanted = list_offsets::RequestPartition {
            partition_index: partition as i32,
            timestamp: EARLIEST,
            ..Default::default()
        };
        let topics = vec![list_offsets::RequestTopic { name, partitions: vec![wanted] }];
        let request = list_offsets::Request { replica_id: -1, topics, ..Default::default() };
        let answer = self.world.ask(&mut self.dice, 7, Request::ListOffsets(request)).await;
        let Ok(Response::ListOffsets(answer)) = answer else { return None };
        let found = &answer.topics[0].partitions[0];
        let (.., high) = self.world.log_start(topic, partition);
        if found.error_code != 0 {
            return None;
        }
        if !(low..=high).contains(&found.offset) {
            let what = format!("{partition} begins at {}, expected {low} to {high}", found.offset);
            self.broken("K2", what);
        }
        Some(found.offset)
    }

    /// Reads on in one partition.
    pub(super) async fn read(&mut self, partition: u32) {
        let Some(position) = self.owned.get(&partition).copied() else { return };
        if self.reader.is_none() || chance(&mut self.dice, 30) {
            self.reader = Some(self.world.connect(&mut self.dice).await);
        }
        let Some(mut reader) = self.reader.take() else { return };
        let wanted = fetch::FetchPartition {
            partition: partition as i32,
            fetch_offset: position,
            partition_max_bytes: pick(&mut self.dice, &[500, 5_000, 1 << 20]),
            ..Default::default()
        };
        let topic_id = self.group.topic.into_bytes();
        let topics = vec![fetch::FetchTopic { topic_id, partitions: vec![wanted], ..Default::default() }];
        let request = fetch::Request {
            max_wait_ms: pick(&mut self.dice, &[0, 50]),
            min_bytes: 1,
            max_bytes: 1 << 20,
            session_epoch: -1,
            topics,
            ..Default::default()
        };
        let call = reader.call(FETCH_VERSION, Request::Fetch(request));
        let Ok(Ok(Response::Fetch(answer))) = timeout(Duration::from_secs(3), call).await else { return };
        let found = &answer.responses[0].partitions[0];
        match ErrorCode::try_from(found.error_code) {
            Ok(ErrorCode::None) => {
                self.reader = Some(reader);
                self.take(partition, position, found);
            }
            Ok(ErrorCode::KafkaStorageError | ErrorCode::RequestTimedOut) => {}
            Ok(ErrorCode::OffsetOutOfRange) => {
                let (_, high) = self.world.log_start(self.group.topic, partition);
                if position >= high {
                    self.broken("K8", format!("offset {position} of {partition} is said to be out of range"));
                }
                if let Some(earliest) = self.earliest(partition).await {
                    self.owned.insert(partition, earliest);
                }
            }
            _ => self.broken("K8", format!("{partition} at {position} gave code {}", found.error_code)),
        }
    }

    fn take(&mut self, partition: u32, position: i64, found: &fetch::PartitionResponse) {
        match crate::consumer::split(found, position) {
            Ok(records) => {
                let next = records.last().map_or(position, |(offset, _)| offset + 1);
                let (name, topic) = (self.group.name.clone(), self.group.topic);
                self.world.received(&name, topic, partition, &records);
                self.owned.insert(partition, next);
            }
            Err(why) => self.broken("K3", format!("{partition}: {why}")),
        }
    }

    /// Commits where it is in all partitions, now and then twice without waiting in between. `false`: it is not known to be
    /// taken.
    pub(super) async fn commit(&mut self, generation: i32) -> bool {
        let (first, request) = self.asked_to_commit(generation, &[]);
        let mut requests = vec![(first, request)];
        if chance(&mut self.dice, 200) {
            let (second, request) = self.asked_to_commit(generation, &requests[0].0);
            requests.push((second, request));
        }
        let patience = Duration::from_millis(self.dice.u64(1_500..8_000));
        let (asked, requests): (Vec<_>, Vec<_>) = requests.into_iter().unzip();
        let answers = self.call_all(8, requests, patience).await;
        let mut told = if answers.len() == asked.len() { Told::Fine } else { Told::Later };
        for (numbers, answer) in asked.into_iter().zip(answers) {
            let Response::OffsetCommit(answer) = answer else { return false };
            self.beat_at = Instant::now() + BEAT;
            let codes = answer.topics[0].partitions.iter().map(|partition| partition.error_code);
            for (number, code) in numbers.into_iter().zip(codes) {
                self.world.commit_ended(number, code);
                told = self.told("OffsetCommit", code);
            }
        }
        if told == Told::Fine {
            self.committed.clone_from(&self.owned);
        }
        told == Told::Fine
    }

    /// A request that commits all positions, and the numbers under which it is remembered; `before`: those of the request
    /// in front of it.
    fn asked_to_commit(&self, generation: i32, before: &[usize]) -> (Vec<usize>, Request) {
        let (group, topic) = (self.group.name.clone(), self.group.topic);
        let mut asked = Vec::new();
        let mut partitions = Vec::new();
        for (place, (partition, offset)) in self.owned.iter().enumerate() {
            let number = self.world.committing(Committed {
                group: group.clone(),
                topic,
                partition: *partition,
                offset: *offset,
                generation,
                behind: before.get(place).copied(),
                ended: None,
            });
            asked.push(number);
            partitions.push(offset_commit::RequestPartition {
                partition_index: *partition as i32,
                committed_offset: *offset,
                committed_metadata: Some(number.to_string()),
                ..Default::default()
            });
        }
        let name = self.group.topic_name.clone();
        let request = offset_commit::Request {
            group_id: group,
            generation_id_or_member_epoch: generation,
            member_id: self.id.clone(),
            group_instance_id: self.instance.clone(),
            topics: vec![offset_commit::RequestTopic { name, partitions }],
            ..Default::default()
        };
        self.note(format_args!("commits {asked:?} at {:?} in {generation}", self.owned));
        (asked, Request::OffsetCommit(request))
    }
}
