//! A process of its own, because it starts Python: the same network programs for asyncio and for callsoon, line by
//! line.
//!
//! A program's peer is a plain blocking socket on both sides, so that what the peer does is what this end is called
//! for. What is compared, and what may differ, is in the module `asyncio`.

#[expect(dead_code, unused_imports, reason = "a part of it is needed here")]
#[path = "../it/support/mod.rs"]
mod support;

#[path = "../asyncio/mod.rs"]
mod asyncio;

mod calls;
mod ends;
mod flow;

use std::io::Read as _;
use std::net::TcpStream as StdStream;
use std::sync::{Arc, Mutex};

use asyncio::{Program, compare};
use support::{Trace, audited, complete, watched};

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn read_all(peer: &mut StdStream) -> Vec<u8> {
    let mut all = Vec::new();
    peer.read_to_end(&mut all).unwrap();
    all
}

fn by_callsoon(program: &Program<Trace>) -> Vec<String> {
    let lines = Arc::new(Mutex::new(Vec::new()));
    let (rust, said) = (program.rust, Arc::clone(&lines));
    audited(watched(move || {
        let trace = Trace::new();
        let event_loop = callsoon::EventLoop::new().unwrap();
        let t = trace.clone();
        event_loop.set_exception_handler(move |_, _| t.push("report"));
        complete(&event_loop, rust(trace.clone()));
        drop(event_loop);
        *said.lock().unwrap() = trace.take();
    }));
    lines.lock().unwrap().drain(..).collect()
}

#[test]
fn the_same_network_programs_say_the_same_by_asyncio_and_by_callsoon() {
    let mut programs = calls::programs();
    programs.extend(flow::programs());
    programs.extend(ends::programs());
    compare(include_str!("prelude.py"), &programs, by_callsoon);
}
