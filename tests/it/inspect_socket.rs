//! The inspector: what it answers while the loop runs, is busy or stands still, whom it serves, and what it leaves.

#![allow(unsafe_code, reason = "another user is played by a thread")]

use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Sender, channel};
use std::time::Duration;

use callsoon::{EventLoop, InspectorError, task_builder};
use serde_json::{Value, json};

use crate::support::{at_a_new_path, audited, wait_until_gone};

const THREAD: &str = "callsoon-watch";

fn new_path() -> PathBuf {
    let (path, _) = at_a_new_path("inspector", |path| match path.exists() {
        true => Err(io::ErrorKind::AlreadyExists.into()),
        false => Ok(()),
    });
    path
}

fn connect(path: &Path) -> UnixStream {
    let stream = UnixStream::connect(path).unwrap();
    // No test may hang: an answer comes within milliseconds.
    stream
        .set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    stream
}

/// Returns all that the inspector sends for `request`. A refused client may find its connection reset.
fn exchange(path: &Path, request: &[u8]) -> String {
    let mut stream = connect(path);
    let _ = stream.write_all(request);
    let mut answer = String::new();
    match stream.read_to_string(&mut answer) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionReset => {}
        result => drop(result.unwrap()),
    }
    answer
}

fn ask(path: &Path, request: &str) -> Value {
    let answer = exchange(path, request.as_bytes());
    assert_eq!(answer.matches('\n').count(), 1, "{answer:?}");
    serde_json::from_str(&answer).unwrap()
}

/// Runs a loop with an inspector until `client` has ended, which runs in a thread.
fn while_it_runs(client: impl FnOnce(&Path) + Send + 'static) {
    audited(move || {
        let path = new_path();
        let event_loop = EventLoop::builder().inspector(&path).build().unwrap();
        let asked = path.clone();
        let work = callsoon::to_thread(move || client(&asked));
        event_loop.run_until_complete(work).unwrap().unwrap();
        drop(event_loop);
        assert!(!path.exists());
        wait_until_gone(THREAD);
    });
}

#[test]
fn a_snapshot_and_a_dump_name_the_tasks() {
    while_it_runs(|path| {
        let mut answer = ask(path, "snapshot\n");
        let task = &mut answer["tasks"][0];
        let wait = task["waits"][0].take();
        assert_eq!(
            (&wait["kind"], &wait["task"]),
            (&json!("run_in_executor"), &Value::Null)
        );
        assert_eq!(
            (&task["name"], &task["id"], &task["state"], &task["steps"]),
            (&json!("Task-1"), &json!(1), &json!("pending"), &json!(1))
        );
        let head = ["answered", "inspected", "cycles", "pid", "more_tasks"];
        let found: Vec<_> = head.iter().map(|key| answer[key].take()).collect();
        assert_eq!(json!(found), json!([true, true, [], std::process::id(), 0]));
        assert!(answer["tid"].is_u64());
        let dump = ask(path, " dump \r\n");
        let text = dump["dump"].as_str().unwrap();
        assert!(text.contains("Task(name='Task-1', id=1) pending"), "{text}");
    });
}

/// Runs `hog` in a loop with an inspector. Returns what a client is told while it runs.
fn asked_during(hog: impl FnOnce(&EventLoop, Box<dyn Fn()>) + Send + 'static) -> Value {
    let (result, told) = channel();
    audited(move || {
        let path = new_path();
        let event_loop = EventLoop::builder().inspector(&path).build().unwrap();
        let (begun, begin) = channel();
        let (end, ended) = channel::<()>();
        let client = std::thread::spawn(move || {
            begin.recv().unwrap();
            let answer = ask(&path, "snapshot\n");
            let _ = end.send(());
            answer
        });
        let hold = move || {
            let begun: &Sender<()> = &begun;
            begun.send(()).unwrap();
            // It holds the loop up until the client has its answer.
            let _ = ended.recv();
        };
        hog(&event_loop, Box::new(hold));
        result.send(client.join().unwrap()).unwrap();
    });
    let answer: Value = told.recv().unwrap();
    assert_eq!(answer["answered"], false);
    answer["running"].clone()
}

#[test]
fn a_task_that_holds_the_loop_up_is_named_with_its_place() {
    let running = asked_during(|event_loop, hold| {
        let task = event_loop
            .task_builder()
            .name("hog \"1\"")
            .spawn(async move { hold() });
        event_loop.run_until_complete(task).unwrap().unwrap();
    });
    assert_eq!(running["name"], "hog \"1\"");
    assert_eq!(running["task"], 1);
    assert!(
        running["place"]
            .as_str()
            .unwrap()
            .starts_with("tests/it/inspect_socket.rs:")
    );
    let since = running["since"].as_f64().unwrap();
    assert!((0.15..20.0).contains(&since), "{since}");
}

#[test]
fn a_callback_and_a_main_future_that_hold_the_loop_up_are_named_too() {
    let running = asked_during(|event_loop, hold| {
        event_loop.call_soon(hold);
        event_loop
            .run_until_complete(callsoon::yield_now())
            .unwrap();
    });
    assert_eq!(
        (&running["what"], &running["task"]),
        (&json!("callback"), &Value::Null)
    );
    assert!(
        running["place"]
            .as_str()
            .unwrap()
            .starts_with("tests/it/inspect_socket.rs:")
    );
    let running = asked_during(|event_loop, hold| {
        event_loop
            .run_until_complete(async move { hold() })
            .unwrap();
    });
    assert_eq!(running["name"], "Task-1");
}

#[test]
fn a_loop_that_does_not_run_answers_that_nothing_runs() {
    let running = asked_during(|_, hold| hold());
    assert_eq!(running, Value::Null);
}

#[test]
fn hostile_clients_harm_nobody() {
    while_it_runs(|path| {
        let error = |request: &[u8]| -> Value {
            let answer = exchange(path, request);
            serde_json::from_str(&answer).unwrap_or(Value::Null)
        };
        assert_eq!(error(b"GET / HTTP/1.1\n")["error"], "unknown request");
        assert_eq!(error(b"\xff\x00\xfe\n")["error"], "unknown request");
        assert_eq!(error(b"\n")["error"], "unknown request");
        // The reset may overtake the answer, since more was sent than was read.
        let long = error(&[b'a'; 4096]);
        assert!(long.is_null() || long["error"] == "the request is too long");
        // Some say nothing, some leave in the middle, and some never read.
        let silent: Vec<_> = (0..8).map(|_| connect(path)).collect();
        for _ in 0..100 {
            connect(path).write_all(b"snap").unwrap();
        }
        let mut unread = connect(path);
        unread.write_all(b"dump\n").unwrap();
        assert_eq!(ask(path, "snapshot\n")["answered"], true);
        // A client too many is closed, or one that has not asked yet, and the others are served.
        let mut many: Vec<_> = (0..40).map(|_| connect(path)).collect();
        for stream in &mut many {
            let _ = stream.write_all(b"snapshot\n");
        }
        let mut served = 0;
        for stream in &mut many {
            let mut text = String::new();
            let _ = stream.read_to_string(&mut text);
            served += usize::from(text.starts_with('{'));
        }
        assert!((1..40).contains(&served), "{served}");
        drop((silent, unread));
        assert_eq!(ask(path, "snapshot\n")["answered"], true);
    });
}

#[test]
fn clients_that_say_nothing_keep_nobody_out_and_the_oldest_gives_up_its_place() {
    while_it_runs(|path| {
        // As many as there are places. The watcher accepts them in their order.
        let mut silent: Vec<_> = (0..16).map(|_| connect(path)).collect();
        assert_eq!(ask(path, "snapshot\n")["answered"], true);
        assert_eq!(
            silent[0].read(&mut [0; 8]).unwrap(),
            0,
            "the oldest is closed"
        );
        for stream in &mut silent[1..] {
            stream.write_all(b"snapshot\n").unwrap();
            let mut text = String::new();
            stream.read_to_string(&mut text).unwrap();
            assert!(text.starts_with('{'), "{text:?}");
        }
    });
}

#[test]
fn the_socket_is_for_its_user_alone() {
    while_it_runs(|path| {
        let mode = std::fs::symlink_metadata(path)
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
        // The file's mode is not all: another user that may open it is closed unheard.
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o666)).unwrap();
        let path = path.to_owned();
        let other = std::thread::spawn(move || {
            let other: libc::uid_t = 65_534;
            // SAFETY: the raw call takes three numbers, and changes the credentials of this thread alone.
            let changed = unsafe { libc::syscall(libc::SYS_setresuid, other, other, other) };
            // Only a privileged process may take another user's number.
            (changed == 0).then(|| exchange(&path, b"snapshot\n"))
        });
        if let Some(answer) = other.join().unwrap() {
            assert_eq!(answer, "");
        }
    });
}

fn refused(path: &Path) -> (io::ErrorKind, PathBuf) {
    let error = EventLoop::builder().inspector(path).build().unwrap_err();
    let inner = error
        .get_ref()
        .unwrap()
        .downcast_ref::<InspectorError>()
        .unwrap();
    (error.kind(), inner.path().to_owned())
}

#[test]
fn a_live_socket_and_a_file_are_refused_and_a_dead_socket_is_replaced() {
    audited(|| {
        let path = new_path();
        let live = UnixListener::bind(&path).unwrap();
        assert_eq!(refused(&path), (io::ErrorKind::AddrInUse, path.clone()));
        drop(live);
        let event_loop = EventLoop::builder().inspector(&path).build().unwrap();
        assert_eq!(refused(&path), (io::ErrorKind::AddrInUse, path.clone()));
        assert!(
            path.exists(),
            "the loop that was refused has removed nothing"
        );
        drop(event_loop);
        assert!(!path.exists());
        std::fs::write(&path, "a file").unwrap();
        assert_eq!(refused(&path).0, io::ErrorKind::AddrInUse);
        assert_eq!(std::fs::read(&path).unwrap(), b"a file");
        std::fs::remove_file(&path).unwrap();
        assert_eq!(refused(&path.join("below")).0, io::ErrorKind::NotFound);
        assert_eq!(
            refused(Path::new("\0abstract")).0,
            io::ErrorKind::InvalidInput
        );
        assert_eq!(refused(Path::new("")).0, io::ErrorKind::InvalidInput);
        assert_eq!(
            refused(&path.join("a".repeat(200))).0,
            io::ErrorKind::InvalidInput
        );
        wait_until_gone(THREAD);
    });
}

#[test]
fn a_loop_without_an_inspector_has_no_thread_and_no_notes() {
    audited(|| {
        let event_loop = EventLoop::builder().debug(false).build().unwrap();
        event_loop
            .run_until_complete(async {
                let task = task_builder().spawn(callsoon::sleep(Duration::from_millis(1)));
                callsoon::yield_now().await;
                let snapshot = callsoon::get_running_loop().snapshot();
                assert!(!snapshot.inspected && snapshot.tasks[1].steps.is_none());
                task.await.unwrap();
            })
            .unwrap();
        wait_until_gone(THREAD);
    });
}

#[test]
fn a_client_that_waits_while_the_loop_closes_is_closed() {
    audited(|| {
        let path = new_path();
        let event_loop = EventLoop::builder().inspector(&path).build().unwrap();
        let mut silent = connect(&path);
        let mut asks = connect(&path);
        asks.write_all(b"snapshot\n").unwrap();
        drop(event_loop);
        for stream in [&mut silent, &mut asks] {
            let mut text = String::new();
            match stream.read_to_string(&mut text) {
                // What it has sent was not read.
                Err(error) => assert_eq!(error.kind(), io::ErrorKind::ConnectionReset),
                Ok(_) => assert!(text.is_empty() || text.contains("\"answered\":false")),
            }
        }
        assert!(!path.exists());
        wait_until_gone(THREAD);
    });
}
