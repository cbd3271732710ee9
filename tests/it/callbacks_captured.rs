//! What callbacks capture: small and large, aligned and over-aligned, cancelled in every position, dropped once.

use std::cell::RefCell;
use std::rc::Rc;

use callsoon::{EventLoop, Handle};

use crate::support::{
    DropProbe, Trace, audited, on_virtual_time, one_turn, panic_text, virtual_loop,
};

thread_local! {
    /// What callbacks found. Not captured, so that a test chooses the size of what they capture.
    static FOUND: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

/// What a callback captures, and what it finds in it.
trait Captured: 'static {
    fn found(&self) -> String;
}

impl<const N: usize> Captured for [u8; N] {
    fn found(&self) -> String {
        // The bytes differ, so that a part that was not moved shows.
        assert_eq!(*self, ascending(self[0]));
        format!("{N}: {}", self[0])
    }
}

fn ascending<const N: usize>(first: u8) -> [u8; N] {
    std::array::from_fn(|i| first.wrapping_add(i as u8))
}

impl Captured for u64 {
    fn found(&self) -> String {
        format!("u64: {self}")
    }
}

impl Captured for u128 {
    fn found(&self) -> String {
        format!("u128: {self}")
    }
}

#[repr(align(64))]
struct Aligned(u8);

impl Captured for Aligned {
    fn found(&self) -> String {
        format!("aligned: {}", self.0)
    }
}

/// Queues a callback that captures this value and nothing else.
fn capture<T: Captured>(event_loop: &EventLoop, value: T) -> Handle {
    event_loop.call_soon(move || {
        // Its whole, not only the field that is read.
        let value = &value;
        assert_eq!((&raw const *value).addr() % align_of::<T>(), 0);
        FOUND.with_borrow_mut(|found| found.push(value.found()));
    })
}

/// Every size and alignment at which the storage may change, in a queue that holds them all at once.
fn capture_all(event_loop: &EventLoop, round: u8) -> Vec<Handle> {
    vec![
        event_loop.call_soon(|| FOUND.with_borrow_mut(|found| found.push("0".to_owned()))),
        capture(event_loop, ascending::<1>(round)),
        capture(event_loop, ascending::<8>(round)),
        capture(event_loop, u64::from(round)),
        capture(event_loop, ascending::<15>(round)),
        capture(event_loop, ascending::<16>(round)),
        capture(event_loop, ascending::<23>(round)),
        capture(event_loop, ascending::<24>(round)),
        capture(event_loop, ascending::<25>(round)),
        capture(event_loop, ascending::<32>(round)),
        capture(event_loop, ascending::<100>(round)),
        capture(event_loop, u128::from(round)),
        capture(event_loop, Aligned(round)),
        capture(event_loop, ascending::<5_000>(round)),
    ]
}

fn expected(round: u8) -> Vec<String> {
    let mut all = vec!["0".to_owned(), format!("1: {round}"), format!("8: {round}")];
    all.push(format!("u64: {round}"));
    all.extend([15, 16, 23, 24, 25, 32, 100].map(|n| format!("{n}: {round}")));
    all.extend(["u128", "aligned", "5000"].map(|n| format!("{n}: {round}")));
    all
}

#[test]
fn captures_of_every_size_arrive_whole() {
    on_virtual_time(|_, event_loop| {
        // Long enough for the queue to grow several times, with its front at every place.
        for rounds in 1..40 {
            let all: Vec<_> = (0..rounds).flat_map(expected).collect();
            (0..rounds).for_each(|round| drop(capture_all(&event_loop, round)));
            one_turn(&event_loop);
            assert_eq!(FOUND.take(), all);
        }
    });
}

#[test]
fn a_callback_is_cancelled_in_every_position_and_the_others_run() {
    on_virtual_time(|_, event_loop| {
        let all = expected(7);
        for cancelled in 0..all.len() {
            let handles = capture_all(&event_loop, 7);
            handles[cancelled].cancel();
            one_turn(&event_loop);
            let mut others = all.clone();
            others.remove(cancelled);
            assert_eq!(FOUND.take(), others);
            // All have run, and their places hold others by now.
            let later = capture_all(&event_loop, 8);
            handles.iter().for_each(Handle::cancel);
            one_turn(&event_loop);
            assert_eq!(FOUND.take(), expected(8));
            assert!(later.iter().all(|handle| !handle.cancelled()));
        }
    });
}

#[test]
fn every_other_of_many_is_cancelled_from_the_front_and_from_the_back() {
    on_virtual_time(|trace, event_loop| {
        for backwards in [false, true] {
            let ran = Rc::new(RefCell::new(Vec::new()));
            let mut handles: Vec<_> = (0..1_000)
                .map(|number| {
                    let ran = Rc::clone(&ran);
                    event_loop.call_soon(move || ran.borrow_mut().push(number))
                })
                .collect();
            if backwards {
                handles.reverse();
            }
            handles.iter().step_by(2).for_each(Handle::cancel);
            assert_eq!(
                Rc::strong_count(&ran),
                501,
                "the captures are dropped at once"
            );
            one_turn(&event_loop);
            let odd = usize::from(!backwards);
            let expected: Vec<_> = (0..1_000).skip(odd).step_by(2).collect();
            assert_eq!(*ran.borrow(), expected);
        }
        trace.expect([]);
    });
}

#[test]
fn calls_that_queue_calls_and_cancel_others_keep_the_order() {
    on_virtual_time(|trace, event_loop| {
        let victims = Rc::new(RefCell::new(Vec::<Handle>::new()));
        for number in 0..3 {
            let (handle, victims, trace) =
                (event_loop.handle(), Rc::clone(&victims), trace.clone());
            event_loop.call_soon(move || {
                trace.push(format!("call {number}"));
                // More than the queue has room for: it moves while this callback runs.
                for inner in 0..100 {
                    let probe = DropProbe::new(&trace, format!("{number}.{inner}"));
                    let trace = trace.clone();
                    let queued = handle.call_soon(move || {
                        trace.push("last");
                        drop(probe);
                    });
                    if inner < 99 {
                        victims.borrow_mut().push(queued);
                    }
                }
                victims.take().iter().for_each(Handle::cancel);
            });
        }
        one_turn(&event_loop);
        let mut expected = Vec::new();
        for number in 0..3 {
            expected.push(format!("call {number}"));
            expected.extend((0..99).map(|inner| format!("drop {number}.{inner}")));
        }
        assert_eq!(trace.take(), expected);
        one_turn(&event_loop);
        trace.expect([
            "last",
            "drop 0.99",
            "last",
            "drop 1.99",
            "last",
            "drop 2.99",
        ]);
    });
}

/// Panics in its destructor.
struct Bomb<const SIZE: usize> {
    trace: Trace,
    _room: [u8; SIZE],
}

impl<const SIZE: usize> Drop for Bomb<SIZE> {
    fn drop(&mut self) {
        self.trace.push(format!("bomb of {SIZE}"));
        panic!("on purpose: in a destructor");
    }
}

#[test]
fn a_destructor_that_panics_leaves_the_queue_whole() {
    audited(|| {
        fn bomb<const SIZE: usize>(event_loop: &EventLoop, trace: &Trace) -> Handle {
            let bomb = Bomb {
                trace: trace.clone(),
                _room: [0; SIZE],
            };
            event_loop.call_soon(move || drop(bomb))
        }
        let trace = Trace::new();
        let event_loop = virtual_loop(&trace);
        event_loop.call_soon(trace.note("before"));
        let small = bomb::<0>(&event_loop, &trace);
        let large = bomb::<100>(&event_loop, &trace);
        event_loop.call_soon(trace.note("after"));
        for (handle, size) in [(small, 0), (large, 100)] {
            assert_eq!(
                panic_text(|| handle.cancel()),
                "on purpose: in a destructor"
            );
            assert_eq!(trace.take(), [format!("bomb of {size}")]);
            handle.cancel();
            assert!(handle.cancelled());
        }
        // One that runs and panics, and one that the loop's end finds.
        bomb::<0>(&event_loop, &trace);
        one_turn(&event_loop);
        trace.expect([
            "before",
            "after",
            "bomb of 0",
            "report: Exception in callback (on purpose: in a destructor)",
        ]);
        bomb::<0>(&event_loop, &trace);
        bomb::<100>(&event_loop, &trace);
        let last = DropProbe::new(&trace, "last");
        event_loop.call_soon(move || drop(last));
        drop(event_loop);
        trace.expect([
            "bomb of 0",
            "report: Exception in a destructor while the loop was closing (on purpose: in a destructor)",
            "bomb of 100",
            "report: Exception in a destructor while the loop was closing (on purpose: in a destructor)",
            "drop last",
        ]);
    });
}

#[test]
fn a_hundred_thousand_at_once_run_in_order_with_holes() {
    on_virtual_time(|_, event_loop| {
        let expected: Vec<_> = (0..100_000).filter(|number| number % 3 != 2).collect();
        let ran = Rc::new(RefCell::new(Vec::new()));
        for _ in 0..3 {
            let handles: Vec<_> = (0..100_000)
                .map(|number| {
                    let ran = Rc::clone(&ran);
                    event_loop.call_soon(move || ran.borrow_mut().push(number))
                })
                .collect();
            handles.iter().skip(2).step_by(3).for_each(Handle::cancel);
            one_turn(&event_loop);
            assert_eq!(ran.take(), expected);
            assert_eq!(Rc::strong_count(&ran), 1);
        }
    });
}
