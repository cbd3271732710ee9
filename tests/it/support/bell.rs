//! What ends a loop's sleep, as the system sees it: an eventfd.

use std::collections::BTreeSet;
use std::os::fd::AsRawFd as _;

use callsoon::EventLoop;

/// A loop and the number of its eventfd, which is the one that was not there before.
pub(crate) fn loop_and_bell() -> (EventLoop, i32) {
    let before = eventfds();
    let event_loop = EventLoop::new().unwrap();
    let bells: Vec<_> = eventfds().difference(&before).copied().collect();
    let [bell] = bells[..] else {
        panic!("a loop has one eventfd, not {}", bells.len());
    };
    assert_ne!(bell, event_loop.as_raw_fd());
    (event_loop, bell)
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

/// How often a loop's bell has been rung. Each ring adds one to what the eventfd counts, and nothing takes any away: that
/// it was written to is news for the poller, who does not ask how often.
pub(crate) fn rings(bell: i32) -> u64 {
    let about = std::fs::read_to_string(format!("/proc/self/fdinfo/{bell}")).unwrap();
    let count = about
        .lines()
        .find_map(|line| line.strip_prefix("eventfd-count:"));
    u64::from_str_radix(count.unwrap().trim(), 16).unwrap()
}
