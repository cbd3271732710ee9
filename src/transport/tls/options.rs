//! How a connection is to be encrypted: contexts, the name that the peer has to prove, and timeouts.
//!
//! What makes no sense, such as a name without a context, is an error when the call is awaited, as a host that is not found
//! is.

use std::io;
use std::net::IpAddr;
use std::time::Duration;

use rustls::pki_types::ServerName;

use crate::error::invalid_input;
use crate::socket::connect_to::{ConnectTo, Destination};
use crate::socket::dns::Target;
use crate::transport::tls::context::Context;
use crate::transport::tls::handshake::Timeouts;
use crate::transport::tls::session::Session;

/// asyncio's figures.
const HANDSHAKE: Duration = Duration::from_secs(60);
const SHUTDOWN: Duration = Duration::from_secs(30);

/// What a program has asked for. One word where it has asked for nothing, since whatever connects carries it about.
#[derive(Default, Debug)]
pub(crate) struct TlsOptions(Option<Box<Asked>>);

impl TlsOptions {
    /// Returns what is asked for, to be changed.
    pub(crate) fn ask(&mut self) -> &mut Asked {
        self.0.get_or_insert_default()
    }

    /// Returns the context and the timeouts, if there is to be TLS.
    ///
    /// # Errors
    /// `InvalidInput` for options of TLS without a context, and for a server that accepts early data, which would be lost.
    #[inline]
    pub(crate) fn check(&self) -> io::Result<Option<(&Context, Timeouts)>> {
        match &self.0 {
            Some(asked) => asked.check(),
            None => Ok(None),
        }
    }

    /// Makes the session of a connection, if there is to be TLS. A client's checks the name of `to` unless another one is
    /// given.
    #[inline]
    pub(crate) fn session(
        &self,
        to: Option<&ConnectTo>,
    ) -> io::Result<Option<(Box<Session>, Timeouts)>> {
        match &self.0 {
            Some(asked) => asked.session(to),
            None => Ok(None),
        }
    }
}

/// The options.
#[derive(Default, Debug)]
pub(crate) struct Asked {
    pub(crate) context: Option<Context>,
    pub(crate) server_hostname: Option<String>,
    pub(crate) handshake_timeout: Option<Duration>,
    pub(crate) shutdown_timeout: Option<Duration>,
}

impl Asked {
    /// Returns the two timeouts.
    ///
    /// # Errors
    /// `InvalidInput` for one of zero.
    fn timeouts(&self) -> io::Result<Timeouts> {
        let handshake = self.handshake_timeout.unwrap_or(HANDSHAKE);
        let shutdown = self.shutdown_timeout.unwrap_or(SHUTDOWN);
        if handshake.is_zero() || shutdown.is_zero() {
            return Err(invalid_input("a timeout of TLS must be longer than zero"));
        }
        let timeouts = Timeouts {
            handshake,
            shutdown,
        };
        Ok(timeouts)
    }

    fn check(&self) -> io::Result<Option<(&Context, Timeouts)>> {
        let timeouts = self.timeouts()?;
        if let Some(context) = &self.context {
            let early =
                matches!(context, Context::Server(server) if server.config.max_early_data_size > 0);
            if early {
                let why = "max_early_data_size is not zero, and nobody reads early data";
                return Err(invalid_input(why));
            }
            return Ok(Some((context, timeouts)));
        }
        let alone = self.handshake_timeout.or(self.shutdown_timeout).is_some();
        if alone || self.server_hostname.is_some() {
            return Err(invalid_input("an option of TLS needs a context: see ssl"));
        }
        Ok(None)
    }

    fn session(&self, to: Option<&ConnectTo>) -> io::Result<Option<(Box<Session>, Timeouts)>> {
        let Some((context, timeouts)) = self.check()? else {
            return Ok(None);
        };
        let session = match context {
            Context::Client(client) => Session::client(&client.config, self.server_name(to)?)?,
            Context::Server(server) if self.server_hostname.is_none() => {
                Session::server(&server.config)?
            }
            Context::Server(_) => {
                let why = "a server has no server_hostname: its certificates have the names";
                return Err(invalid_input(why));
            }
        };
        Ok(Some((Box::new(session), timeouts)))
    }

    fn server_name(&self, to: Option<&ConnectTo>) -> io::Result<ServerName<'static>> {
        if let Some(name) = &self.server_hostname {
            return parse(name);
        }
        match to.map(|to| &to.0) {
            Some(Destination::Named(Ok(Target::Host(host, _)))) => parse(host),
            Some(Destination::Named(Ok(Target::Address(address)))) => Ok(address.ip().into()),
            // The text names no place, which connecting says better.
            Some(Destination::Named(Err(_))) => Ok(IpAddr::from([0; 4]).into()),
            _ => {
                let why =
                    "there is no host whose name the certificate could prove: set server_hostname";
                Err(invalid_input(why))
            }
        }
    }
}

/// Reads the name of a server, or its address, which may have a zone.
fn parse(host: &str) -> io::Result<ServerName<'static>> {
    let without_zone = host.split_once('%').map_or(host, |(address, _)| address);
    if let Ok(address) = without_zone.parse::<IpAddr>() {
        return Ok(address.into());
    }
    ServerName::try_from(host.to_owned()).map_err(|error| {
        let why = format!("{} is no server_hostname: {error}", host.escape_debug());
        io::Error::new(io::ErrorKind::InvalidInput, why)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_addresses_are_told_apart() {
        let is_address = |host| matches!(parse(host), Ok(ServerName::IpAddress(_)));
        assert!(is_address("127.0.0.1") && is_address("::1") && is_address("fe80::1%eth0"));
        let is_name = |host| matches!(parse(host), Ok(ServerName::DnsName(_)));
        assert!(is_name("localhost") && is_name("example.com.") && is_name("a_b.example"));
        for host in ["", "two words", "naïve.example", "a%b", ".", "nul\0"] {
            assert_eq!(parse(host).unwrap_err().kind(), io::ErrorKind::InvalidInput);
        }
    }
}
