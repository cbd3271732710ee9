//! The spans of a loop with [`Builder::task_spans`](crate::Builder::task_spans): of its turns, polls for events, calls
//! and tasks, and the events of wakes. [`docs::events`](crate::docs::events) is the table of them, and a test holds it to
//! this file. `kernel/observation` decides when they begin and end.
//!
//! A task's span has the name and the fields of tokio's, so that tools for tokio's tasks show ours. Entered spans nest,
//! so they are a stack here, and what an observer has to remember of a call stays two numbers. The span of a task is not
//! in its cold fields: those cost the tasks of all loops a word, and this table costs the loops without spans nothing.
//!
//! A subscriber is user code. It is called with nothing borrowed, and its panic is ignored.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::panic::Location;
use std::rc::Rc;

use tracing::Span;

use crate::kernel::report::{drop_quietly, run_quietly};
use crate::kernel::task::header::Header;
use crate::kernel::task::key::{Key, ROOT_SLOT};

/// Where the code that is called was created.
type Place = &'static Location<'static>;

/// A span that a subscriber wants, which its drop closes.
struct Wanted(Span);

impl Drop for Wanted {
    fn drop(&mut self) {
        drop_quietly(std::mem::replace(&mut self.0, Span::none()));
    }
}

/// A span; `None` if no subscriber wants it.
type MaybeSpan = Option<Rc<Wanted>>;

/// Makes a span.
fn make(span: impl FnOnce() -> Span) -> MaybeSpan {
    let mut made = Span::none();
    run_quietly(|| made = span());
    (!made.is_disabled()).then(|| Rc::new(Wanted(made)))
}

/// What is known of a task that was seen in the ready queue or in a step, and has not ended.
struct Traced {
    span: MaybeSpan,
    phase: Phase,
}

/// Where a task is between two of its events. A task that waits has one waker somewhere, for those who count: wakers are
/// keys here, whose copies nobody sees, and tokio-console warns of a task that waits without a waker.
#[derive(Clone, Copy, PartialEq)]
enum Phase {
    /// It runs, and was not woken since its step began; or it is the root.
    Runs,
    /// It is in the ready queue.
    Queued,
    /// Its last step has ended, and nothing has woken it.
    Waits,
}

/// The spans of one loop.
pub(crate) struct Spans {
    tasks: RefCell<HashMap<u64, Traced>>,
    /// The spans that are entered, the innermost last.
    entered: RefCell<Vec<MaybeSpan>>,
    /// The turn whose span is entered.
    turn: Cell<Option<u64>>,
    /// The number of the first entry of the ready queue that was not looked at.
    seen: Cell<u64>,
    /// A buffer that is used again.
    queued: Cell<Vec<Key>>,
}

impl Spans {
    pub(crate) fn new() -> Self {
        Self {
            tasks: RefCell::default(),
            entered: RefCell::default(),
            turn: Cell::new(None),
            seen: Cell::new(0),
            queued: Cell::default(),
        }
    }

    fn enter(&self, span: MaybeSpan) {
        self.entered.borrow_mut().push(span.clone());
        if let Some(span) = span {
            run_quietly(|| {
                span.0
                    .with_subscriber(|(id, subscriber)| subscriber.enter(id));
            });
        }
    }

    /// Leaves the innermost span, which closes it unless it is a task's. Returns `false` if there is none.
    pub(crate) fn leave(&self) -> bool {
        let Some(span) = self.entered.borrow_mut().pop() else {
            return false;
        };
        if let Some(span) = span {
            run_quietly(|| {
                span.0
                    .with_subscriber(|(id, subscriber)| subscriber.exit(id));
            });
        }
        true
    }

    /// Leaves the span of the former turn and enters one for this turn, unless that was done.
    pub(crate) fn begin_turn(&self, number: u64) {
        if self.turn.get() == Some(number) {
            return;
        }
        self.end_turn();
        self.turn.set(Some(number));
        self.enter(make(
            || tracing::trace_span!(target: "callsoon::loop", "turn", number),
        ));
    }

    /// Leaves the span of the turn, and with it what a panic of the crate's own code may have left entered.
    pub(crate) fn end_turn(&self) {
        if self.turn.take().is_some() {
            while self.leave() {}
        }
    }

    /// Enters the span of a poll for events.
    pub(crate) fn begin_poll(&self) {
        self.enter(make(
            || tracing::trace_span!(target: "callsoon::loop", "poll"),
        ));
    }

    /// Enters the span of the part of a poll in which the loop may sleep.
    pub(crate) fn begin_wait(&self) {
        self.enter(make(
            || tracing::trace_span!(target: "callsoon::loop", "wait"),
        ));
    }

    /// Enters the span of a call that is no step.
    pub(crate) fn begin_call(&self, kind: &str, what: &str, place: Place) {
        let (file, line, col) = (place.file(), place.line(), place.column());
        self.enter(make(|| {
            tracing::trace_span!(target: "callsoon::loop", "call", kind, what, loc.file = file, loc.line = line, loc.col = col)
        }));
    }

    /// Enters the span of a task, for a step. It is made if there is none, as for the root and eager tasks.
    pub(crate) fn begin_step(&self, key: Key, header: &Header) {
        self.open(key, header);
        let span = self
            .tasks
            .borrow_mut()
            .get_mut(&key.bits())
            .and_then(|task| {
                task.phase = Phase::Runs;
                task.span.clone()
            });
        self.enter(span);
    }

    /// Makes the span of a new task, which has no parent: it may outlive every other.
    pub(crate) fn open(&self, key: Key, header: &Header) {
        if self.has(key) {
            return;
        }
        let place = header.location();
        let (file, line, col) = (place.file(), place.line(), place.column());
        let kind = match key.slot() {
            ROOT_SLOT => "block_on",
            _ => "task",
        };
        let span = make(
            || tracing::trace_span!(target: "tokio::task", parent: None, "runtime.spawn", kind, task.name = %header.name(), task.id = header.serial.get(), loc.file = file, loc.line = line, loc.col = col),
        );
        let phase = Phase::Queued;
        let former = self
            .tasks
            .borrow_mut()
            .insert(key.bits(), Traced { span, phase });
        drop(former);
    }

    /// Returns whether a task has a span, or would have one if a subscriber wanted it.
    pub(crate) fn has(&self, key: Key) -> bool {
        self.tasks.borrow().contains_key(&key.bits())
    }

    /// Records the new name of a task in its span. If there is none yet, it will be made with that name.
    pub(crate) fn rename(&self, key: Key, header: &Header) {
        if let Some(span) = self.span_of(key) {
            let name = header.name();
            run_quietly(|| {
                span.0.record("task.name", tracing::field::display(&name));
            });
        }
    }

    /// Closes the span of a task that has ended.
    pub(crate) fn close(&self, key: Key) {
        let ended = self.tasks.borrow_mut().remove(&key.bits());
        drop(ended);
    }

    /// Closes the spans of all tasks.
    pub(crate) fn close_all(&self) {
        let all = self.tasks.take();
        drop(all);
    }

    fn span_of(&self, key: Key) -> MaybeSpan {
        self.tasks.borrow().get(&key.bits())?.span.clone()
    }

    /// Sends the event of a wake. It takes the waker of a task that waits; a task that runs is woken by reference.
    pub(crate) fn woken(&self, key: Key) {
        let op = match self.change(key, Phase::Queued) {
            Some(Phase::Waits) => "waker.wake",
            _ => "waker.wake_by_ref",
        };
        self.tell(key, op);
    }

    /// Sends the event that a task which has left its step is to be woken by somebody, unless that was done meanwhile.
    /// The root has no such event: it is no task to those who count wakers.
    pub(crate) fn waits(&self, key: Key) {
        let tasks = self.tasks.borrow();
        let runs = tasks
            .get(&key.bits())
            .is_some_and(|task| task.phase == Phase::Runs);
        drop(tasks);
        if runs && key.slot() != ROOT_SLOT {
            self.change(key, Phase::Waits);
            self.tell(key, "waker.clone");
        }
    }

    /// Returns the former phase.
    fn change(&self, key: Key, to: Phase) -> Option<Phase> {
        let mut tasks = self.tasks.borrow_mut();
        let task = tasks.get_mut(&key.bits())?;
        Some(std::mem::replace(&mut task.phase, to))
    }

    fn tell(&self, key: Key, op: &'static str) {
        let Some(id) = self.span_of(key).and_then(|span| span.0.id()) else {
            return;
        };
        let id = id.into_u64();
        run_quietly(|| {
            tracing::trace!(target: "tokio::task::waker", op, task.id = id);
        });
    }

    /// Returns from which number on the entries of the ready queue were not looked at, and notes that those below `next`
    /// are looked at now. The number of an eager task's entry, which was taken out again, may be given twice.
    pub(crate) fn look(&self, next: u64) -> u64 {
        self.seen.replace(next).min(next)
    }

    /// Lends an empty buffer for keys, to be given back.
    pub(crate) fn lend(&self) -> Vec<Key> {
        self.queued.take()
    }

    pub(crate) fn give_back(&self, mut buffer: Vec<Key>) {
        buffer.clear();
        self.queued.set(buffer);
    }
}
