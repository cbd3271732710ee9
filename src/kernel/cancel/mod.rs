//! Cancel scopes: how a request to cancel is asked and answered, and how a task is torn down from the inside out.
//!
//! A task without scopes is cancelled by dropping its future. A *node* makes a request wait: a scope that may want to
//! clean up ([`catch_cancelled`]), that has children to end (groups, `gather`) or a deadline (`timeout`), or a pending
//! await of a task or future, which is cancelled first. The nodes of one task form a tree. A node's parent is the node
//! in whose poll it is polled, so the branches of a `join!` are siblings, and "the innermost scope" is a set of nodes.
//!
//! ```text
//!   cancel(task) ── REQUESTED ──► next poll: deliver(root) ──► the innermost voters are asked, and woken
//!                                                                  │ polled: they act
//!   root is torn down ◄── conclude, upwards ◄── vote ◄─────────────┘ or not polled: they abstain
//! ```
//!
//! # Words
//! A request has an *origin* `x`: the root (of a task's request), a region whose time is over, a group of which a child
//! has failed, or the nearest scope around a raise. Every node below `x` answers before `x` decides.
//!
//! | word | meaning | in [`request`] |
//! |---|---|---|
//! | *ask* | a node is to act at its next poll; it and its task are woken | `ask` |
//! | *voter* | a node that acts and votes by itself: a catch, group, gather or await; the others forward votes | `Kind::is_voter` |
//! | *due* | the node has to act, or is to be torn down, by the end of its task's next poll, or of the poll that is just beginning | `make_due` |
//! | *act* | the node does what the request means for it: cancel its children, drop its inner future | |
//! | *vote* | the node answers its parent, in one of three ways | `vote` |
//! | *pass* | I am cancelled: the request goes on upwards | `Vote::Pass` |
//! | *keep* | I have handled it: the code around me goes on | `Vote::Keep` |
//! | *abstain* | it does not concern me | `Vote::Abstain` |
//! | *conclude* | a node whose children have all voted decides: asked itself, voting itself, or torn down | `conclude` |
//! | *tear down* | everything below a node is erased from the tree, so that dropping it votes no more, and then dropped | |
//! | *raise* | a node passes although it was not asked: a new request to the nearest scope around it | `raise` |
//!
//! One Pass outweighs any Keep. If all abstain, nothing is in the way of the request, as if all had passed.
//!
//! # One request, step by step
//! A task `T` awaits `gather([a, b])`, and both children sleep. `T`'s tree is `Root → Gather`; the children have no
//! scopes, hence no tree. Then `T.cancel()` is called.
//!
//! | step | where | what happens |
//! |---|---|---|
//! | 1 | `TaskRef::request` (`task/reference`) | `Header::request_cancel` sets REQUESTED and stores the request; `wake_key` queues `T` |
//! | 2 | `TaskCell::step` (`task/cell`) | `State::begin` returns `Deliver`, so `Scheduler::begin_with_request` runs before the poll |
//! | 3 | `begin_request` ([`delivery`]) | takes the request, finds `T`'s tree, sets IN_FLIGHT, calls `Tree::deliver_at_start` |
//! | 4 | `Tree::deliver` ([`request`]) | `restart_below` lists `Gather`; `count`: it owes a vote, `Root` waits for 1; `ask`: `Gather` is `Asked`, due in this poll |
//! | 5 | `Gather::poll_children` (`combine/gather`) | `Scope::enter`, `is_asked`, `Scope::take`: `Taken`; `ChildCount::cancel` calls `cancel_child` for `a` and `b`; pending |
//! | 6 | `settle_request` ([`delivery`]) | the poll is over, no node is due: `root_ends` says no, IN_FLIGHT is cleared, `T` sleeps |
//! | 7 | `TaskCell::step` of `a`, then of `b` | no tree to ask: `begin_request` returns the request, `end_cancelled` drops the future |
//! | 8 | `ChildCount::child_ended` (`combine/child_count`) | the last child has ended: `await_ended`, `Tree::work_done`: `Gather` is due, `T` is IN_FLIGHT and queued |
//! | 9 | `Gather::poll_children` again | `Taken` and no child is left: `Scope::pass`, `Tree::pass`: `Passed`, and it votes Pass |
//! | 10 | `Tree::take_vote`, `answer`, `conclude` ([`request`]) | `Root` waits for nothing more and one has passed: `tear_down` is set |
//! | 11 | `settle_request`, `end_if_decided`, `Tree::root_ends` | `may_tear_down` finds no voter that was not asked: `LoopState::tear_down` erases the tree |
//! | 12 | `TaskCell::end_cancelled` | drops `T`'s future, stores `Err(Cancelled)`; `turn::finish` wakes the awaiter of `T` |
//!
//! With a `catch_cancelled` around the gather, step 10 is `conclude(Catch)`, which asks the catch; its clean-up decides
//! whether it passes. With a `catch_cancelled` in `a`, step 7 asks that one, and `a` ends when its clean-up has.
//!
//! # State × event
//! | state | event | result |
//! |---|---|---|
//! | `Idle` | asked | `Asked`, due by the end of its task's next poll |
//! | `Asked` | polled | acts, see the next table, before its inner future is polled |
//! | `Asked`, or `Taken` and done, polled with the task's waker | the poll in which it was due has ended without it | `Parked`, Abstain |
//! | the same; it has a waker of its own | a poll has ended and the task is not queued again, or 1,024 in which no asked node was polled | `Parked`, Abstain |
//! | `Taken` | what it waits for ends | due by the end of the next poll |
//! | `Parked` | polled | `Idle`: the request does not concern it; `Asked`, if its inner future was cancelled and stays pending |
//! | any that owes a vote | dropped | erased with all below it, Pass: a request is never lost with its holder |
//! | `Taken` | a new request from above | `Asked` again; a catch whose clean-up runs is erased, its token stale |
//! | `Passed` | anything | pending until dropped |
//! | any that owes a vote | ends by itself | catches below it whose clean-up runs move to its parent, with the votes that they owe. It votes Pass (an await: Keep) if it is `Asked` or `Taken`, is to be torn down, or a node below it has passed; else Abstain |
//! | any that owes none | ends by itself, or is dropped | erased, with a request of its own |
//! | any | polled below another parent | Abstain there, `Idle` here, with all below it; requests of their own begin anew |
//!
//! | kind | acts when `Asked` | then |
//! |---|---|---|
//! | `Catch` | tears down its inner future, returns its token, `Taken` | `resume()`: `Passed`, Pass; token dropped: Keep |
//! | `Await` of a task | ended already: `Passed`, Pass, the result stays; else `Taken`, the task is asked unless it is being cancelled | the task ended cancelled: `Passed`, Pass; otherwise ready, Keep |
//! | `Await` of a future | cancels it: `Passed`, Pass | |
//! | `Group` | tears down its body, cancels its children once, `Taken` | last child ended: returns errors, Pass; without errors: `Passed`, Pass |
//! | `Gather` | cancels its children, `Taken`; asked again, cancels them again | last child ended: `Passed`, Pass |
//!
//! | all below have voted | one passed, or none kept | else |
//! |---|---|---|
//! | `Root` | torn down: the task ends cancelled | the request is over |
//! | `Region`, its own request | torn down: its error; or, if it owes a vote, `Passed`, Pass | over, the inner future goes on; Keep |
//! | `Region`, another's | Pass if one passed, else Abstain | Keep |
//! | `Catch`, `Group`, `Gather` | asked | Keep |
//!
//! A scope's own request is kept until it is answered, also if the scope is not polled meanwhile or its task has ended:
//! see [`detached`].
//!
//! A node that was polled with the task's own waker, but not in the task's newest poll, was set aside with all below
//! it: a request makes it `Parked` and does not wait for it. While a poll finds out which other nodes are still wanted,
//! waits that could end stay pending until every asked node was polled or the poll is over.
//!
//! Before a node is torn down, voters that were opened below it since the asking are asked too. This is repeated at
//! most sixteen times: code that handles each request and then waits anew cannot put off for ever what others have
//! passed.
//!
//! # Who may touch what
//! [`tree`] links nodes and knows no rules. [`request`], [`detached`] and [`lifecycle`] are the rules, in terms of
//! nodes alone: they run under the borrow of the tree, run no user code, and leave the work for afterwards in
//! `Effects`. [`delivery`] borrows the tree and then does that work. A future holds its node as a [`scope`]. The await
//! of a task is different: its key is in the awaited task's header, or it has no node at all ([`awaits`]). A node is
//! named by index and generation, so a stale key names nothing.
//!
//! # Deviations from asyncio
//! - A request is asked and answered, not thrown. So several scopes of one task can clean up side by side, and a scope
//!   that is set aside, leaked or never polled again does not block the request.
//! - A task's request reaches the innermost scopes only; the scopes around them wait for their votes.
//! - Tasks that wait for one another in a circle are found when all of them were asked to end, and one of the awaits
//!   returns an error ([`cycles`]). In asyncio `cancel()` raises a `RecursionError`, and no task ends.
//! - An await that was polled by another runtime's waker, or through a combinator with wakers of its own, and then set
//!   aside, is recognised as such only after another poll. Our own waits do not end in that poll; another library's
//!   channel may.
//!
//! [`catch_cancelled`]: crate::catch_cancelled

pub(crate) mod awaits;
mod cycles;
pub(crate) mod delivery;
pub(crate) mod detached;
pub(crate) mod lifecycle;
mod listing;
pub(crate) mod node;
pub(crate) mod request;
pub(crate) mod scope;
pub(crate) mod token;
pub(crate) mod tree;
