//! A scrub's report as text: one sentence, what was found, what was not looked at, how to go on.
//!
//! Must not know how anything is checked.

use strandline_core::scrub::{Count, Finding, GoOn, Report, Verdict};

use crate::output;
use crate::units::{show_bytes, show_count, show_counted};

pub(super) fn report(report: &Report, url: &str) -> String {
    let mut lines = Vec::new();
    for (title, found, more) in
        [("FAULT", &report.faults, report.more_faults), ("warning", &report.warnings, report.more_warnings)]
    {
        found.iter().for_each(|found| finding(&mut lines, title, found));
        if more > 0 {
            lines.push(format!("{title}  and {} more", show_count(more)));
        }
    }
    for unchecked in &report.unchecked {
        lines.push(format!("not checked  {}: {}", unchecked.key, output::plain(&unchecked.why)));
    }
    if report.more_unchecked > 0 {
        lines.push(format!("not checked  and {} more objects", show_count(report.more_unchecked)));
    }
    lines.extend(report.not_checked.iter().map(|what| format!("not checked  {what}")));
    if !lines.is_empty() {
        lines.push(String::new());
    }
    lines.extend(what_was_done(report));
    lines.extend(leftovers(report));
    lines.push(verdict(report));
    if let Some(go_on) = &report.go_on {
        lines.push(format!("It stopped early. Go on with: strandline scrub {url}{}", options(go_on)));
    }
    lines.join("\n")
}

fn finding(lines: &mut Vec<String>, title: &str, found: &Finding) {
    let mut place = String::new();
    if let Some(records) = &found.records {
        let topic = if records.topic.is_empty() { &records.topic_id } else { &records.topic };
        place = format!("; topic {topic}, partition {}", records.partition);
        if let Some((first, last)) = records.offsets {
            place.push_str(&format!(", offsets {first} to {last}"));
        }
    }
    lines.push(format!("{title}  {}  {}: {}{place}", found.invariant, found.key, found.what));
    lines.push(format!("{:width$}  {}", "", found.advice, width = title.len()));
}

fn what_was_done(report: &Report) -> Vec<String> {
    let mut lines = Vec::new();
    let journal = &report.journal;
    if let Some((first, last)) = journal.slots {
        let (first, last) = (show_count(first), show_count(last));
        let compared = show_counted(journal.checkpoints_compared, "checkpoint");
        lines.push(format!(
            "journal    slots {first} to {last}, {} read, {compared} compared with the fold",
            show_count(journal.slots_read)
        ));
    }
    let data = &report.data;
    if let Some((first, last)) = &data.shards {
        let slots = if data.slots > 0 {
            format!(" and {}", show_counted(data.slots, "older slot"))
        } else {
            String::new()
        };
        let chunks = if data.chunks > 0 {
            let nodes = show_counted(data.index_nodes, "index node");
            format!(", {} below {nodes}", show_counted(data.chunks, "chunk"))
        } else {
            String::new()
        };
        lines.push(format!(
            "data       shards {first} to {last}: {}{slots}{chunks}, {} with {} of records",
            show_counted(data.segments, "segment"),
            show_counted(data.extents, "extent"),
            show_bytes(data.extent_bytes)
        ));
    }
    lines.push(format!(
        "requests   {}, {} read in {:.1} s",
        show_count(report.requests),
        show_bytes(report.bytes_read),
        report.seconds
    ));
    lines
}

fn leftovers(report: &Report) -> Vec<String> {
    let mut lines = Vec::new();
    let shown =
        |count: &Count| format!("{}, {}", show_counted(count.objects, "object"), show_bytes(count.bytes));
    if let Some(orphans) = &report.orphans {
        let (collectable, young) = (shown(&orphans.collectable), shown(&orphans.young));
        lines.push(format!("orphans    older than a day: {collectable}; younger: {young}"));
    }
    let unknown = &report.unknown;
    if unknown.count.objects > 0 {
        let least = if unknown.complete { "" } else { "at least " };
        lines.push(format!("unknown    {least}{}: {}", shown(&unknown.count), unknown.first.join(", ")));
    }
    lines
}

fn verdict(report: &Report) -> String {
    let upto = format!("up to slot {}", show_count(report.tail));
    match report.verdict {
        Verdict::Clean => format!("Everything that was checked is there and whole, {upto}."),
        Verdict::Damaged => {
            let faults = report.faults.len() as u64 + report.more_faults;
            format!("DAMAGED: {} {upto}.", show_counted(faults, "fault"))
        }
        Verdict::Incomplete => format!("No damage was found, but not everything could be checked, {upto}."),
    }
}

fn options(go_on: &GoOn) -> String {
    let from = go_on.from.map(|slot| format!(" --from {slot}"));
    let to = go_on.to.map(|slot| format!(" --to {slot}"));
    let shard = go_on.shard.as_ref().map(|shard| format!(" --shard {shard}"));
    [from, to, shard].into_iter().flatten().collect()
}
