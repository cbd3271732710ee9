//! What works on every byte stream, whatever it reads or writes: it stands on [`PollRead`](crate::PollRead),
//! [`PollBufRead`](crate::PollBufRead) and [`PollWrite`](crate::PollWrite) alone.
//!
//! [`copy()`] and [`copy_bidirectional()`] take bytes from one stream to another, [`lines()`] cuts a stream into lines.

mod copy;
mod copy_bidirectional;
pub(crate) mod lines;

pub use copy::{Copying, copy};
pub use copy_bidirectional::{CopyingBidirectional, copy_bidirectional};
pub use lines::{Lines, lines};
