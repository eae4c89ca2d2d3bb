//! Who may join, what the first generation waits for, and what must be saved before anybody is assigned.

use strandline_core::manifest::GroupKind;
use strandline_kafka::error::ErrorCode;
use strandline_kafka::messages::sync_group;

use super::super::{Classic, subscription};
use super::kit::{Client, Kit};

#[test]
fn one_member_alone_is_in_after_the_first_wait() {
    let mut kit = Kit::new();
    let ticket = kit.send_join(&Client::default());
    let asked = kit.joined(ticket).unwrap();
    assert_eq!(asked.error_code, 79);
    let ticket = kit.send_join(&Client::id(&asked.member_id));
    assert_eq!(kit.state(), "PreparingRebalance");
    kit.pass(149);
    assert!(kit.joined(ticket).is_none());
    kit.pass(1);
    let joined = kit.generation(ticket);
    assert_eq!((joined.generation_id, joined.leader, joined.members.len()), (1, asked.member_id.clone(), 1));
    assert_eq!(joined.protocol_name.as_deref(), Some("range"));
    assert_eq!(joined.members[0].metadata, "t");
    assert_eq!(kit.state(), "CompletingRebalance");
    assert_eq!(kit.heartbeat(&asked.member_id, 1), Ok(()));
    kit.assign(1, &[asked.member_id]);
    assert_eq!(kit.state(), "Stable");
}

#[test]
fn members_that_start_together_get_into_one_generation() {
    let mut kit = Kit::new();
    let mut tickets = Vec::new();
    // Each comes within the wait that the one before it prolonged.
    for _ in 0..18 {
        tickets.push(kit.join(&Client::default()));
        kit.pass(140);
    }
    kit.pass(500);
    for ticket in tickets {
        let joined = kit.generation(ticket);
        assert_eq!(joined.generation_id, 1);
        assert_eq!(joined.members.len(), if joined.leader == joined.member_id { 18 } else { 0 });
    }
}

#[test]
fn the_first_generation_does_not_wait_for_ever() {
    let mut kit = Kit::new();
    let first = kit.join(&Client::default());
    for _ in 0..29 {
        kit.pass(100);
        assert!(kit.joined(first).is_none());
        kit.join(&Client::default());
    }
    kit.pass(100);
    assert_eq!(kit.generation(first).members.len(), 30);
}

#[test]
fn nobody_is_assigned_before_the_generation_is_saved() {
    let mut kit = Kit::new();
    kit.folds = false;
    let (one, other) = (kit.join(&Client::default()), kit.join(&Client::default()));
    kit.pass(1_000);
    let (one, other) = (kit.generation(one), kit.generation(other));
    let (leader, follower) = if one.leader == one.member_id {
        (one.member_id, other.member_id)
    } else {
        (other.member_id, one.member_id)
    };
    let second = kit.sync(&follower, 1, &[]);
    assert!(kit.waiting.is_empty());
    let first = kit.sync(&leader, 1, &[(&leader, "a"), (&follower, "b"), ("nobody", "c")]);
    assert!(kit.synced(first).is_none() && kit.synced(second).is_none());
    assert_eq!((kit.waiting.len(), kit.state()), (1, "CompletingRebalance"));
    assert_eq!(kit.heartbeat(&leader, 1), Ok(()));
    assert_eq!(kit.group.admit_commit(kit.now, &leader, 1, None), Err(ErrorCode::RebalanceInProgress));
    kit.fold();
    assert_eq!(kit.synced(first), Some(Ok("a".to_owned())));
    assert_eq!(kit.synced(second), Some(Ok("b".to_owned())));
    assert_eq!(kit.group.admit_commit(kit.now, &leader, 1, None), Ok(()));
    let update = &kit.saved[0];
    assert_eq!((update.kind, update.epoch, update.replace), (GroupKind::Classic, 1, true));
    assert_eq!((update.protocol_type.as_str(), update.protocol.as_str()), ("consumer", "range"));
    assert_eq!((update.leader.as_str(), update.put.len()), (leader.as_str(), 2));
    let saved = update.put.iter().find(|member| member.id == follower).unwrap();
    assert_eq!((saved.epoch, &saved.assignment[..]), (1, &b"b"[..]));
    assert_eq!((saved.session_timeout_ms, saved.rebalance_timeout_ms), (10_000, 60_000));
    assert_eq!(subscription::metadata(&saved.subscription, "range"), "t");
    assert_eq!(subscription::metadata(&saved.subscription, "sticky"), "");
    // Asked again, it is the same.
    let again = kit.sync(&follower, 1, &[]);
    assert_eq!(kit.synced(again), Some(Ok("b".to_owned())));
}

#[test]
fn who_cannot_be_a_member_is_told_why() {
    let mut kit = Kit::new();
    let with = |change: fn(&mut Client)| {
        let mut client = Client::default();
        change(&mut client);
        client
    };
    assert_eq!(kit.refused(&with(|c| c.session = 5_999)), ErrorCode::InvalidSessionTimeout);
    assert_eq!(kit.refused(&with(|c| c.session = 1_800_001)), ErrorCode::InvalidSessionTimeout);
    assert_eq!(kit.refused(&with(|c| c.session = -1)), ErrorCode::InvalidSessionTimeout);
    assert_eq!(kit.refused(&with(|c| c.protocols.clear())), ErrorCode::InconsistentGroupProtocol);
    assert_eq!(kit.refused(&with(|c| c.protocol_type = "")), ErrorCode::InconsistentGroupProtocol);
    assert_eq!(
        kit.refused(&with(|c| c.protocols = vec![("a", ""), ("a", "")])),
        ErrorCode::InconsistentGroupProtocol
    );
    assert_eq!(kit.refused(&Client::id("stranger")), ErrorCode::UnknownMemberId);
    assert_eq!(kit.refused(&with(|c| c.instance = Some(String::new()))), ErrorCode::InvalidRequest);
    kit.stable(&[Client::default()]);
    assert_eq!(kit.refused(&with(|c| c.protocol_type = "connect")), ErrorCode::InconsistentGroupProtocol);
    assert_eq!(
        kit.refused(&with(|c| c.protocols = vec![("sticky", "")])),
        ErrorCode::InconsistentGroupProtocol
    );
    assert_eq!(kit.heartbeat("stranger", 1), Err(ErrorCode::UnknownMemberId));
    assert_eq!(kit.leave("stranger", None), ErrorCode::UnknownMemberId);
    assert_eq!(kit.state(), "Stable");
}

#[test]
fn a_group_takes_no_more_than_the_manifest_does() {
    let mut kit = Kit::new();
    let mut large = Client::default();
    static METADATA: [u8; 3 << 20] = [b'x'; 3 << 20];
    large.protocols = vec![("range", std::str::from_utf8(&METADATA).unwrap())];
    kit.join(&large);
    kit.join(&large);
    let asked = kit.send_join(&large);
    assert_eq!(kit.joined(asked).unwrap().error_code, 81);
}

#[test]
fn ids_that_were_handed_out_expire() {
    let mut kit = Kit::new();
    let ticket = kit.send_join(&Client::default());
    let id = kit.joined(ticket).unwrap().member_id;
    assert!(!kit.group.is_idle());
    kit.pass(10_000);
    assert!(kit.group.is_idle());
    assert_eq!(kit.refused(&Client::id(&id)), ErrorCode::UnknownMemberId);
    assert!(kit.saved.is_empty());
}

#[test]
fn old_clients_join_without_an_id() {
    let mut kit = Kit::new();
    let old = Client { version: 2, rebalance: -1, ..Client::default() };
    let ticket = kit.send_join(&old);
    kit.pass(200);
    let joined = kit.generation(ticket);
    assert!(joined.member_id.starts_with("c-"), "{}", joined.member_id);
    kit.assign(1, &[joined.member_id]);
}

#[test]
fn a_sync_of_another_protocol_or_generation_is_refused() {
    let mut kit = Kit::new();
    let (generation, ids) = kit.stable(&[Client::default()]);
    let ask = |generation_id, protocol_type: Option<&str>, protocol_name: Option<&str>| sync_group::Request {
        generation_id,
        member_id: ids[0].clone(),
        protocol_type: protocol_type.map(str::to_owned),
        protocol_name: protocol_name.map(str::to_owned),
        ..sync_group::Request::default()
    };
    for (request, answer) in [
        (ask(generation, Some("consumer"), Some("range")), Ok(ids[0].clone())),
        (ask(generation, Some("connect"), None), Err(ErrorCode::InconsistentGroupProtocol)),
        (ask(generation, None, Some("sticky")), Err(ErrorCode::InconsistentGroupProtocol)),
        (ask(generation + 1, None, None), Err(ErrorCode::IllegalGeneration)),
    ] {
        let ticket = kit.send_sync(request);
        assert_eq!(kit.synced(ticket), Some(answer));
    }
}

#[test]
fn the_protocol_is_one_that_all_speak_and_most_like() {
    let mut kit = Kit::new();
    let of = |protocols: &[(&'static str, &'static str)]| Client {
        protocols: protocols.to_vec(),
        ..Client::default()
    };
    let clients = [
        of(&[("x", ""), ("b", "1"), ("a", "2")]),
        of(&[("b", "3"), ("a", "4")]),
        of(&[("a", "5"), ("b", "6"), ("y", "")]),
    ];
    let tickets: Vec<_> = clients.iter().map(|client| kit.join(client)).collect();
    kit.pass(1_000);
    let joined: Vec<_> = tickets.into_iter().map(|ticket| kit.generation(ticket)).collect();
    assert!(joined.iter().all(|joined| joined.protocol_name.as_deref() == Some("b")));
    let leader = joined.iter().find(|joined| !joined.members.is_empty()).unwrap();
    let mut metadata: Vec<_> = leader.members.iter().map(|member| &member.metadata[..]).collect();
    metadata.sort();
    assert_eq!(metadata, [b"1", b"3", b"6"]);
}

#[test]
fn a_group_without_members_is_loaded_as_such() {
    let kit = Kit::new();
    let loaded = Classic::load("g", Some(&Default::default()), kit.now);
    assert!(loaded.is_idle());
    assert_eq!(loaded.state_name(), "Empty");
}
