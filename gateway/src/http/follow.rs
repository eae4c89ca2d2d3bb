//! `GET /v1/topics/{topic}/events`: records as they come, as server-sent events (WHATWG HTML, section 9.2).
//!
//! Must not know where records lie. Invariant: the id of an event says how far each partition was read, so that a client that
//! comes back with it, at any node, misses nothing and sees nothing twice.

use std::collections::{BTreeMap, VecDeque};
use std::convert::Infallible;
use std::time::Duration;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Sse;
use axum::response::sse::{Event, KeepAlive};
use futures_util::{Stream, StreamExt, stream};
use serde::Deserialize;
use strandline_reader::{Isolation, OffsetSpec};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::sleep;
use tracing::debug;
use utoipa::IntoParams;
use uuid::Uuid;

use super::door::Door;
use super::params::{IsolationParam, Params, Place, Start};
use super::problem::{Kind, Problem, ProblemDetails};
use super::read::start_at;
use super::record::RecordJson;
use super::rows::{self, Wanted};
use crate::limits::{HTTP_FOLLOW_BYTES, HTTP_FOLLOWED_PARTITIONS, HTTP_RECORDS};
use crate::phase::Phase;

/// The id of the last event that a client saw.
const LAST_EVENT_ID: &str = "last-event-id";
/// How long one look for new records lasts.
const LOOK: Duration = Duration::from_secs(30);
/// How often an idle stream says that it is there: proxies cut what is silent.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// Before a store that did not answer is asked again.
const PAUSE: Duration = Duration::from_secs(1);

/// Which records.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct FollowParams {
    /// Where to begin: `latest`, `earliest`, or `@` and a moment; with `partition` also an offset.
    #[param(default = "latest", nullable = false)]
    from: Option<String>,
    /// One partition alone; without it, all of them, also those that are still to come.
    #[param(minimum = 0, nullable = false)]
    partition: Option<u32>,
    /// What of transactions is wanted.
    #[param(inline, default = "read-committed", nullable = false)]
    isolation: Option<IsolationParam>,
}

/// Follow records
///
/// Server-sent events, one a record: the id is for `Last-Event-ID`, with which a client goes on where it was, at any node; the
/// data is the record as JSON. Browsers do so by themselves.
#[utoipa::path(
    get, path = "/v1/topics/{topic}/events", tag = "Records", operation_id = "follow",
    params(
        ("topic" = String, Path, description = "The topic"),
        FollowParams,
        ("Last-Event-ID" = Option<String>, Header, nullable = false, description = "The id of the last event that was seen; goes before `from`"),
    ),
    responses(
        (status = 200, description = "Events, until you leave", body = String, content_type = "text/event-stream"),
        (status = "default", description = "What is wrong", body = ProblemDetails, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn follow(
    State(door): State<Door>,
    Place(topic): Place<String>,
    Params(params): Params<FollowParams>,
    headers: HeaderMap,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, Problem> {
    let permit =
        door.followers.clone().try_acquire_owned().map_err(|_| Door::too_busy("streams of events"))?;
    // What has come elsewhere is not new to a client that was there.
    door.catch_up().await?;
    let (id, partitions) = door.topic(&topic, |_, topic| (topic.id, topic.partitions.len())).await?;
    let isolation = Isolation::from(params.isolation.unwrap_or_default());
    let numbers: Vec<u32> = match params.partition {
        Some(partition) if partition as usize >= partitions => {
            return Err(Problem::unknown_partition(partition, partitions));
        }
        Some(partition) => vec![partition],
        None => (0..partitions as u32).collect(),
    };
    if numbers.len() > HTTP_FOLLOWED_PARTITIONS {
        let detail = format!(
            "the topic has {partitions} partitions, and one stream follows {HTTP_FOLLOWED_PARTITIONS} at most: name a partition"
        );
        return Err(Problem::new(Kind::InvalidRequest, detail));
    }
    let start = params.from.as_deref().map_or(Ok(Start::Spec(OffsetSpec::Latest)), Start::read)?;
    let offsets = match headers.get(LAST_EVENT_ID) {
        Some(seen) => resumed(id, seen.to_str().unwrap_or_default(), &numbers)?,
        None => {
            if matches!(start, Start::Offset(_)) && params.partition.is_none() {
                return Err(Problem::new(
                    Kind::InvalidRequest,
                    "from: an offset is that of a partition: name one",
                ));
            }
            let mut offsets = BTreeMap::new();
            for partition in numbers {
                offsets.insert(partition, start_at(&door, (id, partition), start, isolation).await?);
            }
            offsets
        }
    };
    let follower = Follower {
        door,
        name: topic,
        topic: id,
        isolation,
        seen: offsets.clone(),
        offsets,
        grows: params.partition.is_none(),
        told: false,
        ready: VecDeque::new(),
        turn: 0,
        _permit: permit,
    };
    Ok(Sse::new(follower.events()).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)))
}

/// Reads the id of an event: the topic, and `partition:offset` of each. A partition that is not there is one that has come
/// since, and so are all of them if the topic is another one of this name.
fn resumed(topic: Uuid, id: &str, numbers: &[u32]) -> Result<BTreeMap<u32, i64>, Problem> {
    let one = |part: &str| {
        let (partition, offset) = part.split_once(':')?;
        Some((partition.parse().ok()?, offset.parse().ok().filter(|offset| *offset >= 0)?))
    };
    let read = || {
        let (of, seen) = id.split_once(';')?;
        Some((of, seen.split(',').map(one).collect::<Option<BTreeMap<u32, i64>>>()?))
    };
    let (of, mut seen) =
        read().ok_or_else(|| Problem::new(Kind::InvalidRequest, "this Last-Event-ID is none of ours"))?;
    if of != short(topic) {
        seen.clear();
    }
    Ok(numbers.iter().map(|number| (*number, seen.get(number).copied().unwrap_or(0))).collect())
}

/// Enough to tell a topic from an earlier one of its name.
fn short(topic: Uuid) -> String {
    format!("{:08x}", topic.as_fields().0)
}

/// A client that follows a topic.
struct Follower {
    door: Door,
    name: String,
    topic: Uuid,
    isolation: Isolation,
    /// The next offset of each partition, as far as records are ready.
    offsets: BTreeMap<u32, i64>,
    /// The same as far as they were given out.
    seen: BTreeMap<u32, i64>,
    /// Partitions that come are followed, too.
    grows: bool,
    /// Whether the client knows where it began.
    told: bool,
    /// Records as JSON, with their partitions and offsets.
    ready: VecDeque<(u32, i64, String)>,
    /// Where the next pull begins among the partitions.
    turn: usize,
    _permit: OwnedSemaphorePermit,
}

impl Follower {
    fn events(self) -> impl Stream<Item = Result<Event, Infallible>> {
        stream::unfold(self, |mut follower| async move {
            let event = follower.next().await?;
            Some((Ok(event), follower))
        })
        .fuse()
    }

    /// `None`: the topic is gone, or the node is stopping; the client comes back by itself.
    async fn next(&mut self) -> Option<Event> {
        loop {
            if !self.told {
                // Without data it is no event, but the client notes the id: it may be cut off before the first record.
                self.told = true;
                return Some(Event::default().id(self.id()));
            }
            if let Some((partition, offset, record)) = self.ready.pop_front() {
                self.seen.insert(partition, offset.saturating_add(1));
                return Some(Event::default().id(self.id()).data(record));
            }
            self.seen.clone_from(&self.offsets);
            if self.door.phases.now() >= Phase::Stopping {
                return None;
            }
            self.look_for_partitions()?;
            if let Err(problem) = self.pull().await? {
                debug!(?problem, topic = self.name, "a stream of events waits for the store");
                tokio::select! {
                    biased;
                    () = self.door.phases.reached(Phase::Stopping) => return None,
                    () = sleep(PAUSE) => {}
                }
            }
        }
    }

    fn look_for_partitions(&mut self) -> Option<()> {
        let partitions =
            self.door.journal.view(|manifest| Some(manifest.topic(&self.topic)?.partitions.len()))?;
        if self.grows {
            let most = partitions.min(HTTP_FOLLOWED_PARTITIONS) as u32;
            for number in 0..most {
                self.offsets.entry(number).or_insert(0);
            }
        }
        Some(())
    }

    async fn pull(&mut self) -> Option<Result<(), Problem>> {
        let mut wanted: Vec<_> =
            self.offsets.iter().map(|(partition, offset)| self.wanted(*partition, *offset)).collect();
        // Each is the first one in its turn, so that a busy one cannot starve the others.
        self.turn = (self.turn + 1) % wanted.len().max(1);
        wanted.rotate_left(self.turn);
        let (pulled, _share) = rows::pull(&self.door, &wanted, self.isolation, LOOK).await?;
        let mut room = HTTP_FOLLOW_BYTES;
        for (wanted, rows) in wanted.iter().zip(pulled) {
            match rows {
                Ok(rows) => self.show(wanted.partition, &rows, &mut room),
                Err(problem) if problem.is(Kind::UnknownTopic) => return None,
                // What expired before it was read cannot be shown any more.
                Err(problem) if problem.is(Kind::OffsetOutOfRange) => self.skip(wanted)?,
                Err(problem) => return Some(Err(problem)),
            }
        }
        Some(Ok(()))
    }

    fn wanted(&self, partition: u32, offset: i64) -> Wanted {
        Wanted { topic: self.topic, partition, offset, max_bytes: HTTP_FOLLOW_BYTES, limit: HTTP_RECORDS }
    }

    /// Goes on at the first offset that is there. An offset beyond the end is of another topic of this name: that is the end.
    fn skip(&mut self, wanted: &Wanted) -> Option<()> {
        let start = self
            .door
            .journal
            .view(|manifest| Some(manifest.partition(&self.topic, wanted.partition)?.log_start))?;
        if wanted.offset >= start {
            return None;
        }
        self.offsets.insert(wanted.partition, start);
        Some(())
    }

    /// Makes records ready, as long as there is room; the others are read again.
    fn show(&mut self, partition: u32, rows: &rows::Rows, room: &mut usize) {
        for found in &rows.found {
            if *room == 0 {
                return;
            }
            let record = RecordJson::new(&self.name, partition, found.offset, &found.record);
            // Of strings and numbers: nothing can fail.
            let Ok(record) = serde_json::to_string(&record) else { continue };
            *room = room.saturating_sub(record.len());
            self.ready.push_back((partition, found.offset, record));
            self.offsets.insert(partition, found.offset.saturating_add(1));
        }
        if *room > 0 {
            self.offsets.insert(partition, rows.next_offset);
        }
    }

    fn id(&self) -> String {
        let parts: Vec<String> =
            self.seen.iter().map(|(partition, offset)| format!("{partition}:{offset}")).collect();
        format!("{};{}", short(self.topic), parts.join(","))
    }
}
