//! Behaviour, through the public API and on the virtual clock: one binary, whose table of contents this is.
//!
//! Every test runs inside [`support::audited`], which fails it if it leaves a descriptor, a thread or a pending task
//! behind. Tests named after a fault carry its id in front.

mod support;

mod as_completed;
mod callbacks;
mod clocks;
mod contexts;
mod datagram_endpoints;
mod debug_mode;
mod dns;
mod exception_handler;
mod executors;
mod faults_edges;
mod faults_floods;
mod faults_lifecycle;
mod faults_pool;
mod faults_reactor;
mod faults_reentrancy;
mod faults_same_turn;
mod faults_threads;
mod faults_timers;
mod faults_wakers;
mod futures;
mod guest_mode;
mod happy_eyeballs;
mod intervals;
mod lifecycle;
mod misuse;
mod names;
mod pipes;
mod queues;
mod raw_fds;
mod runner;
mod scopes;
mod sendfile;
mod servers;
mod shield;
mod smoke;
mod sock_ops;
mod streams;
mod sync_barrier;
mod sync_condition;
mod sync_drops;
mod sync_event;
mod sync_lock;
mod sync_model;
mod sync_semaphore;
mod tasks;
mod tcp;
mod thread_futures;
mod threads;
mod timers;
mod transport_bulk;
mod transport_faults;
mod transport_flow;
mod transport_order;
mod transport_programs;
mod transport_sendfile;
mod turn_model;
mod udp;
mod unix;
mod wait;
