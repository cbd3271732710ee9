//! The hooks of a host around the loop's sleep: when they are called, and what they may do.

use std::cell::RefCell;
use std::rc::Rc;
use std::thread;
use std::time::Duration;

use callsoon::{Clock, EventLoop, WaitEnd, WaitHooks, get_running_loop, yield_now};

use crate::support::{
    DropProbe, Trace, audited, complete, on_real_time, on_virtual_time, quiet_panics, thread_id,
    wait_until_asleep, watched,
};

/// Hooks that write what they are told, and do something the first time.
struct Hooks {
    trace: Trace,
    first: RefCell<Option<Box<dyn FnOnce()>>>,
}

impl WaitHooks for Hooks {
    fn before_wait(&self) {
        self.trace.push("before");
        let first = self.first.take();
        if let Some(first) = first {
            first();
        }
    }

    fn after_wait(&self, end: WaitEnd) {
        self.trace.push(format!("after: {end:?}"));
    }
}

fn hooked(event_loop: &EventLoop, trace: &Trace, first: impl FnOnce() + 'static) {
    event_loop.set_wait_hooks(Some(Rc::new(Hooks {
        trace: trace.clone(),
        first: RefCell::new(Some(Box::new(first))),
    })));
}

#[test]
fn the_hooks_are_around_the_sleep_and_nothing_else() {
    on_real_time(|trace, event_loop| {
        hooked(&event_loop, &trace, || ());
        // Work without a sleep.
        complete(&event_loop, async { yield_now().await });
        event_loop.turn(Some(Duration::ZERO)).unwrap();
        trace.expect([]);
        let (remote, sleeper) = (event_loop.remote(), thread_id());
        let poster = thread::spawn(move || {
            wait_until_asleep(sleeper);
            let stop = || get_running_loop().stop();
            remote.call_soon_threadsafe(stop).unwrap();
        });
        event_loop.run_forever().unwrap();
        poster.join().unwrap();
        trace.expect(["before", "after: Woken"]);
        event_loop.turn(Some(Duration::from_millis(1))).unwrap();
        trace.expect(["before", "after: Woken"]);
        event_loop.set_wait_hooks(None);
        event_loop.turn(Some(Duration::from_millis(1))).unwrap();
        trace.expect([]);
    });
}

#[test]
fn what_the_first_hook_schedules_is_not_slept_over() {
    on_real_time(|trace, event_loop| {
        let (handle, t) = (event_loop.handle(), trace.clone());
        hooked(&event_loop, &trace, move || {
            handle.call_soon(t.note("callback"));
        });
        event_loop.turn(None).unwrap();
        trace.expect(["before", "after: Woken", "callback"]);

        let (handle, t) = (event_loop.handle(), trace.clone());
        hooked(&event_loop, &trace, move || {
            handle.call_later(Duration::from_millis(1), t.note("timer"));
        });
        let mut lines = Vec::new();
        while !lines.iter().any(|line| line == "timer") {
            event_loop.turn(None).unwrap();
            lines.extend(trace.take());
        }
        assert_eq!(lines[..2], ["before", "after: Woken"]);
        assert_eq!(lines.last().unwrap(), "timer");

        let handle = event_loop.handle();
        hooked(&event_loop, &trace, move || handle.stop());
        event_loop.run_forever().unwrap();
        trace.expect(["before", "after: Woken"]);

        let remote = event_loop.remote();
        hooked(&event_loop, &trace, move || {
            let stop = || get_running_loop().stop();
            remote.call_soon_threadsafe(stop).unwrap();
        });
        event_loop.run_forever().unwrap();
        trace.expect(["before", "after: Woken"]);

        let handle = event_loop.handle();
        hooked(&event_loop, &trace, move || handle.stop_now());
        event_loop.run_forever().unwrap();
        trace.expect(["before", "after: Woken"]);
    });
}

#[test]
fn a_timer_of_the_first_hook_is_jumped_to_by_a_virtual_clock() {
    on_virtual_time(|trace, event_loop| {
        let (handle, t) = (event_loop.handle(), trace.clone());
        hooked(&event_loop, &trace, move || {
            let end = handle.clone();
            handle.call_later(Duration::from_secs(3600), move || {
                t.push("an hour later");
                end.stop();
            });
        });
        event_loop.run_forever().unwrap();
        trace.expect(["before", "after: Woken", "an hour later"]);
    });
}

#[test]
fn a_host_moves_its_clock_in_a_hook() {
    audited(watched(|| {
        let trace = Trace::new();
        let event_loop = EventLoop::builder().clock(Clock::Manual).build().unwrap();
        let (clock, hour) = (event_loop.clock().unwrap(), Duration::from_secs(3600));
        let (handle, t) = (event_loop.handle(), trace.clone());
        event_loop.call_later(hour, move || {
            t.push("an hour later");
            handle.stop();
        });
        hooked(&event_loop, &trace, move || clock.advance(hour));
        event_loop.run_forever().unwrap();
        trace.expect(["before", "after: Woken", "an hour later"]);
        // A timer that nothing moves the clock to is slept over, for as long as the turn may wait.
        event_loop.call_later(hour, || unreachable!());
        event_loop.turn(Some(Duration::from_millis(1))).unwrap();
        trace.expect(["before", "after: Woken"]);
    }));
}

#[test]
fn a_hook_that_panics_is_reported_and_the_other_is_called() {
    quiet_panics();
    on_real_time(|trace, event_loop| {
        hooked(&event_loop, &trace, || panic!("on purpose"));
        event_loop.turn(Some(Duration::from_millis(1))).unwrap();
        trace.expect([
            "before",
            "report: Exception in the hook before_wait (on purpose)",
            "after: Woken",
        ]);
    });
}

#[test]
fn hooks_are_dropped_when_they_are_replaced_and_when_the_loop_closes() {
    on_real_time(|trace, event_loop| {
        let probe = DropProbe::new(&trace, "replaced inside");
        let handle = event_loop.handle();
        hooked(&event_loop, &trace, move || {
            handle.set_wait_hooks(None);
            drop(probe);
        });
        event_loop.turn(Some(Duration::from_millis(1))).unwrap();
        trace.expect(["before", "drop replaced inside", "after: Woken"]);
        let probe = DropProbe::new(&trace, "closed");
        hooked(&event_loop, &trace, move || drop(probe));
        event_loop.close().unwrap();
        trace.expect(["drop closed"]);
        let probe = DropProbe::new(&trace, "too late");
        hooked(&event_loop, &trace, move || drop(probe));
        trace.expect(["drop too late"]);
    });
}
