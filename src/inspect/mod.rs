//! Inspection of a loop at run time.
//!
//! These modules read the kernel's counters and change nothing. A loop that nobody inspects pays for one addition a turn.

pub(crate) mod call_graph;
pub(crate) mod edges;
pub(crate) mod json;
pub(crate) mod metrics;
pub(crate) mod snapshot;
pub(crate) mod task_info;
