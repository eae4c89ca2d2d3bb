//! One client: requests are read and begun in order, worked on side by side, answered in order.
//!
//! Must not know what a request means. Invariant: whatever one client sends, only its own connection is closed; once
//! it is, nothing of it stays except batches and commits of offsets that were already taken in, and memberships until
//! they end.

mod read;
mod write;

#[cfg(test)]
mod tests;

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use strandline_kafka::api::ApiKey;
use strandline_kafka::error::DecodeError;
use strandline_kafka::frame::decode_request;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tracing::{debug, error, warn};

use crate::dispatch;
use crate::limits::{DRAIN, MAX_REQUESTS_IN_FLIGHT};
use crate::metrics;
use crate::phase::Phase;
use crate::reply::{Reply, ReplyError};
use crate::services::Services;
use crate::session::{Session, Way};
use crate::task::Task;
use read::{FrameReader, ReadError};
use write::WriteError;

/// Why a connection ended, other than by the client's wish.
#[derive(Debug, thiserror::Error)]
enum End {
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error(transparent)]
    Write(#[from] WriteError),
    #[error(transparent)]
    Decode(#[from] DecodeError),
    #[error("a batch was not taken in, and those behind it must not overtake it")]
    Gap,
    #[error("the node stood still since the client came")]
    Standstill,
    #[error("the node is shutting down")]
    Shutdown,
    #[error("the answers in flight were not ready in time")]
    Drain,
}

/// Serves one client of a socket that came to the listener of number `which`.
pub(crate) async fn accept(stream: TcpStream, which: usize, services: Arc<Services>) {
    match prepare(&stream) {
        Ok((local, peer)) => {
            let (incoming, outgoing) = stream.into_split();
            let way = Way { listener: which, local, peer: Some(peer) };
            run(incoming, outgoing, way, services).await;
        }
        Err(error) => log(&ReadError::Io(error).into()),
    }
}

/// Serves one client until it leaves, breaks the protocol, or the node stops.
pub(crate) async fn run(
    incoming: impl AsyncRead + Unpin,
    outgoing: impl AsyncWrite + Unpin + Send + 'static,
    way: Way,
    services: Arc<Services>,
) {
    metrics::CONNECTIONS_TOTAL.inc();
    metrics::CONNECTIONS.inc();
    let _open = OpenConnection;
    match serve(incoming, outgoing, way, services).await {
        Ok(()) => debug!("connection closed"),
        Err(end) => log(&end),
    }
}

async fn serve(
    incoming: impl AsyncRead + Unpin,
    outgoing: impl AsyncWrite + Unpin + Send + 'static,
    way: Way,
    services: Arc<Services>,
) -> Result<(), End> {
    let session = Session::new(services, way);
    let (replies, queue) = mpsc::channel(MAX_REQUESTS_IN_FLIGHT);
    let mut writer = Task::spawn(write::run(outgoing, queue));
    let read = tokio::select! {
        biased;
        ended = &mut writer => return finished(ended),
        () = session.phases.reached(Phase::Stopping) => Err(End::Shutdown),
        read = read_requests(FrameReader::new(incoming), &session, replies) => read,
    };
    // The sender is gone with the reading side: the writer ends after the last answer that was begun.
    match timeout(DRAIN, &mut writer).await {
        Ok(ended) => finished(ended).and(read),
        Err(_) => read.and(Err(End::Drain)),
    }
}

/// Our address and the client's.
fn prepare(stream: &TcpStream) -> io::Result<(SocketAddr, IpAddr)> {
    // Answers are gathered before they are written, so waiting for more to send would only cost time.
    stream.set_nodelay(true)?;
    Ok((stream.local_addr()?, stream.peer_addr()?.ip()))
}

fn finished(ended: Result<Result<(), WriteError>, tokio::task::JoinError>) -> Result<(), End> {
    Ok(ended.unwrap_or(Err(ReplyError::Handler.into()))?)
}

/// Reads and begins requests. Returns when the client closes its side between two frames.
async fn read_requests(
    mut frames: FrameReader<impl AsyncRead + Unpin>,
    session: &Arc<Session>,
    replies: mpsc::Sender<Reply>,
) -> Result<(), End> {
    // From the first request on: a node that only looks whether we are here is no client.
    let mut connected = None;
    while let Some(head) = frames.head().await? {
        connected.get_or_insert_with(|| session.nodes.connected());
        let produce = head.api_key == ApiKey::Produce.code();
        // Nothing of the body is read before there is room for it: the rest waits in the client.
        let held = session.admit(head.bytes, produce).await.ok_or(End::Shutdown)?;
        if session.is_outdated() {
            return Err(End::Standstill);
        }
        let body = frames.body(head).await?;
        metrics::BYTES_IN.inc_by(head.bytes as u64 + 4);
        // The place among the answers first: once a batch is taken in, its answer must find one.
        let Ok(place) = replies.reserve().await else { return Ok(()) };
        match decode_request(body) {
            Ok((header, request)) => {
                if let Some(reply) = dispatch::begin(session, header, request, held).await {
                    place.send(reply);
                }
                if session.is_over() {
                    return Err(End::Gap);
                }
            }
            Err(DecodeError::UnsupportedVersion { header })
                if header.api_key == ApiKey::ApiVersions.code() =>
            {
                place.send(dispatch::unsupported_api_versions(header.correlation_id));
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// A broken client is worth a line; one that left, idled or speaks a dialect we do not is not.
fn log(end: &End) {
    let (reason, fault) = match end {
        End::Read(ReadError::Io(_)) | End::Write(WriteError::Io(_)) => ("io", false),
        End::Read(ReadError::Idle) => ("idle", false),
        End::Shutdown => return debug!("connection closed: the node is shutting down"),
        End::Decode(DecodeError::UnsupportedVersion { .. } | DecodeError::UnknownApi { .. }) => {
            ("unsupported", false)
        }
        End::Read(ReadError::Length(_)) => ("length", true),
        End::Read(ReadError::Truncated) => ("truncated", true),
        End::Read(ReadError::Slow) | End::Write(WriteError::Stalled) => ("slow", true),
        End::Decode(_) => ("malformed", true),
        // A consumer that leaves in the middle of a long poll is the rule, not a fault.
        End::Drain => ("drain", false),
        End::Gap => ("gap", false),
        End::Standstill => ("standstill", false),
        End::Write(WriteError::Reply(_)) => {
            metrics::CONNECTIONS_CLOSED.with_label_values(&["internal"]).inc();
            return error!(error = %end, "connection closed because of a fault of ours; please report this");
        }
    };
    metrics::CONNECTIONS_CLOSED.with_label_values(&[reason]).inc();
    match fault {
        true => warn!(reason = %end, "connection closed"),
        false => debug!(reason = %end, "connection closed"),
    }
}

/// Counts a connection while it lives, however it ends.
struct OpenConnection;

impl Drop for OpenConnection {
    fn drop(&mut self) {
        metrics::CONNECTIONS.dec();
    }
}
