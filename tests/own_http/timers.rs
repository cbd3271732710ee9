//! hyper's timers and executor on the loop: the virtual clock, resets, and sleeps that end where no loop runs.

use std::cell::Cell;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::thread;
use std::time::Duration;

use callsoon::interop::hyper::{HyperExecutor, HyperTimer};
use callsoon::{create_task, get_running_loop, sleep};
use hyper::rt::{Executor, Sleep, Timer};

use crate::support::{
    Trace, Waiting, audited, event_polls, on_virtual_time, one_turn, panic_text, until,
    virtual_loop,
};

const SECOND: Duration = Duration::from_secs(1);

type BoxedSleep = Pin<Box<dyn Sleep>>;

/// Polls a sleep once, as the running task.
async fn poll_once(sleep: &mut BoxedSleep) -> bool {
    std::future::poll_fn(|context| Poll::Ready(sleep.as_mut().poll(context).is_ready())).await
}

fn armed_timers() -> usize {
    get_running_loop().metrics().timers
}

#[test]
fn sleeps_end_in_the_order_of_their_deadlines_and_never_early() {
    on_virtual_time(|trace, event_loop| {
        let run = event_loop.run_until_complete(async {
            let start = HyperTimer.now();
            assert_eq!(start, get_running_loop().time());
            let mut tasks = Vec::new();
            for seconds in [3, 1, 2] {
                let trace = trace.clone();
                tasks.push(create_task(async move {
                    HyperTimer.sleep(SECOND * seconds).await;
                    trace.push(format!("{seconds} at {:?}", HyperTimer.now() - start));
                }));
            }
            HyperTimer.sleep_until(start + SECOND * 4).await;
            trace.push(format!("4 at {:?}", HyperTimer.now() - start));
            for task in tasks {
                task.await.unwrap();
            }
        });
        run.unwrap();
        trace.expect(["1 at 1s", "2 at 2s", "3 at 3s", "4 at 4s"]);
    });
}

#[test]
fn a_deadline_that_has_passed_ends_and_one_past_the_end_of_time_does_not() {
    on_virtual_time(|trace, event_loop| {
        let run = event_loop.run_until_complete(async {
            HyperTimer.sleep_until(HyperTimer.now() - SECOND).await;
            HyperTimer.sleep(Duration::ZERO).await;
            let mut never = HyperTimer.sleep(Duration::MAX);
            assert!(!poll_once(&mut never).await);
            sleep(SECOND * 1_000_000).await;
            assert!(!poll_once(&mut never).await);
        });
        run.unwrap();
        trace.expect([]);
    });
}

#[test]
fn a_sleep_that_is_reset_ends_at_the_new_deadline_alone_also_after_it_has_ended() {
    on_virtual_time(|trace, event_loop| {
        let run = event_loop.run_until_complete(async {
            let start = HyperTimer.now();
            let mut timeout = HyperTimer.sleep(SECOND);
            assert!(!poll_once(&mut timeout).await);
            let place: *const dyn Sleep = &*timeout;
            HyperTimer.reset(&mut timeout, start + SECOND * 5);
            assert!(!poll_once(&mut timeout).await);
            assert_eq!(armed_timers(), 1, "the first one is disarmed");
            timeout.as_mut().await;
            assert_eq!(HyperTimer.now() - start, SECOND * 5);
            assert!(poll_once(&mut timeout).await, "it has ended and stays so");
            HyperTimer.reset(&mut timeout, start + SECOND * 6);
            timeout.as_mut().await;
            assert_eq!(HyperTimer.now() - start, SECOND * 6);
            assert!(std::ptr::addr_eq(place, &*timeout), "no new allocation");
            assert_eq!(armed_timers(), 0);
        });
        run.unwrap();
        trace.expect([]);
    });
}

/// A sleep of another timer than ours.
struct Elsewhere;

impl Future for Elsewhere {
    type Output = ();

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
        Poll::Pending
    }
}

impl Sleep for Elsewhere {}

#[test]
fn a_sleep_of_another_timer_is_replaced_by_a_reset() {
    on_virtual_time(|trace, event_loop| {
        let run = event_loop.run_until_complete(async {
            let mut timeout: BoxedSleep = Box::pin(Elsewhere);
            let start = HyperTimer.now();
            HyperTimer.reset(&mut timeout, start + SECOND);
            timeout.await;
            assert_eq!(HyperTimer.now() - start, SECOND);
        });
        run.unwrap();
        trace.expect([]);
    });
}

#[test]
fn a_sleep_that_is_dropped_on_another_thread_is_disarmed_by_its_loop() {
    on_virtual_time(|trace, event_loop| {
        let run = event_loop.run_until_complete(async {
            let mut timeout = HyperTimer.sleep(SECOND);
            assert!(!poll_once(&mut timeout).await);
            assert_eq!(armed_timers(), 1);
            thread::spawn(move || drop(timeout)).join().unwrap();
            event_polls(2).await;
            assert_eq!(armed_timers(), 0);
        });
        run.unwrap();
        trace.expect([]);
    });
}

#[test]
fn a_sleep_may_be_dropped_between_two_runs_and_after_its_loop() {
    audited(|| {
        let trace = Trace::new();
        let event_loop = virtual_loop(&trace);
        let begin = |event_loop: &callsoon::EventLoop| {
            let run = event_loop.run_until_complete(async {
                let mut timeout = HyperTimer.sleep(SECOND);
                assert!(!poll_once(&mut timeout).await);
                Some(timeout)
            });
            run.unwrap().unwrap()
        };
        let (first, second) = (begin(&event_loop), begin(&event_loop));
        assert_eq!(event_loop.metrics().timers, 2);
        drop(first);
        one_turn(&event_loop);
        assert_eq!(event_loop.metrics().timers, 1);
        drop(event_loop);
        drop(second);
        trace.expect([]);
    });
}

#[test]
fn a_sleep_moves_to_the_loop_that_polls_it() {
    audited(|| {
        let trace = Trace::new();
        let (first, second) = (virtual_loop(&trace), virtual_loop(&trace));
        let run = first.run_until_complete(async {
            let mut timeout = HyperTimer.sleep(SECOND);
            assert!(!poll_once(&mut timeout).await);
            Some(timeout)
        });
        let mut timeout = run.unwrap().unwrap();
        let run = second.run_until_complete(async {
            assert!(!poll_once(&mut timeout).await);
            assert_eq!(armed_timers(), 1);
            timeout.await;
        });
        run.unwrap();
        one_turn(&first);
        assert_eq!(first.metrics().timers, 0, "the first loop has disarmed it");
        trace.expect([]);
    });
}

#[test]
fn a_sleep_that_is_polled_outside_a_loop_says_so_and_is_still_good_inside_one() {
    on_virtual_time(|trace, event_loop| {
        let mut timeout = HyperTimer.sleep(SECOND);
        let text = panic_text(|| Waiting::new(timeout.as_mut()).poll());
        assert_eq!(
            text,
            "no running event loop: a timeout of HyperTimer belongs inside a task or callback of one"
        );
        event_loop.run_until_complete(timeout).unwrap();
        trace.expect([]);
    });
}

#[test]
fn a_sleep_wakes_the_waker_of_its_last_poll_also_another_runtimes() {
    on_virtual_time(|trace, event_loop| {
        let run = event_loop.run_until_complete(async {
            let mut timeout = HyperTimer.sleep(SECOND);
            assert!(!poll_once(&mut timeout).await);
            let mut waiting = Waiting::begun(timeout);
            sleep(SECOND * 2).await;
            assert!(waiting.is_woken());
            assert_eq!(waiting.poll(), Some(()));
        });
        run.unwrap();
        trace.expect([]);
    });
}

#[test]
fn a_spawned_future_is_a_task_and_its_panic_is_reported() {
    on_virtual_time(|trace, event_loop| {
        let run = event_loop.run_until_complete(async {
            let local = Rc::new(Cell::new(0));
            let same = Rc::clone(&local);
            HyperExecutor.execute(async move { same.set(1) });
            HyperExecutor.execute(async { panic!("on purpose: a stream") });
            assert_eq!(callsoon::all_tasks().len(), 3);
            until(|| callsoon::all_tasks().len() == 1).await;
            assert_eq!(local.get(), 1);
        });
        run.unwrap();
        trace.expect(["report: Task exception was never retrieved (on purpose: a stream)"]);
    });
}

#[test]
fn outside_a_loop_the_executor_says_so() {
    audited(|| {
        let text = panic_text(|| HyperExecutor.execute(async {}));
        assert_eq!(
            text,
            "no running event loop: this call belongs inside a task or callback of one"
        );
    });
}
