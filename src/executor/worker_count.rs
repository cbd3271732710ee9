//! How many threads a pool has, and what each of them is up to: the arithmetic of hiring, telling and leaving.
//!
//! ```text
//!            start                  park                 told by hire
//!   (none) ────────► at work ───────────────────► asleep ──────────────────► told
//!                     ▲  │ leave                    │ idle too long            │
//!                     │  ▼                          ▼                          │
//!                     │ (none)                   (none)                        │
//!                     └────────────────────────────────────────────────────────┘
//! ```
//! Every step is taken under the pool's lock. That no job is ever left behind is a statement about these numbers alone,
//! so the test below walks through all interleavings of a few threads and jobs, with wake-ups that come late, for nothing,
//! or to the wrong one.

/// The counts; a thread is in one of them, or at work.
#[derive(Clone, Default, PartialEq, Eq, Hash, Debug)]
pub(crate) struct WorkerCount {
    /// Threads that have been started and have not ended.
    workers: usize,
    /// Threads that sleep and have not been told.
    idle: usize,
    /// Threads that have been told and have not woken up.
    told: usize,
}

/// What a new job needs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Need {
    /// One that sleeps is to be notified: it counts as told.
    Tell,
    /// A thread is to be started.
    Start,
    /// Nothing: all are at work, and look at the queue when they are done.
    Nothing,
}

/// What a thread does that was woken, by whatever.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Unparked {
    /// It looks at the queue.
    Work,
    /// It ends.
    End,
    /// It goes on sleeping.
    Sleep,
}

impl WorkerCount {
    pub(crate) fn workers(&self) -> usize {
        self.workers
    }

    /// What is to be done for a job that was just put into the queue.
    pub(crate) fn need(&mut self, most: usize) -> Need {
        if self.idle > 0 {
            self.idle -= 1;
            self.told += 1;
            Need::Tell
        } else if self.workers < most {
            Need::Start
        } else {
            Need::Nothing
        }
    }

    /// A thread has been started.
    pub(crate) fn started(&mut self) {
        self.workers += 1;
    }

    /// A thread found nothing to do, and sleeps.
    pub(crate) fn park(&mut self) {
        self.idle += 1;
    }

    /// A thread that lay down is awake and holds the lock.
    #[must_use]
    pub(crate) fn unpark(&mut self, shut: bool, too_long: bool) -> Unparked {
        if self.told > 0 {
            // Meant for this one or for another, which then sleeps on: either comes to the job.
            self.told -= 1;
            Unparked::Work
        } else if shut {
            self.idle -= 1;
            Unparked::Work
        } else if too_long {
            self.idle -= 1;
            Unparked::End
        } else {
            Unparked::Sleep
        }
    }

    /// A thread has ended; whether it was the last one.
    pub(crate) fn ended(&mut self) -> bool {
        self.workers -= 1;
        self.workers == 0
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    /// Where a thread is, in steps between which any other may go.
    #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
    enum Thread {
        /// It is about to look at the queue.
        Looking,
        /// It runs a job, with no lock held.
        Running,
        Asleep,
        /// Its wait is over, and it is about to have the lock: by a notification or for nothing, or because it has
        /// been idle too long.
        Woken,
        TimedOut,
        /// It has ended, which it decides and says under one lock.
        Gone,
    }

    #[derive(Clone, PartialEq, Eq, Hash, Debug)]
    struct World {
        count: WorkerCount,
        threads: Vec<Thread>,
        queue: usize,
        to_come: usize,
    }

    const MOST: usize = 2;

    impl World {
        /// Every state that one step leads to; whether the step needs the passing of time or an accident.
        fn next(&self) -> Vec<(World, bool)> {
            let mut next = Vec::new();
            if self.to_come > 0 {
                self.execute(&mut next);
            }
            for at in 0..self.threads.len() {
                self.step(at, &mut next);
            }
            next
        }

        fn with(&self, at: usize, thread: Thread) -> World {
            let mut world = self.clone();
            world.threads[at] = thread;
            world
        }

        fn execute(&self, next: &mut Vec<(World, bool)>) {
            let mut world = self.clone();
            world.to_come -= 1;
            world.queue += 1;
            match world.count.need(MOST) {
                Need::Nothing => next.push((world, false)),
                Need::Start => {
                    world.count.started();
                    world.threads.push(Thread::Looking);
                    next.push((world, false));
                }
                Need::Tell => {
                    let asleep = |at: &usize| world.threads[*at] == Thread::Asleep;
                    let sleepers: Vec<_> = (0..world.threads.len()).filter(asleep).collect();
                    // One whose wait has just ended hears of nothing, and finds that it was told.
                    if sleepers.is_empty() {
                        next.push((world.clone(), false));
                    }
                    for at in sleepers {
                        next.push((world.with(at, Thread::Woken), false));
                    }
                }
            }
        }

        fn step(&self, at: usize, next: &mut Vec<(World, bool)>) {
            match self.threads[at] {
                Thread::Looking => {
                    let mut world;
                    if self.queue > 0 {
                        world = self.with(at, Thread::Running);
                        world.queue -= 1;
                    } else {
                        world = self.with(at, Thread::Asleep);
                        world.count.park();
                    }
                    next.push((world, false));
                }
                Thread::Running => next.push((self.with(at, Thread::Looking), false)),
                Thread::Asleep => {
                    next.push((self.with(at, Thread::Woken), true));
                    next.push((self.with(at, Thread::TimedOut), true));
                }
                awake @ (Thread::Woken | Thread::TimedOut) => {
                    let mut world = self.clone();
                    world.threads[at] = match world.count.unpark(false, awake == Thread::TimedOut) {
                        Unparked::Work => Thread::Looking,
                        Unparked::End => Thread::Gone,
                        Unparked::Sleep => Thread::Asleep,
                    };
                    if world.threads[at] == Thread::Gone {
                        world.count.ended();
                    }
                    next.push((world, false));
                }
                Thread::Gone => {}
            }
        }
    }

    #[test]
    fn no_job_is_left_behind_whoever_wakes_whom_and_whoever_gives_up_when() {
        let start = World {
            count: WorkerCount::default(),
            threads: Vec::new(),
            queue: 0,
            to_come: 5,
        };
        let mut seen = HashSet::from([start.clone()]);
        let mut left = vec![start];
        while let Some(world) = left.pop() {
            let living = |thread: &&Thread| **thread != Thread::Gone;
            let workers = world.threads.iter().filter(living).count();
            assert_eq!(world.count.workers, workers, "{world:?}");
            assert!(workers <= MOST, "{world:?}");
            let next = world.next();
            // Where nothing moves any more but by time or accident, nothing may be waiting.
            let at_rest = world.to_come == 0 && next.iter().all(|(_, accident)| *accident);
            assert!(!at_rest || world.queue == 0, "left behind: {world:?}");
            if at_rest {
                assert_eq!(world.count.told, 0, "{world:?}");
                assert_eq!(world.count.idle, workers, "{world:?}");
            }
            for (mut world, _) in next {
                // Which of them is which does not matter, and those that are gone not at all.
                world.threads.retain(|thread| *thread != Thread::Gone);
                world.threads.sort();
                if seen.insert(world.clone()) {
                    left.push(world);
                }
            }
        }
        assert!(seen.len() > 200, "only {} states", seen.len());
    }
}
