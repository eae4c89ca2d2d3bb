//! Frames: a size, a header and a message, the unit in which both sides talk.
//!
//! Owns both headers and which version of them goes with which message; must not know what the
//! messages mean. Invariant: what `encode_*` writes, `decode_*` reads, and bytes behind a message
//! are ignored, as Kafka does (librdkafka 1.0 sends four too many).

#[cfg(test)]
mod tests;

use bytes::Bytes;

use crate::api::{ApiKey, ApiRange};
use crate::codec::{Reader, Wire, Writer};
use crate::error::{DecodeError, EncodeError, ErrorCode, HeaderPrefix};
use crate::messages::{Request, Response, api_versions};

/// What stands before every request, and all that a response needs to know of its request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestHeader {
    /// The API.
    pub api_key: i16,
    /// The version of request and response.
    pub api_version: i16,
    /// The number that the response carries back.
    pub correlation_id: i32,
    /// The name that the client gave itself.
    pub client_id: Option<String>,
}

/// One encoded message with its four-byte size prefix, as slices to be written in order.
#[derive(Debug, Clone)]
pub struct Frame {
    parts: Vec<Bytes>,
    len: usize,
}

impl Frame {
    /// The slices, in order, none of them empty.
    pub fn parts(&self) -> &[Bytes] {
        &self.parts
    }

    /// The slices, in order, none of them empty.
    pub fn into_parts(self) -> Vec<Bytes> {
        self.parts
    }

    /// The total number of bytes, size prefix included.
    #[allow(clippy::len_without_is_empty, reason = "a frame always has a size prefix")]
    pub fn len(&self) -> usize {
        self.len
    }
}

/// Decodes one request; `frame` comes without its size prefix.
pub fn decode_request(frame: Bytes) -> Result<(RequestHeader, Request), DecodeError> {
    let mut reader = Reader::new(frame, false);
    let prefix =
        HeaderPrefix { api_key: reader.i16()?, api_version: reader.i16()?, correlation_id: reader.i32()? };
    let Ok(api) = ApiKey::try_from(prefix.api_key) else {
        return Err(DecodeError::UnknownApi { header: prefix });
    };
    let range = api.range();
    if !range.serves(prefix.api_version) {
        return Err(DecodeError::UnsupportedVersion { header: prefix });
    }
    let header = RequestHeader {
        api_key: prefix.api_key,
        api_version: prefix.api_version,
        correlation_id: prefix.correlation_id,
        // Never compact, so that brokers can read it whatever the version.
        client_id: Option::<String>::decode(&mut reader, 0)?,
    };
    reader.set_flexible(range.is_flexible(prefix.api_version));
    reader.tagged_fields(|_, value| value.skip())?;
    let request = Request::decode(api, &mut reader, header.api_version)?;
    Ok((header, request))
}

/// Encodes the response to the request with this header.
pub fn encode_response(header: &RequestHeader, response: &Response) -> Result<Frame, EncodeError> {
    let range = range_for(header, response.api_key())?;
    encode_response_in(range, header.api_version, header.correlation_id, response)
}

/// The answer to ApiVersions in a version that we do not serve (KIP-511): error 35 and the whole
/// table, in the one layout that every client can read.
pub fn encode_unsupported_api_versions(correlation_id: i32) -> Frame {
    let response = Response::ApiVersions(api_versions::Response {
        error_code: ErrorCode::UnsupportedVersion.code(),
        api_keys: api_versions::advertised(),
        ..Default::default()
    });
    let frame = encode_response_in(ApiKey::ApiVersions.range(), 0, correlation_id, &response);
    // v0 holds two small integers and a short array: nothing in it can fail to encode.
    frame.unwrap_or(Frame { parts: Vec::new(), len: 0 })
}

/// Encodes one request, as a client would.
pub fn encode_request(header: &RequestHeader, request: &Request) -> Result<Frame, EncodeError> {
    let range = range_for(header, request.api_key())?;
    let flexible = range.is_flexible(header.api_version);
    let mut writer = start_frame();
    writer.i16(header.api_key);
    writer.i16(header.api_version);
    writer.i32(header.correlation_id);
    header.client_id.encode(&mut writer, 0)?;
    finish_header(&mut writer, flexible, flexible);
    request.encode(&mut writer, header.api_version)?;
    finish_frame(writer)
}

/// Decodes the response to a request of this API and version, as a client would; `frame` comes
/// without its size prefix. Returns the correlation id too.
pub fn decode_response(api: ApiKey, version: i16, frame: Bytes) -> Result<(i32, Response), DecodeError> {
    let range = api.range();
    let mut reader = Reader::new(frame, has_flexible_header(range, version));
    let correlation_id = reader.i32()?;
    if !range.serves(version) {
        let header = HeaderPrefix { api_key: api.code(), api_version: version, correlation_id };
        return Err(DecodeError::UnsupportedVersion { header });
    }
    reader.tagged_fields(|_, value| value.skip())?;
    reader.set_flexible(range.is_flexible(version));
    let response = Response::decode(api, &mut reader, version)?;
    Ok((correlation_id, response))
}

fn range_for(header: &RequestHeader, message: ApiKey) -> Result<ApiRange, EncodeError> {
    if header.api_key != message.code() {
        return Err(EncodeError::WrongMessage { header: header.api_key, message: message.code() });
    }
    let range = message.range();
    if !range.serves(header.api_version) {
        return Err(EncodeError::UnsupportedVersion {
            api_key: header.api_key,
            api_version: header.api_version,
        });
    }
    Ok(range)
}

fn encode_response_in(
    range: ApiRange,
    version: i16,
    correlation_id: i32,
    response: &Response,
) -> Result<Frame, EncodeError> {
    let mut writer = start_frame();
    writer.i32(correlation_id);
    let flexible_header = has_flexible_header(range, version);
    finish_header(&mut writer, flexible_header, range.is_flexible(version));
    response.encode(&mut writer, version)?;
    finish_frame(writer)
}

/// Clients parse the answer to ApiVersions before they know what we serve, so its header is plain
/// in all versions.
fn has_flexible_header(range: ApiRange, version: i16) -> bool {
    range.key != ApiKey::ApiVersions && range.is_flexible(version)
}

/// Ends the header with no tagged fields, and sets the form of the body.
fn finish_header(writer: &mut Writer, flexible_header: bool, flexible_body: bool) {
    if flexible_header {
        writer.unsigned_varint(0);
    }
    writer.set_flexible(flexible_body);
}

fn start_frame() -> Writer {
    let mut writer = Writer::new(false);
    writer.i32(0); // The size, set at the end.
    writer
}

fn finish_frame(mut writer: Writer) -> Result<Frame, EncodeError> {
    writer.set_size_prefix()?;
    let len = writer.written();
    let parts = writer.into_parts();
    Ok(Frame { parts, len })
}
