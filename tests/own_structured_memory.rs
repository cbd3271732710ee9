//! A process of its own, because it counts every byte that the process allocates; one test, for the same reason.

#![allow(unsafe_code)]

mod own {
    pub(crate) mod live_bytes;
}

use std::cell::Cell;
use std::future::pending;
use std::rc::Rc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use callsoon::{
    Clock, EventLoop, for_each_limit, gather, move_on_after, task_group, timeout, try_gather,
    yield_now,
};

use own::live_bytes::{LIVE, MOST};

const MILLION: u32 = 1_000_000;

/// Returns the bytes that `f` leaves allocated, and the most that it held at once.
fn cost(f: impl FnOnce()) -> (usize, usize) {
    let before = LIVE.load(Ordering::Relaxed);
    MOST.store(before, Ordering::Relaxed);
    f();
    let left = LIVE.load(Ordering::Relaxed).saturating_sub(before);
    (left, MOST.load(Ordering::Relaxed) - before)
}

/// A child with a kilobyte of state, so that many at once would show.
async fn child(ended: Rc<Cell<u32>>) {
    let state = [1_u8; 1024];
    yield_now().await;
    ended.set(ended.get() + u32::from(state[ended.get() as usize % 1024]));
}

fn a_million_one_after_another_cost_what_runs(event_loop: &EventLoop) {
    // What is kept for later: room in queues and slabs.
    let warm = async {
        for_each_limit(0..1000, 100, |_| yield_now()).await.unwrap();
    };
    event_loop.run_until_complete(warm).unwrap();
    let ended = Rc::new(Cell::new(0));
    let many = for_each_limit(0..MILLION, 100, |_| child(Rc::clone(&ended)));
    let (left, most) = cost(|| event_loop.run_until_complete(many).unwrap().unwrap());
    assert_eq!(ended.replace(0), MILLION);
    assert!(
        most < 100 * 2048 + 16 * 1024,
        "for_each_limit held {most} bytes"
    );
    assert!(left < 8 * 1024, "for_each_limit left {left} bytes");

    let (left, most) = cost(|| {
        let many = task_group(async |group| {
            group.set_limit(100);
            for _ in 0..MILLION {
                group.wait_vacancy().await;
                group.create_task(child(Rc::clone(&ended)));
            }
        });
        event_loop.run_until_complete(many).unwrap().unwrap();
    });
    assert_eq!(ended.replace(0), MILLION);
    assert!(most < 100 * 2048 + 16 * 1024, "a group held {most} bytes");
    assert!(left < 8 * 1024, "a group left {left} bytes");
}

/// Ended children leave nothing in a group that lives on.
fn a_group_keeps_nothing_of_those_who_have_ended(event_loop: &EventLoop) {
    let ended = Rc::new(Cell::new(0));
    let long = task_group(async |group| {
        let mut base = None;
        for round in 0..100 {
            for _ in 0..1000 {
                group.create_task(child(Rc::clone(&ended)));
            }
            while !group.is_empty() {
                yield_now().await;
            }
            let live = LIVE.load(Ordering::Relaxed);
            let base = *base.get_or_insert(live);
            assert!(live <= base, "{} bytes more in round {round}", live - base);
        }
    });
    event_loop.run_until_complete(long).unwrap().unwrap();
}

/// These combinators leave no byte allocated, however often they are used and however they end.
fn every_byte_comes_back(event_loop: &EventLoop) {
    let micro = Duration::from_micros(1);
    let rounds = |count: u32| async move {
        for n in 0..count {
            timeout(micro, pending::<()>()).await.unwrap_err();
            timeout(micro, yield_now()).await.unwrap();
            assert!(move_on_after(micro, pending::<()>()).await.is_none());
            gather([yield_now(), yield_now()]).await.unwrap();
            drop(gather([pending::<()>(), pending()]));
            let failed = try_gather([0, 1].map(|m| async move {
                yield_now().await;
                if m == n % 3 { Err("no") } else { Ok(()) }
            }));
            let _ = failed.await;
            let group = task_group(async |group| {
                group.create_task(async move {
                    yield_now().await;
                    if n % 3 == 0 { Err("no") } else { Ok(()) }
                });
                group.create_task(pending::<()>());
                if n % 3 == 1 {
                    yield_now().await;
                    group.cancel();
                }
                pending::<()>().await;
            });
            let _ = timeout(micro, group).await;
        }
    };
    event_loop.run_until_complete(rounds(100)).unwrap();
    let (left, _) = cost(|| event_loop.run_until_complete(rounds(10_000)).unwrap());
    assert_eq!(left, 0);
}

#[test]
fn p2_structured_tasks_cost_the_memory_of_those_that_run() {
    let event_loop = EventLoop::builder().clock(Clock::Virtual).build().unwrap();
    a_million_one_after_another_cost_what_runs(&event_loop);
    a_group_keeps_nothing_of_those_who_have_ended(&event_loop);
    every_byte_comes_back(&event_loop);
}
