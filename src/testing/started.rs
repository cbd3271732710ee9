//! Which threads and child processes a test has started, beside other tests that run at the same time.
//!
//! A thread passes a mark on to those that it starts: see `sys/thread_mark`. The system itself notes which thread has
//! started a child process. Both are read from `/proc`; where that is missing, nothing is found.

use std::fs;

use crate::sys::thread_mark::{ThreadMark, thread_number};

/// What the current thread starts from now on.
pub(crate) struct Started {
    mark: Option<ThreadMark>,
    thread: u32,
    /// The children that were there before.
    former: Vec<u32>,
    /// The threads that were there before.
    former_threads: Vec<u32>,
}

impl Started {
    pub(crate) fn watch() -> Self {
        let thread = thread_number();
        Self {
            mark: ThreadMark::new(),
            thread,
            former: children(thread),
            former_threads: threads(),
        }
    }

    /// Returns the threads that run still, their numbers and names; and whether there may be more, since a thread has not
    /// begun that this one may have started.
    pub(crate) fn threads(&self) -> (Vec<(u32, String)>, bool) {
        let Some(mark) = &self.mark else {
            return (Vec::new(), false);
        };
        let (mut ours, mut undecided) = (Vec::new(), false);
        let others = threads().into_iter();
        for number in others.filter(|number| *number != self.thread) {
            match blocked(number) {
                Some(mask) if mark.is_in(mask) => {
                    ours.push((number, name(&format!("/proc/self/task/{number}"))));
                }
                Some(mask) if ThreadMark::is_undecided(mask) => {
                    undecided |= !self.former_threads.contains(&number);
                }
                _ => {}
            }
        }
        (ours, undecided)
    }

    /// Returns the child processes that run still, or have ended and were not waited for: their numbers and names.
    pub(crate) fn children(&self) -> Vec<(u32, String)> {
        let new = children(self.thread).into_iter();
        new.filter(|child| !self.former.contains(child))
            .map(|child| (child, name(&format!("/proc/{child}"))))
            .collect()
    }
}

/// Returns all threads of the process.
fn threads() -> Vec<u32> {
    let Ok(tasks) = fs::read_dir("/proc/self/task") else {
        return Vec::new();
    };
    tasks
        .flatten()
        .filter_map(|task| task.file_name().to_str()?.parse().ok())
        .collect()
}

/// Returns the signals that a thread blocks. A thread that ends meanwhile has none.
fn blocked(thread: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/self/task/{thread}/status")).ok()?;
    let mask = status
        .lines()
        .find_map(|line| line.strip_prefix("SigBlk:"))?;
    u64::from_str_radix(mask.trim(), 16).ok()
}

fn children(thread: u32) -> Vec<u32> {
    let children = fs::read_to_string(format!("/proc/self/task/{thread}/children"));
    let children = children.unwrap_or_default();
    children
        .split_whitespace()
        .filter_map(|child| child.parse().ok())
        .collect()
}

fn name(folder: &str) -> String {
    let name = fs::read_to_string(format!("{folder}/comm")).unwrap_or_default();
    name.trim_end().to_owned()
}
