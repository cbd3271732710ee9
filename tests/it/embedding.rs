//! What a host asks of a loop that it embeds: to leave in mid-batch, to be a guest, to know what is pending, and to cancel by
//! number.

use std::cell::Cell;
use std::io::Write as _;
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::thread;
use std::time::Duration;

use callsoon::{HandleId, LoopHandle, PendingKind, RunError, get_running_loop, sleep, yield_now};

use crate::support::{
    DropProbe, SharedTrace, Trace, audited, complete, on_real_time, on_virtual_time, one_turn,
    readable_within, real_loop, thread_id, virtual_loop, watched,
};

/// A callback that writes a line and leaves the run, and then writes another.
fn leaving(handle: &LoopHandle, trace: &Trace) -> impl FnOnce() + 'static {
    let (handle, trace) = (handle.clone(), trace.clone());
    move || {
        trace.push("leaves");
        handle.stop_now();
        trace.push("returns");
    }
}

fn kinds(handle: &LoopHandle) -> Vec<PendingKind> {
    let pending = handle.pending_callbacks();
    pending.iter().map(|pending| pending.kind).collect()
}

#[test]
fn what_is_left_of_a_batch_runs_first_in_the_next_run() {
    on_virtual_time(|trace, event_loop| {
        let t = trace.clone();
        event_loop.call_soon(move || {
            t.push("first");
            get_running_loop().call_soon(t.note("queued by the first"));
        });
        event_loop.call_soon(leaving(&event_loop, &trace));
        event_loop.call_soon(trace.note("left"));
        let t = trace.clone();
        let task = event_loop.create_task(async move {
            t.push("a task's first step");
            yield_now().await;
            t.push("its second");
        });
        event_loop.run_forever().unwrap();
        trace.expect(["first", "leaves", "returns"]);
        assert!(event_loop.has_ready() && !event_loop.is_running());
        event_loop.call_soon(trace.note("queued between the runs"));
        one_turn(&event_loop);
        trace.expect([
            "left",
            "a task's first step",
            "queued by the first",
            "queued between the runs",
        ]);
        complete(&event_loop, task).unwrap();
        trace.expect(["its second"]);
    });
}

#[test]
fn every_kind_of_entry_waits_and_none_is_lost_or_runs_twice() {
    audited(watched(|| {
        let trace = SharedTrace::new();
        let event_loop = virtual_loop(&Trace::new());
        let (near, mut far) = UnixStream::pair().unwrap();
        far.write_all(b"x").unwrap();
        let (t, handle) = (trace.clone(), event_loop.handle());
        let near = Rc::new(near);
        let reader = Rc::clone(&near);
        let read = move || {
            t.push("descriptor");
            handle.remove_reader(&*reader);
        };
        event_loop.add_reader(&*near, read).unwrap();
        event_loop.call_soon(leaving(&event_loop, &Trace::new()));
        for round in 0..3 {
            let post = trace.note(format!("post {round}"));
            event_loop.remote().call_soon_threadsafe(post).unwrap();
        }
        event_loop.call_later(Duration::ZERO, trace.note("timer"));
        let t = trace.clone();
        let task = event_loop.create_task(async move { t.push("task") });
        event_loop.run_forever().unwrap();
        trace.expect([]);
        use PendingKind::{Io, Posted, Task, Timer};
        assert_eq!(
            kinds(&event_loop),
            [Posted, Posted, Posted, Task, Io, Timer]
        );
        one_turn(&event_loop);
        trace.expect(["post 0", "post 1", "post 2", "task", "descriptor", "timer"]);
        assert!(task.done());
        one_turn(&event_loop);
        trace.expect([]);
    }));
}

#[test]
fn a_post_may_leave_among_posts_that_came_in_a_row() {
    audited(watched(|| {
        let trace = SharedTrace::new();
        let event_loop = virtual_loop(&Trace::new());
        let remote = event_loop.remote();
        for round in 0..6 {
            let t = trace.clone();
            let post = move || {
                t.push(round);
                if round % 2 == 1 {
                    get_running_loop().stop_now();
                }
            };
            remote.call_soon_threadsafe(post).unwrap();
        }
        for expected in [["0", "1"], ["2", "3"], ["4", "5"]] {
            event_loop.run_forever().unwrap();
            trace.expect(expected);
        }
        assert!(!event_loop.has_ready());
    }));
}

#[test]
fn leaving_gives_what_stop_gives_and_a_borrowed_future_goes_on() {
    on_virtual_time(|trace, event_loop| {
        let t = trace.clone();
        let mut task = event_loop.create_task(async move {
            t.push("asks to leave");
            get_running_loop().stop_now();
            yield_now().await;
            t.push("goes on");
            7
        });
        let left = event_loop.run_until_complete(&mut task);
        assert!(matches!(left, Err(RunError::Stopped)), "{left:?}");
        trace.expect(["asks to leave"]);
        assert_eq!(complete(&event_loop, task).unwrap(), 7);
        trace.expect(["goes on"]);
        // The main future is ready in the very step that leaves: its value is not lost.
        event_loop.call_soon(trace.note("before it"));
        let value = event_loop.run_until_complete(async {
            get_running_loop().call_soon(|| unreachable!()).cancel();
            get_running_loop().call_soon(trace.note("after it"));
            get_running_loop().stop_now();
            8
        });
        assert_eq!(value.unwrap(), 8);
        trace.expect(["before it"]);
        one_turn(&event_loop);
        trace.expect(["after it"]);
    });
}

#[test]
fn leaving_before_a_run_ends_it_before_its_first_entry() {
    on_virtual_time(|trace, event_loop| {
        event_loop.stop_now();
        event_loop.call_soon(trace.note("waits"));
        event_loop.stop_now();
        event_loop.run_forever().unwrap();
        trace.expect([]);
        event_loop.turn(Some(Duration::ZERO)).unwrap();
        trace.expect(["waits"]);
    });
}

#[test]
fn a_request_to_leave_ends_with_its_run() {
    on_virtual_time(|trace, event_loop| {
        let handle = event_loop.handle();
        event_loop.call_soon(move || {
            // The last of its batch, which `stop` ends too: then the second request has nothing left to end.
            handle.stop();
            handle.stop_now();
            handle.stop_now();
        });
        event_loop.run_forever().unwrap();
        event_loop.call_soon(trace.note("runs in the next run"));
        one_turn(&event_loop);
        trace.expect(["runs in the next run"]);
        event_loop.close().unwrap();
        event_loop.stop_now();
    });
}

#[test]
fn a_callback_that_was_left_can_be_cancelled_between_the_runs() {
    on_virtual_time(|trace, event_loop| {
        event_loop.call_soon(leaving(&event_loop, &Trace::new()));
        let soon = event_loop.call_soon(trace.note("cancelled"));
        let due = event_loop.call_later(Duration::ZERO, trace.note("cancelled too"));
        event_loop.call_soon(trace.note("runs"));
        event_loop.run_forever().unwrap();
        soon.cancel();
        due.cancel();
        assert_eq!(kinds(&event_loop), [PendingKind::Callback]);
        one_turn(&event_loop);
        trace.expect(["runs"]);
    });
}

#[test]
fn a_guest_s_turn_that_is_left_says_that_something_is_ready() {
    on_real_time(|trace, event_loop| {
        event_loop.call_soon(leaving(&event_loop, &Trace::new()));
        event_loop.call_soon(trace.note("left"));
        event_loop.turn(Some(Duration::ZERO)).unwrap();
        trace.expect([]);
        assert!(event_loop.has_ready());
        event_loop.turn(Some(Duration::ZERO)).unwrap();
        trace.expect(["left"]);
        assert!(!event_loop.has_ready());
    });
}

/// A program of callbacks that queue others: each line of its trace is one entry. Some of them leave the run.
#[derive(Clone)]
struct Program {
    handle: LoopHandle,
    trace: Trace,
    entries: Rc<Cell<u32>>,
    /// An entry whose number is a multiple of this leaves.
    leaves: u64,
}

impl Program {
    fn queue(&self, number: u64) {
        if self.entries.get() == 2_000 {
            return;
        }
        self.entries.set(self.entries.get() + 1);
        let program = self.clone();
        self.handle.call_soon(move || program.run(number));
    }

    fn run(&self, number: u64) {
        self.trace.push(number);
        let children = 1..=number % 4;
        children.for_each(|child| self.queue((number * 5 + child) % 1009));
        if number % self.leaves == 0 {
            self.handle.stop_now();
        }
    }
}

#[test]
fn however_often_a_program_is_left_its_order_is_the_same() {
    on_virtual_time(|trace, event_loop| {
        let order = |leaves| {
            let program = Program {
                handle: event_loop.handle(),
                trace: trace.clone(),
                entries: Rc::default(),
                leaves,
            };
            (1..20).for_each(|number| program.queue(number));
            let mut runs = 0;
            while event_loop.has_ready() {
                one_turn(&event_loop);
                runs += 1;
            }
            (trace.take(), runs)
        };
        let (whole, _) = order(1010);
        assert_eq!(whole.len(), 2_000);
        for leaves in [1, 2, 7, 50] {
            let (left, runs) = order(leaves);
            assert_eq!(left, whole, "leaving at each multiple of {leaves}");
            assert!(runs > 10, "{runs}");
        }
    });
}

#[test]
fn a_guest_that_has_had_no_turn_is_readable_when_something_is_to_do() {
    audited(watched(|| {
        let soon = Duration::from_secs(20);
        let event_loop = real_loop(&Trace::new());
        event_loop.guest().unwrap();
        event_loop.guest().unwrap();
        assert!(!readable_within(&event_loop, Duration::ZERO));
        event_loop.call_soon(|| ());
        assert!(readable_within(&event_loop, soon), "a callback");

        let event_loop = real_loop(&Trace::new());
        event_loop.call_soon(|| ());
        event_loop.guest().unwrap();
        assert!(readable_within(&event_loop, soon), "queued before");
        event_loop.turn(Some(Duration::ZERO)).unwrap();
        assert!(!readable_within(&event_loop, Duration::ZERO));

        let event_loop = real_loop(&Trace::new());
        event_loop.call_later(Duration::from_millis(5), || ());
        event_loop.guest().unwrap();
        assert!(readable_within(&event_loop, soon), "a timer");

        let event_loop = real_loop(&Trace::new());
        event_loop.guest().unwrap();
        let remote = event_loop.remote();
        thread::spawn(move || remote.call_soon_threadsafe(|| ()))
            .join()
            .unwrap()
            .unwrap();
        assert!(readable_within(&event_loop, soon), "a post");

        // After a run of its own it is a guest only when it is told so.
        complete(&event_loop, yield_now());
        event_loop.call_soon(|| ());
        event_loop.guest().unwrap();
        assert!(readable_within(&event_loop, soon), "again");
        event_loop.close().unwrap();
        assert!(matches!(event_loop.guest(), Err(RunError::Closed)));
    }));
}

#[test]
fn the_next_deadline_is_that_of_the_first_timer() {
    on_virtual_time(|_, event_loop| {
        assert_eq!(event_loop.next_deadline(), None);
        event_loop.call_later(Duration::MAX, || unreachable!());
        assert_eq!(event_loop.next_deadline(), None);
        let later = event_loop.call_later(Duration::from_secs(2), || ());
        let first = event_loop.call_later(Duration::from_secs(1), || ());
        assert_eq!(event_loop.next_deadline(), Some(first.when()));
        first.cancel();
        assert_eq!(event_loop.next_deadline(), Some(later.when()));
        let slept = event_loop.create_task(sleep(Duration::from_millis(1)));
        one_turn(&event_loop);
        assert!(event_loop.next_deadline().unwrap() < later.when());
        complete(&event_loop, slept).unwrap();
        assert_eq!(event_loop.next_deadline(), Some(later.when()));
    });
}

#[test]
fn an_id_cancels_its_own_callback_and_never_another() {
    on_virtual_time(|trace, event_loop| {
        let probe = DropProbe::new(&trace, "captured");
        let kept = event_loop.call_soon(trace.note("kept")).id();
        let id = event_loop.call_soon(move || drop(probe)).id();
        assert!(event_loop.cancel_by_id(id));
        trace.expect(["drop captured"]);
        assert!(!event_loop.cancel_by_id(id), "twice");
        one_turn(&event_loop);
        trace.expect(["kept"]);
        assert!(!event_loop.cancel_by_id(kept), "it has run");

        let timer = event_loop.call_later(Duration::from_secs(1), || unreachable!());
        let id = timer.id();
        assert!(event_loop.cancel_by_id(id) && !event_loop.cancel_by_id(id));
        // The next timer has its place, and is not meant.
        let next = event_loop.call_later(Duration::from_secs(1), trace.note("the next timer"));
        assert!(!event_loop.cancel_by_id(id));
        assert_ne!(next.id(), id);
        timer.cancel();
        assert!(!event_loop.cancel_by_id(timer.id()), "of no callback now");
        complete(&event_loop, sleep(Duration::from_secs(1)));
        trace.expect(["the next timer"]);
    });
}

#[test]
fn an_id_of_another_loop_and_made_up_numbers_cancel_nothing() {
    on_virtual_time(|trace, event_loop| {
        let other = virtual_loop(&Trace::new());
        let ids = [
            event_loop.call_soon(trace.note("callback")).id(),
            event_loop
                .call_later(Duration::ZERO, trace.note("timer"))
                .id(),
        ];
        for id in ids {
            other.call_soon(|| ());
            other.call_later(Duration::ZERO, || ());
            assert!(!other.cancel_by_id(id));
            assert_eq!(HandleId::from_numbers(id.to_numbers()), id);
        }
        let [epoch, ..] = ids[0].to_numbers();
        // What a task sleeps by is no callback, and no number disarms it.
        let slept = event_loop.create_task(sleep(Duration::from_secs(1)));
        one_turn(&event_loop);
        trace.expect(["callback", "timer"]);
        for place in 0..4 {
            for number in 0..200_000 {
                let id = HandleId::from_numbers([epoch, number, place]);
                assert!(!event_loop.cancel_by_id(id));
            }
        }
        let beyond = HandleId::from_numbers([epoch, 0, u64::MAX]);
        assert!(!event_loop.cancel_by_id(beyond));
        complete(&event_loop, slept).unwrap();
    });
}

#[test]
fn another_thread_cancels_by_number_and_the_loop_s_thread_drops() {
    audited(watched(|| {
        let trace = SharedTrace::new();
        let event_loop = real_loop(&Trace::new());
        struct Dropped(SharedTrace, i32);
        impl Drop for Dropped {
            fn drop(&mut self) {
                assert_eq!(thread_id(), self.1, "on the loop's thread");
                self.0.push("dropped");
            }
        }
        let captured = Dropped(trace.clone(), thread_id());
        let hour = Duration::from_secs(3600);
        let id = event_loop.call_later(hour, move || drop(captured)).id();
        let remote = event_loop.remote();
        let freed = remote.clone();
        thread::spawn(move || freed.cancel_by_id(id).unwrap())
            .join()
            .unwrap();
        trace.expect([]);
        one_turn(&event_loop);
        trace.expect(["dropped"]);
        assert_eq!(event_loop.next_deadline(), None);
        // Inside a run of its own thread it acts at once.
        let (inside, t) = (remote.clone(), trace.clone());
        event_loop.call_soon(move || {
            let id = get_running_loop().call_soon(|| unreachable!()).id();
            inside.cancel_by_id(id).unwrap();
            t.push("cancelled");
        });
        one_turn(&event_loop);
        one_turn(&event_loop);
        trace.expect(["cancelled"]);
        event_loop.close().unwrap();
        assert!(remote.cancel_by_id(id).is_err());
    }));
}

#[test]
fn what_is_pending_is_listed_with_place_deadline_and_id() {
    on_virtual_time(|trace, event_loop| {
        let seen = Rc::new(Cell::new(0));
        let (s, handle) = (Rc::clone(&seen), event_loop.handle());
        event_loop.call_soon(move || s.set(handle.pending_callbacks().len()));
        let soon = event_loop.call_soon(trace.note("soon"));
        let listed = event_loop.pending_callbacks();
        assert_eq!(listed.len(), 2);
        assert_eq!(listed[1].id, Some(soon.id()));
        let place = listed[1].location.unwrap();
        assert_eq!(place.file(), file!());
        assert_eq!(listed[1].deadline, None);
        one_turn(&event_loop);
        assert_eq!(seen.get(), 1, "what is left of the batch");
        trace.expect(["soon"]);

        let never = event_loop.call_later(Duration::MAX, || unreachable!());
        let plain = event_loop.call_later(Duration::from_secs(2), || ());
        event_loop.set_debug(true);
        let noted = event_loop.call_later(Duration::from_secs(2), || ());
        event_loop.set_debug(false);
        let slept = event_loop.create_task(sleep(Duration::from_secs(1)));
        one_turn(&event_loop);
        let timers = event_loop.pending_timers();
        let ids: Vec<_> = timers.iter().map(|timer| timer.id).collect();
        let expected = [&plain, &noted, &never].map(|timer| Some(timer.id()));
        assert_eq!(ids, [&[None], &expected[..]].concat());
        use PendingKind::{Task, Timer};
        let kinds: Vec<_> = timers.iter().map(|timer| timer.kind).collect();
        assert_eq!(kinds, [Task, Timer, Timer, Timer]);
        assert_eq!(timers[1].deadline, Some(plain.when()));
        assert_eq!(timers[3].deadline, None);
        assert_eq!(timers[0].location, Some(slept.as_ref().location()));
        assert_eq!(timers[1].location, None);
        assert_eq!(timers[2].location.unwrap().file(), file!());
        // A later timer in the same place has no place of its own to be known by.
        noted.cancel();
        event_loop.call_later(Duration::from_secs(3), || ());
        let timers = event_loop.pending_timers();
        assert!(timers.iter().skip(1).all(|timer| timer.location.is_none()));
        complete(&event_loop, slept).unwrap();
        event_loop.close().unwrap();
        assert_eq!(event_loop.pending_callbacks(), []);
        assert_eq!(event_loop.pending_timers(), []);
    });
}
