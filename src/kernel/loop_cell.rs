//! The cell of the two structures that nearly every operation touches: the ready queue with the tasks, and the timers.
//!
//! [`LoopCell::with`] is for everyone. As in a `RefCell`, a borrow inside a borrow panics, in every build, so that a
//! mistake in the code that borrows is a panic and never undefined behaviour.
//!
//! [`LoopCell::with_unchecked`] is for the operations of `hot_paths`, which every step of a task, every callback and
//! every timer makes: the check would be a tenth of what a short task costs. They are all in that file, so that one page
//! shows everything that relies on the rules below. Debug builds, unit tests and sanitized builds check these borrows
//! like all others.
//!
//! Why no unchecked borrow meets another one. A borrow lasts as long as the closure that has it, so the other one would
//! have to begin inside a closure. The closures, of both kinds, hold to three rules:
//!
//! - They call no user code: no waker, callback, hook or handler, and no method of a task but those that copy a
//!   reference or read the header. They do not panic, since the panic hook is user code: what has no number any more
//!   aborts the process.
//! - They drop no value that a user gave. What is removed is returned, and dropped after the borrow. An assignment
//!   overwrites numbers and empty places only.
//! - They do not borrow the same cell again, and so call no operation of `hot_paths`.
//!
//! In release builds an unchecked borrow looks at no mark and leaves none. So the check of `with` finds another `with`
//! there, and breaking a rule around an unchecked borrow is found by the tests alone, which run with all checks.
//!
//! A closure may allocate, where a queue grows, so the global allocator is outside the argument: one that used a loop, be
//! it by waking a task, would borrow a second time, which release builds do not find around an unchecked borrow. The
//! authors of an allocator, which is unsafe to write, have to keep out of it what allocates, as the standard library asks.

#![allow(unsafe_code)]

use std::cell::{Cell, UnsafeCell};

use crate::sys::sync::CHECKED;

pub(crate) struct LoopCell<T> {
    value: UnsafeCell<T>,
    /// Whether a closure has the value now, unless that one does without the check.
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
    ///
    /// # Panics
    /// When it is called while a closure has the value.
    #[inline(always)]
    pub(crate) fn with<R>(&self, f: impl FnOnce(&mut T) -> R) -> R {
        let _guard = Guard::new(&self.borrowed);
        // SAFETY: no other closure has the value: one of this function would have set the mark, which the guard has
        // just tested, and the caller of `with_unchecked` has promised it of its own.
        unsafe { self.with_unmarked(f) }
    }

    /// Lends the value to `f` without a check in release builds.
    ///
    /// # Safety
    /// No closure has the value, and none gets it before `f` returns or unwinds.
    #[inline(always)]
    pub(crate) unsafe fn with_unchecked<R>(&self, f: impl FnOnce(&mut T) -> R) -> R {
        let _guard = CHECKED.then(|| Guard::new(&self.borrowed));
        // SAFETY: it is the caller's promise.
        unsafe { self.with_unmarked(f) }
    }

    /// # Safety
    /// As for [`with_unchecked`](Self::with_unchecked).
    #[inline(always)]
    unsafe fn with_unmarked<R>(&self, f: impl FnOnce(&mut T) -> R) -> R {
        // SAFETY: the pointer is valid and aligned, since it is the cell's own. The cell is not `Sync`, so no other
        // thread is here. On this one no other reference to the value exists: all are made here, none outlives its
        // call since `f` is generic over its lifetime, and by the caller's promise no call begins during another.
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
    fn an_unchecked_borrow_and_another_one_meet_with_a_panic_where_checks_are_on() {
        let cell = LoopCell::new(1);
        let unchecked = |change: &dyn Fn(&mut u8)| {
            // SAFETY: it is the only borrow, or, in these builds, panics before there is a second one.
            unsafe { cell.with_unchecked(|value| change(value)) }
        };
        let set = |value: &mut u8| *value = 2;
        assert!(catch_unwind(AssertUnwindSafe(|| cell.with(|_| unchecked(&set)))).is_err());
        let twice = || unchecked(&|_| cell.with(|value| *value = 3));
        assert!(catch_unwind(AssertUnwindSafe(twice)).is_err());
        assert_eq!(cell.with(|value| *value), 1);
        unchecked(&set);
        assert_eq!(cell.with(|value| *value), 2);
    }

    #[test]
    fn a_borrow_inside_a_borrow_panics_and_leaves_the_cell_usable() {
        let cell = LoopCell::new(1);
        let twice = || cell.with(|_| cell.with(|value| *value = 2));
        assert!(catch_unwind(AssertUnwindSafe(twice)).is_err());
        cell.with(|value| *value += 2);
        assert_eq!(cell.with(|value| *value), 3);
    }
}
