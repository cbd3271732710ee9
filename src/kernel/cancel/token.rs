//! `Cancelled`, which `catch_cancelled` returns: a cancellation about which its holder decides.

use std::fmt;
use std::future::poll_fn;
use std::ops::Deref;
use std::rc::Rc;
use std::task::{Poll, Waker};

use crate::error::Cancellation;
use crate::kernel::cancel::node::{Kind, NodeKey, State, Vote};
use crate::kernel::cancel::scope::Scope;
use crate::kernel::loop_state::LoopState;
use crate::kernel::task::waker::with_current;

/// A cancellation that was caught by [`catch_cancelled`](crate::catch_cancelled), and the decision about it.
///
/// The code that asked for the cancellation waits for the decision. [`resume`](Self::resume) passes the cancellation
/// on; dropping the token says that it is handled, and the program goes on. Before that, clean-up may be awaited.
///
/// A clean-up that is dropped half-way, by a `select!` say, drops its token, which counts as handled.
///
/// `mem::forget` of it decides nothing: the region waits until the next request.
///
/// ```
/// use callsoon::{catch_cancelled, create_task, run, sleep};
/// # use std::{cell::Cell, rc::Rc, time::Duration};
/// # let saved = Rc::new(Cell::new(false));
/// # let note = saved.clone();
/// run(async {
///     let task = create_task(async move {
///         if let Err(cancelled) = catch_cancelled(std::future::pending::<()>()).await {
///             sleep(Duration::from_millis(1)).await; // writes back what it has
///             # note.set(true);
///             cancelled.resume().await;
///         }
///     });
///     callsoon::yield_now().await;
///     task.cancel_with("lights out");
///     assert!(task.await.is_err());
/// }).unwrap();
/// # assert!(saved.get());
/// ```
///
/// It belongs to its task and stays on its thread:
///
/// ```compile_fail,E0277
/// fn send<T: Send>() {}
/// send::<callsoon::Cancelled>();
/// ```
#[must_use = "dropping it says that the cancellation is handled; `resume` passes it on"]
pub struct Cancelled {
    cancellation: Cancellation,
    /// The catch, which waits for the decision.
    key: NodeKey,
    state: Rc<LoopState>,
}

impl Cancelled {
    /// Tears down the inside of a catch that was asked. Returns the token for its caller, who first drops the inner
    /// future, or `None` if other nodes have to be asked first.
    pub(crate) fn catch(scope: &mut Scope) -> Option<Self> {
        let (cancellation, key, state) = scope.catch()?;
        Some(Self {
            cancellation,
            key,
            state,
        })
    }

    /// Passes the cancellation on: to the next scope around, or to the task, which then ends as cancelled. It never
    /// returns; what awaits it is dropped.
    ///
    /// Where the request that was caught is over by now, or when awaited in another task, it is a cancellation of its
    /// own.
    ///
    /// # Cancellation
    /// Dropping it before its first poll counts as handled, like dropping the token.
    ///
    /// ```
    /// use callsoon::{catch_cancelled, create_task, run};
    /// run(async {
    ///     let task = create_task(async {
    ///         match catch_cancelled(std::future::pending::<()>()).await {
    ///             Ok(()) => 1,
    ///             Err(cancelled) => cancelled.resume().await,
    ///         }
    ///     });
    ///     callsoon::yield_now().await;
    ///     task.cancel();
    ///     assert!(task.await.unwrap_err().cancelled().is_some());
    /// }).unwrap();
    /// ```
    pub async fn resume(self) -> ! {
        let request = self.cancellation.clone();
        let mut token = Some(self);
        let mut scope = Scope::new(Kind::Resume);
        poll_fn(|context| {
            match token.take() {
                Some(mut token) => scope.resume(context.waker(), &mut token),
                None => scope.go_on_raising(context.waker(), &request),
            }
            Poll::<()>::Pending
        })
        .await;
        unreachable!("a resumed cancellation stays pending")
    }

    /// Why, by whom and where.
    ///
    /// ```
    /// # use callsoon::{catch_cancelled, create_task, run};
    /// run(async {
    ///     let task = create_task(async {
    ///         let cancelled = catch_cancelled(std::future::pending::<()>()).await.unwrap_err();
    ///         cancelled.cancellation().message().map(str::to_owned)
    ///     });
    ///     callsoon::yield_now().await;
    ///     task.cancel_with("too slow");
    ///     assert_eq!(task.await.unwrap().as_deref(), Some("too slow"));
    /// }).unwrap();
    /// ```
    pub fn cancellation(&self) -> &Cancellation {
        &self.cancellation
    }
}

impl Deref for Cancelled {
    type Target = Cancellation;

    fn deref(&self) -> &Cancellation {
        &self.cancellation
    }
}

impl Drop for Cancelled {
    fn drop(&mut self) {
        // The cancellation counts as handled.
        self.state
            .with_node(self.key, |tree, index| tree.end(index, Vote::Keep));
    }
}

impl fmt::Debug for Cancelled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Cancelled")
            .field(&self.cancellation)
            .finish()
    }
}

impl fmt::Display for Cancelled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.cancellation.fmt(f)
    }
}

impl std::error::Error for Cancelled {}

impl Cancellation {
    /// Cancels its awaiter, as if a request had reached it here: for an error in a result that reports another task's
    /// cancellation. It never returns; its awaiter is dropped.
    ///
    /// ```
    /// use callsoon::{TaskError, create_task, run};
    /// run(async {
    ///     let helper = create_task(std::future::pending::<()>());
    ///     helper.cancel_with("not needed");
    ///     let task = create_task(async {
    ///         match helper.await {
    ///             Err(TaskError::Cancelled(cancellation)) => cancellation.resume().await,
    ///             other => other.is_ok(),
    ///         }
    ///     });
    ///     assert_eq!(task.await.unwrap_err().cancelled().unwrap().message(), Some("not needed"));
    /// }).unwrap();
    /// ```
    pub async fn resume(self) -> ! {
        let mut scope = Scope::new(Kind::Resume);
        poll_fn(|context| {
            scope.go_on_raising(context.waker(), &self);
            Poll::<()>::Pending
        })
        .await;
        unreachable!("a raised cancellation stays pending")
    }
}

impl Scope {
    /// A cancellation goes on from here: where it was caught, if that is here too, else as one of its own.
    fn resume(&mut self, waker: &Waker, token: &mut Cancelled) {
        let key = std::mem::replace(&mut token.key, NodeKey::NONE);
        let state = &token.state;
        let is_here = with_current(|current| std::ptr::eq(current, &**state)) == Some(true);
        let place = state.place().filter(|_| is_here);
        let adopted = state.tree(|tree| {
            let index = tree.find(key)?;
            if place != Some(tree.at(index).parent) {
                // It was caught elsewhere, where it is no longer waited for.
                tree.dropped(index);
                return None;
            }
            tree.pass(index);
            Some(key)
        });
        match adopted {
            Some(key) => self.adopt(key, state),
            None => self.go_on_raising(waker, &token.cancellation),
        }
    }

    /// A cancellation begins here: at the first poll, and again where it is polled elsewhere than before.
    fn go_on_raising(&mut self, waker: &Waker, request: &Cancellation) {
        if self.enter(waker) && self.standing() != State::Passed {
            self.begin_raise(request.raised());
        }
    }
}
