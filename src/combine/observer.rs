//! Waits for the ends of many tasks. Each task reports its end once, and the waiter is woken when enough have ended.
//!
//! ```text
//! new          : for each task: if it has ended, record its number; else add a notice to its done callbacks
//! a task ends  : the notice records the number, and wakes the waiter if there are enough numbers
//! drop         : drop the waker, remove the notices from the tasks
//! ```
//!
//! There are two differences from asyncio, where each notice is a done callback. A notice is not queued as a callback:
//! it records the number at once, so the waiter is woken in the turn in which the task ends, as if it awaited the task.
//! And a notice does its work when it is dropped, whether it was called or not: a loop that closes drops the notices
//! after it has ended the tasks.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Poll, Waker};

use crate::kernel::note_wait::note_tasks;
use crate::kernel::task::handle::Task;
use crate::kernel::task::key::Identity;
use crate::kernel::task::reference::{CallbackId, TaskRef};
use crate::kernel::wait::list::Awaiter;
use crate::kernel::wait::wait_kind::WaitKind;

/// The observed tasks that have ended, in the order of their ends.
pub(crate) struct TaskObserver {
    shared: Rc<Shared>,
    /// The notices to remove when the observer is dropped. Those of ended tasks are gone by then.
    notices: Vec<(TaskRef, CallbackId)>,
}

struct Shared {
    /// The numbers of tasks that have ended and were not read.
    ended: RefCell<VecDeque<usize>>,
    /// The waiter, and how many numbers `ended` must have to wake it.
    awaiter: Cell<Option<(usize, Awaiter)>>,
}

impl TaskObserver {
    /// Observes tasks, which are numbered in their order. Tasks that have ended already come first.
    pub(crate) fn new<'t, T: 'static>(tasks: impl IntoIterator<Item = &'t Task<T>>) -> Self {
        Self::of(tasks.into_iter().map(Task::as_ref))
    }

    /// [`new`](Self::new) for tasks of any type.
    pub(crate) fn of(tasks: impl IntoIterator<Item = TaskRef>) -> Self {
        let shared = Rc::new(Shared {
            ended: RefCell::default(),
            awaiter: Cell::new(None),
        });
        let mut notices = Vec::new();
        for (number, task) in tasks.into_iter().enumerate() {
            if task.done() {
                shared.ended.borrow_mut().push_back(number);
                continue;
            }
            let id = CallbackId::next(&task.state);
            let notice = Notice {
                shared: Rc::clone(&shared),
                number,
            };
            let header = task.task.header();
            let announce = Box::new(move || drop(notice));
            header.with_cold(|cold| cold.add_callback(id.number, announce));
            notices.push((task, id));
        }
        Self { shared, notices }
    }

    /// Returns the number of the next task that has ended.
    pub(crate) fn next_ended(&self) -> Option<usize> {
        self.shared.ended.borrow_mut().pop_front()
    }

    /// Returns how many tasks have ended and were not read.
    pub(crate) fn ended(&self) -> usize {
        self.shared.ended.borrow().len()
    }

    /// Wakes `waker` once [`ended`](Self::ended) is at least `enough`. It replaces the waker of an earlier call.
    /// Cloning another runtime's waker runs user code, so the caller checks `ended` after this.
    pub(crate) fn wake_at(&self, enough: usize, waker: &Waker) {
        let awaiter = Awaiter::new(waker);
        note_tasks(WaitKind::Wait, || self.unfinished());
        note_tasks(WaitKind::Wait, || self.unfinished());
        let replaced = self.shared.awaiter.replace(Some((enough, awaiter)));
        drop(replaced);
    }
}

impl TaskObserver {
    /// Lists the tasks that have not ended.
    fn unfinished(&self) -> impl Iterator<Item = Identity> {
        let unfinished = self.notices.iter().filter(|(task, _)| !task.done());
        unfinished.map(|(task, _)| task.state.identity_of(task.task.header()))
    }

    /// Waits until all tasks have ended.
    pub(crate) async fn all_ended(self) {
        let all = self.notices.len() + self.ended();
        poll_fn(|context| {
            if self.ended() < all {
                self.wake_at(all, context.waker());
            }
            match self.ended() < all {
                true => Poll::Pending,
                false => Poll::Ready(()),
            }
        })
        .await;
    }
}

impl Drop for TaskObserver {
    fn drop(&mut self) {
        let awaiter = self.shared.awaiter.take();
        for (task, id) in self.notices.drain(..) {
            task.remove_done_callback(id);
        }
        drop(awaiter);
    }
}

/// The done callback of a task. It is dropped exactly once: after its call, by a closing loop, or when the observer
/// removes it.
struct Notice {
    shared: Rc<Shared>,
    number: usize,
}

impl Drop for Notice {
    fn drop(&mut self) {
        let shared = &self.shared;
        let count = {
            let mut ended = shared.ended.borrow_mut();
            ended.push_back(self.number);
            ended.len()
        };
        match shared.awaiter.take() {
            Some((enough, awaiter)) if count >= enough => awaiter.wake(),
            awaiter => shared.awaiter.set(awaiter),
        }
    }
}
