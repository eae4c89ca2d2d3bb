//! Headers that are whole: protobuf out of bytes that choose fields and values.
//!
//! A damaged length deep inside a message seldom leaves a message; here all lengths are right, and what is wrong is what
//! they hold. Knows the tags and kinds of the fields on disk, which never change; must not know what they mean.

use arbitrary::{Result, Unstructured};

/// What a field holds.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Kind {
    Varint,
    Fixed32,
    Fixed64,
    /// 16 bytes.
    Id,
    Text,
    /// Packed varints, as many as in the other columns of the message.
    Column,
    /// Texts, as many as there are entries in the columns of the message.
    Texts,
    /// Any number of messages.
    Messages(&'static [Field]),
}

/// A tag, and what it stands before.
pub(crate) type Field = (u8, Kind);

use Kind::{Column, Fixed32, Fixed64, Id, Messages, Text, Texts, Varint};

const ENTRY: &[Field] = &[(1, Text), (2, Text)];

/// The header of a commit.
pub(crate) const COMMIT: &[Field] = &[(1, Id), (2, Varint), (3, Varint), (4, Varint), (5, Messages(CHANGE))];
/// The last one that is there holds.
const CHANGE: &[Field] = &[
    (20, Messages(&[(1, Id), (2, Varint), (3, Varint), (4, Varint), (5, Varint)])),
    (19, Messages(&[(1, Id), (2, Varint), (3, Id), (4, Id), (5, Column), (6, Messages(BRANCH))])),
    (18, Messages(&[(1, Id), (2, Messages(RUN))])),
    (17, Messages(&[(1, Messages(OF)), (2, Varint), (3, Varint), (4, Varint)])),
    (16, Messages(&[(1, Messages(OF)), (2, Varint), (3, Messages(COMMIT_OFFSETS)), (4, Varint)])),
    (15, Messages(&[(1, Messages(OF)), (2, Messages(&[(1, Id), (2, Varint)])), (3, Texts)])),
    (14, Messages(&[(1, Text), (2, Varint), (3, Messages(IDENTITY)), (4, Varint)])),
    (13, Messages(&[(1, Text), (2, Messages(&[(1, Id), (2, Varint)]))])),
    (12, Text),
    (11, Messages(COMMIT_OFFSETS)),
    (10, Messages(UPDATE)),
    (9, Messages(&[(1, Id), (2, Varint), (3, Varint)])),
    (8, Messages(&[(1, Id), (2, Varint), (3, Messages(CONFIG))])),
    (7, Messages(&[(1, Id), (2, Varint)])),
    (6, Varint),
    (5, Varint),
    (4, Varint),
    (3, Id),
    (2, Messages(&[(1, Id), (2, Text), (3, Varint), (4, Messages(ENTRY))])),
    (1, Messages(&[(1, Id), (2, Varint), (3, Id), (4, Varint), (5, Fixed32), (6, Messages(BATCH))])),
];
/// What takes the place of what.
const RUN: &[Field] = &[(1, Id), (2, Varint), (3, Varint), (4, Column), (5, Messages(OUTPUT))];
const OUTPUT: &[Field] = &[(1, Varint), (2, Varint), (3, Varint), (4, Varint), (5, Varint)];
/// A node of an index.
const BRANCH: &[Field] = &[(1, Id), (2, Varint), (3, Varint), (4, Varint), (5, Varint), (6, Varint)];
/// Which transaction of whom.
const OF: &[Field] = &[(1, Text), (2, Varint), (3, Varint), (4, Varint)];
const IDENTITY: &[Field] = &[(1, Varint), (2, Varint)];
const COMMIT_OFFSETS: &[Field] = &[(1, Text), (2, Text), (3, Varint), (4, Text), (5, Messages(OFFSET))];
const CONFIG: &[Field] = &[(1, Text), (2, Varint), (3, Text), (4, Text)];
const OFFSET: &[Field] = &[(1, Id), (2, Varint), (3, Varint), (4, Varint), (5, Text)];
const UPDATE: &[Field] = &[
    (1, Text),
    (2, Varint),
    (3, Varint),
    (4, Text),
    (5, Text),
    (6, Varint),
    (7, Text),
    (8, Text),
    (9, Varint),
    (10, Messages(MEMBER)),
    (11, Texts),
];
const MEMBER: &[Field] = &[
    (1, Text),
    (2, Varint),
    (3, Text),
    (4, Text),
    (5, Text),
    (6, Varint),
    (7, Varint),
    (8, Text),
    (9, Text),
];
const BATCH: &[Field] = &[(1, Varint), (2, Varint), (3, Varint), (4, Messages(PRODUCER)), (5, Varint)];
const PRODUCER: &[Field] = &[(1, Varint), (2, Varint), (3, Varint)];

/// The header of a checkpoint.
pub(crate) const CHECKPOINT: &[Field] = &[
    (1, Varint),
    (2, Varint),
    (3, Varint),
    (4, Varint),
    (5, Messages(&[(1, Id), (2, Varint), (3, Fixed64), (4, Varint), (5, Fixed64)])),
    (6, Messages(&[(1, Id), (2, Text), (3, Messages(ENTRY)), (4, Messages(PARTITION))])),
    (7, Id),
    (8, Messages(GROUP)),
    (9, Messages(TRANSACTION)),
];
const TRANSACTION: &[Field] = &[
    (1, Text),
    (2, Messages(IDENTITY)),
    (3, Messages(IDENTITY)),
    (4, Varint),
    (5, Varint),
    (6, Varint),
    (7, Varint),
    (8, Varint),
    (9, Messages(&[(1, Id), (2, Column), (3, Column)])),
    (10, Messages(&[(1, Text), (2, Messages(TOPIC_OFFSETS))])),
    (11, Varint),
    (12, Varint),
];
const TOPIC_OFFSETS: &[Field] = &[(1, Id), (2, Column), (3, Column), (4, Column), (5, Column), (6, Texts)];
const GROUP: &[Field] = &[
    (1, Text),
    (2, Varint),
    (3, Text),
    (4, Text),
    (5, Varint),
    (6, Text),
    (7, Text),
    (8, Varint),
    (9, Varint),
    (10, Messages(MEMBER)),
    (11, Messages(TOPIC_OFFSETS)),
];
const PARTITION: &[Field] = &[
    (1, Varint),
    (2, Varint),
    (3, Column),
    (4, Column),
    (5, Column),
    (6, Column),
    (7, Column),
    (
        8,
        Messages(&[
            (1, Varint),
            (2, Varint),
            (3, Varint),
            (4, Column),
            (5, Column),
            (6, Column),
            (7, Varint),
        ]),
    ),
    (9, Column),
    (10, Column),
    (11, Messages(&[(1, Varint), (2, Varint), (3, Varint), (4, Varint)])),
    (12, Column),
    (13, Messages(BRANCH)),
];

/// The header of a segment.
pub(crate) const SEGMENT: &[Field] =
    &[(1, Id), (2, Messages(&[(1, Id), (2, Varint), (3, Varint), (4, Fixed32)]))];

/// A message of these fields. Where the bytes end, it ends.
pub(crate) fn message(from: &mut Unstructured<'_>, fields: &[Field]) -> Result<Vec<u8>> {
    let mut out = Vec::new();
    let rows = from.int_in_range(0..=3)?;
    for (tag, kind) in fields {
        let times = match kind {
            Messages(_) => from.int_in_range(0..=2)?,
            Texts => rows,
            _ => u8::from(!from.ratio(1, 12)?),
        };
        for _ in 0..times {
            field(from, &mut out, *tag, *kind, rows)?;
        }
    }
    Ok(out)
}

fn field(from: &mut Unstructured<'_>, out: &mut Vec<u8>, tag: u8, kind: Kind, rows: u8) -> Result<()> {
    let bytes = match kind {
        Varint => {
            key(out, tag, 0);
            varint(out, number(from)?);
            return Ok(());
        }
        Fixed32 => {
            key(out, tag, 5);
            out.extend((number(from)? as u32).to_le_bytes());
            return Ok(());
        }
        Fixed64 => {
            key(out, tag, 1);
            out.extend(number(from)?.to_le_bytes());
            return Ok(());
        }
        Id => {
            let length = if from.ratio(1, 16)? { from.int_in_range(0..=40)? } else { 16 };
            vec![from.int_in_range(0..=3)?; length]
        }
        Text | Texts => match from.int_in_range(0..=4)? {
            0 => from.bytes(from.len().min(9))?.to_vec(),
            n => vec![b'a' + n; usize::from(n)],
        },
        Column => {
            let mut column = Vec::new();
            let rows = if from.ratio(1, 40)? { from.int_in_range(0..=4)? } else { rows };
            for _ in 0..rows {
                varint(&mut column, number(from)?);
            }
            column
        }
        Messages(fields) => message(from, fields)?,
    };
    key(out, tag, 2);
    varint(out, bytes.len() as u64);
    out.extend(bytes);
    Ok(())
}

fn key(out: &mut Vec<u8>, tag: u8, wire: u64) {
    varint(out, u64::from(tag) << 3 | wire);
}

/// Mostly small, sometimes at an edge.
fn number(from: &mut Unstructured<'_>) -> Result<u64> {
    const EDGES: [u64; 9] = [
        u64::MAX,
        u64::MAX - 1,
        i64::MAX as u64,
        1 << 63,
        u32::MAX as u64,
        i32::MAX as u64,
        1 << 31,
        1_767_225_600_000,
        i16::MAX as u64,
    ];
    Ok(match from.arbitrary()? {
        0 => *from.choose(&EDGES)?,
        1 => from.arbitrary()?,
        small => u64::from(small & 0x0f_u8),
    })
}

fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value > 0x7f {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}
