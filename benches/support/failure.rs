//! Why a bench ends without figures, and which exit code that has.

use std::fmt;

/// Why there is no figure.
pub(crate) type Failure = Box<dyn std::error::Error + Send + Sync>;

/// A command line that cannot be obeyed. The process ends with the code 2, others of its failures with 1.
#[derive(Debug)]
pub(crate) struct Usage(pub(crate) String);

impl fmt::Display for Usage {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

impl std::error::Error for Usage {}

/// 2 for a command line that cannot be obeyed, 1 for other failures.
pub(crate) fn exit_code(failure: &Failure) -> u8 {
    if failure.is::<Usage>() { 2 } else { 1 }
}
