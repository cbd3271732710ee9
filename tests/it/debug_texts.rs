//! What values print of themselves: `{:?}` says the state that a program may ask for, and errors say what has happened.

use std::error::Error;
use std::fmt::{Debug, Display};
use std::future::{pending, ready};
use std::time::Duration;

use callsoon::net::{TcpListener, UdpSocket};
use callsoon::process::{Command, PIPE};
use callsoon::queue::ShutDown;
use callsoon::sync::Semaphore;
use callsoon::testing::{Leftover, duplex};
use callsoon::{
    AsyncFd, Clock, ContextVar, EventLoop, ExecutorError, FutureError, Histogram, InvalidState,
    LoopClosed, NoException, RunError, Runner, TaskError, ThreadFutureError, ThreadPoolExecutor,
    TimedOut, WaitKind, as_completed, copy, copy_bidirectional, copy_context, create_task,
    defer_async_drop, gather, get_running_loop, interval, race, shield, task_builder, task_group,
    try_gather, wrap_future,
};

use crate::support::{audited, complete, loopback, on_virtual_time, settling};

static USER: ContextVar<&str> = ContextVar::new("user");

fn shows(value: &impl Debug, text: &str) {
    assert_eq!(format!("{value:?}"), text);
}

fn says(error: &impl Display, text: &str) {
    assert_eq!(error.to_string(), text);
}

#[test]
fn what_combines_futures_shows_how_many_are_left() {
    on_virtual_time(|_, event_loop| {
        complete(&event_loop, async {
            let two = || [create_task(ready(1)), create_task(ready(2))];
            let mut ended = as_completed(two());
            shows(&ended, "AsCompleted { len: 2, .. }");
            assert_eq!(ended.next().await.unwrap().await.unwrap(), 1);
            shows(&ended, "AsCompleted { len: 1, .. }");
            drop(ended);
            let gathered = gather([ready(1), ready(2)]);
            shows(&gathered, "Gather { left: 2, .. }");
            assert_eq!(gathered.await.unwrap().len(), 2);
            let tried = try_gather([ready(Ok::<u8, String>(1)), ready(Ok(2))]);
            shows(&tried, "TryGather { gather: Gather { left: 2, .. }, .. }");
            assert_eq!(tried.await.unwrap(), [1, 2]);
            let raced = race([ready(1), ready(2), ready(3)]);
            shows(&raced, "Race { left: 3 }");
            assert_eq!(raced.await, 1);
        });
    });
}

#[test]
fn a_group_shows_its_children_and_gives_back_what_it_does_not_take() {
    on_virtual_time(|_, event_loop| {
        complete(&event_loop, async {
            let mut outside = None;
            task_group(async |group| {
                group.create_task(async { Ok::<_, TimedOut>(()) });
                shows(group, "TaskGroup { children: 1, takes_children: true }");
                outside = Some(group.clone());
                Ok::<_, TimedOut>(())
            })
            .await
            .unwrap();
            let group = outside.unwrap();
            shows(&group, "TaskGroup { children: 0, takes_children: false }");
        });
    });
}

#[test]
fn handles_of_tasks_show_the_task_and_clean_ups_nothing() {
    on_virtual_time(|_, event_loop| {
        complete(&event_loop, async {
            let task = create_task(pending::<()>());
            let text = format!("{task:?}");
            let handle = format!("{:?}", task.cancel_handle());
            assert!(handle.starts_with("CancelHandle { task: "), "{handle}");
            assert!(handle.ends_with(", .. }"), "{handle}");
            let future = get_running_loop().create_future::<u8>();
            let handle = format!("{:?}", future.cancel_handle());
            assert!(handle.starts_with("CancelHandle { future: "), "{handle}");
            let owned = task.cancel_on_drop();
            shows(&owned, &format!("CancelOnDrop(Some({text}))"));
            drop(owned);
            let named = task_builder().name("named");
            let shown = format!("{named:?}");
            assert!(shown.contains("named"), "{shown}");
            drop(named);
            let clean_up = defer_async_drop(async {});
            shows(&clean_up, "AsyncDrop { .. }");
            let kept = shield(create_task(ready(7)));
            assert!(format!("{kept:?}").starts_with("Shield("));
            assert_eq!(kept.await.unwrap(), 7);
            let reported = create_task(async { Ok::<u8, TimedOut>(1) });
            let text = format!("{reported:?}");
            let reported = reported.report_errors();
            shows(&reported, &text);
        });
    });
}

#[test]
fn a_context_and_what_sets_it_back_show_no_values() {
    on_virtual_time(|_, event_loop| {
        complete(&event_loop, async {
            shows(&USER, "ContextVar { name: \"user\", .. }");
            shows(&copy_context(), "Context { values: 0 }");
            let first = USER.set("ada");
            shows(&first, "ContextToken { was_set: false }");
            let second = USER.set("bob");
            shows(&second, "ContextToken { was_set: true }");
            shows(&copy_context(), "Context { values: 1 }");
        });
    });
}

#[test]
fn a_clock_a_schedule_and_permits_show_where_they_stand() {
    on_virtual_time(|_, event_loop| {
        complete(&event_loop, async {
            let clock = get_running_loop().clock().unwrap();
            let text = format!("{clock:?}");
            assert!(text.ends_with("auto_advance: true }"), "{text}");
            let held = clock.hold();
            shows(&held, "ClockGuard { .. }");
            drop(held);
            let ticks = interval(Duration::from_secs(2));
            let text = format!("{ticks:?}");
            let start = "Interval { period: 2s, missed_tick_behavior: ";
            assert!(text.starts_with(start), "{text}");
            let semaphore = Semaphore::new(3);
            let two = semaphore.try_acquire_many(2).unwrap();
            shows(&two, "SemaphoreGuard { permits: 2, .. }");
        });
    });
}

#[test]
fn copies_and_lines_show_how_far_they_have_come() {
    on_virtual_time(|_, event_loop| {
        complete(&event_loop, async {
            let (near, far) = duplex(64);
            shows(&near, "DuplexStream { read: 0, written: 0, .. }");
            let (mut here, there) = duplex(64);
            let copying = copy(near, &mut here);
            shows(&copying, "Copying { copied: 0, .. }");
            drop((copying, far));
            let (mut near, far) = duplex(64);
            let both = copy_bidirectional(&mut near, there);
            shows(&both, "CopyingBidirectional { copied: (0, 0), .. }");
            drop((both, far));
        });
    });
}

#[test]
fn sockets_files_and_children_show_what_they_are() {
    settling(|_, _| async {
        let listener = TcpListener::bind(loopback()).await.unwrap();
        let local = listener.local_addr().unwrap();
        let text = format!("{listener:?}");
        assert!(text.contains(&local.to_string()), "{text}");
        let socket = UdpSocket::bind(loopback()).await.unwrap();
        let text = format!("{socket:?}");
        assert!(text.starts_with("DatagramSocket("), "{text}");
        let (near, _far) = std::os::unix::net::UnixStream::pair().unwrap();
        near.set_nonblocking(true).unwrap();
        let text = format!("AsyncFd({near:?})");
        let near = AsyncFd::new(near).unwrap();
        shows(&near, &text);
        let guard = near.writable().await.unwrap();
        let text = format!("{guard:?}");
        assert!(text.starts_with("ReadyGuard { fd: "), "{text}");
        assert!(text.ends_with("direction: Write }"), "{text}");
        // It ends when its input does.
        let mut command = Command::new("cat").stdin(PIPE).kill_on_drop(true);
        let text = format!("{command:?}");
        assert!(text.starts_with("Command { std: \"cat\", "), "{text}");
        assert!(text.contains("kill_on_drop: true"), "{text}");
        let mut child = command.spawn().unwrap();
        let pid = child.pid();
        shows(
            &child,
            &format!("Process {{ pid: {pid}, returncode: None }}"),
        );
        drop(child.stdin.take());
        child.wait().await.unwrap();
        let shown =
            format!("Process {{ pid: {pid}, returncode: Some(ExitStatus(unix_wait_status(0))) }}");
        shows(&child, &shown);
    });
}

#[test]
fn handles_for_threads_show_whether_there_is_something_to_wait_for() {
    on_virtual_time(|_, event_loop| {
        let remote = event_loop.remote();
        shows(&remote, "RemoteHandle { closed: false }");
        let posted = remote.call_soon_threadsafe(|| ()).unwrap();
        let text = format!("{posted:?}");
        assert!(text.ends_with("cancelled: false, .. }"), "{text}");
        posted.cancel();
        let text = format!("{posted:?}");
        assert!(text.ends_with("cancelled: true, .. }"), "{text}");
        let future = remote.run_coroutine_threadsafe(|| ready(5)).unwrap();
        shows(&future, "ThreadFuture { done: false, .. }");
        complete(&event_loop, async {
            let wrapped = wrap_future(future);
            let text = "WrappedFuture(ThreadFuture { done: false, .. })";
            shows(&wrapped, text);
            assert_eq!(wrapped.await.unwrap(), 5);
        });
        event_loop.close().unwrap();
        shows(&remote, "RemoteHandle { closed: true }");
    });
}

#[test]
fn a_pool_s_builder_shows_its_settings() {
    let builder = ThreadPoolExecutor::builder().max_workers(3);
    let text = format!("{builder:?}");
    let start = "ThreadPoolBuilder { max_workers: 3, keep_alive: ";
    assert!(text.starts_with(start), "{text}");
}

#[test]
fn a_runner_shows_its_stage_and_a_closed_one_runs_nothing() {
    audited(|| {
        let builder = EventLoop::builder().clock(Clock::Virtual);
        let mut runner = Runner::with_builder(builder).handle_ctrl_c(false);
        shows(&runner, "Runner { stage: new, .. }");
        assert_eq!(runner.run(async { 3 }).unwrap(), 3);
        shows(&runner, "Runner { stage: open, .. }");
        let nested = runner.run(async { Runner::default().run(ready(1)) });
        assert!(matches!(nested.unwrap(), Err(RunError::Nested)));
        runner.close().unwrap();
        shows(&runner, "Runner { stage: closed, .. }");
        let late = runner.run(async {});
        assert!(matches!(late, Err(RunError::Closed)));
        assert!(matches!(runner.event_loop(), Err(RunError::Closed)));
    });
}

#[test]
fn a_histogram_shows_its_figures() {
    let mut histogram = Histogram::new();
    assert_eq!(histogram.mean(), Duration::ZERO);
    assert_eq!(histogram.percentile(50.0), Duration::ZERO);
    for _ in 0..3 {
        histogram.record(Duration::from_nanos(8));
    }
    assert_eq!(histogram.sum(), Duration::from_nanos(24));
    assert_eq!(histogram.count_within(Duration::from_nanos(4)), 0);
    assert_eq!(histogram.count_within(Duration::MAX), 3);
    shows(
        &histogram,
        "Histogram { count: 3, mean: 8ns, median: 8ns, p99: 8ns, max: 8ns }",
    );
}

#[test]
fn errors_without_a_cause_say_what_has_happened() {
    says(&TimedOut, "timed out");
    let text = "invalid state: a result is read only when it is there, and set only once";
    says(&InvalidState(7), text);
    says(&NoException::InvalidState, "the task has not ended");
    says(&NoException::Cancelled, "the task was cancelled");
    let text = "the task's panic has been taken before";
    says(&NoException::Taken, text);
    let nested = RunError::Nested;
    says(&nested, "a loop is already running in this thread");
    assert!(nested.source().is_none());
    assert!(TaskError::Taken.source().is_none());
    assert!(TaskError::Taken.cancelled().is_none());
    assert!(TaskError::Taken.panicked().is_none());
    assert!(FutureError::Taken.source().is_none());
    assert!(FutureError::Taken.cancelled().is_none());
    let text = "the future's value has been taken before";
    says(&std::io::Error::from(FutureError::Taken), text);
    assert!(matches!(RunError::from(LoopClosed), RunError::Closed));
    shows(&ShutDown(1), "ShutDown");
}

#[test]
fn errors_of_jobs_and_of_coroutines_say_who_has_ended_them() {
    let broken = ExecutorError::Broken;
    says(&broken, "the initializer of a thread of the pool panicked");
    let text = "the job's result has been taken before";
    says(&ExecutorError::Taken, text);
    assert!(ExecutorError::Taken.source().is_none());
    let cancelled = ThreadFutureError::Cancelled;
    says(&cancelled, "the coroutine was cancelled");
    let text = "the coroutine has not ended in time";
    says(&ThreadFutureError::TimedOut, text);
    let text = "the loop's own thread would wait for itself";
    says(&ThreadFutureError::OwnThread, text);
    let text = "the coroutine's result has been taken before";
    says(&ThreadFutureError::Taken, text);
    assert!(ThreadFutureError::Taken.source().is_none());
}

#[test]
fn what_a_test_leaves_says_what_it_is_and_where_it_began() {
    let location = std::panic::Location::caller();
    let text = format!("callback that is ready, queued at {location}");
    says(&Leftover::Callback { location }, &text);
    let name = "name".to_owned();
    let task = Leftover::Task { name, location };
    let text = format!("pending task name, created at {location}");
    says(&task, &text);
    let never = Leftover::Timer { due_in: None };
    says(&never, "timer that never fires");
    let due_in = Some(Duration::from_secs(2));
    says(&Leftover::Timer { due_in }, "timer that is due in 2s");
    let sources = Leftover::Sources(3);
    says(&sources, "3 descriptors registered with the loop");
    says(&Leftover::Jobs(2), "2 jobs of the default executor");
    let (id, name) = (7, "worker".to_owned());
    let thread = Leftover::Thread { id, name };
    says(&thread, "thread 7 (worker)");
    let (id, name) = (8, "cat".to_owned());
    let process = Leftover::Process { id, name };
    says(&process, "child process 8 (cat)");
}

#[test]
fn each_kind_of_wait_has_the_name_of_its_call() {
    let named = [
        (WaitKind::Wait, "wait"),
        (WaitKind::Readable, "readable"),
        (WaitKind::Writable, "writable"),
        (WaitKind::Stream, "stream"),
        (WaitKind::ThreadFuture, "ThreadFuture"),
        (WaitKind::Process, "Process.wait"),
        (WaitKind::Signal, "signal"),
        (WaitKind::Vacancy, "TaskGroup.wait_vacancy"),
        (WaitKind::Server, "Server"),
    ];
    for (kind, name) in named {
        says(&kind, name);
    }
}
