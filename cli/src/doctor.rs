//! `strandline doctor`: whether a store is safe to keep a log in, in plain words.
//!
//! Must not know how the probe works. Makes no cluster: whoever asks about a store has not decided yet. The exit code
//! says what the last sentence says.

use anyhow::{Context, Result, bail};
use strandline_core::manifest::{Journal, journal};
use strandline_core::probe::{Finding, probe};
use strandline_core::store::Store;

use crate::args::DoctorArgs;
use crate::bucket::{Bucket, Found, Setting};
use crate::connect;
use crate::init;
use crate::output;
use crate::units::{show_count, show_counted};

pub(crate) async fn run(args: DoctorArgs) -> Result<()> {
    let store = connect::store(&args.url)?;
    let has_cluster = connect::has_cluster(&store).await?;
    let findings = probe(&store, store.env()).await.with_context(|| format!("cannot try out {store}"))?;
    for Finding { rule, outcome } in &findings {
        match outcome {
            Ok(()) => output::say(&format!("ok       {rule}"))?,
            Err(instead) => output::say(&format!("FAILED   {rule}\n         {instead}"))?,
        }
    }
    let failed = findings.iter().filter(|finding| finding.outcome.is_err()).count();
    if failed > 0 {
        bail!(
            "{store} is NOT safe to keep a log in: {failed} of {} rules do not hold, see above; use another store",
            findings.len()
        );
    }
    if let Some(bucket) = Bucket::of(&args.url, Vec::new()).await? {
        settings(&bucket, &args.url).await?;
    }
    output::say(&format!("{store} is safe to keep a log in."))?;
    if !has_cluster {
        return output::say(
            "There is no cluster there yet; the first node or command that writes makes one.",
        );
    }
    output::say(&cluster(store).await?)
}

/// What the bucket itself is set to. A rule that deletes objects is a failure, everything else is for its owner to judge.
async fn settings(bucket: &Bucket, url: &str) -> Result<()> {
    let (mut drift, mut harm, mut unknown) = (false, false, false);
    for setting in Setting::ALL {
        let found = bucket.look(setting).await;
        drift |= matches!(found, Found::Drift(_));
        harm |= matches!(found, Found::Harm(_));
        unknown |= matches!(found, Found::Unknown(_));
        output::say(&init::shown(setting, &found))?;
    }
    if harm {
        bail!("{url} is NOT safe to keep a log in: its bucket deletes or moves objects by itself, see above");
    }
    if unknown {
        output::say(
            "Not all of the bucket's settings could be looked at, see above: whether it deletes objects by itself is for you to know.",
        )?;
    }
    match drift {
        true => output::say(&format!(
            "The bucket's settings could be better: strandline init {url} makes them so."
        )),
        false => Ok(()),
    }
}

async fn cluster(store: Store) -> Result<String> {
    let format = crate::inspect::cluster_format(&store).await?;
    let journal =
        Journal::open(store, journal::Options { tail_bytes: 0, ..journal::Options::default() }).await?;
    let tail = journal.catch_up().await?;
    let topics = journal.view(|manifest| manifest.topics().count());
    let id = journal.cluster_id().to_owned();
    journal.close().await;
    let (tail, topics) = (show_count(tail), show_counted(topics as u64, "topic"));
    Ok(format!("There is a cluster: id {id}, format {format}, {topics}, the last commit is in slot {tail}."))
}
