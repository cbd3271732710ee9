//! Timers against a sorted list: each turn fires exactly those that are due when it begins, in the order of their
//! deadlines and then of their creation, whatever callbacks arm, cancel, and do to the clock.
#![no_main]

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::panic::resume_unwind;
use std::rc::Rc;
use std::time::{Duration, Instant};

use arbitrary::Arbitrary;
use callsoon::{Clock, ClockHandle, EventLoop, LoopHandle, TimerHandle};
use libfuzzer_sys::fuzz_target;

/// A span of every magnitude: `number` in units of 2 to the power of `power` nanoseconds.
#[derive(Arbitrary, Clone, Copy, Debug)]
struct Span {
    number: u8,
    power: u8,
}

impl Span {
    fn duration(self) -> Duration {
        // Up to 146 years.
        Duration::from_nanos(u64::from(self.number) << (self.power % 55))
    }

    /// A span that the clock can be moved by a hundred times.
    fn short(self) -> Duration {
        Duration::from_nanos(u64::from(self.number) << (self.power % 46))
    }
}

#[derive(Arbitrary, Clone, Debug)]
enum Step {
    /// Arms a timer, which takes some of the steps that follow when it fires.
    Arm(Span, u8),
    ArmAt(u8, Span),
    SameAsLast,
    Never,
    Cancel(u8),
    CancelById(u8),
    Advance(Span),
    AdvanceToNext,
    Turn,
    Panic,
}

struct Timer {
    handle: TimerHandle,
    when: Instant,
}

type Order = (Instant, usize);

/// What has to be armed until the first of them need not be known.
const FEW: usize = 16;

/// How far ahead of its beginning a loop arms timers here: half of the time after which its clock ends.
const END: Duration = Duration::from_nanos(1 << 63);

struct World {
    handle: LoopHandle,
    clock: ClockHandle,
    begin: Instant,
    /// Each timer by the order of its creation.
    timers: Vec<Timer>,
    armed: BTreeMap<Order, Vec<Step>>,
    /// What is left of the current turn.
    due: VecDeque<Order>,
    last: Instant,
    panics: usize,
}

type Shared = Rc<RefCell<World>>;

fn arm(world: &Shared, when: Instant, steps: Vec<Step>) {
    let mut state = world.borrow_mut();
    let when = when.min(state.begin + END);
    let number = state.timers.len();
    let fires = Rc::clone(world);
    let handle = state.handle.call_at(when, move || fire(&fires, number));
    assert_eq!(handle.when(), when);
    state.armed.insert((when, number), steps);
    state.timers.push(Timer { handle, when });
    state.last = when;
}

fn fire(world: &Shared, number: usize) {
    let steps = {
        let mut state = world.borrow_mut();
        let order = (state.timers[number].when, number);
        assert!(order.0 <= state.clock.now(), "early");
        assert_eq!(state.due.pop_front(), Some(order), "out of order");
        state.armed.remove(&order).unwrap()
    };
    let panics = steps.iter().any(|step| matches!(step, Step::Panic));
    for step in steps {
        take(world, step, &mut VecDeque::new());
    }
    if panics {
        world.borrow_mut().panics += 1;
        // Without the hook, which ends a fuzzer.
        resume_unwind(Box::new("on purpose"));
    }
}

fn cancel(world: &Shared, which: u8, by_id: bool) {
    let mut state = world.borrow_mut();
    if state.timers.is_empty() {
        return;
    }
    let number = usize::from(which) % state.timers.len();
    let timer = &state.timers[number];
    let order = (timer.when, number);
    let was_armed = state.armed.contains_key(&order);
    if by_id {
        let id = timer.handle.id();
        assert_eq!(state.handle.cancel_by_id(id), was_armed);
    } else {
        timer.handle.cancel();
    }
    state.armed.remove(&order);
    state.due.retain(|due| *due != order);
}

/// Takes a step, inside a callback or outside. A timer takes its steps from `rest`.
fn take(world: &Shared, step: Step, rest: &mut VecDeque<Step>) {
    let (now, clock, last, begin) = {
        let state = world.borrow();
        (
            state.clock.now(),
            state.clock.clone(),
            state.last,
            state.begin,
        )
    };
    match step {
        Step::Arm(span, count) => {
            let steps = rest.drain(..rest.len().min(usize::from(count % 8)));
            let steps = steps.collect();
            arm(world, now + span.duration(), steps);
        }
        Step::ArmAt(count, span) => {
            let steps = rest.drain(..rest.len().min(usize::from(count % 8)));
            let steps = steps.collect();
            arm(world, begin + span.short(), steps);
        }
        Step::SameAsLast => arm(world, last, Vec::new()),
        Step::Never => {
            let handle = world.borrow().handle.clone();
            let never = handle.call_later(Duration::MAX, || panic!("this never fires"));
            never.cancel();
        }
        Step::Cancel(which) => cancel(world, which, false),
        Step::CancelById(which) => cancel(world, which, true),
        Step::Advance(span) => clock.advance(span.short()),
        Step::AdvanceToNext => {
            let before = clock.now();
            let moved = clock.advance_to_next();
            let next = world.borrow().armed.keys().next().map(|order| order.0);
            let state = world.borrow();
            // What is due in this turn has left the timers.
            if state.due.is_empty() {
                assert_eq!(moved.is_some(), next.is_some());
                assert!(clock.now() <= next.unwrap_or(before).max(before));
                if state.armed.len() < FEW {
                    assert_eq!(clock.now(), next.unwrap_or(before).max(before));
                }
            }
        }
        Step::Turn | Step::Panic => {}
    }
}

fn turn(event_loop: &EventLoop, world: &Shared) {
    {
        let mut state = world.borrow_mut();
        let next = state.armed.keys().next().map(|order| order.0);
        let said = state.handle.next_deadline();
        assert!(said <= next && said.is_some() == next.is_some());
        if state.armed.len() < FEW {
            assert_eq!(said, next);
        }
        let now = state.clock.now();
        let due = state.armed.keys().filter(|order| order.0 <= now).copied();
        state.due = due.collect();
    }
    event_loop.turn(Some(Duration::ZERO)).unwrap();
    let state = world.borrow();
    assert!(state.due.is_empty(), "these did not fire: {:?}", state.due);
    for (number, timer) in state.timers.iter().enumerate() {
        if state.armed.contains_key(&(timer.when, number)) {
            assert!(!timer.handle.cancelled());
        }
    }
}

fuzz_target!(|steps: Vec<Step>| {
    let event_loop = EventLoop::builder().clock(Clock::Manual).build().unwrap();
    let reports = Rc::new(RefCell::new(0));
    let counted = Rc::clone(&reports);
    event_loop.set_exception_handler(move |_, _| *counted.borrow_mut() += 1);
    let clock = event_loop.handle().clock().unwrap();
    let world = Rc::new(RefCell::new(World {
        handle: event_loop.handle(),
        begin: clock.now(),
        last: clock.now(),
        clock: clock.clone(),
        timers: Vec::new(),
        armed: BTreeMap::new(),
        due: VecDeque::new(),
        panics: 0,
    }));
    let mut rest = VecDeque::from(steps);
    while let Some(step) = rest.pop_front() {
        match step {
            Step::Turn => turn(&event_loop, &world),
            step => take(&world, step, &mut rest),
        }
    }
    // Everything that is left fires, except for what only the end of all clocks reaches.
    turn(&event_loop, &world);
    for _ in 0..1000 {
        if world.borrow().armed.is_empty() {
            break;
        }
        clock.advance_to_next();
        turn(&event_loop, &world);
    }
    assert!(world.borrow().armed.is_empty());
    assert_eq!(*reports.borrow(), world.borrow().panics);
    event_loop.close().unwrap();
});
