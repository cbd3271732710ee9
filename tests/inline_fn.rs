//! Its own file because it includes a private module of the kernel, without the crate, to count the drops in it.

#[expect(
    dead_code,
    reason = "the inbox, which is not included, asks for memory ahead and looks at what a place owns"
)]
#[path = "../src/kernel/inline_fn.rs"]
mod inline_fn;
#[path = "../src/sys"]
mod sys {
    #[expect(dead_code, reason = "closures need a part of it")]
    pub(crate) mod prefetch;
}

use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread;

use inline_fn::{InlineFn, SendFn, Stored};

thread_local! {
    /// Where each probe was when it was dropped.
    static DROPS: RefCell<Vec<usize>> = const { RefCell::new(Vec::new()) };
    /// How often a closure ran to its end.
    static CALLS: Cell<usize> = const { Cell::new(0) };
}

/// Takes no room, so that a closure's size is what the test says; counts itself when dropped, then panics if that is
/// set.
struct Probe<const PANICS: bool>;

impl<const PANICS: bool> Drop for Probe<PANICS> {
    fn drop(&mut self) {
        DROPS.with_borrow_mut(|drops| drops.push(&raw const *self as usize));
        if PANICS {
            panic!("drop");
        }
    }
}

/// `SIZE` bytes that notice when they were not moved whole.
struct Load<const SIZE: usize, const PANICS: bool = false> {
    bytes: [u8; SIZE],
    _probe: Probe<PANICS>,
}

impl<const SIZE: usize, const PANICS: bool> Load<SIZE, PANICS> {
    fn new() -> Self {
        Self {
            bytes: std::array::from_fn(|at| at as u8 ^ 0xa5),
            _probe: Probe,
        }
    }

    /// Takes `self`, so that the closure captures the load and not one field of it.
    fn check(self) {
        assert!((0..SIZE).all(|at| self.bytes[at] == at as u8 ^ 0xa5));
        CALLS.set(CALLS.get() + 1);
    }
}

/// A load that no array of words is aligned for, however small it is.
#[repr(align(16))]
struct Aligned16(Load<8>);

/// The same, and larger than the words.
#[repr(align(64))]
struct Aligned64(Load<24>);

macro_rules! aligned {
    ($name:ident) => {
        impl $name {
            fn check(self) {
                assert_eq!(&raw const self as usize % align_of::<Self>(), 0);
                self.0.check();
            }
        }
    };
}
aligned!(Aligned16);
aligned!(Aligned64);

/// Resets the counts and returns them: drops, then calls.
fn count() -> (usize, usize) {
    (DROPS.take().len(), CALLS.take())
}

/// Makes the closure three times and walks each of its three ways: called, dropped, moved about and then called.
fn each_way<F: FnOnce() + 'static>(size: usize, make: impl Fn() -> F) {
    assert_eq!(size_of::<F>(), size);
    InlineFn::new(make()).call();
    assert_eq!(count(), (1, 1), "{size} bytes, called");
    drop(InlineFn::new(make()));
    assert_eq!(count(), (1, 0), "{size} bytes, dropped");
    let mut many: Vec<Option<InlineFn>> = Vec::new();
    for _ in 0..9 {
        many.push(Some(InlineFn::new(make())));
    }
    many.swap(0, 8);
    many[3].take().unwrap().call();
    assert_eq!(count(), (1, 1), "{size} bytes, called out of a vector");
    many.rotate_left(4);
    drop(many);
    assert_eq!(count(), (8, 0), "{size} bytes, the rest of the vector");
    each_way_in_a_place(size, make);
}

/// The same for a place that is filled and emptied again and again, as a timer's is.
fn each_way_in_a_place<F: FnOnce() + 'static>(size: usize, make: impl Fn() -> F) {
    let mut place = Stored::Number(7);
    InlineFn::put(&mut place, make());
    InlineFn::take(&mut place).unwrap().call();
    assert_eq!(count(), (1, 1), "{size} bytes, taken and called");
    assert!(InlineFn::take(&mut place).is_none() && matches!(place, Stored::Number(0)));
    InlineFn::put(&mut place, make());
    let taken = InlineFn::take(&mut place);
    assert_eq!(count(), (0, 0), "{size} bytes, taken");
    InlineFn::put(&mut place, make());
    drop(taken);
    assert_eq!(count(), (1, 0), "{size} bytes, taken and dropped");
    drop(place);
    assert_eq!(count(), (1, 0), "{size} bytes, dropped in its place");
}

#[test]
fn each_capture_is_dropped_exactly_once() {
    fn plain<const SIZE: usize>() {
        each_way(SIZE, || {
            let load = Load::<SIZE>::new();
            move || load.check()
        });
    }
    plain::<0>();
    plain::<1>();
    plain::<8>();
    plain::<24>();
    plain::<25>();
    plain::<64>();
    plain::<4096>();
    each_way(16, || {
        let load = Aligned16(Load::new());
        move || load.check()
    });
    each_way(64, || {
        let load = Aligned64(Load::new());
        move || load.check()
    });
}

#[test]
fn a_capture_that_owns_memory_gives_it_back_once() {
    // A sanitizer sees here what the probes cannot: a leak, a second free, a pointer that lost its provenance.
    let text = "callsoon".repeat(100);
    let (kept, called, large) = (
        text.clone(),
        text.clone(),
        (text.clone(), [text.clone(), text]),
    );
    drop(InlineFn::new(move || assert!(!kept.is_empty())));
    InlineFn::new(move || assert_eq!(called.len(), 800)).call();
    InlineFn::new(move || assert_eq!(large.0, large.1[1])).call();
}

#[test]
fn what_fits_is_dropped_in_place_and_what_does_not_in_a_box() {
    fn in_place<F: FnOnce() + 'static>(f: F) -> bool {
        let stored = Box::new(InlineFn::new(f));
        let here = &raw const *stored as usize;
        drop(stored);
        let at = DROPS.take()[0];
        (here..=here + 32).contains(&at)
    }
    fn plain<const SIZE: usize>() -> bool {
        let load = Load::<SIZE>::new();
        in_place(move || load.check())
    }
    assert!(plain::<0>());
    assert!(plain::<8>());
    assert!(plain::<24>());
    assert!(!plain::<25>());
    assert!(!plain::<64>());
    let load = Aligned16(Load::new());
    assert!(!in_place(move || load.check()));
}

#[test]
fn a_panic_in_the_call_reaches_the_caller_and_drops_the_captures_once() {
    fn plain<const SIZE: usize>() {
        for before_the_move in [true, false] {
            let load = Load::<SIZE>::new();
            // Only the load is captured: the choice is a type, not a value.
            let stored = if before_the_move {
                InlineFn::new(move || {
                    let _load = load;
                    panic!("call")
                })
            } else {
                InlineFn::new(move || {
                    load.check();
                    panic!("call")
                })
            };
            let panic = catch_unwind(AssertUnwindSafe(|| stored.call())).unwrap_err();
            assert_eq!(panic.downcast_ref(), Some(&"call"));
            assert_eq!(count(), (1, usize::from(!before_the_move)), "{SIZE} bytes");
        }
    }
    plain::<0>();
    plain::<24>();
    plain::<25>();
    plain::<64>();
}

#[test]
fn a_panic_in_a_destructor_reaches_the_code_that_drops_or_calls() {
    fn plain<const SIZE: usize>() {
        let make = || {
            // The second load is dropped although the first one panics.
            let pair = (Load::<SIZE, true>::new(), Load::<0>::new());
            InlineFn::new(move || {
                let pair = pair;
                pair.0.check();
            })
        };
        let stored = make();
        let panic = catch_unwind(AssertUnwindSafe(|| drop(stored))).unwrap_err();
        assert_eq!(panic.downcast_ref(), Some(&"drop"));
        assert_eq!(count(), (2, 0), "{SIZE} bytes, dropped");
        let stored = make();
        let panic = catch_unwind(AssertUnwindSafe(|| stored.call())).unwrap_err();
        assert_eq!(panic.downcast_ref(), Some(&"drop"));
        assert_eq!(count(), (2, 1), "{SIZE} bytes, called");
    }
    plain::<0>();
    plain::<24>();
    plain::<25>();
    plain::<64>();
}

#[test]
fn a_closure_is_called_or_dropped_on_another_thread() {
    fn plain<const SIZE: usize>() {
        let make = || {
            let load = Load::<SIZE>::new();
            SendFn::new(move || load.check())
        };
        let (called, dropped) = (make(), make());
        let there = thread::spawn(move || {
            called.call();
            drop(dropped);
            count()
        });
        assert_eq!(there.join().unwrap(), (2, 1));
        assert_eq!(count(), (0, 0));
    }
    plain::<8>();
    plain::<24>();
    plain::<64>();
}
