//! The timers of a loop as a list, for those who look at them. Only lists are made here, and nothing is changed.

use super::timers::{DUE, Entry, FREE, Payload, TOKEN_GENERATION, TimerKey, Timers};

/// What a list of the timers says of one.
pub(crate) struct Pending {
    pub(crate) key: TimerKey,
    pub(crate) deadline: u64,
    /// The task that it wakes, if it does nothing else.
    pub(crate) task: Option<u64>,
    /// It has fired and waits in the ready queue.
    pub(crate) is_due: bool,
}

impl<P: Payload> Timers<P> {
    /// Returns all timers, in any state and any order.
    pub(crate) fn pending(&self) -> Vec<Pending> {
        let entries = self.entries.iter().zip(0..);
        entries
            .filter_map(|(entry, index)| pending(entry, index))
            .collect()
    }

    /// Returns the timer that has fired and that a token of the ready queue names.
    pub(crate) fn due(&self, token: TimerKey) -> Option<Pending> {
        let entry = self.entries.get(token.index as usize)?;
        let differs = (entry.generation ^ token.generation) & TOKEN_GENERATION;
        let pending = pending(entry, token.index)?;
        (pending.is_due && differs == 0).then_some(pending)
    }
}

fn pending<P: Payload>(entry: &Entry<P>, index: u32) -> Option<Pending> {
    let generation = entry.generation;
    (generation != FREE).then(|| Pending {
        key: TimerKey { index, generation },
        deadline: entry.deadline,
        task: entry.payload.task(),
        is_due: entry.slot == DUE,
    })
}
