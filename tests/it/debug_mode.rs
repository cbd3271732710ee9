//! Debug mode: it warns of callbacks that delayed the loop and of tasks that were forgotten, and changes nothing else.
//! Few tests here wait: with a limit of zero every callback is slow, with one of an hour none is.

use std::future::pending;
use std::task::Context;
use std::time::Duration;

use callsoon::stream::{StreamReader, StreamWriter, open_connection, start_server};
use callsoon::transport::{DatagramProtocol, Protocol, Server};
use callsoon::{Clock, EventLoop, create_subprocess_shell, get_running_loop, yield_now};
use tracing::Level;

use crate::support::{
    HostileWaker, Touch, Trace, audited, complete, events_of, loopback, one_turn, pipe, std_pair,
    virtual_loop, warnings_of, watched,
};

struct Idle;

impl Protocol for Idle {}

impl DatagramProtocol for Idle {}

fn debug_loop(limit: Duration) -> EventLoop {
    EventLoop::builder()
        .clock(Clock::Virtual)
        .debug(true)
        .slow_callback_duration(limit)
        .build()
        .unwrap()
}

/// What was logged, without the times, which differ from run to run.
fn slow(f: impl FnOnce()) -> Vec<String> {
    let without_time = |line: String| {
        let words = line.split(' ').filter(|word| !word.starts_with("took="));
        words.collect::<Vec<_>>().join(" ")
    };
    warnings_of(f).into_iter().map(without_time).collect()
}

#[test]
fn debug_mode_is_off_unless_asked_for_and_can_be_switched() {
    audited(|| {
        let event_loop = EventLoop::builder().debug(true).build().unwrap();
        assert!(event_loop.debug());
        event_loop.set_debug(false);
        assert!(!event_loop.debug());
        assert_eq!(
            event_loop.slow_callback_duration(),
            Duration::from_millis(100)
        );
        assert!(!EventLoop::builder().debug(false).build().unwrap().debug());
        assert!(format!("{event_loop:?}").contains("debug: false"));
    });
}

#[test]
fn every_kind_of_callback_and_every_step_that_takes_long_is_named_with_its_birthplace() {
    audited(|| {
        let event_loop = debug_loop(Duration::ZERO);
        let lines = slow(|| {
            event_loop.call_soon(|| ());
            event_loop.call_at(event_loop.time(), || ());
            event_loop.create_task(yield_now()).detach();
            event_loop.create_future::<()>().add_done_callback(|_| ());
            let future = event_loop.create_future::<()>();
            future.add_done_callback(|_| ());
            future.cancel();
            one_turn(&event_loop);
            one_turn(&event_loop);
        });
        let first = line!() - 10;
        let held_up = |what: &str, line: u32, column: u32| {
            format!(
                "WARN a slow {what} held up the loop location={}:{line}:{column}",
                file!()
            )
        };
        let step = held_up("step of a task", first + 2, 24) + " task=\"Task-1\"";
        assert_eq!(
            lines,
            [
                held_up("callback", first, 24),
                step.clone(),
                held_up("callback", first + 5, 20),
                held_up("callback", first + 1, 24),
                step,
            ]
        );
    });
}

#[test]
fn the_main_future_is_measured_too() {
    audited(|| {
        let event_loop = debug_loop(Duration::ZERO);
        let lines = slow(|| event_loop.run_until_complete(async {}).unwrap());
        let line = line!() - 1;
        let place = format!("location={}:{line}:", file!());
        assert_eq!(lines.len(), 1);
        assert!(lines[0].starts_with(&format!(
            "WARN a slow step of a task held up the loop {place}"
        )));
    });
}

#[test]
fn what_is_faster_than_the_limit_is_not_mentioned_and_the_limit_can_be_changed() {
    audited(|| {
        let hour = Duration::from_secs(3600);
        let event_loop = debug_loop(hour);
        assert_eq!(event_loop.slow_callback_duration(), hour);
        let run = || {
            event_loop.call_soon(|| ());
            event_loop.run_until_complete(async {}).unwrap();
        };
        assert_eq!(slow(run), [""; 0]);
        event_loop.set_slow_callback_duration(Duration::ZERO);
        assert_eq!(slow(run).len(), 2);
        event_loop.set_slow_callback_duration(hour);
        assert_eq!(slow(run), [""; 0]);
    });
}

#[test]
fn without_debug_mode_slow_calls_are_reported_if_the_threshold_was_set_and_else_not() {
    audited(|| {
        let runs = |event_loop: &EventLoop| {
            slow(|| {
                event_loop.call_soon(|| std::thread::sleep(Duration::from_millis(110)));
                event_loop.run_until_complete(async {}).unwrap();
            })
        };
        let plain = EventLoop::builder().debug(false).build().unwrap();
        assert_eq!(
            runs(&plain),
            [""; 0],
            "a tenth of a second is the threshold"
        );
        plain.set_debug(true);
        assert_eq!(runs(&plain).len(), 1);
        plain.set_debug(false);
        assert_eq!(runs(&plain), [""; 0]);
        plain.set_slow_callback_duration(Duration::from_millis(105));
        assert_eq!(runs(&plain).len(), 1);
        let set = EventLoop::builder()
            .debug(false)
            .slow_callback_duration(Duration::ZERO);
        let set = set.build().unwrap();
        let lines = runs(&set);
        assert_eq!(lines.len(), 2, "{lines:?}");
        assert!(lines[0].starts_with("WARN a slow callback held up the loop location="));
        assert!(lines[1].ends_with("task=\"Task-1\""));
    });
}

#[test]
fn a_slow_callback_of_another_thread_is_named_too() {
    audited(|| {
        let event_loop = debug_loop(Duration::ZERO);
        let remote = event_loop.remote();
        let lines = slow(|| {
            remote.call_soon_threadsafe(|| ()).unwrap();
            one_turn(&event_loop);
        });
        let place = format!("location={}:{}:20", file!(), line!() - 3);
        assert_eq!(
            lines,
            [format!("WARN a slow callback held up the loop {place}")]
        );
    });
}

#[test]
fn a_poll_for_events_that_takes_long_is_reported_and_sleeping_is_not() {
    audited(|| {
        let event_loop = EventLoop::builder().debug(true).build().unwrap();
        let sleeps = || event_loop.run_until_complete(callsoon::sleep(Duration::from_millis(150)));
        assert_eq!(slow(|| sleeps().unwrap()), [""; 0], "it only slept");
        // A poll for events wakes whom the events concern: here a task of another runtime, whose waker is slow.
        let (near, far) = std::os::unix::net::UnixStream::pair().unwrap();
        near.set_nonblocking(true).unwrap();
        let waker = HostileWaker::new(|touch| {
            if touch == Touch::Wake {
                std::thread::sleep(Duration::from_millis(110));
            }
        });
        let lines = slow(|| {
            let main = async {
                let near = callsoon::AsyncFd::new(near).unwrap();
                let mut readable = Box::pin(near.readable());
                let its = waker.waker();
                let mut context = Context::from_waker(&its);
                assert!(readable.as_mut().poll(&mut context).is_pending());
                std::io::Write::write_all(&mut &far, b"x").unwrap();
                while waker.count(Touch::Wake) == 0 {
                    yield_now().await;
                }
            };
            event_loop.run_until_complete(main).unwrap();
        });
        assert_eq!(lines, ["WARN a slow poll for events held up the loop"]);
    });
}

#[test]
fn a_loop_that_closes_with_very_many_tasks_names_some_and_counts_the_others() {
    audited(|| {
        let named = |count: usize, handled: Option<Trace>| {
            slow(move || {
                let event_loop = debug_loop(Duration::from_secs(3600));
                if let Some(trace) = handled {
                    event_loop
                        .set_exception_handler(move |_, context| trace.push(context.to_string()));
                }
                for _ in 0..count {
                    event_loop.create_task(pending::<()>()).detach();
                }
                drop(event_loop);
            })
        };
        assert_eq!(named(20, None).len(), 20);
        let lines = named(100_000, None);
        assert_eq!(lines.len(), 21);
        assert!(lines[19].contains("task: Task-20; "), "{lines:?}");
        let further = "ERROR further tasks were destroyed but they are pending further=99980";
        assert_eq!(lines[20], further);
        let trace = Trace::new();
        assert_eq!(named(50, Some(trace.clone())), [""; 0]);
        assert_eq!(
            trace.take().len(),
            50,
            "a program's own handler is told of each"
        );
    });
}

#[test]
fn what_was_not_closed_before_its_loop_is_named_in_debug_mode() {
    audited(|| {
        let lines = |debug: bool, closed: bool| {
            slow(move || {
                let event_loop = EventLoop::builder().debug(debug).build().unwrap();
                let opened = event_loop.run_until_complete(open_much(closed)).unwrap();
                drop(event_loop);
                drop(opened);
            })
        };
        assert_eq!(lines(false, false), [""; 0]);
        assert_eq!(lines(true, true), [""; 0]);
        let mut found = lines(true, false);
        found.sort();
        let resources: Vec<_> = found
            .iter()
            .map(|line| line.rsplit_once(" location=").unwrap())
            .map(|(rest, place)| {
                assert!(place.contains("debug_mode.rs"), "{place}");
                rest
            })
            .collect();
        let expected = ["a datagram transport", "a listening socket", "a transport"];
        let event = "WARN a resource was not closed before its loop";
        assert_eq!(
            resources,
            expected.map(|resource| format!("{event} resource=\"{resource}\""))
        );
    });
}

#[test]
fn a_pipe_that_was_not_closed_before_its_loop_is_named_in_debug_mode() {
    audited(|| {
        let lines = |closed: bool| {
            slow(move || {
                let event_loop = debug_loop(Duration::from_secs(3600));
                let (reading, writing) = pipe().unwrap();
                let opened = async {
                    let event_loop = get_running_loop();
                    let reader = event_loop
                        .connect_read_pipe(|| Idle, reading)
                        .await
                        .unwrap()
                        .0;
                    let writer = event_loop
                        .connect_write_pipe(|| Idle, writing)
                        .await
                        .unwrap()
                        .0;
                    if closed {
                        reader.close();
                        writer.close();
                        yield_now().await;
                        yield_now().await;
                    }
                    (reader, writer)
                };
                let opened = event_loop.run_until_complete(opened).unwrap();
                drop(event_loop);
                drop(opened);
            })
        };
        assert_eq!(lines(true), [""; 0]);
        let event = "WARN a resource was not closed before its loop resource=\"a transport\"";
        let found = lines(false);
        let found: Vec<_> = found
            .iter()
            .map(|line| line.split_once(" location=").unwrap())
            .collect();
        assert_eq!(
            found.iter().map(|(text, _)| *text).collect::<Vec<_>>(),
            [event; 2]
        );
        assert!(
            found
                .iter()
                .all(|(_, place)| place.contains("debug_mode.rs")),
            "{found:?}"
        );
    });
}

/// Opens a resource of each kind, and closes it or leaves it to the loop. A server that is dropped is closed.
/// The peer of the transport is returned too: its end would close the transport, if the loop came to hear of it.
async fn open_much(close: bool) -> (Server, std::net::TcpStream) {
    let event_loop = get_running_loop();
    let server = event_loop.create_server(|| Idle, loopback()).await.unwrap();
    let (near, far) = std_pair();
    let (transport, _) = event_loop
        .connect_accepted_socket(|| Idle, near)
        .await
        .unwrap();
    let endpoint = event_loop
        .create_datagram_endpoint(|| Idle)
        .local_addr(loopback());
    let (datagrams, _) = endpoint.await.unwrap();
    if close {
        server.close();
        transport.close();
        datagrams.close();
        yield_now().await;
        yield_now().await;
    }
    (server, far)
}

#[test]
fn connections_and_processes_are_told_to_who_looks_for_them_in_debug_mode() {
    let told = |debug: bool| {
        events_of(Level::DEBUG, || {
            let builder = EventLoop::builder().debug(debug);
            let event_loop = builder
                .slow_callback_duration(Duration::from_secs(3600))
                .build()
                .unwrap();
            complete(&event_loop, async {
                let client = async |mut reader: StreamReader, _writer: StreamWriter| {
                    reader.read_to_end().await.map(drop)
                };
                let server = start_server(client, "127.0.0.1:0").await.unwrap();
                let address = server.local_addr().unwrap();
                let (_reader, writer) = open_connection(address).await.unwrap();
                tracing::debug!("client {address}");
                writer.close();
                writer.wait_closed().await.unwrap();
                server.close();
                server.wait_closed().await;
                let process = create_subprocess_shell("exit 3").await.unwrap();
                tracing::debug!("process {}", process.pid());
                process.wait().await.unwrap();
            });
        })
    };
    audited(watched(move || {
        let lines = told(true);
        let of = |start: &str| lines.iter().filter(|line| line.starts_with(start)).count();
        let named = |start: &str| {
            lines
                .iter()
                .find_map(|line| line.strip_prefix(start))
                .unwrap()
        };
        let (address, pid) = (named("DEBUG client "), named("DEBUG process "));
        // One of the client's side, which names the server, and one of the server's.
        assert_eq!(of("DEBUG a connection begins peer=127.0.0.1:"), 2);
        assert_eq!(
            of(&format!(
                "DEBUG a connection begins peer={address} location="
            )),
            1
        );
        assert_eq!(of(&format!("DEBUG a process was started pid={pid}")), 1);
        let exited = format!("DEBUG a process has exited pid={pid} status=exit status: 3");
        assert_eq!(of(&exited), 1, "{lines:?}");
        assert_eq!(told(false).len(), 2, "without debug mode there are none");
    }));
}

#[test]
fn a_blocking_socket_is_named_in_debug_mode() {
    audited(|| {
        let lines = slow(|| {
            let event_loop = debug_loop(Duration::from_secs(3600));
            let (near, _far) = std::os::unix::net::UnixStream::pair().unwrap();
            let near = socket2::Socket::from(near);
            let handle = event_loop.handle();
            let received =
                event_loop.run_until_complete(async { handle.sock_recv(&near, 1).await });
            assert!(received.unwrap().is_err());
            let socket = std::os::fd::AsRawFd::as_raw_fd(&near);
            tracing::info!("{socket}");
        });
        let (event, number) = (&lines[0], lines[1].strip_prefix("INFO ").unwrap());
        let text = "WARN a socket in blocking mode was passed to the loop";
        assert_eq!(*event, format!("{text} socket={number}"));
        assert_eq!(lines.len(), 2);
    });
}

#[test]
fn a_callback_that_panics_is_measured_and_reported() {
    audited(|| {
        let event_loop = debug_loop(Duration::ZERO);
        let lines = slow(|| {
            event_loop.call_soon(|| panic!("on purpose"));
            one_turn(&event_loop);
        });
        assert_eq!(lines.len(), 2, "{lines:?}");
        assert!(lines[0].starts_with("ERROR Exception in callback"));
        assert!(lines[1].starts_with("WARN a slow callback held up the loop"));
    });
}

#[test]
fn a_loop_that_is_dropped_with_pending_tasks_names_each_in_both_modes() {
    audited(|| {
        let line = line!() + 6;
        let pending_tasks = |debug: bool, count: usize| {
            slow(move || {
                let event_loop = debug_loop(Duration::from_secs(3600));
                event_loop.set_debug(debug);
                for _ in 0..count {
                    event_loop.create_task(pending::<()>()).detach();
                }
                drop(event_loop);
            })
        };
        let named = ["Task-1", "Task-2"].map(|task| {
            format!(
                "ERROR Task was destroyed but it is pending!; task: {task}; created at {}:{line}:32",
                file!()
            )
        });
        for debug in [true, false] {
            assert_eq!(pending_tasks(debug, 2), named);
            assert_eq!(pending_tasks(debug, 0), [""; 0]);
        }
    });
}

#[test]
fn debug_mode_changes_no_order() {
    audited(|| {
        let run = |debug: bool| {
            let trace = Trace::new();
            let event_loop = virtual_loop(&trace);
            event_loop.set_debug(debug);
            let t = trace.clone();
            event_loop.call_soon(trace.note("callback"));
            event_loop.call_later(Duration::from_secs(1), trace.note("timer"));
            event_loop.call_soon(|| panic!("on purpose"));
            event_loop
                .run_until_complete(async move {
                    t.push("main");
                    yield_now().await;
                    t.push("main again");
                    callsoon::sleep(Duration::from_secs(1)).await;
                })
                .unwrap();
            event_loop.call_soon(trace.note("cancelled")).cancel();
            one_turn(&event_loop);
            trace.take()
        };
        assert_eq!(run(true), run(false));
        assert_eq!(run(true).len(), 5);
    });
}
