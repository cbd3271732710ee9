//! callsoon: callbacks are callbacks, timers are callbacks too, posts go through `call_soon_threadsafe`.

use std::cell::Cell;
use std::future::Future;
use std::pin::pin;
use std::rc::Rc;
use std::task::Context;
use std::time::{Duration, Instant};

use callsoon::{EventLoop, LoopHandle, RemoteHandle, TaskError};

use super::{Inbox, Peer};

/// The loop's handle, and what the callbacks of `cancel_at` capture.
#[derive(Clone)]
pub(crate) struct Callsoon {
    event_loop: LoopHandle,
    fired: Rc<Cell<u64>>,
}

impl Callsoon {
    /// The callback of a timer that is about to be cancelled: it owns one `Rc`, as a real one would.
    fn callback(&self) -> impl FnOnce() + 'static {
        let fired = Rc::clone(&self.fired);
        move || fired.set(fired.get() + 1)
    }

    /// [`run`](Peer::run) on a loop with other settings.
    pub(crate) fn run_on<T: 'static, F: Future<Output = T> + 'static>(
        event_loop: EventLoop,
        main: impl FnOnce(Self) -> F,
    ) -> T {
        // Rows that measure idle tasks leave them pending, of which a loop that closes would report each.
        event_loop.set_exception_handler(|_, context| {
            if !context.message.starts_with("Task was destroyed") {
                eprintln!("{context}");
            }
        });
        let main = main(Self {
            event_loop: event_loop.handle(),
            fired: Rc::default(),
        });
        let joined = event_loop.run_until_complete(async { callsoon::create_task(main).await });
        joined
            .expect("the loop is not stopped")
            .expect("main does not panic")
    }
}

impl Peer for Callsoon {
    /// The loop owns the timer.
    type Held = ();
    type Joined<T> = Result<T, TaskError>;

    fn run<T: 'static, F: Future<Output = T> + 'static>(main: impl FnOnce(Self) -> F) -> T {
        Self::run_on(EventLoop::new().expect("a loop"), main)
    }

    fn call_soon(&self, callback: impl FnOnce() + 'static) {
        self.event_loop.call_soon(callback);
    }

    fn spawn<T: 'static>(
        &self,
        future: impl Future<Output = T> + 'static,
    ) -> impl Future<Output = Self::Joined<T>> + 'static {
        callsoon::create_task(future)
    }

    fn joined<T>(joined: Self::Joined<T>) -> T {
        joined.expect("no task panics")
    }

    fn detach(&self, future: impl Future<Output = ()> + 'static) {
        let _task = callsoon::create_task(future);
    }

    fn yield_now() -> impl Future<Output = ()> + 'static {
        callsoon::yield_now()
    }

    fn sleep_until(deadline: Instant) -> impl Future<Output = ()> + 'static {
        callsoon::sleep_until(deadline)
    }

    fn sleep(delay: Duration) -> impl Future<Output = ()> + 'static {
        callsoon::sleep(delay)
    }

    fn call_at(&self, deadline: Instant, callback: impl FnOnce() + 'static) {
        self.event_loop.call_at(deadline, callback);
    }

    fn hold(&self, deadline: Instant, _context: &mut Context<'_>) {
        self.event_loop.call_at(deadline, self.callback());
    }

    fn cancel_at(&self, deadline: Instant, _context: &mut Context<'_>) {
        self.event_loop.call_at(deadline, self.callback()).cancel();
    }

    fn cancel_later(&self, delay: Duration, _context: &mut Context<'_>) {
        self.event_loop.call_later(delay, self.callback()).cancel();
    }

    fn sleep_dropped(deadline: Instant, context: &mut Context<'_>) {
        assert!(
            pin!(callsoon::sleep_until(deadline))
                .poll(context)
                .is_pending()
        );
    }

    fn without_budget<F: Future>(future: F) -> impl Future<Output = F::Output> {
        future
    }
}

/// `RemoteHandle::call_soon_threadsafe` on a loop as it comes.
pub(crate) struct CallsoonInbox(RemoteHandle);

impl Inbox for CallsoonInbox {
    fn run<T, F: Future<Output = T>>(main: impl FnOnce(Self) -> F) -> T {
        let event_loop = EventLoop::new().expect("a loop");
        let main = main(Self(event_loop.remote()));
        event_loop
            .run_until_complete(main)
            .expect("the loop is not stopped")
    }

    fn post(&self, callback: impl FnOnce() + Send + 'static) {
        self.0
            .call_soon_threadsafe(callback)
            .expect("the loop is open");
    }
}

/// The same on a loop that spins before it sleeps.
pub(crate) struct SpinningInbox(RemoteHandle);

/// Longer than the row's pause between posts, so that the loop is still spinning when the next one comes.
const SPIN: Duration = Duration::from_millis(2);

impl Inbox for SpinningInbox {
    fn run<T, F: Future<Output = T>>(main: impl FnOnce(Self) -> F) -> T {
        let event_loop = EventLoop::builder().spin(SPIN).build().expect("a loop");
        let main = main(Self(event_loop.remote()));
        event_loop
            .run_until_complete(main)
            .expect("the loop is not stopped")
    }

    fn post(&self, callback: impl FnOnce() + Send + 'static) {
        self.0
            .call_soon_threadsafe(callback)
            .expect("the loop is open");
    }
}
