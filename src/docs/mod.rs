//! Pages to read, in the documentation alone: nothing here is compiled into a program.
//!
//! - [`differences`]: every deviation from asyncio, in one table, with its reason.
//! - [`changelog`]: what changed in each version.

pub mod changelog;
pub mod differences;
