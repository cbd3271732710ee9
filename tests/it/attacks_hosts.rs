//! Hosts and tests that do what nobody should: they leave a loop at every turn, and act in wakers, destructors and writers.

use std::cell::RefCell;
use std::fmt::{self, Write as _};
use std::io::{ErrorKind, Write as _};
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::task::{Context, Poll};

use callsoon::testing::{self, Leftover, TestError, Trace};
use callsoon::{
    Clock, EventLoop, LoopHandle, PendingKind, PollRead, PollWrite, WaitEnd, WaitHooks,
    create_task, get_running_loop, yield_now,
};

use crate::support::{
    DropProbe, HostileWaker, Touch, audited, complete, on_virtual_time, one_turn, virtual_loop,
    watched,
};

/// Leaves the run in each turn, for ever.
fn leave_at_every_turn(handle: LoopHandle) {
    handle.clone().call_soon(move || {
        handle.stop_now();
        leave_at_every_turn(handle);
    });
}

#[test]
fn the_end_of_a_program_gets_on_although_a_callback_leaves_at_every_turn() {
    audited(watched(|| {
        let value = callsoon::run(async {
            leave_at_every_turn(get_running_loop());
            7
        });
        assert_eq!(value.unwrap(), 7);
    }));
}

#[test]
fn a_task_that_leaves_at_every_turn_is_left_and_does_not_hang_the_audit() {
    audited(watched(|| {
        let ended = testing::try_run(async {
            create_task(async {
                loop {
                    get_running_loop().stop_now();
                    yield_now().await;
                }
            })
            .detach();
        });
        match ended {
            Err(TestError::Leftovers(left)) => {
                assert!(matches!(&left[..], [Leftover::Task { .. }]), "{left:?}");
            }
            other => panic!("{other:?}"),
        }
    }));
}

#[test]
fn callbacks_that_queue_one_another_for_ever_are_left() {
    fn again(handle: LoopHandle) {
        handle.clone().call_soon(move || again(handle));
    }
    audited(watched(|| {
        for start in [again, leave_at_every_turn] {
            let ended = testing::try_run(async { start(get_running_loop()) });
            match ended {
                Err(TestError::Leftovers(left)) => {
                    assert!(matches!(&left[..], [Leftover::Callback { .. }]), "{left:?}");
                }
                other => panic!("{other:?}"),
            }
        }
    }));
}

#[test]
fn leaving_before_anything_has_run_counts_nothing() {
    audited(|| {
        let counted = |leaves: bool| {
            let event_loop = virtual_loop(&Trace::new());
            if leaves {
                event_loop.stop_now();
            }
            let first = event_loop.metrics();
            assert_eq!((first.task_steps, first.wakes), (0, 0));
            if leaves {
                event_loop.run_forever().unwrap();
            }
            let task = event_loop.create_task(async { yield_now().await });
            complete(&event_loop, task).unwrap();
            let last = event_loop.metrics();
            (last.task_steps, last.wakes, last.callbacks)
        };
        assert_eq!(counted(true), counted(false));
    });
}

#[test]
fn a_shuffled_loop_that_is_left_at_each_callback_runs_each_entry_once() {
    audited(watched(|| {
        for seed in 0..50 {
            let builder = EventLoop::builder().clock(Clock::Virtual).shuffle(seed);
            let event_loop = builder.build().unwrap();
            let (calls, steps) = (Trace::new(), Trace::new());
            for number in 0..4 {
                let (handle, calls, steps) = (event_loop.handle(), calls.clone(), steps.clone());
                event_loop.call_soon(move || {
                    calls.push(number);
                    handle.stop_now();
                });
                let step = async move { steps.push(number) };
                event_loop.create_task(step).detach();
            }
            let mut runs = 0;
            while event_loop.has_ready() {
                event_loop.stop();
                event_loop.run_forever().unwrap();
                runs += 1;
                assert!(runs < 20);
            }
            calls.expect(["0", "1", "2", "3"]);
            let mut steps = steps.take();
            steps.sort();
            assert_eq!(steps, ["0", "1", "2", "3"]);
        }
    }));
}

#[test]
fn what_was_cancelled_or_removed_while_it_waited_is_not_listed() {
    audited(watched(|| {
        let event_loop = virtual_loop(&Trace::new());
        let remote = event_loop.remote();
        let kinds = |handle: &LoopHandle| -> Vec<PendingKind> {
            let pending = handle.pending_callbacks();
            pending.iter().map(|pending| pending.kind).collect()
        };
        let posts: Vec<_> = (0..4)
            .map(|_| remote.call_soon_threadsafe(|| ()).unwrap())
            .collect();
        posts[1].cancel();
        assert_eq!(kinds(&event_loop), [PendingKind::Posted; 3]);
        posts[2].cancel();
        event_loop.call_soon(|| ());
        use PendingKind::{Callback, Posted};
        assert_eq!(kinds(&event_loop), [Posted, Posted, Callback]);
        one_turn(&event_loop);
        assert_eq!(kinds(&event_loop), []);

        let (near, mut far) = UnixStream::pair().unwrap();
        far.write_all(b"x").unwrap();
        let near = Rc::new(near);
        event_loop.add_reader(&*near, || unreachable!()).unwrap();
        let (handle, reader, found) = (event_loop.handle(), Rc::clone(&near), Trace::new());
        let listed = found.clone();
        event_loop.call_soon(move || {
            let kinds = |handle: &LoopHandle| format!("{:?}", handle.pending_callbacks().len());
            listed.push(kinds(&handle));
            handle.remove_reader(&*reader);
            listed.push(kinds(&handle));
        });
        one_turn(&event_loop);
        found.expect(["1", "0"]);
    }));
}

/// A waker that resets a stream while it is cloned.
fn resetting(stream: &Rc<testing::DuplexStream>) -> HostileWaker {
    let stream = Rc::clone(stream);
    HostileWaker::new(move |touch| {
        if touch == Touch::Clone {
            stream.reset();
        }
    })
}

#[test]
fn a_waker_may_reset_the_stream_in_memory_that_clones_it() {
    audited(watched(|| {
        let reading = |near: &mut testing::DuplexStream, context: &mut Context<'_>| {
            near.poll_read(context, &mut [0])
        };
        let writing = |near: &mut testing::DuplexStream, context: &mut Context<'_>| {
            assert!(matches!(
                near.poll_write(context, b"fills"),
                Poll::Ready(Ok(1))
            ));
            near.poll_write(context, b"waits")
        };
        for poll in [reading, writing] {
            let (mut near, far) = testing::duplex(0);
            let hostile = resetting(&Rc::new(far));
            let waker = hostile.waker();
            let polled = poll(&mut near, &mut Context::from_waker(&waker));
            match polled {
                Poll::Ready(Err(error)) => assert_eq!(error.kind(), ErrorKind::ConnectionReset),
                other => panic!("{other:?}"),
            }
            assert_eq!(hostile.count(Touch::Clone), 1);
            assert_eq!(hostile.count(Touch::Drop), 1, "nothing keeps the clone");
        }
    }));
}

/// Hooks that set others when they are dropped.
struct Successive {
    handle: LoopHandle,
    others: RefCell<Option<Rc<dyn WaitHooks>>>,
    _probe: DropProbe,
}

impl WaitHooks for Successive {
    fn before_wait(&self) {}
    fn after_wait(&self, _: WaitEnd) {}
}

impl Drop for Successive {
    fn drop(&mut self) {
        let others = self.others.take();
        if others.is_some() {
            self.handle.set_wait_hooks(others);
        }
    }
}

#[test]
fn hooks_that_are_set_while_the_loop_closes_are_dropped() {
    on_virtual_time(|trace, event_loop| {
        let hooks = |name, others| -> Rc<dyn WaitHooks> {
            Rc::new(Successive {
                handle: event_loop.handle(),
                others: RefCell::new(others),
                _probe: DropProbe::new(&trace, name),
            })
        };
        let second = hooks("second", None);
        event_loop.set_wait_hooks(Some(hooks("first", Some(second))));
        event_loop.close().unwrap();
        trace.expect(["drop second", "drop first"]);
    });
}

/// Writes nothing, and notes each call in a trace.
struct Noting(Trace);

impl fmt::Write for Noting {
    fn write_str(&mut self, _: &str) -> fmt::Result {
        self.0.push("written");
        Ok(())
    }
}

#[test]
fn a_trace_may_be_written_to_while_it_is_formatted() {
    audited(watched(|| {
        let trace = Trace::new();
        trace.push("first");
        write!(Noting(trace.clone()), "{trace:?}").unwrap();
        assert!(trace.take().len() > 1);
    }));
}
