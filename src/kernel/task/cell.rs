//! One allocation for a whole task: header, then the future, then its output in the future's place.
//!
//! The slab sees the cell as `Rc<dyn Run>`, the handle as `Rc<dyn Join<T>>`: one allocation, the compiler's own vtables,
//! no manual free. Safety stands on the RUNNING state alone: whoever touches the stage sets it first and is refused
//! where it is set already, so at any time at most one `&mut` to the stage exists, however the code that runs under it
//! (poll, destructors) re-enters the loop.
//!
//! Who touches what: the loop calls `step` and `kill`; the handle calls `take`; everybody on the loop's thread reads the
//! header. Nothing here wakes anybody: what a finished task owes to others is handed to the turn.

#![allow(unsafe_code)]

use std::any::Any;
use std::borrow::Cow;
use std::cell::{Cell, UnsafeCell};
use std::future::Future;
use std::panic::{AssertUnwindSafe, Location, catch_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use crate::error::{Cancelled, Panicked, TaskError};
use crate::kernel::task::key::Key;
use crate::kernel::task::state::{Begin, State};

/// What most tasks never have, allocated at first use.
#[derive(Default)]
pub(crate) struct Extra {
    /// The name given by the task builder.
    pub(crate) name: Option<Rc<str>>,
    /// An awaiter whose waker is not one of ours, or not of a task.
    pub(crate) waiter: Option<Waker>,
    /// Done callbacks in registration order, with their ids.
    pub(crate) callbacks: Vec<(u64, Box<dyn FnOnce()>)>,
    /// Who asked for the cancellation that is under way, and why: the newest request's.
    pub(crate) cancelled: Option<Cancelled>,
}

/// What slab, handle and turn may look at while the future runs.
pub(crate) struct Header {
    /// Flags and cancellation count.
    pub(crate) state: State,
    /// The number of this task among all that its loop created; the default name shows it.
    pub(crate) serial: u32,
    /// The task that awaits this one, [`Key::NONE`] if none does or its waker is foreign.
    pub(crate) waiter: Cell<Key>,
    /// Where the task was created.
    pub(crate) location: &'static Location<'static>,
    /// Absent until somebody needs it; taken out and put back, so that no borrow is ever held.
    extra: Cell<Option<Box<Extra>>>,
}

impl Header {
    pub(crate) fn new(serial: u32, location: &'static Location<'static>) -> Self {
        Self {
            state: State::new(),
            serial,
            waiter: Cell::new(Key::NONE),
            location,
            extra: Cell::new(None),
        }
    }

    /// Reads or changes the extra, creating it first. `f` must not run foreign code: what it takes out it returns.
    pub(crate) fn with_extra<R>(&self, f: impl FnOnce(&mut Extra) -> R) -> R {
        let mut extra = self.extra.take().unwrap_or_default();
        let result = f(&mut extra);
        self.extra.set(Some(extra));
        result
    }

    /// Reads the extra if there is one.
    pub(crate) fn peek_extra<R>(&self, f: impl FnOnce(&mut Extra) -> R) -> Option<R> {
        let mut extra = self.extra.take()?;
        let result = f(&mut extra);
        self.extra.set(Some(extra));
        Some(result)
    }

    /// Notes a request; `false` where the task has ended.
    #[must_use]
    pub(crate) fn request_cancel(
        &self,
        message: Option<Cow<'static, str>>,
        location: Option<&'static Location<'static>>,
    ) -> bool {
        if !self.state.request_cancel() {
            return false;
        }
        let replaced =
            self.with_extra(|extra| extra.cancelled.replace(Cancelled::new(message, location)));
        drop(replaced);
        true
    }

    /// The request that ends the task; one without words where only the loop's close asked.
    pub(crate) fn take_request(&self) -> Cancelled {
        let request = self.peek_extra(|extra| extra.cancelled.take()).flatten();
        request.unwrap_or_else(|| Cancelled::new(None, None))
    }

    /// The name, or `Task-<n>`.
    pub(crate) fn name(&self) -> String {
        let name = self.peek_extra(|extra| extra.name.clone()).flatten();
        name.map_or_else(|| format!("Task-{}", self.serial), |name| name.to_string())
    }
}

/// The panic of a destructor that ran while the task ended: reported, never the task's result.
pub(crate) type Mishap = Option<Box<Box<dyn Any + Send>>>;

/// What a step came to.
#[must_use]
pub(crate) enum Step {
    /// The future waits.
    Pending,
    /// The task has ended in this step.
    Done(Mishap),
    /// Nothing was touched: the task runs further down this stack, or has ended before.
    Refused,
}

/// A task as the loop sees it.
pub(crate) trait Run {
    fn header(&self) -> &Header;
    /// One poll, or the delivery of a request. Catches every panic.
    fn step(&self, context: &mut Context<'_>) -> Step;
    /// Ends the task without polling it: the future is dropped, the output says cancelled. Catches every panic.
    fn kill(&self) -> Step;
    /// Takes the output out if it is a panic that nobody has read.
    fn take_panic(&self) -> Option<Panicked>;
}

/// A task as its handle sees it.
pub(crate) trait Join<T>: Run {
    /// The output: once, and only after the end.
    fn take(&self) -> Option<Result<T, TaskError>>;
    /// The same task as the loop sees it.
    fn into_run(self: Rc<Self>) -> Rc<dyn Run>;
}

enum Stage<F: Future> {
    Running(F),
    Output(Result<F::Output, TaskError>),
    Taken,
}

/// The one allocation.
pub(crate) struct TaskCell<F: Future> {
    header: Header,
    /// Touched under RUNNING by the loop, and by the handle once DONE is set.
    stage: UnsafeCell<Stage<F>>,
}

impl<F: Future> TaskCell<F> {
    pub(crate) fn new(future: F, header: Header) -> Self {
        Self {
            header,
            stage: UnsafeCell::new(Stage::Running(future)),
        }
    }

    /// Drops the future and stores `output` in its place, with RUNNING set by the caller. Gives back the payload of a
    /// destructor that panicked; the assignment completes even then, so the stage is never half dropped.
    fn replace(&self, output: Result<F::Output, TaskError>) -> Mishap {
        catch_unwind(AssertUnwindSafe(|| {
            // SAFETY: the caller set RUNNING, so `step`, `kill` and `take` refuse whatever the dropped future's
            // destructor calls on this task: this is the only reference to the stage while it lives.
            let stage = unsafe { &mut *self.stage.get() };
            *stage = Stage::Output(output);
        }))
        .err()
        .map(Box::new)
    }

    /// The end without a poll, RUNNING set by the caller.
    #[cold]
    fn end_cancelled(&self) -> Step {
        let mishap = self.replace(Err(TaskError::Cancelled(self.header.take_request())));
        self.header.state.finish_cancelled();
        Step::Done(mishap)
    }

    /// The poll unwound, RUNNING still set. Either the future panicked, which becomes the output, or its destructor
    /// did after it had given its output, which stays.
    #[cold]
    fn end_panicked(&self, payload: Box<dyn Any + Send>) -> Step {
        // SAFETY: RUNNING is set and the poll's own reference ended with the unwinding.
        let has_output = matches!(unsafe { &*self.stage.get() }, Stage::Output(_));
        if has_output {
            self.header.state.finish();
            return Step::Done(Some(Box::new(payload)));
        }
        let mishap = self.replace(Err(TaskError::Panicked(Panicked::new(payload))));
        self.header.state.finish();
        Step::Done(mishap)
    }

    /// The poll gave a value although a cancellation had been asked for meanwhile: the value is dropped.
    #[cold]
    fn end_overruled(&self, value: F::Output) -> Step {
        let mishap = self.replace(Err(TaskError::Cancelled(self.header.take_request())));
        let dropped = catch_unwind(AssertUnwindSafe(|| drop(value)))
            .err()
            .map(Box::new);
        self.header.state.finish_cancelled();
        Step::Done(mishap.or(dropped))
    }
}

impl<F: Future> Run for TaskCell<F> {
    fn header(&self) -> &Header {
        &self.header
    }

    fn step(&self, context: &mut Context<'_>) -> Step {
        match self.header.state.begin() {
            Begin::Poll => {}
            Begin::Deliver => return self.end_cancelled(),
            Begin::Refused => return Step::Refused,
        }
        let polled = catch_unwind(AssertUnwindSafe(|| {
            // SAFETY: `begin` set RUNNING, so nothing that the future does can reach the stage a second time. Pinning:
            // the cell lives in an `Rc` from its creation to its end and the future leaves its place only by being
            // dropped there (`*stage = ..`), never by a move.
            let stage = unsafe { &mut *self.stage.get() };
            let Stage::Running(future) = stage else {
                return None;
            };
            // SAFETY: as above.
            let value = match unsafe { Pin::new_unchecked(future) }.poll(context) {
                Poll::Pending => return None,
                Poll::Ready(value) => value,
            };
            if self.header.state.is_requested() {
                return Some(Some(value));
            }
            *stage = Stage::Output(Ok(value));
            Some(None)
        }));
        match polled {
            Ok(None) => {
                self.header.state.pause();
                Step::Pending
            }
            Ok(Some(None)) => {
                self.header.state.finish();
                Step::Done(None)
            }
            Ok(Some(Some(value))) => self.end_overruled(value),
            Err(payload) => self.end_panicked(payload),
        }
    }

    fn kill(&self) -> Step {
        if self.header.state.begin_kill() {
            self.end_cancelled()
        } else {
            Step::Refused
        }
    }

    fn take_panic(&self) -> Option<Panicked> {
        if !self.header.state.is_done() {
            return None;
        }
        // SAFETY: DONE is set, so the loop has let go of the stage for good, and `take` moves out of it within its own
        // call, which runs no foreign code: no other reference to the stage lives.
        let stage = unsafe { &mut *self.stage.get() };
        if !matches!(stage, Stage::Output(Err(TaskError::Panicked(_)))) {
            return None;
        }
        match std::mem::replace(stage, Stage::Taken) {
            Stage::Output(Err(TaskError::Panicked(panicked))) => Some(panicked),
            _ => None,
        }
    }
}

impl<F: Future + 'static> Join<F::Output> for TaskCell<F> {
    fn take(&self) -> Option<Result<F::Output, TaskError>> {
        if !self.header.state.is_done() {
            return None;
        }
        // SAFETY: as in `take_panic`; moving the output out runs no code of anybody's.
        let stage = unsafe { &mut *self.stage.get() };
        match std::mem::replace(stage, Stage::Taken) {
            Stage::Output(output) => Some(output),
            Stage::Running(_) | Stage::Taken => Some(Err(TaskError::Taken)),
        }
    }

    fn into_run(self: Rc<Self>) -> Rc<dyn Run> {
        self
    }
}
