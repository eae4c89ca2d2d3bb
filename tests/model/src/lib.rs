//! An exhaustive model of the journal: slots, commit ids, the fold's memory, the floor, the lease, loading, deletion.
//!
//! Owns the question whether the *rules* are right; whether the code follows them is for the tests of `strandline-core`.
//! Must not know the code: nothing is shared with it, so that a mistake there is not repeated here. The checker goes
//! through every order of steps that a scenario allows, and keeps the shortest way to whatever breaks an invariant.
//!
//! # Reading it beside the design
//! | design | here |
//! | --- | --- |
//! | put-if-absent; a PUT lands late, twice or never | [`bucket::Bucket::put_if_absent`], [`bucket::Bucket::send`], [`checks::Action::Land`] |
//! | `propose(changes)`, pipelining | [`step::Step::propose`], [`step::Step::use_put`] |
//! | "already exists" is a question; 412, 409, time-outs and resets | [`step::Step::ask_whose`] |
//! | the fold: void, repeated ids, window, forgetting | [`fold::Manifest`] |
//! | reading to the end, following | [`step::Step::read_next`], [`step::Step::use_read`] |
//! | the lease: the clock after the result, then the floor | [`step::Step::verify`] |
//! | loading: a checkpoint, *then* the floor | [`step::Step::pick_checkpoint`], [`step::Step::read_floor_on_load`] |
//! | checkpoints, floor moves, deletion | [`collector`] |
//! | handing over | a commit that stands at two nodes of a [`scenario::Scenario`] |
//!
//! # What it checks
//! [`checks::J1`], [`checks::J4`], [`checks::J5`], [`checks::J6`], [`checks::J7`], [`checks::J9`] and [`checks::D2`], in
//! every state; and that what is interesting is reached ([`reaches`]). [`rules::Rules`] takes one rule out at a time.
//!
//! # Bounds
//! Three or four slots, two or three nodes, two to four commits, up to two moves of the floor, one decided at a time. Time
//! is not bounded: ages stop counting where they stop mattering, so a pause of days may lie between any two steps. Nor are
//! attempts: a PUT that was sent may land any number of times. Lease and delay are one and two ticks, two and three, or
//! two and two.
//!
//! | scenario ([`scenarios`]) | states |
//! | --- | --- |
//! | contention | 98,960 |
//! | sleeping writers | 504,263 |
//! | tight delay | 317,730 |
//! | sleeping reader | 2,174,927 |
//! | reading writer | 2,442,940 |
//! | stale loader | 2,366,123 |
//! | handed over | 106,888 |
//! | a day ahead | 175,139 |
//!
//! # What it takes for granted
//! The store: put-if-absent with one winner, reads that see what was written, true stamps. The clocks: of a node's two, at
//! least one goes on while the world does; a machine on which both stand still, yet whose requests the store accepts, is
//! `writer_lease: false`. That a manifest is what its slots fold to (J2), so that a position stands for one. Not here:
//! segments and their orphans, the order of batches (K4), groups, and whether anything is ever finished (J10).

pub mod scenarios;
pub mod reaches;
pub mod checks;
pub mod step;
pub mod node;
pub mod collector;
pub mod bucket;
pub mod fold;
pub mod scenario;
pub mod rules;
