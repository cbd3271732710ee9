//! The cell of the two structures that nearly every operation touches: the ready queue with the tasks, and the timers.
//! In builds that check, a borrow inside a borrow panics, as in a `RefCell`; otherwise nothing is checked.
//!
//! Why a second borrow cannot happen. A value is reached through [`LoopCell::with`] alone, so a second borrow would
//! have to begin while a closure that was passed to it runs. All those closures are passed to `LoopState::queues` and
//! `LoopState::timers`, and hold to three rules:
//!
//! - They call no user code: no waker, callback, hook or handler, and no method of a task but those that copy a
//!   reference or read the header. They do not panic, since the panic hook is user code: what has no number any more
//!   aborts the process.
//! - They drop no value that a user gave. What is removed is returned, and dropped after the borrow. An assignment
//!   overwrites numbers and empty places only.
//! - They do not borrow the same cell again.
//!
//! An allocator that is itself a client of a loop has never been possible: a second borrow used to be a panic, which an
//! allocator must not let out.

#![allow(unsafe_code)]

use std::cell::{Cell, UnsafeCell};

use crate::sys::sync::CHECKED;

pub(crate) struct LoopCell<T> {
    value: UnsafeCell<T>,
    /// Whether a closure has the value now, if that is checked.
    borrowed: Cell<bool>,
}

impl<T> LoopCell<T> {
    pub(crate) fn new(value: T) -> Self {
        Self {
            value: UnsafeCell::new(value),
            borrowed: Cell::new(false),
        }
    }

    /// Lends the value to `f`, which must hold to the rules above.
    #[inline(always)]
    pub(crate) fn with<R>(&self, f: impl FnOnce(&mut T) -> R) -> R {
        let _guard = CHECKED.then(|| Guard::new(&self.borrowed));
        // SAFETY: the pointer is valid and aligned, since it is the cell's own. The cell is not `Sync`, so no other
        // thread is here. On this one no other reference to the value exists: all are made here, none outlives its
        // call since `f` is generic over its lifetime, and by the rules above no call begins during another.
        f(unsafe { &mut *self.value.get() })
    }
}

/// Marks a cell as borrowed until it is dropped, also by unwinding.
struct Guard<'a>(&'a Cell<bool>);

impl<'a> Guard<'a> {
    fn new(borrowed: &'a Cell<bool>) -> Self {
        assert!(
            !borrowed.replace(true),
            "a part of the loop is borrowed twice"
        );
        Self(borrowed)
    }
}

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        self.0.set(false);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::panic::{AssertUnwindSafe, catch_unwind};

    #[test]
    fn a_borrow_inside_a_borrow_panics_and_leaves_the_cell_usable() {
        let cell = LoopCell::new(1);
        let twice = || cell.with(|_| cell.with(|value| *value = 2));
        assert!(catch_unwind(AssertUnwindSafe(twice)).is_err());
        cell.with(|value| *value += 2);
        assert_eq!(cell.with(|value| *value), 3);
    }
}
