//! A limit and a result in one turn: what the awaiting task finds when it runs decides.

use std::time::Duration;

use callsoon::{
    EventLoop, ReturnWhen, Timeout, create_task, get_running_loop, interval, move_on_after, sleep,
    sleep_until, sleep_with, timeout, wait, wait_for, yield_now,
};

use crate::support::{Trace, Waiting, complete, on_virtual_time, one_turn};

const SECOND: Duration = Duration::from_secs(1);

/// What `wait_for` gives for a future that `sets` sees to; it is called before the limit begins.
fn waits(
    event_loop: &EventLoop,
    sets: impl FnOnce(callsoon::Future<&'static str>),
) -> Result<&'static str, callsoon::TimedOut> {
    complete(event_loop, async {
        let future = get_running_loop().create_future();
        sets(future.clone());
        wait_for(future, SECOND).await.map(Result::unwrap)
    })
}

#[test]
fn a_result_that_a_callback_of_the_deadline_s_turn_sets_before_the_task_runs_wins() {
    on_virtual_time(|trace, event_loop| {
        let t = trace.clone();
        let value = waits(&event_loop, |future| {
            get_running_loop().call_later(SECOND, move || {
                future.set_result("in time").unwrap();
                t.push("set");
            });
        });
        assert_eq!(value, Ok("in time"));
        trace.expect(["set"]);
    });
}

#[test]
fn a_result_that_another_task_of_the_deadline_s_turn_sets_before_the_task_runs_wins() {
    on_virtual_time(|_, event_loop| {
        let value = waits(&event_loop, |future| {
            let when = get_running_loop().time() + SECOND;
            create_task(async move {
                sleep_until(when).await;
                future.set_result("in time").unwrap();
            })
            .detach();
        });
        // Here the limit's timer is first, and the limit has asked when the result is set.
        assert_eq!(value, Ok("in time"));
        let value = complete(&event_loop, async {
            let future = get_running_loop().create_future();
            let setter = future.clone();
            let when = get_running_loop().time() + SECOND;
            create_task(async move {
                sleep_until(when).await;
                setter.set_result("in time").unwrap();
            })
            .detach();
            yield_now().await;
            wait_for(future, SECOND).await.map(Result::unwrap)
        });
        assert_eq!(value, Ok("in time"));
    });
}

#[test]
fn a_result_that_is_set_in_the_deadline_s_turn_after_the_limit_has_asked_wins_too() {
    on_virtual_time(|trace, event_loop| {
        let t: Trace = trace.clone();
        let value = complete(&event_loop, async move {
            let future = get_running_loop().create_future::<&str>();
            let setter = future.clone();
            let waiting = create_task(wait_for(future, SECOND));
            yield_now().await;
            get_running_loop().call_later(SECOND, move || {
                t.push(format!("{:?}", setter.set_result("taken")));
            });
            waiting.await.unwrap()
        });
        assert_eq!(value.unwrap().unwrap(), "taken");
        trace.expect(["Ok(())"]);
    });
}

#[test]
fn a_result_of_the_deadline_s_turn_wins_also_under_two_limits_and_in_a_task() {
    on_virtual_time(|_, event_loop| {
        let value = complete(&event_loop, async {
            let future = get_running_loop().create_future();
            let setter = future.clone();
            get_running_loop().call_later(SECOND, move || setter.set_result("in time").unwrap());
            timeout(SECOND, timeout(SECOND, future)).await
        });
        assert_eq!(value.unwrap().unwrap().unwrap(), "in time");
    });
}

#[test]
fn an_awaited_future_takes_a_result_between_the_cancel_of_its_task_and_the_task_s_next_step() {
    on_virtual_time(|_, event_loop| {
        let future = event_loop.create_future();
        let task = event_loop.create_task(future.clone());
        complete(&event_loop, yield_now());
        assert!(task.cancel());
        // In asyncio the future is cancelled by now.
        assert!(!future.done());
        future.set_result("in between").unwrap();
        let ended = complete(&event_loop, task);
        assert!(
            ended.unwrap_err().cancelled().is_some(),
            "the request acts all the same"
        );
        assert_eq!(future.result().unwrap().unwrap(), "in between");
    });
}

#[test]
fn a_time_of_duration_max_never_ends_a_wait() {
    on_virtual_time(|_, event_loop| {
        const FIVE_CENTURIES: Duration = Duration::from_secs(500 * 365 * 24 * 3600);
        const MAX: Duration = Duration::MAX;
        let main = async {
            let event_loop = get_running_loop();
            let never = || event_loop.create_future::<()>();
            let mut tasks = vec![create_task(never())];
            let limit = Timeout::after(MAX);
            let timer = event_loop.call_later(MAX, || unreachable!());
            let mut every = interval(MAX);
            every.tick().await;
            let mut waits = vec![
                Waiting::begun(sleep(MAX)),
                Waiting::begun(sleep_with(MAX, ())),
                Waiting::begun(async { drop(timeout(MAX, never()).await) }),
                Waiting::begun(async { drop(wait_for(never(), MAX).await) }),
                Waiting::begun(async { drop(move_on_after(MAX, never()).await) }),
                Waiting::begun(async { drop(limit.run(never()).await) }),
                Waiting::begun(async {
                    drop(wait(&mut tasks, ReturnWhen::AllCompleted, Some(MAX)).await);
                }),
                Waiting::begun(async {
                    every.tick().await;
                }),
            ];
            sleep(FIVE_CENTURIES).await;
            for (number, wait) in waits.iter_mut().enumerate() {
                assert!(wait.poll().is_none(), "number {number}");
            }
            timer.cancel();
            drop(waits);
            tasks.remove(0).cancel();
        };
        // Without the watchdog's timers, of which there would be billions.
        event_loop.run_until_complete(main).unwrap();
        one_turn(&event_loop);
    });
}
