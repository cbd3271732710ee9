//! One plot: percentile curves as an inline SVG.
//!
//! Written by hand and not with a plotting crate: those write colours into each element, while here each element has a
//! class, so that the page's style gives it the colours of the light or of the dark theme. The horizontal axis is
//! `1 / (1 - p)` on a log scale, so that 90 %, 99 % and 99.9 % are equally far apart; the vertical one is the latency on
//! a log scale. Runtimes differ in colour, in how the line is dashed, and in the marks at the percentiles.

use std::fmt::Write;

use super::cells::RUNTIMES;
use super::names::{LOADS, PATHS};
use super::report::{CURVE_STEPS, Measured, time};

/// The size in the SVG's own units, which are pixels on a page of two columns.
const WIDTH: f64 = 420.0;
const HEIGHT: f64 = 280.0;
/// Where the plot is in it.
const LEFT: f64 = 54.0;
const RIGHT: f64 = WIDTH - 14.0;
const TOP: f64 = 12.0;
const BOTTOM: f64 = HEIGHT - 40.0;

/// The percentiles that have a mark on each curve and a line in the grid, as `1 / (1 - p)`.
const TICKS: [(f64, &str); 6] = [
    (1e0, "0"),
    (2e0, "50 %"),
    (1e1, "90 %"),
    (1e2, "99 %"),
    (1e3, "99.9 %"),
    (1e4, "99.99 %"),
];

/// What the axes span, as powers of ten.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Axes {
    /// The end of `1 / (1 - p)`, which begins at 1.
    x_end: f64,
    /// Nanoseconds.
    y_begin: f64,
    y_end: f64,
}

impl Axes {
    /// Axes for all of these: whole powers of ten of latency, and as many percentiles as there are samples.
    pub(crate) fn around<'a>(cells: impl Iterator<Item = &'a Measured>) -> Self {
        let mut axes = Self {
            x_end: 2.0,
            y_begin: f64::INFINITY,
            y_end: f64::NEG_INFINITY,
        };
        for measured in cells {
            let log = |nanos: u64| (nanos.max(1) as f64).log10();
            let distribution = &measured.intended;
            axes.x_end = axes.x_end.max((distribution.len() as f64).log10());
            axes.y_begin = axes.y_begin.min(log(distribution.at(0.0)).floor());
            axes.y_end = axes.y_end.max(log(distribution.at(100.0)).ceil());
        }
        if axes.y_begin > axes.y_end {
            (axes.y_begin, axes.y_end) = (2.0, 6.0);
        }
        axes.y_end = axes.y_end.max(axes.y_begin + 1.0);
        axes
    }

    fn x(&self, x: f64) -> f64 {
        LEFT + x.log10() / self.x_end * (RIGHT - LEFT)
    }

    fn y(&self, nanos: u64) -> f64 {
        let share = ((nanos.max(1) as f64).log10() - self.y_begin) / (self.y_end - self.y_begin);
        BOTTOM - share * (BOTTOM - TOP)
    }
}

/// The plot of one path under one load.
pub(crate) fn svg(path: usize, load: usize, cells: &[&Measured], axes: &Axes) -> String {
    let id = format!("{}-{}", PATHS[path].id, LOADS[load].id);
    let mut svg = format!(
        "<svg role=\"img\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" aria-labelledby=\"t-{id} d-{id}\">\n\
         <title id=\"t-{id}\">{}, {}</title>\n<desc id=\"d-{id}\">{}</desc>\n",
        PATHS[path].title,
        LOADS[load].title,
        describe(cells),
    );
    grid(&mut svg, axes);
    for measured in cells {
        curve(&mut svg, measured, axes);
    }
    svg.push_str("</svg>");
    svg
}

/// The plot in words.
fn describe(cells: &[&Measured]) -> String {
    let one = |measured: &&Measured| {
        let at = |percent| time(measured.intended.at(percent));
        format!(
            "{}: half of all within {}, 99 % within {}, all within {}.",
            RUNTIMES[measured.cell.runtime].title,
            at(50.0),
            at(99.0),
            at(100.0)
        )
    };
    let all: Vec<_> = cells.iter().map(one).collect();
    format!("Percentile curves. {}", all.join(" "))
}

fn grid(svg: &mut String, axes: &Axes) {
    for power in axes.y_begin as u32..=axes.y_end as u32 {
        let nanos = 10_u64.pow(power);
        let y = axes.y(nanos);
        let label = time(nanos).replace(".00", "").replace(".0", "");
        let _ = writeln!(
            svg,
            "<path class=\"grid\" d=\"M{LEFT} {y:.1}H{RIGHT}\"/>\
             <text class=\"end\" x=\"{:.1}\" y=\"{:.1}\">{label}</text>",
            LEFT - 6.0,
            y + 4.0
        );
    }
    for (x, label) in TICKS {
        if x.log10() > axes.x_end {
            break;
        }
        let x = axes.x(x);
        let _ = writeln!(
            svg,
            "<path class=\"grid\" d=\"M{x:.1} {TOP}V{BOTTOM}\"/>\
             <text class=\"mid\" x=\"{x:.1}\" y=\"{:.1}\">{label}</text>",
            BOTTOM + 16.0
        );
    }
    let _ = writeln!(
        svg,
        "<text class=\"mid axis\" x=\"{:.1}\" y=\"{:.1}\">share of requests that took at most this long</text>",
        (LEFT + RIGHT) / 2.0,
        HEIGHT - 6.0
    );
}

fn curve(svg: &mut String, measured: &Measured, axes: &Axes) {
    let runtime = measured.cell.runtime;
    let mut line = String::new();
    for (x, nanos) in measured.intended.curve(CURVE_STEPS) {
        let command = if line.is_empty() { 'M' } else { 'L' };
        let _ = write!(line, "{command}{:.1} {:.1}", axes.x(x), axes.y(nanos));
    }
    let _ = writeln!(svg, "<path class=\"line r{runtime}\" d=\"{line}\"/>");
    for (x, _) in TICKS.into_iter().skip(1) {
        if x <= measured.intended.len() as f64 {
            let nanos = measured.intended.at(100.0 - 100.0 / x);
            svg.push_str(&mark(runtime, axes.x(x), axes.y(nanos)));
        }
    }
    svg.push('\n');
}

/// A runtime's mark around a point.
fn mark(runtime: usize, x: f64, y: f64) -> String {
    let shape = match runtime {
        0 => "m-3.6 0a3.6 3.6 0 1 0 7.2 0a3.6 3.6 0 1 0-7.2 0z",
        1 => "m-3.2-3.2h6.4v6.4h-6.4z",
        2 => "m0-4.4l4.2 7.4h-8.4z",
        3 => "m0-4.6l4.6 4.6l-4.6 4.6l-4.6-4.6z",
        4 => "m0 4.4l4.2-7.4h-8.4z",
        _ => "m-3.4-3.4l6.8 6.8m0-6.8l-6.8 6.8",
    };
    format!("<path class=\"mark r{runtime}\" d=\"M{x:.1} {y:.1}{shape}\"/>")
}

/// A runtime's line and mark for a legend, which has the name beside it.
pub(crate) fn swatch(runtime: usize) -> String {
    format!(
        "<svg class=\"swatch\" viewBox=\"0 0 44 12\" aria-hidden=\"true\">\
         <path class=\"line r{runtime}\" d=\"M1 6H43\"/>{}</svg>",
        mark(runtime, 22.0, 6.0)
    )
}
