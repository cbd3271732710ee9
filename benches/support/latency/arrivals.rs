//! When requests are meant to happen, and how long each took.
//!
//! The schedule is made before the first request and does not change: a request that its loop is too busy to make, or to
//! notice, is made late, and its latency still counts from the time at which it was meant to happen. So a loop that is
//! blocked for 1 ms delays each request of that millisecond, as it would delay each user's, and not only the one that
//! happened to be under way. The time from the call itself is kept too.

use std::cell::RefCell;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::super::gate::Gate;
use super::super::random::Random;

/// The mean time between two requests. Each gap is between a half and one and a half of it, so that no request stays in
/// step with a timer's tick or with a load.
pub(crate) const MEAN_GAP: Duration = Duration::from_micros(100);

/// How long before the first request the schedule is made: enough to register a timer for each.
const AHEAD: Duration = Duration::from_millis(15);

/// One request of how many is there to warm up, and not counted.
const WARM_UP: usize = 10;

/// A schedule.
#[derive(Clone)]
pub(crate) struct Arrivals {
    start: Instant,
    /// Nanoseconds from `start`, rising.
    offsets: Arc<[u64]>,
}

impl Arrivals {
    /// A schedule of this length that begins soon. Every run and every runtime gets the same gaps.
    pub(crate) fn new(length: Duration) -> Self {
        let gap = MEAN_GAP.as_nanos() as u64;
        let mut random = Random::new(1);
        let mut at = 0;
        let mut offsets = Vec::new();
        while at < length.as_nanos() as u64 {
            offsets.push(at);
            at += gap / 2 + random.below(gap);
        }
        Self {
            start: Instant::now() + AHEAD,
            offsets: offsets.into(),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.offsets.len()
    }

    /// How many requests at the beginning are not counted.
    fn warm_up(&self) -> usize {
        self.len() / WARM_UP
    }

    /// When this request is meant to happen.
    pub(crate) fn at(&self, index: usize) -> Instant {
        self.start + Duration::from_nanos(self.offsets[index])
    }

    /// Whether this request exists and is due by now.
    pub(crate) fn is_due(&self, index: usize, now: Instant) -> bool {
        index < self.len() && self.at(index) <= now
    }
}

/// Nanoseconds that each request took, in the order in which they ran.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Samples {
    /// From the time at which it was meant to happen.
    pub(crate) intended: Vec<u64>,
    /// From the call.
    pub(crate) called: Vec<u64>,
}

impl Samples {
    /// The samples as a child prints them: two lines, each with its name.
    pub(crate) fn to_lines(&self) -> String {
        let line = |name: &str, nanos: &[u64]| {
            let numbers: Vec<_> = nanos.iter().map(u64::to_string).collect();
            format!("{name} {}\n", numbers.join(" "))
        };
        line("intended", &self.intended) + &line("called", &self.called)
    }
}

/// What is known of a run's requests.
struct Run {
    arrivals: Arrivals,
    ran: usize,
    samples: Samples,
    done: Gate,
}

thread_local! {
    /// The run of this thread's loop. A thread's own, since a posted closure has to be `Send` and cannot hold it.
    static RUN: RefCell<Option<Run>> = const { RefCell::new(None) };
}

/// Begins a run on this thread; the gate opens when each request has run.
pub(crate) fn begin(arrivals: &Arrivals) -> Gate {
    let done = Gate::default();
    RUN.set(Some(Run {
        arrivals: arrivals.clone(),
        ran: 0,
        samples: Samples {
            intended: Vec::with_capacity(arrivals.len()),
            called: Vec::with_capacity(arrivals.len()),
        },
        done: done.clone(),
    }));
    done
}

/// Request `index`, made at `called`, runs now.
pub(crate) fn ran(index: usize, called: Instant) {
    let now = Instant::now();
    let done = RUN.with_borrow_mut(|run| {
        let run = run.as_mut()?;
        if index >= run.arrivals.warm_up() {
            let since = |then| now.saturating_duration_since(then).as_nanos() as u64;
            run.samples.intended.push(since(run.arrivals.at(index)));
            run.samples.called.push(since(called));
        }
        run.ran += 1;
        (run.ran == run.arrivals.len()).then(|| run.done.clone())
    });
    // Opening it calls a waker, with nothing borrowed.
    if let Some(done) = done {
        done.open();
    }
}

/// Ends this thread's run.
pub(crate) fn end() -> Samples {
    RUN.take().map_or(Samples::default(), |run| run.samples)
}
