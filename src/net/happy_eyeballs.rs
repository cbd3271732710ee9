//! Happy eyeballs, RFC 8305: attempts that start one after the other without waiting for the ones before to fail.
//!
//! Two pieces that know nothing of sockets: the order of addresses, and the race. The next attempt starts when the newest
//! one fails or has gone on for the delay. The first success wins; all others are then cancelled, and the race returns when
//! they have ended. Each attempt is a scope of its own for that, like what is inside a limit whose time is over.

use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use crate::error::{CancelOrigin, Cancellation};
use crate::kernel::cancel::node::Kind;
use crate::kernel::cancel::scope::Scope;
use crate::kernel::task::cell::Held;
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
/// The attempts that have lost are cancelled, and their clean-up is awaited before the winner is given. An attempt that
/// handles its cancellation and goes on is waited for too. What losers return is dropped.
///
/// # Errors
/// The errors of all attempts, in the attempts' order, if none succeeds; none at all if there was no attempt.
///
/// # Panics
/// With a delay, outside a running loop. A panic of an attempt goes through.
///
/// # Cancellation
/// Cancels all attempts that run, and waits for their clean-up; a winner's value is then dropped. Dropping it drops all
/// attempts.
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
        won: None,
    };
    poll_fn(|context| {
        loop {
            if race.won.is_some() {
                return race.poll_losers(context).map(Ok);
            }
            match race.poll_running(context) {
                Poll::Ready(won) => race.end(won),
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

/// What is kept beside an attempt.
struct Attempt {
    scope: Scope,
    /// Another one has won.
    lost: bool,
    /// What is inside was asked to end.
    asked: bool,
}

impl Attempt {
    fn around<F: Future>(future: F) -> Held<F, Self> {
        let attempt = Self {
            scope: Scope::new(Kind::Region),
            lost: false,
            asked: false,
        };
        Held::new(future, attempt)
    }

    /// Asks what is inside to end, once. Outside any task nobody can be asked.
    fn ask(&mut self, in_task: bool) {
        if self.lost && in_task && !self.asked {
            self.asked = true;
            let text = "another attempt of its race has won";
            let request = Cancellation::new(Some(text.into()), CancelOrigin::Group, None);
            self.scope.deliver(&request);
        }
    }

    /// The end of an attempt that has lost, if what is inside is to be dropped.
    fn is_over<F>(&mut self, mut future: Pin<&mut Option<F>>, in_task: bool) -> bool {
        if !self.lost || in_task && !self.scope.tear_down_region() {
            return false;
        }
        future.set(None);
        !in_task || !self.scope.pass()
    }
}

/// Gives what the attempt gives; nothing where it was ended before.
impl<F: Future> Future for Held<F, Attempt> {
    type Output = Option<F::Output>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let (mut future, attempt) = self.project();
        let in_task = attempt.scope.enter(context.waker());
        attempt.ask(in_task);
        if attempt.is_over(future.as_mut(), in_task) {
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
        if attempt.is_over(future, in_task) {
            attempt.scope.forget();
            return Poll::Ready(None);
        }
        Poll::Pending
    }
}

/// An attempt that has started.
type Running<F> = Pin<Box<Held<F, Attempt>>>;

struct Race<I, F, T, E> {
    /// Attempts that have not started, with their places.
    waiting: I,
    /// Those that have, in that order.
    running: Vec<(usize, Running<F>)>,
    /// The attempt that started last, while it runs.
    newest: Option<usize>,
    /// Goes off when the next one is due.
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
    /// Polls who runs, first come first; ready is the winner.
    fn poll_running(&mut self, context: &mut Context<'_>) -> Poll<(usize, T)> {
        let mut at = 0;
        while let Some((_, attempt)) = self.running.get_mut(at) {
            match attempt.as_mut().poll(context) {
                Poll::Ready(Some(Ok(value))) => {
                    let (place, ended) = self.running.remove(at);
                    drop(ended);
                    return Poll::Ready((place, value));
                }
                Poll::Ready(Some(Err(error))) => {
                    let (place, ended) = self.running.remove(at);
                    drop(ended);
                    self.errors.push((place, error));
                    if self.newest == Some(place) {
                        self.newest = None;
                    }
                }
                Poll::Ready(None) => drop(self.running.remove(at)),
                Poll::Pending => at += 1,
            }
        }
        Poll::Pending
    }

    /// There is a winner: the others have lost, and the clock does not matter any more.
    fn end(&mut self, won: (usize, T)) {
        self.won = Some(won);
        self.timer = None;
        for (_, attempt) in &mut self.running {
            attempt.as_mut().project().1.lost = true;
        }
    }

    /// Polls the losers; ready is the winner, once they have ended.
    fn poll_losers(&mut self, context: &mut Context<'_>) -> Poll<(usize, T)> {
        let mut at = 0;
        while let Some((_, attempt)) = self.running.get_mut(at) {
            match attempt.as_mut().poll(context) {
                Poll::Ready(result) => {
                    let (_, ended) = self.running.remove(at);
                    drop((ended, result));
                }
                Poll::Pending => at += 1,
            }
        }
        match self.won.take_if(|_| self.running.is_empty()) {
            Some(won) => Poll::Ready(won),
            None => Poll::Pending,
        }
    }

    /// Whether the newest attempt has failed, or has had its time.
    fn is_next_due(&mut self, context: &mut Context<'_>) -> bool {
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
        self.running
            .push((place, Box::pin(Attempt::around(attempt))));
        true
    }

    fn take_errors(&mut self) -> Vec<E> {
        self.errors.sort_by_key(|(place, _)| *place);
        self.errors.drain(..).map(|(_, error)| error).collect()
    }
}
