//! Every short life of a task: polled, woken, cancelled, awaited and dropped in every order, compared with a model.

#![allow(
    clippy::waker_clone_wake,
    clippy::async_yields_async,
    reason = "what a clone does is tested too, and some futures are made inside the loop and polled outside"
)]

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use callsoon::{EventLoop, TaskError};

use crate::support::{Trace, on_virtual_time, one_turn};

#[test]
fn a6_every_short_life_of_a_task_drops_its_output_and_its_future_once() {
    const LENGTH: u32 = 5;
    on_virtual_time(|trace, event_loop| {
        let ops = Op::ALL.len();
        for length in 0..=LENGTH {
            for number in 0..ops.pow(length) {
                let life: Vec<Op> = (0..length)
                    .map(|place| Op::ALL[number / ops.pow(place) % ops])
                    .collect();
                live(&event_loop, &trace, &life);
            }
        }
    });
}

/// One event in the life of a task.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Op {
    /// One turn of the loop.
    Turn,
    /// From outside, through the handle or else through `all_tasks`.
    Cancel,
    /// The task cancels itself at its next poll.
    CancelItself,
    /// The next poll gives a value.
    Complete,
    /// The next poll gives a value whose destructor panics.
    CompleteBadly,
    /// The next poll panics.
    Panic,
    /// The future's destructor will panic.
    DropPanics,
    DropHandle,
    Take,
}

impl Op {
    const ALL: [Self; 9] = [
        Self::Turn,
        Self::Cancel,
        Self::CancelItself,
        Self::Complete,
        Self::CompleteBadly,
        Self::Panic,
        Self::DropPanics,
        Self::DropHandle,
        Self::Take,
    ];
}

/// What the next poll does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Next {
    Wait,
    Value,
    BadValue,
    Panic,
}

/// What test, future and output share.
struct Controls {
    next: Cell<Next>,
    cancels_itself: Cell<bool>,
    drop_panics: Cell<bool>,
    waker: RefCell<Option<Waker>>,
    futures_dropped: Cell<u32>,
    outputs: Cell<(u32, u32)>,
}

struct Subject(Rc<Controls>);

struct Output(Rc<Controls>, bool);

impl Future for Subject {
    type Output = Output;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Output> {
        let controls = &self.0;
        *controls.waker.borrow_mut() = Some(context.waker().clone());
        if controls.cancels_itself.take() {
            assert!(callsoon::current_task().unwrap().cancel());
        }
        let bad = match controls.next.get() {
            Next::Wait => return Poll::Pending,
            Next::Value => false,
            Next::BadValue => true,
            Next::Panic => panic!("on purpose: poll"),
        };
        let (made, dropped) = controls.outputs.get();
        controls.outputs.set((made + 1, dropped));
        Poll::Ready(Output(Rc::clone(controls), bad))
    }
}

impl Drop for Subject {
    fn drop(&mut self) {
        self.0.futures_dropped.set(self.0.futures_dropped.get() + 1);
        if self.0.drop_panics.get() {
            panic!("on purpose: drop of the future");
        }
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        let (made, dropped) = self.0.outputs.get();
        self.0.outputs.set((made, dropped + 1));
        if self.1 {
            panic!("on purpose: drop of the output");
        }
    }
}

/// How a task has ended, in the model.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum End {
    Value,
    BadValue,
    Cancelled,
    Panicked,
    Taken,
}

/// What must happen, kept beside the real task.
struct Model {
    end: Option<End>,
    requested: bool,
    queued: bool,
    has_handle: bool,
    /// Somebody has cancelled it after its end.
    excused: bool,
    reports: Vec<&'static str>,
}

const IN_TASK: &str = "report: Exception in a destructor while its task ended";
const UNREAD: &str = "report: Task exception was never retrieved (on purpose: poll)";
const UNAWAITED: &str = "report: Exception in the destructor of a result that nobody awaited \
                         (on purpose: drop of the output)";

impl Model {
    fn turn(&mut self, controls: &Controls) {
        if !std::mem::take(&mut self.queued) || self.end.is_some() {
            return;
        }
        let mut overruled = false;
        if !self.requested {
            self.requested |= controls.cancels_itself.get();
            self.queued = self.requested;
            self.end = match controls.next.get() {
                Next::Wait => return,
                Next::Panic => Some(End::Panicked),
                Next::Value if !self.requested => Some(End::Value),
                Next::BadValue if !self.requested => Some(End::BadValue),
                Next::Value | Next::BadValue => Some(End::Cancelled),
            };
            overruled = self.end == Some(End::Cancelled);
        } else {
            self.end = Some(End::Cancelled);
        }
        // Of two destructors that panic the first is reported.
        if controls.drop_panics.get() {
            self.reports.push("future");
        } else if overruled && controls.next.get() == Next::BadValue {
            self.reports.push("output");
        }
        if !self.has_handle {
            self.abandoned(true);
        }
    }

    /// No code takes the result: it is dropped by the loop, or by the handle's last owner.
    fn abandoned(&mut self, by_loop: bool) {
        match self.end {
            // The failure of a task that is cancelled after it has failed is not reported, as in asyncio.
            Some(End::Panicked) if self.excused => {}
            Some(End::Panicked) => self.reports.push(UNREAD),
            Some(End::BadValue) if by_loop => self.reports.push(UNAWAITED),
            _ => {}
        }
    }

    fn expected_reports(&self) -> Vec<String> {
        self.reports
            .iter()
            .map(|report| match *report {
                "future" => format!("{IN_TASK} (on purpose: drop of the future)"),
                "output" => format!("{IN_TASK} (on purpose: drop of the output)"),
                report => report.to_owned(),
            })
            .collect()
    }
}

/// Leads one life on a loop that is used for many.
fn live(event_loop: &EventLoop, trace: &Trace, life: &[Op]) {
    let controls = Rc::new(Controls {
        next: Cell::new(Next::Wait),
        cancels_itself: Cell::new(false),
        drop_panics: Cell::new(false),
        waker: RefCell::new(None),
        futures_dropped: Cell::new(0),
        outputs: Cell::new((0, 0)),
    });
    let mut handle = Some(event_loop.create_task(Subject(Rc::clone(&controls))));
    let mut model = Model {
        end: None,
        requested: false,
        queued: true,
        has_handle: true,
        excused: false,
        reports: Vec::new(),
    };
    // Whatever the life was, it ends in good order.
    let last = [Op::Cancel, Op::Turn, Op::DropHandle];
    for (number, &op) in life.iter().chain(&last).enumerate() {
        if number == life.len() && model.end.is_some() {
            continue; // to cancel it now would excuse a panic
        }
        act(event_loop, op, &controls, &mut handle, &mut model);
        assert_eq!(
            u32::from(model.end.is_some()),
            controls.futures_dropped.get(),
            "{life:?}, {op:?}"
        );
    }
    let (made, dropped) = controls.outputs.get();
    assert_eq!(made, dropped, "{life:?}");
    assert_eq!(trace.take(), model.expected_reports(), "{life:?}");
    let metrics = event_loop.metrics();
    assert_eq!((metrics.tasks, metrics.ready), (0, 0), "{life:?}");
    if let Some(stale) = controls.waker.take() {
        stale.wake();
        assert_eq!(event_loop.metrics().ready, 0);
    }
}

fn act(
    event_loop: &EventLoop,
    op: Op,
    controls: &Controls,
    handle: &mut Option<callsoon::Task<Output>>,
    model: &mut Model,
) {
    let mut next = |next: Next| {
        controls.next.set(next);
        if let Some(waker) = &*controls.waker.borrow() {
            waker.wake_by_ref();
        }
        model.queued = true;
    };
    match op {
        Op::Turn => {
            model.turn(controls);
            one_turn(event_loop);
        }
        Op::Cancel => {
            let asked = match &handle {
                Some(handle) => handle.cancel(),
                None => event_loop
                    .all_tasks()
                    .pop()
                    .is_some_and(|task| task.cancel()),
            };
            assert_eq!(asked, model.end.is_none());
            model.excused |= handle.is_some() && !asked;
            model.requested |= asked;
            model.queued |= asked;
        }
        Op::CancelItself => {
            controls.cancels_itself.set(true);
            next(controls.next.get());
        }
        Op::Complete => next(Next::Value),
        Op::CompleteBadly => next(Next::BadValue),
        Op::Panic => next(Next::Panic),
        Op::DropPanics => controls.drop_panics.set(true),
        Op::DropHandle => {
            let bad = model.has_handle && model.end == Some(End::BadValue);
            if std::mem::take(&mut model.has_handle) {
                model.abandoned(false);
            }
            let dropped = catch_unwind(AssertUnwindSafe(|| drop(handle.take())));
            assert_eq!(dropped.is_err(), bad, "the output's panic is its owner's");
        }
        Op::Take => {
            let Some(handle) = handle else { return };
            let taken = catch_unwind(AssertUnwindSafe(|| match handle.result() {
                Err(_) => None,
                Ok(Ok(output)) => {
                    drop(output);
                    Some(End::Value)
                }
                Ok(Err(TaskError::Cancelled(_))) => Some(End::Cancelled),
                Ok(Err(TaskError::Panicked(_))) => Some(End::Panicked),
                Ok(Err(TaskError::Taken)) => Some(End::Taken),
                Ok(Err(_)) => unreachable!(),
            }));
            // The test itself drops what it took.
            assert_eq!(taken.unwrap_or(Some(End::BadValue)), model.end);
            model.end = model.end.map(|_| End::Taken);
        }
    }
}
