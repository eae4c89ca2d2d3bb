//! What a command says: tables and JSON on standard output, one sentence on standard error when it fails.
//!
//! Must not know commands. Nothing here panics when the other end of a pipe is gone: that ends the program quietly.

use std::fmt;
use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::ValueEnum;
use serde::Serialize;

/// For people or for programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    // Plain comments, since the help would show others at every flag. Lines and tables:
    Text,
    // One value, or one a line:
    Json,
}

/// The most that an error sentence is long: an error page of a store can have any length.
const MAX_SENTENCE_CHARS: usize = 440;

/// A failure that ends the program with an exit code of its own. It stands at the head of its chain of causes.
#[derive(Debug)]
pub(crate) struct Coded {
    /// Not 0; 2 is a command line that makes no sense.
    pub(crate) code: u8,
    /// The beginning of the sentence.
    pub(crate) said: String,
}

impl fmt::Display for Coded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.said)
    }
}

impl std::error::Error for Coded {}

/// The exit code; a failure is said first.
pub(crate) fn finish(result: Result<()>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            note(&format!("strandline: {}", sentence(&error)));
            error.downcast_ref().map_or(ExitCode::FAILURE, |coded: &Coded| ExitCode::from(coded.code))
        }
    }
}

/// A line on standard error, where it never gets between the records.
pub(crate) fn note(text: &str) {
    // Nobody reads it: then nobody misses it.
    let _ = writeln!(io::stderr(), "{text}");
}

/// Lines on standard output.
pub(crate) fn say(text: &str) -> Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{}", text.trim_end_matches('\n'))
        .and_then(|()| out.flush())
        .context("cannot write to standard output")
}

/// A value as indented JSON on standard output.
pub(crate) fn say_json(value: &impl Serialize) -> Result<()> {
    say(&serde_json::to_string_pretty(value)?)
}

/// Whether somebody looks at standard error.
pub(crate) fn is_watched() -> bool {
    io::stderr().is_terminal()
}

/// Columns as wide as their widest cell, two spaces between them. Numbers stand right.
pub(crate) fn table(head: &[&str], rows: &[Vec<String>]) -> String {
    let is_number = |cell: &str| cell.starts_with(|c: char| c.is_ascii_digit() || c == '-' || c == '$');
    let column = |at: usize| rows.iter().filter_map(move |row| row.get(at));
    let shape: Vec<(usize, bool)> = head
        .iter()
        .enumerate()
        .map(|(at, title)| {
            let width =
                column(at).map(|cell| cell.chars().count()).max().unwrap_or(0).max(title.chars().count());
            (width, !rows.is_empty() && column(at).all(|cell| is_number(cell)))
        })
        .collect();
    let line = |cells: Vec<&str>| {
        let padded = cells.iter().zip(&shape).map(|(cell, (width, right))| match right {
            true => format!("{cell:>width$}"),
            false => format!("{cell:<width$}"),
        });
        padded.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    let mut lines = vec![line(head.to_vec())];
    lines.extend(rows.iter().map(|row| line(row.iter().map(String::as_str).collect())));
    lines.join("\n")
}

/// An error and its causes as one sentence: nothing said twice, no page of a server's, no line breaks.
pub(crate) fn sentence(error: &anyhow::Error) -> String {
    let mut said = String::new();
    for cause in error.chain() {
        let cause = plain(&cause.to_string());
        let cause = cause.trim_end_matches(['.', ':', ' ']);
        if said.is_empty() {
            said.push_str(cause);
        } else if !said.contains(cause) {
            said.push_str(": ");
            said.push_str(cause);
        }
    }
    match said.char_indices().nth(MAX_SENTENCE_CHARS) {
        None => said,
        Some((end, _)) => format!("{}…", said.get(..end).unwrap_or_default()),
    }
}

/// Text on one line, with the XML or HTML that a store answered cut down to what it says.
pub(crate) fn plain(text: &str) -> String {
    let pages = ["<?xml", "<Error>", "<!DOCTYPE", "<html", "<HTML"];
    let Some(start) = pages.iter().filter_map(|page| text.find(page)).min() else { return one_line(text) };
    let (before, page) = text.split_at(start);
    let (said, after) = page.split_at(page.rfind('>').map_or(page.len(), |end| end + 1));
    let said = element(said, "Message")
        .or_else(|| element(said, "title"))
        .unwrap_or("the store sent a page of its own");
    one_line(&format!("{before}{said}{after}"))
}

fn element<'a>(page: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = page.split_once(&format!("<{name}>"))?;
    rest.split_once(&format!("</{name}>")).map(|(inside, _)| inside)
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Whether the reader of our output went away, as `head` does when it has seen enough.
fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let broken = |cause: &io::Error| cause.kind() == io::ErrorKind::BrokenPipe;
    error.chain().any(|cause| {
        cause.downcast_ref::<io::Error>().is_some_and(broken)
            || cause
                .downcast_ref::<serde_json::Error>()
                .is_some_and(|e| e.io_error_kind() == Some(io::ErrorKind::BrokenPipe))
    })
}

/// Asks whether `name` is to be deleted with its content.
pub(crate) fn confirm_deletion(name: &str, content: &str) -> Result<()> {
    confirm(&format!("delete {name} with {content}"), "nothing was deleted")
}

/// Asks whoever sits at the terminal whether to do it; a script has to say so beforehand.
pub(crate) fn confirm(what: &str, otherwise: &str) -> Result<()> {
    if !io::stdin().is_terminal() {
        bail!("{otherwise}: without a terminal to ask at, say --yes to {what}");
    }
    let mut asked = io::stderr();
    write!(asked, "{what}? [y/N] ").and_then(|()| asked.flush())?;
    let mut answer = String::new();
    io::stdin().read_line(&mut answer)?;
    if !matches!(answer.trim(), "y" | "Y" | "yes") {
        bail!("{otherwise}");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn causes_are_said_once() {
        let inner = anyhow::anyhow!("connection refused");
        let error = inner.context("cannot reach it: connection refused").context("cannot open\n  the store");
        assert_eq!(sentence(&error), "cannot open the store: cannot reach it: connection refused");
    }

    #[test]
    fn a_page_of_the_store_becomes_its_message() {
        let text = "403 Forbidden: <?xml version=\"1.0\"?>\n<Error><Code>X</Code><Message>Wrong key.</Message></Error> (retry)";
        assert_eq!(plain(text), "403 Forbidden: Wrong key. (retry)");
        assert_eq!(plain("502: <html><title>Bad gateway</title></html>"), "502: Bad gateway");
    }

    #[test]
    fn a_long_error_is_cut() {
        let long = sentence(&anyhow::anyhow!("ö".repeat(5_000)));
        assert_eq!(long.chars().count(), MAX_SENTENCE_CHARS + 1);
    }

    #[test]
    fn a_closed_pipe_is_no_failure() {
        let broken = anyhow::Error::from(io::Error::from(io::ErrorKind::BrokenPipe)).context("cannot write");
        assert!(is_broken_pipe(&broken));
        assert!(!is_broken_pipe(&anyhow::anyhow!("something else")));
    }

    #[test]
    fn columns_line_up() {
        let rows = [vec!["orders".to_owned(), "12".to_owned()], vec!["a".to_owned(), "3".to_owned()]];
        assert_eq!(
            table(&["NAME", "PARTITIONS"], &rows),
            "NAME    PARTITIONS\norders          12\na                3"
        );
    }
}
