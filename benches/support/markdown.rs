//! Figures as the README has them: with the unit that fits, and with the quartiles of the rounds.

use super::table::{Series, digits};

/// A figure with its unit.
pub(crate) fn quantity(unit: &str, value: f64) -> String {
    let (size, unit) = scale(unit, value);
    format!("{} {unit}", rounded(unit, value / size))
        .trim_end()
        .to_owned()
}

/// The figure of a series, and the quartiles of its rounds: `5.69 ns (5.60–5.81)`.
pub(crate) fn with_quartiles(series: &Series) -> String {
    let value = quantity(&series.unit, series.value());
    let Some((low, high)) = series.quartiles() else {
        return value;
    };
    let (size, unit) = scale(&series.unit, series.value());
    let (low, high) = (rounded(unit, low / size), rounded(unit, high / size));
    format!("{value} ({low}–{high})")
}

/// By what a value of this unit is divided, and what that is called.
fn scale(unit: &str, value: f64) -> (f64, &str) {
    match unit {
        "ns" if value >= 1e6 => (1e6, "ms"),
        "ns" if value >= 1e3 => (1e3, "µs"),
        "us" if value >= 1e3 => (1e3, "ms"),
        "us" if value < 1.0 => (1e-3, "ns"),
        "us" => (1.0, "µs"),
        "bytes" if value >= 10_000.0 => (1024.0, "KiB"),
        "bytes" => (1.0, "B"),
        "per_s" => (1.0, "/s"),
        "MB_per_s" => (1.0, "MB/s"),
        "count" => (1.0, ""),
        unit => (1.0, unit),
    }
}

/// Bytes are whole.
fn rounded(unit: &str, value: f64) -> String {
    if unit == "B" {
        format!("{value:.0}")
    } else {
        digits(value)
    }
}
