//! Queues with unusual stores: one call changes the length by other than one, or the length counts items that are not
//! given.

use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Duration;

use callsoon::queue::{GetError, QueueStore, ShutDown, TooManyTasksDone};
use callsoon::{Queue, create_task, sleep};

use crate::support::{Waiting, audited, complete, on_virtual_time};

type Items = VecDeque<i32>;

/// A store whose behaviour the test decides.
struct Odd {
    items: Items,
    put: fn(&mut Items, i32),
    get: fn(&mut Items) -> Option<i32>,
}

impl Odd {
    fn new(put: fn(&mut Items, i32), get: fn(&mut Items) -> Option<i32>) -> Self {
        let items = Items::new();
        Self { items, put, get }
    }
}

impl QueueStore<i32> for Odd {
    fn len(&self) -> usize {
        self.items.len()
    }

    fn put(&mut self, item: i32) {
        (self.put)(&mut self.items, item);
    }

    fn get(&mut self) -> Option<i32> {
        (self.get)(&mut self.items)
    }
}

/// Passes over negative items, which are stale, as long as there is another one.
fn skip_stale(items: &mut Items) -> Option<i32> {
    while items.len() > 1 && items.front().is_some_and(|item| *item < 0) {
        items.pop_front();
    }
    items.pop_front()
}

/// Stores an item in two portions.
fn put_halves(items: &mut Items, item: i32) {
    items.extend([item / 2, item - item / 2]);
}

#[test]
fn a_get_that_makes_several_places_lets_as_many_putters_go_on() {
    on_virtual_time(|trace, event_loop| {
        let mut store = Odd::new(Items::push_back, skip_stale);
        store.items.extend([-1, -2, 3]);
        let queue = Rc::new(Queue::with_store(3, store));
        let t = trace.clone();
        complete(&event_loop, async move {
            let putters = [4, 5, 6].map(|item| {
                let (queue, t) = (Rc::clone(&queue), t.clone());
                create_task(async move {
                    queue.put(item).await.unwrap();
                    t.push(format!("put {item}"));
                })
            });
            sleep(Duration::from_secs(1)).await;
            t.push(format!("got {:?}", queue.get_nowait()));
            for putter in putters {
                putter.await.unwrap();
            }
            assert_eq!(queue.qsize(), 3);
        });
        trace.expect(["got Ok(3)", "put 4", "put 5", "put 6"]);
    });
}

#[test]
fn a_waiting_getter_that_makes_several_places_lets_as_many_putters_go_on() {
    audited(|| {
        let mut store = Odd::new(Items::push_back, skip_stale);
        store.items.extend([-1, 2]);
        let queue = Queue::with_store(2, store);
        let mut putters = [3, 4].map(|item| Waiting::begun(queue.put(item)));
        assert_eq!(Waiting::new(queue.get()).poll(), Some(Ok(2)));
        for putter in &mut putters {
            assert!(putter.is_woken());
            assert_eq!(putter.poll(), Some(Ok(())));
        }
    });
}

#[test]
fn an_item_that_becomes_several_is_enough_for_as_many_getters() {
    audited(|| {
        let queue = Queue::with_store(0, Odd::new(put_halves, Items::pop_front));
        let mut getters: Vec<_> = (0..3).map(|_| Waiting::begun(queue.get())).collect();
        queue.put_nowait(7).unwrap();
        let woken: Vec<_> = getters.iter().map(Waiting::is_woken).collect();
        assert_eq!(woken, [true, true, false]);
        assert_eq!(getters[0].poll(), Some(Ok(3)));
        assert_eq!(getters[1].poll(), Some(Ok(4)));
        assert_eq!(getters[2].poll(), None);
        let mut joiner = Waiting::begun(queue.join());
        queue.task_done().unwrap();
        assert!(joiner.poll().is_none(), "the other half is not reported");
        queue.task_done().unwrap();
        assert_eq!(queue.task_done(), Err(TooManyTasksDone));
        assert_eq!(joiner.poll(), Some(()));
    });
}

#[test]
fn a_get_that_leaves_more_than_there_was_is_enough_for_as_many_getters() {
    /// Gives the first part of a bundle and keeps the rest unbundled.
    fn unbundle(items: &mut Items) -> Option<i32> {
        let first = items.pop_front()?;
        items.extend(1..first);
        Some(first)
    }
    audited(|| {
        let queue = Queue::with_store(0, Odd::new(Items::push_back, unbundle));
        let mut getters: Vec<_> = (0..5).map(|_| Waiting::begun(queue.get())).collect();
        queue.put_nowait(3).unwrap();
        let mut got = Vec::new();
        for getter in &mut getters {
            if getter.is_woken() {
                got.extend(getter.poll());
            }
        }
        assert_eq!(got, [Ok(3), Ok(1), Ok(2), Ok(1)]);
        assert!(!getters[4].is_woken());
        for _ in 0..4 {
            queue.task_done().unwrap();
        }
        assert_eq!(Waiting::new(queue.join()).poll(), Some(()));
    });
}

#[test]
fn a_get_that_keeps_its_item_is_enough_for_the_getter_behind_it() {
    audited(|| {
        let keep = |items: &mut Items| items.front().copied();
        let queue = Queue::with_store(0, Odd::new(Items::push_back, keep));
        let mut getters: Vec<_> = (0..3).map(|_| Waiting::begun(queue.get())).collect();
        queue.put_nowait(1).unwrap();
        for getter in &mut getters {
            assert!(getter.is_woken());
            assert_eq!(getter.poll(), Some(Ok(1)));
        }
    });
}

#[test]
fn a_put_that_makes_room_lets_putters_go_on() {
    audited(|| {
        let replace = |items: &mut Items, item| {
            if item == 0 {
                items.clear();
            }
            items.push_back(item);
        };
        let queue = Queue::with_store(3, Odd::new(replace, Items::pop_front));
        for item in [1, 2] {
            queue.put_nowait(item).unwrap();
        }
        let mut first = Waiting::new(queue.put(0));
        queue.put_nowait(3).unwrap();
        let mut putters = [4, 5, 6].map(|item| Waiting::begun(queue.put(item)));
        assert_eq!(queue.get_nowait(), Ok(1));
        assert_eq!(putters[0].poll(), Some(Ok(())));
        assert!(first.poll().is_none(), "it came last");
        assert_eq!(queue.get_nowait(), Ok(2));
        assert_eq!(putters[1].poll(), Some(Ok(())));
        assert_eq!(queue.get_nowait(), Ok(3));
        drop(putters);
        // Its turn: it clears the store, and two more may follow.
        let mut behind = [7, 8, 9].map(|item| Waiting::begun(queue.put(item)));
        assert_eq!(first.poll(), Some(Ok(())));
        let woken: Vec<_> = behind.iter().map(Waiting::is_woken).collect();
        assert_eq!(woken, [true, true, false]);
        assert_eq!(behind[0].poll(), Some(Ok(())));
        assert_eq!(behind[1].poll(), Some(Ok(())));
        assert_eq!(behind[2].poll(), None);
    });
}

/// Counts items that it does not give.
struct Liar {
    counted: usize,
    forgets: bool,
    gives: Option<i32>,
}

impl QueueStore<i32> for Liar {
    fn len(&self) -> usize {
        self.counted
    }

    fn put(&mut self, item: i32) {
        self.counted += 1;
        self.gives = (item > 0).then_some(item);
    }

    fn get(&mut self) -> Option<i32> {
        if self.forgets {
            self.counted = 0;
        }
        self.gives.take()
    }
}

#[test]
fn a_get_that_finds_nothing_waits_on_and_says_shut_down_only_when_it_is() {
    for forgets in [false, true] {
        audited(move || {
            let store = Liar {
                counted: 0,
                forgets,
                gives: None,
            };
            let queue = Queue::with_store(0, store);
            let mut getters = [0, 1].map(|_| Waiting::begun(queue.get()));
            queue.put_nowait(-1).unwrap();
            assert_eq!(queue.get_nowait(), Err(GetError::Empty));
            queue.put_nowait(-1).unwrap();
            // However often they are polled: they have not been lied to for ever.
            for _ in 0..10 {
                for getter in &mut getters {
                    assert_eq!(getter.poll(), None);
                }
            }
            let woken = getters.iter().filter(|getter| getter.is_woken()).count();
            assert_eq!(woken, 0, "nothing has come");
            queue.put_nowait(5).unwrap();
            assert!(getters[0].is_woken(), "it has kept its place");
            assert_eq!(getters[0].poll(), Some(Ok(5)));
            queue.shutdown(false);
            assert!(getters[1].is_woken());
            assert_eq!(getters[1].poll(), Some(Err(ShutDown(()))));
            assert_eq!(queue.get_nowait(), Err(GetError::ShutDown));
        });
    }
}

#[test]
fn getters_of_a_store_that_gives_nothing_do_not_keep_the_loop_busy() {
    on_virtual_time(|_, event_loop| {
        complete(&event_loop, async {
            let store = Liar {
                counted: 1,
                forgets: false,
                gives: None,
            };
            let queue = Rc::new(Queue::with_store(0, store));
            let getters = [0, 1, 2].map(|_| {
                let queue = Rc::clone(&queue);
                create_task(async move { queue.get().await })
            });
            // On the virtual clock time passes only where nothing is ready.
            sleep(Duration::from_secs(1)).await;
            queue.shutdown(false);
            for getter in getters {
                assert_eq!(getter.await.unwrap(), Err(ShutDown(())));
            }
        });
    });
}

#[test]
fn join_does_not_wait_for_items_that_the_store_has_dropped() {
    audited(|| {
        let newest = |items: &mut Items, item| {
            items.clear();
            items.push_back(item);
        };
        let queue = Queue::with_store(0, Odd::new(newest, Items::pop_front));
        for item in 1..=3 {
            queue.put_nowait(item).unwrap();
        }
        let mut joiner = Waiting::begun(queue.join());
        assert_eq!(queue.get_nowait(), Ok(3));
        assert!(joiner.poll().is_none(), "it was taken and not reported");
        queue.task_done().unwrap();
        assert!(joiner.is_woken());
        assert_eq!(joiner.poll(), Some(()));

        let queue = Queue::with_store(0, Odd::new(Items::push_back, skip_stale));
        for item in [-1, -2, 3] {
            queue.put_nowait(item).unwrap();
        }
        let mut joiner = Waiting::begun(queue.join());
        assert_eq!(queue.get_nowait(), Ok(3));
        queue.task_done().unwrap();
        assert_eq!(joiner.poll(), Some(()));
        // The next item is waited for as ever.
        queue.put_nowait(4).unwrap();
        let mut joiner = Waiting::begun(queue.join());
        assert_eq!(queue.get_nowait(), Ok(4));
        assert!(joiner.poll().is_none());
        queue.task_done().unwrap();
        assert_eq!(joiner.poll(), Some(()));
    });
}

#[test]
fn an_early_report_counts_as_ever() {
    audited(|| {
        let queue = Queue::new(0);
        queue.put_nowait(1).unwrap();
        queue.put_nowait(2).unwrap();
        let mut joiner = Waiting::begun(queue.join());
        // asyncio allows it before the item is taken.
        queue.task_done().unwrap();
        assert_eq!(queue.get_nowait(), Ok(1));
        assert_eq!(queue.get_nowait(), Ok(2));
        assert!(joiner.poll().is_none());
        queue.task_done().unwrap();
        assert_eq!(joiner.poll(), Some(()));
    });
}
