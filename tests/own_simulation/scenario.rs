//! One run of the simulation: all parts in one process, from a seed to the violations that were found.

use std::rc::Rc;
use std::time::Duration;

use callsoon::testing::{self, Trace};
use callsoon::{Event, sleep, task_group, timeout};

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
    let trace = Trace::new();
    let random = Random::new(seed);
    let order = random.next();
    let played = play(random, fault, trace.clone());
    let ended = testing::builder()
        .with(|builder| builder.shuffle(order))
        .try_run(timeout(TOO_LONG, played));
    let mut violations = Vec::new();
    let facts = match ended {
        Ok(Ok(history)) => Some(history.into_facts()),
        Ok(Err(_)) => {
            violations.push("the run did not end".to_owned());
            None
        }
        // What is left behind: tasks, timers, callbacks, failures that nobody has handled.
        Err(error) => {
            violations.push(error.to_string());
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
async fn play(random: Random, fault: Fault, trace: Trace) -> History {
    let history = History::new(trace);
    let server = Rc::new(Server::new(history.clone(), fault));
    let played = task_group(async |group| {
        let network = Network::new(group.clone(), random.fork(), history.clone());
        let network = Rc::new(network);
        let stop = Rc::new(Event::new());
        let serving = Rc::clone(&server).serve(network.listener(), Rc::clone(&stop));
        let serving = group.create_task(note_end(serving, history.clone()));
        let dividing = Rc::clone(&network);
        let divisions = random.within(0..=3);
        let dividing = group.create_task(async move { dividing.divide(divisions).await });
        let clients = task_group(async |clients| {
            for client in 0..random.within(2..=7) as usize {
                let network = Rc::clone(&network);
                clients.create_task(use_server(client, network, random.fork(), history.clone()));
            }
            sleep(random.millis(5_000..=60_000)).await;
            history.note(format_args!("stop"));
            history.facts().stop = Some(history.now());
            stop.set();
        });
        clients.await.unwrap();
        serving.await.unwrap();
        dividing.await.unwrap();
        assert_eq!(network.open_ends(), 0, "ends of connections are left");
        network.close();
    });
    played.await.unwrap();
    assert_eq!(Rc::strong_count(&server), 1, "something holds the server");
    assert!(server.is_empty(), "the server still has members");
    history
}

async fn note_end(serving: impl Future<Output = bool>, history: History) {
    let in_time = serving.await;
    history.note(format_args!("stopped: {in_time}"));
    let mut facts = history.facts();
    facts.stopped = Some(history.now());
    facts.in_time = in_time;
}
