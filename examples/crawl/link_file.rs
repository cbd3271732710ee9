//! The file of links, and the task that appends to it.

use std::error::Error;
use std::io::Write;
use std::path::PathBuf;
use std::rc::Rc;

use callsoon::to_thread;

use crate::crawler::Crawl;

/// Appends links to a file until the end comes. Writing is a job of a worker thread, since files block.
pub(crate) async fn write(crawl: Rc<Crawl>, path: PathBuf) -> Result<usize, Box<dyn Error>> {
    let mut count = 0;
    let append = std::fs::OpenOptions::new()
        .create(true)
        .append(true)
        .clone();
    while let Ok(first) = crawl.links.get().await {
        let mut lines = vec![first];
        while let Ok(next) = crawl.links.get_nowait() {
            lines.push(next);
        }
        count += lines.len();
        let (append, path) = (append.clone(), path.clone());
        let text = lines.join("\n") + "\n";
        to_thread(move || append.open(path)?.write_all(text.as_bytes())).await??;
    }
    Ok(count)
}
