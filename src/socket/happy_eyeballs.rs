//! Happy eyeballs, RFC 8305: attempts that start one after the other, without waiting for the earlier ones to fail.
//!
//! Two pieces that know nothing of sockets: the order of addresses, and the race. The next attempt starts when the newest
//! one fails, or when the newest has gone on for the delay. The first success wins. All other attempts are then cancelled,
//! and the race returns when they have ended. For that each attempt is a scope of its own, like the inside of a timeout.
//!
//! ```text
//! waiting -> running -> failed: its error is kept
//!                    -> won: all others are cancelled
//!                    -> cancelled -> ended: its result is dropped
//! ```

use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use crate::error::{CancelOrigin, Cancellation};
use crate::kernel::cancel::node::Kind;
use crate::kernel::cancel::scope::Scope;
use crate::kernel::task::cell::Held;
use crate::socket::connect_error::{ConnectError, together};
use crate::time::sleep::{Sleep, sleep};

/// How long an attempt goes on alone: what RFC 8305 recommends.
const ATTEMPT_DELAY: Duration = Duration::from_millis(250);

/// When the next of several addresses is tried, and in which order they are tried.
#[derive(Clone, Copy, Debug)]
pub(crate) struct HappyEyeballs {
    pub(crate) delay: Option<Duration>,
    pub(crate) interleave: usize,
}

impl Default for HappyEyeballs {
    fn default() -> Self {
        Self {
            delay: Some(ATTEMPT_DELAY),
            interleave: 1,
        }
    }
}

impl HappyEyeballs {
    /// Makes an attempt on each address until one succeeds, and returns what that one returned.
    pub(crate) async fn race<T, F: Future<Output = io::Result<T>>>(
        self,
        mut addresses: Vec<SocketAddr>,
        attempt: impl Fn(SocketAddr) -> F,
    ) -> io::Result<T> {
        if let [address] = addresses[..] {
            let connected = attempt(address).await;
            return connected.map_err(ConnectError::naming(address));
        }
        addresses = interleave(addresses, self.interleave);
        let attempts = addresses.iter().map(|&address| attempt(address));
        match staggered_race(attempts, self.delay).await {
            Ok((_, connected)) => Ok(connected),
            Err(errors) => Err(together(addresses.into_iter().zip(errors).collect())),
        }
    }
}

/// Reorders addresses so that families take turns, beginning with `first` addresses of the family that comes first.
/// Within a family the order stays. With 0 nothing changes.
///
/// This is asyncio's `_interleave_addrinfos`.
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

/// Runs attempts until one succeeds. The next one starts when the newest fails, or `delay` after the newest started;
/// with `None` only when it fails. Returns the winner's index among the attempts, and its value.
///
/// The attempts that did not win are cancelled, and their clean-up is awaited before this returns. An attempt that
/// handles its cancellation and goes on is waited for too. Its result is dropped.
///
/// asyncio's `staggered_race` returns `(result, index, exceptions)`, where exceptions of attempts before the winner are
/// kept. Here they are returned only if no attempt succeeds.
///
/// # Errors
/// The errors of all attempts, in the order of the attempts, if none succeeds. Without any attempt the list is empty.
///
/// # Panics
/// With a delay, outside a running loop. A panic of an attempt propagates.
///
/// # Cancellation
/// Cancels all attempts that run, and waits for their clean-up; a winner's value is then dropped. If the future itself
/// is dropped, it drops all attempts.
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
pub async fn staggered_race<T, E, F: Future<Output = Result<T, E>>>(
    attempts: impl IntoIterator<Item = F>,
    delay: Option<Duration>,
) -> Result<(usize, T), Vec<E>> {
    let mut race = Race {
        waiting: attempts.into_iter().enumerate().fuse(),
        running: Vec::new(),
        newest: None,
        timer: None,
        delay,
        errors: Vec::new(),
        won: None,
    };
    poll_fn(|context| {
        loop {
            race.poll_running(context);
            let over = race.running.is_empty();
            if let Some(won) = race.won.take_if(|_| over) {
                return Poll::Ready(Ok(won));
            }
            if race.won.is_some() || !race.is_next_due(context) {
                return Poll::Pending;
            }
            if !race.start_next() {
                return match over {
                    true => Poll::Ready(Err(race.take_errors())),
                    false => Poll::Pending,
                };
            }
        }
    })
    .await
}

/// What is kept beside an attempt that runs.
struct Attempt {
    scope: Scope,
    /// Another attempt has won, so this one is to end.
    superseded: bool,
    /// The request to end was delivered to what is inside.
    requested: bool,
}

impl Attempt {
    fn around<F: Future>(future: F) -> Held<F, Self> {
        let attempt = Self {
            scope: Scope::new(Kind::Region),
            superseded: false,
            requested: false,
        };
        Held::new(future, attempt)
    }

    /// Delivers the request to end, once. Outside of tasks there is no tree of scopes to deliver it to.
    fn request_end(&mut self, in_task: bool) {
        if self.superseded && in_task && !self.requested {
            self.requested = true;
            let text = "another attempt of its race has won";
            let request = Cancellation::new(Some(text.into()), CancelOrigin::Group, None);
            self.scope.deliver(&request);
        }
    }

    /// Drops what is inside if the attempt is to end and the request has been answered. Returns whether it has ended.
    fn ends<F>(&mut self, mut future: Pin<&mut Option<F>>, in_task: bool) -> bool {
        if !self.superseded || in_task && !self.scope.tear_down_region() {
            return false;
        }
        future.set(None);
        !in_task || !self.scope.pass()
    }
}

/// Returns the output of the attempt; `None` if it was ended before.
impl<F: Future> Future for Held<F, Attempt> {
    type Output = Option<F::Output>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let (mut future, attempt) = self.project();
        let in_task = attempt.scope.enter(context.waker());
        attempt.request_end(in_task);
        if attempt.ends(future.as_mut(), in_task) {
            attempt.scope.forget();
            return Poll::Ready(None);
        }
        let polled = attempt.scope.within(|| match future.as_mut().as_pin_mut() {
            Some(future) => future.poll(context),
            None => Poll::Pending,
        });
        if let Poll::Ready(value) = polled {
            attempt.scope.within(|| future.set(None));
            attempt.scope.complete();
            return Poll::Ready(Some(value));
        }
        if attempt.ends(future, in_task) {
            attempt.scope.forget();
            return Poll::Ready(None);
        }
        Poll::Pending
    }
}

/// An attempt that has started.
type Running<F> = Pin<Box<Held<F, Attempt>>>;

struct Race<I, F, T, E> {
    /// Attempts that have not started, with their indices.
    waiting: I,
    /// Attempts that have started and not ended, in that order.
    running: Vec<(usize, Running<F>)>,
    /// The attempt that started last, while it runs.
    newest: Option<usize>,
    /// Fires when the next attempt is due.
    timer: Option<Sleep>,
    delay: Option<Duration>,
    errors: Vec<(usize, E)>,
    /// The winner, while the others have not ended.
    won: Option<(usize, T)>,
}

impl<I, F, T, E> Race<I, F, T, E>
where
    I: Iterator<Item = (usize, F)>,
    F: Future<Output = Result<T, E>>,
{
    /// Polls the attempts that run, in the order of their start. Once one of them has won, the others are to end, and no
    /// more are started.
    fn poll_running(&mut self, context: &mut Context<'_>) {
        let mut at = 0;
        while let Some((_, attempt)) = self.running.get_mut(at) {
            let Poll::Ready(result) = attempt.as_mut().poll(context) else {
                at += 1;
                continue;
            };
            let (place, ended) = self.running.remove(at);
            drop(ended);
            match result {
                Some(Ok(value)) if self.won.is_none() => {
                    self.won = Some((place, value));
                    self.timer = None;
                    for (_, attempt) in &mut self.running {
                        attempt.as_mut().project().1.superseded = true;
                    }
                    at = 0;
                }
                Some(Err(error)) if self.won.is_none() => {
                    self.errors.push((place, error));
                    self.newest = self.newest.filter(|&newest| newest != place);
                }
                // It was superseded.
                result => drop(result),
            }
        }
    }

    /// Returns whether the newest attempt has failed, or has gone on for the delay.
    fn is_next_due(&mut self, context: &mut Context<'_>) -> bool {
        let timer = self.timer.as_mut();
        let fired = timer.is_some_and(|timer| Pin::new(timer).poll(context).is_ready());
        self.newest.is_none() || fired
    }

    /// Starts the next attempt. Returns whether there was one.
    fn start_next(&mut self) -> bool {
        self.timer = None;
        let Some((place, attempt)) = self.waiting.next() else {
            return false;
        };
        self.newest = Some(place);
        self.timer = self.delay.map(sleep);
        self.running
            .push((place, Box::pin(Attempt::around(attempt))));
        true
    }

    /// Takes the errors, in the order of the attempts.
    fn take_errors(&mut self) -> Vec<E> {
        self.errors.sort_by_key(|(place, _)| *place);
        self.errors.drain(..).map(|(_, error)| error).collect()
    }
}
