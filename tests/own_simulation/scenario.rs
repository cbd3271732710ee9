//! One run of the simulation: all parts in one process, from a seed to the violations that were found.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::time::Duration;

use callsoon::testing::{self, Trace};
use callsoon::{Event, GroupError, sleep, task_group, timeout};

use crate::client::use_server;
use crate::faults::Fault;
use crate::history::{Facts, History};
use crate::invariants;
use crate::network::Network;
use crate::random::Random;
use crate::server::Server;

/// What a run has left, and what was wrong.
pub(crate) struct Run {
    pub(crate) trace: Vec<String>,
    pub(crate) violations: Vec<String>,
    /// `None` if the run has not come to its end.
    pub(crate) facts: Option<Facts>,
}

/// A time that no run takes, on the virtual clock. A task that waits for what never comes makes a run take it.
const TOO_LONG: Duration = Duration::from_secs(3600);

/// Runs the simulation of a seed.
pub(crate) fn run(seed: u64, fault: Fault) -> Run {
    let random = Random::new(seed);
    let order = random.next();
    run_in_order(random, order, fault)
}

/// Runs it with another seed for the order in which the loop runs what is ready.
pub(crate) fn run_in_order(random: Random, order: u64, fault: Fault) -> Run {
    let trace = Trace::new();
    let played = timeout(TOO_LONG, play(random, fault, trace.clone()));
    let ended = catch_unwind(AssertUnwindSafe(|| {
        let test = testing::builder().with(|builder| builder.shuffle(order));
        test.try_run(played)
    }));
    let mut violations = Vec::new();
    let facts = match ended {
        Ok(Ok(Ok(facts))) => Some(facts),
        Ok(Ok(Err(_))) => {
            violations.push("the run did not end".to_owned());
            None
        }
        // What is left behind: tasks, timers, callbacks, failures that nobody has handled.
        Ok(Err(error)) => {
            violations.push(error.to_string());
            None
        }
        // Its message was printed.
        Err(_) => {
            violations.push("a panic".to_owned());
            None
        }
    };
    if let Some(facts) = &facts {
        violations.extend(invariants::check(facts));
    }
    Run {
        trace: trace.take(),
        violations,
        facts,
    }
}

/// The whole program: returns when the server has stopped, all clients have ended, and the network is closed.
async fn play(random: Random, fault: Fault, trace: Trace) -> Facts {
    let history = History::new(trace);
    let server = Rc::new(Server::new(history.clone(), fault));
    let mut left = Vec::new();
    let played = task_group(async |group| {
        let network = Network::new(group.clone(), random.fork(), history.clone());
        let network = Rc::new(network);
        let stop = Rc::new(Event::new());
        let serving = Rc::clone(&server).serve(network.listener(), Rc::clone(&stop));
        let serving = group.create_task(note_end(serving, history.clone()));
        let (dividing, times) = (Rc::clone(&network), random.within(0..=3));
        let dividing = group.create_task(async move { dividing.divide(times).await });
        task_group(async |clients| {
            for client in 0..random.within(2..=7) as usize {
                let network = Rc::clone(&network);
                clients.create_task(use_server(client, network, random.fork(), history.clone()));
            }
            sleep(random.millis(5_000..=60_000)).await;
            history.note(format_args!("stop"));
            history.facts().stop = Some(history.now());
            stop.set();
        })
        .await?;
        // A panic in one of them is the group's.
        let _ = serving.await;
        let _ = dividing.await;
        if network.open_ends() > 0 {
            left.push("ends of connections are left".to_owned());
        }
        network.close();
        Ok::<_, GroupError>(())
    });
    if let Err(error) = played.await {
        left.push(error.to_string());
    }
    if Rc::strong_count(&server) > 1 {
        left.push("something holds the server".to_owned());
    }
    if !server.is_empty() {
        left.push("the server still has members".to_owned());
    }
    drop(server);
    let mut facts = history.into_facts();
    facts.left = left;
    facts
}

async fn note_end(serving: impl Future<Output = bool>, history: History) {
    let in_time = serving.await;
    history.note(format_args!("stopped: {in_time}"));
    let mut facts = history.facts();
    facts.stopped = Some(history.now());
    facts.in_time = in_time;
}
