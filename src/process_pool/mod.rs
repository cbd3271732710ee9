//! A pool of worker processes, for functions that compute for long or may crash.
//!
//! A job that aborts, leaks memory or is killed ends its worker process only, and the pool starts another worker. A job
//! whose future is dropped is killed. In exchange, arguments and results are serialized by serde.
//!
//! A worker is the same program, started again with an argument that [`worker`] recognizes. So `main` begins with a call of
//! [`worker`], which lists the functions that a worker can run. Each function is a static, so that the types of its argument
//! and result are known where it is called.
//!
//! # Differences from asyncio
//! - Functions are declared as statics. Python calls any function that can be pickled.
//! - A worker is never forked: a forked process lacks the threads of its parent, and its locks may be held for ever.
//! - A job that is cancelled while it runs is killed together with its worker. Python cannot cancel a running job.
//! - A worker that dies fails its own job. In Python it breaks the whole pool.
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
