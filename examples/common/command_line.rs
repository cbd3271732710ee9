//! The command line of the examples: `--help` prints the page at the head of the source, and arguments that an example
//! does not know end it with status 2 and a line about its usage. Where nobody reads what a program prints, as behind
//! `| head -1`, it ends quietly.

/// Returns the program's arguments. The text names those that the example takes, such as `[--serve HOST:PORT]`.
macro_rules! arguments {
    ($usage:expr) => {
        crate::command_line::read(
            concat!(env!("CARGO_CRATE_NAME"), " ", $usage),
            include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/", file!())),
        )
    };
}
pub(crate) use arguments;

/// What `arguments!` calls. The number of words in `usage` is the most that may come; `...` means any number.
pub(crate) fn read(usage: &str, source: &str) -> Vec<String> {
    end_without_a_reader();
    let arguments = std::env::args_os().skip(1);
    let arguments: Vec<String> = arguments
        .map(|argument| argument.to_string_lossy().into_owned())
        .collect();
    if arguments.iter().any(|one| one == "--help" || one == "-h") {
        println!("usage: {}\n", usage.trim_end());
        for line in source.lines().take_while(|line| line.starts_with("//!")) {
            println!("{}", line.trim_start_matches("//!").trim_start());
        }
        std::process::exit(0);
    }
    let known = |one: &String| !one.starts_with('-') || usage.contains(one.as_str());
    let most = usage.split_whitespace().count() - 1;
    if !arguments.iter().all(known) || (arguments.len() > most && !usage.ends_with("...]")) {
        eprintln!("usage: {}", usage.trim_end());
        std::process::exit(2);
    }
    arguments
}

/// Has the program end with the status that shells give one which SIGPIPE has ended, and not with a panic of `println!`.
fn end_without_a_reader() {
    let other = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        let text = panic.payload().downcast_ref::<String>();
        if text.is_some_and(|text| text.starts_with("failed printing to stdout: Broken pipe")) {
            std::process::exit(141);
        }
        other(panic);
    }));
}
