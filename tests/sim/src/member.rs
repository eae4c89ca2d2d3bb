//! Members of a consumer group, as Kafka's clients are: they find the coordinator, join, share the partitions out, read,
//! commit, and go on wherever the group had come to. And as they are at their worst: they vanish without a word, sleep
//! beyond their session and then commit what they had, or ask the wrong node.
//!
//! Must not know the checkers. A member commits only what it has read, from where the group had come to.

mod calls;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;
use strandline_kafka::error::ErrorCode;
use strandline_kafka::messages::{Request, Response, join_group, sync_group};
use tokio::time::{Instant, sleep};

use crate::client::Client;
use crate::history::{Assigned, GroupLife};
use crate::plan::{around, chance, pick};
use crate::world::World;

/// Between two heartbeats.
const BEAT: Duration = Duration::from_millis(1_500);

/// One process that is a member again and again.
pub(crate) struct Member {
    world: Arc<World>,
    group: GroupLife,
    number: usize,
    dice: Rng,
    /// `group.instance.id`.
    instance: Option<String>,
    session_ms: i32,
    /// Empty: none was given yet.
    id: String,
    /// The generation that it has its assignment of.
    generation: Option<i32>,
    /// Where it goes on, for each partition that is its own.
    owned: BTreeMap<u32, i64>,
    /// The same as they were last committed.
    committed: BTreeMap<u32, i64>,
    /// Partitions of the topic when it joined, or when it first shared them out in this generation: that one holds.
    width: u32,
    /// The generation that it shared out last, and how many partitions there were.
    shared_out: (i32, u32),
    coordinator: Option<Client>,
    reader: Option<Client>,
    beat_at: Instant,
}

/// What a code of the coordinator means for the member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Told {
    /// All is well.
    Fine,
    /// Somebody else may be the coordinator, or it may know later; nothing else is known.
    Later,
    /// The group begins a new generation.
    Rejoin,
    /// The member is none any more.
    Out,
}

impl Member {
    pub(crate) fn new(
        world: Arc<World>,
        group: GroupLife,
        number: usize,
        instance: Option<String>,
        mut dice: Rng,
    ) -> Member {
        let session_ms = pick(&mut dice, &[6_000, 6_000, 10_000]);
        Member {
            world,
            group,
            number,
            dice,
            instance,
            session_ms,
            id: String::new(),
            generation: None,
            owned: BTreeMap::new(),
            committed: BTreeMap::new(),
            width: 0,
            shared_out: (-1, 0),
            coordinator: None,
            reader: None,
            beat_at: Instant::now(),
        }
    }

    /// Until the group has read and committed everything that there will be.
    pub(crate) async fn run(mut self) {
        loop {
            let ending = self.world.at_work().await;
            if self.world.is_read(&self.group.name) {
                return self.leave().await;
            }
            if !ending {
                self.misbehave().await;
            }
            let went_well = match self.generation {
                None => self.join().await,
                Some(generation) => self.work(generation, ending).await,
            };
            let pause = if went_well { 80 } else { 300 };
            sleep(around(&mut self.dice, Duration::from_millis(pause))).await;
        }
    }

    /// One commit by somebody who is no member of a group that has none.
    pub(crate) async fn commit_by_hand(&mut self) {
        let offset = self.dice.i64(0..1_000);
        self.owned = BTreeMap::from([(0, offset)]);
        self.commit(-1).await;
        let ended =
            self.world.history().committed.iter().rev().find(|one| one.group == self.group.name).cloned();
        let code = ended.and_then(|one| one.ended).map_or(0, |(_, code)| code);
        if ![0, 14, 15, 16].contains(&code) {
            self.broken("K7", format!("a commit by hand got code {code}"));
        }
    }

    pub(crate) fn dice(&mut self) -> &mut Rng {
        &mut self.dice
    }

    async fn misbehave(&mut self) {
        match self.dice.u32(0..1_000) {
            0..10 => {
                self.note(format_args!("vanishes"));
                self.forget();
                (self.coordinator, self.reader) = (None, None);
                sleep(around(&mut self.dice, Duration::from_secs(3))).await;
            }
            10..16 => {
                self.leave().await;
                sleep(around(&mut self.dice, Duration::from_secs(3))).await;
            }
            16..22 => {
                let beyond = Duration::from_millis(self.session_ms as u64 + self.dice.u64(0..9_000));
                self.note(format_args!("sleeps for {beyond:?}"));
                sleep(beyond).await;
                if let (Some(generation), true) = (self.generation, self.dice.bool()) {
                    // What it read before it slept, whoever reads on meanwhile.
                    self.commit(generation).await;
                }
            }
            22..34 => {
                // A request of its past, which comes late.
                if let Some(generation) = self.generation.filter(|generation| *generation > 1) {
                    self.commit(generation - 1).await;
                }
            }
            34..42 => self.coordinator = Some(self.world.connect(&mut self.dice).await),
            _ => {}
        }
    }

    /// The member is none, and begins anew.
    fn forget(&mut self) {
        self.id.clear();
        self.generation = None;
        self.owned.clear();
    }

    async fn join(&mut self) -> bool {
        self.owned.clear();
        let Some(width) = self.ask_width().await else { return false };
        self.width = width;
        let protocol = join_group::Protocol {
            name: "range".to_owned(),
            metadata: self.group.topic_name.clone().into_bytes().into(),
        };
        let version = if self.instance.is_some() { 9 } else { pick(&mut self.dice, &[3, 5, 9]) };
        let request = join_group::Request {
            group_id: self.group.name.clone(),
            session_timeout_ms: self.session_ms,
            rebalance_timeout_ms: pick(&mut self.dice, &[6_000, 9_000]),
            member_id: self.id.clone(),
            group_instance_id: self.instance.clone(),
            protocol_type: "consumer".to_owned(),
            protocols: vec![protocol],
            ..Default::default()
        };
        let patience = Duration::from_millis(self.dice.u64(9_000..30_000));
        let answer = self.call(version, Request::JoinGroup(request), patience).await;
        let Some(Response::JoinGroup(joined)) = answer else { return false };
        if joined.error_code == ErrorCode::MemberIdRequired.code() {
            self.id = joined.member_id;
            return true;
        }
        if self.told("JoinGroup", joined.error_code) != Told::Fine {
            return false;
        }
        self.id.clone_from(&joined.member_id);
        self.note(format_args!("is {} in generation {}", self.id, joined.generation_id));
        if chance(&mut self.dice, 20) && !self.world.is_ending() {
            // It dies before it asks for its assignment.
            self.coordinator = None;
            sleep(Duration::from_secs(7)).await;
            return false;
        }
        self.sync(joined).await
    }

    async fn sync(&mut self, joined: join_group::Response) -> bool {
        let leads = joined.leader == self.id && !joined.skip_assignment;
        if leads {
            if self.shared_out.0 != joined.generation_id {
                self.shared_out = (joined.generation_id, self.width);
            }
            self.width = self.shared_out.1;
        } else if joined.skip_assignment {
            // A leader that came back under its name (KIP-814): what holds was shared out before, perhaps by a leader that
            // counted fewer partitions.
            let known = self.shared_out.0 == joined.generation_id;
            self.width = if known { self.shared_out.1 } else { 0 };
        }
        let request = sync_group::Request {
            group_id: self.group.name.clone(),
            generation_id: joined.generation_id,
            member_id: self.id.clone(),
            group_instance_id: self.instance.clone(),
            protocol_type: Some("consumer".to_owned()),
            protocol_name: Some("range".to_owned()),
            assignments: if leads { range(&joined.members, self.width) } else { Vec::new() },
        };
        let patience = Duration::from_millis(self.dice.u64(9_000..30_000));
        let answer = self.call(5, Request::SyncGroup(request), patience).await;
        let Some(Response::SyncGroup(synced)) = answer else { return false };
        if self.told("SyncGroup", synced.error_code) != Told::Fine {
            return false;
        }
        let Some(partitions) = numbers(&synced.assignment) else {
            self.broken("K7", format!("it was assigned {:?}", synced.assignment));
            return false;
        };
        self.note(format_args!("has {partitions:?} in generation {}", joined.generation_id));
        self.world.history().assigned.push(Assigned {
            group: self.group.name.clone(),
            owner: self.instance.clone().unwrap_or_else(|| self.id.clone()),
            generation: joined.generation_id,
            partitions: partitions.clone(),
            at_ms: self.world.trace.now_ms(),
        });
        self.beat_at = Instant::now() + BEAT;
        let Some(positions) = self.positions(&partitions).await else {
            // It joins again: as a member that it is already.
            return false;
        };
        self.owned = positions;
        self.committed.clear();
        self.generation = Some(joined.generation_id);
        true
    }

    /// One round of what a consumer does. `false`: it is to wait a little longer before the next.
    async fn work(&mut self, generation: i32, ending: bool) -> bool {
        if Instant::now() >= self.beat_at && !self.heartbeat(generation).await {
            return false;
        }
        for partition in self.owned.keys().copied().collect::<Vec<_>>() {
            self.read(partition).await;
        }
        // Its leader has counted fewer partitions than there are now.
        if chance(&mut self.dice, 60)
            && let Some(width) = self.ask_width().await
            && width > self.width
        {
            self.generation = None;
            return true;
        }
        let news = self.owned != self.committed;
        if (news && (ending || chance(&mut self.dice, 250))) || chance(&mut self.dice, 20) {
            return self.owned.is_empty() || self.commit(generation).await;
        }
        true
    }

    /// What a code means; anything that no client could make sense of is a broken promise.
    fn told(&mut self, api: &str, code: i16) -> Told {
        let told = match ErrorCode::try_from(code) {
            Ok(ErrorCode::None) => Told::Fine,
            Ok(
                ErrorCode::NotCoordinator
                | ErrorCode::CoordinatorNotAvailable
                | ErrorCode::CoordinatorLoadInProgress,
            ) => Told::Later,
            Ok(ErrorCode::RebalanceInProgress | ErrorCode::IllegalGeneration) => Told::Rejoin,
            // A static member's id goes to whoever joins under its name; the client dies of it, and is started again.
            Ok(ErrorCode::UnknownMemberId | ErrorCode::FencedInstanceId) => Told::Out,
            _ => {
                self.broken("K7", format!("{api} gave it code {code}"));
                Told::Later
            }
        };
        if told != Told::Fine {
            self.note(format_args!("{api} says {code}"));
        }
        match told {
            Told::Fine => {}
            Told::Later => self.coordinator = None,
            Told::Rejoin => self.generation = None,
            Told::Out => self.forget(),
        }
        told
    }

    fn note(&self, what: std::fmt::Arguments<'_>) {
        self.world.trace.note(&format!("{} member {}", self.group.name, self.number), what);
    }

    fn broken(&self, invariant: &'static str, what: String) {
        let (group, number) = (&self.group.name, self.number);
        self.world.violated(invariant, format!("member {number} of {group} ({}): {what}", self.id));
    }
}

/// Runs of partitions, as Kafka's range assignor gives them out.
fn range(members: &[join_group::Member], width: u32) -> Vec<sync_group::Assignment> {
    let mut ids: Vec<&str> = members.iter().map(|member| member.member_id.as_str()).collect();
    ids.sort_unstable();
    let count = ids.len() as u32;
    let first = |place: u32| place * width / count;
    let share = |(place, id): (u32, &str)| {
        let numbers: Vec<String> = (first(place)..first(place + 1)).map(|one| one.to_string()).collect();
        sync_group::Assignment { member_id: id.to_owned(), assignment: numbers.join(",").into_bytes().into() }
    };
    (0..).zip(ids).map(share).collect()
}

/// The partitions of an assignment.
pub(crate) fn numbers(assignment: &[u8]) -> Option<Vec<u32>> {
    let text = std::str::from_utf8(assignment).ok()?;
    text.split(',').filter(|number| !number.is_empty()).map(|number| number.parse().ok()).collect()
}
