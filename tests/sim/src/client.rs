//! Kafka's protocol over a pipe, from the client's side: requests go out in order, answers come back in order.
//!
//! Must not know what a request is for. A connection that broke stays broken; whoever uses it makes another one.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use strandline_kafka::api::ApiKey;
use strandline_kafka::frame::{RequestHeader, decode_response, encode_request};
use strandline_kafka::messages::{Request, Response};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, ReadHalf, WriteHalf};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// The connection is gone, and with it whatever was to come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Gone;

type Pending = Arc<Mutex<VecDeque<(ApiKey, i16, oneshot::Sender<Response>)>>>;

/// One connection to one node.
#[derive(Debug)]
pub(crate) struct Client {
    /// The node at the other end.
    pub(crate) node: String,
    writer: WriteHalf<DuplexStream>,
    pending: Pending,
    sent: i32,
    reader: JoinHandle<()>,
}

impl Drop for Client {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

impl Client {
    pub(crate) fn new(node: &str, stream: DuplexStream) -> Client {
        let (reader, writer) = tokio::io::split(stream);
        let pending = Pending::default();
        let reader = tokio::spawn(read_answers(reader, Arc::clone(&pending)));
        Client { node: node.to_owned(), writer, pending, sent: 0, reader }
    }

    /// Sends a request; its answer comes later.
    pub(crate) async fn send(
        &mut self,
        version: i16,
        request: Request,
    ) -> Result<oneshot::Receiver<Response>, Gone> {
        let api = request.api_key();
        let header = RequestHeader {
            api_key: api.code(),
            api_version: version,
            correlation_id: self.sent,
            client_id: Some("sim".to_owned()),
        };
        self.sent += 1;
        let frame = encode_request(&header, &request).unwrap();
        let (reply, answer) = oneshot::channel();
        self.pending.lock().unwrap().push_back((api, version, reply));
        for part in frame.into_parts() {
            self.writer.write_all(&part).await.map_err(|_| Gone)?;
        }
        Ok(answer)
    }

    /// Sends a request and waits for its answer.
    pub(crate) async fn call(&mut self, version: i16, request: Request) -> Result<Response, Gone> {
        self.send(version, request).await?.await.map_err(|_| Gone)
    }
}

async fn read_answers(mut reader: ReadHalf<DuplexStream>, pending: Pending) {
    while let Ok(length) = reader.read_u32().await {
        let mut frame = vec![0; length as usize];
        if reader.read_exact(&mut frame).await.is_err() {
            break;
        }
        let Some((api, version, reply)) = pending.lock().unwrap().pop_front() else { break };
        let (_, response) = decode_response(api, version, Bytes::from(frame)).unwrap();
        // Whoever asked may have given up.
        let _ = reply.send(response);
    }
    // Nobody is answered any more.
    pending.lock().unwrap().clear();
}
