//! Whole clusters in one thread, from a seed: real nodes on a store that fails below them, clients that remember
//! everything, and checkers that know what was promised.
//!
//! Nothing of the log is mocked: nodes are the production journal, ingest, reader, gateway and compactor; clients speak Kafka's
//! protocol to them over pipes in memory. Only what lies outside is simulated: the bucket, the machines' clocks, time
//! itself. Invariant: the same seed gives the same run, to the byte of its trace.
//!
//! Modules stand in the order in which a run meets them, and import only modules that stand after them:
//!
//! - [`mutations`]: every promise broken once, and whether that is noticed
//! - [`run`]: one seed: seasons of faults, a quiet end, the verdict
//! - `cast`: who takes part beside producers and consumers
//! - `check`: what the histories and the bucket must have in common
//! - `chaos`: crashes, pauses, clocks, outages
//! - `collector`: moves the floor, deletes slots and orphans
//! - `auditor`: notes what the nodes hold while they run
//! - `groups`: what goes on around consumer groups
//! - `member`: a member of a group
//! - `copier`: programs that read, write and commit in one transaction
//! - `stable`: readers of what is decided
//! - `admin`, `producer`, `consumer`: the other clients
//! - `compaction`: what topics keep, and whether compaction comes to rest
//! - `world`: what all of them share
//! - `client`: Kafka's protocol over a pipe, from the client's side
//! - `machine`: one node, its clocks, its starts and ends
//! - `compactor`: the production compactor inside a node
//! - `link`: one node's way to the bucket, with every fault there is
//! - `tree`: the index of a partition, as it lies in the bucket
//! - `bucket`: the objects, and what every slot held first
//! - `keys`: records with keys, and tombstones
//! - `history`: what the clients did and saw
//! - `plan`: what a seed decides
//! - `trace`: everything that happened, in order
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

pub mod mutations;
pub mod run;
mod cast;
mod check;
mod chaos;
mod collector;
mod auditor;
mod groups;
mod member;
mod admin;
mod producer;
mod copier;
mod consumer;
mod stable;
mod compaction;
mod world;
mod client;
mod machine;
mod compactor;
mod link;
mod tree;
mod bucket;
mod keys;
mod history;
mod plan;
mod trace;
