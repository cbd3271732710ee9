//! What a task has polled and then set aside, as `select!` does, is no longer what it waits for: a cancellation neither
//! follows it nor takes anything from what the task waits for now.

use std::cell::Cell;
use std::future::{Future, pending, poll_fn};
use std::io::Write;
use std::os::unix::net::UnixStream as StdStream;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use callsoon::net::UnixStream;
use callsoon::{
    EventLoop, Queue, Task, TaskRef, catch_cancelled, create_task, gather, get_running_loop,
    timeout, yield_now,
};

use crate::support::JoinAll;
use crate::support::scenario::{
    SECOND, at, finish, gated, in_scenario, said, say, stubborn, take_lines,
};

/// Polls once and then no more: a `select!` that another branch wins.
async fn lose<F: Future + Unpin>(future: &mut F) {
    poll_fn(|context| {
        assert!(Pin::new(&mut *future).poll(context).is_pending());
        Poll::Ready(())
    })
    .await;
}

type Kept = Pin<Box<dyn Future<Output = ()>>>;

/// Its name, and how it is made.
type Named = (&'static str, fn() -> Kept);

/// Everything that can be set aside: it keeps what comes back as long as it likes.
fn all_kinds() -> Vec<Named> {
    vec![
        ("a task", || Box::pin(async { drop(never().await) })),
        ("a future of the loop", || {
            let future = get_running_loop().create_future::<()>();
            Box::pin(async move { drop(future.await) })
        }),
        ("a catch", || {
            Box::pin(async { drop(catch_cancelled(pending::<()>()).await) })
        }),
        ("a gather", || {
            Box::pin(async { drop(gather([pending::<()>()]).await) })
        }),
        ("a limit around a catch", || {
            let inside = catch_cancelled(pending::<()>());
            Box::pin(async { drop(timeout(SECOND * 99, inside).await) })
        }),
        ("many with wakers of their own", || {
            let many = JoinAll::new().with(never()).with(never());
            Box::pin(async { drop(many.await) })
        }),
        ("a task, polled with another runtime's waker", || {
            let mut task = never();
            let mut context = Context::from_waker(Waker::noop());
            assert!(Pin::new(&mut task).poll(&mut context).is_pending());
            Box::pin(poll_fn(move |_| {
                std::hint::black_box(&task);
                Poll::Pending
            }))
        }),
    ]
}

/// A task that ends only when it is cancelled.
fn never() -> Task<()> {
    create_task(pending())
}

/// Ends the tasks that a test has left.
fn end_others(event_loop: &EventLoop) {
    for task in event_loop.all_tasks() {
        task.cancel();
    }
    event_loop
        .run_until_complete(async {
            yield_now().await;
            yield_now().await
        })
        .unwrap();
}

#[test]
fn an_item_that_comes_with_its_getters_cancellation_stays_in_the_queue() {
    in_scenario(|event_loop| {
        for (name, kind) in all_kinds() {
            for polls_between in [0, 1, 3] {
                let queue = Rc::new(Queue::new(0));
                let q = queue.clone();
                let getter = async move {
                    let mut kept = kind();
                    lose(&mut kept).await;
                    for _ in 0..polls_between {
                        yield_now().await;
                    }
                    let item: i32 = q.get().await.unwrap();
                    yield_now().await;
                    say(format!("{item} was taken"));
                };
                let ended = event_loop
                    .run_until_complete(async {
                        let getter = create_task(getter);
                        for _ in 0..8 {
                            yield_now().await;
                        }
                        queue.put_nowait(7).unwrap();
                        getter.cancel();
                        getter.await.is_err()
                    })
                    .unwrap();
                assert_eq!((ended, queue.qsize()), (true, 1), "{name}, {polls_between}");
                end_others(event_loop);
                said([]);
            }
        }
    });
}

#[test]
fn an_item_that_comes_with_a_deadline_or_the_end_of_a_group_stays_in_the_queue() {
    in_scenario(|event_loop| {
        for (name, kind) in all_kinds() {
            for in_group in [false, true] {
                let queue = Rc::new(Queue::new(0));
                let q = queue.clone();
                let body = async move {
                    let mut kept = kind();
                    lose(&mut kept).await;
                    let item: i32 = q.get().await.unwrap();
                    callsoon::sleep(SECOND).await;
                    say(format!("{item} was taken"));
                };
                let q = queue.clone();
                let mut task = event_loop.create_task(async move {
                    if in_group {
                        let ended = callsoon::task_group(async |group| {
                            let handle = group.clone();
                            get_running_loop().call_later(SECOND, move || {
                                q.put_nowait(7).unwrap();
                                handle.cancel();
                            });
                            body.await
                        });
                        ended.await.is_err()
                    } else {
                        // The limit's timer is armed first: the item comes once the limit has asked what is inside.
                        get_running_loop().call_soon(move || {
                            let put = move || q.put_nowait(7).unwrap();
                            get_running_loop().call_later(SECOND, put);
                        });
                        timeout(SECOND, body).await.is_err()
                    }
                });
                let handle = event_loop.handle();
                event_loop.call_later(SECOND * 10, move || handle.stop());
                event_loop.run_forever().unwrap();
                assert!(task.result().unwrap().unwrap(), "{name}, group: {in_group}");
                assert_eq!(queue.qsize(), 1, "{name}, group: {in_group}");
                end_others(event_loop);
                said([]);
            }
        }
    });
}

#[test]
fn bytes_that_come_with_their_readers_cancellation_stay_in_the_socket() {
    in_scenario(|event_loop| {
        for (name, kind) in all_kinds() {
            let (mut peer, socket) = StdStream::pair().unwrap();
            event_loop
                .run_until_complete(async {
                    let stream = Rc::new(UnixStream::from_std(socket).unwrap());
                    let (theirs, gate) = (stream.clone(), Rc::new(Cell::new(false)));
                    let closed = gate.clone();
                    let reader = create_task(async move {
                        let mut kept = kind();
                        lose(&mut kept).await;
                        let mut buffer = [0; 8];
                        let count = gated(closed, theirs.read(&mut buffer)).await.unwrap();
                        yield_now().await;
                        say(format!("{count} bytes were taken"));
                    });
                    for _ in 0..8 {
                        yield_now().await;
                    }
                    peer.write_all(b"hello").unwrap();
                    stream.readable().await.unwrap();
                    gate.set(true);
                    reader.cancel();
                    assert!(reader.await.is_err());
                    let mut buffer = [0; 8];
                    let count = stream.try_read(&mut buffer).unwrap();
                    assert_eq!(&buffer[..count], b"hello", "{name}");
                })
                .unwrap();
            end_others(event_loop);
            said([]);
        }
    });
}

#[test]
fn a_cancellation_does_not_follow_what_was_set_aside() {
    in_scenario(|event_loop| {
        for polls_between in [0, 2] {
            let other = Rc::new(Cell::new(None::<TaskRef>));
            let place = other.clone();
            let task = event_loop.create_task(async move {
                let mut awaited = never();
                place.set(Some(awaited.as_ref()));
                lose(&mut awaited).await;
                for _ in 0..polls_between {
                    yield_now().await;
                }
                pending::<()>().await;
            });
            for _ in 0..6 {
                event_loop.turn(Some(std::time::Duration::ZERO)).unwrap();
            }
            task.cancel();
            for _ in 0..3 {
                event_loop.turn(Some(std::time::Duration::ZERO)).unwrap();
            }
            let other = other.take().unwrap();
            assert!(task.cancelled() && !other.done());
            end_others(event_loop);
        }
    });
}

#[test]
fn who_was_put_off_gets_its_item_once_the_cancellation_is_handled() {
    in_scenario(|event_loop| {
        for own_wakers in [false, true] {
            let queue = Rc::new(Queue::new(0));
            let (q, later) = (queue.clone(), queue.clone());
            let mut task = event_loop.create_task(async move {
                let get = async {
                    let item: i32 = q.get().await.unwrap();
                    say(format!("got {item}"));
                };
                if own_wakers {
                    let both = JoinAll::new().with(get).with(stubborn("the other", 2));
                    both.await;
                } else {
                    let (mut get, mut other) = (pin!(get), pin!(stubborn("the other", 2)));
                    let mut left = [true, true];
                    poll_fn(|context| {
                        left[0] = left[0] && get.as_mut().poll(context).is_pending();
                        left[1] = left[1] && other.as_mut().poll(context).is_pending();
                        if left == [false, false] {
                            Poll::Ready(())
                        } else {
                            Poll::Pending
                        }
                    })
                    .await;
                }
            });
            let cancelled = task.as_ref();
            let start = event_loop.time();
            event_loop.call_later(SECOND, move || {
                later.put_nowait(7).unwrap();
                cancelled.cancel();
            });
            finish(event_loop, &mut task);
            assert_eq!(event_loop.time() - start, SECOND * 3);
            let lines = take_lines();
            let lines: Vec<_> = lines
                .iter()
                .map(|line| line.split_once(' ').unwrap().1)
                .collect();
            assert_eq!(
                lines.iter().filter(|line| **line == "got 7").count(),
                1,
                "{lines:?}"
            );
            assert_eq!(*lines.last().unwrap(), "ended: ()");
        }
    });
}

#[test]
fn clean_up_that_follows_at_once_is_not_put_off() {
    in_scenario(|event_loop| {
        let queue = Rc::new(Queue::new(0));
        queue.put_nowait(1).unwrap();
        let q = queue.clone();
        let mut task = event_loop.create_task(async move {
            let cancelled = catch_cancelled(pending::<()>()).await.unwrap_err();
            let before = get_running_loop().metrics().turns;
            say(q.get().await.unwrap());
            assert_eq!(
                get_running_loop().metrics().turns,
                before,
                "it did not have to wait"
            );
            cancelled.resume().await;
        });
        let asked = task.as_ref();
        at(1.0, move || {
            asked.cancel();
        });
        finish(event_loop, &mut task);
        said(["1 1", "1 cancelled by Task"]);
    });
}
