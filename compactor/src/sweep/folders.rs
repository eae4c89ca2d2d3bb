//! Each folder of the bucket, object by object: is it ours, is it needed, may it go?
//!
//! Must not know how anything is deleted. Holds one object of a listing at a time.

use strandline_core::chunk::ChunkId;
use strandline_core::limits::DAY;
use strandline_core::{Result, paths};
use ulid::Ulid;

use super::floors::age;
use super::holders::Holder;
use super::needed::Needed;
use super::nodes::Index;
use super::report::{Judged, Kind};
use super::{Hands, Pass};

impl Pass<'_> {
    pub(super) async fn slots(&mut self, needed: &Needed<'_>) -> Result<()> {
        let newest = self.floors.newest_slot();
        let below = self.floors.passed(self.store, self.now_ms, DAY).await?;
        let mut listing = self.store.listing("journal");
        while !self.hands.is_stopped()
            && let Some(found) = listing.next().await?
        {
            let Some(slot) = paths::numbered(&found.key, "journal") else {
                self.hands.leave(&found);
                continue;
            };
            let judged = match slot {
                _ if slot >= newest || needed.has_slot(slot) => Judged::Needed,
                _ if slot < below => Judged::Gone,
                _ => Judged::Young,
            };
            self.hands.judge(Kind::Slot, &found, judged).await?;
        }
        Ok(())
    }

    pub(super) async fn segments(&mut self, needed: &Needed<'_>) -> Result<()> {
        let mut listing = self.store.listing("segment");
        while !self.hands.is_stopped()
            && let Some(found) = listing.next().await?
        {
            let Some(id) = paths::segment_id(&found.key) else {
                self.hands.leave(&found);
                continue;
            };
            let judged = needed.judge(needed.has_segment(id), id);
            note_young(&mut self.hands, judged, id);
            self.hands.judge(Kind::Segment, &found, judged).await?;
        }
        Ok(())
    }

    pub(super) async fn nodes(&mut self, needed: &Needed<'_>) -> Result<()> {
        let mut index: Option<Index<'_>> = None;
        let mut listing = self.store.listing("index");
        while !self.hands.is_stopped()
            && let Some(found) = listing.next().await?
        {
            let Some((topic, partition, id)) = paths::index_parts(&found.key) else {
                self.hands.leave(&found);
                continue;
            };
            // A folder of a partition comes in one piece.
            let index = match index.take().filter(|index| index.is_of(topic, partition)) {
                Some(known) => index.insert(known),
                None => index.insert(Index::of(self.store, needed.manifest, topic, partition)),
            };
            let judged = match index.leads_to_node(id).await {
                Ok(is_needed) => needed.judge(is_needed, id),
                Err((key, error)) => {
                    self.hands.unjudged(&key, error)?;
                    Judged::Needed
                }
            };
            note_young(&mut self.hands, judged, id);
            self.hands.judge(Kind::IndexNode, &found, judged).await?;
        }
        Ok(())
    }

    pub(super) async fn tables(&mut self, needed: &Needed<'_>) -> Result<()> {
        let mut holder = Holder::default();
        let mut listing = self.store.listing(paths::TABLES);
        while !self.hands.is_stopped()
            && let Some(found) = listing.next().await?
        {
            let Some((topic, name)) = paths::table_parts(&found.key) else {
                self.hands.leave(&found);
                continue;
            };
            if needed.manifest.topic(&topic).is_none() {
                // As if its stamp was its name.
                let id = Ulid::from_parts(u64::try_from(found.stamp_ms).unwrap_or(0), 0);
                let judged = needed.judge(false, id);
                note_young(&mut self.hands, judged, id);
                self.hands.judge(Kind::Table, &found, judged).await?;
                continue;
            }
            let judged = match holder.holds_file(self.store, topic, name).await {
                Ok(true) => Judged::Needed,
                Ok(false) if age(found.stamp_ms, self.now_ms) >= DAY => Judged::Gone,
                Ok(false) => Judged::Young,
                Err(error) => {
                    self.hands.unjudged(&paths::table(topic), error)?;
                    Judged::Needed
                }
            };
            self.hands.judge(Kind::Table, &found, judged).await?;
        }
        Ok(())
    }

    pub(super) async fn chunks(&mut self, needed: &Needed<'_>) -> Result<()> {
        let (mut index, mut holder) = (None::<Index<'_>>, Holder::default());
        let mut listing = self.store.listing("chunk");
        while !self.hands.is_stopped()
            && let Some(found) = listing.next().await?
        {
            let Some(chunk) = ChunkId::from_key(&found.key) else {
                self.hands.leave(&found);
                continue;
            };
            let index = match index.take().filter(|index| index.is_of(chunk.topic, chunk.partition)) {
                Some(known) => index.insert(known),
                None => index.insert(Index::of(self.store, needed.manifest, chunk.topic, chunk.partition)),
            };
            let judged = match needed.has_chunk(chunk.id) {
                true => Judged::Needed,
                false => match index.leads_to_chunk(&chunk).await {
                    Ok(is_needed) => needed.judge(is_needed, chunk.id),
                    Err((key, error)) => {
                        self.hands.unjudged(&key, error)?;
                        Judged::Needed
                    }
                },
            };
            let judged = match judged == Judged::Gone && needed.manifest.topic(&chunk.topic).is_some() {
                false => judged,
                true => match holder.holds_chunk(self.store, &chunk).await {
                    Ok(is_held) if is_held => Judged::Needed,
                    Ok(_) => Judged::Gone,
                    Err(error) => {
                        self.hands.unjudged(&paths::table(chunk.topic), error)?;
                        Judged::Needed
                    }
                },
            };
            note_young(&mut self.hands, judged, chunk.id);
            self.hands.judge(Kind::Chunk, &found, judged).await?;
        }
        Ok(())
    }

    /// What the probes of processes that died have left.
    pub(super) async fn scratch(&mut self) -> Result<()> {
        let mut listing = self.store.listing("probe");
        while !self.hands.is_stopped()
            && let Some(found) = listing.next().await?
        {
            if !paths::is_probe(&found.key) {
                self.hands.leave(&found);
                continue;
            }
            let judged = if age(found.stamp_ms, self.now_ms) >= DAY { Judged::Gone } else { Judged::Young };
            self.hands.judge(Kind::Scratch, &found, judged).await?;
        }
        Ok(())
    }
}

fn note_young(hands: &mut Hands<'_>, judged: Judged, id: Ulid) {
    if judged == Judged::Young {
        hands.wait_for(id);
    }
}
