//! Inspection of a loop at run time.
//!
//! `metrics` reads the kernel's numbers and changes nothing: a loop that nobody inspects pays for one addition a batch.
//! `histogram` and `latencies` are data, which the kernel fills if the builder asks for that. They use nothing of the
//! kernel, so they are before it in the order of modules.

pub(crate) mod histogram;
pub(crate) mod latencies;
pub(crate) mod metrics;
