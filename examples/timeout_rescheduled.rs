//! A deadline that moves: code inside a `Timeout` asks for more time, or gives time back.
//!
//! ```text
//! the limit is one second, the work takes two
//! the work asks for ten seconds more
//! the work is done after 2.0 s
//! the limit has expired: false
//! ```

use std::time::{Duration, Instant};

use callsoon::{Timeout, get_running_loop, sleep};

#[path = "common/command_line.rs"]
mod command_line;

const SECOND: Duration = Duration::from_secs(1);

async fn work(limit: &Timeout) {
    sleep(SECOND / 2).await;
    println!("the work asks for ten seconds more");
    let later = get_running_loop().time() + 10 * SECOND;
    // Too late, after the deadline, this is an error.
    limit
        .reschedule(Some(later))
        .expect("the deadline has not come");
    sleep(SECOND * 3 / 2).await;
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    command_line::arguments!("");
    callsoon::run(async {
        println!("the limit is one second, the work takes two");
        let start = Instant::now();
        let limit = Timeout::after(SECOND);
        limit.run(work(&limit)).await?;
        let seconds = start.elapsed().as_secs_f64();
        println!("the work is done after {seconds:.1} s");
        println!("the limit has expired: {}", limit.expired());
        Ok(())
    })?
}
