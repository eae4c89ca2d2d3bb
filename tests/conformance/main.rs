//! What must hold on every store, written once and called for each: memory, a folder, and any bucket that
//! `STRANDLINE_TEST_STORE` names (`s3://bucket/prefix` with the usual `AWS_*` variables).
//!
//! Owns the way through the library, without a Kafka client: append, read, restart, two writers. Each log that is read back
//! is the one that was acknowledged, record for record.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod log;

use strandline_core::env::Env;
use strandline_core::store::Store;

/// A store of its own for one test.
fn fresh(url: &str) -> Store {
    Store::open(url, Env::system()).unwrap()
}

macro_rules! on_every_store {
    ($($name:ident),* $(,)?) => {
        mod memory {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                super::log::$name(super::fresh("memory:")).await;
            })*
        }
        mod folder {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                let folder = tempfile::tempdir().unwrap();
                super::log::$name(super::fresh(&format!("file://{}", folder.path().display()))).await;
            })*
        }
        mod bucket {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                if let Ok(url) = std::env::var("STRANDLINE_TEST_STORE") {
                    let own = strandline_core::env::Env::system().uuid().simple().to_string();
                    super::log::$name(super::fresh(&format!("{}/{own}", url.trim_end_matches('/')))).await;
                }
            })*
        }
    };
}

on_every_store!(
    what_is_acknowledged_reads_back,
    large_flushes_go_through_segments,
    a_restart_loses_nothing,
    two_writers_share_one_log,
    a_deleted_topic_does_not_come_back,
    offsets_are_found_by_time,
    waiting_readers_hear_of_other_nodes,
);
