//! Our own entries in the footer of a file, and the seal over it.
//!
//! Must not know how Parquet's footer is laid out, but that texts stand in it as they are. Invariant: what the seal covers is
//! every byte behind the run, so that damage is noticed before anything of it is parsed.

use std::fmt::Write;
use std::ops::Range;

use parquet::file::metadata::KeyValue;

const VERSION: &str = "1";
const VERSION_KEY: &str = "strandline.version";
const PARTITION_KEY: &str = "strandline.partition";
const BASE_OFFSET_KEY: &str = "strandline.base_offset";
const END_OFFSET_KEY: &str = "strandline.end_offset";
const ROW_GROUPS_KEY: &str = "strandline.row_groups";
const SEAL_KEY: &str = "strandline.seal";
const KEYS: [&str; 6] =
    [VERSION_KEY, PARTITION_KEY, BASE_OFFSET_KEY, END_OFFSET_KEY, ROW_GROUPS_KEY, SEAL_KEY];

/// How the last of our entries begins in Thrift's compact protocol: its key, then the header of the field for its value, then
/// that it is eight bytes long.
const SEAL_MARK: &[u8] = b"strandline.seal\x18\x08";
/// The seal in hexadecimal digits, while it is computed.
const BLANK: &[u8; 8] = b"00000000";

/// What Parquet's own footer does not say of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Facts {
    pub(crate) partition: u32,
    pub(crate) base_offset: i64,
    pub(crate) end_offset: i64,
    pub(crate) groups: Vec<GroupFacts>,
}

/// The same of a row group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct GroupFacts {
    pub(crate) first_offset: i64,
    pub(crate) last_offset: i64,
    /// Milliseconds.
    pub(crate) min_timestamp: i64,
    pub(crate) max_timestamp: i64,
    /// CRC32C of its bytes.
    pub(crate) crc: u32,
}

/// Whether an entry of this name is ours alone.
pub(crate) fn reserved(key: &str) -> bool {
    KEYS.contains(&key)
}

impl Facts {
    /// The entries, the seal last: nothing that others choose may stand behind it.
    pub(crate) fn entries(&self) -> Vec<KeyValue> {
        let mut groups = String::new();
        for group in &self.groups {
            let GroupFacts { first_offset, last_offset, min_timestamp, max_timestamp, crc } = group;
            let comma = if groups.is_empty() { "" } else { "," };
            // Writing into a string cannot fail.
            let _ = write!(
                groups,
                "{comma}{first_offset} {last_offset} {min_timestamp} {max_timestamp} {crc:08x}"
            );
        }
        let entry = |key: &str, value: String| KeyValue::new(key.to_owned(), value);
        vec![
            entry(VERSION_KEY, VERSION.to_owned()),
            entry(PARTITION_KEY, self.partition.to_string()),
            entry(BASE_OFFSET_KEY, self.base_offset.to_string()),
            entry(END_OFFSET_KEY, self.end_offset.to_string()),
            entry(ROW_GROUPS_KEY, groups),
            entry(SEAL_KEY, String::from_utf8_lossy(BLANK).into_owned()),
        ]
    }

    /// Reads the entries back; otherwise says what is wrong with them.
    pub(crate) fn read(entries: &[KeyValue]) -> Result<Facts, &'static str> {
        let entry = |key: &str| {
            let mut values = entries.iter().filter(|entry| entry.key == key);
            let value = values.next().and_then(|entry| entry.value.as_deref());
            value.filter(|_| values.next().is_none()).ok_or("an entry of its footer is missing")
        };
        if entry(VERSION_KEY)? != VERSION {
            return Err("it has a version that this program does not know");
        }
        let number = "an entry of its footer is no number";
        Ok(Facts {
            partition: entry(PARTITION_KEY)?.parse().map_err(|_| number)?,
            base_offset: entry(BASE_OFFSET_KEY)?.parse().map_err(|_| number)?,
            end_offset: entry(END_OFFSET_KEY)?.parse().map_err(|_| number)?,
            groups: entry(ROW_GROUPS_KEY)?
                .split(',')
                .map(GroupFacts::read)
                .collect::<Option<_>>()
                .ok_or(number)?,
        })
    }
}

impl GroupFacts {
    fn read(text: &str) -> Option<GroupFacts> {
        let mut words = text.split(' ');
        let mut number = || words.next()?.parse().ok();
        let (first_offset, last_offset) = (number()?, number()?);
        let (min_timestamp, max_timestamp) = (number()?, number()?);
        let crc = u32::from_str_radix(words.next()?, 16).ok()?;
        let whole = words.next().is_none();
        whole.then_some(GroupFacts { first_offset, last_offset, min_timestamp, max_timestamp, crc })
    }
}

/// Puts the seal into the bytes behind the run. `None` if there is no place for it.
pub(crate) fn seal(tail: &mut [u8]) -> Option<()> {
    let digits = seal_digits(tail)?;
    let seal = seal_of(tail, &digits)?;
    tail.get_mut(digits)?.copy_from_slice(seal.as_bytes());
    Some(())
}

/// Whether the bytes behind the run are those that were sealed.
pub(crate) fn seal_holds(tail: &[u8]) -> bool {
    let holds = |digits: Range<usize>| Some(tail.get(digits.clone())? == seal_of(tail, &digits)?.as_bytes());
    seal_digits(tail).and_then(holds).unwrap_or(false)
}

/// CRC32C of everything, as if the digits were blank.
fn seal_of(tail: &[u8], digits: &Range<usize>) -> Option<String> {
    let crc = crc32c::crc32c(tail.get(..digits.start)?);
    let crc = crc32c::crc32c_append(crc, BLANK);
    let crc = crc32c::crc32c_append(crc, tail.get(digits.end..)?);
    Some(format!("{crc:08x}"))
}

fn seal_digits(tail: &[u8]) -> Option<Range<usize>> {
    let mark = tail.windows(SEAL_MARK.len()).rposition(|window| window == SEAL_MARK)?;
    let start = mark + SEAL_MARK.len();
    let end = start + BLANK.len();
    (end <= tail.len()).then_some(start..end)
}
