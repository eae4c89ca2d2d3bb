//! From the names and ids in requests to topics, reading the journal when one is not known here.
//!
//! Must not know any request. Invariant: a topic is called unknown only after the journal was read to its end, or
//! under a code that says "try again".

use std::collections::{BTreeMap, BTreeSet};

use strandline_core::manifest::{Manifest, Topic};
use strandline_core::mutation::{self, Mutation};
use strandline_kafka::error::ErrorCode;
use tracing::warn;
use uuid::Uuid;

use crate::services::Services;

/// A topic as a request names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Wanted<'a> {
    /// By name.
    Name(&'a str),
    /// By id.
    Id(Uuid),
}

impl<'a> Wanted<'a> {
    /// By id in the versions that have it, otherwise by name.
    pub(crate) fn new(by_id: bool, name: &'a str, id: [u8; 16]) -> Wanted<'a> {
        if by_id { Wanted::Id(Uuid::from_bytes(id)) } else { Wanted::Name(name) }
    }

    /// The code for a topic that is not there.
    pub(crate) fn unknown(self) -> ErrorCode {
        match self {
            Wanted::Name(_) => ErrorCode::UnknownTopicOrPartition,
            Wanted::Id(_) => ErrorCode::UnknownTopicId,
        }
    }

    /// The topic in this manifest.
    pub(crate) fn find(self, manifest: &Manifest) -> Option<&Topic> {
        match self {
            Wanted::Name(name) => manifest.topic_named(name),
            Wanted::Id(id) => manifest.topic(&id),
        }
    }
}

/// What `pick` takes from each topic, in the order of `wanted`; the code to answer where there is none.
///
/// Topics that are not known here cost one read of the journal's end, however many they are. Where that fails, the
/// code is KAFKA_STORAGE_ERROR, the one that clients retry in every API; Java's consumer dies of a time-out in a Fetch.
pub(crate) async fn resolve<T>(
    services: &Services,
    wanted: &[Wanted<'_>],
    pick: impl Fn(&Topic) -> T,
) -> Vec<Result<T, ErrorCode>> {
    let look = |manifest: &Manifest| -> Vec<Option<T>> {
        wanted.iter().map(|wanted| wanted.find(manifest).map(&pick)).collect()
    };
    let mut found = services.journal.view(look);
    let mut failure = None;
    if found.iter().any(Option::is_none) && !mutation::is(Mutation::UnknownTopicFromStale) {
        match services.catch_up().await {
            Ok(()) => found = services.journal.view(look),
            Err(error) => {
                warn!(%error, "a topic is not known here and the journal cannot be read");
                failure = Some(ErrorCode::KafkaStorageError);
            }
        }
    }
    let answer = |(found, wanted): (Option<T>, &Wanted<'_>)| {
        found.ok_or_else(|| failure.unwrap_or_else(|| wanted.unknown()))
    };
    found.into_iter().zip(wanted).map(answer).collect()
}

/// The same once the journal was read to its end, for those who change a topic: a name that is known here may be that of
/// another topic by now.
pub(crate) async fn resolve_latest<T>(
    services: &Services,
    wanted: &[Wanted<'_>],
    pick: impl Fn(&Topic) -> T,
) -> Vec<Result<T, ErrorCode>> {
    if let Err(error) = services.catch_up().await {
        warn!(%error, "topics are to be changed and the journal cannot be read");
        return wanted.iter().map(|_| Err(ErrorCode::KafkaStorageError)).collect();
    }
    services.journal.view(|manifest| {
        let look = |wanted: &Wanted<'_>| wanted.find(manifest).map(&pick).ok_or_else(|| wanted.unknown());
        wanted.iter().map(look).collect()
    })
}

/// Names of topics by what they become in the names of metrics, where `.` and `_` are the same.
#[derive(Debug, Default)]
pub(crate) struct Collisions(BTreeMap<String, String>);

impl Collisions {
    /// Of the topics that are there. Nothing is looked at if none of the names could collide.
    pub(crate) fn of<'a>(services: &Services, names: impl IntoIterator<Item = &'a str>) -> Collisions {
        if !names.into_iter().any(may_collide) {
            return Collisions::default();
        }
        services.journal.view(Collisions::in_manifest)
    }

    fn in_manifest(manifest: &Manifest) -> Collisions {
        let names = manifest.topics().map(|topic| &topic.name).filter(|name| may_collide(name));
        Collisions(names.map(|name| (name.replace('.', "_"), name.clone())).collect())
    }

    /// The other topic that this one would be taken for.
    pub(crate) fn find(&self, name: &str) -> Option<&str> {
        self.0.get(&name.replace('.', "_")).map(String::as_str).filter(|other| *other != name)
    }
}

/// The topic that differs from `name` only in `.` and `_`. Kafka allows one of them at a time: in the names of metrics they
/// would be the same.
pub fn colliding_topic(manifest: &Manifest, name: &str) -> Option<String> {
    Collisions::in_manifest(manifest).find(name).map(str::to_owned)
}

fn may_collide(name: &str) -> bool {
    name.contains(['.', '_'])
}

/// Drops repetitions. A short request that names one large topic many times would otherwise get an endless answer.
pub(crate) fn once<T: Copy + Ord>(items: impl IntoIterator<Item = T>) -> Vec<T> {
    let mut seen = BTreeSet::new();
    items.into_iter().filter(|item| seen.insert(*item)).collect()
}
