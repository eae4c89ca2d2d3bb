//! `strandline inspect`: any object of the bucket as JSON, or what is there by folder.
//!
//! Must not know how objects come to be. The first four bytes decide what an object is, not its key; damage is shown,
//! not hidden. Reads only.

mod shapes;
mod history;
mod transactions;
mod json;
mod wire;

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail};
use serde::Serialize;
use serde_json::{Value, json};
use strandline_core::object::{PREFIX_BYTES, Shape};
use strandline_core::rope::Rope;
use strandline_core::store::Store;
use strandline_core::{Error, limits, paths};

use crate::args::InspectArgs;
use crate::connect;
use crate::output;

/// The most objects that are counted: a listing has 1,000 a request.
const MAX_LISTED: usize = 200_000;
/// Read of a segment at first: its header is seldom longer.
const HEAD_BYTES: u64 = 64 * limits::KIB as u64;
/// Of an object that is none of ours, so much is shown.
const SHOWN_BYTES: usize = 200;

pub(crate) async fn run(args: InspectArgs) -> Result<()> {
    if let Some(folder) = connect::missing_folder(&args.url) {
        bail!("there is no folder {}", folder.display());
    }
    let store = connect::store(&args.url)?;
    connect::has_cluster(&store).await?;
    match args.key.as_deref().map(|key| key.trim_matches('/')) {
        None | Some("") => output::say_json(&overview(&store).await?),
        Some(key) => {
            let shown = object(&store, key).await?;
            output::say_json(&shown)?;
            match shown.get("damaged") {
                Some(_) => bail!("{key} is damaged, see above"),
                None => Ok(()),
            }
        }
    }
}

/// The format version in `strandline.json`.
pub(crate) async fn cluster_format(store: &Store) -> Result<u64> {
    let body = store.get(paths::CLUSTER).await?.to_bytes();
    let cluster: Value =
        serde_json::from_slice(&body).with_context(|| format!("{} is damaged", paths::CLUSTER))?;
    cluster
        .get("format")
        .and_then(Value::as_u64)
        .with_context(|| format!("{} is damaged: it has no format", paths::CLUSTER))
}

/// What is in one folder.
#[derive(Debug, Default, Serialize)]
struct Folder {
    objects: u64,
    bytes: u64,
    first: String,
    last: String,
}

async fn overview(store: &Store) -> Result<Value> {
    let listed = store.list("", MAX_LISTED).await.with_context(|| format!("cannot list {store}"))?;
    let mut folders: BTreeMap<&str, Folder> = BTreeMap::new();
    for found in &listed {
        let folder = found.key.split_once('/').map_or("", |(folder, _)| folder);
        let folder = folders.entry(folder).or_default();
        folder.objects += 1;
        folder.bytes += found.size;
        // A store may list in any order.
        if folder.first.is_empty() || found.key < folder.first {
            folder.first.clone_from(&found.key);
        }
        if found.key > folder.last {
            folder.last.clone_from(&found.key);
        }
    }
    let cluster = match store.get(paths::CLUSTER).await {
        Ok(body) => serde_json::from_slice(&body.to_bytes()).unwrap_or(Value::Null),
        Err(Error::NotFound(_)) => Value::Null,
        Err(error) => return Err(error.into()),
    };
    let complete = listed.len() < MAX_LISTED;
    Ok(json!({ "store": store.to_string(), "cluster": cluster, "folders": folders, "complete": complete }))
}

async fn object(store: &Store, key: &str) -> Result<Value> {
    let head = match store.get_range(key, 0..HEAD_BYTES).await {
        Err(Error::NotFound(_)) => {
            bail!("{key} is not in {store}; `strandline inspect {store}` says what is there")
        }
        // An empty object has no range to read.
        Err(_) => store.get(key).await?,
        Ok(head) => head,
    };
    let magic = head.array::<4>(0);
    let Some(shape) = Shape::ALL.into_iter().find(|shape| magic == Some(shape.magic())) else {
        return foreign(store, key).await;
    };
    let body = match shape {
        Shape::Segment | Shape::Chunk => header_of(store, key, head).await?,
        _ => store.get(key).await?,
    };
    let shown = match shape {
        Shape::Commit => shapes::commit(key, &body),
        Shape::Segment => shapes::segment(key, &body),
        Shape::Checkpoint => shapes::checkpoint(key, &body),
        Shape::Floor => shapes::floor(key, &body),
        Shape::Chunk => shapes::chunk(key, &body),
        Shape::Index => shapes::index(key, &body),
        Shape::Footer => Err(Error::corrupt(key, "it is the footer of a chunk, without the chunk")),
    };
    let mut whole = json!({ "key": key, "kind": shapes::name(shape), "format_version": version(&body) });
    match shown {
        Ok(shown) => json::join(&mut whole, shown),
        Err(error) => {
            let size = body.len();
            json::join(
                &mut whole,
                json!({ "damaged": error.to_string(), "bytes": size, "starts_with": hex(&body) }),
            );
        }
    }
    Ok(whole)
}

/// All of the header of a segment or chunk, and not its records.
async fn header_of(store: &Store, key: &str, head: Rope) -> Result<Rope> {
    let length = head.array::<4>(8).map_or(0, u32::from_be_bytes);
    let end = PREFIX_BYTES as u64 + u64::from(length);
    if end <= head.len() as u64 || end > limits::MAX_HEADER_BYTES as u64 {
        return Ok(head);
    }
    Ok(store.get_range(key, 0..end).await?)
}

/// Whatever does not start with one of our magics: `strandline.json`, the hint, or something that is not ours.
async fn foreign(store: &Store, key: &str) -> Result<Value> {
    let body = store.get(key).await?;
    let bytes = body.to_bytes();
    let text = std::str::from_utf8(&bytes).ok();
    if key == paths::LATEST
        && let Some(slot) = text.and_then(|text| text.trim().parse::<u64>().ok())
    {
        return Ok(json!({ "key": key, "kind": "hint", "checkpoint": paths::checkpoint(slot) }));
    }
    if let Some(Value::Object(fields)) = text.and_then(|text| serde_json::from_str(text).ok()) {
        let kind = if key == paths::CLUSTER { "cluster" } else { "json" };
        let mut whole = json!({ "key": key, "kind": kind });
        json::join(&mut whole, Value::Object(fields));
        return Ok(whole);
    }
    Ok(json!({ "key": key, "kind": "unknown", "bytes": bytes.len(), "starts_with": hex(&body) }))
}

fn version(body: &Rope) -> Option<u16> {
    body.array::<2>(4).map(u16::from_be_bytes)
}

fn hex(body: &Rope) -> String {
    body.to_bytes().iter().take(SHOWN_BYTES).map(|byte| format!("{byte:02x}")).collect()
}
