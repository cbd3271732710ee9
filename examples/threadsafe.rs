//! Another thread feeds the loop: `call_soon_threadsafe` wakes it, and a callback can be taken back from any thread.
//!
//! ```text
//! the loop waits
//! 1 from the worker
//! 2 from the worker
//! 3 from the worker
//! 4 was taken back: true
//! the worker says goodbye
//! ```

use std::thread;
use std::time::Duration;

use callsoon::{EventLoop, get_running_loop};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let event_loop = EventLoop::new()?;
    let remote = event_loop.remote();
    event_loop.call_soon(|| println!("the loop waits"));
    let worker = thread::spawn(move || -> Result<(), callsoon::LoopClosed> {
        for number in 1..=3 {
            // The work that takes long happens here, outside the loop.
            thread::sleep(Duration::from_millis(200));
            remote.call_soon_threadsafe(move || println!("{number} from the worker"))?;
        }
        let own = remote.clone();
        remote.call_soon_threadsafe(move || {
            // Posted by the loop itself, so that it cannot have run before it is taken back.
            let fourth = own.call_soon_threadsafe(|| println!("4 from the worker"));
            println!(
                "4 was taken back: {}",
                fourth.is_ok_and(|fourth| fourth.cancel())
            );
        })?;
        remote.call_soon_threadsafe(|| {
            println!("the worker says goodbye");
            get_running_loop().stop();
        })?;
        Ok(())
    });
    event_loop.run_forever()?;
    worker.join().expect("the worker does not panic")?;
    Ok(())
}
