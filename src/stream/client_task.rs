//! A server's client as a task, which runs the program's function. Its failure is reported.

use std::error::Error;
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, Location, catch_unwind};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;

use crate::error::Panicked;
use crate::kernel::callee::Reported as _;
use crate::kernel::loop_handle::LoopHandle;
use crate::kernel::report::ExceptionContext;
use crate::kernel::task::waker::current;
use crate::stream::protocol::OnConnect;
use crate::stream::reader::StreamReader;
use crate::stream::writer::StreamWriter;
use crate::transport::protocol::Transport;

/// What the function of a [`start_server`](crate::stream::start_server) may return: nothing, or a result whose error
/// goes to the exception handler.
///
/// ```
/// use callsoon::stream::ClientResult;
/// assert!(().failure().is_none());
/// assert_eq!(Err::<(), _>("too short").failure().unwrap().to_string(), "too short");
/// ```
#[diagnostic::on_unimplemented(
    message = "the function of a server returns `{Self}`, whose value nobody would read",
    note = "it returns `()`, or a `Result<(), E>` whose error goes to the exception handler: end it with `Ok(())`",
    note = "`E` is an error that is `Send` and `Sync`, a text, `anyhow::Error` or `Box<dyn Error + Send + Sync>`: a `Box<dyn Error>` is none"
)]
pub trait ClientResult {
    /// Returns the error, if it is one.
    fn failure(self) -> Option<Box<dyn Error + Send + Sync>>;
}

impl ClientResult for () {
    fn failure(self) -> Option<Box<dyn Error + Send + Sync>> {
        None
    }
}

#[diagnostic::do_not_recommend]
impl<E: Into<Box<dyn Error + Send + Sync>>> ClientResult for Result<(), E> {
    fn failure(self) -> Option<Box<dyn Error + Send + Sync>> {
        self.err().map(Into::into)
    }
}

/// Makes what starts a task for each client.
pub(crate) fn serve<F, R>(
    handle: &LoopHandle,
    client_connected: F,
    location: &'static Location<'static>,
) -> OnConnect
where
    F: AsyncFn(StreamReader, StreamWriter) -> R + 'static,
    R: ClientResult + 'static,
{
    let (handle, server) = (handle.clone(), Rc::new((client_connected, location)));
    Rc::new(move |protocol, transport| {
        // However the function ends, it drops the writer, and that closes the connection.
        let (writer, transport) = (StreamWriter::new(&protocol, transport), transport.clone());
        let server = Rc::clone(&server);
        // What this captures has its place in the task for good, so the reader is made inside.
        let task = handle.clone().into_task(
            async move {
                let reader = writer.reader();
                let failure = {
                    let client = pin!((server.0)(reader, writer));
                    failure_of(client).await
                };
                if let Some(context) = failure {
                    report(context, server.1, &transport);
                }
            },
            location,
        );
        task.detach();
    })
}

/// Reports the failure of a client, to the loop that runs it, with the client's task and transport. The place is the
/// server's.
#[cold]
fn report(context: ExceptionContext, location: &'static Location<'static>, transport: &Transport) {
    let Some(state) = current() else {
        return;
    };
    let message = "Unhandled exception in client_connected_cb";
    let about = match state.task(state.current_task.get()) {
        Some(task) => state.about_task(&task, message),
        None => ExceptionContext::new(message),
    };
    state.report(ExceptionContext {
        panic: context.panic,
        exception: context.exception,
        location: Some(location),
        about_transport: Some(transport.reported()),
        ..about
    });
}

/// Runs a client's future to its end, which may be a panic.
fn failure_of<R: ClientResult>(
    mut client: Pin<&mut impl Future<Output = R>>,
) -> impl Future<Output = Option<ExceptionContext>> {
    poll_fn(
        move |context| match catch_unwind(AssertUnwindSafe(|| client.as_mut().poll(context))) {
            Ok(Poll::Pending) => Poll::Pending,
            Ok(Poll::Ready(result)) => {
                Poll::Ready(result.failure().map(|error| ExceptionContext {
                    exception: Some(Arc::from(error)),
                    ..ExceptionContext::default()
                }))
            }
            Err(payload) => Poll::Ready(Some(ExceptionContext {
                panic: Some(Panicked::new(payload)),
                ..ExceptionContext::default()
            })),
        },
    )
}
