//! The shortest proof that the parts fit together.

use std::time::Duration;

use crate::support::{CountingWaker, DropProbe, on_virtual_time};
use crate::support::{Trace, audited, counted_fds, one_turn, real_loop};

#[test]
fn callbacks_tasks_and_timers_share_one_queue() {
    on_virtual_time(|trace, event_loop| {
        let t = trace.clone();
        event_loop.call_soon(trace.note("callback 1"));
        let task = event_loop.create_task(async move {
            t.push("task starts");
            callsoon::sleep(Duration::from_secs(3600)).await;
            t.push("task ends");
            7
        });
        event_loop.call_soon(trace.note("callback 2"));
        event_loop.call_later(Duration::from_secs(60), trace.note("timer"));
        assert_eq!(event_loop.run_until_complete(task).unwrap().unwrap(), 7);
        trace.expect([
            "callback 1",
            "task starts",
            "callback 2",
            "timer",
            "task ends",
        ]);
        one_turn(&event_loop);
        assert!(event_loop.all_tasks().is_empty());
    });
}

#[test]
fn a_real_loop_waits_and_probes_work() {
    audited(|| {
        let trace = Trace::new();
        let before = counted_fds();
        let event_loop = real_loop(&trace);
        assert!(counted_fds() > before);
        let (counter, waker) = CountingWaker::new();
        waker.wake();
        assert_eq!(counter.wakes(), 1);
        drop(DropProbe::new(&trace, "probe"));
        event_loop
            .run_until_complete(callsoon::sleep(Duration::from_millis(1)))
            .unwrap();
        trace.expect(["drop probe"]);
    });
}
