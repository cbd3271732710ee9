//! What the driver shares with the benches of the repository: the command line, runs that are kept and compared, progress,
//! tables, and what they are measured on.

#[path = "../../../support/compare.rs"]
pub mod compare;
#[path = "../../../support/date.rs"]
pub mod date;
#[path = "../../../support/failure.rs"]
pub mod failure;
#[path = "../../../support/keep.rs"]
pub mod keep;
#[path = "../../../support/machine.rs"]
pub mod machine;
#[path = "../../../support/markdown.rs"]
pub mod markdown;
#[path = "../../../support/options.rs"]
pub mod options;
#[path = "../../../support/progress.rs"]
pub mod progress;
#[path = "../../../support/rows.rs"]
pub mod rows;
#[path = "../../../support/saves.rs"]
pub mod saves;
#[path = "../../../support/table.rs"]
pub mod table;
