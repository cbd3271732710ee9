//! HTTP by the `hyper` crate: its traits for bytes, timers and tasks, on this loop. Feature `hyper`.
//!
//! - [`HyperIo`] makes a connection of a byte stream.
//! - [`HyperTimer`] measures timeouts on the loop's clock.
//! - [`HyperExecutor`] runs what HTTP/2 starts besides the connection as tasks of the running loop.
//!
//! None of them needs `Send`: services, bodies and connections may hold an `Rc`. The dependency is hyper without
//! features; a program asks hyper itself for `http1`, `http2`, `client` and `server`.
//!
//! Only hyper's `with_upgrades` demands connections that are `Send`, which those of a loop are not. HTTP/1 without it
//! gives the connection back through `without_shutdown` and `into_parts`.
//!
//! Over TLS a connection is the reader and the writer of `open_connection` or `start_server` with `ssl`, [joined]. Whether
//! it speaks HTTP/2 its handshake decides: `alpn_protocols` of rustls's configuration names `h2` and `http/1.1` in the order
//! of preference, and the writer's `tls_info` gives what both sides have agreed on. A body without a length is whole only if
//! its peer has said so before it closed; if the connection was cut, reading the body fails. A peer that closes its side
//! closes both, as in asyncio: what hyper writes in the step that reads of the end is sent, such as the last GOAWAY of a
//! graceful shutdown, and what it would write later is `ConnectionReset`.
//!
//! A server that ends in order stops accepting, calls `graceful_shutdown` on each connection, and awaits what it has
//! started: [`race!`](crate::race!) of the connection and an [`Event`](crate::sync::Event) tells when, and a
//! [`task_group`](crate::task_group) awaits them. `Queue::items` borrows its queue, and a body must own what it sends. With
//! the feature `futures` there is `Queue::into_items` for that; without it:
//!
//! ```
//! use std::convert::Infallible;
//! use std::rc::Rc;
//!
//! use callsoon::Queue;
//! use futures_util::{StreamExt as _, stream};
//! use http_body_util::{BodyExt as _, StreamBody};
//! use hyper::body::{Body, Bytes, Frame};
//!
//! /// A body that sends what is put into a queue, until that is shut down.
//! fn body(queue: Rc<Queue<Bytes>>) -> impl Body<Data = Bytes, Error = Infallible> {
//!     let items = stream::unfold(queue, async |queue| Some((queue.get().await.ok()?, queue)));
//!     StreamBody::new(items.map(|item| Ok(Frame::data(item))))
//! }
//!
//! callsoon::run(async {
//!     let queue = Rc::new(Queue::new(1));
//!     let sending = callsoon::create_task(body(queue.clone()).collect());
//!     for piece in ["hello, ", "world"] {
//!         queue.put(Bytes::from(piece)).await.unwrap();
//!     }
//!     queue.shutdown(false);
//!     assert_eq!(sending.await.unwrap().unwrap().to_bytes(), "hello, world");
//! }).unwrap();
//! ```
//!
//! A server and a client on one connection:
//!
//! [joined]: crate::stream::join
//!
//! ```
//! use std::convert::Infallible;
//!
//! use callsoon::interop::hyper::{HyperIo, HyperTimer};
//! use callsoon::net::UnixStream;
//! use http_body_util::{BodyExt, Empty, Full};
//! use hyper::body::{Bytes, Incoming};
//! use hyper::service::service_fn;
//! use hyper::{Request, Response};
//!
//! async fn answer(_: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
//!     Ok(Response::new(Full::new(Bytes::from("hello"))))
//! }
//!
//! # callsoon::doctest::run(async {
//! let (near, far) = UnixStream::pair()?;
//! let mut server = hyper::server::conn::http1::Builder::new();
//! server.timer(HyperTimer);
//! callsoon::create_task(server.serve_connection(HyperIo::new(far), service_fn(answer)));
//!
//! let near = HyperIo::new(near);
//! let (mut client, connection) = hyper::client::conn::http1::handshake(near).await.unwrap();
//! callsoon::create_task(connection);
//! let request = Request::get("/").header("host", "localhost").body(Empty::<Bytes>::new()).unwrap();
//! let response = client.send_request(request).await.unwrap();
//! assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "hello");
//! # Ok(()) });
//! ```

mod executor;
mod io;
mod timer;

pub use self::executor::HyperExecutor;
pub use self::io::HyperIo;
pub use self::timer::HyperTimer;
