//! The rows of libuv, and as much of its interface as they need.
//!
//! - `callback_chain`: one idle handle, which the loop calls once an iteration, and each iteration asks epoll.
//! - `callback_batch`: 10,000 idle handles, each of which stops itself.
//! - timers have milliseconds; `burst_callback` and `fire_callback` start them in the same random order as the others.
//! - posts: an async handle and a list of boxed closures under a mutex.

use std::cell::{Cell, RefCell};
use std::ffi::{c_char, c_int, c_uint, c_void};
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener};
use std::os::fd::IntoRawFd;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use peers::Missing;
use peers::meter::{Report, Stopwatch};
use peers::net::Client;
use peers::runtime::Boxed;
use random::Random;

#[path = "../../../../support/random.rs"]
mod random;

/// `uv_loop_t`, `uv_handle_t` and all its kinds: addresses of memory that libuv fills.
type Handle = *mut c_void;
type Callback = extern "C" fn(Handle);

#[repr(C)]
struct Buffer {
    base: *mut c_char,
    len: usize,
}

/// `uv_handle_type`.
const ASYNC: c_int = 1;
const IDLE: c_int = 6;
const TCP: c_int = 12;
const TIMER: c_int = 13;
/// `uv_run_mode`: until nothing is active.
const DEFAULT: c_int = 0;

unsafe extern "C" {
    fn uv_default_loop() -> Handle;
    fn uv_handle_size(kind: c_int) -> usize;
    fn uv_run(event_loop: Handle, mode: c_int) -> c_int;
    fn uv_update_time(event_loop: Handle);
    fn uv_close(handle: Handle, closed: Option<Callback>);
    fn uv_idle_init(event_loop: Handle, idle: Handle) -> c_int;
    fn uv_idle_start(idle: Handle, callback: Callback) -> c_int;
    fn uv_idle_stop(idle: Handle) -> c_int;
    fn uv_timer_init(event_loop: Handle, timer: Handle) -> c_int;
    fn uv_timer_start(timer: Handle, callback: Callback, timeout: u64, repeat: u64) -> c_int;
    fn uv_timer_stop(timer: Handle) -> c_int;
    fn uv_async_init(event_loop: Handle, wakeup: Handle, callback: Callback) -> c_int;
    fn uv_async_send(wakeup: Handle) -> c_int;
    fn uv_tcp_init(event_loop: Handle, tcp: Handle) -> c_int;
    fn uv_tcp_open(tcp: Handle, socket: c_int) -> c_int;
    fn uv_read_start(
        stream: Handle,
        room: extern "C" fn(Handle, usize, *mut Buffer),
        read: extern "C" fn(Handle, isize, *const Buffer),
    ) -> c_int;
    fn uv_try_write(stream: Handle, buffers: *const Buffer, count: c_uint) -> c_int;
}

/// The one loop.
fn event_loop() -> Handle {
    // SAFETY: it may be called at any time on one thread, and only this thread asks.
    unsafe { uv_default_loop() }
}

/// Room for so many handles of a kind, for as long as the process lives.
fn handles(kind: c_int, count: usize) -> Vec<Handle> {
    // SAFETY: the call takes a number.
    let words = unsafe { uv_handle_size(kind) }.div_ceil(8);
    let room = Box::leak(vec![0_u64; words * count].into_boxed_slice());
    room.chunks_exact_mut(words)
        .map(|handle| handle.as_mut_ptr().cast())
        .collect()
}

fn timers(count: usize) -> Vec<Handle> {
    let timers = handles(TIMER, count);
    for timer in &timers {
        // SAFETY: the loop is valid, and the handle has a timer's size and lives for ever.
        unsafe { uv_timer_init(event_loop(), *timer) };
    }
    timers
}

fn run() {
    // SAFETY: the loop is valid and is not running.
    unsafe { uv_run(event_loop(), DEFAULT) };
}

thread_local! {
    static LEFT: Cell<u64> = const { Cell::new(0) };
    static ROOM: RefCell<Vec<u8>> = RefCell::new(vec![0; 64 << 10]);
}

/// Operations before the measured ones.
const WARM_UP: u64 = 2_000;

pub fn work(row: &str, ops: u64) -> Result<Report, Missing> {
    Ok(match row {
        "callback_chain" => measure(ops, chain()),
        "callback_batch" => measure(ops, batches()),
        "timer_pair" => measure(ops, pairs()),
        "burst_callback" => burst(ops),
        "fire_callback" => spread(ops),
        "posts_1" => posts(1, ops),
        "posts_4" => posts(4, ops),
        "echo_net" => echo(ops)?,
        _ => return Err(Missing::Row),
    })
}

fn measure(ops: u64, work: impl Fn(u64)) -> Report {
    work(WARM_UP);
    let watch = Stopwatch::new();
    work(ops);
    watch.stop(ops)
}

extern "C" fn next(idle: Handle) {
    LEFT.set(LEFT.get() - 1);
    if LEFT.get() == 0 {
        // SAFETY: libuv gives the handle that was started.
        unsafe { uv_idle_stop(idle) };
    }
}

fn chain() -> impl Fn(u64) {
    let idle = handles(IDLE, 1)[0];
    // SAFETY: the loop is valid, and the handle has an idle handle's size and lives for ever.
    unsafe { uv_idle_init(event_loop(), idle) };
    move |hops| {
        LEFT.set(hops);
        // SAFETY: the handle is initialized.
        unsafe { uv_idle_start(idle, next) };
        run();
    }
}

extern "C" fn one(idle: Handle) {
    LEFT.set(LEFT.get() - 1);
    // SAFETY: libuv gives the handle that was started.
    unsafe { uv_idle_stop(idle) };
}

fn batches() -> impl Fn(u64) {
    let idles = handles(IDLE, 10_000);
    for idle in &idles {
        // SAFETY: as in `chain`.
        unsafe { uv_idle_init(event_loop(), *idle) };
    }
    move |callbacks| {
        LEFT.set(callbacks);
        while LEFT.get() > 0 {
            for idle in idles.iter().take(LEFT.get() as usize) {
                // SAFETY: the handle is initialized.
                unsafe { uv_idle_start(*idle, one) };
            }
            run();
        }
    }
}

extern "C" fn fired(_timer: Handle) {
    LEFT.set(LEFT.get() - 1);
}

fn start(timer: Handle, millis: u64) {
    // SAFETY: the timer is initialized.
    unsafe { uv_timer_start(timer, fired, millis, 0) };
}

fn pairs() -> impl Fn(u64) {
    let mut random = Random::new(1);
    for other in timers(1_000) {
        start(other, 60_000 + random.below(60_000));
    }
    let timer = timers(1)[0];
    let delays: Vec<_> = (0..1 << 12).map(|_| 90_000 + random.below(1_000)).collect();
    move |pairs| {
        for delay in delays.iter().cycle().take(pairs as usize) {
            start(timer, *delay);
            // SAFETY: the timer is initialized.
            unsafe { uv_timer_stop(timer) };
        }
    }
}

/// Before the first timer is due.
const REGISTER: u64 = 600;

fn register(count: u64) {
    let mut micros: Vec<u64> = (0..count).collect();
    Random::new(3).shuffle(&mut micros);
    // SAFETY: the loop is valid.
    unsafe { uv_update_time(event_loop()) };
    for (timer, micros) in timers(count as usize).into_iter().zip(micros) {
        start(timer, REGISTER + micros.div_ceil(1_000));
    }
    LEFT.set(count);
}

fn burst(count: u64) -> Report {
    register(count);
    std::thread::sleep(Duration::from_millis(REGISTER + count / 1_000 + 10));
    let watch = Stopwatch::new();
    run();
    watch.stop(count)
}

/// From when all are registered: the loop waits for the first without work.
fn spread(count: u64) -> Report {
    register(count);
    let watch = Stopwatch::new();
    run();
    watch.stop(count)
}

static POSTS: Mutex<Vec<Boxed>> = Mutex::new(Vec::new());
static RAN: AtomicU64 = AtomicU64::new(0);
static ALL: AtomicU64 = AtomicU64::new(0);

/// The async handle, which any thread may be given.
#[derive(Clone, Copy)]
struct Wakeup(Handle);

// SAFETY: `uv_async_send`, all that other threads do with it, may be called on any thread.
unsafe impl Send for Wakeup {}

impl Wakeup {
    fn post(self, post: Boxed) {
        POSTS
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(post);
        // SAFETY: the handle is initialized, and is closed only when all posts have run.
        unsafe { uv_async_send(self.0) };
    }
}

extern "C" fn posted(wakeup: Handle) {
    let posts = std::mem::take(&mut *POSTS.lock().unwrap_or_else(PoisonError::into_inner));
    posts.into_iter().for_each(|post| post());
    if RAN.load(Relaxed) == ALL.load(Relaxed) {
        // SAFETY: the handle is initialized and not closed yet: there are no more posts.
        unsafe { uv_close(wakeup, None) };
    }
}

fn posts(senders: u64, posts: u64) -> Report {
    let each = posts / senders;
    ALL.store(each * senders, Relaxed);
    let wakeup = handles(ASYNC, 1)[0];
    // SAFETY: the loop is valid, and the handle has an async handle's size and lives for ever.
    unsafe { uv_async_init(event_loop(), wakeup, posted) };
    let wakeup = Wakeup(wakeup);
    let watch = Stopwatch::new();
    let threads: Vec<_> = (0..senders)
        .map(|_| {
            std::thread::spawn(move || {
                let (wakeup, all) = (wakeup, posts);
                for _ in 0..each {
                    wakeup.post(Box::new(move || ran(all)));
                }
            })
        })
        .collect();
    run();
    let report = watch.stop(each * senders);
    for thread in threads {
        thread.join().expect("a sender does not panic");
    }
    report
}

/// Only the loop's thread writes it, so this need not be one indivisible step.
fn ran(all: u64) {
    RAN.store(RAN.load(Relaxed) + u64::from(all > 0), Relaxed);
}

extern "C" fn room(_stream: Handle, _suggested: usize, buffer: *mut Buffer) {
    ROOM.with_borrow_mut(|room| {
        let room = Buffer {
            base: room.as_mut_ptr().cast(),
            len: 4096,
        };
        // SAFETY: libuv gives a buffer to fill.
        unsafe { buffer.write(room) };
    });
}

extern "C" fn read(stream: Handle, count: isize, buffer: *const Buffer) {
    if count < 0 {
        // SAFETY: the stream is open; it ends here.
        unsafe { uv_close(stream, None) };
    } else if count > 0 {
        // SAFETY: libuv gives the buffer that it has read into, `count` bytes of it.
        let base = unsafe { (*buffer).base };
        let echo = Buffer {
            base,
            len: count as usize,
        };
        // SAFETY: the stream is open and the buffer is live.
        let written = unsafe { uv_try_write(stream, &raw const echo, 1) };
        assert_eq!(
            written, count as c_int,
            "a message fits in the socket's buffer"
        );
    }
}

fn echo(ops: u64) -> Result<Report, Missing> {
    let listener = TcpListener::bind(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0))?;
    let client = Client::start("echo", ops, listener.local_addr()?.port())?;
    let watch = Stopwatch::new();
    let (stream, _) = listener.accept()?;
    stream.set_nonblocking(true)?;
    let tcp = handles(TCP, 1)[0];
    // SAFETY: the loop is valid, the handle has a stream's size and lives for ever, and it owns the descriptor.
    let started = unsafe {
        uv_tcp_init(event_loop(), tcp);
        uv_tcp_open(tcp, stream.into_raw_fd());
        uv_read_start(tcp, room, read)
    };
    assert_eq!(started, 0, "the stream can be read");
    run();
    let report = watch.stop(ops);
    client.end()?;
    Ok(report)
}
