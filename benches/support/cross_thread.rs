//! Two measurements of `threads`: one post to a sleeping loop, and many posts in a row.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::time::{Duration, Instant};

use super::gate::Gate;
use super::peers::Inbox;
use super::pin::pin;
use super::table::percentile;

/// Where the poster runs: the second of the cores that this process may use; the loop has the first.
const POSTER_CPU: usize = 1;
/// How long the other thread leaves the loop alone before each post.
const PAUSE: Duration = Duration::from_micros(200);

/// Posts to an idle loop, one after the other; the median time until the closure runs, in µs.
///
/// The poster spins until it is answered, on another core than the loop's, as a thread that has other work to do would
/// go on running. Left to itself the kernel now and then puts both on one core, where a post is a mere context switch.
pub(crate) async fn wake_micros<D: Inbox>(inbox: D, wakes: usize) -> f64 {
    let done = Gate::default();
    let opener = done.clone();
    let poster = std::thread::spawn(move || {
        pin(POSTER_CPU);
        let mut micros = Vec::with_capacity(wakes);
        for _ in 0..wakes {
            std::thread::sleep(PAUSE);
            ANSWER.store(0, Release);
            let posted = Instant::now();
            // Never 0, which means unanswered.
            inbox.post(move || ANSWER.store(posted.elapsed().as_nanos().max(1) as u64, Release));
            while ANSWER.load(Acquire) == 0 {
                std::hint::spin_loop();
            }
            micros.push(ANSWER.load(Relaxed) as f64 / 1e3);
        }
        inbox.post(move || opener.open());
        micros
    });
    done.pass().await;
    percentile(&mut poster.join().expect("the poster does not panic"), 50)
}

/// How long the last post took, in ns; 0 until it has run.
static ANSWER: AtomicU64 = AtomicU64::new(0);

/// Closures that have run. A static, so that a posted closure is one word and captures nothing that has to be counted.
static RAN: AtomicU64 = AtomicU64::new(0);

/// Posts `posts` closures in a row: once to warm up, then three times; ns of wall time each, the middle run's.
pub(crate) async fn post_nanos<D: Inbox>(inbox: D, posts: u64) -> f64 {
    let (mut inbox, _warm_up) = post_all(inbox, posts).await;
    let mut runs = Vec::new();
    for _ in 0..3 {
        let took;
        (inbox, took) = post_all(inbox, posts).await;
        runs.push(took.as_nanos() as f64 / posts as f64);
    }
    percentile(&mut runs, 50)
}

/// From the first post until the last closure has run.
async fn post_all<D: Inbox>(inbox: D, posts: u64) -> (D, Duration) {
    RAN.store(0, Relaxed);
    let done = Gate::default();
    let opener = done.clone();
    let poster = std::thread::spawn(move || {
        pin(POSTER_CPU);
        let began = Instant::now();
        for number in 1..posts {
            inbox.post(move || {
                // Only the loop's thread writes it, so this need not be one indivisible step.
                RAN.store(RAN.load(Relaxed) + u64::from(number > 0), Relaxed);
            });
        }
        inbox.post(move || {
            RAN.store(RAN.load(Relaxed) + 1, Relaxed);
            opener.open();
        });
        (inbox, began)
    });
    done.pass().await;
    let ended = Instant::now();
    assert_eq!(RAN.load(Relaxed), posts);
    let (inbox, began) = poster.join().expect("the poster does not panic");
    (inbox, ended - began)
}
