//! What a connection is a member of: the server that accepted it, which has to hear of its end.

use std::rc::Rc;

/// Keeps a list of connections.
pub(crate) trait Members {
    /// The member with this number is gone.
    fn left(self: Rc<Self>, number: usize);
}

/// A place in such a list.
pub(crate) struct Membership {
    pub(crate) of: Rc<dyn Members>,
    pub(crate) number: usize,
}

impl Membership {
    pub(crate) fn end(self) {
        self.of.left(self.number);
    }
}
