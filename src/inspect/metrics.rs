//! `Metrics`: counts of what a loop holds and has done.

use crate::kernel::loop_handle::LoopHandle;

/// The counters of a loop at one moment. Returned by [`LoopHandle::metrics`].
///
/// ```
/// let event_loop = callsoon::EventLoop::new()?;
/// event_loop.call_soon(|| ());
/// let metrics = event_loop.metrics();
/// assert_eq!((metrics.ready, metrics.tasks, metrics.turns), (1, 0, 0));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Metrics {
    /// How many turns the loop has run.
    pub turns: u64,
    /// How often the loop has polled the system for events.
    pub event_polls: u64,
    /// Entries in the ready queue, including cancelled ones.
    pub ready: usize,
    /// Timers whose callback has not run yet, including those that never fire.
    pub timers: usize,
    /// Unfinished tasks, without the one of `run_until_complete`.
    pub tasks: usize,
    /// Sockets and other descriptors that are registered with the reactor.
    pub sources: usize,
    /// Nodes of cancel scopes: one for each scope that is being polled, one for each pending await inside a scope, and one
    /// for each task that has any of these. It is 0 when the tasks that use scopes have ended.
    ///
    /// ```
    /// let event_loop = callsoon::EventLoop::new()?;
    /// let inside = event_loop.run_until_complete(callsoon::catch_cancelled(async {
    ///     callsoon::get_running_loop().metrics().scopes
    /// }));
    /// assert_eq!(inside.unwrap().unwrap(), 2, "the scope, and its task");
    /// assert_eq!(event_loop.metrics().scopes, 0);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub scopes: usize,
}

impl LoopHandle {
    /// Returns the current counters of the loop.
    ///
    /// ```
    /// # let event_loop = callsoon::doctest::event_loop();
    /// event_loop.run_until_complete(async { callsoon::yield_now().await }).unwrap();
    /// assert!(event_loop.metrics().turns >= 2);
    /// ```
    pub fn metrics(&self) -> Metrics {
        let state = &self.state;
        let (ready, tasks) = state.queues(|queues| (queues.ready.len(), queues.tasks.len()));
        Metrics {
            turns: state.turn_number.get(),
            event_polls: state.event_polls.count.get(),
            ready,
            timers: state.timers(|timers| timers.len()),
            tasks,
            sources: state.reactor(|reactor| reactor.len()).unwrap_or(0),
            scopes: state.tree(|tree| tree.len()),
        }
    }
}
