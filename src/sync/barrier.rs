//! `Barrier`: tasks meet at a point and go on together.
//!
//! ```text
//!              the last party comes               the last one is out
//!   Filling ──────────────────────────▶ Draining ────────────────────▶ Filling
//!      │ reset, with parties inside        │ reset                        ▲
//!      └──────────────▶ Resetting ◀────────┘                              │
//!                           └─────────────────────────────────────────────┤
//!   any ── abort ──▶ Broken ── reset: Resetting with parties inside, else ┘
//! ```
//! Who comes while the barrier drains or resets stands at the entering; inside is who counts. A party that is inside
//! learns what became of the meeting from the state it finds when it runs: while the barrier drains it has passed, while
//! it resets or is broken it has not. So abort and reset reach also those who could have passed and have not run yet,
//! as in asyncio: they are parties to a meeting of which somebody says that it failed.
//!
//! One thing is better than in asyncio, where two parties can get the same index after a third was cancelled: indices
//! are counted when the barrier is full, so they are unique.

use std::cell::{Cell, RefCell};
use std::error::Error;
use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::{Context, Poll};

use crate::kernel::wait::waiters::WaiterId;
use crate::sync::wait_list::{Awaiter, WaitList, poll_shut_down};

/// See the module's drawing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    Filling,
    Draining,
    Resetting,
    Broken,
}

/// A point where a number of tasks meet, again and again: asyncio's `Barrier`.
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
    /// Parties inside, also those who may go and have not run yet.
    count: Cell<usize>,
    /// Those inside who wait for the last one. They are called.
    inside: WaitList,
    /// Who was inside when the barrier filled up, in order: a party's index is its position here.
    arrivals: RefCell<Vec<WaiterId>>,
    /// Those who came while the barrier was not filling, or behind as many as it takes. They are notified.
    entering: WaitList,
}

impl Barrier {
    /// A barrier for so many parties.
    ///
    /// # Panics
    /// If there are to be none: nobody could ever be the last.
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

    /// Waits until all parties are here; gives each of them another index from 0 on, in the order in which they came.
    /// The last one does not suspend.
    ///
    /// While the parties of the former meeting have not all gone, newcomers wait before the barrier.
    ///
    /// # Errors
    /// [`BrokenBarrier`] if the barrier is or becomes broken, or is reset meanwhile.
    ///
    /// # Cancellation
    /// Dropped, it is a party less, and the others go on waiting. The barrier is not broken by that.
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

    /// Sends all parties inside away with [`BrokenBarrier`]; then the barrier can be used again, also when it was
    /// broken. Those who stand before it stay there.
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

    /// Breaks the barrier: whoever waits or comes gets [`BrokenBarrier`], until it is [reset](Self::reset).
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

    /// How many it takes.
    ///
    /// ```
    /// assert_eq!(callsoon::sync::Barrier::new(2).parties(), 2);
    /// ```
    pub fn parties(&self) -> usize {
        self.parties
    }

    /// How many wait inside while the barrier fills; otherwise 0.
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

    /// Whether the barrier is broken.
    ///
    /// ```
    /// let barrier = callsoon::sync::Barrier::new(2);
    /// barrier.abort();
    /// assert!(barrier.broken());
    /// ```
    pub fn broken(&self) -> bool {
        self.state.get() == State::Broken
    }

    /// Whether somebody at the entering, with so many before it, need not stay there.
    fn admits(&self, ahead: usize) -> bool {
        match self.state.get() {
            State::Filling => ahead < self.parties - self.count.get(),
            State::Draining | State::Resetting => false,
            State::Broken => true,
        }
    }

    /// The last party is here: it goes, and the others may.
    fn start_draining(&self) {
        self.state.set(State::Draining);
        self.inside.ids(&mut self.arrivals.borrow_mut());
        self.leave();
        self.inside.grant(usize::MAX);
    }

    /// A party is not inside any more.
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

    /// Nobody is inside, and the next meeting begins.
    fn start_filling(&self) {
        self.state.set(State::Filling);
        self.entering.notify_first(self.parties);
    }

    /// There may be room for one more of those at the entering: the last one for whom there is room at all.
    fn notify_entering(&self) {
        if self.state.get() == State::Filling {
            self.entering.notify(self.parties - self.count.get() - 1);
        }
    }

    /// What a party inside that may go finds.
    fn outcome(&self, place: WaiterId) -> Result<usize, BrokenBarrier> {
        match self.state.get() {
            State::Draining => self
                .arrivals
                .borrow()
                .binary_search(&place)
                .map_err(|_| BrokenBarrier),
            State::Filling | State::Resetting | State::Broken => Err(BrokenBarrier),
        }
    }
}

/// Where a party is.
enum Stage {
    /// Nowhere, or at the entering.
    Outside(Option<WaiterId>),
    /// Counted, and in the line of those who wait for the last one, or called out of it.
    Inside(WaiterId),
}

/// See [`Barrier::wait`].
struct BarrierWait<'b> {
    barrier: &'b Barrier,
    stage: Stage,
}

/// What a poll came to, and the waker that was not needed, to be dropped when all is done.
type Step = (Poll<Result<usize, BrokenBarrier>>, Option<Awaiter>);

impl BarrierWait<'_> {
    /// A poll before the barrier: on to the inside, or to a place at the entering.
    fn poll_outside(&mut self, mut place: Option<WaiterId>, awaiter: Awaiter) -> Step {
        let barrier = self.barrier;
        if !barrier.admits(barrier.entering.ahead(place)) {
            let replaced = barrier.entering.enqueue(&mut place, (), awaiter);
            self.stage = Stage::Outside(place);
            return (Poll::Pending, replaced);
        }
        self.stage = Stage::Outside(None);
        let left = place.and_then(|place| barrier.entering.leave(place));
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

    /// A poll inside: still there, or called.
    fn poll_inside(&mut self, place: WaiterId, awaiter: Awaiter) -> Step {
        let barrier = self.barrier;
        if !barrier.inside.was_granted(place) {
            let replaced = barrier.inside.enqueue(&mut Some(place), (), awaiter);
            return (Poll::Pending, replaced);
        }
        let outcome = barrier.outcome(place);
        self.stage = Stage::Outside(None);
        barrier.leave();
        (Poll::Ready(outcome), Some(awaiter))
    }
}

impl Future for BarrierWait<'_> {
    type Output = Result<usize, BrokenBarrier>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        // Cloned first: the clone may be foreign code, and none runs from here on before all is decided.
        let awaiter = Awaiter::new(context.waker());
        let (polled, unneeded) = match self.stage {
            Stage::Outside(place) => self.poll_outside(place, awaiter),
            Stage::Inside(place) => self.poll_inside(place, awaiter),
        };
        drop(unneeded);
        polled
    }
}

impl Drop for BarrierWait<'_> {
    fn drop(&mut self) {
        let barrier = self.barrier;
        let left = match self.stage {
            Stage::Outside(None) => return,
            Stage::Outside(Some(place)) => {
                let left = barrier.entering.leave(place);
                barrier.notify_entering();
                left
            }
            Stage::Inside(place) => {
                let left = barrier.inside.leave(place);
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

/// The barrier is broken, or was reset while somebody waited at it.
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
