//! Bytes of the socket, cut into frames.
//!
//! Must not know what is in a frame, except which API it is for: that decides what must be waited for before the body
//! is read. Invariant: no memory is taken because of a length on the wire before the length was checked and the
//! caller let it in; the bytes of a large frame are received straight into the frame's own buffer.

use std::io;
use std::time::Duration;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use strandline_core::limits::MAX_FRAME_BYTES;
use strandline_kafka::api::ApiKey;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::time::timeout;

use crate::limits::{
    FRAME_TIMEOUT, IDLE, MAX_OTHER_FRAME_BYTES, MIN_FRAME_BYTES, READ_BUFFER_BYTES, READ_ROOM_BYTES,
    SMALL_FRAME_BYTES,
};

/// Length prefix and API key.
const HEAD_BYTES: usize = 6;
const LENGTH_BYTES: usize = 4;

/// Why no frame came.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReadError {
    /// Longer than we take, or too short for a header.
    #[error("a frame claims {0} bytes")]
    Length(i32),
    /// The client closed in the middle of a frame.
    #[error("the connection ends in the middle of a frame")]
    Truncated,
    /// The rest of a frame did not come.
    #[error("a frame was not complete after {FRAME_TIMEOUT:?}")]
    Slow,
    /// Nothing came for a long time.
    #[error("no request for {IDLE:?}")]
    Idle,
    /// The socket failed.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// A frame that has begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Head {
    /// Bytes of the frame without its length prefix; checked.
    pub(crate) bytes: usize,
    /// The API, as the client claims.
    pub(crate) api_key: i16,
}

/// Cuts a stream into frames. [`head`](FrameReader::head) and [`body`](FrameReader::body) alternate.
#[derive(Debug)]
pub(crate) struct FrameReader<R> {
    stream: R,
    /// What was read beyond the last frame. Small frames are slices of it.
    buffer: BytesMut,
}

impl<R: AsyncRead + Unpin> FrameReader<R> {
    /// A reader at the start of a frame.
    pub(crate) fn new(stream: R) -> FrameReader<R> {
        FrameReader { stream, buffer: BytesMut::new() }
    }

    /// Waits for the next frame to begin. `None`: the client closed between two frames.
    pub(crate) async fn head(&mut self) -> Result<Option<Head>, ReadError> {
        if self.buffer.is_empty() && self.fill(IDLE, ReadError::Idle).await? == 0 {
            return Ok(None);
        }
        self.fill_to(LENGTH_BYTES).await?;
        let mut peek = &self.buffer[..];
        let length = peek.get_i32();
        let bytes = usize::try_from(length).unwrap_or(0);
        if !(MIN_FRAME_BYTES..=MAX_FRAME_BYTES).contains(&bytes) {
            return Err(ReadError::Length(length));
        }
        self.fill_to(HEAD_BYTES).await?;
        let api_key = (&self.buffer[LENGTH_BYTES..]).get_i16();
        if api_key != ApiKey::Produce.code() && bytes > MAX_OTHER_FRAME_BYTES {
            return Err(ReadError::Length(length));
        }
        Ok(Some(Head { bytes, api_key }))
    }

    /// Reads the frame that `head` announced, without its length prefix.
    pub(crate) async fn body(&mut self, head: Head) -> Result<Bytes, ReadError> {
        if head.bytes <= SMALL_FRAME_BYTES {
            // Whatever follows in the socket may come along in the same call.
            self.fill_to(LENGTH_BYTES + head.bytes).await?;
            self.buffer.advance(LENGTH_BYTES);
            return Ok(self.buffer.split_to(head.bytes).freeze());
        }
        self.buffer.advance(LENGTH_BYTES);
        let mut body = BytesMut::with_capacity(head.bytes);
        let buffered = self.buffer.len().min(head.bytes);
        body.extend_from_slice(&self.buffer[..buffered]);
        self.buffer.advance(buffered);
        let rest = async {
            while body.len() < head.bytes {
                // The limit keeps the next frame out of this one's buffer.
                let left = head.bytes - body.len();
                if self.stream.read_buf(&mut (&mut body).limit(left)).await? == 0 {
                    return Err(ReadError::Truncated);
                }
            }
            Ok(())
        };
        timeout(FRAME_TIMEOUT, rest).await.map_err(|_| ReadError::Slow)??;
        Ok(body.freeze())
    }

    /// Reads until the buffer holds `bytes`; they belong to a frame that has begun.
    async fn fill_to(&mut self, bytes: usize) -> Result<(), ReadError> {
        if self.buffer.len() >= bytes {
            return Ok(());
        }
        let filled = async {
            while self.buffer.len() < bytes {
                if self.read_some().await? == 0 {
                    return Err(ReadError::Truncated);
                }
            }
            Ok(())
        };
        timeout(FRAME_TIMEOUT, filled).await.map_err(|_| ReadError::Slow)?
    }

    async fn fill(&mut self, limit: Duration, late: ReadError) -> Result<usize, ReadError> {
        timeout(limit, self.read_some()).await.map_err(|_| late)?
    }

    async fn read_some(&mut self) -> Result<usize, ReadError> {
        if self.buffer.capacity() - self.buffer.len() < READ_ROOM_BYTES {
            self.buffer.reserve(READ_BUFFER_BYTES);
        }
        Ok(self.stream.read_buf(&mut self.buffer).await?)
    }
}
