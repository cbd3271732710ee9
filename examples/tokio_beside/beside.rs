//! A tokio runtime in a side thread.

use std::future::Future;
use std::thread::JoinHandle;

use tokio::sync::oneshot;

use crate::there::There;

/// A tokio runtime in a thread of its own, which ends when this is dropped.
pub(crate) struct Beside {
    runtime: tokio::runtime::Handle,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Beside {
    pub(crate) fn start() -> std::io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let handle = runtime.handle().clone();
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::spawn(move || drop(runtime.block_on(stopped)));
        Ok(Self {
            runtime: handle,
            stop: Some(stop),
            thread: Some(thread),
        })
    }

    /// Runs a future there. What is returned may be awaited here, and aborts the future when it is dropped.
    pub(crate) fn spawn<T: Send + 'static>(
        &self,
        future: impl Future<Output = T> + Send + 'static,
    ) -> There<T> {
        There::new(self.runtime.spawn(future))
    }
}

impl Drop for Beside {
    fn drop(&mut self) {
        drop(self.stop.take());
        let ended = self.thread.take().map(JoinHandle::join);
        assert!(!matches!(ended, Some(Err(_))), "the side thread panicked");
    }
}
