//! What a sweep came to as text: what went and why, what waits for what, one sentence at the end.
//!
//! Must not know how anything is judged.

use strandline_compactor::sweep::{Kind, Report};
use strandline_core::scrub::Count;

use crate::output;
use crate::units::{show_bytes, show_count, show_counted};

pub(super) fn report(report: &Report) -> String {
    let mut lines = vec![floor(report)];
    let title = if report.dry_run { "would go" } else { "deleted" };
    for kind in Kind::ALL {
        line(&mut lines, title, kind, report.part(kind).gone, kind.why());
    }
    for kind in Kind::ALL {
        line(&mut lines, "too early", kind, report.part(kind).young, kind.waits_for());
    }
    for kind in Kind::ALL {
        line(&mut lines, "needed", kind, report.part(kind).needed, "");
    }
    if report.unknown.objects > 0 {
        let bytes = show_bytes(report.unknown.bytes);
        let objects = show_counted(report.unknown.objects, "object");
        lines.push(format!("unknown    {objects}, {bytes}: not written by Strandline, left alone"));
    }
    for unjudged in &report.unjudged {
        let why = output::plain(&unjudged.why);
        lines.push(format!("not judged {}: {why}; all of its partition stays", unjudged.key));
    }
    if report.more_unjudged > 0 {
        lines.push(format!("not judged and {} more", show_count(report.more_unjudged)));
    }
    lines.extend(prepared(report));
    lines.push(verdict(report));
    lines.join("\n")
}

fn floor(report: &Report) -> String {
    let (before, after) = (report.floor.before, report.floor.after);
    let moved = match report.dry_run {
        true => "would move",
        false => "moved",
    };
    match (before == after, after) {
        (true, 0) => "floor      has never moved: no checkpoint is old enough to follow".to_owned(),
        (true, _) => format!("floor      at slot {}", show_count(after)),
        (false, _) => {
            format!("floor      {moved} from slot {} to {}", show_count(before), show_count(after))
        }
    }
}

fn line(lines: &mut Vec<String>, title: &str, kind: Kind, count: Count, why: &str) {
    if count.objects == 0 {
        return;
    }
    let colon = if why.is_empty() { "" } else { ": " };
    let (objects, bytes) = (show_counted(count.objects, kind.name()), show_bytes(count.bytes));
    lines.push(format!("{title:<10} {objects}, {bytes}{colon}{why}"));
}

fn prepared(report: &Report) -> Option<String> {
    let slot = report.prepared.checkpoint?;
    let ticked = if report.prepared.ticked { "journal time moved on, and " } else { "" };
    Some(format!("prepared   {ticked}a checkpoint at slot {} for the floor to follow", show_count(slot)))
}

fn verdict(report: &Report) -> String {
    let gone = report.gone();
    let (objects, bytes) = (show_counted(gone.objects, "object"), show_bytes(gone.bytes));
    match (report.dry_run, gone.objects) {
        (true, 0) => "Nothing would be deleted.".to_owned(),
        (true, _) => format!("A sweep would delete {objects}, {bytes}. Nothing was changed."),
        (false, 0) => "There was nothing to delete.".to_owned(),
        (false, _) => format!("{objects} deleted, {bytes}, in {:.1} s.", report.seconds),
    }
}
