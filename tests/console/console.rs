//! x
use console_api as _; use console_subscriber as _; use callsoon as _; use tokio as _; use tracing_subscriber as _;
#[test] fn x(){}
