//! Callbacks in a given context: asyncio's argument `context=`, as methods whose names end with `_in`.
//!
//! Rust has no optional arguments, so what takes a callback has a second method, which takes a [`Context`] before
//! everything else. A builder would be one more type for each call, and methods of `Context` could not be found from
//! the method that they vary. For tasks there is [`TaskBuilder::context`](crate::TaskBuilder::context), since a task has
//! other options too.
//!
//! The callback runs in that very context and not in a copy: what it sets is seen by all who have the context. A panic is
//! reported in the context too. `call_soon_threadsafe` has no such method, since a context stays on its thread.

use std::io;
use std::os::fd::AsRawFd;
use std::panic::Location;
use std::time::{Duration, Instant};

use crate::kernel::callback::{Handle, TimerHandle};
use crate::kernel::callee::Callee;
use crate::kernel::context::Context;
use crate::kernel::future::Future as LoopFuture;
use crate::kernel::io::readiness::Direction;
use crate::kernel::loop_handle::LoopHandle;
use crate::kernel::task::handle::Task;
use crate::kernel::task::reference::{CallbackId, TaskRef};

impl LoopHandle {
    /// Returns one more reference to a context, in which this loop is about to run something.
    fn share(&self, context: &Context) -> Option<Context> {
        self.state.instrumented.set(true);
        Some(context.clone())
    }

    /// Does the same as [`call_soon`](Self::call_soon), in `context` instead of a copy of the current one.
    ///
    /// # Panics
    /// Like [`call_soon`](Self::call_soon).
    ///
    /// ```
    /// static USER: callsoon::ContextVar<&str> = callsoon::ContextVar::new("user");
    /// # let event_loop = callsoon::doctest::event_loop();
    /// let context = callsoon::Context::new();
    /// event_loop.call_soon_in(&context, || { USER.set("ann"); });
    /// event_loop.run_until_complete(callsoon::yield_now()).unwrap();
    /// assert_eq!(context.run(|| USER.get()), Some("ann"));
    /// ```
    #[track_caller]
    pub fn call_soon_in(&self, context: &Context, callback: impl FnOnce() + 'static) -> Handle {
        self.queue_call_in(
            self.share(context),
            callback,
            Callee::Callback,
            Location::caller(),
        )
    }

    /// Does the same as [`call_later`](Self::call_later), in `context` instead of a copy of the current one.
    ///
    /// # Panics
    /// Like [`call_later`](Self::call_later).
    ///
    /// ```
    /// use std::time::Duration;
    /// static USER: callsoon::ContextVar<&str> = callsoon::ContextVar::new("user");
    /// # let event_loop = callsoon::doctest::event_loop();
    /// let context = callsoon::Context::new();
    /// context.run(|| USER.set("ann"));
    /// event_loop.call_later_in(&context, Duration::ZERO, || assert_eq!(USER.get(), Some("ann")));
    /// event_loop.run_until_complete(callsoon::sleep(Duration::from_millis(1))).unwrap();
    /// ```
    #[track_caller]
    pub fn call_later_in(
        &self,
        context: &Context,
        delay: Duration,
        callback: impl FnOnce() + 'static,
    ) -> TimerHandle {
        let state = &self.state;
        if delay.is_zero() {
            // The timer is due already, so the next turn must check the timers.
            state.event_polls.force();
        }
        let when = state.clock.after(delay);
        let (context, place) = (self.share(context), Location::caller());
        self.queue_timer_in(context, when, callback, place, "call_later_in")
    }

    /// Does the same as [`call_at`](Self::call_at), in `context` instead of a copy of the current one.
    ///
    /// # Panics
    /// Like [`call_at`](Self::call_at).
    ///
    /// ```
    /// # let event_loop = callsoon::doctest::event_loop();
    /// let when = event_loop.time() + std::time::Duration::from_secs(5);
    /// let handle = event_loop.call_at_in(&callsoon::copy_context(), when, || ());
    /// assert_eq!(handle.when(), when);
    /// ```
    #[track_caller]
    pub fn call_at_in(
        &self,
        context: &Context,
        when: Instant,
        callback: impl FnOnce() + 'static,
    ) -> TimerHandle {
        let when = self.state.clock.raw(when);
        let (context, place) = (self.share(context), Location::caller());
        self.queue_timer_in(context, when, callback, place, "call_at_in")
    }

    /// Does the same as [`add_reader`](Self::add_reader), in `context` instead of a copy of the current one.
    ///
    /// # Errors
    /// Those of [`add_reader`](Self::add_reader).
    ///
    /// # Differences from asyncio
    /// Its `add_reader` and `add_writer` have no `context`.
    ///
    /// ```
    /// # let event_loop = callsoon::doctest::event_loop();
    /// let (near, _far) = std::os::unix::net::UnixStream::pair()?;
    /// event_loop.add_reader_in(&callsoon::Context::new(), &near, || ())?;
    /// assert!(event_loop.remove_reader(&near));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[track_caller]
    pub fn add_reader_in(
        &self,
        context: &Context,
        fd: &impl AsRawFd,
        callback: impl FnMut() + 'static,
    ) -> io::Result<()> {
        let (context, callback) = (self.share(context), Box::new(callback));
        self.add_fd_callback(fd.as_raw_fd(), Direction::Read, context, callback)
    }

    /// Does the same as [`add_writer`](Self::add_writer), in `context` instead of a copy of the current one.
    ///
    /// # Errors
    /// Those of [`add_reader`](Self::add_reader).
    ///
    /// ```
    /// # let event_loop = callsoon::doctest::event_loop();
    /// let (near, _far) = std::os::unix::net::UnixStream::pair()?;
    /// event_loop.add_writer_in(&callsoon::Context::new(), &near, || ())?;
    /// assert!(event_loop.remove_writer(&near));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[track_caller]
    pub fn add_writer_in(
        &self,
        context: &Context,
        fd: &impl AsRawFd,
        callback: impl FnMut() + 'static,
    ) -> io::Result<()> {
        let (context, callback) = (self.share(context), Box::new(callback));
        self.add_fd_callback(fd.as_raw_fd(), Direction::Write, context, callback)
    }
}

impl TaskRef {
    /// Does the same as [`add_done_callback`](Self::add_done_callback), in `context` instead of a copy of the current one.
    ///
    /// # Panics
    /// If the loop is closed.
    ///
    /// ```
    /// # let event_loop = callsoon::doctest::event_loop();
    /// let task = event_loop.create_task(async {}).as_ref();
    /// let id = task.add_done_callback_in(&callsoon::Context::new(), |_| unreachable!());
    /// assert!(task.remove_done_callback(id));
    /// ```
    #[track_caller]
    pub fn add_done_callback_in(
        &self,
        context: &Context,
        callback: impl FnOnce(&TaskRef) + 'static,
    ) -> CallbackId {
        self.listen(self.event_loop().share(context), callback)
    }
}

impl<T: 'static> Task<T> {
    /// Does the same as [`add_done_callback`](Self::add_done_callback), in `context` instead of a copy of the current one.
    ///
    /// # Panics
    /// If the loop is closed.
    ///
    /// ```
    /// static USER: callsoon::ContextVar<&str> = callsoon::ContextVar::new("user");
    /// # let event_loop = callsoon::doctest::event_loop();
    /// let context = callsoon::Context::new();
    /// let task = event_loop.create_task(async {});
    /// task.add_done_callback_in(&context, |_| { USER.set("ann"); });
    /// event_loop.run_until_complete(async { task.await.unwrap(); callsoon::yield_now().await }).unwrap();
    /// assert_eq!(context.run(|| USER.get()), Some("ann"));
    /// ```
    #[track_caller]
    pub fn add_done_callback_in(
        &self,
        context: &Context,
        callback: impl FnOnce(&TaskRef) + 'static,
    ) -> CallbackId {
        self.as_ref().add_done_callback_in(context, callback)
    }
}

impl<T: 'static> LoopFuture<T> {
    /// Does the same as [`add_done_callback`](Self::add_done_callback), in `context` instead of a copy of the current one.
    ///
    /// # Panics
    /// If the loop is closed and the future is done.
    ///
    /// ```
    /// static USER: callsoon::ContextVar<&str> = callsoon::ContextVar::new("user");
    /// # let event_loop = callsoon::doctest::event_loop();
    /// let context = callsoon::Context::new();
    /// let future = event_loop.create_future();
    /// future.add_done_callback_in(&context, |_| { USER.set("ann"); });
    /// future.set_result(()).unwrap();
    /// event_loop.run_until_complete(callsoon::yield_now()).unwrap();
    /// assert_eq!(context.run(|| USER.get()), Some("ann"));
    /// ```
    #[track_caller]
    pub fn add_done_callback_in(
        &self,
        context: &Context,
        callback: impl FnOnce(&Self) + 'static,
    ) -> CallbackId {
        self.listen(self.event_loop().share(context), callback)
    }
}
