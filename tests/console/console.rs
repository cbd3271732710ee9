//! tokio-console's subscriber sees the tasks of this crate: their names, places, polls and wakes arrive at a client of
//! its gRPC service.

use std::collections::HashMap;
use std::net::{SocketAddr, TcpListener};
use std::thread;
use std::time::Duration;

use callsoon::{EventLoop, get_running_loop, sleep, task_builder, yield_now};
use console_api::Field;
use console_api::field::{Name, Value};
use console_api::instrument::InstrumentRequest;
use console_api::instrument::instrument_client::InstrumentClient;
use console_api::tasks::{Stats, Task};
use tracing_subscriber::layer::SubscriberExt;

/// A task as the console shows it.
#[derive(Debug)]
struct Shown {
    task: Task,
    stats: Stats,
}

impl Shown {
    fn field(&self, name: &str) -> Option<String> {
        let has_name = |field: &&Field| field.name == Some(Name::StrName(name.to_owned()));
        let field = self.task.fields.iter().find(has_name)?;
        Some(match field.value.as_ref()? {
            Value::DebugVal(text) | Value::StrVal(text) => text.clone(),
            Value::U64Val(number) => number.to_string(),
            other => format!("{other:?}"),
        })
    }
}

/// Reads what the subscriber publishes until the task of this name has ended. Returns all tasks by their names.
async fn watch(address: SocketAddr, last: &str) -> HashMap<String, Shown> {
    let mut client = loop {
        // The subscriber's thread may not listen yet.
        match InstrumentClient::connect(format!("http://{address}")).await {
            Ok(client) => break client,
            Err(_) => tokio::time::sleep(Duration::from_millis(5)).await,
        }
    };
    let updates = client.watch_updates(InstrumentRequest {}).await;
    let mut updates = updates.unwrap().into_inner();
    let (mut tasks, mut stats) = (Vec::<Task>::new(), HashMap::<u64, Stats>::new());
    loop {
        let update = updates.message().await.unwrap().expect("no end");
        let Some(of_tasks) = update.task_update else {
            continue;
        };
        assert_eq!(of_tasks.dropped_events, 0);
        tasks.extend(of_tasks.new_tasks);
        stats.extend(of_tasks.stats_update);
        let shown = tasks.iter().filter_map(|task| {
            let stats = *stats.get(&task.id?.id)?;
            let task = task.clone();
            let shown = Shown { task, stats };
            Some((shown.field("task.name")?, shown))
        });
        let shown: HashMap<_, _> = shown.collect();
        let ended = |shown: &Shown| shown.stats.dropped_at.is_some();
        if shown.get(last).is_some_and(ended) {
            return shown;
        }
    }
}

/// [`watch`] in a thread and a runtime of its own.
fn watch_in_thread(address: SocketAddr, last: &'static str) -> HashMap<String, Shown> {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let runtime = builder.enable_all().build().unwrap();
    runtime.block_on(async {
        let watched = tokio::time::timeout(Duration::from_secs(60), watch(address, last));
        watched
            .await
            .expect("the console shows the end of the task")
    })
}

#[test]
fn the_console_shows_names_places_polls_and_wakes_of_tasks() {
    // Nobody else is given a port that was just used.
    let address = TcpListener::bind(("127.0.0.1", 0))
        .unwrap()
        .local_addr()
        .unwrap();
    let console = console_subscriber::ConsoleLayer::builder()
        .server_addr(address)
        .publish_interval(Duration::from_millis(20))
        .spawn();
    let subscriber = tracing_subscriber::registry().with(console);
    let _guard = tracing::subscriber::set_default(subscriber);

    let client = thread::spawn(move || watch_in_thread(address, "worker"));
    let event_loop = EventLoop::builder().task_spans(true).build().unwrap();
    let shown = event_loop.run_until_complete(async {
        let forever = sleep(Duration::MAX);
        task_builder().name("silent").spawn(forever).detach();
        let worker = task_builder().name("worker").spawn(async {
            for _ in 0..3 {
                sleep(Duration::from_millis(2)).await;
            }
            yield_now().await;
        });
        worker.await.unwrap();
        let shown = callsoon::to_thread(move || client.join().unwrap())
            .await
            .unwrap();
        let ended = get_running_loop().shutdown_default_executor(Duration::from_secs(60));
        ended.await.unwrap();
        shown
    });
    let shown = shown.unwrap();

    let worker = &shown["worker"];
    assert_eq!(worker.field("kind").as_deref(), Some("task"));
    assert_eq!(worker.field("task.id").as_deref(), Some("3"));
    let place = worker.task.location.as_ref().unwrap();
    assert!(place.file.as_ref().unwrap().ends_with("console.rs"));
    assert_eq!(place.line, Some(line!() - 21));
    assert!(worker.task.parents.is_empty());
    let polls = worker.stats.poll_stats.as_ref().unwrap();
    assert_eq!(polls.polls, 5);
    assert!(polls.busy_time.is_some() && worker.stats.scheduled_time.is_some());
    assert_eq!((worker.stats.wakes, worker.stats.self_wakes), (4, 1));
    // A waker of each sleep, which its wake has taken.
    let wakers = (worker.stats.waker_clones, worker.stats.waker_drops);
    assert_eq!(wakers, (3, 3));
    // The console warns of a task that waits without a waker.
    let silent = &shown["silent"].stats;
    assert_eq!((silent.waker_clones, silent.waker_drops), (1, 0));

    let main = &shown["Task-1"];
    assert_eq!(main.field("kind").as_deref(), Some("block_on"));
    assert!(main.stats.dropped_at.is_none());
}
