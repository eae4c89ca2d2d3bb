//! Topics in the fold: how they come to be, grow, change and go.
//!
//! Must not know records. Invariant: names are unique among the topics that are there, ids for ever; a partition is never
//! taken away from a topic.

use std::collections::BTreeMap;

use uuid::Uuid;

use super::super::commit::{ConfigChange, Void};
use super::{Manifest, Partition, Topic};
use crate::limits::{
    MAX_CONFIG_CHARS, MAX_CONFIG_VALUE_CHARS, MAX_PARTITIONS, MAX_PARTITIONS_PER_TOPIC, MAX_TOPIC_CONFIGS,
    MAX_TOPICS,
};
use crate::record::validate_topic_name;

impl Manifest {
    pub(in crate::manifest) fn insert_topic(&mut self, topic: Topic) {
        self.partitions += topic.partitions.len();
        self.extents += topic.partitions.iter().map(|p| p.extents.len()).sum::<usize>();
        self.names.insert(topic.name.clone(), topic.id);
        self.topics.insert(topic.id, topic);
    }

    pub(super) fn delete_topic(&mut self, id: &Uuid) -> Result<(), Void> {
        let topic = self.topics.remove(id).ok_or(Void::UnknownTopic)?;
        self.partitions -= topic.partitions.len();
        self.extents -= topic.partitions.iter().map(|p| p.extents.len()).sum::<usize>();
        self.names.remove(&topic.name);
        self.groups.forget_topic(id);
        Ok(())
    }

    pub(super) fn create_topic(
        &mut self,
        id: Uuid,
        name: &str,
        partitions: u32,
        configs: &BTreeMap<String, String>,
    ) -> Result<(), Void> {
        if !validate_topic_name(name) {
            return Err(Void::InvalidTopicName);
        }
        if partitions == 0 || partitions > MAX_PARTITIONS_PER_TOPIC {
            return Err(Void::InvalidPartitions);
        }
        // What open transactions wrote to a topic that is gone must not be looked for in another.
        let used = self.topics.contains_key(&id) || self.transactions.span(&id);
        if id.is_nil() || used || !self.configs_fit(configs) {
            return Err(Void::Malformed);
        }
        if self.names.contains_key(name) {
            return Err(Void::TopicExists);
        }
        if self.topics.len() >= MAX_TOPICS || self.partitions + partitions as usize > MAX_PARTITIONS {
            return Err(Void::LimitReached);
        }
        let partitions = vec![Partition::default(); partitions as usize];
        self.insert_topic(Topic::new(id, name.to_owned(), configs.clone(), partitions));
        Ok(())
    }

    pub(super) fn create_partitions(&mut self, topic: &Uuid, count: u32) -> Result<(), Void> {
        let topic = self.topics.get_mut(topic).ok_or(Void::UnknownTopic)?;
        let had = topic.partitions.len();
        if count > MAX_PARTITIONS_PER_TOPIC || count as usize <= had {
            return Err(Void::InvalidPartitions);
        }
        let more = count as usize - had;
        if self.partitions + more > MAX_PARTITIONS {
            return Err(Void::LimitReached);
        }
        topic.partitions.resize(count as usize, Partition::default());
        self.partitions += more;
        Ok(())
    }

    pub(super) fn alter_configs(
        &mut self,
        topic: &Uuid,
        replace: bool,
        changes: &[ConfigChange],
    ) -> Result<(), Void> {
        let current = &self.topics.get(topic).ok_or(Void::UnknownTopic)?.configs;
        let mut configs = if replace { BTreeMap::new() } else { current.clone() };
        for change in changes {
            change.alter(&mut configs);
        }
        if !self.configs_fit(&configs) {
            return Err(Void::Malformed);
        }
        let topic = self.topics.get_mut(topic).ok_or(Void::UnknownTopic)?;
        topic.configure(configs);
        Ok(())
    }

    pub(super) fn delete_records(&mut self, topic: &Uuid, partition: u32, before: i64) -> Result<(), Void> {
        let topic = self.topics.get_mut(topic).ok_or(Void::UnknownTopic)?;
        let partition = topic.partitions.get_mut(partition as usize).ok_or(Void::UnknownPartition)?;
        let before = if before == -1 { partition.high_watermark } else { before };
        if !(0..=partition.high_watermark).contains(&before) {
            return Err(Void::OffsetOutOfRange);
        }
        self.extents -= partition.delete_before(before);
        Ok(())
    }

    fn configs_fit(&self, configs: &BTreeMap<String, String>) -> bool {
        let most = if self.feature_level < 4 { MAX_CONFIG_CHARS } else { MAX_CONFIG_VALUE_CHARS };
        let fits = |(key, value): (&String, &String)| key.len() <= MAX_CONFIG_CHARS && value.len() <= most;
        configs.len() <= MAX_TOPIC_CONFIGS && configs.iter().all(fits)
    }
}
