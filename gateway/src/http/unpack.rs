//! Bodies that come packed (RFC 9110, section 8.4).
//!
//! Must not know what is in them. Invariant: all of a body comes out, however many members it has, and unpacking holds a
//! bounded window.

use async_compression::tokio::bufread::{GzipDecoder, ZstdDecoder};
use async_compression::zstd::DParameter;
use axum::body::Body;
use axum::extract::Request;
use axum::http::header;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures_util::TryStreamExt;
use tokio_util::io::{ReaderStream, StreamReader};

use super::problem::{Kind, Problem};

/// The largest window that a sender may ask for, as a power of two: 8 MiB (RFC 9659).
const WINDOW_LOG: u32 = 23;
/// What is unpacked at once.
const PIECE_BYTES: usize = 64 * 1_024;

/// Gives the handler a body that is not packed.
pub(super) async fn unpack(request: Request, next: Next) -> Response {
    let (mut head, body) = request.into_parts();
    let encoding = head.headers.remove(header::CONTENT_ENCODING);
    let packed = |body: Body| StreamReader::new(body.into_data_stream().map_err(std::io::Error::other));
    let body = match encoding.as_ref().map(|encoding| encoding.as_bytes()) {
        None | Some(b"identity") => body,
        Some(b"gzip") => {
            let mut reader = GzipDecoder::new(packed(body));
            reader.multiple_members(true);
            Body::from_stream(ReaderStream::with_capacity(reader, PIECE_BYTES))
        }
        Some(b"zstd") => {
            let window = [DParameter::window_log_max(WINDOW_LOG)];
            let mut reader = ZstdDecoder::with_params(packed(body), &window);
            reader.multiple_members(true);
            Body::from_stream(ReaderStream::with_capacity(reader, PIECE_BYTES))
        }
        Some(_) => {
            let detail = "a body is sent as it is, or with Content-Encoding: gzip or zstd";
            return Problem::new(Kind::UnsupportedMediaType, detail).into_response();
        }
    };
    if encoding.is_some() {
        head.headers.remove(header::CONTENT_LENGTH);
    }
    next.run(Request::from_parts(head, body)).await
}
