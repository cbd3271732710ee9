//! Types that the poller can register: mio's own sources, and types that stand for one of them.
//!
//! mio asks a source for three functions. A type that is one of several sockets, or has only a descriptor, would repeat
//! itself in each. Here it says once which source stands for it. Changing a registration is never needed: a loop
//! registers for both directions once.

use std::io;

use mio::event::Source;

/// A function that is called with a source.
pub(crate) type Act<'a> = &'a mut dyn FnMut(&mut dyn Source) -> io::Result<()>;

/// A type that a loop can register.
pub(crate) trait Pollable {
    /// Calls `act` with the source that stands for this type, and returns its result.
    fn by_source(&mut self, act: Act<'_>) -> io::Result<()>;
}

impl<S: Source> Pollable for S {
    fn by_source(&mut self, act: Act<'_>) -> io::Result<()> {
        act(self)
    }
}
