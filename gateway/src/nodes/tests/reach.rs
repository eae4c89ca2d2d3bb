//! Nodes that take connections, or refuse them, on this machine.

use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::time::{Instant, sleep};

use super::bucket::Bucket;
use super::ids;
use crate::limits::NODE_BEAT;
use crate::node::{Address, Peer};
use crate::nodes::reach::{Reached, Target};
use crate::nodes::{Nodes, Reach};

async fn start(bucket: &Bucket, id: i32) -> (Nodes, TcpListener) {
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = socket.local_addr().unwrap().port();
    let address = Address { name: "kafka".into(), host: "127.0.0.1".into(), port };
    let own = Peer { id, rack: None, listeners: Arc::from([address]) };
    (Nodes::start(own, bucket.store(), Reach::Dial), socket)
}

/// Who was killed a moment ago is not told to clients, neither by a new node nor by one that knew it.
#[tokio::test]
async fn a_node_that_refuses_connections_is_not_listed() {
    let bucket = Bucket::new();
    let (one, socket_of_one) = start(&bucket, 1).await;
    one.refresh().await;
    let (two, _socket) = start(&bucket, 2).await;
    two.refresh().await;
    assert_eq!(ids(&two), [1, 2]);
    drop((one, socket_of_one));
    sleep(Duration::from_millis(1_100)).await;
    let begun = Instant::now();
    two.refresh().await;
    assert_eq!(ids(&two), [2]);
    let (three, _socket) = start(&bucket, 3).await;
    three.refresh().await;
    assert_eq!(ids(&three), [2, 3]);
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
}

/// Its last stamp is younger than what the others had seen of it when it refused the first connection.
#[tokio::test]
async fn what_a_node_said_before_its_end_does_not_bring_it_back() {
    let port = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    let target =
        |stamp_ms| Target { id: 1, incarnation: "it".into(), stamp_ms, host: "127.0.0.1".into(), port };
    let mut reached = Reached::default();
    reached.dial(vec![target(5_000)]).await;
    assert!(reached.is_gone(1));
    for _ in 0..2 {
        reached.seen(1, "it", 10_000);
        assert!(reached.is_gone(1), "this stamp may be older than the refusal");
        reached.dial(vec![target(10_000)]).await;
        assert!(reached.is_gone(1));
    }
    reached.seen(1, "it", 15_000);
    assert!(!reached.is_gone(1), "this one is not: it lives, and only clients reach it");
    reached.dial(vec![target(15_000)]).await;
    assert!(!reached.is_gone(1));
}

/// Its address may be one that only clients reach: a node that goes on saying that it lives is believed.
#[tokio::test]
async fn a_node_that_only_clients_reach_is_listed_after_two_beats() {
    let bucket = Bucket::new();
    let (one, socket) = start(&bucket, 1).await;
    drop(socket);
    let (two, _socket) = start(&bucket, 2).await;
    let begun = Instant::now();
    two.refresh().await;
    assert_eq!(ids(&two), [2]);
    while ids(&two) != [1, 2] {
        assert!(begun.elapsed() < NODE_BEAT * 4, "{:?} {:?}", ids(&one), ids(&two));
        sleep(Duration::from_millis(100)).await;
    }
    for _ in 0..3 {
        sleep(Duration::from_millis(1_100)).await;
        two.refresh().await;
        assert_eq!(ids(&two), [1, 2]);
    }
}
