//! What stands for `tls/` without the feature `tls`: a layer that no connection has, and options that ask for nothing.
//!
//! It has the names that the code outside `tls/` uses, so that this code is the same with the feature and without it, and
//! `transport/mod.rs` alone chooses. The types have no values, or take no room. The compiler therefore drops each branch
//! that handles an encrypted connection, and a connection is as large as if there were no such branch.

pub(crate) mod never_encrypted;
pub(crate) mod never_shaken;

pub(crate) use never_encrypted::{self as encrypted, self as error};
pub(crate) use never_shaken::{self as handshake, self as options};
