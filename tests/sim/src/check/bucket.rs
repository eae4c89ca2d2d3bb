//! The bucket as it lies there at the end, and the nodes beside it: data, checkpoints, agreement.
//!
//! Must not know the clients.

use std::ops::ControlFlow;
use std::sync::Arc;

use object_store::path::Path;
use strandline_core::env::Env;
use strandline_core::manifest::checkpoint;
use strandline_core::paths;
use strandline_core::scrub::{Options, Verdict, scrub};
use strandline_core::store::{Provider, Store};

use super::data;
use super::truth::Truth;
use crate::auditor::fingerprint;
use crate::bucket::{Bucket, slot_of};
use crate::history::Audit;

type Faults = Vec<(&'static str, String)>;

/// Everything that is wrong with what lies there.
pub(crate) async fn check(bucket: &Bucket, truth: &Truth, audits: &[Audit]) -> Faults {
    let mut faults = truth.faults.clone();
    agreement(truth, audits, &mut faults);
    data::check(bucket, truth, &mut faults).await;
    checkpoints(bucket, truth, &mut faults).await;
    contents(bucket, &mut faults).await;
    scrubbed(bucket, &mut faults).await;
    faults
}

/// What two nodes folded to the same slot is the same, and the same as a cold fold gives.
fn agreement(truth: &Truth, audits: &[Audit], faults: &mut Faults) {
    for audit in audits {
        let right = match audit.applied {
            0 => continue,
            slot => truth.fingerprints.get(&slot),
        };
        if right != Some(&audit.fingerprint) {
            faults.push(("J2", format!("{} held another manifest at slot {}", audit.machine, audit.applied)));
            return;
        }
    }
}

/// Every checkpoint is what a cold fold gives.
async fn checkpoints(bucket: &Bucket, truth: &Truth, faults: &mut Faults) {
    for key in bucket.keys(paths::CHECKPOINTS).await {
        let Some(slot) = paths::checkpoint_slot(&key) else { continue };
        let Some(body) = bucket.get(&key).await else { continue };
        let right = truth.fingerprints.get(&slot).copied();
        let same = checkpoint::decode(&key, &body)
            .is_ok_and(|manifest| manifest.applied == slot && Some(fingerprint(&body)) == right);
        if !same {
            faults.push(("J2", format!("{key} is not what the slots fold to")));
        }
    }
}

/// `strandline scrub` finds nothing either.
async fn scrubbed(bucket: &Bucket, faults: &mut Faults) {
    let objects = Arc::clone(bucket.objects());
    let store = Store::new(objects, Path::default(), Provider::Memory, "memory:", Env::system());
    match scrub(&store, &Options::default(), &|_| ControlFlow::Continue(())).await {
        Ok(report) if report.verdict == Verdict::Clean => {}
        Ok(report) => {
            faults.push(("D1", format!("scrub says {:?}: {:?}", report.verdict, report.faults.first())))
        }
        Err(error) => faults.push(("D1", format!("scrub says {error}"))),
    }
}

/// A slot holds what it held first, if it is there at all and was never deleted.
async fn contents(bucket: &Bucket, faults: &mut Faults) {
    let first = bucket.slots();
    for key in bucket.keys("journal").await {
        let (Some(slot), Some(body)) = (slot_of(&key), bucket.get(&key).await) else { continue };
        if first.get(&slot) != Some(&body) && !bucket.was_deleted(&key) {
            faults.push(("J1", format!("slot {slot} changed its content")));
        }
    }
}
