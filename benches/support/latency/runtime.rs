//! What a runtime has to offer to `latency`: one `impl` a runtime, as that runtime's users would write it.

use std::future::Future;
use std::net::TcpStream;
use std::time::Instant;

/// A single-threaded runtime.
pub(crate) trait Runtime: Clone + 'static {
    /// A way into the loop from another thread.
    type Remote: Send + 'static;

    /// Builds the runtime and runs `main` as a spawned task to its end. The error says why it cannot start here.
    fn run<T: 'static, F: Future<Output = T> + 'static>(
        main: impl FnOnce(Self) -> F,
    ) -> Result<T, String>;

    /// Has a callback run soon: `call_soon` where there is one, else a spawned task whose body is the callback.
    fn call_soon(&self, callback: impl FnOnce() + 'static);

    /// Spawns a task that nobody joins.
    fn detach(&self, future: impl Future<Output = ()> + 'static);

    /// Lets every other ready task run first.
    fn yield_now() -> impl Future<Output = ()> + 'static;

    /// Waits until `deadline`.
    fn sleep_until(deadline: Instant) -> impl Future<Output = ()> + 'static;

    /// Has a callback run at `deadline`: `call_at` where there is one, else a spawned task that sleeps first.
    fn call_at(&self, deadline: Instant, callback: impl FnOnce() + 'static);

    /// The way in from another thread, where there is one.
    fn remote(&self) -> Option<Self::Remote>;

    /// Has `job` run on the loop's thread. Called on another thread.
    fn post(remote: &Self::Remote, job: impl FnOnce() + Send + 'static);

    /// Reads whatever arrives, and calls `seen` with the number of bytes each time: by a callback of the loop where there
    /// are such, else in a task.
    fn read_each(
        &self,
        socket: TcpStream,
        seen: impl FnMut(usize) + 'static,
    ) -> std::io::Result<()>;

    /// Sends everything back that arrives.
    fn echo(&self, socket: TcpStream) -> std::io::Result<()>;
}

/// How many bytes a read may give.
pub(crate) const BUFFER: usize = 4096;
