//! Static members (KIP-345, KIP-814).

use strandline_kafka::error::ErrorCode;

use super::kit::{Client, Kit};

fn pair() -> [Client; 2] {
    [Client::instance("a"), Client::instance("b")]
}

#[test]
fn a_static_member_comes_back_without_a_rebalance() {
    let mut kit = Kit::new();
    let (generation, ids) = kit.stable(&pair());
    let follower = if ids[1].starts_with("a-") { "a" } else { "b" };
    kit.folds = false;
    let mut restarted = Client::instance(follower);
    restarted.protocols = vec![("range", "owns nothing yet")];
    let ticket = kit.join(&restarted);
    // Its new id is worth nothing before the fold knows it.
    assert!(kit.joined(ticket).is_none());
    kit.fold();
    let joined = kit.generation(ticket);
    assert_eq!((joined.generation_id, kit.state()), (generation, "Stable"));
    assert_ne!(joined.member_id, ids[1]);
    assert_eq!(joined.leader, ids[0]);
    let update = kit.saved.last().unwrap();
    assert!(update.put.iter().any(|member| member.id == joined.member_id && member.epoch == generation));
    assert!(update.put.iter().all(|member| member.id != ids[1]));
    let ticket = kit.sync(&joined.member_id, generation, &[]);
    assert_eq!(kit.synced(ticket), Some(Ok(ids[1].clone())));
    // Its former self is fenced.
    let former = kit.group.heartbeat(kit.now, &ids[1], generation, Some(follower));
    assert_eq!(former, Err(ErrorCode::FencedInstanceId));
    let former = Client { id: ids[1].clone(), ..Client::instance(follower) };
    assert_eq!(kit.refused(&former), ErrorCode::FencedInstanceId);
    assert_eq!(kit.leave(&ids[1], Some(follower)), ErrorCode::FencedInstanceId);
}

#[test]
fn a_leader_that_comes_back_is_told_not_to_assign() {
    for (version, skips) in [(5, false), (9, true)] {
        let mut kit = Kit::new();
        let (generation, ids) = kit.stable(&pair());
        let leader = if ids[0].starts_with("a-") { "a" } else { "b" };
        let ticket = kit.join(&Client { version, ..Client::instance(leader) });
        let joined = kit.generation(ticket);
        assert_eq!((joined.generation_id, joined.skip_assignment), (generation, skips));
        // Older clients would assign if they read their own name.
        let named = if skips { joined.member_id.clone() } else { ids[0].clone() };
        assert_eq!((joined.leader, joined.members.len()), (named, if skips { 2 } else { 0 }));
        assert_eq!(kit.saved.last().unwrap().leader, joined.member_id);
        let ticket = kit.sync(&joined.member_id, generation, &[]);
        assert_eq!(kit.synced(ticket), Some(Ok(ids[0].clone())));
    }
}

#[test]
fn a_static_member_that_changes_the_protocol_starts_a_rebalance() {
    let mut kit = Kit::new();
    let both = |instance: &str| Client {
        protocols: vec![("range", ""), ("sticky", "")],
        ..Client::instance(instance)
    };
    kit.stable(&[both("a"), both("b")]);
    let other = Client { protocols: vec![("sticky", "")], ..Client::instance("b") };
    kit.join(&other);
    assert_eq!(kit.state(), "PreparingRebalance");
}

#[test]
fn static_members_that_are_away_are_kept_until_their_sessions_end() {
    let mut kit = Kit::new();
    let long = Client { session: 300_000, ..Client::instance("a") };
    let (_, ids) = kit.stable(&[long, Client::default()]);
    let (stays, away) = if ids[0].starts_with("a-") {
        (ids[1].clone(), ids[0].clone())
    } else {
        (ids[0].clone(), ids[1].clone())
    };
    kit.join(&Client { protocols: vec![("range", "other")], ..Client::id(&stays) });
    kit.pass(60_000);
    // The generation goes on without it, led by one who is there, and it has its place.
    let live = kit.group.live();
    assert!(live.members.iter().any(|member| member.id == away));
    assert_eq!(kit.state(), "CompletingRebalance");
}

#[test]
fn an_administrator_takes_a_static_member_out_by_its_name() {
    let mut kit = Kit::new();
    let (_, ids) = kit.stable(&pair());
    assert_eq!(kit.leave("", Some("c")), ErrorCode::UnknownMemberId);
    assert_eq!(kit.leave("", Some("b")), ErrorCode::None);
    assert_eq!(kit.state(), "PreparingRebalance");
    let left = ids.iter().find(|id| id.starts_with("a-")).unwrap();
    assert_eq!(kit.heartbeat(left, 1), Err(ErrorCode::RebalanceInProgress));
}

#[test]
fn two_that_claim_one_name_fence_each_other() {
    let mut kit = Kit::new();
    let first = kit.join(&Client::instance("a"));
    let second = kit.join(&Client::instance("a"));
    assert_eq!(kit.joined(first).unwrap().error_code, ErrorCode::FencedInstanceId.code());
    kit.pass(500);
    assert_eq!(kit.generation(second).members.len(), 1);
}
