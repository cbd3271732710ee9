//! What else the loop does while requests arrive.

use std::net::TcpStream;
use std::time::{Duration, Instant};

use super::outside::connected;
use super::runtime::Runtime;

/// What keeps the loop busy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Load {
    Idle,
    /// Tasks that yield for ever.
    Tasks,
    /// Connections with requests at a fixed rate, answered by one task each.
    Sockets,
    /// One task that holds the thread now and then.
    Hog,
}

/// How many busy tasks.
const TASKS: usize = 10_000;
/// How many connections.
const CONNECTIONS: usize = 50;
/// How long the hog holds the thread, and how often it begins to.
const HELD: Duration = Duration::from_millis(1);
const HOG_EVERY: Duration = Duration::from_millis(4);

impl Load {
    /// Starts the load. The other thread needs these ends of the connections.
    pub(crate) fn start<R: Runtime>(self, on: &R) -> Result<Vec<TcpStream>, String> {
        match self {
            Self::Idle => {}
            Self::Tasks => {
                for _ in 0..TASKS {
                    on.detach(async {
                        loop {
                            R::yield_now().await;
                        }
                    });
                }
            }
            Self::Sockets => {
                return (0..CONNECTIONS)
                    .map(|_| {
                        let (ours, theirs) = connected().map_err(|error| error.to_string())?;
                        on.echo(theirs).map_err(|error| error.to_string())?;
                        Ok(ours)
                    })
                    .collect();
            }
            Self::Hog => on.detach(hog::<R>()),
        }
        Ok(Vec::new())
    }
}

/// Holds the thread for a part of each period. The periods are fixed: one that a late timer has missed is left out.
async fn hog<R: Runtime>() {
    let began = Instant::now();
    loop {
        let periods = began.elapsed().as_nanos() / HOG_EVERY.as_nanos() + 1;
        R::sleep_until(began + HOG_EVERY * periods as u32).await;
        let woken = Instant::now();
        while woken.elapsed() < HELD {
            std::hint::spin_loop();
        }
    }
}
