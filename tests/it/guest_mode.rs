//! Another loop drives ours: by `turn`, and by a descriptor that is readable when a turn has work. `poll(2)` takes the
//! place of the other loop.

use std::cell::Cell;
use std::io::Write as _;
use std::os::fd::AsRawFd as _;
use std::rc::Rc;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use callsoon::net::TcpStream;
use callsoon::{EventLoop, RunError, create_task, get_running_loop, sleep, yield_now};

use crate::support::{
    SharedTrace, Trace, audited, complete, on_real_time, on_virtual_time, readable_within,
    real_loop, std_pair, stream_pair, thread_id, virtual_loop, wait_until_asleep, watched,
};

fn readable(event_loop: &EventLoop) -> bool {
    readable_within(event_loop, Duration::ZERO)
}

/// What another loop does when its own timer expires.
fn idle_turn(event_loop: &EventLoop) {
    event_loop.turn(Some(Duration::ZERO)).unwrap();
}

/// A loop that is a guest already, and has nothing to do.
fn guest(trace: &Trace) -> EventLoop {
    let event_loop = real_loop(trace);
    idle_turn(&event_loop);
    assert!(!readable(&event_loop));
    event_loop
}

/// Long for a loop that should have been notified, short for a test that fails.
const SOON: Duration = Duration::from_secs(20);

#[test]
fn an_idle_guest_is_not_readable() {
    audited(watched(|| {
        let event_loop = guest(&Trace::new());
        event_loop.call_later(Duration::from_secs(3600), || ());
        // The new timer itself is news, which one turn takes in.
        idle_turn(&event_loop);
        assert!(!readable(&event_loop));
        for _ in 0..10 {
            idle_turn(&event_loop);
            assert!(!readable(&event_loop));
        }
    }));
}

#[test]
fn a_timer_makes_a_guest_readable_when_it_is_due() {
    audited(watched(|| {
        let trace = Trace::new();
        let event_loop = guest(&trace);
        let start = Instant::now();
        let delay = Duration::from_millis(50);
        event_loop.call_later(delay, trace.note("timer"));
        assert!(readable(&event_loop));
        idle_turn(&event_loop);
        let mut lines = trace.take();
        // It is there already if the machine stood still meanwhile.
        if lines.is_empty() {
            assert!(readable_within(&event_loop, SOON));
            idle_turn(&event_loop);
            lines = trace.take();
        }
        assert_eq!(lines, ["timer"]);
        assert!(start.elapsed() >= delay, "early: {:?}", start.elapsed());
        assert!(!readable(&event_loop));
    }));
}

#[test]
fn timers_one_after_another_each_make_a_guest_readable() {
    audited(watched(|| {
        let trace = Trace::new();
        let event_loop = guest(&trace);
        let start = event_loop.time();
        let at = |delay| start + Duration::from_millis(delay);
        for delay in [30, 10, 20] {
            event_loop.call_at(at(delay), trace.note(delay));
        }
        let cancelled = event_loop.call_at(at(5), trace.note("cancelled"));
        idle_turn(&event_loop);
        cancelled.cancel();
        // What is due by now, if the machine stood still, has run.
        let mut seen = trace.take();
        seen.retain(|line| line != "cancelled");
        while seen.len() < 3 {
            assert!(readable_within(&event_loop, SOON), "after {seen:?}");
            idle_turn(&event_loop);
            seen.extend(trace.take());
        }
        assert_eq!(seen, ["10", "20", "30"]);
    }));
}

#[test]
fn a_timer_armed_inside_a_turn_makes_a_guest_readable() {
    audited(watched(|| {
        let trace = Trace::new();
        let event_loop = guest(&trace);
        let t = trace.clone();
        let task = event_loop.create_task(async move {
            for round in 0..3 {
                sleep(Duration::from_millis(2)).await;
                t.push(round);
            }
        });
        while !task.done() {
            assert!(readable_within(&event_loop, SOON));
            idle_turn(&event_loop);
        }
        trace.expect(["0", "1", "2"]);
    }));
}

#[test]
fn a_post_from_another_thread_makes_a_guest_readable() {
    audited(watched(|| {
        let trace = SharedTrace::new();
        let event_loop = guest(&Trace::new());
        for round in 0..3 {
            let (remote, t) = (event_loop.remote(), trace.clone());
            thread::spawn(move || {
                remote.call_soon_threadsafe(t.note("first")).unwrap();
                remote.call_soon_threadsafe(t.note("second")).unwrap();
            })
            .join()
            .unwrap();
            assert!(readable(&event_loop), "in round {round}");
            idle_turn(&event_loop);
            trace.expect(["first", "second"]);
            assert!(!readable(&event_loop));
        }
    }));
}

#[test]
fn a_post_that_comes_during_a_turn_makes_a_guest_readable() {
    audited(watched(|| {
        let trace = SharedTrace::new();
        let event_loop = guest(&Trace::new());
        let (remote, t) = (event_loop.remote(), trace.clone());
        event_loop.call_soon(move || {
            thread::spawn(move || remote.call_soon_threadsafe(t.note("posted")).unwrap())
                .join()
                .unwrap();
        });
        assert!(readable(&event_loop));
        idle_turn(&event_loop);
        trace.expect([]);
        assert!(readable(&event_loop));
        idle_turn(&event_loop);
        trace.expect(["posted"]);
        assert!(!readable(&event_loop));
    }));
}

#[test]
fn a_callback_queued_between_turns_makes_a_guest_readable() {
    audited(watched(|| {
        let trace = Trace::new();
        let event_loop = guest(&trace);
        for _ in 0..3 {
            event_loop.call_soon(trace.note("first"));
            event_loop.call_soon(trace.note("second"));
            assert!(readable(&event_loop));
            idle_turn(&event_loop);
            trace.expect(["first", "second"]);
            assert!(!readable(&event_loop));
        }
    }));
}

#[test]
fn a_task_made_woken_or_cancelled_between_turns_makes_a_guest_readable() {
    audited(watched(|| {
        let trace = Trace::new();
        let event_loop = guest(&trace);
        let future = event_loop.create_future::<u8>();
        let (awaited, t) = (future.clone(), trace.clone());
        let task = event_loop.create_task(async move {
            t.push("started");
            t.push(awaited.await.unwrap());
            std::future::pending::<()>().await;
        });
        assert!(readable(&event_loop), "made");
        idle_turn(&event_loop);
        trace.expect(["started"]);
        assert!(!readable(&event_loop));
        future.set_result(7).unwrap();
        assert!(readable(&event_loop), "woken");
        idle_turn(&event_loop);
        trace.expect(["7"]);
        assert!(!readable(&event_loop));
        task.cancel();
        assert!(readable(&event_loop), "cancelled");
        idle_turn(&event_loop);
        assert!(task.cancelled());
    }));
}

#[test]
fn a_socket_makes_a_guest_readable() {
    audited(watched(|| {
        let trace = Trace::new();
        let event_loop = guest(&trace);
        let (ours, mut peer) = std_pair();
        let t = trace.clone();
        let task = event_loop.create_task(async move {
            let stream = TcpStream::from_std(ours).unwrap();
            let mut byte = [0];
            while stream.read(&mut byte).await.unwrap() == 1 {
                t.push(byte[0] as char);
            }
            t.push("end");
        });
        idle_turn(&event_loop);
        // The registration may report what the socket could do from the start.
        idle_turn(&event_loop);
        assert!(!readable(&event_loop));
        peer.write_all(b"x").unwrap();
        assert!(readable_within(&event_loop, SOON));
        idle_turn(&event_loop);
        trace.expect(["x"]);
        assert!(!readable(&event_loop));
        drop(peer);
        assert!(readable_within(&event_loop, SOON));
        idle_turn(&event_loop);
        trace.expect(["end"]);
        assert!(task.done());
    }));
}

#[test]
fn a_turn_runs_what_is_ready_once_and_says_what_it_left() {
    audited(watched(|| {
        let trace = Trace::new();
        let event_loop = guest(&trace);
        let t = trace.clone();
        event_loop.call_soon(move || {
            t.push("first turn");
            get_running_loop().call_soon(t.note("second turn"));
        });
        idle_turn(&event_loop);
        trace.expect(["first turn"]);
        assert!(event_loop.has_ready());
        idle_turn(&event_loop);
        trace.expect(["second turn"]);
        assert!(!event_loop.has_ready());
    }));
}

#[test]
fn a_turn_waits_as_long_as_it_may_and_no_shorter() {
    audited(watched(|| {
        let event_loop = guest(&Trace::new());
        let limit = Duration::from_millis(20);
        let start = Instant::now();
        event_loop.turn(Some(limit)).unwrap();
        assert!(start.elapsed() >= limit, "{:?}", start.elapsed());
        // A deadline beyond the clock's end is no deadline; what is ready ends the wait.
        event_loop.call_soon(|| ());
        event_loop.turn(Some(Duration::MAX)).unwrap();
    }));
}

#[test]
fn a_turn_without_limit_waits_for_a_post() {
    audited(watched(|| {
        let trace = SharedTrace::new();
        let event_loop = guest(&Trace::new());
        let (remote, t, sleeper) = (event_loop.remote(), trace.clone(), thread_id());
        let (running, runs) = mpsc::channel();
        event_loop.call_soon(move || running.send(()).unwrap());
        let poster = thread::spawn(move || {
            runs.recv().unwrap();
            wait_until_asleep(sleeper);
            remote.call_soon_threadsafe(t.note("posted")).unwrap();
        });
        event_loop.turn(None).unwrap();
        event_loop.turn(None).unwrap();
        poster.join().unwrap();
        trace.expect(["posted"]);
    }));
}

#[test]
fn stop_between_turns_ends_the_wait_of_the_next_and_no_later_run() {
    audited(watched(|| {
        let event_loop = guest(&Trace::new());
        event_loop.stop();
        event_loop.turn(None).unwrap();
        complete(&event_loop, yield_now());
    }));
}

#[test]
fn a_loop_changes_between_guest_and_host_at_will() {
    audited(watched(|| {
        let trace = SharedTrace::new();
        let event_loop = real_loop(&Trace::new());
        for round in 0..3 {
            idle_turn(&event_loop);
            let (remote, t) = (event_loop.remote(), trace.clone());
            thread::spawn(move || remote.call_soon_threadsafe(t.note("posted")).unwrap())
                .join()
                .unwrap();
            assert!(readable(&event_loop), "in round {round}");
            complete(&event_loop, sleep(Duration::from_millis(1)));
            trace.expect(["posted"]);
            // As a host it is woken from its sleep again.
            let (remote, sleeper) = (event_loop.remote(), thread_id());
            let (running, runs) = mpsc::channel();
            event_loop.call_soon(move || running.send(()).unwrap());
            let poster = thread::spawn(move || {
                runs.recv().unwrap();
                wait_until_asleep(sleeper);
                remote
                    .call_soon_threadsafe(|| get_running_loop().stop())
                    .unwrap();
            });
            event_loop.run_forever().unwrap();
            poster.join().unwrap();
            idle_turn(&event_loop);
            event_loop.call_soon(trace.note("soon"));
            assert!(readable(&event_loop), "in round {round}");
            idle_turn(&event_loop);
            trace.expect(["soon"]);
        }
    }));
}

#[test]
fn a_whole_program_runs_as_a_guest_by_its_descriptor_alone() {
    on_real_time(|_, event_loop| {
        let (announce, announced) = async_channel::bounded(1);
        let poster = thread::spawn(move || announce.send_blocking("from another thread").unwrap());
        let task = event_loop.create_task(async move {
            let (near, far) = stream_pair();
            let echo = create_task(async move {
                let mut buffer = [0; 64];
                while let Ok(count @ 1..) = far.read(&mut buffer).await {
                    far.write_all(&buffer[..count]).await.unwrap();
                }
            });
            for round in 0..100_u32 {
                near.write_all(&round.to_be_bytes()).await.unwrap();
                let mut answer = [0; 4];
                near.read_exact(&mut answer).await.unwrap();
                assert_eq!(u32::from_be_bytes(answer), round);
                if round % 10 == 0 {
                    sleep(Duration::from_micros(500)).await;
                    yield_now().await;
                }
            }
            assert_eq!(announced.recv().await.unwrap(), "from another thread");
            drop(near);
            echo.await.unwrap();
            "done"
        });
        let mut turns = 0;
        idle_turn(&event_loop);
        while !task.done() {
            assert!(
                event_loop.has_ready() || readable_within(&event_loop, SOON),
                "nothing says that there is something to do"
            );
            idle_turn(&event_loop);
            turns += 1;
        }
        assert_eq!(complete(&event_loop, task).unwrap(), "done");
        // No turn for nothing: a few for each message, not thousands.
        assert!(turns < 2000, "{turns} turns");
        poster.join().unwrap();
    });
}

#[test]
fn two_guests_of_one_thread_are_driven_side_by_side() {
    audited(watched(|| {
        let loops = [guest(&Trace::new()), guest(&Trace::new())];
        let finished = Rc::new(Cell::new(0));
        for event_loop in &loops {
            let finished = Rc::clone(&finished);
            event_loop.create_task(async move {
                for _ in 0..10 {
                    sleep(Duration::from_millis(1)).await;
                }
                finished.set(finished.get() + 1);
            });
        }
        while finished.get() < 2 {
            for event_loop in &loops {
                if event_loop.has_ready() || readable_within(event_loop, Duration::from_millis(1)) {
                    idle_turn(event_loop);
                }
            }
        }
    }));
}

#[test]
fn a_turn_inside_a_running_loop_and_on_a_closed_one_is_an_error() {
    audited(watched(|| {
        let outer = virtual_loop(&Trace::new());
        let inner = Rc::new(virtual_loop(&Trace::new()));
        let guest = Rc::clone(&inner);
        outer
            .run_until_complete(async move {
                assert!(matches!(guest.turn(None), Err(RunError::Nested)));
            })
            .unwrap();
        inner.close().unwrap();
        assert!(matches!(inner.turn(None), Err(RunError::Closed)));
        assert_eq!(inner.as_raw_fd(), -1);
    }));
}

#[test]
fn a_virtual_guest_jumps_to_its_timers_when_it_may_wait() {
    on_virtual_time(|trace, event_loop| {
        event_loop.call_later(Duration::from_secs(3600), trace.note("an hour later"));
        idle_turn(&event_loop);
        trace.expect([]);
        event_loop.turn(None).unwrap();
        trace.expect(["an hour later"]);
    });
}
