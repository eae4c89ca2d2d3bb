//! Which Rust type has which form on the wire.
//!
//! Must not know any message. Invariant: what `encode` writes, `decode` reads back as an equal
//! value; `min_size` is never more than `encode` writes.

use bytes::Bytes;

#[cfg(test)]
use super::random::Random;
use super::{Reader, Records, Writer};
use crate::error::{DecodeError, EncodeError};

/// A topic id or another 128-bit id; all zero means none.
pub type Uuid = [u8; 16];

/// A value with a form on the wire.
pub trait Wire: Sized {
    /// The fewest bytes that a value takes; what a count of elements is checked against.
    fn min_size(version: i16, flexible: bool) -> usize;

    /// Reads a value in the form of this message version.
    fn decode(reader: &mut Reader, version: i16) -> Result<Self, DecodeError>;

    /// Writes the value in the form of this message version.
    fn encode(&self, writer: &mut Writer, version: i16) -> Result<(), EncodeError>;

    /// Whether this is a null, which only some versions of a field allow.
    fn is_null(&self) -> bool {
        false
    }

    /// A random value that this version can carry without loss.
    #[cfg(test)]
    fn random(random: &mut Random, version: i16) -> Self;
}

/// A value that may be null. `Option<T>` has a form on the wire if `T` is one of these.
pub trait Nullable: Wire {
    /// Reads a value or null.
    fn decode_nullable(reader: &mut Reader, version: i16) -> Result<Option<Self>, DecodeError>;

    /// Writes a value or null.
    fn encode_nullable(value: Option<&Self>, writer: &mut Writer, version: i16) -> Result<(), EncodeError>;

    /// The fewest bytes that a null takes.
    fn null_size(flexible: bool) -> usize;
}

impl<T: Nullable> Wire for Option<T> {
    fn min_size(_version: i16, flexible: bool) -> usize {
        T::null_size(flexible)
    }

    fn decode(reader: &mut Reader, version: i16) -> Result<Self, DecodeError> {
        T::decode_nullable(reader, version)
    }

    fn encode(&self, writer: &mut Writer, version: i16) -> Result<(), EncodeError> {
        T::encode_nullable(self.as_ref(), writer, version)
    }

    fn is_null(&self) -> bool {
        self.is_none()
    }

    #[cfg(test)]
    fn random(random: &mut Random, version: i16) -> Self {
        (random.below(4) > 0).then(|| T::random(random, version))
    }
}

macro_rules! integers {
    ($($name:ident),*) => {
        $(
            impl Wire for $name {
                fn min_size(_version: i16, _flexible: bool) -> usize {
                    size_of::<$name>()
                }

                fn decode(reader: &mut Reader, _version: i16) -> Result<Self, DecodeError> {
                    reader.$name()
                }

                fn encode(&self, writer: &mut Writer, _version: i16) -> Result<(), EncodeError> {
                    writer.$name(*self);
                    Ok(())
                }

                #[cfg(test)]
                fn random(random: &mut Random, _version: i16) -> Self {
                    random.integer() as $name
                }
            }
        )*
    };
}

integers!(i8, i16, i32, i64);

impl Wire for bool {
    fn min_size(_version: i16, _flexible: bool) -> usize {
        1
    }

    fn decode(reader: &mut Reader, _version: i16) -> Result<Self, DecodeError> {
        Ok(reader.i8()? != 0)
    }

    fn encode(&self, writer: &mut Writer, _version: i16) -> Result<(), EncodeError> {
        writer.i8((*self).into());
        Ok(())
    }

    #[cfg(test)]
    fn random(random: &mut Random, _version: i16) -> Self {
        random.below(2) == 0
    }
}

impl Wire for Uuid {
    fn min_size(_version: i16, _flexible: bool) -> usize {
        size_of::<Uuid>()
    }

    fn decode(reader: &mut Reader, _version: i16) -> Result<Self, DecodeError> {
        let (high, low) = (reader.i64()?, reader.i64()?);
        Ok((((high as u64 as u128) << 64) | low as u64 as u128).to_be_bytes())
    }

    fn encode(&self, writer: &mut Writer, _version: i16) -> Result<(), EncodeError> {
        writer.slice(self);
        Ok(())
    }

    #[cfg(test)]
    fn random(random: &mut Random, _version: i16) -> Self {
        random.bytes(16).try_into().unwrap()
    }
}

/// Implements `Wire` and `Nullable` for a type that is a length and as many bytes.
macro_rules! length_prefixed {
    ($name:ty, $length:ident $plain_size:literal, $decode:expr, $encode:expr, $random:expr) => {
        impl Wire for $name {
            fn min_size(_version: i16, flexible: bool) -> usize {
                Self::null_size(flexible)
            }

            fn decode(reader: &mut Reader, version: i16) -> Result<Self, DecodeError> {
                Self::decode_nullable(reader, version)?.ok_or_else(|| reader.unexpected_null())
            }

            fn encode(&self, writer: &mut Writer, version: i16) -> Result<(), EncodeError> {
                Self::encode_nullable(Some(self), writer, version)
            }

            #[cfg(test)]
            fn random(random: &mut Random, _version: i16) -> Self {
                $random(random)
            }
        }

        impl Nullable for $name {
            fn decode_nullable(reader: &mut Reader, _version: i16) -> Result<Option<Self>, DecodeError> {
                let length = reader.$length()?;
                length.map(|length| $decode(reader, length)).transpose()
            }

            fn encode_nullable(
                value: Option<&Self>,
                writer: &mut Writer,
                _version: i16,
            ) -> Result<(), EncodeError> {
                writer.$length(value.map(|value| value.len()))?;
                if let Some(value) = value {
                    $encode(writer, value);
                }
                Ok(())
            }

            fn null_size(flexible: bool) -> usize {
                if flexible { 1 } else { $plain_size }
            }
        }
    };
}

length_prefixed!(
    String,
    string_length 2,
    Reader::string,
    |writer: &mut Writer, value: &String| writer.slice(value.as_bytes()),
    Random::string
);
length_prefixed!(
    Bytes,
    length 4,
    Reader::take,
    |writer: &mut Writer, value: &Bytes| writer.slice(value),
    |random: &mut Random| Bytes::from(random.some_bytes())
);
length_prefixed!(
    Records,
    length 4,
    |reader: &mut Reader, length| reader.take(length).map(Records::from),
    Writer::splice,
    Random::records
);

impl<T: Wire> Wire for Vec<T> {
    fn min_size(_version: i16, flexible: bool) -> usize {
        Self::null_size(flexible)
    }

    fn decode(reader: &mut Reader, version: i16) -> Result<Self, DecodeError> {
        Self::decode_nullable(reader, version)?.ok_or_else(|| reader.unexpected_null())
    }

    fn encode(&self, writer: &mut Writer, version: i16) -> Result<(), EncodeError> {
        Self::encode_nullable(Some(self), writer, version)
    }

    #[cfg(test)]
    fn random(random: &mut Random, version: i16) -> Self {
        let count = random.count();
        (0..count).map(|_| T::random(random, version)).collect()
    }
}

impl<T: Wire> Nullable for Vec<T> {
    fn decode_nullable(reader: &mut Reader, version: i16) -> Result<Option<Self>, DecodeError> {
        let Some(count) = reader.length()? else {
            return Ok(None);
        };
        let min_size = T::min_size(version, reader.flexible());
        let mut elements = Vec::with_capacity(reader.reservation::<T>(count, min_size)?);
        for _ in 0..count {
            elements.push(T::decode(reader, version)?);
        }
        Ok(Some(elements))
    }

    fn encode_nullable(value: Option<&Self>, writer: &mut Writer, version: i16) -> Result<(), EncodeError> {
        writer.length(value.map(Vec::len))?;
        for element in value.into_iter().flatten() {
            element.encode(writer, version)?;
        }
        Ok(())
    }

    fn null_size(flexible: bool) -> usize {
        if flexible { 1 } else { 4 }
    }
}

/// Reads one field of a struct; `nullable` says whether this version allows a null.
pub(crate) fn decode_field<T: Wire>(
    reader: &mut Reader,
    version: i16,
    nullable: bool,
    field: &'static str,
) -> Result<T, DecodeError> {
    reader.enter(field);
    let value = T::decode(reader, version)?;
    if value.is_null() && !nullable {
        return Err(DecodeError::UnexpectedNull { field });
    }
    Ok(value)
}

/// Writes one field of a struct; `nullable` says whether this version allows a null.
pub(crate) fn encode_field<T: Wire>(
    value: &T,
    writer: &mut Writer,
    version: i16,
    nullable: bool,
    field: &'static str,
) -> Result<(), EncodeError> {
    writer.enter(field);
    if value.is_null() && !nullable {
        return Err(writer.unexpected_null());
    }
    value.encode(writer, version)
}

/// A random value of one field of a struct; `nullable` says whether this version allows a null.
#[cfg(test)]
pub(crate) fn random_field<T: Wire>(random: &mut Random, version: i16, nullable: bool) -> T {
    loop {
        let value = T::random(random, version);
        if nullable || !value.is_null() {
            return value;
        }
    }
}
