//! What the crate says through `tracing`: one function for each event, all of the target `callsoon`.
//!
//! Where no subscriber listens, the event is a line on standard error, so that debug mode and the failures that no code
//! handles are heard in a program without one. A subscriber is user code, and its panic is ignored, but for that of the default
//! handler; so is a closed standard error, since a warning must not become a second failure. The one event that is not here is that of the
//! inbox, which is compiled into its model's tests alone. [`docs::events`](crate::docs::events) is the table of all of
//! them, and a test holds it to this file.

use std::fmt;
use std::io::Write as _;
use std::panic::Location;
use std::time::Duration;

use tracing::dispatcher::get_default;
use tracing::subscriber::NoSubscriber;

use crate::kernel::report::{ExceptionContext, catch, drop_quietly, run_quietly};

/// Where something was created.
type Place = &'static Location<'static>;

/// How many events of one kind are sent one by one while a loop closes. The others are counted, so that a loop that
/// closes with many tasks or connections does not bury all else.
pub(crate) const MOST_IN_CLOSE: u64 = 20;

/// Sends an event to the subscriber of this thread, or writes the line where there is none.
#[cold]
fn tell(event: impl FnOnce(), line: fmt::Arguments<'_>) {
    run_quietly(|| send(event, line));
}

/// Does the same for a caller that catches the panic of a subscriber.
fn send(event: impl FnOnce(), line: fmt::Arguments<'_>) {
    if get_default(|subscriber| subscriber.is::<NoSubscriber>()) {
        let _ = writeln!(std::io::stderr(), "callsoon: {line}");
    } else {
        event();
    }
}

/// The default exception handler: logs one error. If that panics, as by a subscriber of the program's, both failures are
/// written to standard error.
#[cold]
pub(crate) fn default_handler(context: &ExceptionContext) {
    let log = || {
        send(
            || tracing::error!(target: "callsoon", "{context}"),
            format_args!("{context}"),
        );
    };
    let Some(panicked) = catch(log) else {
        return;
    };
    // Formatting the whole report is user code, which may be what has just panicked.
    let message = &context.message;
    let _ = writeln!(
        std::io::stderr(),
        "callsoon: Exception in the default exception handler; {panicked}; it was told of: {message}"
    );
    drop_quietly(panicked);
}

/// One call of user code held up all others.
pub(crate) fn slow_call(what: &str, location: Place, duration: Duration) {
    let took = duration.as_secs_f64();
    tell(
        || tracing::warn!(target: "callsoon", took, %location, "a slow {what} held up the loop"),
        format_args!("a slow {what} held up the loop; took {duration:?}; created at {location}"),
    );
}

/// One step of a task held up all others.
pub(crate) fn slow_step(task: &str, location: Place, duration: Duration) {
    let took = duration.as_secs_f64();
    tell(
        || {
            tracing::warn!(target: "callsoon", took, %location, task, "a slow step of a task held up the loop");
        },
        format_args!(
            "a slow step of a task held up the loop; took {duration:?}; task: {task}; created at {location}"
        ),
    );
}

/// A poll for events took longer than it was to wait.
pub(crate) fn slow_poll(duration: Duration) {
    let took = duration.as_secs_f64();
    tell(
        || tracing::warn!(target: "callsoon", took, "a slow poll for events held up the loop"),
        format_args!("a slow poll for events held up the loop; took {duration:?}"),
    );
}

/// The loop has slept past its earliest timer.
pub(crate) fn late_wake_up(duration: Duration) {
    let late = duration.as_secs_f64();
    tell(
        || tracing::warn!(target: "callsoon", late, "the loop woke up late for a timer"),
        format_args!("the loop woke up late for a timer; late {duration:?}"),
    );
}

/// The system's resolver took long.
pub(crate) fn slow_lookup(host: &str, duration: Duration) {
    let took = duration.as_secs_f64();
    tell(
        || tracing::warn!(target: "callsoon", took, host, "a slow look-up of a name"),
        format_args!("a slow look-up of a name; took {duration:?}; host: {host}"),
    );
}

/// So many tasks were pending when their loop closed, besides those that were named.
pub(crate) fn further_tasks_pending(further: u64) {
    tell(
        || {
            tracing::error!(target: "callsoon", further, "further tasks were destroyed but they are pending");
        },
        format_args!("{further} further tasks were destroyed but they are pending"),
    );
}

/// A resource was open when its loop closed.
pub(crate) fn unclosed(resource: &str, location: Place) {
    tell(
        || {
            tracing::warn!(target: "callsoon", resource, %location, "a resource was not closed before its loop");
        },
        format_args!("{resource} was not closed before its loop; created at {location}"),
    );
}

/// So many resources were open when their loop closed, besides those that were named.
pub(crate) fn further_unclosed(further: u64) {
    tell(
        || {
            tracing::warn!(target: "callsoon", further, "further resources were not closed before their loop");
        },
        format_args!("{further} further resources were not closed before their loop"),
    );
}

/// A transport begins. Without a subscriber this and the next two are no lines: they are for who looks for them.
pub(crate) fn connection_begins(peer: &dyn fmt::Display, location: Place) {
    run_quietly(|| tracing::debug!(target: "callsoon", %peer, %location, "a connection begins"));
}

/// A child process has begun to run.
pub(crate) fn process_started(pid: u32) {
    run_quietly(|| tracing::debug!(target: "callsoon", pid, "a process was started"));
}

/// A child process has ended, and was reaped.
pub(crate) fn process_exited(pid: u32, status: &dyn fmt::Display) {
    run_quietly(|| tracing::debug!(target: "callsoon", pid, %status, "a process has exited"));
}

/// A socket in blocking mode was passed to a method that refuses it.
pub(crate) fn blocking_socket(socket: i32) {
    tell(
        || {
            tracing::warn!(target: "callsoon", socket, "a socket in blocking mode was passed to the loop");
        },
        format_args!("a socket in blocking mode was passed to the loop; descriptor: {socket}"),
    );
}

/// A program goes on writing to a connection that is lost.
pub(crate) fn written_after_loss(call: &str, location: Place) {
    tell(
        || tracing::warn!(target: "callsoon", %location, "{call} on a connection that is lost"),
        format_args!("{call} on a connection that is lost; created at {location}"),
    );
}

/// A program goes on sending by an endpoint that is closed.
pub(crate) fn sent_after_close(location: Place) {
    tell(
        || tracing::warn!(target: "callsoon", %location, "sendto on an endpoint that is closed"),
        format_args!("sendto on an endpoint that is closed; created at {location}"),
    );
}
