//! `strandline group`: list and describe consumer groups, reset their offsets, delete them, straight on a store.
//!
//! Must not know Kafka's protocol. What is shown is what was folded: a rebalance that a node is in the middle of is not in
//! the store. Looking never makes a cluster.

mod reset;

use std::collections::BTreeMap;

use anyhow::{Context, Result, anyhow, bail};
use serde_json::{Value, json};
use strandline_core::manifest::{Change, Group, GroupMember, Journal, Manifest, Outcome};
use strandline_gateway::{GroupRead, group_kind, group_reads};

use crate::args::{GroupArgs, GroupCommand};
use crate::connect;
use crate::output::{self, Format};
use crate::units::{show_count, show_counted};

pub(crate) async fn run(args: GroupArgs) -> Result<()> {
    let (url, format) = (args.store.url.as_str(), args.format);
    match args.command {
        GroupCommand::List => list(url, format).await,
        GroupCommand::Describe { name } => describe(url, format, &name).await,
        GroupCommand::ResetOffsets(reset) => reset::run(url, format, reset).await,
        GroupCommand::Delete { name, yes } => delete(url, format, &name, yes).await,
    }
}

async fn list(url: &str, format: Format) -> Result<()> {
    let groups: Vec<Listed> = match connect::open_existing(url).await? {
        None => Vec::new(),
        Some(journal) => {
            let listed = |manifest: &Manifest| {
                manifest.groups().map(|(name, group)| Listed::new(name, group, manifest)).collect()
            };
            let groups = journal.view(listed);
            journal.close().await;
            groups
        }
    };
    match format {
        Format::Json => output::say_json(&groups.iter().map(Listed::to_json).collect::<Vec<_>>()),
        Format::Text if groups.is_empty() => output::say("no groups"),
        Format::Text => {
            let rows: Vec<_> = groups.iter().map(Listed::to_row).collect();
            output::say(&output::table(&["GROUP", "KIND", "STATE", "MEMBERS", "PROTOCOL", "LAG"], &rows))
        }
    }
}

struct Listed {
    name: String,
    kind: &'static str,
    state: &'static str,
    members: usize,
    protocol: String,
    lag: u64,
}

impl Listed {
    fn new(name: &str, group: &Group, manifest: &Manifest) -> Listed {
        Listed {
            name: name.to_owned(),
            kind: group_kind(group),
            state: strandline_gateway::group_state(name, manifest).unwrap_or("Dead"),
            members: group.members.len(),
            protocol: protocol(group),
            lag: group_reads(name, manifest).iter().filter_map(GroupRead::lag).sum(),
        }
    }

    fn to_row(&self) -> Vec<String> {
        let members = show_count(self.members as u64);
        let (kind, state) = (self.kind.to_owned(), self.state.to_owned());
        vec![self.name.clone(), kind, state, members, or_dash(&self.protocol), show_count(self.lag)]
    }

    fn to_json(&self) -> Value {
        let Listed { name, kind, state, members, protocol, lag } = self;
        json!({ "name": name, "kind": kind, "state": state, "members": members, "protocol": protocol, "lag": lag })
    }
}

/// The type of its protocol and what its members agreed on.
fn protocol(group: &Group) -> String {
    let parts = [group.protocol_type.as_str(), group.protocol.as_str()];
    parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("/")
}

fn or_dash(text: &str) -> String {
    if text.is_empty() { "-".to_owned() } else { text.to_owned() }
}

async fn describe(url: &str, format: Format, name: &str) -> Result<()> {
    let (journal, described) = find(url, name).await?;
    journal.close().await;
    match format {
        Format::Json => output::say_json(&described.to_json()),
        Format::Text => output::say(&described.to_text()),
    }
}

/// A group, and what it reads.
struct Described {
    name: String,
    state: &'static str,
    group: Group,
    partitions: Vec<GroupRead>,
}

impl Described {
    fn new(name: &str, manifest: &Manifest) -> Option<Described> {
        let group = manifest.group(name)?.clone();
        let partitions = group_reads(name, manifest);
        let state = strandline_gateway::group_state(name, manifest).unwrap_or("Dead");
        Some(Described { name: name.to_owned(), state, group, partitions })
    }

    fn to_text(&self) -> String {
        let Described { name, state, group, partitions } = self;
        let mut said = format!("{name}  {}  {state}", group_kind(group));
        if !group.protocol_type.is_empty() {
            said.push_str(&format!("  {}  generation {}", protocol(group), group.epoch));
        }
        said.push('\n');
        if !partitions.is_empty() {
            let rows: Vec<_> = partitions.iter().map(|read| row(read, &group.members)).collect();
            let head = ["TOPIC", "PARTITION", "COMMITTED", "LOG END", "LAG", "MEMBER", "CLIENT", "HOST"];
            said.push_str(&format!("\n{}\n", output::table(&head, &rows)));
        }
        if !group.members.is_empty() {
            let rows: Vec<_> = group.members.values().map(|member| self.member_row(member)).collect();
            let head = ["MEMBER", "CLIENT", "HOST", "INSTANCE", "PARTITIONS"];
            said.push_str(&format!("\n{}\n", output::table(&head, &rows)));
        }
        said
    }

    fn member_row(&self, member: &GroupMember) -> Vec<String> {
        let reads = self.partitions.iter().filter(|read| read.member.as_ref() == Some(&member.id)).count();
        let instance = or_dash(member.instance_id.as_deref().unwrap_or_default());
        let (client, host) = (or_dash(&member.client_id), or_dash(&member.client_host));
        vec![member.id.clone(), client, host, instance, show_count(reads as u64)]
    }

    fn to_json(&self) -> Value {
        let Described { name, state, group, partitions } = self;
        let member = |member: &GroupMember| {
            json!({
                "member": member.id,
                "instance": member.instance_id,
                "client": member.client_id,
                "host": member.client_host,
                "epoch": member.epoch,
            })
        };
        json!({
            "name": name,
            "kind": group_kind(group),
            "state": state,
            "protocol_type": group.protocol_type,
            "protocol": group.protocol,
            "generation": group.epoch,
            "partitions": partitions.iter().map(json_of).collect::<Vec<_>>(),
            "members": group.members.values().map(member).collect::<Vec<_>>(),
        })
    }
}

fn row(read: &GroupRead, members: &BTreeMap<String, GroupMember>) -> Vec<String> {
    let reader = read.member.as_ref().and_then(|id| members.get(id));
    let of_reader = |text: fn(&GroupMember) -> &str| or_dash(reader.map(text).unwrap_or_default());
    vec![
        read.topic.clone(),
        read.partition.to_string(),
        read.committed.map_or_else(|| "-".to_owned(), |offset| offset.to_string()),
        read.end.to_string(),
        read.lag().map_or_else(|| "-".to_owned(), show_count),
        of_reader(|member| &member.id),
        of_reader(|member| &member.client_id),
        of_reader(|member| &member.client_host),
    ]
}

fn json_of(read: &GroupRead) -> Value {
    json!({
        "topic": read.topic,
        "partition": read.partition,
        "committed": read.committed,
        "log_end": read.end,
        "lag": read.lag(),
        "metadata": read.metadata,
        "member": read.member,
    })
}

async fn delete(url: &str, format: Format, name: &str, yes: bool) -> Result<()> {
    let (journal, described) = find(url, name).await?;
    refuse_members(name, &described.group, "delete the group")?;
    let offsets = show_counted(described.group.offsets.len() as u64, "committed offset");
    if !yes {
        output::confirm_deletion(name, &offsets)?;
    }
    let failed = || format!("cannot delete the group {name}");
    let deleted = journal.propose(vec![Change::DeleteGroup { group: name.to_owned() }]).await;
    journal.close().await;
    if let Some(Outcome::Void(void)) = deleted.with_context(failed)?.first() {
        bail!("{}: {void}", failed());
    }
    match format {
        Format::Text => output::say(&format!("deleted {name} with {offsets}")),
        Format::Json => output::say_json(&json!({ "name": name, "deleted": true })),
    }
}

/// The fold refuses, too; this says what to do.
fn refuse_members(name: &str, group: &Group, what: &str) -> Result<()> {
    if group.members.is_empty() {
        return Ok(());
    }
    let members = show_counted(group.members.len() as u64, "member");
    bail!(
        "cannot {what} {name}: it has {members}; stop them and try again (one that ended without a word is a member \
         until its session time-out is over)"
    )
}

async fn find(url: &str, name: &str) -> Result<(Journal, Described)> {
    let nothing = || {
        let shown = connect::shown(url);
        anyhow!("there is no group {name} in {shown}; strandline group list shows those that are there")
    };
    let journal = connect::open_existing(url).await?.ok_or_else(nothing)?;
    let described = journal.view(|manifest| Described::new(name, manifest)).ok_or_else(nothing)?;
    Ok((journal, described))
}
