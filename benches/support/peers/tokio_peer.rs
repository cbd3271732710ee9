//! tokio: the `current_thread` runtime with a `LocalSet`, since what callsoon's tasks hold need not be `Send`.

use std::future::Future;
use std::pin::{Pin, pin};
use std::task::Context;
use std::time::{Duration, Instant};

use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio::task::{JoinError, LocalSet, spawn_local};

use super::{Inbox, Peer, Posted};

fn runtime() -> Runtime {
    Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime")
}

/// Everything is a free function inside a `LocalSet`.
#[derive(Clone)]
pub(crate) struct Tokio;

impl Peer for Tokio {
    type Held = Pin<Box<tokio::time::Sleep>>;
    type Joined<T> = Result<T, JoinError>;

    fn run<T: 'static, F: Future<Output = T> + 'static>(main: impl FnOnce(Self) -> F) -> T {
        let main = main(Self);
        let joined = LocalSet::new().block_on(&runtime(), async { spawn_local(main).await });
        joined.expect("main does not panic")
    }

    fn call_soon(&self, callback: impl FnOnce() + 'static) {
        drop(spawn_local(async move { callback() }));
    }

    fn spawn<T: 'static>(
        &self,
        future: impl Future<Output = T> + 'static,
    ) -> impl Future<Output = Self::Joined<T>> + 'static {
        spawn_local(future)
    }

    fn joined<T>(joined: Self::Joined<T>) -> T {
        joined.expect("no task panics")
    }

    fn detach(&self, future: impl Future<Output = ()> + 'static) {
        drop(spawn_local(future));
    }

    fn yield_now() -> impl Future<Output = ()> + 'static {
        tokio::task::yield_now()
    }

    fn sleep_until(deadline: Instant) -> impl Future<Output = ()> + 'static {
        tokio::time::sleep_until(deadline.into())
    }

    fn sleep(delay: Duration) -> impl Future<Output = ()> + 'static {
        tokio::time::sleep(delay)
    }

    fn call_at(&self, deadline: Instant, callback: impl FnOnce() + 'static) {
        self.detach(async move {
            tokio::time::sleep_until(deadline.into()).await;
            callback();
        });
    }

    fn hold(&self, deadline: Instant, context: &mut Context<'_>) -> Self::Held {
        let mut sleep = Box::pin(tokio::time::sleep_until(deadline.into()));
        assert!(sleep.as_mut().poll(context).is_pending());
        sleep
    }

    fn cancel_at(&self, deadline: Instant, context: &mut Context<'_>) {
        Self::sleep_dropped(deadline, context);
    }

    fn cancel_later(&self, delay: Duration, context: &mut Context<'_>) {
        assert!(pin!(tokio::time::sleep(delay)).poll(context).is_pending());
    }

    fn sleep_dropped(deadline: Instant, context: &mut Context<'_>) {
        assert!(
            pin!(tokio::time::sleep_until(deadline.into()))
                .poll(context)
                .is_pending()
        );
    }

    fn without_budget<F: Future>(future: F) -> impl Future<Output = F::Output> {
        tokio::task::unconstrained(future)
    }
}

/// `Handle::spawn` from the other thread. A `LocalSet` cannot be reached from there, so the task goes to the runtime
/// itself; it has to be `Send`, which posted closures are.
pub(crate) struct TokioSpawn(Handle);

impl Inbox for TokioSpawn {
    fn run<T, F: Future<Output = T>>(main: impl FnOnce(Self) -> F) -> T {
        let runtime = runtime();
        let main = main(Self(runtime.handle().clone()));
        runtime.block_on(main)
    }

    fn post(&self, callback: impl FnOnce() + Send + 'static) {
        drop(self.0.spawn(async move { callback() }));
    }
}

/// An unbounded channel of boxed closures and a task in the `LocalSet` that runs them.
pub(crate) struct TokioChannel(UnboundedSender<Posted>);

impl Inbox for TokioChannel {
    fn run<T, F: Future<Output = T>>(main: impl FnOnce(Self) -> F) -> T {
        let (sender, mut posts) = unbounded_channel::<Posted>();
        let main = main(Self(sender));
        LocalSet::new().block_on(&runtime(), async move {
            drop(spawn_local(async move {
                while let Some(callback) = posts.recv().await {
                    callback();
                }
            }));
            main.await
        })
    }

    fn post(&self, callback: impl FnOnce() + Send + 'static) {
        assert!(
            self.0.send(Box::new(callback)).is_ok(),
            "the receiver lives as long as the loop"
        );
    }
}
