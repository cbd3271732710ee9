//! Finds the inbox of a loop by the loop's id, for every loop in the process. A waker is a number that says "loop 7,
//! task 12": it holds no reference, may outlive its loop, and may be used on any thread. So finding the inbox must work
//! for ever and cost next to nothing. Inboxes are therefore never freed: two loads in a table that only grows find
//! them, and an inbox is used again together with its id, by a loop with another epoch.

use std::cell::Cell;
use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, Once, OnceLock};

use super::inbox::{Inbox, held};
use crate::sys::fork;

/// Bucket `b` holds the ids from 2^b to 2^(b+1) − 1, so sixteen hold every id but 0. Id 0 has no bucket, is never
/// handed out, and a key made of zeros therefore leads nowhere.
static BUCKETS: [OnceLock<Box<[Inbox]>>; 16] = [const { OnceLock::new() }; 16];

/// Which ids are in use. Locked when a loop is made and when it is closed, never by a wake.
static LEDGER: Mutex<Ledger> = Mutex::new(Ledger {
    unused: Some(1),
    free: VecDeque::new(),
    epoch: 0,
});

/// The last id: a key's topmost bit is free for the ready queue, which marks its other entries by it.
const LAST: u16 = u16::MAX >> 1;

/// How many freed ids wait before the first of them is used again. So a stale waker reaches another loop only after 63
/// further loops, and ten thousand loops made one after another still use 64 inboxes.
const RESTING: usize = 64;

struct Ledger {
    /// The lowest id that was never handed out; `None` once there is none.
    unused: Option<u16>,
    /// Ids whose loops have closed, the longest ago first.
    free: VecDeque<u16>,
    /// The epoch of the latest claim. A count of 64 bits does not wrap.
    epoch: u64,
}

/// An id that belongs to one loop until it is released.
pub(crate) struct Claim {
    /// Not 0, and no other live loop's.
    pub(crate) id: u16,
    /// This claim's own, greater than that of every claim before it, at least 1.
    pub(crate) epoch: u64,
    /// The inbox that `find(id)` returns. It is closed; the new loop opens it with the epoch, and closes it before the
    /// release.
    pub(crate) inbox: &'static Inbox,
}

/// Returns an id for a new loop, or `None` while 32,767 loops exist.
pub(crate) fn claim() -> Option<Claim> {
    static SAFE_IN_CHILDREN: Once = Once::new();
    SAFE_IN_CHILDREN.call_once(|| fork::hold(before_fork, after_fork));
    let mut ledger = held(LEDGER.lock());
    let id = ledger.next_id()?;
    ledger.epoch += 1;
    let (bucket, place) = position(id)?;
    // Filling a bucket only allocates, and under the lock of the ledger it is done once.
    let inboxes =
        BUCKETS[bucket].get_or_init(|| (0..1 << bucket).map(|_| Inbox::vacant()).collect());
    Some(Claim {
        id,
        epoch: ledger.epoch,
        inbox: &inboxes[place],
    })
}

thread_local! {
    /// The ledger, while this thread forks.
    static HELD: Cell<Option<MutexGuard<'static, Ledger>>> = const { Cell::new(None) };
}

extern "C" fn before_fork() {
    let ledger = fork::lock(&LEDGER);
    // A thread that is ending has no thread-local any more, and forks without it.
    let _ = HELD.try_with(|place| place.set(ledger));
}

extern "C" fn after_fork() {
    let _ = HELD.try_with(|place| drop(place.take()));
}

/// Releases an id. Its inbox is closed already; the next loop that claims the id opens it.
pub(crate) fn release(id: u16) {
    let mut ledger = held(LEDGER.lock());
    debug_assert!(
        id != 0 && ledger.unused.is_none_or(|unused| id < unused),
        "id {id} was never claimed"
    );
    debug_assert!(!ledger.free.contains(&id), "id {id} was released before");
    ledger.free.push_back(id);
}

/// Returns the inbox of an id that was claimed at least once. The inbox knows whether a loop owns it now, and which.
pub(crate) fn find(id: u16) -> Option<&'static Inbox> {
    let (bucket, place) = position(id)?;
    BUCKETS[bucket].get()?.get(place)
}

/// Returns the bucket of an id and the place in it; `None` for id 0.
fn position(id: u16) -> Option<(usize, usize)> {
    let bucket = id.checked_ilog2()?;
    Some((bucket as usize, usize::from(id) - (1 << bucket)))
}

impl Ledger {
    /// Returns the id that was freed the longest ago if enough of them wait, else a new one; if there is no new one,
    /// any freed one.
    fn next_id(&mut self) -> Option<u16> {
        match self.unused {
            Some(id) if self.free.len() < RESTING => {
                self.unused = (id < LAST).then_some(id + 1);
                Some(id)
            }
            _ => self.free.pop_front(),
        }
    }
}
