//! The paths that are measured: from a request to the moment at which its code runs.
//!
//! Three of them begin on the loop's own thread: `call_soon`, `wake` and `spawn`. Only code that the loop runs can make
//! such a request, so a task that yields in each turn makes those that are due: the time until that task gets its turn
//! is in the latency from the intended time, and not in that from the call. It is the same task for each runtime, and
//! it keeps the loop from sleeping, also where there is no other load.

use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::io::{ErrorKind, Write};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

use super::arrivals::{self, Arrivals, Samples, ran};
use super::loads::Load;
use super::outside::{Outside, Request, connected};
use super::runtime::Runtime;

/// From where to where.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Path {
    /// `call_soon` until the callback runs.
    CallSoon,
    /// A wake until the task is polled.
    Wake,
    /// A post on another thread until it runs.
    Post,
    /// A timer's deadline until its callback runs.
    Timer,
    /// A byte written by another thread until it has been read.
    Socket,
    /// `spawn` until the first poll.
    Spawn,
}

/// How often a task lets the others run before the schedule is made, so that the load has begun.
const SETTLE: usize = 3;

/// Measures one path under one load for so long.
pub(crate) async fn measure<R: Runtime>(
    on: R,
    path: Path,
    load: Load,
    length: Duration,
) -> Result<Samples, String> {
    let connections = load.start(&on)?;
    for _ in 0..SETTLE {
        R::yield_now().await;
    }
    let arrivals = Arrivals::new(length);
    let done = arrivals::begin(&arrivals);
    let request = match path {
        Path::Post => Some(posts(&on)?),
        Path::Socket => Some(bytes(&on, &arrivals)?),
        _ => None,
    };
    let needed = request.is_some() || !connections.is_empty();
    let outside = needed.then(|| Outside::start(arrivals.clone(), request, connections));
    match path {
        Path::Timer => {
            for index in 0..arrivals.len() {
                let deadline = arrivals.at(index);
                on.call_at(deadline, move || ran(index, deadline));
            }
        }
        Path::CallSoon => {
            let via = on.clone();
            on.detach(drive::<R>(arrivals, move |index| {
                let called = Instant::now();
                via.call_soon(move || ran(index, called));
            }));
        }
        Path::Spawn => {
            let via = on.clone();
            on.detach(drive::<R>(arrivals, move |index| {
                let called = Instant::now();
                via.detach(async move { ran(index, called) });
            }));
        }
        Path::Wake => {
            let waiting = Rc::new(RefCell::new(Waiting::default()));
            on.detach(woken(Rc::clone(&waiting)));
            on.detach(drive::<R>(arrivals, move |index| wake(&waiting, index)));
        }
        Path::Post | Path::Socket => {}
    }
    done.pass().await;
    if let Some(outside) = outside {
        outside.stop();
    }
    Ok(arrivals::end())
}

/// Makes the requests that are due, once a turn.
async fn drive<R: Runtime>(arrivals: Arrivals, mut request: impl FnMut(usize) + 'static) {
    let mut next = 0;
    while next < arrivals.len() {
        while arrivals.is_due(next, Instant::now()) {
            request(next);
            next += 1;
        }
        R::yield_now().await;
    }
}

/// A task that waits, and the requests for which it was woken.
#[derive(Default)]
struct Waiting {
    requests: Vec<(usize, Instant)>,
    waker: Option<Waker>,
}

/// Wakes the task. It stays woken until it is polled, so requests that come before are served by the same poll.
fn wake(waiting: &RefCell<Waiting>, index: usize) {
    let waker = {
        let mut waiting = waiting.borrow_mut();
        waiting.requests.push((index, Instant::now()));
        waiting.waker.take()
    };
    if let Some(waker) = waker {
        waker.wake();
    }
}

/// The task that is woken; it never ends.
fn woken(waiting: Rc<RefCell<Waiting>>) -> impl Future<Output = ()> {
    poll_fn(move |context| {
        let requests = {
            let mut waiting = waiting.borrow_mut();
            waiting.waker = Some(context.waker().clone());
            std::mem::take(&mut waiting.requests)
        };
        for (index, called) in requests {
            ran(index, called);
        }
        Poll::Pending
    })
}

/// Requests by another thread's posts.
fn posts<R: Runtime>(on: &R) -> Result<Request, String> {
    let remote = on.remote().ok_or("no way in from another thread")?;
    Ok(Box::new(move |index| {
        let called = Instant::now();
        R::post(&remote, move || ran(index, called));
    }))
}

/// Requests by another thread's bytes. The n-th byte is request n.
fn bytes<R: Runtime>(on: &R, arrivals: &Arrivals) -> Result<Request, String> {
    let (mut ours, theirs) = connected().map_err(|error| error.to_string())?;
    let began = Instant::now();
    let calls: Arc<[AtomicU64]> = (0..arrivals.len()).map(|_| AtomicU64::new(0)).collect();
    let called = Arc::clone(&calls);
    let mut read = 0;
    on.read_each(theirs, move |count| {
        for index in read..read + count {
            let after = Duration::from_nanos(called[index].load(Relaxed));
            ran(index, began + after);
        }
        read += count;
    })
    .map_err(|error| error.to_string())?;
    Ok(Box::new(move |index| {
        calls[index].store(began.elapsed().as_nanos() as u64, Relaxed);
        // A full socket means that the loop is thousands of requests behind: this one waits for it.
        while let Err(error) = ours.write_all(&[0]) {
            assert_eq!(error.kind(), ErrorKind::WouldBlock, "the loop's end closed");
        }
    }))
}
