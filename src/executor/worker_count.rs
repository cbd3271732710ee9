//! How many worker threads a pool has and in which state each is: the arithmetic of spawning, parking and notifying them.
//!
//! ```text
//!            1 spawned               2 park                 3 need → Notify
//!   (none) ────────────► working ───────────────► parked ───────────────────► notified
//!                          ▲  │ 6 ended             │ 5 unpark → End             │
//!                          │  ▼                     ▼ (idle for too long)        │
//!                          │ (none)               (none)                         │
//!                          └──────────────────── 4 unpark → Work ────────────────┘
//! ```
//! Every step is taken under the pool's lock. A job never stays in the queue without a worker that will take it. That
//! depends on these counts alone, so the test below visits every interleaving of a few workers and jobs. Its wake-ups may
//! be late or spurious, or wake another worker than the one that was meant.

/// The counts of workers by state. A worker that is neither parked nor notified is working.
#[derive(Clone, Default, PartialEq, Eq, Hash, Debug)]
pub(crate) struct WorkerCount {
    /// Workers that have been spawned and have not ended.
    workers: usize,
    /// Workers that are parked and have not been notified.
    parked: usize,
    /// Workers that have been notified and have not unparked yet.
    notified: usize,
}

/// What is to be done for a new job.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Need {
    /// Notify a parked worker. It counts as notified already.
    Notify,
    /// Spawn a worker.
    Spawn,
    /// Nothing: every worker is working and takes from the queue when its job is done.
    Nothing,
}

/// What a worker does whose wait has ended for any reason.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Unparked {
    /// It takes jobs from the queue.
    Work,
    /// It ends.
    End,
    /// The wake-up was spurious: it parks again.
    Park,
}

impl WorkerCount {
    pub(crate) fn workers(&self) -> usize {
        self.workers
    }

    /// Returns what is to be done for a job that was just queued.
    pub(crate) fn need(&mut self, max_workers: usize) -> Need {
        if self.parked > 0 {
            self.parked -= 1;
            self.notified += 1;
            Need::Notify
        } else if self.workers < max_workers {
            Need::Spawn
        } else {
            Need::Nothing
        }
    }

    /// Counts a worker that has been spawned.
    pub(crate) fn spawned(&mut self) {
        self.workers += 1;
    }

    /// Counts a worker that has found the queue empty and parks.
    pub(crate) fn park(&mut self) {
        self.parked += 1;
    }

    /// Decides what a parked worker does whose wait has ended. The worker holds the lock.
    #[must_use]
    pub(crate) fn unpark(&mut self, shut_down: bool, keep_alive_over: bool) -> Unparked {
        if self.notified > 0 {
            // The notification may have been meant for another worker. That one parks again, since this one takes the job.
            self.notified -= 1;
            Unparked::Work
        } else if shut_down {
            self.parked -= 1;
            Unparked::Work
        } else if keep_alive_over {
            self.parked -= 1;
            Unparked::End
        } else {
            Unparked::Park
        }
    }

    /// Counts a worker that has ended. Returns whether it was the last one.
    pub(crate) fn ended(&mut self) -> bool {
        self.workers -= 1;
        self.workers == 0
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    /// The state of a worker. Between two steps of one worker any other may take steps.
    #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
    enum Worker {
        /// It is about to take from the queue.
        Taking,
        /// It runs a job without the lock.
        Running,
        Parked,
        /// Its wait has ended, by a notification or spuriously, and it is about to take the lock.
        Woken,
        /// The same, because it was idle for too long.
        TimedOut,
        /// It has ended. It decides that and counts it while it holds the lock.
        Ended,
    }

    #[derive(Clone, PartialEq, Eq, Hash, Debug)]
    struct Model {
        count: WorkerCount,
        worker_states: Vec<Worker>,
        queue: usize,
        to_submit: usize,
    }

    const MAX_WORKERS: usize = 2;

    impl Model {
        /// Returns every state that one step leads to, and whether that step needs a timeout or a spurious wake-up.
        fn next(&self) -> Vec<(Model, bool)> {
            let mut next = Vec::new();
            if self.to_submit > 0 {
                self.execute(&mut next);
            }
            for at in 0..self.worker_states.len() {
                self.step(at, &mut next);
            }
            next
        }

        fn with(&self, at: usize, thread: Worker) -> Model {
            let mut model = self.clone();
            model.worker_states[at] = thread;
            model
        }

        fn execute(&self, next: &mut Vec<(Model, bool)>) {
            let mut model = self.clone();
            model.to_submit -= 1;
            model.queue += 1;
            match model.count.need(MAX_WORKERS) {
                Need::Nothing => next.push((model, false)),
                Need::Spawn => {
                    model.count.spawned();
                    model.worker_states.push(Worker::Taking);
                    next.push((model, false));
                }
                Need::Notify => {
                    let is_parked = |at: &usize| model.worker_states[*at] == Worker::Parked;
                    let parked: Vec<_> = (0..model.worker_states.len()).filter(is_parked).collect();
                    // A worker whose wait has just ended receives no wake-up. It finds the notification in the counts.
                    if parked.is_empty() {
                        next.push((model.clone(), false));
                    }
                    for at in parked {
                        next.push((model.with(at, Worker::Woken), false));
                    }
                }
            }
        }

        fn step(&self, at: usize, next: &mut Vec<(Model, bool)>) {
            match self.worker_states[at] {
                Worker::Taking => {
                    let mut model;
                    if self.queue > 0 {
                        model = self.with(at, Worker::Running);
                        model.queue -= 1;
                    } else {
                        model = self.with(at, Worker::Parked);
                        model.count.park();
                    }
                    next.push((model, false));
                }
                Worker::Running => next.push((self.with(at, Worker::Taking), false)),
                Worker::Parked => {
                    next.push((self.with(at, Worker::Woken), true));
                    next.push((self.with(at, Worker::TimedOut), true));
                }
                awake @ (Worker::Woken | Worker::TimedOut) => {
                    let mut model = self.clone();
                    model.worker_states[at] =
                        match model.count.unpark(false, awake == Worker::TimedOut) {
                            Unparked::Work => Worker::Taking,
                            Unparked::End => Worker::Ended,
                            Unparked::Park => Worker::Parked,
                        };
                    if model.worker_states[at] == Worker::Ended {
                        model.count.ended();
                    }
                    next.push((model, false));
                }
                Worker::Ended => {}
            }
        }
    }

    #[test]
    fn every_job_is_taken_whichever_worker_wakes_and_whenever_one_times_out() {
        let start = Model {
            count: WorkerCount::default(),
            worker_states: Vec::new(),
            queue: 0,
            to_submit: 5,
        };
        let mut seen = HashSet::from([start.clone()]);
        let mut left = vec![start];
        while let Some(model) = left.pop() {
            let living = |thread: &&Worker| **thread != Worker::Ended;
            let workers = model.worker_states.iter().filter(living).count();
            assert_eq!(model.count.workers, workers, "{model:?}");
            assert!(workers <= MAX_WORKERS, "{model:?}");
            let next = model.next();
            // If only a timeout or a spurious wake-up could change the state, the queue must be empty.
            let idle = model.to_submit == 0 && next.iter().all(|(_, needs_wake_up)| *needs_wake_up);
            assert!(
                !idle || model.queue == 0,
                "a job is left in the queue: {model:?}"
            );
            if idle {
                assert_eq!(model.count.notified, 0, "{model:?}");
                assert_eq!(model.count.parked, workers, "{model:?}");
            }
            for (mut model, _) in next {
                // States that differ only in the order of the workers are the same. Ended workers are removed.
                model
                    .worker_states
                    .retain(|thread| *thread != Worker::Ended);
                model.worker_states.sort();
                if seen.insert(model.clone()) {
                    left.push(model);
                }
            }
        }
        assert!(seen.len() > 200, "only {} states", seen.len());
    }
}
