//! `strandline txn`: list and describe transactions, abort one, straight on a store.
//!
//! Must not know Kafka's protocol. Looking never makes a cluster. An abort is the same change that ends a transaction which
//! takes too long, but for the time.

use std::collections::BTreeMap;

use anyhow::{Context, Result, anyhow, bail};
use serde_json::{Value, json};
use strandline_core::manifest::{
    Change, EndTransaction, Journal, Manifest, Outcome, Phase, Transaction, TransactionOf,
};
use uuid::Uuid;

use crate::args::{TxnArgs, TxnCommand, TxnState};
use crate::connect;
use crate::output::{self, Format};
use crate::units::{show_count, show_counted, show_moment};

pub(crate) async fn run(args: TxnArgs) -> Result<()> {
    let (url, format) = (args.store.url.as_str(), args.format);
    match args.command {
        TxnCommand::List { state } => list(url, format, state).await,
        TxnCommand::Describe { id } => describe(url, format, &id).await,
        TxnCommand::Abort { id, yes } => abort(url, format, &id, yes).await,
    }
}

async fn list(url: &str, format: Format, wanted: Option<TxnState>) -> Result<()> {
    let found: Vec<(String, Transaction)> = match connect::open_existing(url).await? {
        None => Vec::new(),
        Some(journal) => {
            let listed = |manifest: &Manifest| {
                let wanted = |of: &Transaction| wanted.is_none_or(|wanted| phase(wanted) == of.phase);
                let all = manifest.transactions().filter(|(_, of)| wanted(of));
                all.map(|(id, of)| (id.to_owned(), of.clone())).collect()
            };
            let found = journal.view(listed);
            journal.close().await;
            found
        }
    };
    match format {
        Format::Json => output::say_json(&found.iter().map(|(id, of)| to_json(id, of)).collect::<Vec<_>>()),
        Format::Text if found.is_empty() => output::say("no transactions"),
        Format::Text => {
            let rows: Vec<_> = found.iter().map(|(id, of)| to_row(id, of)).collect();
            let head = ["TRANSACTIONAL ID", "STATE", "PRODUCER", "EPOCH", "PARTITIONS", "GROUPS", "SINCE"];
            output::say(&output::table(&head, &rows))
        }
    }
}

fn phase(state: TxnState) -> Phase {
    match state {
        TxnState::Empty => Phase::Empty,
        TxnState::Ongoing => Phase::Ongoing,
        TxnState::Committed => Phase::Committed,
        TxnState::Aborted => Phase::Aborted,
    }
}

fn state(of: &Transaction) -> &'static str {
    match of.phase {
        Phase::Empty => "empty",
        Phase::Ongoing => "ongoing",
        Phase::Committed => "committed",
        Phase::Aborted => "aborted",
    }
}

fn to_row(id: &str, of: &Transaction) -> Vec<String> {
    let since = if of.is_ongoing() { of.begun_ms } else { of.changed_ms };
    vec![
        id.to_owned(),
        state(of).to_owned(),
        of.producer.id.to_string(),
        of.producer.epoch.to_string(),
        show_count(of.partitions.len() as u64),
        show_count(of.groups.len() as u64),
        show_moment(since),
    ]
}

fn to_json(id: &str, of: &Transaction) -> Value {
    json!({
        "transactional_id": id,
        "state": state(of),
        "producer_id": of.producer.id,
        "epoch": of.producer.epoch,
        "timeout_ms": of.timeout_ms,
        "begun_ms": of.is_ongoing().then_some(of.begun_ms),
        "changed_ms": of.changed_ms,
        "partitions": of.partitions.len(),
        "groups": of.groups.keys().collect::<Vec<_>>(),
    })
}

async fn describe(url: &str, format: Format, id: &str) -> Result<()> {
    let (journal, of) = find(url, id).await?;
    let names: BTreeMap<Uuid, String> = journal.view(|manifest| {
        let topics = of.partitions.keys().chain(of.groups.values().flat_map(BTreeMap::keys));
        topics.filter_map(|(topic, _)| Some((*topic, manifest.topic(topic)?.name.clone()))).collect()
    });
    journal.close().await;
    let name = |topic: &Uuid| names.get(topic).cloned().unwrap_or_else(|| format!("(deleted, {topic})"));
    match format {
        Format::Json => {
            let part = |((topic, partition), first): (&(Uuid, u32), &Option<i64>)| json!({ "topic": name(topic), "partition": partition, "first_offset": first });
            let mut shown = to_json(id, &of);
            if let Value::Object(fields) = &mut shown {
                let parts: Vec<_> = of.partitions.iter().map(part).collect();
                fields.insert("partitions".to_owned(), Value::Array(parts));
            }
            output::say_json(&shown)
        }
        Format::Text => output::say(&to_text(id, &of, name)),
    }
}

fn to_text(id: &str, of: &Transaction, name: impl Fn(&Uuid) -> String) -> String {
    let mut said = format!("{id}  {}  producer {} epoch {}", state(of), of.producer.id, of.producer.epoch);
    if of.is_ongoing() {
        let due = show_moment(of.due_ms());
        said.push_str(&format!("  since {}, aborted from {due} on", show_moment(of.begun_ms)));
    }
    said.push('\n');
    if !of.partitions.is_empty() {
        let row = |((topic, partition), first): (&(Uuid, u32), &Option<i64>)| {
            let first = first.map_or_else(|| "-".to_owned(), |first| first.to_string());
            vec![name(topic), partition.to_string(), first]
        };
        let rows: Vec<_> = of.partitions.iter().map(row).collect();
        said.push_str(&format!("\n{}\n", output::table(&["TOPIC", "PARTITION", "FIRST OFFSET"], &rows)));
    }
    let pending = of.groups.iter().flat_map(|(group, offsets)| {
        let row = |((topic, partition), committed): (&(Uuid, u32), &_)| {
            let committed: &strandline_core::manifest::CommittedOffset = committed;
            vec![group.clone(), name(topic), partition.to_string(), committed.offset.to_string()]
        };
        offsets.iter().map(row).collect::<Vec<_>>()
    });
    let rows: Vec<_> = pending.collect();
    if !rows.is_empty() {
        said.push_str(&format!(
            "\n{}\n",
            output::table(&["GROUP", "TOPIC", "PARTITION", "TO COMMIT"], &rows)
        ));
    }
    said
}

async fn abort(url: &str, format: Format, id: &str, yes: bool) -> Result<()> {
    let (journal, of) = find(url, id).await?;
    if !of.is_ongoing() {
        bail!("{id} has no open transaction");
    }
    let parts = show_counted(of.partitions.len() as u64, "partition");
    if !yes {
        output::confirm(&format!("abort the transaction of {id} in {parts}"), "nothing was aborted")?;
    }
    let end = EndTransaction {
        of: TransactionOf {
            transactional_id: id.to_owned(),
            producer_id: of.producer.id,
            epoch: of.producer.epoch,
            number: of.number,
        },
        commit: false,
        bump: true,
        if_due: false,
    };
    let failed = || format!("cannot abort the transaction of {id}");
    let decided = journal.propose(vec![Change::EndTransaction(end)]).await;
    journal.close().await;
    if let Some(Outcome::Void(void)) = decided.with_context(failed)?.first() {
        bail!("{}: {void}", failed());
    }
    match format {
        Format::Text => output::say(&format!("aborted the transaction of {id} in {parts}")),
        Format::Json => output::say_json(&json!({ "aborted": id })),
    }
}

async fn find(url: &str, id: &str) -> Result<(Journal, Transaction)> {
    let unknown = || {
        let shown = connect::shown(url);
        anyhow!(
            "there is no transactional id {id} in {shown}; strandline txn list shows those that are there"
        )
    };
    let journal = connect::open_existing(url).await?.ok_or_else(unknown)?;
    match journal.view(|manifest| manifest.transaction(id).cloned()) {
        Some(of) => Ok((journal, of)),
        None => {
            journal.close().await;
            Err(unknown())
        }
    }
}
