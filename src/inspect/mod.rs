//! Looking into a loop.
//!
//! What is here reads the kernel's counters and changes nothing; a loop that nobody looks into pays one addition a turn.

pub(crate) mod metrics;
