//! `ClockHandle`: a clock that the program moves.
//!
//! [`Clock`](crate::Clock) says which clock a loop is built with; a `ClockHandle` is the clock of one loop, as a
//! `LoopHandle` is the loop. A host whose frames or events have a time of their own moves it between turns, and a test
//! moves it between two assertions. Neither needs a time source to be plugged in: the time is a number that the loop
//! owns, so that reading it calls no user code.

use std::fmt;
use std::time::{Duration, Instant};

use crate::kernel::clock::later;
use crate::kernel::inhibit::Inhibitor;
use crate::kernel::loop_handle::LoopHandle;
use crate::kernel::loop_state::Phase;

/// The clock of a loop that was built with [`Clock::Virtual`](crate::Clock::Virtual) or
/// [`Clock::Manual`](crate::Clock::Manual): made by [`LoopHandle::clock`].
///
/// The two differ in one setting, [`set_auto_advance`](Self::set_auto_advance): whether an idle loop moves the clock to
/// its next timer by itself. Time never goes back. Timers that become due run in the next turn, in the order of their
/// deadlines.
///
/// # Differences from asyncio
/// asyncio has no such clock. Its tests replace `loop.time`.
///
/// ```
/// use std::cell::Cell;
/// use std::rc::Rc;
/// use std::time::Duration;
///
/// use callsoon::{Clock, EventLoop};
///
/// // A host of 60 frames a second: its frames are the only time that the loop knows.
/// let event_loop = EventLoop::builder().clock(Clock::Manual).build()?;
/// let clock = event_loop.clock().expect("it is not the system's");
/// let fired = Rc::new(Cell::new(false));
/// let firing = Rc::clone(&fired);
/// event_loop.call_later(Duration::from_millis(40), move || firing.set(true));
/// for frame in 1..=3 {
///     clock.advance(Duration::from_micros(16_667));
///     event_loop.turn(Some(Duration::ZERO)).unwrap();
///     assert_eq!(fired.get(), frame == 3);
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct ClockHandle {
    handle: LoopHandle,
}

/// While it lives, the clock does not move by itself. Made by [`ClockHandle::hold`]; any thread may drop it.
#[must_use = "dropping it lets the clock go on"]
pub struct ClockGuard {
    _inhibitor: Option<Inhibitor>,
}

impl LoopHandle {
    /// Returns the loop's clock, if the loop or the program moves it. `None` if it is the system's.
    ///
    /// ```
    /// use callsoon::{Clock, EventLoop};
    /// assert!(EventLoop::new()?.clock().is_none());
    /// assert!(EventLoop::builder().clock(Clock::Manual).build()?.clock().is_some());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn clock(&self) -> Option<ClockHandle> {
        let handle = self.clone();
        self.state
            .clock
            .is_virtual()
            .then_some(ClockHandle { handle })
    }
}

impl ClockHandle {
    /// Returns the time, as [`LoopHandle::time`] does.
    ///
    /// ```
    /// # use callsoon::{Clock, EventLoop};
    /// # let event_loop = EventLoop::builder().clock(Clock::Manual).build()?;
    /// let clock = event_loop.clock().unwrap();
    /// assert_eq!(clock.now(), event_loop.time());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn now(&self) -> Instant {
        self.handle.time()
    }

    /// Moves the clock forward by this time, at once. Beyond the end of the clock, after 584 years, it stops.
    ///
    /// Timers that are due by then run in the next turn, with this new time as the current one. Code that is to see each
    /// timer at its own time moves the clock by [`advance_to_next`](Self::advance_to_next). In guest mode the loop's
    /// descriptor becomes readable if a timer is due.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use callsoon::{Clock, EventLoop};
    /// # let event_loop = EventLoop::builder().clock(Clock::Manual).build()?;
    /// let clock = event_loop.clock().unwrap();
    /// let before = clock.now();
    /// clock.advance(Duration::from_secs(3600));
    /// assert_eq!(clock.now() - before, Duration::from_secs(3600));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn advance(&self, time: Duration) {
        let now = self.handle.state.clock.now();
        self.move_to(later(now, time));
    }

    /// Moves the clock forward to `when`, at once; an earlier time than the current one changes nothing. A host that has
    /// a clock of its own sets this one to it before each turn.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use callsoon::{Clock, EventLoop};
    /// # let event_loop = EventLoop::builder().clock(Clock::Manual).build()?;
    /// let clock = event_loop.clock().unwrap();
    /// let later = clock.now() + Duration::from_millis(5);
    /// clock.advance_to(later);
    /// clock.advance_to(later - Duration::from_millis(1));
    /// assert_eq!(clock.now(), later);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn advance_to(&self, when: Instant) {
        let when = self.handle.state.clock.raw(when);
        self.move_to(when);
    }

    /// Moves the clock to the earliest deadline of a timer and returns how far that was; zero if it is due already.
    /// `None` if there is no timer that can ever fire; the clock stands still then.
    ///
    /// Of very many timers whose deadlines are far away it may stop before the first, at a time when none is due. A loop
    /// that calls it until its timer has run gets there in a few steps.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use callsoon::{Clock, EventLoop};
    /// # let event_loop = EventLoop::builder().clock(Clock::Manual).build()?;
    /// let clock = event_loop.clock().unwrap();
    /// event_loop.call_later(Duration::from_secs(60), || ());
    /// assert_eq!(clock.advance_to_next(), Some(Duration::from_secs(60)));
    /// event_loop.turn(Some(Duration::ZERO)).unwrap();
    /// assert_eq!(clock.advance_to_next(), None);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn advance_to_next(&self) -> Option<Duration> {
        let state = &self.handle.state;
        let next = state.timers(|timers| timers.next_deadline())?;
        let now = state.clock.now();
        self.move_to(next);
        Some(Duration::from_nanos(next.saturating_sub(now)))
    }

    /// Returns whether an idle loop moves the clock to its next timer.
    ///
    /// ```
    /// # use callsoon::{Clock, EventLoop};
    /// # let event_loop = EventLoop::builder().clock(Clock::Manual).build()?;
    /// assert!(!event_loop.clock().unwrap().auto_advance());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn auto_advance(&self) -> bool {
        self.handle.state.clock.jumps()
    }

    /// Sets whether an idle loop moves the clock to its next timer. It does under
    /// [`Clock::Virtual`](crate::Clock::Virtual), and does not under [`Clock::Manual`](crate::Clock::Manual), until this
    /// is called.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use callsoon::{Clock, EventLoop};
    /// # let event_loop = EventLoop::builder().clock(Clock::Manual).build()?;
    /// event_loop.clock().unwrap().set_auto_advance(true);
    /// event_loop.run_until_complete(callsoon::sleep(Duration::from_secs(3600))).unwrap();
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn set_auto_advance(&self, auto: bool) {
        self.handle.state.clock.set_jumps(auto);
    }

    /// Keeps the clock from moving by itself while the guard lives. [`advance`](Self::advance) still moves it.
    ///
    /// An idle loop knows of no packet that is still on its way. Hold the clock while real I/O runs, so that a timeout
    /// does not end it at once. Jobs of executors, look-ups of names and child processes hold it by themselves.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use callsoon::{Clock, EventLoop, timeout};
    /// let event_loop = EventLoop::builder().clock(Clock::Virtual).build()?;
    /// event_loop.run_until_complete(async {
    ///     let (near, far) = callsoon::net::UnixStream::pair()?;
    ///     let _held = callsoon::get_running_loop().clock().map(|clock| clock.hold());
    ///     let peer = callsoon::to_thread(move || 7);
    ///     far.write_all(&[peer.await.unwrap()]).await?;
    ///     let mut byte = [0];
    ///     timeout(Duration::from_secs(5), near.read(&mut byte)).await.unwrap()?;
    ///     assert_eq!(byte, [7]);
    ///     std::io::Result::Ok(())
    /// }).unwrap()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn hold(&self) -> ClockGuard {
        ClockGuard {
            _inhibitor: self.handle.state.inhibit(),
        }
    }

    fn move_to(&self, when: u64) {
        let state = &self.handle.state;
        state.clock.advance_to(when);
        // The next turn might otherwise leave the timers out.
        state.event_polls.force();
        if state.phase.get() != Phase::Running && state.has_due_timer() {
            // A host that sleeps on the descriptor is woken. A closed loop has no timers.
            let _ = state.admit();
        }
    }
}

impl fmt::Debug for ClockHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClockHandle")
            .field("now", &self.now())
            .field("auto_advance", &self.auto_advance())
            .finish()
    }
}

impl fmt::Debug for ClockGuard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClockGuard").finish_non_exhaustive()
    }
}
