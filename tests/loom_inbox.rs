//! Its own file because it builds the kernel's inbox from loom's locks instead of std's, and runs it through every
//! interleaving of a few threads. The file under test is the one that ships; only `sync` is another.

/// What `src/sys/sync.rs` names, in loom's edition.
mod sys {
    pub(crate) use super::prefetch;
    pub(crate) mod sync {
        /// No model forks.
        pub(crate) fn forks() -> u32 {
            0
        }
        pub(crate) use loom::sync::{
            Mutex, MutexGuard,
            atomic::{AtomicBool, AtomicU64, Ordering},
        };
        /// Every thread of a model is the same one to std.
        pub(crate) const CHECKED: bool = true;
        pub(crate) const MODEL: bool = true;
    }
}
#[path = "../src/kernel/batch.rs"]
mod batch;
#[expect(dead_code, reason = "no model polls for events")]
#[path = "../src/kernel/inbox.rs"]
mod inbox;
#[expect(
    dead_code,
    reason = "the places of timers, which no model has, are made of it as well"
)]
#[path = "../src/kernel/inline_fn.rs"]
mod inline_fn;
#[path = "../src/sys/prefetch.rs"]
#[expect(dead_code, reason = "tasks, which no model has, are asked for as well")]
mod prefetch;

use std::io;
use std::sync::Arc;
// Counters of the tests, read when the threads are joined: std's, so that loom does not explore the counting.
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use batch::Delivery;
use inbox::{Inbox, Notify};
use inline_fn::SendFn;
use loom::sync::atomic::Ordering::Relaxed;
use loom::sync::{Condvar, Mutex};
use loom::thread;

const EPOCH: u64 = 3;

/// An eventfd made of loom's parts. A loop that sleeps with pending entries and was not notified hangs here, and loom
/// reports a deadlock.
#[derive(Default)]
struct EventFd {
    count: Mutex<usize>,
    written: Condvar,
    /// Writes so far.
    notifications: AtomicUsize,
    /// This many writes fail before the first that succeeds.
    failures: AtomicUsize,
}

impl Notify for EventFd {
    fn notify(&self) -> io::Result<()> {
        if self.failures.load(SeqCst) > 0 {
            self.failures.fetch_sub(1, SeqCst);
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        self.notifications.fetch_add(1, SeqCst);
        *self.count.lock().unwrap() += 1;
        self.written.notify_one();
        Ok(())
    }
}

impl EventFd {
    fn wait(&self) {
        let mut count = self.count.lock().unwrap();
        while *count == 0 {
            count = self.written.wait(count).unwrap();
        }
        *count = 0;
    }
}

/// The part of a loop that deals with its inbox.
struct Loop {
    inbox: Arc<Inbox>,
    eventfd: Arc<EventFd>,
    sleeps: usize,
}

impl Loop {
    fn new() -> Self {
        let inbox = Arc::new(Inbox::vacant());
        let eventfd = Arc::new(EventFd::default());
        inbox.open(EPOCH, Arc::<EventFd>::clone(&eventfd));
        Self {
            inbox,
            eventfd,
            sleeps: 0,
        }
    }

    /// Posts to the inbox, which is open, and returns the closure's number.
    fn post(&self, closure: SendFn) -> u64 {
        let posted = self.inbox.post(EPOCH, closure);
        posted.unwrap_or_else(|_| panic!("open"))
    }

    /// A turn that has nothing else to do: sleeps unless there are entries, then returns them in order.
    fn turn(&mut self) -> Vec<Delivery> {
        if self.inbox.fall_asleep() {
            self.sleeps += 1;
            self.eventfd.wait();
            self.inbox.awake();
        }
        self.drain()
    }

    /// One entry for each closure, whether or not it was posted next to another.
    fn drain(&self) -> Vec<Delivery> {
        let mut entries = Vec::new();
        self.inbox.drain(|delivery| match delivery {
            Delivery::Calls(count) => entries.extend((0..count).map(|_| Delivery::Calls(1))),
            wake @ Delivery::Wake(_) => entries.push(wake),
        });
        entries
    }

    /// Runs the closures that the markers point to; false where one was cancelled.
    fn run(&self, markers: usize) -> Vec<bool> {
        (0..markers)
            .map(|_| self.inbox.take_next().map(SendFn::call).is_some())
            .collect()
    }
}

/// What became of closures: each capture is dropped once, whether or not its closure ran.
#[derive(Clone, Default)]
struct Fate {
    ran: Arc<AtomicUsize>,
    dropped: Arc<AtomicUsize>,
}

impl Fate {
    fn closure(&self) -> SendFn {
        struct Capture(Fate);
        impl Drop for Capture {
            fn drop(&mut self) {
                self.0.dropped.fetch_add(1, SeqCst);
            }
        }
        let capture = Capture(self.clone());
        SendFn::new(move || {
            let capture = capture;
            capture.0.ran.fetch_add(1, SeqCst);
        })
    }

    fn ran(&self) -> usize {
        self.ran.load(SeqCst)
    }

    fn dropped(&self) -> usize {
        self.dropped.load(SeqCst)
    }
}

/// Explores every interleaving with at most this many preemptions; `None` is all of them.
fn model(preemptions: Option<usize>, f: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = preemptions;
    builder.check(f);
}

#[test]
fn a4_wake_before_sleep_is_never_lost() {
    model(None, || {
        let mut this = Loop::new();
        let inbox = Arc::clone(&this.inbox);
        let other = thread::spawn(move || inbox.wake(7));
        // Were the wake lost, the turn would wait for ever.
        assert_eq!(this.turn(), [Delivery::Wake(7)]);
        other.join().unwrap();
        assert_eq!(this.eventfd.notifications.load(SeqCst), this.sleeps);
        assert!(!this.inbox.has_posts());
    });
}

#[test]
fn a4_post_before_sleep_is_never_lost() {
    model(None, || {
        let mut this = Loop::new();
        let inbox = Arc::clone(&this.inbox);
        let fate = Fate::default();
        let closure = fate.closure();
        let other = thread::spawn(move || assert!(inbox.post(EPOCH, closure).is_ok()));
        assert_eq!(this.turn(), [Delivery::Calls(1)]);
        assert_eq!(this.run(1), [true]);
        other.join().unwrap();
        assert_eq!((fate.ran(), fate.dropped()), (1, 1));
        assert_eq!(this.eventfd.notifications.load(SeqCst), this.sleeps);
    });
}

#[test]
fn a4_two_wakers_notify_a_sleep_once() {
    model(None, || {
        let mut this = Loop::new();
        let others = [7, 8].map(|key| {
            let inbox = Arc::clone(&this.inbox);
            thread::spawn(move || inbox.wake(key))
        });
        let mut woken = Vec::new();
        while woken.len() < 2 {
            woken.extend(this.turn());
        }
        for other in others {
            other.join().unwrap();
        }
        assert!(woken.contains(&Delivery::Wake(7)) && woken.contains(&Delivery::Wake(8)));
        assert!(this.eventfd.notifications.load(SeqCst) <= this.sleeps);
    });
}

#[test]
fn a4_a_wake_that_was_skipped_is_followed_by_a_poll() {
    model(None, || {
        let mut this = Loop::new();
        let inbox = Arc::clone(&this.inbox);
        let value = Arc::new(loom::sync::atomic::AtomicUsize::new(0));
        let written = Arc::clone(&value);
        let other = thread::spawn(move || {
            for step in 1..=2 {
                written.store(step, Relaxed);
                inbox.wake(7);
            }
        });
        // The task reads what the lock alone orders. If no poll follows the second write, this never ends.
        let mut polls = 0;
        let mut seen = 0;
        while seen < 2 {
            for delivery in this.turn() {
                assert_eq!(delivery, Delivery::Wake(7));
                polls += 1;
                seen = value.load(Relaxed);
            }
        }
        other.join().unwrap();
        polls += this.drain().len();
        assert!((1..=2).contains(&polls));
    });
}

#[test]
fn a4_a_loop_that_sees_the_hint_finds_the_entry() {
    model(None, || {
        let this = Loop::new();
        let inbox = Arc::clone(&this.inbox);
        let other = thread::spawn(move || inbox.wake(7));
        if this.inbox.has_posts() {
            assert_eq!(this.drain(), [Delivery::Wake(7)]);
            assert!(!this.inbox.has_posts());
        }
        other.join().unwrap();
        // The join orders the wake before this poll, so the hint may not lag any more.
        assert_eq!(this.inbox.has_posts(), !this.drain().is_empty());
        assert!(!this.inbox.has_posts());
    });
}

#[test]
fn d8_a_failed_notification_is_tried_again_by_the_next_sender() {
    model(None, || {
        let mut this = Loop::new();
        this.eventfd.failures.store(1, SeqCst);
        let inbox = Arc::clone(&this.inbox);
        // The same key twice: the second one is skipped, and notifies all the same.
        let other = thread::spawn(move || {
            inbox.wake(7);
            inbox.wake(7);
        });
        assert!(!this.turn().is_empty());
        other.join().unwrap();
    });
}

#[test]
fn i1_a_post_that_meets_close_is_run_returned_or_given_back() {
    // A loop may close between the drain and the run, too.
    for runs in [true, false] {
        model(None, move || {
            let this = Loop::new();
            let inbox = Arc::clone(&this.inbox);
            let fate = Fate::default();
            let closure = fate.closure();
            let other = thread::spawn(move || inbox.post(EPOCH, closure).map_err(drop).is_err());
            let markers = this.drain().len();
            if runs {
                this.run(markers);
            }
            let left = this.inbox.close();
            let returned = left.len();
            drop(left);
            let refused = usize::from(other.join().unwrap());
            assert_eq!(fate.ran() + returned + refused, 1);
            assert_eq!(fate.dropped(), 1);
            assert!(!this.inbox.has_posts());
            assert!(this.inbox.post(EPOCH, fate.closure()).is_err());
            // Nothing holds the notifier any more, neither the inbox nor a sender that was late.
            assert_eq!(Arc::strong_count(&this.eventfd), 1);
        });
    }
}

#[test]
fn i1_a_post_while_a_loop_closes_is_kept_or_given_back() {
    model(None, || {
        let this = Loop::new();
        assert!(this.inbox.is_open(EPOCH) && this.inbox.is_home(EPOCH));
        assert!(!this.inbox.is_open(EPOCH + 1) && !this.inbox.is_home(EPOCH + 1));
        let inbox = Arc::clone(&this.inbox);
        let other = thread::spawn(move || [(); 2].map(|()| inbox.is_open(EPOCH)));
        drop(this.inbox.close());
        assert_ne!(other.join().unwrap(), [false, true], "it opens again");
        assert!(!this.inbox.is_open(EPOCH) && !this.inbox.is_home(EPOCH));
    });
}

#[test]
fn i1_a_closure_never_reaches_the_loop_that_opens_next() {
    model(None, || {
        let this = Loop::new();
        let inbox = Arc::clone(&this.inbox);
        let fate = Fate::default();
        let closure = fate.closure();
        let other = thread::spawn(move || {
            let posted = inbox.post(EPOCH, closure);
            inbox.wake(7);
            posted
                .map(|sequence| inbox.cancel(EPOCH, sequence, || ()).is_some())
                .is_ok_and(|cancelled| cancelled)
        });
        let returned = this.inbox.close().len();
        let next = Arc::new(EventFd::default());
        this.inbox.open(EPOCH + 1, Arc::<EventFd>::clone(&next));
        let cancelled = usize::from(other.join().unwrap());
        // The key may get through, the closure may not.
        assert!(
            this.drain()
                .iter()
                .all(|delivery| *delivery == Delivery::Wake(7))
        );
        assert!(this.inbox.take_next().is_none());
        assert_eq!((fate.ran(), fate.dropped()), (0, 1));
        assert!(returned + cancelled <= 1);
        assert_eq!(Arc::strong_count(&this.eventfd), 1);
        assert_eq!(next.notifications.load(SeqCst), 0);
    });
}

#[test]
fn i1_a_notification_that_fails_while_the_loop_closes_leaves_the_next_loop_alone() {
    model(None, || {
        let this = Loop::new();
        this.eventfd.failures.store(1, SeqCst);
        assert!(this.inbox.fall_asleep());
        let inbox = Arc::clone(&this.inbox);
        let other = thread::spawn(move || inbox.wake(7));
        this.inbox.close();
        let next = Arc::new(EventFd::default());
        this.inbox.open(EPOCH + 1, Arc::<EventFd>::clone(&next));
        other.join().unwrap();
        this.inbox.wake(8);
        assert_eq!(
            next.notifications.load(SeqCst),
            0,
            "the next loop does not sleep"
        );
    });
}

#[test]
fn i2_two_senders_keep_their_order_and_each_closure_runs_once() {
    // Without a bound this model would take longer than all the others together.
    model(Some(4), || {
        let mut this = Loop::new();
        let trace = Arc::new(std::sync::Mutex::new(Vec::new()));
        let others = [10, 20].map(|sender| {
            let inbox = Arc::clone(&this.inbox);
            let trace = Arc::clone(&trace);
            thread::spawn(move || {
                for step in [1, 2] {
                    let trace = Arc::clone(&trace);
                    let closure = SendFn::new(move || trace.lock().unwrap().push(sender + step));
                    assert!(inbox.post(EPOCH, closure).is_ok());
                }
            })
        });
        let mut ran = 0;
        while ran < 4 {
            let markers = this.turn().len();
            assert!(this.run(markers).into_iter().all(|ran| ran));
            ran += markers;
        }
        for other in others {
            other.join().unwrap();
        }
        let trace = trace.lock().unwrap().clone();
        for sender in [10, 20] {
            let own: Vec<i32> = trace
                .iter()
                .copied()
                .filter(|entry| entry / 10 * 10 == sender)
                .collect();
            assert_eq!(own, [sender + 1, sender + 2]);
        }
        assert_eq!(trace.len(), 4);
        assert!(this.eventfd.notifications.load(SeqCst) <= this.sleeps);
        assert!(this.inbox.take_next().is_none());
    });
}

#[test]
fn i2_keys_and_closures_of_a_sender_stay_in_order() {
    model(None, || {
        let mut this = Loop::new();
        let inbox = Arc::clone(&this.inbox);
        let fate = Fate::default();
        let closure = fate.closure();
        let other = thread::spawn(move || {
            inbox.wake(7);
            assert!(inbox.post(EPOCH, closure).is_ok());
            // The same key again, but not the last entry: it comes after the closure.
            inbox.wake(7);
        });
        let mut entries = Vec::new();
        while entries.len() < 3 {
            entries.extend(this.turn());
        }
        assert_eq!(
            entries,
            [Delivery::Wake(7), Delivery::Calls(1), Delivery::Wake(7)]
        );
        assert_eq!(this.run(1), [true]);
        other.join().unwrap();
        assert_eq!(fate.dropped(), 1);
    });
}

#[test]
fn i3_a_destructor_may_post_to_the_inbox_it_is_dropped_by() {
    struct PostOnDrop(Arc<Inbox>);
    impl Drop for PostOnDrop {
        fn drop(&mut self) {
            self.0.wake(9);
            drop(self.0.cancel(EPOCH, 0, || ()));
            drop(self.0.post(EPOCH, SendFn::new(|| ())));
        }
    }
    // One thread is enough: a lock that is held would be locked twice, which loom reports as a deadlock.
    model(None, || {
        let this = Loop::new();
        let closure = || {
            let posting = PostOnDrop(Arc::clone(&this.inbox));
            SendFn::new(move || drop(posting))
        };
        let sequence = this.post(closure());
        assert!(this.inbox.cancel(EPOCH, sequence, || ()).is_some());
        assert!(this.inbox.post(EPOCH, closure()).is_ok());
        let mut entries = Vec::new();
        this.inbox.drain(|entry| entries.push(entry));
        assert_eq!(
            entries,
            [Delivery::Calls(1), Delivery::Wake(9), Delivery::Calls(2)]
        );
        assert_eq!(this.run(3), [false, true, true]);
        assert!(this.inbox.post(EPOCH, closure()).is_ok());
        for left in this.inbox.close() {
            drop(left);
        }
        assert!(this.inbox.post(EPOCH, closure()).is_err());
    });
}

#[test]
fn i3_a_notifier_is_notified_with_no_lock_held() {
    struct Nosy(Arc<Inbox>);
    impl Notify for Nosy {
        fn notify(&self) -> io::Result<()> {
            drop(self.0.cancel(EPOCH, 0, || ()));
            Err(io::ErrorKind::PermissionDenied.into())
        }
    }
    model(None, || {
        let inbox = Arc::new(Inbox::vacant());
        inbox.open(EPOCH, Arc::new(Nosy(Arc::clone(&inbox))));
        assert!(inbox.fall_asleep());
        inbox.wake(7);
        assert!(inbox.post(EPOCH, SendFn::new(|| ())).is_ok());
        assert!(!inbox.fall_asleep());
        inbox.close();
    });
}

#[test]
fn i4_a_closure_runs_or_is_cancelled_and_never_both() {
    model(None, || {
        let this = Loop::new();
        let fate = Fate::default();
        let first = this.post(fate.closure());
        let inbox = Arc::clone(&this.inbox);
        let marked = Arc::new(sys::sync::AtomicBool::new(false));
        let mark = Arc::clone(&marked);
        let other = thread::spawn(move || {
            let mark = || mark.store(true, Relaxed);
            inbox.cancel(EPOCH, first, mark).is_some()
        });
        assert_eq!(this.drain(), [Delivery::Calls(1)]);
        let ran = this.run(1) == [true];
        assert_eq!(
            marked.load(Relaxed),
            !ran,
            "who finds it gone finds the mark"
        );
        let cancelled = other.join().unwrap();
        assert!(ran != cancelled);
        assert_eq!((fate.ran(), fate.dropped()), (usize::from(ran), 1));
        assert!(
            this.inbox.cancel(EPOCH, first, || ()).is_none(),
            "a second cancel takes nothing"
        );
    });
}

#[test]
fn i4_a_cancel_hits_its_own_closure_while_both_places_move() {
    model(None, || {
        let this = Loop::new();
        let fates: [Fate; 3] = Default::default();
        this.post(fates[0].closure());
        assert_eq!(this.drain(), [Delivery::Calls(1)]);
        // One closure in the batch, then one in the inbox that is cancelled twice, then one more.
        let target = this.post(fates[1].closure());
        let others = [(); 2].map(|()| {
            let inbox = Arc::clone(&this.inbox);
            thread::spawn(move || usize::from(inbox.cancel(EPOCH, target, || ()).is_some()))
        });
        this.post(fates[2].closure());
        assert_eq!(this.drain().len(), 2);
        let ran = this.run(3);
        let cancelled: usize = others.map(|other| other.join().unwrap()).iter().sum();
        assert_eq!(usize::from(ran[1]) + cancelled, 1);
        assert!(ran[0] && ran[2]);
        assert_eq!(
            [0, 1, 2].map(|at| fates[at].ran()),
            [1, usize::from(ran[1]), 1]
        );
        assert!(fates.iter().all(|fate| fate.dropped() == 1));
    });
}

#[test]
fn i4_a_cancel_finds_a_closure_that_is_on_its_way() {
    model(None, || {
        let this = Loop::new();
        let fates: [Fate; 2] = Default::default();
        let [first, second] = [0, 1].map(|at| this.post(fates[at].closure()));
        let inbox = Arc::clone(&this.inbox);
        let other = thread::spawn(move || inbox.cancel(EPOCH, second, || ()).is_some());
        // The pending entries move to the batch, and the place of a closure moves when the one before it is taken;
        // neither hides it.
        assert_eq!(this.drain(), [Delivery::Calls(1), Delivery::Calls(1)]);
        assert_eq!(this.run(1), [true]);
        assert!(other.join().unwrap(), "nobody else has taken it");
        assert!(
            this.inbox.cancel(EPOCH, first, || ()).is_none(),
            "it has run"
        );
        assert_eq!(this.run(1), [false]);
        assert_eq!([0, 1].map(|at| fates[at].ran()), [1, 0]);
        assert!(fates.iter().all(|fate| fate.dropped() == 1));
    });
}

#[test]
fn i4_a_cancel_that_meets_close_leaves_one_owner() {
    model(None, || {
        let this = Loop::new();
        let fate = Fate::default();
        let sequence = this.post(fate.closure());
        let inbox = Arc::clone(&this.inbox);
        let other =
            thread::spawn(move || usize::from(inbox.cancel(EPOCH, sequence, || ()).is_some()));
        let returned = this.inbox.close().len();
        assert_eq!(other.join().unwrap() + returned, 1);
        assert_eq!((fate.ran(), fate.dropped()), (0, 1));
    });
}
