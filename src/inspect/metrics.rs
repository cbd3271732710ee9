//! `LoopMetrics`: counts of what a loop holds and has done.
//!
//! No operation counts for them. The numbers of the ready queue's entries, of tasks and of timers say what has passed
//! through it; what has no number is counted a batch at a time, or is rare.

use crate::inspect::latencies::Latencies;
use crate::kernel::loop_handle::LoopHandle;

/// The counters of a loop at one moment. Returned by [`LoopHandle::metrics`].
///
/// What was done is counted from the loop's creation; [`since`](Self::since) gives it for a while. What is there is as it
/// was at the moment, and at most.
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
pub struct LoopMetrics {
    /// How many turns the loop has run.
    pub turns: u64,
    /// How often the loop has polled the system for events.
    pub event_polls: u64,
    /// Callbacks of `call_soon` that were called, with those that the loop queues in the same way: done callbacks and
    /// signal handlers. Those of timers, descriptors and other threads are not among them.
    pub callbacks: u64,
    /// Steps of tasks, with those of the future of `run_until_complete`.
    pub task_steps: u64,
    /// Wake-ups that queued a task. A task that is queued already is not queued again, and a new one was not woken.
    pub wakes: u64,
    /// Callbacks that other threads have posted and the loop has received, also those that were cancelled then.
    pub posts: u64,
    /// Timers that have become due: of callbacks, and of sleeps and timeouts.
    pub timers_fired: u64,
    /// Tasks that were created, with those of `run_until_complete`.
    pub tasks_created: u64,
    /// Sockets and other descriptors that were registered with the reactor.
    pub sources_registered: u64,
    /// Entries in the ready queue, including cancelled ones.
    pub ready: usize,
    /// The most entries that the ready queue had: exact from as many on as may run without polling for events, which
    /// [`Builder::event_interval`](crate::Builder::event_interval) sets; below that, what polls for events have found.
    pub ready_max: usize,
    /// Timers whose callback has not run yet, including those that never fire.
    pub timers: usize,
    /// The most timers that there were at once.
    pub timers_max: usize,
    /// Unfinished tasks, without the one of `run_until_complete`.
    pub tasks: usize,
    /// The most tasks that there were at once.
    pub tasks_max: usize,
    /// Sockets and other descriptors that are registered with the reactor; 0 after the loop has closed.
    pub sources: usize,
    /// The most sources that there were at once; 0 after the loop has closed.
    pub sources_max: usize,
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

impl LoopMetrics {
    /// Returns what was done after `earlier`, which is of the same loop. What is there, and was at most, is as in `self`.
    ///
    /// ```
    /// let event_loop = callsoon::EventLoop::new()?;
    /// event_loop.run_until_complete(async {}).unwrap();
    /// let earlier = event_loop.metrics();
    /// event_loop.run_until_complete(async { callsoon::yield_now().await }).unwrap();
    /// assert_eq!(event_loop.metrics().since(&earlier).task_steps, 2);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let done = |count: fn(&Self) -> u64| count(self).saturating_sub(count(earlier));
        Self {
            turns: done(|it| it.turns),
            event_polls: done(|it| it.event_polls),
            callbacks: done(|it| it.callbacks),
            task_steps: done(|it| it.task_steps),
            wakes: done(|it| it.wakes),
            posts: done(|it| it.posts),
            timers_fired: done(|it| it.timers_fired),
            tasks_created: done(|it| it.tasks_created),
            sources_registered: done(|it| it.sources_registered),
            ..*self
        }
    }
}

impl LoopHandle {
    /// Returns the current counters of the loop. It takes a nanosecond for each entry in the ready queue, and no more
    /// than a callback otherwise.
    ///
    /// ```
    /// # let event_loop = callsoon::doctest::event_loop();
    /// event_loop.run_until_complete(async { callsoon::yield_now().await }).unwrap();
    /// assert!(event_loop.metrics().turns >= 2);
    /// ```
    pub fn metrics(&self) -> LoopMetrics {
        let state = &self.state;
        let counts = &state.counts;
        let (timers, timers_max) = state.timers(|timers| (timers.len(), timers.most()));
        let ((sources_registered, sources_max), sources) = state
            .reactor(|reactor| (reactor.counts(), reactor.len()))
            .unwrap_or_default();
        state.queues(|queues| {
            let tasks_created = queues.tasks.newest() - state.settings.counts;
            let (ready, tasks) = (&mut queues.ready, &queues.tasks);
            let done = ready.done();
            LoopMetrics {
                turns: state.turn_number.get(),
                event_polls: state.event_polls.count.get(),
                callbacks: done.calls,
                task_steps: done.steps + counts.root_steps.get() + counts.eager_steps.get(),
                // Each task was queued once as new.
                wakes: (done.queued_tasks + counts.root_queued.get() + tasks.unqueued())
                    .saturating_sub(tasks_created),
                posts: counts.posts.get(),
                timers_fired: counts.timers.get(),
                tasks_created,
                sources_registered,
                ready: ready.len(),
                ready_max: counts.most_ready.get().max(ready.len()),
                timers,
                timers_max,
                tasks: tasks.len(),
                tasks_max: tasks.most(),
                sources,
                sources_max,
                scopes: state.tree(|tree| tree.len()),
            }
        })
    }

    /// Returns the distributions of the loop's times; `None` without [`Builder::metrics`](crate::Builder::metrics).
    ///
    /// ```
    /// assert_eq!(callsoon::EventLoop::new()?.latencies(), None);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn latencies(&self) -> Option<Latencies> {
        let meters = self.state.meters.as_ref()?;
        Some(meters.latencies())
    }
}
