//! The future of `run_until_complete` as a task.
//!
//! It need not be `'static`, so the loop cannot own it: it stays pinned in its caller's frame and the turn gets it as
//! an argument. What the loop does own is its header: name, flags and callbacks, so that the main task appears in
//! `all_tasks`, can be cancelled, and has a key for its wakers.

use std::any::Any;
use std::future::{Future, pending};
use std::panic::{AssertUnwindSafe, Location, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll};

use crate::error::Cancellation;
use crate::kernel::task::any_task::AnyTask;
use crate::kernel::task::cell::{Joined, Scheduler};
use crate::kernel::task::header::Header;
use crate::kernel::task::state::{Begin, Step};

/// The root as a task: of a future that is never polled, since the root's own is in its caller's frame.
pub(crate) struct RootHeader(pub(crate) AnyTask);

/// What the turn needs to know of the root: how to poll it once.
pub(crate) trait Root {
    /// One poll, or the delivery of a request; the same rules as [`AnyTask::step`].
    fn step(&mut self, context: &mut Context<'_>) -> Step;
}

/// How the root ended.
pub(crate) enum Outcome<T> {
    Value(T),
    Cancelled(Cancellation),
    Panicked(Box<dyn Any + Send>),
}

/// The future in its caller's frame.
pub(crate) struct RootFuture<'a, F: Future, H> {
    pub(crate) header: RootHeader,
    pub(crate) scheduler: H,
    /// `None` once it has ended: it is dropped inside the loop, where its destructors may use it.
    pub(crate) future: Pin<&'a mut Option<F>>,
    pub(crate) outcome: Option<Outcome<F::Output>>,
}

/// What a step does before it polls.
enum Beginning {
    Poll,
    End(Cancellation),
    Refused,
}

// What does not depend on the future's type: there are as many of them as there are calls of `run_until_complete`.
impl RootHeader {
    pub(crate) fn new<H: Scheduler + 'static>(
        location: &'static Location<'static>,
        scheduler: H,
    ) -> Self {
        let task = Joined::new(pending::<()>(), location, scheduler);
        Self(task.task().clone())
    }

    pub(crate) fn header(&self) -> &Header {
        self.0.header()
    }

    fn begin(&self, scheduler: &impl Scheduler) -> Beginning {
        match self.header().state.begin() {
            Begin::Poll => Beginning::Poll,
            Begin::Deliver => scheduler
                .begin_with_request(self.header())
                .map_or(Beginning::Poll, Beginning::End),
            Begin::Kill | Begin::Refused => Beginning::Refused,
        }
    }

    /// After a poll that was pending; `Some` is what the root ends with.
    fn pause(&self, scheduler: &impl Scheduler) -> Option<Cancellation> {
        if self.header().state.pause() {
            return None;
        }
        let cancellation = scheduler.settle_request(self.header());
        if cancellation.is_none() {
            self.header().state.pause_in_flight();
        }
        cancellation
    }

    fn finish(&self, cancelled: bool) {
        if cancelled {
            self.header().state.finish_cancelled();
        } else {
            self.header().state.finish();
        }
    }
}

impl<F: Future, H: Scheduler> RootFuture<'_, F, H> {
    fn end(&mut self, outcome: Outcome<F::Output>) -> Step {
        self.scheduler.tear_down(self.header.header());
        self.header
            .header()
            .note_drop(&mut || self.future.set(None));
        // A destructor may have polled a scope.
        self.scheduler.tear_down(self.header.header());
        self.header.finish(matches!(outcome, Outcome::Cancelled(_)));
        self.outcome = Some(outcome);
        Step::DoneOwing
    }
}

impl<F: Future, H: Scheduler> Root for RootFuture<'_, F, H> {
    fn step(&mut self, context: &mut Context<'_>) -> Step {
        match self.header.begin(&self.scheduler) {
            Beginning::Poll => {}
            Beginning::End(cancellation) => return self.end(Outcome::Cancelled(cancellation)),
            Beginning::Refused => return Step::Pending,
        }
        let polled = catch_unwind(AssertUnwindSafe(|| {
            match self.future.as_mut().as_pin_mut() {
                Some(future) => future.poll(context),
                None => Poll::Pending,
            }
        }));
        match polled {
            Ok(Poll::Pending) => match self.header.pause(&self.scheduler) {
                None => Step::Pending,
                Some(cancellation) => self.end(Outcome::Cancelled(cancellation)),
            },
            Ok(Poll::Ready(value)) if self.header.header().state.is_requested() => {
                let cancellation = self.header.header().take_request();
                let step = self.end(Outcome::Cancelled(cancellation));
                let mut value = Some(value);
                self.header.header().note_drop(&mut || value = None);
                step
            }
            Ok(Poll::Ready(value)) => self.end(Outcome::Value(value)),
            Err(payload) => self.end(Outcome::Panicked(payload)),
        }
    }
}
