//! The third way to run what blocks: a process of its own, which may compute for long, or crash.
//!
//! Needs `--features process-pool`.
//!
//! ```text
//! primes below 10000, 20000, 30000: 1229, 2262, 3245
//! a crash is an error: the worker died during the job: signal: 6 (SIGABRT)
//! and the pool goes on: 168
//! ```

use callsoon::process_pool::{Function, ProcessPoolExecutor, worker};

fn count_primes(below: u32) -> usize {
    let is_prime = |n: &u32| (2..*n).take_while(|d| d * d <= *n).all(|d| n % d != 0);
    (2..below).filter(is_prime).count()
}

// What is called in another process is a static, so that both know it by its name and types.
static COUNT_PRIMES: Function<u32, usize> = Function::new("count_primes", count_primes);
static CRASH: Function<(), ()> = Function::new("crash", |()| std::process::abort());

fn main() -> Result<(), callsoon::RunError> {
    // In a worker, which is this program again, this call runs jobs and does not return.
    worker(&[&COUNT_PRIMES, &CRASH]);

    callsoon::run(async {
        let pool = ProcessPoolExecutor::builder().max_workers(2).build();
        let jobs = [10_000, 20_000, 30_000].map(|below| {
            let pool = pool.clone();
            async move { pool.run(&COUNT_PRIMES, below).await }
        });
        let mut counts = Vec::new();
        for job in jobs.map(callsoon::create_task) {
            match job.await {
                Ok(Ok(count)) => counts.push(count.to_string()),
                other => println!("no count: {other:?}"),
            }
        }
        println!("primes below 10000, 20000, 30000: {}", counts.join(", "));

        if let Err(error) = pool.run(&CRASH, ()).await {
            println!("a crash is an error: {error}");
        }
        if let Ok(count) = pool.run(&COUNT_PRIMES, 1_000).await {
            println!("and the pool goes on: {count}");
        }
        pool.shutdown().await;
    })
}
