//! The floor: no runtime. The least that does the work of a row: a queue, a slab of boxed futures, a tree of timers, an
//! eventfd. Nothing is caught, nothing is named, nothing can be cancelled, and only what a row needs is there.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::fs::File;
use std::future::{Future, poll_fn};
use std::hint::black_box;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsRawFd, FromRawFd};
use std::pin::Pin;
use std::process::ExitCode;
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, RawWaker, RawWakerVTable, Waker};
use std::time::Instant;

use peers::Missing;
use peers::meter::{Report, Stopwatch};
use peers::net::Client;
use peers::runtime::{Boxed, Form, Post, Runtime, Served};

type Callback = Box<dyn FnOnce()>;
type Task = Pin<Box<dyn Future<Output = ()>>>;

/// What comes at a time.
enum Due {
    Wake(Waker),
    Callback(Callback),
}

/// Room for a task. It is never freed, so that a waker is an address and counts nothing; it is used again.
struct Slot {
    task: Cell<Option<Task>>,
    floor: Floor,
}

/// What is ready, and what is free.
#[derive(Default)]
struct Queues {
    tasks: RefCell<VecDeque<&'static Slot>>,
    callbacks: RefCell<VecDeque<Callback>>,
    free: RefCell<Vec<&'static Slot>>,
}

#[derive(Clone, Copy)]
struct Floor(&'static Queues);

thread_local! {
    static TIMERS: RefCell<BTreeMap<(Instant, u64), Due>> = const { RefCell::new(BTreeMap::new()) };
    static SEQUENCE: Cell<u64> = const { Cell::new(0) };
    static INBOX: Arc<Inbox> = Arc::new(Inbox::new());
}

/// Posts, and the eventfd that says that there are some.
struct Inbox {
    posts: Mutex<Vec<Boxed>>,
    event: File,
}

impl Inbox {
    fn new() -> Self {
        // SAFETY: the call takes numbers and returns a new descriptor or -1.
        let event = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC) };
        assert!(event >= 0, "an eventfd");
        // SAFETY: `event` is open and nobody else owns it.
        let event = unsafe { File::from_raw_fd(event) };
        Self {
            posts: Mutex::default(),
            event,
        }
    }

    fn post(&self, post: Boxed) {
        let mut posts = self.posts.lock().unwrap_or_else(PoisonError::into_inner);
        let first = posts.is_empty();
        posts.push(post);
        drop(posts);
        if first {
            (&self.event)
                .write_all(&1_u64.to_ne_bytes())
                .expect("the counter does not overflow");
        }
    }
}

const VTABLE: RawWakerVTable =
    RawWakerVTable::new(|slot| RawWaker::new(slot, &VTABLE), wake, wake, |_| ());

fn wake(slot: *const ()) {
    // SAFETY: the address is that of a slot, which lives for ever, and this is its thread: see `step`.
    let slot = unsafe { &*slot.cast::<Slot>() };
    slot.floor.0.tasks.borrow_mut().push_back(slot);
}

impl Floor {
    fn add(self, task: Task) {
        let free = self.0.free.borrow_mut().pop();
        let slot = free.unwrap_or_else(|| {
            Box::leak(Box::new(Slot {
                task: Cell::new(None),
                floor: self,
            }))
        });
        slot.task.set(Some(task));
        self.0.tasks.borrow_mut().push_back(slot);
    }
}

/// Polls a task once. It is out of its slot meanwhile, so that it may spawn.
fn step(slot: &'static Slot) {
    let Some(mut task) = slot.task.take() else {
        return;
    };
    let address = std::ptr::from_ref(slot).cast();
    // SAFETY: the functions of the table take the address of a slot. Wakers stay on this thread: those that go to a gate
    // are woken by posts, which run here.
    let waker = unsafe { Waker::from_raw(RawWaker::new(address, &VTABLE)) };
    if task
        .as_mut()
        .poll(&mut Context::from_waker(&waker))
        .is_ready()
    {
        slot.floor.0.free.borrow_mut().push(slot);
    } else {
        slot.task.set(Some(task));
    }
}

fn fire() {
    let now = Instant::now();
    while let Some(due) = TIMERS.with_borrow_mut(|timers| {
        timers
            .first_entry()
            .filter(|first| first.key().0 <= now)
            .map(|first| first.remove())
    }) {
        match due {
            Due::Wake(waker) => waker.wake(),
            Due::Callback(callback) => callback(),
        }
    }
}

/// Sleeps until a post comes or a timer is due, and runs the posts.
fn wait(inbox: &Inbox) {
    let next = TIMERS.with_borrow(|timers| timers.keys().next().map(|key| key.0));
    let timeout = next.map(|next| next.saturating_duration_since(Instant::now()));
    let timeout = timeout.map(|timeout| libc::timespec {
        tv_sec: timeout.as_secs() as libc::time_t,
        tv_nsec: timeout.subsec_nanos().into(),
    });
    let mut poll = libc::pollfd {
        fd: inbox.event.as_raw_fd(),
        events: libc::POLLIN,
        revents: 0,
    };
    let timeout = timeout
        .as_ref()
        .map_or(std::ptr::null(), std::ptr::from_ref);
    // SAFETY: both pointers are to live values or null; there is one descriptor and no mask.
    let ready = unsafe { libc::ppoll(&raw mut poll, 1, timeout, std::ptr::null()) };
    if ready > 0 {
        (&inbox.event)
            .read_exact(&mut [0; 8])
            .expect("the counter is not 0");
        let posts =
            std::mem::take(&mut *inbox.posts.lock().unwrap_or_else(PoisonError::into_inner));
        posts.into_iter().for_each(|post| post());
    }
}

/// A task's result and who waits for it.
struct Joined<T> {
    value: Cell<Option<T>>,
    waiter: Cell<Option<Waker>>,
}

impl Runtime for Floor {
    fn run<T: 'static, F: Future<Output = T> + 'static>(
        main: impl FnOnce(Self) -> F,
    ) -> Result<T, String> {
        let output = Rc::new(Cell::new(None));
        let floor = Self(Box::leak(Box::default()));
        let (main, stored) = (main(floor), Rc::clone(&output));
        floor.add(Box::pin(async move { stored.set(Some(main.await)) }));
        let inbox = INBOX.with(Arc::clone);
        loop {
            let Queues {
                tasks, callbacks, ..
            } = floor.0;
            loop {
                let callback = callbacks.borrow_mut().pop_front();
                if let Some(callback) = callback {
                    callback();
                    continue;
                }
                let task = tasks.borrow_mut().pop_front();
                let Some(task) = task else { break };
                step(task);
            }
            if let Some(output) = output.take() {
                return Ok(output);
            }
            wait(&inbox);
            fire();
        }
    }

    fn spawn<T: 'static>(
        &self,
        future: impl Future<Output = T> + 'static,
    ) -> impl Future<Output = T> + 'static {
        let joined = Rc::new(Joined {
            value: Cell::new(None),
            waiter: Cell::new(None),
        });
        let ended = Rc::clone(&joined);
        self.add(Box::pin(async move {
            ended.value.set(Some(future.await));
            if let Some(waiter) = ended.waiter.take() {
                waiter.wake();
            }
        }));
        poll_fn(move |context| match joined.value.take() {
            Some(value) => Poll::Ready(value),
            None => {
                joined.waiter.set(Some(context.waker().clone()));
                Poll::Pending
            }
        })
    }

    fn detach(&self, future: impl Future<Output = ()> + 'static) {
        self.add(Box::pin(future));
    }

    fn call_soon(&self, callback: impl FnOnce() + 'static) {
        self.0.callbacks.borrow_mut().push_back(Box::new(callback));
    }

    fn sleep_until(deadline: Instant) -> impl Future<Output = ()> + 'static {
        let mut armed = false;
        poll_fn(move |context| {
            if std::mem::replace(&mut armed, true) && deadline <= Instant::now() {
                return Poll::Ready(());
            }
            arm(deadline, Due::Wake(context.waker().clone()));
            Poll::Pending
        })
    }

    fn call_at(&self, deadline: Instant, callback: impl FnOnce() + 'static) {
        arm(deadline, Due::Callback(Box::new(callback)));
    }

    fn post(&self) -> Option<Box<Post>> {
        let inbox = INBOX.with(Arc::clone);
        Some(Box::new(move |callback| inbox.post(callback)))
    }

    fn has(_form: Form) -> bool {
        false
    }

    async fn serve<const BUFFER: usize>(
        &self,
        _form: Form,
        _served: Served,
        _announce: impl FnOnce(u16) + 'static,
    ) {
        unreachable!("it has no form");
    }
}

fn arm(deadline: Instant, due: Due) {
    let key = (deadline, SEQUENCE.get());
    SEQUENCE.set(key.1 + 1);
    TIMERS.with_borrow_mut(|timers| timers.insert(key, due));
}

/// One connection over epoll: a wait, a read and a write a request.
fn echo(ops: u64) -> Result<Report, Missing> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let client = Client::start("echo", ops, listener.local_addr()?.port())?;
    let watch = Stopwatch::new();
    let (mut stream, _) = listener.accept()?;
    stream.set_nonblocking(true)?;
    serve(&mut stream)?;
    let report = watch.stop(ops);
    client.end()?;
    Ok(report)
}

fn serve(stream: &mut TcpStream) -> std::io::Result<()> {
    // SAFETY: the call takes a flag and returns a new descriptor or -1.
    let epoll = unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) };
    assert!(epoll >= 0, "an epoll instance");
    // SAFETY: `epoll` is open and nobody else owns it.
    let epoll = unsafe { File::from_raw_fd(epoll) };
    let mut event = libc::epoll_event {
        events: (libc::EPOLLIN | libc::EPOLLET) as u32,
        u64: 0,
    };
    // SAFETY: both descriptors are open, and `event` is live for the duration of the call.
    let added = unsafe {
        libc::epoll_ctl(
            epoll.as_raw_fd(),
            libc::EPOLL_CTL_ADD,
            stream.as_raw_fd(),
            &raw mut event,
        )
    };
    assert_eq!(added, 0, "the stream can be watched");
    let mut buffer = [0; 4096];
    loop {
        // SAFETY: there is room for the one event that may be written.
        unsafe { libc::epoll_wait(epoll.as_raw_fd(), &raw mut event, 1, -1) };
        match stream.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(count) => stream.write_all(&buffer[..count])?,
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
}

/// Futures in a queue, each with a cell for its value: no wakers, since nobody waits.
fn spawn_join(ops: u64, at_once: u64) -> Report {
    let mut queue: VecDeque<Task> = VecDeque::new();
    let mut values = Vec::new();
    let mut context = Context::from_waker(Waker::noop());
    let mut work = |tasks: u64| {
        for _ in 0..tasks / at_once {
            for number in 0..at_once {
                let value = Rc::new(Cell::new(None));
                let stored = Rc::clone(&value);
                queue.push_back(Box::pin(async move { stored.set(Some(black_box(number))) }));
                values.push(value);
            }
            while let Some(mut task) = queue.pop_front() {
                assert!(task.as_mut().poll(&mut context).is_ready());
            }
            for (number, value) in (0..).zip(values.drain(..)) {
                assert_eq!(value.take(), Some(number));
            }
        }
    };
    work(2_000);
    let watch = Stopwatch::new();
    work(ops);
    watch.stop(ops)
}

fn main() -> ExitCode {
    peers::main_with(|row, ops| match row {
        "spawn_join" => Some(Ok(spawn_join(ops, 1))),
        "spawn_join_1000" => Some(Ok(spawn_join(ops, 1_000))),
        "echo_net" => Some(echo(ops)),
        // It is no floor for these: they would be spawns and joins, a tree where a wheel is better, and memory that it
        // keeps as it likes.
        "gather_1000" | "group_1000" | "timer_pair" | "burst_memory" => None,
        row => Some(peers::work::<Floor>(row, ops)),
    })
}
