//! A process of its own, because it starts Python: executors and coroutines across threads, beside asyncio's.

#[expect(dead_code, unused_imports, reason = "a part of it is needed here")]
#[path = "it/support/mod.rs"]
mod support;

mod asyncio;

#[expect(dead_code, reason = "a part of it is needed here")]
#[path = "asyncio/real_time.rs"]
mod real_time;

use std::sync::mpsc;
use std::time::Duration;

use asyncio::{Program, program, python_bool};
use callsoon::{
    ContextVar, ThreadPoolExecutor, catch_cancelled, create_task, get_running_loop,
    run_in_executor, sleep, to_thread, wrap_future, yield_now,
};
use real_time::{Log, compare};

/// A job that says when it begins and ends when the test lets it.
fn gated(
    log: &Log,
) -> (
    impl FnOnce() -> u8 + use<>,
    mpsc::Receiver<()>,
    mpsc::Sender<()>,
) {
    let (log, (begun, begins), (open, gate)) = (log.clone(), mpsc::channel(), mpsc::channel());
    let job = move || {
        begun.send(()).unwrap();
        gate.recv().unwrap();
        log.say("the first ends");
        1
    };
    (job, begins, open)
}

async fn received(of: &mpsc::Receiver<()>) {
    while of.try_recv().is_err() {
        sleep(Duration::from_millis(1)).await;
    }
}

fn of_executors() -> Vec<Program<Log>> {
    vec![
        program!(
            "run_in_executor: tasks are cancelled before and after their jobs have begun",
            "\
g, loop = Gated(), get_running_loop()
async def job(f):
    return await loop.run_in_executor(g.pool, f)
a, b = create_task(job(g.first)), create_task(job(lambda: say('never')))
await until(g.begun.is_set)
b.cancel()
await tell(b)
a.cancel()
await tell(a)
g.gate.set()
g.pool.shutdown()
",
            async |log: Log| {
                let pool = ThreadPoolExecutor::builder().max_workers(1).build();
                let (first, begins, open) = gated(&log);
                let (one, two, l) = (pool.clone(), pool.clone(), log.clone());
                let a =
                    create_task(async move { run_in_executor(Some(&one), first).await.unwrap() });
                let b = create_task(async move {
                    let never = move || l.say("never");
                    run_in_executor(Some(&two), never).await.unwrap();
                    0
                });
                received(&begins).await;
                b.cancel();
                log.ended(b.await);
                a.cancel();
                log.ended(a.await);
                open.send(()).unwrap();
                pool.shutdown();
                pool.join(Duration::from_secs(20)).unwrap();
            }
        ),
        program!(
            "run_in_executor: a job that runs cannot be cancelled",
            differs: "asyncio's future lets go of a job that runs, and says that it has cancelled it",
            "\
g, loop = Gated(), get_running_loop()
a = loop.run_in_executor(g.pool, g.first)
b = loop.run_in_executor(g.pool, fail)
await until(g.begun.is_set)
say(b.cancel(), a.cancel())
g.gate.set()
await tell(b)
await tell(a)
g.pool.shutdown()
",
            async |log: Log| {
                let pool = ThreadPoolExecutor::builder().max_workers(1).build();
                let (first, begins, open) = gated(&log);
                let a = run_in_executor(Some(&pool), first);
                let b = run_in_executor(Some(&pool), || 0);
                received(&begins).await;
                log.say(format!(
                    "{} {}",
                    python_bool(b.cancel()),
                    python_bool(a.cancel())
                ));
                open.send(()).unwrap();
                log.job(b.await);
                log.job(a.await);
            }
        ),
        program!(
            "to_thread: what a job sees and sets of the context, and its error",
            "\
var.set('ann')
def job():
    before = var.get()
    var.set('job')
    return before + ' ' + var.get()
await tell(to_thread(job))
await tell(get_running_loop().run_in_executor(None, var.get))
say(var.get())
await tell(to_thread(fail))
",
            async |log: Log| {
                static VAR: ContextVar<String> =
                    ContextVar::with_default("var", || "-".to_owned()).crossing();
                let get = || VAR.get().unwrap();
                VAR.set("ann".to_owned());
                let job = move || {
                    let before = get();
                    VAR.set("job".to_owned());
                    before + " " + &get()
                };
                log.job(to_thread(job).await);
                log.job(run_in_executor(None, get).await);
                log.say(get());
                log.job(to_thread(|| -> u8 { panic!("on purpose: no") }).await);
            }
        ),
        program!(
            "shutdown_default_executor: waits for what runs, refuses what comes",
            "\
g, loop = Gated(), get_running_loop()
a = loop.run_in_executor(None, g.first)
await until(g.begun.is_set)
end = create_task(loop.shutdown_default_executor())
await sleep(0.01)
say(end.done())
g.gate.set()
await end
say('shut down')
await tell(a)
await tell(to_thread(lambda: say('never')))
await loop.shutdown_default_executor()
",
            async |log: Log| {
                let (first, begins, open) = gated(&log);
                let a = run_in_executor(None, first);
                received(&begins).await;
                let event_loop = get_running_loop();
                let limit = Duration::from_secs(20);
                let end = create_task(event_loop.shutdown_default_executor(limit));
                yield_now().await;
                log.say(python_bool(end.done()));
                open.send(()).unwrap();
                end.await.unwrap().unwrap();
                log.say("shut down");
                log.job(a.await);
                log.job(to_thread(|| 0).await);
                event_loop
                    .shutdown_default_executor(Duration::ZERO)
                    .await
                    .unwrap();
            }
        ),
    ]
}

fn of_coroutines() -> Vec<Program<Log>> {
    vec![
        program!(
            "run_coroutine_threadsafe: result, error, timeout, cancel",
            "\
loop = get_running_loop()
def other():
    outcome(run_coroutine_threadsafe(sleep(0.001, 7), loop))
    outcome(run_coroutine_threadsafe(failing(), loop))
    endless = run_coroutine_threadsafe(sleep(1000), loop)
    outcome(endless, 0.02)
    say(endless.done(), endless.cancel())
    outcome(endless)
    say(endless.done(), endless.cancelled())
await to_thread(other)
",
            async |log: Log| {
                let remote = get_running_loop().remote();
                let other = move || {
                    let seven = async || {
                        sleep(Duration::from_millis(1)).await;
                        7
                    };
                    log.outcome(remote.run_coroutine_threadsafe(seven).unwrap().result(None));
                    let failing = async || -> u8 { panic!("on purpose: no") };
                    log.outcome(
                        remote
                            .run_coroutine_threadsafe(failing)
                            .unwrap()
                            .result(None),
                    );
                    let endless = async || {
                        sleep(Duration::from_secs(1000)).await;
                        0
                    };
                    let endless = remote.run_coroutine_threadsafe(endless).unwrap();
                    log.outcome(endless.result(Some(Duration::from_millis(20))));
                    let (done, cancel) = (endless.done(), endless.cancel());
                    log.say(format!("{} {}", python_bool(done), python_bool(cancel)));
                    log.outcome(endless.result(None));
                    let ends = [endless.done(), endless.cancelled()];
                    log.say(ends.map(python_bool).join(" "));
                };
                to_thread(other).await.unwrap();
            }
        ),
        program!(
            "run_coroutine_threadsafe: cancel while there is something to clean up",
            differs: "asyncio's future is cancelled at once, this one when the coroutine has ended",
            "\
loop, begun, told, clean = get_running_loop(), threading.Event(), threading.Event(), asyncio.Event()
async def cleaning():
    try:
        begun.set()
        await sleep(1000)
    finally:
        await until(told.is_set)
        say('clean')
        clean.set()
def other():
    future = run_coroutine_threadsafe(cleaning(), loop)
    begun.wait()
    future.cancel()
    outcome(future)
    told.set()
await to_thread(other)
await clean.wait()
",
            async |log: Log| {
                let remote = get_running_loop().remote();
                let (begun, begins) = mpsc::channel();
                let l = log.clone();
                let other = move || {
                    let cleaning = move || async move {
                        let sleep_long = catch_cancelled(async {
                            begun.send(()).unwrap();
                            sleep(Duration::from_secs(1000)).await;
                        });
                        if let Err(cancelled) = sleep_long.await {
                            sleep(Duration::from_millis(50)).await;
                            l.say("clean");
                            cancelled.resume().await;
                        }
                        0
                    };
                    let future = remote.run_coroutine_threadsafe(cleaning).unwrap();
                    begins.recv().unwrap();
                    future.cancel();
                    log.outcome(future.result(None));
                };
                to_thread(other).await.unwrap();
            }
        ),
        program!(
            "wrap_future: a coroutine on another loop ends with its awaiter",
            "\
other = asyncio.new_event_loop()
thread = threading.Thread(target=other.run_forever)
thread.start()
say('value', await wrap_future(run_coroutine_threadsafe(sleep(0.001, 7), other)))
endless = run_coroutine_threadsafe(sleep(1000), other)
async def waits():
    await wrap_future(endless)
task = create_task(waits())
await sleep(0.02)
task.cancel()
await tell(task)
await to_thread(outcome, endless)
# The future is cancelled before its task there has ended.
await wrap_future(run_coroutine_threadsafe(sleep(0.01), other))
other.call_soon_threadsafe(other.stop)
thread.join()
other.close()
",
            async |log: Log| {
                let (told, hears) = mpsc::channel();
                let thread = std::thread::spawn(move || {
                    let other = callsoon::EventLoop::new().unwrap();
                    told.send(other.remote()).unwrap();
                    other.run_forever().unwrap();
                });
                let other = hears.recv().unwrap();
                let seven = other.run_coroutine_threadsafe(|| async { 7 }).unwrap();
                log.outcome(wrap_future(seven).await);
                let endless = other.run_coroutine_threadsafe(|| async {
                    sleep(Duration::from_secs(1000)).await;
                    0
                });
                let endless = endless.unwrap();
                let awaited = endless.clone();
                let task = create_task(async move { wrap_future(awaited).await.unwrap() });
                sleep(Duration::from_millis(20)).await;
                task.cancel();
                log.ended(task.await);
                let l = log.clone();
                to_thread(move || l.outcome(endless.result(None)))
                    .await
                    .unwrap();
                other
                    .call_soon_threadsafe(|| get_running_loop().stop())
                    .unwrap();
                thread.join().unwrap();
            }
        ),
    ]
}

#[test]
fn executors_and_thread_futures_are_as_asyncio_s() {
    let mut programs = of_executors();
    programs.extend(of_coroutines());
    compare(&programs);
}
