//! The protocol of one side of a forwarded connection: what it receives it writes to the transport of the other side.

use std::cell::Cell;
use std::io;
use std::rc::Rc;

use callsoon::transport::{Protocol, Transport};

pub(crate) struct Side {
    other: Transport,
    /// Whether one of the two sides has sent its end. Both share it.
    half_closed: Rc<Cell<bool>>,
}

impl Side {
    pub(crate) fn new(other: &Transport, half_closed: &Rc<Cell<bool>>) -> Self {
        Self {
            other: other.clone(),
            half_closed: Rc::clone(half_closed),
        }
    }
}

impl Protocol for Side {
    fn data_received(&self, _: &Transport, data: &[u8]) {
        self.other.write(data);
    }

    /// Returns whether the transport stays open: it does until the second side ends, too.
    fn eof_received(&self, _: &Transport) -> bool {
        self.other.write_eof();
        let is_second = self.half_closed.replace(true);
        !is_second
    }

    fn connection_lost(&self, _: &Transport, _: Option<io::Error>) {
        self.other.close();
    }

    /// This side's write buffer is full: the other side must not be read.
    fn pause_writing(&self, _: &Transport) {
        self.other.pause_reading();
    }

    fn resume_writing(&self, _: &Transport) {
        self.other.resume_reading();
    }
}
