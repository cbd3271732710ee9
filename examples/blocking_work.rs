//! Blocking work goes to threads: the loop's own pool, or a pool of the program's, while the loop goes on.
//!
//! ```text
//! to_thread: read 0 bytes
//! to_thread: the job panicked: out of paper
//! a pool of two: disk_0 and disk_1
//! meanwhile the loop has ticked 3 times
//! ```

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use callsoon::{ThreadPoolExecutor, create_task, run_in_executor, sleep, to_thread};

#[path = "common/command_line.rs"]
mod command_line;

/// Blocks its thread, as reading a disk does.
fn read_disk() -> String {
    std::thread::sleep(Duration::from_millis(100));
    std::thread::current().name().unwrap_or("-").to_owned()
}

async fn tick(ticks: Rc<Cell<u32>>) {
    for _ in 0..3 {
        sleep(Duration::from_millis(10)).await;
        ticks.set(ticks.get() + 1);
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    command_line::arguments!("");
    // The panic below is reported by its job; the message of the standard library would be the second report.
    std::panic::set_hook(Box::new(|_| ()));
    callsoon::run(async {
        let ticks = Rc::new(Cell::new(0));
        create_task(tick(Rc::clone(&ticks)));

        let content = to_thread(|| std::fs::read("/dev/null")).await??;
        println!("to_thread: read {} bytes", content.len());
        let failed: Result<(), _> = to_thread(|| panic!("out of paper")).await;
        if let Err(error) = failed {
            println!("to_thread: {error}");
        }

        let disks = ThreadPoolExecutor::builder()
            .thread_name_prefix("disk")
            .max_workers(2)
            .build();
        // Both jobs have started before either is awaited.
        let first = run_in_executor(Some(&disks), read_disk);
        let second = run_in_executor(Some(&disks), read_disk);
        println!("a pool of two: {} and {}", first.await?, second.await?);
        println!("meanwhile the loop has ticked {} times", ticks.get());
        Ok(())
    })?
}
