//! smol: async-executor's `LocalExecutor` under `async_io::block_on`, which drives timers and sockets.
//!
//! async-io keeps a thread of its own, which steps in when `block_on` does not look at the reactor for long; what it
//! spends is in the processor time of these rows, as it is in a program's.

use std::future::Future;
use std::pin::Pin;
use std::task::Context;
use std::time::{Duration, Instant};

use async_executor::{Executor, LocalExecutor};
use async_io::Timer;

use super::{Inbox, Peer, Posted};

/// The executor, leaked: a plain reference is the cheapest handle on it that a program could have.
#[derive(Clone)]
pub(crate) struct Smol(&'static LocalExecutor<'static>);

impl Peer for Smol {
    type Held = Timer;
    type Joined<T> = T;

    fn run<T: 'static, F: Future<Output = T> + 'static>(main: impl FnOnce(Self) -> F) -> T {
        let executor: &'static _ = Box::leak(Box::new(LocalExecutor::new()));
        let task = executor.spawn(main(Self(executor)));
        async_io::block_on(executor.run(task))
    }

    fn call_soon(&self, callback: impl FnOnce() + 'static) {
        self.0.spawn(async move { callback() }).detach();
    }

    fn spawn<T: 'static>(
        &self,
        future: impl Future<Output = T> + 'static,
    ) -> impl Future<Output = Self::Joined<T>> + 'static {
        self.0.spawn(future)
    }

    fn joined<T>(joined: Self::Joined<T>) -> T {
        joined
    }

    fn detach(&self, future: impl Future<Output = ()> + 'static) {
        self.0.spawn(future).detach();
    }

    fn yield_now() -> impl Future<Output = ()> + 'static {
        futures_lite::future::yield_now()
    }

    fn sleep_until(deadline: Instant) -> impl Future<Output = ()> + 'static {
        let timer = Timer::at(deadline);
        async move {
            timer.await;
        }
    }

    fn sleep(delay: Duration) -> impl Future<Output = ()> + 'static {
        // Not inside the async block: the delay counts from the call, as with tokio.
        let timer = Timer::after(delay);
        async move {
            timer.await;
        }
    }

    fn call_at(&self, deadline: Instant, callback: impl FnOnce() + 'static) {
        self.detach(async move {
            Timer::at(deadline).await;
            callback();
        });
    }

    fn hold(&self, deadline: Instant, context: &mut Context<'_>) -> Timer {
        armed(Timer::at(deadline), context)
    }

    fn cancel_at(&self, deadline: Instant, context: &mut Context<'_>) {
        drop(armed(Timer::at(deadline), context));
    }

    fn cancel_later(&self, delay: Duration, context: &mut Context<'_>) {
        drop(armed(Timer::after(delay), context));
    }

    fn sleep_dropped(deadline: Instant, context: &mut Context<'_>) {
        drop(armed(Timer::at(deadline), context));
    }

    fn without_budget<F: Future>(future: F) -> impl Future<Output = F::Output> {
        future
    }
}

/// Polls a timer once, which registers it.
fn armed(mut timer: Timer, context: &mut Context<'_>) -> Timer {
    assert!(Pin::new(&mut timer).poll(context).is_pending());
    timer
}

/// `Executor::spawn` from the other thread; a `LocalExecutor` cannot leave its own.
pub(crate) struct SmolSpawn(&'static Executor<'static>);

impl Inbox for SmolSpawn {
    fn run<T, F: Future<Output = T>>(main: impl FnOnce(Self) -> F) -> T {
        let executor: &'static _ = Box::leak(Box::new(Executor::new()));
        async_io::block_on(executor.run(main(Self(executor))))
    }

    fn post(&self, callback: impl FnOnce() + Send + 'static) {
        self.0.spawn(async move { callback() }).detach();
    }
}

/// async-channel, unbounded, of boxed closures, and a task on a `LocalExecutor` that runs them.
pub(crate) struct SmolChannel(async_channel::Sender<Posted>);

impl Inbox for SmolChannel {
    fn run<T, F: Future<Output = T>>(main: impl FnOnce(Self) -> F) -> T {
        let (sender, posts) = async_channel::unbounded::<Posted>();
        let executor = LocalExecutor::new();
        executor
            .spawn(async move {
                while let Ok(callback) = posts.recv().await {
                    callback();
                }
            })
            .detach();
        async_io::block_on(executor.run(main(Self(sender))))
    }

    fn post(&self, callback: impl FnOnce() + Send + 'static) {
        assert!(
            self.0.try_send(Box::new(callback)).is_ok(),
            "the receiver lives as long as the executor"
        );
    }
}
