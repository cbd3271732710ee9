//! Signals as events of the loop: handlers that it calls, and streams that tasks await.
//!
//! ```text
//!   signal ─► handler in `sys/signal`: counts it, and notifies ─► notifier ─► reactor ─► dispatch
//!                                                                                        │
//!                     for each listener whose count has changed:                         ▼
//!                     a handler's callback is queued, a stream's task is woken
//! ```
//! A callback runs in the loop like any other, never in signal context, so it may call anything. The counters belong to the
//! process, and each listener compares them with the count that it saw last. So a signal reaches every loop that listens
//! for it, on whichever thread the system delivered it. Several arrivals of one signal may be one event, but no signal is
//! lost.
//!
//! A background future watches the notifier, so no task does. It is created for a loop's first listener and stays until the
//! loop closes. A loop without listeners has neither a notifier nor a background future.
//!
//! | who | touches |
//! |---|---|
//! | the signal handler, on any thread | the counters and the notifier of `sys/signal`, nothing else |
//! | a loop | its own list of listeners; the counters, by reading |
//! | a registration | the disposition of its signal: set by the first one, restored by the last |

pub(crate) mod error;
pub(crate) mod interrupts;
pub(crate) mod listeners;
pub(crate) mod stream;

pub use error::SignalError;
pub use stream::{Signal, ctrl_c, signal};
