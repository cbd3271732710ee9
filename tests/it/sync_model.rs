//! Every primitive against a naive model of it: random programs of acquiring, releasing, polling in any order and
//! cancelling at any point. What a poll gives is what the model says, nothing is lost or given twice, and every task
//! that could go on has been woken (N1, N2).

use callsoon::sync::{Condition, Event, Lock, LockGuard, Semaphore, SemaphoreGuard};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use crate::support::{Waiting, audited};

/// Programs that each primitive is compared over, of 30 operations on average: more than 10⁵ operations.
const PROGRAMS: u32 = 4_000;

/// Runs `execute`, which asserts, over one of so many shares of the programs.
pub(crate) fn over_programs<S: Strategy<Value: Clone>>(
    shares: u32,
    op: impl FnOnce() -> S + Send + 'static,
    execute: impl Fn(&[S::Value]) + Send + 'static,
) {
    audited(move || {
        let mut runner = TestRunner::new(Config {
            failure_persistence: None,
            ..Config::with_cases(PROGRAMS / shares)
        });
        let result = runner.run(&prop::collection::vec(op(), 0..60), |program| {
            execute(&program);
            Ok(())
        });
        if let Err(error) = result {
            panic!("{error}");
        }
    });
}

/// Permits and a wait queue, in the simplest form.
#[derive(Default)]
struct Naive {
    permits: usize,
    line: Vec<(usize, usize)>,
    /// Woken and not polled since.
    given: Vec<(usize, usize)>,
}

impl Naive {
    fn with(permits: usize) -> Self {
        Self {
            permits,
            ..Self::default()
        }
    }

    fn begin(&mut self, id: usize, n: usize) -> bool {
        let enters = n == 0 || self.line.is_empty() && n <= self.permits;
        if enters {
            self.permits -= n;
        } else {
            self.line.push((id, n));
        }
        enters
    }

    fn poll(&mut self, id: usize) -> bool {
        let before = self.given.len();
        self.given.retain(|(given, _)| *given != id);
        before > self.given.len()
    }

    fn is_given(&self, id: usize) -> bool {
        self.given.iter().any(|(given, _)| *given == id)
    }

    /// A waiter is dropped.
    fn drop_waiter(&mut self, id: usize) {
        let back = self.given.iter().find(|(given, _)| *given == id);
        let back = back.map_or(0, |(_, n)| *n);
        self.given.retain(|(given, _)| *given != id);
        self.line.retain(|(waiting, _)| *waiting != id);
        self.release(back);
    }

    fn release(&mut self, n: usize) {
        self.permits += n;
        while let Some(&(id, n)) = self.line.first().filter(|(_, n)| *n <= self.permits) {
            self.line.remove(0);
            self.permits -= n;
            self.given.push((id, n));
        }
    }
}

/// A participant that waits for a `G` or has it.
enum Client<'a, G> {
    Waits(Waiting<'a, G>),
    Has(G),
}

#[derive(Clone, Debug)]
enum Acquiring {
    Acquire(usize),
    TryAcquire(usize),
    Poll(usize),
    /// A waiter or a guard.
    Drop(usize),
    /// A guard.
    Leak(usize),
    Release(usize),
}

fn acquiring(most: usize) -> impl Strategy<Value = Acquiring> {
    let client = || 0..8_usize;
    prop_oneof![
        4 => (0..=most).prop_map(Acquiring::Acquire),
        1 => (0..=most).prop_map(Acquiring::TryAcquire),
        4 => client().prop_map(Acquiring::Poll),
        4 => client().prop_map(Acquiring::Drop),
        1 => client().prop_map(Acquiring::Leak),
        2 => (0..=most).prop_map(Acquiring::Release),
    ]
}

fn semaphore_program(permits: usize, program: &[Acquiring]) {
    let semaphore = Semaphore::new(permits);
    let mut model = Naive::with(permits);
    let mut clients: Vec<(usize, usize, Client<'_, SemaphoreGuard<'_>>)> = Vec::new();
    let mut total = permits;
    for (id, op) in program.iter().enumerate() {
        match *op {
            Acquiring::Acquire(n) => {
                let mut waiting = Waiting::new(semaphore.acquire_many(n));
                let guard = waiting.poll();
                assert_eq!(guard.is_some(), model.begin(id, n), "{op:?}");
                let client = guard.map_or(Client::Waits(waiting), Client::Has);
                clients.push((id, n, client));
            }
            Acquiring::TryAcquire(n) => {
                let guard = semaphore.try_acquire_many(n);
                let enters = model.begin(id, n);
                model.line.retain(|(waiting, _)| *waiting != id);
                assert_eq!(guard.is_some(), enters, "{op:?}");
                clients.extend(guard.map(|guard| (id, n, Client::Has(guard))));
            }
            Acquiring::Poll(which) if which < clients.len() => {
                let (id, _, client) = &mut clients[which];
                if let Client::Waits(waiting) = client {
                    let guard = waiting.poll();
                    assert_eq!(guard.is_some(), model.poll(*id), "{op:?}");
                    if let Some(guard) = guard {
                        *client = Client::Has(guard);
                    }
                }
            }
            Acquiring::Drop(which) | Acquiring::Leak(which) if which < clients.len() => {
                match clients.remove(which) {
                    (id, _, Client::Waits(waiting)) => {
                        drop(waiting);
                        model.drop_waiter(id);
                    }
                    (_, n, Client::Has(guard)) if matches!(op, Acquiring::Leak(_)) => {
                        SemaphoreGuard::leak(guard);
                        total -= n;
                    }
                    (_, n, Client::Has(guard)) => {
                        drop(guard);
                        model.release(n);
                    }
                }
            }
            Acquiring::Release(n) => {
                semaphore.add_permits(n).unwrap();
                model.release(n);
                total += n;
            }
            _ => continue,
        }
        let held: usize = clients
            .iter()
            .map(|client| match client {
                (_, n, Client::Has(_)) => *n,
                _ => 0,
            })
            .sum();
        let given: usize = model.given.iter().map(|(_, n)| *n).sum();
        assert_eq!(semaphore.available_permits(), model.permits, "{op:?}");
        assert_eq!(model.permits + given + held, total, "{op:?}");
        assert_eq!(
            semaphore.locked(),
            model.permits == 0 || !model.line.is_empty()
        );
        for (id, _, client) in &clients {
            if let Client::Waits(waiting) = client {
                assert_eq!(waiting.is_woken(), model.is_given(*id), "{op:?}");
            }
        }
    }
}

#[test]
fn n1_a_semaphore_does_what_its_model_does() {
    over_programs(2, || acquiring(1), |program| semaphore_program(1, program));
    over_programs(2, || acquiring(3), |program| semaphore_program(2, program));
}

fn lock_program(program: &[Acquiring]) {
    let lock = Lock::new(());
    let mut model = Naive::with(1);
    let mut clients: Vec<(usize, Client<'_, LockGuard<'_>>)> = Vec::new();
    let mut leaked = false;
    for (id, op) in program.iter().enumerate() {
        match *op {
            Acquiring::Acquire(_) => {
                let mut waiting = Waiting::new(lock.acquire());
                let guard = waiting.poll();
                assert_eq!(guard.is_some(), model.begin(id, 1), "{op:?}");
                clients.push((id, guard.map_or(Client::Waits(waiting), Client::Has)));
            }
            Acquiring::TryAcquire(_) => {
                let guard = lock.try_acquire();
                assert_eq!(guard.is_some(), model.begin(id, 1), "{op:?}");
                model.line.retain(|(waiting, _)| *waiting != id);
                clients.extend(guard.map(|guard| (id, Client::Has(guard))));
            }
            Acquiring::Poll(which) if which < clients.len() => {
                let (id, client) = &mut clients[which];
                if let Client::Waits(waiting) = client {
                    let guard = waiting.poll();
                    assert_eq!(guard.is_some(), model.poll(*id), "{op:?}");
                    if let Some(guard) = guard {
                        *client = Client::Has(guard);
                    }
                }
            }
            Acquiring::Drop(which) | Acquiring::Leak(which) if which < clients.len() => {
                match clients.remove(which) {
                    (id, Client::Waits(waiting)) => {
                        drop(waiting);
                        model.drop_waiter(id);
                    }
                    (_, Client::Has(guard)) if matches!(op, Acquiring::Leak(_)) => {
                        LockGuard::leak(guard);
                        leaked = true;
                    }
                    (_, Client::Has(guard)) => {
                        drop(guard);
                        model.release(1);
                    }
                }
            }
            Acquiring::Release(_) => {
                assert_eq!(lock.release().is_ok(), leaked);
                model.release(usize::from(std::mem::take(&mut leaked)));
            }
            _ => continue,
        }
        let held = clients
            .iter()
            .any(|(_, client)| matches!(client, Client::Has(_)));
        assert_eq!(lock.locked(), held || leaked, "{op:?}");
        assert_eq!(
            model.permits + model.given.len() + usize::from(held || leaked),
            1,
            "{op:?}"
        );
        for (id, client) in &clients {
            if let Client::Waits(waiting) = client {
                assert_eq!(waiting.is_woken(), model.is_given(*id), "{op:?}");
            }
        }
    }
}

#[test]
fn n1_a_lock_does_what_its_model_does() {
    over_programs(1, || acquiring(1), lock_program);
}

#[derive(Clone, Debug)]
enum Signalling {
    Wait,
    Set,
    Clear,
    Poll(usize),
    Drop(usize),
}

fn event_program(program: &[Signalling]) {
    let event = Event::new();
    let mut set = false;
    // The waiter, and whether it has been let through.
    let mut waiters: Vec<(Waiting<'_, ()>, bool)> = Vec::new();
    for op in program {
        match *op {
            Signalling::Wait => {
                let mut waiting = Waiting::new(event.wait());
                let passed = waiting.poll().is_some();
                assert_eq!(passed, set);
                if !passed {
                    waiters.push((waiting, false));
                }
            }
            Signalling::Set => {
                event.set();
                set = true;
                waiters.iter_mut().for_each(|waiter| waiter.1 = true);
            }
            Signalling::Clear => {
                event.clear();
                set = false;
            }
            Signalling::Poll(which) if which < waiters.len() => {
                let (waiting, through) = &mut waiters[which];
                assert_eq!(waiting.poll().is_some(), *through);
                if *through {
                    waiters.remove(which);
                }
            }
            Signalling::Drop(which) if which < waiters.len() => drop(waiters.remove(which)),
            _ => continue,
        }
        assert_eq!(event.is_set(), set);
        assert!(
            waiters
                .iter()
                .all(|(waiting, through)| waiting.is_woken() == *through)
        );
    }
}

fn signalling() -> impl Strategy<Value = Signalling> {
    prop_oneof![
        4 => Just(Signalling::Wait),
        1 => Just(Signalling::Set),
        1 => Just(Signalling::Clear),
        3 => (0..6_usize).prop_map(Signalling::Poll),
        2 => (0..6_usize).prop_map(Signalling::Drop),
    ]
}

#[test]
fn n1_an_event_does_what_its_model_does() {
    over_programs(1, signalling, event_program);
}

#[derive(Clone, Debug)]
enum Conditional {
    Acquire,
    /// The task that has the lock waits for the condition.
    Wait,
    Notify(usize),
    Poll(usize),
    Drop(usize),
}

/// A lock, and the participants that wait for the condition, or were notified and have not run since.
struct NaiveCondition {
    lock: Naive,
    line: Vec<usize>,
    notified: Vec<usize>,
    /// Notified, and in the lock's wait queue now.
    relocking: Vec<usize>,
}

impl NaiveCondition {
    fn notify(&mut self, n: usize) {
        let n = n.min(self.line.len());
        self.notified.extend(self.line.drain(..n));
    }

    fn poll(&mut self, id: usize) -> bool {
        if let Some(place) = self.notified.iter().position(|notified| *notified == id) {
            self.notified.remove(place);
            let enters = self.lock.begin(id, 1);
            if !enters {
                self.relocking.push(id);
            }
            return enters;
        }
        let enters = self.lock.poll(id);
        if enters {
            self.relocking.retain(|relocking| *relocking != id);
        }
        enters
    }

    fn drop_waiter(&mut self, id: usize) {
        self.lock.drop_waiter(id);
        self.line.retain(|waiting| *waiting != id);
        let owed = self.notified.contains(&id) || self.relocking.contains(&id);
        self.notified.retain(|notified| *notified != id);
        self.relocking.retain(|relocking| *relocking != id);
        self.notify(usize::from(owed));
    }
}

fn condition_program(program: &[Conditional]) {
    let (lock, condition) = (Lock::new(()), Condition::new());
    let mut model = NaiveCondition {
        lock: Naive::with(1),
        line: Vec::new(),
        notified: Vec::new(),
        relocking: Vec::new(),
    };
    let mut clients: Vec<(usize, Client<'_, LockGuard<'_>>)> = Vec::new();
    for (id, op) in program.iter().enumerate() {
        match *op {
            Conditional::Acquire => {
                let mut waiting = Waiting::new(lock.acquire());
                let guard = waiting.poll();
                assert_eq!(guard.is_some(), model.lock.begin(id, 1), "{op:?}");
                clients.push((id, guard.map_or(Client::Waits(waiting), Client::Has)));
            }
            Conditional::Wait => {
                let holder = clients
                    .iter()
                    .position(|(_, client)| matches!(client, Client::Has(_)));
                if let Some((id, Client::Has(guard))) = holder.map(|holder| clients.remove(holder))
                {
                    clients.push((id, Client::Waits(Waiting::begun(condition.wait(guard)))));
                    model.line.push(id);
                    model.lock.release(1);
                }
            }
            Conditional::Notify(n) => {
                condition.notify(n);
                model.notify(n);
            }
            Conditional::Poll(which) if which < clients.len() => {
                let (id, client) = &mut clients[which];
                if let Client::Waits(waiting) = client {
                    let guard = waiting.poll();
                    assert_eq!(guard.is_some(), model.poll(*id), "{op:?}");
                    if let Some(guard) = guard {
                        *client = Client::Has(guard);
                    }
                }
            }
            Conditional::Drop(which) if which < clients.len() => match clients.remove(which) {
                (id, Client::Waits(waiting)) => {
                    drop(waiting);
                    model.drop_waiter(id);
                }
                (_, Client::Has(guard)) => {
                    drop(guard);
                    model.lock.release(1);
                }
            },
            _ => continue,
        }
        for (id, client) in &clients {
            if let Client::Waits(waiting) = client {
                let may = model.notified.contains(id) || model.lock.is_given(*id);
                assert_eq!(waiting.is_woken(), may, "{op:?}");
            }
        }
        let waiters = format!("Condition {{ waiters: {}, .. }}", model.line.len());
        assert_eq!(format!("{condition:?}"), waiters);
    }
}

fn conditional() -> impl Strategy<Value = Conditional> {
    prop_oneof![
        4 => Just(Conditional::Acquire),
        4 => Just(Conditional::Wait),
        2 => (0..3_usize).prop_map(Conditional::Notify),
        6 => (0..6_usize).prop_map(Conditional::Poll),
        3 => (0..6_usize).prop_map(Conditional::Drop),
    ]
}

#[test]
fn n1_a_condition_does_what_its_model_does() {
    over_programs(1, conditional, condition_program);
}
