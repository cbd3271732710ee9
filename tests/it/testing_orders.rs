//! Shuffled orders: what is permuted, what keeps its order, and how a run is repeated.

use std::collections::BTreeSet;
use std::future::Future;
use std::time::Duration;

use callsoon::sync::Lock;
use callsoon::testing::{self, Trace};
use callsoon::{EventLoop, create_task, gather, get_running_loop, sleep};

use crate::support::{audited, watched};

const SEEDS: std::ops::Range<u64> = 0..60;

/// The traces that a test gives with these seeds.
fn traces<F: Future<Output = ()>>(test: impl Fn(Trace) -> F) -> BTreeSet<Vec<String>> {
    let run = |seed| {
        let trace = Trace::new();
        testing::builder().shuffle(seed).run(test(trace.clone()));
        trace.take()
    };
    let traces: Vec<_> = SEEDS.map(run).collect();
    assert_eq!(
        traces,
        SEEDS.map(run).collect::<Vec<_>>(),
        "a seed repeats its order"
    );
    traces.into_iter().collect()
}

/// Three tasks that do something and note their numbers.
async fn three<F: Future<Output = ()> + 'static>(trace: Trace, before: impl Fn(u32) -> F) {
    let noting = |n| {
        let (trace, before) = (trace.clone(), before(n));
        async move {
            before.await;
            trace.push(n);
        }
    };
    gather([noting(0), noting(1), noting(2)]).await.unwrap();
}

#[test]
fn three_tasks_begin_in_each_of_six_orders() {
    audited(watched(|| {
        assert_eq!(traces(|trace| three(trace, |_| async {})).len(), 6);
    }));
}

#[test]
fn three_tasks_whose_timers_are_due_at_once_continue_in_each_of_six_orders() {
    audited(watched(|| {
        let second = |_| sleep(Duration::from_secs(1));
        assert_eq!(traces(|trace| three(trace, second)).len(), 6);
    }));
}

#[test]
fn tasks_whose_timers_are_due_one_after_the_other_keep_their_order() {
    audited(watched(|| {
        let apart = |n| sleep(Duration::from_nanos(u64::from(n) + 1));
        let traces = traces(|trace| three(trace, apart));
        assert_eq!(
            traces,
            BTreeSet::from([["0", "1", "2"].map(String::from).to_vec()])
        );
    }));
}

#[test]
fn callbacks_and_timers_and_posts_keep_their_order() {
    audited(watched(|| {
        let traces = traces(async |trace: Trace| {
            let handle = get_running_loop();
            let remote = handle.remote();
            let second = Duration::from_secs(1);
            for n in 0..3 {
                let task = trace.clone();
                create_task(async move { drop(task) }).detach();
                handle.call_soon(trace.note(format!("callback {n}")));
            }
            callsoon::yield_now().await;
            for n in 0..3 {
                handle.call_later(second, trace.note(format!("timer {n}")));
            }
            sleep(2 * second).await;
            for n in 0..3 {
                remote
                    .call_soon_threadsafe(trace.note(format!("post {n}")))
                    .unwrap();
            }
            sleep(second).await;
        });
        let kinds = ["callback", "timer", "post"];
        let expected = kinds.map(|kind| [0, 1, 2].map(|n| format!("{kind} {n}")));
        assert_eq!(traces, BTreeSet::from([expected.concat()]));
    }));
}

#[test]
fn a_lock_is_given_to_its_waiters_in_the_order_in_which_they_came() {
    audited(watched(|| {
        let traces = traces(async |trace: Trace| {
            let lock = std::rc::Rc::new(Lock::new(()));
            let held = lock.acquire().await;
            let mut tasks = Vec::new();
            for n in 0..3 {
                let (trace, lock) = (trace.clone(), lock.clone());
                tasks.push(create_task(async move {
                    trace.push(format!("{n} waits"));
                    let _held = lock.acquire().await;
                    trace.push(format!("{n} has it"));
                }));
            }
            testing::settle().await;
            drop(held);
            gather(tasks).await.unwrap();
        });
        assert_eq!(traces.len(), 6);
        for trace in traces {
            let number = |line: &String| line.split(' ').next().unwrap().to_owned();
            let waits: Vec<_> = trace[..3].iter().map(number).collect();
            let has: Vec<_> = trace[3..].iter().map(number).collect();
            assert_eq!(waits, has);
        }
    }));
}

#[test]
fn two_sockets_that_are_ready_at_once_are_heard_in_both_orders() {
    audited(watched(|| {
        let traces = traces(async |trace: Trace| {
            let handle = get_running_loop();
            let pairs = [(); 2].map(|()| std::os::unix::net::UnixStream::pair().unwrap());
            let readers = [0, 1].map(|n| {
                let (trace, near) = (trace.clone(), pairs[n].0.try_clone().unwrap());
                handle.add_reader(&pairs[n].0, move || {
                    trace.push(n);
                    let _ = std::io::Read::read(&mut &near, &mut [0; 8]);
                })
            });
            for reader in readers {
                reader.unwrap();
            }
            for (_, far) in &pairs {
                std::io::Write::write_all(&mut &*far, b"x").unwrap();
            }
            while handle.metrics().event_polls < 4 {
                callsoon::yield_now().await;
            }
            for (near, _) in &pairs {
                handle.remove_reader(near);
            }
        });
        let orders = [["0", "1"], ["1", "0"]].map(|order| order.map(String::from).to_vec());
        assert_eq!(traces, BTreeSet::from(orders));
    }));
}

#[test]
fn a_guest_loop_is_shuffled_too() {
    audited(watched(|| {
        let order = |seed| {
            let trace = Trace::new();
            let event_loop = EventLoop::builder().shuffle(seed).build().unwrap();
            for n in 0..3 {
                let trace = trace.clone();
                event_loop
                    .create_task(async move { trace.push(n) })
                    .detach();
            }
            event_loop.turn(Some(Duration::ZERO)).unwrap();
            trace.take()
        };
        assert_eq!(SEEDS.map(order).collect::<BTreeSet<_>>().len(), 6);
    }));
}

#[test]
fn a_test_is_run_with_every_seed() {
    audited(watched(|| {
        let mut runs = 0;
        testing::shuffle_all(SEEDS, || {
            runs += 1;
            async {}
        });
        assert_eq!(runs, 60);
    }));
}

#[test]
fn a_server_of_streams_and_its_clients_work_in_every_order() {
    audited(watched(|| {
        testing::shuffle_all(0..12, || async {
            let server = callsoon::start_server(
                async |mut reader, writer| {
                    while let Ok(line) = reader.readline().await
                        && !line.is_empty()
                    {
                        writer.write(&line);
                        writer.drain().await.unwrap();
                    }
                },
                "127.0.0.1:0",
            );
            let server = server.await.unwrap();
            let address = server.local_addr().unwrap();
            let client = |n: usize| async move {
                let (mut reader, writer) = callsoon::open_connection(address).await.unwrap();
                for round in 0..20 {
                    let line = format!("{n} {round}\n");
                    writer.write(line.as_bytes());
                    assert_eq!(reader.readline().await.unwrap(), line.as_bytes());
                }
                writer.close();
                writer.wait_closed().await.unwrap();
            };
            gather((0..6).map(client)).await.unwrap();
            server.close();
            server.wait_closed().await;
        });
    }));
}
