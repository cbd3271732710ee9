//! One allocation for a whole task: header, then the future, then its output in the future's place.
//!
//! The slots see the cell as `Rc<dyn Run>`, and the handle sees it as `Rc<dyn Join<T>>`: one allocation, the compiler's
//! own vtables, no manual free. Safety rests on the RUNNING state alone: code that touches the stage sets it first, and
//! is refused if it is set already. So at most one `&mut` to the stage exists at any time, however the code that runs
//! under it (poll, destructors) re-enters the loop.
//!
//! Who touches what: the loop calls `step` and `kill`, the handle calls `take`, and any code on the loop's thread reads
//! the header. Nothing here wakes a task: the turn does what a finished task owes to others.

#![allow(unsafe_code)]

use std::any::Any;
use std::cell::{Cell, UnsafeCell};
use std::future::Future;
use std::mem::MaybeUninit;
use std::panic::{AssertUnwindSafe, Location, catch_unwind};
use std::pin::Pin;
use std::ptr;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use crate::error::{Cancellation, Panicked, TaskError};
use crate::kernel::task::cold_fields::ColdFields;
use crate::kernel::task::key::Key;
use crate::kernel::task::state::{Awaited, Begin, State, Step};

/// One word for the place where a task was created, or for its cold fields, which have that place too. It is a pointer
/// to the location, or an owned pointer to the cold fields with its lowest bit set. Both types are aligned, so that the
/// bit is free.
struct Side(Cell<*const u8>);

const _: () = assert!(align_of::<ColdFields>() > 1 && align_of::<Location<'_>>() > 1);

impl Side {
    #[inline]
    fn new(location: &'static Location<'static>) -> Self {
        Self(Cell::new(ptr::from_ref(location).cast()))
    }

    #[inline]
    fn has_cold(&self) -> bool {
        self.0.get().addr() & 1 == 1
    }

    fn location(&self) -> &'static Location<'static> {
        let place = self.0.get().map_addr(|place| place & !1);
        if self.has_cold() {
            // SAFETY: with the bit set the pointer came from `put`, which owned the cold fields, and `take` clears the
            // bit before it gives them away: they are alive here, and no other reference to them exists.
            return unsafe { (*place.cast::<ColdFields>()).location };
        }
        // SAFETY: without the bit the pointer was made of a `&'static Location`, by `new` or `take`.
        unsafe { &*place.cast() }
    }

    /// Takes the cold fields out; the location stays.
    fn take(&self) -> Option<Box<ColdFields>> {
        if !self.has_cold() {
            return None;
        }
        let place = self.0.get().map_addr(|place| place & !1).cast_mut();
        // SAFETY: with the bit set the pointer is one that `put` got from `Box::into_raw`. The cell is overwritten
        // right below, so no second box is ever made of it.
        let cold = unsafe { Box::from_raw(place.cast::<ColdFields>()) };
        self.0.set(ptr::from_ref(cold.location).cast());
        Some(cold)
    }

    /// Puts cold fields in. Former ones are dropped, with nothing borrowed.
    fn put(&self, cold: Box<ColdFields>) {
        let former = self.take();
        let place = Box::into_raw(cold).cast_const().cast::<u8>();
        self.0.set(place.map_addr(|place| place | 1));
        drop(former);
    }
}

impl Drop for Side {
    #[inline]
    fn drop(&mut self) {
        if self.has_cold() {
            drop(self.take());
        }
    }
}

/// The slot of no task: there are never so many slots.
pub(crate) const NO_TASK: u32 = u32::MAX - 1;

/// What slots, handle and turn may read while the future runs: 32 bytes, and a reason for each.
pub(crate) struct Header {
    pub(crate) state: State,
    /// The task that awaits this one, in two parts that fill a word with `state`; [`NO_TASK`] if none does or its waker
    /// is another runtime's.
    pub(super) waiter_generation: Cell<u16>,
    pub(super) waiter_slot: Cell<u32>,
    /// The task's own slot.
    pub(crate) slot: Cell<u32>,
    /// The number of this task among all that its loop has created. The default name shows it, and the generation is
    /// made of it. Set, like `slot`, when the slots take the task in.
    pub(crate) serial: Cell<u64>,
    /// Where the task was created, or its cold fields. Those are taken out and put back, so that no borrow is ever
    /// held.
    side: Side,
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
            side: Side::new(location),
        }
    }

    /// Returns where the task was created.
    pub(crate) fn location(&self) -> &'static Location<'static> {
        self.side.location()
    }

    /// Sets the task to be woken at the end: the newest awaiter, which is of the same loop.
    #[inline]
    pub(crate) fn set_waiter(&self, waiter: Key) {
        self.waiter_generation.set(waiter.generation());
        self.waiter_slot.set(waiter.slot());
    }

    /// Takes out the task to be woken.
    #[inline]
    pub(crate) fn take_waiter(&self, loop_id: u16) -> Key {
        match self.waiter_slot.replace(NO_TASK) {
            NO_TASK => Key::NONE,
            slot => Key::new(loop_id, self.waiter_generation.get(), slot),
        }
    }

    /// Reads or changes the cold fields, which are made if there are none. `f` must not run user code: it returns what
    /// it takes out.
    pub(crate) fn with_cold<R>(&self, f: impl FnOnce(&mut ColdFields) -> R) -> R {
        let cold = self.side.take();
        let mut cold = cold.unwrap_or_else(|| Box::new(ColdFields::new(self.location())));
        self.state.note_cold();
        let result = f(&mut cold);
        self.side.put(cold);
        result
    }

    /// Reads or changes the cold fields, if there are any.
    pub(crate) fn peek_cold<R>(&self, f: impl FnOnce(&mut ColdFields) -> R) -> Option<R> {
        let mut cold = self.side.take()?;
        let result = f(&mut cold);
        self.side.put(cold);
        Some(result)
    }
}

/// A task as the loop sees it.
pub(crate) trait Run {
    fn header(&self) -> &Header;
    /// Polls the future once, or delivers a request. Catches every panic.
    fn step(&self, context: &mut Context<'_>) -> Step;
    /// Ends the task without polling it: the future is dropped, the output says cancelled. Catches every panic.
    fn kill(&self) -> Step;
    /// Takes the output out if it is a panic that was not read.
    fn take_panic(&self) -> Option<Panicked>;
}

/// A task as its handle sees it.
pub(crate) trait Join<T, H>: Run {
    /// Returns the loop that owns the task.
    fn scheduler(&self) -> &H;
    /// Returns the output: once, and only after the end.
    fn take(&self) -> Option<Result<T, TaskError>>;
    /// Returns the output; before the end it notes the awaiter. An awaiter on another loop is refused, and so is the
    /// task itself, which would wait for ever.
    ///
    /// `awaiting` is the task that the waker wakes, if it is one of ours.
    fn join(&self, awaiting: Key, waker: &Waker) -> Poll<Result<T, TaskError>>;
    /// Does the same as [`join`](Self::join) from behind a shield: a cancellation of the awaiter does not reach this
    /// task.
    fn join_shielded(&self, awaiting: Key, waker: &Waker) -> Poll<Result<T, TaskError>>;
    /// Returns the same task as the loop sees it.
    fn into_run(self: Rc<Self>) -> Rc<dyn Run>;
}

/// What a task's cell asks of its loop.
pub(crate) trait Scheduler {
    fn loop_id(&self) -> u16;
    /// Notes that the running task awaits the one in the slot `awaited`, with its own waker and outside any scope.
    /// Returns `false` if the await needs a node, or is not of that kind.
    fn note_await(&self, awaiting: Key, awaited: u32) -> bool;
    /// Begins a poll while a request is in progress. `Some` is the cancellation with which the task ends, unpolled.
    fn begin_with_request(&self, header: &Header) -> Option<Cancellation>;
    /// Ends a pending poll while a request is in progress. `Some` is the cancellation with which the task ends.
    fn settle_request(&self, header: &Header) -> Option<Cancellation>;
    /// Removes the task's tree: its scopes are about to be dropped.
    fn tear_down(&self, header: &Header);
    /// Polls a handle, if the common case does not apply.
    fn step_await(&self, header: &Header, awaiting: Key, waker: &Waker, shielded: bool) -> Awaited;
}

enum Stage<F: Future> {
    Running(F),
    Output(Result<F::Output, TaskError>),
    Taken,
}

/// The one allocation of a task. `H` is its loop.
pub(crate) struct TaskCell<F: Future, H> {
    pub(crate) header: Header,
    pub(crate) scheduler: H,
    /// Touched under RUNNING by the loop, and by the handle once DONE is set.
    stage: UnsafeCell<Stage<F>>,
}

impl<F: Future, H: Scheduler> TaskCell<F, H> {
    #[inline]
    pub(crate) fn new(future: F, location: &'static Location<'static>, scheduler: H) -> Rc<Self> {
        // Built in its place and not on the stack: copying bytes that were just written makes the processor wait.
        let mut cell: Rc<MaybeUninit<Self>> = Rc::new(MaybeUninit::uninit());
        if let Some(place) = Rc::get_mut(&mut cell) {
            let place = place.as_mut_ptr();
            // SAFETY: `place` points to memory allocated for a `Self`, valid and aligned for each of its fields, and
            // `get_mut` made sure that there is no other reference. Each field is written once, without reading what
            // was there.
            unsafe {
                (&raw mut (*place).header).write(Header::new(location));
                (&raw mut (*place).scheduler).write(scheduler);
                (&raw mut (*place).stage).write(UnsafeCell::new(Stage::Running(future)));
            }
        }
        // SAFETY: all three fields were written above: a count that was just made is 1, so `get_mut` succeeded.
        unsafe { cell.assume_init() }
    }

    /// Drops what the stage holds and stores `output` in its place, with RUNNING set by the caller. The first
    /// assignment completes even when the destructor panics, so the stage is never half dropped; the panic is kept for
    /// the report.
    fn replace(&self, output: Result<F::Output, TaskError>) {
        // SAFETY: the caller set RUNNING, so `step`, `kill` and `take` refuse whatever the dropped future's destructor
        // calls on this task: this is the only reference to the stage while it lives.
        let stage = unsafe { &mut *self.stage.get() };
        self.header.note_drop(&mut || *stage = Stage::Taken);
        *stage = Stage::Output(output);
    }

    /// Ends the task as cancelled, RUNNING set by the caller. Drops the future, or a value that it gave although it was
    /// asked to end.
    #[cold]
    fn end_cancelled(&self, cancellation: Cancellation) -> Step {
        self.scheduler.tear_down(&self.header);
        self.replace(Err(TaskError::Cancelled(cancellation)));
        self.header.state.finish_cancelled();
        Step::DoneOwing
    }

    /// Ends a pending poll with a request in progress.
    #[cold]
    fn pause_in_flight(&self) -> Step {
        if let Some(cancellation) = self.scheduler.settle_request(&self.header) {
            return self.end_cancelled(cancellation);
        }
        self.header.state.pause_in_flight();
        Step::Pending
    }

    /// Polls the handle, if the common case does not apply.
    #[inline(never)]
    fn join_slowly(
        &self,
        awaiting: Key,
        waker: &Waker,
        shielded: bool,
    ) -> Poll<Result<F::Output, TaskError>> {
        loop {
            let step = self
                .scheduler
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
        // SAFETY: called with DONE set only, so the loop never touches the stage again. No other reference to it lives
        // across user code, and moving the output out runs no code.
        let stage = unsafe { &mut *self.stage.get() };
        match std::mem::replace(stage, Stage::Taken) {
            Stage::Output(output) => output,
            Stage::Running(_) | Stage::Taken => Err(TaskError::Taken),
        }
    }

    /// Ends the task after its poll unwound, RUNNING still set. Either the future panicked, and the panic becomes the
    /// output; or its destructor panicked after it had given its output, which stays.
    #[cold]
    fn end_panicked(&self, payload: Box<dyn Any + Send>) -> Step {
        // SAFETY: RUNNING is set and the poll's own reference ended with the unwinding.
        let has_output = matches!(unsafe { &*self.stage.get() }, Stage::Output(_));
        if has_output {
            self.header.note_drop_panic(payload);
            return self.end_owing();
        }
        self.replace(Err(TaskError::Panicked(Panicked::new(payload))));
        self.header.state.finish_panicked();
        Step::DoneOwing
    }

    /// Ends the task by a value.
    #[inline]
    fn end(&self) -> Step {
        let needs_drop = std::mem::needs_drop::<F::Output>();
        if self.header.state.finish_plainly(needs_drop) {
            return Step::Done(self.header.take_waiter(self.scheduler.loop_id()));
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

impl<F: Future, H: Scheduler> Run for TaskCell<F, H> {
    fn header(&self) -> &Header {
        &self.header
    }

    fn step(&self, context: &mut Context<'_>) -> Step {
        match self.header.state.begin() {
            Begin::Poll => {}
            Begin::Deliver => {
                if let Some(cancellation) = self.scheduler.begin_with_request(&self.header) {
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
        // SAFETY: DONE is set, so the loop never touches the stage again. `take` moves out of it within its own call,
        // which runs no user code: no other reference to the stage lives.
        let stage = unsafe { &mut *self.stage.get() };
        match stage {
            Stage::Output(Err(error)) => error.take_panic(),
            _ => None,
        }
    }
}

impl<F: Future + 'static, H: Scheduler + 'static> Join<F::Output, H> for TaskCell<F, H> {
    fn scheduler(&self) -> &H {
        &self.scheduler
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
            && self.scheduler.note_await(awaiting, slot)
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

/// A pinned future beside a value that describes it. Like a task's stage, it keeps the future in place until it is
/// dropped there. Scopes are made of it.
pub(crate) struct Held<F, S> {
    /// Not pinned. Dropped first: a scope removes its node with all below it before the inner future is dropped.
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

    /// Returns the two parts, the first as pinned as the whole.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_is_four_words_and_keeps_its_place_whatever_its_cold_fields_do() {
        assert_eq!(size_of::<Header>(), 32);
        let place = Location::caller();
        let header = Header::new(place);
        assert_eq!(header.location(), place);
        assert!(header.peek_cold(|_| ()).is_none());
        for name in ["one", "two"] {
            header.with_cold(|cold| {
                cold.name = Some(name.into());
                // A nested call sees the place, and new cold fields, which are dropped.
                assert_eq!(header.location(), place);
                header.with_cold(|other| assert!(other.name.is_none()));
            });
            assert_eq!((header.name().as_str(), header.location()), (name, place));
        }
    }
}
