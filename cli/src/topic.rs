//! `strandline topic`: create, list, describe, alter and delete, straight on a store.
//!
//! Must not know Kafka's protocol. Looking never makes a cluster; what the fold decided is what is said.

mod alter;

use anyhow::{Context, Result, anyhow, bail};
use serde_json::{Value, json};
use strandline_core::manifest::{Journal, Partition, Topic, Void, journal};
use strandline_core::record::validate_topic_name;

use crate::args::{TopicArgs, TopicCommand};
use crate::connect;
use crate::output::{self, Format};
use crate::units::{show_bytes, show_count, show_counted};

pub(crate) async fn run(args: TopicArgs) -> Result<()> {
    let (url, format) = (args.store.url.as_str(), args.format);
    match args.command {
        TopicCommand::Create { name, partitions, configs } => {
            create(url, format, &name, partitions, configs).await
        }
        TopicCommand::List => list(url, format).await,
        TopicCommand::Describe { name } => describe(url, format, &name).await,
        TopicCommand::Alter { name, partitions, configs, delete_configs } => {
            alter::run(url, format, &name, partitions, configs, delete_configs).await
        }
        TopicCommand::Delete { name, yes } => delete(url, format, &name, yes).await,
    }
}

async fn create(
    url: &str,
    format: Format,
    name: &str,
    partitions: u32,
    configs: Vec<(String, String)>,
) -> Result<()> {
    if !validate_topic_name(name) {
        bail!("cannot create the topic {name}: {}", Void::InvalidTopicName);
    }
    let configs = configs.into_iter().map(|(key, value)| (key, Some(value)));
    let configs = strandline_gateway::check_topic_configs(configs)
        .map_err(|why| anyhow!("cannot create the topic {name}: {why}"))?;
    let journal = connect::open(
        connect::store(url)?,
        journal::Options { tail_bytes: 0, ..journal::Options::default() },
    )
    .await?;
    if let Some(other) = journal.view(|manifest| strandline_gateway::colliding_topic(manifest, name)) {
        journal.close().await;
        bail!("cannot create the topic {name}: it collides with {other}, which differs only in . and _");
    }
    let created = journal.create_topic(name, partitions, configs).await;
    journal.close().await;
    let id = match created.with_context(|| format!("cannot create the topic {name}"))? {
        Ok(id) => id,
        Err(void) => bail!("cannot create the topic {name}: {void}"),
    };
    match format {
        Format::Text => {
            output::say(&format!("created {name} with {}", show_counted(u64::from(partitions), "partition")))
        }
        Format::Json => {
            output::say_json(&json!({ "name": name, "id": id.to_string(), "partitions": partitions }))
        }
    }
}

async fn list(url: &str, format: Format) -> Result<()> {
    let topics: Vec<Listed> = match connect::open_existing(url).await? {
        None => Vec::new(),
        Some(journal) => {
            let topics = journal.view(|manifest| manifest.topics().map(Listed::new).collect());
            journal.close().await;
            topics
        }
    };
    match format {
        Format::Json => output::say_json(&topics.iter().map(Listed::to_json).collect::<Vec<_>>()),
        Format::Text if topics.is_empty() => output::say("no topics"),
        Format::Text => {
            let rows: Vec<_> = topics.iter().map(Listed::to_row).collect();
            output::say(&output::table(&["TOPIC", "PARTITIONS", "RECORDS", "BYTES"], &rows))
        }
    }
}

struct Listed {
    name: String,
    id: String,
    partitions: usize,
    records: u64,
    bytes: u64,
}

impl Listed {
    fn new(topic: &Topic) -> Listed {
        Listed {
            name: topic.name.clone(),
            id: topic.id.to_string(),
            partitions: topic.partitions.len(),
            records: topic.partitions.iter().map(records).sum(),
            bytes: topic.partitions.iter().map(Partition::bytes).sum(),
        }
    }

    fn to_row(&self) -> Vec<String> {
        let partitions = show_count(self.partitions as u64);
        vec![self.name.clone(), partitions, show_count(self.records), show_bytes(self.bytes)]
    }

    fn to_json(&self) -> Value {
        let Listed { name, id, partitions, records, bytes } = self;
        json!({ "name": name, "id": id, "partitions": partitions, "records": records, "bytes": bytes })
    }
}

/// Offsets that are there; compaction may leave fewer records.
fn records(partition: &Partition) -> u64 {
    u64::try_from(partition.high_watermark - partition.log_start).unwrap_or(0)
}

async fn describe(url: &str, format: Format, name: &str) -> Result<()> {
    let (journal, topic) = find(url, name).await?;
    journal.close().await;
    match format {
        Format::Json => output::say_json(&describe_json(&topic)),
        Format::Text => output::say(&describe_text(&topic)),
    }
}

fn describe_json(topic: &Topic) -> Value {
    let partitions: Vec<_> = topic
        .partitions
        .iter()
        .enumerate()
        .map(|(number, partition)| {
            json!({
                "partition": number,
                "log_start": partition.log_start,
                "high_watermark": partition.high_watermark,
                "records": records(partition),
                "bytes": partition.bytes(),
                "indexed_chunks": indexed(partition),
                "extents": partition.extents.len(),
            })
        })
        .collect();
    json!({ "name": topic.name, "id": topic.id.to_string(), "config": topic.configs, "partitions": partitions })
}

/// Chunks that only the partition's index knows.
fn indexed(partition: &Partition) -> u64 {
    partition.index.map_or(0, |index| index.chunks)
}

fn describe_text(topic: &Topic) -> String {
    let mut said = format!("{}  id {}\n", topic.name, topic.id);
    for (key, value) in &topic.configs {
        said.push_str(&format!("  {key}={value}\n"));
    }
    let row = |(number, partition): (usize, &Partition)| {
        vec![
            number.to_string(),
            show_count(partition.log_start.unsigned_abs()),
            show_count(partition.high_watermark.unsigned_abs()),
            show_bytes(partition.bytes()),
            show_count(indexed(partition) + partition.extents.len() as u64),
        ]
    };
    let rows: Vec<_> = topic.partitions.iter().enumerate().map(row).collect();
    said.push_str(&output::table(&["PARTITION", "FIRST OFFSET", "NEXT OFFSET", "BYTES", "EXTENTS"], &rows));
    said
}

async fn delete(url: &str, format: Format, name: &str, yes: bool) -> Result<()> {
    let (journal, topic) = find(url, name).await?;
    let records = show_counted(topic.partitions.iter().map(records).sum(), "record");
    if !yes {
        output::confirm_deletion(name, &records)?;
    }
    let deleted = journal.delete_topic(topic.id).await;
    journal.close().await;
    if let Err(void) = deleted.with_context(|| format!("cannot delete the topic {name}"))? {
        bail!("cannot delete the topic {name}: {void}");
    }
    match format {
        Format::Text => output::say(&format!("deleted {name} with {records}")),
        Format::Json => {
            output::say_json(&json!({ "name": name, "id": topic.id.to_string(), "deleted": true }))
        }
    }
}

pub(crate) async fn find(url: &str, name: &str) -> Result<(Journal, Topic)> {
    let nothing = || anyhow!("there is no topic {name} in {}", connect::shown(url));
    let journal = connect::open_existing(url).await?.ok_or_else(nothing)?;
    let topic = journal.view(|manifest| manifest.topic_named(name).cloned()).ok_or_else(nothing)?;
    Ok((journal, topic))
}
