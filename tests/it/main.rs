//! Behaviour, through the public API and on the virtual clock: one binary, whose table of contents this is.
//!
//! Every test runs inside [`support::audited`], which fails it if it leaves a descriptor, a thread or a pending task
//! behind. Tests named after a fault carry its id in front.

mod support;

mod as_completed;
mod callbacks;
mod clocks;
mod contexts;
mod debug_mode;
mod exception_handler;
mod faults_edges;
mod faults_floods;
mod faults_lifecycle;
mod faults_reactor;
mod faults_reentrancy;
mod faults_same_turn;
mod faults_threads;
mod faults_timers;
mod faults_wakers;
mod futures;
mod gathers;
mod guest_mode;
mod intervals;
mod lifecycle;
mod misuse;
mod queues;
mod scopes;
mod scopes_cases;
mod scopes_cells;
mod scopes_fuzz;
mod shield;
mod smoke;
mod structured_drops;
mod sync_barrier;
mod sync_condition;
mod sync_drops;
mod sync_event;
mod sync_lock;
mod sync_model;
mod sync_semaphore;
mod task_groups;
mod tasks;
mod tcp;
mod threads;
mod timeouts;
mod timers;
mod turn_model;
mod wait;
