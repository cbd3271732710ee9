//! Our loop drives a toy frame loop of 60 frames a second, beside a task that works, and prints how late frames began.
//!
//! ```text
//! 60 frames, 0 dropped; late: median 25µs, 99 % 130µs, most 130µs
//! beside them: 4217 pieces of work
//! ```

use std::cell::Cell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use callsoon::{MissedTickBehavior, create_task, get_running_loop, interval, sleep};

#[path = "common/command_line.rs"]
mod command_line;
const FRAMES: u32 = 60;
const PERIOD: Duration = Duration::from_nanos(1_000_000_000 / 60);

/// What a GUI does in a frame: it draws for two milliseconds, in which nothing else runs.
fn draw() {
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_millis(2) {}
}

/// Draws each frame at its time, and returns how late each began. A frame whose time has passed is dropped.
async fn frames() -> Vec<Duration> {
    let mut ticks = interval(PERIOD);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut late = Vec::new();
    let mut due = ticks.tick().await;
    let end = due + FRAMES * PERIOD;
    while due < end {
        late.push(get_running_loop().time() - due);
        draw();
        due = ticks.tick().await;
    }
    late
}

fn main() -> Result<(), callsoon::RunError> {
    command_line::arguments!("");
    callsoon::run(async {
        let work = Rc::new(Cell::new(0));
        let pieces = work.clone();
        let worker = create_task(async move {
            loop {
                sleep(Duration::from_micros(100)).await;
                pieces.set(pieces.get() + 1);
            }
        });
        let mut late = frames().await;
        worker.cancel();
        late.sort();
        let (count, dropped) = (late.len(), FRAMES as usize - late.len());
        let [half, most, last] = [50, 99, 100].map(|part| late[(count - 1) * part / 100]);
        print!("{count} frames, {dropped} dropped; late: median {half:.0?}, ");
        println!("99 % {most:.0?}, most {last:.0?}");
        println!("beside them: {} pieces of work", work.get());
    })
}
