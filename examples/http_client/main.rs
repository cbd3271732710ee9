//! An HTTPS client that streams: the body is counted piece by piece as it comes, and is never whole in memory.
//!
//! ```text
//! $ cargo run --example http_client --features hyper,tls-native-roots
//! 200 OK from https://localhost:35223/
//! 2 MiB of 8 MiB
//! 4 MiB of 8 MiB
//! 6 MiB of 8 MiB
//! 8 MiB of 8 MiB
//! 8388608 bytes
//! $ cargo run --example http_client --features hyper,tls-native-roots -- https://example.org/
//! ```

use std::error::Error;
use std::time::Duration;

use callsoon::timeout;
use callsoon::tls::{ClientContext, rustls};

mod big_page;
#[path = "../common/command_line.rs"]
mod command_line;
mod streamed;

fn main() -> Result<(), Box<dyn Error>> {
    let argument = command_line::arguments!("[URL]").pop();
    let chosen = rustls::crypto::ring::default_provider().install_default();
    chosen.map_err(|_| "another provider of cryptography is installed")?;
    callsoon::run(async {
        let (_server, url, trusting) = match argument {
            Some(url) => (None, url.parse()?, ClientContext::native_roots()?),
            None => {
                let (server, url, trusting) = big_page::serve().await?;
                (Some(server), url, trusting)
            }
        };
        timeout(Duration::from_secs(50), streamed::download(url, trusting)).await?
    })?
}
