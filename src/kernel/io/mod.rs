//! Sources and descriptors: from the system's poller to waiting tasks, observers and callbacks.
//!
//! ```text
//!   mio event ─► reactor ─► readiness ─► wakers of tasks            (operations on a source)
//!                   │            └─────► the source's observer      (transports: one queue entry however many events)
//!                   └──► fd_table ─────► callbacks of descriptors   (add_reader, add_writer: level-triggered)
//! ```
//! - `readiness`: the cached readiness of one source, and the waiters of each direction.
//! - `fd_table`: descriptors that belong to the user, with their callbacks and waiters.
//! - `source_key`: names of sources.
//! - `reactor`: mio's poller, the slab of sources, and tokens with generations.
//! - `source`: [`Io`](source::Io), the one owner of a registered source, its observer, and operations on it.
//! - `call_observer`: calling an observer, and ending its connection if it panics.
//! - `fd_ops`: `add_reader` and its siblings, and operations on descriptors that the user keeps.

pub(crate) mod call_observer;
pub(crate) mod fd_ops;
pub(crate) mod fd_table;
pub(crate) mod reactor;
pub(crate) mod readiness;
pub(crate) mod source;
pub(crate) mod source_key;
mod waiting;
