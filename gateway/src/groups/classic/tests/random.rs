//! Clients that come, go, fall silent and are answered late, from a seed: in no generation is a share given to two, and
//! those who stay end in the same generation.

use std::collections::BTreeMap;

use strandline_kafka::error::ErrorCode;

use super::super::{Classic, Ticket};
use super::kit::{Client, Kit, code};

/// Multiplies and adds: small, and the same everywhere.
struct Dice(u64);

impl Dice {
    fn below(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }
}

/// Where a client stands.
#[derive(Clone, Copy, PartialEq, Debug)]
enum At {
    Out,
    Joining(Ticket),
    Syncing(Ticket),
    In,
}

struct Actor {
    client: Client,
    generation: i32,
    at: At,
}

/// Shares that were given out: generation and share to member.
type Owners = BTreeMap<(i32, String), String>;

impl Actor {
    fn act(&mut self, kit: &mut Kit, owners: &mut Owners) {
        match self.at {
            At::Out => self.at = At::Joining(kit.join(&self.client)),
            At::Joining(ticket) => {
                let Some(joined) = kit.joined(ticket) else { return };
                self.client.id = match code(joined.error_code) {
                    ErrorCode::UnknownMemberId | ErrorCode::FencedInstanceId => String::new(),
                    _ => joined.member_id.clone(),
                };
                if joined.error_code != 0 {
                    self.at = At::Out;
                    return;
                }
                self.generation = joined.generation_id;
                // Share n goes to the nth member.
                let shares: Vec<(String, String)> = joined
                    .members
                    .iter()
                    .enumerate()
                    .map(|(share, member)| (member.member_id.clone(), share.to_string()))
                    .collect();
                let shares: Vec<_> = shares.iter().map(|(id, share)| (id.as_str(), share.as_str())).collect();
                self.at = At::Syncing(kit.sync(&joined.member_id, joined.generation_id, &shares));
            }
            At::Syncing(ticket) => {
                let Some(synced) = kit.synced(ticket) else { return };
                match synced {
                    Ok(share) => {
                        self.at = At::In;
                        if !share.is_empty() {
                            let owner = owners.entry((self.generation, share.clone()));
                            let owner = owner.or_insert_with(|| self.client.id.clone());
                            assert_eq!(*owner, self.client.id, "share {share} of {}", self.generation);
                        }
                    }
                    Err(refused) => self.refused(refused),
                }
            }
            At::In => {
                if let Err(refused) = kit.heartbeat(&self.client.id, self.generation) {
                    self.refused(refused);
                }
            }
        }
    }

    fn refused(&mut self, refused: ErrorCode) {
        if matches!(refused, ErrorCode::UnknownMemberId | ErrorCode::FencedInstanceId) {
            self.client.id.clear();
        }
        self.at = At::Out;
    }
}

fn run(seed: u64) {
    let (mut kit, mut dice, mut owners) = (Kit::new(), Dice(seed), Owners::new());
    let mut actors: Vec<Actor> = (0..6)
        .map(|_| Actor {
            client: Client { rebalance: 8_000, ..Client::default() },
            generation: -1,
            at: At::Out,
        })
        .collect();
    for _ in 0..400 {
        kit.folds = dice.below(3) > 0;
        kit.settle();
        let actor = &mut actors[dice.below(6) as usize];
        match dice.below(20) {
            0 => {
                kit.leave(&actor.client.id, None);
                actor.refused(ErrorCode::UnknownMemberId);
            }
            1 => actor.client.protocols = vec![("range", ["t", "u"][dice.below(2) as usize])],
            // It forgets who it was.
            2 => actor.refused(ErrorCode::UnknownMemberId),
            3 => kit.pass(dice.below(12_000)),
            _ => actor.act(&mut kit, &mut owners),
        }
        kit.pass(dice.below(800));
    }
    kit.folds = true;
    for _ in 0..120 {
        kit.settle();
        for actor in &mut actors {
            actor.act(&mut kit, &mut owners);
        }
        kit.pass(1_000);
    }
    let generation = actors[0].generation;
    for actor in &actors {
        assert_eq!((actor.at, actor.generation), (At::In, generation), "seed {seed}");
    }
    let shares = owners.keys().filter(|(of, _)| *of == generation).count();
    assert_eq!((shares, kit.state()), (6, "Stable"), "seed {seed}");
}

#[test]
fn no_share_has_two_owners_and_all_who_stay_agree() {
    for seed in 0..300 {
        run(seed);
    }
}

#[test]
fn whatever_is_loaded_is_whatever_was_saved() {
    let mut kit = Kit::new();
    kit.stable(&[Client::default(), Client::instance("i")]);
    let saved = kit.saved.last().unwrap().clone();
    let group = strandline_core::manifest::Group {
        epoch: saved.epoch,
        protocol: saved.protocol.clone(),
        protocol_type: saved.protocol_type.clone(),
        leader: saved.leader.clone(),
        members: saved.put.iter().map(|member| (member.id.clone(), member.clone())).collect(),
        ..Default::default()
    };
    let mut loaded = Classic::load("g", Some(&group), kit.now);
    loaded.want_save();
    assert_eq!(loaded.take_save().unwrap().update, saved);
}
