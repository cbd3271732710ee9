//! Fault C7: a result, a deadline and a cancellation meet in one turn.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use callsoon::net::TcpListener;
use callsoon::{Task, sleep_until, timeout_at};

use crate::support::{
    DropProbe, Trace, audited, counted_fds, one_turn, virtual_loop, wait_for_an_event,
};

const SECOND: Duration = Duration::from_secs(1);

/// What ends a wait; all three in one turn.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Rival {
    Result,
    Timeout,
    Cancel,
}
use Rival::{Cancel, Result as Value, Timeout};

/// Which of them wins. A cancellation acts when its task next runs, so it overtakes a result that has come but not been
/// taken; and a deadline, which waits a turn for the answer of what is inside, is overtaken by it too. Where the task
/// has run before the value comes, the future that it awaited is cancelled and gives the value back.
const ORDERS: [([Rival; 3], &str); 6] = [
    ([Value, Timeout, Cancel], "value"),
    ([Value, Cancel, Timeout], "cancelled"),
    ([Timeout, Value, Cancel], "cancelled"),
    ([Timeout, Cancel, Value], "cancelled"),
    ([Cancel, Value, Timeout], "cancelled"),
    ([Cancel, Timeout, Value], "cancelled"),
];

/// Lets the three rivals meet in one turn and says how the wait for `value` ended, and what the exception handler
/// received.
fn meet<T: 'static>(
    order: [Rival; 3],
    value: Result<T, &'static str>,
) -> (&'static str, Vec<String>) {
    let trace = Trace::new();
    let event_loop = virtual_loop(&trace);
    let deadline = event_loop.time() + SECOND;
    let future = event_loop.create_future::<Rc<T>>();
    let task = Rc::new(RefCell::new(None::<Task<bool>>));
    let mut value = Some(value);
    for rival in order {
        match rival {
            Value => {
                let (future, value, t) = (future.clone(), value.take().unwrap(), trace.clone());
                event_loop.call_at(deadline, move || {
                    // A future that was cancelled together with its awaiter gives the value back.
                    let taken = match value {
                        Ok(value) => future.set_result(Rc::new(value)).is_ok(),
                        Err(error) => future.set_exception(error).is_ok(),
                    };
                    if !taken {
                        t.push("given back");
                    }
                });
            }
            Timeout => {
                let awaited = future.clone();
                let receive = async move {
                    let received = awaited.await;
                    assert!(
                        received
                            .as_ref()
                            .err()
                            .is_none_or(|e| e.to_string() == "broken")
                    );
                    true
                };
                let wait = async move { timeout_at(deadline, receive).await.is_ok() };
                *task.borrow_mut() = Some(event_loop.create_task(wait));
                // Its first step arms its timer, between those of the others.
                one_turn(&event_loop);
            }
            Cancel => {
                let task = Rc::clone(&task);
                event_loop.call_at(deadline, move || {
                    task.borrow().as_ref().unwrap().cancel();
                });
            }
        }
    }
    drop(future);
    event_loop
        .run_until_complete(sleep_until(deadline + SECOND))
        .unwrap();
    let mut task = task.take().unwrap();
    let ended = task.result().expect("the task has ended");
    drop(task);
    let lost = trace.take();
    let winner = match ended {
        Ok(true) => "value",
        Ok(false) => "timed out",
        Err(error) => {
            assert!(error.cancelled().is_some());
            "cancelled"
        }
    };
    (winner, lost)
}

fn given_back(order: [Rival; 3]) -> Vec<String> {
    let late = order == [Cancel, Timeout, Value];
    Vec::from_iter(late.then(|| "given back".to_owned()))
}

#[test]
fn c7_a_value_that_meets_its_deadline_and_a_cancellation_is_dropped_once_or_delivered() {
    audited(|| {
        for (order, winner) in ORDERS {
            let trace = Trace::new();
            let value = DropProbe::new(&trace, "value");
            assert_eq!(
                meet(order, Ok(value)),
                (winner, given_back(order)),
                "{order:?}"
            );
            trace.expect(["drop value"]);
        }
    });
}

#[test]
fn c7_a_socket_that_meets_its_deadline_and_a_cancellation_is_closed() {
    audited(|| {
        for (order, winner) in ORDERS {
            let before = counted_fds();
            let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
            assert_eq!(
                meet(order, Ok(socket)),
                (winner, given_back(order)),
                "{order:?}"
            );
            assert_eq!(counted_fds(), before);
        }
    });
}

#[test]
fn c7_an_error_that_meets_its_deadline_and_a_cancellation_is_delivered_or_reported() {
    audited(|| {
        for (order, winner) in ORDERS {
            let (won, lost) = meet::<()>(order, Err("broken"));
            assert_eq!(won, winner, "{order:?}");
            // The waiter got it, or else the exception handler did, unless it was given back.
            let reports = ["report: Future exception was never retrieved (broken)"];
            let mut expected = given_back(order);
            if expected.is_empty() && won != "value" {
                expected.extend(reports.map(String::from));
            }
            assert_eq!(lost, expected, "{order:?}");
        }
    });
}

#[test]
fn c7_a_connection_that_arrives_with_the_cancellation_goes_to_the_next_accept() {
    audited(|| {
        for cancel_first in [true, false] {
            let event_loop = virtual_loop(&Trace::new());
            let listener = TcpListener::bind("127.0.0.1:0");
            let listener = Rc::new(event_loop.run_until_complete(listener).unwrap().unwrap());
            let accepting = Rc::clone(&listener);
            let mut task = event_loop.create_task(async move { accepting.accept().await });
            one_turn(&event_loop);
            let client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            wait_for_an_event(&event_loop);
            let canceller = task.as_ref();
            let cancel = move || assert_eq!(canceller.cancel(), cancel_first);
            if cancel_first {
                event_loop.call_soon(cancel);
            } else {
                // Timers come after events: the accept has run by then.
                event_loop.call_at(event_loop.time(), cancel);
            }
            one_turn(&event_loop);
            let accepted = match task.result().unwrap() {
                Ok(accepted) => accepted,
                Err(error) => {
                    assert!(cancel_first && error.cancelled().is_some());
                    event_loop.run_until_complete(listener.accept()).unwrap()
                }
            };
            let (stream, address) = accepted.unwrap();
            assert_eq!(address, client.local_addr().unwrap());
            drop((stream, client));
        }
    });
}
