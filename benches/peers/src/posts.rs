//! Closures posted by one thread, and by four: boxed, as a channel of closures has them. Wall time from the first post
//! until the last has run.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

use crate::Missing;
use crate::gate::Gate;
use crate::meter::{Report, Stopwatch};
use crate::runtime::{Post, Runtime};

/// Closures that have run. A static, so that what a closure captures need not be counted.
static RAN: AtomicU64 = AtomicU64::new(0);

/// Posts before the measured ones.
const WARM_UP: u64 = 2_000;

/// Runs the row: a round to warm up, then the measured one.
pub fn posts<R: Runtime>(senders: u64, posts: u64) -> Result<Report, Missing> {
    let done = R::run(move |on: R| async move {
        let post: Arc<Post> = on.post().ok_or(Missing::Row)?.into();
        round(&post, senders, WARM_UP).await;
        Ok(round(&post, senders, posts).await)
    });
    done.map_err(Missing::Failed)?
}

async fn round(post: &Arc<Post>, senders: u64, posts: u64) -> Report {
    let each = posts / senders;
    let done = Gate::default();
    RAN.store(0, Relaxed);
    let watch = Stopwatch::new();
    let threads: Vec<_> = (0..senders)
        .map(|_| sender(post, each, each * senders, done.clone()))
        .collect();
    done.pass().await;
    let report = watch.stop(each * senders);
    for thread in threads {
        thread.join().expect("a sender does not panic");
    }
    report
}

/// A thread that posts `each` closures. The one that runs as the last of `all` opens the gate.
fn sender(post: &Arc<Post>, each: u64, all: u64, done: Gate) -> std::thread::JoinHandle<()> {
    let post = Arc::clone(post);
    std::thread::spawn(move || {
        for _ in 1..each {
            post(Box::new(move || ran(all)));
        }
        // The last of this thread; all threads' last ones look whether they are the last of all.
        post(Box::new(move || {
            ran(all);
            if RAN.load(Relaxed) == all {
                done.open();
            }
        }));
    })
}

/// Only the loop's thread writes it, so this need not be one indivisible step.
pub fn ran(all: u64) {
    RAN.store(RAN.load(Relaxed) + u64::from(all > 0), Relaxed);
}
