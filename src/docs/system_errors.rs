//! What the crate does about each error that the system's calls give according to their pages: accept(2), connect(2),
//! epoll_ctl(2), epoll_wait(2), timerfd_create(2), eventfd(2), pidfd_open(2), recvmsg(2), sendmsg(2) and sendfile(2).
//!
//! The last column names a test that fails if that is not so. The house test checks that each is there. `EBADF`, `EFAULT`,
//! `EINVAL`, `ENOTSOCK` and `ELOOP` are missing where they only say that the caller gave a wrong number: a
//! program that closes a descriptor of this crate's behind its back gets them as errors of the operation, as any other.
//!
//! | call | error | what follows | test |
//! |---|---|---|---|
//! | accept | `EAGAIN`, `EWOULDBLOCK` | The listener waits for an event. | `accept_passes_over_the_errors_of_clients_and_waits_while_resources_are_short` |
//! | accept | `EINTR` | The call is made again. | `accept_passes_over_the_errors_of_clients_and_waits_while_resources_are_short` |
//! | accept | `ECONNABORTED`, `EPROTO`, `EPERM`, `ENETDOWN`, `ENOPROTOOPT`, `EHOSTDOWN`, `ENONET`, `EHOSTUNREACH`, `EOPNOTSUPP`, `ENETUNREACH`, `ETIMEDOUT`, `EPROTONOSUPPORT`, `ESOCKTNOSUPPORT` | One client has failed, and the next is accepted at once. | `errors_that_are_about_one_client_pause_no_listener_and_end_no_accept` |
//! | accept | the same, a hundred times in a row | A report, and a pause of a second. | `a_listener_that_fails_for_every_client_pauses_and_neither_spins_nor_hangs` |
//! | accept | `EMFILE`, `ENFILE`, `ENOBUFS`, `ENOMEM`, `ENOSR` | One report, and a pause of a second. No client is lost. | `l1_a_server_without_descriptors_pauses_for_a_second_and_says_so_once` |
//! | accept | any other | `accept` of `net` returns it; a server pauses for a second. | `accept_passes_over_the_errors_of_clients_and_waits_while_resources_are_short` |
//! | socket | `EMFILE`, `ENFILE`, `ENOBUFS`, `ENOMEM` | The error of connecting. | `connect_gives_each_error_of_its_own_and_goes_on_after_an_interruption` |
//! | connect | `EINPROGRESS` | The attempt goes on. | `e2_a_refused_connect_gives_the_error_and_leaves_nothing` |
//! | connect | `EINTR` | TCP: the attempt goes on. Unix: the call is made again. | `connect_gives_each_error_of_its_own_and_goes_on_after_an_interruption` |
//! | connect | `EAGAIN` | Unix: the backlog is full, and the call is made again after 1 to 64 ms. TCP: the error. | `a_client_waits_while_the_backlog_is_full` |
//! | connect | `EACCES`, `EPERM`, `EADDRNOTAVAIL`, `ECONNREFUSED`, `ENETUNREACH`, `ETIMEDOUT`, and any other | The error, with the place. The next address is tried. | `connect_gives_each_error_of_its_own_and_goes_on_after_an_interruption` |
//! | connect, later | `ECONNREFUSED`, `ETIMEDOUT`, `EHOSTUNREACH`, `ENETUNREACH`, `ECONNRESET` | The same: `SO_ERROR` is read when the socket is writable. | `connect_gives_each_error_of_its_own_and_goes_on_after_an_interruption` |
//! | epoll_ctl | `ENOMEM`, `ENOSPC` | The error of what was to be registered, which is closed. | `connect_gives_each_error_of_its_own_and_goes_on_after_an_interruption` |
//! | epoll_ctl | `EPERM` | A device that never blocks counts as ready; for others the error. | `d5_what_the_poller_refuses_is_an_error_and_leaves_no_entry_and_no_descriptor` |
//! | epoll_ctl | `EEXIST`, `ENOENT` | The number is another file than the one that was registered: the registration is made anew. | `d1_a_reused_descriptor_sees_no_stale_event` |
//! | epoll_wait | `EINTR` | A turn without events, which computes its wait anew. | `a_wait_that_is_interrupted_is_a_turn_without_events` |
//! | epoll_create1 | `EMFILE`, `ENFILE`, `ENOMEM` | The error of building the loop. | `k4_a_loop_that_gets_no_descriptors_is_an_error_and_leaks_nothing` |
//! | timerfd_create | `EMFILE`, `ENFILE`, `ENODEV`, `ENOMEM` | The error of building the loop. | `a_loop_whose_descriptors_cannot_be_made_is_an_error_and_leaves_none` |
//! | timerfd_settime | `ECANCELED` | Not asked for: it belongs to a flag for clocks that are set. | none |
//! | eventfd | `EMFILE`, `ENFILE`, `ENODEV`, `ENOMEM` | The error of building the loop, or of catching a signal. | `a_loop_whose_descriptors_cannot_be_made_is_an_error_and_leaves_none` |
//! | write to the eventfd | `EAGAIN` | The counter is emptied first. | `d8_a_notifier_whose_counter_is_full_still_wakes` |
//! | write to the eventfd | `EINTR` | The call is made again. | `a_notification_that_a_signal_interrupts_is_made_again` |
//! | write to the eventfd | any other | It is said at once, and the next post tries again. | `d8_a_notifier_that_fails_is_reported_and_notified_by_the_next_sender` |
//! | pidfd_open | `EMFILE`, `ENFILE`, `ENODEV`, `ENOMEM`, `EINVAL` | The error of starting the child, which is ended and reaped. | `a_child_whose_descriptor_cannot_be_made_is_an_error_or_watched_by_a_thread` |
//! | pidfd_open | `ESRCH` | Other code has reaped the child: it has ended, and is sent no signal. | `h3_a_child_that_is_gone_before_it_can_be_watched_has_ended_and_is_sent_nothing` |
//! | pidfd_open | `ENOSYS`, and `EPERM` and `EACCES` of a sandbox | A thread waits for the child. | `a_child_whose_descriptor_cannot_be_made_is_an_error_or_watched_by_a_thread` |
//! | recvmsg | `EAGAIN` | The operation waits for an event. | `a_failed_send_or_receive_is_the_error_of_that_operation_alone` |
//! | recvmsg | `EINTR` | The call is made again. | `a_failed_send_or_receive_is_the_error_of_that_operation_alone` |
//! | recvmsg | `ECONNREFUSED` | Datagrams: the error of this one receive, and `error_received` of an endpoint. | `e7_a_port_where_nobody_is_refuses_and_the_socket_stays_usable` |
//! | recvmsg | `ENOMEM`, `ENOTCONN`, `ECONNRESET`, `ETIMEDOUT`, and any other | `net`: the error of this operation. A transport: `connection_lost` has it. | `a_failed_send_or_receive_is_the_error_of_that_operation_alone` |
//! | sendmsg | `EAGAIN` | The operation waits for an event; a transport keeps the rest. | `a_failed_send_or_receive_is_the_error_of_that_operation_alone` |
//! | sendmsg | `EINTR` | The call is made again. | `a_failed_send_or_receive_is_the_error_of_that_operation_alone` |
//! | sendmsg | `EMSGSIZE` | The error of this one message. | `e7_a_message_too_long_for_the_protocol_is_an_error_and_the_socket_lives` |
//! | sendmsg | `ENOBUFS`, `ENOMEM`, `EPIPE`, `ECONNRESET`, `EACCES`, `EPERM`, and any other | `net`: the error of this operation. A transport: `connection_lost` has it. An endpoint: `error_received`. | `a_failed_send_or_receive_is_the_error_of_that_operation_alone` |
//! | sendfile | `EAGAIN`, `EINTR` | As sendmsg. | `sendfile_that_does_not_work_is_replaced_by_reads_and_one_that_fails_is_an_error` |
//! | sendfile | `EINVAL`, `ENOSYS`, `EOPNOTSUPP`, `ESPIPE`, `EOVERFLOW`, at the first call | The file is read and sent. | `sendfile_that_does_not_work_is_replaced_by_reads_and_one_that_fails_is_an_error` |
//! | sendfile | `EIO`, `ENOMEM`, and any other | The error, and the file's position says how much was sent. | `sendfile_that_does_not_work_is_replaced_by_reads_and_one_that_fails_is_an_error` |
//!
//! Most of these errors come seldom, so the tests make them: by `strace`, by a filter of system calls, and by a seam, through
//! which the calls of the crate pass where it is compiled with `--cfg callsoon_faults`. Then `own_faults_by_seed` also has
//! them fail by seed, all at once, with everything at work. Calls that mio, socket2 and the standard library make for
//! themselves do not pass the seam: making pairs and pipes, binding, listening, options and names of sockets, starting
//! processes and threads, closing. `strace` reaches those.
