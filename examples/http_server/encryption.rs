//! `--tls`: the connections are encrypted, with a certificate made on the spot, or with `--cert` and `--key` from files.

use std::error::Error;

use callsoon::tls::rustls::pki_types::pem::PemObject;
use callsoon::tls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use callsoon::tls::rustls::{ClientConfig, RootCertStore, ServerConfig};
use callsoon::tls::{ClientContext, ServerContext};

/// What the server proves itself with, and a client that trusts it.
pub(crate) type Contexts = (ServerContext, ClientContext);

/// Takes `name` out of the arguments, with the value behind it.
fn take(arguments: &mut Vec<String>, name: &str) -> Option<String> {
    let at = arguments.iter().position(|one| one == name)?;
    arguments.remove(at);
    Some(if at < arguments.len() {
        arguments.remove(at)
    } else {
        String::new()
    })
}

/// Takes what is about encryption out of the arguments. `None` if nothing is.
pub(crate) fn asked_for(arguments: &mut Vec<String>) -> Result<Option<Contexts>, Box<dyn Error>> {
    let files = (take(arguments, "--cert"), take(arguments, "--key"));
    let count = arguments.len();
    arguments.retain(|one| one != "--tls");
    match files {
        (Some(chain), Some(key)) => {
            let chain = CertificateDer::pem_file_iter(&chain)
                .and_then(Iterator::collect)
                .map_err(|error| format!("--cert {chain}: {error}"))?;
            let key = PrivateKeyDer::from_pem_file(&key)
                .map_err(|error| format!("--key {key}: {error}"))?;
            contexts(chain, key).map(Some)
        }
        (None, None) if arguments.len() < count => {
            let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()])?;
            let key = PrivateKeyDer::try_from(made.signing_key.serialize_der())?;
            contexts(vec![made.cert.der().clone()], key).map(Some)
        }
        (None, None) => Ok(None),
        _ => Err("--cert FILE and --key FILE go together".into()),
    }
}

fn contexts(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> Result<Contexts, Box<dyn Error>> {
    let mut roots = RootCertStore::empty();
    roots.add(chain.last().ok_or("no certificate")?.clone())?;
    let server = ServerConfig::builder().with_no_client_auth();
    let server = server.with_single_cert(chain, key)?;
    let client = ClientConfig::builder().with_root_certificates(roots);
    Ok((server.into(), client.with_no_client_auth().into()))
}
