//! Its own binary because it leaks on purpose, which a leak checker of the other tests must not see.

use std::future::{Future, pending, poll_fn};
use std::io::Write as _;
use std::mem::forget;
use std::net::{TcpListener, TcpStream as StdStream};
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use callsoon::net::TcpStream;
use callsoon::{Clock, EventLoop, ReturnWhen, as_completed, shield, sleep_with, wait, yield_now};

fn poll_once(future: impl Future) {
    let _ = pin!(future).poll(&mut Context::from_waker(Waker::noop()));
}

/// Polls a boxed future once with the running task's own waker and forgets it.
async fn poll_and_forget<F: Future + 'static>(future: F) {
    let mut future = Box::pin(future);
    poll_fn(|context| {
        let _ = future.as_mut().poll(context);
        Poll::Ready(())
    })
    .await;
    forget(future);
}

#[test]
fn k5_forgotten_futures_handles_and_guards_leak_and_do_no_other_harm() {
    let event_loop = EventLoop::builder().clock(Clock::Virtual).build().unwrap();
    let future = event_loop.create_future::<u8>();
    let awaited = future.clone();
    event_loop
        .run_until_complete(async move {
            // Each waits for this task, which ends while they are still in the wait queue.
            poll_and_forget(callsoon::sleep(Duration::from_secs(1))).await;
            poll_and_forget(yield_now()).await;
            poll_and_forget(awaited.clone()).await;
            poll_and_forget(awaited.take()).await;
            poll_and_forget(callsoon::create_task(pending::<()>())).await;
        })
        .unwrap();
    forget(event_loop.create_task(async { "an output that nobody drops".to_owned() }));
    forget(
        event_loop
            .create_task(async { panic!("that nobody hears of") })
            .as_ref(),
    );
    forget(event_loop.call_soon(|| ()));
    forget(event_loop.call_later(Duration::from_secs(2), || ()));
    forget(event_loop.task_builder().name("never spawned"));
    future.set_result(1).unwrap();
    event_loop.set_exception_handler(|_, _| ());
    event_loop
        .run_until_complete(callsoon::sleep(Duration::from_secs(3)))
        .unwrap();
    assert_eq!(event_loop.metrics().tasks, 1, "the one that waits for ever");
    assert_eq!(event_loop.metrics().timers, 0);
    event_loop.close().unwrap();
    assert_eq!(future.result().unwrap().unwrap(), 1);
}

#[test]
fn k5_a_forgotten_read_leaves_its_stream_usable() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let ours = StdStream::connect(listener.local_addr().unwrap()).unwrap();
    let (mut peer, _) = listener.accept().unwrap();
    let event_loop = EventLoop::new().unwrap();
    event_loop
        .run_until_complete(async {
            let stream = TcpStream::from_std(ours).unwrap();
            let mut buffer = [0; 8];
            let mut read = Box::pin(stream.read(&mut buffer));
            poll_once(read.as_mut());
            // The borrow of the buffer ends here, although the read was not dropped.
            forget(read);
            peer.write_all(b"whole").unwrap();
            assert_eq!(stream.read(&mut buffer).await.unwrap(), 5);
            assert_eq!(&buffer[..5], b"whole");
            drop(stream);
            yield_now().await;
        })
        .unwrap();
    assert_eq!(event_loop.metrics().sources, 0);
}

#[test]
fn k5_forgotten_waits_leave_their_tasks_usable() {
    let event_loop = EventLoop::builder().clock(Clock::Virtual).build().unwrap();
    let task = |n: u32| event_loop.create_task(sleep_with(n * Duration::from_secs(1), n));
    let mut tasks = vec![task(2), task(1)];
    let mut waiting = Box::pin(wait(&mut tasks, ReturnWhen::AllCompleted, None));
    poll_once(waiting.as_mut());
    // The borrow of the list ends here, although the wait was not dropped.
    forget(waiting);
    let mut ended = as_completed(tasks);
    let mut next = Box::pin(ended.next());
    poll_once(next.as_mut());
    forget(next);
    let mut third = task(3);
    let mut shielded = Box::pin(shield(&mut third));
    poll_once(shielded.as_mut());
    forget(shielded);
    event_loop
        .run_until_complete(async {
            for n in [1, 2] {
                assert_eq!(ended.next().await.unwrap().await.unwrap(), n);
            }
            assert_eq!(shield(third).await.unwrap(), 3);
        })
        .unwrap();
}

#[test]
fn k5_a_forgotten_loop_keeps_its_number_and_disturbs_no_other() {
    let forgotten = EventLoop::new().unwrap();
    let remote = forgotten.remote();
    forget(forgotten);
    for n in 0..100 {
        let event_loop = EventLoop::new().unwrap();
        remote.call_soon_threadsafe(|| unreachable!()).unwrap();
        assert_eq!(event_loop.run_until_complete(async { n }).unwrap(), n);
    }
    assert!(!remote.is_closed());
}
