//! Threads that look names up, a few for each loop, and the wait for what they find.
//!
//! A look-up blocks in the system for as long as some server takes, and cannot be interrupted. So it has threads of its
//! own, few, that nothing else waits for: a resolver that hangs delays other look-ups and nothing more. They come when
//! needed and go when idle, or when the loop closes; one that is stuck ends by itself, with nobody waiting for it.
//! Who gives up is free at once: a job that has not begun is taken back, the result of one that has is dropped.

use std::collections::VecDeque;
use std::future::Future;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::Duration;

use crate::error::Panicked;
use crate::kernel::foreign::{report_panic, shielded};
use crate::kernel::inhibit::Inhibitor;
use crate::kernel::local::LoopLocal;
use crate::kernel::loop_state::LoopHandle;
use crate::sys::fork;

/// The most threads of a loop. Several, so that one dead name server does not hold up all others; few, since the system's
/// resolver asks one server at a time anyway.
const MOST_THREADS: usize = 4;

/// How long a thread waits for another job. Starting one costs less than any look-up.
const IDLE: Duration = Duration::from_secs(2);

/// One loop's threads.
static RESOLVER: LoopLocal<Resolver> = LoopLocal::new(Resolver::new);

struct Resolver {
    shared: Arc<Shared>,
    /// The fork generation of the process whose threads these are.
    forks: u32,
}

impl Resolver {
    fn new() -> Self {
        Self {
            shared: Arc::new(Shared {
                line: Mutex::new(Line {
                    jobs: VecDeque::new(),
                    next: 0,
                    threads: 0,
                    idle: 0,
                    closed: false,
                }),
                bell: Condvar::new(),
            }),
            forks: fork::generation(),
        }
    }
}

impl Drop for Resolver {
    fn drop(&mut self) {
        if self.forks != fork::generation() {
            // A forked child's copy of the lock may be held for ever by a thread that is not there.
            return;
        }
        let left = {
            let mut line = held(&self.shared.line);
            line.closed = true;
            std::mem::take(&mut line.jobs)
        };
        self.shared.bell.notify_all();
        drop(left);
    }
}

/// A poisoned lock is as good as another: nothing that can panic runs with one held.
fn held<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

type Job = Box<dyn FnOnce() + Send>;

struct Shared {
    line: Mutex<Line>,
    /// Rung for each job that an idle thread is to take, and at the end.
    bell: Condvar,
}

struct Line {
    /// With their numbers, in order.
    jobs: VecDeque<(u64, Job)>,
    /// The number of the next job.
    next: u64,
    threads: usize,
    /// Threads that wait for the bell.
    idle: usize,
    closed: bool,
}

impl Shared {
    /// Puts a job in line, and sees to it that there is a thread that comes to it.
    fn submit(self: &Arc<Self>, job: Job) -> io::Result<u64> {
        let mut line = held(&self.line);
        let number = line.next;
        line.next += 1;
        line.jobs.push_back((number, job));
        if line.jobs.len() <= line.idle {
            drop(line);
            self.bell.notify_one();
            return Ok(number);
        }
        if line.threads == MOST_THREADS {
            return Ok(number);
        }
        let shared = Arc::clone(self);
        // Under the lock, so that the count is never ahead of the threads.
        let started = thread::Builder::new()
            .name("callsoon-dns".to_owned())
            .spawn(move || shared.work());
        match started {
            Ok(_detached) => line.threads += 1,
            // Those who are there come to it.
            Err(_) if line.threads > 0 => {}
            Err(error) => {
                let refused = line.jobs.pop_back();
                drop(line);
                drop(refused);
                return Err(error);
            }
        }
        Ok(number)
    }

    /// Takes back a job that has not begun.
    fn withdraw(&self, number: u64) {
        let job = {
            let mut line = held(&self.line);
            let position = line
                .jobs
                .binary_search_by_key(&number, |(number, _)| *number);
            position
                .ok()
                .and_then(|position| line.jobs.remove(position))
        };
        drop(job);
    }

    /// A thread's life.
    fn work(&self) {
        let mut line = held(&self.line);
        loop {
            if let Some((_, job)) = line.jobs.pop_front() {
                drop(line);
                job();
                line = held(&self.line);
                continue;
            }
            if line.closed {
                break;
            }
            line.idle += 1;
            let waited = self.bell.wait_timeout(line, IDLE);
            let (again, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
            line = again;
            line.idle -= 1;
            if timeout.timed_out() && line.jobs.is_empty() {
                break;
            }
        }
        line.threads -= 1;
    }
}

/// What the thread and the one who waits share.
struct Answer<R> {
    result: Option<io::Result<R>>,
    waker: Option<Waker>,
    /// Holds a virtual clock until the answer is there, or nobody wants it any more.
    inhibitor: Option<Inhibitor>,
}

/// The wait for a look-up. Dropping it gives up.
#[must_use]
pub(crate) struct Lookup<R> {
    answer: Arc<Mutex<Answer<R>>>,
    shared: Arc<Shared>,
    number: u64,
}

/// Has `question` asked on a thread.
pub(crate) fn ask<R: Send + 'static>(
    handle: &LoopHandle,
    question: impl FnOnce() -> io::Result<R> + Send + 'static,
) -> io::Result<Lookup<R>> {
    let shared = RESOLVER.with(handle, |resolver| Arc::clone(&resolver.shared));
    let answer = Arc::new(Mutex::new(Answer {
        result: None,
        waker: None,
        inhibitor: handle.state.inhibit(),
    }));
    let told = Arc::clone(&answer);
    let job = move || {
        let result = catch_unwind(AssertUnwindSafe(question)).unwrap_or_else(|payload| {
            report_panic("Exception in a resolver", Panicked::new(payload));
            Err(io::Error::other("the resolver panicked"))
        });
        let (waker, inhibitor) = {
            let mut answer = held(&told);
            answer.result = Some(result);
            (answer.waker.take(), answer.inhibitor.take())
        };
        if let Some(waker) = waker {
            shielded("Exception in a waker", || waker.wake());
        }
        // Last: who sees the clock free sees the answer too.
        drop(inhibitor);
    };
    let number = shared.submit(Box::new(job))?;
    Ok(Lookup {
        answer,
        shared,
        number,
    })
}

impl<R> Future for Lookup<R> {
    type Output = io::Result<R>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<R>> {
        // Cloned before and dropped after the lock is held: a foreign waker may do anything.
        let waker = context.waker().clone();
        let (result, former) = {
            let mut answer = held(&self.answer);
            match answer.result.take() {
                Some(result) => (Some(result), None),
                None => (None, answer.waker.replace(waker)),
            }
        };
        drop(former);
        result.map_or(Poll::Pending, Poll::Ready)
    }
}

impl<R> Drop for Lookup<R> {
    fn drop(&mut self) {
        let taken = {
            let mut answer = held(&self.answer);
            (answer.waker.take(), answer.inhibitor.take())
        };
        drop(taken);
        self.shared.withdraw(self.number);
    }
}
