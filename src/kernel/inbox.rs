//! The door of a loop for other threads: posted closures and remote wakes come in here, and nothing else does. The
//! loop's own structures have neither locks nor atomics; this file is what lets them.
//!
//! ```text
//!   any thread                         the loop
//!   post, wake ──► mail ──► drain ──► batch ──► take_next ──► runs
//!                   │ close             │ close
//!                   └───── cancel ──────┘
//! ```
//! An entry moves in one direction, mail to batch, all at once and under both locks, and leaves by the front; so the
//! closures of the batch and then those of the mail always carry consecutive sequence numbers, and a canceller finds
//! its closure by subtraction. Whoever takes a closure out of its place decides what becomes of it: run, cancelled,
//! or handed back by `close`. That is a decision under a lock, so there is never a second one.
//!
//! The loop's sleep is the flag `asleep`, changed under the lock of the mail only:
//! ```text
//!        1 fall_asleep: no mail          2 post, wake: the flag is taken
//!   up ────────────────────────► asleep ──────────────────────────────► rung
//!    ▲                            │  ▲                                  │ │
//!    └───── 3 awake ──────────────┴──┼──────────────────────────────────┘ │
//!                                    └── 4 the ring failed ───────────────┘
//! ```
//! An entry is pushed and the flag taken under one lock, the mail found empty and the flag set under the same: either
//! the loop sees the entry or the sender sees the flag. A flag is taken once, so a sleep is ended by one ring however
//! many send.
//!
//! Locks: batch before pending. Nothing foreign runs with one held: closures are dropped and alarms are rung after it.

use std::collections::VecDeque;
use std::io::{self, Write as _};
use std::mem;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::{Arc, LockResult, PoisonError};
use std::thread::{self, ThreadId};

use tracing::dispatcher::get_default;
use tracing::subscriber::NoSubscriber;

use super::inline_fn::SendFn;
use crate::sys::sync::{AtomicBool, Mutex, Ordering, forks};

/// Entries that a buffer may hold room for while it is empty. Enough that a loop under steady load allocates nothing
/// (the two buffers of closures then keep 64 KiB), little enough that one burst of a million does not cost 50 MB for
/// ever.
const KEPT: usize = 1024;

/// Ends a loop's sleep. In the crate that is mio's waker, in a model an eventfd made of loom's parts.
pub(crate) trait Notify: Send + Sync {
    /// Makes the wait that is under way, or else the next one, return. Having been rung before is success.
    fn notify(&self) -> io::Result<()>;
}

/// What the drain tells the loop, in order of arrival.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Delivery {
    /// Poll the task with this key, if there is one.
    Wake(u64),
    /// Put a marker in the FIFO; when it comes to the head, [`Inbox::take_next`] has the closure.
    Call,
}

/// One loop's inbox. It outlives every loop that moves in: a late sender finds it closed, or with another epoch. The
/// registry keeps inboxes side by side; aligned to a cache line, one loop's senders do not slow its neighbour's down.
#[repr(align(64))]
pub(crate) struct Inbox {
    /// What has arrived and was not drained, and the loop's sleep.
    pending: Mutex<Pending>,
    /// What was drained and has not run; the loop and cancellers alone come here, so senders do not wait behind a run.
    batch: Mutex<Batch>,
    /// Whether there is pending; written under the lock of the pending, when that changes between empty and not. A hint:
    /// the loop reads it every turn without the lock, and before it sleeps it asks again with it.
    hint: AtomicBool,
    /// The fork generation of the process whose loop lives here. In a forked child all of this is a copy, but the bell is
    /// not, and a lock may be held for ever by a thread that is not there: whoever knocks is refused before either.
    /// Changes with the tenant only, so nothing hangs on its order; std's also in a model, which has no forks.
    forks: AtomicU32,
}

struct Pending {
    /// One entry for each wake and each closure, in order of arrival.
    order: Vec<Delivery>,
    /// The closures of `order`, in its order; `None` where one was cancelled. As many as `order` has `Call`s.
    calls: VecDeque<Option<SendFn>>,
    /// The number of the next closure. Never reset, so a number means one closure in all the time of this inbox.
    sequence: u64,
    /// The loop waits, or is about to, and nobody has rung yet. Set by `fall_asleep` when there is no pending, and by a
    /// sender whose ring failed; that is the one way in which it is set while there is pending.
    asleep: bool,
    /// No loop lives here: there is no pending, no notifier, nobody asleep, and nothing comes in.
    closed: bool,
    /// Which loop lives here, or lived here last.
    epoch: u64,
    /// That loop's thread.
    home: Option<ThreadId>,
    /// What ends that loop's sleep; `Some` unless closed. A sender clones it under the lock and rings its clone after
    /// it, so the descriptor behind it is open as long as anyone may still write to it, whatever `close` does
    /// meanwhile.
    notifier: Option<Arc<dyn Notify>>,
}

#[derive(Default)]
struct Batch {
    /// Empty but for the time of a drain: the buffer that the mail gets in exchange for its own.
    order: Vec<Delivery>,
    /// The closure for each marker in the loop's FIFO, in order; `None` where one was cancelled.
    calls: VecDeque<Option<SendFn>>,
}

/// Ignores poison: a lock is poisoned by a panic while it is held, nothing that runs under ours can leave a half-done
/// change, and a loop that other threads cannot reach any more would be worse than any panic. Takes loom's result as
/// well as std's.
pub(super) fn held<Guard>(lock: LockResult<Guard>) -> Guard {
    lock.unwrap_or_else(PoisonError::into_inner)
}

/// For other threads, and for the canceller on any.
impl Inbox {
    /// Puts `f` at the end of the line and returns its number, or gives it back when the loop of that epoch is gone.
    /// Unlike a key, a closure must never reach a successor.
    pub(crate) fn post(&self, epoch: u64, f: SendFn) -> Result<u64, SendFn> {
        if self.is_inherited() {
            return Err(f);
        }
        let mut pending = held(self.pending.lock());
        if pending.closed || pending.epoch != epoch {
            return Err(f);
        }
        let sequence = pending.sequence;
        pending.sequence += 1;
        pending.calls.push_back(Some(f));
        self.push(&mut pending, Delivery::Call);
        let notifier = pending.take_notifier();
        drop(pending);
        if let Some(notifier) = notifier {
            self.notify(epoch, &*notifier);
        }
        Ok(sequence)
    }

    /// Puts `key` at the end of the line unless it stands there already, which keeps a waker that is hotter than the
    /// loop from growing the line without bound. Only the very last entry counts: a key before a closure does not
    /// stand for one after it. No epoch is asked for, since a key that reaches a successor is at worst a spurious
    /// poll; a closed inbox ignores it.
    pub(crate) fn wake(&self, key: u64) {
        if self.is_inherited() {
            return;
        }
        let mut pending = held(self.pending.lock());
        if pending.closed {
            return;
        }
        let wake = Delivery::Wake(key);
        if pending.order.last() != Some(&wake) {
            self.push(&mut pending, wake);
        }
        // Also for a key that was skipped: after a failed ring the flag is set although there is pending.
        let notifier = pending.take_notifier();
        let epoch = pending.epoch;
        drop(pending);
        if let Some(notifier) = notifier {
            self.notify(epoch, &*notifier);
        }
    }

    /// Takes the closure with this number out, for the caller to drop: it never runs. `None` where it has run, is
    /// running, was cancelled before, or went with its loop. Calls `mark` before the locks are free again, so that whoever
    /// finds the closure gone finds the mark; it must be nothing foreign.
    #[must_use]
    pub(crate) fn cancel(&self, epoch: u64, sequence: u64, mark: impl FnOnce()) -> Option<SendFn> {
        if self.is_inherited() {
            return None;
        }
        // With the batch locked nothing moves, so what is in neither place is in no place.
        let mut batch = held(self.batch.lock());
        let mut pending = held(self.pending.lock());
        if pending.epoch != epoch {
            return None;
        }
        let drained = batch.calls.len();
        let head = pending.sequence - (drained + pending.calls.len()) as u64;
        // No queue is that long, so a place that does not fit is simply not found.
        let place = usize::try_from(sequence.checked_sub(head)?).unwrap_or(usize::MAX);
        let slot = match place.checked_sub(drained) {
            None => batch.calls.get_mut(place),
            Some(place) => pending.calls.get_mut(place),
        };
        slot.and_then(Option::take).inspect(|_| mark())
    }

    /// Whether the loop of that epoch still lives here.
    pub(crate) fn is_open(&self, epoch: u64) -> bool {
        if self.is_inherited() {
            return false;
        }
        let pending = held(self.pending.lock());
        !pending.closed && pending.epoch == epoch
    }

    /// Whether this process is a forked child of the one whose loop lives here.
    pub(crate) fn is_inherited(&self) -> bool {
        self.forks.load(Relaxed) != forks()
    }

    /// Whether the loop of that epoch lives here, and on the calling thread.
    pub(crate) fn is_home(&self, epoch: u64) -> bool {
        if self.is_inherited() {
            return false;
        }
        let here = thread::current().id();
        let pending = held(self.pending.lock());
        !pending.closed && pending.epoch == epoch && pending.home == Some(here)
    }

    /// Appends to the line and raises the hint if the line was empty.
    fn push(&self, pending: &mut Pending, entry: Delivery) {
        if pending.order.is_empty() {
            // The lock orders everything that matters; a reader that sees the hint early or late only looks in vain,
            // or next turn. Release pairs with `has_posts`, so that whoever sees the hint sees the line too.
            self.hint.store(true, Ordering::Release);
        }
        pending.order.push(entry);
    }

    /// Ends the sleep whose flag the caller took. If that fails the loop sleeps on with mail waiting, which nobody
    /// would notice: so the flag goes back, for the next sender to try again, and the failure is said aloud.
    #[cold]
    fn notify(&self, epoch: u64, notifier: &dyn Notify) {
        let Err(error) = notifier.notify() else {
            return;
        };
        {
            let mut pending = held(self.pending.lock());
            // If the loop has got up by itself meanwhile, this costs one needless ring.
            if pending.epoch == epoch && !pending.closed {
                pending.asleep = true;
            }
        }
        tracing::error!(target: "callsoon", %error, "a sleeping event loop cannot be woken from another thread");
        if get_default(|subscriber| subscriber.is::<NoSubscriber>()) {
            // Nobody listens to tracing. A closed stderr is no reason to panic in the sender, hence not `eprintln!`.
            let _ = writeln!(
                io::stderr(),
                "callsoon: a sleeping event loop cannot be woken from another thread: {error}"
            );
        }
    }
}

/// For the loop.
impl Inbox {
    /// An inbox that no loop has moved into.
    pub(crate) fn vacant() -> Self {
        let pending = Pending {
            order: Vec::new(),
            calls: VecDeque::new(),
            sequence: 0,
            asleep: false,
            closed: true,
            epoch: 0,
            home: None,
            notifier: None,
        };
        Self {
            pending: Mutex::new(pending),
            batch: Mutex::new(Batch::default()),
            hint: AtomicBool::new(false),
            forks: AtomicU32::new(0),
        }
    }

    /// A loop of the calling thread moves in. The one before it has closed.
    pub(crate) fn open(&self, epoch: u64, notifier: Arc<dyn Notify>) {
        let home = thread::current().id();
        self.forks.store(forks(), Relaxed);
        let mut pending = held(self.pending.lock());
        debug_assert!(
            pending.closed,
            "a loop moves into an inbox that another one has not left"
        );
        pending.closed = false;
        pending.epoch = epoch;
        pending.home = Some(home);
        let before = pending.notifier.replace(notifier);
        drop(pending);
        drop(before);
    }

    /// The loop moves out: what comes later is refused, and every closure that has not run is returned in order. The
    /// caller drops them one by one, since each destructor may panic or knock at this very door. The buffers go too,
    /// so that an inbox waiting for its next loop holds no memory.
    pub(crate) fn close(&self) -> Vec<SendFn> {
        let mut batch = held(self.batch.lock());
        let mut pending = held(self.pending.lock());
        pending.closed = true;
        pending.asleep = false;
        let notifier = pending.notifier.take();
        let order = mem::take(&mut pending.order);
        let posted = mem::take(&mut pending.calls);
        let drained = mem::take(&mut *batch);
        self.hint.store(false, Ordering::Release);
        drop(pending);
        drop(batch);
        drop((notifier, order));
        drained.calls.into_iter().chain(posted).flatten().collect()
    }

    /// Whether a drain may find something: one load, no lock.
    pub(crate) fn has_posts(&self) -> bool {
        self.hint.load(Ordering::Acquire)
    }

    /// Moves all mail to the batch and reports it in order of arrival. `f` runs with the batch locked: it queues what
    /// it is told and calls nothing foreign. Each `Call` that it is told of is owed one
    /// [`take_next`](Self::take_next).
    pub(crate) fn drain(&self, mut f: impl FnMut(Delivery)) {
        let mut batch = held(self.batch.lock());
        let Batch { order, calls } = &mut *batch;
        {
            let mut pending = held(self.pending.lock());
            mem::swap(order, &mut pending.order);
            if calls.is_empty() {
                mem::swap(calls, &mut pending.calls);
            } else {
                calls.append(&mut pending.calls);
            }
            self.hint.store(false, Ordering::Release);
        }
        order.drain(..).for_each(&mut f);
        if order.capacity() > KEPT {
            *order = Vec::new();
        }
    }

    /// The closure for the marker at the head of the FIFO, or `None` where it was cancelled. Asked for once per
    /// marker.
    pub(crate) fn take_next(&self) -> Option<SendFn> {
        let mut batch = held(self.batch.lock());
        let next = batch.calls.pop_front().flatten();
        if batch.calls.is_empty() && batch.calls.capacity() > KEPT {
            batch.calls = VecDeque::new();
        }
        next
    }

    /// The loop is about to wait: from here on the first sender rings. False, and nothing changes, if there is pending.
    #[must_use]
    pub(crate) fn fall_asleep(&self) -> bool {
        let mut pending = held(self.pending.lock());
        if !pending.order.is_empty() {
            return false;
        }
        pending.asleep = true;
        true
    }

    /// The loop's wait is over, whatever ended it: senders need not ring.
    pub(crate) fn awake(&self) {
        held(self.pending.lock()).asleep = false;
    }
}

impl Pending {
    /// Takes the flag, and says by whom the one who took it has to ring.
    fn take_notifier(&mut self) -> Option<Arc<dyn Notify>> {
        if mem::take(&mut self.asleep) {
            self.notifier.clone()
        } else {
            None
        }
    }
}
