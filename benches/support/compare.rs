//! Two runs side by side: the change of each figure, and whether it is more than the rounds of one run differ.
//!
//! A change is beyond noise if every round of one run is below every round of the other. If both runs measured the same
//! thing, the order of all rounds would be arbitrary, and chance would separate n rounds from m once in `C(n + m, n) / 2`
//! figures: once in 1,716 for 7 and 7, once in 10 for 3 and 3. So a table of many figures from quick runs has false
//! alarms, and says how many to expect. What changes between two runs and not between rounds (where the code lies, how
//! warm the machine is) is not in that noise; only a third run tells.

use std::fmt::Write;

use super::saves::Saved;
use super::table::{Series, digits};

/// How far apart two runs are in one figure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The rounds of both runs overlap.
    Noise,
    /// Beyond noise: a lower time, or a higher rate.
    Better,
    /// Beyond noise, the other way.
    Worse,
}

/// One figure in both runs.
#[derive(Debug, Clone)]
pub(crate) struct Change<'a> {
    pub(crate) old: &'a Series,
    pub(crate) new: &'a Series,
    pub(crate) verdict: Verdict,
}

impl<'a> Change<'a> {
    pub(crate) fn between(old: &'a Series, new: &'a Series) -> Self {
        let (old_low, old_high) = range(old);
        let (new_low, new_high) = range(new);
        let rises = old_high < new_low;
        let falls = new_high < old_low;
        let more_is_better = new.unit.ends_with("per_s");
        let verdict = match (rises, falls) {
            (false, false) => Verdict::Noise,
            (rises, _) if rises == more_is_better => Verdict::Better,
            _ => Verdict::Worse,
        };
        Self { old, new, verdict }
    }

    /// By how much the figure changed, in per cent; nothing where it was 0.
    pub(crate) fn percent(&self) -> Option<f64> {
        let old = self.old.value();
        (old > 0.0).then(|| (self.new.value() / old - 1.0) * 100.0)
    }

    /// How often chance alone would call this change beyond noise.
    pub(crate) fn chance(&self) -> f64 {
        by_chance(self.old.values.len(), self.new.values.len())
    }
}

/// The probability that `n` and `m` rounds of the same thing do not overlap: `2 / C(n + m, n)`.
pub(crate) fn by_chance(n: usize, m: usize) -> f64 {
    let choices: f64 = (1..=n).map(|k| (m + k) as f64 / k as f64).product();
    (2.0 / choices).min(1.0)
}

/// The lowest and the highest round.
fn range(series: &Series) -> (f64, f64) {
    let ends = (f64::INFINITY, f64::NEG_INFINITY);
    series.values.iter().fold(ends, |(low, high), value| {
        (low.min(*value), high.max(*value))
    })
}

/// The figures that both runs have, in the new run's order.
pub(crate) fn changes<'a>(old: &'a Saved, new: &'a Saved) -> Vec<Change<'a>> {
    let pair = |series: &'a Series| {
        let same = |other: &&Series| series.metric == other.metric && series.peer == other.peer;
        let old = old.series.iter().find(same)?;
        Some(Change::between(old, series))
    };
    let shown = new.series.iter().filter(|series| !series.is_detail());
    shown.filter_map(pair).collect()
}

/// Both runs as a table.
pub(crate) fn table(old_name: &str, old: &Saved, new_name: &str, new: &Saved) -> String {
    let changes = changes(old, new);
    let mut text = format!(
        "{}: {old_name} ({}) → {new_name} ({}), medians of the rounds\n",
        new.bench, old.date, new.date
    );
    for (what, differs) in [
        ("machine", old.machine != new.machine),
        ("--quick", old.quick != new.quick),
    ] {
        if differs {
            let _ = writeln!(text, "the runs differ in {what}: what changed may be that");
        }
    }
    let _ = writeln!(
        text,
        "{:<24} {:<12} {:>6} {:>10} {:>10} {:>9}",
        "", "", "unit", "old", "new", "change"
    );
    for change in &changes {
        let percent = change
            .percent()
            .map_or("–".to_owned(), |percent| format!("{percent:+.1} %"));
        let verdict = match change.verdict {
            Verdict::Noise => "",
            Verdict::Better => "  better",
            Verdict::Worse => "  WORSE",
        };
        let _ = writeln!(
            text,
            "{:<24} {:<12} {:>6} {:>10} {:>10} {percent:>9}{verdict}",
            change.new.metric,
            change.new.peer,
            change.new.unit,
            digits(change.old.value()),
            digits(change.new.value()),
        );
    }
    text.push_str(&summary(&changes));
    text
}

/// What the verdicts of a comparison are worth.
pub(crate) fn summary(changes: &[Change<'_>]) -> String {
    let beyond = changes
        .iter()
        .filter(|change| change.verdict != Verdict::Noise)
        .count();
    let expected: f64 = changes.iter().map(Change::chance).sum();
    format!(
        "{beyond} of {} figures changed beyond noise: no round of one run is within the rounds of the other. \
         Chance alone would do that to {expected:.1} of them.\n",
        changes.len()
    )
}
