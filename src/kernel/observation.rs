//! THE place in which entries into user code are measured and traced. Who wants to be told of the beginning and the end
//! of each call and each step has a bit in [`Observers`], and its part in [`begin`] and [`end`].
//!
//! `kernel/enter` calls both on the instrumented path only: around every call in one place, and around every step of a
//! task in another. They name the callee, with its kind, and the place where it was created. Neither runs user code but
//! a tracing subscriber's, whose panic is ignored. Entries nest: a protocol is called inside the entry of its source,
//! and a task that is started eagerly inside a step. So what `begin` has to remember is in the [`Begun`] that it
//! returns, and not in the loop.
//!
//! A loop that has an observer is instrumented. Callbacks that were queued before that are not observed.

use std::panic::Location;
use std::time::Duration;

use crate::kernel::callee::Callee;
use crate::kernel::inspected::{BegunNotes, begin_notes, end_notes};
use crate::kernel::loop_state::LoopState;
use crate::kernel::observers::Observers;
use crate::kernel::report::run_quietly;
use crate::kernel::task::header::Header;
use crate::sys::clock::raw_now;

/// Where the code that is called was created.
type Place = &'static Location<'static>;

/// What [`end`] needs of the beginning.
pub(crate) struct Begun {
    /// When the entry began, in nanoseconds; 0 if nobody measures.
    at: u64,
    /// The notes of the entry, if the loop is inspected.
    notes: Option<BegunNotes>,
}

/// Tells the observers that user code is about to be entered. `None` if there is none.
#[inline(always)]
pub(crate) fn begin(state: &LoopState, callee: Callee<'_>, place: Place) -> Option<Begun> {
    if state.observers.is_empty() {
        return None;
    }
    Some(begin_observed(state, callee, place))
}

#[inline(never)]
fn begin_observed(state: &LoopState, callee: Callee<'_>, place: Place) -> Begun {
    let measures = state.observers.has(Observers::SLOW);
    Begun {
        at: if measures { raw_now() } else { 0 },
        notes: begin_notes(state, callee, place),
    }
}

/// Tells the observers that user code was left, by returning or by a panic that was caught.
#[inline(always)]
pub(crate) fn end(state: &LoopState, begun: Option<Begun>, callee: Callee<'_>, place: Place) {
    if let Some(begun) = begun {
        end_observed(state, begun, callee, place);
    }
}

#[inline(never)]
fn end_observed(state: &LoopState, begun: Begun, callee: Callee<'_>, place: Place) {
    if let Some(notes) = begun.notes {
        end_notes(state, notes, callee);
    }
    if begun.at != 0 {
        let took = Duration::from_nanos(raw_now().saturating_sub(begun.at));
        if state.observers.has(Observers::SLOW) && took >= state.slow_callback_duration.get() {
            warn_slow(callee, place, took);
        }
    }
}

/// Warns that one call, or one step of a task, held up all others.
#[cold]
fn warn_slow(callee: Callee<'_>, location: Place, took: Duration) {
    let took = took.as_secs_f64();
    if let Callee::Step(header) = callee {
        return warn_slow_step(header, location, took);
    }
    let what = callee.name();
    run_quietly(
        || tracing::warn!(target: "callsoon", took, %location, "a slow {what} held up the loop"),
    );
}

fn warn_slow_step(header: &Header, location: Place, took: f64) {
    let task = header.name();
    run_quietly(
        || tracing::warn!(target: "callsoon", took, %location, task, "a slow step of a task held up the loop"),
    );
}
