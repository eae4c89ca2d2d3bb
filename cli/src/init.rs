//! `strandline init`: makes a bucket, with the settings that a log needs, and looks whether they hold.
//!
//! Must not know how settings are made. Makes no cluster: the first node does. What a store does not offer is said and is no
//! failure; what was refused is one.

use anyhow::{Result, bail};

use crate::args::InitArgs;
use crate::bucket::{Bucket, Found, Setting};
use crate::output;

pub(crate) async fn run(args: InitArgs) -> Result<()> {
    let Some(bucket) = Bucket::of(&args.url, args.collector_roles.clone()).await? else {
        bail!(
            "{} is no bucket on S3: folders and memory need nothing, other clouds have tools of their own",
            args.url
        );
    };
    match (bucket.exists().await?, args.dry_run) {
        (true, _) => output::say(&format!("ok       the bucket {} is there", bucket.name()))?,
        (false, true) => {
            return output::say(&format!(
                "would    make the bucket {}, and all of its settings",
                bucket.name()
            ));
        }
        (false, false) => {
            bucket.create().await?;
            output::say(&format!("made     the bucket {}", bucket.name()))?;
        }
    }
    let mut failed = 0;
    for setting in Setting::ALL {
        let line = match bucket.look(setting).await {
            Found::Drift(why) if args.dry_run => format!("would    {}\n         {why}", setting.rule()),
            Found::Drift(_) => made(&bucket, setting).await,
            found => shown(setting, &found),
        };
        failed += usize::from(line.starts_with("FAILED"));
        output::say(&line)?;
    }
    match failed {
        0 => output::say(&format!("Next: strandline doctor {}", args.url)),
        failed => bail!("{failed} of {} settings do not hold, see above", Setting::ALL.len()),
    }
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
