//! Who waits for one thing, first come first served.
//!
//! A waiter is named by the number it got when it joined. Numbers only grow, so the line is sorted by them and a waiter
//! is found again by binary search after any number of others have left. The first waiter lies in the struct itself:
//! most things are awaited by one task, and that must not allocate.

use std::collections::VecDeque;

/// A waiter's number in its line.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct WaiterId(u64);

/// A FIFO of waiters, each a `T`: a waker, a callback, or both kinds.
#[allow(
    clippy::box_collection,
    reason = "an empty line of waiters is part of every idle connection: one word, not four"
)]
pub(crate) struct Waiters<T> {
    /// The one that came first, when it is alone or still the first.
    first: Option<(WaiterId, T)>,
    /// All others, sorted by number; allocated for the second waiter.
    rest: Option<Box<VecDeque<(WaiterId, T)>>>,
    /// The number of the next one to join.
    next: u64,
}

impl<T> Waiters<T> {
    pub(crate) const fn new() -> Self {
        Self {
            first: None,
            rest: None,
            next: 0,
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.first.is_none() && self.rest.as_ref().is_none_or(|rest| rest.is_empty())
    }

    /// Joins at the end of the line.
    pub(crate) fn join(&mut self, waiter: T) -> WaiterId {
        let id = WaiterId(self.next);
        self.next += 1;
        if self.is_empty() {
            self.first = Some((id, waiter));
        } else {
            self.rest.get_or_insert_default().push_back((id, waiter));
        }
        id
    }

    /// The waiter of this number, while it is in line.
    pub(crate) fn get_mut(&mut self, id: WaiterId) -> Option<&mut T> {
        match &mut self.first {
            Some((first, waiter)) if *first == id => Some(waiter),
            _ => {
                let rest = self.rest.as_mut()?;
                let position = rest.binary_search_by_key(&id, |(id, _)| *id).ok()?;
                Some(&mut rest[position].1)
            }
        }
    }

    /// Leaves the line; the caller drops the waiter with no borrow held.
    pub(crate) fn leave(&mut self, id: WaiterId) -> Option<T> {
        match &self.first {
            Some((first, _)) if *first == id => self.first.take().map(|(_, waiter)| waiter),
            _ => {
                let rest = self.rest.as_mut()?;
                let position = rest.binary_search_by_key(&id, |(id, _)| *id).ok()?;
                rest.remove(position).map(|(_, waiter)| waiter)
            }
        }
    }

    /// Takes the first waiter that `is_it` out of the line.
    pub(crate) fn remove_first(&mut self, is_it: impl Fn(&T) -> bool) -> Option<T> {
        if let Some((id, waiter)) = &self.first
            && is_it(waiter)
        {
            return self.leave(*id);
        }
        let position = self
            .rest
            .as_ref()?
            .iter()
            .position(|(_, waiter)| is_it(waiter))?;
        self.rest
            .as_mut()?
            .remove(position)
            .map(|(_, waiter)| waiter)
    }

    /// Empties the line into `out`, in order.
    pub(crate) fn take_all(&mut self, out: &mut Vec<T>) {
        out.extend(self.first.take().map(|(_, waiter)| waiter));
        if let Some(rest) = &mut self.rest {
            out.extend(rest.drain(..).map(|(_, waiter)| waiter));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waiters_come_out_in_the_order_they_joined_without_those_who_left() {
        let mut waiters = Waiters::new();
        let ids: Vec<_> = (0..5).map(|n| waiters.join(n)).collect();
        assert_eq!(waiters.leave(ids[0]), Some(0));
        assert_eq!(waiters.leave(ids[3]), Some(3));
        assert_eq!(waiters.leave(ids[3]), None);
        assert_eq!(waiters.get_mut(ids[2]), Some(&mut 2));
        let mut out = Vec::new();
        waiters.take_all(&mut out);
        assert_eq!(out, [1, 2, 4]);
        assert!(waiters.is_empty());
        let again = waiters.join(9);
        assert_eq!(waiters.get_mut(ids[2]), None);
        assert_eq!(waiters.leave(again), Some(9));
    }

    #[test]
    fn one_who_joins_while_the_first_place_is_free_but_others_wait_goes_to_the_end() {
        let mut waiters = Waiters::new();
        let first = waiters.join("a");
        waiters.join("b");
        waiters.leave(first);
        waiters.join("c");
        let mut out = Vec::new();
        waiters.take_all(&mut out);
        assert_eq!(out, ["b", "c"]);
    }
}
