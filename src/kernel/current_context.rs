//! The current context of a loop: reading, copying and replacing it. And the context of a thread outside its loops.
//!
//! A loop has one cell for it. `None` is a context without values that was not needed yet. In a loop that is not
//! instrumented every context is `None`, so a copy costs one test.
//!
//! A thread has a context of its own while it runs no loop: code outside loops sets variables there, and a job of
//! `to_thread` has its values there. Work that is given to a loop between its runs gets a copy, and so does the future of
//! `run_until_complete`. A thread knows its loops, so that it can instrument them when its context gets its first value.

use std::cell::RefCell;
use std::rc::{Rc, Weak};

use crate::kernel::context::Context;
use crate::kernel::loop_state::{LoopState, Phase};
use crate::kernel::task::key::Key;

impl LoopState {
    /// Returns the current context, if a variable was ever set in it.
    pub(crate) fn peek_context(&self) -> Option<Context> {
        if !self.instrumented.get() {
            return None;
        }
        self.peek_instrumented()
    }

    /// Split from [`peek_context`](Self::peek_context), so that the plain path of all that hands contexts on stays short.
    #[inline(never)]
    fn peek_instrumented(&self) -> Option<Context> {
        let context = self.context.take();
        self.context.set(context.clone());
        match self.phase.get() {
            Phase::Idle => context.or_else(thread_context),
            _ => context,
        }
    }

    /// Returns a copy of the current context, for work that is made now and runs later. Inlined, it would cost the plain
    /// path of `call_soon` two saved registers.
    #[inline(never)]
    pub(crate) fn copy_context(&self) -> Option<Context> {
        self.peek_context().map(|context| context.copy())
    }

    /// Returns the current context, made if there is none yet. From now on the loop is instrumented.
    pub(crate) fn context_for_writing(&self) -> Context {
        self.instrumented.set(true);
        if let Some(context) = self.context.take() {
            self.context.set(Some(context.clone()));
            return context;
        }
        let context = Context::new();
        self.context.set(Some(context.clone()));
        // The task that makes its context in a step can be asked for it in the same step.
        let key = self.current_task.get();
        if let Some(task) = (key != Key::NONE).then(|| self.task(key)).flatten() {
            let own = Some(context.clone());
            let former = task
                .header()
                .with_cold(|cold| std::mem::replace(&mut cold.context, own));
            drop(former);
        }
        context
    }

    /// Makes a context the current one. Returns the former, for the caller to drop with nothing borrowed.
    pub(crate) fn swap_context(&self, context: Option<Context>) -> Option<Context> {
        if context.is_some() {
            self.instrumented.set(true);
        }
        self.context.replace(context)
    }
}

thread_local! {
    /// The context of this thread outside its loops; made when it is first entered or set.
    static THREAD_CONTEXT: RefCell<Option<Context>> = const { RefCell::new(None) };

    /// The open loops of this thread.
    static LOOPS: RefCell<Vec<Weak<LoopState>>> = const { RefCell::new(Vec::new()) };
}

/// Returns the thread's context. `None` is an empty one, also for a thread that is ending.
pub(crate) fn thread_context() -> Option<Context> {
    let context = THREAD_CONTEXT.try_with(|context| context.borrow().clone());
    context.ok().flatten().filter(|context| !context.is_empty())
}

/// Returns the thread's context, made if there is none yet.
pub(crate) fn thread_context_for_writing() -> Context {
    let context = THREAD_CONTEXT.try_with(|context| {
        let mut context = context.borrow_mut();
        context.get_or_insert_default().clone()
    });
    instrument_loops();
    // A thread that is ending keeps nothing.
    context.unwrap_or_default()
}

/// Makes a context the thread's own. Returns the former, for the caller to drop with nothing borrowed.
pub(crate) fn swap_thread_context(context: Option<Context>) -> Option<Context> {
    if context.is_some() {
        instrument_loops();
    }
    let mut context = context;
    let swapped = THREAD_CONTEXT.try_with(|current| {
        std::mem::swap(&mut *current.borrow_mut(), &mut context);
    });
    match swapped {
        Ok(()) => context,
        // A thread that is ending has none.
        Err(_) => None,
    }
}

/// Has every loop of this thread hand its contexts on.
fn instrument_loops() {
    let loops = LOOPS.try_with(|loops| {
        let loops = loops.borrow();
        loops.iter().filter_map(Weak::upgrade).collect::<Vec<_>>()
    });
    for state in loops.unwrap_or_default() {
        state.instrumented.set(true);
    }
}

/// Notes a new loop of this thread.
pub(crate) fn open_to_thread_context(state: &Rc<LoopState>) {
    // A thread that is ending has no context that the loop could hand on.
    let _ = LOOPS.try_with(|loops| loops.borrow_mut().push(Rc::downgrade(state)));
    if thread_context().is_some() {
        state.instrumented.set(true);
    }
}

/// Forgets a loop that is closed.
pub(crate) fn close_to_thread_context(state: &Rc<LoopState>) {
    let _ = LOOPS.try_with(|loops| {
        let closed = Rc::as_ptr(state);
        loops.borrow_mut().retain(|open| open.as_ptr() != closed);
    });
}
