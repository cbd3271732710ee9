//! Signals as streams that tasks await.

use std::cell::Cell;
use std::fmt;
use std::future::poll_fn;
use std::panic::Location;
use std::rc::Rc;
use std::task::{Context, Poll};

use crate::error::LoopClosed;
use crate::event_loop::free::get_running_loop;
use crate::kernel::loop_handle::LoopHandle;
use crate::kernel::note_wait::{address, note_wait_anew};
use crate::kernel::proceed::{poll_within_budget, proceed};
use crate::kernel::task::waker::puts_off;
use crate::kernel::wait::list::Awaiter;
use crate::kernel::wait::wait_kind::WaitKind;
use crate::signal::error::SignalError;
use crate::signal::listeners::{Listener, Role, register};

impl LoopHandle {
    /// Returns a stream of the arrivals of a signal from now on. See [`signal`].
    ///
    /// # Errors
    /// Those of [`add_signal_handler`](Self::add_signal_handler).
    ///
    /// ```
    /// let event_loop = callsoon::EventLoop::new()?;
    /// let mut hangups = event_loop.signal(libc::SIGHUP)?;
    /// # use callsoon::doctest::kill as kill_from_elsewhere;
    /// kill_from_elsewhere("HUP");
    /// event_loop.run_until_complete(hangups.recv())??;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[track_caller]
    pub fn signal(&self, signum: i32) -> Result<Signal, SignalError> {
        let registered = register(self, signum)?;
        let seen = registered.arrived();
        let listener =
            self.listen_for_signal(registered, Role::Stream, None, Location::caller())?;
        Ok(Signal {
            handle: self.clone(),
            listener,
            seen: Cell::new(seen),
        })
    }
}

/// A stream of the arrivals of one signal. Created by [`signal`](fn@signal).
///
/// ```
/// # callsoon::run(async {
/// let mut winch: callsoon::Signal = callsoon::signal(libc::SIGWINCH).unwrap();
/// # callsoon::doctest::kill("WINCH");
/// winch.recv().await.unwrap();
/// # }).unwrap();
/// ```
#[must_use = "while it exists, the signal has no other effect"]
pub struct Signal {
    handle: LoopHandle,
    listener: Rc<Listener>,
    /// The signal's count when `recv` last returned.
    seen: Cell<u64>,
}

impl Signal {
    /// Waits until the signal arrives.
    ///
    /// If it has arrived since the last `recv` returned, or since the stream was created, this returns at once. Several
    /// such arrivals count as one.
    ///
    /// # Errors
    /// [`LoopClosed`] if the stream's loop has closed.
    ///
    /// # Cancellation
    /// Dropping it loses no arrival.
    ///
    /// ```
    /// # callsoon::run(async {
    /// let mut usr1 = callsoon::signal(libc::SIGUSR1).unwrap();
    /// # callsoon::doctest::kill("USR1");
    /// usr1.recv().await.unwrap();
    /// # }).unwrap();
    /// ```
    pub async fn recv(&mut self) -> Result<(), LoopClosed> {
        proceed().await;
        let _waiting = Waiting(&self.listener);
        poll_fn(|context| self.poll_arrival(context)).await
    }

    /// Polls for the signal: [`recv`](Self::recv) as a poll function.
    ///
    /// # Errors
    /// [`LoopClosed`] if the loop is closed.
    ///
    /// ```
    /// # use std::future::poll_fn;
    /// # callsoon::run(async {
    /// let mut usr1 = callsoon::signal(libc::SIGUSR1).unwrap();
    /// # callsoon::doctest::kill("USR1");
    /// poll_fn(|context| usr1.poll_recv(context)).await.unwrap();
    /// # }).unwrap();
    /// ```
    pub fn poll_recv(&mut self, context: &mut Context<'_>) -> Poll<Result<(), LoopClosed>> {
        poll_within_budget(context, |context| self.poll_arrival(context))
    }

    fn poll_arrival(&self, context: &Context<'_>) -> Poll<Result<(), LoopClosed>> {
        if self.has_arrived() && puts_off(context.waker()) {
            return Poll::Pending;
        }
        if let Some(arrived) = self.poll_seen() {
            return Poll::Ready(arrived);
        }
        let awaiter = Awaiter::new(context.waker());
        // Another runtime's waker is user code, so the signal may have arrived while it was cloned.
        if let Some(arrived) = self.poll_seen() {
            return Poll::Ready(arrived);
        }
        let replaced = self.listener.awaiter.replace(Some(awaiter));
        let is_new = replaced.is_none();
        drop(replaced);
        note_wait_anew(WaitKind::Signal, is_new, || address(&*self.listener));
        Poll::Pending
    }

    fn has_arrived(&self) -> bool {
        let count = self.listener.count();
        count.is_some_and(|(count, _)| self.seen.get() != count)
    }

    fn poll_seen(&self) -> Option<Result<(), LoopClosed>> {
        let Some((count, _)) = self.listener.count() else {
            return Some(Err(LoopClosed));
        };
        (self.seen.replace(count) != count).then_some(Ok(()))
    }
}

/// Removes the registered waker when the wait ends or is dropped.
struct Waiting<'a>(&'a Listener);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        drop(self.0.awaiter.take());
    }
}

impl Drop for Signal {
    fn drop(&mut self) {
        self.listener.end(&self.handle);
    }
}

impl fmt::Debug for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signal")
            .field("signum", &self.listener.signum)
            .finish_non_exhaustive()
    }
}

/// Returns a stream of the arrivals of a signal, on the running loop. While it exists, the signal has no other effect.
///
/// # Errors
/// Those of [`LoopHandle::add_signal_handler`].
///
/// # Differences from asyncio
/// asyncio has handlers only. Like [`LoopHandle::add_signal_handler`], a stream works on a loop of any thread, and the
/// previous disposition is restored when the last listener of the process is dropped.
///
/// # Panics
/// Outside a running loop.
///
/// ```
/// # callsoon::run(async {
/// let mut hangups = callsoon::signal(libc::SIGHUP).unwrap();
/// # callsoon::doctest::kill("HUP");
/// hangups.recv().await.unwrap();
/// println!("the configuration is read again");
/// # }).unwrap();
/// ```
#[track_caller]
pub fn signal(signum: i32) -> Result<Signal, SignalError> {
    get_running_loop().signal(signum)
}

/// Waits for Ctrl-C, from the first poll on. When it returns, Ctrl-C has its previous effect again.
///
/// # Errors
/// Those of [`LoopHandle::add_signal_handler`].
///
/// # Panics
/// When awaited outside a running loop.
///
/// # Cancellation
/// Dropping it restores the previous effect of Ctrl-C.
///
/// ```
/// # callsoon::run(async {
/// # callsoon::get_running_loop().call_soon(|| callsoon::doctest::kill("INT"));
/// callsoon::ctrl_c().await.unwrap();
/// println!("shutting down");
/// # }).unwrap();
/// ```
pub async fn ctrl_c() -> Result<(), SignalError> {
    match signal(libc::SIGINT) {
        Ok(mut interrupts) => Ok(interrupts.recv().await?),
        Err(error) => {
            proceed().await;
            Err(error)
        }
    }
}
