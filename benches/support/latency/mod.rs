//! The parts of the bench `latency`.
//!
//! - `runtime`: what a runtime has to offer
//! - `on_callsoon`, `on_tokio`, `on_smol`: the runtimes
//! - `arrivals`: when requests are meant to happen, and what became of them
//! - `outside`: the other thread: posts, bytes for a socket, and a load of requests
//! - `loads`: what else the loop does meanwhile
//! - `paths`: the paths that are measured
//! - `names`: the paths and the loads by name
//! - `cells`: path × load × runtime
//! - `distribution`: rounds of samples, as histograms
//! - `others`: the binaries of benches/peers
//! - `report`: the table in the terminal, JSON, and what a saved run keeps
//! - `chart`, `page`: the page

pub(crate) mod arrivals;
pub(crate) mod cells;
pub(crate) mod chart;
pub(crate) mod distribution;
mod loads;
pub(crate) mod names;
mod on_callsoon;
mod on_smol;
mod on_tokio;
pub(crate) mod others;
mod outside;
pub(crate) mod page;
pub(crate) mod paths;
pub(crate) mod report;
pub(crate) mod runtime;
