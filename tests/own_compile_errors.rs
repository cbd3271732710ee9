//! In a process of its own since it starts the compiler: what does not fit is refused with a sentence of ours, which says
//! what fits. The programs here are compiled against the library that this test was built with.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What the compiler says of a size when a `dyn Error` is taken for a value. It helps nobody.
const OF_A_SIZE: &str = "the size for values of type";

/// The folder of the libraries that this test was built with.
fn libraries() -> PathBuf {
    env::current_exe().unwrap().parent().unwrap().to_owned()
}

/// The library. There may be more, of other features and of earlier sources: the newest one was built from the sources of
/// now, or from the same ones as this test's own.
fn library() -> PathBuf {
    let built = fs::read_dir(libraries()).unwrap().filter_map(|entry| {
        let path = entry.unwrap().path();
        let name = path.file_name()?.to_str()?;
        let is_ours = name.starts_with("libcallsoon-") && name.ends_with(".rlib");
        is_ours.then(|| (fs::metadata(&path).unwrap().modified().unwrap(), path))
    });
    built.max().expect("a library").1
}

/// Compiles a program whose `main` has this body, and returns what the compiler says. Empty if it compiles.
fn said_of(name: &str, body: &str) -> String {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("compile_errors");
    fs::create_dir_all(&folder).unwrap();
    let source = folder.join(format!("{name}.rs"));
    let program = format!(
        "#![allow(unused)]\nuse std::error::Error;\nuse callsoon::*;\n\
        fn main() {{ let _ = async {{ {body} }}; }}\n"
    );
    fs::write(&source, program).unwrap();
    let compiler = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    // For another target the macros are in the folder of the host.
    let of_the_host = libraries().join("../../../debug/deps");
    let flags = env::var("RUSTFLAGS").unwrap_or_default();
    let output = Command::new(compiler)
        .args([
            "--edition",
            "2024",
            "--emit",
            "metadata",
            "--color",
            "never",
        ])
        .args(flags.split_whitespace())
        .arg("-L")
        .arg(format!("dependency={}", libraries().display()))
        .arg("-L")
        .arg(format!("dependency={}", of_the_host.display()))
        .arg("--extern")
        .arg(format!("callsoon={}", library().display()))
        .arg("--out-dir")
        .arg(&folder)
        .arg(&source)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.success(), !said.contains("error"), "{said}");
    said
}

/// Checks that a program does not compile, for one reason, and that the compiler says all of these sentences.
#[track_caller]
fn refused(name: &str, body: &str, sentences: &[&str]) {
    let said = said_of(name, body);
    for sentence in sentences {
        assert!(said.contains(sentence), "{sentence:?} is not in:\n{said}");
    }
    assert!(!said.contains(OF_A_SIZE), "{said}");
    assert!(said.starts_with("error[E0277]: "), "{said}");
}

#[test]
fn what_fits_compiles() {
    let body = "
        task_group(async |group| {
            group.create_task(async { Ok::<(), Box<dyn Error + Send + Sync>>(()) });
            Err::<(), _>(\"no\")
        }).await;
        start_server(async |_, _| Ok::<(), Box<dyn Error + Send + Sync>>(()), \"localhost:80\").await;
        shield(Box::pin(async {})).await;
        as_completed([create_task(async {})]);";
    assert_eq!(said_of("fits", body), "");
}

#[test]
fn an_output_that_no_group_can_judge_is_refused_in_our_words() {
    let sentences = [
        "a group cannot tell whether `",
        "a `Box<dyn Error>` is none",
    ];
    let child = "group.create_task(async { Err::<(), Box<dyn Error>>(\"no\".into()) });";
    let body = format!("task_group(async |group| {{ {child} }}).await;");
    refused("child_boxed", &body, &sentences);
    let body = "task_group(async |_| Err::<(), Box<dyn Error>>(\"no\".into())).await;";
    refused("body_boxed", body, &sentences);
    let body = "task_group(async |group| { group.create_task(async { 7_u8 }); }).await;";
    let message = "a group cannot tell whether `u8` is a failure";
    refused("child_number", body, &[message, "wrap the value in `Ok`"]);
}

#[test]
fn an_output_that_nobody_would_read_of_a_server_is_refused_in_our_words() {
    let handler = "async |_, _| Err::<(), Box<dyn Error>>(\"no\".into())";
    let sentences = [
        "the function of a server returns `",
        "a `Box<dyn Error>` is none",
    ];
    let body = format!("start_server({handler}, \"localhost:80\").await;");
    refused("server_boxed", &body, &sentences);
    let body = "start_server(async |_, _| 7_u8, \"localhost:80\").await;";
    let message = "the function of a server returns `u8`, whose value nobody would read";
    refused("server_number", body, &[message, "end it with `Ok(())`"]);
}

#[test]
fn a_future_where_a_task_is_wanted_is_refused_in_our_words() {
    let message = "is neither a task, nor a loop's future, nor a boxed future";
    let label = "make a task of it: `shield!(...)`, or `shield(create_task(...))`";
    refused("shield", "shield(async {}).await;", &[message, label]);
    let sentences = [
        "is neither a task nor a boxed future",
        "make a task of it by `create_task`",
    ];
    refused("as_completed", "as_completed([async {}]);", &sentences);
}

#[test]
fn a_stream_of_the_standard_library_is_refused_in_our_words() {
    let body = "let (mut from, mut to): (std::net::TcpStream, net::TcpStream) = todo!();
        copy(&mut from, &mut to).await;";
    let sentences = [
        "TcpStream` is no byte stream of callsoon that can be read",
        "`from_std` of `callsoon::net`",
    ];
    refused("std_reader", body, &sentences);
    let body = "let (mut from, mut to): (net::TcpStream, std::net::TcpStream) = todo!();
        copy(&mut from, &mut to).await;";
    let sentences = ["TcpStream` is no byte stream of callsoon that can be written"];
    refused("std_writer", body, &sentences);
}
