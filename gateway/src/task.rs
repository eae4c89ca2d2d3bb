//! A spawned task that ends with its owner.
//!
//! Must not know what runs in it. Invariant: dropping the handle aborts the task, so nothing outlives its connection.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use strandline_core::env;
use tokio::task::{JoinError, JoinHandle};
use tracing::Instrument;

/// A task; aborted when dropped.
#[derive(Debug)]
pub(crate) struct Task<T>(JoinHandle<T>);

impl<T: Send + 'static> Task<T> {
    /// Starts it, inside the span of whoever starts it.
    pub(crate) fn spawn(future: impl Future<Output = T> + Send + 'static) -> Task<T> {
        Task(env::spawn(future.in_current_span()))
    }
}

impl<T> Future for Task<T> {
    type Output = Result<T, JoinError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(context)
    }
}

impl<T> Drop for Task<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}
