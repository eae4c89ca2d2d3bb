//! A node on a store in memory, a client that speaks frames, and record batches to send.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use strandline_core::env::Env;
use strandline_core::manifest::{Journal, journal};
use strandline_core::store::Store;
use strandline_gateway::{Config, Error, Gateway, Listener};
use strandline_ingest::Ingest;
use strandline_kafka::api::ApiKey;
use strandline_kafka::codec::Records;
use strandline_kafka::frame::{RequestHeader, decode_response, encode_request};
use strandline_kafka::messages::{Request, Response, create_topics, fetch, produce};
use strandline_reader::Reader;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// Longer than anything here takes, shorter than a human waits.
pub const PATIENCE: Duration = Duration::from_secs(20);

pub struct Node {
    pub id: i32,
    pub kafka: SocketAddr,
    /// The other listener for Kafka clients.
    pub second: SocketAddr,
    pub http: SocketAddr,
    pub stop: Option<oneshot::Sender<()>>,
    pub served: JoinHandle<Result<(), Error>>,
    pub journal: Journal,
}

pub async fn node() -> Node {
    node_on(memory(), Some(7), "a").await
}

pub fn memory() -> Store {
    Store::open("memory:", Env::system()).unwrap()
}

/// One node of the cluster on this store.
pub async fn node_on(store: Store, node_id: Option<i32>, rack: &str) -> Node {
    start(store, node_id, rack, true).await
}

/// A node that knows of no other on this store, nor they of it.
pub async fn stranger_on(store: Store) -> Node {
    start(store, None, "a", false).await
}

async fn start(store: Store, node_id: Option<i32>, rack: &str, heartbeats: bool) -> Node {
    let journal = Journal::open(store, journal::Options::default()).await.unwrap();
    let ingest = Ingest::start(journal.clone(), strandline_ingest::Config::default());
    let reader = Reader::start(journal.clone(), strandline_reader::Config::default());
    let local = SocketAddr::from(([127, 0, 0, 1], 0));
    let listener = |name: &str| Listener { name: name.into(), bind: local, advertise: None };
    let config = Config {
        listeners: vec![listener("kafka"), listener("second")],
        http: Some(local),
        node_id,
        rack: Some(rack.into()),
        heartbeats,
    };
    let gateway = Gateway::bind(config, journal.clone(), ingest, reader).await.unwrap();
    let (kafka, second) = (gateway.kafka_addrs()[0], gateway.kafka_addrs()[1]);
    let (http, id) = (gateway.http_addr().unwrap(), gateway.node_id());
    let (stop, stopped) = oneshot::channel();
    let served = tokio::spawn(gateway.serve(async move { drop(stopped.await) }));
    Node { id, kafka, second, http, stop: Some(stop), served, journal }
}

impl Node {
    pub async fn client(&self) -> Client {
        Client::connect(self.kafka).await
    }

    /// Status and body of a page.
    pub async fn get(&self, path: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(self.http).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        (answer[9..12].parse().unwrap(), answer.split_once("\r\n\r\n").unwrap().1.to_owned())
    }
}

pub struct Client {
    pub stream: TcpStream,
    /// What it calls itself.
    pub id: String,
    correlation: i32,
}

impl Client {
    pub async fn connect(address: SocketAddr) -> Client {
        Client { stream: TcpStream::connect(address).await.unwrap(), id: "test".into(), correlation: 0 }
    }

    /// Sends a request; gives its correlation id.
    pub async fn send(&mut self, version: i16, request: impl Into<Request>) -> i32 {
        let request = request.into();
        self.correlation += 1;
        let header = RequestHeader {
            api_key: request.api_key().code(),
            api_version: version,
            correlation_id: self.correlation,
            client_id: Some(self.id.clone()),
        };
        for part in encode_request(&header, &request).unwrap().into_parts() {
            self.stream.write_all(&part).await.unwrap();
        }
        self.correlation
    }

    /// The next frame, without its length. `None`: the connection was closed.
    pub async fn frame(&mut self) -> Option<Bytes> {
        let read = async {
            let length = self.stream.read_i32().await.ok()?;
            let mut frame = vec![0; length as usize];
            self.stream.read_exact(&mut frame).await.ok()?;
            Some(frame.into())
        };
        timeout(PATIENCE, read).await.expect("no answer in time")
    }

    /// The next answer and its correlation id.
    pub async fn receive(&mut self, api: ApiKey, version: i16) -> (i32, Response) {
        let frame = self.frame().await.expect("the connection was closed");
        decode_response(api, version, frame).unwrap()
    }

    pub async fn call(&mut self, version: i16, request: impl Into<Request>) -> Response {
        let request = request.into();
        let api = request.api_key();
        let sent = self.send(version, request).await;
        let (answered, response) = self.receive(api, version).await;
        assert_eq!(answered, sent);
        response
    }

    /// Creates a topic and gives its id.
    pub async fn create(&mut self, name: &str, partitions: i32) -> [u8; 16] {
        let Response::CreateTopics(response) = self.call(7, create(name, partitions)).await else {
            unreachable!()
        };
        assert_eq!(response.topics[0].error_code, 0, "{response:?}");
        response.topics[0].topic_id
    }
}

pub fn create(name: &str, partitions: i32) -> create_topics::Request {
    let topic = create_topics::NewTopic {
        name: name.into(),
        num_partitions: partitions,
        replication_factor: 1,
        ..Default::default()
    };
    create_topics::Request { topics: vec![topic], ..Default::default() }
}

/// A request with one batch for one partition.
pub fn produce(topic: &str, partition: i32, acks: i16, batch: Option<Bytes>) -> produce::Request {
    let data = produce::PartitionData { index: partition, records: batch.map(Records::from) };
    let topic = produce::TopicData { name: topic.into(), partition_data: vec![data], ..Default::default() };
    produce::Request { acks, timeout_ms: 10_000, topic_data: vec![topic], ..Default::default() }
}

/// A request for some partitions and offsets of one topic.
pub fn fetch(topic: &str, from: &[(i32, i64)], max_wait_ms: i32) -> fetch::Request {
    let partition = |&(partition, fetch_offset): &(i32, i64)| fetch::FetchPartition {
        partition,
        fetch_offset,
        partition_max_bytes: 1 << 20,
        ..Default::default()
    };
    let partitions = from.iter().map(partition).collect();
    let topic = fetch::FetchTopic { topic: topic.into(), partitions, ..Default::default() };
    fetch::Request { max_wait_ms, min_bytes: 1, topics: vec![topic], ..Default::default() }
}

/// A batch without producer id or compression that holds these values.
pub fn batch(values: &[&str]) -> Bytes {
    built(0, (-1, -1), -1, values)
}

/// The same of a transaction of this producer, id and epoch.
pub fn transactional(producer: (i64, i16), sequence: i32, values: &[&str]) -> Bytes {
    built(0x10, producer, sequence, values)
}

fn built(attributes: i16, producer: (i64, i16), sequence: i32, values: &[&str]) -> Bytes {
    let mut records = Vec::new();
    for (delta, value) in values.iter().enumerate() {
        let mut record = vec![0, 0]; // attributes, timestamp delta
        varint(&mut record, delta as i64);
        varint(&mut record, -1); // no key
        varint(&mut record, value.len() as i64);
        record.extend(value.as_bytes());
        record.push(0); // no headers
        varint(&mut records, record.len() as i64);
        records.extend(record);
    }
    let mut checked = Vec::new();
    checked.extend(attributes.to_be_bytes());
    checked.extend((values.len() as i32 - 1).to_be_bytes());
    checked.extend(1_000_i64.to_be_bytes()); // first and largest timestamp
    checked.extend(1_000_i64.to_be_bytes());
    checked.extend(producer.0.to_be_bytes());
    checked.extend(producer.1.to_be_bytes());
    checked.extend(sequence.to_be_bytes());
    checked.extend((values.len() as i32).to_be_bytes());
    checked.extend(records);
    let mut batch = 0_i64.to_be_bytes().to_vec();
    batch.extend((checked.len() as i32 + 9).to_be_bytes());
    batch.extend((-1_i32).to_be_bytes()); // leader epoch
    batch.push(2);
    batch.extend(crc32c::crc32c(&checked).to_be_bytes());
    batch.extend(checked);
    batch.into()
}

/// Zigzag, seven bits at a time.
fn varint(into: &mut Vec<u8>, value: i64) {
    let mut left = ((value << 1) ^ (value >> 63)) as u64;
    while left >= 0x80 {
        into.push(left as u8 | 0x80);
        left >>= 7;
    }
    into.push(left as u8);
}
