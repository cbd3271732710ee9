//! How many children have not ended. The children report their ends themselves.
//!
//! A child's future is wrapped before it becomes a task. The wrapper is dropped however the child ends, and reports the
//! end to the count. That costs no allocation; a done callback would cost two. The parent is woken once, when the last
//! child has ended, or at each end if it asks for that.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::future::Future;
use std::panic::{AssertUnwindSafe, Location, catch_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use crate::error::Cancellation;
use crate::kernel::cancel::node::{Members, NodeKey};
use crate::kernel::enter::wake;
use crate::kernel::loop_handle::LoopHandle;
use crate::kernel::loop_state::LoopState;
use crate::kernel::report::drop_quietly;
use crate::kernel::task::cell::Held;
use crate::kernel::task::handle::Task;
use crate::kernel::task::key::Identity;
use crate::kernel::wait::list::Awaiter;

/// The state that the children share with their parent.
pub(crate) struct ChildCount {
    state: Rc<LoopState>,
    /// The tasks of all children, by number, including those that have ended; without the one that is being made.
    children: RefCell<Vec<Identity>>,
    /// The number of children that have not ended.
    unfinished: Cell<usize>,
    /// The child that has ended last.
    last: Cell<Option<u32>>,
    /// The children that have ended since [`notify_each`](Self::notify_each), in the order of their ends.
    ended: RefCell<Vec<u32>>,
    /// How many of them were read by [`next_ended`](Self::next_ended).
    read: Cell<usize>,
    /// The first child that ended without a value.
    failed: Cell<Option<u32>>,
    /// Whether the parent is woken at each end.
    notify_each: Cell<bool>,
    /// The parent's waker.
    awaiter: Cell<Option<Awaiter>>,
    /// The cancel node of the parent's await.
    node: Cell<NodeKey>,
}

impl ChildCount {
    pub(crate) fn new(state: Rc<LoopState>) -> Rc<Self> {
        Rc::new(Self {
            state,
            children: RefCell::default(),
            unfinished: Cell::new(0),
            last: Cell::new(None),
            ended: RefCell::default(),
            read: Cell::new(0),
            failed: Cell::new(None),
            notify_each: Cell::new(false),
            awaiter: Cell::new(None),
            node: Cell::new(NodeKey::NONE),
        })
    }

    /// Makes room for so many children.
    pub(crate) fn reserve(&self, children: usize) {
        self.children.borrow_mut().reserve(children);
    }

    /// Makes a task of the next child's future.
    #[inline]
    pub(crate) fn spawn<F>(
        self: &Rc<Self>,
        future: F,
        location: &'static Location<'static>,
    ) -> Task<F::Output>
    where
        F: Future + 'static,
    {
        self.unfinished.set(self.unfinished.get() + 1);
        let counted = Counted {
            child_count: Rc::clone(self),
            number: self.children.borrow().len() as u32,
            has_value: false,
        };
        let handle = LoopHandle::of(&self.state);
        let task = handle.into_task(Held::new(future, counted), location);
        self.children.borrow_mut().push(task.identity());
        task
    }

    /// Returns the number of children that have not ended.
    pub(crate) fn unfinished(&self) -> usize {
        self.unfinished.get()
    }

    /// Returns the first child that ended without a value.
    pub(crate) fn failed(&self) -> Option<usize> {
        self.failed.get().map(|number| number as usize)
    }

    /// Wakes the parent at each end from now on, so that it can read [`next_ended`](Self::next_ended).
    pub(crate) fn notify_each(&self) {
        self.notify_each.set(true);
    }

    /// Returns the next child that has ended since [`notify_each`](Self::notify_each), in the order of the ends.
    pub(crate) fn next_ended(&self) -> Option<usize> {
        let next = self.ended.borrow().get(self.read.get()).copied()?;
        self.read.set(self.read.get() + 1);
        Some(next as usize)
    }

    /// Records the parent's waker and cancel node. Cloning another runtime's waker runs user code, so the caller checks
    /// the children after this.
    pub(crate) fn wait(self: &Rc<Self>, waker: &Waker, node: NodeKey) {
        if self.node.replace(node) != node && !node.is_none() {
            let members = Rc::downgrade(self);
            self.state.note_members(node, members);
        }
        drop(self.awaiter.replace(Some(Awaiter::new(waker))));
    }

    /// Returns whether the child that has ended last [is still being dropped](is_being_dropped).
    pub(crate) fn is_ending(&self, waker: &Waker) -> bool {
        let task = self
            .last
            .get()
            .and_then(|last| self.children.borrow().get(last as usize).copied());
        task.is_some_and(|task| is_being_dropped(&self.state, task, waker))
    }

    /// Cancels all children that have not ended.
    pub(crate) fn cancel(&self, request: &Cancellation) {
        let count = self.children.borrow().len();
        for number in 0..count {
            let child = self.children.borrow()[number];
            self.state.cancel_child(child, request, self.node.get());
        }
    }

    /// Handles a second request, after which the children are not cancelled again: a child that awaits its own parent may
    /// have been cancelled with it.
    pub(crate) fn suspect_cycle(&self) {
        self.state.suspect_cycle(self.node.get());
    }

    /// Keeps the panic of a destructor of a child that has returned a value, for the report: the value is kept.
    #[cold]
    fn note_drop_panic(&self, payload: Box<dyn Any + Send>) {
        match self.state.task(self.state.current_task.get()) {
            Some(task) => task.header().note_drop_panic(payload),
            None => drop_quietly(payload),
        }
    }

    /// Records the end of a child, and wakes the parent if it waits for that.
    #[inline]
    fn child_ended(&self, number: u32, has_value: bool) {
        self.last.set(Some(number));
        let unfinished = self.unfinished.get() - 1;
        self.unfinished.set(unfinished);
        if unfinished == 0 || !has_value || self.notify_each.get() {
            self.announce(number, has_value);
        }
    }

    /// Does the rest of [`child_ended`](Self::child_ended).
    #[inline(never)]
    fn announce(&self, number: u32, has_value: bool) {
        if self.notify_each.get() {
            self.ended.borrow_mut().push(number);
        }
        let unfinished = self.unfinished.get();
        let failed = !has_value && self.failed.get().is_none();
        if failed {
            self.failed.set(Some(number));
        }
        if self.notify_each.get() || unfinished == 0 || failed {
            if unfinished == 0 {
                self.state.await_ended(self.node.get());
            }
            if let Some(awaiter) = self.awaiter.take() {
                awaiter.wake();
            }
        }
    }
}

/// Returns whether a child that has reported its end is still being dropped, so that its task has not ended. That is so
/// when another runtime's waker polls the parent while it is woken. `waker` is then woken in the next turn.
pub(crate) fn is_being_dropped(state: &LoopState, child: Identity, waker: &Waker) -> bool {
    let task = state.find_task(child);
    if !task.is_some_and(|task| task.header().state.is_running()) {
        return false;
    }
    let waker = waker.clone();
    let wake_again = move || wake(waker);
    state.push_call(wake_again, Location::caller()).is_ok()
}

impl Members for ChildCount {
    fn tasks(&self) -> Vec<Identity> {
        self.children.borrow().clone()
    }
}

/// The part of the wrapper that reports a child's end when it is dropped.
pub(crate) struct Counted {
    child_count: Rc<ChildCount>,
    number: u32,
    has_value: bool,
}

impl Drop for Counted {
    #[inline]
    fn drop(&mut self) {
        self.child_count.child_ended(self.number, self.has_value);
    }
}

impl<F: Future> Future for Held<F, Counted> {
    type Output = F::Output;

    #[inline]
    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let (mut future, counted) = self.project();
        let Some(inside) = future.as_mut().as_pin_mut() else {
            return Poll::Pending;
        };
        let polled = inside.poll(context);
        if polled.is_ready() {
            if let Err(payload) = catch_unwind(AssertUnwindSafe(|| future.set(None))) {
                counted.child_count.note_drop_panic(payload);
            }
            // A child that has cancelled itself ends without its value.
            let state = &counted.child_count.state;
            counted.has_value = !state.is_requested(state.current_task.get());
        }
        polled
    }
}
