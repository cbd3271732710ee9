//! A list of waiters in order of arrival.
//!
//! A waiter is named by the number that it gets when it joins. The first waiter is stored in the struct itself: most
//! things are awaited by one task, and that must not allocate. The others are in a [`Numbered`] queue, which any of them
//! may leave at any time. The methods that every hand-over calls are inlined, so that a waiter is written to its slot
//! from registers.

use crate::kernel::wait::numbered::Numbered;

/// The number of a waiter in its list.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct WaiterId(u64);

impl WaiterId {
    /// The number of no waiter: no list gets so far.
    pub(crate) const NONE: Self = Self(u64::MAX);
}

/// A FIFO of waiters. Each is a `T`: a waker, a callback, or either.
pub(crate) struct Waiters<T> {
    /// The first waiter, unless it has left while others wait.
    first: Option<(WaiterId, T)>,
    /// All others; allocated for the second waiter. An empty list of waiters is part of every idle connection, so this
    /// is one word.
    rest: Option<Box<Numbered<T>>>,
    /// The number of the next waiter.
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

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.first.is_none() && self.rest.as_ref().is_none_or(|rest| rest.is_empty())
    }

    #[inline]
    pub(crate) fn len(&self) -> usize {
        usize::from(self.first.is_some()) + self.rest.as_ref().map_or(0, |rest| rest.len())
    }

    /// Returns the number that the next waiter will get. Every present waiter has a lower one.
    pub(crate) fn end(&self) -> WaiterId {
        WaiterId(self.next)
    }

    /// Joins at the end.
    #[inline]
    pub(crate) fn join(&mut self, waiter: T) -> WaiterId {
        let id = WaiterId(self.next);
        self.next += 1;
        if self.is_empty() {
            self.first = Some((id, waiter));
        } else {
            self.rest.get_or_insert_default().push(id.0, waiter);
        }
        id
    }

    /// Sets the number of the next waiter, for an owner that numbers waiters itself; it must not be one that was given
    /// before, or lower.
    #[inline]
    pub(crate) fn number_from(&mut self, next: u64) {
        self.next = next;
    }

    /// Stores the newest `waiter` of a future: it replaces the waiter `id` if that still waits, and otherwise joins at
    /// the end and sets `id`. Returns the replaced waiter, for the caller to drop with nothing borrowed.
    #[inline]
    pub(crate) fn wait(&mut self, id: &mut Option<WaiterId>, waiter: T) -> Option<T> {
        match id.and_then(|id| self.get_mut(id)) {
            Some(place) => Some(std::mem::replace(place, waiter)),
            None => {
                *id = Some(self.join(waiter));
                None
            }
        }
    }

    /// Returns the waiter of this number, if it still waits.
    #[inline]
    pub(crate) fn get_mut(&mut self, id: WaiterId) -> Option<&mut T> {
        match &mut self.first {
            Some((first, waiter)) if *first == id => Some(waiter),
            _ => self.rest.as_mut()?.get_mut(id.0),
        }
    }

    /// Returns whether the waiter of this number still waits.
    #[inline]
    pub(crate) fn contains(&self, id: WaiterId) -> bool {
        match &self.first {
            Some((first, _)) if *first == id => true,
            _ => self.rest.as_ref().is_some_and(|rest| rest.contains(id.0)),
        }
    }

    /// Returns how many wait before the waiter of this number, if it still waits.
    #[inline]
    pub(crate) fn position(&mut self, id: WaiterId) -> Option<usize> {
        match &self.first {
            Some((first, _)) if *first == id => Some(0),
            first => {
                let position = self.rest.as_mut()?.position(id.0)?;
                Some(position + usize::from(first.is_some()))
            }
        }
    }

    /// Returns the waiter with `position` others before it.
    #[inline]
    pub(crate) fn at_mut(&mut self, position: usize) -> Option<&mut T> {
        let before = usize::from(self.first.is_some());
        match position.checked_sub(before) {
            None => self.first.as_mut().map(|(_, waiter)| waiter),
            Some(position) => self.rest.as_mut()?.at_mut(position),
        }
    }

    /// Returns the first waiter and its number.
    #[inline]
    pub(crate) fn first(&self) -> Option<(WaiterId, &T)> {
        match &self.first {
            Some((id, waiter)) => Some((*id, waiter)),
            None => {
                let (number, waiter) = self.rest.as_ref()?.first()?;
                Some((WaiterId(number), waiter))
            }
        }
    }

    /// Returns the numbers of all waiters, in order.
    pub(crate) fn ids(&self) -> impl Iterator<Item = WaiterId> {
        let rest = self.rest.iter().flat_map(|rest| rest.iter());
        let rest = rest.map(|(number, _)| WaiterId(number));
        self.first.iter().map(|(id, _)| *id).chain(rest)
    }

    /// Returns all waiters, in order.
    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut T> {
        let rest = self.rest.iter_mut().flat_map(|rest| rest.iter_mut());
        self.first.iter_mut().map(|(_, waiter)| waiter).chain(rest)
    }

    /// Removes the first waiter.
    #[inline]
    pub(crate) fn take_first(&mut self) -> Option<T> {
        if let Some((_, waiter)) = self.first.take() {
            return Some(waiter);
        }
        self.rest.as_mut()?.pop_first()
    }

    /// Removes the first waiter if its number is below `end`.
    #[inline]
    pub(crate) fn take_first_before(&mut self, end: WaiterId) -> Option<T> {
        match &self.first {
            Some((id, _)) if *id >= end => None,
            Some(_) => self.first.take().map(|(_, waiter)| waiter),
            None => {
                let rest = self.rest.as_mut()?;
                rest.first().filter(|(number, _)| *number < end.0)?;
                rest.pop_first()
            }
        }
    }

    /// Removes the waiter of this number. The caller drops it with nothing borrowed.
    #[inline]
    pub(crate) fn leave(&mut self, id: WaiterId) -> Option<T> {
        match &self.first {
            Some((first, _)) if *first == id => self.first.take().map(|(_, waiter)| waiter),
            _ => self.rest.as_mut()?.remove(id.0),
        }
    }

    /// Removes the waiter that its owner has [numbered](Self::number_from) so.
    pub(crate) fn leave_number(&mut self, number: u64) -> Option<T> {
        self.leave(WaiterId(number))
    }

    /// Moves all waiters to `out`, in order.
    pub(crate) fn take_all(&mut self, out: &mut Vec<T>) {
        out.extend(self.first.take().map(|(_, waiter)| waiter));
        if let Some(rest) = &mut self.rest {
            rest.take_all(out);
        }
    }
}

impl<T> Default for Waiters<T> {
    fn default() -> Self {
        Self::new()
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

    #[test]
    fn positions_count_those_before_whether_the_first_place_is_taken_or_free() {
        let mut waiters = Waiters::new();
        let ids: Vec<_> = (0..4).map(|n| waiters.join(n)).collect();
        for left in 0..4 {
            assert_eq!(waiters.len(), 4 - left);
            assert!(waiters.ids().eq(ids[left..].iter().copied()));
            assert_eq!(waiters.first(), Some((ids[left], &left)));
            for (position, &id) in ids[left..].iter().enumerate() {
                assert_eq!(waiters.position(id), Some(position));
                assert_eq!(waiters.at_mut(position), Some(&mut (left + position)));
            }
            assert_eq!(waiters.at_mut(4 - left), None);
            assert_eq!(waiters.take_first(), Some(left));
            assert_eq!(waiters.position(ids[left]), None);
        }
        assert!(waiters.first().is_none() && waiters.take_first().is_none());
        assert_eq!(waiters.at_mut(0), None);
        assert!(ids.iter().all(|id| *id < waiters.end()));
    }
}
