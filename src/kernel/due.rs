//! What has become due, brought into order. A stalled loop may find a million timers in one slot: so many are sorted by
//! their digits, since a comparison sort would be most of what a burst costs.

/// From how many on a radix sort is the faster one.
const MANY: usize = 512;

/// A digit's most bits: a counter for each of its values, and the places that they point to, fit the nearest cache.
const DIGIT_BITS: u32 = 10;

/// How many bits of a timer's generation are in a [`Due`].
const GENERATION_BITS: u32 = 24;

/// Says of a [`Due`] that it is no task: keys of tasks are below it.
const TIMER: u64 = 1 << 63;

/// A timer that has become due.
#[derive(Clone, Copy, Default)]
pub(crate) struct Due {
    deadline: u64,
    /// The key of the task that it wakes, or `TIMER | generation 24 | index 32`.
    what: u64,
}

impl Due {
    /// Returns a timer that wakes a task and is in the wheel no longer.
    #[inline]
    pub(super) fn task_at(deadline: u64, task: u64) -> Self {
        let what = task;
        Self { deadline, what }
    }

    /// Returns a timer that is still in the wheel.
    #[inline]
    pub(super) fn timer_at(deadline: u64, index: u32, generation: u64) -> Self {
        let generation = generation & ((1 << GENERATION_BITS) - 1);
        let what = TIMER | generation << 32 | u64::from(index);
        Self { deadline, what }
    }

    /// Returns the key of the task that it wakes, if it does nothing else.
    #[inline]
    pub(crate) fn task(self) -> Option<u64> {
        (self.what < TIMER).then_some(self.what)
    }

    /// Returns the index of a timer that wakes no task, and the low bits of its generation.
    #[inline]
    pub(crate) fn timer(self) -> (u32, u64) {
        (self.what as u32, (self.what & !TIMER) >> 32)
    }
}

/// Sorts by deadline and leaves equals in their order. `spare` is room to work in; what it holds means nothing.
pub(super) fn sort(due: &mut [Due], spare: &mut Vec<Due>) {
    if due.is_sorted_by_key(|due| due.deadline) {
        return;
    }
    if due.len() < MANY {
        return due.sort_by_key(|due| due.deadline);
    }
    let low = due.iter().fold(u64::MAX, |low, due| low.min(due.deadline));
    let high = due.iter().fold(0, |high, due| high.max(due.deadline));
    let bits = (high - low).ilog2() + 1;
    let passes = bits.div_ceil(DIGIT_BITS);
    let width = bits.div_ceil(passes);
    let count = due.len();
    spare.resize(count.max(spare.len()), Due::default());
    let (mut from, mut to) = (due, &mut spare[..count]);
    for pass in 0..passes {
        let digit = |due: &Due| (due.deadline - low) >> (pass * width) & ((1 << width) - 1);
        scatter(from, to, digit);
        std::mem::swap(&mut from, &mut to);
    }
    if passes % 2 == 1 {
        to.copy_from_slice(from);
    }
}

/// Moves all to the order of one digit.
fn scatter(from: &[Due], to: &mut [Due], digit: impl Fn(&Due) -> u64) {
    const VALUES: usize = 1 << DIGIT_BITS;
    let mut places = [0_u32; VALUES];
    for due in from {
        places[digit(due) as usize % VALUES] += 1;
    }
    let mut next = 0;
    for place in &mut places {
        next += std::mem::replace(place, next);
    }
    for due in from {
        let place = &mut places[digit(due) as usize % VALUES];
        to[*place as usize] = *due;
        *place += 1;
    }
}
