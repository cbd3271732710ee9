//! The handshake and its options, which ask for nothing without the feature `tls`. It stands for `tls/options.rs`,
//! `tls/handshake.rs` and `tls/shutdown.rs`.

use std::io;
use std::panic::Location;
use std::rc::Rc;

use crate::kernel::io::source::Io;
use crate::socket::address::Address;
use crate::socket::connect_to::ConnectTo;
use crate::socket::stream_socket::StreamSocket;
use crate::transport::any_layer::{AnyLayer, LayerPlace};
use crate::transport::buffer::WaterMarks;
use crate::transport::connection::{Connection, Pause};
use crate::transport::layer::{Plain, Received};
use crate::transport::protocol::{Protocol, Transport};
use crate::transport::tls::encrypted::{Encrypted, IsEncrypted};

/// A session that does not exist.
pub(crate) enum Session {}

/// Its timeouts.
#[derive(Clone, Copy)]
pub(crate) enum Timeouts {}

/// A connection that does not exist.
pub(crate) enum Unconnected {}

/// What a program can ask for: nothing.
#[derive(Default)]
pub(crate) struct TlsOptions {}

impl TlsOptions {
    pub(crate) fn check(&self) -> io::Result<()> {
        Ok(())
    }

    pub(crate) fn session(&self, _: Option<&ConnectTo>) -> io::Result<Option<(Session, Timeouts)>> {
        Ok(None)
    }
}

impl<P: ?Sized> Connection<P> {
    #[inline(always)]
    pub(crate) fn with_encrypted<R>(&self, _: impl FnOnce(&Encrypted) -> R) -> Option<R> {
        None
    }
}

impl Transport {
    pub(crate) fn encrypted(
        _: Io<StreamSocket>,
        session: Session,
        _: Timeouts,
        _: Option<Address>,
        _: &'static Location<'static>,
    ) -> io::Result<Self> {
        match session {}
    }

    pub(crate) fn begin_handshake(&self, timeouts: Timeouts, _: Box<dyn FnOnce(io::Result<()>)>) {
        match timeouts {}
    }

    #[inline(always)]
    pub(crate) fn session_ready(&self) -> bool {
        false
    }

    #[inline(always)]
    pub(crate) fn watch_shutdown(&self) {}

    #[inline(always)]
    pub(crate) fn enter_to_fetch(
        &self,
        receive: impl FnOnce() -> Option<Received>,
    ) -> Option<Received> {
        receive()
    }
}

impl Unconnected {
    pub(crate) async fn shaken(_: Transport, timeouts: Timeouts) -> io::Result<Self> {
        match timeouts {}
    }

    pub(crate) fn connect(self, _: Option<Rc<dyn Protocol>>) -> io::Result<Transport> {
        match self {}
    }
}

/// Names what a handshake alone uses of the code outside `tls/`, so that it is used in this form too.
const _: fn(Encrypted, &mut WaterMarks) -> (AnyLayer, Pause) = |layer, marks| {
    marks.raise();
    (AnyLayer::Encrypted(layer), Pause::ForHandshake)
};

// No connection pays for what it cannot have.
const _: () = {
    assert!(size_of::<IsEncrypted>() == 0 && size_of::<TlsOptions>() == 0);
    assert!(size_of::<LayerPlace>() == size_of::<Option<Plain>>());
};
