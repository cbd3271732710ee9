//! A process of its own, because children, signals and threads belong to the whole process.
//!
//! Hostile programs: they end at every point, call the loop from callbacks, and panic in every callback. Nothing may
//! hang, and nothing may be left.

#![allow(unsafe_code)] // kill and raise

#[allow(
    dead_code,
    unused_imports,
    reason = "this binary needs a part of what the tests share"
)]
#[path = "it/support/mod.rs"]
mod support;

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::io;
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::task::Poll;
use std::time::Duration;

use callsoon::process::{
    Command, DEVNULL, PIPE, SubprocessProtocol, SubprocessTransport, create_subprocess_shell,
};
use callsoon::{
    EventLoop, Executor, ExecutorError, ExecutorFuture, Job, ThreadFutureError, ThreadPoolExecutor,
    get_running_loop, run_in_executor, sleep, timeout, to_thread,
};

use support::descendants::has_children;
use support::{
    DropProbe, Trace, audited, complete, end_default_executor, one_turn, real_loop, until, watched,
};

/// A test under audit, which leaves no child behind, dead or alive.
#[track_caller]
fn tested(test: impl FnOnce() + Send + 'static) {
    audited(watched(move || {
        test();
        assert!(!has_children(), "a child was left behind");
    }));
}

/// The same on a loop; gives what was reported.
#[track_caller]
fn on_a_loop<F: Future<Output = ()>>(
    reports: &'static [&'static str],
    test: impl FnOnce() -> F + Send + 'static,
) {
    tested(move || {
        let trace = Trace::new();
        let event_loop = real_loop(&trace);
        complete(&event_loop, async {
            test().await;
            end_default_executor().await;
        });
        event_loop.close().unwrap();
        assert_eq!(trace.take(), reports);
    });
}

async fn until_no_child_is_left() {
    until(|| !has_children()).await;
}

fn pool_of(workers: usize) -> ThreadPoolExecutor {
    ThreadPoolExecutor::builder().max_workers(workers).build()
}

fn ended(pool: &ThreadPoolExecutor) {
    pool.shutdown();
    pool.join(Duration::from_secs(20)).unwrap();
}

#[test]
fn a_pool_may_be_shut_down_joined_and_dropped_by_its_own_workers() {
    on_a_loop(&[], async || {
        let pool = pool_of(2);
        let own = pool.clone();
        let stuck = run_in_executor(Some(&pool), move || {
            own.shutdown();
            own.join(Duration::ZERO).map_err(|stuck| stuck.jobs())
        });
        // It waits for no job but itself.
        assert_eq!(stuck.await.unwrap(), Err(1));
        let late = run_in_executor(Some(&pool), || ());
        assert!(matches!(late.await, Err(ExecutorError::ShutDown)));
        pool.join(Duration::from_secs(20)).unwrap();

        let pool = pool_of(1);
        let (give, get) = mpsc::channel::<ThreadPoolExecutor>();
        let last = run_in_executor(Some(&pool), move || drop(get.recv().unwrap()));
        let behind = run_in_executor(Some(&pool), || 7);
        give.send(pool).unwrap();
        last.await.unwrap();
        assert_eq!(behind.await.unwrap(), 7, "what waits is still run");
        support::wait_until_gone("callsoon_");
    });
}

#[test]
fn a_job_may_cancel_and_drop_its_own_future() {
    on_a_loop(&[], async || {
        let pool = pool_of(1);
        for cancel in [true, false] {
            let (give, get) = mpsc::channel::<ExecutorFuture<Counted>>();
            let dropped = Arc::new(AtomicUsize::new(0));
            let counted = Counted(Arc::clone(&dropped));
            let job = run_in_executor(Some(&pool), move || {
                let own = get.recv().unwrap();
                assert!(!cancel || !own.cancel(), "it has begun");
                drop(own);
                counted
            });
            give.send(job).unwrap();
            // Queued behind it in a pool of one thread.
            run_in_executor(Some(&pool), || ()).await.unwrap();
            assert_eq!(dropped.load(Ordering::SeqCst), 1);
        }
        ended(&pool);
    });
}

struct Counted(Arc<AtomicUsize>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

#[test]
fn jobs_may_run_loops_whose_jobs_run_loops() {
    fn nested(pool: &ThreadPoolExecutor, depth: usize) -> usize {
        let inner = pool.clone();
        let whole = async {
            match depth {
                0 => 0,
                depth => {
                    let below = run_in_executor(Some(pool), move || nested(&inner, depth - 1));
                    1 + below.await.unwrap() + to_thread(|| 0).await.unwrap()
                }
            }
        };
        callsoon::run(whole).unwrap()
    }
    tested(|| {
        let pool = pool_of(6);
        assert_eq!(nested(&pool, 6), 6);
        ended(&pool);
    });
}

#[test]
fn an_initializer_may_do_anything() {
    on_a_loop(&[], async || {
        // Panics on the second thread, while the first one is at work: what waits is refused, what runs ends well.
        let threads = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&threads);
        let builder = ThreadPoolExecutor::builder().max_workers(2);
        let pool = builder.initializer(move || {
            let before = counted.fetch_add(1, Ordering::SeqCst);
            assert!(before == 0, "on purpose: the second thread");
        });
        let pool = pool.build();
        let (open, gate) = mpsc::channel::<()>();
        let (begun, begins) = mpsc::channel();
        let first = run_in_executor(Some(&pool), move || {
            begun.send(()).unwrap();
            gate.recv().is_ok()
        });
        begins.recv().unwrap();
        for job in [(); 5].map(|()| run_in_executor(Some(&pool), || ())) {
            assert!(matches!(job.await, Err(ExecutorError::Broken)));
        }
        open.send(()).unwrap();
        assert!(first.await.unwrap());
        pool.join(Duration::from_secs(20)).unwrap();

        // Uses and ends the pool that it is for.
        let place = Arc::new(Mutex::new(None::<ThreadPoolExecutor>));
        let own = Arc::clone(&place);
        let builder = ThreadPoolExecutor::builder().max_workers(2);
        let pool = builder.initializer(move || {
            let own = own.lock().unwrap().take();
            if let Some(own) = own {
                assert_eq!(own.workers(), 1);
                own.shutdown();
            }
        });
        let pool = pool.build();
        *place.lock().unwrap() = Some(pool.clone());
        assert_eq!(run_in_executor(Some(&pool), || 7).await.unwrap(), 7);
        pool.join(Duration::from_secs(20)).unwrap();
    });
}

#[test]
fn a_loop_closes_in_the_midst_of_jobs_that_use_it() {
    tested(|| {
        let pool = pool_of(3);
        let dropped = Arc::new(AtomicUsize::new(0));
        for _ in 0..50 {
            let event_loop = real_loop(&Trace::new());
            let futures: Vec<_> = (0..6)
                .map(|_| {
                    let (remote, counted) = (event_loop.remote(), Counted(Arc::clone(&dropped)));
                    event_loop.run_in_executor(Some(&pool), move || {
                        let posted = remote.call_soon_threadsafe(|| ());
                        let inner =
                            remote.run_coroutine_threadsafe(|| sleep(Duration::from_secs(1000)));
                        if let (Ok(_), Ok(inner)) = (posted, inner) {
                            // Until the loop closes.
                            assert!(matches!(
                                inner.result(None),
                                Err(ThreadFutureError::LoopClosed)
                            ));
                        }
                        counted
                    })
                })
                .collect();
            for future in futures {
                event_loop.create_task(future).detach();
            }
            one_turn(&event_loop);
            event_loop.close().unwrap();
        }
        ended(&pool);
        assert_eq!(dropped.load(Ordering::SeqCst), 300);
    });
}

/// An executor that keeps none of its promises.
struct Hostile(Cell<usize>);

impl Executor for Hostile {
    fn execute(&self, job: Job) -> Result<(), ExecutorError> {
        match self.0.replace(self.0.get() + 1) {
            0 => drop(job),
            1 => {
                // Here and now, and then it says that it could not.
                job.run();
                return Err(ExecutorError::ShutDown);
            }
            2 => {
                std::thread::spawn(|| job.run());
                return Err(ExecutorError::ShutDown);
            }
            3 => {
                std::thread::spawn(move || {
                    assert!(!job.is_wanted());
                    job.run();
                });
            }
            _ => panic!("on purpose: an executor"),
        }
        Ok(())
    }
}

#[test]
fn an_executor_that_breaks_its_promises_harms_only_its_own_jobs() {
    on_a_loop(&[], async || {
        let hostile = Hostile(Cell::new(0));
        let ran = Arc::new(AtomicUsize::new(0));
        let job = || {
            let ran = Arc::clone(&ran);
            move || ran.fetch_add(1, Ordering::SeqCst)
        };
        let dropped = run_in_executor(Some(&hostile), job()).await;
        assert!(matches!(dropped, Err(ExecutorError::Cancelled)));
        for _ in 0..2 {
            let refused = run_in_executor(Some(&hostile), job()).await;
            assert!(matches!(refused, Err(ExecutorError::ShutDown)));
        }
        hostile.0.set(4);
        let text = support::panic_text(|| drop(run_in_executor(Some(&hostile), job())));
        assert_eq!(text, "on purpose: an executor");
    });
}

#[test]
fn done_callbacks_of_thread_futures_may_do_anything() {
    on_a_loop(
        &["report: Exception in a done callback (on purpose: a callback)"],
        async || {
            let remote = get_running_loop().remote();
            let heard = Arc::new(Mutex::new(Vec::new()));
            let future = remote.run_coroutine_threadsafe(|| async { 7 }).unwrap();
            let mut others = Vec::new();
            for number in 0..4 {
                let (own, heard) = (future.clone(), Arc::clone(&heard));
                future.add_done_callback(move |future| {
                    heard.lock().unwrap().push(number);
                    assert!(future.done() && !future.cancel() && !own.cancel());
                    let late = Arc::clone(&heard);
                    own.add_done_callback(move |_| late.lock().unwrap().push(10 + number));
                    drop((own, future.clone()));
                    assert!(number != 2, "on purpose: a callback");
                });
                others.push(future.clone());
            }
            drop(others);
            assert_eq!(future.await.unwrap(), 7);
            until(|| heard.lock().unwrap().len() == 8).await;
            assert_eq!(*heard.lock().unwrap(), [0, 10, 1, 11, 2, 12, 3, 13]);
        },
    );
}

/// What a protocol does when it is called.
type Deed = Box<dyn Fn(&str, &SubprocessTransport)>;

/// Does its deed at every call, and has its own transport, as many do.
struct Doing {
    deed: Deed,
    own: RefCell<Option<SubprocessTransport>>,
    calls: Rc<RefCell<Vec<String>>>,
    _probe: Option<DropProbe>,
}

impl Doing {
    fn new(deed: impl Fn(&str, &SubprocessTransport) + 'static) -> Self {
        Self {
            deed: Box::new(deed),
            own: RefCell::default(),
            calls: Rc::default(),
            _probe: None,
        }
    }

    fn call(&self, name: &str, transport: &SubprocessTransport) {
        self.calls.borrow_mut().push(name.to_owned());
        (self.deed)(name, transport);
    }
}

impl SubprocessProtocol for Doing {
    fn connection_made(&self, transport: &SubprocessTransport) {
        self.own.replace(Some(transport.clone()));
        self.call("made", transport);
    }
    fn pipe_data_received(&self, transport: &SubprocessTransport, _: i32, _: &[u8]) {
        self.call("data", transport);
    }
    fn pipe_connection_lost(&self, transport: &SubprocessTransport, fd: i32, _: Option<io::Error>) {
        self.call(&format!("pipe {fd}"), transport);
    }
    fn process_exited(&self, transport: &SubprocessTransport) {
        self.call("exited", transport);
    }
    fn connection_lost(&self, transport: &SubprocessTransport, _: Option<io::Error>) {
        self.call("lost", transport);
    }
    fn pause_writing(&self, transport: &SubprocessTransport) {
        self.call("pause", transport);
    }
    fn resume_writing(&self, transport: &SubprocessTransport) {
        self.call("resume", transport);
    }
}

#[test]
fn a_protocol_may_do_anything_in_any_of_its_calls() {
    const CALLS: [&str; 7] = [
        "made", "data", "pipe 0", "pipe 1", "pipe 2", "exited", "lost",
    ];
    fn close(transport: &SubprocessTransport) {
        transport.close();
        transport.close();
        let _ = transport.kill();
    }
    fn pause_and_resume(transport: &SubprocessTransport) {
        for fd in 0..3 {
            if let Some(pipe) = transport.pipe_transport(fd) {
                pipe.pause_reading();
                pipe.resume_reading();
                pipe.write([0; 200_000]);
                pipe.close();
                pipe.write(b"late");
                pipe.resume_reading();
            }
        }
    }
    fn another(_: &SubprocessTransport) {
        drop(Command::new("true").spawn().unwrap());
    }
    on_a_loop(&[], async || {
        for at in CALLS {
            for deed in [close as fn(&SubprocessTransport), pause_and_resume, another] {
                let doing = Doing::new(move |call, transport| {
                    if call == at {
                        deed(transport);
                    }
                });
                let calls = Rc::clone(&doing.calls);
                let line = "read line; echo out; echo err >&2; cat >/dev/null";
                let started = get_running_loop().subprocess_shell(|| doing, line);
                let (transport, protocol) = started.await.unwrap();
                if let Some(stdin) = transport.pipe_transport(0) {
                    stdin.write(b"line\n");
                    stdin.close();
                }
                drop((transport, protocol));
                until(|| calls.borrow().iter().any(|call| call == "lost")).await;
                let calls = calls.take();
                for once in CALLS.iter().filter(|once| **once != "data") {
                    let count = calls.iter().filter(|call| call == once).count();
                    assert_eq!(count, 1, "{at}: {once} in {calls:?}");
                }
                assert_eq!(
                    (calls[0].as_str(), calls[calls.len() - 1].as_str()),
                    ("made", "lost")
                );
            }
        }
        until_no_child_is_left().await;
    });
}

#[test]
fn a_factory_that_panics_leaves_no_child() {
    on_a_loop(&[], async || {
        let event_loop = get_running_loop();
        let made = event_loop.subprocess_exec(
            || -> Doing { panic!("on purpose: a factory") },
            Command::new("cat"),
        );
        let task = callsoon::create_task(made);
        let error = task.await.map(|_| ()).unwrap_err();
        assert!(
            error.to_string().contains("on purpose: a factory"),
            "{error}"
        );
        assert!(!has_children());
        // The pipe to the child is closed when the loop sees that its reader is gone.
        until(|| event_loop.metrics().sources == 0).await;
    });
}

#[test]
fn a_loop_that_closes_at_any_moment_of_a_child_ends_the_child_and_its_protocol() {
    tested(|| {
        for turns in 0..40 {
            for line in [
                // Not a child of the shell's, which would outlive it.
                "echo out; exec >&- 2>&-; exec sleep 1000",
                "exec sleep 1000",
                "true",
                // A grandchild holds its input, and then its output too.
                "exec >&- 2>&-; sleep 0.3 <&0 & exit 0",
                "sleep 0.3 <&0 & exit 0",
            ] {
                let trace = Trace::new();
                let event_loop = real_loop(&trace);
                let mut doing = Doing::new(|_, _| ());
                doing._probe = Some(DropProbe::new(&trace, "protocol"));
                let started = event_loop.subprocess_shell(|| doing, line);
                let (transport, protocol) = complete(&event_loop, started).unwrap();
                drop((transport, protocol));
                for _ in 0..turns {
                    event_loop.call_later(Duration::from_micros(200), || ());
                    one_turn(&event_loop);
                }
                event_loop.close().unwrap();
                let ended = trace.take();
                assert_eq!(ended.len(), 1, "{line}, {turns} turns: {ended:?}");
                assert!(!has_children(), "{line}, {turns} turns");
            }
        }
    });
}

#[test]
fn h4_grandchildren_that_hold_all_pipes_delay_no_task() {
    on_a_loop(&[], async || {
        let mut grandchildren = Vec::new();
        for drops_first in [false, true] {
            let line = "sleep 1000 & echo $!; exit 5";
            let shell = create_subprocess_shell(line)
                .stdin(PIPE)
                .stdout(PIPE)
                .stderr(PIPE);
            let mut shell = shell.await.unwrap();
            let pid = shell.stdout.as_mut().unwrap().readline().await.unwrap();
            let pid: i32 = String::from_utf8(pid).unwrap().trim().parse().unwrap();
            grandchildren.push(pid);
            assert_eq!(shell.wait().await.unwrap().code(), Some(5));
            if !drops_first {
                let talk = timeout(Duration::from_millis(20), shell.communicate(Some(b"x"))).await;
                assert!(talk.is_err(), "the pipes are open");
            }
            drop(shell);
        }
        until_no_child_is_left().await;
        until(|| get_running_loop().metrics().sources == 0).await;
        for pid in grandchildren {
            // SAFETY: the call takes numbers; the process was started by this test and lives for a thousand seconds.
            assert_eq!(unsafe { libc::kill(pid, libc::SIGKILL) }, 0);
        }
    });
}

#[test]
fn a_process_that_is_dropped_at_any_moment_of_its_talk_leaves_nothing() {
    on_a_loop(&[], async || {
        let input = vec![b'x'; 300_000];
        for polls in 0..30 {
            for kill in [false, true] {
                let cat = Command::new("cat").stdin(PIPE).stdout(PIPE).stderr(PIPE);
                let mut cat = cat.kill_on_drop(kill).await.unwrap();
                let mut talk = Box::pin(cat.communicate(Some(&input)));
                let mut left = polls;
                let ended = poll_fn(|context| {
                    if left == 0 {
                        return Poll::Ready(None);
                    }
                    left -= 1;
                    talk.as_mut().poll(context).map(Some)
                });
                drop(ended.await);
                drop(talk);
                drop(cat);
            }
        }
        until_no_child_is_left().await;
        until(|| get_running_loop().metrics().sources == 0).await;
    });
}

fn raise(signum: i32) {
    // SAFETY: the call takes a number, and the signal is handled.
    assert_eq!(unsafe { libc::raise(signum) }, 0);
}

#[test]
fn signal_handlers_may_do_anything() {
    let alone = support::audit::alone();
    let first = EventLoop::new().unwrap();
    first.add_signal_handler(libc::SIGUSR1, || ()).unwrap();
    drop((first, alone));
    on_a_loop(&[], async || {
        let event_loop = get_running_loop();
        let calls = Rc::new(Cell::new(0));
        // Raises its own signal, and is called again, later and not within.
        let (own, inside) = (Rc::clone(&calls), Cell::new(false));
        event_loop
            .add_signal_handler(libc::SIGUSR1, move || {
                assert!(!inside.replace(true));
                own.set(own.get() + 1);
                if own.get() < 100 {
                    raise(libc::SIGUSR1);
                }
                inside.set(false);
            })
            .unwrap();
        raise(libc::SIGUSR1);
        until(|| calls.get() == 100).await;
        // Drops the stream that is being awaited, makes others, and replaces itself by itself.
        let stream = Rc::new(RefCell::new(Some(
            event_loop.signal(libc::SIGUSR2).unwrap(),
        )));
        let (taken, handle, again) = (Rc::clone(&stream), event_loop.clone(), Rc::clone(&calls));
        event_loop
            .add_signal_handler(libc::SIGUSR1, move || {
                drop(taken.borrow_mut().take());
                drop(handle.signal(libc::SIGUSR2).unwrap());
                let again = Rc::clone(&again);
                handle
                    .add_signal_handler(libc::SIGUSR1, move || again.set(0))
                    .unwrap();
                raise(libc::SIGUSR1);
            })
            .unwrap();
        raise(libc::SIGUSR1);
        until(|| calls.get() == 0).await;
        assert!(stream.borrow().is_none());
        assert!(event_loop.remove_signal_handler(libc::SIGUSR1));
        // A child that was started while signals were handled has none of them.
        let process = Command::new("sleep")
            .arg("1000")
            .stdin(DEVNULL)
            .await
            .unwrap();
        process.send_signal(libc::SIGUSR1).unwrap();
        assert!(!process.wait().await.unwrap().success());
    });
}
