//! Placement and zones; nodes that learn of each other on a store in memory.
#![allow(clippy::unwrap_used, clippy::panic)]

mod bucket;
mod life;
mod reach;

use std::sync::Arc;

use uuid::Uuid;

use super::{Key, Nodes, placement, replicas, zone_of_client};
use crate::node::{Address, Peer};

fn ids(nodes: &Nodes) -> Vec<i32> {
    nodes.live().iter().map(|node| node.id).collect()
}

fn peer(id: i32, rack: Option<&str>) -> Peer {
    let address = Address { name: "kafka".into(), host: format!("h{id}"), port: 9092 };
    Peer { id, rack: rack.map(str::to_owned), listeners: Arc::from([address]) }
}

#[test]
fn a_node_that_comes_moves_only_what_it_gets() {
    let topic = Uuid::from_u128(77);
    let nodes: Vec<Peer> = (1..=5).map(|id| peer(id, None)).collect();
    let place = |nodes: &[Peer], partition| {
        placement::first(nodes, &Key::partition(topic, partition), None).unwrap().id
    };
    let mut held = [0; 6];
    for partition in 0..10_000 {
        let (before, after) = (place(&nodes[..4], partition), place(&nodes, partition));
        assert!(after == before || after == 5, "{partition} moved from {before} to {after}");
        held[after as usize] += 1;
    }
    assert!(held[1..].iter().all(|held| (1_800..2_200).contains(held)), "{held:?}");
}

/// Two versions of the program that run side by side must agree: these numbers never change.
#[test]
fn the_hash_is_for_ever() {
    let nodes: Vec<Peer> = [1, 2, 3, 1 << 30].map(|id| peer(id, None)).into();
    let place = |key: Key| placement::first(&nodes, &key, None).unwrap().id;
    let partitions: Vec<i32> = (0..8).map(|n| place(Key::partition(Uuid::from_u128(1), n))).collect();
    let groups: Vec<i32> = ["", "a", "orders", "connect-cluster"].map(|g| place(Key::coordinated(g))).into();
    assert_eq!(partitions, [1, 2, 3, 1 << 30, 2, 2, 1 << 30, 2]);
    assert_eq!(groups, [1 << 30, 3, 1, 3]);
}

#[test]
fn a_zone_without_nodes_counts_as_none() {
    let nodes = [peer(1, Some("a")), peer(2, Some("b")), peer(3, Some("a")), peer(4, None)];
    for partition in 0..100 {
        let key = Key::partition(Uuid::from_u128(9), partition);
        let first = |rack| placement::first(&nodes, &key, rack).unwrap().id;
        assert!([1, 3].contains(&first(Some("a"))));
        assert_eq!(first(Some("b")), 2);
        assert_eq!(first(Some("c")), first(None));
        let replicas = |rack| replicas(&nodes, &key, rack);
        assert_eq!(replicas(Some("a")), [first(Some("a")), 4, 2]);
        assert_eq!(replicas(Some("b")), [2, 4, first(Some("a"))]);
        assert_eq!((replicas(None).len(), replicas(None)[0]), (3, first(None)));
    }
}

#[test]
fn the_zone_stands_in_the_client_id() {
    for (client_id, zone) in [
        ("diskless_az=a", Some("a")),
        ("app,ws_az=eu-1a", Some("eu-1a")),
        ("app warpstream_az=b,x=y", Some("b")),
        ("strandline_az=c|a->b|connector|role", Some("c")),
        ("x|strandline_az=d=e", Some("d")),
        ("app", None),
        ("", None),
        ("strandline_az=", None),
        ("my_strandline_az=a", None),
        ("strandline_az", None),
    ] {
        assert_eq!(zone_of_client(client_id), zone, "{client_id}");
    }
}

#[test]
fn a_node_alone_looks_after_everything() {
    let nodes = Nodes::alone(peer(7, Some("a")));
    assert_eq!(nodes.live().len(), 1);
    assert_eq!(replicas(&nodes.live(), &Key::partition(Uuid::from_u128(1), 0), Some("b")), [7]);
    assert!(nodes.is_coordinator("g") && nodes.coordinator("h").id == 7);
    assert_eq!(nodes.live()[0].address("other").unwrap().host, "h7");
}
