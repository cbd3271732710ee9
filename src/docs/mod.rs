//! Pages to read, in the documentation alone: nothing here is compiled into a program.
//!
//! - [`guide`]: tasks, cancellation, waiting for several things, I/O, threads, testing, debugging.
//! - [`differences`]: every deviation from asyncio, in one table, with its reason.
//! - [`from_tokio`]: what each part of tokio is called here, and where the rules differ.
//! - [`changelog`]: what changed in each version.
//! - [`errors`]: every type of error, when it comes, and what it converts into.
//! - [`events`]: what is said through `tracing`, or on standard error.
//! - [`system_errors`]: what follows each error that a system call may give, and the test of it.
//! - [`security`]: what a peer can make a program hold, and who can reach what.
//! - [`tokio_beside`]: crates of tokio's ecosystem, with and without tokio's runtime.
//! - [`modules`]: for those who change the crate: where everything is, and in which order.
//! - [`tutorials`]: the programs of asyncio's tutorials, and which example each is.

pub mod changelog;
pub mod differences;
pub mod errors;
pub mod events;
pub mod from_tokio;
pub mod guide;
pub mod modules;
pub mod security;
pub mod system_errors;
pub mod tokio_beside;
pub mod tutorials;
