//! Who listens for signals on one loop, and how the loop hears of them.

use std::cell::{Cell, RefCell};
use std::io;
use std::panic::{AssertUnwindSafe, Location, catch_unwind, resume_unwind};
use std::rc::Rc;
use std::sync::{Mutex, PoisonError};

use mio::Interest;

use crate::event_loop::free::get_running_loop;
use crate::event_loop::remote::RemoteHandle;
use crate::kernel::background::keep;
use crate::kernel::context::Context as LoopContext;
use crate::kernel::enter::catch_panic;
use crate::kernel::io::readiness::{Direction, Readiness};
use crate::kernel::io::source::Io;
use crate::kernel::local::LoopLocal;
use crate::kernel::loop_handle::LoopHandle;
use crate::signal::error::SignalError;
use crate::sync::wait_list::Awaiter;
use crate::sys::signal::{Registration, SignalNotifier, Unfit, check};

static SIGNALS: LoopLocal<Signals> = LoopLocal::new(Signals::default);

/// The loops that watch the bell, where one that hears it takes the stroke away from the others.
static LISTENING: Mutex<Vec<RemoteHandle>> = Mutex::new(Vec::new());

/// What a handler does.
pub(crate) type Callback = Box<dyn FnMut()>;

/// What one loop knows of signals.
#[derive(Default)]
struct Signals {
    /// The bell is registered.
    hearing: Cell<bool>,
    /// In the order in which they came.
    listeners: RefCell<Vec<Rc<Listener>>>,
}

/// What a listener is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Role {
    /// The handler of its signal, of which a loop has one.
    Handler,
    /// A [`Signal`].
    Stream,
    /// [`Interrupts`]: hears only what nobody else has asked for.
    Interrupts,
}

/// One who wants to hear of one signal.
pub(crate) struct Listener {
    pub(crate) signum: i32,
    role: Role,
    /// `None` once the listener has been removed, or its loop closed.
    registration: RefCell<Option<Registration>>,
    /// The signal's count when the loop last heard of it.
    heard: Cell<u64>,
    /// What to call; out of its place while it runs. A stream has none.
    callback: Cell<Option<Callback>>,
    /// The context in which it was added, and where.
    context: Option<LoopContext>,
    location: &'static Location<'static>,
    /// Who waits for a stream.
    pub(crate) awaiter: Cell<Option<Awaiter>>,
}

impl LoopHandle {
    /// Calls `callback` in the loop whenever the signal arrives, in place of the handler that was there before.
    ///
    /// It runs like a callback of `call_soon`, once for each burst of the same signal. The signal's former disposition is
    /// put back when the last listener of the process is removed or its loop closes.
    ///
    /// # Errors
    /// [`SignalError::Unknown`] and [`SignalError::Uncatchable`] for numbers that cannot be listened for,
    /// [`SignalError::Closed`], and [`SignalError::Io`] where the system refuses.
    ///
    /// ```
    /// let event_loop = callsoon::EventLoop::new()?;
    /// let handle = event_loop.handle();
    /// event_loop.add_signal_handler(libc::SIGTERM, move || handle.stop())?;
    /// # let own = std::process::id().to_string();
    /// # let kill_from_elsewhere = || std::process::Command::new("kill").args(["-TERM", &own]).status();
    /// kill_from_elsewhere()?;
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
        let listener = self.listen_for_signal(
            registered,
            Role::Handler,
            Some(callback),
            Location::caller(),
        )?;
        SIGNALS.with(self, |signals| {
            let is_former = |present: &Rc<Listener>| {
                present.is_handler_of(signum) && !Rc::ptr_eq(present, &listener)
            };
            if let Some(former) = signals.remove(is_former) {
                // What the former has not heard yet is the new one's.
                listener.heard.set(former.heard.get());
                former.release();
            }
            signals.hear(self);
        });
        Ok(())
    }

    /// Removes the handler of a signal; `false` where there was none. It is not called again, also for signals that
    /// have arrived already.
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
            heard: Cell::new(registration.arrived()),
            registration: RefCell::new(Some(registration)),
            callback: Cell::new(callback),
            context,
            location,
            awaiter: Cell::new(None),
        });
        SIGNALS.with(self, |signals| {
            signals.watch_bell(self)?;
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
    /// Registers the bell with the loop's reactor, if that has not been done.
    fn watch_bell(&self, handle: &LoopHandle) -> io::Result<()> {
        if self.hearing.get() {
            return Ok(());
        }
        let readiness = Readiness::new(false, false);
        let bell = Io::new(
            handle,
            SignalNotifier::new()?,
            Interest::READABLE,
            readiness,
        )?;
        if !SignalNotifier::STAYS_READABLE {
            let mut loops = LISTENING.lock().unwrap_or_else(PoisonError::into_inner);
            loops.retain(|listening| !listening.is_closed());
            loops.push(handle.remote());
        }
        self.hearing.set(true);
        keep(handle, async move {
            let handle = bell.handle();
            let hear = |bell: &SignalNotifier| {
                if !SignalNotifier::STAYS_READABLE {
                    bell.drain();
                    tell_all();
                }
                SIGNALS.with(&handle, |signals| signals.hear(&handle));
                Err::<(), _>(io::ErrorKind::WouldBlock.into())
            };
            // Ends with the loop only.
            let _ = bell.operate(Direction::Read, hear, |()| false).await;
        });
        Ok(())
    }

    /// Tells every listener whose signal has arrived.
    fn hear(&self, handle: &LoopHandle) {
        let listeners = self.listeners.borrow().clone();
        for listener in listeners {
            let Some((count, alone)) = listener.count() else {
                continue;
            };
            if listener.heard.replace(count) == count {
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
                    // Whoever is the handler when the callback's turn comes: none that was replaced, and none's signal
                    // is lost by replacing it.
                    let signum = listener.signum;
                    handle.queue_call_in(context, move || call_handler(signum), location);
                }
                Role::Interrupts if alone => {
                    handle.queue_call_in(context, move || listener.call(), location);
                }
                // It was for somebody else, and so does not count: the next one is the first.
                Role::Interrupts => listener.start(),
            }
        }
    }

    /// Takes the first listener that `is_it` out of the list.
    fn remove(&self, is_it: impl Fn(&Rc<Listener>) -> bool) -> Option<Rc<Listener>> {
        let mut listeners = self.listeners.borrow_mut();
        let place = listeners.iter().position(is_it)?;
        Some(listeners.remove(place))
    }
}

/// The loop closes. Streams may live on in somebody's hands, but not what they had registered.
impl Drop for Signals {
    fn drop(&mut self) {
        for listener in std::mem::take(self.listeners.get_mut()) {
            listener.release();
        }
    }
}

/// Makes every loop that watches the bell hear.
fn tell_all() {
    let loops = LISTENING
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .clone();
    for listening in loops {
        // A closed one has nothing to hear.
        let _ = listening.call_soon_threadsafe(|| {
            let handle = get_running_loop();
            SIGNALS.with(&handle, |signals| signals.hear(&handle));
        });
    }
}

/// Calls the loop's handler of a signal, if there still is one.
fn call_handler(signum: i32) {
    let handle = get_running_loop();
    let handler = SIGNALS.with(&handle, |signals| {
        let listeners = signals.listeners.borrow();
        let mut handlers = listeners.iter();
        handlers
            .find(|present| present.is_handler_of(signum))
            .cloned()
    });
    if let Some(handler) = handler {
        handler.call();
    }
}

impl Listener {
    fn is_handler_of(&self, signum: i32) -> bool {
        self.role == Role::Handler && self.signum == signum
    }

    /// The signal's count, and whether nobody else in the process listens for it; `None` once removed.
    pub(crate) fn count(&self) -> Option<(u64, bool)> {
        let registration = self.registration.borrow();
        let registration = registration.as_ref()?;
        Some((registration.arrived(), registration.is_only_one()))
    }

    /// Ends the listener for good: its loop forgets it, and the signal's disposition is put back if it was the last.
    pub(crate) fn end(self: &Rc<Self>, handle: &LoopHandle) {
        if !handle.is_closed() {
            let removed = SIGNALS.with(handle, |signals| {
                signals.remove(|present| Rc::ptr_eq(present, self))
            });
            drop(removed);
        }
        self.release();
    }

    /// From what the loop has heard on, the second arrival has the signal's default action.
    pub(crate) fn start(&self) {
        if let Some(registration) = &*self.registration.borrow() {
            registration.harden(self.heard.get() + 2);
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
            // It has removed itself. Two panics at once would be the end of the process.
            drop_foreign(callback);
        }
        if let Err(payload) = result {
            resume_unwind(payload);
        }
    }

    /// Puts the signal's disposition back, if this was its last listener, and ends what is left.
    pub(crate) fn release(&self) {
        let registration = self.registration.borrow_mut().take();
        drop(registration);
        if let Some(awaiter) = self.awaiter.take() {
            awaiter.wake();
        }
        drop_foreign(self.callback.take());
    }
}

fn drop_foreign<T>(foreign: T) {
    catch_panic("Exception in the destructor of a signal handler", || {
        drop(foreign)
    });
}
