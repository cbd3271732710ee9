//! The header of a task: what can be read and changed without knowing the type of its future. Its flags, its awaiter and
//! the place where it was created; and its cold fields: requests to end the task, its awaiter's node, its drop panic and
//! its name.

#![allow(unsafe_code)]

use std::any::Any;
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, Location, catch_unwind};
use std::ptr::{self, NonNull};
use std::task::Context;

use crate::error::{Cancellation, Panicked};
use crate::kernel::cancel::node::NodeKey;
use crate::kernel::context::Context as LoopContext;
use crate::kernel::report::drop_quietly;
use crate::kernel::task::cold_fields::ColdFields;
use crate::kernel::task::key::Key;
use crate::kernel::task::state::{State, Step};

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
        // SAFETY: with the bit set the pointer came from `put`, which owned the cold fields, and `take` clears the bit
        // before it gives them away: they are alive here, and no other reference to them exists. Without the bit the
        // pointer was made of a `&'static Location`, by `new` or `take`.
        unsafe {
            match self.has_cold() {
                true => (*place.cast::<ColdFields>()).location,
                false => &*place.cast(),
            }
        }
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

/// What the loop and the handle can do with a cell whose types they do not know. Each function wants a pointer to the
/// whole cell for whose types the table was made, with a reference counted; `destroy` wants the last one.
pub(super) struct Vtable {
    /// Polls the future once, or delivers a request, or ends a task that is killed. Catches every panic.
    pub(super) step: unsafe fn(NonNull<Header>, &mut Context<'_>) -> Step,
    /// Moves the output of an ended task to a place for a `Result<F::Output, TaskError>`.
    pub(super) take: unsafe fn(NonNull<Header>, NonNull<()>),
    /// Drops the cell and frees its memory.
    pub(super) destroy: unsafe fn(NonNull<Header>),
}

/// What slots, handle and turn may read while the future runs: 40 bytes at the beginning of the cell, and a reason for
/// each.
#[repr(C)]
pub(crate) struct Header {
    /// The functions for the types of this cell.
    pub(super) vtable: &'static Vtable,
    /// How many references to the cell there are. `any_task` alone touches it.
    pub(super) count: Cell<u32>,
    pub(crate) state: State,
    /// The task that awaits this one, in two parts; [`NO_TASK`] if none does or its waker is another runtime's.
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
    /// Makes the header of a new task, with one reference counted.
    #[inline]
    pub(super) fn new(vtable: &'static Vtable, location: &'static Location<'static>) -> Self {
        Self {
            vtable,
            count: Cell::new(1),
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

impl Header {
    /// Keeps a drop panic for the report; only the first, if there are several.
    pub(crate) fn note_drop_panic(&self, payload: Box<dyn Any + Send>) {
        let second = self.with_cold(|cold| match cold.drop_panic {
            None => {
                cold.drop_panic = Some(payload);
                None
            }
            Some(_) => Some(payload),
        });
        drop_quietly(second);
    }

    /// Keeps the panic of the future, which is the task's output.
    pub(super) fn note_panic(&self, panicked: Panicked) {
        self.with_cold(|cold| cold.panicked = Some(panicked));
    }

    /// Takes the panic of the future, if it was not read.
    pub(crate) fn take_panic(&self) -> Option<Panicked> {
        if !self.state.is_panicked() {
            return None;
        }
        self.peek_cold(|cold| cold.panicked.take()).flatten()
    }

    /// Changes the context that the task keeps. Returns the former, for the caller to drop.
    pub(crate) fn replace_context(&self, context: Option<LoopContext>) -> Option<LoopContext> {
        match context {
            Some(context) => self.with_cold(|cold| cold.context.replace(context)),
            None => self.peek_cold(|cold| cold.context.take()).flatten(),
        }
    }

    /// Takes the panic of a destructor that ran as the task ended.
    pub(crate) fn take_drop_panic(&self) -> Option<Box<dyn Any + Send>> {
        self.peek_cold(|cold| cold.drop_panic.take()).flatten()
    }

    /// Returns the panic of the future, if it was not taken.
    pub(crate) fn panicked(&self) -> Option<Panicked> {
        self.peek_cold(|cold| cold.panicked.clone()).flatten()
    }

    /// Drops user values by `discard`, and keeps a drop panic for the report. It takes a `dyn`, so it is compiled once
    /// for all types.
    pub(crate) fn note_drop(&self, discard: &mut dyn FnMut()) {
        if let Err(payload) = catch_unwind(AssertUnwindSafe(discard)) {
            self.note_drop_panic(payload);
        }
    }

    /// Notes the newest request; `false` if the task has ended.
    #[must_use]
    pub(crate) fn request_cancel(&self, request: Cancellation) -> bool {
        if !self.state.request_cancel() {
            return false;
        }
        let replaced = self.with_cold(|cold| {
            cold.requests = cold.requests.saturating_add(1);
            cold.cancelled.replace(request)
        });
        drop(replaced);
        true
    }

    /// Takes the request that is to be delivered; an empty one if only the loop's close ends the task.
    pub(crate) fn take_request(&self) -> Cancellation {
        let request = self.peek_cold(|cold| cold.cancelled.take()).flatten();
        request.unwrap_or_default()
    }

    /// Takes one request back and returns how many are left. If none is left and the request was not delivered yet, it
    /// is forgotten.
    pub(crate) fn take_back_request(&self) -> u32 {
        let left = self.peek_cold(|cold| {
            cold.requests = cold.requests.saturating_sub(1);
            cold.requests
        });
        let left = left.unwrap_or(0);
        if left == 0 && self.state.take_request() {
            drop(self.peek_cold(|cold| cold.cancelled.take()));
        }
        left
    }

    /// Returns how many requests were not taken back.
    pub(crate) fn requests(&self) -> u32 {
        self.peek_cold(|cold| cold.requests).unwrap_or(0)
    }

    /// Returns the node of this task's await, if there is one.
    pub(crate) fn node(&self) -> NodeKey {
        if !self.state.is_scoped() {
            return NodeKey::NONE;
        }
        let node = self.peek_cold(|cold| cold.node).flatten();
        node.unwrap_or(NodeKey::NONE)
    }

    /// Sets the node of this task's await, or notes that there is none any more.
    pub(crate) fn set_node(&self, node: NodeKey) {
        let scoped = node != NodeKey::NONE;
        if scoped || self.state.is_scoped() {
            self.state.note_scoped(scoped);
            self.with_cold(|cold| cold.node = scoped.then_some(node));
        }
    }

    /// Returns whether `task` awaits this one without a node.
    pub(crate) fn is_plainly_awaited_by(&self, task: Key) -> bool {
        self.state.is_plainly_pending()
            && !self.state.is_abandoned()
            && self.waiter_slot.get() == task.slot()
            && self.waiter_generation.get() == task.generation()
    }

    /// Returns the name, or `Task-<n>`.
    pub(crate) fn name(&self) -> String {
        let name = self.peek_cold(|cold| cold.name.clone()).flatten();
        name.map_or_else(
            || format!("Task-{}", self.serial.get()),
            |name| name.to_string(),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_is_five_words_and_keeps_its_place_whatever_its_cold_fields_do() {
        assert_eq!(size_of::<Header>(), 40);
        let place = Location::caller();
        const VTABLE: &Vtable = &Vtable {
            step: |_, _| Step::Pending,
            take: |_, _| (),
            destroy: |_| (),
        };
        let header = Header::new(VTABLE, place);
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
