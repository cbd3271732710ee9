//! What has to wait while a file goes out over a connection: who sends it, and what is written meanwhile.

use std::task::Waker;

use crate::transport::buffer::WriteBuffer;

/// A file's turn on a connection. The one who sends it is woken when the connection takes more, or is lost.
#[derive(Default)]
pub(crate) struct FileTurn {
    pub(crate) sender: Option<Waker>,
    /// What was written since the turn began; it goes behind the file.
    pub(crate) behind: WriteBuffer,
}
