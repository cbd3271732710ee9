//! Tokio's ecosystem beside the loop: reqwest runs on a tokio runtime in a thread of its own, and tasks of the loop await
//! its requests. To drop such an await cancels the request.
//!
//! ```text
//! $ cargo run --example tokio_beside
//! http://127.0.0.1:34567/page/1: 6 bytes
//! http://127.0.0.1:34567/page/2: 6 bytes
//! the loop counts 2 answers
//! /slow: deadline has elapsed, and its connection has ended
//! ```

use std::cell::Cell;
use std::error::Error;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::thread::JoinHandle;
use std::time::Duration;

use callsoon::stream::{StreamReader, StreamWriter, start_server};
use callsoon::sync::Event;
use callsoon::{gather, timeout};
use tokio::sync::oneshot;
use tokio::task::JoinError;

/// A tokio runtime in a thread of its own, which ends when this is dropped.
struct Beside {
    runtime: tokio::runtime::Handle,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Beside {
    fn start() -> std::io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let handle = runtime.handle().clone();
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::spawn(move || drop(runtime.block_on(stopped)));
        Ok(Self {
            runtime: handle,
            stop: Some(stop),
            thread: Some(thread),
        })
    }

    /// Runs a future there. What is returned may be awaited here, and aborts the future when it is dropped.
    fn spawn<T: Send + 'static>(
        &self,
        future: impl Future<Output = T> + Send + 'static,
    ) -> There<T> {
        There(self.runtime.spawn(future))
    }
}

impl Drop for Beside {
    fn drop(&mut self) {
        drop(self.stop.take());
        let ended = self.thread.take().map(JoinHandle::join);
        assert!(!matches!(ended, Some(Err(_))), "the side thread panicked");
    }
}

/// A future that runs on the other runtime.
struct There<T>(tokio::task::JoinHandle<T>);

impl<T> Future for There<T> {
    type Output = Result<T, JoinError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(context)
    }
}

impl<T> Drop for There<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Answers every page but `/slow`. Sets `gone` when the client of that one has gone.
async fn site(mut reader: StreamReader, writer: StreamWriter, gone: Rc<Event>) {
    while let Ok(head) = reader.readuntil("\r\n\r\n").await {
        if head.starts_with(b"GET /slow") {
            // Nothing comes from a client that waits, but its end does.
            let _ = reader.read(1).await;
            return gone.set();
        }
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\na page");
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    if std::env::args().nth(1).as_deref() == Some("--help") {
        println!("tokio_beside    asks a site of its own, and ends");
        return Ok(());
    }
    let beside = Beside::start()?;
    callsoon::run(async {
        let gone = Rc::new(Event::new());
        let noting = Rc::clone(&gone);
        let serve = move |reader, writer| site(reader, writer, Rc::clone(&noting));
        let server = start_server(serve, ("127.0.0.1", 0)).await?;
        let address = server.local_addr().ok_or("no address")?;
        let client = reqwest::Client::builder().no_proxy().build()?;
        let answers = Rc::new(Cell::new(0));
        let get = |path: &str| {
            let (url, client) = (format!("http://{address}{path}"), client.clone());
            let there = beside.spawn(async move {
                let text = client.get(&url).send().await?.text().await?;
                Ok::<_, reqwest::Error>(format!("{url}: {} bytes", text.len()))
            });
            let answers = Rc::clone(&answers); // this side need not be `Send`
            async move {
                let answer = there.await;
                answers.set(answers.get() + 1);
                answer
            }
        };
        for answer in gather([get("/page/1"), get("/page/2")]).await? {
            println!("{}", answer??);
        }
        println!("the loop counts {} answers", answers.get());
        if let Err(late) = timeout(Duration::from_millis(200), get("/slow")).await {
            gone.wait().await;
            println!("/slow: {late}, and its connection has ended");
        }
        server.close();
        Ok(())
    })?
}
