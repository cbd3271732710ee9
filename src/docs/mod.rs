//! Pages to read, in the documentation alone: nothing here is compiled into a program.
//!
//! - [`differences`]: every deviation from asyncio, in one table, with its reason.
//! - [`from_tokio`]: what each part of tokio is called here, and where the rules differ.
//! - [`changelog`]: what changed in each version.
//! - [`events`]: what is said through `tracing`, or on standard error.
//! - [`tokio_beside`]: crates of tokio's ecosystem, with and without tokio's runtime.
//! - [`tutorials`]: the programs of asyncio's tutorials, and which example each is.

pub mod changelog;
pub mod differences;
pub mod events;
pub mod from_tokio;
pub mod tokio_beside;
pub mod tutorials;
