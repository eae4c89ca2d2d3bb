//! The task that tells the others that this node lives, and looks who else does.
//!
//! Must not know requests. Invariants: other nodes' clocks are never looked at, only the store's stamps, against the stamp
//! of this node's own object; what a store does not answer leaves what was known; while no node of the cluster has
//! clients, no request is made, but for a rare look by those that have met others.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use strandline_core::rope::Rope;
use strandline_core::store::{Listed, Store};
use strandline_core::{Error, Result, paths};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout};
use tracing::{debug, error, info, warn};

use super::reach::{Reach, Reached, Target};
use super::said::Said;
use super::{Shared, View};
use crate::limits::{
    NODE_BEAT, NODE_BUSY, NODE_BUSY_ALONE, NODE_BYTES, NODE_DEAD, NODE_FORGOTTEN, NODE_LEAVE, NODE_PEEK,
    NODE_READ_AGAIN, NODE_REQUEST, NODE_SETTLED, NODES_LISTED, NODES_READ_SIDE_BY_SIDE, NODES_SWEPT,
};
use crate::metrics;
use crate::node::Peer;

/// How often the same quarrel about an id is logged.
const QUARREL_EVERY: Duration = Duration::from_secs(60);

pub(super) struct Heart {
    store: Store,
    own: Peer,
    incarnation: String,
    /// The store's stamp of the first object of this incarnation.
    since_ms: Option<i64>,
    reach: Reach,
    shared: Arc<Shared>,
    view: watch::Sender<View>,
    born: Instant,
    /// What nodes said, this one included, and the mark under which it was read.
    read: BTreeMap<i32, Read>,
    /// The others that said lately that they live, and their stamps.
    fresh: Vec<(i32, i64)>,
    reached: Reached,
    /// When this node's own object was written last.
    told: Option<Instant>,
    /// The store's clock: the stamp of this node's own object, and when that was.
    anchor: Option<(i64, Instant)>,
    /// Until then others may be there.
    company_until: Option<Instant>,
    others_busy: bool,
    quarrel: Quarrel,
}

/// What a node said.
struct Read {
    mark: Mark,
    at: Instant,
    said: Said,
}

/// Another one for another content: the store's mark, or the stamp where it has none, and the size.
type Mark = (Option<String>, Option<i64>, u64);

/// Another node that writes under our id.
#[derive(Default)]
struct Quarrel {
    /// Its stamps that were seen.
    stamps: Vec<i64>,
    logged: Option<Instant>,
    now: bool,
}

impl Heart {
    pub(super) fn new(
        store: Store,
        own: Peer,
        (reach, shared): (Reach, Arc<Shared>),
        view: watch::Sender<View>,
    ) -> Heart {
        let incarnation = store.env().uuid().simple().to_string();
        Heart {
            store,
            own,
            incarnation,
            since_ms: None,
            reach,
            shared,
            view,
            born: Instant::now(),
            read: BTreeMap::new(),
            fresh: Vec::new(),
            reached: Reached::default(),
            told: None,
            anchor: None,
            company_until: None,
            others_busy: false,
            quarrel: Quarrel::default(),
        }
    }

    pub(super) async fn run(mut self) {
        let shared = Arc::clone(&self.shared);
        loop {
            let begun = Instant::now();
            tokio::select! {
                biased;
                () = shared.leave.notified() => break,
                () = self.round() => {}
            }
            let next = self.next(begun);
            let leaves = loop {
                tokio::select! {
                    biased;
                    () = shared.leave.notified() => break true,
                    () = shared.wake.notified() => break false,
                    () = shared.doubt.notified() => self.dial_all().await,
                    () = pause(next) => break false,
                }
            };
            if leaves {
                break;
            }
            shared.awake();
        }
        self.leave().await;
    }

    /// A client asks: are those that we name still there?
    async fn dial_all(&mut self) {
        let ids: Vec<i32> = self.fresh.iter().map(|(id, _)| *id).collect();
        self.dial(&ids).await;
        self.publish();
        let dialled = Some(Instant::now());
        self.view.send_modify(|view| view.dialled = dialled);
    }

    async fn dial(&mut self, ids: &[i32]) {
        if self.reach == Reach::Trust {
            return;
        }
        let target = |(id, stamp_ms): &(i32, i64)| {
            let said = &self.read.get(id)?.said;
            let at = said.peer().listeners.first()?.clone();
            let incarnation = said.incarnation.clone();
            Some(Target { id: *id, incarnation, stamp_ms: *stamp_ms, host: at.host, port: at.port })
        };
        let asked = self.fresh.iter().filter(|(id, _)| ids.contains(id));
        let targets = asked.filter_map(target).collect();
        self.reached.dial(targets).await;
    }

    /// When to look next; `None`: when a client comes.
    fn next(&self, begun: Instant) -> Option<Instant> {
        if self.view.borrow().refused.is_some() {
            return None;
        }
        // In this order: a client that comes in between is seen by one of the two.
        self.shared.asleep();
        if self.beats() {
            self.shared.awake();
            return Some(begun + NODE_BEAT);
        }
        debug!("no node has clients: falling asleep");
        self.company_until.filter(|until| *until > begun).map(|_| begun + NODE_PEEK)
    }

    fn beats(&self) -> bool {
        let (lately, young) = match self.fresh.is_empty() {
            true if self.quarrel.stamps.is_empty() => (NODE_BUSY_ALONE, NODE_BUSY_ALONE),
            // There was a sign of another one with this id: one more, and one of the two has to end.
            true => (NODE_BUSY_ALONE, NODE_SETTLED),
            false => (NODE_BUSY, NODE_BUSY),
        };
        self.shared.busy(lately) || self.others_busy || self.born.elapsed() < young
    }

    async fn round(&mut self) {
        if self.view.borrow().refused.is_some() {
            return;
        }
        let mut done = Ok(());
        // After a long sleep its own clock has drifted away from the store's: a new stamp first.
        let stale = self.told.is_none_or(|told| told.elapsed() > NODE_BUSY);
        let told = self.beats() && stale;
        if told {
            done = self.tell().await;
        }
        if done.is_ok() {
            done = self.look().await;
        }
        let refused = self.view.borrow().refused.is_some();
        if done.is_ok() && !told && !refused && self.beats() {
            done = self.tell().await;
        }
        let failed = done.as_ref().err().map(ToString::to_string);
        let before = self.view.borrow().failed;
        match failed {
            Some(why) if !before => {
                warn!(error = why, "the store does not say which nodes live; what was known stays")
            }
            _ => {}
        }
        let (failed, looked) = (done.is_err(), Some(Instant::now()));
        self.view.send_modify(|view| (view.failed, view.looked) = (failed, looked));
    }

    async fn tell(&mut self) -> Result<()> {
        let said = Said::of(&self.own, (&self.incarnation, self.since_ms), self.shared.busy(NODE_BUSY));
        let body = Rope::from(Bytes::from(said.encode()));
        // Without an answer it may land all the same, at a time that is not known here: no anchor for its stamp.
        self.told = None;
        in_time(self.store.put(&paths::node(self.own.id), &body)).await?;
        self.told = Some(Instant::now());
        Ok(())
    }

    async fn look(&mut self) -> Result<()> {
        let listed = in_time(self.store.list(paths::NODES, NODES_LISTED)).await?;
        let now = Instant::now();
        let mut nodes: BTreeMap<i32, Listed> =
            listed.into_iter().filter_map(|found| Some((paths::node_id(&found.key)?, found))).collect();
        if let Some(own) = nodes.remove(&self.own.id) {
            self.look_at_own(&own).await;
        }
        // A stamp of the future says that our own idea of the store's clock is behind.
        let clock = self.anchor.map(|(stamp_ms, at)| stamp_ms + at.elapsed().as_millis() as i64);
        let Some(store_ms) = nodes.values().map(|found| found.stamp_ms).chain(clock).max() else {
            self.fresh.clear();
            self.publish();
            return Ok(());
        };
        let age = |found: &Listed| Duration::from_millis((store_ms - found.stamp_ms).max(0) as u64);
        if let Some(youngest) = nodes.values().map(age).min() {
            self.company_until = NODE_FORGOTTEN.checked_sub(youngest).map(|left| now + left);
        }
        let (fresh, old): (Vec<_>, Vec<_>) = nodes.into_iter().partition(|(_, found)| age(found) < NODE_DEAD);
        let forgotten = old.into_iter().filter(|(_, found)| age(found) > NODE_FORGOTTEN);
        let forgotten: Vec<String> = forgotten.take(NODES_SWEPT).map(|(_, found)| found.key).collect();
        self.read_all(&fresh).await;
        self.note(&fresh);
        // Those that are new here, and those that have missed a beat.
        let known = Arc::clone(&self.view.borrow().live);
        let late = |found: &Listed| age(found) > NODE_BEAT * 3 / 2;
        let new = |id: i32| !known.iter().any(|peer| peer.id == id);
        let doubtful = fresh.iter().filter(|(id, found)| new(*id) || late(found)).map(|(id, _)| *id);
        let doubtful: Vec<i32> = doubtful.collect();
        self.dial(&doubtful).await;
        for key in forgotten {
            // It will be tried again, by us or another node.
            let _ = in_time(self.store.delete(&key)).await;
        }
        self.publish();
        Ok(())
    }

    /// Keeps who said lately that it lives, and no more.
    fn note(&mut self, fresh: &[(i32, Listed)]) {
        self.fresh = fresh.iter().map(|(id, found)| (*id, found.stamp_ms)).collect();
        for (id, stamp_ms) in &self.fresh {
            if let Some(read) = self.read.get(id) {
                self.reached.seen(*id, &read.said.incarnation, *stamp_ms);
            }
        }
        let (own, fresh) = (self.own.id, &self.fresh);
        let is_fresh = |id: i32| fresh.iter().any(|(fresh, _)| *fresh == id);
        self.reached.retain(is_fresh);
        self.read.retain(|id, _| *id == own || is_fresh(*id));
    }

    /// Reads what is new. What cannot be read, or makes no sense, is as if it were not there.
    async fn read_all(&mut self, fresh: &[(i32, Listed)]) {
        let known = |id: &i32, mark: &Mark| {
            let read = self.read.get(id).filter(|read| read.at.elapsed() < NODE_READ_AGAIN);
            read.is_some_and(|read| read.mark == *mark)
        };
        let unread = fresh.iter().filter(|(id, found)| !known(id, &mark(found))).cloned();
        let reads: Vec<_> = unread
            .map(|(id, found)| {
                let store = self.store.clone();
                async move { (id, read(&store, id, &found).await) }
            })
            .collect();
        let reads: Vec<_> = stream::iter(reads).buffered(NODES_READ_SIDE_BY_SIDE).collect().await;
        for (id, read) in reads {
            match read {
                Ok(Some(read)) => drop(self.read.insert(id, read)),
                Ok(None) => drop(self.read.remove(&id)),
                Err(error) => debug!(node = id, %error, "what a node says cannot be read"),
            }
        }
    }

    /// The object under our own id: a stamp of the store's clock, or somebody else's.
    async fn look_at_own(&mut self, own: &Listed) {
        let id = self.own.id;
        if self.read.get(&id).is_none_or(|read| read.mark != mark(own)) {
            match read(&self.store, id, own).await {
                Ok(Some(read)) => drop(self.read.insert(id, read)),
                Ok(None) | Err(_) => return,
            }
        }
        let Some(Read { said, .. }) = self.read.get(&id) else { return };
        self.quarrel.now = said.incarnation != self.incarnation;
        if self.quarrel.now {
            let (place, younger) = (said.place(), said.is_younger(&self.incarnation, self.since_ms));
            self.quarrel_with(place, younger, own.stamp_ms);
        } else if let Some(told) = self.told {
            self.anchor = Some((own.stamp_ms, told));
            self.since_ms.get_or_insert(own.stamp_ms);
        }
    }

    /// Somebody wrote under our id after we did. Once may be a late write of a node that is gone, twice is a node that
    /// lives; the younger of the two ends if it is new.
    fn quarrel_with(&mut self, place: String, younger: bool, stamp_ms: i64) {
        if !self.quarrel.stamps.contains(&stamp_ms) {
            self.quarrel.stamps.truncate(1);
            self.quarrel.stamps.insert(0, stamp_ms);
        }
        if self.quarrel.stamps.len() < 2 {
            return;
        }
        let id = self.own.id;
        if !younger && self.born.elapsed() < NODE_SETTLED {
            self.view.send_modify(|view| view.refused = Some(place));
        } else if self.quarrel.logged.is_none_or(|logged| logged.elapsed() > QUARREL_EVERY) {
            self.quarrel.logged = Some(Instant::now());
            error!(
                id,
                other = place,
                "another node of this store has the same node id: clients will reach only one of the two; give each \
                 its own --node-id"
            );
        }
    }

    /// Says who lives to whoever asks.
    fn publish(&mut self) {
        let there = || self.fresh.iter().filter(|(id, _)| !self.reached.is_gone(*id));
        let said = || there().filter_map(|(id, _)| Some(&self.read.get(id)?.said));
        let living = || said().filter(|said| !said.draining);
        self.others_busy = living().any(|said| said.busy);
        let mut live: Vec<Peer> = living().map(Said::peer).chain([self.own.clone()]).collect();
        live.sort_by_key(|peer| peer.id);
        metrics::NODES_LIVE.set(live.len() as i64);
        let before = Arc::clone(&self.view.borrow().live);
        if *before == *live {
            return;
        }
        let ids = |nodes: &[Peer]| nodes.iter().map(|node| node.id).collect::<Vec<_>>();
        info!(before = ?ids(&before), now = ?ids(&live), "the nodes that live have changed");
        self.view.send_modify(|view| view.live = Arc::from(live));
    }

    /// Takes our name off the list, unless somebody else stands there.
    async fn leave(self) {
        if !self.quarrel.now && self.told.is_some() {
            let gone = timeout(NODE_LEAVE, self.store.delete(&paths::node(self.own.id))).await;
            if !matches!(gone, Ok(Ok(()))) {
                debug!("the others will notice that this node is gone");
            }
        }
        self.view.send_modify(|view| view.left = true);
    }
}

async fn pause(until: Option<Instant>) {
    match until {
        Some(until) => sleep_until(until).await,
        None => std::future::pending().await,
    }
}

fn mark(found: &Listed) -> Mark {
    (found.tag.clone(), found.tag.is_none().then_some(found.stamp_ms), found.size)
}

async fn read(store: &Store, id: i32, found: &Listed) -> Result<Option<Read>> {
    if !(1..=NODE_BYTES).contains(&found.size) {
        return Ok(None);
    }
    let body = in_time(store.get_range(&found.key, 0..NODE_BYTES)).await?;
    let read = |said| Read { mark: mark(found), at: Instant::now(), said };
    Ok(Said::decode(id, &body.to_bytes()).map(read))
}

async fn in_time<T>(request: impl Future<Output = Result<T>>) -> Result<T> {
    let late = |_| Error::Unknown("the store gave no answer in time".into());
    timeout(NODE_REQUEST, request).await.unwrap_or_else(|elapsed| Err(late(elapsed)))
}
