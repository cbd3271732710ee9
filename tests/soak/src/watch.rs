//! What a process observes about itself while it works: memory, descriptors, and how late timers are.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::{Duration, Instant};

use callsoon::{Event, Histogram, LoopMetrics, get_running_loop, sleep_until, timeout, to_thread};

use crate::counts::Figures;
use crate::system::{descriptors, resident};

/// How often memory is looked up. Descriptors are counted every second time, since there are thousands.
const EVERY: Duration = Duration::from_secs(1);
/// How long the timers are whose lateness is measured.
const TIMER: Duration = Duration::from_millis(5);

/// One look at a moment: seconds since the beginning, and what was seen.
type Sample = (f64, f64);

/// Waits, and tells whether the event has come meanwhile.
pub(crate) async fn pause(time: Duration, stopping: &Event) -> bool {
    timeout(time, stopping.wait()).await.is_ok()
}

/// The line through samples by least squares: how much it rises a second.
fn slope(samples: &[Sample]) -> f64 {
    let count = samples.len() as f64;
    let mean = |value: fn(&Sample) -> f64| samples.iter().map(value).sum::<f64>() / count;
    let (mean_x, mean_y) = (mean(|one| one.0), mean(|one| one.1));
    let (mut products, mut squares) = (0.0, 0.0);
    for (x, y) in samples {
        products += (x - mean_x) * (y - mean_y);
        squares += (x - mean_x) * (x - mean_x);
    }
    products / squares
}

/// What a process had before its work. At the end it must have no more.
#[derive(Debug)]
struct Baseline {
    resident: f64,
    descriptors: f64,
    metrics: LoopMetrics,
}

/// The observations of a process.
#[derive(Debug)]
pub(crate) struct Watch {
    baseline: Baseline,
    began: Instant,
    /// Between `begin` and `end`.
    measuring: Cell<bool>,
    resident: RefCell<Vec<Sample>>,
    descriptors: RefCell<Vec<Sample>>,
    lateness: RefCell<Histogram>,
    early: Cell<u64>,
}

impl Watch {
    /// Notes what the process has before its work.
    pub(crate) fn new() -> Self {
        Self {
            baseline: Baseline {
                resident: resident(),
                descriptors: descriptors(),
                metrics: get_running_loop().metrics(),
            },
            began: Instant::now(),
            measuring: Cell::new(false),
            // For hours, so that the samples themselves do not grow.
            resident: RefCell::new(Vec::with_capacity(16 * 1024)),
            descriptors: RefCell::new(Vec::with_capacity(16 * 1024)),
            lateness: RefCell::default(),
            early: Cell::new(0),
        }
    }

    /// All is in place: from now on nothing may grow.
    pub(crate) fn begin(&self) {
        self.measuring.set(true);
        *self.lateness.borrow_mut() = Histogram::new();
    }

    /// The work ends: what closes now is not part of the measurement.
    pub(crate) fn end(&self) {
        self.measuring.set(false);
    }

    /// Looks at memory and descriptors until the event comes.
    pub(crate) async fn observe(self: Rc<Self>, stopping: Rc<Event>) {
        for round in 0_u64.. {
            if pause(EVERY, &stopping).await {
                return;
            }
            // On a thread, since listing thousands of descriptors takes milliseconds.
            let counted = match round % 2 {
                0 => to_thread(descriptors).await.ok(),
                _ => None,
            };
            if self.measuring.get() {
                let now = self.began.elapsed().as_secs_f64();
                self.resident.borrow_mut().push((now, resident()));
                let counted = counted.map(|count| (now, count));
                self.descriptors.borrow_mut().extend(counted);
            }
        }
    }

    /// Measures how late timers are until the event comes.
    pub(crate) async fn time(self: Rc<Self>, stopping: Rc<Event>) {
        while !stopping.is_set() {
            let due = Instant::now() + TIMER;
            sleep_until(due).await;
            match Instant::now().checked_duration_since(due) {
                Some(late) => self.lateness.borrow_mut().record(late),
                None => self.early.set(self.early.get() + 1),
            }
        }
    }

    /// Adds what is known now, for a line of progress.
    pub(crate) fn put_progress(&self, figures: &mut Figures) {
        let metrics = get_running_loop().metrics();
        figures.put("rss", resident());
        figures.put("tasks", metrics.tasks as f64);
        let last = self.descriptors.borrow().last().map(|one| one.1);
        figures.put("descriptors", last.unwrap_or(f64::NAN));
        let late = self.lateness.borrow().percentile(99.0);
        figures.put("late_p99", late.as_secs_f64() * 1e6);
    }

    /// Adds everything. To be called when the process has ended all its work, since it counts what is left over.
    pub(crate) fn put_summary(&self, figures: &mut Figures) {
        for (name, samples, before) in [
            ("rss", &self.resident, self.baseline.resident),
            ("fds", &self.descriptors, self.baseline.descriptors),
        ] {
            let samples = samples.borrow();
            let half = &samples[samples.len() / 2..];
            let mut put = |what: &str, value| figures.put(&format!("{name}_{what}"), value);
            put("before", before);
            put("steady", samples.first().map_or(f64::NAN, |one| one.1));
            put("last", samples.last().map_or(f64::NAN, |one| one.1));
            put(
                "most",
                samples.iter().map(|one| one.1).fold(f64::NAN, f64::max),
            );
            put("slope", slope(half) * 60.0);
            // By how much the line rises over the second half: what a limit means the same for after any time.
            let seconds = half.last().map_or(f64::NAN, |last| last.0 - half[0].0);
            put("rise", slope(half) * seconds);
        }
        figures.put("rss_end", resident());
        figures.put("fds_end", descriptors());
        let lateness = self.lateness.borrow();
        for (name, percent) in [("p50", 50.0), ("p99", 99.0), ("p999", 99.9)] {
            let late = lateness.percentile(percent).as_secs_f64();
            figures.put(&format!("late_{name}"), late * 1e6);
        }
        figures.put("late_max", lateness.max().as_secs_f64() * 1e6);
        figures.put("timers", lateness.count() as f64);
        figures.put("early", self.early.get() as f64);
        let (now, before) = (get_running_loop().metrics(), &self.baseline.metrics);
        for (name, now, before) in [
            ("tasks_left", now.tasks, before.tasks),
            ("timers_left", now.timers, before.timers),
            ("sources_left", now.sources, before.sources),
        ] {
            figures.put(name, now as f64 - before as f64);
        }
    }
}
