//! A crawler: many pages with a bounded number in flight. A task of its own appends the links that are found to a
//! file, progress is shown, and failures are counted and named.
//!
//! ```text
//! $ cargo run --example crawl --features hyper
//! 1 of 5 pages, 0 failed
//! …
//! 41 of 41 pages, 2 failed
//! failed: http://127.0.0.1:43121/gone: 404 Not Found
//! failed: http://127.0.0.1:43121/cut: connection closed before message completed
//! 79 links in …/crawl-7041.txt
//! $ cargo run --example crawl --features hyper -- http://example.org/    # that page and what it links to there
//! ```

use std::error::Error;
use std::rc::Rc;

use callsoon::create_task;

#[path = "../common/command_line.rs"]
mod command_line;
mod crawler;
mod fetch;
mod link_file;
mod site;

/// How many pages are in flight at most.
const IN_FLIGHT: usize = 8;

fn main() -> Result<(), Box<dyn Error>> {
    let argument = command_line::arguments!("[http://URL]").pop();
    callsoon::run(async {
        let start = match argument {
            Some(url) => url,
            None => site::start().await?,
        };
        let rest = start.strip_prefix("http://").ok_or("no http:// URL")?;
        let origin = format!("http://{}", rest.split('/').next().unwrap_or(rest));
        let crawl = Rc::new(crawler::Crawl::new());
        let path = std::env::temp_dir().join(format!("crawl-{}.txt", std::process::id()));
        let writer = create_task(link_file::write(Rc::clone(&crawl), path.clone()));
        crawl.add(start);
        let work = |_| create_task(Rc::clone(&crawl).work(origin.clone()));
        let workers: Vec<_> = (0..IN_FLIGHT).map(work).collect();
        crawl.pages.join().await;
        for worker in workers {
            worker.cancel();
        }
        crawl.links.shutdown(false);
        let count = writer.await??;
        for failure in crawl.failed.borrow().iter() {
            println!("failed: {failure}");
        }
        println!("{count} links in {}", path.display());
        Ok(())
    })?
}
