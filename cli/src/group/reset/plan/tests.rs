//! Where each partition would go on.

use std::collections::BTreeMap;

use strandline_core::manifest::state::apply;
use strandline_core::manifest::{Append, BatchMeta, Change, Commit, CommitId, CommitOffsets, OffsetCommit};
use ulid::Ulid;

use super::*;

/// The topic `t`: partition 0 from 3 to 10, partition 1 from 0 to 10, partition 2 empty. The topic `u`: one, empty. The
/// group `g` has committed 5 in `t` 0 and 10 in `t` 1.
fn manifest() -> Manifest {
    let (t, u) = (Uuid::from_u128(1), Uuid::from_u128(2));
    let create = |id, name: &str, partitions| Change::CreateTopic {
        id,
        name: name.to_owned(),
        partitions,
        configs: BTreeMap::new(),
    };
    let batch =
        BatchMeta { bytes: 10, offsets: 10, max_timestamp: 0, producer: None, joins: Default::default() };
    let append = |partition| {
        Change::Append(Append { topic: t, partition, segment: None, at: 0, crc: 0, batches: vec![batch] })
    };
    let commit = |partition, offset| OffsetCommit {
        topic: t,
        partition,
        offset,
        leader_epoch: -1,
        metadata: String::new(),
    };
    let offsets = CommitOffsets {
        group: "g".to_owned(),
        member: String::new(),
        epoch: -1,
        instance_id: None,
        offsets: vec![commit(0, 5), commit(1, 10)],
    };
    let changes = vec![
        create(t, "t", 3),
        create(u, "u", 1),
        append(0),
        append(1),
        Change::DeleteRecords { topic: t, partition: 0, before: 3 },
        Change::CommitOffsets(offsets),
    ];
    let id = CommitId { incarnation: Ulid::from_parts(1, 1), counter: 1 };
    let mut manifest = Manifest::default();
    apply(&mut manifest, 1, &Commit { id, oldest_open: 1, timestamp_ms: 1, changes }, 0);
    manifest
}

fn scope(texts: &[&str]) -> Vec<TopicPartitions> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

fn plan(group: &str, texts: &[&str], target: &Target) -> Result<Vec<(String, u32, i64)>> {
    let scope = scope(texts);
    let scope = (!scope.is_empty()).then_some(scope.as_slice());
    let moves = partitions(&manifest(), group, scope)?.into_iter().map(|of| go(of, target));
    moves.map(|of| of.map(|of| (of.partition.topic, of.partition.number, of.to))).collect()
}

fn offsets(group: &str, texts: &[&str], target: &Target) -> Vec<i64> {
    plan(group, texts, target).unwrap().into_iter().map(|(.., to)| to).collect()
}

#[test]
fn each_partition_goes_where_the_target_says() {
    assert_eq!(offsets("g", &["t"], &Target::Earliest), [3, 0, 0]);
    assert_eq!(offsets("g", &["t"], &Target::Latest), [10, 10, 0]);
    assert_eq!(offsets("g", &["t:1,0"], &Target::Offset(4)), [4, 4], "in the order of the partitions");
    assert_eq!(offsets("g", &["t:0"], &Target::Shift(2)), [7]);
    assert_eq!(offsets("g", &["t:1"], &Target::Shift(-4)), [6]);
}

#[test]
fn what_lies_outside_becomes_the_nearest_offset() {
    assert_eq!(offsets("g", &["t"], &Target::Offset(1)), [3, 1, 0]);
    assert_eq!(offsets("g", &["t"], &Target::Offset(i64::MAX)), [10, 10, 0]);
    for (by, expected) in [(-1_000, [3, 0]), (1_000, [10, 10]), (i64::MAX, [10, 10]), (i64::MIN, [3, 0])] {
        assert_eq!(offsets("g", &["t:0,1"], &Target::Shift(by)), expected, "{by}");
    }
}

#[test]
fn all_topics_are_those_with_committed_offsets() {
    let moves = plan("g", &[], &Target::Earliest).unwrap();
    assert_eq!(moves, [("t".to_owned(), 0, 3), ("t".to_owned(), 1, 0)]);
    let refused = plan("none", &[], &Target::Earliest).unwrap_err().to_string();
    assert!(refused.contains("none") && refused.contains("--topic"), "{refused}");
}

#[test]
fn a_partition_is_moved_once_and_must_be_there() {
    let moves = plan("new", &["t:1", "t", "u", "t:1"], &Target::Latest).unwrap();
    let names: Vec<_> = moves.iter().map(|(topic, number, _)| format!("{topic}{number}")).collect();
    assert_eq!(names, ["t0", "t1", "t2", "u0"]);
    for (texts, says) in [(["v"], "topic v"), (["t:3"], "no partition 3"), (["u:0,7"], "no partition 7")] {
        let refused = plan("g", &texts, &Target::Latest).unwrap_err().to_string();
        assert!(refused.contains(says), "{refused}");
    }
    let refused = plan("g", &["t"], &Target::Shift(1)).unwrap_err().to_string();
    assert!(refused.contains("partition 2 of t"), "there is nothing to shift: {refused}");
}

#[test]
fn a_plan_goes_through_a_file() {
    let manifest = manifest();
    let lines = from_csv("t,0,4\n\n \"t\", 1 , 99\r\nu,0,0").unwrap();
    let moves = from_lines(&manifest, "g", &lines).unwrap();
    assert_eq!(to_csv(&moves), "t,0,4\nt,1,10\nu,0,0\n");
    assert_eq!(moves.iter().map(|of| of.partition.committed).collect::<Vec<_>>(), [Some(5), Some(10), None]);
    assert_eq!(from_lines(&manifest, "g", &from_csv(&to_csv(&moves)).unwrap()).unwrap(), moves);
    for (text, says) in [
        ("t,0", "line 1"),
        ("t,0,1\nt,x,1", "line 2"),
        (",0,1", "line 1"),
        ("t,-1,1", "line 1"),
        ("t,0,1,2", "line 1"),
    ] {
        let refused = from_csv(text).unwrap_err().to_string();
        assert!(refused.contains(says), "{text}: {refused}");
    }
    for (text, says) in [("v,0,1", "topic v"), ("t,9,1", "partition 9"), ("t,0,1\nt,0,2", "named twice")] {
        let refused = from_lines(&manifest, "g", &from_csv(text).unwrap()).unwrap_err().to_string();
        assert!(refused.contains(says), "{text}: {refused}");
    }
}
