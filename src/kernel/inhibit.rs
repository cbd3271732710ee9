//! Guards that keep a virtual clock from jumping while work for the loop goes on outside it.
//!
//! An idle loop on the virtual clock jumps to its next deadline, since nothing else can happen before. While a thread
//! works for the loop something can, so each such piece of work holds an [`Inhibitor`], which any thread may drop.
//! Dropping the last one posts to the inbox, so that a waiting loop checks its clock again. A loop on the real clock
//! has no inhibitors and pays nothing for them.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::kernel::inbox::Inbox;
use crate::kernel::inline_fn::SendFn;

/// While it lives, its loop's virtual clock stands still. It is dropped *after* the result of the work was posted to
/// the loop: a loop that sees the count at 0 then sees the result too.
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
    #[cold]
    fn drop(&mut self) {
        if self.count.fetch_sub(1, Ordering::SeqCst) == 1 {
            // Only the notification is wanted. A closed loop needs none.
            let _ = self.inbox.post(self.epoch, SendFn::new(|| ()));
        }
    }
}
