//! Code that calls back into the loop from where nobody expects it, panics there, or does so a million deep.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::pending;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::{Rc, Weak};
use std::thread;
use std::time::Duration;

use callsoon::{
    Clock, EventLoop, Future, Handle, LoopClosed, LoopHandle, LoopLocal, RunError, Task, TaskRef,
    TimerHandle, yield_now,
};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use crate::support::{DropProbe, Trace, audited, one_turn, record_reports, virtual_loop, watched};

/// Calls a closure when it is dropped.
struct OnDrop<F: FnMut()>(F);

impl<F: FnMut()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

type End = (&'static str, fn(EventLoop));

/// The three ways in which a loop ends.
const ENDS: [End; 3] = [
    ("close", |event_loop| {
        event_loop.close().unwrap();
        drop(event_loop);
    }),
    ("drop", drop),
    ("unwind", |event_loop| {
        let unwound = catch_unwind(AssertUnwindSafe(|| {
            let _event_loop = event_loop;
            panic!("on purpose: unwinding through the owner");
        }));
        assert!(unwound.is_err());
    }),
];

#[test]
fn b2_destructors_that_panic_at_close_keep_no_other_from_being_dropped() {
    audited(|| {
        for (name, end) in ENDS {
            let trace = Trace::new();
            let event_loop = virtual_loop(&trace);
            let dropped = Rc::new(Cell::new(0));
            let counts = |panics: bool| {
                let dropped = Rc::clone(&dropped);
                OnDrop(move || {
                    dropped.set(dropped.get() + 1);
                    assert!(!panics, "on purpose");
                })
            };
            // Each thing that a loop holds, a hundred of each kind, every seventh of them bad.
            for n in 0..100 {
                let held: [_; 4] = [0, 1, 2, 3].map(|kind| counts((n + kind) % 7 == 0));
                let [task, call, timer, callback] = held;
                let task = event_loop.create_task(async move {
                    let _task = task;
                    pending::<()>().await;
                });
                task.add_done_callback(move |_| drop(callback));
                task.detach();
                if n % 2 == 0 {
                    one_turn(&event_loop); // every second one has begun to run
                }
                event_loop.call_later(Duration::from_secs(1 + n), move || drop(timer));
                let _ = event_loop.metrics();
                event_loop.call_soon(move || drop(call));
            }
            trace.take();
            let before = dropped.get();
            end(event_loop);
            assert_eq!(dropped.get(), 400, "{name}, {before} before the end");
            let reports = trace.take();
            assert!(!reports.is_empty());
            let of_close =
                |report: &String| report.starts_with("report: Exception in a destructor while");
            assert!(reports.iter().all(of_close), "{name}: {reports:?}");
        }
    });
}

#[test]
fn b3_destructors_that_start_new_work_at_close_are_refused_and_closing_ends() {
    audited(watched(|| {
        for (name, end) in ENDS {
            let trace = Trace::new();
            let event_loop = virtual_loop(&trace);
            let handle = event_loop.handle();
            let waker = Rc::new(RefCell::new(None::<std::task::Waker>));
            let nasty = |kind: usize| {
                let (handle, trace, waker) = (handle.clone(), trace.clone(), Rc::clone(&waker));
                OnDrop(move || nasty_drop(kind, &handle, &trace, &waker))
            };
            let kept = Rc::clone(&waker);
            event_loop
                .create_task(std::future::poll_fn(move |context| {
                    *kept.borrow_mut() = Some(context.waker().clone());
                    std::task::Poll::<()>::Pending
                }))
                .detach();
            for kind in 0..KINDS {
                let [task, call, timer, local] = [(); 4].map(|()| nasty(kind));
                event_loop
                    .create_task(async move {
                        let _task = task;
                        pending::<()>().await;
                    })
                    .detach();
                one_turn(&event_loop);
                event_loop.call_soon(move || drop(call));
                event_loop.call_later(Duration::from_secs(9), move || drop(timer));
                LOCALS.with(&event_loop, |locals| {
                    locals.borrow_mut().push(Box::new(local))
                });
            }
            // The calls have run in the turns above, all but the last: no close there, so nothing was refused.
            trace.take();
            end(event_loop);
            let lines = trace.take();
            let refused = lines.iter().filter(|line| *line == "refused").count();
            assert_eq!(refused, lines.len(), "{name}: {lines:?}");
            // 5 kinds in 3 places each, and the one callback that has not run.
            assert_eq!(refused, KINDS * 3 + 1, "{name}");
            assert!(handle.is_closed() && handle.all_tasks().is_empty());
            let metrics = handle.metrics();
            assert_eq!((metrics.ready, metrics.timers, metrics.sources), (0, 0, 0));
        }
    }));
}

static LOCALS: LoopLocal<RefCell<Vec<Box<dyn std::any::Any>>>> =
    LoopLocal::new(|| RefCell::new(Vec::new()));

const KINDS: usize = 5;

/// Tries to start something, and says whether it was refused.
fn nasty_drop(
    kind: usize,
    handle: &LoopHandle,
    trace: &Trace,
    waker: &RefCell<Option<std::task::Waker>>,
) {
    let open = !handle.is_closed();
    let refused = match kind {
        // A hundred tasks, each of which would spawn the next one when it is dropped.
        0 => spawns_at_its_end(handle, 100),
        1 => {
            let at = handle.call_at(handle.time(), || ()).cancelled();
            at && handle.call_later(Duration::ZERO, || ()).cancelled()
        }
        2 => {
            if let Some(waker) = &*waker.borrow() {
                waker.wake_by_ref();
            }
            handle.call_soon(|| ()).cancelled()
        }
        3 => matches!(handle.remote().call_soon_threadsafe(|| ()), Err(LoopClosed)),
        _ => {
            let other = EventLoop::new().unwrap();
            let nested = matches!(other.run_forever(), Err(RunError::Nested));
            handle.stop();
            nested && handle.is_closed()
        }
    };
    assert!(open != refused, "kind {kind}");
    trace.push(if refused { "refused" } else { "taken" });
}

/// Whether the loop takes no task any more; what it refuses is dropped at once, and then tries again itself.
fn spawns_at_its_end(handle: &LoopHandle, depth: usize) -> bool {
    if depth == 0 {
        return true;
    }
    if !handle.is_closed() {
        handle.create_task(async {}).detach();
        return false;
    }
    let again = handle.clone();
    let refused = Rc::new(Cell::new(false));
    let seen = Rc::clone(&refused);
    let on_drop = OnDrop(move || seen.set(spawns_at_its_end(&again, depth - 1)));
    let task = handle.create_task(async move {
        let _on_drop = on_drop;
        pending::<()>().await;
    });
    task.cancelled() && task.done() && refused.get()
}

#[test]
fn b3_a_task_that_closes_its_own_loop_is_refused_while_it_runs_and_harmless_at_its_end() {
    audited(|| {
        let trace = Trace::new();
        let event_loop = Rc::new(virtual_loop(&trace));
        let owner = Rc::downgrade(&event_loop);
        let t = trace.clone();
        let closes = move |place: &str| {
            if let Some(owner) = owner.upgrade() {
                t.push(format!("{place}: {:?}", owner.close().is_ok()));
            }
        };
        let at_end = closes.clone();
        event_loop
            .create_task(async move {
                let _on_drop = OnDrop(move || at_end("destructor"));
                closes("step");
                pending::<()>().await;
            })
            .detach();
        one_turn(&event_loop);
        event_loop.close().unwrap();
        trace.expect(["step: false", "destructor: true"]); // a second close does nothing
    });
}

#[test]
fn b4_a_loop_local_whose_making_uses_the_loop_local_is_made_once() {
    static DEPTH: LoopLocal<Cell<u32>> = LoopLocal::new(|| Cell::new(0));
    static NESTED: LoopLocal<Cell<u32>> = LoopLocal::new(|| {
        let handle = callsoon::get_running_loop();
        let depth = DEPTH.with(&handle, |depth| depth.replace(depth.get() + 1));
        if depth == 0 {
            NESTED.with(&handle, |inner| inner.set(7));
        }
        Cell::new(0)
    });
    audited(|| {
        let event_loop = virtual_loop(&Trace::new());
        let seen = event_loop
            .run_until_complete(async {
                let handle = callsoon::get_running_loop();
                let first = NESTED.with(&handle, |value| {
                    value.set(value.get() + 1);
                    value.get()
                });
                (first, NESTED.with(&handle, Cell::get))
            })
            .unwrap();
        assert_eq!(seen.0, seen.1, "both looks see one value");
    });
}

/// One thing that a callback, a task or a destructor does. Numbers pick among what there is; a script is always a later
/// one than that which names it, so that every program ends.
#[derive(Clone, Debug)]
enum Act {
    CallSoon {
        script: usize,
        on_drop: Option<usize>,
    },
    CallLater {
        seconds: u64,
        script: usize,
        on_drop: Option<usize>,
    },
    CancelCall(usize),
    CancelTimer(usize),
    ForgetCall(usize),
    Spawn {
        future: usize,
        script: usize,
    },
    CancelTask(usize),
    SetFuture(usize),
    CancelFuture(usize),
    OnDone {
        future: usize,
        script: usize,
    },
    Stop,
    Nest,
    Panic,
}

type Program = Vec<Vec<Act>>;

const FUTURES: usize = 3;

fn programs() -> impl Strategy<Value = Program> {
    let any = 0usize..1000;
    let act = prop_oneof![
        4 => (any.clone(), prop::option::of(any.clone()))
            .prop_map(|(script, on_drop)| Act::CallSoon { script, on_drop }),
        4 => (0u64..3, any.clone(), prop::option::of(any.clone()))
            .prop_map(|(seconds, script, on_drop)| Act::CallLater { seconds, script, on_drop }),
        3 => any.clone().prop_map(Act::CancelCall),
        3 => any.clone().prop_map(Act::CancelTimer),
        1 => any.clone().prop_map(Act::ForgetCall),
        3 => (0..FUTURES, any.clone()).prop_map(|(future, script)| Act::Spawn { future, script }),
        2 => any.clone().prop_map(Act::CancelTask),
        2 => (0..FUTURES).prop_map(Act::SetFuture),
        1 => (0..FUTURES).prop_map(Act::CancelFuture),
        2 => (0..FUTURES, any).prop_map(|(future, script)| Act::OnDone { future, script }),
        1 => Just(Act::Stop),
        1 => Just(Act::Nest),
        1 => Just(Act::Panic),
    ];
    vec(vec(act, 1..8), 2..8)
}

/// The script that `number` picks for script `from`.
fn later(program: &Program, from: usize, number: usize) -> Option<usize> {
    let rest = program.len() - from - 1;
    (rest > 0).then(|| from + 1 + number % rest)
}

/// The real thing: what a program's callbacks share.
struct World {
    owner: Weak<EventLoop>,
    handle: LoopHandle,
    program: Program,
    trace: Trace,
    calls: RefCell<Vec<Option<Handle>>>,
    timers: RefCell<Vec<TimerHandle>>,
    tasks: RefCell<Vec<TaskRef>>,
    futures: RefCell<Vec<Future<()>>>,
    /// How many destructors are on the stack; in those nobody panics on purpose.
    dropping: Cell<u32>,
}

/// What a callback captures: says that it is dropped, and does more.
struct Captured {
    world: Rc<World>,
    name: String,
    on_drop: Option<usize>,
}

impl Drop for Captured {
    fn drop(&mut self) {
        let world = &self.world;
        world.trace.push(format!("drop {}", self.name));
        world.dropping.set(world.dropping.get() + 1);
        if let Some(script) = self.on_drop {
            world.run(script);
        }
        world.dropping.set(world.dropping.get() - 1);
    }
}

impl World {
    fn capture(self: &Rc<Self>, name: String, on_drop: Option<usize>) -> Captured {
        Captured {
            world: Rc::clone(self),
            name,
            on_drop,
        }
    }

    fn run(self: &Rc<Self>, script: usize) {
        for act in &self.program[script] {
            self.act(script, act);
        }
    }

    /// A callback that says its name and runs a script.
    fn callback(
        self: &Rc<Self>,
        name: String,
        script: usize,
        on_drop: Option<usize>,
    ) -> impl FnOnce() + 'static {
        let captured = self.capture(name, on_drop);
        move || {
            let captured = captured;
            captured.world.trace.push(&captured.name);
            captured.world.run(script);
        }
    }

    fn act(self: &Rc<Self>, from: usize, act: &Act) {
        let pick = |number: usize| later(&self.program, from, number);
        match *act {
            Act::CallSoon { script, on_drop } => {
                let Some(script) = pick(script) else { return };
                let name = format!("call {}", self.calls.borrow().len());
                let callback = self.callback(name, script, on_drop.and_then(pick));
                let handle = self.handle.call_soon(callback);
                self.calls.borrow_mut().push(Some(handle));
            }
            Act::CallLater {
                seconds,
                script,
                on_drop,
            } => {
                let Some(script) = pick(script) else { return };
                let name = format!("timer {}", self.timers.borrow().len());
                let callback = self.callback(name, script, on_drop.and_then(pick));
                let handle = self
                    .handle
                    .call_later(Duration::from_secs(seconds), callback);
                self.timers.borrow_mut().push(handle);
            }
            Act::CancelCall(number) => {
                // Cancelling runs a destructor, which may do all this again: nothing of ours stays borrowed.
                let handle = {
                    let mut calls = self.calls.borrow_mut();
                    let count = calls.len().max(1);
                    calls.get_mut(number % count).and_then(Option::take)
                };
                if let Some(handle) = handle {
                    handle.cancel();
                    assert!(handle.cancelled());
                }
            }
            Act::CancelTimer(number) => {
                let count = self.timers.borrow().len();
                if count > 0 {
                    let key = number % count;
                    // A handle cannot be cloned; this one is out of the list while its destructors run.
                    let spare = self.handle.call_later(Duration::MAX, || ());
                    spare.cancel();
                    let handle = std::mem::replace(&mut self.timers.borrow_mut()[key], spare);
                    handle.cancel();
                    self.timers.borrow_mut()[key] = handle;
                }
            }
            Act::ForgetCall(number) => {
                let mut calls = self.calls.borrow_mut();
                let count = calls.len().max(1);
                drop(calls.get_mut(number % count).and_then(Option::take));
            }
            Act::Spawn { future, script } => {
                let Some(script) = pick(script) else { return };
                let future = self.futures.borrow()[future].clone();
                let captured = self.capture(format!("task {}", self.tasks.borrow().len()), None);
                let task = self.handle.create_task(async move {
                    let captured = captured;
                    let (world, name) = (&captured.world, &captured.name);
                    world.trace.push(format!("{name} starts"));
                    let _ = future.await;
                    world.trace.push(format!("{name} goes on"));
                    world.run(script);
                });
                self.tasks.borrow_mut().push(task.as_ref());
            }
            Act::CancelTask(number) => {
                let count = self.tasks.borrow().len();
                if count > 0 {
                    let task = self.tasks.borrow()[number % count].clone();
                    self.trace.push(format!("cancel: {}", task.cancel()));
                }
            }
            Act::SetFuture(future) => {
                let future = self.futures.borrow()[future].clone();
                self.trace
                    .push(format!("set: {}", future.set_result(()).is_ok()));
            }
            Act::CancelFuture(future) => {
                let future = self.futures.borrow()[future].clone();
                self.trace.push(format!("cancel: {}", future.cancel()));
            }
            Act::OnDone { future, script } => {
                let Some(script) = pick(script) else { return };
                let (future, world) = (self.futures.borrow()[future].clone(), Rc::clone(self));
                future.add_done_callback(move |future| {
                    assert!(future.done());
                    world.trace.push(format!("done callback {script}"));
                    world.run(script);
                });
            }
            Act::Stop => self.handle.stop(),
            Act::Nest => self.nest(),
            Act::Panic if self.dropping.get() == 0 => panic!("on purpose"),
            Act::Panic => {}
        }
    }

    fn nest(&self) {
        let Some(owner) = self.owner.upgrade() else {
            return;
        };
        assert!(matches!(owner.run_forever(), Err(RunError::Nested)));
        assert!(matches!(owner.turn(None), Err(RunError::Nested)));
        assert!(matches!(
            owner.run_until_complete(async {}),
            Err(RunError::Nested)
        ));
        assert!(matches!(owner.close(), Err(RunError::Nested)));
        self.trace.push("nested: refused");
    }
}

/// Far behind every timer of a program.
const END: u64 = 1_000_000;

/// Runs a program on a loop and gives what happened.
fn really(program: &Program) -> Vec<String> {
    let trace = Trace::new();
    let builder = EventLoop::builder().clock(Clock::Virtual).event_interval(1);
    let event_loop = Rc::new(builder.build().unwrap());
    record_reports(&event_loop, &trace);
    let world = Rc::new(World {
        owner: Rc::downgrade(&event_loop),
        handle: event_loop.handle(),
        program: program.clone(),
        trace: trace.clone(),
        calls: RefCell::default(),
        timers: RefCell::default(),
        tasks: RefCell::default(),
        futures: RefCell::new((0..FUTURES).map(|_| event_loop.create_future()).collect()),
        dropping: Cell::new(0),
    });
    let ended = Rc::new(Cell::new(false));
    let (end, handle) = (Rc::clone(&ended), event_loop.handle());
    event_loop.call_later(Duration::from_secs(END), move || {
        end.set(true);
        handle.stop();
    });
    let first = Rc::clone(&world);
    event_loop.call_soon(move || first.run(0));
    while !ended.get() {
        event_loop.run_forever().unwrap();
    }
    event_loop.close().unwrap();
    // Callbacks of futures that were never done hold the world that holds the futures.
    let futures = world.futures.take();
    drop(futures);
    trace.take()
}

/// What must happen, in the simplest way.
#[derive(Default)]
struct Model {
    program: Program,
    trace: Vec<String>,
    queue: VecDeque<Entry>,
    /// What is left of each: the script, and what its destructor does.
    calls: Vec<Option<(usize, Option<usize>)>>,
    timers: Vec<Option<(usize, Option<usize>)>>,
    forgotten: Vec<bool>,
    /// Deadline and number of those that are not due.
    armed: Vec<(u64, usize)>,
    tasks: Vec<ModelTask>,
    futures: [ModelFuture; FUTURES],
    now: u64,
    dropping: u32,
    ended: bool,
}

#[derive(Clone, Copy)]
enum Entry {
    First,
    Call(usize),
    Timer(usize),
    Task(usize),
    Done(usize),
    End,
}

struct ModelTask {
    future: usize,
    script: usize,
    started: bool,
    done: bool,
    requested: bool,
    queued: bool,
}

#[derive(Default)]
struct ModelFuture {
    done: bool,
    line: Vec<Entry>,
}

/// A panic on purpose.
struct Panicked;

impl Model {
    fn say(&mut self, line: impl Into<String>) {
        self.trace.push(line.into());
    }

    fn turn(&mut self) {
        if self.queue.is_empty() {
            let next = self.armed.iter().map(|timer| timer.0).min();
            self.now = self.now.max(next.unwrap());
        }
        let (mut due, armed): (Vec<_>, Vec<_>) =
            self.armed.iter().partition(|timer| timer.0 <= self.now);
        self.armed = armed;
        // Stable: of equal deadlines the one that was made first comes first.
        due.sort_by_key(|timer| timer.0);
        for (_, number) in due {
            self.queue.push_back(match number {
                usize::MAX => Entry::End,
                number => Entry::Timer(number),
            });
        }
        for _ in 0..self.queue.len() {
            let entry = self.queue.pop_front().unwrap();
            self.enter(entry);
        }
    }

    fn enter(&mut self, entry: Entry) {
        match entry {
            Entry::First => {
                let result = self.run(0);
                self.report(result);
            }
            Entry::Call(number) => {
                let call = self.calls[number].take();
                self.called(format!("call {number}"), call);
            }
            Entry::Timer(number) => {
                let timer = self.timers[number].take();
                self.called(format!("timer {number}"), timer);
            }
            Entry::Done(script) => {
                self.say(format!("done callback {script}"));
                let result = self.run(script);
                self.report(result);
            }
            Entry::Task(number) => self.step(number),
            Entry::End => self.ended = true,
        }
    }

    fn report(&mut self, result: Result<(), Panicked>) {
        if result.is_err() {
            self.say("report: Exception in callback (on purpose)");
        }
    }

    fn called(&mut self, name: String, call: Option<(usize, Option<usize>)>) {
        let Some((script, on_drop)) = call else {
            return;
        };
        self.say(&name);
        let result = self.run(script);
        self.drop_captured(&name, on_drop);
        self.report(result);
    }

    fn drop_captured(&mut self, name: &str, on_drop: Option<usize>) {
        self.say(format!("drop {name}"));
        self.dropping += 1;
        if let Some(script) = on_drop {
            assert!(self.run(script).is_ok());
        }
        self.dropping -= 1;
    }

    fn step(&mut self, number: usize) {
        let name = format!("task {number}");
        let task = &mut self.tasks[number];
        task.queued = false;
        if task.done {
            return;
        }
        let (future, started) = (task.future, task.started);
        if task.requested {
            task.done = true;
            let is_it = |entry: &Entry| matches!(entry, Entry::Task(other) if *other == number);
            self.futures[future].line.retain(|entry| !is_it(entry));
            if started {
                // The request goes to what the task awaits first.
                self.conclude(future);
            }
            return self.drop_captured(&name, None);
        }
        if !std::mem::replace(&mut task.started, true) {
            self.say(format!("{name} starts"));
        }
        if !self.futures[future].done {
            return self.futures[future].line.push(Entry::Task(number));
        }
        self.say(format!("{name} goes on"));
        let result = self.run(self.tasks[number].script);
        self.drop_captured(&name, None);
        self.tasks[number].done = true;
        if result.is_err() {
            self.say("report: Task exception was never retrieved (on purpose)");
        }
    }

    fn wake(&mut self, number: usize) {
        if !std::mem::replace(&mut self.tasks[number].queued, true) {
            self.queue.push_back(Entry::Task(number));
        }
    }

    fn run(&mut self, script: usize) -> Result<(), Panicked> {
        for act in self.program[script].clone() {
            self.act(script, &act)?;
        }
        Ok(())
    }

    fn act(&mut self, from: usize, act: &Act) -> Result<(), Panicked> {
        let program = self.program.clone();
        let pick = |number: usize| later(&program, from, number);
        match *act {
            Act::CallSoon { script, on_drop } => {
                let Some(script) = pick(script) else {
                    return Ok(());
                };
                self.queue.push_back(Entry::Call(self.calls.len()));
                self.calls.push(Some((script, on_drop.and_then(pick))));
                self.forgotten.push(false);
            }
            Act::CallLater {
                seconds,
                script,
                on_drop,
            } => {
                let Some(script) = pick(script) else {
                    return Ok(());
                };
                self.armed.push((self.now + seconds, self.timers.len()));
                self.timers.push(Some((script, on_drop.and_then(pick))));
            }
            Act::CancelCall(number) if !self.calls.is_empty() => {
                let number = number % self.calls.len();
                if std::mem::replace(&mut self.forgotten[number], true) {
                    return Ok(());
                }
                if let Some((_, on_drop)) = self.calls[number].take() {
                    self.drop_captured(&format!("call {number}"), on_drop);
                }
            }
            Act::CancelTimer(number) if !self.timers.is_empty() => {
                let number = number % self.timers.len();
                if let Some((_, on_drop)) = self.timers[number].take() {
                    self.armed.retain(|timer| timer.1 != number);
                    self.drop_captured(&format!("timer {number}"), on_drop);
                }
            }
            Act::ForgetCall(number) if !self.calls.is_empty() => {
                let number = number % self.calls.len();
                self.forgotten[number] = true;
            }
            Act::Spawn { future, script } => {
                let Some(script) = pick(script) else {
                    return Ok(());
                };
                self.queue.push_back(Entry::Task(self.tasks.len()));
                self.tasks.push(ModelTask {
                    future,
                    script,
                    started: false,
                    done: false,
                    requested: false,
                    queued: true,
                });
            }
            Act::CancelTask(number) if !self.tasks.is_empty() => {
                let number = number % self.tasks.len();
                let asked = !self.tasks[number].done;
                self.say(format!("cancel: {asked}"));
                if asked {
                    self.tasks[number].requested = true;
                    self.wake(number);
                }
            }
            Act::SetFuture(future) => self.end_future("set", future),
            Act::CancelFuture(future) => self.end_future("cancel", future),
            Act::OnDone { future, script } => {
                let Some(script) = pick(script) else {
                    return Ok(());
                };
                if self.futures[future].done {
                    self.queue.push_back(Entry::Done(script));
                } else {
                    self.futures[future].line.push(Entry::Done(script));
                }
            }
            Act::Nest => self.say("nested: refused"),
            Act::Panic if self.dropping == 0 => return Err(Panicked),
            _ => {}
        }
        Ok(())
    }

    fn end_future(&mut self, how: &str, future: usize) {
        let first = self.conclude(future);
        self.say(format!("{how}: {first}"));
    }

    /// Ends a future, in whatever way; `false` where it has ended before.
    fn conclude(&mut self, future: usize) -> bool {
        let first = !std::mem::replace(&mut self.futures[future].done, true);
        for entry in std::mem::take(&mut self.futures[future].line) {
            match entry {
                Entry::Task(number) => self.wake(number),
                entry => self.queue.push_back(entry),
            }
        }
        first
    }
}

fn ideally(program: &Program) -> Vec<String> {
    let mut model = Model {
        program: program.clone(),
        armed: vec![(END, usize::MAX)],
        ..Model::default()
    };
    model.queue.push_back(Entry::First);
    while !model.ended {
        model.turn();
    }
    // Close drops the tasks that still wait, in the order of their creation.
    for number in 0..model.tasks.len() {
        if !model.tasks[number].done {
            model.drop_captured(&format!("task {number}"), None);
        }
    }
    model.trace
}

#[test]
fn b4_random_programs_of_callbacks_that_meddle_with_the_loop_do_what_a_model_does() {
    audited(watched(|| {
        let config = Config {
            cases: 3000,
            failure_persistence: None,
            ..Config::default()
        };
        let rng = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
        let lines = Cell::new(0);
        TestRunner::new_with_rng(config, rng)
            .run(&programs(), |program| {
                let happened = really(&program);
                lines.set(lines.get() + happened.len());
                prop_assert_eq!(happened, ideally(&program));
                Ok(())
            })
            .unwrap();
        assert!(
            lines.get() > 30_000,
            "programs that do something: {lines:?}"
        );
    }));
}

#[test]
fn b4_a_callback_cancels_the_next_in_line_and_the_one_after_still_runs() {
    audited(|| {
        let trace = Trace::new();
        let event_loop = virtual_loop(&trace);
        let next = Rc::new(RefCell::new(None::<Handle>));
        let (t, victim) = (trace.clone(), Rc::clone(&next));
        event_loop.call_soon(move || {
            victim.take().unwrap().cancel();
            t.push("cancelled the next");
        });
        let probe = DropProbe::new(&trace, "its captures");
        *next.borrow_mut() = Some(event_loop.call_soon(move || drop(probe)));
        event_loop.call_soon(trace.note("the one after"));
        one_turn(&event_loop);
        trace.expect(["drop its captures", "cancelled the next", "the one after"]);
    });
}

#[test]
fn b4_a_timer_cancels_itself_and_its_equal_while_they_fire() {
    audited(|| {
        let trace = Trace::new();
        let event_loop = virtual_loop(&trace);
        let handles = Rc::new(RefCell::new(Vec::<TimerHandle>::new()));
        let (t, own) = (trace.clone(), Rc::clone(&handles));
        let second = Duration::from_secs(1);
        let first = event_loop.call_later(second, move || {
            for handle in own.borrow().iter() {
                handle.cancel();
            }
            t.push("cancelled both");
        });
        let peer = event_loop.call_later(second, || unreachable!());
        handles.borrow_mut().extend([first, peer]);
        event_loop.call_later(second, trace.note("the third"));
        event_loop
            .run_until_complete(callsoon::sleep(2 * second))
            .unwrap();
        trace.expect(["cancelled both", "the third"]);
    });
}

/// Deep enough to overflow any stack that a recursion would use.
const MILLION: usize = 1_000_000;

/// Runs a test on a stack of 256 KiB.
fn on_a_small_stack(test: impl FnOnce() + Send + 'static) {
    let name = thread::current().name().unwrap().to_owned();
    let small = thread::Builder::new()
        .name(name)
        .stack_size(256 << 10)
        .spawn(test);
    if let Err(panic) = small.unwrap().join() {
        std::panic::resume_unwind(panic);
    }
}

/// A million tasks, each awaiting the next; the innermost awaits the future.
fn chain(event_loop: &EventLoop, future: &Future<()>) -> Task<()> {
    let innermost = future.clone();
    let mut task = event_loop.create_task(async move { innermost.await.unwrap() });
    for _ in 1..MILLION {
        task = event_loop.create_task(async move { task.await.unwrap() });
    }
    one_turn(event_loop);
    assert_eq!(event_loop.metrics().tasks, MILLION);
    task
}

#[test]
fn b6_a_million_tasks_that_await_each_other_complete_one_after_another() {
    audited(watched(|| {
        on_a_small_stack(|| {
            let event_loop = virtual_loop(&Trace::new());
            let future = event_loop.create_future();
            let outermost = chain(&event_loop, &future);
            future.set_result(()).unwrap();
            let before = event_loop.metrics().turns;
            event_loop.run_until_complete(outermost).unwrap().unwrap();
            // One turn for each, and not one stack frame for each.
            assert!(event_loop.metrics().turns - before >= MILLION as u64);
            assert_eq!(event_loop.metrics().tasks, 0);
        });
    }));
}

#[test]
fn b6_a_million_tasks_that_await_each_other_are_cancelled_and_closed() {
    audited(watched(|| {
        on_a_small_stack(|| {
            let event_loop = virtual_loop(&Trace::new());
            let future = event_loop.create_future();
            let outermost = chain(&event_loop, &future);
            for task in event_loop.all_tasks() {
                assert!(task.cancel());
            }
            one_turn(&event_loop);
            assert_eq!(event_loop.metrics().tasks, 0);
            assert!(outermost.cancelled());
            assert!(
                future.cancelled(),
                "a cancellation goes down to what is awaited"
            );
            drop(chain(&event_loop, &event_loop.create_future()));
        });
    }));
}

#[test]
fn b6_a_million_futures_whose_callbacks_set_the_next_end_one_after_another() {
    audited(watched(|| {
        on_a_small_stack(|| {
            let event_loop = virtual_loop(&Trace::new());
            let last = event_loop.create_future::<()>();
            let mut first = last.clone();
            for _ in 1..MILLION {
                let (next, future) = (first, event_loop.create_future::<()>());
                future.add_done_callback(move |_| next.set_result(()).unwrap());
                first = future;
            }
            event_loop.call_soon(move || first.set_result(()).unwrap());
            event_loop.run_until_complete(last).unwrap().unwrap();
        });
    }));
}

#[test]
fn b6_a_million_awaiters_of_one_future_are_woken_in_order() {
    audited(watched(|| {
        on_a_small_stack(|| {
            let event_loop = virtual_loop(&Trace::new());
            let future = event_loop.create_future::<()>();
            let next = Rc::new(Cell::new(0));
            for number in 0..MILLION {
                let (next, future) = (Rc::clone(&next), future.clone());
                let awaiter = async move {
                    future.await.unwrap();
                    assert_eq!(next.replace(number + 1), number);
                };
                event_loop.create_task(awaiter).detach();
            }
            one_turn(&event_loop);
            future.set_result(()).unwrap();
            one_turn(&event_loop);
            assert_eq!((next.get(), event_loop.metrics().tasks), (MILLION, 0));
        });
    }));
}

#[test]
fn b6_a_task_polls_a_million_yields_in_a_row_on_a_small_stack() {
    audited(watched(|| {
        on_a_small_stack(|| {
            let event_loop = virtual_loop(&Trace::new());
            let yields = async {
                for _ in 0..MILLION {
                    yield_now().await;
                }
            };
            event_loop.run_until_complete(yields).unwrap();
        });
    }));
}
