//! Pages to read, in the documentation alone: nothing here is compiled into a program.
//!
//! - [`differences`]: every deviation from asyncio, in one table, with its reason.
//! - [`changelog`]: what changed in each version.
//! - [`tokio_beside`]: crates of tokio's ecosystem, with and without tokio's runtime.

pub mod changelog;
pub mod differences;
pub mod tokio_beside;
