//! What the server does besides its clients: children, signals, and posts from threads.

use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use callsoon::process::PIPE;
use callsoon::{Event, RemoteHandle, Signal, create_subprocess_exec, timeout, to_thread};

use crate::counts::{Count, Counts};
use crate::sequence::Sequence;
use crate::served::Served;
use crate::watch::pause;

/// How often a child is started, and after how long one is taken for lost.
const CHILD_EVERY: Duration = Duration::from_millis(500);
const CHILD_LIMIT: Duration = Duration::from_secs(30);
/// What a child has to give back, larger than a pipe.
const CHILD_BYTES: usize = 100_000;

/// How many threads post, how often, and how much each time.
const POSTERS: u64 = 4;
const POST_EVERY: Duration = Duration::from_millis(100);
const POSTS: u64 = 25;

/// Starts children until the event comes. Each copies its input; every fourth is killed instead.
pub(crate) async fn children(served: Rc<Served>, stopping: Rc<Event>) {
    for number in 0_u64.. {
        if pause(CHILD_EVERY, &stopping).await {
            return;
        }
        let counts = &served.counts;
        match timeout(CHILD_LIMIT, child(counts, number)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => counts.unexpected(format_args!("a child: {error}")),
            Err(_) => counts.unexpected("a child has not ended"),
        }
    }
}

/// One child.
async fn child(counts: &Counts, number: u64) -> std::io::Result<()> {
    let no_arguments: [&str; 0] = [];
    let mut cat = create_subprocess_exec("cat", no_arguments)
        .stdin(PIPE)
        .stdout(PIPE)
        .kill_on_drop(true)
        .await?;
    counts.one(Count::ChildrenStarted);
    if number % 4 == 3 {
        cat.kill()?;
        let status = cat.wait().await?;
        if status.success() {
            counts.unexpected("a child that was killed ended well");
        }
    } else {
        let input = Sequence::of_client(number).next(CHILD_BYTES);
        let output = cat.communicate(Some(&input)).await?;
        let wrong = Sequence::of_client(number).wrong(&output.stdout);
        let missing = CHILD_BYTES.abs_diff(output.stdout.len()) as u64;
        counts.add(Count::WrongBytes, wrong + missing);
        if !output.status.success() {
            counts.unexpected(format_args!("a child ended with {}", output.status));
        }
    }
    counts.one(Count::ChildrenReaped);
    Ok(())
}

/// Counts the signals, and tells of each, so that the next one is sent only then.
pub(crate) async fn signals(served: Rc<Served>, mut arrivals: Signal) {
    while arrivals.recv().await.is_ok() {
        served.counts.one(Count::SignalsSeen);
        println!("signal");
    }
}

/// The threads that post.
#[derive(Debug)]
pub(crate) struct Posters {
    shared: Arc<Posted>,
    threads: Vec<JoinHandle<()>>,
}

/// What the threads and the callbacks count.
#[derive(Debug, Default)]
pub(crate) struct Posted {
    ended: AtomicBool,
    pub(crate) sent: AtomicU64,
    pub(crate) run: AtomicU64,
    pub(crate) failed: AtomicU64,
}

impl Posters {
    pub(crate) fn start(remote: &RemoteHandle) -> Self {
        let shared = Arc::new(Posted::default());
        let threads = (0..POSTERS)
            .map(|_| {
                let (shared, remote) = (Arc::clone(&shared), remote.clone());
                thread::spawn(move || shared.post(&remote))
            })
            .collect();
        Self { shared, threads }
    }

    /// Has the threads end and waits for them. Returns what they have counted; what is posted has run.
    pub(crate) async fn stop(self) -> Arc<Posted> {
        self.shared.ended.store(true, Ordering::Release);
        let threads = self.threads;
        let joined = to_thread(|| {
            threads
                .into_iter()
                .filter_map(|one| one.join().err())
                .count()
        });
        let panicked = joined.await.unwrap_or(POSTERS as usize);
        self.shared
            .failed
            .fetch_add(panicked as u64, Ordering::Relaxed);
        self.shared
    }
}

impl Posted {
    /// One thread: callbacks, and a coroutine behind them whose result it awaits.
    fn post(self: Arc<Self>, remote: &RemoteHandle) {
        for round in 0_u64.. {
            if self.ended.load(Ordering::Acquire) {
                return;
            }
            for _ in 0..POSTS {
                let shared = Arc::clone(&self);
                let run = move || _ = shared.run.fetch_add(1, Ordering::Relaxed);
                self.sent.fetch_add(1, Ordering::Relaxed);
                if remote.call_soon_threadsafe(run).is_err() {
                    self.failed.fetch_add(1, Ordering::Relaxed);
                }
            }
            let shared = Arc::clone(&self);
            self.sent.fetch_add(1, Ordering::Relaxed);
            let answer = remote.run_coroutine_threadsafe(move || async move {
                callsoon::yield_now().await;
                shared.run.fetch_add(1, Ordering::Relaxed);
                round
            });
            let result = answer.map(|answer| answer.result(Some(CHILD_LIMIT)));
            if !matches!(result, Ok(Ok(result)) if result == round) {
                self.failed.fetch_add(1, Ordering::Relaxed);
            }
            thread::sleep(POST_EVERY);
        }
    }
}
