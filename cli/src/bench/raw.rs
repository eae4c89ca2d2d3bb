//! The store alone: how long one request takes, and how much goes through.
//!
//! Must not know the log. Small objects are created put-if-absent, the way the journal writes, since some stores are
//! slower at that.

use std::future::Future;
use std::time::Duration;
use tokio::time::Instant;

use anyhow::{Result, bail};
use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream;
use strandline_core::Error;
use strandline_core::limits::{KIB, MIB};
use strandline_core::rope::Rope;
use strandline_core::store::Store;

use super::report::{Figures, mib_per_second};

const SMALL_BYTES: usize = 4 * KIB;
const LARGE_BYTES: usize = 8 * MIB;
/// Requests that are timed, at most.
const SMALL_REQUESTS: usize = 400;
const LARGE_REQUESTS: usize = 24;
/// Side by side, for throughput; and how many objects that moves at most.
const WIDTH: usize = 8;
const WIDE_REQUESTS: usize = 64;

pub(super) async fn measure(
    store: &Store,
    span: Duration,
    figures: &mut Figures,
    step: &impl Fn(&'static str),
) -> Result<()> {
    // A first request pays for the connection.
    store.put("raw/first", &body(SMALL_BYTES, 0)).await?;
    let small = body(SMALL_BYTES, 1);
    let large = body(LARGE_BYTES, 2);
    let each = span / 4;

    step("the store alone: small PUTs");
    let (put, count) = timed(SMALL_REQUESTS, each, |n| create(store, small_key(n), &small)).await?;
    figures.latencies("raw_put_4k", put);
    step("the store alone: small GETs");
    let (get, _) = timed(count, each, |n| read(store, small_key(n))).await?;
    figures.latencies("raw_get_4k", get);
    step("the store alone: large PUTs");
    let (put, count) = timed(LARGE_REQUESTS, each, |n| create(store, large_key(n), &large)).await?;
    figures.latencies("raw_put_8m", put);
    step("the store alone: large GETs");
    let (get, _) = timed(count, each, |n| read(store, large_key(n))).await?;
    figures.latencies("raw_get_8m", get);
    step("the store alone: throughput");
    let (seconds, moved) = wide(each, |n| create(store, wide_key(n), &large)).await?;
    figures.set("raw_put_mib_s", mib_per_second(moved * LARGE_BYTES, seconds));
    let (seconds, read_back) = wide(each, |n| read(store, wide_key(n % moved.max(1)))).await?;
    figures.set("raw_get_mib_s", mib_per_second(read_back * LARGE_BYTES, seconds));
    Ok(())
}

/// Reads and writes again what [`measure`] wrote for throughput; bytes of it.
pub(super) async fn copy(store: &Store) -> Result<usize> {
    let copies = (0..WIDE_REQUESTS).map(|n| async move {
        let body = match store.get(&wide_key(n)).await {
            Ok(body) => body,
            // There were fewer: the time was over before.
            Err(Error::NotFound(_)) => return Ok(0),
            Err(error) => return Err(error.into()),
        };
        create(store, format!("raw/copy-{n}"), &body).await?;
        anyhow::Ok(body.len())
    });
    let mut copies = stream::iter(copies).buffer_unordered(WIDTH);
    let mut bytes = 0;
    while let Some(copied) = copies.next().await {
        bytes += copied?;
    }
    Ok(bytes)
}

/// One small PUT; seconds of it.
pub(super) async fn paced(store: &Store, number: u32) -> Result<f64> {
    let body = body(SMALL_BYTES, u64::from(number));
    let begun = Instant::now();
    create(store, format!("raw/paced-{number}"), &body).await?;
    Ok(begun.elapsed().as_secs_f64())
}

fn small_key(n: usize) -> String {
    format!("raw/small-{n}")
}

fn large_key(n: usize) -> String {
    format!("raw/large-{n}")
}

fn wide_key(n: usize) -> String {
    format!("raw/wide-{n}")
}

async fn create(store: &Store, key: String, body: &Rope) -> Result<()> {
    if !store.create(&key, body).await? {
        bail!("{key} was there already");
    }
    Ok(())
}

async fn read(store: &Store, key: String) -> Result<()> {
    store.get(&key).await?;
    Ok(())
}

/// Requests one after the other, until there are enough or the time is over. Seconds of each, and how many.
async fn timed<F: Future<Output = Result<()>>>(
    most: usize,
    span: Duration,
    request: impl Fn(usize) -> F,
) -> Result<(Vec<f64>, usize)> {
    let until = Instant::now() + span;
    let mut seconds = Vec::new();
    while seconds.len() < most && (seconds.is_empty() || Instant::now() < until) {
        let begun = Instant::now();
        request(seconds.len()).await?;
        seconds.push(begun.elapsed().as_secs_f64());
    }
    let count = seconds.len();
    Ok((seconds, count))
}

/// Requests side by side, until there are enough or the time is over. Seconds in all, and how many.
async fn wide<F: Future<Output = Result<()>>>(
    span: Duration,
    request: impl Fn(usize) -> F,
) -> Result<(f64, usize)> {
    let begun = Instant::now();
    let numbers = (0..WIDE_REQUESTS).take_while(|n| *n < WIDTH || begun.elapsed() < span);
    let mut requests = stream::iter(numbers).map(request).buffer_unordered(WIDTH);
    let mut count = 0;
    while let Some(done) = requests.next().await {
        done?;
        count += 1;
    }
    Ok((begun.elapsed().as_secs_f64(), count))
}

/// Bytes that nothing on the way can compress.
fn body(bytes: usize, seed: u64) -> Rope {
    Rope::from(Bytes::from(noise(bytes, seed)))
}

/// Xorshift: fast, and the same for the same seed.
pub(super) fn noise(bytes: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut out = Vec::with_capacity(bytes + 8);
    while out.len() < bytes {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        out.extend_from_slice(&state.to_le_bytes());
    }
    out.truncate(bytes);
    out
}
