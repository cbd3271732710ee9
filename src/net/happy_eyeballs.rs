//! Happy eyeballs, RFC 8305: attempts that start one after the other without waiting for the ones before to fail.
//!
//! Two pieces that know nothing of sockets: the order of addresses, and the race. The next attempt starts when the newest
//! one fails or has gone on for the delay; the first success wins, and all others are dropped before the race returns.

use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use crate::time::sleep::{Sleep, sleep};

/// Reorders addresses so that families take turns, beginning with `first` addresses of the family that comes first.
/// Within a family the order stays. 0 leaves everything as it is.
///
/// ```
/// use callsoon::net::interleave;
/// let given = ["[::1]:1", "[::2]:1", "[::3]:1", "1.1.1.1:1", "2.2.2.2:1"].map(|text| text.parse().unwrap());
/// let sorted = interleave(given.to_vec(), 1);
/// assert_eq!(sorted, ["[::1]:1", "1.1.1.1:1", "[::2]:1", "2.2.2.2:1", "[::3]:1"].map(|text| text.parse().unwrap()));
/// ```
pub fn interleave(addresses: Vec<SocketAddr>, first: usize) -> Vec<SocketAddr> {
    let Some(preferred) = addresses.first().map(SocketAddr::is_ipv6) else {
        return addresses;
    };
    if first == 0 {
        return addresses;
    }
    let (one, other): (Vec<_>, Vec<_>) = addresses
        .into_iter()
        .partition(|address| address.is_ipv6() == preferred);
    let (mut one, mut other) = (VecDeque::from(one), VecDeque::from(other));
    let ahead = (first - 1).min(one.len());
    let mut sorted: Vec<_> = one.drain(..ahead).collect();
    while !one.is_empty() || !other.is_empty() {
        sorted.extend(one.pop_front());
        sorted.extend(other.pop_front());
    }
    sorted
}

/// Runs attempts until one succeeds: asyncio's `staggered_race`. The next one starts when the newest fails, or `delay`
/// after the newest started; with `None` only when it fails. Gives the winner's place among the attempts, and its value.
///
/// # Errors
/// The errors of all attempts, in the attempts' order, if none succeeds; none at all if there was no attempt.
///
/// # Panics
/// With a delay, outside a running loop. A panic of an attempt goes through.
///
/// # Cancellation
/// Dropping it drops all attempts.
///
/// ```
/// use std::time::Duration;
/// let builder = callsoon::EventLoop::builder().clock(callsoon::Clock::Virtual);
/// builder.build()?.run_until_complete(async {
///     let attempt = |takes: u64, result: Result<&'static str, &'static str>| async move {
///         callsoon::sleep(Duration::from_millis(takes)).await;
///         result
///     };
///     let attempts = [attempt(500, Ok("slow")), attempt(1, Err("broken")), attempt(1, Ok("quick"))];
///     let winner = callsoon::net::staggered_race(attempts, Some(Duration::from_millis(5))).await;
///     assert_eq!(winner, Ok((2, "quick")));
/// }).unwrap();
/// # Ok::<(), std::io::Error>(())
/// ```
pub async fn staggered_race<T, E, F>(
    attempts: impl IntoIterator<Item = F>,
    delay: Option<Duration>,
) -> Result<(usize, T), Vec<E>>
where
    F: Future<Output = Result<T, E>>,
{
    let mut race = Race {
        waiting: attempts.into_iter().enumerate().fuse(),
        running: Vec::new(),
        newest: None,
        timer: None,
        delay,
        errors: Vec::new(),
    };
    poll_fn(|context| {
        loop {
            match race.poll_running(context) {
                Poll::Ready(won) => return Poll::Ready(Ok(won)),
                Poll::Pending if !race.is_next_due(context) => return Poll::Pending,
                Poll::Pending if race.start_next() => {}
                Poll::Pending if race.running.is_empty() => {
                    return Poll::Ready(Err(race.take_errors()));
                }
                Poll::Pending => return Poll::Pending,
            }
        }
    })
    .await
}

struct Race<I, F, E> {
    /// Attempts that have not started, with their places.
    waiting: I,
    /// Those that have, in that order.
    running: Vec<(usize, Pin<Box<F>>)>,
    /// The attempt that started last, while it runs.
    newest: Option<usize>,
    /// Goes off when the next one is due.
    timer: Option<Sleep>,
    delay: Option<Duration>,
    errors: Vec<(usize, E)>,
}

impl<I, F, T, E> Race<I, F, E>
where
    I: Iterator<Item = (usize, F)>,
    F: Future<Output = Result<T, E>>,
{
    /// Polls who runs, first come first; ready is the winner.
    fn poll_running(&mut self, context: &mut std::task::Context<'_>) -> Poll<(usize, T)> {
        let mut at = 0;
        while let Some((place, attempt)) = self.running.get_mut(at) {
            match attempt.as_mut().poll(context) {
                Poll::Ready(Ok(value)) => return Poll::Ready((*place, value)),
                Poll::Ready(Err(error)) => {
                    let (place, ended) = self.running.remove(at);
                    drop(ended);
                    self.errors.push((place, error));
                    if self.newest == Some(place) {
                        self.newest = None;
                    }
                }
                Poll::Pending => at += 1,
            }
        }
        Poll::Pending
    }

    /// Whether the newest attempt has failed, or has had its time.
    fn is_next_due(&mut self, context: &mut std::task::Context<'_>) -> bool {
        let timer = self.timer.as_mut();
        let over = timer.is_some_and(|timer| Pin::new(timer).poll(context).is_ready());
        self.newest.is_none() || over
    }

    /// Starts the next attempt, if there is one.
    fn start_next(&mut self) -> bool {
        self.timer = None;
        let Some((place, attempt)) = self.waiting.next() else {
            return false;
        };
        self.newest = Some(place);
        self.timer = self.delay.map(sleep);
        self.running.push((place, Box::pin(attempt)));
        true
    }

    fn take_errors(&mut self) -> Vec<E> {
        self.errors.sort_by_key(|(place, _)| *place);
        self.errors.drain(..).map(|(_, error)| error).collect()
    }
}
