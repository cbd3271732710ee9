//! What a runtime has to offer: each binary in `bin/` has one `impl`, as that runtime's users would write it.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::io;
use std::net::TcpStream;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Instant;

use crate::gate::Gate;

/// A closure of a post.
pub type Boxed = Box<dyn FnOnce() + Send>;
/// A way into the loop from any thread.
pub type Post = dyn Fn(Boxed) + Send + Sync;
/// A future of its own allocation.
pub type Waiter = Pin<Box<dyn Future<Output = ()>>>;

/// How a server is written. Only callsoon has all three; what the others have is the second.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    Protocol,
    Net,
    Streams,
}

/// What a server and the row that waits for it share.
#[derive(Clone, Default)]
pub struct Served {
    ended: Rc<Cell<u64>>,
    gate: Gate,
    failed: Rc<RefCell<Option<String>>>,
}

impl Served {
    /// A connection has ended.
    pub fn end(&self) {
        self.ended.set(self.ended.get() + 1);
        self.gate.open();
    }

    /// The server cannot go on.
    pub fn fail(&self, error: impl std::fmt::Display) {
        *self.failed.borrow_mut() = Some(error.to_string());
        self.gate.open();
    }

    /// Waits until so many connections have ended.
    pub async fn wait(&self, connections: u64) -> Result<(), String> {
        while self.ended.get() < connections {
            if let Some(error) = self.failed.take() {
                return Err(error);
            }
            self.gate.pass().await;
        }
        Ok(())
    }
}

/// What a single-threaded runtime can do.
pub trait Runtime: Clone + 'static {
    /// Builds the runtime and runs `main` as a spawned task to its end. The error says why it cannot start here.
    fn run<T: 'static, F: Future<Output = T> + 'static>(
        main: impl FnOnce(Self) -> F,
    ) -> Result<T, String>;

    /// Whether it waits by io_uring here; nothing where a runtime has no choice.
    fn by_uring() -> Option<bool> {
        None
    }

    /// Spawns a task; the future is the runtime's own handle. No task here panics.
    fn spawn<T: 'static>(
        &self,
        future: impl Future<Output = T> + 'static,
    ) -> impl Future<Output = T> + 'static;

    /// Spawns a task that nobody joins.
    fn detach(&self, future: impl Future<Output = ()> + 'static);

    /// Has a callback run soon: a spawned task where there are no callbacks.
    fn call_soon(&self, callback: impl FnOnce() + 'static) {
        self.detach(async move { callback() });
    }

    /// Yields as the runtime's users do; by a waker where it offers nothing.
    fn yield_now() -> impl Future<Output = ()> + 'static {
        let mut yielded = false;
        poll_fn(move |context| {
            if std::mem::replace(&mut yielded, true) {
                return Poll::Ready(());
            }
            context.waker().wake_by_ref();
            Poll::Pending
        })
    }

    /// Lets every other ready task run first, also where a yield does not. For the bench `latency`.
    fn step_aside() -> impl Future<Output = ()> + 'static {
        Self::yield_now()
    }

    /// Has every task that was spawned before be polled. Twice, for what lets new tasks wait a turn; by tasks, since
    /// monoio lets one that yields run again first.
    fn settle(&self) -> impl Future<Output = ()> {
        async {
            self.spawn(async {}).await;
            self.spawn(async {}).await;
        }
    }

    /// Waits until `deadline`.
    fn sleep_until(deadline: Instant) -> impl Future<Output = ()> + 'static;

    /// Has a callback run at `deadline`: a task that sleeps first where there are no callbacks.
    fn call_at(&self, deadline: Instant, callback: impl FnOnce() + 'static) {
        self.detach(async move {
            Self::sleep_until(deadline).await;
            callback();
        });
    }

    /// Registers a timer and takes it away: a sleep polled once where there are no callbacks.
    fn cancel_at(&self, deadline: Instant, context: &mut Context<'_>) {
        assert!(pin!(Self::sleep_until(deadline)).poll(context).is_pending());
    }

    /// Runs `future` outside any budget of polls, which would end a sleep's first poll before it registers anything.
    fn without_budget<F: Future>(future: F) -> impl Future<Output = F::Output> {
        future
    }

    /// Runs futures as tasks and gives their values in order.
    fn gather<T: 'static, F: Future<Output = T> + 'static>(
        &self,
        futures: impl Iterator<Item = F>,
    ) -> impl Future<Output = Vec<T>> {
        let tasks: Vec<_> = futures.map(|future| self.spawn(future)).collect();
        async move {
            let mut values = Vec::with_capacity(tasks.len());
            for task in tasks {
                values.push(task.await);
            }
            values
        }
    }

    /// Runs futures as tasks of one group.
    fn group(
        &self,
        futures: impl Iterator<Item = impl Future<Output = ()> + 'static>,
    ) -> impl Future<Output = ()> {
        let all = self.gather(futures);
        async move { for () in all.await {} }
    }

    /// An event that never comes, as many waiters for it as are asked for.
    fn waiters(&self) -> Option<Box<dyn Fn() -> Waiter>> {
        None
    }

    /// Adds so many done callbacks to a task that does not end; what is given removes those of the given places.
    fn done_callbacks(&self, _count: u64) -> Option<Box<dyn Fn(usize)>> {
        None
    }

    /// The way in from other threads, in which every closure is a box.
    fn post(&self) -> Option<Box<Post>> {
        None
    }

    /// Reads whatever arrives on this socket, and calls `seen` with the number of bytes each time. For the bench `latency`.
    fn read_each(&self, _socket: TcpStream, _seen: impl FnMut(usize) + 'static) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Sends everything back that arrives on this socket. For the bench `latency`.
    fn echo(&self, _socket: TcpStream) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Whether servers can be written so.
    fn has(form: Form) -> bool {
        form == Form::Net
    }

    /// Serves echoes with `BUFFER` bytes a connection until it is dropped; `announce` is told the port.
    fn serve<const BUFFER: usize>(
        &self,
        form: Form,
        served: Served,
        announce: impl FnOnce(u16) + 'static,
    ) -> impl Future<Output = ()>;
}
