//! The layer that encrypts, which no connection has without the feature `tls`. It stands for `tls/encrypted.rs` and
//! `tls/error.rs`.

use std::io::{self, IoSlice};

use crate::error::LoopClosed;
use crate::kernel::io::readiness::Readiness;
use crate::kernel::io::source::Io;
use crate::socket::stream_socket::StreamSocket;
use crate::transport::layer::{Layer, Received};

/// A layer that does not exist.
pub(crate) enum Encrypted {}

/// No box: even a box of what does not exist would take room in the layer of every connection.
pub(crate) type BoxedEncrypted = Encrypted;

/// It leaves nothing behind, and that takes no room.
#[derive(Default)]
pub(crate) struct LeftBehind(());

impl Encrypted {
    pub(crate) fn left_behind(&self) -> LeftBehind {
        match *self {}
    }

    pub(crate) fn unsent(&self) -> usize {
        match *self {}
    }

    pub(crate) fn finish(&self) -> bool {
        match *self {}
    }
}

impl Layer for Encrypted {
    fn io(&self) -> &Io<StreamSocket> {
        match *self {}
    }

    fn may_receive_or(&self, _: impl FnOnce(&mut Readiness)) -> Result<bool, LoopClosed> {
        match *self {}
    }

    fn receive(&self, _: &mut [u8]) -> Received {
        match *self {}
    }

    fn send(&self, _: &[u8]) -> io::Result<usize> {
        match *self {}
    }

    fn send_vectored(&self, _: &[IoSlice<'_>]) -> io::Result<usize> {
        match *self {}
    }

    fn end_writing(&self) {
        match *self {}
    }

    fn unread(&self) -> usize {
        match *self {}
    }
}

/// Says of every connection that it is not encrypted, and takes no room in it.
pub(crate) struct IsEncrypted;

impl IsEncrypted {
    pub(crate) const fn new(_: bool) -> Self {
        Self
    }

    #[inline(always)]
    pub(crate) const fn get(&self) -> bool {
        false
    }
}

/// Returns an equal error, since an `io::Error` cannot be cloned.
pub(crate) fn copy_of(error: &io::Error) -> io::Error {
    match error.raw_os_error() {
        Some(code) => io::Error::from_raw_os_error(code),
        None => io::Error::new(error.kind(), error.to_string()),
    }
}
