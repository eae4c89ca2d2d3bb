//! Transactions over the real gateway and TCP: both protocols, two nodes that do not know of each other, what readers see.

use strandline_kafka::error::ErrorCode;
use strandline_kafka::messages::{
    Response, add_offsets_to_txn, add_partitions_to_txn, describe_producers, describe_transactions, end_txn,
    init_producer_id, list_offsets, list_transactions, offset_fetch, txn_offset_commit,
};

use crate::support::{Client, fetch, memory, produce, stranger_on, transactional};

/// Unwraps the response of one API.
macro_rules! answer {
    ($Api:ident, $call:expr) => {
        match $call.await {
            Response::$Api(response) => response,
            other => panic!("{other:?}"),
        }
    };
}

/// As clients do: a node that is behind has learned better by the second time.
macro_rules! until_known {
    ($ask:expr) => {{
        let first = $ask;
        if first == ErrorCode::CoordinatorNotAvailable.code() { $ask } else { first }
    }};
}

/// A transactional producer, as it speaks.
#[derive(Debug, Clone, Copy)]
struct Txn {
    id: &'static str,
    producer: (i64, i16),
    /// KIP-890, part 2.
    new: bool,
}

impl Txn {
    async fn begin(client: &mut Client, id: &'static str, new: bool) -> Txn {
        let request = init_producer_id::Request {
            transactional_id: Some(id.to_owned()),
            transaction_timeout_ms: 60_000,
            ..Default::default()
        };
        let mut response = answer!(InitProducerId, client.call(5, request.clone()));
        if response.error_code == ErrorCode::CoordinatorNotAvailable.code() {
            response = answer!(InitProducerId, client.call(5, request));
        }
        assert_eq!(response.error_code, 0);
        Txn { id, producer: (response.producer_id, response.producer_epoch), new }
    }

    async fn add(self, client: &mut Client, topic: &str) -> i16 {
        until_known!(self.add_once(client, topic).await)
    }

    async fn add_once(self, client: &mut Client, topic: &str) -> i16 {
        let topic = add_partitions_to_txn::RequestTopic { name: topic.to_owned(), partitions: vec![0] };
        let request = add_partitions_to_txn::Request {
            transactional_id: self.id.to_owned(),
            producer_id: self.producer.0,
            producer_epoch: self.producer.1,
            topics: vec![topic],
        };
        let response = answer!(AddPartitionsToTxn, client.call(3, request));
        response.topics[0].partitions[0].error_code
    }

    async fn write(self, client: &mut Client, topic: &str, sequence: i32) -> (i16, i64) {
        let batch = transactional(self.producer, sequence, &["a"]);
        let mut request = produce(topic, 0, -1, Some(batch));
        request.transactional_id = Some(self.id.to_owned());
        let response = answer!(Produce, client.call(if self.new { 12 } else { 11 }, request));
        let partition = &response.responses[0].partition_responses[0];
        (partition.error_code, partition.base_offset)
    }

    async fn offset(self, client: &mut Client, offset: i64) -> i16 {
        until_known!(self.offset_once(client, offset).await)
    }

    async fn offset_once(self, client: &mut Client, offset: i64) -> i16 {
        if !self.new {
            let request = add_offsets_to_txn::Request {
                transactional_id: self.id.to_owned(),
                producer_id: self.producer.0,
                producer_epoch: self.producer.1,
                group_id: "g".to_owned(),
            };
            let code = answer!(AddOffsetsToTxn, client.call(4, request)).error_code;
            if code != 0 {
                return code;
            }
        }
        let partition =
            txn_offset_commit::RequestPartition { committed_offset: offset, ..Default::default() };
        let topic = txn_offset_commit::RequestTopic { name: "in".to_owned(), partitions: vec![partition] };
        let request = txn_offset_commit::Request {
            transactional_id: self.id.to_owned(),
            group_id: "g".to_owned(),
            producer_id: self.producer.0,
            producer_epoch: self.producer.1,
            topics: vec![topic],
            ..Default::default()
        };
        let response = answer!(TxnOffsetCommit, client.call(if self.new { 5 } else { 4 }, request));
        response.topics[0].partitions[0].error_code
    }

    async fn end(&mut self, client: &mut Client, committed: bool) -> i16 {
        until_known!(self.end_once(client, committed).await)
    }

    async fn end_once(&mut self, client: &mut Client, committed: bool) -> i16 {
        let request = end_txn::Request {
            transactional_id: self.id.to_owned(),
            producer_id: self.producer.0,
            producer_epoch: self.producer.1,
            committed,
        };
        let response = answer!(EndTxn, client.call(if self.new { 5 } else { 4 }, request));
        if self.new && response.error_code == 0 {
            self.producer = (response.producer_id, response.producer_epoch);
        }
        response.error_code
    }
}

/// Last stable offset, high watermark, aborted transactions and the bytes that came.
async fn read(client: &mut Client, topic: &str) -> (i64, i64, Option<Vec<(i64, i64)>>, usize) {
    let request = fetch(topic, &[(0, 0)], 0);
    let request = strandline_kafka::messages::fetch::Request { isolation_level: 1, ..request };
    let response = answer!(Fetch, client.call(11, request));
    let partition = &response.responses[0].partitions[0];
    let aborted = partition.aborted_transactions.as_ref();
    let aborted = aborted.map(|all| all.iter().map(|one| (one.producer_id, one.first_offset)).collect());
    let bytes =
        partition.records.clone().map_or(0, |records| records.into_parts().iter().map(|p| p.len()).sum());
    (partition.last_stable_offset, partition.high_watermark, aborted, bytes)
}

async fn latest(client: &mut Client, topic: &str, isolation_level: i8) -> i64 {
    let partition = list_offsets::RequestPartition { timestamp: -1, ..Default::default() };
    let topic = list_offsets::RequestTopic { name: topic.to_owned(), partitions: vec![partition] };
    let request = list_offsets::Request { isolation_level, topics: vec![topic], ..Default::default() };
    answer!(ListOffsets, client.call(7, request)).topics[0].partitions[0].offset
}

/// The committed offset of the group, and its code, for a client that wants it to be stable or not.
async fn committed(client: &mut Client, require_stable: bool) -> (i16, i64) {
    let topic = offset_fetch::RequestTopic { name: "in".to_owned(), partition_indexes: vec![0] };
    let group = offset_fetch::RequestGroup {
        group_id: "g".to_owned(),
        topics: Some(vec![topic]),
        ..Default::default()
    };
    let request = offset_fetch::Request { groups: vec![group], require_stable, ..Default::default() };
    let response = answer!(OffsetFetch, client.call(8, request));
    let partition = &response.groups[0].topics[0].partitions[0];
    (partition.error_code, partition.committed_offset)
}

/// Every request goes to another node than the one before; neither knows of the other.
#[tokio::test(flavor = "multi_thread")]
async fn transactions_work_whichever_node_is_asked() {
    for new in [false, true] {
        let store = memory();
        let (one, two) = (stranger_on(store.clone()).await, stranger_on(store).await);
        let (mut a, mut b) = (one.client().await, two.client().await);
        a.create("in", 1).await;
        a.create("out", 1).await;
        let mut txn = Txn::begin(&mut b, "t", new).await;
        let mut sequence = 0;
        for (round, commit) in [true, false, true].into_iter().enumerate() {
            let before = latest(&mut a, "out", 1).await;
            if !new {
                assert_eq!(txn.add(&mut a, "out").await, 0);
            }
            assert_eq!(txn.write(&mut b, "out", sequence).await, (0, before));
            assert_eq!(txn.offset(&mut a, 10 + round as i64).await, 0);
            // Undecided: readers stop before it, and whoever wants a stable offset asks again.
            assert_eq!(
                (latest(&mut b, "out", 1).await, latest(&mut a, "out", 0).await),
                (before, before + 1)
            );
            assert_eq!(committed(&mut b, true).await, (ErrorCode::UnstableOffsetCommit.code(), -1));
            assert_eq!(txn.end(&mut b, commit).await, 0, "round {round}");
            assert_eq!(latest(&mut a, "out", 1).await, before + 2, "its record and the marker");
            let wanted = [10, 10, 12][round];
            assert_eq!(committed(&mut a, true).await, (0, wanted));
            sequence = if new { 0 } else { sequence + 1 };
        }
        let (stable, high, aborted, bytes) = read(&mut b, "out").await;
        let producer = txn.producer.0;
        assert_eq!((stable, high, aborted), (6, 6, Some(vec![(producer, 2)])));
        assert_eq!(bytes, 3 * (transactional((0, 0), 0, &["a"]).len() + 78));
    }
}

/// A client that gave up on a node goes on at another one; what the first one still does is too late.
#[tokio::test(flavor = "multi_thread")]
async fn whoever_takes_over_fences_the_one_before() {
    let store = memory();
    let (one, two) = (stranger_on(store.clone()).await, stranger_on(store).await);
    let (mut a, mut b) = (one.client().await, two.client().await);
    a.create("in", 1).await;
    a.create("out", 1).await;
    let mut zombie = Txn::begin(&mut a, "t", false).await;
    assert_eq!(zombie.add(&mut a, "out").await, 0);
    assert_eq!(zombie.write(&mut a, "out", 0).await, (0, 0));
    let mut heir = Txn::begin(&mut b, "t", true).await;
    assert_eq!(heir.producer, (zombie.producer.0, zombie.producer.1 + 1));
    let fenced = ErrorCode::ProducerFenced.code();
    assert_eq!(zombie.add(&mut a, "out").await, fenced);
    assert_eq!(zombie.write(&mut a, "out", 1).await.0, ErrorCode::InvalidProducerEpoch.code());
    assert_eq!(zombie.offset(&mut a, 1).await, fenced);
    assert_eq!(zombie.end(&mut a, true).await, fenced);
    assert_eq!(heir.write(&mut b, "out", 0).await, (0, 2));
    assert_eq!(heir.end(&mut b, true).await, 0);
    assert_eq!(read(&mut a, "out").await.2, Some(vec![(zombie.producer.0, 0)]));
}

/// KAFKA-17754: the producer gave up on a node and ended its transaction at another one. What the first node still does is
/// not done to the next transaction, though that has the same epoch.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_node_was_asked_for_one_transaction_it_does_not_do_to_the_next() {
    let store = memory();
    let (one, two) = (stranger_on(store.clone()).await, stranger_on(store).await);
    let (mut a, mut b) = (one.client().await, two.client().await);
    a.create("out", 1).await;
    let mut txn = Txn::begin(&mut a, "t", false).await;
    assert_eq!(txn.add(&mut a, "out").await, 0);
    assert_eq!(txn.write(&mut a, "out", 0).await, (0, 0));
    assert_eq!(txn.end(&mut b, true).await, 0);
    assert_eq!(txn.add(&mut b, "out").await, 0);
    assert_eq!(txn.write(&mut b, "out", 1).await, (0, 2));
    // The first node knows of none of this: to it, the first transaction is open.
    assert_eq!(txn.end_once(&mut a, true).await, ErrorCode::CoordinatorNotAvailable.code());
    assert_eq!(
        (latest(&mut a, "out", 1).await, latest(&mut a, "out", 0).await),
        (2, 3),
        "the second one is open"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_open_can_be_looked_at() {
    let store = memory();
    let node = stranger_on(store).await;
    let mut client = node.client().await;
    client.create("out", 1).await;
    let mut txn = Txn::begin(&mut client, "orders-1", false).await;
    Txn::begin(&mut client, "idle", false).await;
    assert_eq!(txn.add(&mut client, "out").await, 0);
    txn.write(&mut client, "out", 0).await;
    let ids = vec!["orders-1".to_owned(), "nobody".to_owned()];
    let request = describe_transactions::Request { transactional_ids: ids };
    let found = answer!(DescribeTransactions, client.call(0, request)).transaction_states;
    assert_eq!((found[0].transaction_state.as_str(), found[0].transaction_timeout_ms), ("Ongoing", 60_000));
    assert_eq!((found[0].topics[0].topic.as_str(), &found[0].topics[0].partitions), ("out", &vec![0]));
    assert_eq!(found[1].error_code, ErrorCode::TransactionalIdNotFound.code());
    let topic = describe_producers::RequestTopic { name: "out".to_owned(), partition_indexes: vec![0, 1] };
    let request = describe_producers::Request { topics: vec![topic] };
    let found = answer!(DescribeProducers, client.call(0, request)).topics.remove(0).partitions;
    let producer = &found[0].active_producers[0];
    assert_eq!(
        (producer.producer_id, producer.last_sequence, producer.current_txn_start_offset),
        (txn.producer.0, 0, 0)
    );
    assert_eq!(found[1].error_code, ErrorCode::UnknownTopicOrPartition.code());
    let list = async |client: &mut Client, states: &[&str], pattern: Option<&str>| {
        let request = list_transactions::Request {
            state_filters: states.iter().map(|state| (*state).to_owned()).collect(),
            transactional_id_pattern: pattern.map(str::to_owned),
            ..Default::default()
        };
        let found = answer!(ListTransactions, client.call(2, request));
        let ids: Vec<String> = found.transaction_states.into_iter().map(|of| of.transactional_id).collect();
        (found.error_code, ids, found.unknown_state_filters)
    };
    assert_eq!(list(&mut client, &[], None).await.1, ["idle", "orders-1"]);
    assert_eq!(list(&mut client, &["Ongoing"], None).await.1, ["orders-1"]);
    assert_eq!(list(&mut client, &["Lost"], None).await, (0, vec![], vec!["Lost".to_owned()]));
    assert_eq!(list(&mut client, &[], Some("orders-.*")).await.1, ["orders-1"]);
    assert_eq!(list(&mut client, &[], Some("(")).await.0, ErrorCode::InvalidRegularExpression.code());
    txn.end(&mut client, false).await;
    assert_eq!(list(&mut client, &["CompleteAbort"], None).await.1, ["orders-1"]);
}
