//! Queues: asyncio's behaviour, and items whose getters and putters are cancelled.

use std::cell::{Cell, RefCell};
use std::cmp::Ordering;
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Duration;

use callsoon::queue::{GetError, PutError, QueueStore, ShutDown, TooManyTasksDone};
use callsoon::{LifoQueue, PriorityQueue, Queue, create_task, sleep, yield_now};

use crate::support::{
    DropProbe, HostileWaker, Trace, Waiting, audited, complete, on_virtual_time, panic_text,
};

#[test]
fn items_come_out_in_the_order_of_each_kind() {
    audited(|| {
        let (fifo, lifo, priority) = (Queue::new(0), LifoQueue::new(0), PriorityQueue::new(0));
        for item in [3, 1, 2] {
            fifo.put_nowait(item).unwrap();
            lifo.put_nowait(item).unwrap();
            priority.put_nowait(item).unwrap();
        }
        let all = |get: &dyn Fn() -> Result<i32, GetError>| -> Vec<_> {
            std::iter::from_fn(|| get().ok()).collect()
        };
        assert_eq!(all(&|| fifo.get_nowait()), [3, 1, 2]);
        assert_eq!(all(&|| lifo.get_nowait()), [2, 1, 3]);
        assert_eq!(all(&|| priority.get_nowait()), [1, 2, 3]);
    });
}

#[test]
fn m2_size_room_and_limit_are_exact_and_0_is_no_limit() {
    audited(|| {
        let bounded = Queue::new(2);
        assert!(bounded.is_empty() && !bounded.is_full() && bounded.maxsize() == 2);
        bounded.put_nowait(1).unwrap();
        assert_eq!((bounded.qsize(), bounded.is_full()), (1, false));
        bounded.put_nowait(2).unwrap();
        assert_eq!((bounded.qsize(), bounded.is_full()), (2, true));
        assert_eq!(bounded.put_nowait(3), Err(PutError::Full(3)));
        for queue in [Queue::new(0), Queue::new(usize::MAX)] {
            for item in 0..1000 {
                queue.put_nowait(item).unwrap();
            }
            assert!(!queue.is_full() && queue.qsize() == 1000);
        }
    });
}

#[test]
fn the_nowait_methods_need_no_loop_and_say_why_they_failed() {
    audited(|| {
        let queue = Queue::new(1);
        assert_eq!(queue.get_nowait(), Err(GetError::Empty));
        queue.put_nowait('a').unwrap();
        let full = queue.put_nowait('b').unwrap_err();
        assert_eq!(format!("{full}, {full:?}"), "the queue is full, Full");
        assert_eq!(full.into_item(), 'b');
        assert_eq!(GetError::Empty.to_string(), "the queue is empty");
        assert_eq!(queue.get_nowait(), Ok('a'));
    });
}

#[test]
fn put_and_get_suspend_only_when_the_queue_is_full_or_empty() {
    audited(|| {
        let queue = Queue::new(1);
        assert_eq!(Waiting::new(queue.put(1)).poll(), Some(Ok(())));
        let mut putter = Waiting::begun(queue.put(2));
        assert_eq!(Waiting::new(queue.get()).poll(), Some(Ok(1)));
        assert!(putter.is_woken());
        assert_eq!(putter.poll(), Some(Ok(())));
        assert_eq!(Waiting::new(queue.get()).poll(), Some(Ok(2)));
        let mut getter = Waiting::begun(queue.get());
        queue.put_nowait(3).unwrap();
        assert!(getter.is_woken());
        assert_eq!(getter.poll(), Some(Ok(3)));
    });
}

#[test]
fn a_producer_and_two_consumers_with_time_between_them() {
    on_virtual_time(|trace, event_loop| {
        let (queue, t) = (Rc::new(Queue::new(2)), trace.clone());
        complete(&event_loop, async move {
            let consumers = ["a", "b"].map(|name| {
                let (queue, t) = (Rc::clone(&queue), t.clone());
                create_task(async move {
                    while let Ok(item) = queue.get().await {
                        t.push(format!("{name} got {item}"));
                        sleep(Duration::from_secs(1)).await;
                        queue.task_done().unwrap();
                    }
                    t.push(format!("{name} ends"));
                })
            });
            for item in 0..6 {
                queue.put(item).await.unwrap();
                t.push(format!("put {item}"));
            }
            queue.join().await;
            t.push("all done");
            queue.shutdown(false);
            for consumer in consumers {
                consumer.await.unwrap();
            }
        });
        trace.expect([
            "put 0", "put 1", // room for two, and the third waits
            "a got 0", "b got 1", "put 2", "put 3", // at 0 s
            "a got 2", "b got 3", "put 4", "put 5", // at 1 s
            "a got 4", "b got 5", // at 2 s
            "all done", "a ends", "b ends", // at 3 s
        ]);
    });
}

#[test]
fn getters_are_served_in_the_order_in_which_they_came_and_no_get_passes_another() {
    audited(|| {
        let queue = Queue::new(0);
        let mut getters: Vec<_> = (0..3).map(|_| Waiting::begun(queue.get())).collect();
        queue.put_nowait(1).unwrap();
        assert!(getters[0].is_woken() && !getters[1].is_woken());
        let mut newcomer = Waiting::begun(queue.get());
        assert!(getters[1].poll().is_none());
        assert_eq!(getters[0].poll(), Some(Ok(1)));
        queue.put_nowait(2).unwrap();
        queue.put_nowait(3).unwrap();
        queue.put_nowait(4).unwrap();
        // Whichever of them is polled first: there is one for each.
        assert_eq!(newcomer.poll(), Some(Ok(2)));
        assert_eq!(getters[1].poll(), Some(Ok(3)));
        assert_eq!(getters[2].poll(), Some(Ok(4)));
    });
}

#[test]
fn putters_are_served_in_the_order_in_which_they_came_and_no_put_passes_another() {
    audited(|| {
        let queue = Queue::new(1);
        queue.put_nowait(0).unwrap();
        let mut putters: Vec<_> = (1..4).map(|n| Waiting::begun(queue.put(n))).collect();
        assert_eq!(queue.get_nowait(), Ok(0));
        assert!(putters[0].is_woken() && !putters[1].is_woken());
        let mut newcomer = Waiting::begun(queue.put(9));
        for n in 1..4 {
            assert_eq!(putters.remove(0).poll(), Some(Ok(())));
            assert!(newcomer.poll().is_none());
            assert_eq!(queue.get_nowait(), Ok(n));
        }
        assert!(newcomer.is_woken());
        assert_eq!(newcomer.poll(), Some(Ok(())));
    });
}

#[test]
fn a_woken_getter_is_not_promised_the_item_but_keeps_its_place() {
    audited(|| {
        let queue = Queue::new(0);
        let mut first = Waiting::begun(queue.get());
        let mut second = Waiting::begun(queue.get());
        queue.put_nowait(1).unwrap();
        assert!(first.is_woken());
        assert_eq!(
            queue.get_nowait(),
            Ok(1),
            "nowait helps itself, as in asyncio"
        );
        assert!(first.poll().is_none());
        queue.put_nowait(2).unwrap();
        assert!(first.is_woken() && !second.is_woken());
        assert!(second.poll().is_none());
        assert_eq!(first.poll(), Some(Ok(2)));
    });
}

#[test]
fn a_woken_putter_is_not_promised_the_room_but_keeps_its_place() {
    audited(|| {
        let queue = Queue::new(1);
        queue.put_nowait(0).unwrap();
        let mut first = Waiting::begun(queue.put(1));
        let mut second = Waiting::begun(queue.put(2));
        assert_eq!(queue.get_nowait(), Ok(0));
        queue.put_nowait(9).unwrap();
        assert!(first.is_woken() && first.poll().is_none());
        assert_eq!(queue.get_nowait(), Ok(9));
        assert!(first.is_woken() && second.poll().is_none());
        assert_eq!(first.poll(), Some(Ok(())));
    });
}

#[test]
fn n1_a_cancelled_getter_loses_no_item_and_the_next_one_gets_it() {
    audited(|| {
        let queue = Queue::new(0);
        let first = Waiting::begun(queue.get());
        let middle = Waiting::begun(queue.get());
        let mut last = Waiting::begun(queue.get());
        queue.put_nowait(1).unwrap();
        drop(first);
        assert!(middle.is_woken() && !last.is_woken());
        drop(middle);
        assert!(last.is_woken());
        assert_eq!(last.poll(), Some(Ok(1)));
        assert_eq!(queue.qsize(), 0);
    });
}

#[test]
fn n1_a_getter_cancelled_with_no_other_waiting_leaves_the_item_in_the_queue() {
    on_virtual_time(|_, event_loop| {
        let queue = Rc::new(Queue::new(0));
        let q = Rc::clone(&queue);
        complete(&event_loop, async move {
            let q2 = Rc::clone(&q);
            let getter = create_task(async move { q2.get().await });
            yield_now().await;
            q.put_nowait("precious").unwrap();
            getter.cancel();
            assert!(getter.await.unwrap_err().cancelled().is_some());
        });
        assert_eq!(queue.get_nowait(), Ok("precious"));
    });
}

#[test]
fn n1_a_cancelled_putter_gives_its_room_on_and_its_item_is_dropped_with_it() {
    audited(|| {
        let trace = Trace::new();
        let probe = |name| DropProbe::new(&trace, name);
        let queue = Queue::new(1);
        queue.put_nowait(probe("a")).unwrap();
        let first = Waiting::begun(queue.put(probe("b")));
        let mut second = Waiting::begun(queue.put(probe("c")));
        let third = Waiting::begun(queue.put(probe("d")));
        drop(queue.get_nowait().unwrap());
        assert!(first.is_woken() && !second.is_woken());
        drop(first);
        assert!(second.is_woken());
        assert!(matches!(second.poll(), Some(Ok(()))));
        drop(third);
        trace.expect(["drop a", "drop b", "drop d"]);
        drop(second);
        trace.expect([]);
        drop(queue);
        trace.expect(["drop c"]);
    });
}

#[test]
fn n1_cancelled_waiters_leave_nothing_behind() {
    audited(|| {
        let queue = Queue::new(1);
        for _ in 0..100 {
            drop(Waiting::begun(queue.get()));
        }
        queue.put_nowait(0).unwrap();
        for item in 0..100 {
            drop(Waiting::begun(queue.put(item)));
        }
        assert_eq!(
            format!("{queue:?}"),
            "Queue { maxsize: 1, qsize: 1, getters: 0, putters: 0, unfinished: 1, shut_down: false, .. }"
        );
    });
}

#[test]
fn join_waits_until_every_item_that_was_put_is_done() {
    audited(|| {
        let queue = Queue::new(0);
        assert!(Waiting::new(queue.join()).poll().is_some());
        queue.put_nowait(1).unwrap();
        queue.put_nowait(2).unwrap();
        let mut joiners: Vec<_> = (0..2).map(|_| Waiting::begun(queue.join())).collect();
        assert!(queue.get_nowait().is_ok() && queue.get_nowait().is_ok());
        assert!(!joiners[0].is_woken(), "taken is not done");
        queue.task_done().unwrap();
        assert!(joiners[0].poll().is_none());
        drop(joiners.remove(1));
        queue.task_done().unwrap();
        assert!(joiners[0].is_woken());
        // A new item before it runs does not hold it up.
        queue.put_nowait(3).unwrap();
        assert!(joiners[0].poll().is_some());
    });
}

#[test]
fn m3_more_done_than_put_is_an_error_and_changes_nothing() {
    audited(|| {
        let queue = Queue::new(0);
        assert_eq!(queue.task_done(), Err(TooManyTasksDone));
        queue.put_nowait(1).unwrap();
        assert_eq!(
            queue.task_done(),
            Ok(()),
            "asyncio does not ask whether it was got"
        );
        assert_eq!(queue.task_done(), Err(TooManyTasksDone));
        assert!(Waiting::new(queue.join()).poll().is_some());
        assert_eq!(
            TooManyTasksDone.to_string(),
            "task_done was called more often than items were put"
        );
    });
}

#[test]
fn n2_shutdown_gives_putters_their_items_back_and_getters_what_is_left() {
    audited(|| {
        let queue = Queue::new(1);
        queue.put_nowait("a").unwrap();
        let mut putters: Vec<_> = (0..2).map(|_| Waiting::begun(queue.put("b"))).collect();
        assert!(queue.shutdown(false).is_empty());
        for putter in &mut putters {
            assert!(putter.is_woken());
            assert_eq!(putter.poll(), Some(Err(ShutDown("b"))));
        }
        assert_eq!(queue.put_nowait("c"), Err(PutError::ShutDown("c")));
        assert_eq!(
            Waiting::new(queue.put("d")).poll(),
            Some(Err(ShutDown("d")))
        );
        assert_eq!(Waiting::new(queue.get()).poll(), Some(Ok("a")));
        assert_eq!(Waiting::new(queue.get()).poll(), Some(Err(ShutDown(()))));
        assert_eq!(queue.get_nowait(), Err(GetError::ShutDown));
        assert!(queue.shutdown(false).is_empty(), "again changes nothing");
        assert_eq!(ShutDown(()).to_string(), "the queue was shut down");
    });
}

#[test]
fn n2_shutdown_wakes_every_getter_and_none_hangs_in_whatever_order_they_run() {
    audited(|| {
        let queue = Queue::new(0);
        let mut getters: Vec<_> = (0..3).map(|_| Waiting::begun(queue.get())).collect();
        queue.put_nowait(1).unwrap();
        queue.shutdown(false);
        assert!(getters.iter().all(Waiting::is_woken));
        // The item is the first one's; as long as it is there, the others cannot know that they get none.
        assert!(getters[2].poll().is_none() && getters[1].poll().is_none());
        drop(getters.remove(0));
        assert!(getters[0].is_woken());
        assert_eq!(getters[0].poll(), Some(Ok(1)));
        assert!(getters[1].is_woken());
        assert_eq!(getters[1].poll(), Some(Err(ShutDown(()))));
    });
}

#[test]
fn n2_an_immediate_shutdown_returns_the_items_in_their_order_and_counts_them_as_done() {
    audited(|| {
        let queue = PriorityQueue::new(0);
        for item in [3, 1, 2] {
            queue.put_nowait(item).unwrap();
        }
        assert_eq!(queue.get_nowait(), Ok(1));
        let mut joiner = Waiting::begun(queue.join());
        assert_eq!(queue.shutdown(true), [2, 3]);
        assert_eq!(queue.get_nowait(), Err(GetError::ShutDown));
        assert!(!joiner.is_woken(), "what was got is still to be done");
        queue.task_done().unwrap();
        assert!(joiner.is_woken() && joiner.poll().is_some());
        assert!(queue.shutdown(true).is_empty());

        let idle = Queue::new(0);
        idle.put_nowait(1).unwrap();
        let mut joiner = Waiting::begun(idle.join());
        let mut getters = [Waiting::begun(idle.join())];
        assert_eq!(idle.shutdown(true), [1]);
        assert!(joiner.poll().is_some() && getters[0].poll().is_some());
    });
}

#[test]
fn n2_items_are_dropped_once() {
    audited(|| {
        let trace = Trace::new();
        let queue = LifoQueue::new(0);
        for name in ["a", "b", "c"] {
            queue.put_nowait(DropProbe::new(&trace, name)).unwrap_or(());
        }
        drop(queue.get_nowait());
        trace.expect(["drop c"]);
        drop(queue.shutdown(true));
        trace.expect(["drop b", "drop a"]);
        drop(queue);
        trace.expect([]);
    });
}

/// An item whose comparison does what the test wants.
struct Odd<'a> {
    number: u32,
    compared: &'a dyn Fn(),
}

impl PartialEq for Odd<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.number == other.number
    }
}

impl Eq for Odd<'_> {}

impl PartialOrd for Odd<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Odd<'_> {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.compared)();
        self.number.cmp(&other.number)
    }
}

#[test]
fn a_comparison_that_panics_loses_no_wake_up() {
    audited(|| {
        let armed = Cell::new(false);
        let compared = || assert!(!armed.get(), "on purpose");
        let odd = |number| Odd {
            number,
            compared: &compared,
        };
        let queue = PriorityQueue::new(2);
        let mut getters: Vec<_> = (0..2).map(|_| Waiting::begun(queue.get())).collect();
        queue.put_nowait(odd(2)).unwrap_or(());
        armed.set(true);
        panic_text(|| queue.put_nowait(odd(1)));
        armed.set(false);
        assert_eq!(queue.qsize(), 2, "it is in, as with any heap");
        for getter in &mut getters {
            assert!(getter.is_woken());
            assert!(getter.poll().is_some());
        }
        queue.task_done().unwrap();
        queue.task_done().unwrap();
        assert_eq!(queue.task_done(), Err(TooManyTasksDone));
    });
}

#[test]
fn a_comparison_that_uses_the_queue_panics_and_the_queue_stays_usable() {
    audited(|| {
        thread_local! {
            static QUEUE: RefCell<Option<Rc<PriorityQueue<Odd<'static>>>>> = const { RefCell::new(None) };
        }
        let odd = |number| Odd {
            number,
            compared: &|| {
                if let Some(queue) = QUEUE.take() {
                    drop(queue.get_nowait());
                }
            },
        };
        let queue = Rc::new(PriorityQueue::new(0));
        queue.put_nowait(odd(1)).unwrap_or(());
        QUEUE.set(Some(Rc::clone(&queue)));
        panic_text(|| queue.put_nowait(odd(2)));
        assert_eq!(queue.qsize(), 2);
        let numbers: Vec<_> = std::iter::from_fn(|| queue.get_nowait().ok())
            .map(|odd| odd.number)
            .collect();
        assert_eq!(numbers.len(), 2);
    });
}

/// asyncio's subclass hooks: a queue that holds no item twice.
struct Distinct(VecDeque<u32>);

impl QueueStore<u32> for Distinct {
    fn len(&self) -> usize {
        self.0.len()
    }

    fn put(&mut self, item: u32) {
        if !self.0.contains(&item) {
            self.0.push_back(item);
        }
    }

    fn get(&mut self) -> Option<u32> {
        self.0.pop_front()
    }
}

#[test]
fn a_store_of_ones_own_decides_what_is_kept() {
    audited(|| {
        let queue = Queue::with_store(2, Distinct(VecDeque::from([7])));
        let mut joiner = Waiting::begun(queue.join());
        queue.put_nowait(7).unwrap();
        queue.put_nowait(8).unwrap();
        assert!(queue.is_full());
        let mut putter = Waiting::begun(queue.put(9));
        assert_eq!(Waiting::new(queue.get()).poll(), Some(Ok(7)));
        assert_eq!(putter.poll(), Some(Ok(())));
        for _ in 0..4 {
            queue.task_done().unwrap();
        }
        assert!(joiner.poll().is_some());
    });
}

#[test]
fn a5_wakers_that_use_the_queue_themselves_lose_no_item() {
    audited(|| {
        let queue = Rc::new(Queue::new(2));
        // How many items there have to be.
        let inside = Rc::new(Cell::new(0));
        let count = |cell: &Cell<i32>, by: i32, done: bool| {
            cell.set(cell.get() + by * i32::from(done));
            done
        };
        let (q, i) = (Rc::clone(&queue), Rc::clone(&inside));
        let hostile = HostileWaker::new(move |_| {
            count(&i, -1, q.get_nowait().is_ok());
            count(&i, 1, q.put_nowait(0).is_ok());
            count(&i, -1, Waiting::new(q.get()).poll().is_some());
            count(&i, 1, Waiting::new(q.put(0)).poll().is_some());
        });
        for round in 0..6 {
            let mut getters = [(); 2].map(|()| Waiting::new(queue.get()));
            let mut putters = [(); 3].map(|()| Waiting::new(queue.put(round)));
            let (mut got, mut put) = ([false; 2], [false; 3]);
            for _ in 0..3 {
                for (getter, got) in getters.iter_mut().zip(&mut got) {
                    let mut poll = || getter.poll_with(&hostile.waker()).is_some();
                    *got = *got || count(&inside, -1, poll());
                }
                for (putter, put) in putters.iter_mut().zip(&mut put) {
                    let mut poll = || putter.poll_with(&hostile.waker()).is_some();
                    *put = *put || count(&inside, 1, poll());
                }
                assert_eq!(queue.qsize(), inside.get() as usize);
            }
        }
    });
}

#[test]
fn debug_names_the_kind() {
    audited(|| {
        assert!(format!("{:?}", LifoQueue::<u8>::new(1)).starts_with("LifoQueue { maxsize: 1,"));
        assert!(format!("{:?}", PriorityQueue::<u8>::new(0)).starts_with("PriorityQueue {"));
    });
}
