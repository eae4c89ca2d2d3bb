//! One node's way to the bucket, with every fault there is: the fault menu lives here, below the log's own store layer.
//!
//! Must not know what the objects mean. A request that has left the node goes its way whatever becomes of the node: it
//! is executed by a task of the bucket's, not of the caller's.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use fastrand::Rng;
use futures_util::stream::{self, BoxStream};
use futures_util::{StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, GetResultPayload, ListResult, MultipartUpload, ObjectMeta,
    ObjectStore, PutMode, PutMultipartOptions, PutOptions, PutPayload, PutResult, RenameOptions, Result,
    UploadPart,
};
use tokio::sync::oneshot;
use tokio::time::sleep;

use crate::bucket::{Bucket, exists};
use crate::plan::{Rates, chance, pick};
use crate::trace::Trace;

/// Requests that fail at all events, for a while.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outage {
    None,
    /// The node is cut off.
    All,
    /// PUTs fail, GETs work.
    Writes,
    /// One folder fails.
    Segments,
    Journal,
    Chunks,
    Index,
}

impl Outage {
    fn hits(self, write: bool, key: &str) -> bool {
        match self {
            Outage::None => false,
            Outage::All => true,
            Outage::Writes => write,
            Outage::Segments => key.starts_with("segment/"),
            Outage::Journal => key.starts_with("journal/"),
            Outage::Chunks => key.starts_with("chunk/"),
            Outage::Index => key.starts_with("index/"),
        }
    }
}

/// What the weather between one machine and the bucket is like.
#[derive(Debug)]
pub(crate) struct Weather {
    pub(crate) rates: Rates,
    pub(crate) outage: Outage,
    dice: Rng,
}

impl Weather {
    pub(crate) fn new(rates: Rates, dice: Rng) -> Arc<Mutex<Weather>> {
        Arc::new(Mutex::new(Weather { rates, outage: Outage::None, dice }))
    }
}

/// What happens to one write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum PutFault {
    None,
    Refused,
    AppliedRefused,
    AnswerLost,
    Late(Duration),
    Twice(Duration),
    Conflict,
    OwnExists,
    Denied,
    Lost,
}

/// What happens to one read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum GetFault {
    None,
    Refused,
    Denied,
    Lost,
    Cut,
    Short,
    Flip,
}

/// How long a request takes there and back, and what befalls it.
#[derive(Debug, Clone, Copy)]
struct Fate<F> {
    there: Duration,
    back: Duration,
    fault: F,
}

#[derive(Clone)]
pub(crate) struct Link {
    bucket: Bucket,
    weather: Arc<Mutex<Weather>>,
    name: String,
    trace: Trace,
}

impl Link {
    pub(crate) fn new(bucket: Bucket, weather: Arc<Mutex<Weather>>, name: String, trace: Trace) -> Link {
        Link { bucket, weather, name, trace }
    }

    fn fate<F>(&self, key: &Path, write: bool, draw: impl Fn(&Rates, &mut Rng) -> F, down: F) -> Fate<F> {
        let mut weather = self.weather.lock().unwrap();
        let Weather { rates, outage, dice } = &mut *weather;
        let slow = if chance(dice, rates.slow) { dice.u64(50..15_000) } else { 0 };
        let there = Duration::from_millis(dice.u64(1..15) + slow);
        let back = Duration::from_millis(dice.u64(0..10));
        let fault = if outage.hits(write, key.as_ref()) { down } else { draw(rates, dice) };
        Fate { there, back, fault }
    }

    async fn read_body(&self, key: &Path, options: GetOptions, fault: GetFault) -> Result<GetResult> {
        let mut result = self.bucket.objects().get_opts(key, options).await?;
        if matches!(fault, GetFault::None) {
            return Ok(result);
        }
        let payload =
            std::mem::replace(&mut result.payload, GetResultPayload::Stream(stream::empty().boxed()));
        let GetResultPayload::Stream(pieces) = payload else { return Ok(result) };
        let body: Vec<u8> = pieces.try_collect::<Vec<_>>().await?.concat();
        let damaged = self.damage(body, fault);
        result.payload = GetResultPayload::Stream(damaged);
        Ok(result)
    }

    fn damage(&self, mut body: Vec<u8>, fault: GetFault) -> BoxStream<'static, Result<Bytes>> {
        let mut weather = self.weather.lock().unwrap();
        let dice = &mut weather.dice;
        if body.is_empty() {
            return stream::empty().boxed();
        }
        match fault {
            GetFault::Flip => {
                let at = dice.usize(0..body.len());
                body[at] ^= 1 << dice.u32(0..8);
                stream::once(async move { Ok(body.into()) }).boxed()
            }
            GetFault::Short => {
                body.truncate(dice.usize(0..body.len()));
                stream::once(async move { Ok(body.into()) }).boxed()
            }
            _ => {
                body.truncate(dice.usize(0..body.len()));
                let pieces = [Ok(body.into()), Err(failed("connection reset in the middle of a body"))];
                stream::iter(pieces).boxed()
            }
        }
    }

    /// The start-up probe's own objects, and what dead nodes have said of themselves, go without any fault.
    async fn delete_one(&self, key: Path) -> Result<Path> {
        if ["probe/", "node/"].iter().any(|folder| key.as_ref().starts_with(folder)) {
            self.bucket.delete(key.as_ref()).await;
            return Ok(key);
        }
        let fate = self.fate(&key, true, draw_put, PutFault::Refused);
        self.note(format_args!("delete {key} {:?}", fate.fault));
        sleep(fate.there).await;
        let bucket = self.bucket.clone();
        match fate.fault {
            PutFault::Refused => return Err(failed("503 SlowDown")),
            PutFault::Denied => return Err(denied(&key)),
            PutFault::Lost => std::future::pending().await,
            PutFault::Late(by) => {
                // Not a task of the node: the request goes its way also if the node dies.
                tokio::spawn(async move {
                    sleep(by).await;
                    bucket.delete(key.as_ref()).await;
                });
                return Err(failed("504, still under way"));
            }
            _ => bucket.delete(key.as_ref()).await,
        }
        match fate.fault {
            PutFault::AppliedRefused => return Err(failed("500 InternalError, applied")),
            PutFault::AnswerLost => std::future::pending().await,
            _ => {}
        }
        sleep(fate.back).await;
        Ok(key)
    }

    fn note(&self, what: fmt::Arguments<'_>) {
        self.trace.note(&self.name, what);
    }
}

fn draw_put(rates: &Rates, dice: &mut Rng) -> PutFault {
    let mut at = dice.u32(0..1_000);
    let mut hit = |share: u32| match at.checked_sub(share) {
        None => true,
        Some(rest) => {
            at = rest;
            false
        }
    };
    match () {
        () if hit(rates.refused) => PutFault::Refused,
        () if hit(rates.applied_refused) => PutFault::AppliedRefused,
        () if hit(rates.answer_lost) => PutFault::AnswerLost,
        () if hit(rates.late) => {
            let most = pick(dice, &[2_000, 60_000, 3_600_000, 86_400_000]);
            PutFault::Late(Duration::from_millis(dice.u64(5..most)))
        }
        () if hit(rates.twice) => PutFault::Twice(Duration::from_millis(pick(dice, &[0, 5, 500, 60_000]))),
        () if hit(rates.conflict) => PutFault::Conflict,
        () if hit(rates.own_exists) => PutFault::OwnExists,
        () if hit(rates.denied) => PutFault::Denied,
        () if hit(rates.lost) => PutFault::Lost,
        () => PutFault::None,
    }
}

fn draw_get(rates: &Rates, dice: &mut Rng) -> GetFault {
    let faults = [
        (rates.refused, GetFault::Refused),
        (rates.denied, GetFault::Denied),
        (rates.lost, GetFault::Lost),
        (rates.cut, GetFault::Cut),
        (rates.short, GetFault::Short),
        (rates.flip, GetFault::Flip),
    ];
    let mut at = dice.u32(0..1_000);
    for (share, fault) in faults {
        match at.checked_sub(share) {
            None => return fault,
            Some(rest) => at = rest,
        }
    }
    GetFault::None
}

/// The bucket's side of a write. Gives the answer, or none.
async fn execute(
    bucket: Bucket,
    key: Path,
    body: PutPayload,
    options: PutOptions,
    fate: Fate<PutFault>,
    mut answer: oneshot::Sender<Result<PutResult>>,
) {
    sleep(fate.there).await;
    let put = || bucket.put(&key, body.clone(), options.clone());
    let told = match fate.fault {
        PutFault::None => Some(put().await),
        PutFault::Refused => Some(Err(failed("503 SlowDown"))),
        PutFault::AppliedRefused => {
            // Nobody hears what became of it.
            let _ = put().await;
            Some(Err(failed("500 InternalError, applied")))
        }
        PutFault::AnswerLost => {
            let _ = put().await;
            None
        }
        PutFault::Late(by) => {
            let _ = answer.send(Err(failed("504, still under way")));
            sleep(by).await;
            let _ = put().await;
            return;
        }
        PutFault::Twice(apart) => {
            let first = put().await;
            if apart.is_zero() {
                Some(put().await)
            } else {
                let _ = answer.send(first);
                sleep(apart).await;
                let _ = put().await;
                return;
            }
        }
        PutFault::Conflict => Some(Err(exists(&key))),
        PutFault::OwnExists => {
            let _ = put().await;
            Some(Err(exists(&key)))
        }
        PutFault::Denied => Some(Err(denied(&key))),
        PutFault::Lost => None,
    };
    sleep(fate.back).await;
    match told {
        Some(told) => drop(answer.send(told)),
        // The caller's connection hangs until the caller gives up.
        None => answer.closed().await,
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl ObjectStore for Link {
    async fn put_opts(&self, key: &Path, body: PutPayload, options: PutOptions) -> Result<PutResult> {
        let fate = self.fate(key, true, draw_put, PutFault::Refused);
        self.note(format_args!("put {key} {} {:?}", body.content_length(), fate.fault));
        let (answer, told) = oneshot::channel();
        // Not a task of the node: the request goes its way also if the node dies.
        tokio::spawn(execute(self.bucket.clone(), key.clone(), body, options, fate, answer));
        let told = told.await.unwrap_or_else(|_| Err(failed("connection reset")));
        self.note(format_args!("put {key} {}", outcome(&told)));
        told
    }

    async fn get_opts(&self, key: &Path, options: GetOptions) -> Result<GetResult> {
        let fate = self.fate(key, false, draw_get, GetFault::Refused);
        sleep(fate.there).await;
        let result = match fate.fault {
            GetFault::Refused => Err(failed("503 SlowDown")),
            GetFault::Denied => Err(denied(key)),
            GetFault::Lost => std::future::pending().await,
            fault => self.read_body(key, options, fault).await,
        };
        sleep(fate.back).await;
        self.note(format_args!("get {key} {:?} {}", fate.fault, outcome(&result)));
        result
    }

    async fn get_ranges(&self, key: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.bucket.objects().get_ranges(key, ranges).await
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let prefix = prefix.cloned().unwrap_or_default();
        let fate = self.fate(&prefix, false, draw_get, GetFault::Refused);
        let torn = {
            let mut weather = self.weather.lock().unwrap();
            let share = weather.rates.torn_list;
            chance(&mut weather.dice, share)
        };
        self.note(format_args!("list {prefix} {:?} torn: {torn}", fate.fault));
        let (objects, bucket) = (Arc::clone(self.bucket.objects()), self.bucket.clone());
        let pages = async move {
            sleep(fate.there).await;
            match fate.fault {
                GetFault::Refused | GetFault::Cut => return vec![Err(failed("503 for a listing"))],
                GetFault::Denied => return vec![Err(denied(&prefix))],
                GetFault::Lost => std::future::pending().await,
                _ => {}
            }
            let mut first: Vec<_> = objects.list(Some(&prefix)).collect().await;
            if torn {
                first.truncate(first.len() / 2);
                sleep(Duration::from_millis(400)).await;
                let last = first.iter().flatten().map(|meta| meta.location.clone()).max();
                let rest = objects.list(Some(&prefix)).try_filter(move |meta| {
                    let later = last.as_ref().is_none_or(|last| meta.location > *last);
                    async move { later }
                });
                first.extend(rest.collect::<Vec<_>>().await);
            }
            // The store's clock is the run's.
            first.into_iter().map(|meta| meta.map(|meta| bucket.stamped(meta))).collect()
        };
        stream::once(pages).flat_map(stream::iter).boxed()
    }

    fn list_with_offset(
        &self,
        prefix: Option<&Path>,
        offset: &Path,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        let bucket = self.bucket.clone();
        let listed = self.bucket.objects().list_with_offset(prefix, offset);
        listed.map(move |meta| meta.map(|meta| bucket.stamped(meta))).boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.bucket.objects().list_with_delimiter(prefix).await
    }

    fn delete_stream(&self, keys: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let link = self.clone();
        let delete = move |key: Result<Path>| {
            let link = link.clone();
            async move { link.delete_one(key?).await }
        };
        keys.then(delete).boxed()
    }

    async fn put_multipart_opts(
        &self,
        key: &Path,
        _: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        let fate = self.fate(key, true, draw_put, PutFault::Refused);
        self.note(format_args!("begin {key} {:?}", fate.fault));
        sleep(fate.there + fate.back).await;
        match fate.fault {
            PutFault::None => {
                Ok(Box::new(Parts { link: self.clone(), key: key.clone(), begun: 0, there: Arc::default() }))
            }
            _ => Err(failed("503 for an upload in parts")),
        }
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.bucket.objects().copy_opts(from, to, options).await
    }

    async fn rename_opts(&self, from: &Path, to: &Path, options: RenameOptions) -> Result<()> {
        self.bucket.objects().rename_opts(from, to, options).await
    }
}

/// An object that comes in parts. They lie at the bucket's side until all of them are there.
#[derive(Debug)]
struct Parts {
    link: Link,
    key: Path,
    begun: usize,
    there: Arc<Mutex<BTreeMap<usize, PutPayload>>>,
}

#[async_trait]
impl MultipartUpload for Parts {
    fn put_part(&mut self, part: PutPayload) -> UploadPart {
        let (link, key, number) = (self.link.clone(), self.key.clone(), self.begun);
        let there = Arc::clone(&self.there);
        self.begun += 1;
        Box::pin(async move {
            let fate = link.fate(&key, true, draw_put, PutFault::Refused);
            link.note(format_args!("part {number} of {key} {:?}", fate.fault));
            sleep(fate.there).await;
            match fate.fault {
                PutFault::Lost | PutFault::AnswerLost => std::future::pending().await,
                PutFault::None => drop(there.lock().unwrap().insert(number, part)),
                _ => return Err(failed("503 for a part")),
            }
            sleep(fate.back).await;
            Ok(())
        })
    }

    /// One write over whatever is there, which may come to anything.
    async fn complete(&mut self) -> Result<PutResult> {
        let parts = std::mem::take(&mut *self.there.lock().unwrap());
        let all = parts.len() == self.begun;
        let body: PutPayload = parts.into_values().flatten().collect();
        match all {
            true => self.link.put_opts(&self.key, body, PutMode::Overwrite.into()).await,
            false => Err(failed("400 InvalidPart")),
        }
    }

    async fn abort(&mut self) -> Result<()> {
        self.there.lock().unwrap().clear();
        Ok(())
    }
}

fn outcome<T>(result: &Result<T>) -> &'static str {
    match result {
        Ok(_) => "ok",
        Err(Error::NotFound { .. }) => "404",
        Err(Error::AlreadyExists { .. } | Error::Precondition { .. }) => "exists",
        Err(_) => "failed",
    }
}

fn denied(key: &Path) -> Error {
    Error::PermissionDenied { path: key.to_string(), source: "403 RequestTimeTooSkewed".into() }
}

fn failed(why: &'static str) -> Error {
    Error::Generic { store: "simulated", source: why.into() }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link").field("name", &self.name).finish_non_exhaustive()
    }
}

impl fmt::Display for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}
