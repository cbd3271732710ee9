//! Happy eyeballs: the race on the virtual clock with attempts whose end the test decides, and with real sockets.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::rc::Rc;
use std::task::{Context, Waker};
use std::time::Duration;

use callsoon::net::{ConnectError, ConnectOptions, TcpListener, TcpStream};
use callsoon::net::{interleave, staggered_race};
use callsoon::{EventLoop, catch_cancelled, create_task, get_running_loop, sleep};

use crate::support::{
    DropProbe, Trace, counted_fds, in_a_loop, loopback, on_virtual_time, os_error, refusing, until,
};

/// The delay of all races here.
const DELAY: Duration = Duration::from_millis(250);

fn ms(count: u64) -> Duration {
    Duration::from_millis(count)
}

/// An attempt that ends so after so many milliseconds, and says what happens to it and when.
async fn attempt(
    trace: Trace,
    name: &'static str,
    takes: u64,
    ends: Result<&'static str, &'static str>,
) -> Result<&'static str, &'static str> {
    let start = get_running_loop().time();
    trace.push(format!("{name} starts"));
    let _dropped = DropProbe::new(&trace, name);
    sleep(ms(takes)).await;
    let took = get_running_loop().time() - start;
    trace.push(format!("{name} ends after {took:?}"));
    ends
}

type Ends = Result<&'static str, &'static str>;

/// A race of attempts on the virtual clock: how it ended, and after how long.
fn race(
    event_loop: &EventLoop,
    trace: &Trace,
    delay: Option<Duration>,
    attempts: &[(&'static str, u64, Ends)],
) -> (Result<(usize, &'static str), Vec<&'static str>>, Duration) {
    let start = event_loop.time();
    let attempts: Vec<_> = attempts
        .iter()
        .map(|&(name, takes, ends)| attempt(trace.clone(), name, takes, ends))
        .collect();
    let ended = event_loop
        .run_until_complete(staggered_race(attempts, delay))
        .unwrap();
    (ended, event_loop.time() - start)
}

#[test]
fn the_first_attempt_wins_alone_if_it_is_quick() {
    on_virtual_time(|trace, event_loop| {
        let attempts = [("a", 100, Ok("A")), ("b", 1, Ok("B"))];
        let ended = race(&event_loop, &trace, Some(DELAY), &attempts);
        assert_eq!(ended, (Ok((0, "A")), ms(100)));
        trace.expect(["a starts", "a ends after 100ms", "drop a"]);
    });
}

#[test]
fn the_next_one_starts_after_the_delay_and_the_loser_is_dropped_before_the_race_returns() {
    on_virtual_time(|trace, event_loop| {
        let attempts = [("a", 1000, Ok("A")), ("b", 100, Ok("B")), ("c", 1, Ok("C"))];
        let ended = race(&event_loop, &trace, Some(DELAY), &attempts);
        assert_eq!(ended, (Ok((1, "B")), ms(350)));
        trace.expect([
            "a starts",
            // After 250 ms.
            "b starts",
            "b ends after 100ms",
            "drop b",
            "drop a",
        ]);
    });
}

#[test]
fn the_next_one_starts_at_once_when_the_newest_fails_and_the_delay_begins_anew() {
    on_virtual_time(|trace, event_loop| {
        let attempts = [
            ("a", 10, Err("no a")),
            ("b", 1000, Ok("B")),
            ("c", 900, Ok("C")),
        ];
        let ended = race(&event_loop, &trace, Some(DELAY), &attempts);
        // a fails at 10, b starts then, c at 260; b ends at 1010, before c at 1160.
        assert_eq!(ended, (Ok((1, "B")), ms(1010)));
        trace.expect([
            "a starts",
            "a ends after 10ms",
            "drop a",
            "b starts",
            "c starts",
            "b ends after 1s",
            "drop b",
            "drop c",
        ]);
    });
}

#[test]
fn an_older_attempt_that_fails_starts_no_other() {
    on_virtual_time(|trace, event_loop| {
        let attempts = [
            ("a", 300, Err("no a")),
            ("b", 1000, Ok("B")),
            ("c", 100, Ok("C")),
        ];
        let ended = race(&event_loop, &trace, Some(DELAY), &attempts);
        // b starts at 250, a fails at 300, c starts at 500.
        assert_eq!(ended, (Ok((2, "C")), ms(600)));
    });
}

#[test]
fn without_a_delay_only_a_failure_starts_the_next_one() {
    on_virtual_time(|trace, event_loop| {
        let attempts = [("a", 60_000, Err("no a")), ("b", 5, Ok("B"))];
        let ended = race(&event_loop, &trace, None, &attempts);
        assert_eq!(ended, (Ok((1, "B")), ms(60_005)));
    });
}

#[test]
fn all_errors_come_back_in_the_order_of_the_attempts() {
    on_virtual_time(|trace, event_loop| {
        let attempts = [
            ("a", 2000, Err("no a")),
            ("b", 10, Err("no b")),
            ("c", 10, Err("no c")),
        ];
        let ended = race(&event_loop, &trace, Some(DELAY), &attempts);
        assert_eq!(ended, (Err(vec!["no a", "no b", "no c"]), ms(2000)));
        assert_eq!(race(&event_loop, &trace, Some(DELAY), &[]).0, Err(vec![]));
    });
}

#[test]
fn of_two_who_succeed_at_once_the_earlier_wins() {
    on_virtual_time(|trace, event_loop| {
        let attempts = [("a", 350, Ok("A")), ("b", 100, Ok("B"))];
        let ended = race(&event_loop, &trace, Some(DELAY), &attempts);
        assert_eq!(ended, (Ok((0, "A")), ms(350)));
    });
}

#[test]
fn a_dropped_race_drops_all_attempts() {
    on_virtual_time(|trace, event_loop| {
        let t = trace.clone();
        event_loop
            .run_until_complete(async move {
                let attempts = [
                    attempt(t.clone(), "a", 9000, Ok("A")),
                    attempt(t.clone(), "b", 9000, Ok("B")),
                ];
                let task = create_task(async move { staggered_race(attempts, Some(DELAY)).await });
                sleep(ms(300)).await;
                task.cancel();
                assert!(task.await.is_err());
            })
            .unwrap();
        trace.expect(["a starts", "b starts", "drop a", "drop b"]);
    });
}

#[test]
fn attempts_are_made_when_they_start_and_not_before() {
    on_virtual_time(|_, event_loop| {
        let made = Rc::new(Cell::new(0));
        let count = Rc::clone(&made);
        let attempts = (0..1000).map(move |_| {
            count.set(count.get() + 1);
            std::future::ready(Ok::<_, ()>("won"))
        });
        let ended = event_loop.run_until_complete(staggered_race(attempts, None));
        assert_eq!(ended.unwrap(), Ok((0, "won")));
        assert_eq!(made.get(), 1);
    });
}

fn addresses<const N: usize>(texts: [&str; N]) -> Vec<SocketAddr> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

#[test]
fn families_take_turns() {
    let given = ["[::1]:1", "[::2]:1", "[::3]:1", "1.1.1.1:1", "2.2.2.2:1"];
    let by = |first| interleave(addresses(given), first);
    assert_eq!(by(0), addresses(given));
    let turns = ["[::1]:1", "1.1.1.1:1", "[::2]:1", "2.2.2.2:1", "[::3]:1"];
    assert_eq!(by(1), addresses(turns));
    let turns = ["[::1]:1", "[::2]:1", "1.1.1.1:1", "[::3]:1", "2.2.2.2:1"];
    assert_eq!(by(2), addresses(turns));
    assert_eq!(by(100), addresses(given));
    // Whichever family the resolver prefers is the first.
    let four_first = interleave(addresses(["1.1.1.1:1", "2.2.2.2:1", "[::1]:1"]), 1);
    assert_eq!(four_first, addresses(["1.1.1.1:1", "[::1]:1", "2.2.2.2:1"]));
    assert_eq!(interleave(vec![], 1), vec![]);
}

#[test]
fn a_connection_goes_to_the_first_address_that_answers_and_the_others_are_closed() {
    in_a_loop(async || {
        let listener = TcpListener::bind(loopback()).await.unwrap();
        let good = listener.local_addr().unwrap();
        let (_nobody, gone) = refusing();
        let open = counted_fds();
        let client = TcpStream::connect(vec![gone, good]).await.unwrap();
        assert_eq!(client.peer_addr().unwrap(), good);
        assert_eq!(counted_fds(), open + 1);
        drop(client);
        assert_eq!(get_running_loop().metrics().sources, 1);
    });
}

#[test]
fn one_error_is_itself_and_several_come_together() {
    in_a_loop(async || {
        let nobody = [refusing(), refusing()];
        let gone = nobody.each_ref().map(|(_, address)| *address);
        let open = counted_fds();
        // All of one text: one of them.
        let error = TcpStream::connect(&gone[..]).await.unwrap_err();
        assert_eq!(os_error(&error), Some(libc::ECONNREFUSED));
        // A broadcast address refuses otherwise.
        let targets = vec![gone[0], "255.255.255.255:9".parse().unwrap()];
        let error = TcpStream::connect(targets.clone()).await.unwrap_err();
        let inner = error.get_ref().unwrap();
        let all: &ConnectError = inner.downcast_ref().unwrap();
        let order: Vec<_> = all.attempts().iter().map(|(to, _)| *to).collect();
        assert_eq!(order, targets);
        assert!(error.to_string().contains(&gone[0].to_string()));
        let error = TcpStream::connect(Vec::new()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
        assert_eq!(counted_fds(), open);
    });
}

#[test]
fn connecting_may_begin_at_an_address_of_one_s_own() {
    in_a_loop(async || {
        let listener = TcpListener::bind(loopback()).await.unwrap();
        let address = listener.local_addr().unwrap();
        let own = "127.0.0.9:0".parse().unwrap();
        let options = ConnectOptions::new()
            .local_addr(own)
            .nodelay(true)
            .keepalive(Some(Duration::from_secs(30)));
        let client = options.connect(address).await.unwrap();
        let (_, from) = listener.accept().await.unwrap();
        assert_eq!(from.ip(), own.ip());
        assert!(client.nodelay().unwrap() && client.keepalive().unwrap());
        client.set_keepalive(None).unwrap();
        assert!(!client.keepalive().unwrap());
        // Of a host with both families only the fitting one is tried.
        let both = vec![
            (std::net::Ipv6Addr::LOCALHOST, address.port()).into(),
            address,
        ];
        let client = options.connect(both).await.unwrap();
        assert_eq!(client.peer_addr().unwrap(), address);
        let other: SocketAddr = (std::net::Ipv6Addr::LOCALHOST, 1).into();
        let error = options.connect(other).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
    });
}

#[test]
fn e2_a_connection_attempt_that_is_dropped_closes_all_its_sockets() {
    in_a_loop(async || {
        // Addresses for documentation: no host answers, at most a router refuses.
        let silent = addresses(["192.0.2.1:9", "192.0.2.2:9", "192.0.2.3:9"]);
        let options = ConnectOptions::new().happy_eyeballs_delay(Some(ms(1)));
        let open = counted_fds();
        let task = create_task(async move { options.connect(silent).await });
        // All three are under way, or it is over because there is no way out of this machine.
        let sources = || get_running_loop().metrics().sources;
        until(|| sources() == 3 || task.done()).await;
        task.cancel();
        let _ = task.await;
        assert_eq!(counted_fds(), open);
        assert_eq!(get_running_loop().metrics().sources, 0);
    });
}

/// An attempt that never succeeds and cleans up for so many milliseconds.
async fn tidy_attempt(trace: Trace, name: &'static str, takes: u64) -> Ends {
    let cancelled = catch_cancelled(std::future::pending::<()>())
        .await
        .unwrap_err();
    trace.push(format!(
        "{name} cleans up: {}",
        cancelled.message().unwrap()
    ));
    sleep(ms(takes)).await;
    trace.push(format!("{name} is clean"));
    cancelled.resume().await
}

type Attempt = std::pin::Pin<Box<dyn Future<Output = Ends>>>;

#[test]
fn losers_have_cleaned_up_when_the_winner_is_given() {
    on_virtual_time(|trace, event_loop| {
        let start = event_loop.time();
        let attempts: [Attempt; 5] = [
            Box::pin(tidy_attempt(trace.clone(), "a", 30)),
            Box::pin(tidy_attempt(trace.clone(), "b", 20)),
            Box::pin(attempt(trace.clone(), "c", 500, Ok("C"))),
            Box::pin(attempt(trace.clone(), "d", 9_000, Err("no d"))),
            Box::pin(attempt(trace.clone(), "e", 9_000, Ok("E"))),
        ];
        let ended = event_loop.run_until_complete(staggered_race(attempts, Some(DELAY)));
        assert_eq!(ended.unwrap(), Ok((2, "C")));
        assert_eq!(event_loop.time() - start, ms(1030));
        trace.expect([
            // After 500 and 750 ms; e would be next, in the turn in which c ends.
            "c starts",
            "d starts",
            "c ends after 500ms",
            "drop c",
            "a cleans up: another attempt of its race has won",
            "b cleans up: another attempt of its race has won",
            "drop d",
            "b is clean",
            "a is clean",
        ]);
        assert_eq!(event_loop.metrics().scopes, 0);
    });
}

#[test]
fn a_loser_that_goes_on_is_waited_for_and_what_it_gives_is_dropped() {
    on_virtual_time(|trace, event_loop| {
        let start = event_loop.time();
        let said = trace.clone();
        let stubborn = async move {
            drop(catch_cancelled(std::future::pending::<()>()).await);
            said.push("goes on".to_owned());
            // Not asked again.
            sleep(ms(40)).await;
            Ok("late")
        };
        let attempts: [Attempt; 2] = [
            Box::pin(stubborn),
            Box::pin(attempt(trace.clone(), "b", 10, Ok("B"))),
        ];
        let ended = event_loop.run_until_complete(staggered_race(attempts, Some(DELAY)));
        assert_eq!(ended.unwrap(), Ok((1, "B")));
        assert_eq!(event_loop.time() - start, ms(300));
        trace.expect(["b starts", "b ends after 10ms", "drop b", "goes on"]);
    });
}

#[test]
fn a_race_that_is_cancelled_waits_for_the_clean_up_of_its_attempts() {
    on_virtual_time(|trace, event_loop| {
        let start = event_loop.time();
        let attempts: [Attempt; 2] = [
            Box::pin(tidy_attempt(trace.clone(), "a", 30)),
            Box::pin(tidy_attempt(trace.clone(), "b", 20)),
        ];
        let limited = callsoon::timeout(ms(400), staggered_race(attempts, Some(DELAY)));
        let ended = event_loop.run_until_complete(async {
            let task = create_task(limited);
            sleep(ms(300)).await;
            task.cancel_with("from outside");
            task.await.unwrap_err().to_string()
        });
        assert_eq!(ended.unwrap(), "the task was cancelled: from outside");
        assert_eq!(event_loop.time() - start, ms(330));
        trace.expect([
            "a cleans up: from outside",
            "b cleans up: from outside",
            "b is clean",
            "a is clean",
        ]);
        assert_eq!(event_loop.metrics().scopes, 0);
    });
}

#[test]
fn outside_any_task_losers_are_dropped_at_once() {
    on_virtual_time(|trace, event_loop| {
        let attempts: [Attempt; 2] = [
            Box::pin(tidy_attempt(trace.clone(), "a", 30)),
            Box::pin(attempt(trace.clone(), "b", 0, Ok("B"))),
        ];
        let race = Rc::new(RefCell::new(Box::pin(staggered_race(
            attempts,
            Some(DELAY),
        ))));
        // In callbacks, with a waker that wakes no task.
        for at in [0, 251, 252] {
            let (race, trace) = (Rc::clone(&race), trace.clone());
            event_loop.call_later(ms(at), move || {
                let mut context = Context::from_waker(Waker::noop());
                let polled = race.borrow_mut().as_mut().poll(&mut context);
                trace.push(format!("{polled:?}"));
            });
        }
        event_loop.run_until_complete(sleep(ms(300))).unwrap();
        trace.expect([
            "Pending",
            "b starts",
            "Pending",
            "b ends after 1ms",
            "drop b",
            r#"Ready(Ok((1, "B")))"#,
        ]);
    });
}
