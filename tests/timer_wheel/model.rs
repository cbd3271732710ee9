//! The wheel beside a naive model of it: what is done to the one is done to the other, and what they say is compared.

use std::collections::{BTreeMap, BTreeSet};

use crate::jobs::{ByValue, Job, moved_out};
use crate::timers::{TimerKey, Timers};

/// Sebastiano Vigna's splitmix64: the same numbers on every machine.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }
}

/// The wheel and its naive model side by side; every step does the same to both and compares. A timer's payload is its
/// number in the order of creation.
pub(crate) struct Modelled {
    pub(crate) wheel: Timers<Job<u64>>,
    pub(crate) armed: BTreeMap<(u64, u64), TimerKey>,
    /// The armed ones that wake a task, which has the same number.
    pub(crate) waking: BTreeSet<u64>,
    pub(crate) due: BTreeSet<u64>,
    /// Every timer made and not yet chosen for a cancellation: armed, due and long gone.
    pub(crate) known: Vec<(u64, u64, TimerKey)>,
    pub(crate) now: u64,
    pub(crate) made: u64,
}

impl Modelled {
    pub(crate) fn new(now: u64) -> Self {
        Modelled {
            // A generation passes 32 bits in the test, which must have no effect.
            wheel: Timers::new(now, u64::from(u32::MAX) - 100),
            armed: BTreeMap::new(),
            waking: BTreeSet::new(),
            due: BTreeSet::new(),
            known: Vec::new(),
            now,
            made: 0,
        }
    }

    pub(crate) fn insert(&mut self, deadline: u64) -> TimerKey {
        let number = self.made;
        self.made += 1;
        let key = self.wheel.insert(deadline, number);
        self.note(deadline, number, key);
        key
    }

    pub(crate) fn insert_waking(&mut self, deadline: u64) {
        let number = self.made;
        self.made += 1;
        let key = self.wheel.insert_waking(deadline, number);
        self.waking.insert(number);
        self.note(deadline, number, key);
    }

    fn note(&mut self, deadline: u64, number: u64, key: TimerKey) {
        self.armed.insert((deadline, number), key);
        self.known.push((deadline, number, key));
        assert!(self.wheel.is_live(key));
        assert_eq!(self.wheel.taken(key), None, "armed, not due");
    }

    pub(crate) fn cancel(&mut self, which: u64) {
        if self.known.is_empty() {
            return;
        }
        let which = (which % self.known.len() as u64) as usize;
        let (deadline, number, key) = self.known.swap_remove(which);
        let lives = self.armed.remove(&(deadline, number)).is_some() | self.due.remove(&number);
        let expected = lives.then_some(number);
        assert_eq!(self.wheel.is_live(key), expected.is_some());
        assert_eq!(self.wheel.is_live(key), lives);
        if self.waking.remove(&number) && lives {
            let payload = self.wheel.cancel(key).map(std::mem::take);
            assert!(matches!(payload, Some(Job::Wake(task)) if task == number));
        } else {
            assert_eq!(self.wheel.cancelled(key), expected);
        }
        assert_eq!(self.wheel.cancelled(key), None, "stale");
        assert_eq!(self.wheel.taken(key), None, "stale");
    }

    /// Expires and compares the whole trace; returns what fired and has not left.
    pub(crate) fn expire(&mut self, now: u64) -> Vec<TimerKey> {
        self.now = now;
        let mut due = Vec::new();
        self.wheel.expire(now, |all| due.extend_from_slice(all));
        // `u64::MAX` is never, even at the end of the clock.
        let later = self.armed.split_off(&(now.saturating_add(1), 0));
        let expected = std::mem::replace(&mut self.armed, later);
        assert_eq!(due.len(), expected.len(), "at {now}");
        let mut left = Vec::new();
        for (due, (&(_, number), &key)) in due.iter().zip(&expected) {
            if self.waking.remove(&number) {
                assert_eq!(due.task(), Some(number), "at {now}");
                assert!(!self.wheel.is_live(key), "it has left");
                continue;
            }
            assert_eq!(due.task(), None, "at {now}");
            let low = key.generation & 0x00FF_FFFF;
            assert_eq!(due.timer(), (key.index, low), "at {now}");
            self.due.insert(number);
            left.push(key);
        }
        left
    }

    pub(crate) fn run(&mut self, fired: Vec<TimerKey>) {
        for key in fired {
            let number = match self.wheel.fill(key) {
                Job::Call(number) => Some(*number),
                _ => None,
            };
            let expected = number.filter(|number| self.due.remove(number));
            assert_eq!(self.wheel.taken(key), expected);
            assert_eq!(self.wheel.taken(key), None, "taken twice");
        }
    }

    /// Never late, and there if and only if something is armed.
    pub(crate) fn check_next(&mut self, slack: u64) {
        let earliest = self.armed.keys().next().map(|&(deadline, _)| deadline);
        let earliest = earliest.filter(|&deadline| deadline != u64::MAX);
        let next = self.wheel.next_deadline();
        assert_eq!(next.is_some(), earliest.is_some());
        assert!(next <= earliest, "{next:?} is later than {earliest:?}");
        assert_eq!(self.wheel.next_deadline(), next, "asking changes nothing");
        let wake = self.wheel.wake_time(slack);
        assert_eq!(wake.is_some(), next.is_some());
        if let (Some(next), Some(wake)) = (next, wake) {
            assert!(next <= wake && wake - next <= slack);
            let mut at_wake = self.armed.range((wake, 0)..=(wake, u64::MAX));
            assert!(wake == next || at_wake.next().is_some(), "waits for nobody");
        }
        assert_eq!(self.wheel.len(), self.armed.len() + self.due.len());
        assert_eq!(
            self.wheel.len() == 0,
            self.armed.is_empty() && self.due.is_empty()
        );
    }

    /// Sleeps to each answer of `next_deadline` until nothing is armed; returns how often. Every sleep gets ahead.
    pub(crate) fn sleep_to_the_end(&mut self) -> usize {
        let mut turns = 0;
        let mut last = None;
        while let Some(next) = self.wheel.next_deadline() {
            assert!(last < Some(next), "a sleep that gets nowhere: {last:?}");
            self.check_next(0);
            last = Some(next);
            let fired = self.expire(next.max(self.now));
            self.run(fired);
            turns += 1;
        }
        self.check_next(0);
        assert!(self.armed.keys().all(|&(deadline, _)| deadline == u64::MAX));
        turns
    }

    /// What is left comes out in the order of creation.
    pub(crate) fn close(mut self) {
        let mut left: Vec<_> = self.armed.keys().map(|&(_, number)| number).collect();
        left.extend(&self.due);
        left.sort_unstable();
        let drained = self
            .wheel
            .drain()
            .into_iter()
            .map(|mut job| match &mut job {
                Job::Wake(task) => *task,
                call => moved_out(call),
            });
        assert_eq!(drained.collect::<Vec<_>>(), left);
        assert!(self.wheel.len() == 0);
        assert_eq!(self.wheel.next_deadline(), None);
        for (_, _, key) in self.known {
            assert_eq!(self.wheel.cancelled(key), None);
        }
    }
}
