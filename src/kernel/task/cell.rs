//! One allocation for a whole task: header, then the loop, then the future, then its output in the future's place.
//!
//! The slots see the cell as [`AnyTask`], and the handle sees it as [`Joined`]. Both are one pointer, and the header
//! names the functions that know the future's type. Who keeps the memory, and how long, is in `task/mod.rs`.
//!
//! Access to the stage rests on the RUNNING state alone: code that touches the stage sets it first, and is refused if it
//! is set already. So at most one `&mut` to the stage exists at any time, however the code that runs under it (poll,
//! destructors) re-enters the loop.
//!
//! Who touches what: the loop calls `step` and `kill`, the handle calls `take`, and any code on the loop's thread reads
//! the header. Nothing here wakes a task: the turn does what a finished task owes to others.

#![allow(unsafe_code)]

use std::any::Any;
use std::cell::UnsafeCell;
use std::future::Future;
use std::marker::PhantomData;
use std::mem::{ManuallyDrop, MaybeUninit, needs_drop, transmute};
use std::panic::{AssertUnwindSafe, Location, catch_unwind, resume_unwind};
use std::pin::Pin;
use std::ptr::{NonNull, drop_in_place};
use std::task::{Context, Poll, Waker};

use crate::error::{Cancellation, Panicked, TaskError};
use crate::kernel::task::any_task::AnyTask;
use crate::kernel::task::cell_pool::{CellPool, Space};
use crate::kernel::task::header::{Header, Vtable};
use crate::kernel::task::key::Key;
use crate::kernel::task::state::{Awaited, Begin, Step};

/// What a task's cell asks of its loop.
pub(crate) trait Scheduler {
    fn loop_id(&self) -> u16;
    /// Returns the pool of the loop's cells.
    fn pool(&self) -> &CellPool;
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

/// The beginning of a cell, which is the same for all futures. `H` is the loop.
#[repr(C)]
struct Head<H> {
    header: Header,
    /// Taken out when the cell is destroyed: its pool gets the memory.
    scheduler: ManuallyDrop<H>,
}

/// The one allocation of a task.
#[repr(C)]
struct TaskCell<F: Future, H> {
    head: Head<H>,
    /// Touched under RUNNING by the loop, and by the handle once DONE is set.
    stage: UnsafeCell<Stage<F>>,
}

impl<F: Future, H: Scheduler> TaskCell<F, H> {
    const SPACE: Space = Space::of::<Self>();

    // SAFETY: each function is cast to a type that differs in the first argument alone: a pointer to a sized type for a
    // reference to one, which are passed in the same way. The callers of `Vtable`'s functions pass a pointer to a whole
    // cell of this type, which is alive.
    const VTABLE: &'static Vtable = unsafe {
        &Vtable {
            step: transmute::<
                fn(&Self, &mut Context<'_>) -> Step,
                unsafe fn(NonNull<Header>, &mut Context<'_>) -> Step,
            >(Self::step),
            take: transmute::<unsafe fn(&Self, NonNull<()>), unsafe fn(NonNull<Header>, NonNull<()>)>(
                Self::take,
            ),
            destroy: Self::destroy,
        }
    };

    /// Makes a cell with one reference.
    #[inline]
    fn make(future: F, location: &'static Location<'static>, scheduler: H) -> AnyTask {
        let place = scheduler.pool().take(Self::SPACE).cast::<Self>();
        let cell = place.as_ptr();
        // SAFETY: the memory is this function's alone, of the size and alignment of a `Self`. Each field is written
        // once, without reading what was there: in its place and not on the stack, since copying bytes that were just
        // written makes the processor wait. Then the cell is whole, and its header counts the reference made of it.
        unsafe {
            (&raw mut (*cell).head.header).write(Header::new(Self::VTABLE, location));
            (&raw mut (*cell).head.scheduler).write(ManuallyDrop::new(scheduler));
            (&raw mut (*cell).stage).write(UnsafeCell::new(Stage::Running(future)));
            AnyTask::from_cell(place.cast())
        }
    }

    /// Drops a cell and gives its memory back to the pool.
    ///
    /// # Safety
    /// `cell` points to a whole cell of this type, to which no reference is left.
    unsafe fn destroy(cell: NonNull<Header>) {
        // SAFETY: the last reference was given up, so that nobody reads the cell any more. An emptied cell has nothing
        // to drop but `scheduler`.
        unsafe {
            match cell.as_ref().state.is_emptied() {
                true => Self::free(cell.cast()),
                false => Self::drop_and_free(cell.cast()),
            }
        }
    }

    /// # Safety
    /// As for [`destroy`](Self::destroy), which calls this for a cell that is not emptied.
    #[inline(never)]
    unsafe fn drop_and_free(cell: NonNull<Self>) {
        // SAFETY: the caller gives the cell up. Its drop leaves `scheduler` alone.
        unsafe {
            let dropped = catch_unwind(AssertUnwindSafe(|| drop_in_place(cell.as_ptr())));
            Self::free(cell);
            if let Err(payload) = dropped {
                resume_unwind(payload);
            }
        }
    }

    /// # Safety
    /// As for [`destroy`](Self::destroy), with a cell that is dropped or has nothing to drop.
    #[inline]
    unsafe fn free(cell: NonNull<Self>) {
        // SAFETY: the caller gives the cell up. `scheduler` is taken out here only. The memory came from its pool with
        // this space, in `make`.
        unsafe {
            let scheduler = ManuallyDrop::take(&mut (*cell.as_ptr()).head.scheduler);
            scheduler.pool().give(cell.cast(), Self::SPACE);
        }
    }

    /// Drops what the stage holds and stores `output` in its place, with RUNNING set by the caller. The first
    /// assignment completes even when the destructor panics, so the stage is never half dropped; the panic is kept for
    /// the report.
    fn replace(&self, output: Result<F::Output, TaskError>) {
        // SAFETY: the caller set RUNNING, so `step`, `kill` and `take` refuse whatever the dropped future's destructor
        // calls on this task: this is the only reference to the stage while it lives.
        let stage = unsafe { &mut *self.stage.get() };
        self.head.header.note_drop(&mut || *stage = Stage::Taken);
        *stage = Stage::Output(output);
    }

    /// Ends the task as cancelled, RUNNING set by the caller. Drops the future, or a value that it gave although it was
    /// asked to end.
    #[cold]
    fn end_cancelled(&self, cancellation: Cancellation) -> Step {
        self.head.scheduler.tear_down(&self.head.header);
        self.replace(Err(TaskError::Cancelled(cancellation)));
        self.head.header.state.finish_cancelled();
        Step::DoneOwing
    }

    /// Ends a pending poll with a request in progress.
    #[cold]
    fn pause_in_flight(&self) -> Step {
        if let Some(cancellation) = self.head.scheduler.settle_request(&self.head.header) {
            return self.end_cancelled(cancellation);
        }
        self.head.header.state.pause_in_flight();
        Step::Pending
    }

    /// Moves the output of an ended task to `place`.
    ///
    /// # Safety
    /// The task has ended. `place` is valid and aligned for a write of a `Result<F::Output, TaskError>`.
    unsafe fn take(&self, place: NonNull<()>) {
        self.head.header.state.note_emptied();
        // SAFETY: called with DONE set only, so the loop never touches the stage again. No other reference to it lives
        // across user code, and moving the output out runs no code. The caller promises the place.
        unsafe {
            let output = match std::mem::replace(&mut *self.stage.get(), Stage::Taken) {
                Stage::Output(output) => output,
                Stage::Running(_) | Stage::Taken => Err(TaskError::Taken),
            };
            place.cast::<Result<F::Output, TaskError>>().write(output);
        }
    }

    /// Ends the task after its poll unwound, RUNNING still set. Either the future panicked, and the panic becomes the
    /// output; or its destructor panicked after it had given its output, which stays.
    #[cold]
    fn end_panicked(&self, payload: Box<dyn Any + Send>) -> Step {
        // SAFETY: RUNNING is set and the poll's own reference ended with the unwinding.
        let has_output = matches!(unsafe { &*self.stage.get() }, Stage::Output(_));
        if has_output {
            self.head.header.note_drop_panic(payload);
            return self.end_owing();
        }
        self.head.header.note_panic(Panicked::new(payload));
        self.replace(Err(TaskError::Taken));
        self.head.header.state.finish_panicked();
        Step::DoneOwing
    }

    /// Ends the task by a value.
    #[inline]
    fn end(&self) -> Step {
        let needs_drop = needs_drop::<F::Output>();
        if self.head.header.state.finish_plainly(needs_drop) {
            return Step::Done(self.head.header.take_waiter(self.head.scheduler.loop_id()));
        }
        self.end_owing()
    }

    #[inline(never)]
    fn end_owing(&self) -> Step {
        if self.head.header.state.is_requested() {
            return self.end_cancelled(self.head.header.take_request());
        }
        self.head.header.state.finish();
        Step::DoneOwing
    }

    fn step(&self, context: &mut Context<'_>) -> Step {
        match self.head.header.state.begin() {
            Begin::Poll => {}
            Begin::Deliver => {
                if let Some(cancellation) =
                    self.head.scheduler.begin_with_request(&self.head.header)
                {
                    return self.end_cancelled(cancellation);
                }
            }
            Begin::Kill => return self.end_cancelled(self.head.header.take_request()),
            Begin::Refused => return Step::Pending,
        }
        let polled = catch_unwind(AssertUnwindSafe(|| {
            // SAFETY: `begin` set RUNNING, so nothing that the future does can reach the stage a second time. Pinning:
            // the cell stays where it was made until it is destroyed, and the future leaves its place only by being
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
            Ok(false) if self.head.header.state.pause() => Step::Pending,
            Ok(false) => self.pause_in_flight(),
            Ok(true) => self.end(),
            Err(payload) => self.end_panicked(payload),
        }
    }
}

/// A task as its handle sees it: `T` is what it gives, `H` is its loop.
pub(crate) struct Joined<T, H> {
    task: AnyTask,
    types: PhantomData<(fn() -> T, H)>,
}

impl<T, H: Scheduler + 'static> Joined<T, H> {
    /// Makes a task of a future, which no slot holds yet.
    #[inline]
    pub(crate) fn new<F>(future: F, location: &'static Location<'static>, scheduler: H) -> Self
    where
        F: Future<Output = T> + 'static,
    {
        Self {
            task: TaskCell::make(future, location, scheduler),
            types: PhantomData,
        }
    }

    /// Returns the task without the type of what it gives.
    #[inline]
    pub(crate) fn task(&self) -> &AnyTask {
        &self.task
    }

    /// Returns the loop that owns the task.
    #[inline]
    pub(crate) fn scheduler(&self) -> &H {
        // SAFETY: `new` made the cell for an `H`, so that it begins with this type whatever the future is, and the
        // reference keeps it. `destroy` alone has a `&mut` to it, when no reference is left.
        unsafe { &self.task.cell().cast::<Head<H>>().as_ref().scheduler }
    }

    /// Returns the output: once, and only after the end.
    #[inline]
    pub(crate) fn take(&self) -> Option<Result<T, TaskError>> {
        self.take_plainly().or_else(|| self.take_with_panic())
    }

    /// Returns the output of a task that has ended in whatever way.
    #[inline(never)]
    fn take_with_panic(&self) -> Option<Result<T, TaskError>> {
        let header = self.task.header();
        header.state.is_done().then(|| {
            let output = self.take_output();
            header
                .take_panic()
                .map_or(output, |panicked| Err(TaskError::Panicked(panicked)))
        })
    }

    /// Moves the output of an ended task out, which is not a panic.
    #[inline]
    fn take_output(&self) -> Result<T, TaskError> {
        let mut output = MaybeUninit::uninit();
        let place = NonNull::from(&mut output).cast();
        // SAFETY: `new` made the cell for a future that gives a `T`, so `take` writes a `Result<T, TaskError>`, for
        // which `output` is a place. The table is for the types of the cell, which the reference keeps.
        unsafe {
            (self.task.header().vtable.take)(self.task.cell(), place);
            output.assume_init()
        }
    }

    /// Returns the output in the common case of a task that has ended.
    #[inline]
    pub(crate) fn take_plainly(&self) -> Option<Result<T, TaskError>> {
        let done = self.task.header().state.is_plainly_done();
        done.then(|| self.take_output())
    }

    /// Notes the awaiter in the common case of a task that has not ended; `false` if there is more to do.
    #[inline]
    pub(crate) fn wait_plainly(&self, awaiting: Key) -> bool {
        let header = self.task.header();
        let slot = header.slot.get();
        let noted = awaiting.slot() != slot
            && header.state.is_plainly_pending()
            && self.scheduler().note_await(awaiting, slot);
        if noted {
            header.set_waiter(awaiting);
        }
        noted
    }

    /// Returns the output; before the end it notes the awaiter. An awaiter on another loop is refused, and so is the
    /// task itself, which would wait for ever. From behind a shield a cancellation of the awaiter does not reach this
    /// task.
    ///
    /// `awaiting` is the task that the waker wakes, if it is one of ours.
    #[inline(never)]
    pub(crate) fn join(
        &self,
        awaiting: Key,
        waker: &Waker,
        shielded: bool,
    ) -> Poll<Result<T, TaskError>> {
        let header = self.task.header();
        loop {
            let scheduler = self.scheduler();
            return match scheduler.step_await(header, awaiting, waker, shielded) {
                Awaited::Take => self.take().map_or(Poll::Pending, Poll::Ready),
                Awaited::Wait => Poll::Pending,
                Awaited::Again => continue,
                Awaited::OtherLoop => Poll::Ready(Err(TaskError::OtherLoop)),
                Awaited::ItSelf => Poll::Ready(Err(TaskError::AwaitsItself)),
            };
        }
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
        // SAFETY: nothing is moved out of the reference: `future` is pinned again at once, in the same place. It lies in
        // a pinned `Held`, whose only way to it is this method, so it leaves its place only by being dropped there.
        // `Held` has no destructor that could move it, it is not packed, and it is `Unpin` only where `F` is, since that
        // is what the compiler derives for it. `beside` is never pinned: it may be moved.
        unsafe {
            let this = self.get_unchecked_mut();
            (Pin::new_unchecked(&mut this.future), &mut this.beside)
        }
    }
}
