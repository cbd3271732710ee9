//! Inspection of a loop at run time.
//!
//! These modules read the kernel's counters and change nothing. A loop that nobody inspects pays for one addition a turn.
//!
//! | file | what is there |
//! |---|---|
//! | `metrics` | counters |
//! | `task_info`, `edges` | what is known of each task; who waits for what, and circles |
//! | `call_graph` | asyncio's call graphs |
//! | `snapshot`, `json` | all of a loop at one moment, as values, text and JSON |
//! | `inspector`, `watcher`, `client`, `answer` | the socket at which a loop is asked; its thread, its clients, its protocol |

pub(crate) mod answer;
pub(crate) mod call_graph;
pub(crate) mod client;
pub(crate) mod edges;
pub(crate) mod inspector;
pub(crate) mod json;
pub(crate) mod metrics;
pub(crate) mod snapshot;
pub(crate) mod task_info;
pub(crate) mod watcher;
