//! One run of `echo` or `net`: a server, a load generator, and what both say about it.

use super::child::Child;
use super::options::Options;
use super::rounds::Failure;

/// What one run gave.
pub(crate) struct Run {
    /// The server's processor time between `warm` and `done`, in ns.
    pub(crate) cpu: f64,
    /// By how many bytes the server grew meanwhile.
    pub(crate) memory: f64,
    /// The numbers that the load generator prints at its end.
    pub(crate) done: Vec<f64>,
}

/// Runs `--child SERVER PEER` against `--child LOAD PORT ORDER...`.
pub(crate) fn run(
    server: &str,
    peer: &str,
    load: &str,
    order: &[&str],
    options: &Options,
) -> Result<Run, Failure> {
    let mut server = Child::start(&[server, peer], options.quick)?;
    let port = server.expect("port")?;
    let order = [&[load, port.as_str()], order].concat();
    let mut load = Child::start(&order, options.quick)?;
    load.expect("warm")?;
    let (cpu_before, memory_before) = usage(&mut server)?;
    load.tell("go")?;
    let done = load.expect("done")?;
    let (cpu, memory) = usage(&mut server)?;
    load.finish()?;
    server.finish()?;
    let done = done
        .split_whitespace()
        .map(str::parse)
        .collect::<Result<_, _>>()?;
    Ok(Run {
        cpu: cpu - cpu_before,
        memory: memory - memory_before,
        done,
    })
}

/// The processor time that the server has used so far, and its memory.
fn usage(server: &mut Child) -> Result<(f64, f64), Failure> {
    server.tell("cpu")?;
    let answer = server.expect("cpu")?;
    let (cpu, memory) = answer.split_once(" memory ").ok_or("no memory")?;
    Ok((cpu.parse()?, memory.parse()?))
}
