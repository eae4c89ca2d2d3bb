//! Members come, go, fall silent and come again.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use strandline_core::manifest::{Group, UpdateGroup};
use strandline_kafka::error::ErrorCode;

use super::super::Classic;
use super::kit::{Client, Kit};

fn again(id: &str) -> Client {
    Client::id(id)
}

#[test]
fn a_new_member_makes_the_others_join_again() {
    let mut kit = Kit::new();
    let (_, ids) = kit.stable(&[Client::default(), Client::default()]);
    let new = kit.join(&Client::default());
    assert_eq!(kit.state(), "PreparingRebalance");
    assert_eq!(kit.heartbeat(&ids[0], 1), Err(ErrorCode::RebalanceInProgress));
    assert_eq!(kit.group.admit_commit(kit.now, &ids[0], 1, None), Ok(()));
    let ticket = kit.sync(&ids[0], 1, &[]);
    assert_eq!(kit.synced(ticket), Some(Err(ErrorCode::RebalanceInProgress)));
    let first = kit.join(&again(&ids[0]));
    assert!(kit.joined(first).is_none());
    let second = kit.join(&again(&ids[1]));
    // All are there: nothing is waited for.
    let joined = [kit.generation(first), kit.generation(second), kit.generation(new)];
    assert!(joined.iter().all(|joined| joined.generation_id == 2 && joined.leader == ids[0]));
    assert_eq!(joined[0].members.len(), 3);
    kit.assign(2, &[ids[0].clone(), ids[1].clone(), joined[2].member_id.clone()]);
    assert_eq!(kit.heartbeat(&ids[1], 1), Err(ErrorCode::IllegalGeneration));
    assert_eq!(kit.saved.last().unwrap().epoch, 2);
}

#[test]
fn whoever_does_not_rejoin_in_time_is_out() {
    let mut kit = Kit::new();
    let (_, ids) = kit.stable(&[Client::default(), Client::default()]);
    let new = kit.join(&Client::default());
    let first = kit.join(&again(&ids[1]));
    for _ in 0..20 {
        kit.pass(3_000);
        let beat = kit.heartbeat(&ids[0], 1);
        assert!(matches!(beat, Err(ErrorCode::RebalanceInProgress | ErrorCode::UnknownMemberId)), "{beat:?}");
    }
    let joined = [kit.generation(first), kit.generation(new)];
    assert_eq!(kit.heartbeat(&ids[0], 1), Err(ErrorCode::UnknownMemberId));
    // The leader is one of those who are there.
    let leader = &joined[0].leader;
    assert!(joined.iter().any(|joined| joined.member_id == *leader && joined.members.len() == 2));
}

#[test]
fn silent_members_are_out_and_the_others_hear_of_it() {
    let mut kit = Kit::new();
    let (_, ids) = kit.stable(&[Client::default(), Client::default()]);
    for _ in 0..3 {
        kit.pass(3_000);
        assert_eq!(kit.heartbeat(&ids[0], 1), Ok(()));
    }
    kit.pass(2_000);
    assert_eq!(kit.heartbeat(&ids[0], 1), Err(ErrorCode::RebalanceInProgress));
    let ticket = kit.join(&again(&ids[0]));
    let joined = kit.generation(ticket);
    assert_eq!((joined.generation_id, joined.members.len()), (2, 1));
}

#[test]
fn the_last_one_that_leaves_empties_the_group_in_the_manifest_too() {
    let mut kit = Kit::new();
    let (_, ids) = kit.stable(&[Client::default(), Client::default()]);
    assert_eq!(kit.leave(&ids[0], None), ErrorCode::None);
    assert_eq!(kit.heartbeat(&ids[1], 1), Err(ErrorCode::RebalanceInProgress));
    assert_eq!(kit.leave(&ids[1], None), ErrorCode::None);
    assert_eq!(kit.state(), "Empty");
    let update = kit.saved.last().unwrap();
    assert_eq!((update.epoch, update.put.len(), update.replace), (2, 0, true));
    assert!(kit.group.is_idle());
    // Another one begins with a generation that nobody had.
    let (generation, _) = kit.stable(&[Client::default()]);
    assert_eq!(generation, 3);
}

#[test]
fn a_follower_whose_subscription_is_the_same_gets_the_same_generation() {
    let mut kit = Kit::new();
    let (_, ids) = kit.stable(&[Client::default(), Client::default()]);
    let ticket = kit.join(&again(&ids[1]));
    let joined = kit.generation(ticket);
    assert_eq!((joined.generation_id, joined.members.len(), kit.state()), (1, 0, "Stable"));
    // With another subscription the group has to be assigned anew; so it is when the leader comes.
    let mut other = again(&ids[1]);
    other.protocols = vec![("range", "u")];
    kit.join(&other);
    assert_eq!(kit.state(), "PreparingRebalance");
    let ticket = kit.join(&again(&ids[0]));
    assert_eq!(kit.generation(ticket).generation_id, 2);
    kit.assign(2, &ids);
    kit.join(&again(&ids[0]));
    assert_eq!(kit.state(), "PreparingRebalance");
}

#[test]
fn members_that_wait_for_an_assignment_are_told_when_the_group_rebalances() {
    let mut kit = Kit::new();
    let (_, ids) = kit.stable(&[Client::default(), Client::default()]);
    let tickets = [kit.join(&again(&ids[0])), kit.join(&again(&ids[1]))];
    assert!(tickets.into_iter().all(|ticket| kit.generation(ticket).generation_id == 2));
    let waits = kit.sync(&ids[1], 2, &[]);
    // The answer to its JoinGroup was lost: it gets it again, the leader with all members.
    let ticket = kit.join(&again(&ids[0]));
    assert_eq!(kit.generation(ticket).members.len(), 2);
    kit.join(&Client::default());
    assert_eq!(kit.synced(waits), Some(Err(ErrorCode::RebalanceInProgress)));
}

#[test]
fn a_leader_that_does_not_assign_is_out() {
    let mut kit = Kit::new();
    let (_, ids) = kit.stable(&[Client::default(), Client::default()]);
    kit.join(&again(&ids[0]));
    kit.join(&again(&ids[1]));
    let waits = kit.sync(&ids[1], 2, &[]);
    for _ in 0..30 {
        kit.pass(2_000);
        let _ = kit.heartbeat(&ids[0], 2);
    }
    assert_eq!(kit.synced(waits), Some(Err(ErrorCode::RebalanceInProgress)));
    assert_eq!(kit.heartbeat(&ids[0], 2), Err(ErrorCode::UnknownMemberId));
}

#[test]
fn a_save_that_was_overtaken_by_a_rebalance_assigns_nothing() {
    let mut kit = Kit::new();
    let (_, ids) = kit.stable(&[Client::default()]);
    kit.folds = false;
    kit.join(&again(&ids[0]));
    let waits = kit.sync(&ids[0], 2, &[(&ids[0], "x")]);
    let new = kit.join(&Client::default());
    assert_eq!(kit.synced(waits), Some(Err(ErrorCode::RebalanceInProgress)));
    kit.fold();
    assert_eq!((kit.state(), kit.saved.last().unwrap().epoch), ("PreparingRebalance", 2));
    let ticket = kit.join(&again(&ids[0]));
    assert_eq!(kit.generation(ticket).generation_id, 3);
    let new = kit.generation(new).member_id;
    kit.folds = true;
    kit.assign(3, &[ids[0].clone(), new]);
}

#[test]
fn a_client_that_vanishes_while_it_waits_is_not_waited_for() {
    let mut kit = Kit::new();
    let old = Client { version: 3, ..Client::default() };
    let vanished = kit.send_join(&old);
    let stays = kit.send_join(&old);
    kit.group.abandon(kit.now, &BTreeSet::from([vanished]));
    kit.settle();
    kit.pass(500);
    assert_eq!(kit.generation(stays).members.len(), 1);
    // One that knows its id may come again; until then its session goes on.
    let mut kit = Kit::new();
    let (_, ids) = kit.stable(&[Client::default(), Client::default()]);
    kit.join(&again(&ids[0]));
    let vanished = kit.join(&again(&ids[1]));
    kit.generation(vanished);
    let vanished = kit.sync(&ids[1], 2, &[]);
    kit.group.abandon(kit.now, &BTreeSet::from([vanished]));
    kit.pass(9_000);
    assert_eq!(kit.heartbeat(&ids[1], 2), Ok(()));
}

#[test]
fn time_in_which_the_node_stood_still_is_nobodys_silence() {
    let mut kit = Kit::new();
    let (_, ids) = kit.stable(&[Client::default(), Client::default()]);
    kit.now += Duration::from_secs(3_600);
    assert_eq!(kit.heartbeat(&ids[0], 1), Ok(()));
    assert_eq!(kit.heartbeat(&ids[1], 1), Ok(()));
    assert_eq!(kit.state(), "Stable");
    kit.pass(10_001);
    assert_eq!(kit.state(), "Empty");
}

/// As the fold makes it.
fn folded(update: &UpdateGroup) -> Group {
    Group {
        kind: update.kind,
        protocol_type: update.protocol_type.clone(),
        protocol: update.protocol.clone(),
        epoch: update.epoch,
        leader: update.leader.clone(),
        version: 7,
        members: update
            .put
            .iter()
            .map(|member| (member.id.clone(), member.clone()))
            .collect::<BTreeMap<_, _>>(),
        ..Group::default()
    }
}

#[test]
fn another_coordinator_goes_on_without_a_rebalance() {
    let mut kit = Kit::new();
    let clients = [Client::default(), Client::default(), Client::instance("i")];
    let (generation, ids) = kit.stable(&clients);
    kit.group = Classic::load("g", Some(&folded(kit.saved.last().unwrap())), kit.now);
    assert_eq!(kit.state(), "Stable");
    for id in &ids {
        assert_eq!(kit.heartbeat(id, generation), Ok(()));
        let ticket = kit.sync(id, generation, &[]);
        assert_eq!(kit.synced(ticket), Some(Ok(id.clone())));
    }
    let ticket = kit.join(&again(&ids[1]));
    assert_eq!(kit.generation(ticket).generation_id, generation);
    // The leader is still the leader, the static member is still known, and whoever stays away is out.
    kit.join(&again(&ids[0]));
    assert_eq!(kit.state(), "PreparingRebalance");
    kit.join(&again(&ids[1]));
    let ticket = kit.join(&Client::instance("i"));
    kit.pass(60_000);
    assert_eq!(kit.generation(ticket).generation_id, generation + 1);
}

#[test]
fn whoever_waits_hears_when_the_group_is_given_up() {
    let mut kit = Kit::new();
    let (_, ids) = kit.stable(&[Client::default()]);
    let waits = kit.join(&Client::default());
    kit.group.refuse_all(ErrorCode::NotCoordinator);
    kit.settle();
    assert_eq!(kit.joined(waits).unwrap().error_code, 16);
    assert_eq!(kit.heartbeat(&ids[0], 1), Err(ErrorCode::RebalanceInProgress));
}
