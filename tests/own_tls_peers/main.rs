//! A process of its own, because it starts other programs and waits for them: TLS with real peers at the other end.
//!
//! `openssl`, Python's `ssl` and its `websockets`, each as a client and as a server, and `curl`. A program that this machine does not have is
//! named and its tests are skipped.

#[path = "../own/certificates.rs"]
mod certificates;
mod curl;
mod openssl_clients;
mod openssl_servers;
mod python;
#[expect(dead_code, unused_imports, reason = "a part of it is needed here")]
#[path = "../it/support/mod.rs"]
mod support;
mod websockets;

use std::cell::RefCell;
use std::io;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::rc::Rc;

use callsoon::stream::{
    ReadError, StreamReader, StreamWriter, open_read_pipe, open_write_pipe, start_server,
};
use callsoon::tls::ServerContext;
use callsoon::to_thread;
use callsoon::transport::Server;

use certificates::certificates;
use support::{Scratch, Trace, audited, complete, real_loop, settled, watched};

/// How long a peer may take, in seconds, as its own argument or timeout.
const PATIENCE: &str = "120";

/// Returns whether the program is installed, and prints a line if it is not.
fn is_here(program: &str) -> bool {
    let mut command = Command::new(program);
    let quiet = command.arg("version").stdin(Stdio::null());
    let started = quiet.stdout(Stdio::null()).stderr(Stdio::null()).status();
    let here = started.is_ok();
    if !here {
        println!("skipped: this machine has no {program}");
    }
    here
}

/// A test in which another program takes part.
fn with<F: Future<Output = ()>>(program: &str, test: impl FnOnce() -> F + Send + 'static) {
    let program = program.to_owned();
    audited(watched(move || {
        if !is_here(&program) {
            return;
        }
        let trace = Trace::new();
        let event_loop = real_loop(&trace);
        complete(&event_loop, async {
            test().await;
            settled().await;
        });
        assert_eq!(trace.take(), [""; 0], "unexpected");
    }));
}

/// Runs a program to its end and gives how it ended and what it printed.
async fn ended(mut command: Command) -> (ExitStatus, String) {
    let ended = to_thread(move || command.stdin(Stdio::null()).output()).await;
    let output = ended.unwrap().unwrap();
    let printed = [output.stdout, output.stderr].concat();
    (
        output.status,
        String::from_utf8_lossy(&printed).into_owned(),
    )
}

/// Runs a program to its end, which has to be a success, and gives what it printed.
async fn run(command: Command) -> String {
    let (status, printed) = ended(command).await;
    assert!(status.success(), "{status}: {printed}");
    printed
}

/// The certificates as files, for programs that want them so.
struct Files {
    authority: Scratch,
    server: Scratch,
    server_key: Scratch,
    client: Scratch,
    client_key: Scratch,
}

impl Files {
    fn new() -> Self {
        let made = certificates();
        let file = |text: &str| Scratch::new(text.as_bytes());
        Self {
            authority: file(&made.authority_pem),
            server: file(&made.server.certificate_pem),
            server_key: file(&made.server.key_pem),
            client: file(&made.client.certificate_pem),
            client_key: file(&made.client.key_pem),
        }
    }
}

/// A program that is talked to over its standard input and output, the latter with its errors.
struct Talk {
    child: Child,
    input: Option<StreamWriter>,
    output: StreamReader,
    heard: String,
}

impl Talk {
    /// Starts a program by its name and arguments.
    async fn start(command: &[&str]) -> Self {
        let mut shell = Command::new("sh");
        let shell = shell.args(["-c", "exec \"$0\" \"$@\" 2>&1"]).args(command);
        let piped = shell.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = piped.spawn().unwrap();
        let input = open_write_pipe(child.stdin.take().unwrap()).await.unwrap();
        let output = open_read_pipe(child.stdout.take().unwrap()).await.unwrap();
        Self {
            child,
            input: Some(input),
            output,
            heard: String::new(),
        }
    }

    fn say(&self, text: &str) {
        self.input.as_ref().unwrap().write(text.as_bytes());
    }

    /// Reads until the program has printed this, and forgets everything up to there.
    async fn hear(&mut self, text: &str) -> String {
        loop {
            if let Some((before, after)) = self.heard.split_once(text) {
                let (before, after) = (before.to_owned(), after.to_owned());
                self.heard = after;
                return before;
            }
            let more = self.output.read(4096).await.unwrap();
            assert!(!more.is_empty(), "no {text:?} in {:?}", self.heard);
            self.heard += &String::from_utf8_lossy(&more);
        }
    }

    /// Ends the program's input.
    fn end_input(&mut self) {
        drop(self.input.take());
    }

    /// Kills the program, as a peer that vanishes.
    fn kill(&mut self) {
        self.child.kill().unwrap();
    }

    /// Waits for the program's end and gives how it ended and what else it printed.
    async fn end(mut self) -> (ExitStatus, String) {
        self.end_input();
        let rest = self.output.read_to_end().await.unwrap();
        let rest = std::mem::take(&mut self.heard) + &String::from_utf8_lossy(&rest);
        // Its output has ended, so it is about to end, and this does not wait for long.
        (self.child.wait().unwrap(), rest)
    }
}

impl Drop for Talk {
    /// Of a test that fails no program is left. One that has been waited for is not there any more.
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn pattern(count: usize) -> Vec<u8> {
    (0..count).map(|n| (n % 251) as u8).collect()
}

async fn close(server: Server) {
    server.close();
    server.wait_closed().await;
}

/// What a server has to say about its connections: how each began, and how it ended.
type Notes = Rc<RefCell<Vec<String>>>;

/// What a connection is protected by.
fn described(writer: &StreamWriter) -> String {
    let info = writer.tls_info().unwrap();
    let version = info.version.as_str().unwrap().to_owned();
    let resumed = if info.resumed { ", resumed" } else { "" };
    let known = match info.peer_certificates.len() {
        0 => "",
        _ => ", known",
    };
    version + resumed + known
}

/// A server of lines, which it sends back in upper case. It notes each connection's version, and how it ended.
async fn upper_server(context: impl Into<ServerContext>) -> (Server, Notes) {
    let notes = Notes::default();
    let noted = Rc::clone(&notes);
    let client = move |reader, writer| {
        let noted = Rc::clone(&noted);
        async move {
            noted.borrow_mut().push(described(&writer));
            let end = match upper(reader, writer).await {
                Ok(()) => "end".to_owned(),
                Err(error) => format!("{:?}", error.kind()),
            };
            noted.borrow_mut().push(end);
        }
    };
    let server = start_server(client, ("127.0.0.1", 0)).ssl(context).await;
    (server.unwrap(), notes)
}

async fn upper(mut reader: StreamReader, writer: StreamWriter) -> io::Result<()> {
    loop {
        match reader.next_line().await {
            Ok(Some(line)) => writer.write(line.to_ascii_uppercase()),
            Ok(None) => break,
            Err(ReadError::Failed(failed)) => return Err(failed.error),
            Err(error) => return Err(error.into()),
        }
        writer.drain().await?;
    }
    writer.close();
    writer.wait_closed().await
}

fn port_of(server: &Server) -> String {
    server.local_addr().unwrap().port().to_string()
}
