//! What the tests share: the routes of a server, bodies that are not `Send`, and connections.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::convert::Infallible;
use std::future::{Future, pending};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use callsoon::interop::hyper::{HyperExecutor, HyperIo, HyperTimer};
use callsoon::sync::{Barrier, Event};
use callsoon::{PollRead, PollWrite, Task, create_task};
use futures_util::future::{Either, select};
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Bytes, Frame, Incoming};
use hyper::service::{Service, service_fn};
use hyper::{Method, Request, Response, StatusCode, client, server};

use crate::support::{DropProbe, Trace};

/// The text of a task that was cancelled.
pub(crate) const CANCELLED: &str = "the task was cancelled";

/// A body that is not `Send`: it yields what is fed to it, and has ended when it was told so.
#[derive(Clone, Default)]
pub(crate) struct Fed {
    state: Rc<RefCell<FedState>>,
}

#[derive(Default)]
struct FedState {
    pieces: VecDeque<Bytes>,
    ended: bool,
    waker: Option<Waker>,
}

impl Fed {
    /// Returns a body of these pieces.
    pub(crate) fn of(pieces: impl IntoIterator<Item = Bytes>) -> Self {
        let fed = Self::default();
        fed.state.borrow_mut().pieces.extend(pieces);
        fed.end();
        fed
    }

    pub(crate) fn feed(&self, piece: impl Into<Bytes>) {
        self.state.borrow_mut().pieces.push_back(piece.into());
        self.wake();
    }

    /// Returns how many pieces nobody has asked for yet.
    pub(crate) fn left(&self) -> usize {
        self.state.borrow().pieces.len()
    }

    pub(crate) fn end(&self) {
        self.state.borrow_mut().ended = true;
        self.wake();
    }

    fn wake(&self) {
        let waker = self.state.borrow_mut().waker.take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    fn poll_piece(&self, context: &Context<'_>) -> Poll<Option<Bytes>> {
        let mut state = self.state.borrow_mut();
        match state.pieces.pop_front() {
            Some(piece) => Poll::Ready(Some(piece)),
            None if state.ended => Poll::Ready(None),
            None => {
                state.waker = Some(context.waker().clone());
                Poll::Pending
            }
        }
    }
}

/// Every body of the tests.
pub(crate) enum Local {
    Whole(Full<Bytes>),
    Fed(Fed),
    /// What the peer sends, sent back.
    Echo(Incoming),
}

impl Local {
    pub(crate) fn whole(text: impl Into<Bytes>) -> Self {
        Self::Whole(Full::new(text.into()))
    }

    pub(crate) fn empty() -> Self {
        Self::whole(Bytes::new())
    }
}

impl Body for Local {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        match self.get_mut() {
            Self::Whole(full) => Pin::new(full)
                .poll_frame(context)
                .map_err(|never| match never {}),
            Self::Fed(fed) => fed
                .poll_piece(context)
                .map(|piece| piece.map(|piece| Ok(Frame::data(piece)))),
            Self::Echo(incoming) => Pin::new(incoming).poll_frame(context),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(full) => full.is_end_stream(),
            Self::Fed(_) => false,
            Self::Echo(incoming) => incoming.is_end_stream(),
        }
    }

    fn size_hint(&self) -> hyper::body::SizeHint {
        match self {
            Self::Whole(full) => full.size_hint(),
            _ => Default::default(),
        }
    }
}

/// A handler at work. Not `Send`.
type Answering = Pin<Box<dyn Future<Output = Result<Response<Local>, Infallible>>>>;

/// What the handlers of one server share. Not `Send`.
#[derive(Clone)]
pub(crate) struct Site {
    pub(crate) trace: Trace,
    /// `/meet` waits here.
    pub(crate) meeting: Rc<Barrier>,
    /// Set by `/never` and `/slow`.
    pub(crate) begun: Rc<Event>,
    /// `/slow` waits for this.
    pub(crate) go: Rc<Event>,
    /// Set when connections are to be shut down gracefully.
    pub(crate) closing: Rc<Event>,
}

impl Site {
    pub(crate) fn new(trace: &Trace) -> Self {
        Self::with_meeting(trace, 1)
    }

    pub(crate) fn with_meeting(trace: &Trace, parties: usize) -> Self {
        Self {
            trace: trace.clone(),
            meeting: Rc::new(Barrier::new(parties)),
            begun: Rc::new(Event::new()),
            go: Rc::new(Event::new()),
            closing: Rc::new(Event::new()),
        }
    }

    async fn answer(self, request: Request<Incoming>) -> Result<Response<Local>, Infallible> {
        let path = request.uri().path().to_owned();
        let body = match (request.method(), path.as_str()) {
            (_, "/") => Local::whole("hello"),
            (&Method::POST, "/echo") => Local::Echo(request.into_body()),
            (&Method::POST, "/length") => match request.into_body().collect().await {
                Ok(whole) => Local::whole(whole.to_bytes().len().to_string()),
                Err(error) => {
                    self.trace.push(format!("request: {error}"));
                    Local::empty()
                }
            },
            (_, "/pieces") => Local::Fed(Fed::of(
                (0..100_u8).map(|piece| Bytes::from(vec![piece; 1000])),
            )),
            (_, "/meet") => {
                self.meeting.wait().await.unwrap();
                Local::whole("met")
            }
            (_, "/slow") => {
                self.trace.push("slow begins");
                self.begun.set();
                self.go.wait().await;
                Local::whole("slow")
            }
            (_, "/never") => {
                let _probe = DropProbe::new(&self.trace, "handler");
                self.trace.push("never begins");
                self.begun.set();
                pending().await
            }
            _ => {
                let mut answer = Response::new(Local::whole("no such page"));
                *answer.status_mut() = StatusCode::NOT_FOUND;
                return Ok(answer);
            }
        };
        Ok(Response::new(body))
    }

    pub(crate) fn service(
        &self,
    ) -> impl Service<
        Request<Incoming>,
        Response = Response<Local>,
        Error = Infallible,
        Future = Answering,
    > + use<> {
        let site = self.clone();
        service_fn(move |request| Box::pin(site.clone().answer(request)) as Answering)
    }

    /// Serves HTTP/1 over a stream, as a task.
    pub(crate) fn serve1(
        &self,
        stream: impl PollRead + PollWrite + 'static,
    ) -> Task<hyper::Result<()>> {
        let mut builder = server::conn::http1::Builder::new();
        builder.timer(HyperTimer).auto_date_header(false);
        let connection = builder.serve_connection(HyperIo::new(stream), self.service());
        let closing = Rc::clone(&self.closing);
        create_task(async move {
            let mut connection = pin!(connection);
            match select(connection.as_mut(), pin!(closing.wait())).await {
                Either::Left((ended, _)) => ended,
                Either::Right(_) => {
                    connection.as_mut().graceful_shutdown();
                    connection.await
                }
            }
        })
    }

    /// Serves HTTP/2 over a stream, as a task.
    pub(crate) fn serve2(
        &self,
        stream: impl PollRead + PollWrite + 'static,
    ) -> Task<hyper::Result<()>> {
        let mut builder = server::conn::http2::Builder::new(HyperExecutor);
        builder.timer(HyperTimer).auto_date_header(false);
        builder.keep_alive_interval(std::time::Duration::from_secs(20));
        builder.keep_alive_timeout(std::time::Duration::from_secs(5));
        let connection = builder.serve_connection(HyperIo::new(stream), self.service());
        let closing = Rc::clone(&self.closing);
        create_task(async move {
            let mut connection = pin!(connection);
            match select(connection.as_mut(), pin!(closing.wait())).await {
                Either::Left((ended, _)) => ended,
                Either::Right(_) => {
                    connection.as_mut().graceful_shutdown();
                    connection.await
                }
            }
        })
    }
}

pub(crate) type Client1 = client::conn::http1::SendRequest<Local>;
pub(crate) type Client2 = client::conn::http2::SendRequest<Local>;

/// Returns a client of HTTP/1 over a stream, and its connection as a task.
pub(crate) async fn client1(
    stream: impl PollRead + PollWrite + 'static,
) -> (Client1, Task<hyper::Result<()>>) {
    let stream = HyperIo::new(stream);
    let (client, connection) = client::conn::http1::handshake(stream).await.unwrap();
    (client, create_task(connection))
}

/// Does the same for HTTP/2.
pub(crate) async fn client2(
    stream: impl PollRead + PollWrite + 'static,
) -> (Client2, Task<hyper::Result<()>>) {
    let mut builder = client::conn::http2::Builder::new(HyperExecutor);
    builder.timer(HyperTimer);
    let (client, connection) = builder.handshake(HyperIo::new(stream)).await.unwrap();
    (client, create_task(connection))
}

pub(crate) fn get(path: &str) -> Request<Local> {
    let request = Request::get(format!("http://site{path}")).header("host", "site");
    request.body(Local::empty()).unwrap()
}

pub(crate) fn post(path: &str, body: Local) -> Request<Local> {
    let request = Request::post(format!("http://site{path}")).header("host", "site");
    request.body(body).unwrap()
}

/// Reads the whole body as text.
pub(crate) async fn text(response: Response<Incoming>) -> String {
    let whole = response.into_body().collect().await.unwrap();
    String::from_utf8(whole.to_bytes().to_vec()).unwrap()
}
