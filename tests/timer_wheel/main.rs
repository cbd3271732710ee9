//! A binary of its own, because it includes the kernel's private timer wheel by path to check it against a naive model.

mod crowd;
#[path = "../../src/kernel/due.rs"]
mod due;
mod jobs;
mod model;
#[path = "../../src/kernel/open_slot.rs"]
mod open_slot;
#[path = "../../src/sys"]
mod sys {
    pub(crate) mod prefetch;
}
#[path = "../../src/kernel/timers.rs"]
mod timers;
#[path = "../../src/kernel/wake_time.rs"]
mod wake_time;

use std::collections::BTreeSet;

use jobs::{ByValue, Job, moved_out};
use model::{Modelled, Random};
use proptest::prelude::*;
use timers::{TimerKey, Timers};

const TICK: u64 = 1 << 16;
const DAY: u64 = 86_400_000_000_000;
const YEAR: u64 = 365 * DAY;

/// Where clocks of other programs have wrapped: 12 days (a tokio timer), 2³¹ and 2³² milliseconds, the top of tokio's
/// wheel, and a life.
const UPTIMES: [u64; 5] = [
    12 * DAY,
    (1 << 31) * 1_000_000,
    (1 << 32) * 1_000_000,
    (1 << 36) * 1_000_000,
    100 * YEAR,
];

#[derive(Clone, Debug)]
enum Op {
    After(u64),
    Past(u64),
    SameAsLast,
    Never,
    Cancel(u64),
    Pass(u64),
    SleepToNext,
    LookBack(u64),
    CheckNext(u64),
}

fn apply(modelled: &mut Modelled, op: Op, last: &mut u64) {
    match op {
        Op::After(span) => *last = modelled.now.saturating_add(span),
        Op::Past(span) => *last = modelled.now.saturating_sub(span),
        Op::Never => *last = u64::MAX,
        _ => {}
    }
    match op {
        Op::After(_) | Op::Past(_) | Op::Never | Op::SameAsLast if *last % 2 == 0 => {
            modelled.insert_waking(*last)
        }
        Op::After(_) | Op::Past(_) | Op::Never | Op::SameAsLast => drop(modelled.insert(*last)),
        Op::Cancel(which) => modelled.cancel(which),
        Op::CheckNext(slack) => modelled.check_next(slack),
        Op::Pass(_) | Op::SleepToNext | Op::LookBack(_) => {
            let now = match op {
                Op::Pass(span) => modelled.now.saturating_add(span).min(u64::MAX - 1),
                Op::LookBack(span) => modelled.now.saturating_sub(span),
                _ => modelled.wheel.next_deadline().unwrap_or(modelled.now),
            };
            let fired = modelled.expire(now);
            // Some stay due for a while, so that cancellations meet them.
            if now % 4 != 0 {
                modelled.run(fired);
            }
        }
    }
}

/// A span of any order of magnitude, from 1 ns to 2⁶³.
fn any_span(bits: u32, random: u64) -> u64 {
    (1 << bits) | (random & ((1 << bits) - 1))
}

fn any_op() -> impl Strategy<Value = Op> {
    let span = || (0..64_u32, any::<u64>()).prop_map(|(bits, random)| any_span(bits, random));
    let short = || 0..64 * 64 * TICK;
    prop_oneof![
        4 => span().prop_map(Op::After),
        4 => short().prop_map(Op::After),
        2 => short().prop_map(Op::Past),
        2 => Just(Op::SameAsLast),
        1 => Just(Op::Never),
        4 => any::<u64>().prop_map(Op::Cancel),
        3 => short().prop_map(Op::Pass),
        1 => span().prop_map(Op::Pass),
        2 => Just(Op::SleepToNext),
        1 => short().prop_map(Op::LookBack),
        2 => short().prop_map(Op::CheckNext),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(200) })]

    #[test]
    fn c5_any_sequence_of_operations_equals_the_naive_model(
        start in prop_oneof![Just(0), 0..100 * YEAR, any::<u64>()],
        ops in prop::collection::vec(any_op(), 1..300),
    ) {
        let mut modelled = Modelled::new(start);
        let mut last = start;
        for op in ops {
            apply(&mut modelled, op, &mut last);
        }
        modelled.check_next(TICK);
        modelled.close();
    }
}

fn random_op(random: &mut Random) -> Op {
    let wide = any_span(random.below(64) as u32, random.next());
    // Half of the time at most a second: there the timers are dense.
    let span = if random.below(2) == 0 {
        wide
    } else {
        wide % 1_000_000_000
    };
    match random.below(100) {
        0..25 => Op::After(span),
        25..30 => Op::Past(span),
        30..38 => Op::SameAsLast,
        38..40 => Op::Never,
        40..70 => Op::Cancel(random.next()),
        70..85 => Op::SleepToNext,
        85..90 => Op::Pass(span % (10 * TICK)),
        90 if random.below(50) == 0 => Op::Pass(UPTIMES[random.below(5) as usize]),
        90..93 => Op::Pass(span % DAY),
        93 => Op::LookBack(span),
        _ => Op::CheckNext(span % (100 * TICK)),
    }
}

#[test]
fn c5_a_long_random_run_equals_the_naive_model() {
    for seed in 0..6 {
        let mut random = Random(seed);
        let mut modelled = Modelled::new(seed * YEAR);
        let mut last = 0;
        for _ in 0..50_000 {
            let op = random_op(&mut random);
            apply(&mut modelled, op, &mut last);
            if modelled.now > 1 << 63 {
                let used = std::mem::replace(&mut modelled, Modelled::new(seed * YEAR));
                used.close();
            }
        }
        modelled.sleep_to_the_end();
        modelled.close();
    }
}

#[test]
fn the_stale_key_is_no_timer_s() {
    let mut timers = Timers::new(0, 0);
    assert!(timers.make_room(usize::MAX).is_err());
    timers.make_room(4).unwrap();
    for deadline in 0..100 {
        timers.insert(deadline, deadline);
    }
    let stale = TimerKey::STALE;
    assert!(!timers.is_live(stale));
    assert_eq!((timers.cancelled(stale), timers.taken(stale)), (None, None));
    assert_eq!(timers.len(), 100);
}

#[test]
fn c1_the_ends_of_the_clock_neither_panic_nor_fire_early() {
    let extremes = [
        0,
        1,
        TICK - 1,
        TICK,
        i64::MAX as u64,
        1 << 63,
        u64::MAX - 1,
        u64::MAX,
    ];
    for now in extremes {
        let mut modelled = Modelled::new(now);
        for deadline in extremes {
            modelled.insert(deadline);
            modelled.check_next(u64::MAX);
        }
        for later in extremes.into_iter().filter(|&later| later >= now) {
            let fired = modelled.expire(later);
            modelled.run(fired);
        }
        modelled.check_next(u64::MAX);
        // Only "never" is left, however far the clock got.
        assert_eq!(modelled.wheel.next_deadline(), None);
        let left = modelled
            .wheel
            .drain()
            .iter_mut()
            .map(moved_out)
            .collect::<Vec<_>>();
        assert_eq!(left, [7]);
    }
}

#[test]
fn c2_ten_thousand_short_timers_fire_at_their_nanosecond_in_at_most_two_turns_each() {
    let mut random = Random(2);
    let mut modelled = Modelled::new(5 * DAY + 12_345);
    let deadlines: BTreeSet<u64> = (0..10_000)
        .map(|_| modelled.now + 1_000 + random.below(998_001))
        .collect();
    for &deadline in &deadlines {
        modelled.insert(deadline);
    }
    // `sleep_to_the_end` compares each turn: early or late would be a different trace.
    let turns = modelled.sleep_to_the_end();
    assert!(turns <= 2 * deadlines.len(), "{turns} turns");
}

#[test]
fn c2_past_deadlines_fire_at_the_next_poll_by_their_exact_value() {
    let now = 1_000 * TICK + 7;
    let mut modelled = Modelled::new(now);
    let keys: Vec<_> = [now, now - 1, 0, now - 100 * TICK, now + 1, now - 1, 0]
        .into_iter()
        .map(|deadline| modelled.insert(deadline))
        .collect();
    let fired = modelled.expire(now);
    assert_eq!(fired, [2, 6, 3, 1, 5, 0].map(|which| keys[which]));
    assert_eq!(modelled.expire(now), []);
    assert_eq!(modelled.expire(now + 1), [keys[4]]);
}

/// Around each boundary where one clock or another wraps, and where each level of this wheel does.
fn boundaries() -> Vec<u64> {
    let levels = (0..8).map(|level| TICK << (6 * level));
    levels.chain(UPTIMES).collect()
}

#[test]
fn c3_timers_fire_in_order_across_every_wrap_boundary() {
    let offsets = [0, 1, 2, TICK - 1, TICK, TICK + 1, 64 * TICK, 4096 * TICK];
    for boundary in boundaries() {
        for start in [
            0,
            boundary.saturating_sub(1),
            boundary.saturating_sub(5 * TICK),
        ] {
            for single_jump in [false, true] {
                let mut modelled = Modelled::new(start);
                for offset in offsets {
                    // Twice, for ties; the far side first, so that arrival is not the order of deadlines.
                    for _ in 0..2 {
                        modelled.insert(boundary + offset);
                        modelled.insert(boundary.saturating_sub(offset));
                    }
                }
                if single_jump {
                    let fired = modelled.expire(boundary + 4096 * TICK);
                    assert_eq!(fired.len(), 4 * offsets.len());
                    modelled.run(fired);
                }
                modelled.sleep_to_the_end();
                assert!(modelled.wheel.len() == 0);
            }
        }
    }
}

#[test]
fn c3_random_timers_fire_in_order_after_any_uptime() {
    let mut random = Random(3);
    for uptime in UPTIMES {
        let mut modelled = Modelled::new(random.below(DAY));
        for _ in 0..2_000 {
            let near = uptime - 1_000_000_000 + random.below(2_000_000_000);
            modelled.insert(near);
            modelled.insert(random.below(2 * uptime));
        }
        // Half way in steps, over the boundary in one jump, the rest timer by timer.
        for step in 1..=50 {
            let fired = modelled.expire(uptime / 100 * step);
            modelled.run(fired);
        }
        let fired = modelled.expire(uptime);
        modelled.run(fired);
        modelled.sleep_to_the_end();
        assert!(modelled.wheel.len() == 0);
    }
}

#[test]
fn c4_a_million_cancelled_timers_leave_nothing_behind() {
    const LIVE: usize = 1_000;
    let mut wheel = Timers::new(0, 0);
    let mut random = Random(4);
    let mut keys = Vec::with_capacity(LIVE);
    for _ in 0..1_000_000 / LIVE {
        for number in 0..LIVE {
            keys.push(wheel.insert(random.next() >> random.below(48), number));
        }
        for (number, key) in keys.drain(..).enumerate() {
            // The slab grows only when no index is free: none beyond the live maximum means that it never did.
            assert!((key.index as usize) < LIVE);
            assert_eq!(wheel.cancelled(key), Some(number));
        }
        assert_eq!(wheel.len(), 0);
        // Nor does a bound stay: the loop would wake up for it.
        assert_eq!(wheel.next_deadline(), None);
    }
}

#[test]
fn c4_a_million_live_timers_cancelled_at_once_are_reused_by_the_next_million() {
    let mut wheel = Timers::new(0, 0);
    for round in 0..2 {
        let keys: Vec<_> = (0..1_000_000)
            .map(|n| wheel.insert(n * 7_919, round))
            .collect();
        for key in keys {
            assert!(key.index < 1_000_000);
            assert_eq!(wheel.cancelled(key), Some(round));
        }
        assert_eq!(wheel.len(), 0);
        assert_eq!(wheel.next_deadline(), None);
    }
}

#[test]
fn c5_an_earlier_timer_of_the_batch_cancels_a_later_one() {
    let mut wheel = Timers::new(0, 0);
    let keys = ["first", "second", "third"].map(|name| wheel.insert(500, name));
    assert_eq!(wheel.expired(500), keys);
    assert_eq!(wheel.taken(keys[0]), Some("first"));
    assert_eq!(wheel.cancelled(keys[1]), Some("second"));
    // The freed indices go to new timers; the old keys do not reach them.
    let again = [0; 2].map(|_| wheel.insert(0, "again"));
    assert_eq!(wheel.taken(keys[1]), None);
    assert_eq!(wheel.taken(keys[2]), Some("third"));
    assert_eq!(wheel.expired(500), again);
    assert_eq!(keys.map(|key| wheel.taken(key)), [None; 3]);
    assert_eq!(keys.map(|key| wheel.cancelled(key)), [None; 3]);
    assert_eq!(wheel.len(), 2);
}

#[test]
fn c5_a_timer_armed_again_by_its_own_callback_fires_once_a_poll() {
    let mut wheel = Timers::new(0, 0);
    let mut armed = wheel.insert(0, 0);
    for round in 1..10 {
        assert_eq!(wheel.expired(TICK), [armed]);
        assert_eq!(wheel.taken(armed), Some(round - 1));
        armed = wheel.insert(0, round);
    }
}

#[test]
fn c5_taking_compares_24_bits_of_the_generation_and_everything_else_all_of_them() {
    let mut wheel = Timers::new(0, 0xAB12_3456);
    let key = wheel.insert(1, ());
    assert_eq!(key.generation, 0xAB12_3456);
    let with = |generation| TimerKey { generation, ..key };
    assert_eq!(wheel.expired(1), [with(0x0012_3456)]);
    assert_eq!(wheel.cancelled(with(0x0012_3456)), None);
    assert!(!wheel.is_live(with(0x0012_3456)));
    assert!(!wheel.is_live(with(0x0012_3456)));
    assert_eq!(wheel.taken(with(0xAB12_3457)), None);
    assert_eq!(wheel.taken(with(0xAB92_3456)), None);
    assert_eq!(wheel.taken(with(0x0012_3456)), Some(()));
    assert!(wheel.len() == 0);
}

#[test]
fn c6_equal_deadlines_fire_in_creation_order_however_they_got_into_their_slot() {
    let deadline = 3 * DAY;
    let mut modelled = Modelled::new(0);
    let mut keys = Vec::new();
    // Ever closer to the deadline, hence inserted on ever lower levels, behind those that have come down.
    for shift in 0..52 {
        for _ in 0..20 {
            keys.push(modelled.insert(deadline));
        }
        assert_eq!(modelled.expire(deadline - (deadline >> shift).max(1)), []);
    }
    assert_eq!(modelled.expire(deadline), keys);
}

#[test]
fn c6_a_stalled_loop_fires_all_that_it_missed_in_order() {
    let mut random = Random(6);
    let mut modelled = Modelled::new(DAY);
    for _ in 0..10_000 {
        modelled.insert(DAY + random.below(12_000) * 1_000_000);
    }
    let fired = modelled.expire(DAY + 10_000_000_000);
    modelled.run(fired);
    modelled.sleep_to_the_end();
    assert!(modelled.wheel.len() == 0);
}

#[test]
fn a_crowded_slot_answers_with_a_bound_that_one_turn_resolves() {
    let mut wheel = Timers::new(0, 0);
    let first = wheel.insert(1_000_000_000, 0);
    let others: Vec<_> = (1..100)
        .map(|n| wheel.insert(1_000_000_000 + n, n))
        .collect();
    assert_eq!(
        wheel.next_deadline(),
        Some(1_000_000_000),
        "known since insertion"
    );
    wheel.cancelled(first);
    let bound = wheel.next_deadline().unwrap();
    assert!(bound < 1_000_000_001);
    assert_eq!(wheel.wake_time(TICK), Some(bound), "a bound is not put off");
    let mut due = Vec::new();
    let mut trace = vec![bound];
    while due.is_empty() {
        due = wheel.expired(*trace.last().unwrap());
        trace.extend(wheel.next_deadline());
    }
    // The starts of the slots on levels 2 and 1, the earliest deadline, and then the one after it.
    let starts = [1_000_000_000 >> 28 << 28, 1_000_000_000 >> 22 << 22];
    assert_eq!(trace, [starts[0], starts[1], 1_000_000_001, 1_000_000_002]);
    assert_eq!(due, others[..1]);
}

#[test]
fn a_lone_timer_wakes_exactly_and_close_ones_share_a_wake_up() {
    let mut wheel = Timers::new(0, 0);
    let slack = TICK / 2;
    assert_eq!(wheel.wake_time(slack), None);
    wheel.insert(10 * TICK - 100, ());
    assert_eq!(wheel.wake_time(slack), Some(10 * TICK - 100));
    wheel.insert(10 * TICK - 50, ());
    assert_eq!(wheel.wake_time(slack), Some(10 * TICK - 50));
    // In the next slot: within the slack, at its last nanosecond, beyond it.
    for (after, wake) in [
        (100, 100),
        (slack - 100, slack - 100),
        (slack - 99, slack - 100),
    ] {
        wheel.insert(10 * TICK + after, ());
        assert_eq!(wheel.wake_time(slack), Some(10 * TICK + wake));
    }
    assert_eq!(wheel.wake_time(0), Some(10 * TICK - 100));
}

#[test]
fn the_bound_goes_when_the_last_armed_timer_does() {
    let mut wheel = Timers::new(0, 0);
    let never = wheel.insert(u64::MAX, 0);
    assert_eq!(wheel.next_deadline(), None);
    let keys: Vec<_> = (0..40).map(|_| wheel.insert(DAY, 1)).collect();
    wheel.cancelled(keys[0]);
    assert!(wheel.next_deadline() < Some(DAY));
    for &key in &keys[1..] {
        wheel.cancelled(key);
    }
    assert_eq!(wheel.next_deadline(), None);
    assert_eq!(wheel.cancelled(never), Some(0));
}

#[test]
fn waking_timers_leave_when_they_are_due_in_order_with_the_others() {
    let mut modelled = Modelled::new(DAY);
    let mut random = Random(7);
    let mut keys = Vec::new();
    for n in 0..3_000_u64 {
        // Few deadlines, so that most are shared by timers of both kinds.
        let deadline = DAY + random.below(40) * 1_000;
        if n % 3 == 0 {
            keys.push(modelled.insert(deadline));
        } else {
            modelled.insert_waking(deadline);
        }
    }
    // The model compares the order of all.
    let fired = modelled.expire(DAY + 1_000_000);
    assert_eq!(fired.len(), keys.len());
    assert_eq!(modelled.wheel.len(), keys.len());
    modelled.run(fired);
    assert_eq!(modelled.wheel.len(), 0);
}

#[test]
fn the_deadlines_of_callbacks_are_those_that_neither_ran_nor_were_cancelled() {
    let mut wheel = Timers::new(DAY, 1);
    let keys = [u64::MAX, DAY + 2, DAY + 1, DAY + 3].map(|deadline| wheel.insert(deadline, 0));
    wheel.insert_waking(DAY + 4, 1);
    wheel.cancelled(keys[1]);
    assert_eq!(wheel.expired_count(DAY + 1), 1);
    // A timer that is due counts until its callback runs.
    let deadlines_of_callbacks = |wheel: &Timers<Job<u64>>| {
        let callbacks = wheel.each().filter(|(task, _)| task.is_none());
        callbacks.map(|(_, deadline)| deadline).collect::<Vec<_>>()
    };
    assert_eq!(deadlines_of_callbacks(&wheel), [u64::MAX, DAY + 1, DAY + 3]);
    wheel.taken(keys[2]);
    assert_eq!(deadlines_of_callbacks(&wheel), [u64::MAX, DAY + 3]);
}

#[test]
fn bursts_of_any_size_and_spread_are_in_order() {
    let mut random = Random(8);
    for size in [511, 512, 513, 5_000] {
        for bits in [1, 9, 10, 11, 20, 27, 40, 63] {
            let mut modelled = Modelled::new(0);
            for _ in 0..size {
                let deadline = random.next() >> (64 - bits);
                if deadline % 2 == 0 {
                    modelled.insert_waking(deadline);
                } else {
                    modelled.insert(deadline);
                }
            }
            let fired = modelled.expire(u64::MAX - 1);
            modelled.run(fired);
            assert_eq!(modelled.wheel.len(), 0);
        }
    }
}

#[test]
fn a_burst_of_several_crowded_slots_is_in_order() {
    let mut random = Random(9);
    let mut modelled = Modelled::new(0);
    // Slots of one level, then of the next ones: a smaller crowd after a larger one, and the other way round.
    for (slot, size) in [(1, 3_000), (2, 700), (3, 100), (70, 900), (5_000, 2_000)] {
        for _ in 0..size {
            modelled.insert_waking(slot * 64 * TICK + random.below(64 * TICK));
        }
    }
    assert_eq!(modelled.expire(u64::MAX - 1), []);
    assert_eq!(modelled.wheel.len(), 0);
}

#[test]
fn entries_of_a_burst_are_given_back_unless_they_were_asked_for() {
    const BURST: u64 = 100_000;
    let mut wheel = Timers::new(0, 0);
    let burst = |wheel: &mut Timers<Job<u64>>| {
        let first = wheel.insert(u64::MAX, 0);
        for n in 1..BURST {
            wheel.insert_waking(n, n);
        }
        assert_eq!(wheel.expired_count(BURST), BURST - 1);
        first
    };
    let first = burst(&mut wheel);
    assert_eq!(wheel.entries.len() as u64, BURST);
    wheel.trim();
    assert!(wheel.entries.len() <= 4_096 && wheel.entries.capacity() <= 4_096);
    assert_eq!(wheel.cancelled(first), Some(0));

    // One that stays at the end keeps the rest until it ends, and is not followed by others.
    for n in 0..BURST {
        wheel.insert_waking(n, n);
    }
    let last = wheel.insert(u64::MAX, 1);
    assert_eq!(wheel.expired_count(BURST), BURST);
    wheel.trim();
    assert_eq!(wheel.entries.len() as u64, BURST + 1);
    assert_eq!(wheel.cancelled(last), Some(1));
    let next = wheel.insert(u64::MAX, 2);
    assert!(next.index < 4_096);
    wheel.trim();
    assert!(wheel.entries.len() <= 4_096);
    assert_eq!(wheel.cancelled(next), Some(2));

    // Another burst, before that one has ended, uses what is there.
    for n in 0..BURST {
        wheel.insert_waking(n, n);
    }
    let last = wheel.insert(u64::MAX, 3);
    assert_eq!(wheel.expired_count(BURST), BURST);
    wheel.trim();
    let again: BTreeSet<_> = (0..BURST).map(|n| wheel.insert(n, n).index).collect();
    assert!(again.len() as u64 == BURST && !again.contains(&last.index));
    assert_eq!(wheel.entries.len() as u64, BURST + 1);
    for key in wheel.expired(BURST) {
        wheel.taken(key).unwrap();
    }
    assert_eq!(wheel.cancelled(last), Some(3));

    wheel.make_room(BURST as usize).unwrap();
    burst(&mut wheel);
    wheel.trim();
    assert!(wheel.entries.capacity() as u64 >= BURST, "asked for");
}
