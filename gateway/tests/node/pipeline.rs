//! Connections of the real gateway over TCP: order, concurrency, bad input, shutdown.

use std::time::Duration;
use tokio::time::Instant;

use strandline_kafka::api::ApiKey;
use strandline_kafka::messages::{Response, api_versions, metadata};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use crate::support::{PATIENCE, batch, fetch, node, produce};

#[tokio::test(flavor = "multi_thread")]
async fn pipelined_produces_are_answered_in_order_with_offsets_in_order() {
    let node = node().await;
    let mut client = node.client().await;
    client.create("t", 3).await;
    // Small ones share a read, large ones get a buffer each.
    let large = "x".repeat(100_000);
    let mut sent = Vec::new();
    for n in 0..300 {
        let value = if n % 7 == 0 { large.as_str() } else { "small" };
        sent.push(client.send(9, produce("t", n % 3, -1, Some(batch(&[value, "second"])))).await);
    }
    for (n, sent) in sent.into_iter().enumerate() {
        let (answered, response) = client.receive(ApiKey::Produce, 9).await;
        let Response::Produce(response) = response else { unreachable!() };
        let partition = &response.responses[0].partition_responses[0];
        assert_eq!((answered, partition.error_code), (sent, 0), "{partition:?}");
        assert_eq!((partition.index, partition.base_offset), (n as i32 % 3, n as i64 / 3 * 2));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_of_one_connection_run_side_by_side_but_answers_keep_their_order() {
    let node = node().await;
    let mut client = node.client().await;
    client.create("t", 1).await;
    // The first waits for what only the second brings. One after the other, this would take half a minute.
    let waiting = client.send(11, fetch("t", &[(0, 0)], 30_000)).await;
    let bringing = client.send(9, produce("t", 0, 1, Some(batch(&["a"])))).await;
    let (first, response) = client.receive(ApiKey::Fetch, 11).await;
    let Response::Fetch(response) = response else { unreachable!() };
    let records = response.responses[0].partitions[0].records.as_ref().unwrap();
    assert_eq!((first, records.len()), (waiting, batch(&["a"]).len()));
    assert_eq!(client.receive(ApiKey::Produce, 9).await.0, bringing);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_poll_wakes_when_another_connection_produces() {
    let node = node().await;
    let (mut consumer, mut producer) = (node.client().await, node.client().await);
    producer.create("t", 2).await;
    let begun = Instant::now();
    consumer.send(12, fetch("t", &[(1, 0), (0, 0)], 30_000)).await;
    sleep(Duration::from_millis(200)).await;
    producer.call(9, produce("t", 0, -1, Some(batch(&["a", "b"])))).await;
    let (_, Response::Fetch(response)) = consumer.receive(ApiKey::Fetch, 12).await else { unreachable!() };
    assert!(begun.elapsed() < Duration::from_secs(10));
    let ends: Vec<_> =
        response.responses[0].partitions.iter().map(|p| (p.partition_index, p.high_watermark)).collect();
    assert_eq!(ends, [(1, 0), (0, 2)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn acks_0_gets_no_answer_and_still_lands() {
    let node = node().await;
    let mut client = node.client().await;
    client.create("t", 1).await;
    client.send(9, produce("t", 0, 0, Some(batch(&["a"])))).await;
    // Refused, and nobody hears of it.
    client.send(9, produce("nowhere", 0, 0, Some(batch(&["a"])))).await;
    let Response::Fetch(response) = client.call(11, fetch("t", &[(0, 0)], 30_000)).await else {
        unreachable!()
    };
    assert_eq!(response.responses[0].partitions[0].high_watermark, 1);
    let Response::Produce(response) = client.call(9, produce("t", 0, 2, Some(batch(&["a"])))).await else {
        unreachable!()
    };
    assert_eq!(response.responses[0].partition_responses[0].error_code, 21);
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_input_closes_its_own_connection_and_no_other() {
    let node = node().await;
    let mut bystander = node.client().await;
    bystander.create("t", 1).await;
    let waiting = bystander.send(11, fetch("t", &[(0, 0)], 30_000)).await;
    let frame = |body: &[u8]| [&(body.len() as i32).to_be_bytes()[..], body].concat();
    let bad = [
        frame(&[0, 3, 0, 99, 0, 0, 0, 1, 0xff, 0xff]), // Metadata, unknown version
        frame(&[0, 99, 0, 0, 0, 0, 0, 1, 0xff, 0xff]), // unknown API
        frame(&[0, 0, 0, 2, 0, 0, 0, 1, 0xff, 0xff]),  // Produce v2: advertised, not served
        frame(&[0, 3, 0, 1, 0, 0, 0, 1, 0xff, 0xff, 0x7f, 0xff, 0xff, 0xff]), // two billion topics
        frame(&[0, 3, 0, 1, 0, 0, 0, 1, 0, 50, b'x']), // a client id that is not there
        frame(&[]),
        frame(&[0, 3]),
        (-1_i32).to_be_bytes().to_vec(),
        (200_i32 << 20).to_be_bytes().to_vec(),
        b"GET / HTTP/1.1\r\n\r\n".to_vec(),
    ];
    for bytes in bad {
        let mut client = node.client().await;
        client.stream.write_all(&bytes).await.unwrap();
        assert!(client.frame().await.is_none(), "{bytes:?}");
    }
    // One that leaves in the middle of a frame, and one that stays silent in it.
    for stays in [false, true] {
        let mut client = node.client().await;
        client.stream.write_all(&[0, 0, 1, 0, 0, 0]).await.unwrap();
        if stays {
            std::mem::forget(client);
        }
    }
    // Version 9 of ApiVersions does not exist; the answer is one that everybody can read.
    let mut client = node.client().await;
    client.stream.write_all(&frame(&[0, 18, 0, 9, 0, 0, 0, 5, 0xff, 0xff])).await.unwrap();
    let (id, Response::ApiVersions(response)) = client.receive(ApiKey::ApiVersions, 0).await else {
        unreachable!()
    };
    assert_eq!((id, response.error_code, response.api_keys.is_empty()), (5, 35, false));
    let named = |name: &str| api_versions::Request {
        client_software_name: name.into(),
        client_software_version: "1.0".into(),
    };
    let Response::ApiVersions(response) = client.call(4, named("a b")).await else { unreachable!() };
    assert_eq!(response.error_code, 42);
    let Response::ApiVersions(response) = client.call(4, named("a-b")).await else { unreachable!() };
    assert_eq!((response.error_code, response.finalized_features.len()), (0, 1));
    // The bystander has noticed nothing of all this.
    client.call(9, produce("t", 0, -1, Some(batch(&["a"])))).await;
    assert_eq!(bystander.receive(ApiKey::Fetch, 11).await.0, waiting);
}

#[tokio::test(flavor = "multi_thread")]
async fn shutdown_answers_what_is_in_flight_and_ends_in_time() {
    let mut node = node().await;
    let (mut consumer, mut producer) = (node.client().await, node.client().await);
    producer.create("t", 2).await;
    assert_eq!(node.get("/readyz").await.0, 200);
    assert_eq!(node.get("/healthz").await.0, 200);
    let (status, metrics) = node.get("/metrics").await;
    assert_eq!(status, 200);
    assert!(metrics.contains("strandline_requests_total{api=\"CreateTopics\"}"), "{metrics}");
    consumer.send(11, fetch("t", &[(0, 0)], 30_000)).await;
    for _ in 0..20 {
        producer.send(9, produce("t", 0, -1, Some(batch(&["a"])))).await;
    }
    // Only requests that were read are in flight.
    let (_, Response::Produce(_)) = producer.receive(ApiKey::Produce, 9).await else { unreachable!() };
    let (_, Response::Fetch(_)) = consumer.receive(ApiKey::Fetch, 11).await else { unreachable!() };
    consumer.send(11, fetch("t", &[(1, 0)], 30_000)).await;
    sleep(Duration::from_millis(200)).await;
    let begun = Instant::now();
    node.stop.take().unwrap().send(()).unwrap();
    let (_, Response::Fetch(response)) = consumer.receive(ApiKey::Fetch, 11).await else { unreachable!() };
    let partition = &response.responses[0].partitions[0];
    assert_eq!((partition.error_code, partition.high_watermark), (0, 0));
    for _ in 1..20 {
        let (_, Response::Produce(response)) = producer.receive(ApiKey::Produce, 9).await else {
            unreachable!()
        };
        assert_eq!(response.responses[0].partition_responses[0].error_code, 0);
    }
    assert!(consumer.frame().await.is_none() && producer.frame().await.is_none());
    timeout(PATIENCE, node.served).await.unwrap().unwrap().unwrap();
    assert!(begun.elapsed() < Duration::from_secs(8), "{:?}", begun.elapsed());
    assert!(TcpStream::connect(node.kafka).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_leaves_does_not_hold_up_what_it_sent() {
    let node = node().await;
    let mut client = node.client().await;
    client.create("t", 1).await;
    for _ in 0..50 {
        client.send(9, produce("t", 0, -1, Some(batch(&["a"])))).await;
    }
    // Half closed: everything that was sent is still answered.
    client.stream.shutdown().await.unwrap();
    for _ in 0..50 {
        client.receive(ApiKey::Produce, 9).await;
    }
    assert!(client.frame().await.is_none());
    let mut other = node.client().await;
    let Response::Metadata(response) =
        other.call(5, metadata::Request { topics: None, ..Default::default() }).await
    else {
        unreachable!()
    };
    assert_eq!(response.topics.len(), 1);
}
