//! Operations that end at once, well or badly, and how many of them a task may end before others run: row by row the
//! table in the docs of `yield_now`. Streams, transports and processes are in `budgets_streams`.

use std::cell::Cell;
use std::future::{pending, ready};
use std::io::{self, IoSlice, IoSliceMut, Read as _, Write as _};
use std::net::{Shutdown, TcpListener as StdListener};
use std::rc::Rc;
use std::time::{Duration, Instant};

use callsoon::net::{
    AddrInfoHints, ConnectOptions, TcpListener, TcpStream, UdpSocket, UnixDatagram, UnixListener,
    UnixStream, lookup_host,
};
use callsoon::sync::{Barrier, Condition, Event, Lock, Semaphore};
use callsoon::{
    AsyncFd, Executor, ExecutorError, Job, Queue, ReturnWhen, Task, ThreadPoolExecutor, Timeout,
    as_completed, catch_cancelled, create_task, for_each_limit, gather, get_running_loop, interval,
    move_on_after, run_in_executor, shield, sleep, sleep_until, task_builder, task_group, timeout,
    timeout_at, try_gather, wait, wait_for, yield_now,
};
use socket2::{Domain, SockAddr, SockRef, Socket, Type};

use crate::support::{
    Trace, Waiting, complete, in_a_loop, loopback, on_real_time, on_virtual_time, reset,
    rounds_alone, std_pair, stream_and_peer, stream_pair, virtual_loop,
};

const BUDGET: usize = 128;

/// An address that no socket of ours is at.
const NOWHERE: &str = "/nonexistent/socket";

/// A stream whose writes fail at once.
async fn broken_stream() -> TcpStream {
    let (stream, peer) = stream_and_peer();
    reset(peer);
    while stream.write(b"x").await.is_ok() {}
    stream
}

/// What must fail.
#[track_caller]
fn failed<T>(result: io::Result<T>) {
    assert!(result.is_err(), "it was to fail");
}

#[test]
fn failing_writes_let_others_run_and_a_limit_around_them_is_kept() {
    in_a_loop(async || {
        let stream = broken_stream().await;
        let endless = async {
            loop {
                failed(stream.write(b"x").await);
            }
        };
        let ended: Result<(), _> = timeout(Duration::from_millis(50), endless).await;
        assert!(ended.is_err());
        let writes = async || failed(stream.write(b"x").await);
        assert_eq!(rounds_alone(writes).await, Some(BUDGET));
        let writes = async || failed(stream.write_all(b"x").await);
        assert_eq!(rounds_alone(writes).await, Some(BUDGET));
        let writes = async || failed(stream.write_vectored(&[IoSlice::new(b"x")]).await);
        assert_eq!(rounds_alone(writes).await, Some(BUDGET));
        let writes = async || failed(stream.write_all_vectored(&mut [IoSlice::new(b"x")]).await);
        assert_eq!(rounds_alone(writes).await, Some(BUDGET));
        let (reader, writer) = stream.split();
        let writes = async || failed(writer.write(b"x").await);
        assert_eq!(rounds_alone(writes).await, Some(BUDGET));
        let reads = async || failed(reader.read_exact(&mut [0]).await);
        assert_eq!(rounds_alone(reads).await, Some(BUDGET));
        let (reader, writer) = stream.into_split();
        let writes = async || failed(writer.write_all(b"x").await);
        assert_eq!(rounds_alone(writes).await, Some(BUDGET));
        let reads = async || assert_eq!(reader.read(&mut [0]).await.unwrap(), 0);
        assert_eq!(rounds_alone(reads).await, Some(BUDGET));
    });
}

#[test]
fn reads_and_writes_of_nothing_never_let_others_run_where_the_system_is_not_asked() {
    in_a_loop(async || {
        let (stream, _peer) = stream_pair();
        let reads = async || assert_eq!(stream.read(&mut []).await.unwrap(), 0);
        assert_eq!(rounds_alone(reads).await, None);
        let none = async || drop(stream.read_vectored(&mut [IoSliceMut::new(&mut [])]).await);
        assert_eq!(rounds_alone(none).await, None);
        let peeks = async || assert_eq!(stream.peek(&mut []).await.unwrap(), 0);
        assert_eq!(rounds_alone(peeks).await, None);
        let reads = async || stream.read_exact(&mut []).await.unwrap();
        assert_eq!(rounds_alone(reads).await, None);
        let writes = async || assert_eq!(stream.write(b"").await.unwrap(), 0);
        assert_eq!(rounds_alone(writes).await, Some(BUDGET));
        let writes = async || stream.write_all(b"").await.unwrap();
        assert_eq!(rounds_alone(writes).await, None);
        let writes = async || {
            let mut none = [IoSlice::new(b"")];
            stream.write_all_vectored(&mut none).await.unwrap();
        };
        assert_eq!(rounds_alone(writes).await, None);
        let waits = async || stream.writable().await.unwrap();
        assert_eq!(rounds_alone(waits).await, Some(BUDGET));
    });
}

#[test]
fn datagrams_that_cannot_be_sent_let_others_run() {
    in_a_loop(async || {
        let socket = UdpSocket::bind(loopback()).await.unwrap();
        let (own, large) = (socket.local_addr().unwrap(), vec![0; 70_000]);
        let sends = async || failed(socket.send_to(&large, own).await);
        assert_eq!(rounds_alone(sends).await, Some(BUDGET));
        let sends = async || failed(socket.send_to(b"x", "no address").await);
        assert_eq!(rounds_alone(sends).await, Some(BUDGET));
        let sends = async || failed(socket.send(b"x").await);
        assert_eq!(rounds_alone(sends).await, Some(BUDGET));
        let connects = async || failed(socket.connect("no address").await);
        assert_eq!(rounds_alone(connects).await, Some(BUDGET));

        let socket = UnixDatagram::unbound().unwrap();
        let sends = async || failed(socket.send_to(b"x", NOWHERE).await);
        assert_eq!(rounds_alone(sends).await, Some(BUDGET));
        let too_long = "x".repeat(200);
        let sends = async || failed(socket.send_to(b"x", &too_long).await);
        assert_eq!(rounds_alone(sends).await, Some(BUDGET));
        let connects = async || failed(socket.connect(NOWHERE).await);
        assert_eq!(rounds_alone(connects).await, Some(BUDGET));
        let (near, far) = UnixDatagram::pair().unwrap();
        drop(far);
        let sends = async || failed(near.send(b"x").await);
        assert_eq!(rounds_alone(sends).await, Some(BUDGET));
    });
}

#[test]
fn connections_that_are_refused_at_once_let_others_run() {
    in_a_loop(async || {
        let connects = async || failed(UnixStream::connect(NOWHERE).await);
        assert!(rounds_alone(connects).await.is_some_and(|n| n <= BUDGET));
        let connects = async || failed(TcpStream::connect("no address").await);
        assert_eq!(rounds_alone(connects).await, Some(BUDGET));
        // A stream cannot be connected to the broadcast address.
        let connects = async || failed(TcpStream::connect(("255.255.255.255", 9)).await);
        assert!(rounds_alone(connects).await.is_some_and(|n| n <= BUDGET));
        let other_family = ConnectOptions::new().local_addr("[::1]:0".parse().unwrap());
        let connects = async || failed(other_family.connect(loopback()).await);
        assert_eq!(rounds_alone(connects).await, Some(BUDGET));
        let nowhere = SockAddr::unix(NOWHERE).unwrap();
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None).unwrap();
        socket.set_nonblocking(true).unwrap();
        let handle = get_running_loop();
        let connects = async || failed(handle.sock_connect(&socket, &nowhere).await);
        assert_eq!(rounds_alone(connects).await, Some(BUDGET));
    });
}

#[test]
fn listeners_that_fail_at_once_let_others_run() {
    in_a_loop(async || {
        let taken = StdListener::bind(loopback()).unwrap();
        let place = taken.local_addr().unwrap();
        let binds = async || failed(TcpListener::bind(place).await);
        assert_eq!(rounds_alone(binds).await, Some(BUDGET));
        let udp = std::net::UdpSocket::bind(loopback()).unwrap();
        let place = udp.local_addr().unwrap();
        let binds = async || failed(UdpSocket::bind(place).await);
        assert_eq!(rounds_alone(binds).await, Some(BUDGET));
        let binds = async || failed(UnixListener::bind(NOWHERE).await);
        assert_eq!(rounds_alone(binds).await, Some(BUDGET));
        let binds = async || failed(UnixDatagram::bind(NOWHERE).await);
        assert_eq!(rounds_alone(binds).await, Some(BUDGET));

        let listener = TcpListener::from_std(taken).unwrap();
        let ended = SockRef::from(&listener).shutdown(Shutdown::Both);
        ended.unwrap();
        let accepts = async || failed(listener.accept().await);
        accepts().await;
        assert_eq!(rounds_alone(accepts).await, Some(BUDGET));
    });
}

#[test]
fn names_that_need_no_look_up_let_others_run() {
    in_a_loop(async || {
        let handle = get_running_loop();
        let looks_up = async || drop(lookup_host("127.0.0.1:80").await.unwrap());
        assert_eq!(rounds_alone(looks_up).await, Some(BUDGET));
        let looks_up = async || failed(lookup_host("no address").await);
        assert_eq!(rounds_alone(looks_up).await, Some(BUDGET));
        let looks_up = async || {
            let hints = AddrInfoHints::default();
            let found = handle.getaddrinfo(Some("127.0.0.1"), Some("80"), hints);
            assert!(!found.await.unwrap().is_empty());
        };
        assert_eq!(rounds_alone(looks_up).await, Some(BUDGET));
        let address = SockAddr::from(loopback());
        let numbers = libc::NI_NUMERICHOST | libc::NI_NUMERICSERV;
        let looks_up = async || drop(handle.getnameinfo(&address, numbers).await.unwrap());
        assert_eq!(rounds_alone(looks_up).await, Some(BUDGET));
    });
}

#[test]
fn operations_on_users_sockets_and_descriptors_that_fail_at_once_let_others_run() {
    on_real_time(|_, event_loop| {
        complete(&event_loop, async {
            let handle = get_running_loop();
            let idle = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
            idle.set_nonblocking(true).unwrap();
            let receives = async || failed(handle.sock_recv(&idle, 8).await);
            assert_eq!(rounds_alone(receives).await, Some(BUDGET));
            let sends = async || failed(handle.sock_sendall(&idle, b"x").await);
            assert_eq!(rounds_alone(sends).await, Some(BUDGET));
            let accepts = async || failed(handle.sock_accept(&idle).await);
            assert_eq!(rounds_alone(accepts).await, Some(BUDGET));
            let file = std::fs::File::open("/etc/passwd").unwrap();
            let sends = async || failed(handle.sock_sendfile(&idle, &file, 0, Some(0)).await);
            assert_eq!(rounds_alone(sends).await, Some(BUDGET));
            let (stream, _peer) = stream_pair();
            let sends = async || failed(stream.sendfile(&file, 0, Some(0)).await);
            assert_eq!(rounds_alone(sends).await, Some(BUDGET));

            let (near, mut far) = std::os::unix::net::UnixStream::pair().unwrap();
            far.write_all(b"x").unwrap();
            let near = AsyncFd::new(near).unwrap();
            // Until the loop has heard of the byte, a read would have to wait for that.
            drop(near.readable().await.unwrap());
            let fails = |_: &_| Err::<(), _>(io::ErrorKind::Other.into());
            let reads = async || failed(near.read_with(fails).await);
            assert_eq!(rounds_alone(reads).await, Some(BUDGET));
            let writes = async || failed(near.write_with(fails).await);
            assert_eq!(rounds_alone(writes).await, Some(BUDGET));
            let waits = async || drop(near.readable().await.unwrap());
            assert_eq!(rounds_alone(waits).await, Some(BUDGET));

            handle.set_debug(true);
            handle.set_slow_callback_duration(Duration::from_secs(60));
            let blocking = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
            let receives = async || failed(handle.sock_recv(&blocking, 8).await);
            assert_eq!(rounds_alone(receives).await, Some(BUDGET));
        });
    });
}

#[test]
fn a_closure_that_spends_the_budget_inside_an_operation_does_no_harm() {
    in_a_loop(async || {
        let stream = Rc::new(broken_stream().await);
        let (near, _far) = std::os::unix::net::UnixStream::pair().unwrap();
        let near = AsyncFd::new(near).unwrap();
        let writes = async || {
            let spend = |_: &_| {
                let stream = Rc::clone(&stream);
                let fails = async move {
                    for _ in 0..BUDGET + 1 {
                        failed(stream.write(b"x").await);
                    }
                };
                task_builder().eager(true).spawn(fails).detach();
                Ok(())
            };
            near.write_with(spend).await.unwrap();
        };
        assert_eq!(rounds_alone(writes).await, Some(1));
    });
}

/// An executor that is none: the job has run when the future is made.
struct Here;

impl Executor for Here {
    fn execute(&self, job: Job) -> Result<(), ExecutorError> {
        job.run();
        Ok(())
    }
}

#[test]
fn jobs_and_coroutines_of_threads_that_have_ended_let_others_run() {
    in_a_loop(async || {
        let jobs = async || run_in_executor(Some(&Here), || ()).await.unwrap();
        assert_eq!(rounds_alone(jobs).await, Some(BUDGET));
        let pool = ThreadPoolExecutor::builder().build();
        pool.shutdown();
        let jobs = async || assert!(run_in_executor(Some(&pool), || ()).await.is_err());
        assert_eq!(rounds_alone(jobs).await, Some(BUDGET));

        let remote = get_running_loop().remote();
        let made = remote.run_coroutine_threadsafe(|| async { 7 }).unwrap();
        let mut all: Vec<_> = (0..1000).map(|_| made.clone()).collect();
        assert_eq!(made.await.unwrap(), 7);
        // Other awaiters have read the result; these get that error, at once.
        let reads = async || assert!(all.pop().unwrap().await.is_err());
        assert_eq!(rounds_alone(reads).await, Some(BUDGET));
    });
}

#[test]
fn limits_that_are_over_at_once_let_others_run() {
    in_a_loop(async || {
        let limits = async || assert!(timeout(Duration::ZERO, pending::<()>()).await.is_err());
        assert_eq!(rounds_alone(limits).await, Some(BUDGET));
        let limits = async || assert!(wait_for(pending::<()>(), Duration::ZERO).await.is_err());
        assert_eq!(rounds_alone(limits).await, Some(BUDGET));
        let limits = async || {
            assert!(
                move_on_after(Duration::ZERO, pending::<()>())
                    .await
                    .is_none()
            )
        };
        assert_eq!(rounds_alone(limits).await, Some(BUDGET));
        let past = Instant::now();
        let limits = async || assert!(timeout_at(past, pending::<()>()).await.is_err());
        assert_eq!(rounds_alone(limits).await, Some(BUDGET));
        let limits = async || {
            let limit = Timeout::at(Some(past));
            assert!(limit.run(pending::<()>()).await.is_err());
            assert!(limit.expired());
        };
        assert_eq!(rounds_alone(limits).await, Some(BUDGET));
    });
}

#[test]
fn a_limit_that_is_over_at_once_ends_on_the_virtual_clock_without_time_passing() {
    on_virtual_time(|_, event_loop| {
        complete(&event_loop, async {
            let handle = get_running_loop();
            let begin = handle.time();
            let limits = async || assert!(timeout(Duration::ZERO, pending::<()>()).await.is_err());
            assert_eq!(rounds_alone(limits).await, Some(BUDGET));
            assert_eq!(handle.time(), begin);
        });
    });
}

#[test]
fn sleeps_and_ticks_always_let_others_run() {
    in_a_loop(async || {
        assert_eq!(rounds_alone(async || yield_now().await).await, Some(0));
        assert_eq!(
            rounds_alone(async || sleep(Duration::ZERO).await).await,
            Some(0)
        );
        let shortest = Duration::from_nanos(1);
        assert_eq!(rounds_alone(async || sleep(shortest).await).await, Some(0));
        let past = Instant::now();
        assert_eq!(
            rounds_alone(async || sleep_until(past).await).await,
            Some(0)
        );
        // Each tick but the first few is overdue.
        let mut overdue = interval(shortest);
        let ticks = async || {
            overdue.tick().await;
        };
        assert_eq!(rounds_alone(ticks).await, Some(0));
        let steps = async || create_task(ready(())).await.unwrap();
        assert_eq!(rounds_alone(steps).await, Some(0));
    });
}

#[test]
fn what_only_this_programs_tasks_decide_never_lets_others_run() {
    in_a_loop(async || {
        let lock = Lock::new(1);
        assert_eq!(
            rounds_alone(async || drop(lock.acquire().await)).await,
            None
        );
        let semaphore = Semaphore::new(1);
        let permits = async || drop(semaphore.acquire().await);
        assert_eq!(rounds_alone(permits).await, None);
        let event = Event::new();
        event.set();
        assert_eq!(rounds_alone(async || event.wait().await).await, None);
        let condition = Condition::new();
        let waits = async || {
            let guard = lock.acquire().await;
            drop(condition.wait_for(guard, |_| true).await);
        };
        assert_eq!(rounds_alone(waits).await, None);
        let barrier = Barrier::new(1);
        let meets = async || assert_eq!(barrier.wait().await, Ok(0));
        assert_eq!(rounds_alone(meets).await, None);
        let queue = Queue::new(1);
        let passes = async || {
            queue.put(1).await.unwrap();
            queue.get().await.unwrap();
            queue.task_done().unwrap();
            queue.join().await;
        };
        assert_eq!(rounds_alone(passes).await, None);
        let future = get_running_loop().create_future();
        future.set_result(1).unwrap();
        assert_eq!(
            rounds_alone(async || assert_eq!((&future).await.unwrap(), 1)).await,
            None
        );
        let kept = async || assert_eq!(shield(future.clone()).await.unwrap(), 1);
        assert_eq!(rounds_alone(kept).await, None);
        let mut ended: Vec<_> = (0..1001).map(|_| create_task(ready(1))).collect();
        yield_now().await;
        let joins = async || assert_eq!(ended.pop().unwrap().await.unwrap(), 1);
        assert_eq!(rounds_alone(joins).await, None);
    });
}

#[test]
fn combinators_of_nothing_and_around_what_is_ready_never_let_others_run() {
    in_a_loop(async || {
        type None = [std::future::Ready<()>; 0];
        let all = async || assert!(gather(None::default()).await.unwrap().is_empty());
        assert_eq!(rounds_alone(all).await, Option::None);
        type Fails = [std::future::Ready<Result<(), ()>>; 0];
        let all = async || assert!(try_gather(Fails::default()).await.unwrap().is_empty());
        assert_eq!(rounds_alone(all).await, Option::None);
        let waits = async || {
            let mut none = Vec::<Task<()>>::new();
            let done = wait(&mut none, ReturnWhen::AllCompleted, Option::None).await;
            assert!(done.is_empty());
        };
        assert_eq!(rounds_alone(waits).await, Option::None);
        let next = async || assert!(as_completed(Vec::<Task<()>>::new()).next().await.is_none());
        assert_eq!(rounds_alone(next).await, Option::None);
        let groups = async || task_group(async |_| ()).await.unwrap();
        assert_eq!(rounds_alone(groups).await, Option::None);
        let each = async || {
            let none: [i32; 0] = [];
            for_each_limit(none, 1, async |_| ()).await.unwrap();
        };
        assert_eq!(rounds_alone(each).await, Option::None);
        let limits = async || timeout(Duration::from_secs(1), ready(())).await.unwrap();
        assert_eq!(rounds_alone(limits).await, Option::None);
        let limits = async || timeout(Duration::ZERO, ready(())).await.unwrap();
        assert_eq!(rounds_alone(limits).await, Option::None);
        let catches = async || catch_cancelled(ready(())).await.unwrap_or(());
        assert_eq!(rounds_alone(catches).await, Option::None);
    });
}

#[test]
fn eager_tasks_take_from_the_budget_of_the_step_that_starts_them() {
    in_a_loop(async || {
        let stream = Rc::new(broken_stream().await);
        let eager = |stream: &Rc<TcpStream>| {
            let stream = Rc::clone(stream);
            let fails = async move { failed(stream.write(b"x").await) };
            task_builder().eager(true).spawn(fails)
        };
        let writes = async || eager(&stream).await.unwrap();
        assert_eq!(rounds_alone(writes).await, Some(BUDGET));
        // Beside what the starter does itself.
        let writes = async || {
            failed(stream.write(b"x").await);
            eager(&stream).await.unwrap();
        };
        assert_eq!(rounds_alone(writes).await, Some(BUDGET / 2));
        // In a task that an eager task starts.
        let nested = async || {
            let stream = Rc::clone(&stream);
            let starts = async move { eager(&stream).await.unwrap() };
            task_builder().eager(true).spawn(starts).await.unwrap();
        };
        assert_eq!(rounds_alone(nested).await, Some(BUDGET));
        // By itself the start is no more than a call.
        let starts = async || task_builder().eager(true).spawn(ready(())).await.unwrap();
        assert_eq!(rounds_alone(starts).await, None);
    });
}

#[test]
fn an_eager_task_that_a_callback_starts_has_a_whole_budget() {
    in_a_loop(async || {
        let stream = Rc::new(broken_stream().await);
        let written = Rc::new(Cell::new(0));
        // The budget of the step before is spent.
        for _ in 0..BUDGET - 1 {
            failed(stream.write(b"x").await);
        }
        let (s, w) = (Rc::clone(&stream), Rc::clone(&written));
        let started = get_running_loop().create_future();
        let start = started.clone();
        get_running_loop().call_soon(move || {
            let count = Rc::clone(&w);
            let endless = async move {
                loop {
                    failed(s.write(b"x").await);
                    count.set(count.get() + 1);
                }
            };
            let task = task_builder().eager(true).spawn(endless);
            let first_step = w.get();
            task.cancel();
            start.set_result(first_step).unwrap();
        });
        failed(stream.write(b"x").await);
        assert_eq!(started.take().await.unwrap(), BUDGET);
    });
}

#[test]
fn a_stream_of_a_closed_loop_lets_others_of_another_loop_run() {
    on_real_time(|_, event_loop| {
        let trace = Trace::new();
        let other = virtual_loop(&trace);
        let (one, mut peer) = std_pair();
        let stream = complete(&other, async { TcpStream::from_std(one).unwrap() });
        drop(other);
        complete(&event_loop, async {
            let reads = async || failed(stream.read(&mut [0]).await);
            assert_eq!(rounds_alone(reads).await, Some(BUDGET));
        });
        drop(stream);
        assert_eq!(peer.read(&mut [0]).unwrap(), 0);
    });
}

#[test]
fn a_poll_by_hand_that_is_put_off_is_woken_and_goes_on_in_the_next() {
    in_a_loop(async || {
        let stream = broken_stream().await;
        yield_now().await;
        for _ in 0..BUDGET {
            failed(stream.write(b"x").await);
        }
        let mut write = Waiting::new(stream.write(b"x"));
        assert!(write.poll().is_none());
        assert!(write.is_woken());
        assert!(matches!(write.poll(), Some(Err(_))));
    });
}
