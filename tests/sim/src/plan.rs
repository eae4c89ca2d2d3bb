//! What a seed decides before anything runs: how many nodes, how bad the weather, which limits are tiny.
//!
//! Must not know who acts on it. Everything that a run can be is drawn here or from dice that were forked here.

use std::time::Duration;

use fastrand::Rng;
use strandline_compactor::plan::Policy;

/// A run, decided.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) machines: usize,
    pub(crate) seasons: Vec<Season>,
    /// Chances of each fault of the store, in a thousand.
    pub(crate) rates: Rates,
    pub(crate) limits: Limits,
    pub(crate) idempotent_producers: usize,
    pub(crate) plain_producers: usize,
    pub(crate) consumers: usize,
    /// Partitions of each topic that lives through the whole run.
    pub(crate) topics: Vec<u32>,
    /// Topics are created, deleted and created again beside them.
    pub(crate) churn: bool,
    /// Time between two blows of [`crate::chaos`], on average.
    pub(crate) blow_every: Duration,
    /// The collector moves the floor, deletes slots and orphans.
    pub(crate) collects: bool,
    /// Wall clocks may be days apart, in place of hours.
    pub(crate) wild_clocks: bool,
    /// Two machines draw the same dice: one is a clone of the other.
    pub(crate) clone: bool,
    /// Consumer groups read the first topic.
    pub(crate) groups: Option<Groups>,
    /// Programs copy records in transactions.
    pub(crate) copying: Option<Copying>,
    /// What was written is written anew.
    pub(crate) compacting: Option<Compacting>,
    /// Of some topics only the last record of each key stays.
    pub(crate) keyed: Option<Keyed>,
}

/// Topics that are compacted by key.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Keyed {
    /// Of the topic that has writers of its own.
    pub(crate) partitions: u32,
    /// For each partition.
    pub(crate) producers: usize,
    /// How many there are; the first ones are written to more often than the last ones.
    pub(crate) keys: u8,
    /// Records without a value, in a thousand.
    pub(crate) tombstones: u32,
    /// What copiers write is compacted by key as well, unless somebody copies it from there.
    pub(crate) copies: bool,
}

impl Keyed {
    /// The topic that has writers of its own.
    pub(crate) const TOPIC: &str = "keyed";

    fn drawn(dice: &mut Rng) -> Keyed {
        Keyed {
            partitions: dice.u32(1..=2),
            producers: dice.usize(1..=2),
            keys: pick(dice, &[2, 5, 20]),
            tombstones: pick(dice, &[50, 250]),
            copies: chance(dice, 700),
        }
    }
}

/// Compactors at work.
#[derive(Debug, Clone)]
pub(crate) struct Compacting {
    pub(crate) policy: Policy,
    pub(crate) look_every: Duration,
    pub(crate) expire_every: Duration,
    /// The first machine's alone, not those of all machines against each other.
    pub(crate) alone: bool,
    /// Some topics keep their records only for a while, or only so many of them.
    pub(crate) expires: bool,
    /// They collect the garbage as well, in place of the collector.
    pub(crate) sweep_every: Option<Duration>,
}

impl Compacting {
    fn drawn(dice: &mut Rng) -> Compacting {
        Compacting {
            policy: policy(dice),
            look_every: Duration::from_millis(pick(dice, &[200, 700, 2_000, 5_000])),
            expire_every: Duration::from_millis(pick(dice, &[500, 3_000, 10_000])),
            alone: chance(dice, 250),
            expires: chance(dice, 650),
            sweep_every: chance(dice, 500).then(|| Duration::from_millis(dice.u64(1_000..20_000))),
        }
    }
}

/// Everything is worth it early, in other proportions each time.
fn policy(dice: &mut Rng) -> Policy {
    let chunks = chance(dice, 850);
    let of_chunks = |value: u64| if chunks { value } else { u64::MAX };
    Policy {
        merge_bytes: pick(dice, &[1_000, 4_000, 20_000]),
        merge_extents: pick(dice, &[2, 5, 20]),
        merge_age_ms: pick(dice, &[0, 500, 5_000, 60_000]),
        merge_slots: pick(dice, &[3, 20, 200]),
        large_bytes: of_chunks(pick(dice, &[200, 3_000, 1 << 18])),
        chunk_least_bytes: of_chunks(pick(dice, &[500, 3_000, 20_000])),
        chunk_bytes: pick(dice, &[1_000, 5_000, 50_000]),
        chunk_extents: of_chunks(pick(dice, &[1, 2, 6])) as usize,
        chunk_age_ms: of_chunks(pick(dice, &[1_000, 20_000, 3_600_000])).min(i64::MAX as u64) as i64,
        index_chunks: dice.usize(1..=3),
        direct_chunks: pick(dice, &[1, 3, 1_000]),
        job_extents: pick(dice, &[2, 10, 1_000]),
        block_bytes: pick(dice, &[1, 300, 1_000]),
        leaf_chunks: dice.usize(2..=4),
        ..Policy::default()
    }
}

/// Transactions at work.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Copying {
    pub(crate) copiers: u32,
    /// Partitions that each of them reads.
    pub(crate) inputs: u32,
    /// Partitions that all of them write to.
    pub(crate) outputs: u32,
    /// One more copies what they have copied.
    pub(crate) relayed: bool,
}

impl Copying {
    /// What copiers read.
    pub(crate) const INPUT: &str = "copied";
    /// Where they write.
    pub(crate) const OUTPUT: &str = "copies";
    /// Where those write that copy what others have copied.
    pub(crate) const RELAYED: &str = "relayed";

    /// Whether somebody copies what is written to the topic: nothing of it may be gone before.
    pub(crate) fn reads(self, topic: &str) -> bool {
        topic == Copying::INPUT || (self.relayed && topic == Copying::OUTPUT)
    }
}

/// Groups at work.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Groups {
    /// Of each group.
    pub(crate) members: usize,
    /// Of these, static ones.
    pub(crate) statics: usize,
    pub(crate) groups: usize,
    /// Offsets are committed by hand beside them.
    pub(crate) by_hand: bool,
    /// The topic grows, its records are deleted, its configs change.
    pub(crate) administrated: bool,
}

impl Groups {
    fn drawn(dice: &mut Rng) -> Groups {
        let members = dice.usize(1..=4);
        Groups {
            members,
            statics: if chance(dice, 400) { dice.usize(1..=members) } else { 0 },
            groups: pick(dice, &[1, 1, 2]),
            by_hand: chance(dice, 500),
            administrated: chance(dice, 600),
        }
    }
}

/// Some time in which clients are at work, then some in which they rest.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Season {
    pub(crate) active: Duration,
    pub(crate) rest: Duration,
    /// One node sleeps from the middle of the active part to the end of the rest.
    pub(crate) sleeper: bool,
}

/// BUGGIFY: limits that are tiny, or the usual ones.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    pub(crate) inline_max_bytes: usize,
    pub(crate) segment_bytes: usize,
    pub(crate) flush_interval: Duration,
    pub(crate) inflight_bytes: usize,
    pub(crate) tail_bytes: usize,
    pub(crate) cache_bytes: usize,
    pub(crate) checkpoint_every: u64,
    /// Nodes tell each other that they live: groups need to know who their coordinator is.
    pub(crate) heartbeats: bool,
}

/// Chances in a thousand, for each request of a node.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Rates {
    /// 503, 429, 500: not applied, and the caller is told so.
    pub(crate) refused: u32,
    /// Applied, and the caller is told an error.
    pub(crate) applied_refused: u32,
    /// Applied, no answer.
    pub(crate) answer_lost: u32,
    /// An error or no answer now, applied up to a day later.
    pub(crate) late: u32,
    /// Applied twice, the second time up to a minute later; the caller hears of either.
    pub(crate) twice: u32,
    /// 409 with nothing there.
    pub(crate) conflict: u32,
    /// Applied, and then 412 about the caller's own write.
    pub(crate) own_exists: u32,
    /// 403: the credentials have run out, for a moment.
    pub(crate) denied: u32,
    /// No answer, not applied.
    pub(crate) lost: u32,
    /// Up to 15 seconds.
    pub(crate) slow: u32,
    /// The body of an answer breaks off with an error.
    pub(crate) cut: u32,
    /// The body of an answer ends early, and nothing says so.
    pub(crate) short: u32,
    /// One bit of a body is another one.
    pub(crate) flip: u32,
    /// A listing comes in two parts, and the bucket changes between them.
    pub(crate) torn_list: u32,
}

impl Plan {
    pub(crate) fn drawn(dice: &mut Rng) -> Plan {
        let machines = pick(dice, &[1, 2, 2, 3, 3, 4]);
        let topics = (0..dice.usize(1..=2)).map(|_| dice.u32(1..=3)).collect();
        let clone = machines > 1 && chance(dice, 60);
        let wild_clocks = chance(dice, 200);
        let groups = chance(dice, 500).then(|| Groups::drawn(dice));
        Plan {
            machines,
            seasons: (0..dice.usize(1..=3)).map(|_| Season::drawn(dice, groups.is_some())).collect(),
            rates: Rates::drawn(dice),
            limits: Limits { heartbeats: groups.is_some(), ..Limits::drawn(dice) },
            // A commit of a clone is void where the other's came first, and so is one that was under way when the journal's
            // time jumped by a day. Clients try again and nothing is lost, but a batch behind it may come first: the one
            // order that idempotent producers rely on and these faults break.
            idempotent_producers: if clone || wild_clocks { 0 } else { dice.usize(1..=3) },
            plain_producers: if clone || wild_clocks { 2 } else { dice.usize(0..=2) },
            consumers: dice.usize(1..=3),
            topics,
            churn: !clone && !wild_clocks && chance(dice, 500),
            blow_every: Duration::from_millis(pick(dice, &[1_500, 4_000, 10_000, 60_000])),
            collects: chance(dice, 700),
            wild_clocks,
            clone,
            groups,
            copying: None,
            compacting: None,
            keyed: None,
        }
    }

    /// Topics that are compacted by key have dice of their own, too.
    pub(crate) fn with_keyed(mut self, dice: &mut Rng) -> Plan {
        let Some(compacting) = self.compacting.as_mut().filter(|_| chance(dice, 500)) else { return self };
        compacting.policy.clean_least_bytes = pick(dice, &[0, 500, 5_000]);
        // Not fewer, or the many passes that it takes would not come to rest in time.
        compacting.policy.clean_keys = pick(dice, &[15, 18, 1_000]);
        self.keyed = Some(Keyed::drawn(dice));
        self
    }

    /// How a topic of this name is written to, if it is compacted by key.
    pub(crate) fn keyed(&self, topic: &str) -> Option<Keyed> {
        let copies = [Copying::OUTPUT, Copying::RELAYED].contains(&topic)
            && self.copying.is_some_and(|copying| !copying.reads(topic));
        self.keyed.filter(|keyed| topic == Keyed::TOPIC || (keyed.copies && copies))
    }

    /// Transactions have dice of their own, so that a seed without them is what it was before there were any.
    pub(crate) fn with_transactions(mut self, dice: &mut Rng) -> Plan {
        if self.clone || self.wild_clocks || !chance(dice, 400) {
            return self;
        }
        let (copiers, inputs, outputs) = (dice.u32(1..=2), dice.u32(1..=2), dice.u32(1..=3));
        let relayed = dice.bool();
        self.copying = Some(Copying { copiers, inputs, outputs, relayed });
        self.limits.heartbeats = true;
        self
    }

    /// Compactors have dice of their own as well.
    pub(crate) fn with_compactors(mut self, dice: &mut Rng) -> Plan {
        self.compacting = chance(dice, 600).then(|| Compacting::drawn(dice));
        self.collects &= self.compacting.as_ref().is_none_or(|plan| plan.sweep_every.is_none());
        self
    }
}

impl Season {
    /// `groups`: what befalls them takes longer than a session.
    fn drawn(dice: &mut Rng, groups: bool) -> Season {
        let most_ms = if groups && chance(dice, 150) { 50_000 } else { 25_000 };
        let hour = 3_600_000;
        let rest = match dice.u32(0..10) {
            0..4 => dice.u64(0..20_000),
            4..6 => dice.u64(60_000..hour),
            6..7 => dice.u64(hour..5 * hour),
            _ => dice.u64(24 * hour..72 * hour),
        };
        Season {
            active: Duration::from_millis(dice.u64(4_000..most_ms)),
            rest: Duration::from_millis(rest),
            sleeper: chance(dice, 500),
        }
    }
}

impl Limits {
    fn drawn(dice: &mut Rng) -> Limits {
        let usual = 1 << 20;
        Limits {
            inline_max_bytes: pick(dice, &[0, 0, 600, 4_000, usual]),
            segment_bytes: pick(dice, &[256, 2_000, usual]),
            flush_interval: Duration::from_millis(pick(dice, &[0, 0, 20, 100])),
            inflight_bytes: pick(dice, &[2_000, usual, usual]),
            tail_bytes: pick(dice, &[0, 5_000, usual]),
            cache_bytes: pick(dice, &[0, 64 * usual, 64 * usual]),
            checkpoint_every: pick(dice, &[1, 3, 10, 40, 512]),
            heartbeats: false,
        }
    }
}

impl Rates {
    /// Some seeds are mild, some are wild, most leave out a few faults.
    fn drawn(dice: &mut Rng) -> Rates {
        let most = pick(dice, &[0, 10, 40, 120]);
        let draw = |dice: &mut Rng, share: u32| match chance(dice, 350) {
            true => 0,
            false => dice.u32(0..=most) / share,
        };
        Rates {
            refused: draw(dice, 1),
            applied_refused: draw(dice, 2),
            answer_lost: draw(dice, 3),
            late: draw(dice, 2),
            twice: draw(dice, 2),
            conflict: draw(dice, 2),
            own_exists: draw(dice, 2),
            denied: draw(dice, 5),
            lost: draw(dice, 4),
            slow: draw(dice, 2),
            cut: draw(dice, 3),
            short: draw(dice, 5),
            flip: draw(dice, 3),
            torn_list: draw(dice, 1) * 4,
        }
    }
}

impl Rates {
    /// The same faults, five times as often.
    pub(crate) fn storm(usual: Rates) -> Rates {
        let more = |share: u32| (share * 5).min(150);
        Rates {
            refused: more(usual.refused),
            applied_refused: more(usual.applied_refused),
            answer_lost: more(usual.answer_lost),
            late: more(usual.late),
            twice: more(usual.twice),
            conflict: more(usual.conflict),
            own_exists: more(usual.own_exists),
            lost: more(usual.lost),
            slow: more(usual.slow),
            cut: more(usual.cut),
            ..usual
        }
    }
}

/// True with this chance in a thousand.
pub(crate) fn chance(dice: &mut Rng, per_mille: u32) -> bool {
    dice.u32(0..1_000) < per_mille
}

pub(crate) fn pick<T: Copy>(dice: &mut Rng, from: &[T]) -> T {
    from[dice.usize(0..from.len())]
}

/// A span from zero to about four times `mean`, short ones more often.
pub(crate) fn around(dice: &mut Rng, mean: Duration) -> Duration {
    let factor = -(1.0 - dice.f64()).max(0.02).ln();
    mean.mul_f64(factor)
}
