//! What a node does: proposing, reading, verifying, loading (the rules are quoted where they stand).
//!
//! Each step is one request to the store together with its answer, or one decision about an answer that came earlier; any
//! time may pass between two steps. Must not know the truth, except to report in [`Broken`] that it was missed.

use crate::bucket::{Age, Bucket};
use crate::fold::{Manifest, Verdict};
use crate::node::{Answer, Broken, Node, Position, Proposal, Read, Reading};
use crate::rules::{Exists, Rules};
use crate::scenario::{Content, NODES, Part, Scenario};

/// One node at work: the node, what it may see of the world, and what it does wrong.
pub struct Step<'a> {
    /// The bounds.
    pub scenario: &'a Scenario,
    /// The rules.
    pub rules: &'a Rules,
    /// The bucket.
    pub bucket: &'a mut Bucket,
    /// All nodes.
    pub nodes: &'a mut [Node; NODES],
    /// Which one moves.
    pub who: usize,
    /// What it broke.
    pub broken: &'a mut Broken,
}

impl Step<'_> {
    fn node(&mut self) -> &mut Node {
        &mut self.nodes[self.who]
    }

    fn part(&self) -> &Part {
        &self.scenario.parts[self.who]
    }

    fn content(&self, proposal: usize) -> Content {
        self.part().proposes[proposal]
    }

    fn manifest(&self, upto: u8) -> Manifest {
        Manifest::of(self.scenario, self.rules, &self.bucket.truth, upto)
    }

    /// "The lease is 1 h": both clocks say that less has passed since the position was verified.
    fn lease_holds(&self) -> bool {
        self.nodes[self.who].verified.0 < self.scenario.lease
    }

    // Loading: "pick a checkpoint, *then* read the newest floor; a checkpoint below it is useless".

    /// Any checkpoint will do: `checkpoint/latest` may be stale.
    pub fn pick_checkpoint(&mut self, slot: u8) -> Option<()> {
        if self.nodes[self.who].position != Position::Loading || !self.bucket.has_checkpoint(slot) {
            return None;
        }
        self.node().position =
            if self.rules.floor_on_load { Position::Picked(slot) } else { Position::At(slot) };
        self.node().verified = Age::NOW;
        Some(())
    }

    /// The floor is read after the checkpoint was picked, and proves it or refuses it.
    pub fn read_floor_on_load(&mut self) -> Option<()> {
        let Position::Picked(slot) = self.nodes[self.who].position else { return None };
        let good = slot >= self.bucket.floor();
        self.node().position = if good { Position::At(slot) } else { Position::Loading };
        self.node().verified = Age::NOW;
        Some(())
    }

    // Proposing: "PUT journal/<tail+1> with If-None-Match: *. Won: the slot is ours. Lost: read the slot, fold it, try
    // the next one with the same, unchanged content."

    /// The first that waits goes to the next free slot, if there is room in the pipeline.
    pub fn propose(&mut self, proposal: usize) -> Option<()> {
        let node = self.nodes[self.who];
        let first = node.proposals.iter().position(|proposal| *proposal == Proposal::Waiting)?;
        let in_flight = node.proposals.iter().filter_map(|proposal| proposal.slot());
        let slot = in_flight.clone().max().unwrap_or(0).max(node.folded()?) + 1;
        let room = in_flight.count() < usize::from(self.part().pipeline) && slot <= self.scenario.last_slot;
        if first != proposal || !room {
            return None;
        }
        // "A forwarder that hears nothing looks for its commit id in the journal and proposes itself."
        let content = self.content(proposal);
        if self.scenario.is_handed_over(content) && self.may_have_been_folded(content)? {
            self.node().proposals[proposal] = Proposal::Done(Answer::Unknown);
            return Some(());
        }
        self.bucket.send(slot, content);
        let looked = !self.rules.clock_after && self.lease_holds();
        self.node().proposals[proposal] = Proposal::Asked { slot, first: Age::NOW, looked };
        Some(())
    }

    /// The store says that the slot was created.
    pub fn hear_created(&mut self, proposal: usize) -> Option<()> {
        let Proposal::Asked { slot, looked, .. } = self.nodes[self.who].proposals[proposal] else {
            return None;
        };
        self.bucket.put_if_absent(slot, self.content(proposal))?;
        self.node().proposals[proposal] = Proposal::Ours { slot, empty: Age::NOW, looked };
        Some(())
    }

    /// "After 412, 409, a timeout or a reset: GET the slot and compare." Any of these may come at any time. A 404 changes
    /// nothing: "PUT the same bytes at the same slot again until the slot is known to be filled".
    pub fn ask_whose(&mut self, proposal: usize) -> Option<()> {
        let Proposal::Asked { slot, first, looked } = self.nodes[self.who].proposals[proposal] else {
            return None;
        };
        let (own, there) = (self.content(proposal), self.bucket.get(slot));
        if !there.is_there() {
            return None;
        }
        let ours = match self.rules.exists {
            // "Already exists" is a question, not an answer.
            Exists::ComparedByBytes => there == own,
            Exists::ComparedById => self.scenario.same_id(there, own),
            Exists::TakenAsOurs => true,
            Exists::TakenAsTheirs => false,
        };
        self.node().proposals[proposal] = match ours {
            // An earlier attempt wrote it, and only then was the slot empty.
            true => Proposal::Ours { slot, empty: first, looked },
            false => Proposal::Theirs { slot, content: there, looked },
        };
        Some(())
    }

    /// The answer to a PUT is used: folded if it is about the next slot.
    pub fn use_put(&mut self, proposal: usize) -> Option<()> {
        let folded = self.nodes[self.who].folded()?;
        let (slot, looked) = match self.nodes[self.who].proposals[proposal] {
            Proposal::Ours { slot, looked, .. } | Proposal::Theirs { slot, looked, .. } => (slot, looked),
            _ => return None,
        };
        if !self.may_use(self.rules.writer_lease, looked) || slot > folded + 1 {
            return None;
        }
        if slot <= folded {
            // "A slot won below the floor is not acknowledged."
            return self.put_again_unless_seen(proposal);
        }
        match self.nodes[self.who].proposals[proposal] {
            Proposal::Ours { empty, .. } => {
                self.fold(slot, self.content(proposal), Some(proposal));
                // "A slot won: then P is the tail, and the floor never passes the tail."
                self.renew(empty);
            }
            Proposal::Theirs { content, .. } => {
                self.node().proposals[proposal] = Proposal::Waiting;
                self.fold(slot, content, None);
            }
            _ => {}
        }
        Some(())
    }

    /// "Look for the commit id in the fold, propose again if it is not there." If it is, nobody here saw what came of it.
    fn put_again_unless_seen(&mut self, proposal: usize) -> Option<()> {
        let unknown = self.may_have_been_folded(self.content(proposal))?;
        self.node().proposals[proposal] =
            if unknown { Proposal::Done(Answer::Unknown) } else { Proposal::Waiting };
        Some(())
    }

    /// Its id is in the fold, or the fold may have forgotten it. The second half stands in the code, not in the design.
    fn may_have_been_folded(&self, content: Content) -> Option<bool> {
        let manifest = self.manifest(self.nodes[self.who].folded()?);
        let seen = self.rules.looks_for_its_id && manifest.has_seen(self.scenario, content);
        let forgotten = self.rules.forgotten_is_unknown && manifest.has_forgotten(self.scenario, content);
        Some(seen || forgotten)
    }

    // Reading.

    /// GET of the next slot. One that this node is putting itself is decided by its own answer.
    pub fn read_next(&mut self) -> Option<()> {
        let node = self.nodes[self.who];
        let slot = node.folded()? + 1;
        let putting = node.proposals.iter().any(|proposal| proposal.slot() == Some(slot));
        let free = self.part().reads && node.read == Reading::Idle && !putting;
        if !free || slot > self.scenario.last_slot {
            return None;
        }
        self.node().read = Reading::Sent { slot, looked: self.lease_holds() };
        if self.rules.clock_after { self.hear_read() } else { Some(()) }
    }

    /// The store answers.
    pub fn hear_read(&mut self) -> Option<()> {
        let Reading::Sent { slot, looked } = self.nodes[self.who].read else { return None };
        let looked = looked && !self.rules.clock_after;
        let was_end = !self.bucket.truth(slot).is_there();
        let found = self.bucket.get(slot);
        self.node().read = Reading::Heard(Read { slot, found, age: Age::NOW, looked, was_end });
        Some(())
    }

    /// What the read found is used: folded, or taken for the end of the journal.
    pub fn use_read(&mut self) -> Option<()> {
        let folded = self.nodes[self.who].folded()?;
        let Reading::Heard(read) = self.nodes[self.who].read else { return None };
        if !self.may_use(self.rules.reader_lease, read.looked) {
            return None;
        }
        self.node().read = Reading::Idle;
        let putting = self.nodes[self.who].proposals.iter().any(|put| put.slot() == Some(read.slot));
        if read.slot != folded + 1 || (putting && read.found.is_there()) {
            return Some(());
        }
        if read.found.is_there() {
            // "Reading an existing slot proves nothing."
            self.fold(read.slot, read.found, None);
        } else {
            self.check_floor(folded);
            if !read.was_end {
                *self.broken = Broken::FalseEnd;
            }
            // "Inside the lease, a 404 on slot P+1: then P is the tail."
            self.renew(read.age);
        }
        Some(())
    }

    // The lease.

    /// "Whoever gets a result from a slot looks at the clock *after* it; if the lease is over, the result is not used."
    fn may_use(&self, checked: bool, looked: bool) -> bool {
        match (checked, self.rules.clock_after) {
            (false, _) => true,
            (true, true) => self.lease_holds(),
            (true, false) => looked,
        }
    }

    /// "Read the newest floor first. P >= floor: verified anew, the result stands. P < floor: reload."
    pub fn verify(&mut self) -> Option<()> {
        let folded = self.nodes[self.who].folded()?;
        if !self.holds_unusable_answer() {
            return None;
        }
        let stands = folded >= self.bucket.floor();
        // Those who look at the clock afterwards remember nothing of before.
        let now_looked = !self.rules.clock_after;
        let node = self.node();
        node.verified = Age::NOW;
        for proposal in &mut node.proposals {
            if let Proposal::Ours { looked, .. } | Proposal::Theirs { looked, .. } = proposal {
                *looked = now_looked;
            }
        }
        if let Reading::Heard(read) = &mut node.read {
            read.looked = now_looked;
        }
        if !stands {
            node.position = Position::Loading;
            // A read of deleted slots says nothing.
            node.read = Reading::Idle;
        }
        Some(())
    }

    fn holds_unusable_answer(&self) -> bool {
        let node = self.nodes[self.who];
        let put = |proposal: &Proposal| match *proposal {
            Proposal::Ours { looked, .. } | Proposal::Theirs { looked, .. } => {
                !self.may_use(self.rules.writer_lease, looked)
            }
            _ => false,
        };
        let read = match node.read {
            Reading::Heard(read) => !self.may_use(self.rules.reader_lease, read.looked),
            _ => false,
        };
        read || node.proposals.iter().any(put)
    }

    /// `verified_at` never goes back.
    fn renew(&mut self, age: Age) {
        let verified = &mut self.node().verified;
        *verified = age.min(*verified);
    }

    // Folding.

    /// "An acknowledgement is sent only after the node has folded its own commit, and says what the fold decided."
    fn fold(&mut self, slot: u8, content: Content, own: Option<usize>) {
        self.check_floor(slot - 1);
        let forked = self.bucket.truth(slot) != content;
        if forked {
            *self.broken = Broken::Fork;
        }
        self.node().position = Position::At(slot);
        let verdict = match forked {
            // It would fold its own commit, in a world of its own.
            true => Verdict::TookEffect,
            false => self.manifest(slot).verdicts[usize::from(slot)],
        };
        for proposal in 0..self.part().proposes.len() {
            let finished = matches!(self.nodes[self.who].proposals[proposal], Proposal::Done(_));
            if !finished && (own == Some(proposal) || self.meets_its_own(proposal, content)) {
                self.node().proposals[proposal] = Proposal::Done(answer(verdict));
            }
        }
    }

    /// "A forwarder that hears nothing looks for its commit id in the journal": whoever folds it has heard.
    fn meets_its_own(&self, proposal: usize, content: Content) -> bool {
        match self.rules.exists {
            Exists::ComparedByBytes => self.content(proposal) == content,
            Exists::ComparedById => self.scenario.same_id(self.content(proposal), content),
            Exists::TakenAsOurs | Exists::TakenAsTheirs => false,
        }
    }

    /// J7: whatever is used is used at a position that was above the floor less than a lease ago.
    fn check_floor(&mut self, position: u8) {
        if position < self.bucket.floor_before(self.scenario.lease.max(1)) {
            *self.broken = Broken::BelowTheFloor;
        }
    }
}

fn answer(verdict: Verdict) -> Answer {
    match verdict {
        Verdict::TookEffect => Answer::Acknowledged,
        Verdict::Void => Answer::Refused,
        // What its first copy came to is not known here.
        Verdict::Dropped | Verdict::Nothing => Answer::Unknown,
    }
}
