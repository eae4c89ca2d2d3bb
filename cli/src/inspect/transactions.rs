//! Transactions as JSON: their changes, and where they stand.
//!
//! Must not know the store, nor how other parts of an object are shown.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use strandline_core::manifest::{
    AddToTransaction, CommittedOffset, EndTransaction, Identity, InitProducer, Transaction, TransactionOf,
};
use uuid::Uuid;

use super::json::join;

pub(super) fn init(init: &InitProducer) -> Value {
    let known = init.known.map(|(id, epoch)| json!({ "producer_id": id, "epoch": epoch }));
    json!({ "transactional_id": init.transactional_id, "timeout_ms": init.timeout_ms, "known": known })
}

pub(super) fn of(of: &TransactionOf) -> Value {
    json!({
        "transactional_id": of.transactional_id,
        "producer_id": of.producer_id,
        "epoch": of.epoch,
        "number": of.number,
    })
}

pub(super) fn add(add: &AddToTransaction) -> Value {
    let mut shown = of(&add.of);
    let partitions: Vec<_> = add.partitions.iter().map(partition).collect();
    join(&mut shown, json!({ "partitions": partitions, "groups": add.groups }));
    shown
}

pub(super) fn end(end: &EndTransaction) -> Value {
    let mut shown = of(&end.of);
    join(&mut shown, json!({ "commit": end.commit, "bump": end.bump, "if_due": end.if_due }));
    shown
}

fn partition((topic, partition): &(Uuid, u32)) -> Value {
    json!({ "topic": topic.to_string(), "partition": partition })
}

fn identity(of: Identity) -> Value {
    json!({ "producer_id": of.id, "epoch": of.epoch })
}

pub(super) fn transaction(id: &str, of: &Transaction) -> Value {
    let parts = of.partitions.iter().map(|(at, first_offset)| {
        let mut shown = partition(at);
        join(&mut shown, json!({ "first_offset": first_offset }));
        shown
    });
    let groups =
        of.groups.iter().map(|(name, offsets)| json!({ "group": name, "offsets": pending(offsets) }));
    json!({
        "transactional_id": id,
        "producer": identity(of.producer),
        "previous": of.previous.map(identity),
        "timeout_ms": of.timeout_ms,
        "number": of.number,
        "phase": format!("{:?}", of.phase).to_lowercase(),
        "begun_ms": of.begun_ms,
        "changed_ms": of.changed_ms,
        "partitions": parts.collect::<Vec<_>>(),
        "groups": groups.collect::<Vec<_>>(),
    })
}

fn pending(offsets: &BTreeMap<(Uuid, u32), CommittedOffset>) -> Vec<Value> {
    let offset = |(at, committed): (&(Uuid, u32), &CommittedOffset)| {
        let mut shown = partition(at);
        join(&mut shown, json!({ "offset": committed.offset, "metadata": committed.metadata }));
        shown
    };
    offsets.iter().map(offset).collect()
}
