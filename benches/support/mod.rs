//! What the benches share: the harness that measures and prints, and the peers that do the work.
//!
//! - `failure`: why there are no figures, and the exit codes
//! - `options`, `rows`: the command line, for the parent and for its children; the names that it may choose
//! - `child`: a process of this same binary with a deadline, never left behind
//! - `rounds`: rows × peers × rounds in alternating order, failures kept apart from figures
//! - `progress`: what is being measured and how long it will take, on standard error
//! - `saves`, `machine`, `date`: runs as files, what they were measured on, and when
//! - `compare`, `keep`: two runs side by side; `--save` and `--compare`
//! - `table`, `markdown`: figures, medians, quartiles, the printed table, the JSON lines, the README's tables
//! - `cpu`, `pin`: wall clock and processor time of this process; which core a thread runs on
//! - `random`: a small generator, so that every peer sees the same deadlines
//! - `gate`, `one_slot`: the wake-up and the channel that every peer's row uses
//! - `cross_thread`: posts from another thread, to a loop that sleeps and in a row
//! - `served`: one run of a server and a load generator
//! - `latency`: all of the bench `latency` but its `main`
//! - `live_bytes`: the allocator that counts live bytes when asked to
//! - `peers`: one file a runtime, each the same primitives; the rows are written once, over those

#![expect(dead_code, reason = "each bench uses its part of this")]

pub(crate) mod child;
pub(crate) mod compare;
pub(crate) mod cpu;
pub(crate) mod cross_thread;
pub(crate) mod date;
pub(crate) mod failure;
pub(crate) mod gate;
pub(crate) mod keep;
pub(crate) mod latency;
pub(crate) mod live_bytes;
pub(crate) mod machine;
pub(crate) mod markdown;
pub(crate) mod one_slot;
pub(crate) mod options;
pub(crate) mod peers;
pub(crate) mod pin;
pub(crate) mod progress;
pub(crate) mod random;
pub(crate) mod rounds;
pub(crate) mod rows;
pub(crate) mod saves;
pub(crate) mod served;
pub(crate) mod table;
