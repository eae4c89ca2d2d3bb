//! Retries, metering, URLs.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::ops::ControlFlow;

use super::*;
use crate::error::Kind;
use crate::limits::SLOT_ATTEMPT;
use crate::testing::{Bucket, Machine, PutFault, Rates, for_seeds_paused};

fn body() -> Rope {
    Rope::from(bytes::Bytes::from_static(b"body"))
}

fn machine() -> Machine {
    Machine::new(&Bucket::new(), 1)
}

/// A listing that fails in the middle goes on behind what it has shown; whoever has seen enough ends it.
#[test]
fn a_listing_shows_every_object_once() {
    for_seeds_paused(50, |seed| async move {
        let machine = Machine::new(&Bucket::new(), seed);
        let keys: Vec<_> = (10..30).map(|n| format!("folder/{n}")).collect();
        for key in keys.iter().map(String::as_str).chain(["elsewhere/1", "folder2/1"]) {
            machine.store.put(key, &body()).await.unwrap();
        }
        machine.faults.set_rates(Rates { get_refused: 500, ..Rates::default() });
        for enough in [7, 20, 99] {
            let mut shown = Vec::new();
            let listed = machine.store.list_each("folder", |found| {
                shown.push(found.key);
                if shown.len() == enough { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            });
            listed.await.unwrap();
            assert_eq!(shown, keys[..enough.min(keys.len())]);
        }
    });
}

/// Every attempt is a request that is asked for, counted and priced.
#[tokio::test(start_paused = true)]
async fn retries_end() {
    let machine = machine();
    let store = &machine.store;
    machine.faults.set_rates(Rates { refused: 1_000, get_refused: 1_000, ..Rates::default() });
    let attempts = |machine: &Machine| machine.faults.take_log().len() as u32;
    assert_eq!(store.put("k", &body()).await.unwrap_err().kind(), Kind::Unavailable);
    assert_eq!(attempts(&machine), STORE_ATTEMPTS);
    assert_eq!(store.create("k", &body()).await.unwrap_err().kind(), Kind::Unavailable);
    assert_eq!(attempts(&machine), STORE_ATTEMPTS);
    assert_eq!(store.get("k").await.unwrap_err().kind(), Kind::Unavailable);
    assert_eq!(attempts(&machine), STORE_ATTEMPTS);
    assert_eq!(store.list("", 9).await.unwrap_err().kind(), Kind::Unavailable);
    assert_eq!(attempts(&machine), STORE_ATTEMPTS);
    // The journal's own requests are never repeated here.
    assert!(matches!(store.create_once("k", &body(), SLOT_ATTEMPT).await, Err(NotCreated::Unclear(_))));
    assert_eq!(store.get_once("k", SLOT_ATTEMPT).await.unwrap_err().kind(), Kind::Unavailable);
    assert_eq!(attempts(&machine), 2);
}

/// A store that never answers: a write is unknown, a read may simply be asked again; neither waits for ever.
#[tokio::test(start_paused = true)]
async fn silence_ends() {
    let machine = machine();
    let store = &machine.store;
    machine.faults.set_rates(Rates { hang: 1_000, get_hang: 1_000, ..Rates::default() });
    assert_eq!(store.put("k", &body()).await.unwrap_err().kind(), Kind::Unknown);
    assert_eq!(store.get("k").await.unwrap_err().kind(), Kind::Unavailable);
    assert!(matches!(
        store.create_once("k", &body(), SLOT_ATTEMPT).await,
        Err(NotCreated::Unclear(Error::Unknown(_)))
    ));
    assert_eq!(store.get_once("k", SLOT_ATTEMPT).await.unwrap_err().kind(), Kind::Unavailable);
}

#[tokio::test(start_paused = true)]
async fn final_answers_are_not_asked_again() {
    let machine = machine();
    let store = &machine.store;
    assert_eq!(store.get("k").await.unwrap_err().kind(), Kind::NotFound);
    machine.faults.set_denied(true);
    assert_eq!(store.get("k").await.unwrap_err().kind(), Kind::Denied);
    assert_eq!(store.put("k", &body()).await.unwrap_err().kind(), Kind::Denied);
    machine.faults.set_denied(false);
    assert!(store.create("k", &body()).await.unwrap());
    assert!(!store.create("k", &Rope::default()).await.unwrap());
    assert!(matches!(store.create_once("k", &body(), SLOT_ATTEMPT).await, Err(NotCreated::Exists)));
    assert_eq!(machine.faults.take_log().len(), 6);
    assert_eq!(store.get("k").await.unwrap().to_bytes(), "body");
    assert_eq!(store.get_range("k", 1..3).await.unwrap().to_bytes(), "od");
    assert_eq!(store.get_range("k", 1..99).await.unwrap().to_bytes(), "ody");
    store.delete("k").await.unwrap();
    store.delete("k").await.unwrap();
    assert_eq!(store.get("k").await.unwrap_err().kind(), Kind::NotFound);
}

/// A create that was applied although it failed says "there is something": whoever asked must look.
#[tokio::test(start_paused = true)]
async fn a_create_that_meets_itself_says_so() {
    let machine = machine();
    machine.faults.set_script([PutFault::AnswerLost]);
    assert!(!machine.store.create("journal/k", &body()).await.unwrap());
    assert_eq!(machine.store.get("journal/k").await.unwrap().to_bytes(), "body");
}

#[tokio::test(start_paused = true)]
async fn keys_lie_below_the_prefix() {
    let objects = Arc::new(object_store::memory::InMemory::new());
    let store = |prefix: &str| {
        let prefix = Path::parse(prefix).unwrap();
        Store::new(Arc::clone(&objects) as _, prefix, Provider::Memory, "memory:", Env::system())
    };
    for prefix in ["", "a", "a/b"] {
        store(prefix).put("journal/1", &body()).await.unwrap();
        let listed = store(prefix).list("journal", 9).await.unwrap();
        let listed: Vec<_> = listed.iter().map(|found| (found.key.as_str(), found.size)).collect();
        assert_eq!(listed, [("journal/1", 4)], "{prefix:?}");
    }
    let mut all: Vec<_> = store("").list("", 9).await.unwrap().into_iter().map(|found| found.key).collect();
    all.sort();
    assert_eq!(all, ["a/b/journal/1", "a/journal/1", "journal/1"]);
    assert_eq!(store("").list("", 2).await.unwrap().len(), 2);
}

/// The meter is one for the whole process: only this test's folder is looked at.
#[tokio::test(start_paused = true)]
async fn requests_are_counted_and_priced() {
    let count = |kind: &str| metrics::REQUESTS.with_label_values(&[kind, "metered"]).get();
    let priced = Store::new(
        Arc::new(object_store::memory::InMemory::new()),
        Path::default(),
        Provider::S3,
        "s3://b",
        Env::system(),
    );
    assert!(priced.charges());
    let cost = metrics::COST_TOTAL.get();
    priced.put("metered/k", &body()).await.unwrap();
    priced.create("metered/k", &body()).await.unwrap();
    priced.get("metered/k").await.unwrap();
    assert!(priced.get("metered/none").await.is_err());
    priced.list("metered", 9).await.unwrap();
    priced.delete("metered/k").await.unwrap();
    assert_eq!(["put", "get", "list", "delete"].map(count), [2, 2, 1, 1]);
    let expected = 3.0 * 5.0e-6 + 2.0 * 0.4e-6;
    assert!(
        (metrics::COST_TOTAL.get() - cost - expected).abs() < 1e-9,
        "{}",
        metrics::COST_TOTAL.get() - cost
    );
}

#[test]
fn good_urls_open() {
    let folder = tempfile::tempdir().unwrap();
    let file = format!("file://{}", folder.path().display());
    let plain = format!("file:{}", folder.path().join("made").display());
    let table = [
        ("memory:", Provider::Memory, "memory:"),
        ("memory://", Provider::Memory, "memory://"),
        (file.as_str(), Provider::File, file.as_str()),
        (plain.as_str(), Provider::File, plain.as_str()),
        ("s3://bucket", Provider::S3, "s3://bucket"),
        ("s3://bucket/a/b/", Provider::S3, "s3://bucket/a/b/"),
        ("s3a://bucket/a", Provider::S3, "s3a://bucket/a"),
    ];
    for (url, provider, shown) in table {
        let store = Store::open(url, Env::system()).unwrap();
        assert_eq!((store.provider(), store.to_string()), (provider, shown.to_owned()), "{url}");
    }
    assert!(folder.path().join("made").is_dir());
}

#[test]
fn bad_urls_are_refused_with_a_sentence() {
    let bad = [
        "",
        "bucket",
        "/folder",
        "ftp://h/p",
        "azure://c/p",
        "file:",
        "file://",
        "s3:",
        "s3:///p",
        "s3://b/a//c",
        "s3://b/../c",
    ];
    for url in bad {
        let error = Store::open(url, Env::system()).unwrap_err();
        assert_eq!(error.kind(), Kind::Invalid, "{url}: {error}");
        assert!(error.to_string().contains("cannot use") && error.to_string().len() > 40, "{url}: {error}");
    }
}

/// No way of putting a secret into a URL makes it appear in any message.
#[test]
fn secrets_never_reach_a_message() {
    let secrets = [
        "s3://KEY:SECRET@bucket/p",
        "s3://KEY:SEC/SECRET/RET@bucket/p",
        "s3://KEY:SEC?SECRET#RET@bucket/p",
        "s3://SECRET@bucket/p",
        "s3:KEY:SECRET@bucket/p",
        "s3://bucket/p?token=SECRET",
        "s3://bucket/p#SECRET",
        "s3://bucket//p?token=SECRET",
        "s3://bucket/../p?token=SECRET@x",
        "az://account:SECRET@container/p",
        "nonsense://KEY:SECRET@bucket/p",
        // A path that does not parse, a query behind an @, a scheme that is missing (see the fuzz target `url`).
        "memory:p//q?token=SECRET",
        "s3://bucket?token=x@SECRET",
        "s3://KEY:x@bucket/p?token=x@SECRET",
        "bucket/p?token=SECRET",
        "KEY@bucket?token=SECRET",
    ];
    for url in secrets {
        let objects = Arc::new(object_store::memory::InMemory::new());
        let store = Store::new(objects, Path::default(), Provider::S3, url, Env::system());
        let opened = Store::open(url, Env::system());
        for message in [store.to_string(), format!("{store:?}"), format!("{opened:?}")] {
            assert!(!message.contains("SECRET") && !message.contains("KEY"), "{url}: {message}");
        }
    }
    let table = [
        ("s3://key:secret@bucket/p", "s3://bucket/p"),
        ("s3://bucket/p@q", "s3://bucket/p@q"),
        ("file:///a@b/c#d", "file:///a@b/c#d"),
    ];
    for (url, shown) in table {
        assert_eq!(open::without_secrets(url), shown);
    }
}

#[test]
fn other_programs_reach_an_object_by_its_location() {
    let folder = tempfile::tempdir().unwrap();
    let whole = folder.path().canonicalize().unwrap();
    let file = format!("file:{}/", folder.path().display());
    let expected = format!("file://{}/journal/1", whole.display());
    let table = [
        ("s3://bucket/a/b", "s3://bucket/a/b/journal/1"),
        ("s3a://bucket/", "s3://bucket/journal/1"),
        ("memory:", "memory:/journal/1"),
        ("memory:/p", "memory:/p/journal/1"),
        (&file, &expected),
    ];
    for (url, location) in table {
        let store = Store::open(url, Env::system()).unwrap();
        assert_eq!(store.location("journal/1"), location, "{url}");
        assert_eq!(store.key_of(location), Some("journal/1"));
        assert_eq!(store.key_of("s3://other/journal/1"), None);
    }
}
