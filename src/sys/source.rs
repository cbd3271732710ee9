//! What the poller can watch: mio's own sources, and what stands for one of them.
//!
//! mio asks a source for three ways of registering. A type that is one of several sockets, or has only a descriptor, would
//! say the same thing in each; here it says once which source it goes by. Changing a place in the set is not among what
//! is asked: a loop registers for both directions and leaves it at that.

use std::io;

use mio::event::Source;

/// What is done with a source.
pub(crate) type Act<'a> = &'a mut dyn FnMut(&mut dyn Source) -> io::Result<()>;

/// What a loop can watch.
pub trait Pollable {
    /// Does something with the source that the poller knows this by, and gives what came of it.
    fn by_source(&mut self, act: Act<'_>) -> io::Result<()>;
}

impl<S: Source> Pollable for S {
    fn by_source(&mut self, act: Act<'_>) -> io::Result<()> {
        act(self)
    }
}
