//! Values in Avro's binary encoding become cells.
//!
//! Must not know schemas as texts. Invariant: nothing is allocated from a count that a value names, and a value is read to its last
//! byte or not at all.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::{Kind, only};
use crate::value::cell::{Cell, Misfit, Room};

/// The record that is all of these bytes.
pub(super) fn record<'a>(
    fields: &'a [(String, Kind)],
    bytes: &'a [u8],
    room: &mut Room,
) -> Result<Cell<'a>, Misfit> {
    let mut input = Input { bytes };
    let cells = members(fields, &mut input, room)?;
    match input.bytes.is_empty() {
        true => Ok(cells),
        false => Err(Misfit::new("bytes are left after the record: it was written with another schema")),
    }
}

/// What is left of a value.
struct Input<'a> {
    bytes: &'a [u8],
}

impl<'a> Input<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], Misfit> {
        let (taken, rest) = self.bytes.split_at_checked(count).ok_or_else(ends)?;
        self.bytes = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Misfit> {
        let (taken, rest) = self.bytes.split_first_chunk().ok_or_else(ends)?;
        self.bytes = rest;
        Ok(*taken)
    }

    fn long(&mut self) -> Result<i64, Misfit> {
        let mut raw = 0_u64;
        for shift in (0..64).step_by(7) {
            let [byte] = self.array()?;
            let bits = u64::from(byte & 0x7f);
            if shift == 63 && bits > 1 {
                break;
            }
            raw |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok((raw >> 1) as i64 ^ -((raw & 1) as i64));
            }
        }
        Err(Misfit::new("a number longer than 64 bits"))
    }

    fn int(&mut self) -> Result<i32, Misfit> {
        i32::try_from(self.long()?).map_err(|_| Misfit::new("expected int, found a longer number"))
    }

    fn sized(&mut self) -> Result<&'a [u8], Misfit> {
        let length = usize::try_from(self.long()?).map_err(|_| Misfit::new("a negative length"))?;
        self.take(length)
    }

    fn text(&mut self) -> Result<&'a str, Misfit> {
        std::str::from_utf8(self.sized()?).map_err(|_| Misfit::new("expected string, found no UTF-8"))
    }

    /// How many elements follow; 0 at the end.
    fn block(&mut self) -> Result<u64, Misfit> {
        let count = self.long()?;
        if count < 0 {
            // The block's length, for those that skip it.
            self.long()?;
        }
        Ok(count.unsigned_abs())
    }
}

fn ends() -> Misfit {
    Misfit::new("the value ends early")
}

fn members<'a>(
    fields: &'a [(String, Kind)],
    input: &mut Input<'a>,
    room: &mut Room,
) -> Result<Cell<'a>, Misfit> {
    let read =
        |(name, kind): &'a (String, Kind)| decode(kind, input, room).map_err(|misfit| misfit.under(name));
    Ok(Cell::Struct(fields.iter().map(read).collect::<Result<_, _>>()?))
}

fn decode<'a>(kind: &'a Kind, input: &mut Input<'a>, room: &mut Room) -> Result<Cell<'a>, Misfit> {
    room.cell()?;
    Ok(match kind {
        Kind::Null => Cell::Null,
        Kind::Boolean => match input.array()? {
            [0] => Cell::Boolean(false),
            [1] => Cell::Boolean(true),
            _ => return Err(Misfit::new("expected boolean, found another byte")),
        },
        Kind::Int(_) => Cell::Int32(input.int()?),
        Kind::Long(_, factor) => match input.long()?.checked_mul(*factor) {
            Some(long) => Cell::Int64(long),
            None => return Err(Misfit::new("a time beyond what microseconds reach")),
        },
        Kind::Float => Cell::Float32(f32::from_le_bytes(input.array()?)),
        Kind::Double => Cell::Float64(f64::from_le_bytes(input.array()?)),
        Kind::Bytes => {
            let bytes = input.sized()?;
            room.text(bytes.len())?;
            Cell::Binary(Cow::Borrowed(bytes))
        }
        Kind::Text => {
            let text = input.text()?;
            room.text(text.len())?;
            Cell::Text(Cow::Borrowed(text))
        }
        Kind::Fixed(size) => {
            room.text(*size)?;
            Cell::Binary(Cow::Borrowed(input.take(*size)?))
        }
        Kind::Uuid => {
            room.text(36)?;
            Cell::Text(Cow::Owned(uuid(input.array()?)))
        }
        Kind::Decimal { size, precision, .. } => {
            let bytes = if let Some(size) = size { input.take(*size)? } else { input.sized()? };
            Cell::Decimal(unscaled(bytes, *precision)?)
        }
        Kind::Enum(symbols) => {
            let at = usize::try_from(input.int()?).ok();
            let symbol =
                at.and_then(|at| symbols.get(at)).ok_or_else(|| Misfit::new("no symbol of the enum"))?;
            room.text(symbol.len())?;
            Cell::Text(Cow::Borrowed(symbol))
        }
        Kind::Array(element) => {
            Cell::List(array(element, input, room).map_err(|misfit| misfit.under("element"))?)
        }
        Kind::Map(value) => map(value, input, room).map_err(|misfit| misfit.under("value"))?,
        Kind::Union(branches) => union(branches, input, room)?,
        Kind::Record(fields) if fields.is_empty() => {
            room.text(2)?;
            Cell::Text(Cow::Borrowed("{}"))
        }
        Kind::Record(fields) => members(fields, input, room)?,
    })
}

fn array<'a>(element: &'a Kind, input: &mut Input<'a>, room: &mut Room) -> Result<Vec<Cell<'a>>, Misfit> {
    let mut cells = Vec::new();
    loop {
        let count = input.block()?;
        if count == 0 {
            return Ok(cells);
        }
        for _ in 0..count {
            cells.push(decode(element, input, room)?);
        }
    }
}

/// In the order of the keys, each of which stands once: readers of Parquet refuse a map that has one twice.
fn map<'a>(value: &'a Kind, input: &mut Input<'a>, room: &mut Room) -> Result<Cell<'a>, Misfit> {
    let mut entries = BTreeMap::new();
    loop {
        let count = input.block()?;
        if count == 0 {
            let cell = |(key, value)| (Cell::Text(Cow::Borrowed(key)), value);
            return Ok(Cell::Map(entries.into_iter().map(cell).collect()));
        }
        for _ in 0..count {
            let key = input.text()?;
            room.cell()?;
            room.text(key.len())?;
            entries.insert(key, decode(value, input, room)?);
        }
    }
}

fn union<'a>(
    branches: &'a [(String, Kind)],
    input: &mut Input<'a>,
    room: &mut Room,
) -> Result<Cell<'a>, Misfit> {
    let at = usize::try_from(input.long()?).ok();
    let chosen = at.and_then(|at| branches.get(at)).ok_or_else(|| Misfit::new("no branch of the union"))?;
    if matches!(chosen.1, Kind::Null) {
        return Ok(Cell::Null);
    }
    if only(branches).is_some() {
        return decode(&chosen.1, input, room);
    }
    let mut cell = Some(decode(&chosen.1, input, room).map_err(|misfit| misfit.under(&chosen.0))?);
    let mut members = Vec::new();
    for branch in branches.iter().filter(|(_, kind)| !matches!(kind, Kind::Null)) {
        room.cell()?;
        let own = std::ptr::eq(branch, chosen);
        members.push(if own { cell.take().unwrap_or(Cell::Null) } else { Cell::Null });
    }
    Ok(Cell::Struct(members))
}

/// A number in two's complement, the most significant byte first, of no more digits than the schema allows.
fn unscaled(bytes: &[u8], precision: u8) -> Result<i128, Misfit> {
    let negative = bytes.first().is_some_and(|first| first & 0x80 != 0);
    let filler = if negative { 0xff } else { 0 };
    let start = bytes.len().saturating_sub(16);
    let (front, back) = bytes.split_at(start);
    let too_long = || Misfit::new("a decimal of more digits than its precision");
    if front.iter().any(|byte| *byte != filler) {
        return Err(too_long());
    }
    let mut raw = [filler; 16];
    for (to, from) in raw.iter_mut().rev().zip(back.iter().rev()) {
        *to = *from;
    }
    let number = i128::from_be_bytes(raw);
    let bound = 10_i128.checked_pow(u32::from(precision)).ok_or_else(too_long)?;
    let fits = (number < 0) == negative && number > -bound && number < bound;
    if fits { Ok(number) } else { Err(too_long()) }
}

/// The usual text: 8-4-4-4-12 digits.
fn uuid(bytes: [u8; 16]) -> String {
    let number = u128::from_be_bytes(bytes);
    let part = |shift: u32, digits: u32| (number >> shift) & ((1 << (4 * digits)) - 1);
    let (a, b, c, d, e) = (part(96, 8), part(80, 4), part(64, 4), part(48, 4), part(0, 12));
    format!("{a:08x}-{b:04x}-{c:04x}-{d:04x}-{e:012x}")
}
