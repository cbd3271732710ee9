//! Workers that take pages from a queue and put what they find into others.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::rc::Rc;

use callsoon::Queue;

use crate::fetch;

/// What the workers share.
pub(crate) struct Crawl {
    pub(crate) pages: Queue<String>,
    /// Where the links go. It is shut down in the end.
    pub(crate) links: Queue<String>,
    known: RefCell<BTreeSet<String>>,
    done: Cell<usize>,
    pub(crate) failed: RefCell<Vec<String>>,
}

impl Crawl {
    pub(crate) fn new() -> Self {
        Self {
            pages: Queue::new(0),
            links: Queue::new(0),
            known: RefCell::default(),
            done: Cell::new(0),
            failed: RefCell::default(),
        }
    }

    pub(crate) fn add(&self, page: String) {
        if self.known.borrow_mut().insert(page.clone()) {
            self.pages.put_nowait(page).expect("the queue has no limit");
        }
    }

    /// Fetches pages until it is cancelled.
    pub(crate) async fn work(self: Rc<Self>, origin: String) {
        while let Ok(page) = self.pages.get().await {
            match fetch::page_in_time(&page).await {
                Ok(text) => self.found(&origin, &text),
                Err(error) => self.failed.borrow_mut().push(format!("{page}: {error}")),
            }
            self.pages.task_done().expect("one for each page");
            let (known, failed) = (self.known.borrow().len(), self.failed.borrow().len());
            self.done.set(self.done.get() + 1);
            println!("{} of {known} pages, {failed} failed", self.done.get());
        }
    }

    fn found(&self, origin: &str, text: &str) {
        for link in fetch::links(origin, text) {
            let _ = self.links.put_nowait(link.clone()); // it has no limit
            if link.starts_with(origin) {
                self.add(link);
            }
        }
    }
}
