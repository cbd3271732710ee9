//! Counts of what a loop holds and has done.

use crate::kernel::loop_handle::LoopHandle;

/// A loop's counters at one moment.
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
    /// Turns so far.
    pub turns: u64,
    /// Times that the system was asked for events.
    pub looks: u64,
    /// Entries in the ready queue, cancelled ones among them.
    pub ready: usize,
    /// Timers that have not fired, or have and wait for their turn; those that never fire among them.
    pub timers: usize,
    /// Unfinished tasks, that of `run_until_complete` not counted.
    pub tasks: usize,
    /// Sockets and other descriptors that the loop watches.
    pub sources: usize,
    /// Cancel scopes that are being polled, awaits inside them, and one for each task that has any: none once the tasks
    /// that use them have ended.
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
    /// The loop's counters now.
    ///
    /// ```
    /// # let event_loop = callsoon::EventLoop::new()?;
    /// event_loop.run_until_complete(async { callsoon::yield_now().await }).unwrap();
    /// assert!(event_loop.metrics().turns >= 2);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn metrics(&self) -> Metrics {
        let state = &self.state;
        let (ready, tasks) = state.queues(|queues| (queues.ready.len(), queues.tasks.len()));
        Metrics {
            turns: state.turn_number.get(),
            looks: state.event_polls.count.get(),
            ready,
            timers: state.timers(|timers| timers.len()),
            tasks,
            sources: state.reactor(|reactor| reactor.len()).unwrap_or(0),
            scopes: state.tree(|tree| tree.len()),
        }
    }
}
