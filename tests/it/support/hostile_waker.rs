//! A waker whose every operation is user code.

#![allow(unsafe_code)]

use std::cell::{Cell, RefCell};
use std::ptr;
use std::rc::Rc;
use std::task::{RawWaker, RawWakerVTable, Waker};

/// The operation that a waker was called for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Touch {
    Clone,
    Wake,
    WakeByRef,
    Drop,
}

/// Makes wakers that call a hook whenever they are cloned, woken or dropped, and counts these.
pub(crate) struct HostileWaker {
    number: usize,
    shared: Rc<Shared>,
}

struct Shared {
    counts: [Cell<usize>; 4],
    /// Set while the hook runs: it is not called from within itself.
    busy: Cell<bool>,
    hook: Box<dyn Fn(Touch)>,
}

thread_local! {
    /// All hostile wakers of the thread. A waker is an index in this list, so it may outlive everything.
    static ALL: RefCell<Vec<Rc<Shared>>> = const { RefCell::new(Vec::new()) };
}

impl HostileWaker {
    pub(crate) fn new(hook: impl Fn(Touch) + 'static) -> Self {
        let shared = Rc::new(Shared {
            counts: Default::default(),
            busy: Cell::new(false),
            hook: Box::new(hook),
        });
        let number = ALL.with_borrow_mut(|all| {
            all.push(Rc::clone(&shared));
            all.len() - 1
        });
        Self { number, shared }
    }

    /// Returns a waker of this kind. Its creation is not counted.
    pub(crate) fn waker(&self) -> Waker {
        // SAFETY: the data is a number and never dereferenced; the four functions look it up in a thread-local list and
        // find nothing on other threads or after the list's end. So they may be called anywhere, at any time.
        unsafe { Waker::from_raw(raw(self.number)) }
    }

    pub(crate) fn count(&self, touch: Touch) -> usize {
        self.shared.counts[touch as usize].get()
    }

    /// Returns how often it was woken, by value or by reference.
    pub(crate) fn wakes(&self) -> usize {
        self.count(Touch::Wake) + self.count(Touch::WakeByRef)
    }
}

fn raw(number: usize) -> RawWaker {
    static VTABLE: RawWakerVTable = RawWakerVTable::new(clone, wake, wake_by_ref, drop_waker);
    RawWaker::new(ptr::without_provenance(number), &VTABLE)
}

fn clone(data: *const ()) -> RawWaker {
    touch(data, Touch::Clone);
    raw(data.addr())
}

/// Wakes by value, which also ends the waker; that is not counted as a drop.
fn wake(data: *const ()) {
    touch(data, Touch::Wake);
}

fn wake_by_ref(data: *const ()) {
    touch(data, Touch::WakeByRef);
}

fn drop_waker(data: *const ()) {
    touch(data, Touch::Drop);
}

fn touch(data: *const (), touch: Touch) {
    let Ok(Some(shared)) = ALL.try_with(|all| all.borrow().get(data.addr()).cloned()) else {
        return;
    };
    let count = &shared.counts[touch as usize];
    count.set(count.get() + 1);
    if !shared.busy.replace(true) {
        (shared.hook)(touch);
        shared.busy.set(false);
    }
}
