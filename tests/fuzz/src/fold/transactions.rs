//! Changes of transactions: most of them such as the producers could send that are there, the rest by whom nobody knows, of
//! times long over or yet to come.
//!
//! Must not know what the fold makes of them.

use arbitrary::{Result, Unstructured};
use strandline_core::manifest::{
    AddToTransaction, Change, EndTransaction, Identity, InitProducer, Manifest, TransactionOf,
    TransactionOffsets,
};
use uuid::Uuid;

const TIMEOUTS_MS: [i32; 7] = [60_000, 900_000, 3_600_000, 1, 0, -1, i32::MAX];
const EPOCHS: [i16; 6] = [0, 1, 2, 3, i16::MAX - 1, i16::MAX];

pub(super) fn change(from: &mut Unstructured<'_>, manifest: &Manifest) -> Result<Change> {
    Ok(match from.int_in_range(0..=9)? {
        0 | 1 => {
            let transactional_id = id(from)?;
            let known =
                if from.arbitrary()? { Some(identity(from, manifest, &transactional_id)?) } else { None };
            let timeout_ms =
                if from.ratio(1, 8)? { from.arbitrary()? } else { *from.choose(&TIMEOUTS_MS)? };
            let now = manifest.transaction(&transactional_id).map_or(0, |known| known.begun);
            let begun = if from.ratio(1, 8)? { from.arbitrary()? } else { now };
            let known = known.map(|of: Identity| (of.id, of.epoch));
            Change::InitProducer(InitProducer { transactional_id, timeout_ms, known, begun })
        }
        2..5 => Change::AddToTransaction(AddToTransaction {
            of: of(from, manifest, true)?,
            partitions: (0..from.int_in_range(0..=3)?).map(|_| part(from)).collect::<Result<_>>()?,
            groups: (0..from.int_in_range(0..=2)?).map(|_| super::group(from)).collect::<Result<_>>()?,
        }),
        5 | 6 => {
            let of = of(from, manifest, true)?;
            let next = manifest.transaction(&of.transactional_id).map_or(0, |known| known.next_step());
            let step = if from.ratio(1, 8)? { from.arbitrary()? } else { next };
            let (adds, commit) = (from.arbitrary()?, super::offsets(from)?);
            Change::TransactionOffsets(TransactionOffsets { of, adds, step, commit })
        }
        _ => Change::EndTransaction(EndTransaction {
            of: of(from, manifest, false)?,
            commit: from.arbitrary()?,
            bump: from.arbitrary()?,
            if_due: from.ratio(1, 4)?,
        }),
    })
}

fn id(from: &mut Unstructured<'_>) -> Result<String> {
    if from.ratio(1, 16)? { from.arbitrary() } else { Ok((*from.choose(&["copy", "count"])?).to_owned()) }
}

fn part(from: &mut Unstructured<'_>) -> Result<(Uuid, u32)> {
    let partition = if from.ratio(1, 16)? { from.arbitrary()? } else { from.int_in_range(0..=1)? };
    Ok((super::topic(from)?, partition))
}

/// The producer of a transactional id, or anybody.
pub(super) fn identity(from: &mut Unstructured<'_>, manifest: &Manifest, id: &str) -> Result<Identity> {
    let known = manifest.transaction(id).map(|known| known.producer).unwrap_or_default();
    Ok(match from.int_in_range(0..=15)? {
        0 => Identity { id: from.arbitrary()?, epoch: *from.choose(&EPOCHS)? },
        1 => Identity { id: from.int_in_range(0..=3)?, epoch: *from.choose(&EPOCHS)? },
        // No object holds an epoch below 0.
        2 => Identity { epoch: from.int_in_range(0..=i16::MAX)?, ..known },
        3 => Identity { epoch: (known.epoch - 1).max(0), ..known },
        _ => known,
    })
}

fn of(from: &mut Unstructured<'_>, manifest: &Manifest, joins: bool) -> Result<TransactionOf> {
    let transactional_id = id(from)?;
    let Identity { id: producer_id, epoch } = identity(from, manifest, &transactional_id)?;
    let known = manifest.transaction(&transactional_id);
    let now = known.map_or(0, |known| if joins { known.number_to_join() } else { known.number });
    let number = match from.int_in_range(0..=15)? {
        0 => from.arbitrary()?,
        1 => now.saturating_sub(1),
        2 => now.saturating_add(1),
        _ => now,
    };
    Ok(TransactionOf { transactional_id, producer_id, epoch, number })
}
