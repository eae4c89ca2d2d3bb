//! A member's protocols and what it says of itself in each, as the manifest keeps them.
//!
//! Must not know what the metadata means. Fields are only added: the manifest outlives the program.

use bytes::Bytes;
use prost::Message;

/// All protocols of a member, best first.
#[derive(Clone, PartialEq, Message)]
struct Subscription {
    #[prost(message, repeated, tag = "1")]
    protocols: Vec<Protocol>,
}

#[derive(Clone, PartialEq, Message)]
struct Protocol {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(bytes = "bytes", tag = "2")]
    metadata: Bytes,
}

/// For [`GroupMember::subscription`](strandline_core::manifest::GroupMember::subscription) of a classic group.
pub(crate) fn encode(protocols: &[(String, Bytes)]) -> Bytes {
    let protocol =
        |(name, metadata): &(String, Bytes)| Protocol { name: name.clone(), metadata: metadata.clone() };
    Subscription { protocols: protocols.iter().map(protocol).collect() }.encode_to_vec().into()
}

/// The reverse. Whatever cannot be read is a member without protocols.
pub(crate) fn decode(subscription: &Bytes) -> Vec<(String, Bytes)> {
    let read = Subscription::decode(subscription.clone()).unwrap_or_default();
    read.protocols.into_iter().map(|protocol| (protocol.name, protocol.metadata)).collect()
}

/// What a member says of itself in one protocol; empty if it does not speak it.
pub(crate) fn metadata(subscription: &Bytes, protocol: &str) -> Bytes {
    let found = decode(subscription).into_iter().find(|(name, _)| name == protocol);
    found.map(|(_, metadata)| metadata).unwrap_or_default()
}
