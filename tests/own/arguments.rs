//! The arguments of the test harness that test runners need, for programs without a harness: names to choose tests by,
//! `--list`, and `--ignored`, which chooses none.

/// Returns whether a test is to be run. Lists it instead if that is asked for.
pub(crate) fn is_asked_for(test: &str) -> bool {
    let (options, names): (Vec<_>, Vec<_>) = std::env::args()
        .skip(1)
        .partition(|argument| argument.starts_with('-'));
    let has = |name: &str| options.iter().any(|option| option == name);
    let chosen = names.is_empty() || names.iter().any(|part| test.contains(part.as_str()));
    if !chosen || has("--ignored") {
        return false;
    }
    if has("--list") {
        println!("{test}: test");
        return false;
    }
    true
}
