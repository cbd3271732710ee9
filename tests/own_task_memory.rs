//! A process of its own, because it counts the bytes and allocations of the process; one test, for the same reason.
//!
//! The memory of ended tasks is used again. Random programs spawn, detach, cancel, await, drop and panic, with futures of
//! many sizes and alignments that check their own bytes at each poll; then nothing is left, no byte of a future was
//! written by anyone else, and a burst's memory goes back. The programs are for AddressSanitizer too, where the crate
//! uses no memory again.

#![allow(unsafe_code)]

mod own {
    pub(crate) mod live_bytes;
}

use std::any::type_name;
use std::cell::{Cell, RefCell};
use std::future::{Future, pending};
use std::hint::black_box;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use callsoon::{
    Clock, EventLoop, LoopHandle, Task, TaskRef, create_task, current_task, sleep, yield_now,
};

use own::live_bytes::{CALLS, LIVE};

fn live() -> usize {
    LIVE.load(Ordering::Relaxed)
}

fn virtual_loop() -> EventLoop {
    EventLoop::builder().clock(Clock::Virtual).build().unwrap()
}

/// Numbers that are the same in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % end
    }

    fn once_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }
}

/// What all parts of a program share.
struct World {
    random: RefCell<Random>,
    serial: Cell<u64>,
    /// Futures and outputs that were made, less those that were dropped.
    futures: Cell<i64>,
    outputs: Cell<i64>,
    spawned: Cell<usize>,
    reports: Cell<usize>,
    handles: RefCell<Vec<Box<dyn Handle>>>,
    references: RefCell<Vec<TaskRef>>,
    /// Also of tasks that have ended.
    wakers: RefCell<Vec<Waker>>,
}

impl World {
    fn below(&self, end: usize) -> usize {
        self.random.borrow_mut().below(end)
    }

    fn once_in(&self, times: usize) -> bool {
        self.random.borrow_mut().once_in(times)
    }

    fn count(counter: &Cell<i64>, by: i64) {
        counter.set(counter.get() + by);
    }

    /// Takes one of a list at random, or none.
    fn one_of<T>(&self, list: &RefCell<Vec<T>>) -> Option<T> {
        let length = list.borrow().len();
        (length > 0).then(|| list.borrow_mut().swap_remove(self.below(length)))
    }
}

/// A task's handle whose type is erased.
trait Handle {
    fn cancel(&self);
    fn reference(&self) -> TaskRef;
    fn take(&mut self);
    fn poll(&mut self, context: &mut Context<'_>) -> bool;
}

impl<T: 'static> Handle for Task<T> {
    fn cancel(&self) {
        Task::cancel(self);
    }

    fn reference(&self) -> TaskRef {
        self.as_ref()
    }

    fn take(&mut self) {
        drop(self.result());
    }

    fn poll(&mut self, context: &mut Context<'_>) -> bool {
        Pin::new(self).poll(context).is_ready()
    }
}

/// Bytes that know what they have to be.
struct Bytes<const SIZE: usize> {
    bytes: [u8; SIZE],
    seed: u8,
}

impl<const SIZE: usize> Bytes<SIZE> {
    fn new(serial: u64) -> Self {
        let seed = serial as u8 ^ (serial >> 8) as u8;
        let bytes = std::array::from_fn(|place| seed.wrapping_add(place as u8));
        Self { bytes, seed }
    }

    fn check(&self) {
        let whole = black_box(&self.bytes)
            .iter()
            .zip(0u8..=u8::MAX)
            .all(|(byte, place)| *byte == self.seed.wrapping_add(place));
        if !whole {
            // A panic would be caught.
            eprintln!("bytes of a live future or output were overwritten");
            std::process::abort();
        }
    }
}

#[repr(align(64))]
struct Aligned64;

#[repr(align(16))]
struct Aligned16;

/// A future of a size and an alignment that does something at random whenever user code runs.
struct Subject<const SIZE: usize, A, const OUT: usize> {
    _alignment: [A; 0],
    bytes: Bytes<SIZE>,
    world: Rc<World>,
    polls_left: usize,
}

struct Output<const SIZE: usize, A> {
    _alignment: [A; 0],
    bytes: Bytes<SIZE>,
    world: Rc<World>,
}

fn check_alignment<T>(value: &T) {
    let address = std::ptr::from_ref(value).addr();
    assert_eq!(address % align_of::<T>(), 0, "{}", type_name::<T>());
}

impl<const SIZE: usize, A: Unpin + 'static, const OUT: usize> Future for Subject<SIZE, A, OUT> {
    type Output = Output<OUT, A>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        check_alignment(&*self);
        self.bytes.check();
        let world = Rc::clone(&self.world);
        if world.once_in(4) {
            world.wakers.borrow_mut().push(context.waker().clone());
        }
        if world.once_in(20) {
            current_task().unwrap().cancel();
        }
        act(&world, context);
        self.bytes.check();
        if world.once_in(20) {
            panic!("on purpose: a poll");
        }
        match self.polls_left {
            0 => {
                World::count(&world.outputs, 1);
                Poll::Ready(Output {
                    _alignment: [],
                    bytes: Bytes::new(world.serial.get()),
                    world,
                })
            }
            _ => {
                self.polls_left -= 1;
                if world.once_in(2) {
                    context.waker().wake_by_ref();
                }
                Poll::Pending
            }
        }
    }
}

impl<const SIZE: usize, A, const OUT: usize> Drop for Subject<SIZE, A, OUT> {
    fn drop(&mut self) {
        self.bytes.check();
        World::count(&self.world.futures, -1);
        in_destructor(&self.world);
    }
}

impl<const SIZE: usize, A> Drop for Output<SIZE, A> {
    fn drop(&mut self) {
        check_alignment(self);
        self.bytes.check();
        World::count(&self.world.outputs, -1);
        in_destructor(&self.world);
    }
}

fn in_destructor(world: &Rc<World>) {
    if world.once_in(4) {
        act(world, &mut Context::from_waker(Waker::noop()));
    }
    if world.once_in(20) && !std::thread::panicking() {
        panic!("on purpose: a destructor");
    }
}

fn spawn_subject<const SIZE: usize, A: Unpin + 'static, const OUT: usize>(
    world: &Rc<World>,
    handle: &LoopHandle,
) {
    let serial = world.serial.get() + 1;
    world.serial.set(serial);
    World::count(&world.futures, 1);
    let subject = Subject::<SIZE, A, OUT> {
        _alignment: [],
        bytes: Bytes::new(serial),
        world: Rc::clone(world),
        polls_left: world.below(4),
    };
    keep(world, handle, subject);
}

/// Spawns, eagerly or not, and keeps the handle or drops it.
fn keep<F: Future + 'static>(world: &Rc<World>, handle: &LoopHandle, future: F) {
    let eager = world.once_in(4);
    let task = handle.task_builder().eager(eager).spawn(future);
    if world.once_in(2) {
        world.handles.borrow_mut().push(Box::new(task));
    }
}

/// A future without a size whose output has none either.
struct Nothing;

impl Future for Nothing {
    type Output = ();

    fn poll(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<()> {
        Poll::Ready(())
    }
}

fn spawn(world: &Rc<World>) {
    let Some(handle) = callsoon::try_get_running_loop() else {
        return;
    };
    if world.spawned.get() == 0 {
        return;
    }
    world.spawned.set(world.spawned.get() - 1);
    match world.below(10) {
        0 => spawn_subject::<0, u8, 0>(world, &handle),
        1 => spawn_subject::<7, u8, 200>(world, &handle),
        2 => spawn_subject::<40, u8, 3>(world, &handle),
        3 => spawn_subject::<48, Aligned16, 16>(world, &handle),
        4 => spawn_subject::<100, Aligned64, 1>(world, &handle),
        5 => spawn_subject::<700, u64, 8>(world, &handle),
        6 => spawn_subject::<5000, u8, 5000>(world, &handle),
        7 => keep(world, &handle, Nothing),
        8 => keep(world, &handle, async {
            yield_now().await;
            7_u64
        }),
        _ => keep(world, &handle, pending::<()>()),
    }
}

/// Does one thing to some task, with nothing borrowed while user code may run.
fn act(world: &Rc<World>, context: &mut Context<'_>) {
    match world.below(12) {
        0..=3 => spawn(world),
        4 => drop(world.one_of(&world.handles)),
        5 => drop(world.one_of(&world.references)),
        6 => drop(world.one_of(&world.wakers).map(Waker::wake)),
        7 => {
            if let Some(handle) = world.one_of(&world.handles) {
                handle.cancel();
                world.references.borrow_mut().push(handle.reference());
                world.handles.borrow_mut().push(handle);
            }
        }
        8 => {
            if let Some(mut handle) = world.one_of(&world.handles) {
                handle.take();
                world.handles.borrow_mut().push(handle);
            }
        }
        9 | 10 => {
            if let Some(mut handle) = world.one_of(&world.handles) {
                if !handle.poll(context) {
                    world.handles.borrow_mut().push(handle);
                }
            }
        }
        _ => {
            if let Some(reference) = world.one_of(&world.references) {
                reference.cancel();
                if world.once_in(2) && callsoon::try_get_running_loop().is_some() {
                    let world = Rc::clone(world);
                    reference.add_done_callback(move |task| {
                        let _ = task.cancelled();
                        act(&world, &mut Context::from_waker(Waker::noop()));
                    });
                }
                world.references.borrow_mut().push(reference);
            }
        }
    }
}

/// Runs one program to its end, with the loop closed before or after the handles are dropped.
fn run_program(seed: u64) {
    let event_loop = virtual_loop();
    let world = Rc::new(World {
        random: RefCell::new(Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)),
        serial: Cell::new(seed),
        futures: Cell::new(0),
        outputs: Cell::new(0),
        spawned: Cell::new(300),
        reports: Cell::new(0),
        handles: RefCell::default(),
        references: RefCell::default(),
        wakers: RefCell::default(),
    });
    let counter = Rc::clone(&world);
    event_loop.set_exception_handler(move |_, _| counter.reports.set(counter.reports.get() + 1));
    let program = async {
        for _ in 0..200 {
            for _ in 0..world.below(6) {
                // The root has no output: a destructor that panics here would end the run.
                drop(catch_unwind(AssertUnwindSafe(|| {
                    spawn(&world);
                    act(&world, &mut Context::from_waker(Waker::noop()));
                })));
            }
            match world.once_in(10) {
                true => sleep(Duration::from_millis(1)).await,
                false => yield_now().await,
            }
        }
    };
    event_loop.run_until_complete(program).unwrap();
    world.spawned.set(0);
    if world.once_in(2) {
        event_loop.close().unwrap();
    }
    drop_all(&world);
    drop(event_loop);
    // Destructors that ran meanwhile may have put some aside again.
    drop_all(&world);
    assert_eq!(
        (world.futures.get(), world.outputs.get()),
        (0, 0),
        "seed {seed}"
    );
    assert_eq!(Rc::strong_count(&world), 1, "seed {seed}");
}

/// Drops handles and references, whose destructors may panic, and may add to both lists.
fn drop_all(world: &World) {
    while let Some(handle) = world.one_of(&world.handles) {
        drop(catch_unwind(AssertUnwindSafe(|| drop(handle))));
    }
    while let Some(reference) = world.one_of(&world.references) {
        drop(catch_unwind(AssertUnwindSafe(|| drop(reference))));
    }
    if !world.handles.borrow().is_empty() {
        drop_all(world);
    }
}

/// Tasks that come and go allocate nothing, whether they are awaited or detached.
fn tasks_that_come_and_go_use_the_same_memory() {
    let event_loop = EventLoop::new().unwrap();
    let program = async {
        let mut calls = 0;
        for round in 0..2000 {
            // By now the queues have grown to what they need.
            if round == 1000 {
                calls = CALLS.load(Ordering::Relaxed);
            }
            let bytes = [round as u8; 100];
            assert_eq!(
                create_task(async move { bytes[50] }).await.unwrap(),
                round as u8
            );
            create_task(async move { _ = black_box(bytes) }).detach();
            create_task(async move { vec![(); 7] }).detach();
            yield_now().await;
        }
        CALLS.load(Ordering::Relaxed) - calls
    };
    let calls = event_loop.run_until_complete(program).unwrap();
    assert_eq!(calls, 0, "calls of the allocator");
}

const BURST: usize = 100_000;

/// What a loop may keep of a burst: 256 KiB of tasks, their slots, and some buffers of the queues.
const MOST_KEPT: usize = 400 << 10;

/// The memory of a burst of tasks goes back when the loop waits, also while some are left, and later bursts get theirs.
fn a_burst_of_tasks_gives_its_memory_back() {
    let event_loop = virtual_loop();
    event_loop
        .run_until_complete(burst(&event_loop, 2000, 0))
        .unwrap();
    let base = live();
    for left in [0, 1000, 0] {
        let (most, end) = event_loop
            .run_until_complete(burst(&event_loop, BURST, left))
            .unwrap();
        assert!(
            most > base + BURST * 100,
            "{most} bytes live during the burst"
        );
        let kept = end.saturating_sub(base + left * 200);
        assert!(
            kept < MOST_KEPT,
            "{kept} bytes kept of the burst, {left} left"
        );
    }
    // Those that are left pin no more than their own slots.
    let ended = event_loop
        .run_until_complete(burst(&event_loop, BURST, 0))
        .unwrap();
    assert!(ended.1 < base + MOST_KEPT);
}

/// Spawns so many tasks, cancels all but some, in small batches so that no queue grows, and lets the loop wait. Returns
/// how many bytes were live at most and at the end, and then ends the rest.
async fn burst(handle: &LoopHandle, count: usize, left: usize) -> (usize, usize) {
    let mut tasks = Vec::with_capacity(count);
    for number in 0..count {
        let state = [number as u8; 100];
        tasks.push(handle.create_task(async move {
            pending::<()>().await;
            black_box(state);
        }));
        if number % 500 == 0 {
            yield_now().await;
        }
    }
    let most = live();
    let vector = tasks.capacity() * size_of::<Task<()>>();
    while tasks.len() > left {
        for task in tasks.drain(tasks.len().saturating_sub(500).max(left)..) {
            task.cancel();
        }
        yield_now().await;
        yield_now().await;
    }
    // More often than the memory of the latest of several bursts outlasts.
    for _ in 0..10 {
        sleep(Duration::from_secs(1)).await;
    }
    let end = live() - vector;
    for task in tasks {
        task.cancel();
    }
    yield_now().await;
    yield_now().await;
    (most, end)
}

/// A closed loop keeps nothing, although handles of it and of its tasks are left.
fn a_closed_loop_keeps_no_memory_of_tasks() {
    let event_loop = virtual_loop();
    let handle = event_loop.handle();
    let tasks: Vec<_> = (0..1000)
        .map(|number| event_loop.create_task(async move { [number as u8; 200] }))
        .collect();
    event_loop.run_until_complete(yield_now()).unwrap();
    drop(event_loop);
    let before = live();
    drop(tasks);
    let freed = before - live();
    assert!(freed >= 1000 * 200, "{freed} bytes came back");
    drop(handle);
}

#[test]
fn the_memory_of_ended_tasks_is_used_again_and_goes_back() {
    std::panic::set_hook(Box::new(|info| {
        let text = info.payload().downcast_ref::<&str>();
        if !text.is_some_and(|text| text.starts_with("on purpose")) {
            eprintln!("{info}");
        }
    }));
    let programs = if cfg!(debug_assertions) { 300 } else { 3000 };
    (1..=programs).for_each(run_program);
    if std::env::var_os("CALLSOON_SANITIZED").is_none() {
        tasks_that_come_and_go_use_the_same_memory();
        a_burst_of_tasks_gives_its_memory_back();
        a_closed_loop_keeps_no_memory_of_tasks();
    }
}
