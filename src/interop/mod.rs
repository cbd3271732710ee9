//! The traits of other crates, for the types of this one: each behind a feature of its own, off by default.
//!
//! A crate that knows no runtime asks for traits instead: for bytes, for timers, for new tasks. Nothing here does more
//! than translate. The traits for bytes and items call the poll functions that the types have without any feature, so
//! nothing is boxed. Every type here may be moved at any time, so a pinned reference is as good as a plain one.

#[cfg(feature = "futures")]
mod futures_bytes;
#[cfg(feature = "futures")]
mod futures_fused;
#[cfg(feature = "futures")]
mod futures_items;
#[cfg(feature = "hyper")]
#[cfg_attr(docsrs, doc(cfg(feature = "hyper")))]
pub mod hyper;
#[cfg(feature = "tokio-io")]
mod tokio_io;
