//! How many bytes may be on their way: back-pressure in place of running out of memory.
//!
//! Must not know what the bytes are, only in which era of the process they came. Whoever wants to read a request waits
//! here first, so that the pressure reaches the sender through TCP; the bytes are given back when the last user of an
//! [`Admission`] lets go of it.

use std::sync::Arc;

use strandline_core::env::Era;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::metrics::INFLIGHT_BYTES;

/// The right to hold some bytes. Cheap to clone; given back with the last clone.
#[derive(Debug, Clone)]
pub struct Admission(Arc<Held>);

impl Admission {
    /// Gives back what is not needed after all, down to so many bytes; nothing if somebody else has a part in it.
    pub fn shrink(mut self, bytes: usize) -> Admission {
        if let Some(held) = Arc::get_mut(&mut self.0) {
            let surplus = held.permit.num_permits().saturating_sub(bytes.max(1));
            drop(held.permit.split(surplus));
            INFLIGHT_BYTES.sub(surplus as i64);
            held.bytes -= surplus as i64;
        }
        self
    }

    /// When whoever asked for it began to wait.
    pub fn era(&self) -> Era {
        self.0.era
    }
}

#[derive(Debug)]
struct Held {
    permit: OwnedSemaphorePermit,
    era: Era,
    bytes: i64,
}

impl Drop for Held {
    fn drop(&mut self) {
        INFLIGHT_BYTES.sub(self.bytes);
    }
}

#[derive(Debug)]
pub(crate) struct Gate {
    room: Arc<Semaphore>,
    most: usize,
}

impl Gate {
    pub(crate) fn new(most: usize) -> Gate {
        let most = most.clamp(1, Semaphore::MAX_PERMITS.min(u32::MAX as usize));
        Gate { room: Arc::new(Semaphore::new(most)), most }
    }

    /// Waits, first come first served. One request larger than all the room waits for all of it. `None`: closed.
    pub(crate) async fn admit(&self, era: Era, bytes: usize) -> Option<Admission> {
        let bytes = bytes.clamp(1, self.most);
        let permit = Arc::clone(&self.room).acquire_many_owned(bytes as u32).await.ok()?;
        INFLIGHT_BYTES.add(bytes as i64);
        Some(Admission(Arc::new(Held { permit, era, bytes: bytes as i64 })))
    }

    pub(crate) fn close(&self) {
        self.room.close();
    }
}
