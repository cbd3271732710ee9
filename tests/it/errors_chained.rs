//! The one rule of causes: an error's text has its cause, and its source is that cause. So one line says all, and a
//! program finds the system's error in the chain, with its number.

use std::error::Error;
use std::future::pending;
use std::io::{self, Write as _};
use std::panic::resume_unwind;
use std::path::Path;
use std::{any, fmt, fs};

use callsoon::fs::PathError;
use callsoon::net::{ConnectError, LookupError, SendError, TcpListener, UnixDatagram, lookup_host};
use callsoon::process::StartError;
#[cfg(feature = "process-pool")]
use callsoon::process_pool::ProcessPoolError;
use callsoon::stream::{ReadError, open_connection, open_unix_connection};
use callsoon::testing::TestError;
use callsoon::transport::{BindError, ServeError};
use callsoon::{
    EventLoop, ExecutorError, FutureError, GroupError, InspectorError, RunError, SignalError,
    TaskError, ThreadFutureError, TryGatherError, create_subprocess_exec, create_task,
    current_task, gather, get_running_loop, task_group, try_gather,
};

use crate::support::{audited, reset, settling, std_pair};

/// A cause that has one itself.
#[derive(Debug)]
struct Cause;

#[derive(Debug)]
struct Below;

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the disk is full")
    }
}

impl fmt::Display for Below {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("nobody has swept")
    }
}

impl Error for Below {}

impl Error for Cause {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&Below)
    }
}

fn cause() -> io::Error {
    io::Error::other(Cause)
}

fn chain(error: &dyn Error) -> Vec<String> {
    let mut texts = vec![error.to_string()];
    let mut below = error.source();
    while let Some(error) = below {
        texts.push(error.to_string());
        below = error.source();
    }
    texts
}

/// A type's name without its path and its arguments.
fn name_of<E>() -> &'static str {
    let path = any::type_name::<E>().split('<').next().unwrap();
    path.rsplit("::").next().unwrap()
}

/// Checks that the text has that of the source, and returns the type's name.
fn has_its_cause<E: Error>(error: &E) -> &'static str {
    let texts = chain(error);
    assert!(texts.len() > 1, "no source: {texts:?}");
    assert!(texts[0].contains(&texts[1]), "{texts:?}");
    name_of::<E>()
}

/// Checks also that the chain ends with the cause and what is below it. An error that adds nothing, or a name as a group's
/// failure does, has the source of the one inside.
fn says_all<E: Error>(error: &E) -> &'static str {
    let texts = chain(error);
    let (last, above) = texts.split_last().unwrap();
    assert_eq!(last, "nobody has swept", "{texts:?}");
    assert!(
        above.last().unwrap().ends_with("the disk is full"),
        "{texts:?}"
    );
    match above.len() {
        1 => name_of::<E>(),
        _ => has_its_cause(error),
    }
}

/// Checks that the chain has an error of the system, with its number.
fn has_a_number<E: Error>(error: &E) -> &'static str {
    let mut below = error.source();
    let mut number = None;
    while let Some(error) = below {
        let system: Option<&io::Error> = error.downcast_ref();
        number = number.or(system.and_then(io::Error::raw_os_error));
        below = error.source();
    }
    assert!(number.is_some(), "{:?}", chain(error));
    has_its_cause(error)
}

/// What is inside an error of I/O.
fn inside<E: Error + 'static>(error: &io::Error) -> &E {
    error.get_ref().unwrap().downcast_ref().unwrap()
}

/// Checks the errors that a program can make itself.
fn made() -> Vec<&'static str> {
    let mut named = vec![
        says_all(&RunError::Io(cause())),
        says_all(&TestError::Run(RunError::Io(cause()))),
        says_all(&ServeError::Io(cause())),
        says_all(&SignalError::Io(cause())),
        says_all(&ExecutorError::Io(cause())),
        says_all(&ReadError::Io(cause())),
        says_all(&TryGatherError::Failed {
            index: 1,
            error: Cause,
        }),
    ];
    #[cfg(feature = "process-pool")]
    named.push(says_all(&ProcessPoolError::Io(cause())));
    named.push(says_all(&FutureError::Exception(std::sync::Arc::new(
        Cause,
    ))));
    named
}

/// Checks those of which only a run can make one.
async fn met() -> Vec<&'static str> {
    let group: GroupError = task_group(async |_| Err::<(), _>(Cause)).await.unwrap_err();
    let failed = try_gather([async { Err::<(), _>(Cause) }]).await;
    let mut named = vec![
        says_all(&group),
        says_all(&group.failures()[0]),
        says_all(&failed.unwrap_err()),
    ];
    let panicking = create_task(async { resume_unwind(Box::new("on purpose")) });
    let error = panicking.await.unwrap_err();
    named.push(has_its_cause(&error));
    let TaskError::Panicked(panicked) = error else {
        panic!("{error:?}")
    };
    named.push(has_its_cause(&ThreadFutureError::Panicked(panicked)));
    let cancelled = async {
        current_task().unwrap().cancel_with("no more");
        pending::<()>().await;
    };
    named.push(has_its_cause(&gather([cancelled]).await.unwrap_err()));
    let event_loop = get_running_loop();
    event_loop.set_resolver(|_| Err(cause()));
    let error = lookup_host("db.internal:80").await.map(drop).unwrap_err();
    named.push(says_all(inside::<LookupError>(&error)));
    named.push(says_all(&error));
    event_loop.reset_resolver();
    let nobody = "/nobody/is/here";
    let error = open_unix_connection(nobody).await.map(drop).unwrap_err();
    named.push(has_a_number(inside::<ConnectError>(&error)));
    let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let error = TcpListener::bind(taken.local_addr().unwrap()).await;
    let error = error.map(drop).unwrap_err();
    named.push(has_a_number(inside::<BindError>(&error)));
    let unbound = UnixDatagram::unbound().unwrap();
    let error = unbound.send_to(b"x", nobody).await.unwrap_err();
    named.push(has_a_number(inside::<SendError>(&error)));
    let error = callsoon::fs::read(nobody).await.unwrap_err();
    named.push(has_a_number(inside::<PathError>(&error)));
    let error = create_subprocess_exec(nobody, [""; 0]).await;
    let error = error.map(drop).unwrap_err();
    named.push(has_a_number(inside::<StartError>(&error)));
    let (ours, mut theirs) = std_pair();
    let (mut reader, _writer) = open_connection(ours).await.unwrap();
    theirs.write_all(b"a part").unwrap();
    reset(theirs);
    let error = reader.readuntil(b"\n").await.unwrap_err();
    named.push(has_a_number(&error));
    let ReadError::Failed(failed) = &error else {
        panic!("{error:?}")
    };
    named.push(has_a_number(failed));
    named
}

/// The types in `folder` whose errors have a source.
fn with_a_source(folder: &Path, types: &mut Vec<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            with_a_source(&path, types);
            continue;
        }
        let text = fs::read_to_string(&path).unwrap();
        for line in text.lines().filter(|line| line.starts_with("impl")) {
            if let Some((_, implementor)) = line.split_once("Error for ") {
                if let Some(name) = implementor.strip_suffix(" {") {
                    types.push(name.split('<').next().unwrap().to_owned());
                }
            }
        }
    }
}

#[test]
fn the_text_of_an_error_has_its_cause_and_its_source_is_that_cause() {
    settling(|_, _| async {
        let mut named = made();
        named.extend(met().await);
        let mut types = Vec::new();
        with_a_source(
            &Path::new(env!("CARGO_MANIFEST_DIR")).join("src"),
            &mut types,
        );
        assert!(types.len() > 15, "{types:?}");
        types.retain(|name| !named.contains(&name.as_str()));
        // The loop that has no inspector is no running one, and handshakes and pools have features: their tests ask too.
        types.retain(|name| !["InspectorError", "HandshakeError"].contains(&name.as_str()));
        types.retain(|name| cfg!(feature = "process-pool") || name != "ProcessPoolError");
        assert_eq!(
            types, [""; 0],
            "types with a source that this test does not ask"
        );
    });
}

#[test]
fn an_inspector_that_is_not_made_says_why() {
    audited(|| {
        let building = EventLoop::builder().inspector("/nobody/is/here");
        let error = building.build().map(drop).unwrap_err();
        assert_eq!(
            error.to_string(),
            "no inspector at /nobody/is/here: No such file or directory (os error 2)"
        );
        has_a_number(inside::<InspectorError>(&error));
    });
}

#[test]
fn a_program_finds_the_error_of_the_system_in_a_chain_of_anyhow() {
    let error = anyhow::Error::new(ServeError::Io(cause())).context("no service today");
    assert_eq!(
        error
            .chain()
            .filter(|error| error.is::<io::Error>())
            .count(),
        1
    );
    let error = error.downcast_ref::<ServeError>().unwrap();
    assert_eq!(
        error.to_string(),
        "the server cannot listen: the disk is full"
    );
}
