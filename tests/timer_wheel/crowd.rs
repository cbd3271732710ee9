//! Very many timers. Above a certain number, entries carry hints for the walks through their lists. Cancelling and arming
//! again makes hints name entries that have left, are free, or are in other lists by now.

use crate::model::{Modelled, Random};
use crate::sys::prefetch::CROWD;
use crate::{Op, TICK, YEAR, apply};

#[test]
fn c5_a_crowd_that_changes_all_the_time_equals_the_naive_model() {
    let mut random = Random(8);
    let mut modelled = Modelled::new(YEAR);
    let mut last = 0;
    for _ in 0..3 * CROWD {
        // Within 17 s: on up to four levels.
        let span = random.below(64 * 64 * 64 * TICK);
        apply(&mut modelled, Op::After(span), &mut last);
    }
    while modelled.wheel.len() > 0 {
        let span = random.below(64 * 64 * TICK);
        for _ in 0..random.below(200) {
            apply(&mut modelled, Op::Cancel(random.next()), &mut last);
        }
        for _ in 0..random.below(150) {
            apply(&mut modelled, Op::After(random.below(span + 1)), &mut last);
        }
        apply(&mut modelled, Op::CheckNext(span % (4 * TICK)), &mut last);
        apply(&mut modelled, Op::Pass(span), &mut last);
    }
    modelled.close();
}
