//! The rules of the house as a test: imports point right, files and functions stay small, every file says what it owns.
//!
//! Owns no rule about behaviour. Reads the sources as text; `rustfmt` has laid them out, so that a function ends where its
//! first line's indentation comes again.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Crates, and which of ours each may use: `cli -> gateway -> {kafka, ingest, reader} -> core`, `{cli, gateway, reader} -> archive -> core`,
/// `cli -> compactor -> {archive, core}`.
const CRATES: [(&str, &[&str]); 11] = [
    ("core", &[]),
    ("archive", &["core"]),
    ("kafka", &[]),
    ("ingest", &["core"]),
    ("reader", &["archive", "core"]),
    ("compactor", &["archive", "core"]),
    ("gateway", &["kafka", "ingest", "reader", "archive", "core"]),
    ("cli", &["gateway", "compactor", "ingest", "reader", "archive", "core"]),
    ("tests/sim", &["gateway", "kafka", "ingest", "reader", "compactor", "archive", "core"]),
    ("tests/model", &[]),
    ("tests/fuzz", &["kafka", "reader", "archive", "core"]),
];
const MAX_FILE_LINES: usize = 500;
const MAX_FUNCTION_LINES: usize = 70;
const BANNED: [&str; 5] = ["todo!(", "unimplemented!(", "dbg!(", "FIXME", "XXX"];

struct Source {
    /// From the repository's root.
    name: String,
    /// Below the crate's `src`: `["manifest", "journal"]` for `manifest/journal.rs`.
    modules: Vec<String>,
    text: String,
}

/// Where the simulation must be able to repeat and to stop everything.
fn below_the_command_line(source: &&Source) -> bool {
    !source.name.starts_with("cli/") && !source.name.starts_with("tests/")
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn sources(krate: &str) -> Vec<Source> {
    let src = root().join(krate).join("src");
    let mut folders = vec![src.clone()];
    let mut found = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == "rs") {
                let below = path.strip_prefix(&src).unwrap().with_extension("");
                let modules = below.iter().map(|part| part.to_str().unwrap().to_owned()).collect();
                let name = path.strip_prefix(root()).unwrap().display().to_string();
                found.push(Source { name, modules, text: fs::read_to_string(&path).unwrap() });
            }
        }
    }
    found.sort_by(|a, b| a.name.cmp(&b.name));
    found
}

fn all_sources() -> Vec<Source> {
    CRATES.iter().flat_map(|(krate, _)| sources(krate)).collect()
}

fn is_test(source: &Source) -> bool {
    source.modules.iter().any(|module| module == "tests" || module == "testing")
}

/// The modules that a file declares, in order.
fn declared(text: &str) -> Vec<String> {
    let module = |line: &str| {
        let line = line
            .strip_prefix("pub(crate) ")
            .or(line.strip_prefix("pub(super) "))
            .or(line.strip_prefix("pub "))
            .unwrap_or(line);
        line.strip_prefix("mod ")?.strip_suffix(';').map(str::to_owned)
    };
    text.lines().filter_map(module).collect()
}

fn report(what: &str, broken: &[String]) {
    assert!(broken.is_empty(), "{what}:\n  {}", broken.join("\n  "));
}

#[test]
fn crates_depend_only_to_the_right() {
    let mut broken = Vec::new();
    for (krate, allowed) in CRATES {
        let manifest = fs::read_to_string(root().join(krate).join("Cargo.toml")).unwrap();
        for line in manifest.lines().filter(|line| line.starts_with("strandline-")) {
            let other = line.trim_start_matches("strandline-").split(['.', ' ', '=']).next().unwrap();
            if !allowed.contains(&other) {
                broken.push(format!("{krate} must not depend on {other}"));
            }
        }
    }
    report("the order of crates is cli -> gateway -> {kafka, ingest, reader} -> core", &broken);
}

/// Words after `prefix` in the code of `text`: `crate::error::Error` gives `error` for `crate::`.
fn paths_after<'a>(text: &'a str, prefix: &'a str) -> impl Iterator<Item = &'a str> {
    let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
    code.flat_map(move |line| line.match_indices(prefix).map(move |(at, _)| &line[at + prefix.len()..]))
        .flat_map(|rest| {
            let list = rest.strip_prefix('{').map(|rest| rest.split('}').next().unwrap_or_default());
            let words: Vec<&str> = match list {
                Some(list) => list.split(',').map(str::trim).collect(),
                None => vec![rest],
            };
            words
                .into_iter()
                .map(|word| word.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap_or_default())
                .collect::<Vec<_>>()
        })
}

#[test]
fn modules_import_only_modules_listed_after_them() {
    let mut broken = Vec::new();
    for (krate, _) in CRATES {
        let sources = sources(krate);
        let lists: BTreeMap<Vec<String>, Vec<String>> = sources
            .iter()
            .map(|source| match source.modules.as_slice() {
                [root] if root == "lib" || root == "main" => (Vec::new(), declared(&source.text)),
                path => (path.to_vec(), declared(&source.text)),
            })
            .collect();
        for source in sources.iter().filter(|source| !is_test(source)) {
            for depth in 0..source.modules.len() {
                let (parents, below) = source.modules.split_at(depth);
                let Some(order) = lists.get(parents) else { continue };
                let Some(own) = order.iter().position(|module| *module == below[0]) else { continue };
                let prefix = match depth {
                    0 => "crate::".to_owned(),
                    _ => format!("crate::{}::", parents.join("::")),
                };
                let sibling = (below.len() == 1 && depth > 0).then(|| "super::".to_owned());
                for prefix in std::iter::once(prefix).chain(sibling) {
                    for word in paths_after(&source.text, &prefix) {
                        if order.iter().position(|module| module == word).is_some_and(|other| other < own) {
                            broken
                                .push(format!("{}: {prefix}{word} stands before {}", source.name, below[0]));
                        }
                    }
                }
            }
        }
    }
    report("a module imports only modules that its parent lists after it", &broken);
}

#[test]
fn every_file_says_what_it_owns() {
    let silent = |source: &Source| !source.text.starts_with("//!") && !is_test(source);
    let broken: Vec<_> =
        all_sources().iter().filter(|source| silent(source)).map(|source| source.name.clone()).collect();
    report("files without a header", &broken);
}

#[test]
fn files_and_functions_stay_small() {
    let mut broken = Vec::new();
    for source in all_sources() {
        let code = source
            .text
            .lines()
            .filter(|line| !line.trim().is_empty() && !line.trim_start().starts_with("//"))
            .count();
        if code > MAX_FILE_LINES {
            broken.push(format!("{}: {code} lines of code, at most {MAX_FILE_LINES}", source.name));
        }
        for (name, lines) in functions(&source.text) {
            if lines > MAX_FUNCTION_LINES {
                broken
                    .push(format!("{}: {name} has {lines} lines, at most {MAX_FUNCTION_LINES}", source.name));
            }
        }
    }
    report("too long", &broken);
}

/// Each function's first line and its number of lines.
fn functions(text: &str) -> Vec<(String, usize)> {
    let mut found = Vec::new();
    let mut open: Vec<(usize, String, usize)> = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let indent = line.len() - line.trim_start().len();
        let code = line.trim_start();
        if open.last().is_some_and(|(at, ..)| *at == indent && code.starts_with('}')) {
            let (_, name, from) = open.pop().unwrap();
            found.push((name, number - from + 1));
        }
        let head = code
            .trim_start_matches("pub ")
            .trim_start_matches("pub(crate) ")
            .trim_start_matches("pub(super) ");
        let head = head.trim_start_matches("const ").trim_start_matches("async ");
        if head.starts_with("fn ") && !code.ends_with('}') && !code.ends_with(';') {
            open.push((indent, head.split(['(', '<']).next().unwrap().to_owned(), number));
        }
    }
    found
}

/// The fold and all that it is made of: what any node must compute alike.
const FOLD: [&str; 22] = [
    "core/src/manifest/state.rs",
    "core/src/manifest/state/topics.rs",
    "core/src/manifest/state/transactions.rs",
    "core/src/manifest/state/transactions/pending.rs",
    "core/src/manifest/state/groups.rs",
    "core/src/manifest/state/history.rs",
    "core/src/manifest/state/partition.rs",
    "core/src/manifest/state/extents.rs",
    "core/src/manifest/state/producers.rs",
    "core/src/manifest/state/rules.rs",
    "core/src/manifest/commit.rs",
    "core/src/manifest/commit/history.rs",
    "core/src/manifest/commit/transaction.rs",
    "core/src/manifest/commit/group.rs",
    "core/src/manifest/commit/wire.rs",
    "core/src/manifest/commit/wire/history.rs",
    "core/src/manifest/commit/wire/transaction.rs",
    "core/src/manifest/commit/wire/group.rs",
    "core/src/manifest/checkpoint.rs",
    "core/src/manifest/checkpoint/partition.rs",
    "core/src/manifest/checkpoint/transactions.rs",
    "core/src/manifest/checkpoint/groups.rs",
];

/// Clippy bans clocks, dice and hash order outside `core::env` (clippy.toml); the fold may not even ask `env`.
#[test]
fn the_fold_knows_neither_time_nor_chance() {
    let mut broken = Vec::new();
    for name in FOLD {
        let text = fs::read_to_string(root().join(name)).unwrap();
        let code =
            text.lines().filter(|line| !line.trim_start().starts_with("//") && !line.contains("derive("));
        let words: Vec<_> =
            code.flat_map(|line| line.split(|c: char| !c.is_alphanumeric() && c != '_')).collect();
        for word in ["tokio", "env", "Env", "HashMap", "HashSet", "Hash", "Instant", "SystemTime", "rand"] {
            if words.contains(&word) {
                broken.push(format!("{name} speaks of {word}"));
            }
        }
    }
    report("the fold is pure", &broken);
}

/// An unbiased `select!` throws dice of its own, and a run could not be repeated from its seed.
#[test]
fn every_select_is_biased_below_the_command_line() {
    let mut broken = Vec::new();
    for source in all_sources().iter().filter(below_the_command_line) {
        let lines: Vec<_> = source.text.lines().collect();
        for (number, pair) in lines.windows(2).enumerate() {
            if pair[0].contains("select! {") && pair[1].trim() != "biased;" {
                broken.push(format!("{}:{}", source.name, number + 1));
            }
        }
    }
    report("select! without `biased;`", &broken);
}

/// A task that the simulation could neither pause nor end would outlive its process.
#[test]
fn tasks_are_spawned_through_env_below_the_command_line() {
    let mut broken = Vec::new();
    let below = |source: &&Source| below_the_command_line(source) && !source.name.starts_with("core/src/env");
    for source in all_sources().iter().filter(below).filter(|source| !is_test(source)) {
        for (number, line) in source.text.lines().enumerate() {
            if line.contains("tokio::spawn(") || line.contains("task::spawn(") {
                broken.push(format!("{}:{}", source.name, number + 1));
            }
        }
    }
    report("tokio::spawn in place of core::env::spawn", &broken);
}

#[test]
fn nothing_is_left_for_later() {
    let mut broken = Vec::new();
    for source in all_sources() {
        for (number, line) in source.text.lines().enumerate() {
            if BANNED.iter().any(|word| line.contains(word)) {
                broken.push(format!("{}:{}: {}", source.name, number + 1, line.trim()));
            }
        }
    }
    report("leftovers", &broken);
}
