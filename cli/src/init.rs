//! `strandline init`: makes a bucket, with the settings that a log needs, and looks whether they hold.
//!
//! Must not know how settings are made. Makes no cluster: the first node does. What a store does not offer is said and is no
//! failure; what was refused is one.

use anyhow::{Result, bail};

use crate::args::InitArgs;
use crate::bucket::{Bucket, Found, Setting};
use crate::output;

pub(crate) async fn run(args: InitArgs) -> Result<()> {
    let Some(mut bucket) = Bucket::of(&args.url, args.collector_roles.clone()).await? else {
        bail!(
            "{} is no bucket on S3: folders and memory need nothing, other clouds have tools of their own",
            args.url
        );
    };
    let was_there = bucket.exists().await?;
    if !was_there && args.dry_run {
        return output::say(&format!("would    make the bucket {}, and all of its settings", bucket.name()));
    }
    if !was_there {
        bucket.create().await?;
    }
    let said = if was_there { "ok       the bucket" } else { "made     the bucket" };
    output::say(&format!("{said} {}", bucket.name()))?;
    if !was_there || args.whole_bucket {
        bucket.take_whole();
    }
    settings(&bucket, was_there && !args.whole_bucket, args.dry_run).await?;
    output::say(&format!("Next: strandline doctor {}", args.url))
}

/// Makes each setting that is not as it should be. In a bucket that is `shared`, those that hold for all of it stay.
async fn settings(bucket: &Bucket, shared: bool, dry_run: bool) -> Result<()> {
    let (mut failed, mut left) = (0, 0);
    for setting in Setting::ALL {
        let line = match bucket.look(setting).await {
            Found::Drift(why) if shared && setting.is_of_all() => {
                left += 1;
                shown(setting, &Found::Drift(why))
            }
            Found::Drift(why) if dry_run => format!("would    {}\n         {why}", setting.rule()),
            Found::Drift(_) => made(bucket, setting).await,
            found => shown(setting, &found),
        };
        failed += usize::from(line.starts_with("FAILED") || line.starts_with("unknown"));
        output::say(&line)?;
    }
    if left > 0 {
        output::say(
            "The bucket was there before, and others may have something in it: what holds for all of it is left as it is.\n\
             With --whole-bucket it is set, too.",
        )?;
    }
    if failed > 0 {
        bail!("{failed} of {} settings do not hold or cannot be seen, see above", Setting::ALL.len());
    }
    Ok(())
}

/// Makes a setting, and looks whether it holds.
async fn made(bucket: &Bucket, setting: Setting) -> String {
    match bucket.set(setting).await {
        Err(Found::Unknown(why)) => {
            format!("FAILED   {}\n         it cannot be made so: {why}", setting.rule())
        }
        Err(found) => shown(setting, &found),
        Ok(()) => match bucket.look(setting).await {
            Found::Good => format!("made     {}", setting.rule()),
            _ => format!("FAILED   {}\n         the store took it, and it does not hold", setting.rule()),
        },
    }
}

/// A setting as it was found.
pub(crate) fn shown(setting: Setting, found: &Found) -> String {
    let rule = setting.rule();
    match found {
        Found::Good => format!("ok       {rule}"),
        Found::Drift(why) => format!("DRIFT    {rule}\n         {why}"),
        Found::Warning(why) => format!("careful  {rule}\n         {why}"),
        Found::Harm(why) => format!("FAILED   {rule}\n         {why}"),
        Found::NotOffered => format!("-        {rule}\n         this store has no such setting"),
        Found::Unknown(why) => format!("unknown  {rule}\n         {why}"),
    }
}
