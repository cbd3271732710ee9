//! A process of its own, because it counts every byte that the process allocates; one test, for the same reason.
//!
//! A queued callback that captures up to 24 bytes takes no memory of its own, and the memory of a burst is given back.

#![allow(unsafe_code)]

mod own {
    pub(crate) mod live_bytes;
}

use std::hint::black_box;
use std::sync::atomic::Ordering;

use callsoon::{Clock, EventLoop};

use own::live_bytes::{LIVE, MOST};

/// What the ready queue keeps at all times: room for 1,024 entries and as many callbacks.
const KEPT: usize = 1024 * (8 + 40);

fn live() -> usize {
    LIVE.load(Ordering::Relaxed)
}

fn one_turn(event_loop: &EventLoop) {
    event_loop.stop();
    event_loop.run_forever().unwrap();
}

/// Queues and runs a callback that captures so many bytes; returns how much memory that has taken meanwhile.
fn taken_for<const SIZE: usize>(event_loop: &EventLoop) -> usize {
    let captured = [1_u8; SIZE];
    let before = live();
    MOST.store(before, Ordering::Relaxed);
    event_loop.call_soon(move || _ = black_box(captured));
    let taken = live() - before;
    one_turn(event_loop);
    assert_eq!(live(), before);
    assert_eq!(MOST.load(Ordering::Relaxed), before + taken);
    taken
}

fn small_callbacks_take_no_memory(event_loop: &EventLoop) {
    assert_eq!(taken_for::<0>(event_loop), 0);
    assert_eq!(taken_for::<8>(event_loop), 0);
    assert_eq!(taken_for::<24>(event_loop), 0);
    assert_eq!(taken_for::<25>(event_loop), 25);
    assert_eq!(taken_for::<100>(event_loop), 100);
}

/// Queues so many callbacks at once and runs them.
fn burst(event_loop: &EventLoop, callbacks: usize) {
    (0..callbacks).for_each(|_| drop(event_loop.call_soon(|| ())));
    one_turn(event_loop);
}

fn a_burst_is_given_back(event_loop: &EventLoop, before: usize) {
    burst(event_loop, 100_000);
    one_turn(event_loop);
    let kept = live() - before;
    assert!(kept <= KEPT, "{kept} bytes of the first burst");
    // Further bursts find room for longer and longer, and in the end that is given back too.
    for _ in 0..20 {
        burst(event_loop, 100_000);
        one_turn(event_loop);
    }
    let in_use = live() - before;
    assert!(
        in_use > 100_000 * 40,
        "{in_use} bytes are kept for the next burst"
    );
    for _ in 0..300 {
        one_turn(event_loop);
    }
    let kept = live() - before;
    assert!(kept <= KEPT, "{kept} bytes of many bursts");
}

#[test]
fn callbacks_and_bursts_of_them_take_what_they_need() {
    let event_loop = EventLoop::builder().clock(Clock::Virtual).build().unwrap();
    one_turn(&event_loop);
    let before = live();
    burst(&event_loop, 100);
    small_callbacks_take_no_memory(&event_loop);
    a_burst_is_given_back(&event_loop, before);
}
