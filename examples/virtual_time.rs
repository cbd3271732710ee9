//! A day of retries is tested in a moment: on a virtual clock an idle loop jumps to its next timer.
//!
//! ```text
//! 0ns: no connection
//! 60s: no connection
//! 180s: no connection
//! 420s: connected
//! a day later: 86400s
//! all that took less than a minute
//! a forgotten task: watchdog
//! ```

use std::time::{Duration, Instant};

use callsoon::testing::{self, Leftover, TestError, Trace};
use callsoon::{sleep, task_builder};

#[path = "common/command_line.rs"]
mod command_line;

/// What is tested: the pause doubles after each failure.
async fn connect(trace: &Trace, failures: u32) {
    let start = testing::clock().now();
    let mut pause = Duration::from_secs(60);
    for attempt in 0.. {
        let result = ["connected", "no connection"][usize::from(attempt < failures)];
        trace.push(format!("{:?}: {result}", testing::clock().now() - start));
        if attempt >= failures {
            return;
        }
        sleep(pause).await;
        pause *= 2;
    }
}

fn main() {
    command_line::arguments!("");
    let (real, trace) = (Instant::now(), Trace::new());
    testing::run(async {
        let (clock, start) = (testing::clock(), testing::clock().now());
        connect(&trace, 3).await;
        clock.advance_to(start + Duration::from_secs(86_400));
        trace.push(format!("a day later: {:?}", clock.now() - start));
    });
    trace.take().iter().for_each(|line| println!("{line}"));
    assert!(real.elapsed() < Duration::from_secs(60));
    println!("all that took less than a minute");

    // The audit at the end of each test lists what was forgotten. `run` would panic.
    let ended = testing::try_run(async {
        let watchdog = task_builder().name("watchdog");
        watchdog.spawn(sleep(Duration::from_secs(3600))).detach();
    });
    let Err(TestError::Leftovers(left)) = ended else {
        panic!("the task was not noticed");
    };
    if let [Leftover::Task { name, .. }] = &left[..] {
        println!("a forgotten task: {name}");
    }
}
