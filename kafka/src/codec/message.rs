//! The macro in which every message is written.
//!
//! Must not know any message. Invariant: one line a field is all that struct, default, decode,
//! encode and random value are made from, so they cannot disagree.

/// Defines structs of a message:
///
/// ```text
/// message! {
///     /// What the struct is.
///     pub struct Topic {
///         /// A field that versions 0 to 12 have.
///         name: String [..=12],
///         /// A field whose default is not the one of its type.
///         leader_epoch: i32 [7..] = -1,
///         /// A field that may be null, though not in all the versions that have it.
///         rack: Option<String> [1.., null 2..],
///         /// A tagged field: written only if it differs from its default.
///         cluster_id: Option<String> [12.., null 12.., tag 0],
///     }
/// }
/// ```
///
/// Versions are those of the API the struct belongs to. A field that a version lacks takes its
/// default on decode and is left out on encode. Tagged fields must stand in the order of their
/// tags, as the protocol wants them on the wire.
macro_rules! message {
    ($(
        $(#[$doc:meta])*
        pub struct $Name:ident {
            $(
                $(#[$field_doc:meta])*
                $field:ident : $type:ty [
                    $versions:expr $(, null $null:expr)? $(, tag $tag:literal)?
                ] $(= $default:expr)?
            ),* $(,)?
        }
    )*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq)]
        pub struct $Name {
            $($(#[$field_doc])* pub $field: $type,)*
        }

        impl Default for $Name {
            fn default() -> Self {
                Self {
                    $($field: $crate::codec::message!(@default $($default)?),)*
                }
            }
        }

        impl $crate::codec::Wire for $Name {
            fn min_size(version: i16, flexible: bool) -> usize {
                // The count of tagged fields takes one byte.
                usize::from(flexible) $(
                    + if $crate::codec::message!(@plain version [$versions] $($tag)?) {
                        <$type as $crate::codec::Wire>::min_size(version, flexible)
                    } else {
                        0
                    }
                )*
            }

            fn decode(
                reader: &mut $crate::codec::Reader,
                version: i16,
            ) -> Result<Self, $crate::error::DecodeError> {
                let mut message = Self::default();
                $(
                    if $crate::codec::message!(@plain version [$versions] $($tag)?) {
                        let nullable = $crate::codec::message!(@contains version $($null)?);
                        let name = concat!(stringify!($Name), ".", stringify!($field));
                        message.$field =
                            $crate::codec::decode_field(reader, version, nullable, name)?;
                    }
                )*
                reader.tagged_fields(|tag, value| {
                    $(
                        if $crate::codec::message!(@tagged version tag [$versions] $($tag)?) {
                            let nullable = $crate::codec::message!(@contains version $($null)?);
                            let name = concat!(stringify!($Name), ".", stringify!($field));
                            message.$field =
                                $crate::codec::decode_field(value, version, nullable, name)?;
                            return Ok(());
                        }
                    )*
                    value.skip()
                })?;
                Ok(message)
            }

            fn encode(
                &self,
                writer: &mut $crate::codec::Writer,
                version: i16,
            ) -> Result<(), $crate::error::EncodeError> {
                $(
                    if $crate::codec::message!(@plain version [$versions] $($tag)?) {
                        let nullable = $crate::codec::message!(@contains version $($null)?);
                        let name = concat!(stringify!($Name), ".", stringify!($field));
                        $crate::codec::encode_field(
                            &self.$field, writer, version, nullable, name,
                        )?;
                    }
                )*
                writer.tagged_fields(|tags| {
                    $(
                        if let Some(tag) = $crate::codec::message!(@tag $($tag)?)
                            && ($versions).contains(&version)
                            && self.$field != Self::default().$field
                        {
                            let nullable = $crate::codec::message!(@contains version $($null)?);
                            let name = concat!(stringify!($Name), ".", stringify!($field));
                            tags.add(tag, |value| $crate::codec::encode_field(
                                &self.$field, value, version, nullable, name,
                            ))?;
                        }
                    )*
                    Ok(())
                })
            }

            #[cfg(test)]
            fn random(random: &mut $crate::codec::random::Random, version: i16) -> Self {
                let mut message = Self::default();
                $(
                    let tag: Option<u32> = $crate::codec::message!(@tag $($tag)?);
                    // Half of the tagged fields keep their default, which is not written.
                    if ($versions).contains(&version) && (tag.is_none() || random.coin()) {
                        let nullable = $crate::codec::message!(@contains version $($null)?);
                        message.$field = $crate::codec::random_field(random, version, nullable);
                    }
                )*
                message
            }
        }

        impl $crate::codec::Nullable for $Name {
            fn decode_nullable(
                reader: &mut $crate::codec::Reader,
                version: i16,
            ) -> Result<Option<Self>, $crate::error::DecodeError> {
                match reader.i8()? {
                    ..0 => Ok(None),
                    _ => <Self as $crate::codec::Wire>::decode(reader, version).map(Some),
                }
            }

            fn encode_nullable(
                value: Option<&Self>,
                writer: &mut $crate::codec::Writer,
                version: i16,
            ) -> Result<(), $crate::error::EncodeError> {
                let Some(value) = value else {
                    writer.i8(-1);
                    return Ok(());
                };
                writer.i8(1);
                <Self as $crate::codec::Wire>::encode(value, writer, version)
            }

            fn null_size(_flexible: bool) -> usize {
                1
            }
        }
    )*};

    (@default) => { Default::default() };
    (@default $default:expr) => { $default };
    (@contains $version:ident) => { false };
    (@contains $version:ident $versions:expr) => { ($versions).contains(&$version) };
    (@tag) => { None };
    (@tag $tag:literal) => { Some($tag) };
    (@plain $version:ident [$versions:expr]) => { ($versions).contains(&$version) };
    (@plain $version:ident [$versions:expr] $tag:literal) => { false };
    (@tagged $version:ident $given:ident [$versions:expr]) => {{
        let _ = $given;
        false
    }};
    (@tagged $version:ident $given:ident [$versions:expr] $tag:literal) => {
        $given == $tag && ($versions).contains(&$version)
    };
}

pub(crate) use message;
