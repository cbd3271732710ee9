//! A process of its own, because it runs out of descriptors on purpose.
//!
//! Fault L2: every operation of the network with no descriptor left, with one, with two, and so on. Each is an error or
//! works; nothing is left of it; and the next attempt, with room, works.

#[path = "own/descriptors.rs"]
mod descriptors;
#[path = "it/operations.rs"]
mod operations;
#[path = "it/operations_streams.rs"]
mod operations_streams;
#[expect(dead_code, unused_imports, reason = "a part of it is needed here")]
#[path = "it/support/mod.rs"]
mod support;

use std::io;
use std::time::Duration;

use callsoon::move_on_after;

use descriptors::{exhaust, limit_descriptors};
use operations::{Case, cases, folder, holdings, settle};
use operations_streams::more_cases;
use support::{Trace, audited, complete, counted_fds, real_loop, wait_until_gone, watched};

/// More than any operation opens.
const ENOUGH: usize = 12;

/// Runs the operation with this many free descriptors. Returns `None` if it still waits after a while, as for a client
/// that could not be accepted for lack of a descriptor.
async fn with_descriptors(case: &Case, free: usize) -> Option<io::Result<()>> {
    let operation = (case.begin)().await.unwrap();
    let former = limit_descriptors(counted_fds() as libc::rlim_t + 64);
    let mut files = exhaust();
    files.truncate(files.len() - free);
    let ended = if free < ENOUGH {
        move_on_after(Duration::from_millis(300), operation).await
    } else {
        Some(operation.await)
    };
    drop(files);
    limit_descriptors(former);
    ended
}

fn sweep(cases: fn() -> Vec<Case>) {
    audited(watched(move || {
        let trace = Trace::new();
        let event_loop = real_loop(&trace);
        let mut refused = 0;
        for case in cases() {
            complete(&event_loop, async {
                println!("{}", case.name);
                let before = holdings();
                for free in 0..=ENOUGH {
                    let ended = with_descriptors(&case, free).await;
                    refused += usize::from(matches!(ended, Some(Err(_))));
                    let works = matches!(ended, Some(Ok(())));
                    assert!(works || free < ENOUGH, "{free} are too few: {ended:?}");
                    settle(case.name, before).await;
                }
                (case.begin)().await.unwrap().await.unwrap();
                settle(case.name, before).await;
            });
        }
        assert!(refused >= 8, "only {refused} had too few descriptors");
        // A resolver thread holds a descriptor of its loop until it ends.
        drop(event_loop);
        wait_until_gone("callsoon-dns");
        let _ = std::fs::remove_dir(folder());
        let reports = trace.take();
        let other = |line: &&String| !line.contains("Out of system resources in accept");
        assert_eq!(reports.iter().find(other), None);
    }));
}

#[test]
fn l2_an_operation_of_a_socket_with_too_few_descriptors_is_an_error_and_leaves_nothing() {
    sweep(cases);
}

#[test]
fn l2_an_operation_of_a_transport_or_a_stream_with_too_few_descriptors_is_an_error_and_leaves_nothing()
 {
    sweep(more_cases);
}
