//! `strandline group reset-offsets`: a group without members goes on from elsewhere.
//!
//! Must not know Kafka's protocol. Invariant: nothing changes without `--execute`, and then all offsets change in one
//! commit or none does; what is shown before is what would be committed.

mod plan;

use std::fs;

use anyhow::{Context, Result, anyhow, bail};
use serde_json::{Value, json};
use strandline_core::manifest::{Change, CommitOffsets, Journal, OffsetCommit, Outcome, Void};
use strandline_reader::{Config, Isolation, OffsetSpec, Reader};

use super::refuse_members;
use crate::args::{ResetArgs, Target};
use crate::connect;
use crate::output::{self, Format};
use crate::units::show_counted;
use plan::{Move, Partition};

/// Memory for blocks of the store, where times are looked up.
const CACHE_BYTES: usize = 16 * 1_024 * 1_024;

pub(super) async fn run(url: &str, format: Format, args: ResetArgs) -> Result<()> {
    let name = &args.name;
    let empty =
        || anyhow!("there is nothing in {}: no topic whose offsets could be reset", connect::shown(url));
    let journal = connect::open_existing(url).await?.ok_or_else(empty)?;
    if let Some(group) = journal.view(|manifest| manifest.group(name).cloned()) {
        refuse_members(name, &group, "reset the offsets of")?;
    }
    let moves = moves(&journal, &args).await?;
    if args.execute && !moves.is_empty() {
        commit(&journal, name, &moves).await?;
    }
    journal.close().await;
    if let Some(file) = &args.to_file {
        let failed = || format!("cannot write {}", file.display());
        fs::write(file, plan::to_csv(&moves)).with_context(failed)?;
    }
    match format {
        Format::Json => output::say_json(&json!({
            "group": name,
            "executed": args.execute,
            "offsets": moves.iter().map(to_json).collect::<Vec<_>>(),
        })),
        Format::Text => {
            output::say(&output::table(
                &["TOPIC", "PARTITION", "COMMITTED", "NEW"],
                &moves.iter().map(to_row).collect::<Vec<_>>(),
            ))?;
            if !args.execute {
                output::note(&format!("nothing was changed: say --execute to reset {}", counted(&moves)));
            }
            Ok(())
        }
    }
}

fn counted(moves: &[Move]) -> String {
    show_counted(moves.len() as u64, "offset")
}

/// What would change. Empty only if a group reads nothing.
async fn moves(journal: &Journal, args: &ResetArgs) -> Result<Vec<Move>> {
    let name = &args.name;
    let target =
        args.target().ok_or_else(|| anyhow!("say where {name} is to go on, such as --to-earliest"))?;
    if let Target::File(file) = &target {
        let text = fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
        let lines = plan::from_csv(&text).with_context(|| format!("cannot use {}", file.display()))?;
        return journal.view(|manifest| plan::from_lines(manifest, name, &lines));
    }
    let scope = if args.all_topics { None } else { Some(args.topics.as_slice()) };
    let partitions = journal.view(|manifest| plan::partitions(manifest, name, scope))?;
    let after_ms = match target {
        Target::Time(ms) => Some(ms),
        Target::Age(age) => {
            let age_ms = i64::try_from(age.as_millis()).unwrap_or(i64::MAX);
            Some(journal.env().wall_ms().saturating_sub(age_ms))
        }
        _ => None,
    };
    let Some(after_ms) = after_ms else {
        return partitions.into_iter().map(|partition| plan::go(partition, &target)).collect();
    };
    let reader = Reader::start(journal.clone(), Config::of_cache(CACHE_BYTES));
    let mut moves = Vec::with_capacity(partitions.len());
    for partition in partitions {
        let at = first_at(&reader, &partition, after_ms).await?;
        moves.push(plan::to(partition, at));
    }
    Ok(moves)
}

/// The first offset whose time is `after_ms` or later; the end, if there is none.
async fn first_at(reader: &Reader, partition: &Partition, after_ms: i64) -> Result<i64> {
    let found = reader
        .offset_at(
            partition.id,
            partition.number,
            OffsetSpec::Timestamp(after_ms),
            Isolation::ReadUncommitted,
        )
        .await;
    let Partition { topic, number, .. } = partition;
    let found = found.with_context(|| format!("cannot look up a time in partition {number} of {topic}"))?;
    Ok(if found.offset < 0 { partition.end } else { found.offset })
}

async fn commit(journal: &Journal, name: &str, moves: &[Move]) -> Result<()> {
    let offset = |of: &Move| OffsetCommit {
        topic: of.partition.id,
        partition: of.partition.number,
        offset: of.to,
        leader_epoch: -1,
        metadata: String::new(),
    };
    let change = CommitOffsets {
        group: name.to_owned(),
        member: String::new(),
        epoch: -1,
        instance_id: None,
        offsets: moves.iter().map(offset).collect(),
    };
    let failed = || format!("cannot reset the offsets of {name}");
    let decided = journal.propose(vec![Change::CommitOffsets(change)]).await.with_context(failed)?;
    match decided.first() {
        Some(Outcome::Void(Void::UnknownMember)) => {
            bail!("{}: a member joined in the meantime; stop it and try again", failed())
        }
        Some(Outcome::Void(void)) => bail!("{}: {void}", failed()),
        _ => Ok(()),
    }
}

fn to_row(of: &Move) -> Vec<String> {
    let Partition { topic, number, committed, .. } = &of.partition;
    let committed = committed.map_or_else(|| "-".to_owned(), |offset| offset.to_string());
    vec![topic.clone(), number.to_string(), committed, of.to.to_string()]
}

fn to_json(of: &Move) -> Value {
    let Partition { topic, number, committed, .. } = &of.partition;
    json!({ "topic": topic, "partition": number, "committed": committed, "new": of.to })
}
