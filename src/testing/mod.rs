//! What tests of programs on this loop need: a clock that moves by itself or by hand, an audit of what is left, streams in
//! memory that fail as told, another order of what is ready, and a trace.
//!
//! # How to test a callsoon program
//! **A test is a future.** [`run`] runs it on a loop of its own, and fails it if it leaves something behind. It is the
//! counterpart of [`callsoon::run`](crate::run()), which cancels what is left instead.
//!
//! ```
//! use std::time::Duration;
//!
//! use callsoon::testing::{self, Trace};
//! use callsoon::{create_task, sleep, timeout};
//!
//! # // An example is a function of its own, so what would be marked as a test is called.
//! fn a_slow_answer_is_given_up_after_an_hour() {
//!     let trace = Trace::new();
//!     testing::run(async {
//!         let t = trace.clone();
//!         let answer = create_task(async move {
//!             sleep(Duration::from_secs(2 * 3600)).await;
//!             t.push("answered");
//!         });
//!         let ended = timeout(Duration::from_secs(3600), answer).await;
//!         trace.push(if ended.is_ok() { "in time" } else { "given up" });
//!     });
//!     trace.expect(["given up"]);
//! }
//! # a_slow_answer_is_given_up_after_an_hour();
//! ```
//!
//! **Time is a value.** The loop of a test has [`Clock::Virtual`](crate::Clock::Virtual): it stands still while work is
//! ready, and jumps to the next timer when none is. So the test above takes microseconds, and gives the same trace each
//! time. A test that has to look between two moments moves the clock itself: it takes
//! [`Clock::Manual`](crate::Clock::Manual), calls [`advance`](crate::ClockHandle::advance) or
//! [`advance_to_next`](crate::ClockHandle::advance_to_next), and awaits [`settle()`], which runs all that has become ready.
//!
//! ```
//! use std::time::Duration;
//!
//! use callsoon::{Clock, testing};
//!
//! testing::builder().clock(Clock::Manual).run(async {
//!     let nap = callsoon::create_task(callsoon::sleep(Duration::from_secs(5)));
//!     testing::settle().await;
//!     testing::clock().advance(Duration::from_secs(5));
//!     assert!(!nap.done(), "nothing runs while this task does");
//!     testing::settle().await;
//!     assert!(nap.done());
//! });
//! ```
//!
//! **The network is memory.** [`duplex()`] gives two ends of a byte stream, and [`Faults`] says what goes wrong on one of
//! them: a byte at a time, late, reset in the middle. Everything that takes any byte stream can be tested so. Where a real
//! socket is needed, [`hold`](crate::ClockHandle::hold) keeps the clock from jumping over bytes that are on their way.
//! Threads, look-ups of names and child processes hold it by themselves.
//!
//! ```
//! use callsoon::testing::{self, Faults};
//!
//! testing::run(async {
//!     let (mut near, mut far) = testing::duplex(1024);
//!     near.write_all(b"GET / HTTP/1.1\r\nHost: here\r\n").await.unwrap();
//!     drop(near);
//!     far.set_faults(Faults::new().short_reads(1));
//!     let mut lines = callsoon::lines(far);
//!     assert_eq!(lines.next_line().await.unwrap().unwrap(), b"GET / HTTP/1.1\r\n");
//!     assert_eq!(lines.next_line().await.unwrap().unwrap(), b"Host: here\r\n");
//! });
//! ```
//!
//! **The order is somebody else's.** Which of two tasks continues first is often an accident of how they were written.
//! [`shuffle_all`] runs a test with many orders; a failure prints the seed, and `CALLSOON_SHUFFLE_SEED` repeats that one.
//! What is promised keeps its order: [`Builder::shuffle`](crate::Builder::shuffle) has the list.
//!
//! **The whole trace is compared.** [`Trace`] collects lines from tasks, callbacks and threads, and
//! [`expect`](Trace::expect) compares all of them: what happened once too often is noticed, too.
//!
//! **Nothing is left.** A test that forgets a task has tested less than it says. [`try_run`] returns what is left as a list
//! of [`Leftover`]s, for a test about leaving something.

mod audit;
mod byte_queue;
pub(crate) mod duplex;
mod faults;
mod leftover;
mod settle;
#[cfg(target_os = "linux")]
mod started;
#[cfg(callsoon_faults)]
mod system_faults;
mod test_builder;
mod trace;

pub use duplex::{DuplexStream, duplex};
pub use faults::Faults;
pub use leftover::{Leftover, TestError};
pub use settle::settle;
#[cfg(callsoon_faults)]
pub use system_faults::SystemFaults;
pub use test_builder::{TestBuilder, builder, clock, run, shuffle_all, try_run};
pub use trace::Trace;
