//! `Latencies`: how long a loop's calls and steps take, how long they wait for their turn, and how long the loop sleeps.
//!
//! The loop records them with [`Builder::metrics`](crate::Builder::metrics), in `kernel/meters`.

use crate::inspect::histogram::Histogram;

/// Sorts of user code, which [`Latencies`] tells apart.
///
/// ```
/// assert_eq!(callsoon::CallKind::Step.name(), "step");
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum CallKind {
    /// A callback of `call_soon`, or a done callback.
    Callback,
    /// A callback of `call_later` or `call_at`.
    Timer,
    /// A callback that another thread has posted.
    Posted,
    /// A callback of a descriptor: `add_reader` and `add_writer`.
    Descriptor,
    /// A signal handler.
    Signal,
    /// The acceptance of clients of a server.
    Listener,
    /// A method of a protocol.
    Protocol,
    /// A step of a task.
    Step,
}

impl CallKind {
    /// All kinds.
    ///
    /// ```
    /// assert!(callsoon::CallKind::ALL.contains(&callsoon::CallKind::Timer));
    /// ```
    pub const ALL: &'static [Self] = &[
        Self::Callback,
        Self::Timer,
        Self::Posted,
        Self::Descriptor,
        Self::Signal,
        Self::Listener,
        Self::Protocol,
        Self::Step,
    ];

    /// Returns the name in lower case, as a label of a time series has it.
    ///
    /// ```
    /// assert_eq!(callsoon::CallKind::Descriptor.name(), "descriptor");
    /// ```
    pub fn name(self) -> &'static str {
        match self {
            Self::Callback => "callback",
            Self::Timer => "timer",
            Self::Posted => "posted",
            Self::Descriptor => "descriptor",
            Self::Signal => "signal",
            Self::Listener => "listener",
            Self::Protocol => "protocol",
            Self::Step => "step",
        }
    }
}

/// Distributions of the times of one loop. Returned by [`LoopHandle::latencies`](crate::LoopHandle::latencies).
///
/// Spans are of the real clock, also on a loop whose own clock is virtual.
///
/// ```
/// use callsoon::{CallKind, EventLoop};
/// let event_loop = EventLoop::builder().metrics(true).build()?;
/// event_loop.run_until_complete(async { callsoon::yield_now().await }).unwrap();
/// let latencies = event_loop.latencies().unwrap();
/// assert_eq!(latencies.run_time(CallKind::Step).count(), 2);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Latencies {
    run_times: [Histogram; 8],
    queue_delays: [Histogram; 8],
    polls: Histogram,
    busy: Histogram,
}

impl Latencies {
    /// Returns how long calls of this kind took. A protocol's method and a listener are called inside other work of the
    /// loop, which is not part of their time. An eager task's first step is part of the time of its creator too.
    ///
    /// ```
    /// use callsoon::{CallKind, EventLoop};
    /// let event_loop = EventLoop::builder().metrics(true).build()?;
    /// event_loop.call_soon(|| std::thread::sleep(std::time::Duration::from_millis(2)));
    /// event_loop.run_until_complete(callsoon::yield_now()).unwrap();
    /// let latencies = event_loop.latencies().unwrap();
    /// assert!(latencies.run_time(CallKind::Callback).max().as_millis() >= 2);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn run_time(&self, kind: CallKind) -> &Histogram {
        &self.run_times[kind as usize]
    }

    /// Returns how long calls of this kind waited in the ready queue: from the beginning of the call or step that queued
    /// them, or the end of the poll for events that did, or the beginning of the run, until they ran. So it is too long
    /// by at most the time of that call. Of several callbacks that other threads have posted one after the other the
    /// first one counts, and of the calls for one event too.
    ///
    /// ```
    /// use callsoon::{CallKind, EventLoop};
    /// let event_loop = EventLoop::builder().metrics(true).build()?;
    /// event_loop.call_soon(|| std::thread::sleep(std::time::Duration::from_millis(2)));
    /// event_loop.create_task(async {}).detach();
    /// event_loop.run_until_complete(async {}).unwrap();
    /// let latencies = event_loop.latencies().unwrap();
    /// assert!(latencies.queue_delay(CallKind::Step).percentile(100.0).as_millis() >= 2);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn queue_delay(&self, kind: CallKind) -> &Histogram {
        &self.queue_delays[kind as usize]
    }

    /// Returns how long polls for events took. When nothing is ready, that is how long the loop slept.
    ///
    /// ```
    /// use callsoon::EventLoop;
    /// let event_loop = EventLoop::builder().metrics(true).build()?;
    /// event_loop.run_until_complete(callsoon::sleep(std::time::Duration::from_millis(20))).unwrap();
    /// assert!(event_loop.latencies().unwrap().polls().max().as_millis() >= 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn polls(&self) -> &Histogram {
        &self.polls
    }

    /// Returns how long the loop was busy between two polls for events, or between one and the end of the run: for so
    /// long it heard of no socket and no timer. While work is ready the loop does not poll in every turn, so this is the
    /// time of one turn, or of several short ones.
    ///
    /// ```
    /// use callsoon::EventLoop;
    /// let event_loop = EventLoop::builder().metrics(true).build()?;
    /// event_loop.call_soon(|| std::thread::sleep(std::time::Duration::from_millis(2)));
    /// event_loop.run_until_complete(async {}).unwrap();
    /// assert!(event_loop.latencies().unwrap().busy().max().as_millis() >= 2);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn busy(&self) -> &Histogram {
        &self.busy
    }

    /// Returns what was recorded after `earlier`, which is a snapshot of the same loop.
    ///
    /// ```
    /// use callsoon::{CallKind, EventLoop};
    /// let event_loop = EventLoop::builder().metrics(true).build()?;
    /// let earlier = event_loop.latencies().unwrap();
    /// event_loop.run_until_complete(async {}).unwrap();
    /// let newer = event_loop.latencies().unwrap().since(&earlier);
    /// assert_eq!(newer.run_time(CallKind::Step).count(), 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let each = |now: &[Histogram; 8], before: &[Histogram; 8]| {
            std::array::from_fn(|kind| now[kind].since(&before[kind]))
        };
        Self {
            run_times: each(&self.run_times, &earlier.run_times),
            queue_delays: each(&self.queue_delays, &earlier.queue_delays),
            polls: self.polls.since(&earlier.polls),
            busy: self.busy.since(&earlier.busy),
        }
    }
}

// What `kernel/meters` records, in nanoseconds.
impl Latencies {
    #[inline]
    pub(crate) fn record_run(&mut self, kind: CallKind, nanos: u64) {
        self.run_times[kind as usize].record_nanos(nanos);
    }

    #[inline]
    pub(crate) fn record_delay(&mut self, kind: CallKind, nanos: u64) {
        self.queue_delays[kind as usize].record_nanos(nanos);
    }

    pub(crate) fn record_poll(&mut self, nanos: u64) {
        self.polls.record_nanos(nanos);
    }

    pub(crate) fn record_busy(&mut self, nanos: u64) {
        self.busy.record_nanos(nanos);
    }
}
