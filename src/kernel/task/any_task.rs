//! `AnyTask`: a counted reference to a task of whatever type, in one word. The slots, `TaskRef` and the handle are made
//! of it. The functions that know the types are in the table that the header names.

#![allow(unsafe_code)]

use std::mem::ManuallyDrop;
use std::ptr::NonNull;
use std::task::{Context, Waker};

use crate::kernel::task::header::Header;
use crate::kernel::task::state::Step;

/// A reference to a task. The last one that is dropped drops the cell.
pub(crate) struct AnyTask {
    /// Points to a whole cell, whose header is its beginning.
    cell: NonNull<Header>,
}

impl AnyTask {
    /// Makes the reference that a new header counts.
    ///
    /// # Safety
    /// `cell` points to a whole cell that begins with a header, whose table is for that cell's types, and one reference
    /// that it counts is given up to this one.
    #[inline]
    pub(super) unsafe fn from_cell(cell: NonNull<Header>) -> Self {
        Self { cell }
    }

    /// Returns the pointer to the cell, for code that knows its types.
    #[inline]
    pub(super) fn cell(&self) -> NonNull<Header> {
        self.cell
    }

    /// Returns the same reference a second time, without counting it.
    ///
    /// # Safety
    /// The result is not used once this reference may have been dropped.
    #[inline]
    pub(super) unsafe fn lend(&self) -> ManuallyDrop<Self> {
        ManuallyDrop::new(Self { cell: self.cell })
    }

    #[inline]
    pub(crate) fn header(&self) -> &Header {
        // SAFETY: this reference is counted, or lent by one that is, so the cell is alive. Nobody has a `&mut` to a
        // header: its fields are cells.
        unsafe { self.cell.as_ref() }
    }

    /// Polls the future once, or delivers a request. Catches every panic.
    #[inline]
    pub(crate) fn step(&self, context: &mut Context<'_>) -> Step {
        // SAFETY: the table is for the types of this cell, and this reference keeps the cell during the call.
        unsafe { (self.header().vtable.step)(self.cell, context) }
    }

    /// Ends the task without polling it, unless it runs or has ended. Catches every panic.
    pub(crate) fn kill(&self) {
        self.header().state.note_killed();
        let _ = self.step(&mut Context::from_waker(Waker::noop()));
    }
}

impl Clone for AnyTask {
    #[inline]
    fn clone(&self) -> Self {
        let count = &self.header().count;
        match count.get().checked_add(1) {
            Some(more) => count.set(more),
            // Only leaked references can be so many.
            None => std::process::abort(),
        }
        Self { cell: self.cell }
    }
}

impl Drop for AnyTask {
    #[inline]
    fn drop(&mut self) {
        let header = self.header();
        let left = header.count.get() - 1;
        header.count.set(left);
        if left == 0 {
            // SAFETY: the table is for the types of this cell, and this was the last reference to it.
            unsafe { (header.vtable.destroy)(self.cell) }
        }
    }
}

impl PartialEq for AnyTask {
    fn eq(&self, other: &Self) -> bool {
        self.cell == other.cell
    }
}
