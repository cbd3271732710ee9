//! Background futures: work of the loop itself that is no task, such as hearing signals or reaping children.
//!
//! A task would be listed in `all_tasks` and cancelled at a program's end. A background future is polled when its
//! source wakes it, while the turn polls for events, and is dropped when the loop closes. It may queue and wake, and
//! must not do anything that takes time.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Wake, Waker};

use slab::Slab;

use crate::kernel::local::LoopLocal;
use crate::kernel::loop_handle::LoopHandle;
use crate::kernel::note_wait::without_notes;
use crate::kernel::task::waker::current;

static BACKGROUND: LoopLocal<BackgroundFutures> = LoopLocal::new(BackgroundFutures::default);

#[derive(Default)]
struct BackgroundFutures {
    all: RefCell<Slab<Rc<BackgroundFuture>>>,
    /// Distinguishes the futures that use one slot in turn.
    serial: Cell<u64>,
}

struct BackgroundFuture {
    serial: u64,
    /// `None` while it is polled, and once it has ended.
    future: Cell<Option<Pin<Box<dyn Future<Output = ()>>>>>,
    /// It was woken since its last poll began.
    woken: Cell<bool>,
}

/// Polls `future` until it ends or the loop closes. Polls it for the first time at once.
pub(crate) fn keep(handle: &LoopHandle, future: impl Future<Output = ()> + 'static) {
    BACKGROUND.with(handle, |futures| {
        let serial = futures.serial.get();
        futures.serial.set(serial + 1);
        let entry = Rc::new(BackgroundFuture {
            serial,
            future: Cell::new(Some(Box::pin(future))),
            woken: Cell::new(false),
        });
        let place = futures.all.borrow_mut().insert(entry);
        futures.poll(&Arc::new(Call {
            epoch: handle.state.epoch,
            place,
            serial,
        }));
    });
}

impl BackgroundFutures {
    fn poll(&self, call: &Arc<Call>) {
        let entry = self.all.borrow().get(call.place).cloned();
        let Some(entry) = entry.filter(|entry| entry.serial == call.serial) else {
            return;
        };
        entry.woken.set(true);
        let Some(mut future) = entry.future.take() else {
            // It is being polled further down the stack, which polls it again.
            return;
        };
        let waker = Waker::from(Arc::clone(call));
        while entry.woken.replace(false) {
            let mut context = Context::from_waker(&waker);
            let polled = without_notes(|| future.as_mut().poll(&mut context));
            if polled.is_ready() {
                let ended = self.all.borrow_mut().try_remove(call.place);
                drop((ended, future));
                return;
            }
        }
        entry.future.set(Some(future));
    }
}

/// The waker of a background future. Only the reactor has it, and wakes it on the loop's own thread.
struct Call {
    epoch: u64,
    place: usize,
    serial: u64,
}

impl Wake for Call {
    fn wake(self: Arc<Self>) {
        let Some(state) = current() else { return };
        if state.epoch == self.epoch {
            BACKGROUND.with(&LoopHandle::of(&state), |futures| futures.poll(&self));
        }
    }
}
