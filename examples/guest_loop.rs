//! Another loop drives ours: a host with work of its own, which sleeps in `poll(2)` and gives ours a turn when its
//! descriptor is readable.
//!
//! ```text
//! host: its own work
//! guest: tick 1
//! guest: tick 2
//! host: its own work
//! guest: tick 3
//! the guest has ended after 4 turns
//! ```

#![allow(unsafe_code)]

use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use callsoon::{EventLoop, sleep};

#[path = "common/command_line.rs"]
mod command_line;

/// Sleeps until the descriptor is readable, or until the time is over. Returns whether it is readable.
fn poll(descriptor: &impl AsRawFd, limit: Duration) -> bool {
    let fd = descriptor.as_raw_fd();
    let (events, revents) = (libc::POLLIN, 0);
    #[rustfmt::skip]
    let mut polled = libc::pollfd { fd, events, revents };
    // SAFETY: the pointer is to one initialised pollfd, which is what the count says, and it outlives the call.
    unsafe { libc::poll(&mut polled, 1, limit.as_millis() as i32 + 1) == 1 }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    command_line::arguments!("");
    let event_loop = EventLoop::new()?;
    let task = event_loop.create_task(async {
        for tick in 1..=3 {
            sleep(Duration::from_millis(20)).await;
            println!("guest: tick {tick}");
        }
    });
    // Without this the host would sleep over the guest's first timer: no turn has armed the descriptor yet.
    event_loop.guest()?;
    let period = Duration::from_millis(45);
    let (mut turns, mut own_work) = (0, Instant::now());
    while !task.done() {
        if own_work <= Instant::now() {
            println!("host: its own work");
            own_work += period;
        }
        // What a turn itself has queued does not make the descriptor readable, so ask.
        let limit = own_work.saturating_duration_since(Instant::now());
        if event_loop.has_ready() || poll(&event_loop, limit) {
            event_loop.turn(Some(Duration::ZERO))?;
            turns += 1;
        }
    }
    println!("the guest has ended after {turns} turns");
    Ok(())
}
