//! What an inspected loop notes while it runs: what each task waits for, how often it ran and for how long, who holds
//! a lock, and what runs now.
//!
//! A future that returns `Pending` [notes](crate::kernel::note_wait) what it waits for. The notes of one step are kept
//! with its task when the step ends, and replace those of the step before. So they name what the last step has found
//! pending. A future that is polled by a waker of its own (as `FuturesUnordered` does) is missing while its task runs
//! for another reason, and a wait that was given up in the same step is still named until the next.
//!
//! A loop that is not inspected has none of this. Its process pays for one test of a number where a task begins to
//! wait, which other loops of the process may have set.

use std::cell::RefCell;
use std::collections::HashMap;
use std::panic::Location;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use crate::kernel::task::key::Identity;
use crate::kernel::wait::wait_kind::WaitKind;

/// See [`Waits::waits`].
const NEW: u64 = 1;

/// How many waits of one task are kept; more are counted.
pub(crate) const MOST_WAITS: usize = 16;

/// How many loops of this process are inspected.
static INSPECTED: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    /// The tasks of this thread's inspected loops that hold locks. It is the thread's and not a loop's, since a lock may be
    /// taken and released outside of every run.
    static HOLDERS: RefCell<Holders> = RefCell::default();
}

/// Who holds which lock.
#[derive(Default)]
struct Holders {
    /// By the addresses of the locks, which those who wait for them note: the number of the note, and the holder.
    by_address: HashMap<u64, (u32, Identity)>,
    /// The number of the newest note. The lock keeps it, because a lock whose guard was forgotten or leaked may be moved
    /// or dropped while the note of its holder is kept under its former address.
    newest: u32,
}

/// Calls `f` with the holders; not at all once the thread has dropped them, when it ends.
fn with_holders<R>(f: impl FnOnce(&mut Holders) -> R) -> Option<R> {
    HOLDERS
        .try_with(|holders| f(&mut holders.borrow_mut()))
        .ok()
}

/// Notes which task holds the lock at an address from now on, or that none of an inspected loop does. Returns the number
/// of the note, or 0 if there is none.
pub(crate) fn hold(lock: u64, task: Option<Identity>) -> u32 {
    let note = with_holders(|holders| {
        let Some(task) = task else {
            holders.by_address.remove(&lock);
            return 0;
        };
        holders.newest = holders.newest.checked_add(1).unwrap_or(1);
        holders.by_address.insert(lock, (holders.newest, task));
        holders.newest
    });
    note.unwrap_or(0)
}

/// Forgets a note, which is under this address unless its lock was moved meanwhile.
pub(crate) fn release(lock: u64, note: u32) {
    with_holders(|holders| {
        let of_lock = holders.by_address.get(&lock);
        if of_lock.is_some_and(|(number, _)| *number == note) {
            holders.by_address.remove(&lock);
        } else {
            holders.by_address.retain(|_, (number, _)| *number != note);
        }
    });
}

/// Returns which task holds a lock, which may have ended.
pub(crate) fn holder(lock: u64) -> Option<Identity> {
    let noted = with_holders(|holders| holders.by_address.get(&lock).copied());
    noted.flatten().map(|(_, task)| task)
}

/// How many locks have a holder that is noted.
#[cfg(test)]
pub(crate) fn holders_noted() -> usize {
    with_holders(|holders| holders.by_address.len()).unwrap_or(0)
}

/// Returns whether any loop of this process keeps notes.
#[inline(always)]
pub(crate) fn is_any_inspected() -> bool {
    INSPECTED.load(Ordering::Relaxed) != 0
}

/// One wait of a task.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Wait {
    pub(crate) kind: WaitKind,
    /// Distinguishes what is waited for among all of its kind: an address, a descriptor or a deadline; 0 if nothing
    /// does.
    pub(crate) object: u64,
    /// The task that is waited for, or [`Identity::NONE`].
    pub(crate) task: Identity,
}

/// The waits of one step.
#[derive(Clone, Default)]
pub(crate) struct Waits {
    /// Each with the time since when it is waited for, on the loop's clock. While its step runs, that is 0, or [`NEW`] for
    /// a wait that has begun in this step.
    pub(crate) waits: Vec<(Wait, u64)>,
    /// How many more there are.
    pub(crate) more: usize,
}

/// What is known of one task.
#[derive(Clone, Default)]
pub(crate) struct Record {
    /// When the task was created; `None` if the loop was not inspected then.
    pub(crate) created: Option<u64>,
    pub(crate) steps: u64,
    /// How long its steps took together, in nanoseconds of the loop's clock.
    pub(crate) in_steps: u64,
    /// When its last step ended.
    pub(crate) last_step: Option<u64>,
    pub(crate) waits: Waits,
}

/// The notes of one loop.
pub(crate) struct Inspection {
    loop_id: u16,
    /// What the running step has noted so far.
    noted: RefCell<Waits>,
    /// By the serial number of the task.
    records: RefCell<HashMap<u64, Record>>,
    pub(crate) running: Arc<Running>,
}

impl Inspection {
    pub(crate) fn new(loop_id: u16) -> Self {
        INSPECTED.fetch_add(1, Ordering::Relaxed);
        Self {
            loop_id,
            noted: RefCell::default(),
            records: RefCell::default(),
            running: Arc::default(),
        }
    }

    /// Notes a wait of the running step, and whether it has begun there.
    pub(crate) fn note(&self, wait: Wait, is_new: bool) {
        let mut noted = self.noted.borrow_mut();
        let begun = u64::from(is_new) * NEW;
        if let Some((_, known)) = noted.waits.iter_mut().find(|(known, _)| *known == wait) {
            *known |= begun;
            return;
        }
        if noted.waits.len() < MOST_WAITS {
            noted.waits.push((wait, begun));
        } else {
            noted.more += 1;
        }
    }

    /// Gives the newest wait of the running step another kind and object.
    pub(crate) fn rename(&self, as_this: Wait) {
        if let Some((last, _)) = self.noted.borrow_mut().waits.last_mut() {
            *last = as_this;
        }
    }

    /// Notes when a task was created, unless that is known.
    pub(crate) fn create(&self, serial: u64, now: u64) {
        let mut records = self.records.borrow_mut();
        let record = records.entry(serial).or_default();
        record.created.get_or_insert(now);
    }

    /// Begins a step. Returns what an outer step has noted, for [`end_step`](Self::end_step): an eager task begins
    /// inside the step of another.
    pub(crate) fn begin_step(&self) -> Waits {
        self.noted.take()
    }

    /// Forgets what was noted since [`begin_step`](Self::begin_step).
    pub(crate) fn restore(&self, outer: Waits) {
        self.noted.replace(outer);
    }

    /// Ends a step: keeps what it has noted, or forgets the task if that has ended.
    pub(crate) fn end_step(&self, serial: u64, outer: Waits, began: u64, now: u64, ended: bool) {
        let mut noted = self.noted.replace(outer);
        let mut records = self.records.borrow_mut();
        if ended {
            records.remove(&serial);
            return;
        }
        let record = records.entry(serial).or_default();
        record.steps += 1;
        record.last_step = Some(now);
        record.in_steps += now.saturating_sub(began);
        for (wait, since) in &mut noted.waits {
            let mut before = record.waits.waits.iter();
            let known = before.find(|(known, _)| known == wait && *since != NEW);
            *since = known.map_or(now, |(_, since)| *since);
        }
        record.waits = noted;
    }

    /// Forgets a task that is dropped before its end.
    pub(crate) fn forget(&self, serial: u64) {
        self.records.borrow_mut().remove(&serial);
    }

    pub(crate) fn record(&self, serial: u64) -> Option<Record> {
        self.records.borrow().get(&serial).cloned()
    }
}

impl Drop for Inspection {
    fn drop(&mut self) {
        with_holders(|holders| {
            let of_others = |task: Identity| task.key.loop_id() != self.loop_id;
            holders.by_address.retain(|_, (_, task)| of_others(*task));
        });
        INSPECTED.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What runs on the loop's thread at this moment, for a thread that looks at it from outside.
///
/// It is behind a lock, which each side holds for a few instructions and never while user code runs.
#[derive(Default)]
pub(crate) struct Running(Mutex<Vec<Now>>);

/// One call of user code that has begun and has not returned.
#[derive(Clone)]
pub(crate) struct Now {
    /// "task", or the name of the call.
    pub(crate) what: &'static str,
    /// The task's name, for a task.
    pub(crate) task: Option<(u64, String)>,
    /// Where the task or callback was created.
    pub(crate) location: &'static Location<'static>,
    pub(crate) since: Instant,
}

impl Running {
    fn with<R>(&self, f: impl FnOnce(&mut Vec<Now>) -> R) -> R {
        f(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Notes that a call begins.
    pub(crate) fn begin(&self, now: Now) {
        self.with(|running| running.push(now));
    }

    /// Notes that the newest call has ended.
    pub(crate) fn end(&self) {
        let ended = self.with(Vec::pop);
        drop(ended);
    }

    /// Returns the innermost call.
    pub(crate) fn innermost(&self) -> Option<Now> {
        self.with(|running| running.last().cloned())
    }
}
