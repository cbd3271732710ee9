//! Many futures in one, each with a waker of its own, polled only when it was woken.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

type Boxed<'a, T> = Pin<Box<dyn Future<Output = T> + 'a>>;

/// A small `FuturesUnordered`: gives all outputs in the order in which they are ready, with their numbers.
pub(crate) struct JoinAll<'a, T> {
    members: Vec<(Arc<Notifier>, Option<Boxed<'a, T>>)>,
    outputs: Vec<(usize, T)>,
}

impl<T> Unpin for JoinAll<'_, T> {}

impl<'a, T> JoinAll<'a, T> {
    pub(crate) fn new() -> Self {
        Self {
            members: Vec::new(),
            outputs: Vec::new(),
        }
    }

    pub(crate) fn with(mut self, future: impl Future<Output = T> + 'a) -> Self {
        self.add(future);
        self
    }

    pub(crate) fn add(&mut self, future: impl Future<Output = T> + 'a) {
        let notifier = Arc::new(Notifier {
            notified: AtomicBool::new(true),
            parent: Mutex::new(None),
        });
        self.members.push((notifier, Some(Box::pin(future))));
    }
}

impl<T> Future for JoinAll<'_, T> {
    type Output = Vec<(usize, T)>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        let mut left = 0;
        for (number, (notifier, member)) in this.members.iter_mut().enumerate() {
            let Some(future) = member else { continue };
            notifier.set_parent(context.waker());
            if notifier.notified.swap(false, Ordering::SeqCst) {
                let waker = Waker::from(Arc::clone(notifier));
                if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker))
                {
                    *member = None;
                    this.outputs.push((number, output));
                    continue;
                }
            }
            left += 1;
        }
        if left > 0 {
            return Poll::Pending;
        }
        Poll::Ready(std::mem::take(&mut this.outputs))
    }
}

struct Notifier {
    notified: AtomicBool,
    parent: Mutex<Option<Waker>>,
}

impl Notifier {
    fn set_parent(&self, parent: &Waker) {
        let parent = Some(parent.clone());
        *self.parent.lock().unwrap_or_else(PoisonError::into_inner) = parent;
    }
}

impl Wake for Notifier {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.notified.store(true, Ordering::SeqCst);
        let parent = self.parent.lock().unwrap_or_else(PoisonError::into_inner);
        let parent = parent.clone();
        if let Some(parent) = parent {
            parent.wake();
        }
    }
}
