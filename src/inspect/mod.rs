//! Inspection of a loop at run time.
//!
//! `metrics` reads the kernel's numbers and changes nothing: a loop that nobody inspects pays for one addition a batch.
//! `histogram` and `latencies` are data, which the kernel fills if the builder asks for that. They use nothing of the
//! kernel, so they are before it in the order of modules.
//!
//! | file | what is there |
//! |---|---|
//! | `metrics` | counters |
//! | `histogram`, `latencies` | how long calls took and waited |
//! | `task_info`, `edges` | what is known of each task; who waits for what, and circles |
//! | `call_graph` | asyncio's call graphs |
//! | `snapshot`, `json` | all of a loop at one moment, as values, text and JSON |
//! | `inspector`, `watcher`, `client`, `answer` | the socket at which a loop is asked; its thread, its clients, its protocol |

pub(crate) mod answer;
pub(crate) mod awaited_by;
pub(crate) mod call_graph;
pub(crate) mod client;
pub(crate) mod edges;
pub(crate) mod histogram;
pub(crate) mod inspector;
pub(crate) mod json;
pub(crate) mod latencies;
pub(crate) mod metrics;
pub(crate) mod snapshot;
pub(crate) mod task_info;
pub(crate) mod watcher;

pub use awaited_by::future_add_to_awaited_by;
pub use call_graph::{CallGraph, capture_call_graph, format_call_graph, print_call_graph};
pub use histogram::Histogram;
pub use inspector::InspectorError;
pub use latencies::{CallKind, Latencies};
pub use metrics::LoopMetrics;
pub use snapshot::{LoopSnapshot, SourceInfo, TimerInfo};
pub use task_info::{TaskInfo, TaskState, WaitInfo};
