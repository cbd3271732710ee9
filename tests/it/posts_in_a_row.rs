//! Posts that arrive one after the other are entries of their own: each keeps its place, counts, and is cancelled alone.

use std::sync::{Arc, Mutex};

use callsoon::{EventLoop, RemoteHandle, ThreadsafeHandle};

use crate::support::{on_virtual_time, one_turn};

type Lines = Arc<Mutex<Vec<String>>>;

fn post(remote: &RemoteHandle, lines: &Lines, line: impl ToString) -> ThreadsafeHandle {
    let (lines, line) = (Arc::clone(lines), line.to_string());
    let posted = remote.call_soon_threadsafe(move || lines.lock().unwrap().push(line));
    posted.unwrap()
}

/// Posts from a thread that has ended when this returns.
fn post_all(event_loop: &EventLoop, lines: &Lines, posts: u32) -> Vec<ThreadsafeHandle> {
    let (remote, lines) = (event_loop.remote(), Arc::clone(lines));
    let poster = move || (0..posts).map(|n| post(&remote, &lines, n)).collect();
    std::thread::spawn(poster).join().unwrap()
}

fn taken(lines: &Lines) -> Vec<String> {
    std::mem::take(&mut *lines.lock().unwrap())
}

fn numbers(numbers: impl IntoIterator<Item = u32>) -> Vec<String> {
    numbers.into_iter().map(|n| n.to_string()).collect()
}

#[test]
fn each_keeps_its_place_among_other_entries() {
    on_virtual_time(|_, event_loop| {
        let lines = Lines::default();
        let mut expected = Vec::new();
        for round in 0..4 {
            // Runs of one to four posts, with a callback of the loop's own thread behind each.
            post_all(&event_loop, &lines, round + 1);
            let (own, line) = (Arc::clone(&lines), format!("call {round}"));
            event_loop.call_soon(move || own.lock().unwrap().push(line));
            expected.extend(numbers(0..=round));
            expected.push(format!("call {round}"));
            assert_eq!(event_loop.metrics().ready, expected.len());
        }
        one_turn(&event_loop);
        assert_eq!(taken(&lines), expected);
        assert_eq!(event_loop.metrics().ready, 0);
    });
}

#[test]
fn each_is_cancelled_alone_before_and_after_it_was_queued() {
    on_virtual_time(|_, event_loop| {
        let lines = Lines::default();
        for cancelled in 0..6 {
            for queued in [false, true] {
                let handles = post_all(&event_loop, &lines, 6);
                if queued {
                    event_loop.call_soon(|| ());
                    assert_eq!(event_loop.metrics().ready, 7);
                }
                assert!(handles[cancelled as usize].cancel());
                one_turn(&event_loop);
                assert_eq!(taken(&lines), numbers((0..6).filter(|n| *n != cancelled)));
                let late: Vec<_> = handles.iter().map(ThreadsafeHandle::cancel).collect();
                assert_eq!(late, [false; 6]);
            }
        }
    });
}

#[test]
fn what_a_post_queues_or_posts_runs_in_the_next_turn() {
    on_virtual_time(|_, event_loop| {
        let (lines, remote) = (Lines::default(), event_loop.remote());
        for n in 0..3 {
            let (again, lines) = (remote.clone(), Arc::clone(&lines));
            let run = move || {
                lines.lock().unwrap().push(format!("post {n}"));
                let own = Arc::clone(&lines);
                let call = move || own.lock().unwrap().push(format!("call of {n}"));
                callsoon::get_running_loop().call_soon(call);
                post(&again, &lines, format!("post of {n}"));
            };
            remote.call_soon_threadsafe(run).unwrap();
        }
        one_turn(&event_loop);
        assert_eq!(taken(&lines), ["post 0", "post 1", "post 2"]);
        assert_eq!(event_loop.metrics().ready, 6);
        one_turn(&event_loop);
        let expected = [
            "call of 0",
            "post of 0",
            "call of 1",
            "post of 1",
            "call of 2",
            "post of 2",
        ];
        assert_eq!(taken(&lines), expected);
    });
}

#[test]
fn a_panic_in_one_is_reported_and_those_behind_it_run() {
    on_virtual_time(|trace, event_loop| {
        let (lines, remote) = (Lines::default(), event_loop.remote());
        for n in 0..4 {
            let lines = Arc::clone(&lines);
            let run = move || {
                lines.lock().unwrap().push(n.to_string());
                assert!(n % 2 == 1, "on purpose: in {n}");
            };
            // The lock is not held when it panics.
            remote.call_soon_threadsafe(run).unwrap();
        }
        one_turn(&event_loop);
        assert_eq!(taken(&lines), numbers(0..4));
        trace.expect([
            "report: Exception in callback (on purpose: in 0)",
            "report: Exception in callback (on purpose: in 2)",
        ]);
    });
}

#[test]
fn a_loop_that_closes_counts_none_of_them_any_more() {
    on_virtual_time(|_, event_loop| {
        let lines = Lines::default();
        post_all(&event_loop, &lines, 100);
        event_loop.call_soon(|| ());
        assert_eq!(event_loop.metrics().ready, 101);
        event_loop.close().unwrap();
        assert_eq!(event_loop.metrics().ready, 0);
        assert_eq!(taken(&lines), numbers([]));
        assert_eq!(Arc::strong_count(&lines), 1);
    });
}
