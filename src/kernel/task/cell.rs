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
use std::cell::{Cell, UnsafeCell};
use std::future::Future;
use std::mem::MaybeUninit;
use std::panic::{AssertUnwindSafe, Location, catch_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use crate::error::{Cancellation, Panicked, TaskError};
use crate::kernel::cancel::node::NodeKey;
use crate::kernel::context::Context as LoopContext;
use crate::kernel::report::drop_quietly;
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
    pub(crate) cancelled: Option<Cancellation>,
    /// The context in which the task runs; `None` is an empty one.
    pub(crate) context: Option<LoopContext>,
    /// How many requests there have been that nobody took back.
    pub(crate) requests: u32,
    /// The await of this task as a node of its awaiter's tree.
    pub(crate) node: Option<NodeKey>,
    /// The panic of a destructor that ran while the task ended: reported, never the task's result.
    pub(crate) mishap: Option<Box<dyn Any + Send>>,
    /// A report has said that the task had not ended when its program did: its loop's close does not say it again.
    pub(crate) named_unended: bool,
}

/// The slot of no task: the slab never gets there.
pub(crate) const NO_TASK: u32 = u32::MAX - 1;

/// What slab, handle and turn may look at while the future runs: 32 bytes, and a reason for each.
pub(crate) struct Header {
    pub(crate) state: State,
    /// The task that awaits this one, in two parts that fill a word with `state`; [`NO_TASK`] if none does or its
    /// waker is foreign.
    waiter_generation: Cell<u16>,
    waiter_slot: Cell<u32>,
    /// The task's own place in the slab.
    pub(crate) slot: Cell<u32>,
    /// The number of this task among all that its loop created; the default name shows it, and the generation is made
    /// of it. Set, like `slot`, when the slab takes the task in.
    pub(crate) serial: Cell<u32>,
    /// Where the task was created.
    pub(crate) location: &'static Location<'static>,
    /// Absent until somebody needs it; taken out and put back, so that no borrow is ever held.
    extra: Cell<Option<Box<Extra>>>,
}

impl Header {
    #[inline]
    pub(crate) fn new(location: &'static Location<'static>) -> Self {
        Self {
            state: State::new(),
            waiter_generation: Cell::new(0),
            waiter_slot: Cell::new(NO_TASK),
            slot: Cell::new(NO_TASK),
            serial: Cell::new(0),
            location,
            extra: Cell::new(None),
        }
    }

    /// Notes who is to be woken at the end: the newest awaiter, which is of the same loop.
    #[inline]
    pub(crate) fn set_waiter(&self, waiter: Key) {
        self.waiter_generation.set(waiter.generation());
        self.waiter_slot.set(waiter.slot());
    }

    /// Takes out who is to be woken.
    #[inline]
    pub(crate) fn take_waiter(&self, loop_id: u16) -> Key {
        match self.waiter_slot.replace(NO_TASK) {
            NO_TASK => Key::NONE,
            slot => Key::new(loop_id, self.waiter_generation.get(), slot),
        }
    }

    /// Keeps the payload of a destructor's panic for the report; the first one, where there are several.
    pub(crate) fn note_mishap(&self, payload: Box<dyn Any + Send>) {
        let second = self.with_extra(|extra| match extra.mishap {
            None => {
                extra.mishap = Some(payload);
                None
            }
            Some(_) => Some(payload),
        });
        drop_quietly(second);
    }

    /// Drops foreign values by `discard`; a panic of theirs is kept for the report. Cold, so it is one for all types.
    pub(crate) fn note_drop(&self, discard: &mut dyn FnMut()) {
        if let Err(payload) = catch_unwind(AssertUnwindSafe(discard)) {
            self.note_mishap(payload);
        }
    }

    /// Reads or changes the extra, creating it first. `f` must not run foreign code: what it takes out it returns.
    pub(crate) fn with_extra<R>(&self, f: impl FnOnce(&mut Extra) -> R) -> R {
        let mut extra = self.extra.take().unwrap_or_default();
        self.state.note_extra();
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

    /// Notes a request, the newest; `false` where the task has ended.
    #[must_use]
    pub(crate) fn request_cancel(&self, request: Cancellation) -> bool {
        if !self.state.request_cancel() {
            return false;
        }
        let replaced = self.with_extra(|extra| {
            extra.requests = extra.requests.saturating_add(1);
            extra.cancelled.replace(request)
        });
        drop(replaced);
        true
    }

    /// The request that is to be delivered; one without words where only the loop's close asked.
    pub(crate) fn take_request(&self) -> Cancellation {
        let request = self.peek_extra(|extra| extra.cancelled.take()).flatten();
        request.unwrap_or_default()
    }

    /// Takes one request back. The last one, if it was not delivered yet, is forgotten. How many are left comes back.
    pub(crate) fn take_back_request(&self) -> u32 {
        let left = self.peek_extra(|extra| {
            extra.requests = extra.requests.saturating_sub(1);
            extra.requests
        });
        let left = left.unwrap_or(0);
        if left == 0 && self.state.take_request() {
            drop(self.peek_extra(|extra| extra.cancelled.take()));
        }
        left
    }

    /// How many requests nobody took back.
    pub(crate) fn requests(&self) -> u32 {
        self.peek_extra(|extra| extra.requests).unwrap_or(0)
    }

    /// The await of this task as a node.
    pub(crate) fn node(&self) -> NodeKey {
        if !self.state.is_scoped() {
            return NodeKey::NONE;
        }
        let node = self.peek_extra(|extra| extra.node).flatten();
        node.unwrap_or(NodeKey::NONE)
    }

    /// Notes that the await of this task is a node, or that it is none any more.
    pub(crate) fn set_node(&self, node: NodeKey) {
        let scoped = node != NodeKey::NONE;
        if scoped || self.state.is_scoped() {
            self.state.note_scoped(scoped);
            self.with_extra(|extra| extra.node = scoped.then_some(node));
        }
    }

    /// Whether this task awaits that one, and there is no node which says so.
    pub(crate) fn is_plainly_awaited_by(&self, task: Key) -> bool {
        self.state.is_plainly_pending()
            && !self.state.is_abandoned()
            && self.waiter_slot.get() == task.slot()
            && self.waiter_generation.get() == task.generation()
    }

    /// The name, or `Task-<n>`.
    pub(crate) fn name(&self) -> String {
        let name = self.peek_extra(|extra| extra.name.clone()).flatten();
        name.map_or_else(
            || format!("Task-{}", self.serial.get()),
            |name| name.to_string(),
        )
    }
}

/// What a step came to. It fits two registers.
#[must_use]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Step {
    /// The future waits.
    Pending,
    /// The task has ended in this step, and owes a wake to this task or to none: no foreign waker, no callbacks, no
    /// mishap, and a handle that will see to the output.
    Done(Key),
    /// The task has ended in this step; what it owes stands in its header.
    DoneOwing,
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
pub(crate) trait Join<T, H>: Run {
    /// The loop that owns the task.
    fn home(&self) -> &H;
    /// The output: once, and only after the end.
    fn take(&self) -> Option<Result<T, TaskError>>;
    /// The output; before the end it notes who awaits it. A task of another loop is refused, and so is the task itself,
    /// which would wait for ever.
    ///
    /// `awaiting` is whom the waker wakes, if it is a task of ours.
    fn join(&self, awaiting: Key, waker: &Waker) -> Poll<Result<T, TaskError>>;
    /// The same from behind a shield: no cancellation follows this await.
    fn join_shielded(&self, awaiting: Key, waker: &Waker) -> Poll<Result<T, TaskError>>;
    /// The same task as the loop sees it.
    fn into_run(self: Rc<Self>) -> Rc<dyn Run>;
}

/// What the poll of a task's handle has to do.
pub(crate) enum Awaited {
    /// Give the output.
    Take,
    /// Wait.
    Wait,
    /// Look once more: foreign code ran.
    Again,
    /// Refuse a task of another loop.
    OtherLoop,
    /// Refuse a task that awaits its own handle.
    ItSelf,
}

/// What this module has to know of the loop.
pub(crate) trait Home {
    fn loop_id(&self) -> u16;
    /// Notes that the task which is running awaits the one in the slot `awaited`, with its own waker and outside any scope.
    /// `false` where that cannot be noted so briefly, or is not so.
    fn note_await(&self, awaiting: Key, awaited: u32) -> bool;
    /// The start of a poll while a request is under way; `Some` is what the task ends with, unpolled.
    fn begin_with_request(&self, header: &Header) -> Option<Cancellation>;
    /// The end of a pending poll while a request is under way; `Some` is what the task ends with.
    fn settle_request(&self, header: &Header) -> Option<Cancellation>;
    /// Forgets the task's scopes: they are about to be dropped.
    fn fell(&self, header: &Header);
    /// The poll of a handle, where it is not as plain as most are.
    fn step_await(&self, header: &Header, awaiting: Key, waker: &Waker, shielded: bool) -> Awaited;
}

enum Stage<F: Future> {
    Running(F),
    Output(Result<F::Output, TaskError>),
    Taken,
}

/// The one allocation. `H` is the loop, of which this module knows nothing.
pub(crate) struct TaskCell<F: Future, H> {
    pub(crate) header: Header,
    pub(crate) home: H,
    /// Touched under RUNNING by the loop, and by the handle once DONE is set.
    stage: UnsafeCell<Stage<F>>,
}

impl<F: Future, H: Home> TaskCell<F, H> {
    #[inline]
    pub(crate) fn new(future: F, location: &'static Location<'static>, home: H) -> Rc<Self> {
        // Built in its place and not on the stack: copying bytes that were just written makes the processor wait.
        let mut cell: Rc<MaybeUninit<Self>> = Rc::new(MaybeUninit::uninit());
        if let Some(place) = Rc::get_mut(&mut cell) {
            let place = place.as_mut_ptr();
            // SAFETY: `place` points to memory allocated for a `Self`, valid and aligned for each of its fields, and
            // `get_mut` made sure that nobody else sees it. Each field is written once, without reading what was there.
            unsafe {
                (&raw mut (*place).header).write(Header::new(location));
                (&raw mut (*place).home).write(home);
                (&raw mut (*place).stage).write(UnsafeCell::new(Stage::Running(future)));
            }
        }
        // SAFETY: all three fields were written above: a count that was just made is 1, so `get_mut` succeeded.
        unsafe { cell.assume_init() }
    }

    /// Drops what the stage holds and stores `output` in its place, with RUNNING set by the caller. The first assignment
    /// completes even when the destructor panics, so the stage is never half dropped; the panic is kept for the report.
    fn replace(&self, output: Result<F::Output, TaskError>) {
        // SAFETY: the caller set RUNNING, so `step`, `kill` and `take` refuse whatever the dropped future's destructor
        // calls on this task: this is the only reference to the stage while it lives.
        let stage = unsafe { &mut *self.stage.get() };
        self.header.note_drop(&mut || *stage = Stage::Taken);
        *stage = Stage::Output(output);
    }

    /// The end as cancelled, RUNNING set by the caller. What the stage holds is dropped: the future, or a value that it
    /// gave although it had been asked to end meanwhile.
    #[cold]
    fn end_cancelled(&self, cancellation: Cancellation) -> Step {
        self.home.fell(&self.header);
        self.replace(Err(TaskError::Cancelled(cancellation)));
        self.header.state.finish_cancelled();
        Step::DoneOwing
    }

    /// The poll was pending, and a request is under way.
    #[cold]
    fn pause_in_flight(&self) -> Step {
        if let Some(cancellation) = self.home.settle_request(&self.header) {
            return self.end_cancelled(cancellation);
        }
        self.header.state.pause_in_flight();
        Step::Pending
    }

    /// A poll of the handle that is not as plain as most are.
    #[inline(never)]
    fn join_slowly(
        &self,
        awaiting: Key,
        waker: &Waker,
        shielded: bool,
    ) -> Poll<Result<F::Output, TaskError>> {
        loop {
            let step = self
                .home
                .step_await(&self.header, awaiting, waker, shielded);
            return match step {
                Awaited::Take => Poll::Ready(self.take_output()),
                Awaited::Wait => Poll::Pending,
                Awaited::Again => continue,
                Awaited::OtherLoop => Poll::Ready(Err(TaskError::OtherLoop)),
                Awaited::ItSelf => Poll::Ready(Err(TaskError::AwaitsItself)),
            };
        }
    }

    /// Moves the output of an ended task out.
    #[inline]
    fn take_output(&self) -> Result<F::Output, TaskError> {
        self.header.state.note_taken();
        // SAFETY: called with DONE set only, so the loop has let go of the stage for good; nothing else holds a reference
        // to it across foreign code, and moving the output out runs no code of anybody's.
        let stage = unsafe { &mut *self.stage.get() };
        match std::mem::replace(stage, Stage::Taken) {
            Stage::Output(output) => output,
            Stage::Running(_) | Stage::Taken => Err(TaskError::Taken),
        }
    }

    /// The poll unwound, RUNNING still set. Either the future panicked, which becomes the output, or its destructor
    /// did after it had given its output, which stays.
    #[cold]
    fn end_panicked(&self, payload: Box<dyn Any + Send>) -> Step {
        // SAFETY: RUNNING is set and the poll's own reference ended with the unwinding.
        let has_output = matches!(unsafe { &*self.stage.get() }, Stage::Output(_));
        if has_output {
            self.header.note_mishap(payload);
            return self.end_owing();
        }
        self.replace(Err(TaskError::Panicked(Panicked::new(payload))));
        self.header.state.finish_panicked();
        Step::DoneOwing
    }

    /// The end by a value.
    #[inline]
    fn end(&self) -> Step {
        if self.header.state.finish_plainly() {
            return Step::Done(self.header.take_waiter(self.home.loop_id()));
        }
        self.end_owing()
    }

    #[inline(never)]
    fn end_owing(&self) -> Step {
        if self.header.state.is_requested() {
            return self.end_cancelled(self.header.take_request());
        }
        self.header.state.finish();
        Step::DoneOwing
    }
}

impl<F: Future, H: Home> Run for TaskCell<F, H> {
    fn header(&self) -> &Header {
        &self.header
    }

    fn step(&self, context: &mut Context<'_>) -> Step {
        match self.header.state.begin() {
            Begin::Poll => {}
            Begin::Deliver => {
                if let Some(cancellation) = self.home.begin_with_request(&self.header) {
                    return self.end_cancelled(cancellation);
                }
            }
            Begin::Refused => return Step::Refused,
        }
        let polled = catch_unwind(AssertUnwindSafe(|| {
            // SAFETY: `begin` set RUNNING, so nothing that the future does can reach the stage a second time. Pinning:
            // the cell lives in an `Rc` from its creation to its end and the future leaves its place only by being
            // dropped there (`*stage = ..`), never by a move.
            let stage = unsafe { &mut *self.stage.get() };
            let Stage::Running(future) = stage else {
                return false;
            };
            // SAFETY: as above.
            match unsafe { Pin::new_unchecked(future) }.poll(context) {
                Poll::Pending => false,
                Poll::Ready(value) => {
                    *stage = Stage::Output(Ok(value));
                    true
                }
            }
        }));
        match polled {
            Ok(false) if self.header.state.pause() => Step::Pending,
            Ok(false) => self.pause_in_flight(),
            Ok(true) => self.end(),
            Err(payload) => self.end_panicked(payload),
        }
    }

    fn kill(&self) -> Step {
        if self.header.state.begin_kill() {
            self.end_cancelled(self.header.take_request())
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
        match stage {
            Stage::Output(Err(error)) => error.take_panic(),
            _ => None,
        }
    }
}

impl<F: Future + 'static, H: Home + 'static> Join<F::Output, H> for TaskCell<F, H> {
    fn home(&self) -> &H {
        &self.home
    }

    fn take(&self) -> Option<Result<F::Output, TaskError>> {
        self.header.state.is_done().then(|| self.take_output())
    }

    #[inline]
    fn join(&self, awaiting: Key, waker: &Waker) -> Poll<Result<F::Output, TaskError>> {
        let header = &self.header;
        if header.state.is_plainly_done() {
            return Poll::Ready(self.take_output());
        }
        let slot = header.slot.get();
        if awaiting != Key::NONE
            && awaiting.slot() != slot
            && header.state.is_plainly_pending()
            && self.home.note_await(awaiting, slot)
        {
            header.set_waiter(awaiting);
            return Poll::Pending;
        }
        self.join_slowly(awaiting, waker, false)
    }

    fn join_shielded(&self, awaiting: Key, waker: &Waker) -> Poll<Result<F::Output, TaskError>> {
        self.join_slowly(awaiting, waker, true)
    }

    fn into_run(self: Rc<Self>) -> Rc<dyn Run> {
        self
    }
}

/// A future that lies pinned beside what is known of it: the other place, next to a task's stage, where a future is kept
/// until it is dropped there. Scopes are made of it.
pub(crate) struct Held<F, S> {
    /// Not pinned. Dropped first: a scope takes its node out with all below it before what is inside is dropped.
    beside: S,
    /// Pinned with the whole; `None` once dropped.
    future: Option<F>,
}

impl<F, S: Unpin> Held<F, S> {
    pub(crate) fn new(future: F, beside: S) -> Self {
        Self {
            beside,
            future: Some(future),
        }
    }

    /// The two parts, the first as pinned as the whole.
    #[inline]
    pub(crate) fn project(self: Pin<&mut Self>) -> (Pin<&mut Option<F>>, &mut S) {
        // SAFETY: nothing is moved out of the reference: `future` is pinned again at once, in the same place.
        let this = unsafe { self.get_unchecked_mut() };
        // SAFETY: `future` lies in a pinned `Held`, whose only way to it is this method, so it leaves its place only by
        // being dropped there. `Held` has no destructor that could move it, it is not packed, and it is `Unpin` only
        // where `F` is, since that is what the compiler derives for it. `beside` is never pinned: it may be moved.
        (
            unsafe { Pin::new_unchecked(&mut this.future) },
            &mut this.beside,
        )
    }
}
