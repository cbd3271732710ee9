//! `catch_cancelled`: asyncio's `try … except CancelledError`.

use std::future::{Future, IntoFuture};
use std::pin::Pin;
use std::task::{Context, Poll};

use crate::kernel::cancel::node::Kind;
use crate::kernel::cancel::scope::Scope;
use crate::kernel::cancel::token::Cancelled;
use crate::kernel::task::cell::Held;

/// Runs `future`. When that is cancelled, drops it and returns the cancellation to the caller. The caller may then
/// clean up, await meanwhile, and decide: [`Cancelled::resume`] passes the cancellation on, and dropping it counts as
/// handled.
///
/// The code that has cancelled waits for that decision: a `timeout` around it, the group that it is part of, or the
/// task that awaits this one. A second request during the clean-up interrupts it.
///
/// Each branch of a `join!` decides for itself. A token that a branch merely returns stays undecided until the other
/// branches end, and the code that has cancelled waits for it. So match on the result inside the branch.
///
/// If a cancellation and a result come at the same time, the cancellation wins, as in asyncio, unless the future had
/// ended already. Outside any task nothing can be cancelled.
///
/// # Cancellation
/// That is what it is for. Dropping it drops `future`.
///
/// ```
/// use callsoon::{catch_cancelled, create_task, run, sleep};
/// use std::time::Duration;
///
/// async fn cancel_me() -> &'static str {
///     match catch_cancelled(sleep(Duration::from_secs(3600))).await {
///         Ok(()) => "slept well",
///         Err(cancelled) => {
///             sleep(Duration::from_millis(1)).await; // clean-up may take its time
///             cancelled.resume().await
///         }
///     }
/// }
///
/// run(async {
///     let task = create_task(cancel_me());
///     sleep(Duration::from_millis(1)).await;
///     task.cancel();
///     assert!(task.await.unwrap_err().cancelled().is_some());
/// }).unwrap();
/// ```
pub fn catch_cancelled<F: IntoFuture>(
    future: F,
) -> impl Future<Output = Result<F::Output, Cancelled>> {
    Held::new(future.into_future(), Catch(Scope::new(Kind::Catch)))
}

/// What `catch_cancelled` keeps beside its future.
struct Catch(Scope);

impl Catch {
    /// Returns the cancellation, if the catch was asked and may act: then everything below it is torn down.
    fn caught<F>(&mut self, mut future: Pin<&mut Option<F>>) -> Option<Cancelled> {
        if !self.0.is_asked() {
            return None;
        }
        let cancelled = Cancelled::catch(&mut self.0)?;
        future.set(None);
        Some(cancelled)
    }
}

impl<F: Future> Future for Held<F, Catch> {
    type Output = Result<F::Output, Cancelled>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let (mut future, catch) = self.project();
        if catch.0.enter(context.waker()) {
            if let Some(cancelled) = catch.caught(future.as_mut()) {
                return Poll::Ready(Err(cancelled));
            }
        }
        let polled = catch.0.within(|| match future.as_mut().as_pin_mut() {
            Some(future) => future.poll(context),
            None => panic!("catch_cancelled is polled after its end"),
        });
        match polled {
            Poll::Ready(value) => {
                catch.0.within(|| future.set(None));
                catch.0.complete();
                Poll::Ready(Ok(value))
            }
            // A cancellation may have been passed or raised inside.
            Poll::Pending => match catch.caught(future) {
                Some(cancelled) => Poll::Ready(Err(cancelled)),
                None => Poll::Pending,
            },
        }
    }
}
