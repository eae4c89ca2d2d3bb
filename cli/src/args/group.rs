//! What may be typed after `strandline group`.
//!
//! Must not know what becomes of it. Of the ways to say where a group is to go on, exactly one is taken.

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::{ArgGroup, Args, Subcommand};
use strandline_gateway::moment_ms;

use super::StoreArg;
use crate::output::Format;
use crate::units;

const GROUP_EXAMPLES: &str = "\
Examples:
  strandline group list --store s3://bucket/prefix
  strandline group describe billing
  strandline group reset-offsets billing --topic orders --to-earliest
  strandline group reset-offsets billing --topic orders:0,3 --shift-by -100 --execute
  strandline group delete billing --yes";

/// `group`
#[derive(Debug, Args)]
#[command(after_help = GROUP_EXAMPLES)]
pub(crate) struct GroupArgs {
    #[command(flatten)]
    pub(crate) store: StoreArg,
    /// Form of the output
    #[arg(long, value_name = "FORMAT", default_value = "text", global = true)]
    pub(crate) format: Format,
    #[command(subcommand)]
    pub(crate) command: GroupCommand,
}

/// `group ...`
#[derive(Debug, Subcommand)]
pub(crate) enum GroupCommand {
    /// List all groups
    List,
    /// Show how far a group has read, and who its members are
    Describe {
        /// Name
        name: String,
    },
    /// Let a group without members go on from elsewhere; shows what would change until --execute is given
    ResetOffsets(ResetArgs),
    /// Delete a group without members and all its committed offsets
    Delete {
        /// Name
        name: String,
        /// Do not ask
        #[arg(long, short)]
        yes: bool,
    },
}

const RESET_EXAMPLES: &str = "\
Examples:
  strandline group reset-offsets billing --topic orders --to-earliest
  strandline group reset-offsets billing --topic orders:0,3 --to-offset 1000 --execute
  strandline group reset-offsets billing --all-topics --to-datetime 2026-07-01T12:00:00Z
  strandline group reset-offsets billing --all-topics --by-duration 2h --execute
  strandline group reset-offsets billing --all-topics --to-latest --to-file plan.csv
  strandline group reset-offsets billing --from-file plan.csv --execute

Nothing changes without --execute. The group must have no members: stop its
consumers first. An offset that lies outside of a partition becomes its first or
its next one.";

/// `group reset-offsets`
#[derive(Debug, Args)]
#[command(
    after_help = RESET_EXAMPLES,
    group = ArgGroup::new("target").required(true),
    group = ArgGroup::new("scope").multiple(true),
    group = ArgGroup::new("mode"),
)]
pub(crate) struct ResetArgs {
    /// The group; it is made if it is not there
    pub(crate) name: String,
    /// A topic, or partitions of one; may be given several times
    #[arg(long = "topic", value_name = "TOPIC[:N,N...]", group = "scope")]
    pub(crate) topics: Vec<TopicPartitions>,
    /// All topics for which the group has committed offsets
    #[arg(long, group = "scope", conflicts_with = "topics")]
    pub(crate) all_topics: bool,
    /// To the first record that is there
    #[arg(long, group = "target", requires = "scope")]
    to_earliest: bool,
    /// After the last record
    #[arg(long, group = "target", requires = "scope")]
    to_latest: bool,
    /// To this offset
    #[arg(
        long,
        value_name = "N",
        group = "target",
        requires = "scope",
        value_parser = clap::value_parser!(i64).range(0..),
    )]
    to_offset: Option<i64>,
    /// Forward by so many offsets from where the group stands, or back, if the number is negative
    #[arg(long, value_name = "N", group = "target", requires = "scope", allow_hyphen_values = true)]
    shift_by: Option<i64>,
    /// To the first record of this moment or a later one: milliseconds since 1970, or 2026-07-01T12:00:00Z
    #[arg(
        long,
        value_name = "MOMENT",
        group = "target",
        requires = "scope",
        value_parser = moment_ms,
    )]
    to_datetime: Option<i64>,
    /// To the first record that is not older than this: 90s, 30min, 2h, 7d
    #[arg(long, value_name = "TIME", group = "target", requires = "scope", value_parser = units::age)]
    by_duration: Option<Duration>,
    /// To what this file says: a line `topic,partition,offset` for each partition
    #[arg(long, value_name = "FILE", group = "target", conflicts_with = "scope")]
    from_file: Option<PathBuf>,
    /// Write the new offsets to a file that --from-file reads
    #[arg(long, value_name = "FILE")]
    pub(crate) to_file: Option<PathBuf>,
    /// Only show what would change; so it is unless --execute is given
    #[arg(long, group = "mode")]
    pub(crate) dry_run: bool,
    /// Change the offsets
    #[arg(long, group = "mode")]
    pub(crate) execute: bool,
}

/// Where a group is to go on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Target {
    /// At the first record.
    Earliest,
    /// After the last one.
    Latest,
    /// At this offset.
    Offset(i64),
    /// So many offsets further.
    Shift(i64),
    /// At the first record of this time (milliseconds) or a later one.
    Time(i64),
    /// At the first record that is not older.
    Age(Duration),
    /// Where a file says.
    File(PathBuf),
}

impl ResetArgs {
    /// The one that was given; `None` never comes out of a command line that was taken.
    pub(crate) fn target(&self) -> Option<Target> {
        let flag = |given: bool, target: Target| given.then_some(target);
        flag(self.to_earliest, Target::Earliest)
            .or(flag(self.to_latest, Target::Latest))
            .or(self.to_offset.map(Target::Offset))
            .or(self.shift_by.map(Target::Shift))
            .or(self.to_datetime.map(Target::Time))
            .or(self.by_duration.map(Target::Age))
            .or(self.from_file.clone().map(Target::File))
    }
}

/// A topic, and which of its partitions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TopicPartitions {
    /// Its name.
    pub(crate) topic: String,
    /// Empty: all.
    pub(crate) partitions: Vec<u32>,
}

impl FromStr for TopicPartitions {
    type Err = String;

    fn from_str(text: &str) -> Result<TopicPartitions, String> {
        let wrong = || "write a topic, or a topic and partitions such as orders:0,3".to_owned();
        let (topic, numbers) = text.split_once(':').map_or((text, None), |(topic, rest)| (topic, Some(rest)));
        let numbers = numbers.map(|numbers| numbers.split(',').map(|number| number.trim().parse()).collect());
        let partitions = numbers.unwrap_or(Ok(Vec::new())).map_err(|_: std::num::ParseIntError| wrong())?;
        match topic.is_empty() {
            true => Err(wrong()),
            false => Ok(TopicPartitions { topic: topic.to_owned(), partitions }),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::super::{Cli, Command};
    use super::*;

    fn reset(flags: &str) -> Result<ResetArgs, clap::Error> {
        let words = ["strandline", "group", "reset-offsets", "g"].into_iter().chain(flags.split_whitespace());
        Cli::try_parse_from(words).map(|cli| match cli.command {
            Command::Group(GroupArgs { command: GroupCommand::ResetOffsets(args), .. }) => args,
            other => panic!("{flags}: {other:?}"),
        })
    }

    #[test]
    fn one_target_is_taken() {
        for (flags, target) in [
            ("--topic t --to-earliest", Target::Earliest),
            ("--all-topics --to-latest", Target::Latest),
            ("--topic t --to-offset 5", Target::Offset(5)),
            ("--topic t --shift-by -5", Target::Shift(-5)),
            ("--topic t --to-datetime 1970-01-01T00:00:01Z", Target::Time(1_000)),
            ("--topic t --by-duration 7d", Target::Age(Duration::from_secs(604_800))),
            ("--topic t --by-duration 1.5h", Target::Age(Duration::from_secs(5_400))),
            ("--from-file f", Target::File(PathBuf::from("f"))),
        ] {
            let args = reset(flags).unwrap();
            assert_eq!((args.target(), args.execute), (Some(target), false), "{flags}");
        }
    }

    #[test]
    fn what_is_said_twice_or_not_at_all_is_refused() {
        for flags in [
            "",
            "--topic t",
            "--to-earliest",
            "--topic t --to-earliest --to-latest",
            "--topic t --all-topics --to-latest",
            "--topic t --to-offset -1",
            "--topic t --to-datetime soon",
            "--topic t --by-duration 7",
            "--topic t --by-duration -1d",
            "--topic t --to-latest --dry-run --execute",
            "--topic t --from-file f",
            "--topic :1 --to-latest",
            "--topic t: --to-latest",
            "--topic t:1,x --to-latest",
            "--topic t:-1 --to-latest",
        ] {
            assert_eq!(reset(flags).err().map(|e| e.exit_code()), Some(2), "{flags}");
        }
    }

    #[test]
    fn topics_may_name_partitions() {
        let args = reset("--topic t:0,3 --topic u --to-latest").unwrap();
        let of = |topic: &str, partitions| TopicPartitions { topic: topic.to_owned(), partitions };
        assert_eq!(args.topics, [of("t", vec![0, 3]), of("u", vec![])]);
    }
}
