//! Cancel scopes: how a request finds what it is meant for, waits for the answers, and tears down from the inside out.
//!
//! A task in which nothing stands in the way of a cancellation is cancelled by dropping its future. What can stand in the
//! way is a *node*: a scope that wants to clean up ([`catch_cancelled`]), has children to end (groups, `gather`) or a
//! deadline (`timeout`), and a pending await of a task or future, which is to be cancelled first. The nodes of one task
//! form a tree, a node's parent is the node in whose poll it is polled; branches of a `join!` are siblings, so that "the
//! innermost scope" is a set.
//!
//! ```text
//!   cancel(task) ── REQUESTED ──► next poll: deliver(root) ──► the innermost voters are asked, and woken
//!                                                                  │ polled: they act
//!   root falls ◄── conclude, upwards ◄── vote ◄────────────────────┘ or not polled: they abstain
//! ```
//!
//! A request has an origin `x`: the task, a region whose time is over, a group one of whose children failed, or what is
//! nearest around a raise. Everything below `x` answers before `x` does: `Pass` (cancelled), `Keep` (handled, go on) or
//! `Abstain` (I am not in the way). One Pass outweighs any Keep; where all abstain, the way is free. When `x` falls, what
//! is below it is forgotten, so that dropping it says nothing any more, and then dropped.
//!
//! # State × event
//! | state | event | result |
//! |---|---|---|
//! | `Idle` | asked | `Asked`, due by the end of its task's next poll |
//! | `Asked` | polled | acts, see the next table, before its inside is polled |
//! | `Asked`, or `Taken` and done, polled with the task's waker | the poll in which it was due has ended without it | `Parked`, Abstain |
//! | the same, with a waker of its own | a poll has ended and the task is not queued again, or 1,024 in which nobody acted | `Parked`, Abstain |
//! | `Taken` | what it waits for ends | due by the end of the next poll |
//! | `Parked` | polled | `Idle`: the request has passed it by; `Asked`, where what is inside was cancelled and stays pending |
//! | any that owes an answer | dropped | erased with all below it, Pass: a request is never lost with its holder |
//! | `Taken` | a new request from above | `Asked` again; a catch whose clean-up runs is erased, its token stale |
//! | `Passed` | anything | pending until dropped |
//! | any that owes an answer | ends by itself | its handled catches go to the parent with their debts; if asked, acted, told to fall or passed: Pass (an await: Keep), else Abstain |
//! | any that owes none | ends by itself, or is dropped | erased, with a request of its own |
//! | any | polled below another parent | Abstain there, `Idle` here, with all below it; requests of their own begin anew |
//!
//! | kind | acts when `Asked` | then |
//! |---|---|---|
//! | `Catch` | falls, gives its token, `Taken` | `resume()`: `Passed`, Pass; token dropped: Keep |
//! | `Await` of a task | ended already: `Passed`, Pass, the result stays; else `Taken`, the task is asked unless it is being cancelled | the task ended cancelled: `Passed`, Pass; otherwise ready, Keep |
//! | `Await` of a future | cancels it: `Passed`, Pass | |
//! | `Group` | its body falls, its children are cancelled once, `Taken` | last child ended: errors are given, Pass; none: `Passed`, Pass |
//! | `Gather` | cancels its children, `Taken`; asked again, cancels them again | last child ended: `Passed`, Pass |
//!
//! | all below have answered | somebody passed, or nobody kept on | else |
//! |---|---|---|
//! | `Root` | falls: the task ends cancelled | the request is over |
//! | `Region`, its own request | falls: its error; or, where it owes an answer, `Passed`, Pass | over, what is inside goes on; Keep |
//! | `Region`, another's | Pass if somebody passed, else Abstain | Keep |
//! | `Catch`, `Group`, `Gather` | asked | Keep |
//!
//! A scope's own request is kept until it is answered, also where the scope is not polled meanwhile or its task has
//! ended: see [`detached`].
//!
//! Who was not polled in the task's newest poll, though it is polled with the task's own waker, has been set aside, with
//! all below it: a request finds it `Parked`. In the poll that finds out about the others, waits that would give the
//! task something stay pending until everybody who was asked was polled, or the poll is over.
//!
//! Before anything falls, voters that have opened below it since the asking are asked; sixteen times at most, so that who
//! handles each request and waits anew cannot put off for ever what others have passed.
//!
//! # Who may touch what
//! [`tree`] links nodes and knows no rules; [`request`], [`detached`] and [`lifecycle`] are the rules, in terms of nodes alone: they run
//! under the borrow of the tree, run nobody's code and leave what is to be done in `Effects`. [`delivery`] borrows, and
//! does what is left. Futures hold a [`scope`]; only the await of a task has its key in that task's header instead, or no
//! node at all ([`awaits`]). A node is named by index and generation, so a key that is held too long names nothing.
//!
//! # Deviations from asyncio
//! - A request is asked and answered, not thrown: so several scopes of one task can clean up side by side, and one that
//!   is set aside, leaked or never polled again holds nobody up.
//! - A task's request reaches the innermost scopes only; what is around them waits for their answers.
//! - Tasks that wait for one another in a circle are found when all of them have been asked to end, and one of the awaits
//!   gives an error ([`cycles`]); in asyncio it is `cancel()` that raises a `RecursionError`, and nobody ends.
//! - An await that was polled by another runtime's waker, or through a combinator with wakers of its own, and then set
//!   aside, is known to be so only after another poll. Our own waits give nothing away in that poll; another
//!   library's channel may.
//!
//! [`catch_cancelled`]: crate::catch_cancelled

pub(crate) mod awaits;
mod cycles;
pub(crate) mod delivery;
pub(crate) mod detached;
pub(crate) mod lifecycle;
pub(crate) mod node;
pub(crate) mod request;
pub(crate) mod scope;
pub(crate) mod token;
pub(crate) mod tree;
