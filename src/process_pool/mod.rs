//! Functions in processes of their own: for what computes for long, and for what may crash.
//!
//! A thread shares the fate of its process, a process does not: a job that aborts, leaks or is killed for its memory costs
//! its worker, which is replaced, and a job that nobody waits for any more is killed. The price is that argument and
//! result travel as bytes, by serde.
//!
//! Workers are this same program, started anew with an argument of which [`worker`] takes notice; a process with threads
//! is never forked. So `main` begins with that call, which says what functions there are. Each is a static, so that the
//! types of its argument and result are known where it is called.
//!
//! ```no_run
//! use callsoon::process_pool::{Function, ProcessPoolExecutor, worker};
//!
//! static SQUARE: Function<u64, u64> = Function::new("square", |n| n * n);
//!
//! fn main() {
//!     worker(&[&SQUARE]);
//!     let answer = callsoon::run(async {
//!         let pool = ProcessPoolExecutor::new();
//!         pool.run(&SQUARE, 12).await
//!     });
//!     assert_eq!(answer.unwrap().unwrap(), 144);
//! }
//! ```

mod error;
mod executor;
mod function;
mod serve;

pub use error::ProcessPoolError;
pub use executor::{ProcessPoolBuilder, ProcessPoolExecutor};
pub use function::{Function, Registered};
pub use serve::worker;
