//! Queues whose user code panics: the store, a comparison, a destructor. No waiter is left waiting.

use std::cell::Cell;
use std::cmp::{Ordering, Reverse};
use std::collections::{BinaryHeap, VecDeque};
use std::rc::Rc;
use std::time::Duration;

use callsoon::queue::{QueueStore, ShutDown, TooManyTasksDone};
use callsoon::{PriorityQueue, Queue, create_task, sleep, timeout};

use crate::support::{Waiting, audited, complete, on_virtual_time, panic_text};

thread_local! {
    /// Which call of a [`Mined`] or comparison of a [`Ranked`] panics.
    static MINE: Cell<Option<Mine>> = const { Cell::new(None) };
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Mine {
    Len,
    LenAfter,
    Put,
    Get,
    GotAndLost,
    Compare,
}

#[track_caller]
fn tread(mine: Mine) {
    assert!(MINE.get() != Some(mine), "{mine:?} on purpose");
}

/// First in first out; panics in the call that the test names.
struct Mined {
    items: VecDeque<i32>,
    called: Cell<bool>,
}

impl Mined {
    fn new() -> Self {
        let items = VecDeque::new();
        let called = Cell::new(false);
        Self { items, called }
    }
}

impl QueueStore<i32> for Mined {
    fn len(&self) -> usize {
        tread(Mine::Len);
        if self.called.replace(false) {
            tread(Mine::LenAfter);
        }
        self.items.len()
    }

    fn put(&mut self, item: i32) {
        tread(Mine::Put);
        self.items.push_back(item);
        self.called.set(true);
    }

    fn get(&mut self) -> Option<i32> {
        tread(Mine::Get);
        let item = self.items.pop_front();
        tread(Mine::GotAndLost);
        self.called.set(true);
        item
    }
}

/// Runs `call`, in which a mine must go off.
#[track_caller]
fn panics_at<R>(mine: Mine, call: impl FnOnce() -> R) {
    MINE.set(Some(mine));
    assert!(panic_text(call).contains("on purpose"));
    MINE.set(None);
}

#[test]
fn a_store_that_panics_in_a_put_strands_no_waiter() {
    audited(|| {
        for (mine, is_in) in [(Mine::Put, false), (Mine::LenAfter, true)] {
            let queue = Queue::with_store(1, Mined::new());
            let mut getter = Waiting::begun(queue.get());
            panics_at(mine, || queue.put_nowait(1));
            assert_eq!(queue.qsize(), usize::from(is_in), "{mine:?}");
            assert_eq!(getter.is_woken(), is_in);
            let mut joiner = Waiting::new(queue.join());
            assert_eq!(joiner.poll().is_none(), is_in);
            if !is_in {
                queue.put_nowait(1).unwrap();
            }
            assert_eq!(getter.poll(), Some(Ok(1)));
            queue.task_done().unwrap();
            assert_eq!(queue.task_done(), Err(TooManyTasksDone));
        }
    });
}

#[test]
fn a_waiting_putter_whose_store_panics_gives_its_room_on() {
    audited(|| {
        let queue = Queue::with_store(1, Mined::new());
        queue.put_nowait(1).unwrap();
        let mut putters = [2, 3].map(|item| Waiting::begun(queue.put(item)));
        assert_eq!(queue.get_nowait(), Ok(1));
        panics_at(Mine::Put, || putters[0].poll());
        assert!(putters[1].is_woken());
        assert_eq!(putters[1].poll(), Some(Ok(())));
        assert_eq!(queue.get_nowait(), Ok(3));
    });
}

#[test]
fn a_store_that_panics_in_a_get_strands_no_waiter() {
    audited(|| {
        for mine in [Mine::Get, Mine::GotAndLost, Mine::LenAfter] {
            let is_lost = mine != Mine::Get;
            let queue = Queue::with_store(1, Mined::new());
            queue.put_nowait(1).unwrap();
            let mut putter = Waiting::begun(queue.put(2));
            let mut joiner = Waiting::begun(queue.join());
            panics_at(mine, || queue.get_nowait());
            assert_eq!(putter.is_woken(), is_lost, "{mine:?}");
            if is_lost {
                // Nobody can report what is lost.
                assert_eq!(joiner.poll(), Some(()));
            } else {
                assert_eq!(queue.get_nowait(), Ok(1));
                queue.task_done().unwrap();
            }
            assert_eq!(putter.poll(), Some(Ok(())));
            assert_eq!(queue.get_nowait(), Ok(2));
        }
    });
}

#[test]
fn a_getter_whose_store_panics_leaves_its_item_to_the_next_one() {
    audited(|| {
        for mine in [Mine::Len, Mine::Get] {
            let queue = Queue::with_store(0, Mined::new());
            let mut getters: Vec<_> = (0..2).map(|_| Waiting::begun(queue.get())).collect();
            queue.put_nowait(1).unwrap();
            assert!(getters[0].is_woken() && !getters[1].is_woken());
            panics_at(mine, || getters[0].poll());
            // Its task ends, or takes another way.
            drop(getters.remove(0));
            assert!(getters[0].is_woken(), "{mine:?}");
            assert_eq!(getters[0].poll(), Some(Ok(1)));
        }
    });
}

#[test]
fn a_waiter_that_is_dropped_calls_no_store() {
    audited(|| {
        let queue = Queue::with_store(1, Mined::new());
        let mut getters: Vec<_> = (0..2).map(|_| Waiting::begun(queue.get())).collect();
        queue.put_nowait(1).unwrap();
        MINE.set(Some(Mine::Len));
        drop(getters.remove(0));
        MINE.set(None);
        assert!(getters[0].is_woken());
        let mut putters: Vec<_> = (2..4).map(|n| Waiting::begun(queue.put(n))).collect();
        assert_eq!(getters[0].poll(), Some(Ok(1)));
        MINE.set(Some(Mine::Len));
        drop(putters.remove(0));
        MINE.set(None);
        assert!(putters[0].is_woken());
        assert_eq!(putters[0].poll(), Some(Ok(())));
    });
}

#[test]
fn a_store_that_panics_in_shutdown_strands_no_waiter() {
    audited(|| {
        for mine in [Mine::Get, Mine::GotAndLost, Mine::LenAfter] {
            let queue = Queue::with_store(2, Mined::new());
            for item in [1, 2] {
                queue.put_nowait(item).unwrap();
            }
            let mut putter = Waiting::begun(queue.put(3));
            let mut joiner = Waiting::begun(queue.join());
            panics_at(mine, || queue.shutdown(true));
            assert!(putter.is_woken(), "{mine:?}");
            assert_eq!(putter.poll(), Some(Err(ShutDown(3))));
            assert!(joiner.poll().is_none(), "some items are left");
            let mut left = queue.shutdown(true);
            left.reverse();
            assert_eq!(left.first(), Some(&2));
            assert_eq!(joiner.poll(), Some(()));
            assert_eq!(Waiting::new(queue.get()).poll(), Some(Err(ShutDown(()))));
        }
        let queue = Queue::with_store(1, Mined::new());
        let mut getters: Vec<_> = (0..2).map(|_| Waiting::begun(queue.get())).collect();
        panics_at(Mine::Get, || queue.shutdown(true));
        for getter in &mut getters {
            assert!(getter.is_woken());
            assert_eq!(getter.poll(), Some(Err(ShutDown(()))));
        }
    });
}

/// An item whose comparison with number 2 panics when the test asks for it.
#[derive(PartialEq, Eq, Debug)]
struct Ranked(i32);

impl PartialOrd for Ranked {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Ranked {
    fn cmp(&self, other: &Self) -> Ordering {
        if self.0 == 2 || other.0 == 2 {
            tread(Mine::Compare);
        }
        self.0.cmp(&other.0)
    }
}

#[test]
fn a_comparison_that_panics_in_shutdown_does_not_leave_join_waiting() {
    on_virtual_time(|_, event_loop| {
        complete(&event_loop, async {
            let queue = Rc::new(PriorityQueue::new(0));
            for number in 1..=4 {
                queue.put_nowait(Ranked(number)).unwrap();
            }
            let joiner = create_task({
                let queue = Rc::clone(&queue);
                async move { queue.join().await }
            });
            panics_at(Mine::Compare, || queue.shutdown(true));
            let left = queue.qsize();
            assert!((1..4).contains(&left), "{left} are left");
            for _ in 0..left {
                queue.get_nowait().unwrap();
            }
            sleep(Duration::from_secs(1)).await;
            assert!(!joiner.done(), "nothing was reported yet");
            for _ in 0..left {
                queue.task_done().unwrap();
            }
            timeout(Duration::from_secs(1), joiner)
                .await
                .unwrap()
                .unwrap();
        });
    });
}

#[test]
fn a_comparison_that_panics_in_a_get_loses_one_item_and_no_waiter() {
    audited(|| {
        let queue = Queue::with_store(3, BinaryHeap::<Reverse<Ranked>>::new());
        for number in 1..=3 {
            queue.put_nowait(Ranked(number)).unwrap();
        }
        let mut putter = Waiting::begun(queue.put(Ranked(4)));
        let mut joiner = Waiting::begun(queue.join());
        panics_at(Mine::Compare, || queue.get_nowait());
        let left = queue.qsize();
        assert_eq!(putter.is_woken(), left < 3);
        for _ in 0..left {
            queue.get_nowait().unwrap();
            queue.task_done().unwrap();
        }
        assert_eq!(joiner.poll(), Some(()));
        assert_eq!(putter.poll(), Some(Ok(())));
        assert_eq!(queue.get_nowait(), Ok(Ranked(4)));
    });
}

/// Panics when it is dropped.
struct Bomb(bool);

impl Drop for Bomb {
    fn drop(&mut self) {
        assert!(!self.0, "dropped on purpose");
    }
}

#[test]
fn an_item_whose_destructor_panics_strands_no_waiter() {
    audited(|| {
        // With the putter that holds it.
        let queue = Queue::new(1);
        queue.put_nowait(Bomb(false)).unwrap_or(());
        let first = Waiting::begun(queue.put(Bomb(true)));
        let mut second = Waiting::begun(queue.put(Bomb(false)));
        assert!(queue.get_nowait().is_ok());
        panic_text(|| drop(first));
        assert!(second.is_woken());
        assert!(second.poll().is_some_and(|put| put.is_ok()));

        // In the store, which replaces it.
        struct Newest(Option<Bomb>);
        impl QueueStore<Bomb> for Newest {
            fn len(&self) -> usize {
                usize::from(self.0.is_some())
            }
            fn put(&mut self, item: Bomb) {
                self.0 = Some(item);
            }
            fn get(&mut self) -> Option<Bomb> {
                self.0.take()
            }
        }
        let queue = Queue::with_store(0, Newest(None));
        queue.put_nowait(Bomb(true)).unwrap_or(());
        let mut joiner = Waiting::begun(queue.join());
        panic_text(|| queue.put_nowait(Bomb(false)));
        assert!(Waiting::new(queue.get()).poll().unwrap().is_ok());
        queue.task_done().unwrap();
        assert_eq!(joiner.poll(), Some(()));

        // With the queue, whose other items are dropped all the same.
        let shared = Rc::new(());
        let queue = Queue::new(0);
        for bomb in [false, true, false] {
            let item = (Bomb(bomb), Rc::clone(&shared));
            queue.put_nowait(item).unwrap_or(());
        }
        panic_text(|| drop(queue));
        assert_eq!(Rc::strong_count(&shared), 1);
    });
}
