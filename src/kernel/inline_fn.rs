//! Closures without a box. What a posted closure costs is not the lock but an allocation on one thread that is freed
//! on another, and most closures capture a handle and a number. So a closure of up to 24 bytes is stored in place,
//! behind a table of two functions that know its type; a larger or over-aligned one is boxed, and the *box* is what
//! is stored. Either way the value is 32 bytes, and so is its `Option`.
//!
//! The unsafe code rests on one sentence: from `store` until `call` or `drop`, whichever comes first and only one of
//! them does, `words` holds a valid value of exactly the type that `table` was made for.

#![allow(unsafe_code)]

use std::marker::PhantomData;
use std::mem::{ManuallyDrop, MaybeUninit, needs_drop};

use crate::sys::prefetch::prefetch_to_write;

/// Three words: an `Arc`, a key and a number, or an `Arc` and a slice. With the table that makes 32 bytes, two
/// closures to a cache line.
type Words = [Word; 3];

type Word = MaybeUninit<u64>;

/// A `FnOnce()` whose type is erased and which lives in this value when it is small.
#[repr(C)]
pub(crate) struct InlineFn {
    /// The two functions made for the type in `words`. A reference is never null, which is where `Option` puts its
    /// `None`.
    table: &'static Table,
    /// The closure, or the box that holds it; every other byte is uninitialised. Only `table` knows which type it is.
    words: Words,
    /// Without this the type would be `Send` and `Sync` like its words, whatever the closure captures.
    erased: PhantomData<Box<dyn FnOnce()>>,
}

/// What is left of a closure's type. Both functions consume the closure, also when they unwind: the caller touches the
/// words no more.
struct Table {
    /// Runs the closure that the three words hold. They are passed in registers, which spares a write and a read.
    call: unsafe fn(Word, Word, Word),
    /// Drops the closure where it is.
    drop: unsafe fn(*mut Words),
    /// Whether it owns anything, whose memory its end then reads or frees.
    owns: bool,
}

/// A place that holds a closure or a number.
pub(crate) enum Stored {
    Number(u64),
    Call(InlineFn),
}

impl Default for Stored {
    #[inline]
    fn default() -> Self {
        Self::Number(0)
    }
}

impl InlineFn {
    /// Stores `f` in place if it fits, boxed if it does not.
    pub(crate) fn new<F: FnOnce() + 'static>(f: F) -> Self {
        if const { fits::<F>() } {
            Self::store(f)
        } else {
            // A box of a sized type is one pointer, which fits.
            Self::store(Box::new(f))
        }
    }

    /// Moves `f`, which fits, into the words.
    fn store<F: FnOnce() + 'static>(f: F) -> Self {
        // Known when this is compiled, so no code is left of it.
        assert!(fits::<F>(), "a closure does not fit");
        let mut words: Words = [MaybeUninit::uninit(); 3];
        // SAFETY: `F` is no larger and no stricter in alignment than `words`, as was just asserted, so the pointer
        // is aligned for `F` and the write stays inside the array, to which this function alone has access.
        // `MaybeUninit` drops nothing, so nothing that was there is lost.
        unsafe { (&raw mut words).cast::<F>().write(f) };
        // `'static` closures alone get in, so the erased type has no lifetime that the value could outlive.
        let table = const {
            &Table {
                call: call::<F>,
                drop: drop_at::<F>,
                owns: needs_drop::<F>(),
            }
        };
        Self {
            words,
            table,
            erased: PhantomData,
        }
    }

    /// Stores `f` in a place without a closure, writing it there and nowhere else: see [`take`](Self::take) for what a
    /// copy costs.
    #[inline]
    pub(crate) fn put<F: FnOnce() + 'static>(place: &mut Stored, f: F) {
        debug_assert!(matches!(place, Stored::Number(_)));
        if const { !fits::<F>() } {
            *place = Stored::Call(Self::new(f));
            return;
        }
        let table = const {
            &Table {
                call: call::<F>,
                drop: drop_at::<F>,
                owns: needs_drop::<F>(),
            }
        };
        let empty = Self {
            words: [MaybeUninit::uninit(); 3],
            table,
            erased: PhantomData,
        };
        // SAFETY: `place` is valid and aligned, and what is overwritten is a number, which owns nothing.
        unsafe { std::ptr::write(place, Stored::Call(empty)) };
        if let Stored::Call(stored) = place {
            // SAFETY: `fits` holds, so the pointer is aligned for `F` and the write stays inside the words, which are
            // this call's alone. From here on they hold a valid `F`, as the table says; nothing since the table was
            // written can unwind, so the two are never seen to disagree.
            unsafe { (&raw mut stored.words).cast::<F>().write(f) };
        }
    }

    /// Moves the closure out of its place, if it holds one.
    ///
    /// Word by word, which the compiler would not do of its own: a copy in wider pieces than those in which a closure
    /// was written waits until the writes have left the processor's store buffer, and most timers are cancelled soon
    /// after they were armed.
    #[inline]
    pub(crate) fn take(place: &mut Stored) -> Option<Self> {
        let Stored::Call(stored) = place else {
            return None;
        };
        // SAFETY: each pointer comes from a reference to one word of `stored`, so it is valid and aligned for reading a
        // `MaybeUninit`, which may hold anything, also the bytes of a pointer. `volatile` only forbids merging the
        // reads.
        let words = stored
            .words
            .each_ref()
            .map(|word| unsafe { std::ptr::read_volatile(word) });
        let taken = Self {
            words,
            table: stored.table,
            erased: PhantomData,
        };
        // SAFETY: `place` is valid and aligned. The value that is overwritten without being dropped is the one that
        // `taken` owns from here on; nothing between the two can unwind.
        unsafe { std::ptr::write(place, Stored::default()) };
        Some(taken)
    }

    /// Runs the closure. A panic in it reaches the caller; what the closure captured is dropped once, by the closure.
    pub(crate) fn call(self) {
        // From here on only the closure itself may drop the captured values, also when it unwinds.
        let this = ManuallyDrop::new(self);
        let [first, second, third] = this.words;
        // SAFETY: `this` owned a closure that was neither called nor dropped (both consume the value), and the words
        // hold it and are of the table's type by the module's invariant; moving the value moved all bytes of the words,
        // pointers included, since `MaybeUninit<u64>` has no padding. `ManuallyDrop` keeps our `Drop` from reading them
        // again.
        unsafe { (this.table.call)(first, second, third) }
    }
}

impl Drop for InlineFn {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: `call` never lets this destructor run, so the closure is still in the words, valid and aligned as
        // above. A value's destructor runs once, also when the captured value's destructor unwinds through it, and the
        // fields that the compiler drops afterwards have no destructors; so the words are not read again.
        unsafe { (self.table.drop)(&raw mut self.words) }
    }
}

/// Returns whether `F` may live in the words. A const, so that the other branch costs nothing.
const fn fits<F>() -> bool {
    size_of::<F>() <= size_of::<Words>() && align_of::<F>() <= align_of::<Words>()
}

/// # Safety
/// `fits::<F>()` holds, and the words are those of a valid `F` that is not read or dropped afterwards.
unsafe fn call<F: FnOnce()>(first: Word, second: Word, third: Word) {
    let words = [first, second, third];
    // SAFETY: the array holds a valid `F` by the caller's promise, at an address that is aligned for it since `F` fits.
    // The read makes a second copy of the value, and the caller's promise to forget the first makes this one the owner:
    // it is dropped once, by the call, whether that returns or unwinds. `MaybeUninit` drops nothing.
    let f = unsafe { (&raw const words).cast::<F>().read() };
    f();
}

/// # Safety
/// `at` points to a valid `F`, aligned for it, that is not read or dropped afterwards.
unsafe fn drop_at<F>(at: *mut Words) {
    // SAFETY: validity, alignment and being the last access are the caller's promises.
    unsafe { at.cast::<F>().drop_in_place() }
}

/// An [`InlineFn`] that may be called or dropped on another thread than the one that made it.
pub(crate) struct SendFn(InlineFn);

impl SendFn {
    /// Stores `f` in place if it fits, boxed if it does not.
    pub(crate) fn new<F: FnOnce() + Send + 'static>(f: F) -> Self {
        Self(InlineFn::new(f))
    }

    /// Runs the closure; see [`InlineFn::call`].
    pub(crate) fn call(self) {
        self.0.call();
    }

    /// Returns the closure, copied word by word: [`InlineFn::take`] says why.
    #[inline(always)]
    pub(crate) fn by_words(self) -> Self {
        // SAFETY: as in `take`. `self` is forgotten below, so the copy is the only owner; nothing between can unwind.
        let words = (self.0.words.each_ref()).map(|word| unsafe { std::ptr::read_volatile(word) });
        let table = self.0.table;
        std::mem::forget(self);
        Self(InlineFn {
            words,
            table,
            erased: PhantomData,
        })
    }

    /// Asks for the memory that the closure owns: mostly a box that another processor has just written. It is also
    /// asked for where the first word is something else, which costs next to nothing.
    #[inline]
    pub(crate) fn prefetch(&self) {
        if self.0.table.owns {
            prefetch_to_write(self.0.words[0]);
        }
    }
}

// SAFETY: the field is private and `new` is the only constructor, so the words hold an `F: Send` or a `Box<F>`, which
// is then `Send` too; using that value, calling it and dropping it on another thread is what `F: Send` allows. The
// table is shared, immutable, and holds functions only. `InlineFn` itself stays `!Send`, for closures that come in by
// its own constructor. `Sync` is not claimed.
unsafe impl Send for SendFn {}

const _: () = {
    assert!(size_of::<InlineFn>() == 32 && size_of::<Option<InlineFn>>() == 32);
    assert!(size_of::<Stored>() == 32);
    assert!(size_of::<SendFn>() == 32 && size_of::<Option<SendFn>>() == 32);
    assert!(fits::<Box<u8>>());

    // Were `InlineFn` to become `Send`, both impls would apply and the path below would be ambiguous.
    trait AmbiguousIfSend<Marker> {
        const CHECKED: () = ();
    }
    struct Never;
    impl<T> AmbiguousIfSend<()> for T {}
    impl<T: Send> AmbiguousIfSend<Never> for T {}
    <InlineFn as AmbiguousIfSend<_>>::CHECKED
};
