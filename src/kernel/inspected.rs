//! What an inspected loop notes at the beginning and the end of each call of user code and each step of a task.
//! `kernel/observation` tells it of them.

use std::panic::Location;
use std::time::Instant;

use crate::kernel::callee::Callee;
use crate::kernel::inspection::{Now, Waits};
use crate::kernel::loop_state::LoopState;
use crate::kernel::task::key::ROOT_SLOT;

/// An entry that has begun.
pub(crate) enum BegunNotes {
    Call,
    /// What an outer step has noted, and when this one began on the loop's clock.
    Step(Waits, u64),
}

/// Notes that user code is about to be entered; `None` if the loop is not inspected.
pub(crate) fn begin_notes(
    state: &LoopState,
    callee: Callee<'_>,
    location: &'static Location<'static>,
) -> Option<BegunNotes> {
    let inspection = state.inspection.as_ref()?;
    let (task, begun) = match callee {
        Callee::Step(header) => {
            let now = state.clock.now();
            if header.slot.get() == ROOT_SLOT {
                // Nothing else tells of a new main future.
                inspection.create(header.serial.get(), now);
            }
            let begun = BegunNotes::Step(inspection.begin_step(), now);
            (Some((header.serial.get(), header.name())), begun)
        }
        _ => (None, BegunNotes::Call),
    };
    inspection.running.begin(Now {
        what: callee.name(),
        task,
        location,
        since: Instant::now(),
    });
    Some(begun)
}

/// Notes that user code was left.
pub(crate) fn end_notes(state: &LoopState, begun: BegunNotes, callee: Callee<'_>) {
    let Some(inspection) = &state.inspection else {
        return;
    };
    inspection.running.end();
    if let (BegunNotes::Step(outer, began), Callee::Step(header)) = (begun, callee) {
        let (now, ended) = (state.clock.now(), header.state.is_done());
        inspection.end_step(header.serial.get(), outer, began, now, ended);
    }
}
