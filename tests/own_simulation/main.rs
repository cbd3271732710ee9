//! A binary of its own, because it runs for seconds: a chat server, its clients and a network that fails, in one process on
//! the virtual clock, many times, each time with another seed.
//!
//! A seed decides everything: what the clients do, what goes wrong on the network, and in which order the loop runs what is
//! ready. After each run the invariants are checked that [`invariants`] lists, and some seeds run twice, which has to give
//! the same trace. A failure prints the line that repeats it.
//!
//! | `CALLSOON_SIMULATION` | effect |
//! |---|---|
//! | not set | some hundred seeds |
//! | `seeds=N` | the seeds from 0 to N - 1 |
//! | `seed=N` | this seed alone; its trace is printed |

mod client; // a client that follows a random script
mod faults; // faults that are planted in the server
mod history; // the trace, and what each part has seen
mod invariants; // what has to hold after each run
mod network; // wires that are late, reset, cut or held
mod random; // random numbers from a seed
mod scenario; // one run
mod seeds; // the tests: many runs
mod server; // the chat server
