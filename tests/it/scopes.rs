//! Cancel scopes: catching a cancellation, cleaning up, deciding.

use std::time::Duration;

use callsoon::{catch_cancelled, create_task, sleep, task_group, timeout, yield_now};

use crate::support::{on_virtual_time, one_turn};

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn clean_up_is_awaited_before_the_task_ends_as_cancelled() {
    on_virtual_time(|trace, event_loop| {
        let t = trace.clone();
        let mut task = event_loop.create_task(async move {
            let cancelled = catch_cancelled(sleep(SECOND * 9)).await.unwrap_err();
            t.push("cleaning up");
            sleep(SECOND).await;
            t.push("clean");
            cancelled.resume().await
        });
        one_turn(&event_loop);
        task.cancel_with("enough");
        let start = event_loop.time();
        let error = event_loop
            .run_until_complete(&mut task)
            .unwrap()
            .unwrap_err();
        assert_eq!(error.cancelled().unwrap().message(), Some("enough"));
        assert_eq!(event_loop.time() - start, SECOND);
        trace.expect(["cleaning up", "clean"]);
    });
}

#[test]
fn a_handled_cancellation_lets_the_task_go_on() {
    on_virtual_time(|_, event_loop| {
        let mut task = event_loop.create_task(async {
            drop(catch_cancelled(sleep(SECOND * 9)).await.unwrap_err());
            sleep(SECOND).await;
            "went on"
        });
        one_turn(&event_loop);
        task.cancel();
        let result = event_loop.run_until_complete(&mut task).unwrap();
        assert_eq!(result.unwrap(), "went on");
    });
}

#[test]
fn a_cancellation_follows_awaited_tasks_and_comes_back() {
    on_virtual_time(|trace, event_loop| {
        let t = trace.clone();
        let mut outer = event_loop.create_task(async move {
            let t2 = t.clone();
            let inner = create_task(async move {
                let cancelled = catch_cancelled(sleep(SECOND * 9)).await.unwrap_err();
                t2.push("inner cleans up");
                sleep(SECOND).await;
                cancelled.resume().await
            });
            let result: Result<(), _> = inner.await;
            t.push(format!("not reached {result:?}"));
        });
        one_turn(&event_loop);
        one_turn(&event_loop);
        outer.cancel_with("stop");
        let error = event_loop
            .run_until_complete(&mut outer)
            .unwrap()
            .unwrap_err();
        assert_eq!(error.cancelled().unwrap().message(), Some("stop"));
        trace.expect(["inner cleans up"]);
    });
}

#[test]
fn a_timeout_waits_for_clean_up_inside() {
    on_virtual_time(|trace, event_loop| {
        let t = trace.clone();
        let start = event_loop.time();
        let result = event_loop
            .run_until_complete(timeout(SECOND, async move {
                let cancelled = catch_cancelled(sleep(SECOND * 9)).await.unwrap_err();
                t.push("late");
                sleep(SECOND).await;
                cancelled.resume().await
            }))
            .unwrap();
        let result: Result<(), _> = result;
        assert!(result.is_err());
        assert_eq!(event_loop.time() - start, SECOND * 2);
        trace.expect(["late"]);
    });
}

#[test]
fn a_failing_child_cancels_its_siblings_and_the_body() {
    on_virtual_time(|trace, event_loop| {
        let t = trace.clone();
        let error = event_loop
            .run_until_complete(task_group(async move |group| {
                let t2 = t.clone();
                group.create_task(async move {
                    let cancelled = catch_cancelled(sleep(SECOND * 9)).await.unwrap_err();
                    t2.push("sibling cleans up");
                    sleep(SECOND).await;
                    cancelled.resume().await;
                });
                group.create_task(async {
                    yield_now().await;
                    Err::<(), _>("broken")
                });
                let cancelled = catch_cancelled(sleep(SECOND * 9)).await.unwrap_err();
                t.push("body cleans up");
                cancelled.resume().await;
            }))
            .unwrap()
            .unwrap_err();
        assert_eq!(error.failures().len(), 1);
        trace.expect(["sibling cleans up", "body cleans up"]);
    });
}
