//! Random programs of callbacks that call the loop, and a model that predicts what they do.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::{Rc, Weak};
use std::time::Duration;

use callsoon::{Clock, EventLoop, Future, Handle, LoopHandle, RunError, TaskRef, TimerHandle};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use crate::support::{PENDING, Trace, audited, record_reports, watched};

/// What a callback, a task or a destructor does. Numbers pick among what there is, scripts among later ones: all end.
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
        3 => prop_oneof![Just(Act::Stop), Just(Act::Nest), Just(Act::Panic)],
    ];
    vec(vec(act, 1..8), 2..8)
}

/// The script that `number` picks for script `from`.
fn later(program: &Program, from: usize, number: usize) -> Option<usize> {
    number
        .checked_rem(program.len() - from - 1)
        .map(|by| from + 1 + by)
}

/// The state that the callbacks of a program on the loop share.
struct World {
    owner: Weak<EventLoop>,
    handle: LoopHandle,
    program: Program,
    trace: Trace,
    calls: RefCell<Vec<Option<Handle>>>,
    timers: RefCell<Vec<TimerHandle>>,
    tasks: RefCell<Vec<TaskRef>>,
    futures: RefCell<Vec<Future<()>>>,
    /// How many destructors are on the stack. Programs do not panic on purpose inside one.
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

/// The model: what must happen, in the simplest way.
#[derive(Default)]
struct Model {
    program: Program,
    trace: Vec<String>,
    queue: VecDeque<Entry>,
    /// What is left of each: the script, and what its destructor does.
    calls: Vec<Option<(usize, Option<usize>)>>,
    timers: Vec<Option<(usize, Option<usize>)>>,
    forgotten: Vec<bool>,
    /// Deadline and number of the timers that are not due.
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

/// Panics on purpose.
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
                self.forgotten[number % self.calls.len()] = true;
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

    /// Ends a future with a result or a cancellation. Returns `false` if it has ended before.
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
    // Close names and drops the tasks that still wait, in the order of their creation.
    for number in 0..model.tasks.len() {
        if !model.tasks[number].done {
            model.trace.push(PENDING.to_owned());
            model.drop_captured(&format!("task {number}"), None);
        }
    }
    model.trace
}

#[test]
fn b4_random_programs_of_callbacks_that_meddle_with_the_loop_do_what_a_model_does() {
    audited(watched(|| {
        let config = Config {
            failure_persistence: None,
            ..Config::with_cases(3000)
        };
        let lines = Cell::new(0);
        TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha))
            .run(&programs(), |program| {
                let happened = really(&program);
                lines.set(lines.get() + happened.len());
                prop_assert_eq!(happened, ideally(&program));
                Ok(())
            })
            .unwrap();
        assert!(lines.get() > 30_000, "too few did anything: {lines:?}");
    }));
}
