//! A loop to look at: readers of a queue, a task that holds a lock for which another waits, and one that hogs the loop.

use std::rc::Rc;
use std::time::Duration;

use callsoon::sync::Lock;
use callsoon::{EventLoop, Queue, create_task, gather, sleep, task_builder, to_thread};

use super::command;

/// Starts the loop, and runs each command against it in a thread.
pub(crate) fn run() -> Result<(), String> {
    let path = std::env::temp_dir().join(format!("callsoon-inspect-{}", std::process::id()));
    let event_loop = EventLoop::builder().inspector(&path).build();
    let event_loop = event_loop.map_err(|error| error.to_string())?;
    let main = async move {
        let queue = Rc::new(Queue::<u32>::new(1));
        let lock = Rc::new(Lock::new(()));
        let read = queue.clone();
        let reader = task_builder()
            .name("reader")
            .spawn(async move { while read.get().await.is_ok() {} });
        let inner = lock.clone();
        let holder = task_builder().name("holder").spawn(async move {
            let _held = inner.acquire().await;
            sleep(Duration::from_secs(60)).await;
        });
        let waiter = task_builder()
            .name("waiter")
            .spawn(async move { drop(lock.acquire().await) });
        let all = create_task(async { gather([reader, holder, waiter]).await.map(drop) });
        let asked = to_thread(move || {
            for name in ["ps", "pstree", "top", "dump"] {
                println!("$ inspect {name} PATH");
                command(name, &path, true)?;
                println!();
            }
            Ok::<_, String>(path)
        });
        let path = asked.await.map_err(|error| error.to_string())??;
        let client = std::thread::spawn(move || command("ps", &path, true));
        // Nothing else runs meanwhile: the watcher's thread answers.
        task_builder()
            .name("hog")
            .spawn(async { std::thread::sleep(Duration::from_millis(600)) })
            .await
            .map_err(|error| error.to_string())?;
        let told = to_thread(move || client.join()).await;
        if let Ok(Ok(Err(told))) = told {
            println!("$ inspect ps PATH\n{told}");
        }
        all.cancel();
        let _ = all.await;
        Ok(())
    };
    let ended = event_loop.run_until_complete(main);
    ended.map_err(|error| error.to_string())?
}
