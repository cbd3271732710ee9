//! Fault L2: every operation of the network may be dropped at each of its waits, and nothing is left of it.
//!
//! No descriptor, watched source, task, timer or file is left. The operation is dropped before its first poll, or after
//! any of its waits, at once or when the event has arrived already.

use std::future::poll_fn;
use std::io;
use std::task::Poll;

use callsoon::yield_now;

use crate::operations::{Case, Holdings, Operation, cases, folder, holdings, settle};
use crate::operations_streams::more_cases;
use crate::support::{complete, on_real_time, wait_until_gone};

/// Polls an operation until it has waited so often, and gives what it came to by then.
async fn wait_so_often(operation: &mut Operation, mut waits: usize) -> Option<io::Result<()>> {
    poll_fn(|context| match operation.as_mut().poll(context) {
        Poll::Ready(result) => Poll::Ready(Some(result)),
        Poll::Pending if waits == 0 => Poll::Ready(None),
        Poll::Pending => {
            waits -= 1;
            Poll::Pending
        }
    })
    .await
}

/// Drops an operation after so many waits. Returns whether it was still pending then.
async fn give_up(case: &Case, before: Holdings, waits: usize, turns: usize) -> bool {
    let mut operation = (case.begin)().await.unwrap();
    let ended = wait_so_often(&mut operation, waits).await;
    if let Some(result) = &ended {
        assert!(result.is_ok(), "{}: {result:?}", case.name);
    }
    for _ in 0..turns {
        yield_now().await;
    }
    drop(operation);
    settle(case.name, before).await;
    ended.is_none()
}

/// The most waits of an operation that are tried one by one; those with much to send have thousands, all alike.
const MOST_WAITS: usize = 12;

fn every_wait_of(cases: fn() -> Vec<Case>) {
    on_real_time(move |trace, event_loop| {
        for case in cases() {
            complete(&event_loop, async {
                println!("{}", case.name);
                let before = holdings();
                let operation = (case.begin)().await.unwrap();
                drop(operation);
                settle(case.name, before).await;
                for turns in [0, 3] {
                    let mut waits = 0;
                    while waits < MOST_WAITS && give_up(&case, before, waits, turns).await {
                        waits += 1;
                    }
                }
                let whole = (case.begin)().await.unwrap();
                let ended = whole.await;
                assert!(ended.is_ok(), "{}: {ended:?}", case.name);
                settle(case.name, before).await;
            });
        }
        // A resolver thread holds a descriptor of its loop until it ends.
        drop(event_loop);
        wait_until_gone("callsoon-dns");
        let _ = std::fs::remove_dir(folder());
        trace.expect([]);
    });
}

#[test]
fn l2_an_operation_of_a_socket_that_is_given_up_at_any_wait_leaves_nothing() {
    every_wait_of(cases);
}

#[test]
fn l2_an_operation_of_a_transport_or_a_stream_that_is_given_up_at_any_wait_leaves_nothing() {
    every_wait_of(more_cases);
}
