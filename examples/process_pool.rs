//! Long computations go to other processes: they use other cores, and one that crashes does not end the program.
//!
//! Needs `--features process-pool`.
//!
//! ```text
//! there are 1229 primes below 10000
//! a job crashes: the worker died during the job crash: signal: 6 (SIGABRT)
//! the next job has a new worker: 168 primes below 1000
//! ```

use callsoon::process_pool::{Function, ProcessPoolExecutor, worker};

#[path = "common/command_line.rs"]
mod command_line;

// A function that another process calls is a static, so that both processes know it by its name and types.
static COUNT_PRIMES: Function<u32, usize> = Function::new("count_primes", count_primes);
static CRASH: Function<(), ()> = Function::new("crash", |()| std::process::abort());

fn count_primes(limit: u32) -> usize {
    (2..limit).filter(|&n| is_prime(n)).count()
}

fn is_prime(n: u32) -> bool {
    (2..n)
        .take_while(|divisor| divisor * divisor <= n)
        .all(|divisor| n % divisor != 0)
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    // A worker is this program again: there this call runs jobs and does not return.
    worker(&[&COUNT_PRIMES, &CRASH]);
    command_line::arguments!("");

    callsoon::run(async {
        let pool = ProcessPoolExecutor::builder().max_workers(1).build();
        let primes = pool.run(&COUNT_PRIMES, 10_000).await?;
        println!("there are {primes} primes below 10000");

        if let Err(error) = pool.run(&CRASH, ()).await {
            println!("a job crashes: {error}");
        }

        let primes = pool.run(&COUNT_PRIMES, 1000).await?;
        println!("the next job has a new worker: {primes} primes below 1000");
        pool.shutdown().await;
        Ok(())
    })?
}
