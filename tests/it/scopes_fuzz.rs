//! Random programs of scopes, and the invariants that hold in all of them.
//!
//! A program is a tree of awaits; tasks that it makes are cancelled at random times while it runs, and all that is left
//! is cancelled again and again later on. It ends, after at most one such round for each place that may handle a
//! request and one more; no task and no scope is left; nothing has panicked; no child outlives a group that was awaited
//! to its end; the loop does not spin.

use std::cell::{Cell, RefCell};
use std::future::{Future, pending, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use callsoon::{
    Cancellation, Future as LoopFuture, TaskError, TaskRef, catch_cancelled, create_task, gather,
    get_running_loop, move_on_after, shield, sleep, sleep_until, task_builder, task_group, timeout,
    yield_now,
};
use futures_lite::future::{or, zip};
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use crate::support::{JoinAll, Trace, audited, forget, virtual_loop, watched};

/// One await.
#[derive(Clone, Debug)]
enum Op {
    Sleep(u8),
    Yield,
    Forever,
    /// A future that is set at some time, or cancelled by the task that awaits it.
    Shared(u8),
    Seq(Vec<Op>),
    Catch {
        inside: Box<Op>,
        clean_up: Box<Op>,
        keeps: bool,
    },
    Timeout(u8, Box<Op>),
    MoveOn(u8, Box<Op>),
    Task(Box<Op>),
    Eager(Box<Op>),
    Detached(Box<Op>),
    Shielded(Box<Op>),
    Group(Vec<Op>, Box<Op>),
    /// A group whose last child fails once it has ended.
    Failing(Vec<Op>, Box<Op>),
    Gather(Vec<Op>),
    Join(Box<Op>, Box<Op>),
    Select(Box<Op>, Box<Op>),
    JoinAll(Vec<Op>),
    /// Polled once, and put aside for as long as the other one takes; then awaited.
    Aside(Box<Op>, Box<Op>),
    /// Polled once, and handed to another task.
    Moved(Box<Op>),
    Dropped(Box<Op>),
    Forgotten(Box<Op>),
    Cancel(u8),
    Uncancel(u8),
    Raise,
}

impl Op {
    /// How many requests it may swallow at most.
    fn swallows(&self) -> usize {
        match self {
            Self::Catch {
                inside, clean_up, ..
            } => 1 + inside.swallows() + clean_up.swallows(),
            Self::Uncancel(_) => 1,
            Self::Seq(all) | Self::Gather(all) | Self::JoinAll(all) => {
                all.iter().map(Self::swallows).sum()
            }
            Self::Group(all, body) | Self::Failing(all, body) => {
                all.iter().map(Self::swallows).sum::<usize>() + body.swallows()
            }
            Self::Timeout(_, one)
            | Self::MoveOn(_, one)
            | Self::Task(one)
            | Self::Eager(one)
            | Self::Detached(one)
            | Self::Shielded(one)
            | Self::Moved(one)
            | Self::Dropped(one)
            | Self::Forgotten(one) => one.swallows(),
            Self::Join(one, two) | Self::Select(one, two) | Self::Aside(one, two) => {
                one.swallows() + two.swallows()
            }
            Self::Sleep(_)
            | Self::Yield
            | Self::Forever
            | Self::Shared(_)
            | Self::Cancel(_)
            | Self::Raise => 0,
        }
    }
}

fn ops() -> impl Strategy<Value = Op> {
    let leaf = prop_oneof![
        4 => (0..4u8).prop_map(Op::Sleep),
        1 => Just(Op::Yield),
        3 => Just(Op::Forever),
        2 => (0..4u8).prop_map(Op::Shared),
        2 => (0..8u8).prop_map(Op::Cancel),
        1 => (0..8u8).prop_map(Op::Uncancel),
        1 => Just(Op::Raise),
    ];
    leaf.prop_recursive(6, 40, 4, |op| {
        let one = op.clone().prop_map(Box::new).boxed();
        let some = prop::collection::vec(op, 1..4).boxed();
        let catch =
            (one.clone(), one.clone(), any::<bool>()).prop_map(|(inside, clean_up, keeps)| {
                Op::Catch {
                    inside,
                    clean_up,
                    keeps,
                }
            });
        prop_oneof![
            4 => some.clone().prop_map(Op::Seq),
            6 => catch,
            3 => (0..6u8, one.clone()).prop_map(|(limit, op)| Op::Timeout(limit, op)),
            1 => (0..6u8, one.clone()).prop_map(|(limit, op)| Op::MoveOn(limit, op)),
            3 => one.clone().prop_map(Op::Task),
            1 => one.clone().prop_map(Op::Eager),
            1 => one.clone().prop_map(Op::Detached),
            1 => one.clone().prop_map(Op::Shielded),
            2 => (some.clone(), one.clone()).prop_map(|(some, body)| Op::Group(some, body)),
            1 => (some.clone(), one.clone()).prop_map(|(some, body)| Op::Failing(some, body)),
            2 => some.clone().prop_map(Op::Gather),
            3 => (one.clone(), one.clone()).prop_map(|(one, two)| Op::Join(one, two)),
            2 => (one.clone(), one.clone()).prop_map(|(one, two)| Op::Select(one, two)),
            2 => some.prop_map(Op::JoinAll),
            2 => (one.clone(), one.clone()).prop_map(|(one, two)| Op::Aside(one, two)),
            1 => one.clone().prop_map(Op::Moved),
            1 => one.clone().prop_map(Op::Dropped),
            1 => one.prop_map(Op::Forgotten),
        ]
    })
}

/// What all parts of one program share.
#[derive(Clone)]
struct World {
    tasks: Rc<RefCell<Vec<TaskRef>>>,
    shared: Rc<Vec<LoopFuture<()>>>,
}

type Boxed = Pin<Box<dyn Future<Output = ()>>>;

/// Counts the live tasks.
struct Alive(Rc<Cell<usize>>);

impl Alive {
    fn new(count: &Rc<Cell<usize>>) -> Self {
        count.set(count.get() + 1);
        Self(Rc::clone(count))
    }
}

impl Drop for Alive {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

/// No task of a program panics.
fn check<T>(result: Result<T, TaskError>) {
    if let Err(error) = result {
        assert!(error.cancelled().is_some(), "{error}");
    }
}

impl World {
    fn note<T: 'static>(&self, task: callsoon::Task<T>) -> callsoon::Task<T> {
        self.tasks.borrow_mut().push(task.as_ref());
        task
    }

    fn named(&self, number: u8) -> Option<TaskRef> {
        let tasks = self.tasks.borrow();
        tasks.get(usize::from(number) % tasks.len().max(1)).cloned()
    }

    fn run(&self, op: Op) -> Boxed {
        let world = self.clone();
        Box::pin(async move { world.step(op).await })
    }

    async fn step(&self, op: Op) {
        match op {
            Op::Sleep(seconds) => sleep(Duration::from_secs(seconds.into())).await,
            Op::Yield => yield_now().await,
            Op::Forever => pending().await,
            Op::Shared(number) => drop((&self.shared[usize::from(number)]).await),
            Op::Seq(all) => {
                for op in all {
                    self.run(op).await;
                }
            }
            Op::Catch {
                inside,
                clean_up,
                keeps,
            } => {
                if let Err(cancelled) = catch_cancelled(self.run(*inside)).await {
                    self.run(*clean_up).await;
                    if !keeps {
                        cancelled.resume().await;
                    }
                }
            }
            Op::Timeout(limit, op) => {
                let _ = timeout(Duration::from_secs(limit.into()), self.run(*op)).await;
            }
            Op::MoveOn(limit, op) => {
                let _ = move_on_after(Duration::from_secs(limit.into()), self.run(*op)).await;
            }
            Op::Raise => Cancellation::default().resume().await,
            Op::Cancel(number) => {
                if let Some(task) = self.named(number) {
                    task.cancel();
                }
            }
            Op::Uncancel(number) => {
                if let Some(task) = self.named(number) {
                    task.uncancel();
                }
            }
            other => self.step_further(other).await,
        }
    }

    async fn step_further(&self, op: Op) {
        match op {
            Op::Task(op) => check(self.note(create_task(self.run(*op))).await),
            Op::Eager(op) => {
                let task = task_builder().eager(true).spawn(self.run(*op));
                check(self.note(task).await);
            }
            Op::Detached(op) => self.note(create_task(self.run(*op))).detach(),
            Op::Shielded(op) => check(shield(self.note(create_task(self.run(*op)))).await),
            Op::Group(some, body) => self.group(some, *body, false).await,
            Op::Failing(some, body) => self.group(some, *body, true).await,
            Op::Gather(some) => {
                let all = some.into_iter().map(|op| self.run(op));
                for result in gather(all).settled().await {
                    check(result);
                }
            }
            Op::Join(one, two) => drop(zip(self.run(*one), self.run(*two)).await),
            Op::Select(one, two) => or(self.run(*one), self.run(*two)).await,
            Op::JoinAll(some) => {
                let mut join_all = JoinAll::new();
                for op in some {
                    join_all.add(self.run(op));
                }
                join_all.await;
            }
            Op::Aside(one, two) => {
                let mut one = self.run(*one);
                if !is_done(&mut one).await {
                    self.run(*two).await;
                    one.await;
                }
            }
            Op::Moved(op) => {
                let mut op = self.run(*op);
                if !is_done(&mut op).await {
                    check(self.note(create_task(op)).await);
                }
            }
            Op::Dropped(op) => drop(is_done(&mut self.run(*op)).await),
            Op::Forgotten(op) => {
                let mut op = self.run(*op);
                is_done(&mut op).await;
                forget(op);
            }
            _ => unreachable!("the other half has it"),
        }
    }

    async fn group(&self, some: Vec<Op>, body: Op, fails: bool) {
        let alive = Rc::new(Cell::new(0));
        let last = some.len() - 1;
        let result = task_group(async |group| {
            for (number, op) in some.into_iter().enumerate() {
                let (child, alive) = (self.run(op), Alive::new(&alive));
                let task = group.create_task(async move {
                    let _alive = alive;
                    child.await;
                    if fails && number == last {
                        return Err("broken");
                    }
                    Ok(())
                });
                self.note(task).detach();
            }
            self.run(body).await;
        });
        drop(result.await);
        assert_eq!(alive.get(), 0, "a child outlives its group");
    }
}

/// Polls a future once.
async fn is_done(future: &mut Boxed) -> bool {
    poll_fn(|context| Poll::Ready(future.as_mut().poll(context).is_ready())).await
}

/// Runs a program with requests to its tasks at these times, in half seconds; says what is wrong.
fn run(op: &Op, requests: &[(u8, u8)]) -> Result<(), String> {
    let trace = Trace::new();
    let event_loop = virtual_loop(&trace);
    let world = World {
        tasks: Rc::default(),
        shared: Rc::new((0..4).map(|_| event_loop.create_future()).collect()),
    };
    for (number, future) in world.shared.iter().enumerate() {
        let future = future.clone();
        event_loop.call_later(Duration::from_secs(2 * number as u64 + 1), move || {
            let _ = future.set_result(());
        });
    }
    let main = event_loop.create_task(world.run(op.clone()));
    let mut main = world.note(main);
    for (time, number) in requests {
        let (world, number) = (world.clone(), *number);
        let after = Duration::from_millis(500) * u32::from(*time);
        event_loop.call_later(after, move || {
            if let Some(task) = world.named(number) {
                task.cancel();
            }
        });
    }
    let rounds = op.swallows() + 1;
    let start = event_loop.time();
    let left = event_loop.run_until_complete(async move {
        for round in 0..rounds {
            // Off the beat of the programs, and far apart: all that ends by itself has ended.
            sleep_until(start + Duration::from_millis(200_250 * (round as u64 + 1))).await;
            for task in get_running_loop().all_tasks() {
                if Some(&task) != callsoon::current_task().as_ref() {
                    task.cancel();
                }
            }
        }
        sleep(Duration::from_secs(200)).await;
        get_running_loop().metrics().tasks
    });
    let left = left.map_err(|error| error.to_string())?;
    let metrics = event_loop.metrics();
    let turns = metrics.turns;
    let problem = match &main.result() {
        Ok(Err(error)) if error.cancelled().is_none() => Some(error.to_string()),
        Err(_) => Some("the main task is still there".to_owned()),
        _ => None,
    };
    if let Some(problem) = problem {
        return Err(problem);
    }
    let reports = trace.take();
    if !reports.is_empty() {
        return Err(format!("{reports:?}"));
    }
    if (left, metrics.scopes) != (0, 0) {
        return Err(format!("{left} tasks and {} scopes left", metrics.scopes));
    }
    if turns > 20_000 {
        return Err(format!("it spins: {turns} turns"));
    }
    Ok(())
}

/// The same programs in every run.
fn runner(cases: u32, seed: u8) -> TestRunner {
    let config = Config {
        cases,
        failure_persistence: None,
        max_shrink_iters: 20_000,
        ..Config::default()
    };
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &[seed; 32]);
    TestRunner::new_with_rng(config, rng)
}

#[test]
fn random_programs_end_and_leave_nothing_behind() {
    let requests = || prop::collection::vec((0..16u8, 0..8u8), 0..5);
    let cases = std::env::var("SCOPES_CASES").ok();
    let cases = cases.map_or(2_000, |cases| cases.parse().unwrap());
    let seed = std::env::var("SCOPES_SEED").ok();
    let seed = seed.map_or(1, |seed| seed.parse().unwrap());
    audited(watched(move || {
        runner(cases, seed)
            .run(&(ops(), requests()), |(op, requests)| {
                run(&op, &requests).map_err(TestCaseError::fail)
            })
            .unwrap();
    }));
}
