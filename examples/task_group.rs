//! `task_group` waits for all its children; when one fails, it cancels the others and reports every failure.
//!
//! ```text
//! started
//! hello
//! world
//! Both tasks have completed now: 5 and 5
//! Task-5 gives up: another part of its task group has failed
//! 1 failure in a task group: Task-4: no such host
//! ```

use std::time::Duration;

use callsoon::{RunError, TaskError, catch_cancelled, current_task, sleep, task_group};

#[path = "common/command_line.rs"]
mod command_line;

async fn say_after(ms: u64, what: &str) -> Result<usize, TaskError> {
    sleep(Duration::from_millis(ms)).await;
    println!("{what}");
    Ok(what.len())
}

async fn search() {
    let sleeping = catch_cancelled(sleep(Duration::from_secs(3600))).await;
    if let Err(cancelled) = sleeping {
        let name = current_task().expect("it runs as a task").name();
        let why = cancelled.message().unwrap_or_default();
        println!("{name} gives up: {why}");
        cancelled.resume().await
    }
}

async fn resolve() -> Result<(), &'static str> {
    sleep(Duration::from_millis(100)).await;
    Err("no such host")
}

fn main() -> Result<(), RunError> {
    command_line::arguments!("");
    callsoon::run(async {
        let both = task_group(async |group| {
            let hello = group.create_task(say_after(100, "hello"));
            let world = group.create_task(say_after(200, "world"));
            println!("started");
            Ok::<_, TaskError>((hello.await?, world.await?))
        });
        let (hello, world) = both.await.expect("nobody fails");
        println!("Both tasks have completed now: {hello} and {world}");

        let failed = task_group(async |group| {
            group.create_task(resolve());
            group.create_task(search());
        });
        println!("{}", failed.await.expect_err("one fails"));
    })
}
