//! The layer that a connection has: the plain one, or the one that encrypts.
//!
//! `connection.rs` and the code above it see neither of them, but [`AnyLayer`]. Without the feature `tls` no value of the
//! one that encrypts exists, so that `AnyLayer` is laid out as [`Plain`] and every branch below is decided at compile time.

use std::io::{self, IoSlice};

use crate::error::LoopClosed;
use crate::kernel::io::readiness::Readiness;
use crate::kernel::io::source::Io;
use crate::socket::stream_socket::StreamSocket;
use crate::transport::layer::{Layer, Plain, Received};
use crate::transport::tls::encrypted::{BoxedEncrypted, Encrypted, LeftBehind};

/// The layer of every connection.
pub(crate) enum AnyLayer {
    Plain(Plain),
    Encrypted(BoxedEncrypted),
}

/// Where a connection keeps its layer. What an encrypted one leaves behind takes the room that its layer had, so that no
/// connection is larger for it.
pub(crate) enum LayerPlace {
    There(AnyLayer),
    /// The connection has closed, or has never had a socket.
    Gone(LeftBehind),
}

const _: () = assert!(size_of::<LayerPlace>() == size_of::<AnyLayer>());

impl LayerPlace {
    #[inline]
    pub(crate) fn there(&self) -> Option<&AnyLayer> {
        match self {
            Self::There(layer) => Some(layer),
            Self::Gone(_) => None,
        }
    }

    /// Takes the layer out, and keeps what is to be known of it later.
    pub(crate) fn vacate(&mut self) -> Option<AnyLayer> {
        match std::mem::replace(self, Self::Gone(LeftBehind::default())) {
            Self::There(layer) => {
                let left = layer.encrypted().map(Encrypted::left_behind);
                *self = Self::Gone(left.unwrap_or_default());
                Some(layer)
            }
            gone @ Self::Gone(_) => {
                *self = gone;
                None
            }
        }
    }
}

impl From<Option<AnyLayer>> for LayerPlace {
    fn from(layer: Option<AnyLayer>) -> Self {
        layer.map_or_else(|| Self::Gone(LeftBehind::default()), Self::There)
    }
}

impl From<Io<StreamSocket>> for AnyLayer {
    fn from(io: Io<StreamSocket>) -> Self {
        Self::Plain(io.into())
    }
}

impl AnyLayer {
    /// Returns the layer that encrypts, if it is that.
    #[inline]
    pub(crate) fn encrypted(&self) -> Option<&Encrypted> {
        match self {
            Self::Plain(_) => None,
            Self::Encrypted(layer) => Some(layer),
        }
    }
}

impl Layer for AnyLayer {
    #[inline]
    fn io(&self) -> &Io<StreamSocket> {
        match self {
            Self::Plain(layer) => layer.io(),
            Self::Encrypted(layer) => layer.io(),
        }
    }

    #[inline(always)]
    fn may_receive_or(&self, otherwise: impl FnOnce(&mut Readiness)) -> Result<bool, LoopClosed> {
        match self {
            Self::Plain(layer) => layer.may_receive_or(otherwise),
            Self::Encrypted(layer) => layer.may_receive_or(otherwise),
        }
    }

    #[inline(always)]
    fn receive(&self, buffer: &mut [u8]) -> Received {
        match self {
            Self::Plain(layer) => layer.receive(buffer),
            Self::Encrypted(layer) => layer.receive(buffer),
        }
    }

    #[inline]
    fn send(&self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(layer) => layer.send(bytes),
            Self::Encrypted(layer) => layer.send(bytes),
        }
    }

    fn send_vectored(&self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        match self {
            Self::Plain(layer) => layer.send_vectored(pieces),
            Self::Encrypted(layer) => layer.send_vectored(pieces),
        }
    }

    #[inline]
    fn has_unsent(&self) -> bool {
        match self {
            Self::Plain(_) => false,
            Self::Encrypted(layer) => layer.has_unsent(),
        }
    }

    #[inline]
    fn flush(&self) -> io::Result<()> {
        match self {
            Self::Plain(_) => Ok(()),
            Self::Encrypted(layer) => layer.flush(),
        }
    }

    fn end_writing(&self) {
        match self {
            Self::Plain(layer) => layer.end_writing(),
            Self::Encrypted(layer) => layer.end_writing(),
        }
    }

    fn unread(&self) -> usize {
        match self {
            Self::Plain(layer) => layer.unread(),
            Self::Encrypted(layer) => layer.unread(),
        }
    }
}
