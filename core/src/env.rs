//! The clock, the dice and the scheduler: the only door through which time and chance enter the log.
//!
//! Must not know what they are used for. The fold takes none of them: whatever it needs was written into the commit.
//! Tests and the simulation bring their own [`Clock`]; the simulation also stops and ends the tasks of a process.

#[cfg(feature = "simulation")]
pub mod host;
pub(crate) mod standstill;

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;
use ulid::Ulid;
use uuid::Uuid;

pub use standstill::Era;

/// Where time and entropy come from.
pub trait Clock: Debug + Send + Sync + 'static {
    /// Wall clock, milliseconds since the Unix epoch.
    fn wall_ms(&self) -> i64;
    /// Milliseconds since some start; goes on while the machine is suspended (`CLOCK_BOOTTIME`).
    fn boot_ms(&self) -> u64;
    /// 122 or more bits that nobody else draws.
    fn entropy(&self) -> u128;
}

/// A cheap handle on a [`Clock`].
#[derive(Debug, Clone)]
pub struct Env(Arc<dyn Clock>);

/// A moment on both clocks. Two moments are compared only through [`Env::within`] and [`Env::apart`].
#[derive(Debug, Clone, Copy)]
pub struct Moment {
    wall_ms: i64,
    boot_ms: u64,
}

impl Env {
    /// The machine's own clocks and the operating system's entropy.
    pub fn system() -> Env {
        Env(Arc::new(System))
    }

    /// Another source, for tests.
    pub fn new(clock: impl Clock) -> Env {
        Env(Arc::new(clock))
    }

    /// Wall clock, milliseconds since the Unix epoch.
    pub fn wall_ms(&self) -> i64 {
        self.0.wall_ms()
    }

    /// Both clocks, now.
    pub fn moment(&self) -> Moment {
        Moment { wall_ms: self.0.wall_ms(), boot_ms: self.0.boot_ms() }
    }

    /// True while *both* clocks say that less than `span` has passed since `then`, and neither ran backwards:
    /// a suspended machine stops one, a restored snapshot turns back the other.
    pub fn within(&self, then: Moment, span: Duration) -> bool {
        let now = self.moment();
        let span = span.as_millis() as u64;
        let wall = now.wall_ms.checked_sub(then.wall_ms).and_then(|d| u64::try_from(d).ok());
        let boot = now.boot_ms.checked_sub(then.boot_ms);
        matches!((wall, boot), (Some(wall), Some(boot)) if wall < span && boot < span)
    }

    /// How far the clock that has moved more has moved since `then`, forwards or backwards.
    pub fn apart(&self, then: Moment) -> Duration {
        let now = self.moment();
        let (wall, boot) = (now.wall_ms.abs_diff(then.wall_ms), now.boot_ms.abs_diff(then.boot_ms));
        Duration::from_millis(wall.max(boot))
    }

    /// A fresh ULID that carries `at_ms`.
    pub fn ulid(&self, at_ms: i64) -> Ulid {
        Ulid::from_parts(u64::try_from(at_ms).unwrap_or(0), self.0.entropy())
    }

    /// A fresh random UUID (version 4).
    pub fn uuid(&self) -> Uuid {
        uuid::Builder::from_random_bytes(self.0.entropy().to_be_bytes()).into_uuid()
    }

    /// A random share of `longest`, between none and all of it.
    pub fn jitter(&self, longest: Duration) -> Duration {
        let part = (self.0.entropy() >> 64) as u32;
        longest.mul_f64(f64::from(part) / f64::from(u32::MAX))
    }
}

/// Starts a task of this process. Must be called inside a tokio runtime.
pub fn spawn<F>(future: F) -> JoinHandle<F::Output>
where
    F: Future<Output: Send> + Send + 'static,
{
    #[cfg(feature = "simulation")]
    if let Some(host) = host::current() {
        return host.spawn(future);
    }
    tokio::spawn(future)
}

#[derive(Debug)]
struct System;

impl Clock for System {
    fn wall_ms(&self) -> i64 {
        let now = rustix::time::clock_gettime(rustix::time::ClockId::Realtime);
        now.tv_sec * 1_000 + now.tv_nsec / 1_000_000
    }

    fn boot_ms(&self) -> u64 {
        let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
        (now.tv_sec * 1_000 + now.tv_nsec / 1_000_000) as u64
    }

    #[expect(clippy::disallowed_methods, reason = "the one place where chance enters")]
    fn entropy(&self) -> u128 {
        // Two version 4 UUIDs hold 6 fixed bits each in different places than the ones we keep.
        let (a, b) = (Uuid::new_v4().as_u128(), Uuid::new_v4().as_u128());
        a ^ b.rotate_left(64)
    }
}
