//! What ends a loop's sleep, as the system sees it: an eventfd.

use std::collections::BTreeSet;
use std::os::fd::AsRawFd as _;

use callsoon::EventLoop;

/// Returns a loop and the number of its eventfd, which is the one that was not open before.
pub(crate) fn loop_and_notifier() -> (EventLoop, i32) {
    let before = eventfds();
    let event_loop = EventLoop::new().unwrap();
    let notifiers: Vec<_> = eventfds().difference(&before).copied().collect();
    let [notifier] = notifiers[..] else {
        panic!("a loop has one eventfd, not {}", notifiers.len());
    };
    assert_ne!(notifier, event_loop.as_raw_fd());
    (event_loop, notifier)
}

fn eventfds() -> BTreeSet<i32> {
    let entries = std::fs::read_dir("/proc/self/fd").unwrap();
    entries
        .flatten()
        .filter(|entry| {
            std::fs::read_link(entry.path())
                .is_ok_and(|target| target.to_string_lossy().contains("eventfd"))
        })
        .map(|entry| entry.file_name().to_string_lossy().parse().unwrap())
        .collect()
}

/// How often a loop has been notified. Each time adds one to the count of the eventfd, and nothing subtracts: the
/// poller only asks whether it was written to.
pub(crate) fn notifications(notifier: i32) -> u64 {
    let about = std::fs::read_to_string(format!("/proc/self/fdinfo/{notifier}")).unwrap();
    let count = about
        .lines()
        .find_map(|line| line.strip_prefix("eventfd-count:"));
    u64::from_str_radix(count.unwrap().trim(), 16).unwrap()
}
