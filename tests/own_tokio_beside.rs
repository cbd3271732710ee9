//! A binary of its own, because it starts tokio's runtime: the page `docs::tokio_beside`, line by line.

#[expect(dead_code, unused_imports, reason = "a part of it is needed here")]
#[path = "it/support/mod.rs"]
mod support;

use std::future::{Future, pending};
use std::net::TcpStream as StdStream;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::thread;
use std::time::Duration;

use callsoon::{Task, create_task, timeout};
use tokio::runtime::Handle;
use tokio::sync::{Mutex, Notify, Semaphore, broadcast, mpsc, oneshot, watch};
use tokio::task::{JoinError, JoinHandle};

use support::{in_a_loop, panic_text, std_pair};

/// What a runtime that is missing says.
const NO_REACTOR: &str =
    "there is no reactor running, must be called from the context of a Tokio 1.x runtime";

/// Opens the descriptors that tokio keeps for signals as long as the process lives.
fn begin_tokio() {
    let _alone = support::audit::alone();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    drop(runtime.unwrap());
}

/// Runs a test beside a tokio runtime in a thread of its own.
fn beside(test: impl AsyncFnOnce(Handle) + Send + 'static) {
    begin_tokio();
    in_a_loop(async move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let handle = runtime.handle().clone();
        let (stop, stopped) = oneshot::channel::<()>();
        let side = thread::spawn(move || drop(runtime.block_on(stopped)));
        test(handle).await;
        drop(stop);
        side.join().unwrap();
    });
}

/// A future that runs on the other runtime, and is aborted when this is dropped.
struct There<T>(JoinHandle<T>);

impl<T> Future for There<T> {
    type Output = Result<T, JoinError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(context)
    }
}

impl<T> Drop for There<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

#[test]
fn channels_of_tokio_and_smol_join_a_thread_and_a_task() {
    in_a_loop(async || {
        let (to_task, mut from_thread) = mpsc::channel(1);
        let (to_thread, from_task) = async_channel::bounded(1);
        let worker = thread::spawn(move || {
            for number in 0..100 {
                to_task.blocking_send(number).unwrap();
            }
            drop(to_task);
            from_task.recv_blocking().unwrap()
        });
        let mut sum = 0;
        while let Some(number) = from_thread.recv().await {
            sum += number;
        }
        to_thread.send(sum).await.unwrap();
        assert_eq!(worker.join().unwrap(), 4950);
    });
}

#[test]
fn every_primitive_of_tokio_sync_works_without_a_runtime() {
    in_a_loop(async || {
        let (answer, question) = oneshot::channel();
        let (change, mut changes) = watch::channel(0);
        let (tell, mut told) = broadcast::channel(4);
        let (lock, notify) = (Rc::new(Mutex::new(1)), Rc::new(Notify::new()));
        let permits = Rc::new(Semaphore::new(1));
        let held = lock.try_lock().unwrap();
        let (same_lock, same_notify, same_permits) =
            (Rc::clone(&lock), Rc::clone(&notify), Rc::clone(&permits));
        let waiting: Task<i32> = create_task(async move {
            let value = *same_lock.lock().await;
            same_notify.notified().await;
            let _permit = same_permits.acquire().await.unwrap();
            changes.changed().await.unwrap();
            value + question.await.unwrap() + *changes.borrow() + told.recv().await.unwrap()
        });
        drop(held);
        notify.notify_one();
        change.send(10).unwrap();
        tell.send(100).unwrap();
        answer.send(1000).unwrap();
        assert_eq!(waiting.await.unwrap(), 1111);
    });
}

#[test]
fn the_macros_of_tokio_work_without_a_runtime() {
    in_a_loop(async || {
        let first = tokio::select! {
            () = pending() => "never",
            () = callsoon::sleep(Duration::from_millis(1)) => "slept",
        };
        assert_eq!(first, "slept");
        assert_eq!(tokio::join!(async { 1 }, async { 2 }), (1, 2));
    });
}

#[test]
fn sockets_timers_and_tasks_of_tokio_say_that_they_need_their_runtime() {
    in_a_loop(async || {
        let (one, _other) = std_pair();
        one.set_nonblocking(true).unwrap();
        let socket = |stream: StdStream| tokio::net::TcpStream::from_std(stream);
        assert_eq!(panic_text(|| socket(one)), NO_REACTOR);
        assert_eq!(
            panic_text(|| tokio::time::sleep(Duration::ZERO)),
            NO_REACTOR
        );
        assert_eq!(panic_text(|| tokio::spawn(async {})), NO_REACTOR);
        assert_eq!(
            panic_text(|| tokio::task::spawn_blocking(|| ())),
            NO_REACTOR
        );
    });
}

#[test]
fn a_task_of_the_runtime_beside_is_awaited_here() {
    beside(async |runtime| {
        let here = thread::current().id();
        let there = There(runtime.spawn(async {
            tokio::time::sleep(Duration::from_millis(1)).await;
            thread::current().id()
        }));
        assert_ne!(there.await.unwrap(), here);
        let failing = There(runtime.spawn(async { panic!("on purpose: beside") }));
        assert!(failing.await.unwrap_err().is_panic());
    });
}

#[test]
fn a_timeout_or_a_cancellation_here_ends_the_work_there() {
    beside(async |runtime| {
        for cancels in [false, true] {
            let (alive, mut ended) = mpsc::channel::<()>(1);
            let (begin, begun) = oneshot::channel();
            let there = There(runtime.spawn(async move {
                let _alive = alive;
                begin.send(()).unwrap();
                pending::<()>().await
            }));
            begun.await.unwrap();
            if cancels {
                let task = create_task(there);
                callsoon::yield_now().await;
                task.cancel();
                assert!(task.await.is_err());
            } else {
                timeout(Duration::from_millis(1), there).await.unwrap_err();
            }
            assert!(ended.recv().await.is_none(), "it was dropped there");
        }
    });
}

#[test]
fn a_task_of_the_runtime_beside_awaits_a_coroutine_of_the_loop() {
    beside(async |runtime| {
        let remote = callsoon::get_running_loop().remote();
        let here = thread::current().id();
        let there = There(runtime.spawn(async move {
            let coroutine = || async {
                callsoon::sleep(Duration::from_millis(1)).await;
                thread::current().id()
            };
            remote.run_coroutine_threadsafe(coroutine).unwrap().await
        }));
        assert_eq!(there.await.unwrap().unwrap(), here);
    });
}
