//! Certificates for tests of TLS, made once in a process, and what rustls needs of them.

use std::sync::{Arc, OnceLock};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose, date_time_ymd,
};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig, SupportedProtocolVersion};

/// A certificate and its key, for rustls and for programs that read files.
pub(crate) struct Identity {
    pub(crate) certificate: CertificateDer<'static>,
    key: PrivateKeyDer<'static>,
    pub(crate) certificate_pem: String,
    pub(crate) key_pem: String,
}

impl Identity {
    pub(crate) fn key(&self) -> PrivateKeyDer<'static> {
        self.key.clone_key()
    }
}

/// Everything that a test may present to the other side.
pub(crate) struct Certificates {
    authority: CertificateDer<'static>,
    pub(crate) authority_pem: String,
    /// For `localhost` and `127.0.0.1`.
    pub(crate) server: Identity,
    /// The same, and out of date for years.
    pub(crate) expired: Identity,
    /// For another host.
    pub(crate) elsewhere: Identity,
    /// For `localhost`, by an authority that nobody trusts.
    pub(crate) untrusted: Identity,
    /// A client's.
    pub(crate) client: Identity,
}

/// Returns the certificates of this process.
pub(crate) fn certificates() -> &'static Certificates {
    static MADE: OnceLock<Certificates> = OnceLock::new();
    MADE.get_or_init(Certificates::make)
}

type Authority = CertifiedIssuer<'static, KeyPair>;

fn authority(name: &str) -> Authority {
    let mut params = named(name, &[]);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    Authority::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

fn named(name: &str, hosts: &[&str]) -> CertificateParams {
    let hosts: Vec<_> = hosts.iter().map(|host| (*host).to_owned()).collect();
    let mut params = CertificateParams::new(hosts).unwrap();
    params.distinguished_name.push(DnType::CommonName, name);
    params.not_before = date_time_ymd(2020, 1, 1);
    params.not_after = date_time_ymd(2120, 1, 1);
    params
}

fn signed(mut params: CertificateParams, authority: &Authority) -> Identity {
    params.use_authority_key_identifier_extension = true;
    params.extended_key_usages = vec![
        ExtendedKeyUsagePurpose::ServerAuth,
        ExtendedKeyUsagePurpose::ClientAuth,
    ];
    let key = KeyPair::generate().unwrap();
    let certificate = params.signed_by(&key, authority).unwrap();
    Identity {
        certificate: certificate.der().clone(),
        key: PrivateKeyDer::try_from(key.serialize_der()).unwrap(),
        certificate_pem: certificate.pem(),
        key_pem: key.serialize_pem(),
    }
}

impl Certificates {
    fn make() -> Self {
        const HOSTS: [&str; 2] = ["localhost", "127.0.0.1"];
        let trusted = authority("callsoon tests");
        let mut expired = named("expired", &HOSTS);
        expired.not_after = date_time_ymd(2021, 1, 1);
        Self {
            authority: trusted.der().clone(),
            authority_pem: trusted.pem(),
            server: signed(named("server", &HOSTS), &trusted),
            expired: signed(expired, &trusted),
            elsewhere: signed(named("elsewhere", &["elsewhere.example"]), &trusted),
            untrusted: signed(named("untrusted", &HOSTS), &authority("nobody")),
            client: signed(named("client", &["client.example"]), &trusted),
        }
    }

    fn roots(&self) -> RootCertStore {
        let mut roots = RootCertStore::empty();
        roots.add(self.authority.clone()).unwrap();
        roots
    }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// Returns the configuration of a client that trusts the authority, for some versions of TLS.
pub(crate) fn client_config_of(versions: &[&'static SupportedProtocolVersion]) -> ClientConfig {
    ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(versions)
        .unwrap()
        .with_root_certificates(certificates().roots())
        .with_no_client_auth()
}

/// Returns the configuration of a client that trusts the authority.
pub(crate) fn client_config() -> ClientConfig {
    client_config_of(rustls::ALL_VERSIONS)
}

/// Returns the configuration of a client that presents a certificate.
pub(crate) fn client_config_with(identity: &Identity) -> ClientConfig {
    ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(rustls::ALL_VERSIONS)
        .unwrap()
        .with_root_certificates(certificates().roots())
        .with_client_auth_cert(vec![identity.certificate.clone()], identity.key())
        .unwrap()
}

/// Returns the configuration of a server that presents a certificate and asks for none.
pub(crate) fn server_config_with(identity: &Identity) -> ServerConfig {
    ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(rustls::ALL_VERSIONS)
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![identity.certificate.clone()], identity.key())
        .unwrap()
}

/// Returns the configuration of the usual server.
pub(crate) fn server_config() -> ServerConfig {
    server_config_with(&certificates().server)
}

/// Returns the configuration of a server that wants a certificate of its clients.
pub(crate) fn server_config_for_known_clients() -> ServerConfig {
    let certificates = certificates();
    let roots = Arc::new(certificates.roots());
    let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider());
    let identity = &certificates.server;
    ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(rustls::ALL_VERSIONS)
        .unwrap()
        .with_client_cert_verifier(verifier.build().unwrap())
        .with_single_cert(vec![identity.certificate.clone()], identity.key())
        .unwrap()
}
