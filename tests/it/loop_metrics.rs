//! What `LoopMetrics` counts, number by number, and what the histograms of `Builder::metrics` record. Counts are exact;
//! times are of the real clock, so they are compared with what a call has slept on purpose.

use std::cell::Cell;
use std::future::pending;
use std::rc::Rc;
use std::time::Duration;

use callsoon::{CallKind, Clock, EventLoop, LoopMetrics, sleep, yield_now};

use crate::support::{
    audited, one_turn, pipe, quiet_panics, std_pair, thread_id, until, wait_until_asleep, watched,
};

/// A time that a call takes on purpose.
const LONG: Duration = Duration::from_millis(3);

/// A time that no call takes, even where other programs keep the processors busy.
const AGES: Duration = Duration::from_millis(500);

fn virtual_time() -> EventLoop {
    EventLoop::builder().clock(Clock::Virtual).build().unwrap()
}

fn metered() -> EventLoop {
    EventLoop::builder().metrics(true).build().unwrap()
}

/// What was done, without turns and polls, which depend on how turns are cut.
fn done(metrics: LoopMetrics) -> [u64; 6] {
    [
        metrics.callbacks,
        metrics.task_steps,
        metrics.wakes,
        metrics.posts,
        metrics.timers_fired,
        metrics.tasks_created,
    ]
}

/// What a program adds to the counts of a loop that has run before.
fn adds(program: impl FnOnce(&EventLoop)) -> [u64; 6] {
    let event_loop = virtual_time();
    event_loop.create_task(yield_now()).detach();
    event_loop.call_soon(|| ());
    one_turn(&event_loop);
    one_turn(&event_loop);
    let before = event_loop.metrics();
    assert_eq!(done(before), [1, 2, 1, 0, 0, 1]);
    program(&event_loop);
    done(event_loop.metrics().since(&before))
}

#[test]
fn callbacks_count_when_they_have_run_and_cancelled_ones_never() {
    audited(|| {
        let added = adds(|event_loop| {
            event_loop.call_soon(|| ());
            event_loop.call_soon(|| unreachable!()).cancel();
            event_loop.create_future::<()>().add_done_callback(|_| ());
            let future = event_loop.create_future::<()>();
            future.add_done_callback(|_| ());
            future.set_result(()).unwrap();
            assert_eq!(event_loop.metrics().ready, 3);
            one_turn(event_loop);
        });
        assert_eq!(added, [2, 0, 0, 0, 0, 0]);
    });
}

#[test]
fn steps_and_wakes_count_with_those_of_the_main_future_and_of_eager_tasks() {
    audited(|| {
        let plain = adds(|event_loop| {
            event_loop.create_task(async { yield_now().await }).detach();
            event_loop.run_until_complete(async {}).unwrap();
            one_turn(event_loop);
        });
        assert_eq!(
            plain,
            [0, 3, 1, 0, 0, 2],
            "one step of the main future, two of the task"
        );
        let eager = adds(|event_loop| {
            let eager = || callsoon::task_builder().eager(true);
            let main = async {
                assert!(eager().spawn(async {}).done());
                let task = eager().spawn(yield_now());
                assert!(!task.done());
                yield_now().await;
                assert!(task.done());
            };
            event_loop.run_until_complete(main).unwrap();
        });
        assert_eq!(eager, [0, 5, 2, 0, 0, 3]);
    });
}

#[test]
fn a_task_that_is_woken_twice_or_has_ended_is_queued_once_or_never() {
    audited(|| {
        let added = adds(|event_loop| {
            let task = event_loop.create_task(pending::<()>());
            one_turn(event_loop);
            assert!(task.cancel() && task.cancel());
            one_turn(event_loop);
            assert!(task.done());
            assert!(!task.cancel());
            one_turn(event_loop);
        });
        assert_eq!(added, [0, 2, 1, 0, 0, 1]);
    });
}

#[test]
fn timers_count_when_they_are_due_and_posts_when_they_arrive() {
    audited(|| {
        let timers = adds(|event_loop| {
            let hour = Duration::from_secs(3600);
            event_loop.call_later(hour, || ());
            event_loop.call_later(hour, || unreachable!()).cancel();
            event_loop.run_until_complete(sleep(hour)).unwrap();
            assert_eq!(event_loop.metrics().timers, 0);
        });
        assert_eq!(timers, [0, 2, 1, 0, 2, 1]);
        let posts = adds(|event_loop| {
            let remote = event_loop.remote();
            let posted = std::thread::spawn(move || {
                for _ in 0..3 {
                    remote.call_soon_threadsafe(|| ()).unwrap();
                }
            });
            posted.join().unwrap();
            one_turn(event_loop);
        });
        assert_eq!(posts, [0, 0, 0, 3, 0, 0]);
    });
}

#[test]
fn what_is_there_is_counted_now_and_at_most() {
    audited(|| {
        let event_loop = virtual_time();
        for seconds in 1..=300 {
            let delay = Duration::from_secs(seconds);
            event_loop.create_task(sleep(delay)).detach();
        }
        event_loop.call_later(Duration::from_secs(400), || ());
        let before = event_loop.metrics();
        assert_eq!((before.tasks, before.ready, before.timers), (300, 300, 1));
        event_loop
            .run_until_complete(sleep(Duration::from_secs(500)))
            .unwrap();
        let after = event_loop.metrics();
        assert_eq!((after.tasks, after.ready, after.timers), (0, 0, 0));
        assert_eq!((after.tasks_max, after.timers_max), (300, 302));
        assert_eq!(after.ready_max, 301);
        assert_eq!(
            after.since(&before).tasks_max,
            300,
            "what was at most is no difference"
        );
    });
}

#[test]
fn the_longest_queue_is_noted_where_one_callback_queues_many() {
    audited(|| {
        // Between two polls for events, which come rarely once callbacks have shown to be fast.
        let event_loop = EventLoop::new().unwrap();
        let main = async {
            for _ in 0..500 {
                yield_now().await;
            }
            for _ in 0..1000 {
                callsoon::get_running_loop().call_soon(|| ());
            }
            yield_now().await;
        };
        event_loop.run_until_complete(main).unwrap();
        let metrics = event_loop.metrics();
        let seen = (metrics.ready, metrics.ready_max, metrics.callbacks);
        assert_eq!(seen, (0, 1001, 1000), "the main future is an entry too");
    });
}

#[test]
fn sources_are_counted_when_they_are_registered_and_while_they_are() {
    audited(watched(|| {
        let event_loop = EventLoop::new().unwrap();
        event_loop
            .run_until_complete(async {
                let listener = callsoon::net::TcpListener::bind("127.0.0.1:0")
                    .await
                    .unwrap();
                let address = listener.local_addr().unwrap();
                for _ in 0..3 {
                    let client = callsoon::net::TcpStream::connect(address).await.unwrap();
                    let (server, _) = listener.accept().await.unwrap();
                    drop((client, server));
                }
            })
            .unwrap();
        let metrics = event_loop.metrics();
        assert_eq!((metrics.sources, metrics.sources_max), (0, 3));
        assert_eq!(metrics.sources_registered, 7);
        let handle = event_loop.handle();
        event_loop.close().unwrap();
        assert_eq!(
            handle.metrics().sources_registered,
            0,
            "the reactor is gone"
        );
    }));
}

#[test]
fn a_loop_that_closes_with_work_left_has_not_run_it() {
    audited(|| {
        let event_loop = virtual_time();
        event_loop.set_exception_handler(|_, _| ());
        event_loop.call_soon(|| unreachable!());
        event_loop.create_task(pending::<()>()).detach();
        let handle = event_loop.handle();
        event_loop.close().unwrap();
        assert_eq!(done(handle.metrics()), [0, 0, 0, 0, 0, 1]);
    });
}

#[test]
fn without_the_setting_there_are_no_histograms_and_with_it_each_call_is_in_one() {
    audited(watched(|| {
        assert_eq!(virtual_time().latencies(), None);
        let event_loop = metered();
        let (reads, mut writes) = pipe().unwrap();
        std::io::Write::write_all(&mut writes, b"x").unwrap();
        let handle = event_loop.handle();
        let reader = event_loop.handle();
        let watched = Rc::new(reads);
        let itself = Rc::clone(&watched);
        event_loop
            .add_reader(&*watched, move || {
                reader.remove_reader(&*itself);
            })
            .unwrap();
        event_loop.call_soon(|| ());
        event_loop.call_later(Duration::ZERO, || ());
        event_loop.remote().call_soon_threadsafe(|| ()).unwrap();
        event_loop
            .run_until_complete(async move {
                sleep(Duration::from_millis(1)).await;
                handle.call_soon(|| ());
                yield_now().await;
            })
            .unwrap();
        let latencies = event_loop.latencies().unwrap();
        let counts = CallKind::ALL.iter().map(|&kind| {
            let (run, delay) = (latencies.run_time(kind), latencies.queue_delay(kind));
            assert_eq!(run.count(), delay.count(), "{kind:?}");
            (kind.name(), run.count())
        });
        assert_eq!(
            counts.filter(|&(_, count)| count > 0).collect::<Vec<_>>(),
            [
                ("callback", 2),
                ("timer", 1),
                ("posted", 1),
                ("descriptor", 1),
                ("step", 3)
            ]
        );
        let polls = latencies.polls().count();
        assert_eq!(polls, event_loop.metrics().event_polls);
    }));
}

#[test]
fn a_call_that_takes_long_is_in_its_own_time_and_in_the_delay_of_what_it_has_queued() {
    audited(watched(|| {
        let event_loop = metered();
        let handle = event_loop.handle();
        event_loop.call_soon(move || {
            handle.create_task(async {}).detach();
            std::thread::sleep(LONG);
        });
        event_loop.call_later(Duration::ZERO, || ());
        event_loop
            .run_until_complete(sleep(Duration::from_millis(1)))
            .unwrap();
        let latencies = event_loop.latencies().unwrap();
        assert!(latencies.run_time(CallKind::Callback).max() >= LONG);
        assert!(latencies.queue_delay(CallKind::Step).max() >= LONG);
        assert!(latencies.busy().max() >= LONG);
    }));
}

#[test]
fn an_eager_step_is_measured_inside_the_one_that_made_it_and_the_time_between_runs_is_nobody_s() {
    audited(watched(|| {
        let event_loop = metered();
        event_loop
            .run_until_complete(async {
                callsoon::task_builder()
                    .eager(true)
                    .spawn(async { std::thread::sleep(LONG) })
                    .detach();
            })
            .unwrap();
        let first = event_loop.latencies().unwrap();
        let steps = first.run_time(CallKind::Step);
        assert_eq!(steps.count(), 2);
        assert!(steps.percentile(1.0) >= LONG, "both took long: {steps:?}");
        std::thread::sleep(AGES);
        event_loop.run_until_complete(async {}).unwrap();
        event_loop.call_soon(|| ());
        std::thread::sleep(AGES);
        event_loop.turn(Some(Duration::ZERO)).unwrap();
        let second = event_loop.latencies().unwrap().since(&first);
        for histogram in [
            second.run_time(CallKind::Step),
            second.run_time(CallKind::Callback),
            second.queue_delay(CallKind::Step),
            second.queue_delay(CallKind::Callback),
        ] {
            assert_eq!(histogram.count(), 1);
            assert!(histogram.max() < AGES, "{histogram:?}");
        }
        assert!(second.busy().max() < AGES);
    }));
}

#[test]
fn a_panic_ends_a_call_and_a_protocol_is_measured_inside_its_source() {
    use callsoon::transport::{Protocol, Transport};
    struct Slow(Rc<Cell<bool>>);
    impl Protocol for Slow {
        fn data_received(&self, transport: &Transport, _: &[u8]) {
            std::thread::sleep(LONG);
            self.0.set(true);
            transport.close();
        }
    }
    quiet_panics();
    audited(watched(|| {
        let event_loop = metered();
        event_loop.set_exception_handler(|_, _| ());
        event_loop.call_soon(|| panic!("on purpose"));
        let received = Rc::new(Cell::new(false));
        let flag = Rc::clone(&received);
        let (near, mut far) = std_pair();
        std::io::Write::write_all(&mut far, b"x").unwrap();
        event_loop
            .run_until_complete(async {
                let made = callsoon::get_running_loop()
                    .connect_accepted_socket(move || Slow(flag), near)
                    .await;
                drop(made.unwrap());
                until(|| received.get()).await;
                yield_now().await;
                yield_now().await;
            })
            .unwrap();
        let latencies = event_loop.latencies().unwrap();
        assert!(latencies.run_time(CallKind::Callback).count() >= 1);
        let protocol = latencies.run_time(CallKind::Protocol);
        assert!(protocol.count() >= 2, "{protocol:?}");
        assert!(protocol.max() >= LONG, "{protocol:?}");
    }));
}

#[test]
fn a_poll_takes_as_long_as_the_loop_sleeps() {
    audited(watched(|| {
        let event_loop = metered();
        let (remote, asleep) = (event_loop.remote(), thread_id());
        let waker = std::thread::spawn(move || {
            wait_until_asleep(asleep);
            std::thread::sleep(LONG);
            remote
                .call_soon_threadsafe(|| callsoon::get_running_loop().stop())
                .unwrap();
        });
        // Spawning the thread is over when the loop runs, so what sleeps from now on is the loop.
        event_loop.run_forever().unwrap();
        waker.join().unwrap();
        let polls = event_loop.latencies().unwrap().polls().clone();
        assert!(polls.max() >= LONG, "{polls:?}");
        assert_eq!(
            event_loop
                .latencies()
                .unwrap()
                .run_time(CallKind::Posted)
                .count(),
            1
        );
    }));
}
