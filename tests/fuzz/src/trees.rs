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
    /// Mostly these bytes: what the key says.
    Exactly(&'static [u8]),
    /// Mostly this number.
    Number(u64),
    Text,
    /// Packed varints, as many as in the other columns of the message.
    Column,
    /// Packed numbers of four bytes, as many as there are entries in the columns.
    Column32,
    /// 16 bytes for each entry in the columns.
    Ids,
    /// Texts, as many as there are entries in the columns of the message.
    Texts,
    /// Any number of messages.
    Messages(&'static [Field]),
}

/// A tag, and what it stands before.
pub(crate) type Field = (u8, Kind);

use Kind::{Column, Column32, Exactly, Fixed32, Fixed64, Id, Ids, Messages, Number, Text, Texts, Varint};

const ENTRY: &[Field] = &[(1, Text), (2, Text)];

/// The header of a commit.
pub(crate) const COMMIT: &[Field] = &[(1, Id), (2, Varint), (3, Varint), (4, Varint), (5, Messages(CHANGE))];
/// The last one that is there holds.
const CHANGE: &[Field] = &[
    (21, Messages(&[(1, Id), (2, Varint), (3, Varint), (4, Varint)])),
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
    (14, Varint),
    (15, Varint),
];

/// The header of a segment.
pub(crate) const SEGMENT: &[Field] =
    &[(1, Id), (2, Messages(&[(1, Id), (2, Varint), (3, Varint), (4, Fixed32)]))];

/// In a footer, where each position has a checksum, and in a leaf, where none has one.
const POSITIONS: &[Field] = &[(1, Column), (2, Column), (3, Column), (4, Column32)];
const PLACES: &[Field] = &[(1, Column), (2, Column), (3, Column)];
const ABORTED: &[Field] = &[(1, Column), (2, Column), (3, Column)];

/// The footer of a chunk.
pub(crate) const FOOTER: &[Field] = &[
    (1, Number(BASE_OFFSET as u64)),
    (2, Varint),
    (3, Varint),
    (4, Varint),
    (5, Varint),
    (6, Messages(POSITIONS)),
    (7, Messages(ABORTED)),
];

/// The topic of the chunk and of the nodes that are golden files.
pub(crate) const TOPIC: [u8; 16] = 0x1111_2222_3333_4444_5555_6666_7777_8888_u128.to_be_bytes();
/// Their partition.
pub(crate) const NUMBER: u32 = 2;
/// Where the chunk begins.
pub(crate) const BASE_OFFSET: i64 = 4;
/// The chunk, the leaf and the node above it.
pub(crate) const NAMES: [[u8; 16]; 3] = [name(60), name(63), name(65)];

const fn name(n: u64) -> [u8; 16] {
    let time_ms = 1_767_225_600_000 + n as u128;
    (time_ms << 80 | (0xabcd_ef00 + n as u128)).to_be_bytes()
}

/// The header of a chunk, which says what its key says.
pub(crate) const CHUNK: &[Field] = &[
    (1, Exactly(&TOPIC)),
    (2, Number(NUMBER as u64)),
    (3, Number(BASE_OFFSET as u64)),
    (4, Exactly(&NAMES[0])),
    (5, Number(0)),
];

/// A node of an index: leaves, or chunks.
pub(crate) const NODE: &[Field] = &[
    (1, Exactly(&TOPIC)),
    (2, Number(NUMBER as u64)),
    (3, Exactly(&NAMES[1])),
    (4, Varint),
    (6, Messages(BRANCHES)),
    (5, Messages(INDEXED)),
];
const BRANCHES: &[Field] = &[(1, Ids), (2, Column), (3, Column), (4, Column), (5, Column)];
const INDEXED: &[Field] = &[
    (1, Id),
    (2, Varint),
    (3, Varint),
    (4, Varint),
    (5, Varint),
    (6, Varint),
    (7, Messages(PLACES)),
    (8, Messages(ABORTED)),
];

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
        Number(exactly) => {
            key(out, tag, 0);
            varint(out, if from.ratio(1, 32)? { number(from)? } else { exactly });
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
        Exactly(bytes) if !from.ratio(1, 32)? => bytes.to_vec(),
        Exactly(_) => vec![1; from.int_in_range(0..=17)?],
        Column32 => (0..rows).flat_map(|n| [n; 4]).collect(),
        Ids => (0..rows).flat_map(|n| [n; 16]).collect(),
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
