//! Kafka frames and messages.
//!
//! Must not know what the messages mean. Whatever decodes is written again, no longer than it came, and read back equal.

use std::fmt::Debug;

use bytes::Bytes;
use strandline_kafka::api::{self, ApiKey};
use strandline_kafka::codec::{Reader, Writer};
use strandline_kafka::error::{DecodeError, EncodeError};
use strandline_kafka::frame::{decode_request, encode_request};
use strandline_kafka::messages::{Request, Response};

use crate::memory::Bound;

/// An empty string takes one byte on the wire and 24 in memory, an empty group of ListGroups v3 three bytes and 96; a
/// vector of them that grows holds three times as much.
const BOUND: Bound = Bound { fixed: 4_096, per_byte: 96 };

/// Any bytes as a request frame without its size prefix.
pub fn frame(data: &[u8]) {
    let bytes = Bytes::copy_from_slice(data);
    let decoded = BOUND.hold("a frame", data.len(), || decode_request(bytes));
    let (header, request) = match decoded {
        Ok(decoded) => decoded,
        Err(error) => return drop(error.to_string()),
    };
    let again = Bytes::from(encode_request(&header, &request).unwrap().into_parts().concat()).slice(4..);
    assert!(again.len() <= data.len(), "{} bytes became {}: {request:?}", data.len(), again.len());
    assert_eq!(decode_request(again).unwrap(), (header, request));
}

/// The body of one message: the first byte chooses the API, the second its version, the third the direction.
pub fn message(data: &[u8]) {
    let Some(([api, version, direction], body)) = data.split_first_chunk() else { return };
    let range = api::table()[usize::from(*api) % api::table().len()];
    let versions = range.max - range.min + 1;
    let version = range.min + i16::from(*version) % versions;
    let flexible = range.is_flexible(version);
    let body = Bytes::copy_from_slice(body);
    match direction & 1 {
        0 => look(range.key, version, flexible, body, Request::decode, Request::encode),
        _ => look(range.key, version, flexible, body, Response::decode, Response::encode),
    }
}

fn look<M: Debug + PartialEq>(
    api: ApiKey,
    version: i16,
    flexible: bool,
    body: Bytes,
    decode: fn(ApiKey, &mut Reader, i16) -> Result<M, DecodeError>,
    encode: fn(&M, &mut Writer, i16) -> Result<(), EncodeError>,
) {
    let mut reader = Reader::new(body.clone(), flexible);
    let decoded = BOUND.hold("a message", body.len(), || decode(api, &mut reader, version));
    let message = match decoded {
        Ok(message) => message,
        Err(error) => return drop(error.to_string()),
    };
    let read = body.len() - reader.remaining();
    let mut writer = Writer::new(flexible);
    encode(&message, &mut writer, version).unwrap();
    let again = Bytes::from(writer.into_parts().concat());
    assert!(again.len() <= read, "{read} bytes became {}: {message:?}", again.len());
    let mut reader = Reader::new(again, flexible);
    assert_eq!(decode(api, &mut reader, version).unwrap(), message);
    assert_eq!(reader.remaining(), 0, "bytes left over: {message:?}");
}
