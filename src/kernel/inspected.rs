//! What an inspected loop notes at the beginning and the end of each call of user code and each step of a task. The
//! door, `kernel/enter`, calls it on the instrumented path.

use std::panic::Location;
use std::time::Instant;

use crate::kernel::inspection::{Now, Waits};
use crate::kernel::loop_state::LoopState;
use crate::kernel::task::header::Header;

/// A step that has begun: what an outer step has noted, and when this one began on the loop's clock.
pub(crate) type Begun = Option<(Waits, u64)>;

/// Notes that a call of user code begins.
#[inline]
pub(crate) fn begin_call(state: &LoopState, what: &'static str, place: &'static Location<'static>) {
    if let Some(inspection) = &state.inspection {
        inspection.running.begin(Now {
            what,
            task: None,
            location: place,
            since: Instant::now(),
        });
    }
}

/// Notes that it has returned.
#[inline]
pub(crate) fn end_call(state: &LoopState) {
    if let Some(inspection) = &state.inspection {
        inspection.running.end();
    }
}

/// Notes that a step of a task begins.
#[inline]
pub(crate) fn begin_step(state: &LoopState, header: &Header) -> Begun {
    let inspection = state.inspection.as_ref()?;
    inspection.running.begin(Now {
        what: "task",
        task: Some((header.serial.get(), header.name())),
        location: header.location(),
        since: Instant::now(),
    });
    Some((inspection.begin_step(), state.clock.now()))
}

/// Notes that it has ended.
#[inline]
pub(crate) fn end_step(state: &LoopState, header: &Header, begun: Begun) {
    let (Some(inspection), Some((outer, began))) = (&state.inspection, begun) else {
        return;
    };
    let (now, ended) = (state.clock.now(), header.state.is_done());
    inspection.end_step(header.serial.get(), outer, began, now, ended);
    inspection.running.end();
}
