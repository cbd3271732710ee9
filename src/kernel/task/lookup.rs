//! From keys and identities to the tasks of a loop, and back.

use crate::kernel::loop_state::LoopState;
use crate::kernel::task::any_task::AnyTask;
use crate::kernel::task::header::Header;
use crate::kernel::task::key::{Identity, Key, ROOT_SLOT};

impl LoopState {
    /// Returns the task of a key of this loop, if it is unfinished. The key of an ended task may have become another
    /// task's: use [`find_task`](Self::find_task) for a task that was remembered for long.
    pub(crate) fn task(&self, key: Key) -> Option<AnyTask> {
        if key.slot() == ROOT_SLOT {
            if key.generation() != self.root.generation.get() {
                return None;
            }
            return self.root.task.borrow().clone();
        }
        self.queues(|queues| queues.tasks.get(key).cloned())
    }

    /// Returns whether the unfinished task of this key is asked to end, by a request that was not delivered yet.
    #[inline]
    pub(crate) fn is_requested(&self, key: Key) -> bool {
        if key.slot() == ROOT_SLOT {
            return self
                .task(key)
                .is_some_and(|task| task.header().state.is_requested());
        }
        self.queues(|queues| {
            let task = queues.tasks.get(key);
            task.is_some_and(|task| task.header().state.is_requested())
        })
    }

    /// Returns a task of this loop by its identity, if it is unfinished.
    pub(crate) fn find_task(&self, identity: Identity) -> Option<AnyTask> {
        let task = self.task(identity.key)?;
        (task.header().serial.get() == identity.serial).then_some(task)
    }

    /// Returns the identity of a task of this loop, also after its end.
    #[inline]
    pub(crate) fn identity_of(&self, header: &Header) -> Identity {
        Identity {
            key: self.key_of(header),
            serial: header.serial.get(),
        }
    }

    /// Returns the key of a task of this loop, also after its end.
    #[inline]
    pub(crate) fn key_of(&self, header: &Header) -> Key {
        let generation = (header.serial.get() as u16).wrapping_add(self.generation_offset);
        Key::new(self.id, generation, header.slot.get())
    }

    /// Returns the key of the root of the current run.
    pub(crate) fn root_key(&self) -> Key {
        Key::new(self.id, self.root.generation.get(), ROOT_SLOT)
    }
}
