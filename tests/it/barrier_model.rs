//! `Barrier` against a naive model of it: random programs of arriving, leaving, resetting and aborting.

use callsoon::sync::{Barrier, BrokenBarrier};
use proptest::prelude::*;

use crate::support::Waiting;
use crate::sync_model::over_programs;

#[derive(Clone, Debug)]
enum Meeting {
    Wait,
    Poll(usize),
    Drop(usize),
    Reset,
    Abort,
}

#[derive(Clone, Copy, PartialEq, Debug)]
enum Phase {
    Filling,
    Draining,
    Resetting,
    Broken,
}

/// asyncio's barrier, with places at the entrance.
struct NaiveBarrier {
    parties: usize,
    phase: Phase,
    outside: Vec<usize>,
    /// In order. A party that may leave stays here until it has left.
    inside: Vec<usize>,
    /// Those inside when the barrier filled up, in order.
    turns: Vec<usize>,
}

impl NaiveBarrier {
    fn admitted(&self, ahead: usize) -> bool {
        match self.phase {
            Phase::Filling => self.inside.len() + ahead < self.parties,
            Phase::Broken => true,
            Phase::Draining | Phase::Resetting => false,
        }
    }

    /// Returns whether a poll would have a result, or would let a party enter.
    fn may(&self, id: usize) -> bool {
        if let Some(ahead) = self.outside.iter().position(|outside| *outside == id) {
            return self.admitted(ahead);
        }
        self.phase != Phase::Filling
    }

    fn poll(&mut self, id: usize) -> Option<Result<usize, BrokenBarrier>> {
        if self.inside.contains(&id) {
            let verdict = match self.phase {
                Phase::Filling => return None,
                Phase::Draining => Ok(self.turns.iter().position(|turn| *turn == id).unwrap()),
                Phase::Resetting | Phase::Broken => Err(BrokenBarrier),
            };
            self.leave(id);
            return Some(verdict);
        }
        if !self.outside.contains(&id) {
            self.outside.push(id);
        }
        if !self.may(id) {
            return None;
        }
        self.outside.retain(|outside| *outside != id);
        if self.phase == Phase::Broken {
            return Some(Err(BrokenBarrier));
        }
        self.inside.push(id);
        if self.inside.len() < self.parties {
            return None;
        }
        self.phase = Phase::Draining;
        self.turns = self.inside.clone();
        self.leave(id);
        Some(Ok(self.parties - 1))
    }

    fn leave(&mut self, id: usize) {
        self.outside.retain(|outside| *outside != id);
        self.inside.retain(|inside| *inside != id);
        if self.inside.is_empty() && self.phase != Phase::Broken {
            self.phase = Phase::Filling;
        }
    }

    fn reset(&mut self) {
        self.phase = if self.inside.is_empty() {
            Phase::Filling
        } else {
            Phase::Resetting
        };
    }
}

fn barrier_program(parties: usize, program: &[Meeting]) {
    let barrier = Barrier::new(parties);
    let mut model = NaiveBarrier {
        parties,
        phase: Phase::Filling,
        outside: Vec::new(),
        inside: Vec::new(),
        turns: Vec::new(),
    };
    let mut waiters: Vec<(usize, Waiting<'_, Result<usize, BrokenBarrier>>)> = Vec::new();
    for (id, op) in program.iter().enumerate() {
        match *op {
            Meeting::Wait => {
                let mut waiting = Waiting::new(barrier.wait());
                let polled = waiting.poll();
                assert_eq!(polled, model.poll(id), "{op:?}");
                if polled.is_none() {
                    waiters.push((id, waiting));
                }
            }
            Meeting::Poll(which) if which < waiters.len() => {
                let (id, waiting) = &mut waiters[which];
                let polled = waiting.poll();
                assert_eq!(polled, model.poll(*id), "{op:?}");
                if polled.is_some() {
                    waiters.remove(which);
                }
            }
            Meeting::Drop(which) if which < waiters.len() => model.leave(waiters.remove(which).0),
            Meeting::Reset => {
                barrier.reset();
                model.reset();
            }
            Meeting::Abort => {
                barrier.abort();
                model.phase = Phase::Broken;
            }
            _ => continue,
        }
        let filling = model.phase == Phase::Filling;
        assert_eq!(
            barrier.n_waiting(),
            if filling { model.inside.len() } else { 0 }
        );
        assert_eq!(barrier.broken(), model.phase == Phase::Broken);
        for (id, waiting) in &waiters {
            assert!(waiting.is_woken() || !model.may(*id), "{op:?}: {id} sleeps");
        }
    }
}

fn meeting() -> impl Strategy<Value = Meeting> {
    prop_oneof![
        6 => Just(Meeting::Wait),
        8 => (0..8_usize).prop_map(Meeting::Poll),
        3 => (0..8_usize).prop_map(Meeting::Drop),
        1 => Just(Meeting::Reset),
        1 => Just(Meeting::Abort),
    ]
}

#[test]
fn n1_a_barrier_does_what_its_model_does() {
    over_programs(3, meeting, |program| barrier_program(1, program));
    over_programs(3, meeting, |program| barrier_program(2, program));
    over_programs(3, meeting, |program| barrier_program(4, program));
}
