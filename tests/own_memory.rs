//! A process of its own, because it counts every byte that the process allocates; one test, for the same reason.

#![allow(unsafe_code)]

mod own {
    pub(crate) mod live_bytes;
}

use std::pin::Pin;
use std::sync::atomic::Ordering;
use std::task::Poll;
use std::time::Duration;

use callsoon::net::UdpSocket;
use callsoon::{Clock, EventLoop, ReturnWhen, sleep, wait};

use own::live_bytes::{LIVE, MOST};

fn live() -> usize {
    LIVE.load(Ordering::Relaxed)
}

fn virtual_loop() -> EventLoop {
    EventLoop::builder().clock(Clock::Virtual).build().unwrap()
}

/// K1: a loop that ends with everything pending gives back every byte.
fn full_loops_leave_nothing() {
    let fill_and_drop = || {
        let event_loop = virtual_loop();
        for n in 0..10_000 {
            let text = format!("captured {n}");
            event_loop.call_soon(move || drop(text));
            event_loop.call_later(Duration::from_nanos(1 << (n % 64)), || ());
            event_loop
                .create_task(sleep(Duration::from_secs(n)))
                .detach();
            let future = event_loop.create_future::<u32>();
            event_loop
                .create_task(async move { future.clone().await })
                .detach();
            let text = format!("posted {n}");
            event_loop
                .remote()
                .call_soon_threadsafe(move || drop(text))
                .unwrap();
            if n == 5_000 {
                event_loop.turn(Some(Duration::ZERO)).unwrap();
            }
        }
    };
    // What is kept for ever, the registry's inboxes, has been made once the ids come round: after 64 loops.
    for _ in 0..65 {
        drop(virtual_loop());
    }
    fill_and_drop();
    let base = live();
    for _ in 0..3 {
        fill_and_drop();
        assert_eq!(live(), base);
    }
}

/// C4: cancelled timers leave at once, not when they would have been due.
fn cancelled_timers_leave_at_once() {
    let event_loop = virtual_loop();
    let mut after_first = None;
    for round in 0..20_u64 {
        let handles: Vec<_> = (0..50_000)
            .map(|n| event_loop.call_later(Duration::from_micros(1 + n * (round + 1)), || ()))
            .collect();
        assert_eq!(event_loop.metrics().timers, 50_000);
        for handle in &handles {
            handle.cancel();
        }
        drop(handles);
        assert_eq!(event_loop.metrics().timers, 0);
        event_loop.turn(Some(Duration::ZERO)).unwrap();
        // The first round's room is kept for the next ones, and no more is ever needed.
        let base = *after_first.get_or_insert_with(live);
        assert!(
            live() <= base,
            "{} bytes more in round {round}",
            live() - base
        );
    }
    // One at a time, a million armed and cancelled take no more than one.
    let base = live();
    for n in 0..1_000_000 {
        event_loop
            .call_later(Duration::from_nanos(n), || ())
            .cancel();
    }
    assert_eq!(live(), base);
}

/// P2: firing takes no memory either, however far the clock gets.
fn a_century_of_timers_leaves_nothing() {
    let event_loop = virtual_loop();
    let start = event_loop.time();
    let hundred_years = start + Duration::from_secs(100 * 365 * 86_400);
    for n in 1..=100 {
        // Sleepers of a hundred different periods, from 9 to 900 hours, that seldom meet.
        let period = Duration::from_secs(n * (9 * 3600 + n));
        let handle = event_loop.handle();
        let sleeping = async move {
            while handle.time() < hundred_years {
                sleep(period).await;
            }
        };
        event_loop.create_task(sleeping).detach();
    }
    let sleep_on = |until| {
        event_loop
            .run_until_complete(callsoon::sleep_until(until))
            .unwrap()
    };
    let first_year = start + Duration::from_secs(365 * 86_400);
    sleep_on(first_year);
    let base = live();
    sleep_on(hundred_years);
    assert!(event_loop.metrics().turns > 300_000);
    let grown = live().saturating_sub(base);
    assert!(grown < 16 * 1024, "{grown} bytes over 99 years");
}

/// What a timer costs that nobody awaits, as its documentation says, and what a sleep costs that was dropped.
fn a_forgotten_timer_costs_64_bytes_and_a_dropped_sleep_nothing() {
    // So many that the room for them, which doubles as it grows, is full.
    const TIMERS: usize = 65_536;
    let event_loop = virtual_loop();
    event_loop.turn(Some(Duration::ZERO)).unwrap();
    let base = live();
    for _ in 0..TIMERS {
        drop(event_loop.call_later(Duration::from_secs(9), || ()));
    }
    assert_eq!((live() - base) / TIMERS, 64);
    event_loop
        .run_until_complete(async {
            let before = live();
            for _ in 0..TIMERS {
                drop(sleep(Duration::from_secs(9)));
            }
            assert_eq!((live(), size_of::<callsoon::Sleep>()), (before, 32));
        })
        .unwrap();
}

/// A burst of timers is given back before the loop sleeps for long.
fn a_million_timers_that_have_fired_are_given_back() {
    const TIMERS: u64 = 1_000_000;
    let event_loop = virtual_loop();
    let nap = || {
        event_loop
            .run_until_complete(sleep(Duration::from_millis(1)))
            .unwrap()
    };
    nap();
    let base = live();
    for _ in 0..2 {
        let burst = async {
            let all = (0..TIMERS).map(|n| sleep(Duration::from_micros(1 + n * 7 % 1000)));
            let mut all: Vec<_> = all.collect();
            std::future::poll_fn(|context| {
                for one in &mut all {
                    assert!(Pin::new(one).poll(context).is_pending());
                }
                Poll::Ready(())
            })
            .await;
            assert!(live() - base >= (64 + 32) * TIMERS as usize);
            for one in all {
                one.await;
            }
        };
        event_loop.run_until_complete(burst).unwrap();
        // The first one's own timer is in a place of the burst.
        nap();
        nap();
        let kept = live().saturating_sub(base);
        assert!(kept <= 300 * 1024, "{kept} bytes");
    }
}

/// P2: a task that is waited for again and again keeps nothing of the waits that are over.
fn waits_leave_nothing_with_the_tasks_that_they_waited_for() {
    let event_loop = virtual_loop();
    let mut tasks = vec![event_loop.create_task(std::future::pending::<()>())];
    let mut wait_often = |times| {
        let waiting = async {
            for _ in 0..times {
                let limit = Some(Duration::from_secs(1));
                wait(&mut tasks, ReturnWhen::FirstCompleted, limit).await;
            }
        };
        event_loop.run_until_complete(waiting).unwrap();
    };
    wait_often(10);
    let base = live();
    wait_often(10_000);
    assert_eq!(live(), base);
}

/// A message to an address, and its receipt, cost no allocation: what a name needs is paid for by names only.
fn a_message_to_an_address_allocates_nothing() {
    let event_loop = EventLoop::new().unwrap();
    let traffic = async {
        let socket = UdpSocket::bind("127.0.0.1:0").await?;
        let address = socket.local_addr()?;
        let mut before = live();
        for round in 0..200 {
            // By now the loop's own buffers have grown to what they need.
            if round == 100 {
                before = live();
                MOST.store(before, Ordering::Relaxed);
            }
            socket.send_to(b"word", address).await?;
            socket.send_to(b"word", &address).await?;
            socket.recv_from(&mut [0; 8]).await?;
            socket.recv_from(&mut [0; 8]).await?;
        }
        assert_eq!((live(), MOST.load(Ordering::Relaxed)), (before, before));
        Ok::<(), std::io::Error>(())
    };
    event_loop.run_until_complete(traffic).unwrap().unwrap();
}

#[test]
fn k1_c4_p2_every_byte_comes_back() {
    full_loops_leave_nothing();
    cancelled_timers_leave_at_once();
    a_century_of_timers_leaves_nothing();
    a_forgotten_timer_costs_64_bytes_and_a_dropped_sleep_nothing();
    a_million_timers_that_have_fired_are_given_back();
    waits_leave_nothing_with_the_tasks_that_they_waited_for();
    a_message_to_an_address_allocates_nothing();
}
