//! A crawler: many pages with a bounded number in flight. A task of its own appends the links that are found to a
//! file, progress is shown, and failures are counted and named.
//!
//! ```text
//! $ cargo run --example crawl --features hyper
//! 10 of 41 pages, 0 failed
//! 20 of 41 pages, 0 failed
//! …
//! 41 of 41 pages, 2 failed
//! failed: http://127.0.0.1:43121/gone: 404 Not Found
//! failed: http://127.0.0.1:43121/cut: connection closed before message completed
//! 120 links in /tmp/crawl-7041.txt
//! $ cargo run --example crawl --features hyper -- http://example.org/    # that page and what it links to there
//! ```

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::error::Error;
use std::io::Write;
use std::rc::Rc;
use std::time::Duration;

use callsoon::{Queue, create_task, timeout, to_thread};

mod fetch;
mod site;

/// How many pages are in flight at most.
const IN_FLIGHT: usize = 8;

/// What the workers share.
struct Crawl {
    /// The pages that nobody has asked for yet.
    pages: Queue<String>,
    /// Where the links go. `None` is the end.
    links: Queue<Option<String>>,
    known: RefCell<BTreeSet<String>>,
    failed: RefCell<Vec<String>>,
}

impl Crawl {
    /// Queues a page that was not known before.
    fn add(&self, page: String) {
        if self.known.borrow_mut().insert(page.clone()) {
            self.pages.put_nowait(page).expect("the queue has no limit");
        }
    }

    /// Fetches pages until it is cancelled.
    async fn work(self: Rc<Self>, origin: String) {
        while let Ok(page) = self.pages.get().await {
            let fetched = timeout(Duration::from_secs(10), fetch::page(&page)).await;
            match fetched.map_err(Into::into).and_then(|fetched| fetched) {
                Ok(text) => self.found(&origin, &text),
                Err(error) => self.failed.borrow_mut().push(format!("{page}: {error}")),
            }
            self.pages.task_done().expect("one for each page");
            let (known, left) = (self.known.borrow().len(), self.pages.qsize());
            if (known - left).is_multiple_of(10) || left == 0 {
                let failed = self.failed.borrow().len();
                println!("{} of {known} pages, {failed} failed", known - left);
            }
        }
    }

    fn found(&self, origin: &str, text: &str) {
        for link in fetch::links(origin, text) {
            let line = Some(link.clone());
            self.links.put_nowait(line).expect("the queue has no limit");
            if link.starts_with(origin) {
                self.add(link);
            }
        }
    }
}

/// Appends links to a file until the end comes. Writing is a job of a worker thread, since files block.
async fn write_links(crawl: Rc<Crawl>, path: String) -> Result<usize, Box<dyn Error>> {
    let mut count = 0;
    let append = std::fs::OpenOptions::new()
        .create(true)
        .append(true)
        .clone();
    while let Ok(Some(first)) = crawl.links.get().await {
        let mut lines = vec![first];
        while let Ok(Some(next)) = crawl.links.get_nowait() {
            lines.push(next);
        }
        count += lines.len();
        let (append, path) = (append.clone(), path.clone());
        let text = lines.join("\n") + "\n";
        to_thread(move || append.open(path)?.write_all(text.as_bytes())).await??;
    }
    Ok(count)
}

fn main() -> Result<(), Box<dyn Error>> {
    let argument = std::env::args().nth(1);
    if argument.as_deref() == Some("--help") {
        println!("crawl [http://URL]    without a URL: a site of its own");
        return Ok(());
    }
    callsoon::run(async {
        let start = match argument {
            Some(url) => url,
            None => site::start().await?,
        };
        let end = start[7..].find('/').map_or(start.len(), |at| at + 7);
        let origin = start[..end].to_owned();
        let crawl = Rc::new(Crawl {
            pages: Queue::new(0),
            links: Queue::new(0),
            known: RefCell::default(),
            failed: RefCell::default(),
        });
        let path = std::env::temp_dir().join(format!("crawl-{}.txt", std::process::id()));
        let path = path.display().to_string();
        let writer = create_task(write_links(Rc::clone(&crawl), path.clone()));
        crawl.add(start);
        let work = |_| create_task(Rc::clone(&crawl).work(origin.clone()));
        let workers: Vec<_> = (0..IN_FLIGHT).map(work).collect();
        crawl.pages.join().await;
        for worker in workers {
            worker.cancel();
            worker.await.expect_err("it is cancelled");
        }
        crawl.links.put_nowait(None)?;
        let count = writer.await??;
        for failure in crawl.failed.borrow().iter() {
            println!("failed: {failure}");
        }
        println!("{count} links in {path}");
        Ok(())
    })?
}
