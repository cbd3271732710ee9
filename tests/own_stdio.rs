//! A process of its own, because it starts itself as a child whose standard input and output are pipes, or files.
//!
//! Standard input and output as transports and as streams: lines are read as they come, answers go out at once, the end
//! of the input is the end of the child, and a parent that stops reading causes an error and does not end the process.

#[allow(
    dead_code,
    unused_imports,
    reason = "this binary needs a part of what the tests share"
)]
#[path = "it/support/mod.rs"]
mod support;

use std::io::{BufRead as _, BufReader, Read as _, Seek as _, Write as _};
use std::process::{Child, Command, Stdio};

use callsoon::stream::{open_read_pipe, open_write_pipe};
use callsoon::transport::{Protocol, Transport, stdin, stdout};
use callsoon::{get_running_loop, yield_now};

use support::{is_blocking, terminal, watched};

/// Set in the child, to the name of its scenario.
const ROLE: &str = "CALLSOON_STDIO_ROLE";

/// What comes before the child's own output: the test harness has printed already.
const MARK: &str = "~ ";

fn command(test: &str, role: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["--exact", test, "--nocapture", "--test-threads=1"])
        .env(ROLE, role);
    command
}

fn child(test: &str, role: &str) -> Child {
    command(test, role)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

fn role() -> Option<String> {
    std::env::var(ROLE).ok()
}

/// Returns the next line of the child's own output.
fn next_line(lines: &mut impl Iterator<Item = std::io::Result<String>>) -> String {
    let own = lines.find_map(|line| line.unwrap().split_once(MARK).map(|(_, it)| it.to_owned()));
    own.unwrap()
}

/// Answers each line until the input ends.
async fn answer() {
    let mut reader = open_read_pipe(stdin().unwrap()).await.unwrap();
    let writer = open_write_pipe(stdout().unwrap()).await.unwrap();
    while let Some(line) = reader.next_line().await.unwrap() {
        let line = String::from_utf8(line).unwrap();
        writer.write(format!("{MARK}{}", line.to_uppercase()).as_bytes());
        writer.drain().await.unwrap();
    }
    writer.write(format!("{MARK}over\n").as_bytes());
    writer.drain().await.unwrap();
}

#[test]
fn lines_come_in_by_stdin_and_go_out_by_stdout_until_the_input_ends() {
    let test = "lines_come_in_by_stdin_and_go_out_by_stdout_until_the_input_ends";
    if role().is_some() {
        return callsoon::run(answer()).unwrap();
    }
    watched(move || {
        let mut child = child(test, "answer");
        let mut input = child.stdin.take().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        for (said, heard) in [("one\n", "ONE"), ("two\n", "TWO"), ("last", "LASTover")] {
            input.write_all(said.as_bytes()).unwrap();
            if said.ends_with('\n') {
                assert_eq!(next_line(&mut lines), heard);
            }
        }
        drop(input);
        assert_eq!(next_line(&mut lines), format!("LAST{MARK}over"));
        assert!(child.wait().unwrap().success());
    })();
}

/// Reads and writes at one terminal, and goes on reading when it has stopped writing.
async fn answer_at_the_terminal() {
    let mut reader = open_read_pipe(stdin().unwrap()).await.unwrap();
    let writer = open_write_pipe(stdout().unwrap()).await.unwrap();
    assert_eq!(reader.readline().await.unwrap(), b"one\n");
    writer.write(format!("{MARK}ONE\n").as_bytes());
    writer.drain().await.unwrap();
    drop(writer);
    support::until(|| get_running_loop().metrics().sources == 1).await;
    println!("{MARK}quiet");
    assert_eq!(reader.readline().await.unwrap(), b"two\n");
    for _ in 0..20 {
        yield_now().await;
    }
    // A loop that blocks in a read does not come here.
    println!("{MARK}alive");
    assert_eq!(reader.readline().await.unwrap(), b"three\n");
}

#[test]
fn a_program_whose_input_and_output_are_one_terminal_reads_on_when_it_has_stopped_writing() {
    let test =
        "a_program_whose_input_and_output_are_one_terminal_reads_on_when_it_has_stopped_writing";
    if role().is_some() {
        return callsoon::run(answer_at_the_terminal()).unwrap();
    }
    watched(move || {
        let (mut master, slave) = terminal();
        let mut child = command(test, "answer_at_the_terminal")
            .stdin(slave.try_clone().unwrap())
            .stdout(slave.try_clone().unwrap())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(master.try_clone().unwrap()).lines();
        for (said, heard) in [("one\n", &["ONE", "quiet"][..]), ("two\n", &["alive"])] {
            master.write_all(said.as_bytes()).unwrap();
            for line in heard {
                assert_eq!(next_line(&mut lines).trim_end(), *line);
                assert!(is_blocking(&slave), "the shell's as well");
            }
        }
        master.write_all(b"three\n").unwrap();
        assert!(child.wait().unwrap().success());
        assert!(is_blocking(&slave));
    })();
}

/// Records the calls of the ends. Standard error is in use, so the exit code says whether they were right.
struct End(std::rc::Rc<std::cell::RefCell<Vec<String>>>);

impl Protocol for End {
    fn connection_made(&self, transport: &Transport) {
        assert!(transport.pipe(|_| ()).is_some() && transport.peername().is_none());
        self.0.borrow_mut().push("made".to_owned());
    }

    fn connection_lost(&self, _: &Transport, error: Option<std::io::Error>) {
        let how = error.map(|error| error.kind());
        self.0.borrow_mut().push(format!("lost {how:?}"));
    }
}

/// Writes until the pipe is full, to a parent that closes its end.
async fn babble() {
    let told = std::rc::Rc::default();
    let end = End(std::rc::Rc::clone(&told));
    let connecting = get_running_loop().connect_write_pipe(|| end, stdout().unwrap());
    let (output, _) = connecting.await.unwrap();
    output.write(format!("{MARK}listen\n").as_bytes());
    output.write(vec![b'x'; 1 << 20]);
    support::until(|| told.borrow().len() == 2).await;
    assert_eq!(*told.borrow(), ["made", "lost Some(BrokenPipe)"]);
    // The harness has no output left to which it could report.
    std::process::exit(42);
}

#[test]
fn a_parent_that_listens_no_more_is_an_error_of_stdout_s_transport() {
    let test = "a_parent_that_listens_no_more_is_an_error_of_stdout_s_transport";
    if role().is_some() {
        return callsoon::run(babble()).unwrap();
    }
    watched(move || {
        let mut child = child(test, "babble");
        let mut output = BufReader::new(child.stdout.take().unwrap());
        let mut lines = output.by_ref().lines();
        assert_eq!(next_line(&mut lines), "listen");
        drop(output);
        assert_eq!(child.wait().unwrap().code(), Some(42));
    })();
}

/// Returns a new file with these bytes, open for reading and writing, which has no name any more.
fn nameless(bytes: &[u8]) -> std::fs::File {
    let mut options = std::fs::File::options();
    let options = options.read(true).write(true).create_new(true);
    let (path, mut file) = support::at_a_new_path("stdio", |path| options.open(path));
    std::fs::remove_file(path).unwrap();
    file.write_all(bytes).unwrap();
    file.rewind().unwrap();
    file
}

#[test]
fn lines_come_from_a_file_and_answers_go_to_one_as_a_shell_redirects_them() {
    let test = "lines_come_from_a_file_and_answers_go_to_one_as_a_shell_redirects_them";
    if role().is_some() {
        return callsoon::run(answer()).unwrap();
    }
    watched(move || {
        let input = nameless(b"one\ntwo\nlast");
        let mut output = nameless(b"");
        let ended = command(test, "answer")
            .stdin(input.try_clone().unwrap())
            .stdout(output.try_clone().unwrap())
            .status()
            .unwrap();
        assert!(ended.success());
        output.rewind().unwrap();
        let text = std::io::read_to_string(&output).unwrap();
        let (_, own) = text.split_once(MARK).unwrap();
        let (own, _) = own.split_once("over\n").unwrap();
        assert_eq!(own, format!("ONE\n{MARK}TWO\n{MARK}LAST{MARK}"));
        assert!(is_blocking(&input) && is_blocking(&output));
    })();
}

#[test]
fn an_input_without_bytes_and_an_output_that_is_thrown_away() {
    let test = "an_input_without_bytes_and_an_output_that_is_thrown_away";
    if role().is_some() {
        return callsoon::run(answer()).unwrap();
    }
    watched(move || {
        let empty = nameless(b"");
        let null = std::fs::File::options().write(true).open("/dev/null");
        let inputs: [Stdio; 2] = [empty.into(), Stdio::null()];
        for input in inputs {
            let output = null.as_ref().unwrap().try_clone().unwrap();
            let mut command = command(test, "answer");
            let ended = command.stdin(input).stdout(output).status().unwrap();
            assert!(ended.success());
        }
    })();
}
