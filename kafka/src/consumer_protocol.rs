//! What members of the protocol type `consumer` tell each other inside JoinGroup and SyncGroup: the topics that one
//! subscribes to, the partitions that it is assigned.
//!
//! Must not know groups. Brokers pass these bytes on unread; they are read only to tell people and tools what a group
//! reads. Later versions add fields at the end, so that the first two read the same in all of them.

use bytes::Bytes;

use crate::codec::{Reader, Wire, message};
use crate::error::DecodeError;

/// The protocol type whose members write these bytes.
pub const PROTOCOL_TYPE: &str = "consumer";

/// Read as version 0, whatever version wrote it.
const VERSION: i16 = 0;

message! {
    /// A member's subscription.
    pub struct Subscription {
        /// The topics.
        topics: Vec<String> [0..],
        /// For the assignor.
        user_data: Option<Bytes> [0.., null 0..],
    }

    /// A member's assignment.
    pub struct Assignment {
        /// Its partitions, by topic.
        assigned_partitions: Vec<TopicPartitions> [0..],
        /// Of the assignor.
        user_data: Option<Bytes> [0.., null 0..],
    }

    /// Partitions of one topic.
    pub struct TopicPartitions {
        /// The topic.
        topic: String [0..],
        /// Their numbers.
        partitions: Vec<i32> [0..],
    }
}

/// The topics of a subscription.
///
/// # Errors
/// The bytes are something else.
pub fn subscribed_topics(subscription: &Bytes) -> Result<Vec<String>, DecodeError> {
    Ok(decode::<Subscription>(subscription)?.topics)
}

/// The partitions of an assignment; no bytes are none.
///
/// # Errors
/// The bytes are something else.
pub fn assigned_partitions(assignment: &Bytes) -> Result<Vec<TopicPartitions>, DecodeError> {
    match assignment.is_empty() {
        true => Ok(Vec::new()),
        false => Ok(decode::<Assignment>(assignment)?.assigned_partitions),
    }
}

fn decode<T: Wire>(bytes: &Bytes) -> Result<T, DecodeError> {
    let mut reader = Reader::new(bytes.clone(), false);
    if reader.i16()? < VERSION {
        return Err(DecodeError::Malformed("the version of a consumer's message is negative"));
    }
    T::decode(&mut reader, VERSION)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As the Java client 3.9 writes it: version 3, with partitions that it owns, a generation and a rack.
    const SUBSCRIPTION: &[u8] =
        b"\x00\x03\x00\x00\x00\x02\x00\x01a\x00\x02bc\xff\xff\xff\xff\x00\x00\x00\x01\x00\x01a\
        \x00\x00\x00\x01\x00\x00\x00\x07\x00\x00\x00\x05\x00\x02r1";
    const ASSIGNMENT: &[u8] =
        b"\x00\x01\x00\x00\x00\x02\x00\x01a\x00\x00\x00\x02\x00\x00\x00\x00\x00\x00\x00\x03\
        \x00\x01b\x00\x00\x00\x00\xff\xff\xff\xff";

    #[test]
    fn any_version_is_read() {
        for version in [0, 3, 127] {
            let mut bytes = SUBSCRIPTION.to_vec();
            bytes[1] = version;
            assert_eq!(subscribed_topics(&bytes.into()).unwrap(), ["a", "bc"]);
        }
        let of = |topic: &str, partitions| TopicPartitions { topic: topic.to_owned(), partitions };
        let assigned = assigned_partitions(&Bytes::from_static(ASSIGNMENT)).unwrap();
        assert_eq!(assigned, [of("a", vec![0, 3]), of("b", vec![])]);
        assert_eq!(assigned_partitions(&Bytes::new()).unwrap(), []);
    }

    #[test]
    fn other_bytes_are_refused() {
        // What Connect writes, a count that nothing backs, a negative version, and every way to be cut off.
        let others: [&[u8]; 4] = [
            b"\x00\x01\x00\x15http://127.0.0.1:8083",
            b"\x00\x00\x7f\xff\xff\xff\x00",
            b"\xff\xff\x00\x00\x00\x00",
            b"",
        ];
        for other in others {
            assert!(subscribed_topics(&Bytes::from_static(other)).is_err(), "{other:?}");
        }
        for end in 0..15 {
            assert!(subscribed_topics(&Bytes::from_static(&SUBSCRIPTION[..end])).is_err(), "{end}");
        }
        for end in 1..ASSIGNMENT.len() {
            assert!(assigned_partitions(&Bytes::from_static(&ASSIGNMENT[..end])).is_err(), "{end}");
        }
    }
}
