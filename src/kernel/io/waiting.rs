//! Which tasks wait for which sources, as far as their wakers are ours.
//!
//! The waker of a poll function stays until the next event, also if its call is not going to be repeated. So a task may
//! be listed that has turned to something else.

use crate::kernel::io::readiness::Direction;
use crate::kernel::loop_state::LoopState;
use crate::kernel::task::key::Key;
use crate::kernel::task::waker::key_of;
use crate::sys::epoll::Descriptor;

impl LoopState {
    /// Lists the tasks that wait for sources, each with the direction and the number of the source.
    pub(crate) fn tasks_waiting_for_sources(&self) -> Vec<(Key, Direction, u64)> {
        let listed = self.reactor(|reactor| {
            let mut listed = Vec::new();
            for (number, readiness) in reactor.each_readiness() {
                readiness.each_waiter(|direction, waker| {
                    listed.extend(key_of(waker).map(|key| (key, direction, number)));
                });
            }
            listed
        });
        listed.unwrap_or_default()
    }

    /// Lists the numbers of all sources.
    pub(crate) fn source_numbers(&self) -> Vec<u64> {
        let numbers = self.reactor(|reactor| reactor.each_readiness().map(|(n, _)| n).collect());
        numbers.unwrap_or_default()
    }

    /// Returns the descriptor of a source by its number, if the source is still there.
    pub(crate) fn descriptor_of(&self, number: u64) -> Option<Descriptor> {
        self.reactor(|reactor| reactor.descriptor_of(number)).ok()?
    }
}
