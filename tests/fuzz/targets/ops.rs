//! Random programs over tasks and what makes them wait. Whatever they do: they end, no turn repeats for ever, every
//! script's future is dropped once, every task is done once, and nobody holds a lock or a permit in the end.
#![no_main]

#[path = "ops/program.rs"]
mod program;

use std::cell::{Cell, RefCell};
use std::error::Error;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::panicking;
use std::time::Duration;

use callsoon::queue::Queue;
use callsoon::sync::{Barrier, Condition, Event, Lock, Semaphore};
use callsoon::{Clock, EventLoop, Future, LoopHandle, ReturnWhen, RunError, Task, TaskRef};
use libfuzzer_sys::fuzz_target;
use program::{Input, Op, Run};

/// What a script returns in the end, and why it fails.
type Ended = Result<usize, Failed>;

#[derive(Debug)]
struct Failed;

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a script that fails")
    }
}

impl Error for Failed {}

type Script = Pin<Box<dyn std::future::Future<Output = Ended>>>;

/// How many ops run, all scripts together.
const FUEL: usize = 400;

/// How many turns there may be after everything was cancelled: an op may take several.
const TURNS: usize = 40 * FUEL;

const PERMITS: usize = 2;

struct World {
    handle: LoopHandle,
    scripts: Vec<Vec<Op>>,
    fuel: Cell<usize>,
    alive: Cell<usize>,
    spawned: Cell<usize>,
    done: Cell<usize>,
    tasks: RefCell<Vec<Task<Ended>>>,
    refs: RefCell<Vec<TaskRef>>,
    futures: RefCell<Vec<Future<usize>>>,
    holders: Cell<usize>,
    lock: Lock<()>,
    permits_added: Cell<usize>,
    semaphore: Semaphore,
    event: Event,
    condition: Condition,
    barrier: Barrier,
    queue: Queue<usize>,
    put: Cell<usize>,
    got: Cell<usize>,
}

/// Counts the futures of scripts.
struct Alive(Rc<World>);

impl Alive {
    fn new(world: &Rc<World>) -> Self {
        world.alive.set(world.alive.get() + 1);
        Self(Rc::clone(world))
    }
}

impl Drop for Alive {
    fn drop(&mut self) {
        self.0.alive.set(self.0.alive.get() - 1);
    }
}

struct PanicsInDrop;

impl Drop for PanicsInDrop {
    fn drop(&mut self) {
        if !panicking() {
            // Without the hook, which ends a fuzzer.
            resume_unwind(Box::new("on purpose"));
        }
    }
}

/// The waker of another runtime around that of the loop.
struct Relay(Waker);

impl Wake for Relay {
    fn wake(self: Arc<Self>) {
        self.0.wake_by_ref();
    }
}

struct Hosted(Script);

impl std::future::Future for Hosted {
    type Output = Ended;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Ended> {
        let waker = Waker::from(Arc::new(Relay(context.waker().clone())));
        self.0.as_mut().poll(&mut Context::from_waker(&waker))
    }
}

impl World {
    fn burn(&self) -> bool {
        let fuel = self.fuel.get();
        self.fuel.set(fuel.saturating_sub(1));
        fuel > 0
    }

    /// Makes the future of a script that is later than `from`, so that scripts end.
    fn script(self: &Rc<Self>, from: usize, number: u8) -> Script {
        let later = self.scripts.len().saturating_sub(from + 1);
        let index = match later {
            0 => None,
            _ => Some(from + 1 + usize::from(number) % later),
        };
        let alive = Alive::new(self);
        Box::pin(async move {
            let world = Rc::clone(&alive.0);
            let mut kept = Vec::new();
            let Some(index) = index else { return Ok(0) };
            for op in world.scripts[index].clone() {
                if !world.burn() {
                    break;
                }
                if matches!(op, Op::PanicLater) {
                    kept.push(PanicsInDrop);
                } else if world.act(index, &op) {
                    continue;
                }
                world.wait(index, op).await?;
            }
            Ok(index)
        })
    }

    fn spawn(self: &Rc<Self>, from: usize, number: u8, eager: bool) {
        let script = self.script(from, number);
        let task = self.handle.task_builder().eager(eager).spawn(script);
        self.note(&task);
        self.tasks.borrow_mut().push(task);
    }

    fn note(self: &Rc<Self>, task: &Task<Ended>) {
        self.spawned.set(self.spawned.get() + 1);
        let world = Rc::clone(self);
        task.add_done_callback(move |task| {
            assert!(task.done());
            world.done.set(world.done.get() + 1);
        });
        self.refs.borrow_mut().push(task.as_ref());
    }

    fn task(&self, number: u8) -> Option<Task<Ended>> {
        let mut tasks = self.tasks.borrow_mut();
        match tasks.len() {
            0 => None,
            count => Some(tasks.swap_remove(usize::from(number) % count)),
        }
    }

    fn reference(&self, number: u8) -> Option<TaskRef> {
        let refs = self.refs.borrow();
        let index = usize::from(number).checked_rem(refs.len())?;
        Some(refs[index].clone())
    }

    fn some_tasks(&self, numbers: [u8; 2]) -> Vec<Task<Ended>> {
        numbers.iter().filter_map(|one| self.task(*one)).collect()
    }

    /// A callback that does those ops of a script that do not wait.
    fn callback(self: &Rc<Self>, from: usize, number: u8) -> impl FnOnce() + 'static {
        let alive = Alive::new(self);
        move || {
            let world = &alive.0;
            let later = world.scripts.len().saturating_sub(from + 1);
            if later == 0 {
                return;
            }
            let index = from + 1 + usize::from(number) % later;
            for op in world.scripts[index].clone() {
                if !world.burn() {
                    break;
                }
                world.act(index, &op);
            }
        }
    }

    /// Does an op that does not wait. Returns whether it was one.
    fn act(self: &Rc<Self>, at: usize, op: &Op) -> bool {
        match *op {
            Op::Panic => resume_unwind(Box::new("on purpose")),
            Op::Spawn(script) => self.spawn(at, script, false),
            Op::SpawnEager(script) => self.spawn(at, script, true),
            Op::Detach(task) => drop(self.task(task).map(Task::detach)),
            Op::DropTask(task) => drop(self.task(task)),
            Op::CancelOnDrop(task) => drop(self.task(task).map(Task::cancel_on_drop)),
            Op::Cancel(task) => drop(self.reference(task).map(|task| task.cancel())),
            Op::CancelSelf => drop(self.handle.current_task().map(|task| task.cancel())),
            Op::Uncancel(task) => drop(self.reference(task).map(|task| task.uncancel())),
            Op::OnDone(task, script) => {
                if let Some(task) = self.reference(task) {
                    let callback = self.callback(at, script);
                    task.add_done_callback(move |_| callback());
                }
            }
            Op::CallSoon(script) => drop(self.handle.call_soon(self.callback(at, script))),
            Op::CallSoonCancelled(script) => {
                self.handle.call_soon(self.callback(at, script)).cancel();
            }
            Op::CallLater(time, script) => {
                drop(
                    self.handle
                        .call_later(seconds(time), self.callback(at, script)),
                );
            }
            Op::Post => drop(self.handle.remote().call_soon_threadsafe(|| ())),
            Op::AsyncDrop(script) => {
                let script = self.script(at, script);
                drop(
                    self.handle
                        .defer_async_drop(async move { drop(script.await) }),
                );
            }
            Op::Stop => self.handle.stop(),
            Op::Nested => {
                let other = EventLoop::new().unwrap();
                let ran = other.run_until_complete(async {});
                assert!(matches!(ran, Err(RunError::Nested)), "{ran:?}");
            }
            _ => return self.act_on_primitives(op),
        }
        true
    }

    fn act_on_primitives(&self, op: &Op) -> bool {
        let future = |futures: &RefCell<Vec<Future<usize>>>| futures.borrow_mut().pop();
        match *op {
            Op::FutureSet => drop(future(&self.futures).map(|future| future.set_result(1))),
            Op::FutureCancel => drop(future(&self.futures).map(|future| future.cancel())),
            Op::SemaphoreAdd => {
                self.permits_added.set(self.permits_added.get() + 1);
                self.semaphore.add_permits(1).unwrap();
            }
            Op::EventSet => self.event.set(),
            Op::EventClear => self.event.clear(),
            Op::Notify(count) => self.condition.notify(usize::from(count)),
            Op::BarrierReset => self.barrier.reset(),
            Op::BarrierAbort => self.barrier.abort(),
            Op::PutNow => {
                let put = self.queue.put_nowait(0).is_ok();
                self.put.set(self.put.get() + usize::from(put));
            }
            Op::GetNow => {
                let got = self.queue.get_nowait().is_ok();
                self.got.set(self.got.get() + usize::from(got));
            }
            Op::TaskDone => drop(self.queue.task_done()),
            Op::ShutDown(immediate) => {
                let thrown_away = self.queue.shutdown(immediate).len();
                self.got.set(self.got.get() + thrown_away);
            }
            _ => return false,
        }
        true
    }

    /// Does an op that waits.
    async fn wait(self: &Rc<Self>, at: usize, op: Op) -> Result<(), Failed> {
        match op {
            Op::Yield => callsoon::yield_now().await,
            Op::Sleep(time) => {
                let began = self.handle.time();
                callsoon::sleep(seconds(time)).await;
                assert!(self.handle.time() >= began + seconds(time), "early");
            }
            Op::Fail => return Err(Failed),
            Op::Catch(script) => {
                let caught = callsoon::catch_cancelled(self.script(at, script)).await;
                drop(caught);
            }
            Op::Inline(script) => drop(self.script(at, script).await?),
            Op::Hosted(script) => drop(Hosted(self.script(at, script)).await),
            Op::Timeout(time, script) => {
                let began = self.handle.time();
                let script = self.script(at, script);
                if callsoon::timeout(seconds(time), script).await.is_err() {
                    assert!(self.handle.time() >= began + seconds(time), "early");
                }
            }
            Op::MoveOn(time, script) => {
                callsoon::move_on_after(seconds(time), self.script(at, script)).await;
            }
            Op::Await(task) => {
                if let Some(task) = self.task(task) {
                    drop(task.await);
                }
            }
            Op::Shield(task) => {
                if let Some(mut task) = self.task(task) {
                    drop(callsoon::shield(&mut task).await);
                    self.tasks.borrow_mut().push(task);
                }
            }
            _ => return Box::pin(self.wait_for_several(at, op)).await,
        }
        Ok(())
    }

    async fn wait_for_several(self: &Rc<Self>, at: usize, op: Op) -> Result<(), Failed> {
        match op {
            Op::Wait(one, other, time) => {
                let mut tasks = self.some_tasks([one, other]);
                let when = [
                    ReturnWhen::FirstCompleted,
                    ReturnWhen::FirstException,
                    ReturnWhen::AllCompleted,
                ][usize::from(one % 3)];
                let ended = callsoon::wait(&mut tasks, when, time.map(seconds)).await;
                assert!(ended.iter().all(Task::done));
                self.tasks.borrow_mut().extend(tasks);
            }
            Op::AsCompleted(one, other) => {
                let mut ended = callsoon::as_completed(self.some_tasks([one, other]));
                while let Some(task) = ended.next().await {
                    assert!(task.done());
                }
            }
            Op::Gather(scripts) => {
                let children = scripts.map(|script| self.script(at, script));
                drop(callsoon::gather(children).await);
            }
            Op::TryGather(scripts) => {
                let children = scripts.map(|script| self.script(at, script));
                drop(callsoon::try_gather(children).await);
            }
            Op::Race(scripts) => {
                let children = scripts.map(|script| self.script(at, script));
                drop(callsoon::race(children).await);
            }
            Op::Group(body, children) => self.group(at, body, children, false).await,
            Op::GroupCancelled(body, children) => self.group(at, body, children, true).await,
            Op::ForEach(limit, script) => {
                let child = |_| self.script(at, script);
                let limit = usize::from(limit % 3) + 1;
                drop(callsoon::for_each_limit(0..4, limit, child).await);
            }
            op => self.wait_for_primitive(at, op).await,
        }
        Ok(())
    }

    async fn group(self: &Rc<Self>, at: usize, body: u8, children: [u8; 2], cancel: bool) {
        let ended = callsoon::task_group(async |group| {
            for child in children {
                let task = group.create_task(self.script(at, child));
                self.refs.borrow_mut().push(task.as_ref());
            }
            if cancel {
                group.cancel();
            }
            self.script(at, body).await
        });
        drop(ended.await);
    }

    async fn wait_for_primitive(self: &Rc<Self>, at: usize, op: Op) {
        match op {
            Op::FutureWait => {
                let future = self.handle.create_future::<usize>();
                self.futures.borrow_mut().push(future.clone());
                drop(future.await);
            }
            Op::LockHold(script) => {
                let _guard = self.lock.acquire().await;
                let _holder = Holder::new(self);
                drop(self.script(at, script).await);
            }
            Op::SemaphoreHold(count, script) => {
                let count = usize::from(count) % (PERMITS + 1);
                let _guard = self.semaphore.acquire_many(count).await;
                drop(self.script(at, script).await);
            }
            Op::EventWait => self.event.wait().await,
            Op::ConditionWait(script) => {
                let guard = self.lock.acquire().await;
                let _guard = self.condition.wait(guard).await;
                let _holder = Holder::new(self);
                drop(self.script(at, script).await);
            }
            Op::BarrierWait => drop(self.barrier.wait().await),
            Op::Put => {
                let put = self.queue.put(0).await.is_ok();
                self.put.set(self.put.get() + usize::from(put));
            }
            Op::Get => {
                let got = self.queue.get().await.is_ok();
                self.got.set(self.got.get() + usize::from(got));
            }
            Op::Join => self.queue.join().await,
            _ => {}
        }
    }
}

/// The only one that holds the lock.
struct Holder<'w>(&'w World);

impl<'w> Holder<'w> {
    fn new(world: &'w World) -> Self {
        assert_eq!(world.holders.replace(1), 0, "two hold one lock");
        Self(world)
    }
}

impl Drop for Holder<'_> {
    fn drop(&mut self) {
        self.0.holders.set(0);
    }
}

fn seconds(count: u8) -> Duration {
    Duration::from_secs(u64::from(count % 16))
}

/// Runs turns until nothing is left to do. Returns whether that was within the budget.
fn settle(event_loop: &EventLoop) -> bool {
    let clock = event_loop.handle().clock().unwrap();
    for _ in 0..TURNS {
        if !event_loop.has_ready() && clock.advance_to_next().is_none() {
            return true;
        }
        // A panic of a destructor may come out of what the turn runs last.
        let turn = catch_unwind(AssertUnwindSafe(|| {
            event_loop.turn(Some(Duration::ZERO)).unwrap();
        }));
        assert!(turn.is_ok(), "a turn has let a panic out");
    }
    false
}

fn run(event_loop: &EventLoop, world: &Rc<World>, how: Run) {
    let watchdog = event_loop.handle();
    let day = Duration::from_secs(86_400);
    match how {
        Run::Turns => assert!(settle(event_loop), "the program goes on for ever"),
        Run::Forever => {
            event_loop.call_later(day, move || watchdog.stop());
            event_loop.run_forever().unwrap();
        }
        Run::UntilComplete => {
            event_loop.call_later(day, move || watchdog.stop());
            let main = world.script(0, 0);
            // A panic of the main script comes out here, and whatever a program may do has some result.
            let ran = catch_unwind(AssertUnwindSafe(|| event_loop.run_until_complete(main)));
            drop(catch_unwind(AssertUnwindSafe(|| drop(ran))));
        }
    }
}

fn check(world: &World) {
    assert_eq!(world.alive.get(), 0, "scripts that were not dropped");
    assert_eq!(world.done.get(), world.spawned.get(), "tasks not done once");
    assert!(!world.lock.locked());
    let permits = PERMITS + world.permits_added.get();
    assert_eq!(world.semaphore.available_permits(), permits);
    assert_eq!(world.queue.qsize() + world.got.get(), world.put.get());
    assert_eq!(world.barrier.n_waiting(), 0);
}

fuzz_target!(|input: Input| {
    let clock = match input.run {
        Run::Turns => Clock::Manual,
        Run::Forever | Run::UntilComplete => Clock::Virtual,
    };
    let mut builder = EventLoop::builder().clock(clock).debug(input.debug);
    if let Some(seed) = input.shuffle {
        builder = builder.shuffle(u64::from(seed));
    }
    let event_loop = builder.build().unwrap();
    event_loop.set_exception_handler(|_, _| ());
    // Scripts call later ones, so their number bounds how deep they go.
    let mut scripts = input.scripts;
    scripts.truncate(12);
    let world = Rc::new(World {
        handle: event_loop.handle(),
        scripts,
        fuel: Cell::new(FUEL),
        alive: Cell::default(),
        spawned: Cell::default(),
        done: Cell::default(),
        tasks: RefCell::default(),
        refs: RefCell::default(),
        futures: RefCell::default(),
        holders: Cell::default(),
        lock: Lock::new(()),
        permits_added: Cell::default(),
        semaphore: Semaphore::new(PERMITS),
        event: Event::new(),
        condition: Condition::new(),
        barrier: Barrier::new(2),
        queue: Queue::new(2),
        put: Cell::default(),
        got: Cell::default(),
    });
    for number in 0..2 {
        world.spawn(0, number, false);
    }
    run(&event_loop, &world, input.run);
    // What waits for something that never comes is cancelled. A script may go on after that, but has no ops left.
    world.fuel.set(0);
    if let Some(clock) = event_loop.handle().clock() {
        clock.set_auto_advance(false);
    }
    for _ in 0..64 {
        if event_loop.all_tasks().is_empty() {
            break;
        }
        for task in event_loop.all_tasks() {
            task.cancel();
        }
        assert!(settle(&event_loop), "cancelled tasks go on for ever");
    }
    assert_eq!(
        event_loop.all_tasks().len(),
        0,
        "tasks outlive being cancelled"
    );
    assert!(settle(&event_loop), "callbacks go on for ever");
    event_loop.close().unwrap();
    check(&world);
    world.tasks.take();
    world.futures.take();
});
