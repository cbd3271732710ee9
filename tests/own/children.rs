//! Children of the process: a test that starts some leaves none behind, neither running nor as a zombie.

pub(crate) use crate::support::descendants::has_children;
use crate::support::{audited, watched};

/// A test under audit, which leaves no child behind.
#[track_caller]
pub(crate) fn tested(test: impl FnOnce() + Send + 'static) {
    audited(watched(move || {
        test();
        assert!(!has_children(), "a child was left behind");
    }));
}
