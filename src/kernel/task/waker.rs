//! Wakers that are keys, and the loop that a thread is running.
//!
//! A waker's data pointer *is* a [`Key`]. Cloning copies it and dropping does nothing. It counts nothing and holds no
//! reference, so it cannot dangle, whether the task or the waker lives longer. A wake takes one of two paths. If this
//! thread runs the key's loop, the wake pushes to the ready queue, in a few instructions. Otherwise it goes to that
//! loop's inbox, found by id in the process-wide registry. A loop of this thread that is not running is reached by the
//! second path too; it moves its inbox to its ready queue before it admits new work, which keeps the order.

#![allow(unsafe_code)]

use std::cell::Cell;
use std::mem::ManuallyDrop;
use std::ptr;
use std::rc::Rc;
use std::task::{RawWaker, RawWakerVTable, Waker};

use crate::kernel::loop_state::LoopState;
use crate::kernel::registry;
use crate::kernel::task::key::Key;
use crate::sys::fork;

/// One address for all wakers, which `will_wake` and [`key_of`] compare: a static, since a const may have several.
static VTABLE: RawWakerVTable = RawWakerVTable::new(clone, wake, wake, forget);

fn clone(data: *const ()) -> RawWaker {
    RawWaker::new(data, &VTABLE)
}

fn wake(data: *const ()) {
    wake_key(Key::from_bits(data.addr() as u64));
}

fn forget(_: *const ()) {}

/// Returns the waker of a task. It owns nothing, so not dropping it saves a call and leaks nothing.
#[inline]
pub(crate) fn waker(key: Key) -> ManuallyDrop<Waker> {
    let data = ptr::without_provenance(key.bits() as usize);
    // SAFETY: the contract of `RawWakerVTable` asks that the functions be thread-safe and that data stays valid until
    // the last clone is dropped. The data is a number, valid for ever; `clone` and `forget` touch nothing; `wake` reads
    // a thread-local of the calling thread and otherwise takes the inbox's lock, so it may run anywhere.
    ManuallyDrop::new(unsafe { Waker::new(data, &VTABLE) })
}

/// Returns the task that a waker wakes, if the waker is one of ours.
#[inline]
pub(crate) fn key_of(waker: &Waker) -> Option<Key> {
    ptr::eq(waker.vtable(), &VTABLE).then(|| Key::from_bits(waker.data().addr() as u64))
}

/// Queues the task of a key, on its loop and thread. Each rare case ends in a call of its own, so that the common one
/// saves no register.
#[inline]
pub(crate) fn wake_key(key: Key) {
    let woken = with_current(|state| match state.id == key.loop_id() {
        true => state.schedule(key),
        false => wake_other_loop(key),
    });
    if woken.is_none() {
        wake_other_loop(key);
    }
}

#[cold]
#[inline(never)]
fn wake_other_loop(key: Key) {
    if let Some(inbox) = registry::find(key.loop_id()) {
        inbox.wake(key.bits());
    }
}

thread_local! {
    /// The loop that this thread is running, or closing. No destructor, so that it can be read in those of others.
    static CURRENT: Cell<*const LoopState> = const { Cell::new(ptr::null()) };
}

/// While it lives, its loop is the thread's current one. Its drop restores the former.
pub(crate) struct Entered {
    former: *const LoopState,
    /// Keeps what `CURRENT` points to alive.
    _state: Rc<LoopState>,
}

/// Makes a loop the thread's current one. The guard must be dropped where it was made, in the frame that runs the loop:
/// it is `!Send`, and its two callers keep it there: `close` in a local variable, `EventLoop::begin` in the `Running` that it
/// returns, which each run binds to a local variable.
#[must_use]
pub(crate) fn enter(state: &Rc<LoopState>) -> Entered {
    let state = Rc::clone(state);
    let former = CURRENT.replace(Rc::as_ptr(&state));
    Entered {
        former,
        _state: state,
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        CURRENT.set(self.former);
    }
}

/// Makes sure that a forked child has no current loop, even if its parent was running one.
pub(crate) fn watch_forks() {
    fork::watch(|| CURRENT.set(ptr::null()));
}

/// Calls `f` with the current loop, if there is one.
#[inline(always)]
pub(crate) fn with_current<R>(f: impl FnOnce(&LoopState) -> R) -> Option<R> {
    let current = CURRENT.get();
    if current.is_null() {
        return None;
    }
    // SAFETY: a non-null pointer was put there by `enter`, whose guard owns a reference count of the state and resets
    // the pointer before it gives the count up. The guard is in a stack frame below this call and frames end in order,
    // so it outlives the call, and the reference cannot leave it: `f` is generic over its lifetime.
    Some(f(unsafe { &*current }))
}

/// [`LoopState::puts_off`] of the current loop, if there is one.
#[inline]
pub(crate) fn puts_off(waker: &Waker) -> bool {
    with_current(|state| state.puts_off(waker)) == Some(true)
}

/// Returns the current loop, with a reference of its own.
#[inline]
pub(crate) fn current() -> Option<Rc<LoopState>> {
    let current = CURRENT.get();
    if current.is_null() {
        return None;
    }
    // SAFETY: the pointer came from `Rc::as_ptr` and its guard still owns a count (see `with_current`), so the count
    // may be raised by one and that one be owned by the `Rc` made here.
    Some(unsafe {
        Rc::increment_strong_count(current);
        Rc::from_raw(current)
    })
}
