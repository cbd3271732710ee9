//! Fault F3: one source is always ready, and all others have to be served all the same.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use callsoon::{create_task, get_running_loop, sleep, yield_now};

use crate::support::{complete, in_a_loop, on_real_time, own_cpu_time, stream_pair};

#[test]
fn f3_timers_and_sockets_are_served_beside_a_chain_of_callbacks_that_never_ends() {
    fn chain(runs: Rc<Cell<u64>>) {
        runs.set(runs.get() + 1);
        get_running_loop().call_soon(move || chain(runs));
    }
    on_real_time(|_, event_loop| {
        let runs = Rc::new(Cell::new(0));
        let first = Rc::clone(&runs);
        event_loop.call_soon(move || chain(first));
        complete(&event_loop, served_beside_a_flood());
        assert!(runs.get() > 0);
    });
}

#[test]
fn f3_timers_and_sockets_are_served_beside_a_task_that_is_always_ready() {
    on_real_time(|_, event_loop| {
        event_loop.create_task(async {
            loop {
                yield_now().await;
            }
        });
        complete(&event_loop, served_beside_a_flood());
    });
}

#[test]
fn f3_timers_and_sockets_are_served_beside_a_socket_that_is_always_ready() {
    in_a_loop(async || {
        let (near, far) = stream_pair();
        let writer = create_task(async move { while far.write(&[0; 64]).await.is_ok() {} });
        let reader =
            create_task(async move { while matches!(near.read(&mut [0]).await, Ok(1)) {} });
        served_beside_a_flood().await;
        writer.cancel();
        reader.cancel();
    });
}

#[test]
fn f3_timers_and_sockets_are_served_beside_threads_that_flood_the_inbox() {
    on_real_time(|_, event_loop| {
        let ended = Arc::new(AtomicBool::new(false));
        let threads: Vec<_> = (0..4)
            .map(|_| {
                let (remote, ended) = (event_loop.remote(), Arc::clone(&ended));
                thread::spawn(move || {
                    while !ended.load(Ordering::SeqCst) {
                        // A flood, but one that the loop can drink: else memory would be the first to end.
                        let (sent, served) = mpsc::channel::<()>();
                        for _ in 0..1000 {
                            let sent = sent.clone();
                            remote.call_soon_threadsafe(move || drop(sent)).unwrap();
                        }
                        drop(sent);
                        assert!(served.recv().is_err());
                    }
                })
            })
            .collect();
        complete(&event_loop, served_beside_a_flood());
        ended.store(true, Ordering::SeqCst);
        // What they wait for has to be served still.
        complete(&event_loop, async {
            while threads.iter().any(|thread| !thread.is_finished()) {
                sleep(Duration::from_millis(1)).await;
            }
        });
        for thread in threads {
            thread.join().unwrap();
        }
    });
}

/// Echoes a hundred messages and sleeps a hundred times. The sleeps come to an end, none is early, and the typical one
/// is on time; the tail belongs to the machine, not to the loop. So does all time that the loop's thread does not get:
/// a loop that is never idle is as late as it has worked longer than the sleep. Where turns are long, since the machine
/// is slow, a few of them are on time.
async fn served_beside_a_flood() {
    let (near, far) = stream_pair();
    let echo = create_task(async move {
        let mut buffer = [0; 16];
        while let Ok(count @ 1..) = far.read(&mut buffer).await {
            far.write_all(&buffer[..count]).await.unwrap();
        }
    });
    let mut late = Vec::new();
    for round in 0..100_u32 {
        let (start, worked) = (Instant::now(), own_cpu_time());
        let turns = get_running_loop().metrics().turns;
        sleep(Duration::from_millis(1)).await;
        let took = start.elapsed();
        assert!(took >= Duration::from_millis(1), "early: {took:?}");
        let worked = own_cpu_time() - worked;
        let turns = (get_running_loop().metrics().turns - turns).max(1);
        let few_turns = 4 * worked / turns as u32;
        late.push(worked.saturating_sub(Duration::from_millis(1).max(few_turns)));
        near.write_all(&round.to_be_bytes()).await.unwrap();
        let mut answer = [0; 4];
        near.read_exact(&mut answer).await.unwrap();
        assert_eq!(u32::from_be_bytes(answer), round);
    }
    drop(near);
    echo.await.unwrap();
    late.sort();
    assert!(
        late[50] <= Duration::from_millis(10),
        "typically {:?} late",
        late[50]
    );
}
