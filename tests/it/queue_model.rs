//! The queues against a naive model of them: random programs of putting, getting, cancelling and shutting down.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

use callsoon::queue::{GetError, PutError, QueueStore, ShutDown};
use callsoon::{LifoQueue, PriorityQueue, Queue};
use proptest::prelude::*;

use crate::support::Waiting;
use crate::sync_model::over_programs;

#[derive(Clone, Debug)]
enum Queueing {
    Put,
    Get,
    PutNowait,
    GetNowait,
    PollPut(usize),
    PollGet(usize),
    DropPut(usize),
    DropGet(usize),
    TaskDone,
    ShutDown(bool),
}

/// Items are numbers, each put once: so nothing can be lost or doubled unseen.
struct NaiveQueue {
    maxsize: usize,
    items: Vec<u32>,
    take: fn(&mut Vec<u32>) -> Option<u32>,
    getters: Vec<usize>,
    putters: Vec<(usize, u32)>,
    unfinished: usize,
    shut_down: bool,
}

impl NaiveQueue {
    fn has_room(&self, ahead: usize) -> bool {
        self.maxsize == 0 || self.items.len() + ahead < self.maxsize
    }

    fn may_put(&self, id: usize) -> bool {
        let ahead = self.putters.iter().position(|(putter, _)| *putter == id);
        self.shut_down || self.has_room(ahead.unwrap_or(self.putters.len()))
    }

    fn may_get(&self, id: usize) -> bool {
        let ahead = self.getters.iter().position(|getter| *getter == id);
        ahead.unwrap_or(self.getters.len()) < self.items.len()
            || self.items.is_empty() && self.shut_down
    }

    fn poll_put(&mut self, id: usize, item: u32) -> Option<Result<(), ShutDown<u32>>> {
        if !self.may_put(id) {
            if self.putters.iter().all(|(putter, _)| *putter != id) {
                self.putters.push((id, item));
            }
            return None;
        }
        self.putters.retain(|(putter, _)| *putter != id);
        if self.shut_down {
            return Some(Err(ShutDown(item)));
        }
        self.push(item);
        Some(Ok(()))
    }

    fn push(&mut self, item: u32) {
        self.items.push(item);
        self.unfinished += 1;
    }

    fn poll_get(&mut self, id: usize) -> Option<Result<u32, ShutDown>> {
        if !self.may_get(id) {
            if !self.getters.contains(&id) {
                self.getters.push(id);
            }
            return None;
        }
        self.getters.retain(|getter| *getter != id);
        Some((self.take)(&mut self.items).ok_or(ShutDown(())))
    }

    fn put_nowait(&mut self, item: u32) -> Result<(), PutError<u32>> {
        if self.shut_down {
            return Err(PutError::ShutDown(item));
        }
        if !self.has_room(0) {
            return Err(PutError::Full(item));
        }
        self.push(item);
        Ok(())
    }

    fn get_nowait(&mut self) -> Result<u32, GetError> {
        (self.take)(&mut self.items).ok_or(if self.shut_down {
            GetError::ShutDown
        } else {
            GetError::Empty
        })
    }

    fn shutdown(&mut self, immediate: bool) -> Vec<u32> {
        self.shut_down = true;
        let mut drained = Vec::new();
        while immediate && !self.items.is_empty() {
            drained.extend((self.take)(&mut self.items));
            self.unfinished = self.unfinished.saturating_sub(1);
        }
        drained
    }
}

type WaitingPut<'q> = Waiting<'q, Result<(), ShutDown<u32>>>;

/// The futures of one program, with their names.
struct Clients<'q> {
    getters: Vec<(usize, Waiting<'q, Result<u32, ShutDown>>)>,
    putters: Vec<(usize, u32, WaitingPut<'q>)>,
}

fn queue_program<S: QueueStore<u32>>(
    queue: &Queue<u32, S>,
    take: fn(&mut Vec<u32>) -> Option<u32>,
    program: &[Queueing],
) {
    let mut model = NaiveQueue {
        maxsize: queue.maxsize(),
        items: Vec::new(),
        take,
        getters: Vec::new(),
        putters: Vec::new(),
        unfinished: 0,
        shut_down: false,
    };
    let mut clients = Clients {
        getters: Vec::new(),
        putters: Vec::new(),
    };
    for (id, op) in program.iter().enumerate() {
        queue_step(queue, &mut model, &mut clients, id, op);
        assert_eq!(queue.qsize(), model.items.len(), "{op:?}");
        assert_eq!(queue.is_full(), !model.has_room(0), "{op:?}");
        for (id, waiting) in &clients.getters {
            assert!(
                waiting.is_woken() || !model.may_get(*id),
                "{op:?}: {id} sleeps"
            );
        }
        for (id, _, waiting) in &clients.putters {
            assert!(
                waiting.is_woken() || !model.may_put(*id),
                "{op:?}: {id} sleeps"
            );
        }
        let joined = Waiting::new(queue.join()).poll().is_some();
        assert_eq!(joined, model.unfinished == 0, "{op:?}");
    }
}

fn queue_step<'q, S: QueueStore<u32>>(
    queue: &'q Queue<u32, S>,
    model: &mut NaiveQueue,
    clients: &mut Clients<'q>,
    id: usize,
    op: &Queueing,
) {
    let item = id as u32 ^ 5;
    match *op {
        Queueing::Put => {
            let mut waiting = Waiting::new(queue.put(item));
            let polled = waiting.poll();
            assert_eq!(polled, model.poll_put(id, item), "{op:?}");
            if polled.is_none() {
                clients.putters.push((id, item, waiting));
            }
        }
        Queueing::Get => {
            let mut waiting = Waiting::new(queue.get());
            let polled = waiting.poll();
            assert_eq!(polled, model.poll_get(id), "{op:?}");
            if polled.is_none() {
                clients.getters.push((id, waiting));
            }
        }
        Queueing::PutNowait => assert_eq!(queue.put_nowait(item), model.put_nowait(item)),
        Queueing::GetNowait => assert_eq!(queue.get_nowait(), model.get_nowait()),
        Queueing::PollPut(which) if which < clients.putters.len() => {
            let (id, item, waiting) = &mut clients.putters[which];
            let polled = waiting.poll();
            assert_eq!(polled, model.poll_put(*id, *item), "{op:?}");
            if polled.is_some() {
                clients.putters.remove(which);
            }
        }
        Queueing::PollGet(which) if which < clients.getters.len() => {
            let (id, waiting) = &mut clients.getters[which];
            let polled = waiting.poll();
            assert_eq!(polled, model.poll_get(*id), "{op:?}");
            if polled.is_some() {
                clients.getters.remove(which);
            }
        }
        Queueing::DropPut(which) if which < clients.putters.len() => {
            let (id, ..) = clients.putters.remove(which);
            model.putters.retain(|(putter, _)| *putter != id);
        }
        Queueing::DropGet(which) if which < clients.getters.len() => {
            let (id, _) = clients.getters.remove(which);
            model.getters.retain(|getter| *getter != id);
        }
        Queueing::TaskDone => {
            assert_eq!(queue.task_done().is_ok(), model.unfinished > 0);
            model.unfinished = model.unfinished.saturating_sub(1);
        }
        Queueing::ShutDown(immediate) => {
            assert_eq!(queue.shutdown(immediate), model.shutdown(immediate));
        }
        _ => {}
    }
}

fn queueing() -> impl Strategy<Value = Queueing> {
    let client = || 0..6_usize;
    prop_oneof![
        20 => Just(Queueing::Put),
        20 => Just(Queueing::Get),
        8 => Just(Queueing::PutNowait),
        8 => Just(Queueing::GetNowait),
        16 => client().prop_map(Queueing::PollPut),
        16 => client().prop_map(Queueing::PollGet),
        10 => client().prop_map(Queueing::DropPut),
        10 => client().prop_map(Queueing::DropGet),
        6 => Just(Queueing::TaskDone),
        1 => any::<bool>().prop_map(Queueing::ShutDown),
    ]
}

#[test]
fn n1_a_queue_does_what_its_model_does() {
    let first = |items: &mut Vec<u32>| (!items.is_empty()).then(|| items.remove(0));
    for maxsize in 0..4 {
        over_programs(4, queueing, move |program| {
            queue_program::<VecDeque<u32>>(&Queue::new(maxsize), first, program);
        });
    }
}

#[test]
fn n1_a_lifo_queue_does_what_its_model_does() {
    over_programs(4, queueing, |program| {
        queue_program::<Vec<u32>>(&LifoQueue::new(2), Vec::pop, program);
    });
}

#[test]
fn n1_a_priority_queue_does_what_its_model_does() {
    let smallest = |items: &mut Vec<u32>| {
        let place = (0..items.len()).min_by_key(|place| items[*place])?;
        Some(items.remove(place))
    };
    over_programs(4, queueing, move |program| {
        queue_program::<BinaryHeap<Reverse<u32>>>(&PriorityQueue::new(2), smallest, program);
    });
}
