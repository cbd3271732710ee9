//! Who holds a lock, and what tasks wait for besides primitives: streams, servers, other loops' results, many tasks.

use std::cell::Cell;
use std::future::Future;
use std::rc::Rc;
use std::time::Duration;

use callsoon::net::UnixStream;
use callsoon::sync::Lock;
use callsoon::transport::Protocol;
use callsoon::{
    Clock, EventLoop, LoopHandle, ReturnWhen, TaskInfo, WaitKind, as_completed, get_running_loop,
    sleep, task_builder, task_group, wait, wrap_future, yield_now,
};

use crate::support::{audited, leak, loopback, std_pair};

fn inspected_loop() -> EventLoop {
    let builder = EventLoop::builder().clock(Clock::Virtual);
    builder.inspect(true).build().unwrap()
}

/// Returns what is known of the task of this name.
fn info_of(event_loop: &LoopHandle, name: &str) -> TaskInfo {
    let infos = event_loop.task_infos();
    infos.into_iter().find(|info| info.name == name).unwrap()
}

/// Returns the kinds that a task waits for, with the names of the tasks among them.
fn waits_of(event_loop: &LoopHandle, name: &str) -> Vec<(WaitKind, Option<String>)> {
    let info = info_of(event_loop, name);
    assert_eq!(info.more_waits, 0);
    let waits = info.waits.into_iter();
    waits.map(|wait| (wait.kind, wait.task_name)).collect()
}

/// Starts a task that never ends by itself, returns what it waits for after some turns, and cancels it.
async fn waits_in(future: impl Future + 'static) -> Vec<(WaitKind, Option<String>)> {
    let task = task_builder().name("waiter").spawn(async move {
        future.await;
    });
    for _ in 0..5 {
        yield_now().await;
    }
    let waits = waits_of(&get_running_loop(), "waiter");
    task.cancel();
    assert!(task.await.is_err());
    waits
}

#[test]
fn a_lock_that_is_released_and_taken_outside_of_a_run_names_no_former_holder() {
    audited(|| {
        let event_loop = inspected_loop();
        let lock = leak(Lock::new(()));
        let give = Rc::new(Cell::new(None));
        let given = Rc::clone(&give);
        let former = event_loop.task_builder().name("former");
        let former = former.spawn(async move {
            given.set(Some(lock.acquire().await));
            sleep(Duration::from_secs(9)).await;
        });
        let waiter = event_loop.task_builder().name("waiter");
        let waiter = waiter.spawn(async move { drop(lock.acquire().await) });
        event_loop
            .run_until_complete(sleep(Duration::from_secs(1)))
            .unwrap();
        let held_by = |name: &str| vec![(WaitKind::Lock, Some(name.to_owned()))];
        assert_eq!(waits_of(&event_loop, "waiter"), held_by("former"));
        waiter.cancel();
        event_loop.run_until_complete(yield_now()).unwrap();
        // Outside of a run: the lock is released, and taken by nobody's task.
        drop(give.take());
        let held = lock.try_acquire().unwrap();
        let waiter = event_loop.task_builder().name("second");
        let waiter = waiter.spawn(async move { drop(lock.acquire().await) });
        event_loop
            .run_until_complete(sleep(Duration::from_secs(1)))
            .unwrap();
        assert_eq!(waits_of(&event_loop, "second"), [(WaitKind::Lock, None)]);
        assert!(info_of(&event_loop, "former").awaited_by.is_empty());
        drop(held);
        event_loop.run_until_complete(waiter).unwrap().unwrap();
        former.cancel();
        event_loop.run_until_complete(yield_now()).unwrap();
    });
}

#[test]
fn a_lock_that_a_task_of_another_loop_holds_names_no_task_of_this_one() {
    audited(|| {
        let lock = Rc::new(Lock::new(()));
        let (first, second) = (inspected_loop(), inspected_loop());
        for (event_loop, name) in [(&first, "holder"), (&second, "waiter")] {
            let lock = Rc::clone(&lock);
            let task = event_loop.task_builder().name(name);
            let task = task.spawn(async move {
                let held = lock.acquire().await;
                sleep(Duration::from_secs(9)).await;
                drop(held);
            });
            event_loop.run_until_complete(yield_now()).unwrap();
            task.detach();
        }
        assert_eq!(waits_of(&second, "waiter"), [(WaitKind::Lock, None)]);
        // The note goes with the loop of the holder.
        first
            .run_until_complete(sleep(Duration::from_secs(10)))
            .unwrap();
        drop(first);
        second
            .run_until_complete(sleep(Duration::from_secs(10)))
            .unwrap();
        assert!(!lock.locked());
    });
}

#[test]
fn a_task_that_waits_for_many_tasks_names_each_that_has_not_ended() {
    audited(|| {
        let event_loop = inspected_loop();
        let program = async {
            let tasks = || {
                let named = |(name, seconds)| {
                    let builder = task_builder().name(name);
                    builder.spawn(sleep(Duration::from_secs(seconds)))
                };
                [("ended", 0), ("short", 5), ("long", 6)].map(named)
            };
            let expected = ["short", "long"].map(|name| (WaitKind::Wait, Some(name.to_owned())));
            let waits = waits_in(async move {
                let mut tasks = Vec::from(tasks());
                yield_now().await;
                yield_now().await;
                wait(&mut tasks, ReturnWhen::AllCompleted, None).await;
            });
            assert_eq!(waits.await, expected);
            sleep(Duration::from_secs(10)).await;
            let waits = waits_in(async move {
                let mut ended = as_completed(tasks());
                while ended.next().await.is_some() {}
            });
            assert_eq!(waits.await, expected);
            sleep(Duration::from_secs(10)).await;
        };
        event_loop.run_until_complete(program).unwrap();
    });
}

#[test]
fn a_task_that_waits_for_room_in_its_group_is_named_with_that() {
    audited(|| {
        let event_loop = inspected_loop();
        let program = async {
            let waits = waits_in(async {
                let group = task_group(async |group| {
                    group.set_limit(1);
                    group.create_task(sleep(Duration::from_secs(5)));
                    group.wait_vacancy().await;
                });
                group.await.unwrap();
            });
            // The group waits for its children, whatever its body does.
            let child = (WaitKind::TaskGroup, Some("Task-3".to_owned()));
            assert_eq!(waits.await, [child, (WaitKind::Vacancy, None)]);
        };
        event_loop.run_until_complete(program).unwrap();
    });
}

#[test]
fn a_task_that_waits_for_another_loops_result_is_named_with_that() {
    audited(|| {
        let (event_loop, other) = (inspected_loop(), EventLoop::new().unwrap());
        let result = other.remote().run_coroutine_threadsafe(yield_now).unwrap();
        let program = async {
            let waits = waits_in(wrap_future(result)).await;
            assert_eq!(waits, [(WaitKind::ThreadFuture, None)]);
        };
        event_loop.run_until_complete(program).unwrap();
    });
}

#[test]
fn a_task_that_reads_or_drains_a_stream_is_named_with_that() {
    audited(|| {
        let event_loop = inspected_loop();
        let program = async {
            let open = || {
                let (near, far) = std_pair();
                (callsoon::open_connection(near), far)
            };
            let (opening, _peer) = open();
            let (mut reader, _writer) = opening.await.unwrap();
            let waits = waits_in(async move { reader.readline().await.map(drop) }).await;
            assert_eq!(waits, [(WaitKind::Stream, None)]);
            let (opening, _peer) = open();
            let (_reader, writer) = opening.await.unwrap();
            writer.write(vec![b'w'; 64 << 20]);
            let waits = waits_in(async move { writer.drain().await }).await;
            assert_eq!(waits, [(WaitKind::Stream, None)]);
        };
        event_loop.run_until_complete(program).unwrap();
    });
}

#[test]
fn a_task_that_waits_until_a_socket_is_writable_is_named_with_its_descriptor() {
    audited(|| {
        let event_loop = inspected_loop();
        let program = async {
            use std::os::fd::AsRawFd as _;
            let (near, _far) = UnixStream::pair().unwrap();
            let fd = near.as_raw_fd() as u64;
            let task = task_builder()
                .name("writer")
                .spawn(async move { near.write_all(&vec![b'w'; 64 << 20]).await.map(drop) });
            yield_now().await;
            yield_now().await;
            let waits = info_of(&get_running_loop(), "writer").waits;
            let waits: Vec<_> = waits.iter().map(|wait| (wait.kind, wait.object)).collect();
            assert_eq!(waits, [(WaitKind::Writable, Some(fd))]);
            task.cancel();
            assert!(task.await.is_err());
        };
        event_loop.run_until_complete(program).unwrap();
    });
}

struct Idle;

impl Protocol for Idle {}

#[test]
fn a_task_that_waits_for_a_server_is_named_with_that() {
    audited(|| {
        let event_loop = inspected_loop();
        let program = async {
            let serve = || get_running_loop().create_server(|| Idle, loopback());
            let server = serve().await.unwrap();
            let waits = waits_in(async move { server.serve_forever().await }).await;
            assert_eq!(waits, [(WaitKind::Server, None)]);
            let server = serve().await.unwrap();
            let waits = waits_in(async move { server.wait_closed().await }).await;
            assert_eq!(waits, [(WaitKind::Server, None)]);
        };
        event_loop.run_until_complete(program).unwrap();
    });
}
