//! A binary of its own, because it starts curl, and because hyper is much to compile: HTTP/1 and HTTP/2 on the loop.
//!
//! Clients and servers are hyper's, over sockets and over pairs of reader and writer; a peer that misbehaves is a plain
//! socket whose bytes the test writes. What only a timeout ends is tested on the virtual clock.

#[expect(dead_code, unused_imports, reason = "a part of it is needed here")]
#[path = "../it/support/mod.rs"]
mod support;

#[expect(dead_code, reason = "a part of it is needed here")]
#[path = "../own/certificates.rs"]
mod certificates;

#[path = "../../examples/http_server/accepting.rs"]
mod accepting;
#[path = "../../examples/http_server/connection.rs"]
mod connection;
#[path = "../../examples/http_server/encryption.rs"]
mod encryption;
#[path = "../../examples/http_server/routes.rs"]
mod routes;
#[path = "../../examples/http_server/visitor.rs"]
mod visitor;

mod example_server; // the example `http_server`, over TLS
mod exchange; // what the tests share: the routes, bodies that are not `Send`, connections
mod halfway; // a peer that stops, or sends garbage, at each byte
mod http1; // HTTP/1: keep-alive, pipelining, chunked bodies, shutdown, limits, cancellation
mod http2; // HTTP/2: many requests on one connection, flow control, shutdown, resets, pings
mod https; // both protocols over TLS
mod https_attacks; // over TLS: half-closed, cut, cancelled, slow, too large
mod https_upgrades; // other protocols after HTTP/1, over TLS
mod peers; // curl, plain
mod peers_load; // h2load, plain and over TLS
mod peers_python; // Python's server, over TLS
mod peers_tls; // curl over TLS
mod timers; // hyper's timeouts and tasks on the loop's clock
