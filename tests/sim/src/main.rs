//! `strandline-sim`: runs seeds, repeats one, or shows that every mutation is caught.
//!
//! Must not know what a run does. Whatever fails is printed with its seed and the command that repeats it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use clap::Parser;
use indicatif::{ProgressBar, ProgressStyle};
use strandline_sim::mutations::{self, Break, Caught};
use strandline_sim::run::{Broken, Report, run};
use tokio::time::Instant;

/// Whole clusters in one thread, from a seed.
#[derive(Debug, Parser)]
#[command(
    name = "strandline-sim",
    after_help = "Examples:
  strandline-sim --seeds 1000              a thousand runs, seeds 0 to 999
  strandline-sim --seed 42                 one run, with everything that happened in it
  strandline-sim --seeds 500 --from 10000  other seeds
  strandline-sim --mutations               every promise broken once: is it noticed?
  strandline-sim --mutations --only ExistsIsSuccess --seeds 50"
)]
struct Args {
    /// How many seeds; with --mutations, how many for each mutation at most.
    #[arg(long, value_name = "N")]
    seeds: Option<u64>,
    /// The first seed.
    #[arg(long, value_name = "S", default_value_t = 0)]
    from: u64,
    /// Run this seed alone and print its history.
    #[arg(long, value_name = "S", conflicts_with_all = ["seeds", "mutations"])]
    seed: Option<u64>,
    /// Break every promise once and see whether it is noticed.
    #[arg(long)]
    mutations: bool,
    /// Break only this one; without --mutations, in the runs of --seed and --seeds.
    #[arg(long, value_name = "MUTATION")]
    only: Option<String>,
    /// Runs side by side.
    #[arg(long, value_name = "N", default_value_t = std::thread::available_parallelism().map_or(1, usize::from))]
    jobs: usize,
    /// Go on after the first failure.
    #[arg(long)]
    keep_going: bool,
}

fn main() -> ExitCode {
    let args = Args::parse();
    let chosen: Vec<_> = mutations::all()
        .into_iter()
        .filter(|one| args.only.as_ref().is_none_or(|only| only.eq_ignore_ascii_case(&one.name)))
        .collect();
    if chosen.is_empty() {
        let names: Vec<_> = mutations::all().into_iter().map(|one| one.name).collect();
        eprintln!("there is no such mutation; there are: {}", names.join(", "));
        return ExitCode::from(2);
    }
    let broken = match args.only {
        Some(_) => chosen[0].broken,
        None => Broken::Nothing,
    };
    match (args.seed, args.mutations) {
        (Some(seed), _) => show(run(seed, broken, true)),
        (None, true) => hunt_all(&args, &chosen),
        (None, false) => run_all(&args, broken),
    }
}

fn show(report: Report) -> ExitCode {
    for line in &report.trace {
        println!("{line}");
    }
    println!(
        "seed {}: {} events, {} simulated, {} records acknowledged, {} read, fingerprint {:016x}",
        report.seed,
        report.events,
        hours(report.simulated),
        report.acked,
        report.read,
        report.fingerprint
    );
    for violation in &report.violations {
        println!("VIOLATION {}: {}", violation.invariant, violation.what);
    }
    ExitCode::from(u8::from(!report.violations.is_empty()))
}

fn hours(simulated: Duration) -> String {
    format!("{:.1} hours", simulated.as_secs_f64() / 3_600.0)
}

fn bar(length: u64) -> ProgressBar {
    let style = ProgressStyle::with_template("{bar:30} {pos}/{len} {msg} {elapsed} (eta {eta})").unwrap();
    ProgressBar::new(length).with_style(style)
}

/// Hands out the numbers from 0 to `count`, one by one, to so many threads; a thread ends when `work` says so.
fn side_by_side(jobs: usize, count: u64, work: impl Fn(u64) -> bool + Sync) {
    let next = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for _ in 0..jobs.max(1) {
            scope.spawn(|| {
                while let number = next.fetch_add(1, Ordering::Relaxed)
                    && number < count
                    && work(number)
                {}
            });
        }
    });
}

fn run_all(args: &Args, broken: Broken) -> ExitCode {
    let count = args.seeds.unwrap_or(100);
    let begun = Instant::now();
    let bar = bar(count);
    let failed = Mutex::new(Vec::new());
    let total = Mutex::new((0, Duration::ZERO, Duration::ZERO, 0, 0));
    side_by_side(args.jobs, count, |number| {
        let report = run(args.from + number, broken, false);
        bar.inc(1);
        {
            let mut total = total.lock().unwrap();
            let (seeds, simulated, at_work, acked, read) = *total;
            let (simulated, at_work) = (simulated + report.simulated, at_work + report.at_work);
            *total = (seeds + 1, simulated, at_work, acked + report.acked, read + report.read);
        }
        if let Some(violation) = report.violations.first() {
            let (seed, invariant, what) = (report.seed, violation.invariant, &violation.what);
            bar.suspend(|| println!("FAILED seed {seed}: {invariant}: {what}"));
            failed.lock().unwrap().push(seed);
        }
        args.keep_going || failed.lock().unwrap().is_empty()
    });
    bar.finish_and_clear();
    let (seeds, simulated, at_work, acked, read) = total.into_inner().unwrap();
    let failed = failed.into_inner().unwrap();
    let seconds = begun.elapsed().as_secs_f64();
    println!(
        "{seeds} seeds from {} in {seconds:.0} s ({:.1} seeds per second): {} simulated, {} of them with clients at work; {acked} records acknowledged, {read} read; {} failed",
        args.from,
        seeds as f64 / seconds,
        hours(simulated),
        hours(at_work),
        failed.len()
    );
    if let Some(seed) = failed.iter().min() {
        println!("repeat it with its history: strandline-sim --seed {seed}");
    }
    ExitCode::from(u8::from(!failed.is_empty()))
}

fn hunt_all(args: &Args, chosen: &[Break]) -> ExitCode {
    let most = args.seeds.unwrap_or(2_000);
    let bar = bar(chosen.len() as u64);
    let found: Mutex<Vec<(usize, Caught)>> = Mutex::default();
    side_by_side(args.jobs, chosen.len() as u64, |number| {
        let caught = mutations::hunt(&chosen[number as usize], args.from, most);
        bar.inc(1);
        found.lock().unwrap().push((number as usize, caught));
        true
    });
    bar.finish_and_clear();
    let mut found = found.into_inner().unwrap();
    found.sort_by_key(|(number, _)| *number);
    println!("{:<24} {:>14} {:<10} first broken promise", "mutation", "caught at seed", "invariant");
    for (_, caught) in &found {
        match &caught.by {
            Some((seed, violation)) => {
                let what: String = violation.what.chars().take(110).collect();
                println!("{:<24} {seed:>14} {:<10} {what}", caught.name, violation.invariant);
            }
            None => println!("{:<24} {:>14} not caught in {} seeds", caught.name, "-", caught.seeds),
        }
    }
    let missed = found.iter().filter(|(_, caught)| caught.by.is_none()).count();
    println!("{} mutations, {missed} not caught", found.len());
    ExitCode::from(u8::from(missed > 0))
}
