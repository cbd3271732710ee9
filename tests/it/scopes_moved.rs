//! Cancel scopes in chains of tasks, around what has no node, dropped, forgotten, and moved while they are awaited.
//!
//! Lines of a trace begin with the seconds since the test began.

use std::cell::{Cell, RefCell};
use std::future::{Future, pending, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::task::Poll;

use callsoon::{
    EventLoop, ReturnWhen, as_completed, catch_cancelled, create_task, gather, get_running_loop,
    shield, task_group, timeout, wait,
};
use futures_lite::future::{or, zip};

use crate::support::scenario::{
    SECOND, at, cancelled_at, finish, in_scenario, said, say, tidy, unmoved, until,
};
use crate::support::{forget, one_turn, poll_once};

// Chains.

#[test]
fn a_chain_of_tasks_takes_as_many_turns_down_as_up() {
    in_scenario(|event_loop| {
        let marks = Rc::new(Cell::new((0, 0)));
        let bottom = Rc::clone(&marks);
        let mut task = event_loop.create_task(async move {
            let cancelled = catch_cancelled(pending::<()>()).await.unwrap_err();
            bottom.set((get_running_loop().metrics().turns, 0));
            cancelled.resume().await;
        });
        for _ in 0..10 {
            task = event_loop.create_task(async { drop(task.await) });
        }
        one_turn(event_loop);
        one_turn(event_loop);
        task.cancel();
        let before = event_loop.metrics().turns;
        event_loop
            .run_until_complete(shield(task))
            .unwrap()
            .unwrap_err();
        let after = event_loop.metrics().turns;
        let middle = marks.get().0;
        assert_eq!(middle - before, 11, "one turn for each on the way down");
        assert!(
            (11..=12).contains(&(after - middle)),
            "{} on the way up",
            after - middle
        );
    });
}

// What has no node.

#[test]
fn wait_and_as_completed_leave_their_tasks_alone() {
    in_scenario(|event_loop| {
        let job = |event_loop: &EventLoop, name: &'static str| {
            event_loop.create_task(async move {
                until(3.0).await;
                say(format!("{name} is done"));
            })
        };
        let mut waited = vec![job(event_loop, "the waited for")];
        let completed = as_completed([job(event_loop, "the other")]);
        cancelled_at(event_loop, &[1.0], async move {
            wait(&mut waited, ReturnWhen::AllCompleted, None)
                .await
                .len()
        });
        cancelled_at(event_loop, &[2.0], async move {
            let mut completed = completed;
            completed.next().await.is_some()
        });
        event_loop.run_until_complete(until(4.0)).unwrap();
        said([
            r#"1 cancelled by Task "1""#,
            r#"2 cancelled by Task "2""#,
            "3 the waited for is done",
            "3 the other is done",
        ]);
    });
}

// Dropped, forgotten.

#[test]
fn what_select_drops_cancels_no_task_and_no_future() {
    in_scenario(|event_loop| {
        let mut task = event_loop.create_task(until(3.0));
        let future = event_loop.create_future::<()>();
        cancelled_at(event_loop, &[], async move {
            or(async { drop((&mut task).await) }, until(1.0)).await;
            or(async { drop((&future).await) }, until(2.0)).await;
            say(format!("{} {}", task.cancelling(), future.done()));
            drop(task);
        });
        event_loop.run_until_complete(until(4.0)).unwrap();
        said(["2 0 false", "2 ended: ()"]);
    });
}

#[test]
fn a_group_that_is_dropped_asks_its_children_and_waits_for_none() {
    in_scenario(|event_loop| {
        cancelled_at(event_loop, &[], async {
            let group = task_group(async |group| {
                group.create_task(tidy("child", 1));
                pending::<()>().await;
            });
            or(async { drop(group.await) }, until(1.0)).await;
            or(
                async { drop(gather([tidy("gathered", 1)]).await) },
                until(2.0),
            )
            .await;
        });
        event_loop.run_until_complete(until(5.0)).unwrap();
        said([
            "1 child cleans up",
            "2 child is clean",
            "2 gathered cleans up",
            "2 ended: ()",
            "3 gathered is clean",
        ]);
    });
}

#[test]
fn what_is_forgotten_delays_no_request() {
    type Lost = Pin<Box<dyn Future<Output = ()>>>;
    let all: [fn() -> Lost; 6] = [
        || Box::pin(async { drop(catch_cancelled(pending::<()>()).await) }),
        || {
            Box::pin(async {
                let _ = timeout(SECOND * 9, pending::<()>()).await;
            })
        },
        || {
            Box::pin(async {
                drop(task_group(async |_| pending::<()>().await).await);
            })
        },
        || Box::pin(async { drop(gather([until(1.0)]).await) }),
        || Box::pin(async { drop(create_task(until(1.0)).await) }),
        || Box::pin(async { drop(get_running_loop().create_future::<()>().await) }),
    ];
    for lost in all {
        in_scenario(move |event_loop| {
            cancelled_at(event_loop, &[2.0, 4.0], async move {
                let mut lost = lost();
                assert!(poll_once(&mut lost).await.is_none());
                forget(lost);
                unmoved("a").await;
                tidy("b", 1).await;
            });
            said([
                "2 a goes on",
                "4 b cleans up",
                "5 b is clean",
                r#"5 cancelled by Task "4""#,
            ]);
        });
    }
}

#[test]
fn a_forgotten_token_makes_its_region_wait_for_the_next_request() {
    in_scenario(|event_loop| {
        cancelled_at(event_loop, &[5.0], async {
            timeout(SECOND, async {
                forget(catch_cancelled(pending::<()>()).await);
                pending::<()>().await;
            })
            .await
        });
        said([r#"5 cancelled by Task "5""#]);
    });
}

// Moved while they are awaited.

/// Polls `moved` in a task that is cancelled at one second or lives on, and from two seconds on in another one, which
/// is cancelled at four.
fn moved_at_two<T: std::fmt::Debug + 'static>(
    event_loop: &EventLoop,
    first_is_cancelled: bool,
    moved: impl Future<Output = T> + 'static,
) {
    let slot = Rc::new(RefCell::new(Some(Box::pin(moved))));
    let shared = Rc::clone(&slot);
    let mut first = event_loop.create_task(poll_fn(move |context| {
        if let Some(moved) = &mut *shared.borrow_mut() {
            assert!(moved.as_mut().poll(context).is_pending());
        }
        Poll::<()>::Pending
    }));
    let other = Rc::clone(&slot);
    let mut second = event_loop.create_task(async move {
        until(2.0).await;
        let moved = other.borrow_mut().take().unwrap();
        moved.await
    });
    let (one, two) = (first.as_ref(), second.as_ref());
    if first_is_cancelled {
        at(1.0, move || {
            one.cancel_with("the first");
        });
    }
    at(4.0, move || {
        two.cancel_with("the second");
    });
    finish(event_loop, &mut second);
    first.cancel();
    finish(event_loop, &mut first);
}

#[test]
fn a_clean_up_that_moves_to_another_task_resumes_there_as_a_raise() {
    in_scenario(|event_loop| {
        moved_at_two(event_loop, true, tidy("a", 2));
        said([
            "1 a cleans up",
            "3 a is clean",
            r#"3 cancelled by Raised "the first""#,
            r#"3 cancelled by Task "the first""#,
        ]);
    });
    // The same inside a region that moves with it.
    in_scenario(|event_loop| {
        moved_at_two(event_loop, true, timeout(SECOND * 99, tidy("a", 2)));
        said([
            "1 a cleans up",
            "3 a is clean",
            r#"3 cancelled by Raised "the first""#,
            r#"3 cancelled by Task "the first""#,
        ]);
    });
}

#[test]
fn clean_up_that_moves_away_has_nothing_to_say_where_it_was() {
    in_scenario(|event_loop| {
        let moved = Box::pin(timeout(SECOND * 99, tidy("moved", 4)));
        let slot = Rc::new(RefCell::new(Some(moved)));
        let shared = Rc::clone(&slot);
        let moved_away = poll_fn(move |context| match &mut *shared.borrow_mut() {
            Some(moved) => moved.as_mut().poll(context).map(drop),
            None => Poll::Ready(()),
        });
        let mut second = event_loop.create_task(async move {
            until(3.0).await;
            let moved = slot.borrow_mut().take().unwrap();
            moved.await
        });
        let sibling = async {
            unmoved("b").await;
            until(4.0).await;
            "went on"
        };
        cancelled_at(event_loop, &[1.0], zip(moved_away, sibling));
        finish(event_loop, &mut second);
        said([
            "1 moved cleans up",
            "1 b goes on",
            r#"4 ended: ((), "went on")"#,
            "5 moved is clean",
            r#"5 cancelled by Raised "1""#,
        ]);
    });
}

/// What polls a future where it is, for ever, and what takes it away from there at three and awaits it.
fn moves_at_three<F: Future>(
    future: F,
) -> (impl Future<Output = ()>, impl Future<Output = F::Output>) {
    let slot = Rc::new(RefCell::new(Some(Box::pin(future))));
    let shared = Rc::clone(&slot);
    let moved_away = poll_fn(move |context| {
        if let Some(moved) = &mut *shared.borrow_mut() {
            assert!(moved.as_mut().poll(context).is_pending());
        }
        Poll::Pending
    });
    let taken = async move {
        until(3.0).await;
        let moved = slot.borrow_mut().take().unwrap();
        moved.await
    };
    (moved_away, taken)
}

#[test]
fn a_pending_resume_that_moves_to_another_task_cancels_that_one_too() {
    in_scenario(|event_loop| {
        let (moved_away, taken) = moves_at_three(tidy("moved", 0));
        let mut second = event_loop.create_task(taken);
        cancelled_at(event_loop, &[1.0], zip(moved_away, tidy("slow", 4)));
        finish(event_loop, &mut second);
        said([
            "1 moved cleans up",
            "1 slow cleans up",
            "1 moved is clean",
            "5 slow is clean",
            r#"5 cancelled by Task "1""#,
            r#"5 cancelled by Raised "1""#,
        ]);
    });
}

#[test]
fn awaits_and_scopes_that_move_are_cancelled_where_they_are() {
    type Moved = Pin<Box<dyn Future<Output = ()>>>;
    let all: [fn() -> Moved; 5] = [
        || Box::pin(tidy("inside", 1)),
        || {
            Box::pin(async {
                let _ = timeout(SECOND * 99, tidy("inside", 1)).await;
            })
        },
        || {
            Box::pin(async {
                drop(task_group(async |_| tidy("inside", 1).await).await);
            })
        },
        || Box::pin(async { drop(gather([tidy("inside", 1)]).await) }),
        || Box::pin(async { drop(create_task(tidy("inside", 1)).await) }),
    ];
    for moved in all {
        in_scenario(move |event_loop| {
            moved_at_two(event_loop, false, async move { moved().await });
            said([
                "4 inside cleans up",
                "5 inside is clean",
                r#"5 cancelled by Task "the second""#,
                "5 cancelled by Task",
            ]);
        });
    }
}

#[test]
fn a_deadline_that_is_at_work_moves_with_its_region() {
    // The clean-up counts in the old place only; the region asks again in the new one.
    in_scenario(|event_loop| {
        moved_at_two(
            event_loop,
            false,
            timeout(SECOND, async {
                let caught = catch_cancelled(pending::<()>()).await;
                let _ = caught.map_err(forget);
                tidy("second", 1).await;
            }),
        );
        said([
            "2 second cleans up",
            "3 second is clean",
            "3 ended: Err(TimedOut)",
            "3 cancelled by Task",
        ]);
    });
}

#[test]
fn a_region_that_passed_is_late_when_it_moves_to_where_nothing_was_asked() {
    in_scenario(|event_loop| {
        let (moved_away, taken) = moves_at_three(timeout(SECOND, tidy("inside", 9)));
        let mut second = event_loop.create_task(taken);
        cancelled_at(event_loop, &[0.5], zip(moved_away, tidy("slow", 4)));
        finish(event_loop, &mut second);
        said([
            "0.5 inside cleans up",
            "0.5 slow cleans up",
            "4.5 slow is clean",
            r#"4.5 cancelled by Task "0.5""#,
            "4.5 ended: Err(TimedOut)",
        ]);
    });
}

#[test]
fn a_handle_that_is_awaited_by_turns_is_cancelled_by_its_newest_awaiter() {
    in_scenario(|event_loop| {
        let inner = event_loop.create_task(tidy("inner", 1));
        moved_at_two(event_loop, false, async { inner.await.is_ok() });
        said([
            "4 inner cleans up",
            "5 inner is clean",
            r#"5 cancelled by Task "the second""#,
            "5 cancelled by Task",
        ]);
    });
}
