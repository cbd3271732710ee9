//! What `net` and `transport` share: sockets, names and addresses below async methods and below callbacks.
//!
//! Everything that both layers do with a socket is here once, so that both behave alike. `net` adds async methods, and
//! `transport` adds callbacks.
//!
//! | question | answer | file |
//! |---|---|---|
//! | Why does no call block, and why does no write raise SIGPIPE? | a flag with each call, or the mode, right before | `nonblocking` |
//! | What happens when `accept` fails? | the next client, or a pause of one second | `accept_error`, `accept` |
//! | What is a connection, of whatever kind? | `StreamSocket`: TCP, Unix or a pipe | `stream_socket` |
//! | How is a connection attempt made? | `start`, then `finish` when the socket is writable | `connect` |
//! | What if a Unix server's backlog is full? | tries after 1, 2, 4 … 64 ms | `connect`, `backoff` |
//! | In which order are several addresses tried? | RFC 8305 | `happy_eyeballs`, `connector` |
//! | Who looks a name up? | a thread pool of the loop's own | `resolver`, `dns` |
//!
//! Nothing here knows tasks or protocols. The module is private; its public types appear in `net` and in `transport`.

pub(crate) mod accept;
mod accept_error;
pub(crate) mod acceptor;
pub(crate) mod addr_info;
pub(crate) mod address;
pub(crate) mod backoff;
pub(crate) mod bind_error;
pub(crate) mod connect;
pub(crate) mod connect_error;
pub(crate) mod connect_to;
pub(crate) mod connector;
pub(crate) mod dns;
pub(crate) mod gai_error;
pub(crate) mod happy_eyeballs;
mod hosts_file;
pub(crate) mod listen_on;
pub(crate) mod lookup_error;
pub(crate) mod nonblocking;
pub(crate) mod pipe_end;
mod resolver;
pub(crate) mod send_error;
mod shared_mode;
pub(crate) mod socket_file;
pub(crate) mod stream_socket;
