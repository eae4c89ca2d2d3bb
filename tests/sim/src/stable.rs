//! Readers of what is decided: of records under `read_committed`, as Kafka's consumers filter them, and of committed
//! offsets that no open transaction may still change.
//!
//! Must not know who wrote. Offsets that are told must be stable; records must lie below the last stable offset.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use fastrand::Rng;
use strandline_core::manifest::{Change, EndTransaction, TransactionOf};
use strandline_core::record::{BatchHeader, crc_holds, records};
use strandline_core::rope::Rope;
use strandline_kafka::messages::{Request, Response, fetch, find_coordinator, list_offsets, offset_fetch};
use tokio::time::{sleep, timeout};
use uuid::Uuid;

use crate::client::Client;
use crate::history::{Answered, CopierLife, Record, StableRead};
use crate::plan::{around, chance, pick};
use crate::world::World;

/// Where a copier's group has come to, if no open transaction may change that. -1: nowhere yet.
pub(crate) async fn positions(
    world: &World,
    life: &CopierLife,
    dice: &mut Rng,
) -> Option<BTreeMap<u32, i64>> {
    let coordinator_keys = vec![life.group.clone()];
    let request = find_coordinator::Request { coordinator_keys, ..Default::default() };
    let answer = world.ask(dice, 4, Request::FindCoordinator(request)).await;
    let Ok(Response::FindCoordinator(answer)) = answer else { return None };
    let found = answer.coordinators.first().filter(|found| found.error_code == 0)?;
    let machine = world.machines.get(usize::try_from(found.node_id).ok()?.checked_sub(1)?)?;
    let mut client = Client::new(&machine.name, machine.connect()?);
    let partition_indexes = life.partitions.iter().map(|partition| *partition as i32).collect();
    let topic = offset_fetch::RequestTopic { name: life.input_name.clone(), partition_indexes };
    let (group_id, topics) = (life.group.clone(), Some(vec![topic]));
    let group = offset_fetch::RequestGroup { group_id, topics, ..Default::default() };
    let request = offset_fetch::Request { groups: vec![group], require_stable: true, ..Default::default() };
    let begun_ms = world.trace.now_ms();
    let call = client.call(8, Request::OffsetFetch(request));
    let Ok(Ok(Response::OffsetFetch(answer))) = timeout(Duration::from_secs(8), call).await else {
        return None;
    };
    let group = answer.groups.first().filter(|group| group.error_code == 0)?;
    let found = &group.topics.first()?.partitions;
    if found.iter().any(|one| one.error_code != 0) {
        return None;
    }
    let ended_ms = world.trace.now_ms();
    world.trace.note(&life.group, format_args!("is told {found:?}"));
    world.history().stable.push(StableRead { copier: life.number, begun_ms, ended_ms });
    Some(found.iter().map(|one| (one.partition_index as u32, one.committed_offset)).collect())
}

/// Somebody who asks for the offsets of a copier all the time.
pub(crate) async fn watch(world: Arc<World>, life: CopierLife, mut dice: Rng) {
    let mut before = BTreeMap::new();
    while !world.at_work().await {
        if let Some(found) = positions(&world, &life, &mut dice).await {
            let back = before.iter().find(|(partition, offset)| found.get(partition) < Some(*offset));
            if let Some((partition, offset)) = back {
                let what = format!("{}: {partition} went back from {offset} to {found:?}", life.group);
                world.violated("K7", what);
            }
            before = found;
        }
        if chance(&mut dice, 150) {
            hurry(&world, &life, &mut dice).await;
        }
        sleep(around(&mut dice, Duration::from_millis(300))).await;
    }
}

/// A node whose clock is far ahead takes a transaction for one that has taken too long: the journal's time decides.
async fn hurry(world: &World, life: &CopierLife, dice: &mut Rng) {
    let machine = &world.machines[dice.usize(0..world.machines.len())];
    let Some(journal) = machine.journal() else { return };
    let open = journal.view(|manifest| {
        let found = manifest.transaction(&life.name).filter(|found| found.is_ongoing())?;
        let of = TransactionOf {
            transactional_id: life.name.clone(),
            producer_id: found.producer.id,
            epoch: found.producer.epoch,
            number: found.number,
        };
        Some(EndTransaction { of, commit: false, bump: true, if_due: true })
    });
    if let Some(end) = open {
        let proposed = journal.propose(vec![Change::EndTransaction(end)]);
        // Whatever comes of it: the oracle knows what must.
        let _ = timeout(Duration::from_secs(5), proposed).await;
    }
}

/// The first offset of a partition that is there.
pub(crate) const EARLIEST: i64 = -2;

/// The offset at a timestamp, or at one of the places that have a name: when it was asked for, and what it is.
pub(crate) async fn offset_at(
    world: &World,
    (name, partition, timestamp): (String, u32, i64),
    dice: &mut Rng,
) -> Option<(u64, i64)> {
    let partition_index = partition as i32;
    let partitions =
        vec![list_offsets::RequestPartition { partition_index, timestamp, ..Default::default() }];
    let topics = vec![list_offsets::RequestTopic { name, partitions }];
    let request = list_offsets::Request { replica_id: -1, topics, ..Default::default() };
    let begun_ms = world.trace.now_ms();
    let answer = world.ask(dice, 7, Request::ListOffsets(request)).await;
    let Ok(Response::ListOffsets(answer)) = answer else { return None };
    let found = &answer.topics[0].partitions[0];
    (found.error_code == 0).then_some((begun_ms, found.offset))
}

/// One reader of one partition.
pub(crate) struct Reader {
    world: Arc<World>,
    number: usize,
    topic: Uuid,
    partition: u32,
    committed: bool,
    dice: Rng,
    position: i64,
    client: Option<Client>,
    /// The largest that this connection told: last stable offset and high watermark.
    told: (i64, i64),
    /// Records may be missing between others: the topic is compacted by key.
    keyed: bool,
}

impl Reader {
    pub(crate) fn new(
        world: Arc<World>,
        number: usize,
        (topic, partition): (Uuid, u32),
        committed: bool,
        dice: Rng,
    ) -> Reader {
        let keyed = world.keyed(topic).is_some();
        let (position, client, told) = (0, None, (0, 0));
        Reader { world, number, topic, partition, committed, dice, position, client, told, keyed }
    }

    /// Reads until the run ends and nothing more is decided.
    pub(crate) async fn run(mut self) {
        loop {
            let over = self.world.at_work().await && self.world.all_is_produced();
            if self.client.is_none() || chance(&mut self.dice, 80) {
                self.client = Some(self.world.connect(&mut self.dice).await);
                self.told = (0, 0);
            }
            let end = self.fetch().await;
            let done = end.is_some_and(|end| self.position >= end);
            if over && done {
                return;
            }
            if done && self.keyed && chance(&mut self.dice, 40) {
                // What is gone by now?
                (self.number, self.position) = (self.number + 1, 0);
            }
            sleep(around(&mut self.dice, Duration::from_millis(80))).await;
        }
    }

    /// Reads on. The end of what it may read.
    async fn fetch(&mut self) -> Option<i64> {
        let mut client = self.client.take()?;
        let partition = fetch::FetchPartition {
            partition: self.partition as i32,
            fetch_offset: self.position,
            partition_max_bytes: pick(&mut self.dice, &[1, 500, 5_000, 1 << 20]),
            ..Default::default()
        };
        let topic_id = self.topic.into_bytes();
        let topics = vec![fetch::FetchTopic { topic_id, partitions: vec![partition], ..Default::default() }];
        let request = fetch::Request {
            max_wait_ms: pick(&mut self.dice, &[0, 100, 500]),
            min_bytes: 1,
            max_bytes: 1 << 20,
            isolation_level: i8::from(self.committed),
            session_epoch: -1,
            topics,
            ..Default::default()
        };
        let patience = Duration::from_millis(self.dice.u64(3_000..20_000));
        let answer = timeout(patience, client.call(13, Request::Fetch(request))).await;
        let Ok(Ok(Response::Fetch(answer))) = answer else { return None };
        let found = &answer.responses[0].partitions[0];
        match found.error_code {
            0 => {}
            7 | 56 => return None,
            1 if self.position < self.world.log_start(self.topic, self.partition).1 => {
                self.skip().await;
                return None;
            }
            code => {
                self.broken("K8", format!("at {} it got code {code}", self.position));
                return None;
            }
        }
        self.client = Some(client);
        let end = self.bounds(found);
        if let Err(why) = self.take(found) {
            self.broken("K3", why);
            return None;
        }
        Some(end)
    }

    /// The end of what it may read.
    fn bounds(&mut self, found: &fetch::PartitionResponse) -> i64 {
        let (stable, high) = (found.last_stable_offset, found.high_watermark);
        if found.log_start_offset > stable || stable > high {
            self.broken("K2", format!("{} <= {stable} <= {high} does not hold", found.log_start_offset));
        }
        if stable < self.told.0 || high < self.told.1 {
            self.broken("K2", format!("{:?} went back to {:?}", self.told, (stable, high)));
        }
        self.told = (stable, high);
        if self.committed { stable } else { high }
    }

    fn take(&mut self, found: &fetch::PartitionResponse) -> Result<(), String> {
        let (taken, position) = take(found, self.position, self.committed, self.keyed)?;
        self.position = position;
        let (stable, ended_ms) = (found.last_stable_offset, self.world.trace.now_ms());
        let of = (self.number, self.committed, self.topic, self.partition);
        let mut history = self.world.history();
        let read = history.decided_reads.entry(of).or_default();
        read.records.extend(taken);
        read.upto = self.position;
        if self.keyed {
            read.answers.push(Answered { upto: self.position, stable, ended_ms });
        }
        Ok(())
    }

    /// What it wanted is gone: it goes on with the first record that is there.
    async fn skip(&mut self) {
        let name = self.world.history().topic(self.topic).map(|topic| topic.name.clone());
        let wanted = (name.unwrap_or_default(), self.partition, EARLIEST);
        let (low, _) = self.world.log_start(self.topic, self.partition);
        let Some((_, first)) = offset_at(&self.world, wanted, &mut self.dice).await else { return };
        let (_, high) = self.world.log_start(self.topic, self.partition);
        if !(low..=high).contains(&first) {
            self.broken("K2", format!("it begins at {first}, expected {low} to {high}"));
        }
        if first > self.position {
            let of = (self.number, self.committed, self.topic, self.partition);
            let mut history = self.world.history();
            let read = history.decided_reads.entry(of).or_default();
            read.skipped.push((self.position, first));
            read.upto = first;
            drop(history);
            self.position = first;
        }
    }

    fn broken(&self, invariant: &'static str, what: String) {
        let (number, topic, partition) = (self.number, self.topic, self.partition);
        self.world.violated(invariant, format!("reader {number} of {topic}/{partition}: {what}"));
    }
}

/// The records from `position` on, and where it goes on, as Kafka's consumers find them: what an aborted transaction wrote is
/// left out from its first offset to its marker. `gaps`: offsets may be missing.
pub(crate) fn take(
    found: &fetch::PartitionResponse,
    position: i64,
    committed: bool,
    gaps: bool,
) -> Result<(Vec<(i64, Record)>, i64), String> {
    let end = if committed { found.last_stable_offset } else { found.high_watermark };
    let of_aborted = found.aborted_transactions.iter().flatten();
    let mut aborted: Vec<(i64, i64)> = of_aborted.map(|one| (one.first_offset, one.producer_id)).collect();
    aborted.sort_unstable();
    let mut aborted = aborted.into_iter().peekable();
    let mut aborting = BTreeSet::new();
    let mut bytes = BytesMut::new();
    for part in found.records.iter().flat_map(|records| records.parts()) {
        bytes.extend_from_slice(part);
    }
    let (mut bytes, mut taken, mut at) = (bytes.freeze(), Vec::new(), position);
    while bytes.len() >= 12 {
        let length = u32::from_be_bytes(bytes[8..12].try_into().unwrap()) as usize + 12;
        if length > bytes.len() {
            return Err("a batch is cut off".to_owned());
        }
        let batch: Bytes = bytes.split_to(length);
        let rope = Rope::from(batch.clone());
        let header = BatchHeader::at(&rope, 0).map_err(|why| why.to_string())?;
        if !crc_holds(&rope, 0, &header) {
            return Err(format!("the batch at {} is damaged", header.base_offset));
        }
        let next = header.base_offset + i64::from(header.offsets);
        if (header.base_offset > at && !gaps) || next > end {
            let base = header.base_offset;
            return Err(format!("{at} was wanted, {base} to {next} came, the end is {end}"));
        }
        while let Some((_, producer)) = aborted.next_if(|(first, _)| *first < next) {
            aborting.insert(producer);
        }
        let left_out = header.transactional() && aborting.contains(&header.producer_id);
        if header.control() {
            // One that commits ends nothing that is aborted.
            aborting.remove(&header.producer_id);
        } else if !(left_out && committed) {
            taken.extend(named(&header, &batch, at)?);
        }
        at = next.max(at);
    }
    Ok((taken, at))
}

fn named(header: &BatchHeader, batch: &Bytes, position: i64) -> Result<Vec<(i64, Record)>, String> {
    let mut named = Vec::new();
    for one in records(batch).map_err(|why| why.to_string())? {
        let offset = header.base_offset + i64::from(one.offset_delta);
        let name = Record::of(&one);
        let record = name.ok_or_else(|| format!("the record at {offset} is none that was ever sent"))?;
        if offset >= position {
            named.push((offset, record));
        }
    }
    Ok(named)
}
