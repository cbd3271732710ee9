//! What blocks goes elsewhere, in three ways, while the loop goes on ticking: to the loop's own threads, to a pool of
//! the program's, and to other processes, for what computes for long or may crash.
//!
//! Needs `--features process-pool`.
//!
//! ```text
//! the loop's threads: read 0 bytes, and a job may fail: the job panicked: out of paper
//! a pool of the program's: disk_0 and disk_1
//! other processes: 1229 primes, and a job may crash:
//!   the worker died during the job: signal: 6 (SIGABRT)
//! the loop went on ticking: true
//! ```

use std::time::Duration;

use callsoon::process_pool::{Function, ProcessPoolExecutor, worker};
use callsoon::{ThreadPoolExecutor, create_task, run_in_executor, sleep, to_thread};

// What is called in another process is a static, so that both know it by its name and types.
static PRIMES: Function<u32, usize> = Function::new("primes", |below| {
    let is_prime = |n: &u32| (2..*n).take_while(|d| d * d <= *n).all(|d| n % d != 0);
    (2..below).filter(is_prime).count()
});
static CRASH: Function<(), ()> = Function::new("crash", |()| std::process::abort());

fn name_of_thread() -> String {
    std::thread::sleep(Duration::from_millis(50));
    std::thread::current().name().unwrap_or("nobody").to_owned()
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    // In a worker, which is this program again, this call runs jobs and does not return.
    worker(&[&PRIMES, &CRASH]);
    std::panic::set_hook(Box::new(|_| ()));
    callsoon::run(async {
        let ticker = create_task(async {
            for _ in 0..3 {
                sleep(Duration::from_millis(10)).await;
            }
        });
        let bytes = to_thread(|| std::fs::read("/dev/null")).await??.len();
        let failed = to_thread(|| -> u8 { panic!("out of paper") }).await;
        let failed = failed.unwrap_err();
        println!("the loop's threads: read {bytes} bytes, and a job may fail: {failed}");

        let disk = ThreadPoolExecutor::builder().thread_name_prefix("disk");
        let disk = disk.max_workers(2).build();
        // Both are on their way before either is awaited.
        let [one, two] = [(); 2].map(|()| run_in_executor(Some(&disk), name_of_thread));
        println!("a pool of the program's: {} and {}", one.await?, two.await?);

        let processes = ProcessPoolExecutor::builder().max_workers(1).build();
        let crashed = processes.run(&CRASH, ()).await.unwrap_err();
        let primes = processes.run(&PRIMES, 10_000).await?;
        println!("other processes: {primes} primes, and a job may crash:\n  {crashed}");
        processes.shutdown().await;
        println!("the loop went on ticking: {}", ticker.done());
        Ok(())
    })?
}
