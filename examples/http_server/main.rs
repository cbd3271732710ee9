//! An HTTP server that ends well: keep-alive, JSON, and on Ctrl-C a shutdown that gives requests ten seconds to end.
//!
//! ```text
//! $ cargo run --example http_server --features hyper,tls
//! listening on http://127.0.0.1:41873
//! GET /              200 Try /greet/<name>, or POST JSON to /sum
//! GET /greet/Ada     200 {"hello":"Ada"}
//! POST /sum          200 {"sum":6.5}
//! GET /missing       404 no such page
//! every connection has ended
//! $ cargo run --example http_server --features hyper,tls -- 127.0.0.1:8080    # until Ctrl-C
//! ```
//! `--tls` encrypts with a certificate made on the spot, `--cert FILE --key FILE` with one from PEM files.

use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use callsoon::net::TcpListener;
use callsoon::sync::Event;
use callsoon::{create_task, ctrl_c, timeout};

mod accepting;
#[path = "../common/command_line.rs"]
mod command_line;
mod connection;
mod encryption;
mod routes;
mod visitor;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments =
        command_line::arguments!("[--tls] [--cert FILE] [--key FILE] [ADDRESS:PORT]");
    let (tls, trust) = encryption::asked_for(&mut arguments)?.unzip();
    let scheme = if tls.is_some() { "https" } else { "http" };
    let argument = arguments.pop();
    let address: SocketAddr = argument.as_deref().unwrap_or("127.0.0.1:0").parse()?;
    callsoon::run(async {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        println!("listening on {scheme}://{address}");
        let stop = Rc::new(Event::new());
        let server = create_task(accepting::serve_all(listener, tls, Rc::clone(&stop)));
        match argument {
            Some(_) => ctrl_c().await?,
            None => timeout(Duration::from_secs(30), visitor::visit(address, trust)).await??,
        }
        stop.set();
        Ok(server.await?)
    })?
}
