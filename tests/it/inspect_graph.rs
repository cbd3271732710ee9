//! Who waits for what: each kind of wait gives the right edge, circles are found, and what is known without notes.

use std::cell::OnceCell;
use std::future::{Future, poll_fn};
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use callsoon::sync::{Barrier, Condition, Event, Lock, Semaphore};
use callsoon::{
    Clock, EventLoop, Queue, TaskRef, TaskState, WaitKind, capture_call_graph, create_task,
    current_task, format_call_graph, future_add_to_awaited_by, gather, get_running_loop, shield,
    sleep, task_builder, task_group, timeout, yield_now,
};

use crate::support::audit::alone;
use crate::support::audited;

/// Runs `scenario` on a virtual clock, in a loop that keeps notes or not.
fn inspected<F: Future<Output = ()>>(inspect: bool, scenario: impl FnOnce() -> F + Send + 'static) {
    audited(move || {
        let builder = EventLoop::builder().clock(Clock::Virtual).inspect(inspect);
        let event_loop = builder.build().unwrap();
        event_loop.run_until_complete(scenario()).unwrap();
    });
}

/// Replaces what differs between two runs: addresses, and the places in this file.
fn steady(text: &str) -> String {
    let mut steady = String::new();
    for line in text.lines() {
        let line = match line.split_once("created at ") {
            Some((before, _)) => format!("{before}created here"),
            None => line.to_owned(),
        };
        let words = line.split(' ').map(|word| match word.strip_prefix("0x") {
            Some(rest) => {
                let digits = rest.trim_start_matches(|c: char| c.is_ascii_hexdigit());
                format!("0x..{digits}")
            }
            None => word.to_owned(),
        });
        steady.push_str(&words.collect::<Vec<_>>().join(" "));
        steady.push('\n');
    }
    steady
}

/// Starts a task that never ends by itself, and returns the lines that say what it waits for.
async fn waits_of(future: impl Future + 'static) -> String {
    let task = task_builder().name("waiter").spawn(async move {
        future.await;
    });
    sleep(Duration::from_secs(1)).await;
    let infos = get_running_loop().task_infos();
    let info = infos.iter().find(|info| info.id == task.id()).unwrap();
    assert_eq!((info.state, info.more_waits), (TaskState::Pending, 0));
    let waits = info.waits.iter().map(ToString::to_string);
    let text = waits.collect::<Vec<_>>().join("; ");
    task.cancel();
    assert!(task.await.is_err());
    steady(&text).trim_end().to_owned()
}

#[test]
fn each_wait_of_a_primitive_is_named_with_its_kind_and_age() {
    inspected(true, || async {
        let lock = Rc::new(Lock::new(()));
        let held = lock.acquire().await;
        let other = lock.clone();
        let wait = waits_of(async move { drop(other.acquire().await) }).await;
        let holder = "held by \"Task-1\", for 1.000 s";
        assert_eq!(wait, format!("Lock.acquire 0x.. {holder}"));
        drop(held);

        let event = Event::new();
        let wait = waits_of(async move { event.wait().await }).await;
        assert_eq!(wait, "Event.wait 0x.., for 1.000 s");

        let condition = Condition::new();
        let wait = waits_of(async move {
            let guard = lock.acquire().await;
            drop(condition.wait(guard).await);
        });
        assert_eq!(wait.await, "Condition.wait 0x.., for 1.000 s");

        let semaphore = Semaphore::new(1);
        let wait = waits_of(async move { drop(semaphore.acquire_many(2).await) });
        assert_eq!(wait.await, "Semaphore.acquire 0x.., for 1.000 s");

        let barrier = Barrier::new(2);
        let wait = waits_of(async move { barrier.wait().await });
        assert_eq!(wait.await, "Barrier.wait 0x.., for 1.000 s");
    });
}

#[test]
fn each_wait_of_a_queue_is_named() {
    inspected(true, || async {
        let queue = Rc::new(Queue::<u8>::new(1));
        let one = queue.clone();
        let wait = waits_of(async move { one.get().await });
        assert_eq!(wait.await, "Queue.get 0x.., for 1.000 s");
        queue.put_nowait(1).unwrap();
        let one = queue.clone();
        let wait = waits_of(async move { one.put(2).await });
        assert_eq!(wait.await, "Queue.put 0x.., for 1.000 s");
        let wait = waits_of(async move { queue.join().await });
        assert_eq!(wait.await, "Queue.join 0x.., for 1.000 s");
    });
}

#[test]
fn sleeps_futures_and_timeouts_are_named() {
    inspected(true, || async {
        let wait = waits_of(sleep(Duration::from_secs(9)));
        assert_eq!(wait.await, "sleep, 8.000 s left, for 1.000 s");
        let never = std::future::pending::<()>();
        assert_eq!(waits_of(never).await, "");
        let future = get_running_loop().create_future::<()>();
        let wait = waits_of(timeout(Duration::from_secs(5), future)).await;
        let sleep = "sleep, 4.000 s left, for 1.000 s";
        assert_eq!(wait, format!("Future 0x.., for 1.000 s; {sleep}"));
    });
}

#[test]
fn sockets_and_descriptors_are_named_by_their_numbers() {
    audited(|| {
        let event_loop = EventLoop::builder().inspect(true).build().unwrap();
        event_loop
            .run_until_complete(async {
                use std::os::fd::AsRawFd as _;
                let listener = callsoon::net::TcpListener::bind("127.0.0.1:0")
                    .await
                    .unwrap();
                let fd = listener.as_raw_fd();
                let task = create_task(async move { listener.accept().await.map(drop) });
                yield_now().await;
                yield_now().await;
                let infos = get_running_loop().task_infos();
                let wait = &infos[1].waits[0];
                assert_eq!(
                    (wait.kind, wait.object),
                    (WaitKind::Readable, Some(fd as u64))
                );
                assert!(
                    wait.to_string()
                        .starts_with(&format!("readable fd={fd}, for 0."))
                );
                task.cancel();
                assert!(task.await.is_err());
            })
            .unwrap();
    });
}

#[test]
fn threads_processes_and_signals_are_named() {
    // The descriptor by which signals arrive is opened once in a process, so not by the audited part, nor beside another's.
    let others = alone();
    callsoon::run(async { drop(callsoon::signal(libc::SIGUSR2).unwrap()) }).unwrap();
    drop(others);
    audited(|| {
        let event_loop = EventLoop::builder().inspect(true).build().unwrap();
        event_loop
            .run_until_complete(async {
                let (end, wait) = std::sync::mpsc::channel::<()>();
                let job = create_task(async move {
                    let _ = callsoon::to_thread(move || wait.recv()).await;
                });
                let command = callsoon::create_subprocess_exec("sleep", ["60"]);
                let process = command.kill_on_drop(true).spawn().unwrap();
                let pid = process.pid();
                let child = create_task(async move { process.wait().await.map(drop) });
                let signal =
                    create_task(async { callsoon::signal(libc::SIGUSR2).unwrap().recv().await });
                for _ in 0..5 {
                    yield_now().await;
                }
                let infos = get_running_loop().task_infos();
                let wait = |n: usize| (infos[n].waits[0].kind, infos[n].waits.len());
                assert_eq!(wait(1), (WaitKind::Executor, 1));
                assert_eq!(wait(2), (WaitKind::Process, 1));
                assert_eq!(infos[2].waits[0].object, Some(u64::from(pid)));
                assert_eq!(wait(3), (WaitKind::Signal, 1));
                drop(end);
                job.await.unwrap();
                child.cancel();
                signal.cancel();
                assert!(child.await.is_err() && signal.await.is_err());
            })
            .unwrap();
    });
}

const GRAPH: &str = "\
* Task(name='leaf', id=6)
  + Call stack:
  |   waits for Event.wait 0x.., for 1.000 s
  |   created here
  + Awaited by:
     * Task(name='group', id=2)
       + Call stack:
       |   waits for TaskGroup \"leaf\", for 1.000 s
       |   waits for TaskGroup \"shielder\", for 1.000 s
       |   created here
       + Awaited by:
          * Task(name='Task-4', id=4)
            + Call stack:
            |   waits for Task \"group\", for 1.000 s
            |   created here
            + Awaited by:
               * Task(name='Task-1', id=1)
                 + Call stack:
                 |   waits for gather \"Task-4\", for 1.000 s
                 |   waits for gather \"Task-5\", for 1.000 s
                 |   created here
     * Task(name='shielder', id=7)
       + Call stack:
       |   waits for Task \"leaf\", for 1.000 s
       |   created here
       + Awaited by:
          * Task(name='group', id=2)
            + Call stack:
            |   waits for TaskGroup \"leaf\", for 1.000 s
            |   waits for TaskGroup \"shielder\", for 1.000 s
            |   created here
            + Awaited by:
               * Task(name='Task-4', id=4)
                 + Call stack:
                 |   waits for Task \"group\", for 1.000 s
                 |   created here
                 + Awaited by:
                    * Task(name='Task-1', id=1)
                      + Call stack:
                      |   waits for gather \"Task-4\", for 1.000 s
                      |   waits for gather \"Task-5\", for 1.000 s
                      |   created here
";

#[test]
fn a_call_graph_is_formatted_with_all_who_await() {
    inspected(true, || async {
        let event = Rc::new(Event::new());
        let set = event.clone();
        let group = task_builder().name("group").spawn(async move {
            task_group(async |group| {
                let event = event.clone();
                let leaf = group.create_task(async move { event.wait().await });
                leaf.as_ref().set_name("leaf");
                let shielder = group.create_task(async move { shield(leaf).await.unwrap() });
                shielder.as_ref().set_name("shielder");
            })
            .await
            .unwrap();
        });
        let reader = task_builder().name("reader").spawn(async move {
            sleep(Duration::from_secs(1)).await;
            let all = get_running_loop().all_tasks();
            let leaf = all.into_iter().find(|task| task.name() == "leaf");
            let text = steady(&format_call_graph(leaf.as_ref()));
            // First, so that a failure ends the test.
            set.set();
            assert_eq!(text, GRAPH);
        });
        gather([group, reader]).await.unwrap();
    });
}

#[test]
fn without_notes_tasks_sleeps_and_futures_are_known_and_the_rest_is_not() {
    inspected(false, || async {
        let future = get_running_loop().create_future::<()>();
        let sleeper = create_task(sleep(Duration::from_secs(5)));
        let awaiter = create_task(async move { sleeper.await.unwrap() });
        let lock = Rc::new(Lock::new(()));
        let held = lock.acquire().await;
        let other = lock.clone();
        let locked = create_task(async move { drop(other.acquire().await) });
        let result = future.clone();
        let reader = create_task(async move { result.await.unwrap() });
        let both = create_task(async move { gather([awaiter, reader]).await.map(drop) });
        sleep(Duration::from_secs(1)).await;
        let infos = get_running_loop().task_infos();
        let lines: Vec<_> = infos
            .iter()
            .map(|info| {
                assert!(info.age.is_none() && info.steps.is_none());
                let waits = info.waits.iter().map(ToString::to_string);
                format!("{}: {}", info.name, waits.collect::<Vec<_>>().join("; "))
            })
            .collect();
        assert_eq!(
            lines,
            [
                "Task-1: ",
                "Task-2: sleep, 4.000 s left",
                "Task-3: Task \"Task-2\"",
                "Task-4: ",
                "Task-5: Future",
                "Task-6: gather \"Task-7\"; gather \"Task-8\"",
                "Task-7: Task \"Task-3\"",
                "Task-8: Task \"Task-5\"",
            ]
        );
        drop(held);
        future.set_result(()).unwrap();
        locked.await.unwrap();
        both.await.unwrap().unwrap();
    });
}

#[test]
fn a_socket_is_known_without_notes() {
    audited(|| {
        let event_loop = EventLoop::new().unwrap();
        event_loop
            .run_until_complete(async {
                let (near, _far) = callsoon::net::UnixStream::pair().unwrap();
                let task = create_task(async move { near.read(&mut [0; 8]).await.map(drop) });
                yield_now().await;
                yield_now().await;
                let infos = get_running_loop().task_infos();
                assert_eq!(infos[1].waits[0].kind, WaitKind::Readable);
                task.cancel();
                assert!(task.await.is_err());
            })
            .unwrap();
    });
}

#[test]
fn an_await_that_select_has_set_aside_is_no_edge() {
    inspected(false, || async {
        let mut aside = create_task(sleep(Duration::from_secs(5)));
        let waiter = create_task(async move {
            let first = callsoon::move_on_after(Duration::from_secs(1), shield(&mut aside));
            assert!(first.await.is_none());
            sleep(Duration::from_secs(1)).await;
            aside.await.unwrap();
        });
        let mut edges = Vec::new();
        for _ in 0..3 {
            sleep(Duration::from_millis(900)).await;
            let infos = get_running_loop().task_infos();
            let waits = infos[2].waits.iter().map(|wait| wait.kind);
            edges.push(waits.collect::<Vec<_>>());
        }
        assert_eq!(edges[1..], [vec![WaitKind::Sleep], vec![WaitKind::Task]]);
        waiter.await.unwrap();
    });
}

#[test]
fn tasks_that_wait_for_each_others_locks_are_a_cycle() {
    inspected(true, || async {
        let (a, b) = (Rc::new(Lock::new(())), Rc::new(Lock::new(())));
        let take = |first: &Rc<Lock>, second: &Rc<Lock>, name: &str| {
            let (first, second) = (first.clone(), second.clone());
            task_builder().name(name).spawn(async move {
                let held = first.acquire().await;
                sleep(Duration::from_secs(1)).await;
                drop(second.acquire().await);
                drop(held);
            })
        };
        let (left, right) = (take(&a, &b, "left"), take(&b, &a, "right"));
        let outside = create_task(async move { right.await.unwrap() });
        sleep(Duration::from_secs(2)).await;
        let snapshot = get_running_loop().snapshot();
        let names = snapshot.cycles.iter().map(|cycle| {
            let name = |id| snapshot.tasks.iter().find(|task| task.id == id).unwrap();
            let names = cycle.iter().map(|id| name(*id).name.as_str());
            names.collect::<Vec<_>>()
        });
        assert_eq!(names.collect::<Vec<_>>(), [["left", "right"]]);
        let cycle = "Cycle: Task(name='left', id=2) -> Task(name='right', id=3) -> Task(name='left', id=2)\n";
        assert!(snapshot.to_string().contains(cycle), "{snapshot}");
        let graph = capture_call_graph(Some(&left.as_ref())).unwrap();
        assert!(graph.awaited_by[0].awaited_by[0].in_cycle);
        left.cancel();
        assert!(left.await.is_err());
        outside.await.unwrap();
        assert!(get_running_loop().snapshot().cycles.is_empty());
    });
}

const DUMP: &str = "\
Loop: 5 turns, 0 ready
Tasks: 2
  Task(name='Task-1', id=1) running, 1.000 s old, 1 steps in 0.000 s, created here
  Task(name='sleeper', id=2) pending, 1.000 s old, 1 steps in 0.000 s, created here
    waits for sleep, 2.000 s left, for 1.000 s
Timers: 2
  2.000 s: sleeper
  5.000 s: a callback
Sources: 0
";

#[test]
fn a_dump_names_the_loop_its_tasks_timers_and_sources() {
    inspected(true, || async {
        let sleeper = task_builder()
            .name("sleeper")
            .spawn(sleep(Duration::from_secs(3)));
        let timer = get_running_loop().call_later(Duration::from_secs(6), || ());
        sleep(Duration::from_secs(1)).await;
        let dump = get_running_loop().dump();
        let mut lines: Vec<_> = dump.lines().collect();
        assert!(lines[0].starts_with("Loop: ") && lines[0].ends_with(" turns, 0 ready"));
        lines[0] = "Loop: 5 turns, 0 ready";
        assert_eq!(steady(&lines.join("\n")), DUMP);
        timer.cancel();
        sleeper.await.unwrap();
    });
}

#[test]
fn one_task_that_waits_for_many_things_names_sixteen_and_counts_the_rest() {
    inspected(true, || async {
        let event = Rc::new(Event::new());
        let events: Vec<_> = (0..20).map(|_| Rc::new(Event::new())).collect();
        let all = events.clone();
        let task = create_task(async move {
            let mut waits: Vec<_> = all.iter().map(|event| Box::pin(event.wait())).collect();
            std::future::poll_fn(|context| {
                let polled = waits.iter_mut().map(|wait| wait.as_mut().poll(context));
                match polled.filter(std::task::Poll::is_ready).count() {
                    0 => std::task::Poll::Pending,
                    _ => std::task::Poll::Ready(()),
                }
            })
            .await;
        });
        yield_now().await;
        let info = get_running_loop().task_infos().remove(1);
        assert_eq!((info.waits.len(), info.more_waits), (16, 4));
        events[7].set();
        task.await.unwrap();
        drop(event);
    });
}

/// A lock as another crate may have it, which says who holds it.
fn other_crate_s_lock(holder: TaskRef) -> impl Future<Output = ()> {
    poll_fn(move |_| {
        future_add_to_awaited_by(&holder);
        Poll::Pending
    })
}

#[test]
fn a_future_of_another_crate_may_say_which_task_it_waits_for() {
    inspected(true, async || {
        let holder = current_task().unwrap();
        assert_eq!(
            waits_of(other_crate_s_lock(holder)).await,
            "Task \"Task-1\", for 1.000 s"
        );
    });
    inspected(false, async || {
        let holder = current_task().unwrap();
        assert_eq!(
            waits_of(other_crate_s_lock(holder)).await,
            "",
            "nobody asks"
        );
    });
}

#[test]
fn a_circle_through_a_future_of_another_crate_is_found() {
    inspected(true, async || {
        let second: Rc<OnceCell<TaskRef>> = Rc::default();
        let holder = Rc::clone(&second);
        let first = create_task(async move {
            yield_now().await;
            other_crate_s_lock(holder.get().unwrap().clone()).await;
        });
        let (held, waiting) = (
            first.as_ref(),
            create_task(other_crate_s_lock(first.as_ref())),
        );
        second.set(waiting.as_ref()).unwrap();
        sleep(Duration::from_secs(1)).await;
        let mut cycles = get_running_loop().snapshot().cycles;
        cycles.iter_mut().for_each(|cycle| cycle.sort());
        assert_eq!(cycles, [[held.id(), waiting.id()]]);
        first.cancel();
        waiting.cancel();
    });
}

/// Runs a task that takes what comes once a second, and returns for how long it waits half a second after the third.
async fn age_of_a_wait(mut take: impl AsyncFnMut() + 'static, give: impl AsyncFn()) -> String {
    let task = task_builder().name("taker").spawn(async move {
        loop {
            take().await;
        }
    });
    for _ in 0..3 {
        sleep(Duration::from_secs(1)).await;
        give().await;
    }
    sleep(Duration::from_millis(500)).await;
    let infos = get_running_loop().task_infos();
    let info = infos.iter().find(|info| info.id == task.id()).unwrap();
    let waits = info.waits.iter().map(ToString::to_string);
    let text = waits.collect::<Vec<_>>().join("; ");
    task.cancel();
    assert!(task.await.is_err());
    text.rsplit(", for ").next().unwrap().to_owned()
}

#[test]
fn a_wait_that_ends_and_begins_again_is_as_old_as_its_last_beginning() {
    inspected(true, async || {
        let queue = Rc::new(Queue::new(1));
        let taken = Rc::clone(&queue);
        let take = async move || taken.get().await.unwrap();
        assert_eq!(
            age_of_a_wait(take, async || queue.put(()).await.unwrap()).await,
            "0.500 s"
        );
        let put = Rc::clone(&queue);
        let take = async move || put.put(()).await.unwrap();
        assert_eq!(
            age_of_a_wait(take, async || queue.get().await.unwrap()).await,
            "0.500 s"
        );

        let semaphore = Rc::new(Semaphore::new(0));
        let taken = Rc::clone(&semaphore);
        let take = async move || std::mem::forget(taken.acquire().await);
        assert_eq!(
            age_of_a_wait(take, async || semaphore.release().unwrap()).await,
            "0.500 s"
        );

        let (ours, theirs) = callsoon::net::UnixStream::pair().unwrap();
        let take = async move || assert_eq!(ours.read(&mut [0]).await.unwrap(), 1);
        let give = async || {
            theirs.write_all(&[0]).await.unwrap();
            // The byte wakes the reader in a turn that polls, and under this clock no time passes in it.
            yield_now().await;
        };
        assert_eq!(age_of_a_wait(take, give).await, "0.500 s");
    });
}

#[test]
fn a_wait_that_is_polled_again_keeps_its_age() {
    inspected(true, async || {
        let event = Rc::new(Event::new());
        let never = Rc::clone(&event);
        let poked = Rc::new(Queue::new(0));
        let pokes = Rc::clone(&poked);
        // The event is polled again whenever the queue gives something.
        let take = async move || {
            let mut waiting = std::pin::pin!(never.wait());
            loop {
                let mut item = std::pin::pin!(pokes.get());
                poll_fn(|context| {
                    assert!(waiting.as_mut().poll(context).is_pending());
                    item.as_mut().poll(context)
                })
                .await
                .unwrap();
            }
        };
        let task = task_builder()
            .name("taker")
            .spawn(async move { take().await });
        for _ in 0..3 {
            sleep(Duration::from_secs(1)).await;
            poked.put_nowait(()).unwrap();
        }
        sleep(Duration::from_millis(500)).await;
        let infos = get_running_loop().task_infos();
        let info = infos.iter().find(|info| info.id == task.id()).unwrap();
        let ages = info
            .waits
            .iter()
            .map(|wait| (wait.kind, wait.since.unwrap().as_millis()));
        assert_eq!(
            ages.collect::<Vec<_>>(),
            [(WaitKind::Event, 3500), (WaitKind::QueueGet, 500)]
        );
        task.cancel();
    });
}
