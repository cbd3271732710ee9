//! An HTTP client that streams: the body is counted piece by piece as it comes, and is never whole in memory.
//!
//! ```text
//! $ cargo run --example http_client --features hyper
//! 200 OK from http://127.0.0.1:35223/
//! 2 MiB of 8 MiB
//! 4 MiB of 8 MiB
//! 6 MiB of 8 MiB
//! 8 MiB of 8 MiB
//! 8388608 bytes
//! $ cargo run --example http_client --features hyper -- http://example.org/
//! ```

use std::error::Error;
use std::time::Duration;

use callsoon::timeout;

mod big_page;
mod streamed;

fn main() -> Result<(), Box<dyn Error>> {
    let argument = std::env::args().nth(1);
    if argument.as_deref() == Some("--help") {
        println!("http_client [http://URL]    without a URL: from a site of its own");
        return Ok(());
    }
    callsoon::run(async {
        let (_server, url) = match argument {
            Some(url) => (None, url.parse()?),
            None => {
                let (server, url) = big_page::serve().await?;
                (Some(server), url)
            }
        };
        timeout(Duration::from_secs(50), streamed::download(url)).await?
    })?
}
