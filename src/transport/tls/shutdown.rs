//! The end of an encrypted connection: close_notify to the peer, and the wait for the peer's.
//!
//! A connection that closes sends what is buffered first. Then its layer sends the close_notify, and the connection is lost
//! when the peer's has come, or the peer has closed its socket. What the peer sends until then is dropped. The wait is
//! bounded: a timer fires after the time of the option `ssl_shutdown_timeout`, and unless the socket has taken something
//! since the last time, the connection is lost to `TimedOut`.

use std::io;
use std::rc::Rc;

use crate::kernel::enter::Failed;
use crate::transport::connection::State;
use crate::transport::layer::Layer as _;
use crate::transport::protocol::Transport;
use crate::transport::tls::encrypted::Encrypted;
use crate::transport::tls::error::panicked;

/// What says that the peer has closed, and nothing worse: it need not answer a close_notify, nor read it.
const CLOSED: &[io::ErrorKind] = &[
    io::ErrorKind::BrokenPipe,
    io::ErrorKind::ConnectionAborted,
    io::ErrorKind::ConnectionReset,
    io::ErrorKind::UnexpectedEof,
];

impl Transport {
    /// Bounds the end of an encrypted connection that has begun to close. Does nothing if that is bounded already, as by a
    /// handshake that goes on.
    pub(crate) fn watch_shutdown(&self) {
        let connection = &self.connection;
        if !connection.is(State::Closing) {
            return;
        }
        let sent = connection.with_encrypted(|layer| {
            if layer.has_timer() {
                return None;
            }
            layer.io().set_writes(true);
            if layer.may_receive() {
                layer.io().queue();
            }
            Some(layer.sent.get())
        });
        if let Some(sent) = sent.flatten() {
            self.arm_shutdown(sent);
        }
    }

    fn arm_shutdown(&self, sent: u64) {
        let connection = &self.connection;
        let Some(timeout) = connection.with_encrypted(|layer| layer.shutdown_timeout) else {
            return;
        };
        if connection.handle.is_closed() {
            return;
        }
        let this = Rc::downgrade(connection);
        let expired = move || {
            if let Some(connection) = this.upgrade() {
                Self { connection }.shutdown_stands_still(sent);
            }
        };
        let deadline = connection.handle.state.clock.after(timeout);
        let (handle, location) = (&connection.handle, connection.location);
        let timer = handle.queue_timer(deadline, expired, location, "close");
        connection.with_encrypted(|layer| layer.set_timer(Some(timer)));
    }

    fn shutdown_stands_still(&self, before: u64) {
        let connection = &self.connection;
        match connection.with_encrypted(|layer| layer.sent.get()) {
            Some(sent) if sent != before => self.arm_shutdown(sent),
            _ => {
                let why = "the peer has not answered the close_notify of TLS";
                self.fail(io::Error::new(io::ErrorKind::TimedOut, why));
            }
        }
    }

    /// Goes on with the end of an encrypted connection, after an event.
    pub(crate) fn shutdown_ready(&self) {
        self.write_ready();
        let connection = &self.connection;
        if !connection.is(State::Closing) {
            return;
        }
        let discard = || connection.with_encrypted(Encrypted::discard).flatten();
        let failure = self.enter_session("TLS session", discard);
        let failure = failure.unwrap_or_else(|Failed| Some(panicked()));
        match failure {
            Some(error) if !CLOSED.contains(&error.kind()) => self.fail(error),
            _ => self.after_close(connection.finish_close(), None),
        }
    }
}
