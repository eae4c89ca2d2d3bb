//! `strandline.json`: what makes a prefix a cluster.
//!
//! Must not know the journal. Written once, put-if-absent, after the store has shown that it is safe.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::paths;
use crate::probe;
use crate::rope::Rope;
use crate::store::Store;

/// The newest layout of the bucket that this program knows.
const FORMAT: u32 = 1;

#[derive(Debug, Serialize, Deserialize)]
struct Cluster {
    format: u32,
    cluster_id: String,
}

#[derive(Debug, Deserialize)]
struct Format {
    format: u32,
}

/// The id of the cluster under the store's prefix, which is made if it is not there.
pub(super) async fn open(store: &Store) -> Result<String> {
    match store.get_as(paths::CLUSTER, read).await {
        Err(Error::NotFound(_)) => {}
        read => return read,
    }
    probe::refuse_unsafe(store, store.env()).await?;
    let cluster = Cluster { format: FORMAT, cluster_id: store.env().uuid().simple().to_string() };
    let body = serde_json::to_vec_pretty(&cluster).map_err(|e| Error::Invalid(e.to_string().into()))?;
    // Whoever was first decides; a retry that met its own object reads the same.
    store.create(paths::CLUSTER, &Rope::from(Bytes::from(body))).await?;
    store.get_as(paths::CLUSTER, read).await
}

/// The cluster's id.
pub(crate) fn read(body: &Rope) -> Result<String> {
    let body = body.to_bytes();
    let damaged = |e: serde_json::Error| Error::corrupt(paths::CLUSTER, e.to_string());
    // The format first: what else a newer one holds is not known here.
    let Format { format } = serde_json::from_slice(&body).map_err(damaged)?;
    if format > FORMAT {
        let why = format!("this bucket has format {format}, this program knows up to {FORMAT}");
        return Err(Error::Unsupported(format!("{why}: upgrade Strandline on this node").into()));
    }
    serde_json::from_slice(&body).map(|cluster: Cluster| cluster.cluster_id).map_err(damaged)
}
