//! Large numbers of one thing: a century of virtual time, timers, tasks, and posts from threads. Each row has a process of
//! its own, so that the memory is its own, checks what it counts, and prints what it took.

use std::cell::{Cell, RefCell};
use std::error::Error;
use std::process::Command;
use std::rc::Rc;
use std::thread;
use std::time::{Duration, Instant};

use callsoon::{
    Clock, Event, EventLoop, RemoteHandle, create_task, get_running_loop, sleep, sleep_until,
    to_thread,
};

use crate::options::{Options, refuse};
use crate::sequence::mixed;
use crate::system::{end_with_parent, most_resident};

/// A row: its name, what it does, how much of it in full, and how much in the gate.
type Row = (
    &'static str,
    fn(u64) -> Result<u64, Box<dyn Error>>,
    u64,
    u64,
);

const ROWS: [Row; 4] = [
    ("century", century, 100_000_000, 10_000_000),
    ("timers", timers, 10_000_000, 1_000_000),
    ("tasks", tasks, 1_000_000, 500_000),
    ("posts", posts, 16_000_000, 1_600_000),
];

/// The tasks that share a century, each with a period of its own.
const CHAINS: u64 = 1000;
const CENTURY: Duration = Duration::from_secs(36_525 * 24 * 3600);
const HOUR: Duration = Duration::from_secs(3600);
const THREADS: u64 = 16;

/// Runs all rows, or the one that is named.
pub(crate) fn sizes(options: &Options) -> Result<bool, Box<dyn Error>> {
    if let Some(name) = &options.row {
        let Some(row) = ROWS.iter().find(|row| row.0 == name) else {
            refuse(&format!("unknown row {name:?}"));
        };
        return measure(row, options.full).map(|()| true);
    }
    let mut all_passed = true;
    for (name, ..) in ROWS {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["--sizes", "--row", name]);
        if options.full {
            command.arg("--full");
        }
        end_with_parent(&mut command);
        all_passed &= command.status()?.success();
    }
    Ok(all_passed)
}

fn measure((name, work, full, less): &Row, is_full: bool) -> Result<(), Box<dyn Error>> {
    let count = if is_full { *full } else { *less };
    let began = Instant::now();
    let done = work(count)?;
    let took = began.elapsed();
    if done < count {
        return Err(format!("{name}: {done} instead of {count}").into());
    }
    println!(
        "{name:<8} {done:>11}  {:>7.2} s  {:>6.0} ns each  {:>7.0} MiB at most",
        took.as_secs_f64(),
        took.as_nanos() as f64 / done as f64,
        most_resident() / 1024.0,
    );
    Ok(())
}

fn virtual_loop() -> Result<EventLoop, Box<dyn Error>> {
    Ok(EventLoop::builder().clock(Clock::Virtual).build()?)
}

/// A thousand tasks sleep through a century. Each wakes at the very time that it wanted.
fn century(firings: u64) -> Result<u64, Box<dyn Error>> {
    let century = CENTURY.as_nanos() as u64;
    // The periods are from once to twice the shortest one, so a chain fires ln 2 times as often as that, on average.
    let shortest = (CHAINS as f64 * century as f64 * 0.69 / firings as f64) as u64;
    let periods: Vec<u64> = (0..CHAINS)
        .map(|k| shortest + shortest * k / CHAINS)
        .collect();
    let expected: u64 = periods.iter().map(|period| century / period).sum();
    virtual_loop()?.run_until_complete(async move {
        let began = get_running_loop().time();
        let chain = async move |period: u64| {
            let (mut fired, handle) = (0, get_running_loop());
            while (fired + 1) * period <= century {
                fired += 1;
                let due = began + Duration::from_nanos(fired * period);
                sleep_until(due).await;
                if handle.time() != due {
                    return Err(format!("late or early by {:?}", handle.time() - due));
                }
            }
            Ok(fired)
        };
        let chains: Vec<_> = periods
            .into_iter()
            .map(|period| create_task(async move { chain(period).await }))
            .collect();
        let mut fired = 0;
        for chain in chains {
            fired += chain.await??;
        }
        sleep_until(began + CENTURY).await;
        if fired != expected || get_running_loop().time() != began + CENTURY {
            return Err(format!("{fired} firings instead of {expected}").into());
        }
        Ok(fired)
    })?
}

/// Timers at random times within an hour. They fire in order; each fourth is cancelled and does not.
fn timers(count: u64) -> Result<u64, Box<dyn Error>> {
    virtual_loop()?.run_until_complete(async move {
        let (handle, began) = (get_running_loop(), get_running_loop().time());
        let last = Rc::new(Cell::new(began));
        let (fired, wrong) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(0_u64)));
        let mut cancelled = Vec::new();
        for number in 0..count {
            let due = began + Duration::from_nanos(mixed(number) % HOUR.as_nanos() as u64);
            let (last, fired, wrong) = (Rc::clone(&last), Rc::clone(&fired), Rc::clone(&wrong));
            let is_cancelled = number % 4 == 3;
            let timer = handle.call_at(due, move || {
                if is_cancelled || due < last.get() {
                    wrong.set(wrong.get() + 1);
                }
                last.set(due);
                fired.set(fired.get() + 1);
            });
            cancelled.extend(is_cancelled.then_some(timer));
        }
        for timer in &cancelled {
            timer.cancel();
        }
        sleep_until(began + HOUR).await;
        if wrong.get() > 0 || get_running_loop().metrics().timers > 0 {
            return Err(format!("{} timers fired wrongly", wrong.get()).into());
        }
        Ok(fired.get() + cancelled.len() as u64)
    })?
}

/// Tasks that are all alive at once, wait for one event, and sleep.
fn tasks(count: u64) -> Result<u64, Box<dyn Error>> {
    virtual_loop()?.run_until_complete(async move {
        let start = Rc::new(Event::new());
        let mut tasks = Vec::new();
        for number in 0..count {
            let start = Rc::clone(&start);
            tasks.push(create_task(async move {
                start.wait().await;
                sleep(Duration::from_micros(mixed(number) % 1_000_000)).await;
                number
            }));
        }
        callsoon::yield_now().await;
        let alive = get_running_loop().metrics().tasks as u64;
        start.set();
        let mut sum = 0;
        for task in tasks {
            sum += task.await?;
        }
        if sum != count * (count - 1) / 2 {
            return Err("a result is wrong".into());
        }
        Ok(alive)
    })?
}

thread_local! {
    /// On the loop's thread: how many posts of each thread have run.
    static RUN: RefCell<[u64; THREADS as usize]> = const { RefCell::new([0; THREADS as usize]) };
    /// How many have run out of their order.
    static WRONG: Cell<u64> = const { Cell::new(0) };
}

/// Threads that post at once. The posts of each run in their order.
fn posts(count: u64) -> Result<u64, Box<dyn Error>> {
    callsoon::run(async move {
        let remote = get_running_loop().remote();
        let threads: Vec<_> = (0..THREADS)
            .map(|number| {
                let remote = remote.clone();
                thread::spawn(move || post(&remote, number as usize, count / THREADS))
            })
            .collect();
        let joined = to_thread(|| {
            threads
                .into_iter()
                .all(|one| matches!(one.join(), Ok(true)))
        });
        let all_came = joined.await?;
        let wrong = WRONG.get();
        if !all_came || wrong > 0 {
            return Err(format!("all posted: {all_came}, {wrong} in another order").into());
        }
        Ok(RUN.with_borrow(|run| run.iter().sum()))
    })?
}

/// One thread. Tells whether the loop has taken everything, and a coroutine behind it has ended.
fn post(remote: &RemoteHandle, thread: usize, count: u64) -> bool {
    let taken = (0..count).all(|number| {
        let run = move || {
            RUN.with_borrow_mut(|run| {
                if run[thread] != number {
                    WRONG.set(WRONG.get() + 1);
                }
                run[thread] += 1;
            });
        };
        remote.call_soon_threadsafe(run).is_ok()
    });
    let last = remote.run_coroutine_threadsafe(|| async {});
    taken && matches!(last.map(|last| last.result(Some(HOUR))), Ok(Ok(())))
}
