//! Waits that end at once because their queue or barrier was shut down: a loop over them lets other tasks run.

use std::cell::Cell;
use std::rc::Rc;

use callsoon::sync::Barrier;
use callsoon::{Queue, create_task, run, task_group};

use crate::support::audited;

/// Repeats a wait until another task, which is ready as well, has run.
fn lets_others_run(wait: impl AsyncFn() + Send + 'static) {
    audited(move || {
        run(async {
            let has_run = Rc::new(Cell::new(false));
            let other = Rc::clone(&has_run);
            let task = create_task(async move { other.set(true) });
            let mut waits = 0;
            while !has_run.get() {
                waits += 1;
                assert!(waits < 10_000, "it never suspends");
                wait().await;
            }
            task.await.unwrap();
        })
        .unwrap();
    });
}

#[test]
fn a_loop_over_a_queue_that_is_shut_down_lets_others_run() {
    fn shut_down() -> Queue<u8> {
        let queue = Queue::new(1);
        assert!(queue.shutdown(false).is_empty());
        queue
    }
    lets_others_run(async || {
        shut_down().get().await.unwrap_err();
    });
    lets_others_run(async || {
        shut_down().put(1).await.unwrap_err();
    });
    lets_others_run(async || shut_down().join().await);
}

#[test]
fn a_loop_over_a_broken_barrier_lets_others_run() {
    lets_others_run(async || {
        let barrier = Barrier::new(2);
        barrier.abort();
        barrier.wait().await.unwrap_err();
    });
}

#[test]
fn a_loop_over_the_vacancy_of_a_group_that_is_over_lets_others_run() {
    lets_others_run(async || {
        let group = task_group(async |group| Ok::<_, std::io::Error>(group.clone()));
        group.await.unwrap().wait_vacancy().await;
    });
}
