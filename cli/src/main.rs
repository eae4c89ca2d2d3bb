//! `strandline`, the command line: one node, or one short look at a store with no node at all.
//!
//! Owns the process: allocator, runtime, logs, exit code. Must not know requests or objects; everything it does, a
//! library user can do with the same crates. It never panics on purpose: whatever goes wrong is one sentence on
//! standard error.
//!
//! Modules import only modules that stand after them: the commands, what they are told, what they share.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]
mod serve;
mod table;
mod topic;
mod group;
mod txn;
mod produce;
mod consume;
mod export;
mod bench;
mod doctor;
mod init;
mod inspect;
mod scrub;
mod gc;
mod compact;
mod logs;
mod bucket;
mod args;
mod connect;
mod requests;
mod interrupt;
mod progress;
mod output;
mod units;

use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Parser;

use args::{Cli, Command};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let cli = Cli::parse();
    logs::start(&cli.logs, matches!(cli.command, Command::Serve(_) | Command::Compact(_)));
    output::finish(with_runtime(cli))
}

fn with_runtime(cli: Cli) -> Result<()> {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    if let Command::Scrub(args) = &cli.command {
        // Each thread that reads files keeps some of the memory that its reads were freed from: no more threads than reads.
        builder.max_blocking_threads(args.concurrency as usize);
    }
    let runtime = builder
        .enable_all()
        .build()
        .context("cannot start the threads of the program; raise the limit of processes (ulimit -u)")?;
    let result = runtime.block_on(run(cli));
    // A thread that waits for a line of standard input would hold up a slower end.
    runtime.shutdown_background();
    result
}

async fn run(cli: Cli) -> Result<()> {
    match cli.command {
        Command::Serve(args) => serve::run(args, &cli.logs).await,
        Command::Topic(args) => topic::run(args).await,
        Command::Group(args) => group::run(args).await,
        Command::Txn(args) => txn::run(args).await,
        Command::Table(args) => table::run(args).await,
        Command::Produce(args) => produce::run(args).await,
        Command::Consume(args) => consume::run(args).await,
        Command::Export(args) => export::run(args).await,
        Command::Bench(args) => bench::run(args).await,
        Command::Doctor(args) => doctor::run(args).await,
        Command::Init(args) => init::run(args).await,
        Command::Inspect(args) => inspect::run(args).await,
        Command::Scrub(args) => scrub::run(args).await,
        Command::Gc(args) => gc::run(args).await,
        Command::Compact(args) => compact::run(args).await,
    }
}
