//! System calls that a tracer makes fail. Only for tests that have a process of their own.

use std::ffi::OsString;
use std::process::Command;

/// Set in the traced child, to the call that fails.
const CHILD: &str = "CALLSOON_TEST_INJECTED";

/// The call that fails in this process, if it is a traced child.
pub(crate) fn injected() -> Option<OsString> {
    std::env::var_os(CHILD)
}

/// Starts this binary once more, for one test, under strace, which has some of these calls fail: `when` is strace's
/// word for which, as in `3+7` for the third and every seventh after it. False, with the reason printed, where that
/// cannot be.
pub(crate) fn under_strace(test: &str, call: &str, error: &str, when: &str) -> bool {
    let probe = ["-qq", "-e", "trace=none", "-o", "/dev/null", "true"];
    match Command::new("strace").args(probe).output() {
        Ok(probe) if probe.status.success() => {}
        Ok(_) => {
            println!("skipped: strace may not trace here");
            return false;
        }
        Err(error) => {
            println!("skipped: strace does not start: {error}");
            return false;
        }
    }
    let name = format!("callsoon-{test}-{call}-{error}-{}", std::process::id());
    let log = std::env::temp_dir().join(name);
    let child = Command::new("strace")
        .args(["-f", "-qq", "-e", &format!("trace={call}"), "-e"])
        .arg(format!("inject={call}:error={error}:when={when}"))
        .arg("-o")
        .arg(&log)
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture", "--test-threads=1"])
        .env(CHILD, call)
        // Looking for leaks needs to trace too, and a process has one tracer.
        .env("ASAN_OPTIONS", "detect_leaks=0")
        .output()
        .unwrap();
    let traced = std::fs::read_to_string(&log).unwrap();
    std::fs::remove_file(&log).unwrap();
    let said = String::from_utf8_lossy(&child.stderr);
    let told = String::from_utf8_lossy(&child.stdout);
    let how = child.status;
    assert!(how.success(), "{call}, {error}: {how}: {said}{told}");
    assert!(traced.contains("(INJECTED)"), "{call} was never made");
    true
}
