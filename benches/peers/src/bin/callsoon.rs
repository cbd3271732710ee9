//! callsoon: callbacks are callbacks, timers are callbacks too, posts go through `call_soon_threadsafe`.

use std::cell::Cell;
use std::future::Future;
use std::io;
use std::process::ExitCode;
use std::rc::Rc;
use std::task::Context;
use std::time::Instant;

use callsoon::net::{TcpListener, TcpStream};
use callsoon::stream::{StreamReader, StreamWriter, start_server};
use callsoon::sync::Event;
use callsoon::transport::{Protocol, Transport};
use callsoon::{Clock, EventLoop, LoopHandle};
use peers::runtime::{Form, Post, Runtime, Served, Waiter};

/// The loop's handle, and what the callbacks of `cancel_at` capture.
#[derive(Clone)]
struct Callsoon {
    event_loop: LoopHandle,
    fired: Rc<Cell<u64>>,
}

/// While work is ready the loop polls for events by time, which under callgrind passes fifty times too fast: how often it
/// polls, and so the count, would depend on the machine. A virtual clock makes it poll every 64 entries, as often as it
/// does without callgrind at the least. Rows with timers or sockets need the real clock.
fn clock() -> Clock {
    let timed = ["timer", "burst", "fire", "posts", "echo", "idle", "after"];
    let row = std::env::args().nth(1).unwrap_or_default();
    let counted = std::env::var_os(peers::timed::SLOW).is_some();
    match counted && !timed.iter().any(|name| row.starts_with(name)) {
        true => Clock::Virtual,
        false => Clock::Monotonic,
    }
}

impl Runtime for Callsoon {
    fn run<T: 'static, F: Future<Output = T> + 'static>(
        main: impl FnOnce(Self) -> F,
    ) -> Result<T, String> {
        let event_loop = EventLoop::builder()
            .clock(clock())
            .build()
            .map_err(|error| error.to_string())?;
        // Rows that measure idle tasks leave them pending, of which a loop that closes would report each.
        event_loop.set_exception_handler(|_, context| {
            if !context.message.starts_with("Task was destroyed") {
                eprintln!("{context}");
            }
        });
        let main = main(Self {
            event_loop: event_loop.handle(),
            fired: Rc::default(),
        });
        let joined = event_loop.run_until_complete(async { callsoon::create_task(main).await });
        joined
            .map_err(|error| error.to_string())?
            .map_err(|error| error.to_string())
    }

    fn spawn<T: 'static>(
        &self,
        future: impl Future<Output = T> + 'static,
    ) -> impl Future<Output = T> + 'static {
        let task = callsoon::create_task(future);
        async { task.await.expect("no task panics") }
    }

    fn detach(&self, future: impl Future<Output = ()> + 'static) {
        drop(callsoon::create_task(future));
    }

    fn call_soon(&self, callback: impl FnOnce() + 'static) {
        self.event_loop.call_soon(callback);
    }

    fn yield_now() -> impl Future<Output = ()> + 'static {
        callsoon::yield_now()
    }

    fn sleep_until(deadline: Instant) -> impl Future<Output = ()> + 'static {
        callsoon::sleep_until(deadline)
    }

    fn call_at(&self, deadline: Instant, callback: impl FnOnce() + 'static) {
        self.event_loop.call_at(deadline, callback);
    }

    fn cancel_at(&self, deadline: Instant, _context: &mut Context<'_>) {
        let fired = Rc::clone(&self.fired);
        let timer = self
            .event_loop
            .call_at(deadline, move || fired.set(fired.get() + 1));
        timer.cancel();
    }

    async fn gather<T: 'static, F: Future<Output = T> + 'static>(
        &self,
        futures: impl Iterator<Item = F>,
    ) -> Vec<T> {
        callsoon::gather(futures).await.expect("no task panics")
    }

    async fn group(&self, futures: impl Iterator<Item = impl Future<Output = ()> + 'static>) {
        let ended = callsoon::task_group(async |group| {
            for future in futures {
                group.create_task(future);
            }
        });
        ended.await.expect("no task panics");
    }

    fn waiters(&self) -> Option<Box<dyn Fn() -> Waiter>> {
        let event = Rc::new(Event::new());
        Some(Box::new(move || {
            let event = Rc::clone(&event);
            Box::pin(async move { event.wait().await })
        }))
    }

    fn done_callbacks(&self, count: u64) -> Option<Box<dyn Fn(usize)>> {
        let task = callsoon::create_task(std::future::pending::<()>());
        let callbacks: Vec<_> = (0..count).map(|_| task.add_done_callback(|_| ())).collect();
        Some(Box::new(move |place| {
            assert!(task.remove_done_callback(callbacks[place]))
        }))
    }

    fn post(&self) -> Option<Box<Post>> {
        let remote = self.event_loop.remote();
        Some(Box::new(move |callback| {
            remote
                .call_soon_threadsafe(callback)
                .expect("the loop is open");
        }))
    }

    fn has(_form: Form) -> bool {
        true
    }

    async fn serve<const BUFFER: usize>(
        &self,
        form: Form,
        served: Served,
        announce: impl FnOnce(u16) + 'static,
    ) {
        let result = match form {
            Form::Protocol => self.protocol(served.clone(), announce).await,
            Form::Net => self.net::<BUFFER>(served.clone(), announce).await,
            Form::Streams => self.streams::<BUFFER>(served.clone(), announce).await,
        };
        if let Err(error) = result {
            served.fail(error);
        }
    }
}

const ANYWHERE: &str = "127.0.0.1:0";

/// The errors of a server, whatever form it has.
type Ended = Result<(), Box<dyn std::error::Error>>;

struct Echo(Served);

impl Protocol for Echo {
    fn data_received(&self, transport: &Transport, data: &[u8]) {
        transport.write(data);
    }

    fn connection_lost(&self, _transport: &Transport, _error: Option<io::Error>) {
        self.0.end();
    }
}

impl Callsoon {
    async fn protocol(&self, served: Served, announce: impl FnOnce(u16)) -> Ended {
        let factory = move || Echo(served.clone());
        let server = self.event_loop.create_server(factory, ANYWHERE).await?;
        announce(server.local_addr().ok_or("no address")?.port());
        Ok(server.serve_forever().await?)
    }

    async fn net<const BUFFER: usize>(&self, served: Served, announce: impl FnOnce(u16)) -> Ended {
        let listener = TcpListener::bind(ANYWHERE).await?;
        announce(listener.local_addr()?.port());
        loop {
            let (stream, _) = listener.accept().await?;
            let served = served.clone();
            callsoon::create_task(async move {
                // A connection that fails ends; the client notices.
                let _ = echo_net::<BUFFER>(&stream).await;
                served.end();
            });
        }
    }

    async fn streams<const BUFFER: usize>(
        &self,
        served: Served,
        announce: impl FnOnce(u16),
    ) -> Ended {
        let client = async move |reader, writer| {
            let result = echo_streams::<BUFFER>(reader, writer).await;
            served.end();
            result
        };
        let server = start_server(client, ANYWHERE).await?;
        announce(server.local_addr().ok_or("no address")?.port());
        Ok(server.serve_forever().await?)
    }
}

async fn echo_net<const BUFFER: usize>(stream: &TcpStream) -> io::Result<()> {
    let mut buffer = [0; BUFFER];
    loop {
        let count = stream.read(&mut buffer).await?;
        if count == 0 {
            return Ok(());
        }
        stream.write_all(&buffer[..count]).await?;
    }
}

async fn echo_streams<const BUFFER: usize>(
    mut reader: StreamReader,
    writer: StreamWriter,
) -> io::Result<()> {
    let mut buffer = [0; BUFFER];
    loop {
        let count = reader.read_into(&mut buffer).await?;
        if count == 0 {
            return Ok(());
        }
        writer.write(&buffer[..count]);
        writer.drain().await?;
    }
}

fn main() -> ExitCode {
    peers::main::<Callsoon>()
}
