//! Adapters between the loop and the traits of other crates, each behind a feature that is off by default.
//!
//! A crate that knows no runtime asks for traits instead: for bytes, for timers, for new tasks. Each folder here
//! answers for one such crate, and is named after it. Nothing here does more than translate: the work is in the
//! modules that everybody uses.

#[cfg(feature = "hyper")]
#[cfg_attr(docsrs, doc(cfg(feature = "hyper")))]
pub mod hyper;
