//! Uploads: whole or not at all, in few bytes of memory, and through failures of single parts.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::sync::Mutex as StdMutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use object_store::aws::AmazonS3Builder;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpRequest, HttpResponse, HttpResponseBody, HttpService,
};
use object_store::path::Path;
use object_store::{BackoffConfig, ClientOptions, RetryConfig};
use tokio::sync::watch;

use super::*;
use crate::env::Env;
use crate::error::Kind;
use crate::limits::MIB;
use crate::store::Provider;
use crate::testing::Dice;

fn body(bytes: usize) -> Bytes {
    let mut dice = Dice::new(bytes as u64);
    let mut body = Vec::with_capacity(bytes + 8);
    while body.len() < bytes {
        body.extend_from_slice(&dice.draw().to_be_bytes());
    }
    body.truncate(bytes);
    body.into()
}

/// In pieces of uneven sizes.
async fn write_all(upload: &mut Upload, mut body: Bytes) {
    let mut dice = Dice::new(1);
    while !body.is_empty() {
        let pieces: Vec<_> = (0..dice.below(4))
            .map(|_| body.split_to((dice.below(2 * MIB as u64) as usize).min(body.len())))
            .collect();
        upload.write(Rope::new(pieces)).await.unwrap();
    }
}

fn puts(folder: &str) -> u64 {
    metrics::REQUESTS.with_label_values(&["put", folder]).get()
}

/// Each request is counted: begin and end of a large one, and each part; a small one is a single put.
#[tokio::test]
async fn what_was_written_is_there() {
    let folder = tempfile::tempdir().unwrap();
    for url in ["memory:".to_owned(), format!("file://{}", folder.path().display())] {
        let store = Store::open(&url, Env::system()).unwrap();
        let part = UPLOAD_PART_BYTES;
        for (bytes, requests) in [(0, 1), (1, 1), (part - 1, 1), (part, 3), (part + 1, 4), (20 * MIB, 5)] {
            let (key, body) = (format!("uploaded/{bytes}"), body(bytes));
            let before = puts("uploaded");
            let mut upload = store.upload(&key);
            write_all(&mut upload, body.clone()).await;
            assert_eq!(store.get(&key).await.unwrap_err().kind(), Kind::NotFound, "seen too early");
            upload.finish().await.unwrap();
            assert!(store.get(&key).await.unwrap() == Rope::from(body), "{url}: {bytes} bytes");
            assert_eq!(puts("uploaded") - before, requests, "{url}: {bytes} bytes");
        }
        let mut again = store.upload("uploaded/1");
        again.write(body(1)).await.unwrap();
        again.finish().await.unwrap();
        let mut other = store.upload("uploaded/1");
        other.write(body(2)).await.unwrap();
        assert_eq!(other.finish().await.unwrap_err().kind(), Kind::Invalid);
    }
}

#[tokio::test]
async fn an_upload_that_is_given_up_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let files = || {
        std::fs::read_dir(folder.path())
            .unwrap()
            .flatten()
            .flat_map(|entry| std::fs::read_dir(entry.path()))
            .flatten()
            .count()
    };
    for url in ["memory:".to_owned(), format!("file://{}", folder.path().display())] {
        let store = Store::open(&url, Env::system()).unwrap();
        for bytes in [1, 20 * MIB] {
            let mut upload = store.upload("given-up/k");
            write_all(&mut upload, body(bytes)).await;
            assert_eq!(files(), usize::from(bytes > 1 && url != "memory:"));
            upload.abort().await.unwrap();
            assert!(store.list("", 9).await.unwrap().is_empty(), "{url}");
            assert_eq!(files(), 0, "{url}");
        }
    }
}

/// What a request of a small S3 is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Begin,
    Part,
    End,
    Abort,
}

/// Speaks as much of S3 as an upload needs; fails on demand.
#[derive(Debug, Clone)]
struct SmallS3(Arc<Bucket>);

#[derive(Debug)]
struct Bucket {
    log: StdMutex<Vec<(Step, u64)>>,
    under_way: AtomicUsize,
    most_under_way: AtomicUsize,
    open: watch::Sender<bool>,
    /// How often requests of this step fail, and as what; 0 for no answer.
    failing: StdMutex<Option<(Step, usize, u16)>>,
}

#[async_trait]
impl HttpService for SmallS3 {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let query = request.uri().query().unwrap_or_default();
        let step = match request.method().as_str() {
            "PUT" => Step::Part,
            "DELETE" => Step::Abort,
            _ if query.contains("uploadId") => Step::End,
            _ => Step::Begin,
        };
        self.0.log.lock().unwrap().push((step, request.body().content_length() as u64));
        let under_way = self.0.under_way.fetch_add(1, Ordering::Relaxed) + 1;
        self.0.most_under_way.fetch_max(under_way, Ordering::Relaxed);
        self.0.open.subscribe().wait_for(|open| *open).await.unwrap();
        tokio::time::sleep(Duration::from_millis(10)).await;
        self.0.under_way.fetch_sub(1, Ordering::Relaxed);
        let failure = match &mut *self.0.failing.lock().unwrap() {
            Some((at, left, status)) if *at == step && *left > 0 => {
                *left -= 1;
                Some(*status)
            }
            _ => None,
        };
        let body = match step {
            Step::Begin => {
                "<InitiateMultipartUploadResult><UploadId>u</UploadId></InitiateMultipartUploadResult>"
            }
            Step::End => "<CompleteMultipartUploadResult><ETag>e</ETag></CompleteMultipartUploadResult>",
            _ => "",
        };
        if failure == Some(0) {
            std::future::pending::<()>().await;
        }
        let mut response = HttpResponse::new(HttpResponseBody::from(body.to_owned()));
        response.headers_mut().insert("etag", "e".parse().unwrap());
        if let Some(status) = failure {
            *response.status_mut() = status.try_into().unwrap();
        }
        Ok(response)
    }
}

impl HttpConnector for SmallS3 {
    fn connect(&self, _: &ClientOptions) -> object_store::Result<HttpClient> {
        Ok(HttpClient::new(self.clone()))
    }
}

impl SmallS3 {
    fn new() -> (SmallS3, Store) {
        let bucket = Bucket {
            log: StdMutex::default(),
            under_way: AtomicUsize::new(0),
            most_under_way: AtomicUsize::new(0),
            open: watch::Sender::new(true),
            failing: StdMutex::default(),
        };
        let s3 = SmallS3(Arc::new(bucket));
        let retry =
            RetryConfig { backoff: BackoffConfig::default(), max_retries: 0, retry_timeout: STORE_REQUEST };
        let objects = AmazonS3Builder::new()
            .with_bucket_name("bucket")
            .with_access_key_id("key")
            .with_secret_access_key("secret")
            .with_retry(retry)
            .with_unsigned_payload(true)
            .with_http_connector(s3.clone())
            .build()
            .unwrap();
        let store =
            Store::new(Arc::new(objects), Path::default(), Provider::S3, "s3://bucket", Env::system());
        (s3, store)
    }

    fn fail(&self, step: Step, times: usize, status: u16) {
        *self.0.failing.lock().unwrap() = Some((step, times, status));
    }

    fn count(&self, step: Step) -> usize {
        self.0.log.lock().unwrap().iter().filter(|(at, _)| *at == step).count()
    }
}

async fn uploaded(store: &Store, bytes: usize) -> Result<()> {
    let mut upload = store.upload("chunk/k");
    for at in (0..bytes).step_by(MIB) {
        upload.write(Bytes::from(vec![7; MIB.min(bytes - at)])).await?;
    }
    upload.finish().await
}

/// A part that fails is sent again, all of it; the others are not.
#[tokio::test(start_paused = true)]
async fn a_part_that_fails_is_sent_again() {
    for status in [500, 503, 429] {
        let (s3, store) = SmallS3::new();
        s3.fail(Step::Part, 4, status);
        uploaded(&store, 20 * MIB).await.unwrap();
        assert_eq!(
            [Step::Begin, Step::Part, Step::End, Step::Abort].map(|step| s3.count(step)),
            [1, 7, 1, 0]
        );
        let log = s3.0.log.lock().unwrap();
        let sent: u64 = log.iter().filter(|(step, _)| *step == Step::Part).map(|(_, bytes)| bytes).sum();
        assert!(sent >= 4 * 4 * MIB as u64 + 20 * MIB as u64, "{sent}");
    }
}

/// What failed for good is removed, and is not called unknown unless the last request was.
#[tokio::test(start_paused = true)]
async fn failures_end() {
    let attempts = STORE_ATTEMPTS as usize;
    let table = [
        (Step::Begin, 503, Kind::Unavailable, attempts, 0),
        (Step::Begin, 403, Kind::Denied, 1, 0),
        (Step::Part, 503, Kind::Unavailable, attempts, 1),
        (Step::Part, 403, Kind::Denied, 1, 1),
        (Step::Part, 0, Kind::Unavailable, 1, 1),
        (Step::End, 503, Kind::Unknown, 1, 1),
        (Step::End, 0, Kind::Unknown, 1, 1),
        (Step::End, 403, Kind::Denied, 1, 1),
    ];
    for (step, status, kind, requests, aborts) in table {
        let (s3, store) = SmallS3::new();
        s3.fail(step, usize::MAX, status);
        assert_eq!(uploaded(&store, 8 * MIB).await.unwrap_err().kind(), kind, "{step:?} {status}");
        assert_eq!((s3.count(step), s3.count(Step::Abort)), (requests, aborts), "{step:?} {status}");
    }
}

/// A store that does not move on takes no more than its parts and the one that is being filled.
#[tokio::test(start_paused = true)]
async fn a_slow_store_holds_few_bytes() {
    let (s3, store) = SmallS3::new();
    uploaded(&store, 100 * MIB).await.unwrap();
    assert_eq!(s3.0.most_under_way.load(Ordering::Relaxed), UPLOAD_PARTS_AT_ONCE);
    let (s3, store) = SmallS3::new();
    let mut upload = store.upload("chunk/k");
    upload.write(Bytes::from(vec![7; UPLOAD_PART_BYTES])).await.unwrap();
    s3.0.open.send_replace(false);
    let mut taken = UPLOAD_PART_BYTES;
    let piece = Bytes::from(vec![7; MIB]);
    while tokio::time::timeout(Duration::from_secs(1), upload.write(piece.clone())).await.is_ok() {
        taken += MIB;
        assert!(taken <= (UPLOAD_PARTS_AT_ONCE + 1) * UPLOAD_PART_BYTES);
    }
    assert_eq!(taken, (UPLOAD_PARTS_AT_ONCE + 1) * UPLOAD_PART_BYTES - MIB);
    s3.0.open.send_replace(true);
    // A write was given up half way: nobody knows what a whole object would hold.
    assert_eq!(upload.write(piece).await.unwrap_err().kind(), Kind::Invalid);
    assert_eq!(upload.finish().await.unwrap_err().kind(), Kind::Invalid);
    assert_eq!((s3.count(Step::End), s3.count(Step::Abort)), (0, 1));
}
