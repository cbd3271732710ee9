//! Crates of tokio's ecosystem in a program of this loop: what works as it is, and what needs tokio's runtime beside it.
//!
//! Much of that ecosystem needs no runtime: it is futures that any loop can poll. What does need one finds it through a
//! thread-local value, and panics where there is none.
//!
//! | used in a task of this loop | works |
//! |---|---|
//! | the combinators of `futures`, `async-channel`, `async-tungstenite`, `async-compression`, `futures-rustls`; whatever asks for the traits of feature `futures` | yes |
//! | `tokio::sync`: `mpsc`, `oneshot`, `watch`, `broadcast`, `Mutex`, `Notify`, `Semaphore` | yes, from any thread |
//! | `tokio::select!`, `tokio::join!`, `tokio::pin!` | yes |
//! | `tokio::io`'s traits and adapters, `tokio_util::codec`; whatever asks for the traits of feature `tokio-io` | yes |
//! | `hyper`, over `interop::hyper` of feature `hyper` | yes |
//! | services of `tower`, and `axum::Router`, by `hyper_util::service::TowerToHyperService` for hyper's connections | yes; axum's handlers have to be `Send`, and `axum::serve` is replaced by a loop over `accept` |
//! | `rusqlite` and other blocking libraries, by [`to_thread`](crate::to_thread) | yes |
//! | `tokio::task::JoinHandle` of a task that a runtime runs | yes: it is awaited like any future |
//! | `tokio::net`, `tokio::time`, `tokio::process`, `tokio::signal` | no: "there is no reactor running" |
//! | `tokio::spawn`, `spawn_blocking`, `tokio::fs`; so also `reqwest`, `sqlx`, `tonic`'s channels | no, for the same reason |
//!
//! What does not work runs on a tokio runtime in a thread of its own. `Handle::spawn` starts a future there, and its
//! `JoinHandle` is awaited here. In the other direction a future of tokio awaits the
//! [`ThreadFuture`](crate::ThreadFuture) that
//! [`run_coroutine_threadsafe`](crate::RemoteHandle::run_coroutine_threadsafe) returns. Dropping a `JoinHandle` detaches
//! its task, unlike dropping a future; a guard that calls `abort` in its destructor makes a timeout or a cancellation
//! here end the work there:
//!
//! ```
//! use std::future::Future;
//! use std::pin::Pin;
//! use std::task::{Context, Poll};
//! use std::time::Duration;
//!
//! use tokio::task::{JoinError, JoinHandle};
//!
//! struct There<T>(JoinHandle<T>);
//!
//! impl<T> Future for There<T> {
//!     type Output = Result<T, JoinError>;
//!
//!     fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
//!         Pin::new(&mut self.0).poll(context)
//!     }
//! }
//!
//! impl<T> Drop for There<T> {
//!     fn drop(&mut self) {
//!         self.0.abort();
//!     }
//! }
//!
//! let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
//! let handle = runtime.handle().clone();
//! let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
//! let side = std::thread::spawn(move || drop(runtime.block_on(stopped)));
//!
//! callsoon::run(async move {
//!     let nap = || tokio::time::sleep(Duration::from_millis(1));
//!     There(handle.spawn(async move { nap().await })).await.unwrap();
//!
//!     let (alive, mut ended) = tokio::sync::mpsc::channel::<()>(1);
//!     let hang = There(handle.spawn(async move {
//!         let _alive = alive;
//!         std::future::pending::<()>().await
//!     }));
//!     callsoon::timeout(Duration::from_millis(1), hang).await.unwrap_err();
//!     assert!(ended.recv().await.is_none(), "the hanging task was aborted and dropped");
//! })?;
//! drop(stop);
//! side.join().unwrap();
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! The example `tokio_beside` does the same with reqwest.
