//! Who is called, and not woken, when a source becomes ready.
//!
//! A waker stands for one wait and is used up by it. A transport waits for ever, so it registers itself once: its source's
//! events put the source's own key into the ready queue, one entry however many events come before it runs, and the turn
//! calls the watcher where that entry stands. So protocols keep to the same order as callbacks and tasks do, a message
//! costs no allocation and no task, and the watcher is entered with nothing borrowed.

use std::io;
use std::rc::Rc;

/// What a watched source calls. Both calls may enter foreign code and catch its panics themselves: a watcher knows what
/// a failure means for its connection, the turn does not.
pub(crate) trait Watch {
    /// The source's cached readiness may have changed, or [`Io::queue`](crate::kernel::io::Io::queue) asked for this
    /// call. It may be about either direction or about neither.
    fn ready(self: Rc<Self>);

    /// [`ready`](Self::ready) panicked, in the crate's own code or in a dependency: the watcher ends its connection because
    /// of `error`. The panic was reported.
    fn panicked(self: Rc<Self>, error: io::Error);

    /// The loop closes. The source is gone from the reactor and no call follows: the watcher lets go of everything, its
    /// descriptor first, so that whoever still holds the watcher keeps nothing else alive.
    fn abandon(self: Rc<Self>);
}
