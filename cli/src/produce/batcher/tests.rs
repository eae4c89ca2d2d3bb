//! Lines in, batches out.

use std::sync::mpsc::sync_channel;

use strandline_core::record::{BatchHeader, records};

use super::*;

/// Feeds `blocks` and gives what comes out, as (partition, base sequence, keys and values).
fn cut(
    separator: Option<&str>,
    partitions: u32,
    max_message_bytes: usize,
    blocks: &[&[u8]],
) -> (Result<()>, Vec<Cut>) {
    let (out, mut batches) = mpsc::channel(1_000);
    let batcher = Batcher {
        separator: separator.map(str::to_owned),
        fixed_partition: None,
        partitions,
        max_message_bytes,
        producer_id: 3,
        env: Env::system(),
        out,
        open: BTreeMap::new(),
        open_bytes: 0,
        sticky: 0,
        rest: Vec::new(),
        line: 0,
    };
    let (send, receive) = sync_channel(blocks.len());
    for block in blocks {
        send.send(Ok(Bytes::copy_from_slice(block))).unwrap();
    }
    drop(send);
    let result = batcher.run(&receive);
    let mut found = Vec::new();
    while let Ok(batch) = batches.try_recv() {
        let header = BatchHeader::check(&batch.bytes).unwrap();
        assert_eq!((header.producer_id, header.producer_epoch), (3, 0));
        assert_eq!(u64::from(header.records), batch.records);
        let text = |part: Option<Bytes>| part.map(|part| String::from_utf8_lossy(&part).into_owned());
        let records = records(&batch.bytes)
            .unwrap()
            .into_iter()
            .map(|r| (text(r.key), text(r.value).unwrap()))
            .collect();
        found.push(Cut {
            partition: batch.partition,
            sequence: header.base_sequence,
            records,
            input_bytes: batch.input_bytes,
        });
    }
    (result, found)
}

#[derive(Debug)]
struct Cut {
    partition: u32,
    sequence: i32,
    records: Vec<(Option<String>, String)>,
    input_bytes: u64,
}

fn values(found: &[Cut]) -> Vec<&str> {
    found.iter().flat_map(|cut| cut.records.iter().map(|(_, value)| value.as_str())).collect()
}

/// However the input is cut into blocks, lines are the same; the last one needs no end, an empty one is a record.
#[test]
fn lines_do_not_depend_on_blocks() {
    let input = b"one\n\nthree\nlast";
    for at in 0..input.len() {
        let (left, right) = input.split_at(at);
        let (result, found) = cut(None, 1, 1_000_000, &[left, right]);
        result.unwrap();
        assert_eq!(values(&found), ["one", "", "three", "last"], "{at}");
        assert_eq!(found.iter().map(|cut| cut.input_bytes).sum::<u64>(), input.len() as u64);
    }
    assert!(cut(None, 1, 1_000_000, &[b"".as_slice()]).1.is_empty());
}

#[test]
fn keys_are_cut_off_at_the_first_separator() {
    let (result, found) = cut(Some("::"), 1, 1_000_000, &[b"k::v::w\n::no key text\n"]);
    result.unwrap();
    let expected =
        [(Some("k".to_owned()), "v::w".to_owned()), (Some(String::new()), "no key text".to_owned())];
    assert_eq!(found[0].records, expected);
    let (result, _) = cut(Some("::"), 1, 1_000_000, &[b"k::v\nplain\n"]);
    assert!(result.unwrap_err().to_string().starts_with("line 2 has no \"::\""));
}

/// A full batch goes out, its partition's sequence numbers go on, and records without a key move to the next partition.
#[test]
fn batches_keep_their_bounds_and_their_sequence() {
    let line = format!("{}\n", "x".repeat(399));
    let input = line.repeat(10);
    let (result, found) = cut(None, 2, 1_000, &[input.as_bytes()]);
    result.unwrap();
    let shape: Vec<_> = found.iter().map(|cut| (cut.partition, cut.sequence, cut.records.len())).collect();
    assert_eq!(shape, [(0, 0, 2), (1, 0, 2), (0, 2, 2), (1, 2, 2), (0, 4, 2)]);
}

#[test]
fn a_line_beyond_the_limit_is_named() {
    for input in ["ok\n".to_owned() + &"x".repeat(2_000) + "\n", "ok\n".to_owned() + &"x".repeat(2_000)] {
        let (result, _) = cut(None, 1, 1_000, &[input.as_bytes()]);
        assert!(result.unwrap_err().to_string().starts_with("line 2 has 2,000 bytes"));
    }
}
