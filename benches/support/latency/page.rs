//! The page: one file that needs nothing else, for every width and for both themes.
//!
//! It holds no script, and its policy lets it load nothing but its own style. The theme is that of the system until one
//! is chosen, which two radio buttons and the style do. Every text that comes from outside is escaped.

use std::fmt::Write;

use super::super::compare::{self, Verdict};
use super::super::saves::Saved;
use super::super::table::digits;
use super::cells::{Cell, RUNTIMES};
use super::chart::{self, Axes};
use super::distribution::PERCENTILES;
use super::names::{LOADS, PATHS};
use super::report::{Measured, Report, time};

/// The style, but for the colours.
const STYLE: &str = include_str!("page.css");

/// Colours that also people who see fewer of them can tell apart, dark enough for a light page.
const LIGHT: &str = "color-scheme: light; --paper: #f6f7f9; --card: #fff; --ink: #16191d; --soft: #535b66; \
    --rule: #d9dde3; --r0: #0062b1; --r1: #c44900; --r2: #a8397f; --r3: #00795a; --r4: #7a5c00; --r5: #444b55;";
/// The same for a dark page.
const DARK: &str = "color-scheme: dark; --paper: #101317; --card: #191d23; --ink: #e8ebef; --soft: #a4adb9; \
    --rule: #343b45; --r0: #62b5ff; --r1: #ff9457; --r2: #f29fd3; --r3: #3fd6a6; --r4: #eadb4f; --r5: #c3cad3;";
/// How each runtime's line is dashed.
const DASHES: [&str; 6] = ["none", "9 4", "2 3", "10 3 2 3", "5 3", "14 3 2 3 2 3"];

/// The percentiles from the call that the tables have.
const CALLED: [(&str, f64); 2] = [("call: p50", 50.0), ("call: p99", 99.0)];

/// Text as HTML shows it.
pub(crate) fn escaped(text: &str) -> String {
    let mut html = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => html.push_str("&amp;"),
            '<' => html.push_str("&lt;"),
            '>' => html.push_str("&gt;"),
            '"' => html.push_str("&quot;"),
            '\'' => html.push_str("&#39;"),
            c => html.push(c),
        }
    }
    html
}

/// The whole page. `old` is the saved run with which this one is compared, and its name.
pub(crate) fn page(report: &Report, old: Option<&(String, Saved)>) -> String {
    let mut html = format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'; img-src data:\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n\
         <link rel=\"icon\" href=\"data:,\">\n<title>Latency of event loops</title>\n\
         <style>\n{}</style>\n</head>\n<body>\n",
        style()
    );
    header(&mut html, report);
    html.push_str("<main>\n");
    for path in 0..PATHS.len() {
        if report.of_path(path).next().is_some() || failures(report, path).next().is_some() {
            section(&mut html, report, path);
        }
    }
    if let Some((name, old)) = old {
        comparison(&mut html, name, old, &report.to_saved());
    }
    html.push_str("</main>\n");
    footer(&mut html, report);
    html.push_str("</body>\n</html>\n");
    html
}

fn style() -> String {
    let runtimes: String = DASHES
        .iter()
        .enumerate()
        .map(|(runtime, dashes)| {
            format!(
                ".line.r{runtime} {{ stroke: var(--r{runtime}); stroke-dasharray: {dashes}; }}\n\
                 .mark.r{runtime} {{ fill: var(--r{runtime}); }}\n"
            )
        })
        .collect();
    STYLE.replace("LIGHT", LIGHT).replace("DARK", DARK).replace(
        "RUNTIMES\n",
        &format!("{runtimes}.mark.r5 {{ stroke: var(--r5); fill: none; }}\n"),
    )
}

fn header(html: &mut String, report: &Report) {
    html.push_str(
        "<header>\n<h1>Latency of event loops</h1>\n\
         <p>How long a request waits until its code runs: six paths, each under four loads. A curve shows which share of \
         the requests took at most how long; both axes are logarithmic, and lower is better. Requests follow a fixed \
         schedule, and the time at which a request was <em>meant</em> to happen counts: while a loop is blocked, each \
         request of that time waits.</p>\n",
    );
    if report.quick {
        html.push_str(
            "<p><strong>A quick run.</strong> It has few samples: what it shows beyond 99 % is a few requests.</p>\n",
        );
    }
    html.push_str("<fieldset><legend>Theme</legend>");
    for (id, title, checked) in [
        ("system", "system", " checked"),
        ("light", "light", ""),
        ("dark", "dark", ""),
    ] {
        let _ = write!(
            html,
            "<label><input type=\"radio\" name=\"theme\" id=\"{id}\"{checked}>{title}</label>"
        );
    }
    html.push_str("</fieldset>\n<nav aria-label=\"Paths\"><ul>");
    for (path, named) in PATHS.iter().enumerate() {
        if report.of_path(path).next().is_some() {
            let _ = write!(
                html,
                "<li><a href=\"#{}\">{}</a></li>",
                named.id, named.title
            );
        }
    }
    html.push_str("</ul></nav>\n</header>\n");
}

/// What failed at a path.
fn failures(report: &Report, path: usize) -> impl Iterator<Item = &(Cell, String)> {
    report
        .failed
        .iter()
        .filter(move |(cell, _)| cell.path == path)
}

fn section(html: &mut String, report: &Report, path: usize) {
    let named = &PATHS[path];
    let _ = write!(
        html,
        "<section id=\"{0}\" aria-labelledby=\"h-{0}\">\n<h2 id=\"h-{0}\">{1}</h2>\n<p class=\"note\">{2}</p>\n<ul class=\"legend\">",
        named.id, named.title, named.what
    );
    for (runtime, peer) in RUNTIMES.iter().enumerate() {
        if report
            .of_path(path)
            .any(|measured| measured.cell.runtime == runtime)
        {
            let _ = write!(html, "<li>{}{}</li>", chart::swatch(runtime), peer.title);
        }
    }
    html.push_str("</ul>\n<div class=\"plots\">\n");
    // One scale for all loads of a path, so that they can be compared by eye.
    let axes = Axes::around(report.of_path(path));
    for (load, named) in LOADS.iter().enumerate() {
        let cells: Vec<_> = of_load(report, path, load);
        if !cells.is_empty() {
            let _ = writeln!(
                html,
                "<figure><figcaption><h3>{}</h3><small>{}</small></figcaption>\n{}\n</figure>",
                named.title,
                named.what,
                chart::svg(path, load, &cells, &axes)
            );
        }
    }
    html.push_str("</div>\n");
    table(html, report, path);
    html.push_str("</section>\n");
}

fn of_load(report: &Report, path: usize, load: usize) -> Vec<&Measured> {
    let cells = report.of_path(path);
    cells
        .filter(|measured| measured.cell.load == load)
        .collect()
}

fn table(html: &mut String, report: &Report, path: usize) {
    let title = PATHS[path].title;
    let _ = write!(
        html,
        "<p class=\"note\">From the intended time; “call” is from the call itself. Underlined: the lowest of its load.</p>\n\
         <div class=\"scroll\" role=\"region\" tabindex=\"0\" aria-label=\"{title}: figures\">\n<table>\n\
         <caption>{title}</caption>\n<thead><tr><th class=\"left first\" scope=\"col\">runtime</th>"
    );
    let heads = PERCENTILES.iter().map(|(_, head, _)| *head);
    for head in heads.chain(CALLED.map(|(head, _)| head)).chain(["samples"]) {
        let _ = write!(html, "<th scope=\"col\">{head}</th>");
    }
    html.push_str("</tr></thead>\n");
    for (load, named) in LOADS.iter().enumerate() {
        let cells = of_load(report, path, load);
        let failed: Vec<_> = failures(report, path)
            .filter(|(cell, _)| cell.load == load)
            .collect();
        if cells.is_empty() && failed.is_empty() {
            continue;
        }
        let columns = 2 + PERCENTILES.len() + CALLED.len();
        let _ = writeln!(
            html,
            "<tbody><tr><th scope=\"rowgroup\" colspan=\"{columns}\">{}</th></tr>",
            named.title
        );
        rows(html, &cells);
        for (cell, why) in failed {
            let _ = writeln!(
                html,
                "<tr><th scope=\"row\">{}</th><td class=\"failed\" colspan=\"{}\">{}</td></tr>",
                RUNTIMES[cell.runtime].title,
                columns - 1,
                escaped(why)
            );
        }
        html.push_str("</tbody>\n");
    }
    html.push_str("</table>\n</div>\n");
}

/// The rows of one load.
fn rows(html: &mut String, cells: &[&Measured]) {
    let values = |measured: &Measured| {
        let called = CALLED.map(|(_, percent)| measured.called.at(percent));
        [&measured.intended.row()[..], &called[..]].concat()
    };
    let all: Vec<_> = cells.iter().map(|measured| values(measured)).collect();
    for (measured, values) in cells.iter().zip(&all) {
        let _ = write!(
            html,
            "<tr><th scope=\"row\">{}</th>",
            RUNTIMES[measured.cell.runtime].title
        );
        for (column, nanos) in values.iter().enumerate() {
            // Lowest as shown: what three digits cannot tell apart is equal.
            let least = all.iter().map(|other| other[column]).min();
            let lowest = all.len() > 1 && least.map(time) == Some(time(*nanos));
            let (open, close) = if lowest { ("<b>", "</b>") } else { ("", "") };
            let _ = write!(html, "<td>{open}{}{close}</td>", time(*nanos));
        }
        let _ = writeln!(html, "<td>{}</td></tr>", measured.intended.len());
    }
}

/// What changed beyond noise since a saved run.
fn comparison(html: &mut String, name: &str, old: &Saved, new: &Saved) {
    let changes = compare::changes(old, new);
    let _ = write!(
        html,
        "<section id=\"compared\" aria-labelledby=\"h-compared\">\n<h2 id=\"h-compared\">Since {}</h2>\n<p>{}</p>\n\
         <p class=\"note\">What changed beyond noise: medians of the rounds, in ns.</p>\n\
         <div class=\"scroll\" role=\"region\" tabindex=\"0\" aria-label=\"Changes beyond noise\">\n<table>\n\
         <caption>Changes beyond noise</caption>\n<thead><tr>",
        escaped(name),
        escaped(&compare::summary(&changes))
    );
    for head in ["figure", "runtime"] {
        let _ = write!(html, "<th class=\"left\" scope=\"col\">{head}</th>");
    }
    for head in ["old", "new", "change", ""] {
        let _ = write!(html, "<th scope=\"col\">{head}</th>");
    }
    html.push_str("</tr></thead>\n<tbody>\n");
    for change in &changes {
        let verdict = match change.verdict {
            Verdict::Noise => continue,
            Verdict::Better => "better",
            Verdict::Worse => "worse",
        };
        let _ = writeln!(
            html,
            "<tr><th scope=\"row\">{}</th><td class=\"left\">{}</td><td>{}</td><td>{}</td><td>{:+.1} %</td><td>{verdict}</td></tr>",
            escaped(&change.new.metric),
            escaped(&change.new.peer),
            digits(change.old.value()),
            digits(change.new.value()),
            change.percent().unwrap_or(0.0)
        );
    }
    html.push_str("</tbody>\n</table>\n</div>\n</section>\n");
}

fn footer(html: &mut String, report: &Report) {
    let machine = &report.machine;
    let versions: Vec<_> = machine
        .versions
        .iter()
        .map(|(name, version)| format!("{name} {version}"))
        .collect();
    let rounds = format!(
        "{}: {} rounds{}, in each of which every runtime ran once in a process of its own",
        report.date,
        report.rounds(),
        if report.quick { " of a quick run" } else { "" }
    );
    html.push_str("<footer>\n<dl>\n");
    for (term, text) in [
        ("Machine", machine.processor.as_str()),
        ("System", &machine.system),
        ("Compiler", &machine.compiler),
        ("Versions", &versions.join(", ")),
        ("Measured", &rounds),
        ("Command", "cargo bench --bench latency"),
    ] {
        let _ = writeln!(html, "<dt>{term}</dt><dd>{}</dd>", escaped(text));
    }
    html.push_str("</dl>\n</footer>\n");
}
