//! Several nodes on one bucket whose time is paused: they learn of each other, fall asleep, wake, die and leave.

use std::time::Duration;

use strandline_core::rope::Rope;
use tokio::time::{Instant, sleep, timeout};

use super::bucket::Bucket;
use super::{ids, peer};
use crate::limits::{NODE_BEAT, NODE_BUSY_ALONE, NODE_DEAD, NODE_FORGOTTEN, NODE_PEEK};
use crate::nodes::{Connected, Nodes, Reach};

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3_600);

fn start(bucket: &Bucket, id: i32) -> Nodes {
    Nodes::start(peer(id, None), bucket.store(), Reach::Trust)
}

async fn put(bucket: &Bucket, key: &str, body: &str) {
    bucket.store().put(key, &Rope::from(bytes::Bytes::copy_from_slice(body.as_bytes()))).await.unwrap();
}

/// Two nodes that know each other, and a client of the first one.
async fn pair(bucket: &Bucket) -> (Nodes, Nodes, Connected) {
    let (one, two) = (start(bucket, 1), start(bucket, 2));
    let client = one.connected();
    sleep(NODE_BEAT * 2).await;
    assert_eq!((ids(&one), ids(&two)), (vec![1, 2], vec![1, 2]));
    (one, two, client)
}

#[tokio::test(start_paused = true)]
async fn nodes_learn_of_each_other_and_agree() {
    let bucket = Bucket::new();
    let (one, two, _client) = pair(&bucket).await;
    let three = start(&bucket, 3);
    sleep(NODE_BEAT * 2).await;
    for nodes in [&one, &two, &three] {
        assert_eq!(ids(nodes), [1, 2, 3]);
        assert_eq!(nodes.live()[1], peer(2, None));
    }
    for group in 0..200 {
        let group = format!("group-{group}");
        let owners = [&one, &two, &three].map(|nodes| nodes.is_coordinator(&group));
        assert_eq!(owners.iter().filter(|owner| **owner).count(), 1, "{group}: {owners:?}");
        assert_eq!(one.coordinator(&group), three.coordinator(&group));
    }
}

#[tokio::test(start_paused = true)]
async fn a_dead_node_is_dropped_and_not_before() {
    let bucket = Bucket::new();
    let (one, two, _client) = pair(&bucket).await;
    drop(two);
    sleep(NODE_DEAD - NODE_BEAT - Duration::from_secs(1)).await;
    assert_eq!(ids(&one), [1, 2]);
    sleep(NODE_BEAT * 2 + Duration::from_secs(2)).await;
    assert_eq!(ids(&one), [1]);
}

/// One PUT and one LIST a beat; what nodes say of themselves is not read again while it stays the same.
#[tokio::test(start_paused = true)]
async fn a_beat_costs_two_requests() {
    let bucket = Bucket::new();
    let (_one, _two, _client) = pair(&bucket).await;
    // Until each has said since when it lives, and the other one has read that.
    sleep(NODE_BEAT * 2).await;
    bucket.requests();
    sleep(MINUTE * 2).await;
    // Two nodes; what they say is read again once in ten minutes, which is not now.
    assert_eq!(bucket.requests(), [48, 0, 48, 0]);
}

#[tokio::test(start_paused = true)]
async fn an_idle_node_that_is_alone_makes_no_request() {
    let bucket = Bucket::new();
    let nodes = start(&bucket, 1);
    sleep(NODE_BUSY_ALONE + NODE_BEAT).await;
    let [puts, gets, lists, deletes] = bucket.requests();
    assert!((1..=4).contains(&puts) && lists <= 4 && gets <= 3 && deletes == 0, "{puts} {gets} {lists}");
    sleep(HOUR * 100).await;
    assert_eq!(bucket.requests(), [0; 4]);
    assert_eq!(ids(&nodes), [1]);
}

#[tokio::test(start_paused = true)]
async fn a_node_alone_falls_asleep_when_its_clients_have_left() {
    let bucket = Bucket::new();
    let nodes = start(&bucket, 1);
    let client = nodes.connected();
    sleep(MINUTE).await;
    drop(client);
    sleep(NODE_BEAT * 3).await;
    bucket.requests();
    sleep(MINUTE).await;
    assert_eq!(bucket.requests(), [0; 4]);
}

/// Once the clients are gone all beats stop; those that have met look for each other for a day, and then no more.
#[tokio::test(start_paused = true)]
async fn an_idle_cluster_sleeps() {
    let bucket = Bucket::new();
    let (_one, _two, client) = pair(&bucket).await;
    drop(client);
    sleep(MINUTE * 2).await;
    bucket.requests();
    sleep(HOUR).await;
    let looks = 2 * HOUR.as_secs() / NODE_PEEK.as_secs();
    assert_eq!(bucket.requests(), [0, 0, looks as usize, 0]);
    sleep(NODE_FORGOTTEN).await;
    bucket.requests();
    sleep(HOUR * 100).await;
    assert_eq!(bucket.requests(), [0; 4]);
}

/// A client at one of them: it wakes at once, the other when it looks next.
#[tokio::test(start_paused = true)]
async fn a_client_wakes_the_cluster() {
    let bucket = Bucket::new();
    let (one, two, client) = pair(&bucket).await;
    drop(client);
    sleep(HOUR * 3).await;
    bucket.requests();
    two.refresh().await;
    let [puts, _, lists, _] = bucket.requests();
    assert_eq!((puts, lists), (1, 1));
    // The other one sleeps, and nobody is sent there.
    assert_eq!(ids(&two), [2]);
    let _client = two.connected();
    sleep(NODE_PEEK + NODE_BEAT).await;
    assert_eq!((ids(&one), ids(&two)), (vec![1, 2], vec![1, 2]));
    sleep(HOUR).await;
    assert_eq!((ids(&one), ids(&two)), (vec![1, 2], vec![1, 2]));
}

/// A sleeper that has met nobody hears of others when a client comes.
#[tokio::test(start_paused = true)]
async fn a_request_after_a_long_sleep_sees_who_lives() {
    let bucket = Bucket::new();
    let one = start(&bucket, 1);
    sleep(HOUR * 30).await;
    let two = start(&bucket, 2);
    let _client = two.connected();
    sleep(NODE_BEAT * 2).await;
    one.refresh().await;
    assert_eq!(ids(&one), [1, 2]);
    sleep(NODE_BEAT * 2).await;
    assert_eq!(ids(&two), [1, 2]);
}

#[tokio::test(start_paused = true)]
async fn a_node_that_leaves_is_off_the_list_before_it_stops() {
    let bucket = Bucket::new();
    let (one, two, _client) = pair(&bucket).await;
    // Nobody is connected to it: there is nothing to wait for.
    let begun = Instant::now();
    two.leave().await;
    assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
    drop(two);
    sleep(NODE_BEAT + Duration::from_secs(1)).await;
    assert_eq!(ids(&one), [1]);

    let two = start(&bucket, 2);
    sleep(NODE_BEAT * 2).await;
    assert_eq!(ids(&one), [1, 2]);
    one.leave().await;
    assert_eq!(ids(&two), [2], "it left when the other one had noticed");
    assert_eq!(ids(&one), [1, 2], "it still serves");
    assert!(Instant::now() < begun + Duration::from_secs(30));
}

/// Of two nodes with one id the younger ends; the older one stays, and its object too.
#[tokio::test(start_paused = true)]
async fn an_id_is_not_used_twice() {
    let bucket = Bucket::new();
    let one = start(&bucket, 1);
    let _client = one.connected();
    sleep(Duration::from_secs(3)).await;
    let again = Nodes::start(peer_at(1, "elsewhere"), bucket.store(), Reach::Trust);
    let other = timeout(NODE_BEAT * 4, again.refused()).await.unwrap();
    assert_eq!(other, "h1:9092");
    again.leave().await;
    let three = start(&bucket, 3);
    sleep(NODE_BEAT * 2).await;
    assert_eq!(three.live()[0], peer(1, None));
    assert!(timeout(MINUTE * 10, one.refused()).await.is_err());
}

/// A node that was killed and starts again, also elsewhere, takes its id over; also if a write of its old self is late.
#[tokio::test(start_paused = true)]
async fn a_node_that_comes_back_keeps_its_id() {
    let bucket = Bucket::new();
    let (one, two, _client) = pair(&bucket).await;
    drop(two);
    let late = bucket.store().get("node/2").await.unwrap();
    let two = Nodes::start(peer_at(2, "elsewhere"), bucket.store(), Reach::Trust);
    sleep(Duration::from_secs(2)).await;
    bucket.store().put("node/2", &late).await.unwrap();
    assert!(timeout(MINUTE * 5, two.refused()).await.is_err());
    assert_eq!(one.live()[1], peer_at(2, "elsewhere"));
}

/// Anybody may write into a bucket.
#[tokio::test(start_paused = true)]
async fn what_makes_no_sense_is_passed_over() {
    let bucket = Bucket::new();
    let (one, _two, _client) = pair(&bucket).await;
    let listener = r#"{"name":"kafka","host":"h","port":1}"#;
    let many = [listener; 9].join(",");
    let long = "x".repeat(256);
    let node =
        |id: &str, listeners: &str| format!(r#"{{"id":{id},"incarnation":"i","listeners":[{listeners}]}}"#);
    let later = node("30", listener).replace("\"i\"", r#""i","of later versions":{}"#);
    for (id, body) in [
        ("10", String::new()),
        ("11", "{".to_owned()),
        ("12", "[".repeat(5_000)),
        ("13", node("14", listener)),
        ("15", node("15", "")),
        ("16", node("16", &many)),
        ("17", node("17", &listener.replace(":1}", ":0}"))),
        ("18", node("18", &listener.replace(":1}", ":65536}"))),
        ("19", node("19", &listener.replace("\"h\"", &format!("\"{long}\"")))),
        ("20", node("20", &listener.replace("\"h\"", "\"a b\""))),
        ("21", node("21", listener).replace("\"i\"", &format!(r#""i","rack":"{long}""#))),
        ("22", format!("{}{}", node("22", listener), " ".repeat(9_000))),
        ("1073741825", node("1073741825", listener)),
        ("2147483648", node("2147483648", listener)),
        ("-1", node("-1", listener)),
        ("+23", node("23", listener)),
        ("024", node("24", listener)),
        ("x", node("25", listener)),
        ("30", later),
    ] {
        put(&bucket, &format!("node/{id}"), &body).await;
    }
    sleep(NODE_BEAT * 2).await;
    assert_eq!(ids(&one), [1, 2, 30]);
}

/// A store that gives no answer: what was known stays, and requests hardly wait.
#[tokio::test(start_paused = true)]
async fn a_store_that_does_not_answer_changes_nothing() {
    let bucket = Bucket::new();
    let (one, _two, _client) = pair(&bucket).await;
    bucket.set_down(true);
    for _ in 0..300 {
        let begun = Instant::now();
        one.refresh().await;
        assert!(begun.elapsed() <= Duration::from_secs(1));
        sleep(Duration::from_millis(500)).await;
    }
    assert_eq!(ids(&one), [1, 2]);
    bucket.set_down(false);
    sleep(MINUTE).await;
    assert_eq!(ids(&one), [1, 2]);
}

#[tokio::test(start_paused = true)]
async fn forgotten_nodes_are_swept() {
    let bucket = Bucket::new();
    let said = bucket.store();
    drop(start(&bucket, 9));
    put(&bucket, "node/9", "{}").await;
    sleep(NODE_FORGOTTEN - HOUR).await;
    let _one = start(&bucket, 1);
    sleep(MINUTE * 2).await;
    assert!(said.get("node/9").await.is_ok());
    sleep(HOUR).await;
    let _two = start(&bucket, 2);
    sleep(MINUTE).await;
    assert!(said.get("node/9").await.is_err());
}

fn peer_at(id: i32, host: &str) -> crate::node::Peer {
    let address = crate::node::Address { name: "kafka".into(), host: host.into(), port: 9092 };
    crate::node::Peer { id, rack: None, listeners: std::sync::Arc::from([address]) }
}
