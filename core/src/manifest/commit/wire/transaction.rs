//! The shapes of transactional changes on disk.
//!
//! Must not know the fold. Invariant: tags keep their meaning for ever; fields are only added.

use bytes::Bytes;
use prost::Message;
use uuid::Uuid;

use super::super::transaction::{
    AddToTransaction, EndTransaction, InitProducer, TransactionOf, TransactionOffsets,
};
use super::group::Offsets;
use super::{PartitionOf, array};

#[derive(Clone, PartialEq, Message)]
pub(super) struct Init {
    #[prost(string, tag = "1")]
    transactional_id: String,
    #[prost(int32, tag = "2")]
    timeout_ms: i32,
    #[prost(message, optional, tag = "3")]
    known: Option<Identity>,
    #[prost(uint64, tag = "4")]
    begun: u64,
}

#[derive(Clone, PartialEq, Message)]
struct Identity {
    #[prost(int64, tag = "1")]
    producer_id: i64,
    #[prost(uint32, tag = "2")]
    epoch: u32,
}

#[derive(Clone, PartialEq, Message)]
struct Of {
    #[prost(string, tag = "1")]
    transactional_id: String,
    #[prost(int64, tag = "2")]
    producer_id: i64,
    #[prost(uint32, tag = "3")]
    epoch: u32,
    #[prost(uint64, tag = "4")]
    number: u64,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Add {
    #[prost(message, optional, tag = "1")]
    of: Option<Of>,
    #[prost(message, repeated, tag = "2")]
    partitions: Vec<PartitionOf>,
    #[prost(string, repeated, tag = "3")]
    groups: Vec<String>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct OffsetsIn {
    #[prost(message, optional, tag = "1")]
    of: Option<Of>,
    #[prost(bool, tag = "2")]
    adds: bool,
    #[prost(message, optional, tag = "3")]
    commit: Option<Offsets>,
    #[prost(uint64, tag = "4")]
    step: u64,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct End {
    #[prost(message, optional, tag = "1")]
    of: Option<Of>,
    #[prost(bool, tag = "2")]
    commit: bool,
    #[prost(bool, tag = "3")]
    bump: bool,
    #[prost(bool, tag = "4")]
    if_due: bool,
}

impl From<&InitProducer> for Init {
    fn from(init: &InitProducer) -> Init {
        let identity = |(producer_id, epoch): (i64, i16)| Identity { producer_id, epoch: epoch as u32 };
        Init {
            transactional_id: init.transactional_id.clone(),
            timeout_ms: init.timeout_ms,
            known: init.known.map(identity),
            begun: init.begun,
        }
    }
}

impl TryFrom<Init> for InitProducer {
    type Error = &'static str;

    fn try_from(wire: Init) -> Result<InitProducer, &'static str> {
        let identity = |of: Identity| Ok::<_, Self::Error>((of.producer_id, epoch(of.epoch)?));
        Ok(InitProducer {
            transactional_id: wire.transactional_id,
            timeout_ms: wire.timeout_ms,
            known: wire.known.map(identity).transpose()?,
            begun: wire.begun,
        })
    }
}

impl From<&TransactionOf> for Of {
    fn from(of: &TransactionOf) -> Of {
        Of {
            transactional_id: of.transactional_id.clone(),
            producer_id: of.producer_id,
            epoch: of.epoch as u32,
            number: of.number,
        }
    }
}

fn transaction_of(wire: Option<Of>) -> Result<TransactionOf, &'static str> {
    let wire = wire.ok_or("a change of a transaction that does not say of which")?;
    Ok(TransactionOf {
        transactional_id: wire.transactional_id,
        producer_id: wire.producer_id,
        epoch: epoch(wire.epoch)?,
        number: wire.number,
    })
}

fn epoch(wire: u32) -> Result<i16, &'static str> {
    i16::try_from(wire).map_err(|_| "a producer epoch out of range")
}

impl From<&AddToTransaction> for Add {
    fn from(add: &AddToTransaction) -> Add {
        let partition = |(topic, partition): &(Uuid, u32)| PartitionOf {
            topic: Bytes::copy_from_slice(topic.as_bytes()),
            partition: *partition,
        };
        Add {
            of: Some((&add.of).into()),
            partitions: add.partitions.iter().map(partition).collect(),
            groups: add.groups.clone(),
        }
    }
}

impl TryFrom<Add> for AddToTransaction {
    type Error = &'static str;

    fn try_from(wire: Add) -> Result<AddToTransaction, &'static str> {
        let partition = |of: PartitionOf| {
            Ok((Uuid::from_bytes(array(&of.topic, "a topic id is not 16 bytes")?), of.partition))
        };
        Ok(AddToTransaction {
            of: transaction_of(wire.of)?,
            partitions: wire.partitions.into_iter().map(partition).collect::<Result<_, Self::Error>>()?,
            groups: wire.groups,
        })
    }
}

impl From<&TransactionOffsets> for OffsetsIn {
    fn from(offsets: &TransactionOffsets) -> OffsetsIn {
        OffsetsIn {
            of: Some((&offsets.of).into()),
            adds: offsets.adds,
            step: offsets.step,
            commit: Some((&offsets.commit).into()),
        }
    }
}

impl TryFrom<OffsetsIn> for TransactionOffsets {
    type Error = &'static str;

    fn try_from(wire: OffsetsIn) -> Result<TransactionOffsets, &'static str> {
        let commit = wire.commit.ok_or("offsets of a transaction without offsets")?;
        let OffsetsIn { of, adds, step, .. } = wire;
        Ok(TransactionOffsets { of: transaction_of(of)?, adds, step, commit: commit.try_into()? })
    }
}

impl From<&EndTransaction> for End {
    fn from(end: &EndTransaction) -> End {
        End { of: Some((&end.of).into()), commit: end.commit, bump: end.bump, if_due: end.if_due }
    }
}

impl TryFrom<End> for EndTransaction {
    type Error = &'static str;

    fn try_from(wire: End) -> Result<EndTransaction, &'static str> {
        let End { of, commit, bump, if_due } = wire;
        Ok(EndTransaction { of: transaction_of(of)?, commit, bump, if_due })
    }
}
