//! Random programs, run by the loop and by a naive model of asyncio's `_run_once`: the traces are the same, with a
//! poll for events in every turn and with polls left out.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::{Duration, Instant};

use callsoon::{Clock, EventLoop, Handle, LoopHandle, ThreadsafeHandle, TimerHandle};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use crate::support::{audited, watched};

/// What a callback, or the code between two runs, does. Times are nanoseconds.
#[derive(Clone, Debug)]
enum Op {
    Soon,
    /// `call_soon_threadsafe` from the loop's own thread.
    Post,
    Later(u64),
    /// Relative to the program's beginning, so often in the past.
    At(i64),
    /// A task that sleeps.
    Sleep(u64),
    /// Cancels one of the callbacks and timers made so far, whatever has become of it.
    Cancel(usize),
    Stop,
}

/// The `n`th callback that is made does what entry `n % length` says.
type Program = Vec<Vec<Op>>;

/// How many callbacks a program may make.
const MOST: usize = 150;

/// The callback that ends the last run.
const LAST: usize = usize::MAX;

/// Later than any deadline that the code between runs may ask for.
const FAR: u64 = 1 << 40;

/// Callback, turn, time. Idle turns are not counted: for a crowd of timers the loop may wake up once in between.
type Event = (usize, u64, u64);

/// Numbers the turns in which something ran.
fn without_idle_turns(mut trace: Vec<Event>) -> Vec<Event> {
    let (mut last, mut busy) = (0, 0);
    for event in &mut trace {
        busy += u64::from(event.1 != last);
        last = std::mem::replace(&mut event.1, busy);
    }
    trace
}

/// What a whole program leaves: the trace, the time, and how many entries and timers were never run.
type Outcome = (Vec<Event>, u64, usize, usize);

/// asyncio's turn, in as few words as possible.
#[derive(Default)]
struct Model {
    program: Program,
    now: u64,
    turns: u64,
    stopping: bool,
    ready: VecDeque<Entry>,
    /// In the order of creation.
    timers: Vec<(i128, usize)>,
    /// Whether the `n`th thing made can be cancelled; tasks are not, here.
    made: Vec<bool>,
    cancelled: Vec<usize>,
    trace: Vec<Event>,
}

enum Entry {
    Callback(usize),
    /// The first step of a task.
    FirstStep(usize, u64),
}

impl Model {
    fn run_forever(&mut self) {
        loop {
            self.turn();
            if std::mem::take(&mut self.stopping) {
                break;
            }
        }
    }

    fn turn(&mut self) {
        self.turns += 1;
        if !self.stopping && self.ready.is_empty() {
            let first = self.timers.iter().map(|timer| timer.0).min().unwrap();
            self.now = self.now.max(first.max(0) as u64);
        }
        let now = i128::from(self.now);
        let mut due: Vec<_> = self.timers.clone();
        due.retain(|timer| timer.0 <= now);
        due.sort_by_key(|timer| timer.0);
        self.timers.retain(|timer| timer.0 > now);
        let due = due.into_iter().map(|timer| Entry::Callback(timer.1));
        self.ready.extend(due);
        for _ in 0..self.ready.len() {
            match self.ready.pop_front().unwrap() {
                Entry::Callback(id) if self.cancelled.contains(&id) => {}
                Entry::Callback(id) => self.call(id),
                Entry::FirstStep(id, 0) => self.ready.push_back(Entry::Callback(id)),
                Entry::FirstStep(id, delay) => self.timers.push((now + i128::from(delay), id)),
            }
        }
    }

    fn call(&mut self, id: usize) {
        self.trace.push((id, self.turns, self.now));
        if id == LAST {
            self.stopping = true;
        } else {
            self.act(id);
        }
    }

    fn act(&mut self, entry: usize) {
        for op in self.program[entry % self.program.len()].clone() {
            let id = self.made.len();
            match op {
                Op::Stop => self.stopping = true,
                Op::Cancel(which) if id > 0 && self.made[which % id] => {
                    self.cancelled.push(which % id);
                    self.timers.retain(|timer| timer.1 != which % id);
                }
                Op::Cancel(_) => {}
                _ if id == MOST => {}
                _ => self.make(&op, id),
            }
        }
    }

    fn make(&mut self, op: &Op, id: usize) {
        match *op {
            Op::Later(delay) => self.timers.push(((self.now + delay).into(), id)),
            Op::At(when) => self.timers.push((when.into(), id)),
            Op::Sleep(delay) => self.ready.push_back(Entry::FirstStep(id, delay)),
            _ => self.ready.push_back(Entry::Callback(id)),
        }
        self.made.push(!matches!(op, Op::Sleep(_)));
    }
}

/// The same on the loop.
struct Subject {
    event_loop: LoopHandle,
    program: Program,
    start: Instant,
    handles: RefCell<Vec<Made>>,
    trace: RefCell<Vec<Event>>,
}

enum Made {
    Soon(Handle),
    Posted(ThreadsafeHandle),
    Timer(TimerHandle),
    Task,
}

impl Subject {
    fn elapsed(&self) -> u64 {
        (self.event_loop.time() - self.start).as_nanos() as u64
    }

    fn call(self: &Rc<Self>, id: usize) {
        let turns = self.event_loop.metrics().turns;
        self.trace.borrow_mut().push((id, turns, self.elapsed()));
        if id == LAST {
            self.event_loop.stop();
        } else {
            self.act(id);
        }
    }

    fn act(self: &Rc<Self>, entry: usize) {
        for op in &self.program[entry % self.program.len()] {
            let id = self.handles.borrow().len();
            let made = match *op {
                Op::Stop => {
                    self.event_loop.stop();
                    continue;
                }
                Op::Cancel(which) => {
                    self.cancel(which);
                    continue;
                }
                _ if id == MOST => continue,
                _ => self.make(op, id),
            };
            self.handles.borrow_mut().push(made);
        }
    }

    fn make(self: &Rc<Self>, op: &Op, id: usize) -> Made {
        let me = Rc::clone(self);
        let event_loop = &self.event_loop;
        match *op {
            Op::Later(delay) => {
                let delay = Duration::from_nanos(delay);
                Made::Timer(event_loop.call_later(delay, move || me.call(id)))
            }
            Op::At(when) => {
                let distance = Duration::from_nanos(when.unsigned_abs());
                let when = if when < 0 {
                    self.start - distance
                } else {
                    self.start + distance
                };
                Made::Timer(event_loop.call_at(when, move || me.call(id)))
            }
            Op::Sleep(delay) => {
                let sleeping = async move {
                    callsoon::sleep(Duration::from_nanos(delay)).await;
                    me.call(id);
                };
                event_loop.create_task(sleeping).detach();
                Made::Task
            }
            Op::Post => {
                // What is posted must be `Send`, which the program is not: it finds its way back by a local.
                HERE.with_borrow_mut(|here| *here = Some(me));
                let back = move || HERE.with_borrow(Option::clone).unwrap().call(id);
                Made::Posted(event_loop.remote().call_soon_threadsafe(back).unwrap())
            }
            _ => Made::Soon(event_loop.call_soon(move || me.call(id))),
        }
    }

    fn cancel(&self, which: usize) {
        let handles = self.handles.borrow();
        if handles.is_empty() {
            return;
        }
        match &handles[which % handles.len()] {
            Made::Soon(handle) => handle.cancel(),
            Made::Timer(handle) => handle.cancel(),
            Made::Posted(handle) => drop(handle.cancel()),
            Made::Task => {}
        }
    }
}

thread_local! {
    static HERE: RefCell<Option<Rc<Subject>>> = const { RefCell::new(None) };
}

/// Does each entry of `runs` before a run, until the last callback of all has run.
fn by_the_model(program: &Program, runs: &[usize]) -> Outcome {
    let mut model = Model {
        program: program.clone(),
        timers: vec![(FAR.into(), LAST)],
        ..Model::default()
    };
    for &entry in runs {
        model.act(entry);
        model.run_forever();
        if ended(&model.trace) {
            break;
        }
    }
    (
        without_idle_turns(model.trace),
        model.now,
        model.ready.len(),
        model.timers.len(),
    )
}

fn by_the_loop(program: &Program, runs: &[usize], event_interval: Option<u32>) -> Outcome {
    let mut builder = EventLoop::builder().clock(Clock::Virtual);
    if let Some(entries) = event_interval {
        builder = builder.event_interval(entries);
    }
    let event_loop = builder.build().unwrap();
    let subject = Rc::new(Subject {
        event_loop: event_loop.handle(),
        program: program.clone(),
        start: event_loop.time(),
        handles: RefCell::default(),
        trace: RefCell::default(),
    });
    let (me, far) = (Rc::clone(&subject), Duration::from_nanos(FAR));
    event_loop.call_at(subject.start + far, move || me.call(LAST));
    for &entry in runs {
        subject.act(entry);
        event_loop.run_forever().unwrap();
        if ended(&subject.trace.borrow()) {
            break;
        }
    }
    HERE.take();
    let left = event_loop.metrics();
    (
        without_idle_turns(subject.trace.take()),
        subject.elapsed(),
        left.ready,
        left.timers,
    )
}

fn ended(trace: &[Event]) -> bool {
    trace.iter().any(|event| event.0 == LAST)
}

fn any_op() -> impl Strategy<Value = Op> {
    // Few different times, so that many are equal; some in other levels of the timers' wheel.
    let delay =
        || prop_oneof![3 => 0..4_u64, 2 => (0..8_u64).prop_map(|n| n << 20), 1 => 0..FAR / 64];
    prop_oneof![
        4 => Just(Op::Soon),
        1 => Just(Op::Post),
        4 => delay().prop_map(Op::Later),
        2 => (delay(), any::<bool>()).prop_map(|(t, past)| Op::At(if past { -(t as i64) } else { t as i64 })),
        1 => delay().prop_map(Op::Sleep),
        3 => any::<usize>().prop_map(Op::Cancel),
        1 => Just(Op::Stop),
    ]
}

fn compare(programs: u32, event_interval: Option<u32>) {
    let mut runner = TestRunner::new(Config {
        failure_persistence: None,
        ..Config::with_cases(programs)
    });
    let program = prop::collection::vec(prop::collection::vec(any_op(), 0..6), 1..12);
    let runs = prop::collection::vec(any::<usize>(), 1..6);
    let result = runner.run(&(program, runs), |(program, runs)| {
        let expected = by_the_model(&program, &runs);
        prop_assert_eq!(by_the_loop(&program, &runs, event_interval), expected);
        Ok(())
    });
    if let Err(error) = result {
        panic!("{error}");
    }
}

#[test]
fn random_programs_run_as_in_asyncio_with_a_poll_for_events_in_every_turn() {
    audited(watched(|| compare(3_000, Some(1))));
}

/// On the virtual clock time passes in polls for events only, and a timer that is due already forces one. So a poll
/// that is left out leaves no trace at all.
#[test]
fn random_programs_run_as_in_asyncio_with_polls_for_events_left_out() {
    audited(watched(|| compare(3_000, None)));
}
