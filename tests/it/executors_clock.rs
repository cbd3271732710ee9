//! Jobs on other threads and a virtual clock.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::{Arc, Barrier, mpsc};

use callsoon::{create_task, get_running_loop, run_in_executor, sleep, to_thread};

use crate::executors::{HOUR, SECOND, end_default};
use crate::support::{
    Trace, audited, on_virtual_time, thread_id, virtual_loop, wait_until_asleep, watched,
};

#[test]
fn a_virtual_clock_does_not_jump_while_a_job_is_under_way() {
    on_virtual_time(|_, event_loop| {
        let (start, sleeper) = (event_loop.time(), thread_id());
        event_loop
            .run_until_complete(async move {
                let handle = get_running_loop();
                let tick = create_task(sleep(HOUR));
                // So long that a clock which may jump would have jumped.
                let job = to_thread(move || wait_until_asleep(sleeper));
                job.await.unwrap();
                assert_eq!(handle.time(), start, "time passed during the job");
                tick.await.unwrap();
                assert_eq!(handle.time(), start + HOUR);
            })
            .unwrap();
        end_default(&event_loop);
        assert_eq!(event_loop.time(), start + HOUR);
    });
}

#[test]
fn a_virtual_clock_goes_on_when_a_job_is_over_although_nobody_has_read_it() {
    on_virtual_time(|_, event_loop| {
        event_loop
            .run_until_complete(async {
                let job = run_in_executor(None, || 7);
                sleep(HOUR).await;
                assert!(job.done());
                assert_eq!(job.await.unwrap(), 7);
            })
            .unwrap();
        end_default(&event_loop);
    });
}

#[test]
fn a_virtual_clock_goes_on_when_a_job_is_given_up() {
    on_virtual_time(|_, event_loop| {
        let (release, held) = mpsc::channel::<()>();
        event_loop
            .run_until_complete(async move {
                let begun = Arc::new(Barrier::new(2));
                let begins = Arc::clone(&begun);
                let job = run_in_executor(None, move || {
                    begins.wait();
                    let _ = held.recv();
                });
                begun.wait();
                drop(job);
                sleep(HOUR).await;
            })
            .unwrap();
        drop(release);
        end_default(&event_loop);
    });
}

#[test]
fn virtual_time_is_the_same_in_every_run_although_jobs_take_what_they_take() {
    audited(watched(|| {
        for round in 0..50 {
            let event_loop = virtual_loop(&Trace::new());
            let start = event_loop.time();
            let ticks = Rc::new(Cell::new(0));
            let counted = Rc::clone(&ticks);
            event_loop
                .run_until_complete(async move {
                    let ticker = create_task(async move {
                        loop {
                            sleep(SECOND).await;
                            counted.set(counted.get() + 1);
                        }
                    });
                    for job in 0..3 {
                        to_thread(move || {
                            for _ in 0..(round * job * 100) {
                                std::hint::spin_loop();
                            }
                        })
                        .await
                        .unwrap();
                        sleep(10 * SECOND + SECOND / 2).await;
                    }
                    ticker.cancel();
                })
                .unwrap();
            assert_eq!(event_loop.time() - start, 31 * SECOND + SECOND / 2);
            assert_eq!(ticks.get(), 31);
            end_default(&event_loop);
        }
    }));
}
