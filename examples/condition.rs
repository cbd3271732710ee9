//! A condition lets tasks wait until a value behind a lock is as they need it: customers and a baker.
//!
//! ```text
//! loaves: 1
//! loaves: 2
//! a customer takes 2, 0 are left
//! loaves: 1
//! loaves: 2
//! loaves: 3
//! a customer takes 3, 0 are left
//! ```

use std::rc::Rc;

use callsoon::sync::{Condition, Lock};
use callsoon::{RunError, create_task, yield_now};

#[path = "common/command_line.rs"]
mod command_line;

type Shelf = Rc<(Lock<u32>, Condition)>;

async fn buy(shelf: Shelf, wanted: u32) {
    let (loaves, baked) = &*shelf;
    let enough = |loaves: &mut u32| *loaves >= wanted;
    // While it waits, others have the lock. When it goes on, it has the lock again.
    let mut loaves = baked.wait_for(loaves.acquire().await, enough).await;
    *loaves -= wanted;
    println!("a customer takes {wanted}, {} are left", *loaves);
}

fn main() -> Result<(), RunError> {
    command_line::arguments!("");
    callsoon::run(async {
        let shelf = Shelf::new((Lock::new(0), Condition::new()));
        let customers = [2, 3].map(|wanted| create_task(buy(shelf.clone(), wanted)));
        yield_now().await;

        let (loaves, baked) = &*shelf;
        for _ in 0..5 {
            let mut loaves = loaves.acquire().await;
            *loaves += 1;
            println!("loaves: {}", *loaves);
            baked.notify_all();
            drop(loaves);
            // The customers have a turn.
            for _ in 0..4 {
                yield_now().await;
            }
        }
        for customer in customers {
            customer.await.expect("nobody cancels it");
        }
    })
}
