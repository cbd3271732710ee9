//! What two mended faults did to each other, and other attacks from outside.

use std::cell::{Cell, RefCell};
use std::future::{Future, pending, poll_fn};
use std::io::Write as _;
use std::os::fd::AsRawFd as _;
use std::os::unix::net::UnixStream;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use callsoon::{
    EventLoop, TaskGroup, all_tasks, catch_cancelled, create_task, gather, get_running_loop,
    task_group, try_gather, yield_now,
};

use crate::support::scenario::{in_scenario, said, say, take_lines};
use crate::support::{Trace, audited, readable_within, real_loop, watched};

type Boxed = Pin<Box<dyn Future<Output = ()>>>;

/// Makes a combinator around one child.
type Combinator = fn(Boxed) -> Boxed;

const COMBINATORS: [(&str, Combinator); 5] = [
    ("gather", |child| {
        Box::pin(async { drop(gather([child]).await) })
    }),
    ("settled", |child| {
        Box::pin(async { drop(gather([child]).settled().await) })
    }),
    ("try_gather", |child| {
        let child = async {
            child.await;
            Ok::<(), ()>(())
        };
        Box::pin(async { drop(try_gather([child]).await) })
    }),
    ("task_group", |child| {
        Box::pin(async {
            let group = task_group(async |group| drop(group.create_task(child)));
            drop(group.await)
        })
    }),
    ("for_each_limit", |child| {
        Box::pin(async { drop(callsoon::for_each_limit([child], 1, |child| child).await) })
    }),
];

/// Polls once.
async fn poll_once(future: &mut Boxed) {
    poll_fn(|context| {
        assert!(future.as_mut().poll(context).is_pending());
        Poll::Ready(())
    })
    .await;
}

/// Cancels all tasks but the running one, and lets them run for a few turns.
async fn cancel_others() {
    let own = callsoon::current_task().unwrap().id();
    for task in all_tasks() {
        if task.id() != own {
            task.cancel();
        }
    }
    for _ in 0..20 {
        yield_now().await;
    }
}

/// A combinator whose child is given the combinator itself, and awaits it.
fn awaits_its_own_combinator(combinator: Combinator) -> Boxed {
    let place: Rc<RefCell<Option<Boxed>>> = Rc::default();
    let given = Rc::clone(&place);
    let child = async move {
        yield_now().await;
        let around = given.borrow_mut().take();
        around.unwrap().await;
    };
    let mut around = combinator(Box::pin(child));
    Box::pin(async move {
        poll_once(&mut around).await;
        *place.borrow_mut() = Some(around);
    })
}

/// The loop's turns come to an end: nothing is ready any more.
fn assert_idle(event_loop: &EventLoop, name: &str) {
    let metrics = event_loop.metrics();
    assert_eq!(
        (metrics.tasks, metrics.scopes, metrics.ready),
        (0, 0, 0),
        "{name}"
    );
}

#[test]
fn a_combinator_that_its_own_child_awaits_ends_when_the_child_is_cancelled() {
    in_scenario(|event_loop| {
        for (name, combinator) in COMBINATORS {
            event_loop
                .run_until_complete(async move {
                    awaits_its_own_combinator(combinator).await;
                    for _ in 0..5 {
                        yield_now().await;
                    }
                    cancel_others().await;
                })
                .unwrap();
            assert_idle(event_loop, name);
        }
        said([]);
    });
}

#[test]
fn a_combinator_that_has_asked_its_child_before_and_is_awaited_by_it_then_ends_as_well() {
    in_scenario(|event_loop| {
        for (name, combinator) in COMBINATORS {
            event_loop
                .run_until_complete(async move {
                    let place: Rc<RefCell<Option<Boxed>>> = Rc::default();
                    let given = Rc::clone(&place);
                    let mut around = combinator(Box::pin(async move {
                        drop(catch_cancelled(pending::<()>()).await);
                        say("the first request is handled");
                        let around = given.borrow_mut().take();
                        around.unwrap().await;
                    }));
                    let own = Rc::clone(&place);
                    // The task that is cancelled hands its combinator on before it has ended.
                    let outer = create_task(async move {
                        poll_once(&mut around).await;
                        let kept = Rc::new(RefCell::new(Some(around)));
                        let polled = Rc::clone(&kept);
                        let waits = poll_fn(move |context| match &mut *polled.borrow_mut() {
                            Some(around) => around.as_mut().poll(context),
                            None => Poll::Ready(()),
                        });
                        let waits = catch_cancelled(waits);
                        let mut waits: Boxed = Box::pin(async { drop(waits.await) });
                        poll_once(&mut waits).await;
                        let task = create_task(waits);
                        yield_now().await;
                        yield_now().await;
                        task.cancel();
                        yield_now().await;
                        let around = kept.borrow_mut().take();
                        *own.borrow_mut() = around;
                        drop(task.await);
                    });
                    drop(outer.await);
                    for _ in 0..5 {
                        cancel_others().await;
                    }
                })
                .unwrap();
            assert_idle(event_loop, name);
        }
        let lines = take_lines();
        assert_eq!(lines.len(), COMBINATORS.len(), "{lines:?}");
    });
}

#[test]
fn two_combinators_whose_children_await_each_other_end_when_they_are_cancelled() {
    in_scenario(|event_loop| {
        for (name, combinator) in COMBINATORS {
            event_loop
                .run_until_complete(async move {
                    let places: [Rc<RefCell<Option<Boxed>>>; 2] = Default::default();
                    for number in 0..2 {
                        let other = Rc::clone(&places[1 - number]);
                        let mut around = combinator(Box::pin(async move {
                            for _ in 0..3 {
                                yield_now().await;
                            }
                            let around = other.borrow_mut().take();
                            around.unwrap().await;
                        }));
                        poll_once(&mut around).await;
                        *places[number].borrow_mut() = Some(around);
                    }
                    for _ in 0..9 {
                        yield_now().await;
                    }
                    cancel_others().await;
                })
                .unwrap();
            assert_idle(event_loop, name);
        }
        said([]);
    });
}

#[test]
fn a_loop_that_drives_ours_by_epoll_hears_of_it_after_the_set_was_made_anew() {
    audited(watched(|| {
        let event_loop = real_loop(&Trace::new());
        event_loop.turn(Some(Duration::ZERO)).unwrap();
        // The driving loop holds the file and not the number.
        let mut driver = mio::Poll::new().unwrap();
        let mut events = mio::Events::with_capacity(8);
        let (token, interest) = (mio::Token(7), mio::Interest::READABLE);
        let number = event_loop.as_raw_fd();
        let registry = driver.registry();
        registry
            .register(&mut mio::unix::SourceFd(&number), token, interest)
            .unwrap();
        // A reader that is closed before it is removed, and of which there is a copy.
        let (near, mut far) = UnixStream::pair().unwrap();
        let _copy = near.try_clone().unwrap();
        let closed = near.as_raw_fd();
        event_loop.add_reader(&near, || ()).unwrap();
        drop(near);
        assert!(event_loop.remove_reader(&closed));
        far.write_all(b"x").unwrap();
        event_loop.turn(Some(Duration::ZERO)).unwrap();
        assert_eq!(event_loop.as_raw_fd(), number);
        driver.poll(&mut events, Some(Duration::ZERO)).unwrap();
        event_loop.turn(Some(Duration::ZERO)).unwrap();
        for _ in 0..2 {
            event_loop.remote().call_soon_threadsafe(|| ()).unwrap();
            driver
                .poll(&mut events, Some(Duration::from_secs(20)))
                .unwrap();
            assert_eq!(
                events.iter().map(mio::event::Event::token).next(),
                Some(token)
            );
            event_loop.turn(Some(Duration::ZERO)).unwrap();
        }
        drop(event_loop);
    }));
}

/// A task group whose parent stops it in its first poll: so a request is under way in the first step of its task.
async fn stopped_at_once() {
    let never = create_task(pending::<()>());
    let group = task_group(async |group| {
        let mut inside = pin!(catch_cancelled(never));
        poll_fn(|context| {
            let polled = inside.as_mut().poll(context);
            group.cancel();
            polled.map(drop)
        })
        .await;
    });
    drop(group.await);
}

#[test]
fn bytes_are_not_lost_to_a_cancellation_whose_poll_starts_an_eager_task_with_a_request() {
    audited(an_eager_task_with_a_request_starts_in_an_undecided_poll);
}

fn an_eager_task_with_a_request_starts_in_an_undecided_poll() {
    let event_loop = callsoon::EventLoop::builder().event_interval(1).build();
    let event_loop = event_loop.unwrap();
    let (near, mut far) = UnixStream::pair().unwrap();
    near.set_nonblocking(true).unwrap();
    let left = event_loop.run_until_complete(async move {
        let stream = Rc::new(callsoon::net::UnixStream::from_std(near).unwrap());
        let read = Rc::clone(&stream);
        let reader = create_task(async move {
            // Set aside, with a waker of its own: to cancel this task takes a poll.
            let mut aside = create_task(pending::<()>());
            let mut context = Context::from_waker(Waker::noop());
            assert!(Pin::new(&mut aside).poll(&mut context).is_pending());
            let mut buffer = [0; 8];
            let mut reading = pin!(read.read(&mut buffer));
            let mut polls = 0;
            let eager = RefCell::new(None);
            let count = poll_fn(|context| {
                polls += 1;
                if polls == 2 {
                    let builder = callsoon::task_builder().eager(true);
                    *eager.borrow_mut() = Some(builder.spawn(stopped_at_once()));
                }
                reading.as_mut().poll(context)
            });
            drop(count.await);
            yield_now().await;
            drop(aside);
        });
        yield_now().await;
        yield_now().await;
        far.write_all(b"bytes").unwrap();
        // The next turn hears of them, and this task's step comes first.
        yield_now().await;
        reader.cancel();
        assert!(reader.await.is_err());
        let mut buffer = [0; 8];
        stream.try_read(&mut buffer).ok()
    });
    assert_eq!(left.unwrap(), Some(5));
    for task in event_loop.all_tasks() {
        task.cancel();
    }
    event_loop
        .run_until_complete(async {
            for _ in 0..9 {
                yield_now().await;
            }
        })
        .unwrap();
}

#[test]
fn a_guest_is_told_of_a_group_whose_limit_is_raised_between_its_turns() {
    audited(|| {
        let event_loop = EventLoop::new().unwrap();
        let place: Rc<RefCell<Option<TaskGroup>>> = Rc::default();
        let given = Rc::clone(&place);
        let ran = Rc::new(Cell::new(0));
        let count = Rc::clone(&ran);
        let group = event_loop.create_task(task_group(async move |group| {
            group.set_limit(1);
            for _ in 0..2 {
                let count = Rc::clone(&count);
                group.create_task(async move {
                    count.set(count.get() + 1);
                    pending::<()>().await;
                });
            }
            *given.borrow_mut() = Some(group.clone());
        }));
        for _ in 0..10 {
            event_loop.turn(Some(Duration::ZERO)).unwrap();
        }
        assert_eq!(ran.get(), 1);
        assert!(!readable_within(&event_loop, Duration::ZERO));
        place.borrow().as_ref().unwrap().set_limit(2);
        assert!(readable_within(&event_loop, Duration::ZERO));
        event_loop.turn(Some(Duration::ZERO)).unwrap();
        assert_eq!(ran.get(), 2);
        place.take();
        group.cancel();
        for _ in 0..10 {
            event_loop.turn(Some(Duration::ZERO)).unwrap();
        }
        assert!(group.done());
    });
}

#[test]
fn what_stop_asked_of_a_run_that_panicked_is_not_asked_of_the_next() {
    audited(|| {
        let event_loop = EventLoop::new().unwrap();
        let panics = async {
            get_running_loop().stop();
            if true {
                panic!("on purpose");
            }
        };
        let run = || event_loop.run_until_complete(panics).map(drop);
        assert!(catch_unwind(AssertUnwindSafe(run)).is_err());
        let runs_on = async {
            for _ in 0..5 {
                yield_now().await;
            }
            7
        };
        assert_eq!(event_loop.run_until_complete(runs_on).unwrap(), 7);
    });
}

struct Panics;

impl Drop for Panics {
    fn drop(&mut self) {
        panic!("on purpose: a destructor");
    }
}

#[test]
fn clean_ups_whose_destructors_panic_at_close_are_dropped_one_by_one() {
    audited(|| {
        let trace = Trace::new();
        let event_loop = real_loop(&trace);
        let kept = event_loop.run_until_complete(async {
            [(); 2].map(|()| {
                let panics = Panics;
                callsoon::defer_async_drop(async move { drop(panics) })
            })
        });
        event_loop.close().unwrap();
        drop(kept);
        let report = "report: Exception in the destructor of a clean-up (on purpose: a destructor)";
        trace.expect([report, report]);
    });
}
