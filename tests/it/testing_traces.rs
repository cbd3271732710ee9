//! `testing::Trace`: lines from everywhere, compared as a whole.

use std::thread;

use callsoon::testing::{self, Trace};
use callsoon::{get_running_loop, sleep};

use crate::support::{audited, panic_text, quiet_panics};

/// What `expect` says when these lines came.
fn difference<const N: usize>(came: &[&str], expected: [&str; N]) -> String {
    quiet_panics();
    let trace = Trace::new();
    came.iter().for_each(|line| trace.push(line));
    panic_text(|| trace.expect(expected))
}

#[test]
fn a_trace_is_compared_as_a_whole_and_empty_afterwards() {
    audited(|| {
        let trace = Trace::new();
        trace.push(1);
        trace.clone().push("two");
        assert_eq!(format!("{trace:?}"), r#"["1", "two"]"#);
        trace.expect(["1", "two"]);
        trace.expect([]);
    });
}

#[test]
fn threads_and_what_they_post_write_to_the_same_trace() {
    audited(|| {
        let trace = Trace::new();
        testing::run(async {
            let (remote, t) = (get_running_loop().remote(), trace.clone());
            let posting = thread::spawn(move || {
                t.push("thread");
                remote.call_soon_threadsafe(t.note("post")).unwrap();
            });
            posting.join().unwrap();
            sleep(std::time::Duration::from_secs(1)).await;
        });
        trace.expect(["thread", "post"]);
    });
}

#[test]
fn a_difference_marks_what_is_missing_and_what_is_too_much_at_its_place() {
    audited(|| {
        let begins = "the trace differs (- expected, + came):";
        let cases: [(String, &[&str]); 6] = [
            (difference(&[], ["a"]), &["- a"]),
            (difference(&["a"], []), &["+ a"]),
            (
                difference(&["a", "c"], ["a", "b", "c"]),
                &["  a", "- b", "  c"],
            ),
            (
                difference(&["a", "b", "c"], ["a", "c"]),
                &["  a", "+ b", "  c"],
            ),
            (difference(&["b", "a"], ["a", "b"]), &["- a", "  b", "+ a"]),
            (
                difference(&["x", "b", "y"], ["a", "b", "c"]),
                &["- a", "+ x", "  b", "- c", "+ y"],
            ),
        ];
        for (text, lines) in cases {
            let expected: Vec<_> = [begins].iter().chain(lines).copied().collect();
            assert_eq!(text.lines().collect::<Vec<_>>(), expected);
        }
    });
}
