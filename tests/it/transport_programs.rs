//! Faults E5 and B4: every call of a transport in every state and every order, from outside and from within its
//! protocol's callbacks, against the promises of `transport`.

use std::cell::{Cell, RefCell};
use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpStream as StdStream};
use std::rc::Rc;

use callsoon::transport::Transport;
use callsoon::{get_running_loop, yield_now};
use proptest::prelude::*;

use crate::support::{Recorder, Trace, complete, on_real_time, reset, std_pair, until};

#[derive(Clone, Copy, Debug)]
enum Step {
    Write(usize),
    WriteLines,
    WriteEof,
    Close,
    Abort,
    Pause,
    Resume,
    Limits(usize),
    Turn,
    PeerWrites,
    PeerReads,
    PeerFinishes,
    PeerResets,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => prop_oneof![Just(0_usize), Just(10), Just(300_000)].prop_map(Step::Write),
        1 => Just(Step::WriteLines),
        1 => Just(Step::WriteEof),
        1 => Just(Step::Close),
        1 => Just(Step::Abort),
        1 => Just(Step::Pause),
        1 => Just(Step::Resume),
        1 => prop_oneof![Just(0_usize), Just(100), Just(1_000_000)].prop_map(Step::Limits),
        4 => Just(Step::Turn),
        2 => Just(Step::PeerWrites),
        1 => Just(Step::PeerReads),
        1 => Just(Step::PeerFinishes),
        1 => Just(Step::PeerResets),
    ]
}

fn take(step: Step, transport: &Transport, peer: &mut Option<StdStream>, finished: &mut bool) {
    match step {
        // After write_eof it is a panic, as documented.
        Step::Write(size) if !*finished => transport.write(vec![1; size]),
        Step::WriteLines if !*finished => transport.writelines(&["a", "", "bc"]),
        Step::WriteEof => {
            transport.write_eof();
            *finished = true;
        }
        Step::Close => transport.close(),
        Step::Abort => transport.abort(),
        Step::Pause => transport.pause_reading(),
        Step::Resume => transport.resume_reading(),
        Step::Limits(high) => transport.set_write_buffer_limits(Some(high), None).unwrap(),
        Step::PeerResets => {
            if let Some(peer) = peer.take() {
                reset(peer);
            }
        }
        _ => {
            let Some(peer) = peer else { return };
            match step {
                Step::PeerWrites => drop(peer.write(b"data")),
                Step::PeerReads => drop(peer.read(&mut [0; 65536])),
                Step::PeerFinishes => drop(peer.shutdown(Shutdown::Write)),
                _ => {}
            }
        }
    }
}

/// Whether a trace is one that the promises allow.
fn check(trace: &[String]) {
    let kinds: Vec<_> = trace
        .iter()
        .map(|line| line.split([' ', ':']).next().unwrap())
        .collect();
    assert_eq!(kinds.first(), Some(&"made"), "{trace:?}");
    assert_eq!(kinds.last(), Some(&"lost"), "{trace:?}");
    for once in ["made", "lost"] {
        assert_eq!(
            kinds.iter().filter(|kind| **kind == once).count(),
            1,
            "{trace:?}"
        );
    }
    let eof = kinds.iter().position(|kind| *kind == "eof");
    if let Some(eof) = eof {
        assert!(
            !kinds[eof + 1..]
                .iter()
                .any(|kind| ["data", "eof"].contains(kind)),
            "{trace:?}"
        );
    }
    let flow: Vec<_> = kinds
        .iter()
        .filter(|kind| ["pause", "resume"].contains(kind))
        .collect();
    for (place, kind) in flow.into_iter().enumerate() {
        assert_eq!(*kind, ["pause", "resume"][place % 2], "{trace:?}");
    }
    assert!(!kinds.contains(&"report"), "{trace:?}");
}

const CALLS: [&str; 6] = ["made", "data", "eof", "lost", "pause", "resume"];

/// Has every callback take the next two steps of `inside`, for as long as there are any.
fn busy(mut recorder: Recorder, inside: &[Step], finished: &Rc<Cell<bool>>) -> Recorder {
    let steps = Rc::new(RefCell::new(inside.to_vec()));
    for call in CALLS {
        let (steps, finished) = (Rc::clone(&steps), Rc::clone(finished));
        recorder = recorder.on(call, move |transport| {
            assert!(call != "data" || transport.is_reading(), "not now");
            for _ in 0..2 {
                let step = steps.borrow_mut().pop();
                if let Some(step) = step {
                    let mut done = finished.get();
                    take(step, transport, &mut None, &mut done);
                    finished.set(finished.get() || done);
                }
            }
        });
    }
    recorder
}

async fn run(program: &[Step], inside: &[Step], keep_open: bool, trace: &Trace) {
    let (ours, peer) = std_pair();
    peer.set_nonblocking(true).unwrap();
    let mut peer = Some(peer);
    let finished = Rc::new(Cell::new(false));
    let mut recorder = busy(Recorder::new(trace), inside, &finished);
    if keep_open {
        recorder = recorder.keep_open();
    }
    let (transport, recorder) = get_running_loop()
        .connect_accepted_socket(|| recorder, ours)
        .await
        .unwrap();
    for step in program {
        let mut done = finished.get();
        take(*step, &transport, &mut peer, &mut done);
        finished.set(finished.get() || done);
        if matches!(step, Step::Turn) {
            yield_now().await;
        }
    }
    if !recorder.lost.get() {
        transport.abort();
    }
    until(|| recorder.lost.get()).await;
    assert_eq!(transport.write_buffer_size(), 0);
}

/// Runs programs of which callbacks take up to so many steps.
fn programs(most_inside: usize) {
    on_real_time(move |trace, event_loop| {
        let inside = prop::collection::vec(step(), 0..=most_inside);
        let program = (prop::collection::vec(step(), 0..25), inside, any::<bool>());
        let config = ProptestConfig {
            cases: 1500,
            failure_persistence: None,
            ..ProptestConfig::default()
        };
        let mut runner = proptest::test_runner::TestRunner::new(config);
        let result = runner.run(&program, |(steps, inside, keep)| {
            trace.take();
            complete(&event_loop, run(&steps, &inside, keep, &trace));
            check(&trace.take());
            assert_eq!(event_loop.metrics().sources, 0);
            Ok(())
        });
        result.unwrap();
    });
}

#[test]
fn e5_no_order_of_calls_breaks_the_order_of_callbacks() {
    programs(0);
}

#[test]
fn b4_no_call_from_within_a_callback_breaks_the_order_of_callbacks() {
    programs(12);
}
