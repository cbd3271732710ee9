//! Inspection of a loop at run time.
//!
//! These modules read the kernel's counters and change nothing. A loop that nobody inspects pays for one addition a turn.

pub(crate) mod metrics;
