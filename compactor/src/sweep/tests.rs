//! D2 and D3: what any state from the floor on needs stays, and in the end nothing else is there; whatever happens to a sweep.
//!
//! - `world`: a cluster to which everything happens that makes garbage
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod world;

use futures_util::future::join_all;
use strandline_core::manifest::Outcome;
use strandline_core::paths;
use strandline_core::scrub::Count;
use tokio::time::sleep;
use ulid::Ulid;

use super::*;
use crate::testing::{Disk, Trap, for_seeds};
use world::{HOUR, World, assert_whole, newest_floor, open};

fn go(_: &Progress) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

async fn sweep(journal: &Journal) -> Report {
    Sweep::new(journal.clone()).run(&go).await.unwrap()
}

/// Sweeps until there is nothing left to do.
async fn settle(journal: &Journal) {
    for _ in 0..40 {
        sleep(HOUR * 5).await;
        sweep(journal).await;
    }
}

/// Where much has happened, and a floor lies a day back.
async fn grown(seed: u64) -> World {
    let mut world = World::new(seed).await;
    for _ in 0..4 {
        for _ in 0..25 {
            world.step().await;
        }
        world.orphans().await;
        world.append_segment().await;
        world.compact().await;
        sleep(HOUR * 9).await;
        sweep(&world.journal).await;
        world.remember().await;
    }
    world
}

#[test]
fn what_is_needed_stays_and_all_else_goes() {
    let mut gone = [0; Kind::ALL.len()];
    let counted = std::sync::Mutex::new(&mut gone);
    for_seeds(20, |seed| {
        let counted = &counted;
        async move {
            let mut world = World::new(seed).await;
            for _ in 0..150 {
                world.step().await;
                if world.dice.u8(..6) == 0 {
                    let report = sweep(&world.journal).await;
                    for (count, kind) in counted.lock().unwrap().iter_mut().zip(Kind::ALL) {
                        *count += report.part(kind).gone.objects;
                    }
                    assert_eq!(report.unjudged, []);
                    world.remember().await;
                    world.assert_nothing_needed_is_gone().await;
                }
            }
            settle(&world.journal).await;
            world.remember().await;
            world.assert_nothing_needed_is_gone().await;
            world.assert_only_needed_is_there().await;
            // And then nothing more is done.
            let (there, tail) = (world.disk.keys("").await, world.journal.view(|manifest| manifest.applied));
            sleep(HOUR * 50).await;
            let report = sweep(&world.journal).await;
            assert_eq!((report.gone(), report.prepared), (Count::default(), Prepared::default()));
            assert_eq!(world.disk.keys("").await, there);
            assert_eq!(world.journal.view(|manifest| manifest.applied), tail);
        }
    });
    assert!(gone.iter().all(|count| *count > 20), "{gone:?} of {:?}", Kind::ALL);
}

/// Cut off at any request, whether it came to the bucket or not: nothing is lost, and the next sweep does the rest.
#[test]
fn a_sweep_that_dies_anywhere_is_taken_up() {
    for_seeds(2, |seed| async move {
        let world = grown(seed).await;
        sleep(HOUR * 26).await;
        let whole = world.disk.fork();
        let expected = sweep(&open(&whole, 5).await).await;
        assert!(
            expected.gone().objects > 10 && expected.floor.after > expected.floor.before,
            "{expected:#?}"
        );
        for at in 0.. {
            let mut died = false;
            for applied in [false, true] {
                let disk = world.disk.fork();
                let (way, store) = disk.way(at);
                let journal = Journal::open(store, Default::default()).await.unwrap();
                way.set_trap(Trap { at, applied });
                tokio::select! {
                    biased;
                    () = way.sprung() => died = true,
                    report = sweep(&journal) => assert_eq!(report.gone(), expected.gone()),
                }
                assert_whole(&disk).await;
                let next = open(&disk, 6).await;
                sweep(&next).await;
                let left = disk.keys("").await;
                let swept: Vec<_> = whole.keys("").await.into_iter().collect();
                // The clock of a sweep that died stays for a day, and the end of the journal may be prepared once more.
                let more = left.iter().filter(|key| !swept.contains(key) && !key.starts_with("probe/"));
                let later = |key: &&String| key.starts_with("journal/") || key.starts_with("checkpoint/");
                assert_eq!(more.filter(|key| !later(key)).collect::<Vec<_>>(), Vec::<&String>::new());
                assert_whole(&disk).await;
            }
            if !died {
                assert!(at > 30, "there were requests");
                break;
            }
        }
    });
}

/// A sweep stops anywhere, and days later goes on, while others have swept and much has happened.
#[test]
fn a_sweep_that_sleeps_for_days_does_no_harm() {
    for_seeds(25, |seed| async move {
        let mut world = grown(seed).await;
        sleep(HOUR * 26).await;
        let (way, store) = world.disk.way(seed);
        let journal = Journal::open(store, Default::default()).await.unwrap();
        way.set_trap(Trap { at: world.dice.u64(0..45), applied: world.dice.bool() });
        let sleeper = tokio::spawn(async move { Sweep::new(journal).run(&go).await });
        for _ in 0..60 {
            world.step().await;
            if world.dice.u8(..8) == 0 {
                sweep(&world.journal).await;
            }
        }
        way.reopen();
        // What it asked before may have failed by now.
        let _ = sleeper.await.unwrap();
        world.remember().await;
        world.assert_nothing_needed_is_gone().await;
        settle(&world.journal).await;
        world.remember().await;
        world.assert_nothing_needed_is_gone().await;
        world.assert_only_needed_is_there().await;
    });
}

/// Several at once, on a store that fails and loses answers, while records are written.
#[test]
fn sweeps_race_one_another() {
    for_seeds(25, |seed| async move {
        let mut world = grown(seed).await;
        for round in 0..3 {
            sleep(HOUR * 25).await;
            let mut sweeps = Vec::new();
            for number in 0..3 {
                let (way, store) = world.disk.way(seed * 100 + round * 10 + number);
                let journal = Journal::open(store, Default::default()).await.unwrap();
                way.set_faults(80, 400);
                sweeps.push(tokio::spawn(async move { Sweep::new(journal).run(&go).await }));
            }
            for _ in 0..10 {
                world.append_segment().await;
                world.compact().await;
                world.remember().await;
            }
            for swept in join_all(sweeps).await {
                if let Err(error) = swept.unwrap() {
                    let passes = matches!(error, Error::Unavailable { .. } | Error::Unknown(_));
                    assert!(passes, "{error}");
                }
            }
            world.remember().await;
            world.assert_nothing_needed_is_gone().await;
        }
        settle(&world.journal).await;
        world.remember().await;
        world.assert_only_needed_is_there().await;
    });
}

/// What a dry run says is what a sweep does; and it only reads.
#[test]
fn a_survey_says_what_a_sweep_does() {
    for_seeds(10, |seed| async move {
        let world = grown(seed).await;
        sleep(HOUR * 26).await;
        let (way, store) = world.disk.way(1);
        let said = survey(&store, &go).await.unwrap();
        let asked = way.take_log();
        assert!(asked.iter().all(|one| one.starts_with("get ") || one.starts_with("list ")), "{asked:?}");
        assert!(said.dry_run && said.gone().objects > 0);
        let done = sweep(&world.journal).await;
        assert_eq!((said.floor, said.unknown), (done.floor, done.unknown));
        for kind in Kind::ALL {
            assert_eq!(said.part(kind), done.part(kind), "{kind:?}");
        }
    });
}

/// The floor moves to checkpoints of a certain age, at certain times; what it passed waits.
#[test]
fn the_floor_keeps_its_times() {
    for_seeds(1, |_| async move {
        let mut world = World::new(1).await;
        world.propose(vec![Change::Tick]).await;
        let first = world.journal.write_checkpoint().await.unwrap();
        let minute = HOUR / 60;
        sleep(HOUR - minute).await;
        assert_eq!(sweep(&world.journal).await.floor.after, 0);
        sleep(minute * 2).await;
        // A checkpoint that cannot be read is not followed.
        let key = paths::checkpoint(first);
        let body = world.disk.get(&key).await.unwrap();
        world.disk.put(&key, body.slice(..20)).await;
        sleep(HOUR).await;
        assert_eq!(sweep(&world.journal).await.floor.after, 0);
        world.disk.put(&key, body).await;
        sleep(HOUR).await;
        assert_eq!(
            sweep(&world.journal).await.floor,
            Floor { before: 0, after: first, judged_by: Some(first) }
        );

        world.append_inline().await;
        let second = world.journal.write_checkpoint().await.unwrap();
        sleep(HOUR * 4 - minute).await;
        assert_eq!(sweep(&world.journal).await.floor.after, first);
        sleep(minute * 2).await;
        let report = sweep(&world.journal).await;
        assert_eq!((report.floor.before, report.floor.after), (first, second));
        assert_eq!((report.checkpoints.gone.objects, report.checkpoints.young.objects), (0, 1));
        assert_eq!((report.slots.gone.objects, report.slots.young.objects), (0, second - 1));

        // A day after the first move, to the minute; what the second passed waits for its own day.
        sleep(HOUR * 20 - minute * 2).await;
        assert_eq!(sweep(&world.journal).await.slots.gone.objects, 0);
        sleep(minute * 2).await;
        let report = sweep(&world.journal).await;
        assert_eq!((report.slots.gone.objects, report.slots.young.objects), (first - 1, second - first));
        let slots = world.disk.keys("journal").await;
        assert_eq!(slots.first(), Some(&paths::slot(first)));
        sleep(HOUR * 5).await;
        sweep(&world.journal).await;
        // The slot in which the record still lies stays.
        let slots = world.disk.keys("journal").await;
        let expected = [second].map(paths::slot);
        assert_eq!(
            slots.iter().cloned().collect::<Vec<_>>(),
            expected,
            "{:?}",
            newest_floor(&world.disk).await
        );
    });
}

/// Slots below the floor in which records lie stay for as long as the records do.
#[test]
fn slots_with_records_stay() {
    for_seeds(1, |_| async move {
        let mut world = World::new(2).await;
        for _ in 0..5 {
            world.append_inline().await;
        }
        let used = world.journal.view(|manifest| manifest.applied - 4..=manifest.applied);
        world.propose(vec![Change::Tick]).await;
        settle(&world.journal).await;
        world.remember().await;
        world.assert_only_needed_is_there().await;
        for slot in used.clone() {
            assert!(world.disk.get(&paths::slot(slot)).await.is_some());
        }
        let topic = world.topics[0];
        world.journal.delete_topic(topic).await.unwrap().unwrap();
        settle(&world.journal).await;
        for slot in used {
            assert!(world.disk.get(&paths::slot(slot)).await.is_none());
        }
    });
}

/// What an index leads to cannot be told while one of its nodes cannot be read: all of that partition stays.
#[test]
fn an_index_that_cannot_be_read_keeps_everything() {
    for_seeds(10, |seed| async move {
        let mut world = World::new(seed).await;
        for _ in 0..12 {
            world.append_segment().await;
            world.append_inline().await;
            sleep(HOUR * 3).await;
            world.compact().await;
        }
        world.orphans().await;
        sleep(HOUR * 30).await;
        world.propose(vec![Change::Tick]).await;
        let nodes: Vec<_> = world.disk.keys("index").await.into_iter().collect();
        let needed = world.needed(&world.journal.view(Manifest::clone)).await;
        let inside: Vec<_> = nodes.iter().filter(|key| needed.contains(*key)).collect();
        let key = inside[world.dice.usize(..inside.len())].clone();
        let body = world.disk.get(&key).await.unwrap();
        match world.dice.bool() {
            true => world.disk.delete(&key).await,
            false => world.disk.put(&key, body.slice(..body.len() - 1)).await,
        }
        for _ in 0..4 {
            sleep(HOUR * 5).await;
            sweep(&world.journal).await;
        }
        let report = sweep(&world.journal).await;
        assert!(report.unjudged.iter().any(|unjudged| unjudged.key == key), "{report:#?}");
        world.disk.put(&key, body).await;
        world.remember().await;
        world.assert_nothing_needed_is_gone().await;
        settle(&world.journal).await;
        world.assert_only_needed_is_there().await;
    });
}

/// What was not written by a node of ours stays, and is counted.
#[test]
fn what_is_not_ours_stays() {
    for_seeds(1, |_| async move {
        let world = grown(3).await;
        let id = Ulid::from_parts(5, 5);
        let foreign = [
            "journal/7".to_owned(),
            "journal/00000000000000000001/x".to_owned(),
            "checkpoint/1".to_owned(),
            "floor/x".to_owned(),
            "segment/zz/x".to_owned(),
            format!("segment/00/{id}"),
            format!("chunk/{}/0/5-{id}.batches", uuid::Uuid::nil()),
            format!("chunk/{}/0/{:020}-{id}.avro", uuid::Uuid::nil(), 5),
            format!("index/{}/0/x", uuid::Uuid::nil()),
            "probe/x".to_owned(),
        ];
        for key in foreign.iter().chain([&"elsewhere/file".to_owned(), &"inbox/x".to_owned()]) {
            world.disk.put(key, "12345").await;
        }
        // The same where they are ours.
        let ours = [
            paths::segment(id),
            paths::chunk(uuid::Uuid::nil(), 0, 5, id, "batches"),
            paths::index(uuid::Uuid::nil(), 0, id),
            paths::probe(id, "race"),
        ];
        for key in &ours {
            world.disk.put(key, "12345").await;
        }
        sleep(HOUR * 3).await;
        sweep(&world.journal).await;
        assert!(world.disk.get(&ours[3]).await.is_some(), "somebody may be at work with it");
        settle(&world.journal).await;
        let report = sweep(&world.journal).await;
        assert_eq!(report.unknown, Count { objects: 10, bytes: 50 });
        let there = world.disk.keys("").await;
        assert!(
            foreign
                .iter()
                .chain([&"elsewhere/file".to_owned(), &"inbox/x".to_owned()])
                .all(|key| there.contains(key))
        );
        assert!(ours.iter().all(|key| !there.contains(key)), "{there:?}");
    });
}

/// An answer to the floor's move that is lost, or never comes to the bucket.
#[test]
fn an_unclear_move_of_the_floor_is_looked_at() {
    for_seeds(1, |_| async move {
        let world = World::new(4).await;
        let slot = world.journal.write_checkpoint().await.unwrap();
        sleep(HOUR * 2).await;
        let disk: Disk = world.disk.fork();
        let (way, store) = disk.way(1);
        let journal = Journal::open(store, Default::default()).await.unwrap();
        // Every answer but a few is lost.
        way.set_faults(500, 10);
        for _ in 0..40 {
            if Sweep::new(journal.clone()).run(&go).await.is_ok_and(|report| report.floor.after == slot) {
                break;
            }
        }
        assert_eq!(newest_floor(&disk).await, slot);
        assert_eq!(disk.keys("floor").await.len(), 1, "one move, however often it was tried");
    });
}

/// Whoever watches may end it at any object; it says so, and what it says is true.
#[test]
fn a_sweep_can_be_stopped() {
    for_seeds(5, |seed| async move {
        let world = grown(seed).await;
        sleep(HOUR * 26).await;
        for at in [1, 5, 17] {
            let disk = world.disk.fork();
            let before = disk.keys("").await;
            let seen = std::sync::atomic::AtomicU64::new(0);
            let watch = |_: &Progress| match seen.fetch_add(1, std::sync::atomic::Ordering::Relaxed) + 1 == at
            {
                true => ControlFlow::Break(()),
                false => ControlFlow::Continue(()),
            };
            let report = Sweep::new(open(&disk, 3).await).run(&watch).await.unwrap();
            assert!(report.stopped && seen.into_inner() == at);
            let there = disk.keys("").await;
            assert_eq!(before.difference(&there).count() as u64, report.gone().objects);
            assert_eq!(report.prepared, Prepared::default());
            assert_whole(&disk).await;
        }
    });
}

/// A sweep may run beside everything else.
#[test]
fn a_sweep_can_be_spawned() {
    fn is_send<T: Send>(_: T) {}
    for_seeds(1, |seed| async move {
        let journal = open(&Disk::new(), seed).await;
        let sweep = Sweep::new(journal.clone());
        is_send(sweep.run(&go));
        assert!(matches!(journal.propose(vec![Change::Tick]).await.unwrap()[..], [Outcome::Applied]));
    });
}
