//! What keeps a virtual clock from jumping: work that goes on outside the loop and will come back to it.
//!
//! An idle loop on the virtual clock jumps to its next deadline, since nothing else can happen before. While a thread
//! works for the loop something can, so each such piece of work holds an [`Inhibitor`], which any thread may drop. The
//! last one to go rings, so that a loop which waits for the real world looks again. A loop on the real clock has none of
//! this and pays nothing for it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::kernel::inbox::Inbox;
use crate::kernel::inline_fn::SendFn;

/// While it lives, its loop's virtual clock stands still. Dropped *after* what it guarded has been handed to the loop:
/// who sees the count at 0 then sees that too.
pub(crate) struct Inhibitor {
    count: Arc<AtomicUsize>,
    inbox: &'static Inbox,
    epoch: u64,
}

impl Inhibitor {
    pub(crate) fn new(count: &Arc<AtomicUsize>, inbox: &'static Inbox, epoch: u64) -> Self {
        count.fetch_add(1, Ordering::SeqCst);
        Self {
            count: Arc::clone(count),
            inbox,
            epoch,
        }
    }
}

impl Drop for Inhibitor {
    fn drop(&mut self) {
        if self.count.fetch_sub(1, Ordering::SeqCst) == 1 {
            // Nothing but the ring is wanted. A closed loop need not look.
            let _ = self.inbox.post(self.epoch, SendFn::new(|| ()));
        }
    }
}
