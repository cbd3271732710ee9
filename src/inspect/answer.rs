//! What an inspector answers: a snapshot of the loop as JSON; or, while the loop does not answer, what keeps it.
//!
//! ```text
//! {"pid":7, "tid":7, "answered":true, "tasks":[…], …}           the fields of a snapshot
//! {"pid":7, "tid":7, "answered":true, "dump":"Loop: …"}         the text of a dump
//! {"pid":7, "tid":7, "answered":false, "running":{"what":"step of a task", "task":3, "name":"parser",
//!  "place":"src/parse.rs:10:5", "since":1.25}}                  "running" is null if no user code runs
//! {"error":"unknown request"}
//! ```

use crate::inspect::json::Json;
use crate::inspect::snapshot::LoopSnapshot;
use crate::kernel::inspection::{Now, Running};

/// What a client asks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Request {
    /// The line `snapshot`.
    Snapshot,
    /// The line `dump`.
    Dump,
}

impl Request {
    /// Reads a request from a line without its end.
    pub(crate) fn parse(line: &[u8]) -> Option<Self> {
        match line.trim_ascii() {
            b"snapshot" => Some(Self::Snapshot),
            b"dump" => Some(Self::Dump),
            _ => None,
        }
    }
}

/// Which loop answers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Identification {
    /// The system's number of the loop's thread, where it is known.
    pub(crate) tid: Option<u64>,
}

impl Identification {
    /// Identifies the calling thread's loop.
    pub(crate) fn of_this_thread() -> Self {
        let link = std::fs::read_link("/proc/thread-self").ok();
        let number = link.as_deref().and_then(|link| link.file_name()?.to_str());
        Self {
            tid: number.and_then(|number| number.parse().ok()),
        }
    }

    fn write(self, json: &mut Json, answered: bool) {
        json.name("pid").number(std::process::id().into());
        json.name("tid").option(self.tid, Json::number);
        json.name("answered").bool(answered);
    }
}

/// Returns the answer to a request, as a line.
pub(crate) fn answer(who: Identification, request: Request, snapshot: &LoopSnapshot) -> String {
    line(Json::of(|json| {
        who.write(json, true);
        match request {
            Request::Snapshot => snapshot.write_json(json),
            Request::Dump => json.name("dump").string(&snapshot.to_string()),
        }
    }))
}

/// Returns the answer for a loop that has not answered in time, as a line.
pub(crate) fn busy(who: Identification, running: &Running) -> String {
    line(Json::of(|json| {
        who.write(json, false);
        let running = running.innermost();
        json.name("running")
            .option(running, |json, now| write_now(json, &now));
    }))
}

fn write_now(json: &mut Json, now: &Now) {
    json.object(|json| {
        json.name("what").string(now.what);
        let task = now.task.as_ref();
        json.name("task")
            .option(task.map(|(serial, _)| *serial), Json::number);
        json.name("name")
            .option(task, |json, (_, name)| json.string(name));
        json.name("place").string(&now.location.to_string());
        json.name("since").seconds(now.since.elapsed());
    });
}

/// Returns the answer to what is no request, as a line.
pub(crate) fn refusal(why: &str) -> String {
    line(Json::of(|json| json.name("error").string(why)))
}

fn line(mut text: String) -> String {
    text.push('\n');
    text
}
