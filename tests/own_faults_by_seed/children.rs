//! A child, posts from other threads, and timers.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::thread;
use std::time::Duration;

use callsoon::process::{Command, PIPE};
use callsoon::testing::SystemFaults;
use callsoon::{Event, create_task, get_running_loop, sleep};

use crate::world::World;

/// A child that gives back what it is given.
pub(crate) async fn talk(world: World) {
    let sent = world.bytes(8, 100_000);
    let started = Command::new("cat").stdin(PIPE).stdout(PIPE).spawn();
    let mut child = match started {
        Ok(child) => child,
        Err(error) => return assert!(!world.gentle, "{error}"),
    };
    match child.communicate(Some(&sent)).await {
        Ok(output) => {
            assert!(output.status.success(), "{}", output.status);
            assert!(sent.starts_with(&output.stdout), "the child's answer");
            assert!(!world.gentle || output.stdout.len() == sent.len());
        }
        Err(error) => {
            assert!(!world.gentle, "{error}");
            let _ = child.kill();
            child.wait().await.unwrap();
        }
    }
}

const POSTS: usize = 100;

/// Posts from threads whose own calls are delayed and interrupted. All of them arrive.
pub(crate) async fn posts(world: World) {
    thread_local! {
        static ARRIVED: (Cell<usize>, Rc<Event>) = (Cell::new(0), Rc::new(Event::new()));
    }
    let threads: Vec<_> = (0..2)
        .map(|salt| {
            let (remote, seed) = (get_running_loop().remote(), world.seed);
            thread::spawn(move || {
                let _faults = SystemFaults::gentle(seed ^ (salt << 40), 3);
                for _ in 0..POSTS {
                    let post = || {
                        ARRIVED.with(|(count, all)| {
                            count.set(count.get() + 1);
                            if count.get() == 2 * POSTS {
                                all.set();
                            }
                        });
                    };
                    if remote.call_soon_threadsafe(post).is_err() {
                        // Something else has failed, and closed the loop.
                        return;
                    }
                    thread::yield_now();
                }
            })
        })
        .collect();
    // No timer: what ends the loop's sleep is a post.
    let all = ARRIVED.with(|(_, all)| Rc::clone(all));
    all.wait().await;
    for thread in threads {
        thread.join().unwrap();
    }
}

/// Timers end in the order of their deadlines, and none early.
pub(crate) async fn timers(world: World) {
    let ended = Rc::new(RefCell::new(Vec::new()));
    let delays = world.bytes(9, 50);
    let tasks: Vec<_> = delays
        .iter()
        .map(|delay| {
            let (ended, delay) = (Rc::clone(&ended), Duration::from_millis(u64::from(*delay)));
            create_task(async move {
                let begun = get_running_loop().time();
                sleep(delay).await;
                let now = get_running_loop().time();
                assert!(now - begun >= delay, "early");
                ended.borrow_mut().push(begun + delay);
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    assert!(ended.borrow().is_sorted(), "out of order");
}
