//! What goes on in one seed, and how its transfers are judged.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::future::{Future, IntoFuture};
use std::io;
use std::rc::Rc;
use std::sync::Mutex;
use std::time::Duration;

use callsoon::{Task, all_tasks, create_task, get_running_loop, sleep};

use crate::{children, datagrams, pipes, transfers};

/// The seed, and what everything in it needs to know.
#[derive(Clone)]
pub(crate) struct World {
    pub(crate) seed: u64,
    /// No call fails: everything has to succeed.
    pub(crate) gentle: bool,
    /// What the loop reports.
    pub(crate) reports: Reports,
}

/// What a loop has reported.
pub(crate) type Reports = Rc<RefCell<Vec<String>>>;

/// What one side of a transfer has come to.
#[derive(Default)]
pub(crate) struct Side {
    pub(crate) read: Vec<u8>,
    /// `None` while it has not ended, or never began.
    pub(crate) ended: Option<io::Result<()>>,
}

pub(crate) type Shared = Rc<RefCell<Side>>;

impl World {
    pub(crate) fn new(seed: u64, gentle: bool, reports: &Reports) -> Self {
        Self {
            seed,
            gentle,
            reports: Rc::clone(reports),
        }
    }

    /// Runs everything at once, to its end.
    pub(crate) async fn run(self) {
        let tasks = [
            begun("streams", transfers::by_streams(self.clone())),
            begun("protocols", transfers::by_protocols(self.clone())),
            begun("tcp", transfers::by_tcp(self.clone())),
            begun("unix", transfers::by_unix(self.clone())),
            begun("sock", transfers::by_sock_calls(self.clone())),
            begun("file", transfers::of_a_file(self.clone())),
            begun("udp", datagrams::by_sockets(self.clone())),
            begun("endpoints", datagrams::by_endpoints(self.clone())),
            begun("pipes", pipes::by_streams(self.clone())),
            begun("child", children::talk(self.clone())),
            begun("posts", children::posts(self.clone())),
            begun("timers", children::timers(self.clone())),
        ];
        for task in tasks.into_iter().flatten() {
            task.await.unwrap_or_else(|error| panic!("{error}"));
        }
        // What was closed leaves the loop in a later turn.
        for _ in 0..1000 {
            if get_running_loop().metrics().sources == 0 && all_tasks().len() == 1 {
                return;
            }
            sleep(Duration::from_millis(1)).await;
        }
        let left = get_running_loop().metrics().sources;
        panic!("left over: {left} sources, {:?}", all_tasks());
    }

    /// Bytes that say where they belong.
    pub(crate) fn bytes(&self, salt: u64, length: usize) -> Vec<u8> {
        let mut word = self.seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ salt;
        let mut next = || {
            word ^= word << 13;
            word ^= word >> 7;
            word ^= word << 17;
            word as u8
        };
        next();
        (0..length).map(|_| next()).collect()
    }

    /// Repeats what may fail for lack of something until it succeeds.
    pub(crate) async fn again<T, F: IntoFuture<Output = io::Result<T>>>(
        &self,
        mut attempt: impl FnMut() -> F,
    ) -> T {
        for _ in 0..100 {
            match attempt().await {
                Ok(value) => return value,
                Err(error) => assert!(!self.gentle, "{error}"),
            }
        }
        panic!("it never succeeds");
    }

    /// An echo: what each side has read is a prefix of what was sent; and if it is not all, some side has an error, or the
    /// loop has reported one.
    #[track_caller]
    pub(crate) fn judge(&self, name: &str, sent: &[u8], far: &Shared, near: &Shared) {
        let (far, near) = (far.borrow(), near.borrow());
        assert!(
            sent.starts_with(&far.read),
            "{name}: what the server has read"
        );
        assert!(far.read.starts_with(&near.read), "{name}: what came back");
        let whole = near.read.len() == sent.len();
        let sides = [&far.ended, &near.ended];
        let failed = sides.iter().any(|side| matches!(side, Some(Err(_))));
        if self.gentle {
            let ended = sides.map(|side| {
                side.as_ref()
                    .map(|end| end.as_ref().map_err(io::Error::to_string))
            });
            assert_eq!(ended, [Some(Ok(&())), Some(Ok(&()))], "{name}");
            assert!(whole, "{name}: {} of {}", near.read.len(), sent.len());
        } else if !whole {
            let reported = far.ended.is_none() && !self.reports.borrow().is_empty();
            let (came, all) = (near.read.len(), sent.len());
            assert!(
                failed || reported,
                "{name}: {came} of {all}, and no side knows of it"
            );
        }
    }
}

/// What has begun and has not come to its end.
static AT_WORK: Mutex<BTreeSet<&'static str>> = Mutex::new(BTreeSet::new());

pub(crate) fn at_work() -> Vec<&'static str> {
    AT_WORK.lock().unwrap().iter().copied().collect()
}

/// Starts a part of the world, by name.
fn begun(name: &'static str, part: impl Future<Output = ()> + 'static) -> Option<Task<()>> {
    let only = std::env::var("CALLSOON_FAULT_ONLY");
    if only.is_ok_and(|only| only != name) {
        return None;
    }
    AT_WORK.lock().unwrap().insert(name);
    Some(create_task(async move {
        part.await;
        AT_WORK.lock().unwrap().remove(name);
    }))
}
