//! Store URLs: whatever is wrong with one, and whatever is right, no message gives a secret away.
//!
//! Folders are left out: opening one makes it. No request is made.

use std::sync::Arc;

use object_store::memory::InMemory;
use object_store::path::Path;
use strandline_core::Kind;
use strandline_core::env::Env;
use strandline_core::store::{Provider, Store};

const SECRET: &str = "s3cr3t-k9";

/// The first byte says where a secret is planted, the rest is the URL around it, in up to four lines.
pub fn url(data: &[u8]) {
    let Some((place, rest)) = data.split_first() else { return };
    let text = String::from_utf8_lossy(rest);
    if text.contains(SECRET) {
        return;
    }
    look(&text);
    let mut lines = text.splitn(4, '\n');
    let mut line = || lines.next().unwrap_or_default();
    let (scheme, before, after, bucket) = (line(), line(), line(), line());
    if scheme.contains(['/', '?', '#', '@', ':']) {
        return;
    }
    let planted = match place % 4 {
        // A password may hold anything, an access key and a bucket may not.
        0 if !bucket.contains('@') => format!("{scheme}://key:{before}{SECRET}{after}@{bucket}"),
        1 => format!("{scheme}://{bucket}?{before}{SECRET}{after}"),
        2 => format!("{scheme}://{bucket}#{before}{SECRET}{after}"),
        _ => format!("{scheme}:{bucket}?{before}{SECRET}{after}"),
    };
    look(&planted);
}

fn look(url: &str) {
    let objects = Arc::new(InMemory::new());
    let shown = Store::new(objects, Path::default(), Provider::Memory, url, Env::system());
    let mut said = vec![shown.to_string(), format!("{shown:?}")];
    if !url.starts_with("file:") {
        match Store::open(url, Env::system()) {
            Ok(store) => said.push(format!("{store} {store:?}")),
            Err(error) => {
                assert_eq!(error.kind(), Kind::Invalid, "{error}");
                said.push(format!("{error} {error:?}"));
            }
        }
    }
    // A folder's name is no secret.
    let told = !url.starts_with("file:") && said.iter().any(|message| message.contains(SECRET));
    assert!(!told, "{url:?}: {said:?}");
}
