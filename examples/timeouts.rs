//! `wait_for` does not wait for ever: what it waited for is cancelled, and may clean up before the caller hears of it.
//!
//! ```text
//! timeout!
//! the task has cleaned up; it is cancelled: true
//! moved on with None
//! the limit was moved: done, expired: false
//! ```

use std::time::Duration;

use callsoon::{
    RunError, Timeout, catch_cancelled, create_task, get_running_loop, move_on_after, sleep,
    wait_for,
};

const SECOND: Duration = Duration::from_millis(100); // a short one

async fn eternity() {
    sleep(3600 * SECOND).await;
    println!("yay!");
}

async fn tidy() {
    if let Err(cancelled) = catch_cancelled(eternity()).await {
        sleep(SECOND).await;
        print!("the task has cleaned up; ");
        cancelled.resume().await
    }
}

fn main() -> Result<(), RunError> {
    callsoon::run(async {
        if wait_for(eternity(), SECOND).await.is_err() {
            println!("timeout!");
        }

        let mut task = create_task(tidy());
        if wait_for(&mut task, SECOND).await.is_err() {
            println!("it is cancelled: {}", task.cancelled());
        }

        println!(
            "moved on with {:?}",
            move_on_after(SECOND, eternity()).await
        );

        let limit = Timeout::after(SECOND);
        let ended = limit.run(async {
            let later = get_running_loop().time() + 600 * SECOND;
            limit.reschedule(Some(later)).expect("it holds");
            sleep(2 * SECOND).await;
            "done"
        });
        let ended = ended.await.expect("in time");
        println!("the limit was moved: {ended}, expired: {}", limit.expired());
    })
}
