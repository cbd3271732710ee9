//! The paths and the loads of the bench `latency`, by the same code, over [`Runtime`](crate::runtime::Runtime):
//! `BIN latency PATH/LOAD MILLIS` prints what a child of that bench prints.

#[path = "../../support/latency/arrivals.rs"]
mod arrivals;
#[path = "../../support/latency/loads.rs"]
mod loads;
#[path = "../../support/latency/names.rs"]
#[expect(dead_code, reason = "the page has the words")]
mod names;
#[path = "../../support/latency/outside.rs"]
mod outside;
#[path = "../../support/latency/paths.rs"]
mod paths;
#[path = "../../support/latency/runtime.rs"]
mod runtime;

use std::future::Future;
use std::io;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::pin::pin;
use crate::runtime::{Post, Runtime};

/// The first argument.
pub(crate) const COMMAND: &str = "latency";

/// How many bytes a read may give.
pub(crate) const BUFFER: usize = runtime::BUFFER;

/// The core of the loop; the other thread has the next one.
const LOOP_CORE: usize = 0;

/// Measures `PATH/LOAD MILLIS` and prints the samples.
pub(crate) fn work<R: Runtime>(order: &[String]) -> Result<(), String> {
    let [row, millis] = order else {
        return Err("usage: BIN latency PATH/LOAD MILLIS".into());
    };
    let (path, load) = row.split_once('/').ok_or("a row is PATH/LOAD")?;
    let path = names::PATHS.iter().find(|named| named.id == path);
    let load = names::LOADS.iter().find(|named| named.id == load);
    let (Some(path), Some(load)) = (path, load) else {
        return Err(format!("there is no {row}"));
    };
    let millis = millis.parse().map_err(|_| "MILLIS is a number")?;
    pin(LOOP_CORE);
    let length = Duration::from_millis(millis);
    let samples = <On<R> as runtime::Runtime>::run(move |on| {
        paths::measure(on, path.value, load.value, length)
    })??;
    print!("{}", samples.to_lines());
    Ok(())
}

/// A runtime of this package as one of `latency`.
#[derive(Clone)]
struct On<R>(R);

impl<R: Runtime> runtime::Runtime for On<R> {
    type Remote = Box<Post>;

    fn run<T: 'static, F: Future<Output = T> + 'static>(
        main: impl FnOnce(Self) -> F,
    ) -> Result<T, String> {
        R::run(|on| main(Self(on)))
    }

    fn call_soon(&self, callback: impl FnOnce() + 'static) {
        self.0.call_soon(callback);
    }

    fn detach(&self, future: impl Future<Output = ()> + 'static) {
        self.0.detach(future);
    }

    fn yield_now() -> impl Future<Output = ()> + 'static {
        R::step_aside()
    }

    fn sleep_until(deadline: Instant) -> impl Future<Output = ()> + 'static {
        R::sleep_until(deadline)
    }

    fn call_at(&self, deadline: Instant, callback: impl FnOnce() + 'static) {
        self.0.call_at(deadline, callback);
    }

    fn remote(&self) -> Option<Box<Post>> {
        self.0.post()
    }

    fn post(remote: &Box<Post>, job: impl FnOnce() + Send + 'static) {
        remote(Box::new(job));
    }

    fn read_each(&self, socket: TcpStream, seen: impl FnMut(usize) + 'static) -> io::Result<()> {
        self.0.read_each(socket, seen)
    }

    fn echo(&self, socket: TcpStream) -> io::Result<()> {
        self.0.echo(socket)
    }
}
