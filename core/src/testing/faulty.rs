//! An object store in memory that fails in all the ways that a real one does, by seeded dice or by script.
//!
//! Several of them may share one bucket: each is one process' connection to it, and can be held or cut.

use std::collections::VecDeque;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::stream::{self, BoxStream};
use futures_util::{StreamExt, TryStreamExt};
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMode,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, RenameOptions, Result,
};
use tokio::sync::watch;

use super::Dice;

/// What may happen to a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PutFault {
    /// Nothing.
    None,
    /// Not applied, and the writer is told so.
    Refused,
    /// Applied, but the answer is lost.
    AnswerLost,
    /// An error now; applied later.
    Late,
    /// Sent twice on the way: the writer hears about the second.
    Twice,
    /// 409 with nothing there.
    Conflict,
    /// No answer at all; applied or not.
    Hang,
}

/// Chances of each fault, in a thousand.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Rates {
    pub(crate) refused: u64,
    pub(crate) answer_lost: u64,
    pub(crate) late: u64,
    pub(crate) twice: u64,
    pub(crate) conflict: u64,
    pub(crate) hang: u64,
    pub(crate) slow: u64,
    pub(crate) get_refused: u64,
    pub(crate) get_hang: u64,
}

impl Rates {
    /// Some seeds are mild, some are wild, most leave out a few faults.
    pub(crate) fn drawn(dice: &mut Dice) -> Rates {
        let most = *dice.pick(&[0, 20, 60, 150]);
        let mut chance = || if dice.per_mille(300) { 0 } else { dice.below(most + 1) };
        Rates {
            refused: chance(),
            answer_lost: chance(),
            late: chance(),
            twice: chance(),
            conflict: chance(),
            hang: chance() / 4,
            slow: chance(),
            get_refused: chance(),
            get_hang: chance() / 4,
        }
    }

    fn draw(&self, dice: &mut Dice) -> PutFault {
        let mut at = dice.below(1_000);
        let table = [
            (self.refused, PutFault::Refused),
            (self.answer_lost, PutFault::AnswerLost),
            (self.late, PutFault::Late),
            (self.twice, PutFault::Twice),
            (self.conflict, PutFault::Conflict),
            (self.hang, PutFault::Hang),
        ];
        for (chance, fault) in table {
            match at.checked_sub(chance) {
                None => return fault,
                Some(rest) => at = rest,
            }
        }
        PutFault::None
    }
}

/// What is wrong with the store itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flaw {
    /// Every conditional write wins.
    IgnoresCondition,
    /// Two steps, with room for others in between.
    ChecksThenActs,
    /// The loser is told so, but its bytes are kept.
    OverwritesWhenRefusing,
    /// Listings are empty.
    ListsNothing,
}

/// Whether requests get through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Gate {
    Open,
    /// They wait.
    Held,
    /// They wait for ever: the process is gone.
    Cut,
}

/// Sees the key and the body of a write before it happens; what it gives back is written there first.
pub(crate) type Rival = Box<dyn FnMut(&str, &[u8]) -> Option<PutPayload> + Send>;

pub(crate) struct Faulty {
    bucket: Arc<InMemory>,
    dice: Mutex<Dice>,
    rates: Mutex<Rates>,
    /// Decides about the next writes to the journal, before the dice do.
    script: Mutex<VecDeque<PutFault>>,
    rival: Mutex<Option<Rival>>,
    gate: watch::Sender<Gate>,
    flaw: Mutex<Option<Flaw>>,
    denied: AtomicBool,
    log: Mutex<Vec<String>>,
}

impl Faulty {
    pub(crate) fn new(bucket: Arc<InMemory>, seed: u64) -> Faulty {
        Faulty {
            bucket,
            dice: Mutex::new(Dice::new(seed ^ 0xfa17)),
            rates: Mutex::default(),
            script: Mutex::default(),
            rival: Mutex::default(),
            gate: watch::Sender::new(Gate::Open),
            flaw: Mutex::default(),
            denied: AtomicBool::new(false),
            log: Mutex::default(),
        }
    }

    pub(crate) fn set_rates(&self, rates: Rates) {
        *self.rates.lock().unwrap() = rates;
    }

    pub(crate) fn set_script(&self, faults: impl IntoIterator<Item = PutFault>) {
        self.script.lock().unwrap().extend(faults);
    }

    pub(crate) fn set_rival(&self, rival: Rival) {
        *self.rival.lock().unwrap() = Some(rival);
    }

    pub(crate) fn set_flaw(&self, flaw: Flaw) {
        *self.flaw.lock().unwrap() = Some(flaw);
    }

    pub(crate) fn set_denied(&self, denied: bool) {
        self.denied.store(denied, Ordering::Relaxed);
    }

    pub(crate) fn set_gate(&self, gate: Gate) {
        // A process that is gone does not come back.
        self.gate.send_modify(|now| {
            if *now != Gate::Cut {
                *now = gate;
            }
        });
    }

    pub(crate) fn is_cut(&self) -> bool {
        *self.gate.borrow() == Gate::Cut
    }

    /// Every request since the last call: what was asked, of which key.
    pub(crate) fn take_log(&self) -> Vec<String> {
        std::mem::take(&mut self.log.lock().unwrap())
    }

    async fn pass(&self, kind: &str, key: &Path) {
        self.log.lock().unwrap().push(format!("{kind} {key}"));
        self.arrive().await;
        let (latency, slow) = {
            let mut dice = self.dice.lock().unwrap();
            let slow = dice.per_mille(self.rates.lock().unwrap().slow);
            (dice.between(1, 20), if slow { dice.between(50, 9_000) } else { 0 })
        };
        tokio::time::sleep(Duration::from_millis(latency + slow)).await;
        // Held or cut on the way: the bucket has not seen the request yet, or its answer never comes.
        self.arrive().await;
    }

    async fn arrive(&self) {
        let mut gate = self.gate.subscribe();
        if gate.wait_for(|gate| *gate == Gate::Open).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    async fn read_faults(&self) -> Result<()> {
        let (refused, hangs) = {
            let (mut dice, rates) = (self.dice.lock().unwrap(), self.rates.lock().unwrap());
            (dice.per_mille(rates.get_refused), dice.per_mille(rates.get_hang))
        };
        match (refused, hangs) {
            (true, _) => Err(failed("503 for a read")),
            (_, true) => std::future::pending().await,
            _ => Ok(()),
        }
    }

    fn next_fault(&self, key: &Path) -> PutFault {
        if key.as_ref().starts_with("journal/")
            && let Some(fault) = self.script.lock().unwrap().pop_front()
        {
            return fault;
        }
        let (mut dice, rates) = (self.dice.lock().unwrap(), self.rates.lock().unwrap());
        rates.draw(&mut dice)
    }

    async fn write(&self, key: &Path, body: PutPayload, options: PutOptions) -> Result<PutResult> {
        let bytes: Vec<u8> = body.iter().flatten().copied().collect();
        let before = self.rival.lock().unwrap().as_mut().and_then(|rival| rival(key.as_ref(), &bytes));
        if let Some(before) = before {
            // The rival may itself come too late.
            let _ = self.bucket.put_opts(key, before, PutMode::Create.into()).await;
        }
        let flaw = *self.flaw.lock().unwrap();
        match (flaw, &options.mode) {
            (Some(Flaw::IgnoresCondition), PutMode::Create) => self.bucket.put_opts(key, body, over()).await,
            (Some(Flaw::ChecksThenActs), PutMode::Create) => {
                let there = self.bucket.get_opts(key, GetOptions::default()).await;
                if there.is_ok() {
                    return self.bucket.put_opts(key, body, options).await;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
                self.bucket.put_opts(key, body, over()).await
            }
            (Some(Flaw::OverwritesWhenRefusing), PutMode::Create) => {
                let result = self.bucket.put_opts(key, body.clone(), options).await;
                self.bucket.put_opts(key, body, over()).await?;
                result
            }
            _ => self.bucket.put_opts(key, body, options).await,
        }
    }

    fn allowed(&self, key: &Path) -> Result<()> {
        match self.denied.load(Ordering::Relaxed) {
            true => Err(Error::PermissionDenied { path: key.to_string(), source: "403".into() }),
            false => Ok(()),
        }
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl ObjectStore for Faulty {
    async fn put_opts(&self, key: &Path, body: PutPayload, options: PutOptions) -> Result<PutResult> {
        self.pass("put", key).await;
        self.allowed(key)?;
        let result = match self.next_fault(key) {
            PutFault::None => self.write(key, body, options).await,
            PutFault::Refused => Err(failed("503, not applied")),
            PutFault::AnswerLost => {
                let _ = self.write(key, body, options).await;
                Err(failed("connection reset, applied"))
            }
            PutFault::Late => {
                let (bucket, key) = (Arc::clone(&self.bucket), key.clone());
                let after = Duration::from_millis(self.dice.lock().unwrap().between(5, 40_000));
                tokio::spawn(async move {
                    tokio::time::sleep(after).await;
                    let _ = bucket.put_opts(&key, body, options).await;
                });
                Err(failed("504, still under way"))
            }
            PutFault::Twice => {
                let _ = self.write(key, body.clone(), options.clone()).await;
                self.write(key, body, options).await
            }
            PutFault::Conflict => {
                Err(Error::AlreadyExists { path: key.to_string(), source: "409, nothing there".into() })
            }
            PutFault::Hang => {
                if self.dice.lock().unwrap().per_mille(500) {
                    let _ = self.write(key, body, options).await;
                }
                std::future::pending().await
            }
        };
        if self.is_cut() {
            std::future::pending::<()>().await;
        }
        result
    }

    async fn put_multipart_opts(&self, _: &Path, _: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        Err(Error::NotImplemented { operation: "multipart".into(), implementer: "Faulty".into() })
    }

    async fn get_opts(&self, key: &Path, options: GetOptions) -> Result<GetResult> {
        self.pass("get", key).await;
        self.allowed(key)?;
        self.read_faults().await?;
        self.bucket.get_opts(key, options).await
    }

    async fn get_ranges(&self, key: &Path, ranges: &[std::ops::Range<u64>]) -> Result<Vec<bytes::Bytes>> {
        self.pass("get", key).await;
        self.bucket.get_ranges(key, ranges).await
    }

    fn delete_stream(&self, keys: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.bucket.delete_stream(keys)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.log.lock().unwrap().push(format!("list {}", prefix.map_or("", |prefix| prefix.as_ref())));
        let refused = self.dice.lock().unwrap().per_mille(self.rates.lock().unwrap().get_refused);
        if refused {
            // Perhaps in the middle of a page.
            let shown = self.dice.lock().unwrap().below(4) as usize;
            let failure = stream::once(async { Err(failed("503 for a listing")) });
            return self.bucket.list(prefix).take(shown).chain(failure).boxed();
        }
        match *self.flaw.lock().unwrap() {
            Some(Flaw::ListsNothing) => stream::empty().boxed(),
            _ => self.bucket.list(prefix),
        }
    }

    fn list_with_offset(
        &self,
        prefix: Option<&Path>,
        offset: &Path,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        self.bucket.list_with_offset(prefix, offset)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.bucket.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.bucket.copy_opts(from, to, options).await
    }

    async fn rename_opts(&self, from: &Path, to: &Path, options: RenameOptions) -> Result<()> {
        self.bucket.rename_opts(from, to, options).await
    }
}

/// The bucket as it is, without any fault: keys and bodies below a folder, in order.
pub(crate) async fn contents(bucket: &InMemory, folder: &str) -> Vec<(String, bytes::Bytes)> {
    let found: Vec<_> = bucket.list(Some(&Path::from(folder))).try_collect().await.unwrap();
    let mut contents = Vec::new();
    for meta in found {
        let body =
            bucket.get_opts(&meta.location, GetOptions::default()).await.unwrap().bytes().await.unwrap();
        contents.push((meta.location.to_string(), body));
    }
    contents.sort();
    contents
}

fn over() -> PutOptions {
    PutMode::Overwrite.into()
}

fn failed(why: &'static str) -> Error {
    Error::Generic { store: "faulty", source: why.into() }
}

impl fmt::Debug for Faulty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Faulty")
    }
}

impl fmt::Display for Faulty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Faulty")
    }
}
