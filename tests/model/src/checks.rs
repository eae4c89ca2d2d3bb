//! The model as the checker sees it: states, actions, and the invariants J1, J4 to J7, J9 and D2 of the design.
//!
//! Must not know why a step is allowed: the functions that take it say so.

use stateright::{Model, Property};

use crate::bucket::Bucket;
use crate::collector::{self, Move};
use crate::fold::Verdict;
use crate::node::{Answer, Broken, Node, Position, Proposal, Reading};
use crate::rules::Rules;
use crate::scenario::{COMMITS, Content, NODES, SLOTS, Scenario};
use crate::step::Step;

/// The whole world between two steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct State {
    /// What is durable.
    pub bucket: Bucket,
    /// Who works on it.
    pub nodes: [Node; NODES],
    /// What the collector is about to do.
    pub decided: Option<Move>,
    /// What the last step broke.
    pub broken: Broken,
}

/// One step of somebody; nodes and proposals by their index.
#[allow(missing_docs, reason = "the fields say what they are")]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Time passes; nobody moves.
    Tick,
    /// A PUT that was sent lands: in time and its answer is lost, late, or a second time.
    Land { slot: u8, content: Content },
    /// A node picks a checkpoint.
    PickCheckpoint { node: usize, slot: u8 },
    /// ... and then reads the floor.
    ReadFloorOnLoad { node: usize },
    /// A node puts a proposal at a slot.
    Propose { node: usize, proposal: usize },
    /// ... and hears that it was created.
    HearCreated { node: usize, proposal: usize },
    /// ... or hears something unclear, reads the slot and compares.
    AskWhose { node: usize, proposal: usize },
    /// ... and uses what it knows.
    UsePut { node: usize, proposal: usize },
    /// A node reads the next slot.
    ReadNext { node: usize },
    /// ... and hears what is there; the same step for those who look at the clock afterwards.
    HearRead { node: usize },
    /// ... and uses what it read.
    UseRead { node: usize },
    /// A node whose lease is over reads the floor.
    Verify { node: usize },
    /// A checkpoint is written.
    WriteCheckpoint { slot: u8 },
    /// The collector reads the floor and decides where to move it.
    DecideMove { to: u8 },
    /// ... and puts the next floor object.
    PutFloor,
    /// The collector deletes a slot.
    DeleteSlot { slot: u8 },
    /// The collector deletes a checkpoint.
    DeleteCheckpoint { slot: u8 },
}

/// A scenario under a set of rules.
#[derive(Debug, Clone)]
pub struct World {
    /// Who takes part.
    pub scenario: Scenario,
    /// What they obey.
    pub rules: Rules,
    /// What must be reached, so that the model is not empty talk.
    pub reaches: Vec<Reach>,
}

/// Something that must be reached: its name, and how to recognise it.
pub type Reach = (&'static str, fn(&World, &State) -> bool);

impl World {
    fn step<'a>(&'a self, state: &'a mut State, who: usize) -> Step<'a> {
        let State { bucket, nodes, broken, .. } = state;
        Step { scenario: &self.scenario, rules: &self.rules, bucket, nodes, who, broken }
    }

    fn tick(&self, state: &mut State) {
        let cap = self.scenario.delay.max(self.scenario.lease);
        state.nodes.iter_mut().for_each(|node| node.tick(self.scenario.lease));
        state.bucket.floors.iter_mut().flatten().for_each(|floor| floor.age.grow(cap));
    }

    fn act(&self, state: &mut State, action: Action) -> Option<()> {
        let highest = state.nodes.iter().filter_map(Node::folded).max().unwrap_or(0);
        match action {
            Action::Tick => self.tick(state),
            Action::Land { slot, content } => state.bucket.put_if_absent(slot, content)?,
            Action::PickCheckpoint { node, slot } => self.step(state, node).pick_checkpoint(slot)?,
            Action::ReadFloorOnLoad { node } => self.step(state, node).read_floor_on_load()?,
            Action::Propose { node, proposal } => self.step(state, node).propose(proposal)?,
            Action::HearCreated { node, proposal } => self.step(state, node).hear_created(proposal)?,
            Action::AskWhose { node, proposal } => self.step(state, node).ask_whose(proposal)?,
            Action::UsePut { node, proposal } => self.step(state, node).use_put(proposal)?,
            Action::ReadNext { node } => self.step(state, node).read_next()?,
            Action::HearRead { node } => self.step(state, node).hear_read()?,
            Action::UseRead { node } => self.step(state, node).use_read()?,
            Action::Verify { node } => self.step(state, node).verify()?,
            Action::WriteCheckpoint { slot } => {
                collector::write_checkpoint(&mut state.bucket, slot, highest)?
            }
            Action::DecideMove { to } => {
                state.decided = Some(collector::decide_move(&self.scenario, &self.rules, &state.bucket, to)?)
            }
            Action::PutFloor => collector::put_floor(&mut state.bucket, state.decided.take()?),
            Action::DeleteSlot { slot } => {
                collector::delete_slot(&self.scenario, &self.rules, &mut state.bucket, slot)?
            }
            Action::DeleteCheckpoint { slot } => collector::delete_checkpoint(&mut state.bucket, slot)?,
        }
        Some(())
    }

    fn node_actions(&self, node: usize, state: &State, actions: &mut Vec<Action>) {
        let Node { position, proposals, read, .. } = &state.nodes[node];
        match position {
            Position::Loading => {
                let slots = (0..=self.scenario.last_slot).filter(|slot| state.bucket.has_checkpoint(*slot));
                actions.extend(slots.map(|slot| Action::PickCheckpoint { node, slot }));
            }
            Position::Picked(_) => actions.push(Action::ReadFloorOnLoad { node }),
            Position::At(_) => {
                let next = match read {
                    Reading::Idle => Action::ReadNext { node },
                    Reading::Sent { .. } => Action::HearRead { node },
                    Reading::Heard(_) => Action::UseRead { node },
                };
                actions.extend([next, Action::Verify { node }]);
            }
        }
        for (proposal, stage) in proposals.iter().enumerate() {
            match stage {
                Proposal::Waiting => actions.push(Action::Propose { node, proposal }),
                Proposal::Asked { .. } => actions
                    .extend([Action::HearCreated { node, proposal }, Action::AskWhose { node, proposal }]),
                Proposal::Ours { .. } | Proposal::Theirs { .. } => {
                    actions.push(Action::UsePut { node, proposal })
                }
                Proposal::Absent | Proposal::Done(_) => {}
            }
        }
    }

    fn collector_actions(&self, state: &State, actions: &mut Vec<Action>) {
        for slot in 1..=self.scenario.last_slot {
            actions.extend([Action::WriteCheckpoint { slot }, Action::DeleteSlot { slot }]);
            actions.push(Action::DeleteCheckpoint { slot });
            if state.decided.is_none() {
                actions.push(Action::DecideMove { to: slot });
            }
        }
        actions.push(Action::DeleteCheckpoint { slot: 0 });
        if state.decided.is_some() {
            actions.push(Action::PutFloor);
        }
    }

    /// Every answer that any client got, and to what.
    fn answers<'a>(&'a self, state: &'a State) -> impl Iterator<Item = (Content, Answer)> + 'a {
        let parts = self.scenario.parts.iter().zip(&state.nodes);
        let proposals = parts.flat_map(|(part, node)| part.proposes.iter().zip(&node.proposals));
        proposals.filter_map(|(content, proposal)| match proposal {
            Proposal::Done(answer) => Some((*content, *answer)),
            _ => None,
        })
    }

    /// How often each content takes effect in the true log, by its number.
    fn effects(&self, state: &State) -> [u8; COMMITS + 1] {
        let log = state.bucket.log(&self.scenario, &self.rules);
        let mut effects = [0; COMMITS + 1];
        for (content, verdict) in state.bucket.truth.iter().zip(log.verdicts) {
            effects[usize::from(content.0)] += u8::from(verdict == Verdict::TookEffect);
        }
        effects
    }

    /// Whether everything that got this answer takes effect in the true log so that it `fits`.
    fn all_fit(&self, state: &State, of: Answer, fits: fn(u8) -> bool) -> bool {
        let effects = self.effects(state);
        let mut answers = self.answers(state).filter(|(_, answer)| *answer == of);
        answers.all(|(content, _)| fits(effects[usize::from(content.0)]))
    }

    fn contents(&self) -> impl Iterator<Item = Content> {
        (1..=self.scenario.commits.len() as u8).map(Content)
    }
}

impl Model for World {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        let mut nodes = [Node::ABSENT; NODES];
        for (node, part) in nodes.iter_mut().zip(self.scenario.parts) {
            *node = Node::new(part);
        }
        vec![State { bucket: Bucket::new(), nodes, decided: None, broken: Broken::No }]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        if state.broken == Broken::Fork {
            // From here on a position no longer says what was folded.
            return;
        }
        actions.push(Action::Tick);
        for slot in 1..=self.scenario.last_slot {
            let sent = self.contents().filter(|content| state.bucket.was_sent(slot, *content));
            actions.extend(sent.map(|content| Action::Land { slot, content }));
        }
        for node in 0..self.scenario.parts.len() {
            self.node_actions(node, state, actions);
        }
        if self.scenario.floor_moves > 0 {
            self.collector_actions(state, actions);
        }
    }

    fn next_state(&self, state: &State, action: Action) -> Option<State> {
        let mut next = *state;
        next.broken = Broken::No;
        self.act(&mut next, action)?;
        Some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        let mut properties = vec![
            Property::always(J1, |_, state: &State| state.broken != Broken::Fork),
            Property::always(J4, |world: &World, state: &State| {
                world.all_fit(state, Answer::Acknowledged, |effects| effects >= 1)
            }),
            Property::always(J5, |world: &World, state: &State| {
                world.effects(state).iter().all(|effects| *effects <= 1)
            }),
            Property::always(J6, |world: &World, state: &State| {
                world.all_fit(state, Answer::Refused, |effects| effects == 0)
            }),
            Property::always(J7, floor_is_kept),
            Property::always(J9, |_, state: &State| state.broken != Broken::FalseEnd),
            Property::always(D2, |_, state: &State| {
                (state.bucket.floor()..SLOTS as u8).all(|slot| !state.bucket.is_deleted(slot))
            }),
        ];
        properties.extend(self.reaches.iter().map(|(name, reached)| Property::sometimes(name, *reached)));
        properties
    }
}

/// One content per slot, whatever was deleted and made again.
pub const J1: &str = "J1 a slot is folded with one content for ever";
/// Acknowledged means present.
pub const J4: &str = "J4 what was acknowledged is in the true log";
/// Exactly once.
pub const J5: &str = "J5 a commit takes effect at most once";
/// A refusal is final.
pub const J6: &str = "J6 what was refused is never in the true log";
/// The floor.
pub const J7: &str = "J7 the floor only rises, to a checkpoint that is there, and nobody works below it";
/// Reads are fresh.
pub const J9: &str = "J9 the end that a reader is told is the end";
/// Collection is safe.
pub const D2: &str = "D2 no slot at or above the floor is deleted";

fn floor_is_kept(_: &World, state: &State) -> bool {
    let bucket = &state.bucket;
    let floors = || bucket.floors.iter().flatten().map(|floor| floor.slot);
    let rises = floors().zip(floors().skip(1)).all(|(before, after)| before < after);
    let loadable = (bucket.floor()..SLOTS as u8).any(|slot| bucket.has_checkpoint(slot));
    rises && loadable && bucket.floor() <= bucket.tail() && state.broken != Broken::BelowTheFloor
}
