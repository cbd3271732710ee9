//! Waiting for a time, once or periodically, and timeouts.
//!
//! Everything here uses the loop's clock, real or virtual, and is one timer in its wheel. A timer is never early, and
//! one for a time that the clock cannot hold never fires.
//!
//! A timer that nobody awaits costs 64 bytes until its time, and then one callback: `call_later` whose handle is dropped.
//! A [`Sleep`] holds 32 bytes where it is stored. It has a timer from its first poll until its time or its drop, so one
//! that is dropped unpolled has cost the loop nothing.

pub(crate) mod interval;
mod region;
pub(crate) mod sleep;
pub(crate) mod timeout;

pub use interval::{Interval, MissedTickBehavior, interval, interval_at};
pub use region::TimeoutState;
pub use sleep::{Sleep, sleep, sleep_until, sleep_with};
pub use timeout::{Timeout, move_on_after, timeout, timeout_at, wait_for};
