//! What blocks goes to other threads: while three of them sleep, hash and read, the loop goes on ticking.
//!
//! ```text
//! tick
//! slept
//! tick
//! the sum of the squares is 333283335000
//! read: true
//! a job may fail: the job panicked: out of paper
//! shut down: Ok(())
//! ```

use std::time::Duration;

use callsoon::{create_task, get_running_loop, run_in_executor, sleep, to_thread};

fn sum_of_squares(n: u64) -> u64 {
    (1..n).map(|x| x * x).sum()
}

fn print_a_page() {
    std::panic::set_hook(Box::new(|_| ()));
    panic!("out of paper");
}

fn main() -> Result<(), callsoon::RunError> {
    callsoon::run(async {
        let ticker = create_task(async {
            loop {
                println!("tick");
                sleep(Duration::from_millis(200)).await;
            }
        });
        // On its way at once; awaited later.
        let sum = run_in_executor(None, || sum_of_squares(10_000));
        // Begins when it is awaited.
        let slept = to_thread(|| std::thread::sleep(Duration::from_millis(100))).await;
        println!("slept{}", if slept.is_ok() { "" } else { " badly" });
        sleep(Duration::from_millis(200)).await;
        match sum.await {
            Ok(sum) => println!("the sum of the squares is {sum}"),
            Err(error) => println!("no sum: {error}"),
        }
        let read = to_thread(|| std::fs::read("/dev/null")).await;
        println!("read: {}", read.is_ok_and(|read| read.is_ok()));
        if let Err(error) = to_thread(print_a_page).await {
            println!("a job may fail: {error}");
        }
        ticker.cancel();
        let deadline = Duration::from_secs(5);
        let ended = get_running_loop().shutdown_default_executor(deadline).await;
        println!("shut down: {ended:?}");
    })
}
