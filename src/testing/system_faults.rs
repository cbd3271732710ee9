//! `SystemFaults`: system calls of the running thread fail by a plan, for the crate's own tests. It is compiled with
//! `--cfg callsoon_faults` alone, and `sys/fault` has what becomes of a call.

use std::marker::PhantomData;
use std::sync::{Arc, Mutex};

use crate::sys::fault::{self, Call, Plan, Severity};

/// While it lives, system calls of this thread fail by a plan. One that is made later takes its place.
#[doc(hidden)]
#[derive(Debug)]
#[must_use]
pub struct SystemFaults {
    /// The plan is its thread's.
    thread: PhantomData<*const ()>,
}

impl SystemFaults {
    /// About one call of `one_in` is delayed, interrupted or cut short. Whatever is tried succeeds nevertheless.
    pub fn gentle(seed: u64, one_in: u64) -> Self {
        Self::with(Plan::Seed {
            seed,
            one_in,
            severity: Severity::Gentle,
        })
    }

    /// The same, and some calls fail.
    pub fn harsh(seed: u64, one_in: u64) -> Self {
        Self::with(Plan::Seed {
            seed,
            one_in,
            severity: Severity::Harsh,
        })
    }

    /// The calls of one kind fail with an error: the one of this number, counted from 1, and those after it, so many in all.
    ///
    /// # Panics
    /// If no call is named so.
    pub fn failing(call: &str, errno: i32, first: u64, times: u64) -> Self {
        let call = Call::ALL
            .into_iter()
            .find(|it| format!("{it:?}") == call)
            .unwrap_or_else(|| panic!("no call is named {call}"));
        Self::with(Plan::Fail {
            call,
            errno,
            first,
            times,
        })
    }

    fn with(plan: Plan) -> Self {
        fault::set(Some(plan));
        Self {
            thread: PhantomData,
        }
    }

    /// What was done to calls so far, in order, for any thread to read.
    pub fn log(&self) -> Arc<Mutex<Vec<String>>> {
        fault::log()
    }
}

impl Drop for SystemFaults {
    fn drop(&mut self) {
        fault::set(None);
    }
}
