//! Files, for servers: the few calls that a server makes, each in a thread of the default executor.
//!
//! No system tells when a disk is ready, so a call on a file can only be made in a thread. [`read`], [`read_to_string`],
//! [`write`](write()), [`metadata`], [`remove_file`], [`rename`] and [`create_dir_all`] are the functions of [`std::fs`]
//! with these names; a [`File`] is read and written at positions, or from its beginning to its end. For everything else
//! there is [`to_thread`](crate::to_thread) with [`std::fs`] inside. asyncio has no such module and says the same.
//!
//! A call costs a thread's wake and its answer, some microseconds. A file that is sent to a socket needs no thread:
//! [`sendfile`](crate::LoopHandle::sendfile). Standard input and output are of [`transport`](crate::transport), also where
//! they are files.
//!
//! # Cancellation
//! No system call can be stopped half-way. A call that is dropped before its thread has begun does nothing; later it goes
//! on in its thread, and its result is dropped. The loop's end waits for it, as for every job of the default executor.
//!
//! # Errors
//! An error of a call that names a path is an [`io::Error`](std::io::Error) of the same kind, whose inner error is a
//! [`PathError`]: it says what was tried with which path, and has the system's error with its code. Besides there are the
//! errors of the [executor](crate::ExecutorError), as `Other`.

mod call;
mod error;
pub(crate) mod file;
mod path;
mod seek;
mod sequential;

pub use error::PathError;
pub use file::File;
pub use path::{create_dir_all, metadata, read, read_to_string, remove_file, rename, write};
