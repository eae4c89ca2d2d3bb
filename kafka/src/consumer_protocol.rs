//! What members of the protocol type `consumer` tell each other inside JoinGroup and SyncGroup: the topics that one
//! subscribes to, the partitions that it is assigned.
//!
//! Must not know groups. Brokers pass these bytes on unread while members assign themselves; they are read to tell people
//! and tools what a group reads, and where a broker assigns to such members (KIP-848). Later versions add fields at the
//! end, so that what one knows reads the same in all that came after it.

use bytes::Bytes;

use crate::codec::{Reader, Wire, Writer, message};
use crate::error::{DecodeError, EncodeError};

/// The protocol type whose members write these bytes.
pub const PROTOCOL_TYPE: &str = "consumer";

/// The newest version whose fields are known; what later ones add is passed over.
const NEWEST: i16 = 3;

message! {
    /// A member's subscription.
    pub struct Subscription {
        /// The topics.
        topics: Vec<String> [0..],
        /// For the assignor.
        user_data: Option<Bytes> [0.., null 0..],
        /// What the member holds, and goes on to hold until it is assigned something else (KIP-429).
        owned_partitions: Vec<TopicPartitions> [1..],
        /// The generation in which it was assigned that; -1: none.
        generation_id: i32 [2..] = -1,
        /// Where the member runs (KIP-881).
        rack_id: Option<String> [3.., null 3..],
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
    Ok(decode::<Subscription>(subscription, 0)?.1.topics)
}

/// All that a subscription says, and the version of it whose fields were read.
///
/// # Errors
/// The bytes are something else.
pub fn subscription(subscription: &Bytes) -> Result<(i16, Subscription), DecodeError> {
    decode(subscription, NEWEST)
}

/// The partitions of an assignment; no bytes are none.
///
/// # Errors
/// The bytes are something else.
pub fn assigned_partitions(assignment: &Bytes) -> Result<Vec<TopicPartitions>, DecodeError> {
    Ok(self::assignment(assignment)?.assigned_partitions)
}

/// All that an assignment says; no bytes are none.
///
/// # Errors
/// The bytes are something else.
pub fn assignment(assignment: &Bytes) -> Result<Assignment, DecodeError> {
    match assignment.is_empty() {
        true => Ok(Assignment::default()),
        false => Ok(decode(assignment, NEWEST)?.1),
    }
}

/// An assignment as a member reads it that speaks this version.
///
/// # Errors
/// It has more topics or partitions than the form can say.
pub fn encode_assignment(version: i16, assignment: &Assignment) -> Result<Bytes, EncodeError> {
    let version = version.clamp(0, NEWEST);
    let mut writer = Writer::new(false);
    writer.i16(version);
    assignment.encode(&mut writer, version)?;
    Ok(writer.into_parts().concat().into())
}

/// Read as this version or the one that wrote it, whichever is older.
fn decode<T: Wire>(bytes: &Bytes, newest: i16) -> Result<(i16, T), DecodeError> {
    let mut reader = Reader::new(bytes.clone(), false);
    let version = reader.i16()?;
    if version < 0 {
        return Err(DecodeError::Malformed("the version of a consumer's message is negative"));
    }
    let version = version.min(newest);
    Ok((version, T::decode(&mut reader, version)?))
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
    fn a_subscription_says_what_its_version_knows() {
        let read = |version: u8| {
            let mut bytes = SUBSCRIPTION.to_vec();
            bytes[1] = version;
            subscription(&bytes.into()).unwrap()
        };
        let owned = vec![TopicPartitions { topic: "a".to_owned(), partitions: vec![7] }];
        let mut said = Subscription { topics: vec!["a".to_owned(), "bc".to_owned()], ..Default::default() };
        assert_eq!(read(0), (0, said.clone()));
        said.owned_partitions = owned;
        assert_eq!(read(1), (1, said.clone()));
        said.generation_id = 5;
        assert_eq!(read(2), (2, said.clone()));
        said.rack_id = Some("r1".to_owned());
        assert_eq!(read(3), (3, said.clone()));
        assert_eq!(read(9), (3, said));
        let cut = Bytes::from_static(&SUBSCRIPTION[..20]);
        assert!(subscription(&cut).is_err(), "a version without the fields that it has");
        assert!(subscribed_topics(&cut).is_ok());
    }

    #[test]
    fn an_assignment_is_written_as_it_is_read() {
        let said = assignment(&Bytes::from_static(ASSIGNMENT)).unwrap();
        assert_eq!(encode_assignment(1, &said).unwrap(), ASSIGNMENT);
        assert_eq!(assignment(&Bytes::new()).unwrap(), Assignment::default());
        assert_eq!(encode_assignment(9, &said).unwrap()[..2], [0, 3]);
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
