//! `Barrier`: tasks wait for one another and then continue together.
//!
//! ```text
//!              the last party arrives             the last party leaves
//!   Filling ──────────────────────────▶ Draining ────────────────────▶ Filling
//!      │ reset, with parties inside        │ reset                        ▲
//!      └──────────────▶ Resetting ◀────────┘                              │
//!                           └─────────────────────────────────────────────┤
//!   any ── abort ──▶ Broken ── reset: Resetting with parties inside, else ┘
//! ```
//! The parties of the current round are *inside*. A task that arrives while the barrier drains or resets is *entering*:
//! it waits for the next round. A party that is inside reads the result of its round from the state that it finds when
//! it runs. If the barrier is draining, the round succeeded. If the barrier is resetting or broken, it failed. So
//! `abort` and `reset` also reach parties whose round was complete but which have not run yet, as in asyncio.

use std::cell::{Cell, RefCell};
use std::error::Error;
use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::{Context, Poll};

use crate::kernel::note_wait::{address, note_wait};
use crate::kernel::wait::list::{Awaiter, WaitList};
use crate::kernel::wait::wait_kind::WaitKind;
use crate::kernel::wait::waiters::WaiterId;
use crate::sync::acquire::poll_shut_down;

/// The states of the drawing in the module's documentation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    Filling,
    Draining,
    Resetting,
    Broken,
}

/// Makes a fixed number of tasks wait for one another, again and again: asyncio's `Barrier`.
///
/// # Differences from asyncio
/// - The index that [`wait`](Self::wait) returns is unique in each round. In asyncio two parties can get the same one
///   after a third was cancelled. Here the indices are counted when the barrier is full.
///
/// ```
/// use std::rc::Rc;
/// use callsoon::sync::Barrier;
///
/// # callsoon::run(async {
/// let barrier = Rc::new(Barrier::new(3));
/// let parties: Vec<_> = (0..3)
///     .map(|_| {
///         let barrier = Rc::clone(&barrier);
///         callsoon::create_task(async move { barrier.wait().await.unwrap() })
///     })
///     .collect();
/// let mut indices = Vec::new();
/// for party in parties {
///     indices.push(party.await.unwrap());
/// }
/// assert_eq!(indices, [0, 1, 2]);
/// # }).unwrap();
/// ```
pub struct Barrier {
    parties: usize,
    state: Cell<State>,
    /// The number of parties inside, including those that may leave and have not run yet.
    count: Cell<usize>,
    /// The parties inside that wait for the last one. They are granted.
    inside: WaitList,
    /// The parties that were inside when the barrier filled up, in order. A party's index is its position here.
    arrivals: RefCell<Vec<WaiterId>>,
    /// The tasks that arrived while the barrier was not filling, or that exceed the number of parties. They are
    /// notified.
    entering: WaitList,
}

impl Barrier {
    /// Creates a barrier for `parties` parties.
    ///
    /// # Panics
    /// If `parties` is 0: no party could ever be the last.
    ///
    /// ```
    /// assert_eq!(callsoon::sync::Barrier::new(2).parties(), 2);
    /// ```
    pub const fn new(parties: usize) -> Self {
        assert!(parties > 0, "a barrier needs at least one party");
        Self {
            parties,
            state: Cell::new(State::Filling),
            count: Cell::new(0),
            inside: WaitList::new(),
            arrivals: RefCell::new(Vec::new()),
            entering: WaitList::new(),
        }
    }

    /// Waits until all parties have arrived, and returns this party's index: 0 for the first, and so on, in the order
    /// of arrival. The last party does not suspend.
    ///
    /// While parties of the previous round have not all left, new ones wait for the next round.
    ///
    /// # Errors
    /// [`BrokenBarrier`] if the barrier is broken or becomes broken, or if it is reset during the wait.
    ///
    /// # Cancellation
    /// Dropping the future removes this party. The others continue to wait; the barrier is not broken by that.
    ///
    /// ```
    /// # callsoon::run(async {
    /// assert_eq!(callsoon::sync::Barrier::new(1).wait().await, Ok(0));
    /// # }).unwrap();
    /// ```
    pub async fn wait(&self) -> Result<usize, BrokenBarrier> {
        let wait = BarrierWait {
            barrier: self,
            stage: Stage::Outside(None),
        };
        let outcome = wait.await;
        if outcome.is_err() && self.broken() {
            poll_fn(|context| poll_shut_down(context)).await;
        }
        outcome
    }

    /// Ends the round: all parties inside get [`BrokenBarrier`]. After that the barrier can be used again, even if it
    /// was broken. Tasks that wait for the next round stay there.
    ///
    /// ```
    /// let barrier = callsoon::sync::Barrier::new(2);
    /// barrier.abort();
    /// barrier.reset();
    /// assert!(!barrier.broken());
    /// ```
    pub fn reset(&self) {
        if self.count.get() > 0 {
            self.state.set(State::Resetting);
            self.inside.grant(usize::MAX);
        } else {
            self.start_filling();
        }
    }

    /// Breaks the barrier. All waiters, and all later callers, get [`BrokenBarrier`] until the barrier is
    /// [reset](Self::reset).
    ///
    /// ```
    /// # callsoon::run(async {
    /// let barrier = callsoon::sync::Barrier::new(2);
    /// barrier.abort();
    /// assert_eq!(barrier.wait().await, Err(callsoon::sync::BrokenBarrier));
    /// # }).unwrap();
    /// ```
    pub fn abort(&self) {
        self.state.set(State::Broken);
        self.inside.grant(usize::MAX);
        self.entering.notify_first(usize::MAX);
    }

    /// Returns the number of parties that the barrier waits for.
    ///
    /// ```
    /// assert_eq!(callsoon::sync::Barrier::new(2).parties(), 2);
    /// ```
    pub fn parties(&self) -> usize {
        self.parties
    }

    /// Returns how many parties wait while the barrier fills; otherwise 0.
    ///
    /// ```
    /// assert_eq!(callsoon::sync::Barrier::new(2).n_waiting(), 0);
    /// ```
    pub fn n_waiting(&self) -> usize {
        match self.state.get() {
            State::Filling => self.count.get(),
            State::Draining | State::Resetting | State::Broken => 0,
        }
    }

    /// Returns whether the barrier is broken.
    ///
    /// ```
    /// let barrier = callsoon::sync::Barrier::new(2);
    /// barrier.abort();
    /// assert!(barrier.broken());
    /// ```
    pub fn broken(&self) -> bool {
        self.state.get() == State::Broken
    }

    /// Returns whether an entering task with `ahead` others before it may go inside, or must fail.
    fn admits(&self, ahead: usize) -> bool {
        match self.state.get() {
            State::Filling => ahead < self.parties - self.count.get(),
            State::Draining | State::Resetting => false,
            State::Broken => true,
        }
    }

    /// Handles the arrival of the last party: it leaves, and the others are granted.
    fn start_draining(&self) {
        self.state.set(State::Draining);
        self.inside.ids(&mut self.arrivals.borrow_mut());
        self.leave();
        self.inside.grant(usize::MAX);
    }

    /// Handles a party that leaves.
    fn leave(&self) {
        self.count.set(self.count.get() - 1);
        if self.count.get() == 0 {
            self.arrivals.borrow_mut().clear();
            if matches!(self.state.get(), State::Draining | State::Resetting) {
                return self.start_filling();
            }
        }
        self.notify_entering();
    }

    /// Begins the next round. No party is inside.
    fn start_filling(&self) {
        self.state.set(State::Filling);
        self.entering.notify_first(self.parties);
    }

    /// Wakes the last entering task for which there is room, since there may be room for one more now.
    fn notify_entering(&self) {
        if self.state.get() == State::Filling {
            self.entering.notify(self.parties - self.count.get() - 1);
        }
    }

    /// Returns the result for a party inside that was granted.
    fn outcome(&self, id: WaiterId) -> Result<usize, BrokenBarrier> {
        match self.state.get() {
            State::Draining => self
                .arrivals
                .borrow()
                .binary_search(&id)
                .map_err(|_| BrokenBarrier),
            State::Filling | State::Resetting | State::Broken => Err(BrokenBarrier),
        }
    }
}

/// The progress of one party.
enum Stage {
    /// Not queued (`None`), or entering.
    Outside(Option<WaiterId>),
    /// Inside: waiting for the last party, or granted.
    Inside(WaiterId),
}

/// The future of [`Barrier::wait`].
struct BarrierWait<'b> {
    barrier: &'b Barrier,
    stage: Stage,
}

/// The result of a poll, and a waker that was not used. The waker is dropped when all changes are made.
type Step = (Poll<Result<usize, BrokenBarrier>>, Option<Awaiter>);

impl BarrierWait<'_> {
    /// Polls outside: goes inside, or is queued as entering.
    fn poll_outside(&mut self, mut id: Option<WaiterId>, awaiter: Awaiter) -> Step {
        let barrier = self.barrier;
        if !barrier.admits(barrier.entering.ahead(id)) {
            let replaced = barrier.entering.enqueue(&mut id, (), awaiter);
            self.stage = Stage::Outside(id);
            return (Poll::Pending, replaced);
        }
        self.stage = Stage::Outside(None);
        let left = id.and_then(|id| barrier.entering.leave(id));
        if barrier.broken() {
            return (Poll::Ready(Err(BrokenBarrier)), left);
        }
        barrier.count.set(barrier.count.get() + 1);
        if barrier.count.get() == barrier.parties {
            barrier.start_draining();
            return (Poll::Ready(Ok(barrier.parties - 1)), left);
        }
        self.stage = Stage::Inside(barrier.inside.join((), awaiter));
        (Poll::Pending, left)
    }

    /// Polls inside: returns the result if the party was granted.
    fn poll_inside(&mut self, id: WaiterId, awaiter: Awaiter) -> Step {
        let barrier = self.barrier;
        if !barrier.inside.was_granted(id) {
            let replaced = barrier.inside.enqueue(&mut Some(id), (), awaiter);
            return (Poll::Pending, replaced);
        }
        let outcome = barrier.outcome(id);
        self.stage = Stage::Outside(None);
        barrier.leave();
        (Poll::Ready(outcome), Some(awaiter))
    }
}

impl Future for BarrierWait<'_> {
    type Output = Result<usize, BrokenBarrier>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        // Cloned first, because the clone may run user code. No user code runs from here on until all changes are made.
        let awaiter = Awaiter::new(context.waker());
        let (polled, unneeded) = match self.stage {
            Stage::Outside(id) => self.poll_outside(id, awaiter),
            Stage::Inside(id) => self.poll_inside(id, awaiter),
        };
        drop(unneeded);
        if polled.is_pending() {
            note_wait(WaitKind::Barrier, || address(&self.barrier.inside));
        }
        polled
    }
}

impl Drop for BarrierWait<'_> {
    fn drop(&mut self) {
        let barrier = self.barrier;
        let left = match self.stage {
            Stage::Outside(None) => return,
            Stage::Outside(Some(id)) => {
                let left = barrier.entering.leave(id);
                barrier.notify_entering();
                left
            }
            Stage::Inside(id) => {
                let left = barrier.inside.leave(id);
                barrier.leave();
                left
            }
        };
        drop(left);
    }
}

impl fmt::Debug for Barrier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Barrier")
            .field("state", &self.state.get())
            .field("waiters", &self.n_waiting())
            .field("parties", &self.parties)
            .finish_non_exhaustive()
    }
}

/// The error of [`Barrier::wait`]: the barrier is broken, or was reset during the wait.
///
/// ```
/// # callsoon::run(async {
/// let barrier = callsoon::sync::Barrier::new(2);
/// barrier.abort();
/// assert_eq!(barrier.wait().await.unwrap_err().to_string(), "the barrier is broken");
/// # }).unwrap();
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BrokenBarrier;

impl fmt::Display for BrokenBarrier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the barrier is broken")
    }
}

impl Error for BrokenBarrier {}
