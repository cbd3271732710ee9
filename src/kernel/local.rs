//! Per-loop slots for other modules, so that the loop's own struct names nothing outside the kernel.

use std::any::Any;
use std::rc::Rc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::kernel::loop_handle::LoopHandle;
use crate::kernel::loop_state::LoopState;

/// The place of the next static that is used for the first time.
static NEXT: AtomicUsize = AtomicUsize::new(0);

/// A static with one value per loop: made at first use, dropped when the loop closes.
///
/// ```
/// use std::cell::Cell;
/// static COUNTER: callsoon::LoopLocal<Cell<u32>> = callsoon::LoopLocal::new(|| Cell::new(0));
///
/// let event_loop = callsoon::EventLoop::new()?;
/// let other = callsoon::EventLoop::new()?;
/// COUNTER.with(&event_loop, |counter| counter.set(7));
/// assert_eq!(COUNTER.with(&event_loop, Cell::get), 7);
/// assert_eq!(COUNTER.with(&other, Cell::get), 0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct LoopLocal<T> {
    make: fn() -> T,
    /// This static's place in each loop's list, chosen at first use.
    place: OnceLock<usize>,
}

impl<T: 'static> LoopLocal<T> {
    /// Returns a slot whose values `make` makes.
    ///
    /// ```
    /// static NAMES: callsoon::LoopLocal<Vec<String>> = callsoon::LoopLocal::new(Vec::new);
    /// # let event_loop = callsoon::doctest::event_loop();
    /// assert!(NAMES.with(&event_loop, |names| names.is_empty()));
    /// ```
    pub const fn new(make: fn() -> T) -> Self {
        Self {
            make,
            place: OnceLock::new(),
        }
    }

    /// Calls `f` with the value of this loop. On a closed loop that is a fresh one, dropped at once.
    ///
    /// ```
    /// static ONE: callsoon::LoopLocal<u32> = callsoon::LoopLocal::new(|| 1);
    /// # let event_loop = callsoon::doctest::event_loop();
    /// assert_eq!(ONE.with(&event_loop, |one| one + 1), 2);
    /// ```
    pub fn with<R>(&'static self, handle: &LoopHandle, f: impl FnOnce(&T) -> R) -> R {
        let state = &handle.state;
        let place = *self
            .place
            .get_or_init(|| NEXT.fetch_add(1, Ordering::Relaxed));
        let present = state.locals.borrow().get(place).cloned().flatten();
        let value = match present.map(Rc::downcast::<T>) {
            Some(Ok(value)) => value,
            // A place belongs to one static, so it never has a value of another type.
            Some(Err(_)) | None => self.keep(state, place, Rc::new((self.make)())),
        };
        f(&value)
    }
    /// Stores a value that was just made, unless `make` itself has stored one meanwhile: then that one is used.
    fn keep(&self, state: &LoopState, place: usize, made: Rc<T>) -> Rc<T> {
        if state.is_closed() {
            return made;
        }
        let kept = {
            let mut locals = state.locals.borrow_mut();
            if locals.len() <= place {
                locals.resize_with(place + 1, || None::<Rc<dyn Any>>);
            }
            Rc::clone(locals[place].get_or_insert_with(|| made.clone()))
        };
        kept.downcast().unwrap_or(made)
    }
}
