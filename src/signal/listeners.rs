//! The listeners of one loop, and the dispatch of signals to them.

use std::cell::{Cell, RefCell};
use std::io;
use std::panic::{AssertUnwindSafe, Location, catch_unwind, resume_unwind};
use std::rc::Rc;
use std::sync::Mutex;

use mio::Interest;

use crate::event_loop::free::get_running_loop;
use crate::event_loop::remote::RemoteHandle;
use crate::kernel::background::keep;
use crate::kernel::callee::Callee;
use crate::kernel::context::Context as LoopContext;
use crate::kernel::enter::catch_panic;
use crate::kernel::inbox::held;
use crate::kernel::io::readiness::{Direction, Readiness};
use crate::kernel::io::source::Io;
use crate::kernel::local::LoopLocal;
use crate::kernel::loop_handle::LoopHandle;
use crate::kernel::wait::list::Awaiter;
use crate::signal::error::SignalError;
use crate::sys::signal::{Registration, SignalNotifier, Unfit, check};

static SIGNALS: LoopLocal<Signals> = LoopLocal::new(Signals::default);

/// All loops that watch the notifier. Used where the first loop that drains the notifier hides the event from the others.
static NOTIFIED_LOOPS: Mutex<Vec<RemoteHandle>> = Mutex::new(Vec::new());

/// The callback of a handler.
pub(crate) type Callback = Box<dyn FnMut()>;

/// The signal listeners of one loop.
#[derive(Default)]
struct Signals {
    /// The notifier is registered with the loop's reactor.
    notifier_registered: Cell<bool>,
    /// In the order in which they were added.
    listeners: RefCell<Vec<Rc<Listener>>>,
}

/// What a listener is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Role {
    /// The handler of its signal. A loop has one for each signal.
    Handler,
    /// A [`Signal`](crate::Signal) stream.
    Stream,
    /// [`Interrupts`](crate::signal::interrupts::Interrupts): receives a signal only if no other listener of the
    /// process does.
    Interrupts,
}

/// A listener for one signal.
pub(crate) struct Listener {
    pub(crate) signum: i32,
    role: Role,
    /// `None` once the listener has been removed, or its loop closed.
    registration: RefCell<Option<Registration>>,
    /// The signal's count when the loop last dispatched it to this listener.
    dispatched: Cell<u64>,
    /// The callback, taken out while it runs. A stream has none.
    callback: Cell<Option<Callback>>,
    /// A copy of the context in which it was added.
    context: Option<LoopContext>,
    /// Where it was added.
    location: &'static Location<'static>,
    /// The task that waits for a stream.
    pub(crate) awaiter: Cell<Option<Awaiter>>,
}

impl LoopHandle {
    /// Calls `callback` in the loop whenever the signal arrives. It replaces the loop's previous handler of this signal.
    ///
    /// It runs like a callback of `call_soon`, and not in signal context, so it may call anything. Arrivals of one signal
    /// that the loop has not dispatched yet cause one call. When the last listener of the process is removed or its loop
    /// closes, the signal's previous disposition is restored.
    ///
    /// # Errors
    /// - [`SignalError::Unknown`] if there is no signal of this number.
    /// - [`SignalError::Uncatchable`] for `SIGKILL`, `SIGSTOP`, and the signals that report a fault, such as `SIGSEGV`.
    /// - [`SignalError::Closed`] if the loop is closed.
    /// - [`SignalError::Io`] if the system refuses the handler, or the loop a descriptor.
    ///
    /// # Differences from asyncio
    /// A loop on any thread may listen for signals, and several loops may listen for the same one. In asyncio only the loop
    /// of the main thread can. The disposition that is restored is the previous one; asyncio restores the default.
    ///
    /// ```
    /// let event_loop = callsoon::EventLoop::new()?;
    /// let handle = event_loop.handle();
    /// event_loop.add_signal_handler(libc::SIGTERM, move || handle.stop())?;
    /// # use callsoon::doctest::kill as kill_from_elsewhere;
    /// kill_from_elsewhere("TERM");
    /// event_loop.run_forever()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[track_caller]
    pub fn add_signal_handler(
        &self,
        signum: i32,
        callback: impl FnMut() + 'static,
    ) -> Result<(), SignalError> {
        let callback: Callback = Box::new(callback);
        let registered = register(self, signum)?;
        let (role, place) = (Role::Handler, Location::caller());
        let listener = self.listen_for_signal(registered, role, Some(callback), place)?;
        SIGNALS.with(self, |signals| {
            let is_previous = |listed: &Rc<Listener>| {
                listed.is_handler_of(signum) && !Rc::ptr_eq(listed, &listener)
            };
            if let Some(previous) = signals.remove(is_previous) {
                // Arrivals that were not dispatched to the previous handler go to the new one.
                listener.dispatched.set(previous.dispatched.get());
                previous.release();
            }
            signals.dispatch(self);
        });
        Ok(())
    }

    /// Removes the handler of a signal. Returns `false` if there was none.
    ///
    /// It is not called again, not even for signals that have arrived already.
    ///
    /// ```
    /// let event_loop = callsoon::EventLoop::new()?;
    /// event_loop.add_signal_handler(libc::SIGUSR1, || ())?;
    /// assert!(event_loop.remove_signal_handler(libc::SIGUSR1));
    /// assert!(!event_loop.remove_signal_handler(libc::SIGUSR1));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn remove_signal_handler(&self, signum: i32) -> bool {
        if self.is_closed() {
            return false;
        }
        SIGNALS.with(self, |signals| {
            let removed = signals.remove(|listener| listener.is_handler_of(signum));
            removed.inspect(|listener| listener.release()).is_some()
        })
    }

    pub(crate) fn listen_for_signal(
        &self,
        registration: Registration,
        role: Role,
        callback: Option<Callback>,
        location: &'static Location<'static>,
    ) -> Result<Rc<Listener>, SignalError> {
        let context = self.state.copy_context();
        let listener = Rc::new(Listener {
            signum: registration.signum(),
            role,
            dispatched: Cell::new(registration.arrived()),
            registration: RefCell::new(Some(registration)),
            callback: Cell::new(callback),
            context,
            location,
            awaiter: Cell::new(None),
        });
        SIGNALS.with(self, |signals| {
            signals.register_notifier(self)?;
            signals.listeners.borrow_mut().push(Rc::clone(&listener));
            Ok(listener)
        })
    }
}

pub(crate) fn register(handle: &LoopHandle, signum: i32) -> Result<Registration, SignalError> {
    may_listen(handle, signum)?;
    Ok(Registration::new(signum)?)
}

pub(crate) fn may_listen(handle: &LoopHandle, signum: i32) -> Result<(), SignalError> {
    check(signum).map_err(|unfit| match unfit {
        Unfit::Unknown => SignalError::Unknown(signum),
        Unfit::Uncatchable => SignalError::Uncatchable(signum),
    })?;
    if handle.is_closed() {
        return Err(SignalError::Closed);
    }
    Ok(())
}

impl Signals {
    /// Registers the notifier with the loop's reactor, if that has not been done.
    fn register_notifier(&self, handle: &LoopHandle) -> io::Result<()> {
        if self.notifier_registered.get() {
            return Ok(());
        }
        let (notifier, readiness) = (SignalNotifier::new()?, Readiness::new(false, false));
        let notifier = Io::new(handle, notifier, Interest::READABLE, readiness)?;
        if !SignalNotifier::STAYS_READABLE {
            let mut loops = held(NOTIFIED_LOOPS.lock());
            loops.retain(|remote| !remote.is_closed());
            loops.push(handle.remote());
        }
        self.notifier_registered.set(true);
        keep(handle, async move {
            let handle = notifier.handle();
            let dispatch = |notifier: &SignalNotifier| {
                if !SignalNotifier::STAYS_READABLE {
                    notifier.drain();
                    dispatch_in_all_loops();
                }
                SIGNALS.with(&handle, |signals| signals.dispatch(&handle));
                Err::<(), _>(io::ErrorKind::WouldBlock.into())
            };
            // This background future ends with its loop.
            let dispatched = notifier.operate(Direction::Read, dispatch, |()| false);
            let _ = dispatched.await;
        });
        Ok(())
    }

    /// Dispatches signals: queues the callback, or wakes the task, of each listener whose signal has arrived.
    fn dispatch(&self, handle: &LoopHandle) {
        let listeners = self.listeners.borrow().clone();
        for listener in listeners {
            let Some((count, is_only_one)) = listener.count() else {
                continue;
            };
            if listener.dispatched.replace(count) == count {
                continue;
            }
            let (context, location) = (listener.context.clone(), listener.location);
            match listener.role {
                Role::Stream => {
                    if let Some(awaiter) = listener.awaiter.take() {
                        awaiter.wake();
                    }
                }
                Role::Handler => {
                    // The handler is looked up when the callback runs, so that a handler which is replaced until then is
                    // not called, and its signal goes to the new one.
                    let signum = listener.signum;
                    handle.queue_call_in(
                        context,
                        move || call_handler(signum),
                        Callee::Signal,
                        location,
                    );
                }
                Role::Interrupts if is_only_one => {
                    handle.queue_call_in(
                        context,
                        move || listener.call(),
                        Callee::Signal,
                        location,
                    );
                }
                // Another listener received this arrival, so it does not count: the next one is the first.
                Role::Interrupts => listener.start(),
            }
        }
    }

    /// Removes the first listener that `matches`, and returns it.
    fn remove(&self, matches: impl Fn(&Rc<Listener>) -> bool) -> Option<Rc<Listener>> {
        let mut listeners = self.listeners.borrow_mut();
        let place = listeners.iter().position(matches)?;
        Some(listeners.remove(place))
    }
}

/// Releases the registrations when the loop closes. Streams themselves may outlive it.
impl Drop for Signals {
    fn drop(&mut self) {
        for listener in std::mem::take(self.listeners.get_mut()) {
            listener.release();
        }
    }
}

/// Has every loop that watches the notifier dispatch signals.
fn dispatch_in_all_loops() {
    let loops = held(NOTIFIED_LOOPS.lock()).clone();
    for remote in loops {
        // A closed loop has no listeners.
        let _ = remote.call_soon_threadsafe(|| {
            let handle = get_running_loop();
            SIGNALS.with(&handle, |signals| signals.dispatch(&handle));
        });
    }
}

/// Calls the loop's current handler of a signal, if there is one.
fn call_handler(signum: i32) {
    let handle = get_running_loop();
    let handler = SIGNALS.with(&handle, |signals| {
        let listeners = signals.listeners.borrow();
        let handler = listeners.iter().find(|l| l.is_handler_of(signum));
        handler.cloned()
    });
    if let Some(handler) = handler {
        handler.call();
    }
}

impl Listener {
    fn is_handler_of(&self, signum: i32) -> bool {
        self.role == Role::Handler && self.signum == signum
    }

    /// Returns how often the signal has arrived, and whether this is its only listener in the process. Returns `None` after
    /// the listener was removed.
    pub(crate) fn count(&self) -> Option<(u64, bool)> {
        let registration = self.registration.borrow();
        let registration = registration.as_ref()?;
        Some((registration.arrived(), registration.is_only_one()))
    }

    /// Removes the listener from its loop. Restores the signal's disposition if it was the last listener of the process.
    pub(crate) fn end(self: &Rc<Self>, handle: &LoopHandle) {
        if !handle.is_closed() {
            let removed = SIGNALS.with(handle, |signals| {
                signals.remove(|listed| Rc::ptr_eq(listed, self))
            });
            drop(removed);
        }
        self.release();
    }

    /// Starts to count arrivals: the second one after the last dispatched arrival has the signal's default action.
    pub(crate) fn start(&self) {
        if let Some(registration) = &*self.registration.borrow() {
            registration.harden(self.dispatched.get() + 2);
        }
    }

    fn call(&self) {
        let Some(mut callback) = self.callback.take() else {
            return;
        };
        let result = catch_unwind(AssertUnwindSafe(&mut callback));
        if self.registration.borrow().is_some() {
            self.callback.set(Some(callback));
        } else {
            // The callback has removed its own listener. Its destructor is guarded, since a second panic would abort.
            drop_callback(callback);
        }
        if let Err(payload) = result {
            resume_unwind(payload);
        }
    }

    /// Gives up the registration, which restores the disposition if it was the last one, wakes the task that waits, and
    /// drops the callback.
    pub(crate) fn release(&self) {
        let registration = self.registration.borrow_mut().take();
        drop(registration);
        if let Some(awaiter) = self.awaiter.take() {
            awaiter.wake();
        }
        drop_callback(self.callback.take());
    }
}

fn drop_callback<T>(callback: T) {
    let message = "Exception in the destructor of a signal handler";
    catch_panic(message, || drop(callback));
}
