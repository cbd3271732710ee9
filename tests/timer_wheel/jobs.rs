//! What the wheel's timers do in these tests, and the wheel's calls in the form that suits them.

use crate::timers::{Payload, TimerKey, Timers};

/// What the timers of these tests do.
#[derive(Default)]
pub(crate) enum Job<P> {
    #[default]
    Nothing,
    Call(P),
    Wake(u64),
}

impl<P> Payload for Job<P> {
    fn task(&self) -> Option<u64> {
        match self {
            Self::Wake(task) => Some(*task),
            Self::Nothing | Self::Call(_) => None,
        }
    }
}

/// The wheel with payloads that are moved in and out in one call: the loop does it in two.
pub(crate) trait ByValue<P> {
    fn insert(&mut self, deadline: u64, payload: P) -> TimerKey;
    fn insert_waking(&mut self, deadline: u64, task: u64) -> TimerKey;
    fn cancelled(&mut self, key: TimerKey) -> Option<P>;
    fn taken(&mut self, key: TimerKey) -> Option<P>;
    fn is_live(&self, key: TimerKey) -> bool;
    /// Expires, and returns how many timers fire.
    fn expired_count(&mut self, now: u64) -> u64;
    /// Expires, and returns the timers that are due and have not left.
    fn expired(&mut self, now: u64) -> Vec<TimerKey>;
}

/// Moves a payload out that is there.
pub(crate) fn moved_out<P>(place: &mut Job<P>) -> P {
    match std::mem::take(place) {
        Job::Call(payload) => payload,
        _ => panic!("every timer has a payload"),
    }
}

impl<P> ByValue<P> for Timers<Job<P>> {
    fn insert(&mut self, deadline: u64, payload: P) -> TimerKey {
        let key = self.reserve(deadline);
        let former = std::mem::replace(self.fill(key), Job::Call(payload));
        assert!(
            matches!(former, Job::Nothing | Job::Wake(_)),
            "a place is empty until it is filled"
        );
        key
    }

    fn insert_waking(&mut self, deadline: u64, task: u64) -> TimerKey {
        let key = self.reserve(deadline);
        *self.fill(key) = Job::Wake(task);
        key
    }

    fn cancelled(&mut self, key: TimerKey) -> Option<P> {
        Some(moved_out(self.cancel(key)?))
    }

    fn taken(&mut self, key: TimerKey) -> Option<P> {
        Some(moved_out(self.take_due(key)?))
    }

    fn is_live(&self, key: TimerKey) -> bool {
        self.payload(key).is_some()
    }

    fn expired_count(&mut self, now: u64) -> u64 {
        let mut count = 0;
        self.expire(now, |due| count = due.len() as u64);
        count
    }

    fn expired(&mut self, now: u64) -> Vec<TimerKey> {
        let mut keys = Vec::new();
        self.expire(now, |due| {
            keys.extend(due.iter().map(|due| {
                assert_eq!(due.task(), None);
                let (index, generation) = due.timer();
                TimerKey { index, generation }
            }));
        });
        keys
    }
}
