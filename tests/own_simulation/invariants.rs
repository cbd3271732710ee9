//! What has to hold after each run, whatever went wrong on the network.
//!
//! 1. **One order.** The messages of a room have one order, which all its members see. None comes twice.
//! 2. **No gap.** A member gets every message from the first that it was promised to its last: to the answer to its `leave`,
//!    or to the goodbye, or up to where its connection broke.
//! 3. **Nothing is invented.** A message is what its sender has said, and the messages of one sender keep their order.
//! 4. **Each request has its effect.** Those of a client that has quit all have it, once and in order; those of another
//!    client up to some place.
//! 5. **An end has a reason.** A client is told goodbye, or has vanished, or the network or its own slowness is the reason
//!    why not.
//! 6. **A broken wire is noticed** by both of its ends: a reset at once, silence after the time limit.
//! 7. **The shutdown ends in time.**
//! 8. **Nothing is left.** The network has no end of a connection, and the server no client; [`callsoon::testing`] looks for
//!    tasks, timers, callbacks and failures.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::client::SILENCE as CLIENT_SILENCE;
use crate::history::{End, Facts, View, WireFacts};
use crate::server::{GRACE, LINGER, SILENCE};

/// The longest time that the server may do something else than read, and a little more.
const SLACK: Duration = Duration::from_millis(50);

/// How long what is on its way may take at most on a wire that carries.
const DELIVERY: Duration = Duration::from_secs(5);

/// Returns what does not hold.
pub(crate) fn check(facts: &Facts) -> Vec<String> {
    let mut found = Vec::new();
    let mut messages = BTreeMap::new();
    for (wire, view) in &facts.views {
        let mut stays = Stays::default();
        for line in &view.received {
            if let Err(text) = stays.receive(line, &mut messages) {
                found.push(format!("wire {wire}, {line:?}: {text}"));
            }
        }
        check_effects(facts, *wire, view, &mut found);
        check_end(facts, *wire, view, &mut found);
        check_noticed(facts, *wire, view, &mut found);
    }
    check_senders(facts, &messages, &mut found);
    check_shutdown(facts, &mut found);
    found.extend(facts.left.iter().cloned());
    found
}

/// All messages that any member has received, by room and number: the sender's wire, and the text.
type Messages = BTreeMap<(String, u64), (usize, String)>;

/// The rooms that a client is in, and the number of the next message of each.
#[derive(Default)]
struct Stays {
    next: BTreeMap<String, u64>,
    is_over: bool,
}

impl Stays {
    /// Compares a line with those before it on the same connection, and with what others have received.
    fn receive(&mut self, line: &str, messages: &mut Messages) -> Result<(), String> {
        if self.is_over {
            return Err("comes after the last line".into());
        }
        let words: Vec<_> = line.split(' ').collect();
        match words[..] {
            ["pong"] => {}
            ["bye"] => {
                self.is_over = true;
                if !self.next.is_empty() {
                    return Err(format!("still in {:?}", self.next));
                }
            }
            ["joined", room, number] => {
                let number = number.parse().map_err(|_| "is no number")?;
                if self.next.insert(room.to_owned(), number).is_some() {
                    return Err("was in the room".into());
                }
            }
            ["left", room, number] => {
                let next = self.next.remove(room).ok_or("was not in the room")?;
                if Ok(next) != number.parse() {
                    return Err(format!("message {next} has not come"));
                }
            }
            ["message", room, number, sender, text] => {
                let number = number.parse().map_err(|_| "is no number")?;
                let next = self.next.get_mut(room).ok_or("was not in the room")?;
                if *next != number {
                    return Err(format!("message {next} was next"));
                }
                *next += 1;
                let sender = sender.parse().map_err(|_| "has no sender")?;
                let message = (sender, text.to_owned());
                let known = messages
                    .entry((room.to_owned(), number))
                    .or_insert_with(|| message.clone());
                if *known != message {
                    return Err(format!("another member has {known:?} there"));
                }
            }
            _ => return Err("is no answer".into()),
        }
        Ok(())
    }
}

/// Checks that each message was said by its sender, that none has two numbers, and that a sender's keep their order.
fn check_senders(facts: &Facts, messages: &Messages, found: &mut Vec<String>) {
    let mut latest: BTreeMap<(&str, usize), usize> = BTreeMap::new();
    for ((room, number), (sender, text)) in messages {
        let said = facts.views.get(sender).and_then(|view| {
            let said = format!("say {room} {text}");
            view.requests.iter().position(|request| *request == said)
        });
        let Some(place) = said else {
            found.push(format!("{sender} has not said {text:?} in {room}"));
            continue;
        };
        // Ascending places: a message with two numbers is found here, too.
        let before = latest.insert((room, *sender), place);
        if before.is_some_and(|before| before >= place) {
            found.push(format!(
                "message {number} in {room} comes too late or again"
            ));
        }
    }
}

/// Checks that the answers to a client's own requests are those, in order.
fn check_effects(facts: &Facts, wire: usize, view: &View, found: &mut Vec<String>) {
    let own = wire.to_string();
    let answers = view.received.iter().filter_map(|line| {
        let words: Vec<_> = line.split(' ').collect();
        match words[..] {
            ["joined", room, _] => Some(format!("join {room}")),
            ["left", room, _] => Some(format!("leave {room}")),
            ["message", room, _, sender, text] if sender == own => {
                Some(format!("say {room} {text}"))
            }
            _ => None,
        }
    });
    let answers: Vec<_> = answers.collect();
    let requests = view.requests.iter().filter(|request| *request != "quit");
    let requests: Vec<_> = requests.cloned().collect();
    let shared = answers.iter().zip(&requests);
    let shared = shared
        .take_while(|(answer, request)| answer == request)
        .count();
    let end = view.end.map_or(Duration::MAX, |(_, at)| at);
    let is_stopped = facts.stop.is_some_and(|stop| stop <= end);
    // A goodbye ends the stays that the client has not ended, and may break off.
    let mut rest = answers[shared..].iter();
    let may_end = view.has_quit || is_stopped;
    if let Some(answer) = rest.find(|answer| !may_end || !answer.starts_with("leave ")) {
        let next = requests.get(shared);
        found.push(format!(
            "wire {wire}: the answer to {next:?} is to {answer:?}"
        ));
    }
    let is_goodbye = view.received.last().is_some_and(|line| line == "bye");
    if is_goodbye && !may_end {
        found.push(format!("wire {wire}: goodbye for no reason"));
    }
    if is_goodbye && !is_stopped && shared < requests.len() {
        let request = &requests[shared];
        found.push(format!("wire {wire}: {request:?} had no effect"));
    }
}

/// Checks that the end of a connection has a reason.
fn check_end(facts: &Facts, wire: usize, view: &View, found: &mut Vec<String>) {
    let Some((end, at)) = view.end else {
        found.push(format!("wire {wire} has not ended for its client"));
        return;
    };
    let carried = &facts.wires[wire];
    let session = facts.sessions.get(&wire);
    let was_silent = carried.cut.is_some() || carried.longest_hold(at) > SILENCE / 2;
    let has_reason = match end {
        End::Goodbye | End::Vanished => true,
        End::Reset => carried.reset.is_some_and(|reset| reset <= at),
        End::Silent => was_silent,
        End::Closed => {
            // The server stopped before it had accepted the connection.
            let was_unheard = session.is_none() && facts.stop.is_some_and(|stop| stop <= at);
            let was_slow = session.is_some_and(|session| session.evicted);
            was_unheard || was_slow || was_silent || is_too_slow_to_quit(facts, wire, view)
        }
    };
    if !has_reason {
        found.push(format!("wire {wire} ended for no reason: {end:?}"));
    }
}

/// Returns whether a session has ended before its client could have got everything, since the server waits for a limited
/// time: the wire was held meanwhile, or the client did not read.
fn is_too_slow_to_quit(facts: &Facts, wire: usize, view: &View) -> bool {
    let Some(end) = facts.sessions.get(&wire).and_then(|session| session.end) else {
        return false;
    };
    let began = end.saturating_sub(GRACE.max(LINGER));
    let stalled = view.stalled_last.is_some_and(|until| until >= began);
    stalled || facts.wires[wire].was_held_since(began)
}

impl WireFacts {
    fn longest_hold(&self, now: Duration) -> Duration {
        let current = self
            .held_since
            .map_or(Duration::ZERO, |since| now.saturating_sub(since));
        self.held_longest.max(current)
    }

    fn was_held_since(&self, time: Duration) -> bool {
        self.held_since.is_some() || self.healed_last.is_some_and(|healed| healed >= time)
    }
}

/// Checks that each end of a wire has noticed that it broke, or that the other end is gone.
fn check_noticed(facts: &Facts, wire: usize, view: &View, found: &mut Vec<String>) {
    let carried = &facts.wires[wire];
    let Some((_, client_end)) = view.end else {
        return;
    };
    let session = facts.sessions.get(&wire);
    let Some(server_end) = session.map(|session| session.end.unwrap_or(Duration::MAX)) else {
        return;
    };
    let reading = view.stalled_last.unwrap_or_default();
    let mut within = |who: &str, what: &str, end: Duration, limit: Duration| {
        if end > limit + SLACK {
            found.push(format!("wire {wire}: {who} has not noticed {what} in time"));
        }
    };
    if let Some(reset) = carried.reset {
        within("the client", "a reset", client_end, reset.max(reading));
        within("the server", "a reset", server_end, reset);
    }
    if let Some(cut) = carried.cut {
        let limit = cut.max(reading) + CLIENT_SILENCE;
        within("the client", "a cut", client_end, limit);
        within("the server", "a cut", server_end, cut + SILENCE);
    }
    // Whatever happens to the wire, silence ends a connection.
    let limit = client_end + SILENCE + DELIVERY;
    within("the server", "the other end's end", server_end, limit);
    let limit = server_end.saturating_add(DELIVERY).max(reading) + CLIENT_SILENCE;
    within("the client", "the other end's end", client_end, limit);
    if !carried.was_held_since(Duration::ZERO) {
        let limit = client_end + LINGER + DELIVERY;
        within(
            "the server",
            "the other end's end at once",
            server_end,
            limit,
        );
        let limit = server_end.max(reading).saturating_add(DELIVERY);
        within(
            "the client",
            "the other end's end at once",
            client_end,
            limit,
        );
    }
}

fn check_shutdown(facts: &Facts, found: &mut Vec<String>) {
    let (Some(stop), Some(stopped)) = (facts.stop, facts.stopped) else {
        found.push("the server has not stopped".to_owned());
        return;
    };
    if stopped > stop + GRACE {
        found.push(format!("the shutdown took {:?}", stopped - stop));
    }
    for (wire, session) in &facts.sessions {
        if session.end.is_none_or(|end| end > stopped) {
            found.push(format!("session {wire} outlives the server"));
        }
    }
}
