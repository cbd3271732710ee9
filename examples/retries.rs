//! A semaphore lets two requests run at once; each tries again, after a pause that doubles.
//!
//! ```text
//! request 0, attempt 1: busy, again in 10ms
//! request 1, attempt 1: busy, again in 10ms
//! request 0, attempt 2: busy, again in 20ms
//! …
//! request 3 took 3 attempts
//! at most 2 ran at once
//! ```

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use callsoon::sync::Semaphore;
use callsoon::{RunError, gather, sleep, yield_now};

#[path = "common/command_line.rs"]
mod command_line;

#[derive(Default)]
struct Site {
    running: Cell<u32>,
    most: Cell<u32>,
}

impl Site {
    /// Answers the third attempt.
    async fn ask(&self, attempt: u32) -> Result<(), &'static str> {
        self.running.set(self.running.get() + 1);
        self.most.set(self.most.get().max(self.running.get()));
        yield_now().await;
        self.running.set(self.running.get() - 1);
        if attempt < 3 { Err("busy") } else { Ok(()) }
    }
}

async fn request(number: u32, site: Rc<Site>, places: Rc<Semaphore>) {
    let _place = places.acquire().await;
    let mut pause = Duration::from_millis(10);
    for attempt in 1.. {
        let Err(error) = site.ask(attempt).await else {
            return println!("request {number} took {attempt} attempts");
        };
        println!("request {number}, attempt {attempt}: {error}, again in {pause:?}");
        sleep(pause).await;
        pause *= 2;
    }
}

fn main() -> Result<(), RunError> {
    command_line::arguments!("");
    callsoon::run(async {
        let (site, places) = (Rc::new(Site::default()), Rc::new(Semaphore::new(2)));
        let requests = (0..4).map(|number| request(number, site.clone(), places.clone()));
        gather(requests).await.expect("nobody cancels them");
        println!("at most {} ran at once", site.most.get());
    })
}
