//! Answers to the socket, strictly in the order of their requests.
//!
//! Must not know what is in an answer. Invariant: bytes are handed to the kernel in the slices in which they came,
//! never joined; an answer that is ready never waits for one that came after it.

use std::collections::VecDeque;
use std::io::{self, IoSlice};

use bytes::{Buf, Bytes};
use futures_util::FutureExt;
use strandline_kafka::api::ApiKey;
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};

use crate::budget::Share;
use crate::limits::{WRITE_BATCH_BYTES, WRITE_PARTS, WRITE_STALL};
use crate::metrics;
use crate::reply::{Answer, Reply, ReplyError};

/// Why no more answers are written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WriteError {
    /// There is no next answer.
    #[error(transparent)]
    Reply(#[from] ReplyError),
    /// The client takes nothing.
    #[error("the client took no byte of its answers for {WRITE_STALL:?}")]
    Stalled,
    /// The socket failed.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Writes answers until no more can come, then closes the sending side.
pub(crate) async fn run(
    mut stream: impl AsyncWrite + Unpin,
    mut replies: mpsc::Receiver<Reply>,
) -> Result<(), WriteError> {
    let mut outgoing = Outgoing::default();
    let mut next: Option<Reply> = None;
    loop {
        let Some(mut reply) = (match next.take() {
            Some(reply) => Some(reply),
            None => replies.recv().await,
        }) else {
            break;
        };
        let answer = (&mut reply).await?;
        outgoing.push(&reply, answer);
        // Answers that are ready as well ride in the same call; the first that is not keeps its place.
        while outgoing.bytes < WRITE_BATCH_BYTES {
            let Ok(mut reply) = replies.try_recv() else { break };
            match (&mut reply).now_or_never() {
                Some(answer) => outgoing.push(&reply, answer?),
                None => {
                    next = Some(reply);
                    break;
                }
            }
        }
        outgoing.write(&mut stream).await?;
    }
    Ok(stream.shutdown().await?)
}

/// Answers gathered for the next calls.
#[derive(Debug, Default)]
struct Outgoing {
    parts: VecDeque<Bytes>,
    bytes: usize,
    /// Held until the kernel has all the bytes.
    budgets: Vec<Share>,
    answered: Vec<(ApiKey, Instant)>,
}

impl Outgoing {
    fn push(&mut self, reply: &Reply, answer: Answer) {
        for part in answer.parts {
            // An empty slice alone in a call would read as a closed socket.
            if !part.is_empty() {
                self.bytes += part.len();
                self.parts.push_back(part);
            }
        }
        self.budgets.extend(answer.budget);
        self.answered.push((reply.api, reply.started));
    }

    async fn write(&mut self, stream: &mut (impl AsyncWrite + Unpin)) -> Result<(), WriteError> {
        metrics::BYTES_OUT.inc_by(self.bytes as u64);
        while !self.parts.is_empty() {
            let mut slices = [IoSlice::new(&[]); WRITE_PARTS];
            let mut count = 0;
            for (slice, part) in slices.iter_mut().zip(&self.parts) {
                *slice = IoSlice::new(part);
                count += 1;
            }
            let written = timeout(WRITE_STALL, stream.write_vectored(&slices[..count])).await;
            match written.map_err(|_| WriteError::Stalled)?? {
                0 => return Err(io::Error::from(io::ErrorKind::WriteZero).into()),
                written => self.advance(written),
            }
        }
        self.bytes = 0;
        self.budgets.clear();
        self.answered.drain(..).for_each(|(api, started)| metrics::answered(api, started));
        Ok(())
    }

    fn advance(&mut self, mut written: usize) {
        while let Some(part) = self.parts.front_mut() {
            if written < part.len() {
                part.advance(written);
                return;
            }
            written -= part.len();
            self.parts.pop_front();
        }
    }
}
