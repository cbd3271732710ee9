//! What tests share: the audit, loops, traces and probes.

pub(crate) mod audit;
mod caught;
pub(crate) mod descendants;
mod fixture;
mod hostile_waker;
mod join_all;
mod leak;
mod notifier;
mod pipe;
mod probe;
mod proc;
mod recorder;
mod rounds;
pub(crate) mod scenario;
mod scratch;
mod seccomp;
mod sockets;
mod terminal;
mod waiting;
mod warnings;
mod watchdog;

pub(crate) use audit::{audited, counted_fds};
pub(crate) use caught::panic_text;
pub(crate) use fixture::{in_a_loop, on_real_time, on_virtual_time, settled, settling};
pub(crate) use hostile_waker::{HostileWaker, Touch};
pub(crate) use join_all::JoinAll;
pub(crate) use leak::{forget, leak};
pub(crate) use notifier::{loop_and_notifier, notifications};
pub(crate) use pipe::pipe;
pub(crate) use probe::{CountingWaker, DropProbe};
pub(crate) use proc::{
    cpu_time, own_cpu_time, readable_within, thread_id, voluntary_switches, wait_for_an_event,
    wait_until_asleep, wait_until_gone,
};
pub(crate) use recorder::{Recorder, event_polls, recorded, until};
pub(crate) use rounds::rounds_alone;
pub(crate) use scenario::{Scenario, ending_of, outcome, run_scenario};
pub(crate) use scratch::{Scratch, at_a_new_path};
pub(crate) use seccomp::forbid;
pub(crate) use sockets::{
    Polls, fill, loopback, most_queued, os_error, poll_once, refusing, refusing_at, reset,
    std_pair, stream_and_peer, stream_pair, wait_until_ended, wait_until_queued,
};
pub(crate) use terminal::{is_blocking, make_blocking, terminal};
pub(crate) use waiting::Waiting;
pub(crate) use warnings::{events_of, warnings_of};
pub(crate) use watchdog::{Patience, complete, end_default_executor, turns_in, watched};

pub(crate) use callsoon::testing::{Trace, Trace as SharedTrace};
use callsoon::{Clock, EventLoop, ExceptionContext};

/// The trace line of a task that is pending when its loop closes.
pub(crate) const PENDING: &str = "report: Task was destroyed but it is pending!";

/// Returns a loop on the virtual clock, whose reports go to `trace` as `report: <message>`.
pub(crate) fn virtual_loop(trace: &Trace) -> EventLoop {
    let event_loop = EventLoop::builder().clock(Clock::Virtual).build().unwrap();
    record_reports(&event_loop, trace);
    event_loop
}

/// Returns a loop on the real clock, whose reports go to `trace`.
pub(crate) fn real_loop(trace: &Trace) -> EventLoop {
    let event_loop = EventLoop::new().unwrap();
    record_reports(&event_loop, trace);
    event_loop
}

/// Sends the loop's reports to `trace`.
pub(crate) fn record_reports(event_loop: &EventLoop, trace: &Trace) {
    let trace = trace.clone();
    event_loop.set_exception_handler(move |_, context| trace.push(describe(context)));
}

fn describe(context: &ExceptionContext) -> String {
    let mut text = format!("report: {}", context.message);
    if let Some(panic) = &context.panic {
        text += &format!(" ({})", panic.message());
    }
    if let Some(exception) = &context.exception {
        text += &format!(" ({exception})");
    }
    text
}

/// Runs one turn: asyncio's `call_soon(stop); run_forever()` without the callback.
pub(crate) fn one_turn(event_loop: &EventLoop) {
    event_loop.stop();
    event_loop.run_forever().unwrap();
}

/// Silences the messages of panics that a test makes on purpose: their text starts with `on purpose`.
pub(crate) fn quiet_panics() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        let loud = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            let payload = info.payload();
            let text = payload.downcast_ref::<&str>().copied();
            let text = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
            if !text.is_some_and(|text| text.starts_with("on purpose")) {
                loud(info);
            }
        }));
    });
}
