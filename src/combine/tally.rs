//! Who of a number of children has ended, told by the children themselves.
//!
//! A child's future is wrapped before it becomes a task: when the wrapper is dropped, in whatever way the child ended,
//! the tally hears of it. That costs no allocation, where a done callback would cost two. Whoever waits is woken once,
//! when the last child has ended, or at each end where that is asked for.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use crate::error::Cancellation;
use crate::kernel::cancel::node::{Members, NodeKey};
use crate::kernel::loop_state::LoopState;
use crate::kernel::task::cell::Held;
use crate::kernel::task::key::Identity;
use crate::sync::line::Awaiter;

/// What the children share with whoever waits for them.
pub(crate) struct Tally {
    state: Rc<LoopState>,
    /// The children, by number, also those that have ended.
    children: RefCell<Vec<Identity>>,
    /// How many have not ended.
    left: Cell<usize>,
    /// The numbers of those that have ended and were not looked at, where somebody looks at each.
    ended: RefCell<VecDeque<u32>>,
    /// The first child that ended without a value.
    failed: Cell<Option<u32>>,
    /// Whoever waits is woken at each end.
    each: Cell<bool>,
    awaiter: Cell<Option<Awaiter>>,
    /// The node of whoever waits.
    node: Cell<NodeKey>,
}

impl Tally {
    pub(crate) fn new(state: Rc<LoopState>) -> Rc<Self> {
        Rc::new(Self {
            state,
            children: RefCell::default(),
            left: Cell::new(0),
            ended: RefCell::default(),
            failed: Cell::new(None),
            each: Cell::new(false),
            awaiter: Cell::new(None),
            node: Cell::new(NodeKey::NONE),
        })
    }

    /// Wraps the next child, whose task is to be [added](Self::add).
    pub(crate) fn child<F: Future>(self: &Rc<Self>, future: F) -> Held<F, Counted> {
        let number = self.children.borrow().len() as u32;
        self.children.borrow_mut().push(Identity::NONE);
        self.left.set(self.left.get() + 1);
        let counted = Counted {
            tally: Rc::clone(self),
            number,
            has_value: false,
        };
        Held::new(future, counted)
    }

    /// The task of the child that was wrapped last.
    pub(crate) fn add(&self, task: Identity) {
        if let Some(last) = self.children.borrow_mut().last_mut() {
            *last = task;
        }
    }

    pub(crate) fn left(&self) -> usize {
        self.left.get()
    }

    pub(crate) fn failed(&self) -> Option<usize> {
        self.failed.get().map(|number| number as usize)
    }

    /// From now on whoever waits is woken at each end, and asks who it was.
    pub(crate) fn tell_each(&self) {
        self.each.set(true);
    }

    pub(crate) fn next_ended(&self) -> Option<usize> {
        let next = self.ended.borrow_mut().pop_front();
        next.map(|number| number as usize)
    }

    /// Notes whom to wake. Cloning a foreign waker is foreign code, so the caller looks once more.
    pub(crate) fn wait(self: &Rc<Self>, waker: &Waker, node: NodeKey) {
        if self.node.replace(node) != node && !node.is_none() {
            let members = Rc::downgrade(self);
            self.state.note_members(node, members);
        }
        drop(self.awaiter.replace(Some(Awaiter::new(waker))));
    }

    /// Asks all children to end that have not.
    pub(crate) fn cancel(&self, request: &Cancellation) {
        let count = self.children.borrow().len();
        for number in 0..count {
            let child = self.children.borrow()[number];
            self.state.cancel_child(child, request, self.node.get());
        }
    }

    /// The children are not asked again. One of them may be who waits for them and was asked now.
    pub(crate) fn suspect_cycle(&self) {
        self.state.suspect_cycle(self.node.get());
    }

    /// A child has ended with a value: whether its task ends so too, once what is left of the child was dropped. One that
    /// has cancelled itself does not.
    fn gives_value(&self, discard: Option<&mut dyn FnMut()>) -> bool {
        let Some(task) = self.state.task(self.state.current_task.get()) else {
            return true;
        };
        if let Some(discard) = discard {
            task.header().note_drop(discard);
        }
        !task.header().state.is_requested()
    }

    fn child_ended(&self, number: u32, has_value: bool) {
        let left = self.left.get() - 1;
        self.left.set(left);
        let failed = !has_value && self.failed.get().is_none();
        if failed {
            self.failed.set(Some(number));
        }
        if self.each.get() || left == 0 || failed {
            if left == 0 {
                self.state.await_ended(self.node.get());
            }
            if let Some(awaiter) = self.awaiter.take() {
                awaiter.wake();
            }
        }
    }
}

impl Members for Tally {
    fn tasks(&self) -> Vec<Identity> {
        self.children.borrow().clone()
    }
}

/// What is kept beside a child.
pub(crate) struct Counted {
    tally: Rc<Tally>,
    number: u32,
    has_value: bool,
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.tally.ended.borrow_mut().push_back(self.number);
        self.tally.child_ended(self.number, self.has_value);
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
            let mut discard = || future.set(None);
            let discard: Option<&mut dyn FnMut()> = match std::mem::needs_drop::<F>() {
                true => Some(&mut discard),
                false => None,
            };
            counted.has_value = counted.tally.gives_value(discard);
        }
        polled
    }
}
