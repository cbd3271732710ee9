//! Signals as events: handlers that the loop calls, and streams that tasks await.
//!
//! ```text
//!   signal ─► handler in `sys/signal`: count, ring ─► bell ─► reactor ─► waker ─► hear
//!                                                                                 │
//!                     for each listener whose count has changed:                  ▼
//!                     a handler's callback is queued, a stream's task is woken
//! ```
//! A callback runs in the loop like any other, never in signal context, so it may do anything. Each loop compares the
//! process's counters with what it knows, so a signal reaches every loop that listens for it, on whichever thread the
//! system delivered it. A burst of one kind may be one event; a kind is never lost.
//!
//! The bell is watched by no task but in the background. It is registered for a loop's first listener and then stays; a
//! loop without listeners has none of this.
//!
//! Three deviations from asyncio: any thread's loop may listen, several loops may for the same signal, and what is put
//! back in the end is the disposition from before, not the default one.

pub(crate) mod error;
pub(crate) mod interrupts;
pub(crate) mod listeners;
pub(crate) mod stream;

pub use error::SignalError;
pub use stream::{Signal, ctrl_c, signal};
