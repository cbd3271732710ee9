//! futures-core's `FusedFuture` for what a program keeps while it waits for other things too: tasks and sleeps.
//!
//! `select!` of the `futures` crate asks for it, so that a loop around it does not poll again what has ended. Everything
//! else gets it by `FutureExt::fuse`.

use futures_core::FusedFuture;

use crate::kernel::task::handle::Task;
use crate::time::sleep::Sleep;

/// A task has terminated once its result was taken, by an await or by [`Task::result`].
///
/// ```
/// use std::time::Duration;
/// callsoon::run(async {
///     let mut work = callsoon::create_task(async { 6 * 7 });
///     let mut limit = callsoon::sleep(Duration::from_millis(10));
///     let mut answer = None;
///     loop {
///         futures_util::select! {
///             result = work => answer = result.ok(),
///             () = limit => break,
///         }
///     }
///     assert_eq!(answer, Some(42));
/// }).unwrap();
/// ```
impl<T: 'static> FusedFuture for Task<T> {
    fn is_terminated(&self) -> bool {
        self.is_taken()
    }
}

/// A sleep has terminated once it has ended.
///
/// ```
/// use futures_util::future::FusedFuture as _;
/// callsoon::run(async {
///     let mut nap = callsoon::sleep(std::time::Duration::from_millis(1));
///     assert!(!nap.is_terminated());
///     (&mut nap).await;
///     assert!(nap.is_terminated());
/// }).unwrap();
/// ```
impl FusedFuture for Sleep {
    fn is_terminated(&self) -> bool {
        self.is_over()
    }
}
