//! The two halves of a connection on a pipe: how frames are cut, and in which order answers leave.
#![allow(clippy::unwrap_used)]

use bytes::Bytes;
use strandline_kafka::api::ApiKey;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::sync::{mpsc, oneshot};

use super::read::{FrameReader, ReadError};
use super::write;
use crate::reply::{Answer, Reply};

/// A frame of `bytes` for the API `key`, with its length prefix; no two positions near each other hold the same byte.
fn frame(key: i16, bytes: usize) -> Vec<u8> {
    let mut frame = (bytes as i32).to_be_bytes().to_vec();
    frame.extend(key.to_be_bytes());
    frame.extend((2..bytes).map(|at| (at % 251) as u8));
    frame
}

async fn next(reader: &mut FrameReader<DuplexStream>) -> Option<Bytes> {
    let head = reader.head().await.unwrap()?;
    Some(reader.body(head).await.unwrap())
}

#[tokio::test]
async fn frames_of_all_sizes_are_cut_right_however_the_bytes_arrive() {
    let sizes = [8, 9, 100, 8, 8_192, 8_193, 8, 16_380, 16_384, 16_385, 300_000, 8, 8, 65_536, 10];
    let stream: Vec<u8> = sizes.iter().flat_map(|&bytes| frame(0, bytes)).collect();
    for (pipe, step) in [(1, 1), (7, 7), (4_096, 1_000), (16_384, 5), (1 << 20, 1 << 20)] {
        let (mut client, server) = duplex(pipe);
        let bytes = stream.clone();
        let sender = tokio::spawn(async move {
            for chunk in bytes.chunks(step) {
                client.write_all(chunk).await.unwrap();
            }
        });
        let mut reader = FrameReader::new(server);
        for &bytes in &sizes {
            assert_eq!(
                next(&mut reader).await.unwrap(),
                frame(0, bytes)[4..],
                "{bytes} bytes in steps of {step}"
            );
        }
        assert!(next(&mut reader).await.is_none());
        sender.await.unwrap();
    }
}

#[tokio::test]
async fn lengths_that_cannot_be_are_refused_before_anything_is_read() {
    let mib = 1 << 20;
    for (length, key, refused) in [
        (0, 0, true),
        (-1, 0, true),
        (7, 0, true),
        (i32::MIN, 0, true),
        (100 * mib + 1, 0, true),
        (100 * mib, 0, false),
        (8 * mib + 1, 3, true),
        (8 * mib, 3, false),
    ] {
        let (mut client, server) = duplex(64);
        client.write_i32(length).await.unwrap();
        client.write_i16(key).await.unwrap();
        let head = FrameReader::new(server).head().await;
        assert_eq!(matches!(head, Err(ReadError::Length(_))), refused, "{length}: {head:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_frame_that_stops_and_a_client_that_is_silent_are_given_up() {
    for begun in [1, 5, 20, 10_000] {
        let (mut client, server) = duplex(1 << 20);
        client.write_all(&frame(0, 20_000)[..begun]).await.unwrap();
        let mut reader = FrameReader::new(server);
        let ended = match reader.head().await {
            Ok(head) => reader.body(head.unwrap()).await.map(|_| ()),
            Err(error) => Err(error),
        };
        assert!(matches!(ended, Err(ReadError::Slow)), "{begun}: {ended:?}");
    }
    let (_client, server) = duplex(64);
    assert!(matches!(FrameReader::new(server).head().await, Err(ReadError::Idle)));
}

#[tokio::test]
async fn answers_leave_in_order_and_ready_ones_wait_for_a_slow_one() {
    let (replies, queue) = mpsc::channel(8);
    let (mut client, server) = duplex(1 << 20);
    let writer = tokio::spawn(write::run(server, queue));
    let answer = |parts: &[&'static str]| {
        let parts = parts.iter().map(|part| Bytes::from_static(part.as_bytes())).collect();
        Ok(Answer { parts, budget: None })
    };
    let (finish, slow) = oneshot::channel::<()>();
    let late = answer(&["c", "", "d"]);
    let waiting = async move {
        slow.await.unwrap();
        late
    };
    for reply in [
        Reply::ready(ApiKey::Fetch, answer(&["a", "b"])),
        Reply::waiting(ApiKey::Produce, waiting),
        Reply::ready(ApiKey::Metadata, answer(&["e"])),
    ] {
        replies.send(reply).await.ok().unwrap();
    }
    let mut first = [0; 2];
    client.read_exact(&mut first).await.unwrap();
    assert_eq!(&first, b"ab");
    finish.send(()).unwrap();
    drop(replies);
    let mut rest = String::new();
    client.read_to_string(&mut rest).await.unwrap();
    assert_eq!(rest, "cde");
    writer.await.unwrap().unwrap();
}
