//! The peers: one file a runtime, each with the same primitives as its users write them.
//!
//! Rows are written once, generic over [`Peer`] or [`Inbox`], so that every peer does the same work in the same order;
//! what differs is in these files alone and can be read side by side. Generic code is compiled once a peer: no call
//! goes through a table, nothing is boxed on the way.
//!
//! - `callsoon_peer`: `EventLoop`, `create_task`, callbacks and timers as callbacks
//! - `tokio_peer`: a `current_thread` runtime with a `LocalSet`, everything by `spawn_local`
//! - `smol_peer`: a `LocalExecutor` under `async_io::block_on`

use std::future::Future;
use std::task::Context;
use std::time::{Duration, Instant};

pub(crate) mod callsoon_peer;
pub(crate) mod smol_peer;
pub(crate) mod tokio_peer;

/// The peers of `scheduler` and `timers`; ratios refer to the first.
pub(crate) const NAMES: &[&str] = &["callsoon", "tokio", "smol"];

/// What a single-threaded runtime can do.
pub(crate) trait Peer: Clone + 'static {
    /// A timer that stays registered until this is dropped, or the loop is.
    type Held: 'static;

    /// What awaiting a task's handle gives.
    type Joined<T>;

    /// Builds the runtime and runs `main` as a *spawned* task to its end.
    fn run<T: 'static, F: Future<Output = T> + 'static>(main: impl FnOnce(Self) -> F) -> T;

    /// Has a callback run soon: `call_soon` where there is one, else a spawned task whose body is the callback.
    fn call_soon(&self, callback: impl FnOnce() + 'static);

    /// Spawns a task and returns the runtime's own handle, which is a future.
    fn spawn<T: 'static>(
        &self,
        future: impl Future<Output = T> + 'static,
    ) -> impl Future<Output = Self::Joined<T>> + 'static;

    /// What a joined task returned; no task here panics.
    fn joined<T>(joined: Self::Joined<T>) -> T;

    /// Spawns a task that nobody joins.
    fn detach(&self, future: impl Future<Output = ()> + 'static);

    /// Lets every other ready task run first.
    fn yield_now() -> impl Future<Output = ()> + 'static;

    /// Waits until `deadline`.
    fn sleep_until(deadline: Instant) -> impl Future<Output = ()> + 'static;

    /// Waits for `delay` from now.
    fn sleep(delay: Duration) -> impl Future<Output = ()> + 'static;

    /// Has a callback run at `deadline`: `call_at` where there is one, else a spawned task that sleeps first.
    fn call_at(&self, deadline: Instant, callback: impl FnOnce() + 'static);

    /// Registers a timer and leaves it.
    fn hold(&self, deadline: Instant, context: &mut Context<'_>) -> Self::Held;

    /// Registers a timer and takes it away: `call_at` and `cancel` where they exist, else a sleep polled once and
    /// dropped.
    fn cancel_at(&self, deadline: Instant, context: &mut Context<'_>);

    /// The same, given how long from now.
    fn cancel_later(&self, delay: Duration, context: &mut Context<'_>);

    /// Polls `sleep_until` once and drops it.
    fn sleep_dropped(deadline: Instant, context: &mut Context<'_>);

    /// Runs `future` outside any budget of polls: tokio's would make the 129th timer in one poll return without
    /// registering anything, which looks fast.
    fn without_budget<F: Future>(future: F) -> impl Future<Output = F::Output>;
}

/// The way into a running loop from another thread.
pub(crate) trait Inbox: Send + Sized + 'static {
    /// Builds a loop, runs `main` on it with its inbox, to its end.
    fn run<T, F: Future<Output = T>>(main: impl FnOnce(Self) -> F) -> T;

    /// Has `callback` run on the loop's thread.
    fn post(&self, callback: impl FnOnce() + Send + 'static);
}

/// What goes through a channel of closures.
type Posted = Box<dyn FnOnce() + Send>;
