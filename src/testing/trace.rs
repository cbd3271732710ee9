//! `Trace`: what happened, in order, for a test that compares all of it.

use std::fmt::{self, Display, Write as _};
use std::sync::{Arc, Mutex, PoisonError};

/// A list of lines that tasks, callbacks and threads write, and that a test compares as a whole.
///
/// Clones write to the same list. A test that asserts the whole trace notices what happens too often, too early or in the
/// wrong order, without an assertion for each of these.
///
/// ```
/// use callsoon::testing::{self, Trace};
/// use std::time::Duration;
///
/// let trace = Trace::new();
/// testing::run(async {
///     let t = trace.clone();
///     let task = callsoon::create_task(async move {
///         t.push("task begins");
///         callsoon::sleep(Duration::from_secs(3600)).await;
///         t.push("task ends");
///     });
///     callsoon::get_running_loop().call_soon(trace.note("callback"));
///     task.await.unwrap();
/// });
/// trace.expect(["task begins", "callback", "task ends"]);
/// ```
#[derive(Clone, Default)]
pub struct Trace {
    /// Locked only to move a line in or all of them out.
    lines: Arc<Mutex<Vec<String>>>,
}

impl Trace {
    /// Creates an empty trace.
    ///
    /// ```
    /// callsoon::testing::Trace::new().expect([]);
    /// ```
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends a line.
    ///
    /// ```
    /// # use callsoon::testing::Trace;
    /// let trace = Trace::new();
    /// trace.push("text");
    /// trace.push(7);
    /// trace.expect(["text", "7"]);
    /// ```
    pub fn push(&self, line: impl Display) {
        let line = line.to_string();
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        lines.push(line);
    }

    /// Returns a callback that appends a line.
    ///
    /// ```
    /// # use callsoon::testing::Trace;
    /// # use std::time::Duration;
    /// let trace = Trace::new();
    /// let event_loop = callsoon::EventLoop::new()?;
    /// event_loop.call_soon(trace.note("called"));
    /// event_loop.turn(Some(Duration::ZERO)).unwrap();
    /// trace.expect(["called"]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn note(&self, line: impl Display) -> impl FnOnce() + Send + 'static {
        let (trace, line) = (self.clone(), line.to_string());
        move || trace.push(line)
    }

    /// Takes all lines out, for a comparison of one's own.
    ///
    /// ```
    /// # use callsoon::testing::Trace;
    /// let trace = Trace::new();
    /// trace.push("line");
    /// assert_eq!(trace.take(), ["line"]);
    /// assert!(trace.take().is_empty());
    /// ```
    pub fn take(&self) -> Vec<String> {
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut *lines)
    }

    /// Compares the whole trace and empties it.
    ///
    /// # Panics
    /// If the lines differ. The message has both traces as one list, in which `-` marks a line that was expected and did
    /// not come, and `+` one that came and was not expected.
    ///
    /// ```should_panic
    /// # use callsoon::testing::Trace;
    /// let trace = Trace::new();
    /// trace.push("one");
    /// trace.push("three");
    /// trace.expect(["one", "two", "three"]);
    /// ```
    #[track_caller]
    pub fn expect<const N: usize>(&self, lines: [&str; N]) {
        let came = self.take();
        assert!(came == lines, "{}", difference(&lines, &came));
    }
}

impl fmt::Debug for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        let copy = lines.clone();
        // The writer is user code.
        drop(lines);
        f.debug_list().entries(&copy).finish()
    }
}

/// Returns two lists as one: what they share in order, and between it what only one of them has.
fn difference(expected: &[&str], came: &[String]) -> String {
    let mut text = String::from("the trace differs (- expected, + came):");
    let shared = longest_shared(expected, came);
    let (mut left, mut right) = (0, 0);
    for (one, other) in shared.into_iter().chain([(expected.len(), came.len())]) {
        for line in &expected[left..one] {
            let _ = write!(text, "\n- {line}");
        }
        for line in &came[right..other] {
            let _ = write!(text, "\n+ {line}");
        }
        if let Some(line) = expected.get(one) {
            let _ = write!(text, "\n  {line}");
        }
        (left, right) = (one + 1, other + 1);
    }
    text
}

/// Returns the places of the longest list of lines that both have in this order.
fn longest_shared(expected: &[&str], came: &[String]) -> Vec<(usize, usize)> {
    let width = came.len() + 1;
    let mut lengths = vec![0_usize; (expected.len() + 1) * width];
    for one in (0..expected.len()).rev() {
        for other in (0..came.len()).rev() {
            lengths[one * width + other] = if expected[one] == came[other] {
                lengths[(one + 1) * width + other + 1] + 1
            } else {
                lengths[(one + 1) * width + other].max(lengths[one * width + other + 1])
            };
        }
    }
    let (mut one, mut other, mut shared) = (0, 0, Vec::new());
    while one < expected.len() && other < came.len() {
        if expected[one] == came[other] {
            shared.push((one, other));
            (one, other) = (one + 1, other + 1);
        } else if lengths[(one + 1) * width + other] >= lengths[one * width + other + 1] {
            one += 1;
        } else {
            other += 1;
        }
    }
    shared
}
