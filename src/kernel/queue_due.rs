//! From the timer wheel to the ready queue: phase 5 of a turn. The wheel knows no tasks and the queue no times; both are
//! borrowed here, and only here at once.

use crate::kernel::due::Due;
use crate::kernel::inline_fn::Stored;
use crate::kernel::loop_state::{LoopState, add};
use crate::kernel::queues::Queues;
use crate::kernel::task::key::{Key, ROOT_SLOT};
use crate::kernel::task::waker::wake_key;
use crate::kernel::timers::{Payload, TimerKey};
use crate::sys::prefetch::AHEAD;

impl Payload for Stored {
    #[inline]
    fn task(&self) -> Option<u64> {
        match self {
            Self::Number(task) => Some(*task),
            Self::Call(_) => None,
        }
    }
}

/// Phase 5: queues due timers, in the order of deadline and creation. A timer that only wakes a task does so now. A
/// callback's timer stays in the wheel until its entry runs, so that an earlier callback of the same batch can still
/// cancel it.
pub(crate) fn queue_due_timers(state: &LoopState) {
    let now = state.clock.now();
    state.event_polls.last.set(now);
    state.event_polls.clock_read.set(now);
    let mut of_other_loops = Vec::new();
    state.timers(|timers| {
        timers.expire(now, |due| {
            add(&state.counts.timers, due.len() as u64);
            state.queues(|queues| queue_due(state, queues, due, &mut of_other_loops));
        });
    });
    // With nothing borrowed: a loop that cannot be woken is logged.
    of_other_loops.into_iter().for_each(wake_key);
}

/// Queues what has become due, but for the tasks of other loops.
fn queue_due(state: &LoopState, queues: &mut Queues, due: &[Due], of_other_loops: &mut Vec<Key>) {
    let is_cold = due.len() > AHEAD && queues.tasks.is_crowd();
    let ask = |queues: &Queues, due: Option<&Due>| {
        if let Some(key) = due.and_then(|due| due.task()) {
            queues.tasks.prefetch(Key::from_bits(key));
        }
    };
    if is_cold {
        due[..AHEAD]
            .iter()
            .for_each(|first| ask(queues, Some(first)));
    }
    for (place, fired) in due.iter().enumerate() {
        if is_cold {
            ask(queues, due.get(place + AHEAD));
        }
        let Some(task) = fired.task().map(Key::from_bits) else {
            let (index, generation) = fired.timer();
            queues.ready.push_timer(TimerKey { index, generation });
            continue;
        };
        if task.loop_id() != state.id {
            of_other_loops.push(task);
        } else if task.slot() != ROOT_SLOT {
            queues.schedule(task);
        } else if state.root.schedule(task.generation()) {
            add(&state.counts.root_queued, 1);
            queues.ready.push_root(task.generation());
        }
    }
}
