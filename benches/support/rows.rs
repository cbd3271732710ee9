//! What rows are called, and the figures that each of them prints.
//!
//! A bench writes a row as a shell writes names in braces: `echo_50_{cpu,rate}` is the row `echo_50`, which prints
//! `echo_50_cpu` and `echo_50_rate`; `to_thread{,_p99}` prints `to_thread` and `to_thread_p99`. So that every name that is
//! printed is known before anything is measured, `--only` takes each of them, and a wrong one is found out at once.

/// The row's own name, by which it is measured: all before the braces.
pub(crate) fn name(row: &str) -> &str {
    row.split('{').next().unwrap_or(row).trim_end_matches('_')
}

/// The names of the figures that it prints.
pub(crate) fn figures(row: &str) -> Vec<String> {
    let Some((before, rest)) = row.split_once('{') else {
        return vec![row.to_owned()];
    };
    let Some((choices, after)) = rest.split_once('}') else {
        return vec![row.to_owned()];
    };
    let tails = figures(after);
    let choices = choices.split(',');
    choices
        .flat_map(|choice| {
            tails
                .iter()
                .map(move |tail| format!("{before}{choice}{tail}"))
        })
        .collect()
}

/// Whether `text` names the row, or a figure of it, or a part of those names.
pub(crate) fn matches(row: &str, text: &str) -> bool {
    name(row).contains(text) || figures(row).iter().any(|figure| figure.contains(text))
}
