//! Posts from threads, and threads that take them back. A post runs once and in the order of its thread, or was cancelled,
//! or was dropped when the loop closed; and what it holds is dropped once.
#![no_main]

use std::collections::HashSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use arbitrary::Arbitrary;
use callsoon::{EventLoop, HandleId, RemoteHandle, ThreadFuture, ThreadsafeHandle};
use libfuzzer_sys::fuzz_target;

#[derive(Arbitrary, Debug)]
struct Input {
    /// After how many turns the loop closes, while threads still post. Without a number it waits for them.
    closes_after: Option<u8>,
    timers: u8,
    threads: [Vec<Step>; 2],
}

#[derive(Arbitrary, Clone, Debug)]
enum Step {
    Post,
    /// Posts a callback that posts another one.
    PostTwice,
    Cancel(u8),
    CancelTimer(u8),
    CancelId([u64; 3]),
    Coroutine(u8),
    CancelCoroutine(u8),
    DropCoroutine(u8),
    DropHandle(u8),
    Yield,
}

#[derive(Default)]
struct Shared {
    /// The thread and the number of each post that ran.
    ran: Mutex<Vec<(usize, usize)>>,
    ended: AtomicUsize,
    alive: AtomicUsize,
}

/// Held by everything that is posted.
struct Alive(Arc<Shared>);

impl Alive {
    fn new(shared: &Arc<Shared>) -> Self {
        shared.alive.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(shared))
    }
}

impl Drop for Alive {
    fn drop(&mut self) {
        self.0.alive.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What one thread has done.
#[derive(Default)]
struct Done {
    posted: Vec<usize>,
    cancelled: HashSet<usize>,
    timers_cancelled: HashSet<usize>,
    refused: bool,
}

struct Poster {
    thread: usize,
    remote: RemoteHandle,
    shared: Arc<Shared>,
    ids: Vec<HandleId>,
    handles: Vec<(usize, ThreadsafeHandle)>,
    coroutines: Vec<ThreadFuture<usize>>,
    done: Done,
}

fn picked<T>(list: &[T], which: u8) -> Option<usize> {
    usize::from(which).checked_rem(list.len())
}

impl Poster {
    fn post(&mut self, number: usize, twice: bool) {
        let alive = Alive::new(&self.shared);
        let (thread, remote) = (self.thread, self.remote.clone());
        let posted = self.remote.call_soon_threadsafe(move || {
            alive.0.ran.lock().unwrap().push((thread, number));
            if twice {
                let _ = remote.call_soon_threadsafe(move || drop(alive));
            }
        });
        match posted {
            Ok(handle) => {
                self.done.posted.push(number);
                self.handles.push((number, handle));
            }
            Err(_) => self.done.refused = true,
        }
    }

    fn begin(&mut self, yields: u8) {
        let alive = Alive::new(&self.shared);
        let begun = self.remote.run_coroutine_threadsafe(move || async move {
            for _ in 0..yields % 8 {
                callsoon::yield_now().await;
            }
            drop(alive);
            7
        });
        match begun {
            Ok(future) => {
                let shared = Arc::clone(&self.shared);
                future.add_done_callback(move |future| {
                    assert!(future.done());
                    shared.ended.fetch_add(1, Ordering::Relaxed);
                });
                self.coroutines.push(future);
            }
            Err(_) => self.done.refused = true,
        }
    }

    fn take(&mut self, number: usize, step: &Step) {
        match *step {
            Step::Post => self.post(number, false),
            Step::PostTwice => self.post(number, true),
            Step::Cancel(which) => {
                if let Some(index) = picked(&self.handles, which) {
                    let (number, handle) = &self.handles[index];
                    if handle.cancel() {
                        assert!(handle.cancelled());
                        assert!(self.done.cancelled.insert(*number), "cancelled twice");
                    }
                }
            }
            Step::CancelTimer(which) => {
                if let Some(index) = picked(&self.ids, which) {
                    if self.remote.cancel_by_id(self.ids[index]).is_ok() {
                        self.done.timers_cancelled.insert(index);
                    }
                }
            }
            Step::CancelId(numbers) => {
                let _ = self.remote.cancel_by_id(HandleId::from_numbers(numbers));
            }
            Step::Coroutine(yields) => self.begin(yields),
            Step::CancelCoroutine(which) => {
                if let Some(index) = picked(&self.coroutines, which) {
                    self.coroutines[index].cancel();
                }
            }
            Step::DropCoroutine(which) => {
                if let Some(index) = picked(&self.coroutines, which) {
                    drop(self.coroutines.swap_remove(index));
                }
            }
            Step::DropHandle(which) => {
                if let Some(index) = picked(&self.handles, which) {
                    drop(self.handles.swap_remove(index));
                }
            }
            Step::Yield => thread::yield_now(),
        }
    }

    fn run(mut self, steps: &[Step]) -> (Done, Vec<ThreadFuture<usize>>) {
        for (number, step) in steps.iter().enumerate() {
            self.take(number, step);
        }
        (self.done, self.coroutines)
    }
}

type Joined = JoinHandle<(Done, Vec<ThreadFuture<usize>>)>;

/// Runs turns until nothing is left to do. A turn that waits in vain lasts a millisecond.
fn run(event_loop: &EventLoop, threads: &[Joined]) {
    while !threads.iter().all(JoinHandle::is_finished) {
        event_loop.turn(Some(Duration::from_millis(1))).unwrap();
    }
    // What the threads posted last, and what that makes ready.
    let mut idle = 0;
    for _ in 0..1000 {
        event_loop.turn(Some(Duration::ZERO)).unwrap();
        idle = if event_loop.has_ready() { 0 } else { idle + 1 };
        if idle > 2 {
            return;
        }
    }
    panic!("the loop goes on for ever");
}

fn check(shared: &Shared, done: &[Done], closed_early: bool) {
    let ran = shared.ran.lock().unwrap();
    for (thread, done) in done.iter().enumerate() {
        let of_thread = ran.iter().filter(|run| run.0 == thread);
        let of_thread: Vec<usize> = of_thread.map(|run| run.1).collect();
        let expected = done.posted.iter().copied();
        let expected: Vec<usize> = expected
            .filter(|one| !done.cancelled.contains(one))
            .collect();
        if closed_early {
            assert!(
                expected.starts_with(&of_thread),
                "{of_thread:?} of {expected:?}"
            );
        } else {
            assert_eq!(of_thread, expected);
            assert!(!done.refused);
        }
    }
    assert_eq!(shared.alive.load(Ordering::Relaxed), 0, "not dropped once");
}

fuzz_target!(|input: Input| {
    let event_loop = EventLoop::new().unwrap();
    let shared = Arc::<Shared>::default();
    let hour = Duration::from_secs(3600);
    let timers = usize::from(input.timers % 16);
    let ids: Vec<_> = (0..timers)
        .map(|_| {
            let alive = Alive::new(&shared);
            event_loop.call_later(hour, move || drop(alive)).id()
        })
        .collect();
    let threads = input.threads.into_iter().enumerate();
    let threads: Vec<Joined> = threads
        .map(|(thread, mut steps)| {
            steps.truncate(200);
            let poster = Poster {
                thread,
                remote: event_loop.remote(),
                shared: Arc::clone(&shared),
                ids: ids.clone(),
                handles: Vec::new(),
                coroutines: Vec::new(),
                done: Done::default(),
            };
            thread::spawn(move || poster.run(&steps))
        })
        .collect();
    match input.closes_after {
        None => run(&event_loop, &threads),
        Some(turns) => {
            for _ in 0..turns % 16 {
                event_loop.turn(Some(Duration::ZERO)).unwrap();
            }
            event_loop.close().unwrap();
        }
    }
    let (mut done, mut coroutines) = (Vec::new(), Vec::new());
    for thread in threads {
        let joined = thread.join().unwrap();
        done.push(joined.0);
        coroutines.extend(joined.1);
    }
    if input.closes_after.is_none() {
        let cancelled: HashSet<_> = done
            .iter()
            .flat_map(|done| &done.timers_cancelled)
            .collect();
        assert_eq!(event_loop.pending_timers().len(), timers - cancelled.len());
        assert!(coroutines.iter().all(ThreadFuture::done));
        event_loop.close().unwrap();
    }
    assert!(
        coroutines.iter().all(ThreadFuture::done),
        "a coroutine that never ends"
    );
    drop(coroutines);
    check(&shared, &done, input.closes_after.is_some());
});
