//! An answer on its way from a handler to the socket.
//!
//! Must not know which request it answers beyond the API's name, nor the socket. Invariant: a reply resolves exactly
//! once, and whatever it holds back (budgets) is given back when it is dropped, written or not.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use strandline_kafka::api::ApiKey;
use strandline_kafka::error::EncodeError;
use strandline_kafka::frame::{self, Frame, RequestHeader};
use strandline_kafka::messages::Response;
use tokio::time::Instant;

use crate::budget::Share;
use crate::session::Held;
use crate::task::Task;

/// Why there is no answer. Both are faults of ours; the connection is closed, since answers must not be skipped.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReplyError {
    /// A handler built something that has no bytes.
    #[error("an answer cannot be encoded: {0}")]
    Encode(#[from] EncodeError),
    /// A handler panicked.
    #[error("a handler failed")]
    Handler,
}

/// The bytes of an answer, in slices, and the share of the Fetch budget that they hold until they are written.
#[derive(Debug)]
pub(crate) struct Answer {
    /// Length prefix, header and body; record bytes are slices of their own.
    pub(crate) parts: Vec<Bytes>,
    /// Given back once the kernel has taken the bytes.
    pub(crate) budget: Option<Share>,
}

impl Answer {
    /// The answer with these bytes.
    pub(crate) fn new(frame: Frame) -> Answer {
        Answer { parts: frame.into_parts(), budget: None }
    }

    /// The answer that says this.
    pub(crate) fn encode(header: &RequestHeader, response: &Response) -> Result<Answer, ReplyError> {
        Ok(Answer::new(frame::encode_response(header, response)?))
    }
}

type Encoded = Result<Answer, ReplyError>;

/// An answer that is ready or will be. It makes progress without being polled.
pub(crate) struct Reply {
    /// What was asked.
    pub(crate) api: ApiKey,
    /// When it was asked.
    pub(crate) started: Instant,
    work: Work,
    /// What the bytes of the request hold.
    _held: Option<Held>,
}

enum Work {
    Ready(Option<Encoded>),
    /// Waits for something that goes on by itself (acknowledgements).
    Waiting(Pin<Box<dyn Future<Output = Encoded> + Send>>),
    Running(Task<Encoded>),
}

impl Reply {
    /// An answer that is there.
    pub(crate) fn ready(api: ApiKey, answer: Encoded) -> Reply {
        Reply { api, started: Instant::now(), work: Work::Ready(Some(answer)), _held: None }
    }

    /// An answer that waits for work which somebody else does.
    pub(crate) fn waiting(api: ApiKey, future: impl Future<Output = Encoded> + Send + 'static) -> Reply {
        Reply { api, started: Instant::now(), work: Work::Waiting(Box::pin(future)), _held: None }
    }

    /// An answer that is worked out in a task of its own. The task ends with the reply.
    pub(crate) fn spawn(
        api: ApiKey,
        held: Held,
        future: impl Future<Output = Encoded> + Send + 'static,
    ) -> Reply {
        Reply { api, started: Instant::now(), work: Work::Running(Task::spawn(future)), _held: Some(held) }
    }
}

impl Future for Reply {
    type Output = Encoded;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Encoded> {
        match &mut self.work {
            Work::Ready(answer) => Poll::Ready(answer.take().unwrap_or(Err(ReplyError::Handler))),
            Work::Waiting(future) => future.as_mut().poll(context),
            Work::Running(task) => {
                Pin::new(task).poll(context).map(|ended| ended.unwrap_or(Err(ReplyError::Handler)))
            }
        }
    }
}
