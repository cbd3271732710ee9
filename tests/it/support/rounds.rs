//! How long a task keeps others from running.

use std::cell::Cell;
use std::rc::Rc;

use callsoon::{create_task, yield_now};

/// More than any budget.
const MOST: usize = 1000;

/// Returns how often `operation` ends before another task runs that has been ready from the beginning, or `None` if
/// that task does not run at all.
pub(crate) async fn rounds_alone(mut operation: impl AsyncFnMut()) -> Option<usize> {
    // Into a step with a whole budget.
    yield_now().await;
    let ran = Rc::new(Cell::new(false));
    let other = Rc::clone(&ran);
    let other = create_task(async move { other.set(true) });
    let mut rounds = None;
    for round in 0..MOST {
        operation().await;
        if ran.get() {
            rounds = Some(round);
            break;
        }
    }
    other.await.unwrap();
    rounds
}
