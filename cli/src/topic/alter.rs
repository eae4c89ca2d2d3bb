//! `strandline topic alter`: more partitions and other configs, in one commit.
//!
//! Must not know Kafka's protocol. What cannot be is refused before anything is written.

use std::collections::BTreeSet;

use anyhow::{Context, Result, anyhow, bail};
use serde_json::json;
use strandline_core::manifest::{Change, ConfigChange, ConfigOp, Outcome, Topic};
use strandline_gateway::{check_topic_config_changes, is_topic_config};

use crate::output::{self, Format};
use crate::units::show_counted;

pub(super) async fn run(
    url: &str,
    format: Format,
    name: &str,
    partitions: Option<u32>,
    configs: Vec<(String, String)>,
    delete_configs: Vec<String>,
) -> Result<()> {
    let refused = || format!("cannot alter the topic {name}");
    let changes = config_changes(configs, delete_configs).with_context(refused)?;
    if partitions.is_none() && changes.is_empty() {
        bail!("nothing to alter: say --partitions, --config or --delete-config");
    }
    let (journal, topic) = super::find(url, name).await?;
    let proposed = plan(&topic, partitions, changes);
    let decided = match proposed {
        Ok(changes) => journal.propose(changes).await.map_err(anyhow::Error::from),
        Err(why) => Err(why),
    };
    let altered = journal.view(|manifest| manifest.topic(&topic.id).cloned());
    journal.close().await;
    for outcome in decided.with_context(refused)? {
        if let Outcome::Void(void) = outcome {
            bail!("cannot alter the topic {name}: {void}");
        }
    }
    let altered = altered.ok_or_else(|| anyhow!("the topic {name} was deleted in the meantime"))?;
    say(format, &altered)
}

/// `--config` and `--delete-config`, which must be configs that there are.
fn config_changes(configs: Vec<(String, String)>, delete_configs: Vec<String>) -> Result<Vec<ConfigChange>> {
    let set = configs.into_iter().map(|(name, value)| ConfigChange { name, op: ConfigOp::Set(value) });
    let delete = delete_configs.into_iter().map(|name| ConfigChange { name, op: ConfigOp::Delete });
    let changes: Vec<ConfigChange> = set.chain(delete).collect();
    let mut seen = BTreeSet::new();
    if let Some(twice) = changes.iter().find(|change| !seen.insert(&change.name)) {
        bail!("{} is given twice", twice.name);
    }
    // A name that nobody knows is a typing error, though to delete it would do no harm.
    if let Some(change) = changes.iter().find(|change| !is_topic_config(&change.name)) {
        bail!("there is no topic config {}", change.name);
    }
    Ok(changes)
}

fn plan(topic: &Topic, partitions: Option<u32>, changes: Vec<ConfigChange>) -> Result<Vec<Change>> {
    let mut plan = Vec::new();
    if let Some(count) = partitions {
        let had = topic.partitions.len();
        if count as usize <= had {
            let had = show_counted(had as u64, "partition");
            bail!("it has {had}, and there can only be more, not {count}");
        }
        plan.push(Change::CreatePartitions { topic: topic.id, count });
    }
    if !changes.is_empty() {
        check_topic_config_changes(&topic.configs, false, &changes).map_err(|why| anyhow!(why))?;
        plan.push(Change::AlterConfigs { topic: topic.id, replace: false, changes });
    }
    Ok(plan)
}

fn say(format: Format, topic: &Topic) -> Result<()> {
    let (name, partitions) = (&topic.name, topic.partitions.len());
    match format {
        Format::Json => output::say_json(&json!({
            "name": name, "id": topic.id.to_string(), "partitions": partitions, "config": topic.configs,
        })),
        Format::Text => {
            let mut said = format!("{name} has {}", show_counted(partitions as u64, "partition"));
            for (key, value) in &topic.configs {
                said.push_str(&format!("\n  {key}={value}"));
            }
            output::say(&said)
        }
    }
}
