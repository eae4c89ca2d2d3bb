//! One simulated process: the tasks that live and die together, and that stop together when the process is paused.
//!
//! Exists only with the feature `simulation`. A task that is spawned through [`spawn`](super::spawn) by a task of a host
//! belongs to the same host. A paused host's tasks are not polled, whatever wakes them, as with SIGSTOP: time goes on,
//! answers arrive, nobody looks. Must not know what the tasks do.

use std::cell::RefCell;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use tokio::task::{AbortHandle, JoinHandle};

/// A handle on one simulated process. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Host(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    paused: bool,
    stopped: bool,
    /// Of the tasks that were due while the host was paused.
    due: Vec<Waker>,
    tasks: Vec<AbortHandle>,
    /// Finished tasks are forgotten when there are so many.
    sweep_at: usize,
}

thread_local! {
    static CURRENT: RefCell<Option<Host>> = const { RefCell::new(None) };
}

/// The host whose task is running on this thread.
pub(super) fn current() -> Option<Host> {
    CURRENT.with_borrow(Clone::clone)
}

impl Host {
    /// Starts a task of this process. One that is stopped already starts nothing.
    pub fn spawn<F>(&self, future: F) -> JoinHandle<F::Output>
    where
        F: Future<Output: Send> + Send + 'static,
    {
        let hosted = Hosted { host: self.clone(), future: Box::pin(future) };
        let task = tokio::spawn(hosted);
        let mut state = self.state();
        if state.stopped {
            task.abort();
        }
        if state.tasks.len() >= state.sweep_at {
            state.tasks.retain(|task| !task.is_finished());
            state.sweep_at = state.tasks.len() * 2 + 64;
        }
        state.tasks.push(task.abort_handle());
        task
    }

    /// From here on no task of the process runs.
    pub fn pause(&self) {
        self.state().paused = true;
    }

    /// Everything that came due meanwhile is looked at now.
    pub fn resume(&self) {
        let due = {
            let mut state = self.state();
            state.paused = false;
            std::mem::take(&mut state.due)
        };
        due.into_iter().for_each(Waker::wake);
    }

    /// `kill -9`: all tasks are gone, wherever they were.
    pub fn stop(&self) {
        let tasks = {
            let mut state = self.state();
            state.stopped = true;
            std::mem::take(&mut state.tasks)
        };
        tasks.iter().for_each(AbortHandle::abort);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Hosted<F> {
    host: Host,
    future: Pin<Box<F>>,
}

impl<F: Future> Future for Hosted<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        {
            let mut state = self.host.state();
            if state.paused {
                state.due.push(context.waker().clone());
                return Poll::Pending;
            }
        }
        let before = CURRENT.replace(Some(self.host.clone()));
        let _restore = Restore(before);
        self.future.as_mut().poll(context)
    }
}

/// Puts the host back that was current before, also when the task panics.
struct Restore(Option<Host>);

impl Drop for Restore {
    fn drop(&mut self) {
        CURRENT.set(self.0.take());
    }
}
