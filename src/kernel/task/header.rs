//! Reading and changing a header's cold fields: requests to end the task, its awaiter's node, its drop panic and its
//! name.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::error::Cancellation;
use crate::kernel::cancel::node::NodeKey;
use crate::kernel::report::drop_quietly;
use crate::kernel::task::cell::Header;
use crate::kernel::task::key::Key;

impl Header {
    /// Keeps a drop panic for the report; only the first, if there are several.
    pub(crate) fn note_drop_panic(&self, payload: Box<dyn Any + Send>) {
        let second = self.with_cold(|cold| match cold.drop_panic {
            None => {
                cold.drop_panic = Some(payload);
                None
            }
            Some(_) => Some(payload),
        });
        drop_quietly(second);
    }

    /// Drops user values by `discard`, and keeps a drop panic for the report. It takes a `dyn`, so it is compiled once
    /// for all types.
    pub(crate) fn note_drop(&self, discard: &mut dyn FnMut()) {
        if let Err(payload) = catch_unwind(AssertUnwindSafe(discard)) {
            self.note_drop_panic(payload);
        }
    }

    /// Notes the newest request; `false` if the task has ended.
    #[must_use]
    pub(crate) fn request_cancel(&self, request: Cancellation) -> bool {
        if !self.state.request_cancel() {
            return false;
        }
        let replaced = self.with_cold(|cold| {
            cold.requests = cold.requests.saturating_add(1);
            cold.cancelled.replace(request)
        });
        drop(replaced);
        true
    }

    /// Takes the request that is to be delivered; an empty one if only the loop's close ends the task.
    pub(crate) fn take_request(&self) -> Cancellation {
        let request = self.peek_cold(|cold| cold.cancelled.take()).flatten();
        request.unwrap_or_default()
    }

    /// Takes one request back and returns how many are left. If none is left and the request was not delivered yet, it
    /// is forgotten.
    pub(crate) fn take_back_request(&self) -> u32 {
        let left = self.peek_cold(|cold| {
            cold.requests = cold.requests.saturating_sub(1);
            cold.requests
        });
        let left = left.unwrap_or(0);
        if left == 0 && self.state.take_request() {
            drop(self.peek_cold(|cold| cold.cancelled.take()));
        }
        left
    }

    /// Returns how many requests were not taken back.
    pub(crate) fn requests(&self) -> u32 {
        self.peek_cold(|cold| cold.requests).unwrap_or(0)
    }

    /// Returns the node of this task's await, if there is one.
    pub(crate) fn node(&self) -> NodeKey {
        if !self.state.is_scoped() {
            return NodeKey::NONE;
        }
        let node = self.peek_cold(|cold| cold.node).flatten();
        node.unwrap_or(NodeKey::NONE)
    }

    /// Sets the node of this task's await, or notes that there is none any more.
    pub(crate) fn set_node(&self, node: NodeKey) {
        let scoped = node != NodeKey::NONE;
        if scoped || self.state.is_scoped() {
            self.state.note_scoped(scoped);
            self.with_cold(|cold| cold.node = scoped.then_some(node));
        }
    }

    /// Returns whether `task` awaits this one without a node.
    pub(crate) fn is_plainly_awaited_by(&self, task: Key) -> bool {
        self.state.is_plainly_pending()
            && !self.state.is_abandoned()
            && self.waiter_slot.get() == task.slot()
            && self.waiter_generation.get() == task.generation()
    }

    /// Returns the name, or `Task-<n>`.
    pub(crate) fn name(&self) -> String {
        let name = self.peek_cold(|cold| cold.name.clone()).flatten();
        name.map_or_else(
            || format!("Task-{}", self.serial.get()),
            |name| name.to_string(),
        )
    }
}
