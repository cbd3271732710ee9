//! A process of its own, because it starts a browser: the page of the bench `latency`, in Chromium without a window. It is
//! painted, in both themes and on a phone's width; nothing is logged as an error; no request leaves it.
//!
//! Where no such browser is installed, the tests say so and end. Each check is first shown to fail on a page that is bad.

#![allow(unsafe_code)] // what the benches measure with, of which nothing is called here

#[path = "../benches/support/mod.rs"]
mod support;

use std::fs;
use std::io::Read;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use support::latency::cells::{Cell, RUNTIMES};
use support::latency::distribution::Distribution;
use support::latency::names::{LOADS, PATHS};
use support::latency::page::page;
use support::latency::report::Report;
use support::machine::Machine;
use support::random::Random;

/// How long the browser may take for one page.
const PATIENCE: Duration = Duration::from_secs(60);

/// Names of the browser.
const BROWSERS: [&str; 4] = [
    "chromium",
    "chromium-browser",
    "google-chrome",
    "google-chrome-stable",
];

/// An empty folder of one test.
fn folder(name: &str) -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("latency_page_{name}"));
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).unwrap();
    folder
}

/// A run with every cell, latencies of a plausible shape, a failure, and text that HTML would take for its own.
fn report() -> Report {
    let mut machine = Machine::this();
    machine.processor = "A <b>processor</b> & more".into();
    let mut report = Report::new(machine, "a date".into(), true);
    let mut random = Random::new(7);
    for cell in Cell::all(RUNTIMES.len()) {
        for _round in 0..3 {
            let base = 100 + 400 * cell.load as u64 + 70 * cell.runtime as u64;
            let samples: Vec<_> = (0..400)
                .map(|n| base + random.below(base) + if n % 40 == 0 { 1_000_000 } else { 0 })
                .collect();
            let intended = Distribution::of(&samples);
            let called = intended.clone();
            report.add(cell, intended, &called);
        }
    }
    let failed = report.cells.pop().unwrap().cell;
    report.failed.push((failed, "it <failed> & ended".into()));
    report
}

/// The browser, if there is one.
fn browser() -> Option<&'static str> {
    let is_here = |name: &&&str| {
        let mut command = Command::new(name);
        let quiet = command.arg("--version").stdin(Stdio::null());
        let status = quiet.stdout(Stdio::null()).stderr(Stdio::null()).status();
        status.is_ok_and(|status| status.success())
    };
    let found = BROWSERS.iter().find(is_here).copied();
    if found.is_none() {
        println!("skipped: this machine has none of {BROWSERS:?}");
    }
    found
}

/// What the browser did with one page.
struct Visit {
    /// The page as it is after its scripts have run.
    dom: String,
    /// What was logged on the page's console.
    console: Vec<String>,
    /// What the page asked for.
    requests: Vec<String>,
}

/// A browser that is killed and reaped at the end, whatever happens.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Opens a file with these flags in addition, and waits until the browser has ended.
fn visit(browser: &str, file: &Path, flags: &[&str]) -> Visit {
    let folder = file.parent().unwrap();
    let log = folder.join("net.json");
    let mut command = Command::new(browser);
    command
        // Without a sandbox, which root does not get; the page is ours.
        .args([
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--hide-scrollbars",
        ])
        .args([
            "--no-first-run",
            "--disable-background-networking",
            "--disable-sync",
        ])
        .args([
            "--disable-component-update",
            "--disable-extensions",
            "--no-proxy-server",
        ])
        .args(["--disable-dev-shm-usage", "--enable-logging=stderr"])
        // No name resolves, so that nothing leaves this machine even if the page is wrong.
        .arg("--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1")
        .arg(format!(
            "--user-data-dir={}",
            folder.join("profile").display()
        ))
        .arg(format!("--log-net-log={}", log.display()))
        .args(flags)
        .arg(format!("file://{}", file.display()))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut running = Running(command.spawn().unwrap());
    let mut stderr = running.0.stderr.take().unwrap();
    let console = std::thread::spawn(move || {
        let mut text = Vec::new();
        stderr.read_to_end(&mut text).unwrap();
        text
    });
    let mut stdout = running.0.stdout.take().unwrap();
    let dom = std::thread::spawn(move || {
        let mut text = Vec::new();
        stdout.read_to_end(&mut text).unwrap();
        text
    });
    let deadline = Instant::now() + PATIENCE;
    let status = loop {
        if let Some(status) = running.0.try_wait().unwrap() {
            break status;
        }
        assert!(
            Instant::now() < deadline,
            "{browser} is not done after {PATIENCE:?}"
        );
        std::thread::sleep(Duration::from_millis(5));
    };
    let console = String::from_utf8_lossy(&console.join().unwrap()).into_owned();
    assert!(status.success(), "{browser}: {status}\n{console}");
    let logged = console.lines().filter(|line| line.contains("CONSOLE"));
    Visit {
        console: logged.map(str::to_owned).collect(),
        dom: String::from_utf8_lossy(&dom.join().unwrap()).into_owned(),
        requests: requests(&log),
    }
}

/// The addresses that a page asked for, by the browser's log of its network. The browser asks for addresses of its own too,
/// of which the log says that no page is their origin. The page's file is not in that log.
fn requests(log: &Path) -> Vec<String> {
    let log: Value = serde_json::from_str(&fs::read_to_string(log).unwrap()).unwrap();
    let events = log["events"].as_array().unwrap();
    assert!(!events.is_empty(), "the log is empty");
    let by_page = events.iter().filter_map(|event| {
        let params = &event["params"];
        let origin = params["initiator"].as_str()?;
        (origin != "not an origin").then(|| params["url"].as_str().map(str::to_owned))?
    });
    by_page.collect()
}

/// The width and the height of a PNG, and whether anything is painted on it: one colour alone compresses to nearly nothing.
fn painted(file: &Path) -> (u32, u32) {
    let png = fs::read(file).unwrap();
    assert_eq!(&png[..8], b"\x89PNG\r\n\x1a\n");
    assert!(
        png.len() > 20_000,
        "{} has {} bytes",
        file.display(),
        png.len()
    );
    let number = |at: usize| u32::from_be_bytes(png[at..at + 4].try_into().unwrap());
    (number(16), number(20))
}

#[test]
fn the_page_is_painted_in_both_themes_and_makes_no_request() {
    let Some(browser) = browser() else { return };
    let folder = folder("themes");
    let light = folder.join("light.html");
    fs::write(&light, page(&report(), None)).unwrap();
    let dark = folder.join("dark.html");
    // As if the reader had chosen it.
    let chosen = page(&report(), None)
        .replace("id=\"system\" checked", "id=\"system\"")
        .replace("id=\"dark\"", "id=\"dark\" checked");
    fs::write(&dark, chosen).unwrap();
    let mut shots = Vec::new();
    for file in [&light, &dark] {
        let shot = file.with_extension("png");
        let argument = format!("--screenshot={}", shot.display());
        let visit = visit(browser, file, &["--window-size=1280,2400", &argument]);
        assert_eq!(visit.console, [""; 0]);
        assert_eq!(visit.requests, [""; 0]);
        assert_eq!(painted(&shot), (1280, 2400));
        shots.push(fs::read(&shot).unwrap());
    }
    assert_ne!(shots[0], shots[1], "the themes look alike");
}

#[test]
fn nothing_but_the_tables_scrolls_sideways_on_a_phone() {
    let Some(browser) = browser() else { return };
    let folder = folder("phone");
    fs::write(folder.join("page.html"), page(&report(), None)).unwrap();
    let wide = "<!DOCTYPE html><body style='margin:0'><div style='width:900px'>wide</div>";
    fs::write(folder.join("wide.html"), wide).unwrap();
    // A frame of a phone's width, since a window has a least one.
    let measure = "<!DOCTYPE html><body><script>for (const name of ['page', 'wide']) {\
        const frame = document.createElement('iframe'); frame.src = name + '.html'; frame.width = 375; frame.height = 800;\
        frame.style.border = 0; frame.onload = () => { const root = frame.contentDocument.documentElement;\
        document.body.append(name + ' is ' + root.scrollWidth + ' in ' + frame.contentWindow.innerWidth + '. '); };\
        document.body.append(frame); }</script>";
    let file = folder.join("frames.html");
    fs::write(&file, measure).unwrap();
    let visit = visit(
        browser,
        &file,
        &["--allow-file-access-from-files", "--dump-dom"],
    );
    assert!(visit.dom.contains("wide is 900 in 375."), "{}", visit.dom);
    assert!(visit.dom.contains("page is 375 in 375."), "{}", visit.dom);
}

#[test]
fn a_page_that_logs_an_error_or_makes_a_request_is_found_out() {
    let Some(browser) = browser() else { return };
    let folder = folder("control");
    // A port that nobody answers at: the request fails, and is one.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let image = format!("http://127.0.0.1:{port}/image.png");
    let file = folder.join("bad.html");
    let bad =
        format!("<!DOCTYPE html><img src=\"{image}\"><script>console.error('it is bad')</script>");
    fs::write(&file, bad).unwrap();
    let seen = visit(browser, &file, &["--dump-dom"]);
    assert!(
        seen.console.iter().any(|line| line.contains("it is bad")),
        "{:?}",
        seen.console
    );
    assert_eq!(seen.requests, [image.as_str()]);
    // The page's own policy forbids the same, and the browser says so on the console.
    let good = page(&report(), None);
    let injected = good.replace("<main>", &format!("<main><img src=\"{image}\">"));
    fs::write(&file, injected).unwrap();
    let seen = visit(browser, &file, &["--dump-dom"]);
    assert!(
        seen.console
            .iter()
            .any(|line| line.contains("Content Security Policy")),
        "{:?}",
        seen.console
    );
    assert_eq!(seen.requests, [""; 0]);
}

#[test]
fn every_plot_has_a_title_a_description_and_each_runtimes_line() {
    let html = page(&report(), None);
    let plots: Vec<_> = html.split("<svg role=\"img\"").skip(1).collect();
    assert_eq!(plots.len(), PATHS.len() * LOADS.len());
    for (number, plot) in plots.iter().enumerate() {
        let plot = plot.split("</svg>").next().unwrap();
        let (path, load) = (&PATHS[number / LOADS.len()], &LOADS[number % LOADS.len()]);
        let id = format!("{}-{}", path.id, load.id);
        let title = format!(
            "<title id=\"t-{id}\">{}, {}</title>",
            path.title, load.title
        );
        assert!(plot.contains(&title), "{id}");
        assert!(
            plot.contains(&format!("aria-labelledby=\"t-{id} d-{id}\"")),
            "{id}"
        );
        let described = plot
            .split("<desc ")
            .nth(1)
            .unwrap()
            .split("</desc>")
            .next()
            .unwrap();
        // The last cell of all has failed.
        let runtimes = RUNTIMES.len() - usize::from(number + 1 == plots.len());
        for (runtime, peer) in RUNTIMES.iter().enumerate().take(runtimes) {
            assert!(
                described.contains(&format!("{}: half of all", peer.title)),
                "{id}: {described}"
            );
            let line = format!("<path class=\"line r{runtime}\" d=\"M");
            assert_eq!(plot.matches(&line).count(), 1, "{id}: {}", peer.title);
        }
        assert!(!plot.contains("NaN") && !plot.contains("inf"), "{id}");
    }
}

#[test]
fn text_from_outside_is_shown_and_not_obeyed() {
    let html = page(&report(), None);
    assert!(html.contains("A &lt;b&gt;processor&lt;/b&gt; &amp; more"));
    assert!(html.contains("it &lt;failed&gt; &amp; ended"));
    assert!(!html.contains("<b>processor") && !html.contains("<failed>"));
}

#[test]
fn the_page_holds_no_script_and_no_address() {
    let html = page(&report(), None);
    for word in ["<script", "http:", "https:", "@import", "url(", "src="] {
        assert!(!html.contains(word), "{word}");
    }
    assert!(html.contains("default-src 'none'"));
    assert!(
        html.contains("<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">")
    );
}

#[test]
fn a_saved_run_beside_it_is_a_table_of_what_changed() {
    let report = report();
    let mut old = report.to_saved();
    let changed = &mut old.series[0];
    changed.values.iter_mut().for_each(|value| *value *= 2.0);
    let html = page(&report, Some(&("before <it>".to_owned(), old)));
    let section = html.split("<section id=\"compared\"").nth(1).unwrap();
    assert!(section.contains("Since before &lt;it&gt;"));
    let rows: Vec<_> = section
        .split("<tbody>")
        .nth(1)
        .unwrap()
        .matches("<tr>")
        .collect();
    assert_eq!(rows.len(), 1, "{section}");
    assert!(section.contains("-50.0 %</td><td>better"), "{section}");
    assert!(!page(&report, None).contains("compared"));
}
