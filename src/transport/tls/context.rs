//! What a program decides about TLS: rustls's configurations, for either side.

use std::fmt;
use std::sync::Arc;

use rustls::{ClientConfig, ServerConfig};

/// How a client does TLS: [`rustls::ClientConfig`], shared by all its connections. asyncio's `SSLContext`.
///
/// Sessions are resumed among the connections of one context, and of its clones.
///
/// ```
/// use callsoon::tls::{ClientContext, rustls};
/// let provider = rustls::crypto::ring::default_provider();
/// let config = rustls::ClientConfig::builder_with_provider(provider.into())
///     .with_safe_default_protocol_versions()?
///     .with_root_certificates(rustls::RootCertStore::empty())
///     .with_no_client_auth();
/// let context = ClientContext::from(config);
/// # Ok::<(), rustls::Error>(())
/// ```
#[derive(Clone)]
pub struct ClientContext {
    pub(crate) config: Arc<ClientConfig>,
}

impl ClientContext {
    /// Trusts what this system trusts, checks names, and shows no certificate of its own.
    ///
    /// The certificates are read from disk, so make one context and clone it.
    ///
    /// # Errors
    /// `Unsupported` if the program has not chosen a provider of cryptography, by
    /// [`install_default`](rustls::crypto::CryptoProvider::install_default). `NotFound` if no certificate can be read.
    ///
    /// ```no_run
    /// # use callsoon::tls::{ClientContext, rustls};
    /// rustls::crypto::ring::default_provider().install_default().unwrap();
    /// let context = ClientContext::native_roots()?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[cfg(feature = "tls-native-roots")]
    #[cfg_attr(docsrs, doc(cfg(feature = "tls-native-roots")))]
    pub fn native_roots() -> std::io::Result<Self> {
        use std::io::{Error, ErrorKind};

        let Some(provider) = rustls::crypto::CryptoProvider::get_default() else {
            let why =
                "no provider of cryptography is installed: see CryptoProvider::install_default";
            return Err(Error::new(ErrorKind::Unsupported, why));
        };
        let found = rustls_native_certs::load_native_certs();
        let mut roots = rustls::RootCertStore::empty();
        // Systems have certificates of odd forms, which no chain needs.
        let _ = roots.add_parsable_certificates(found.certs);
        if roots.is_empty() {
            let why = match found.errors.into_iter().next() {
                Some(error) => error.to_string(),
                None => "this system has no certificates that it trusts".to_owned(),
            };
            return Err(Error::new(ErrorKind::NotFound, why));
        }
        let builder = ClientConfig::builder_with_provider(Arc::clone(provider));
        let builder = builder.with_safe_default_protocol_versions();
        let builder = builder.map_err(crate::transport::tls::error::tls_error)?;
        let config = builder.with_root_certificates(roots).with_no_client_auth();
        Ok(config.into())
    }
}

/// How a server does TLS: [`rustls::ServerConfig`], shared by all its connections. asyncio's `SSLContext`.
///
/// Early data, which can be replayed, is not read. So a configuration that accepts some is an error of kind `InvalidInput`
/// wherever it is used.
///
/// ```
/// use callsoon::tls::{ServerContext, rustls};
/// fn context(config: rustls::ServerConfig) -> ServerContext {
///     ServerContext::from(config)
/// }
/// ```
#[derive(Clone)]
pub struct ServerContext {
    pub(crate) config: Arc<ServerConfig>,
}

/// Either side, for [`start_tls`](crate::LoopHandle::start_tls).
///
/// ```
/// use callsoon::tls::{Context, ServerContext};
/// fn of_server(context: ServerContext) -> Context {
///     context.into()
/// }
/// ```
#[derive(Clone, Debug)]
pub enum Context {
    /// This side begins the handshake and checks the other one's name.
    Client(ClientContext),
    /// This side answers.
    Server(ServerContext),
}

impl From<Arc<ClientConfig>> for ClientContext {
    fn from(config: Arc<ClientConfig>) -> Self {
        Self { config }
    }
}

impl From<ClientConfig> for ClientContext {
    fn from(config: ClientConfig) -> Self {
        Arc::new(config).into()
    }
}

impl From<Arc<ServerConfig>> for ServerContext {
    fn from(config: Arc<ServerConfig>) -> Self {
        Self { config }
    }
}

impl From<ServerConfig> for ServerContext {
    fn from(config: ServerConfig) -> Self {
        Arc::new(config).into()
    }
}

impl From<ClientContext> for Context {
    fn from(context: ClientContext) -> Self {
        Self::Client(context)
    }
}

impl From<ServerContext> for Context {
    fn from(context: ServerContext) -> Self {
        Self::Server(context)
    }
}

impl From<ClientConfig> for Context {
    fn from(config: ClientConfig) -> Self {
        Self::Client(config.into())
    }
}

impl From<Arc<ClientConfig>> for Context {
    fn from(config: Arc<ClientConfig>) -> Self {
        Self::Client(config.into())
    }
}

impl From<ServerConfig> for Context {
    fn from(config: ServerConfig) -> Self {
        Self::Server(config.into())
    }
}

impl From<Arc<ServerConfig>> for Context {
    fn from(config: Arc<ServerConfig>) -> Self {
        Self::Server(config.into())
    }
}

impl fmt::Debug for ClientContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientContext").finish_non_exhaustive()
    }
}

impl fmt::Debug for ServerContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerContext").finish_non_exhaustive()
    }
}
