//! A large object, written in parts while it is still being made.
//!
//! Must not know what the object means. Nothing can be seen of it before [`Upload::finish`], and it holds a bounded number of
//! bytes: those of [`UPLOAD_PARTS_AT_ONCE`] parts under way, and of the one that is being filled.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use object_store::retry::{RetryContext, RetryFailure, RetryPolicy};
use object_store::{MultipartUpload, PutMultipartOptions, PutPayload, UploadPart};
use tokio::sync::Mutex;
use tokio::task::JoinHandle;

use super::{Failure, Request, Store, no_answer, unavailable};
use crate::env;
use crate::error::{Error, Result};
use crate::limits::{
    STORE_ATTEMPTS, STORE_REQUEST, STORE_RETRY, UPLOAD_PART_BYTES, UPLOAD_PARTS_AT_ONCE, UPLOAD_PARTS_MAX,
};
use crate::metrics;
use crate::rope::Rope;

/// All attempts of one part: each of them is bounded by the client underneath.
const PART: Duration =
    Duration::from_secs((STORE_REQUEST.as_secs() + STORE_RETRY.1.as_secs()) * STORE_ATTEMPTS as u64);

/// An object that is being written. Dropped without [`Upload::abort`], it may leave parts behind that cost money until the
/// bucket's rule for unfinished uploads removes them.
pub struct Upload {
    store: Store,
    key: String,
    /// What is not yet a part.
    buffer: Vec<Bytes>,
    buffered: usize,
    /// There is none before the first part.
    multipart: Option<Box<dyn MultipartUpload>>,
    parts: usize,
    /// In the order in which they began.
    under_way: VecDeque<Part>,
    /// Why it cannot go on.
    failed: Option<Error>,
}

impl fmt::Debug for Upload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Upload { key, parts, buffered, .. } = self;
        f.debug_struct("Upload").field("key", key).field("parts", parts).field("buffered", buffered).finish()
    }
}

impl Store {
    /// Begins an object that is written in parts. No request is made before there is a whole part.
    ///
    /// One that stays below a part is put if absent. A larger one replaces what is there: take a name that only the same
    /// bytes can have.
    pub fn upload(&self, key: &str) -> Upload {
        Upload {
            store: self.clone(),
            key: key.to_owned(),
            buffer: Vec::new(),
            buffered: 0,
            multipart: None,
            parts: 0,
            under_way: VecDeque::new(),
            failed: None,
        }
    }
}

impl Upload {
    /// Appends bytes, without copying them; waits while as many parts are under way as may be.
    ///
    /// After an error, or when it was dropped half way, only [`Upload::abort`] is left.
    pub async fn write(&mut self, bytes: impl Into<Rope>) -> Result<()> {
        self.check()?;
        // Until it is done nobody knows how much of it was taken.
        self.failed = Some(Error::Invalid(format!("a write to {} was given up half way", self.key).into()));
        self.failed = self.take(bytes.into()).await.err();
        self.check()
    }

    /// Makes the object visible, whole.
    ///
    /// # Errors
    /// [`Error::Unknown`]: it may or may not be there, now or in a moment; look. [`Error::Invalid`]: a small one is there already,
    /// with another content. After any other error it is not there.
    pub async fn finish(mut self) -> Result<()> {
        let result = self.end().await;
        if result.is_err()
            && let Err(error) = self.clear().await
        {
            tracing::debug!(key = self.key, %error, "parts of an object that was not finished may be left");
        }
        result
    }

    /// Gives it up and removes its parts.
    pub async fn abort(mut self) -> Result<()> {
        self.clear().await
    }

    fn check(&self) -> Result<()> {
        self.failed.clone().map_or(Ok(()), Err)
    }

    async fn take(&mut self, rope: Rope) -> Result<()> {
        for piece in rope.pieces() {
            let mut piece = piece.clone();
            while !piece.is_empty() {
                let room = UPLOAD_PART_BYTES.saturating_sub(self.buffered);
                let taken = piece.split_to(room.min(piece.len()));
                self.buffered += taken.len();
                self.buffer.push(taken);
                if self.buffered >= UPLOAD_PART_BYTES {
                    self.send().await?;
                }
            }
        }
        Ok(())
    }

    /// Starts what is buffered as a part.
    async fn send(&mut self) -> Result<()> {
        while self.under_way.len() >= UPLOAD_PARTS_AT_ONCE {
            self.wait().await?;
        }
        if self.parts >= UPLOAD_PARTS_MAX {
            let why = format!("{} is larger than {UPLOAD_PARTS_MAX} parts", self.key);
            return Err(Error::Invalid(why.into()));
        }
        let multipart = match &mut self.multipart {
            Some(multipart) => multipart,
            none => none.insert(self.store.begin_parts(&self.key).await?),
        };
        let payload: PutPayload = std::mem::take(&mut self.buffer).into_iter().collect();
        let bytes = std::mem::take(&mut self.buffered);
        let request = multipart.put_part(payload);
        let (store, key) = (self.store.clone(), self.key.clone());
        self.parts += 1;
        self.under_way.push_back(Part(env::spawn(async move { store.put_part(&key, bytes, request).await })));
        Ok(())
    }

    /// Waits for the part that began first.
    async fn wait(&mut self) -> Result<()> {
        let Some(part) = self.under_way.front_mut() else { return Ok(()) };
        let result = (&mut part.0).await;
        self.under_way.pop_front();
        // A task that did not end was stopped together with the runtime.
        result.unwrap_or(Err(Error::Closed))
    }

    async fn end(&mut self) -> Result<()> {
        self.check()?;
        if self.multipart.is_none() {
            return self.put_whole().await;
        }
        if self.buffered > 0 {
            self.send().await?;
        }
        while !self.under_way.is_empty() {
            self.wait().await?;
        }
        match &mut self.multipart {
            Some(multipart) => self.store.complete(&self.key, multipart.as_mut()).await,
            None => Ok(()),
        }
    }

    /// A small one: what is there after an unclear answer is most likely our own.
    async fn put_whole(&mut self) -> Result<()> {
        let body = Rope::new(std::mem::take(&mut self.buffer));
        if self.store.create(&self.key, &body).await? || self.store.get(&self.key).await? == body {
            return Ok(());
        }
        Err(Error::Invalid(format!("{} exists and holds something else", self.key).into()))
    }

    /// Stops the parts under way, then removes those that are there.
    async fn clear(&mut self) -> Result<()> {
        self.buffer.clear();
        for mut part in self.under_way.drain(..) {
            part.0.abort();
            // Stopped or done: either way it sends nothing any more.
            let _ = (&mut part.0).await;
        }
        let Some(multipart) = self.multipart.take() else { return Ok(()) };
        let multipart = Mutex::new(multipart);
        let abort = || async {
            let begun = self.store.begin(Request::Delete, &self.key);
            let result = multipart.lock().await.abort().await;
            match self.store.done(begun, result, "delete", &self.key) {
                Err(Failure::Missing(_)) => Ok(()),
                other => other,
            }
        };
        self.store.retrying("delete", &self.key, abort).await
    }
}

impl Store {
    async fn begin_parts(&self, key: &str) -> Result<Box<dyn MultipartUpload>> {
        let begin = || async {
            let policy = Arc::new(Again { store: self.clone(), key: key.to_owned() });
            let options = PutMultipartOptions::default().with_retry_policy(policy);
            let begun = self.begin(Request::Put, key);
            let result = self.0.objects.put_multipart_opts(&self.path(key), options).await;
            self.done(begun, result, "write", key)
        };
        self.retrying("begin", key, begin).await
    }

    async fn put_part(&self, key: &str, bytes: usize, request: UploadPart) -> Result<()> {
        let begun = self.begin(Request::Put, key);
        metrics::BYTES.with_label_values(&["out"]).inc_by(bytes as u64);
        match tokio::time::timeout(PART, request).await {
            Ok(result) => self.done(begun, result, "write", key).map_err(Failure::into_error),
            // Without this part there is no object: unlike other writes, this one cannot have taken effect.
            Err(elapsed) => {
                let source = elapsed.into();
                Err(unavailable("write", key, object_store::Error::Generic { store: "timeout", source }))
            }
        }
    }

    /// In one attempt: the client underneath forgets the parts with the first.
    async fn complete(&self, key: &str, multipart: &mut dyn MultipartUpload) -> Result<()> {
        let begun = self.begin(Request::Put, key);
        let result = match tokio::time::timeout(STORE_REQUEST * 2, multipart.complete()).await {
            Ok(result) => result,
            Err(elapsed) => return Err(no_answer("write", key, elapsed)),
        };
        match self.done(begun, result.map(drop), "write", key) {
            Err(failure) if failure.may_pass() => Err(Error::Unknown(
                format!("the store failed at the end of {key}: {}", failure.into_error()).into(),
            )),
            other => other.map_err(Failure::into_error),
        }
    }
}

/// A part under way, which goes no further than its [`Upload`].
struct Part(JoinHandle<Result<()>>);

impl Drop for Part {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Parts are numbered by the client underneath when they begin: only it can send one again.
#[derive(Debug)]
struct Again {
    store: Store,
    key: String,
}

#[async_trait]
impl RetryPolicy for Again {
    async fn retry(&self, context: RetryContext) -> bool {
        let may_pass = match context.failure {
            // S3 may fail in the body of a 200.
            RetryFailure::Status(status) => matches!(status.as_u16(), 200..=299 | 408 | 429 | 500..),
            RetryFailure::Transport(_) => true,
            _ => false,
        };
        if !may_pass || context.attempt >= STORE_ATTEMPTS as usize {
            return false;
        }
        let doubled = u32::try_from(context.attempt).map_or(u32::MAX, |attempt| 1 << (attempt - 1).min(16));
        let longest = STORE_RETRY.0.saturating_mul(doubled).min(STORE_RETRY.1);
        tokio::time::sleep(longest / 2 + self.store.env().jitter(longest / 2)).await;
        // How many bytes go out again the client does not say.
        self.store.begin(Request::Put, &self.key);
        true
    }
}

#[cfg(test)]
mod tests;
