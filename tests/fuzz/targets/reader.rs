//! `StreamReader` against a model: whatever arrives in whatever pieces, each read returns what its documentation says,
//! a read that could go on has been woken, and a read that is dropped has taken nothing.
#![no_main]

use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::io::{self, ErrorKind};
use std::num::NonZeroUsize;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use arbitrary::Arbitrary;
use callsoon::stream::{ReadError, StreamFeeder, StreamReader};
use callsoon::{Clock, EventLoop, PollBufRead, PollRead};
use libfuzzer_sys::fuzz_target;

#[derive(Arbitrary, Debug)]
struct Input {
    limit: u8,
    /// Whether wakers are those of another runtime, which notes that it is woken.
    hosted: bool,
    steps: Vec<Step>,
}

#[derive(Arbitrary, Debug)]
enum Step {
    Feed(Vec<u8>),
    /// Feeds the same byte so often, since a burst uses other memory.
    FeedMany(u8, u16),
    FeedEof,
    Fail,
    Begin(Read),
    Poll,
    Drop,
    /// Awaits the read, while another task takes the steps up to the next read and feeds an end after them.
    Await,
}

#[derive(Arbitrary, Debug)]
enum Read {
    Some(u16),
    Into(u16),
    Exactly(u16),
    ToEnd,
    Line,
    NextLine,
    Until(Vec<Vec<u8>>),
    Polled(u16),
    FillBuf(u16),
}

#[derive(PartialEq, Eq, Debug)]
enum Outcome {
    Bytes(Vec<u8>),
    /// What `fill_buf` has shown, of which the model only knows that it is a prefix.
    Shown(Vec<u8>),
    Incomplete(Vec<u8>, Option<usize>),
    Overrun(usize),
    Failed(Vec<u8>, Option<usize>),
    Io,
}

#[derive(Default)]
struct Model {
    kept: Vec<u8>,
    eof: bool,
    failed: bool,
    failure_taken: bool,
    limit: usize,
}

impl Model {
    fn take(&mut self, count: usize) -> Vec<u8> {
        self.kept.drain(..count).collect()
    }

    fn take_failure(&mut self) -> bool {
        let untaken = self.failed && !self.failure_taken;
        self.failure_taken |= untaken;
        untaken
    }

    /// Returns whether an attempt would end the read.
    fn is_ready(&self, read: &Read) -> bool {
        let copy = Model {
            kept: self.kept.clone(),
            ..*self
        };
        { copy }.attempt(read).is_some()
    }

    fn attempt(&mut self, read: &Read) -> Option<Outcome> {
        match read {
            Read::Some(0) | Read::Into(0) | Read::Polled(0) => Some(Outcome::Bytes(Vec::new())),
            Read::Some(n) | Read::Into(n) | Read::Polled(n) => self.some(usize::from(*n)),
            Read::Exactly(n) => self.exactly(usize::from(*n)),
            Read::ToEnd if !self.eof => None,
            Read::ToEnd if self.take_failure() => Some(Outcome::Io),
            Read::ToEnd => Some(Outcome::Bytes(self.take(self.kept.len()))),
            Read::Line | Read::NextLine => Some(match self.until(&[b"\n".to_vec()])? {
                Outcome::Incomplete(partial, _) | Outcome::Failed(partial, _) => {
                    Outcome::Bytes(partial)
                }
                outcome => outcome,
            }),
            Read::Until(separators) => self.until(separators),
            Read::FillBuf(_) if !self.kept.is_empty() => Some(Outcome::Shown(self.kept.clone())),
            Read::FillBuf(_) if !self.eof => None,
            Read::FillBuf(_) if self.take_failure() => Some(Outcome::Io),
            Read::FillBuf(_) => Some(Outcome::Shown(Vec::new())),
        }
    }

    fn some(&mut self, most: usize) -> Option<Outcome> {
        match most.min(self.kept.len()) {
            0 if !self.eof => None,
            0 if self.take_failure() => Some(Outcome::Io),
            count => Some(Outcome::Bytes(self.take(count))),
        }
    }

    fn exactly(&mut self, count: usize) -> Option<Outcome> {
        if self.kept.len() >= count {
            return Some(Outcome::Bytes(self.take(count)));
        }
        self.eof.then(|| self.cut_short(Some(count)))
    }

    fn until(&mut self, separators: &[Vec<u8>]) -> Option<Outcome> {
        let ends = |end: &usize| {
            let before = &self.kept[..*end];
            let separator = separators.iter().find(|one| before.ends_with(one))?;
            Some((*end - separator.len(), *end))
        };
        let first = (1..=self.kept.len()).find_map(|end| ends(&end));
        if let Some((start, end)) = first {
            return Some(match start > self.limit {
                true => Outcome::Overrun(start),
                false => Outcome::Bytes(self.take(end)),
            });
        }
        let longest = separators.iter().map(Vec::len).max().unwrap_or(1);
        let without = (self.kept.len() + 1).saturating_sub(longest);
        if without > self.limit {
            return Some(Outcome::Overrun(without));
        }
        self.eof.then(|| self.cut_short(None))
    }

    fn cut_short(&mut self, expected: Option<usize>) -> Outcome {
        let partial = self.take(self.kept.len());
        if partial.is_empty() && self.take_failure() {
            return Outcome::Io;
        }
        match self.failed && !self.failure_taken {
            true => Outcome::Failed(partial, expected),
            false => Outcome::Incomplete(partial, expected),
        }
    }
}

fn of_io(result: io::Result<Vec<u8>>) -> Outcome {
    match result {
        Ok(bytes) => Outcome::Bytes(bytes),
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::ConnectionReset);
            Outcome::Io
        }
    }
}

fn of_read(result: Result<Vec<u8>, ReadError>) -> Outcome {
    match result {
        Ok(bytes) => Outcome::Bytes(bytes),
        Err(ReadError::Incomplete(error)) => Outcome::Incomplete(error.partial, error.expected),
        Err(ReadError::LimitOverrun(error)) => Outcome::Overrun(error.consumed),
        Err(ReadError::Failed(error)) => Outcome::Failed(error.partial, error.expected),
        Err(ReadError::Io(error)) => of_io(Err(error)),
        Err(other) => panic!("an error that the model does not know: {other:?}"),
    }
}

/// Begins a read of the reader.
fn begin<'a>(
    reader: &'a mut StreamReader,
    read: &'a Read,
) -> Pin<Box<dyn Future<Output = Outcome> + 'a>> {
    match read {
        Read::Some(n) => Box::pin(async { of_io(reader.read(usize::from(*n)).await) }),
        Read::Into(n) => Box::pin(async {
            let mut buffer = vec![0; usize::from(*n)];
            let count = reader.read_into(&mut buffer).await;
            of_io(count.map(|count| buffer[..count].to_vec()))
        }),
        Read::Exactly(n) => Box::pin(async { of_read(reader.readexactly(usize::from(*n)).await) }),
        Read::ToEnd => Box::pin(async { of_io(reader.read_to_end().await) }),
        Read::Line => Box::pin(async { of_read(reader.readline().await) }),
        Read::NextLine => Box::pin(async {
            let line = reader.next_line().await;
            of_read(line.map(Option::unwrap_or_default))
        }),
        Read::Until(separators) => Box::pin(async {
            let separators: Vec<_> = separators.iter().map(Vec::as_slice).collect();
            of_read(reader.readuntil_any(&separators).await)
        }),
        Read::Polled(n) => Box::pin(async {
            let mut buffer = vec![0; usize::from(*n)];
            let count = poll_fn(|context| reader.poll_read(context, &mut buffer)).await;
            of_io(count.map(|count| buffer[..count].to_vec()))
        }),
        Read::FillBuf(_) => Box::pin(async {
            let shown = poll_fn(|context| {
                let shown = reader.poll_fill_buf(context);
                shown.map(|shown| shown.map(<[u8]>::to_vec))
            });
            match of_io(shown.await) {
                Outcome::Bytes(shown) => Outcome::Shown(shown),
                outcome => outcome,
            }
        }),
    }
}

struct Feeding {
    feeder: StreamFeeder,
    model: RefCell<Model>,
}

impl Feeding {
    /// Takes a step that feeds the reader. Returns whether it was one.
    fn take(&self, step: &Step) -> bool {
        let mut model = self.model.borrow_mut();
        let open = !model.eof;
        match step {
            Step::Feed(bytes) if open => self.feed(&mut model, bytes),
            Step::FeedMany(byte, count) if open => {
                self.feed(&mut model, &vec![*byte; usize::from(*count)]);
            }
            Step::FeedEof => {
                self.feeder.feed_eof();
                model.eof = true;
            }
            Step::Fail => {
                self.feeder.set_exception(ErrorKind::ConnectionReset.into());
                (model.eof, model.failed) = (true, true);
            }
            Step::Feed(_) | Step::FeedMany(..) => {}
            Step::Begin(_) | Step::Poll | Step::Drop | Step::Await => return false,
        }
        true
    }

    fn feed(&self, model: &mut Model, bytes: &[u8]) {
        self.feeder.feed_data(bytes).expect("the end was not fed");
        model.kept.extend_from_slice(bytes);
    }
}

#[derive(Default)]
struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// One read, from its beginning to its end or until it is dropped.
struct Reading<'a> {
    future: Pin<Box<dyn Future<Output = Outcome> + 'a>>,
    read: &'a Read,
    feeding: &'a Feeding,
    woken: &'a Arc<Woken>,
    hosted: bool,
    waits: bool,
}

impl Reading<'_> {
    /// Polls once, with a budget of its own. Returns whether the read has ended.
    async fn poll(&mut self) -> bool {
        callsoon::yield_now().await;
        let ready = self.feeding.model.borrow().is_ready(self.read);
        let woken = self.woken.0.swap(false, Ordering::Relaxed);
        if self.waits && self.hosted && ready {
            assert!(woken, "{:?} could go on and was not woken", self.read);
        }
        let waker = Waker::from(Arc::clone(self.woken));
        let polled = poll_fn(|context| {
            Poll::Ready(match self.hosted {
                true => self.future.as_mut().poll(&mut Context::from_waker(&waker)),
                false => self.future.as_mut().poll(context),
            })
        });
        match polled.await {
            Poll::Ready(outcome) => self.compare(outcome),
            Poll::Pending => {
                self.waits = true;
                // A read may put itself off once, and has woken its task then.
                let put_off = self.woken.0.load(Ordering::Relaxed);
                assert!(!ready || put_off || !self.hosted, "{:?} waits", self.read);
                false
            }
        }
    }

    fn compare(&self, outcome: Outcome) -> bool {
        let mut model = self.feeding.model.borrow_mut();
        let expected = model.attempt(self.read);
        if let (Outcome::Shown(shown), Some(Outcome::Shown(kept))) = (&outcome, &expected) {
            assert!(kept.starts_with(shown) && shown.is_empty() == kept.is_empty());
        } else {
            assert_eq!(Some(outcome), expected, "{:?}", self.read);
        }
        true
    }
}

/// Returns a read whose separators the documentation allows, of bytes that occur.
fn allowed(read: Read) -> Read {
    let Read::Until(mut separators) = read else {
        return read;
    };
    separators.retain(|separator| !separator.is_empty());
    if separators.is_empty() {
        separators.push(b"\n".to_vec());
    }
    Read::Until(separators)
}

async fn read_once(
    reader: &mut StreamReader,
    read: &Read,
    feeding: &Rc<Feeding>,
    hosted: bool,
    steps: &mut std::iter::Peekable<std::vec::IntoIter<Step>>,
) {
    let woken = Arc::default();
    let mut reading = Reading {
        future: begin(reader, read),
        read,
        feeding,
        woken: &woken,
        hosted,
        waits: false,
    };
    while let Some(step) = steps.next_if(|step| !matches!(step, Step::Begin(_))) {
        let ended = match step {
            Step::Poll => reading.poll().await,
            Step::Drop => true,
            Step::Await => {
                let mut fed = Vec::new();
                while let Some(step) = steps.next_if(|step| !matches!(step, Step::Begin(_))) {
                    fed.push(step);
                }
                let feeds = Rc::clone(feeding);
                let feeder = callsoon::create_task(async move {
                    for step in &fed {
                        feeds.take(step);
                        callsoon::yield_now().await;
                    }
                    feeds.take(&Step::FeedEof);
                });
                let outcome = (&mut reading.future).await;
                reading.compare(outcome);
                feeder.await.unwrap();
                true
            }
            step => !feeding.take(&step),
        };
        if ended {
            break;
        }
    }
}

async fn program(input: Input) {
    let limit = NonZeroUsize::new(usize::from(input.limit).max(1)).unwrap();
    let (mut reader, feeder) = StreamReader::unconnected(limit);
    let model = RefCell::new(Model {
        limit: limit.get(),
        ..Model::default()
    });
    let feeding = Rc::new(Feeding { feeder, model });
    let mut steps = input.steps.into_iter().peekable();
    while let Some(step) = steps.next() {
        if let Step::Begin(read) = step {
            let read = allowed(read);
            read_once(&mut reader, &read, &feeding, input.hosted, &mut steps).await;
            if let Read::FillBuf(consumed) = read {
                // As much as may be consumed is known from a look that does not wait.
                let context = &mut Context::from_waker(Waker::noop());
                callsoon::yield_now().await;
                let mut model = feeding.model.borrow_mut();
                let shown = match model.kept.is_empty() {
                    true => 0,
                    false => match reader.poll_fill_buf(context) {
                        Poll::Ready(Ok(shown)) => shown.len(),
                        other => panic!("{} bytes are kept: {other:?}", model.kept.len()),
                    },
                };
                let count = shown.min(usize::from(consumed));
                reader.consume(count);
                model.take(count);
            }
        } else {
            feeding.take(&step);
        }
        let model = feeding.model.borrow();
        let failure = model.failed && !model.failure_taken;
        let at_eof = model.eof && model.kept.is_empty() && !failure;
        assert_eq!(reader.at_eof(), at_eof);
    }
    feeding.take(&Step::FeedEof);
    read_once(
        &mut reader,
        &Read::Exactly(u16::MAX),
        &feeding,
        input.hosted,
        &mut vec![Step::Await].into_iter().peekable(),
    )
    .await;
}

fuzz_target!(|input: Input| {
    let event_loop = EventLoop::builder().clock(Clock::Virtual).build().unwrap();
    event_loop.run_until_complete(program(input)).unwrap();
    event_loop.close().unwrap();
});
