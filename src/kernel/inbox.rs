//! A loop's inbox: closures that other threads post, and wakes that come from outside the running loop. Nothing else in
//! the loop is reached from other threads, so the loop's own structures need neither locks nor atomics.
//!
//! ```text
//!   any thread                         the loop
//!   post, wake ──► pending ──► drain ──► batch ──► take_next ──► runs
//!                     │ close              │ close
//!                     └────── cancel ──────┘
//! ```
//! Entries move in one direction, from pending to batch, all at once and under both locks, and leave at the front. So
//! the closures of the batch followed by the pending ones always have consecutive sequence numbers, and a canceller
//! finds its closure by subtraction. The code that takes a closure out of its slot decides its fate: run, cancelled, or
//! returned by `close`. Pending ones are taken under the lock. Those of the batch are taken as `kernel/batch` describes, so
//! that the loop needs no lock for each. So no closure is decided about twice.
//!
//! The flag `asleep` says that the loop sleeps. It is changed only under the lock of the pending entries:
//! ```text
//!       1 fall_asleep: none pending      2 post, wake: the flag is taken
//!   up ────────────────────────► asleep ──────────────────────────────► notified
//!    ▲                            │  ▲                                  │ │
//!    └───── 3 awake ──────────────┴──┼──────────────────────────────────┘ │
//!                                    └── 4 notifying failed ──────────────┘
//! ```
//! A sender pushes an entry and takes the flag under one lock. The loop finds nothing pending and sets the flag under
//! the same lock. So either the loop sees the entry or the sender sees the flag. The flag is taken once, so one
//! notification ends a sleep, however many threads send.
//!
//! Lock order: batch before pending. No user code runs with a lock held: closures are dropped and notifiers are
//! notified afterwards.

use std::io::{self, Write as _};
use std::mem::{self, ManuallyDrop, MaybeUninit};
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::{Arc, LockResult, PoisonError};
use std::thread::{self, ThreadId};

use tracing::dispatcher::get_default;
use tracing::subscriber::NoSubscriber;

use super::batch::{Batch, Delivery, KEPT, Slot};
use super::inline_fn::SendFn;
use crate::sys::prefetch::{AHEAD, prefetch_to_write};
use crate::sys::sync::{AtomicBool, Mutex, Ordering, forks};

/// Ends a loop's sleep. In the crate that is an eventfd or mio's waker (`sys/notifier`), in the loom test a model of an
/// eventfd.
pub(crate) trait Notify: Send + Sync {
    /// Makes the current wait return, or else the next one. Being notified already counts as success.
    ///
    /// # Errors
    /// What the system call reports; the loop may then still sleep.
    fn notify(&self) -> io::Result<()>;
}

/// One loop's inbox. It outlives every loop that opens it: a late sender finds it closed, or with another epoch. The
/// registry keeps inboxes side by side. Each is aligned to a cache line, so that one loop's senders do not slow down
/// another's.
#[repr(align(64))]
pub(crate) struct Inbox {
    /// The entries that were not drained yet, and whether the loop sleeps.
    pending: Line<Mutex<Pending>>,
    /// The entries that were drained and have not run. Only the loop and cancellers lock it, so senders never wait for
    /// a run.
    batch: Line<Batch>,
    /// Whether entries are pending. Written under the lock of `pending` when the first entry comes and when all are
    /// drained. It is a hint: the loop reads it in every turn without the lock, and checks again with the lock before
    /// it sleeps.
    hint: Line<AtomicBool>,
    /// The fork generation of the process whose loop owns the inbox. In a forked child the inbox is a copy but the
    /// notifier is shared with the parent, and a thread that does not exist in the child may hold a lock for ever. So
    /// in a child every call is refused before it locks or notifies. It changes with the owner only, so its ordering
    /// does not matter. It is std's atomic in the model as well, since a model does not fork.
    forks: AtomicU32,
}

/// A value with cache lines of its own: the loop writes to the batch for each closure while senders lock the pending
/// entries, and reads the hint while it spins.
#[repr(align(64))]
struct Line<T>(T);

/// What every post touches comes first, so that it shares one cache line with the lock.
#[repr(C)]
struct Pending {
    /// The closures that are pending; `None` where one was cancelled. As many as the `Calls` of `order`, and `run`, say.
    calls: Vec<Slot>,
    /// The number of the first of them. Never reset, so a number means one closure in all the time of this inbox.
    first: u64,
    /// The epoch of the loop that owns the inbox, or owned it last.
    epoch: u64,
    /// How many closures came after the last entry of `order`.
    run: u32,
    /// The loop waits or is about to wait, and was not notified yet. Set by `fall_asleep` when nothing is pending, and
    /// by a sender that failed to notify. Only in the second case it is set while entries are pending.
    asleep: bool,
    /// No loop owns the inbox: nothing is pending, there is no notifier, no loop sleeps, and every entry is refused.
    closed: bool,
    /// One entry for each wake and each run of consecutive closures but the last, in order of arrival.
    order: Vec<Delivery>,
    /// The thread of that loop.
    thread: Option<ThreadId>,
    /// The notifier of that loop; `Some` unless closed. A sender clones it under the lock and notifies the clone
    /// afterwards. So its descriptor stays open as long as a thread may still write to it, whatever `close` does
    /// meanwhile.
    notifier: Option<Arc<dyn Notify>>,
}

/// Ignores poison: a lock is poisoned by a panic while it is held, nothing that runs under ours can leave a half-done
/// change, and a loop that other threads cannot reach any more would be worse than any panic. Takes loom's result as
/// well as std's.
pub(crate) fn held<Guard>(lock: LockResult<Guard>) -> Guard {
    lock.unwrap_or_else(PoisonError::into_inner)
}

/// Calls for other threads, and for cancellers on any thread.
impl Inbox {
    /// Appends the closure `f` and returns its number, or returns `f` if the loop of that epoch has closed. Unlike a
    /// key, a closure must never reach the next owner.
    pub(crate) fn post(&self, epoch: u64, f: SendFn) -> Result<u64, SendFn> {
        // It has just been written.
        let f = f.by_words();
        if self.is_inherited() {
            return Err(f);
        }
        let mut pending = held(self.pending.0.lock());
        if pending.closed || pending.epoch != epoch {
            return Err(f);
        }
        if pending.is_empty() {
            self.set_hint();
        }
        let sequence = pending.next_number();
        pending.push_call(f);
        let notifier = pending.take_notifier();
        drop(pending);
        if let Some(notifier) = notifier {
            self.notify(epoch, &*notifier);
        }
        Ok(sequence)
    }

    /// Appends the wake of `key`, unless the last entry is the same wake. So a waker that is called faster than the
    /// loop drains does not grow the queue without bound. Only the last entry is compared: a wake before a closure
    /// cannot replace one after it. There is no check of the epoch, since a wake that reaches the next owner costs at
    /// most a spurious poll. A closed inbox ignores wakes.
    pub(crate) fn wake(&self, key: u64) {
        if self.is_inherited() {
            return;
        }
        let mut pending = held(self.pending.0.lock());
        if pending.closed {
            return;
        }
        let wake = Delivery::Wake(key);
        if pending.run > 0 || pending.order.last() != Some(&wake) {
            if pending.is_empty() {
                self.set_hint();
            }
            pending.end_run();
            pending.order.push(wake);
        }
        // Also for a wake that was skipped: after a failed notification the flag is set although entries are pending.
        let notifier = pending.take_notifier();
        let epoch = pending.epoch;
        drop(pending);
        if let Some(notifier) = notifier {
            self.notify(epoch, &*notifier);
        }
    }

    /// Takes the closure with this number out, for its caller to drop: it never runs. Returns `None` if it has run, is
    /// running, was cancelled before, or was dropped with its loop. Calls `mark` before it releases the locks, so that
    /// a thread that finds the closure taken finds the mark too. `mark` must not run user code.
    #[must_use]
    pub(crate) fn cancel(&self, epoch: u64, sequence: u64, mark: impl FnOnce()) -> Option<SendFn> {
        if self.is_inherited() {
            return None;
        }
        // With the batch locked no entry moves, so a closure that is in neither queue is in none.
        let mut batch = self.batch.0.lock();
        let mut pending = held(self.pending.0.lock());
        if pending.epoch != epoch {
            return None;
        }
        let Some(place) = sequence.checked_sub(batch.end()) else {
            return batch.cancel(sequence, mark);
        };
        // No queue is that long, so a place that does not fit is simply not found.
        let place = usize::try_from(place).unwrap_or(usize::MAX);
        let slot = pending.calls.get_mut(place);
        slot.and_then(|slot| slot.take()).inspect(|_| mark())
    }

    /// Returns whether the loop of that epoch still owns the inbox.
    pub(crate) fn is_open(&self, epoch: u64) -> bool {
        if self.is_inherited() {
            return false;
        }
        let pending = held(self.pending.0.lock());
        !pending.closed && pending.epoch == epoch
    }

    /// Returns whether this process is a forked child of the one whose loop owns the inbox.
    pub(crate) fn is_inherited(&self) -> bool {
        self.forks.load(Relaxed) != forks()
    }

    /// Returns whether the loop of that epoch owns the inbox and belongs to the calling thread.
    pub(crate) fn is_home(&self, epoch: u64) -> bool {
        if self.is_inherited() {
            return false;
        }
        let here = thread::current().id();
        let pending = held(self.pending.0.lock());
        !pending.closed && pending.epoch == epoch && pending.thread == Some(here)
    }

    /// Sets the hint, with the lock of the pending entries held. The lock orders everything that matters. A reader that
    /// sees the hint too early finds nothing, and one that sees it too late drains in the next turn. Release pairs with
    /// `has_posts`, so that a reader of the hint sees the entries too.
    fn set_hint(&self) {
        self.hint.0.store(true, Ordering::Release);
    }

    /// Ends the sleep whose flag the caller took. If that fails, the loop sleeps although entries are pending. So the
    /// flag is set again, for the next sender to retry, and the failure is logged.
    #[cold]
    fn notify(&self, epoch: u64, notifier: &dyn Notify) {
        let Err(error) = notifier.notify() else {
            return;
        };
        {
            let mut pending = held(self.pending.0.lock());
            // If the loop woke up by itself meanwhile, this costs one needless notification.
            if pending.epoch == epoch && !pending.closed {
                pending.asleep = true;
            }
        }
        tracing::error!(target: "callsoon", %error, "a sleeping event loop cannot be woken from another thread");
        if get_default(|subscriber| subscriber.is::<NoSubscriber>()) {
            // There is no tracing subscriber. `eprintln!` would panic in the sender if stderr is closed.
            let _ = writeln!(
                io::stderr(),
                "callsoon: a sleeping event loop cannot be woken from another thread: {error}"
            );
        }
    }
}

/// Calls for the loop.
impl Inbox {
    /// Returns an inbox that no loop owns.
    pub(crate) fn vacant() -> Self {
        let pending = Pending {
            calls: Vec::new(),
            first: 0,
            epoch: 0,
            run: 0,
            asleep: false,
            closed: true,
            order: Vec::new(),
            thread: None,
            notifier: None,
        };
        Self {
            pending: Line(Mutex::new(pending)),
            batch: Line(Batch::new()),
            hint: Line(AtomicBool::new(false)),
            forks: AtomicU32::new(0),
        }
    }

    /// Opens the inbox for a loop of the calling thread. The previous owner has closed it.
    pub(crate) fn open(&self, epoch: u64, notifier: Arc<dyn Notify>) {
        let own = thread::current().id();
        self.batch.0.lock().open();
        self.forks.store(forks(), Relaxed);
        let mut pending = held(self.pending.0.lock());
        debug_assert!(
            pending.closed,
            "a loop opens an inbox that another loop still owns"
        );
        pending.closed = false;
        pending.epoch = epoch;
        pending.thread = Some(own);
        let before = pending.notifier.replace(notifier);
        drop(pending);
        drop(before);
    }

    /// Closes the inbox: later entries are refused, and every closure that has not run is returned in order. The caller
    /// drops them one by one, since each destructor may panic or post to this inbox. The buffers are freed too, so that
    /// an inbox without an owner holds no memory.
    pub(crate) fn close(&self) -> Vec<SendFn> {
        let mut batch = self.batch.0.lock();
        let mut pending = held(self.pending.0.lock());
        pending.closed = true;
        pending.asleep = false;
        let notifier = pending.notifier.take();
        let order = mem::take(&mut pending.order);
        let posted = mem::take(&mut pending.calls);
        pending.run = 0;
        pending.first += posted.len() as u64;
        let mut left = batch.close(pending.first);
        self.hint.0.store(false, Ordering::Release);
        drop(pending);
        drop(batch);
        drop((notifier, order));
        left.extend(posted.into_iter().filter_map(ManuallyDrop::into_inner));
        left
    }

    /// Returns whether a drain may find something: one load, no lock.
    pub(crate) fn has_posts(&self) -> bool {
        self.hint.0.load(Ordering::Acquire)
    }

    /// Moves all pending entries to the batch and reports each to `f`, in order of arrival. `f` runs with the batch
    /// locked: it queues entries and runs no user code. For each closure of a `Calls` the loop later calls
    /// [`take_next`](Self::take_next) once.
    pub(crate) fn drain(&self, mut f: impl FnMut(Delivery)) {
        let mut batch = self.batch.0.lock();
        let (order, run) = {
            let mut pending = held(self.pending.0.lock());
            let pending = &mut *pending;
            pending.first += pending.calls.len() as u64;
            let order = batch.append(&mut pending.calls, &mut pending.order);
            self.hint.0.store(false, Ordering::Release);
            (order, mem::take(&mut pending.run))
        };
        order.drain(..).for_each(&mut f);
        if order.capacity() > KEPT {
            *order = Vec::new();
        }
        if run > 0 {
            f(Delivery::Calls(run));
        }
    }

    /// Returns the closure of the marker at the front of the ready queue, or `None` if it was cancelled. Called once
    /// for each marker.
    #[inline]
    pub(crate) fn take_next(&self) -> Option<SendFn> {
        self.batch.0.take()
    }

    /// Returns, for each closure that was drained and not taken, whether it will run: it was not cancelled.
    pub(crate) fn will_run(&self) -> Vec<bool> {
        self.batch.0.lock().will_run()
    }

    /// Notes that the loop is about to wait: from now on the first sender notifies it. Returns `false`, and changes
    /// nothing, if entries are pending.
    #[must_use]
    pub(crate) fn fall_asleep(&self) -> bool {
        let mut pending = held(self.pending.0.lock());
        if !pending.is_empty() {
            return false;
        }
        pending.asleep = true;
        drop(pending);
        if self.batch.0.burst.load(Relaxed) != 0 {
            self.free_burst();
        }
        true
    }

    /// Gives memory of a burst back once the loop has polled for events so often without another. Called at each poll.
    #[inline]
    pub(crate) fn trim(&self) {
        let burst = &self.batch.0.burst;
        let left = burst.load(Relaxed);
        if left != 0 {
            burst.store(left - 1, Relaxed);
            if left == 1 {
                self.free_burst();
            }
        }
    }

    #[cold]
    fn free_burst(&self) {
        let mut batch = self.batch.0.lock();
        if !batch.free() {
            return;
        }
        let mut pending = held(self.pending.0.lock());
        if pending.calls.is_empty() {
            let calls = mem::take(&mut pending.calls);
            drop(pending);
            drop(batch);
            drop(calls);
        }
    }

    /// Notes that the wait has ended, for whatever reason: senders need not notify any more.
    pub(crate) fn awake(&self) {
        held(self.pending.0.lock()).asleep = false;
    }
}

impl Pending {
    /// Appends a closure. The places some way on, which the loop has read, are asked for: the sender's next lock would wait
    /// until they are here.
    #[inline]
    fn push_call(&mut self, f: SendFn) {
        let ahead = self.calls.as_ptr().wrapping_add(self.calls.len() + AHEAD);
        prefetch_to_write(MaybeUninit::new(ahead.addr() as u64));
        self.calls.push(ManuallyDrop::new(Some(f)));
        if self.run == u32::MAX {
            self.end_run();
        }
        self.run += 1;
    }

    /// Makes the last closures an entry.
    fn end_run(&mut self) {
        if self.run > 0 {
            self.order.push(Delivery::Calls(mem::take(&mut self.run)));
        }
    }

    /// Returns whether nothing is pending.
    fn is_empty(&self) -> bool {
        self.run == 0 && self.order.is_empty()
    }

    /// Returns the number of the next closure.
    fn next_number(&self) -> u64 {
        self.first + self.calls.len() as u64
    }

    /// Takes the flag. Returns the notifier that the caller then has to notify.
    fn take_notifier(&mut self) -> Option<Arc<dyn Notify>> {
        if mem::take(&mut self.asleep) {
            self.notifier.clone()
        } else {
            None
        }
    }
}
