//! Any pool can be an executor: here rayon's, whose threads divide one job among themselves while the loop goes on.
//!
//! ```text
//! the loop is free
//! there are 78498 primes below a million
//! ```

use callsoon::{Executor, ExecutorError, Job, create_task, run_in_executor};
use rayon::iter::{IntoParallelIterator, ParallelIterator};

#[path = "common/command_line.rs"]
mod command_line;

struct Rayon(rayon::ThreadPool);

impl Executor for Rayon {
    fn execute(&self, job: Job) -> Result<(), ExecutorError> {
        self.0.spawn(|| job.run());
        Ok(())
    }
}

fn is_prime(n: u32) -> bool {
    n > 1 && (2..).take_while(|d| d * d <= n).all(|d| n % d != 0)
}

fn primes_below(limit: u32) -> usize {
    (0..limit).into_par_iter().filter(|n| is_prime(*n)).count()
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    command_line::arguments!("");
    let rayon = Rayon(rayon::ThreadPoolBuilder::new().build()?);
    let primes = callsoon::run(async {
        let primes = run_in_executor(Some(&rayon), || primes_below(1_000_000));
        let meanwhile = create_task(async { println!("the loop is free") });
        meanwhile.await.expect("nobody cancels it");
        primes.await
    })?;
    println!("there are {} primes below a million", primes?);
    Ok(())
}
