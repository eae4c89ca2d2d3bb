//! Members of the classic protocol in a group whose coordinator assigns, and what becomes of a group when the first member
//! of the new protocol comes or the last one goes.

use bytes::Bytes;
use strandline_kafka::consumer_protocol;
use strandline_kafka::messages::{join_group, leave_group};

use super::mixed_kit::{Old, in_words};
use super::*;
use crate::groups::classic::subscription;

#[test]
fn the_first_new_member_makes_a_classic_group_one_that_is_assigned() {
    let mut bench = Bench::new(&[("t", 4)]);
    let mut old = Old::new(true, &["t"]);
    bench.found(&mut old);
    bench.upgrade().unwrap();
    assert_eq!(bench.ok(&join("new", &["t"])), (8, Some(Partitions::new())));
    let group = bench.durable.clone().unwrap();
    assert_eq!((group.kind, group.epoch, bench.commits), (GroupKind::Consumer, 8, 1), "one change");
    assert_eq!(group.members.keys().collect::<Vec<_>>(), ["new", "old"]);
    // The member goes on as it was, and commits, until it asks.
    assert!(bench.may_commit("old", 7));
    assert_eq!(bench.group.admit_commit("old", 7, None, bench.now), Ok(()));
    assert_eq!(bench.group.admit_commit("old", 6, None, bench.now), Err(ErrorCode::IllegalGeneration));
    for _ in 0..2 {
        assert_eq!(bench.alive(&old), Err(ErrorCode::RebalanceInProgress));
        assert_eq!(bench.sync(&mut old.clone()), Err(ErrorCode::RebalanceInProgress));
        bench.reload();
    }
    // It comes with all that it has, and is told to give some up.
    assert_eq!(bench.join(&mut old, ""), Ok(7));
    assert_eq!(bench.ok(&beat("new", 8, None)), (8, None), "nobody has given anything up");
    assert_eq!(bench.sync(&mut old), Ok(of("t", 0..2)));
    assert_eq!(bench.alive(&old), Err(ErrorCode::RebalanceInProgress));
    // It says that it did, and both are done.
    assert_eq!(bench.join(&mut old, ""), Ok(8));
    assert_eq!(bench.sync(&mut old), Ok(of("t", 0..2)));
    assert_eq!(bench.alive(&old), Ok(()));
    assert_eq!(bench.ok(&beat("new", 8, None)), (8, Some(of("t", 2..4))));
    assert_eq!(bench.alive(&old), Ok(()));
    assert!(bench.may_commit("old", 8) && !bench.may_commit("old", 7));
    assert_eq!(bench.group.state_name(), "Stable");
}

#[test]
fn an_eager_member_gives_up_all_by_joining_again() {
    let mut bench = Bench::new(&[("t", 4)]);
    let mut old = Old::new(false, &["t"]);
    bench.found(&mut old);
    bench.upgrade().unwrap();
    assert_eq!(bench.ok(&join("new", &["t"])), (8, Some(Partitions::new())));
    assert_eq!(bench.alive(&old), Err(ErrorCode::RebalanceInProgress));
    assert_eq!(bench.ok(&beat("new", 8, None)), (8, None));
    assert_eq!(bench.join(&mut old, ""), Ok(8));
    assert_eq!(bench.ok(&beat("new", 8, None)), (8, Some(of("t", 2..4))));
    assert_eq!(bench.sync(&mut old), Ok(of("t", 0..2)));
    assert_eq!(bench.alive(&old), Ok(()));
}

#[test]
fn a_classic_member_hears_when_there_is_something_for_it() {
    let mut bench = Bench::new(&[("t", 4)]);
    bench.ok(&join("new", &["t"]));
    let mut old = Old::new(true, &["t"]);
    assert_eq!(bench.join(&mut old, "o"), Ok(2));
    assert_eq!(old.id, "o");
    assert_eq!(bench.sync(&mut old), Ok(Partitions::new()));
    assert_eq!(bench.alive(&old), Ok(()), "the other one has not given anything up");
    bench.ok(&beat("new", 1, None));
    assert_eq!(bench.ok(&beat("new", 1, Some(&of("t", 0..2)))), (2, None));
    bench.reload();
    assert_eq!(bench.alive(&old), Err(ErrorCode::RebalanceInProgress));
    assert_eq!(bench.join(&mut old, ""), Ok(2));
    assert_eq!(bench.sync(&mut old), Ok(of("t", 2..4)));
    // It grows with the topic.
    bench.create("t", 6);
    assert_eq!(bench.ok(&beat("new", 2, Some(&of("t", 0..2)))).0, 3);
    assert_eq!(bench.alive(&old), Err(ErrorCode::RebalanceInProgress));
    assert_eq!(bench.join(&mut old, ""), Ok(3));
    assert_eq!(bench.sync(&mut old).unwrap().len(), 3);
    // The one that leaves makes room at once.
    let gone = leave_group::Member { member_id: "o".to_owned(), ..Default::default() };
    let results = bench.group.leave_group(vec![gone.clone(), gone]);
    let codes: Vec<i16> = results.iter().map(|result| result.error_code).collect();
    assert_eq!(codes, [0, ErrorCode::UnknownMemberId.code()]);
    bench.commit();
    assert_eq!(bench.ok(&beat("new", 3, None)), (4, Some(of("t", 0..6))));
}

#[test]
fn the_last_new_member_leaves_a_classic_group_behind() {
    let mut bench = Bench::new(&[("t", 4)]);
    bench.ok(&join("new", &["t"]));
    let mut old = Old::new(true, &["t"]);
    bench.join(&mut old, "o").unwrap();
    bench.ok(&beat("new", 1, None));
    bench.ok(&beat("new", 1, Some(&of("t", 0..2))));
    bench.join(&mut old, "").unwrap();
    bench.sync(&mut old).unwrap();
    // A coordinator that has not looked at the topics yet looks before it writes their names.
    let commits = bench.commits;
    bench.ok(&beat("new", -1, None));
    let group = bench.durable.clone().unwrap();
    assert_eq!((group.kind, group.epoch, bench.commits), (GroupKind::Classic, 2, commits + 1), "one change");
    assert_eq!((group.protocol.as_str(), group.leader.as_str()), ("cooperative-sticky", "o"));
    assert_eq!(group.protocol_type, "consumer");
    assert_eq!(
        group.state,
        crate::groups::classic::initial_state(true),
        "they share out what is nobody's now"
    );
    let member = &group.members["o"];
    assert_eq!((member.epoch, member.session_timeout_ms, member.rebalance_timeout_ms), (2, 10_000, 20_000));
    assert_eq!(in_words(&member.assignment), of("t", 2..4));
    let protocols = subscription::decode(&member.subscription);
    assert_eq!(
        protocols.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(),
        ["cooperative-sticky", "common"]
    );
    // And back again.
    bench.upgrade().unwrap();
    assert_eq!(bench.ok(&join("newer", &["t"])), (3, Some(of("t", 0..2))));
    assert_eq!(bench.join(&mut old, ""), Ok(3));
}

#[test]
fn an_expired_new_member_leaves_a_classic_group_behind_too() {
    let mut bench = Bench::new(&[("t", 2)]);
    bench.ok(&join("new", &["t"]));
    let mut old = Old::new(false, &["t"]);
    bench.join(&mut old, "o").unwrap();
    bench.sync(&mut old).unwrap();
    for _ in 0..9 {
        bench.later(HEARTBEAT_INTERVAL);
        let _ = bench.alive(&old);
    }
    assert!(bench.is_classic());
    assert_eq!(bench.durable.as_ref().unwrap().members.keys().collect::<Vec<_>>(), ["o"]);
}

#[test]
fn a_new_member_that_comes_while_the_last_one_leaves_keeps_the_group_as_it_is() {
    let mut bench = Bench::new(&[("t", 4)]);
    bench.ok(&join("new", &["t"]));
    let mut old = Old::new(true, &["t"]);
    bench.join(&mut old, "o").unwrap();
    bench.begin(&beat("new", -1, None)).unwrap();
    bench.begin(&join("newer", &["t"])).unwrap();
    bench.commit();
    assert!(!bench.is_classic());
    assert_eq!(bench.durable.as_ref().unwrap().epoch, 3);
    assert_eq!(bench.join(&mut old, ""), Ok(3));
    assert_eq!(bench.sync(&mut old).unwrap().len(), 2);
}

#[test]
fn classic_members_that_are_silent_or_do_not_come_are_gone() {
    let mut bench = Bench::new(&[("t", 2)]);
    bench.ok(&join("new", &["t"]));
    let members = |bench: &Bench| bench.durable.as_ref().unwrap().members.len();
    let second = Duration::from_secs(1);
    // One never asks for its assignment, one never joins again, one says nothing at all.
    let (mut lazy, mut stubborn, mut silent) =
        (Old::new(true, &["t"]), Old::new(true, &["t"]), Old::new(true, &["t"]));
    bench.join(&mut lazy, "lazy").unwrap();
    bench.join(&mut stubborn, "stubborn").unwrap();
    bench.sync(&mut stubborn).unwrap();
    bench.join(&mut silent, "silent").unwrap();
    bench.sync(&mut silent).unwrap();
    assert_eq!(members(&bench), 4);
    for elapsed in 1..=20 {
        bench.later(second);
        let epoch = bench.durable.as_ref().unwrap().members["new"].epoch;
        bench.send(&beat("new", epoch, Some(&Partitions::new()))).unwrap();
        assert_eq!(bench.alive(&lazy).is_ok() || elapsed < 20, elapsed < 20);
        let _ = bench.alive(&stubborn);
        assert_eq!(
            members(&bench),
            if elapsed < 10 {
                4
            } else if elapsed < 20 {
                3
            } else {
                2
            },
            "{elapsed}"
        );
    }
    assert_eq!(bench.alive(&lazy), Err(ErrorCode::UnknownMemberId));
    bench.later(second);
    assert_eq!(bench.alive(&stubborn), Err(ErrorCode::UnknownMemberId));
}

#[test]
fn static_members_change_their_protocol() {
    let mut bench = Bench::new(&[("t", 4)]);
    bench.ok(&join("new", &["t"]));
    let mut first = Old { instance: Some("i".to_owned()), ..Old::new(true, &["t"]) };
    assert_eq!(bench.join(&mut first, "o1"), Ok(2));
    bench.ok(&beat("new", 1, None));
    bench.ok(&beat("new", 1, Some(&of("t", 0..2))));
    bench.join(&mut first, "").unwrap();
    assert_eq!(bench.sync(&mut first), Ok(of("t", 2..4)));
    // A new process of the same instance has what the old one had, and the old one hears that it is out.
    let mut second = Old { instance: Some("i".to_owned()), ..Old::new(true, &["t"]) };
    assert_eq!(bench.join(&mut second, "o2"), Ok(2));
    assert_eq!(bench.sync(&mut second), Ok(of("t", 2..4)));
    let fenced = Err(ErrorCode::FencedInstanceId);
    assert_eq!(bench.alive(&first), fenced);
    assert_eq!(bench.join(&mut first.clone(), ""), fenced.map(|()| 0));
    let stranger = Old { instance: Some("j".to_owned()), ..second.clone() };
    assert_eq!(bench.alive(&stranger), Err(ErrorCode::UnknownMemberId));
    // And one that speaks other protocols than its old self did.
    let mut other = Old { instance: Some("i".to_owned()), ..Old::new(true, &["t"]) };
    let mut request = other.request();
    request.protocols.truncate(1);
    request.protocols[0].name = "other".to_owned();
    let answer = bench.begin_join(request, "o3");
    bench.commit();
    assert_eq!(
        (answer.error_code, answer.generation_id, answer.protocol_name.as_deref()),
        (0, 2, Some("other"))
    );
    (other.id, other.generation) = (answer.member_id, 2);
    assert_eq!(bench.sync(&mut other), Ok(of("t", 2..4)));
    // Now by the new protocol, and back.
    let third = Request { instance_id: Some("i".to_owned()), ..join("n3", &["t"]) };
    assert_eq!(bench.ok(&third), (2, Some(of("t", 2..4))));
    assert_eq!((bench.alive(&second), bench.alive(&other)), (fenced, fenced));
    let mut fourth = Old { instance: Some("i".to_owned()), ..Old::new(true, &["t"]) };
    assert_eq!(bench.join(&mut fourth, "o4"), Ok(2));
    assert_eq!(bench.durable.as_ref().unwrap().epoch, 2, "nothing was shared out anew");
    let gone = leave_group::Member { group_instance_id: Some("i".to_owned()), ..Default::default() };
    assert_eq!(bench.group.leave_group(vec![gone])[0].error_code, 0);
    bench.commit();
    assert_eq!(bench.durable.as_ref().unwrap().epoch, 3);
}

#[test]
fn joins_that_the_group_cannot_follow_are_refused() {
    let mut bench = Bench::new(&[("t", 4)]);
    bench.ok(&join("new", &["t"]));
    let mut old = Old::new(true, &["t"]);
    bench.join(&mut old, "o").unwrap();
    let commits = bench.commits;
    let mut refused = |request: join_group::Request, code: ErrorCode| {
        assert_eq!(bench.begin_join(request, "x").error_code, code.code(), "{code:?}");
        bench.commit();
    };
    let other = || Old { id: "other".to_owned(), ..Old::new(true, &["t"]) };
    let inconsistent = ErrorCode::InconsistentGroupProtocol;
    refused(join_group::Request { protocol_type: "connect".to_owned(), ..other().request() }, inconsistent);
    let mut unknown = other().request();
    unknown.protocols.truncate(1);
    unknown.protocols[0].name = "mine".to_owned();
    refused(unknown, inconsistent);
    let mut damaged = other().request();
    damaged.protocols[0].metadata = Bytes::from_static(b"\0\x01\0");
    refused(damaged, inconsistent);
    let short = join_group::Request { session_timeout_ms: 1, ..other().request() };
    refused(short, ErrorCode::InvalidSessionTimeout);
    // It was a member once, and has not heard that it is none any more.
    refused(Old { holds: of("t", 0..1), generation: 1, ..other() }.request(), ErrorCode::UnknownMemberId);
    refused(Old { instance: Some("i".to_owned()), ..other() }.request(), ErrorCode::UnknownMemberId);
    assert_eq!(bench.commits, commits);
    // Who was handed an id by another coordinator is taken.
    assert_eq!(bench.begin_join(other().request(), "x").error_code, 0);
}

#[test]
fn groups_of_which_nobody_knows_who_holds_what_stay_classic() {
    let mut bench = Bench::new(&[("t", 4)]);
    let mut old = Old::new(true, &["t"]);
    bench.found(&mut old);
    let whole = bench.durable.clone().unwrap();
    let mut refused = |change: fn(&mut Group)| {
        let mut group = whole.clone();
        change(&mut group);
        bench.durable = Some(group);
        assert_eq!(bench.upgrade().unwrap_err().code, ErrorCode::GroupIdNotFound);
    };
    refused(|group| group.protocol_type = "connect".to_owned());
    refused(|group| group.members.get_mut("old").unwrap().subscription = Bytes::new());
    refused(|group| group.members.get_mut("old").unwrap().assignment = Bytes::from_static(b"\0\x01\x02"));
    refused(|group| {
        let member = group.members.get_mut("old").unwrap();
        let mut assignment = consumer_protocol::assignment(&member.assignment).unwrap();
        assignment.user_data = Some(Bytes::from_static(b"mine"));
        member.assignment = consumer_protocol::encode_assignment(3, &assignment).unwrap();
    });
    refused(|group| {
        let twin = GroupMember { id: "twin".to_owned(), ..group.members["old"].clone() };
        group.members.insert(twin.id.clone(), twin);
    });
}
