//! Where a future that returns `Pending` notes what it waits for, for those who ask who waits for what.
//!
//! Each function tests one number of the process first, and does nothing more while no loop is inspected. What is noted
//! belongs to the running task of the current loop: `kernel/inspection` says how long it is kept.

use std::cell::Cell;

use crate::kernel::inspection::{self, Wait, is_any_inspected};
use crate::kernel::task::key::{Identity, Key};
use crate::kernel::task::waker::with_current;
use crate::kernel::wait::wait_kind::WaitKind;

/// Returns the number of what is waited for: its address.
#[inline(always)]
pub(crate) fn address<T>(of: &T) -> u64 {
    std::ptr::from_ref(of).addr() as u64
}

/// Notes that the running task waits for something with this number, which no two waits of a task have one after the
/// other.
#[inline(always)]
pub(crate) fn note_wait(kind: WaitKind, object: impl FnOnce() -> u64) {
    note_wait_anew(kind, false, object);
}

/// Notes that the running task waits for something with this number. A wait that `is_new` has begun in this step; another
/// one may have begun in an earlier step, and is then the same that was noted there.
#[inline(always)]
pub(crate) fn note_wait_anew(kind: WaitKind, is_new: bool, object: impl FnOnce() -> u64) {
    if is_any_inspected() {
        note(kind, object(), Identity::NONE, is_new);
    }
}

/// Notes that the running task waits for the ends of other tasks.
#[inline(always)]
pub(crate) fn note_tasks<T>(kind: WaitKind, tasks: impl FnOnce() -> T)
where
    T: IntoIterator<Item = Identity>,
{
    if is_any_inspected() {
        for task in tasks() {
            note(kind, 0, task, false);
        }
    }
}

/// Says what the newest wait of the running step is for, where the code that waits knows more than the code that has
/// noted it.
#[inline(always)]
pub(crate) fn rename_wait(kind: WaitKind, object: impl FnOnce() -> u64) {
    if is_any_inspected() {
        let (object, task) = (object(), Identity::NONE);
        with_current(|state| {
            if let Some(inspection) = &state.inspection {
                inspection.rename(Wait { kind, object, task });
            }
        });
    }
}

/// The part of a lock that knows whether it is noted who holds the lock. When the lock is dropped while a guard was forgotten
/// or leaked, the note goes with it.
#[derive(Default)]
pub(crate) struct HolderNote(Cell<u32>);

impl HolderNote {
    pub(crate) const fn new() -> Self {
        Self(Cell::new(0))
    }

    /// Notes that the running task holds the lock with this number.
    #[inline(always)]
    pub(crate) fn hold(&self, lock: impl FnOnce() -> u64) {
        if is_any_inspected() {
            self.0.set(hold(lock()));
        }
    }

    /// Notes that the lock was released.
    #[inline(always)]
    pub(crate) fn release(&self, lock: impl FnOnce() -> u64) {
        if self.0.get() != 0 {
            release(lock(), self.0.take());
        }
    }
}

impl Drop for HolderNote {
    #[inline]
    fn drop(&mut self) {
        // No lock is at this address: the note is found by its number.
        self.release(|| 0);
    }
}

/// Polls something that belongs to no task, whatever task runs: nothing that it waits for is noted.
#[inline]
pub(crate) fn without_notes<R>(poll: impl FnOnce() -> R) -> R {
    if !is_any_inspected() {
        return poll();
    }
    let outer = with_current(|state| state.inspection.as_ref().map(|kept| kept.begin_step()));
    let polled = poll();
    if let Some(outer) = outer.flatten() {
        with_current(|state| state.inspection.as_ref().map(|kept| kept.restore(outer)));
    }
    polled
}

#[cold]
#[inline(never)]
fn note(kind: WaitKind, object: u64, task: Identity, is_new: bool) {
    with_current(|state| {
        let inside = state.current_task.get() != Key::NONE;
        if let Some(inspection) = state.inspection.as_ref().filter(|_| inside) {
            inspection.note(Wait { kind, object, task }, is_new);
        }
    });
}

#[cold]
#[inline(never)]
fn hold(lock: u64) -> u32 {
    let task = with_current(|state| {
        state.inspection.as_ref()?;
        let task = state.task(state.current_task.get())?;
        Some(state.identity_of(task.header()))
    });
    // Without a task a callback holds it, or code outside of every run: no task is to be named.
    inspection::hold(lock, task.flatten())
}

#[cold]
#[inline(never)]
fn release(lock: u64, note: u32) {
    inspection::release(lock, note);
}
