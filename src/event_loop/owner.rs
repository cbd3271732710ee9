//! `EventLoop`: the owner of a loop. Only the owner runs and closes it.

use std::fmt;
use std::future::IntoFuture;
use std::io;
use std::ops::Deref;
use std::panic::{Location, resume_unwind};
use std::pin::pin;
use std::rc::Rc;
use std::task::Context as TaskContext;
use std::time::Duration;

use crate::error::RunError;
use crate::kernel::close::close;
use crate::kernel::context::Context;
use crate::kernel::current_context::{
    close_to_thread_context, open_to_thread_context, thread_context,
};
use crate::kernel::enter::{enter_context, leave_context};
use crate::kernel::loop_handle::LoopHandle;
use crate::kernel::loop_state::{LoopState, Phase};
use crate::kernel::observation;
use crate::kernel::task::key::ROOT_SLOT;
use crate::kernel::task::root::{Outcome, Root, RootFuture, RootHeader};
use crate::kernel::task::slots::{Recency, TaskNodes};
use crate::kernel::task::state::Step;
use crate::kernel::task::waker::{Entered, enter, with_current};
use crate::kernel::turn::{announce_end, guest_turn, run};
use crate::kernel::wait_for_events::Wait;

/// An event loop: one thread, one FIFO queue.
///
/// It derefs to [`LoopHandle`], which has every method but those that run and close the loop. Dropping it closes it.
///
/// # Differences from asyncio
/// Running and closing need the owner, and dropping the owner closes the loop. In asyncio any reference can run or close a
/// loop, and a loop that is never closed warns when it is garbage-collected.
///
/// ```
/// use callsoon::EventLoop;
/// let event_loop = EventLoop::new()?;
/// event_loop.call_soon(|| println!("first"));
/// let answer = event_loop.run_until_complete(async {
///     callsoon::sleep(std::time::Duration::from_millis(1)).await;
///     42
/// });
/// assert_eq!(answer.unwrap(), 42);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// It cannot leave the thread that created it:
///
/// ```compile_fail,E0277
/// let event_loop = callsoon::EventLoop::new().unwrap();
/// std::thread::spawn(move || event_loop.run_forever());
/// ```
pub struct EventLoop {
    handle: LoopHandle,
}

/// The root of a run that has no main future: that of `run_forever` or `turn`.
struct NoRoot;

impl Root for NoRoot {
    fn step(&mut self, _: &mut TaskContext<'_>) -> Step {
        Step::Pending
    }
}

/// A run. While it exists, the loop is the thread's current one and is in phase `Running`. Its drop ends both, also when a
/// panic unwinds through the run.
struct Running {
    state: Rc<LoopState>,
    _entered: Entered,
}

impl Running {
    /// Ends the root of a run that did not complete it: its scopes are torn down, its future is dropped, and it counts as
    /// cancelled. Wakers of it that still exist find no task.
    fn abandon_root(&self, header: &RootHeader, discard: &mut dyn FnMut()) {
        let state = &self.state;
        state.tear_down(state.root_key());
        let outer = enter_context(state, header.header());
        let message = "Exception in the destructor of an unfinished main task";
        state.catch_panic(message, discard);
        header.header().state.finish_cancelled();
        announce_end(state, header.header());
        observation::abandon_root(state, header.header());
        leave_context(state, header.header(), outer);
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.state.phase.set(Phase::Idle);
        // A run that ended by an error or a panic has not used up what `stop` asked of it; the next run is another.
        self.state.stopping.set(false);
    }
}

impl EventLoop {
    pub(crate) fn from_state(state: Rc<LoopState>) -> Self {
        open_to_thread_context(&state);
        Self {
            handle: LoopHandle { state },
        }
    }

    /// Returns a handle that tasks and callbacks may keep.
    ///
    /// ```
    /// let event_loop = callsoon::EventLoop::new()?;
    /// let handle = event_loop.handle();
    /// handle.stop();
    /// event_loop.run_forever().unwrap();
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn handle(&self) -> LoopHandle {
        self.handle.clone()
    }

    /// Runs the loop until `future` is ready, and returns its value.
    ///
    /// The future need not be `'static`. It may be borrowed, as in `run_until_complete(&mut task)`. The turn in which it
    /// becomes ready is finished first. Other tasks keep their state for the next run.
    ///
    /// # Errors
    /// - [`RunError::Stopped`] if `stop` ended the run first. The future is dropped, unless it was borrowed.
    /// - [`RunError::Cancelled`] if the main task was cancelled.
    /// - [`RunError::Nested`] if this thread is running a loop already.
    /// - [`RunError::Closed`] after `close`.
    /// - [`RunError::Io`] if waiting for events fails.
    ///
    /// # Panics
    /// If `future` panics, the panic resumes here when the turn has ended. The loop can be run again.
    ///
    /// # Differences from asyncio
    /// The main future is a task that is not moved into the loop, so it need not be `'static`.
    ///
    /// ```
    /// let event_loop = callsoon::EventLoop::new()?;
    /// let text = String::from("borrowed");
    /// let length = event_loop.run_until_complete(async { text.len() }).unwrap();
    /// assert_eq!(length, 8);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[track_caller]
    pub fn run_until_complete<F: IntoFuture>(&self, future: F) -> Result<F::Output, RunError> {
        self.run_root(future, None, Location::caller())
    }

    /// [`run_until_complete`](Self::run_until_complete) in a context, if there is one: that very context, not a copy.
    pub(crate) fn run_root<F: IntoFuture>(
        &self,
        future: F,
        context: Option<Context>,
        location: &'static Location<'static>,
    ) -> Result<F::Output, RunError> {
        let run = self.begin()?;
        // Callbacks that were posted since the last run are queued before the main future.
        run.state.drain_inbox();
        let future = pin!(Some(future.into_future()));
        let header = self.install_root(context, location);
        let mut root = RootFuture {
            header,
            scheduler: Rc::clone(&run.state),
            future,
            outcome: None,
        };
        let ended = self.drive(&mut root);
        let former = run.state.root.task.take();
        if root.outcome.is_none() {
            // Of a borrowed future only the borrow is dropped here.
            run.abandon_root(&root.header, &mut || root.future.set(None));
        }
        drop(former);
        drop(run);
        match root.outcome.take() {
            Some(Outcome::Value(value)) => Ok(value),
            Some(Outcome::Cancelled(cancelled)) => Err(RunError::Cancelled(cancelled)),
            Some(Outcome::Panicked(payload)) => resume_unwind(payload),
            None => Err(ended.err().map_or(RunError::Stopped, RunError::Io)),
        }
    }

    /// Registers the root, so that its wakers find it, and queues its first step.
    fn install_root(
        &self,
        context: Option<Context>,
        location: &'static Location<'static>,
    ) -> RootHeader {
        let state = &self.handle.state;
        let (serial, generation) = state.queues(|queues| {
            let serial = queues.tasks.next_serial();
            (serial, queues.tasks.generation(serial))
        });
        let root = RootHeader::new(location, Rc::clone(state));
        let header = root.header();
        header.serial.set(serial);
        header.slot.set(ROOT_SLOT);
        state.root.generation.set(generation);
        state.root.scheduled.set(false);
        state.root.nodes.set(TaskNodes::Bare);
        state.root.recency.set(Recency::NEVER);
        let former = state.root.task.replace(Some(root.0.clone()));
        drop(former);
        state.schedule(state.root_key());
        let context = context.or_else(|| thread_context().map(|context| context.copy()));
        if context.is_some() {
            state.instrumented.set(true);
            header.with_cold(|cold| cold.context = context);
        }
        root
    }

    /// Runs the loop until [`stop`](LoopHandle::stop) is called.
    ///
    /// If `stop` was called before, this runs one turn, which polls for events without waiting and runs what is ready.
    ///
    /// # Errors
    /// - [`RunError::Nested`] if this thread is running a loop already.
    /// - [`RunError::Closed`] after `close`.
    /// - [`RunError::Io`] if waiting for events fails.
    ///
    /// ```
    /// let event_loop = callsoon::EventLoop::new()?;
    /// let handle = event_loop.handle();
    /// event_loop.call_soon(move || handle.stop());
    /// event_loop.run_forever().unwrap();
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn run_forever(&self) -> Result<(), RunError> {
        let _run = self.begin()?;
        self.drive(&mut NoRoot).map_err(RunError::Io)
    }

    /// Runs one turn, for a program whose own loop (a GUI's, libuv's) drives this one.
    ///
    /// It waits for something to do, at most for `timeout`, or without a limit if that is `None`. Then it runs everything
    /// that is ready, once. A signal that interrupts the wait (`EINTR`) ends it: the turn then runs what is ready, which may be
    /// nothing, and returns `Ok`. [`WaitHooks`](crate::WaitHooks) are told of the signal.
    ///
    /// From the first call until the next `run_*` the loop is in guest mode: [`as_raw_fd`](std::os::fd::AsRawFd) becomes
    /// readable when a turn has something to do. That is a timer, I/O, a post from another thread, or a callback that was
    /// queued between two turns. What a turn itself has queued does not make it readable: check
    /// [`has_ready`](LoopHandle::has_ready) after each turn. A host that sleeps on the descriptor before the first turn calls
    /// [`guest`](Self::guest) first.
    ///
    /// Under [`Clock::Virtual`](crate::Clock::Virtual) and [`Clock::Manual`](crate::Clock::Manual) no time passes while the host
    /// sleeps. So a timer makes the descriptor readable only when the host has moved the clock to it, by
    /// [`ClockHandle`](crate::ClockHandle). [`next_deadline`](LoopHandle::next_deadline) says where that is. Under
    /// `Virtual` a turn that may wait jumps there by itself.
    ///
    /// # Errors
    /// - [`RunError::Nested`] if this thread is running a loop already.
    /// - [`RunError::Closed`] after `close`.
    /// - [`RunError::Io`] if waiting for events fails, or if the descriptor cannot be prepared for the next turn.
    ///
    /// # Differences from asyncio
    /// asyncio has no guest mode.
    ///
    /// ```
    /// use std::time::Duration;
    /// let event_loop = callsoon::EventLoop::new()?;
    /// let task = event_loop.create_task(async { callsoon::yield_now().await });
    /// while !task.done() {
    ///     event_loop.turn(Some(Duration::ZERO)).unwrap();
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn turn(&self, timeout: Option<Duration>) -> Result<(), RunError> {
        let run = self.begin()?;
        let state = &run.state;
        state.inbox.awake();
        state.event_polls.force();
        let wait = timeout.map_or(Wait::Forever, Wait::For);
        let result = guest_turn(state, &mut NoRoot, wait);
        state.stopping.set(false);
        state.guest.set(true);
        let prepared = self.arm_poll_fd();
        drop(run);
        result.and(prepared).map_err(RunError::Io)
    }

    /// Puts the loop into guest mode before its first [`turn`](Self::turn), or after a `run_*`.
    ///
    /// From here on [`as_raw_fd`](std::os::fd::AsRawFd) becomes readable when a turn has something to do. It is readable
    /// already if something is ready. A host that sleeps on the descriptor before its first turn calls this before. Calling it
    /// again changes nothing.
    ///
    /// # Errors
    /// Those of [`turn`](Self::turn).
    ///
    /// # Differences from asyncio
    /// asyncio has no guest mode.
    ///
    /// ```
    /// use std::os::fd::AsRawFd;
    /// let event_loop = callsoon::EventLoop::new()?;
    /// event_loop.call_later(std::time::Duration::from_millis(2), || println!("due"));
    /// event_loop.guest().unwrap();
    /// let mut poll = libc::pollfd { fd: event_loop.as_raw_fd(), events: libc::POLLIN, revents: 0 };
    /// assert_eq!(unsafe { libc::poll(&mut poll, 1, 10_000) }, 1);
    /// event_loop.turn(Some(std::time::Duration::ZERO)).unwrap();
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn guest(&self) -> Result<(), RunError> {
        let state = &self.handle.state;
        if with_current(|_| ()).is_some() {
            return Err(RunError::Nested);
        }
        if state.is_closed() {
            return Err(RunError::Closed);
        }
        if state.guest.replace(true) {
            return Ok(());
        }
        self.arm_poll_fd().map_err(RunError::Io)?;
        if self.handle.has_ready() {
            // What was queued before notified nobody.
            self.handle.state.notify_host().map_err(RunError::Io)?;
        }
        Ok(())
    }

    /// Makes the poll descriptor become readable for everything that happens before the next guest turn: arms its timer for
    /// the next deadline, and has senders notify it.
    fn arm_poll_fd(&self) -> io::Result<()> {
        let state = &self.handle.state;
        state.guest_notified.set(false);
        let next = state.timers(|timers| timers.next_deadline());
        if let Some(deadline) = next.filter(|_| !state.clock.is_virtual()) {
            state.reactor(|reactor| reactor.arm(deadline, state.clock.now()))??;
        }
        let is_due = state.clock.is_virtual() && state.has_due_timer();
        if !state.inbox.fall_asleep() || is_due {
            // A callback was posted during the turn, when senders do not notify. Or the program moves the clock, which no
            // timer descriptor follows.
            state.notify_host()?;
        }
        Ok(())
    }

    /// Begins a run, unless the loop is closed or the thread is running a loop already.
    fn begin(&self) -> Result<Running, RunError> {
        let state = &self.handle.state;
        if with_current(|_| ()).is_some() {
            return Err(RunError::Nested);
        }
        if state.is_closed() {
            return Err(RunError::Closed);
        }
        let entered = enter(state);
        state.phase.set(Phase::Running);
        state.run_number.set(state.run_number.get().wrapping_add(1));
        Ok(Running {
            state: Rc::clone(state),
            _entered: entered,
        })
    }

    fn drive(&self, root: &mut dyn Root) -> io::Result<()> {
        let state = &*self.handle.state;
        state.event_polls.force();
        if state.guest.replace(false) {
            state.inbox.awake();
        }
        run(state, root)
    }

    /// Closes the loop for ever. A second call does nothing.
    ///
    /// Pending tasks end as cancelled, callbacks and timers are dropped without being run, and descriptors are closed. Each
    /// pending task is named in a report, as in asyncio: "Task was destroyed but it is pending!". A program that has work
    /// left cancels and awaits it before; [`run`](crate::run) and [`Runner::close`](crate::Runner::close) do so.
    ///
    /// Destructors that run now may call any method; new work is refused without a panic. If a destructor panics, the panic
    /// is reported and the other destructors still run.
    ///
    /// # Errors
    /// [`RunError::Nested`] while the loop is running.
    ///
    /// # Differences from asyncio
    /// The default executor is released without waiting for its jobs, and children that still run are killed. Pending tasks
    /// are reported at once. asyncio reports a pending task when it is garbage-collected, and leaves it pending.
    ///
    /// ```
    /// let event_loop = callsoon::EventLoop::new()?;
    /// event_loop.close().unwrap();
    /// assert!(event_loop.is_closed());
    /// assert!(matches!(event_loop.run_forever(), Err(callsoon::RunError::Closed)));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn close(&self) -> Result<(), RunError> {
        if self.handle.state.phase.get() == Phase::Running {
            return Err(RunError::Nested);
        }
        close(&self.handle.state);
        Ok(())
    }
}

impl Deref for EventLoop {
    type Target = LoopHandle;

    fn deref(&self) -> &LoopHandle {
        &self.handle
    }
}

impl Drop for EventLoop {
    fn drop(&mut self) {
        // The loop is not running: a run borrows the owner.
        close(&self.handle.state);
        close_to_thread_context(&self.handle.state);
    }
}

impl std::os::fd::AsRawFd for EventLoop {
    /// Returns the descriptor that becomes readable when a guest turn has something to do, or -1 after `close`.
    fn as_raw_fd(&self) -> std::os::fd::RawFd {
        self.handle
            .state
            .reactor(|reactor| reactor.poll_fd())
            .unwrap_or(-1)
    }
}

impl fmt::Debug for EventLoop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.handle.describe("EventLoop", f)
    }
}
