//! What a peer can make a program hold, in bytes, time, descriptors and threads; what is bounded only if the program asks
//! for it; and who can reach what the crate opens.
//!
//! The last column names the tests that hold each row. A figure that has no link belongs to the code and is the same for
//! every program.
//!
//! # What is bounded
//! Bytes are those of the process. What the system keeps in the buffers of sockets and pipes comes on top; the socket
//! options `SO_RCVBUF` and `SO_SNDBUF` bound it.
//!
//! ## One connection, bytes
//! | what | bound | to change it | tests |
//! |---|---|---|---|
//! | A stream that receives, and nobody reads | twice the limit, which is 64 KiB, and one receive of at most 64 KiB; then the peer waits | [`OpenConnection::limit`](crate::stream::OpenConnection::limit), [`StartServer::limit`](crate::stream::StartServer::limit) | `a_flood_that_nobody_reads_is_kept_up_to_twice_the_limit_and_one_receive`, `a_hundred_megabytes_that_nobody_reads_cost_half_a_megabyte` |
//! | A line without an end, by [`readline`](crate::stream::StreamReader::readline), [`readuntil`](crate::stream::StreamReader::readuntil) or [`lines`](crate::lines()) | the limit, 64 KiB, then [`LimitOverrun`](crate::stream::LimitOverrun) | as above, [`Lines::limit`](crate::Lines::limit) | `a_line_that_never_ends_is_kept_up_to_the_limit_and_one_receive`, `a_line_of_a_reader_that_comes_byte_by_byte_or_is_too_long` |
//! | A peer that does not read, and a program that awaits [`drain`](crate::stream::StreamWriter::drain), or heeds [`pause_writing`](crate::transport::Protocol::pause_writing) | the high-water mark, 64 KiB, and one write; with TLS 512 KiB | [`set_write_buffer_limits`](crate::transport::Transport::set_write_buffer_limits) | `f1_who_drains_before_writing_more_waits_for_a_peer_that_never_reads`, `f1_a_peer_that_never_reads_pauses_once_whichever_way_is_written` |
//! | The same, and a program that heeds nothing | no bound, or a cap, beyond which the connection ends | [`set_write_buffer_cap`](crate::transport::Transport::set_write_buffer_cap) | `f1_ten_gigabytes_that_nobody_reads_cost_the_cap_by_write_and_by_writelines`, `f1_a_cap_below_what_is_buffered_ends_the_connection_and_none_bounds_nothing` |
//! | The poll functions of a stream, and the traits of other crates over them | about 128 KiB, then they wait | as above | `writes_to_a_peer_that_reads_nothing_stop_at_a_bound_and_a_flush_waits_for_all` |
//! | TLS: a handshake that does not end, whatever its messages say of their length | 64 KiB | | `g3_a_peer_that_does_not_end_its_handshake_holds_64_kib_at_most` |
//! | TLS: a flood that nobody reads, whatever its records | 300 KiB | the limit of the stream | `g5_a_flood_that_the_program_does_not_read_is_held_up_to_300_kib_whatever_its_records_are` |
//! | TLS: answers that are owed to a peer that reads nothing | one | | `a_peer_that_asks_for_new_keys_and_never_reads_is_owed_one_answer` |
//! | [`copy`](crate::copy()), [`copy_bidirectional`](crate::copy_bidirectional()) | 32 KiB each way | | `a_copy_to_a_full_socket_that_is_cancelled_loses_nothing_that_it_counted` |
//! | A child's output that nobody reads | as for a stream, for each pipe | [`Command::limit`](crate::process::Command::limit) | `a_child_that_says_more_than_its_reader_keeps_has_to_wait`, `a_line_beyond_the_limit_is_left_where_it_is` |
//! | Datagrams that arrive | one, of at most 256 KiB: an endpoint has no queue, the system drops what comes too fast | | `f1_a_flood_of_datagrams_lets_others_have_their_turn` |
//! | Datagrams to a receiver that is full, and a program that heeds `pause_writing` | 64 KiB, where each counts 8 bytes more than it has | [`DatagramTransport::set_write_buffer_limits`](crate::transport::DatagramTransport::set_write_buffer_limits) | `an_endpoint_that_sends_to_a_full_receiver_waits_without_spinning` |
//! | HTTP by `hyper`: headers without an end | hyper's limits, some 400 KiB, then its answer 431 | hyper's `max_buf_size`, `max_header_list_size` | `large_headers_pass_and_headers_without_end_get_431_after_a_bounded_amount` |
//!
//! ## Time
//! | what | bound | to change it | tests |
//! |---|---|---|---|
//! | One step of a task, beside a peer that is always ready | 128 operations; then others run. See [`yield_now`](crate::yield_now()) | | `a_flooded_socket_lets_other_tasks_run`, `f3_timers_and_sockets_are_served_beside_a_socket_that_is_always_ready` |
//! | One event of a connection, of an endpoint, of a listener | one receive of 64 KiB, 64 datagrams, 100 clients; then other sources run | | `a_flooding_connection_lets_others_have_their_turn`, `f1_a_flood_of_datagrams_lets_others_have_their_turn` |
//! | A TLS handshake | 60 s, then `ConnectionAborted` | `ssl_handshake_timeout` of servers and connections | `a_silent_peer_is_given_a_minute_and_one_that_does_not_answer_the_end_half_of_it`, `g3_a_handshake_that_stalls_at_any_boundary_ends_by_its_timeout_on_both_sides` |
//! | The end of a TLS connection, while nothing moves | 30 s | `ssl_shutdown_timeout` of the same | `a_silent_peer_is_given_a_minute_and_one_that_does_not_answer_the_end_half_of_it` |
//! | HTTP/1 by `hyper`: the headers of a request | hyper's 30 s, if its builder is given `HyperTimer` | hyper's `header_read_timeout` | `a_connection_that_rests_between_requests_is_ended_by_the_same_timeout` |
//! | The end of [`run`](crate::run()): tasks, clean-ups, jobs | 300 s, then they are reported and dropped | [`Runner::shutdown_timeout`](crate::Runner::shutdown_timeout) | `a_program_ends_300_seconds_after_its_main_whatever_its_tasks_do` |
//!
//! ## Clients, descriptors, threads
//! | what | bound | to change it | tests |
//! |---|---|---|---|
//! | Clients that wait for `accept` | a backlog of 1024, and the system's `somaxconn` | [`ListenOptions::backlog`](crate::net::ListenOptions::backlog), [`CreateServer::backlog`](crate::transport::CreateServer::backlog) | `a_listener_lets_1024_clients_wait_unless_it_is_told_otherwise` |
//! | A process without descriptors or memory | its listeners pause for a second, say so once, and lose no client that waits | | `l1_a_server_without_descriptors_pauses_for_a_second_and_says_so_once`, `l1_without_descriptors_accept_neither_spins_nor_fails_and_goes_on_without_a_new_edge` |
//! | Clients that reset before they are accepted | skipped; after 100 in a row the listener pauses for a second | | `errors_that_are_about_one_client_pause_no_listener_and_end_no_accept`, `a_listener_that_fails_for_every_client_pauses_and_neither_spins_nor_hangs` |
//! | Threads that look names up | 4 a loop; a name has at most 253 bytes, and nothing else is asked for | [`LoopHandle::getaddrinfo`](crate::LoopHandle::getaddrinfo) uses them too | `o1_stuck_look_ups_delay_no_other_and_giving_up_is_instant`, `o2_what_is_no_host_is_an_error_and_never_cut_or_asked_for` |
//! | Threads of [`to_thread`](crate::to_thread()) and of a pool | the cores and 4, at most 32; they end after 10 s of idleness | [`ThreadPoolBuilder`](crate::ThreadPoolBuilder) | `a_pool_has_as_many_threads_as_there_are_cores_and_four_more_and_32_at_most` |
//! | Clients of an [`inspector`](crate::Builder::inspector) | 16; the one that is silent for longest goes. A request has 64 bytes at most and 5 s, an answer 10,000 tasks | | `clients_that_say_nothing_keep_nobody_out_and_the_oldest_gives_up_its_place`, `hostile_clients_harm_nobody` |
//! | Signals | one pending call a signal and listener, however often it comes | | `a_burst_is_one_call_and_the_next_arrival_another`, `h8_a_burst_while_the_loop_does_not_poll_fills_the_pipe_and_loses_no_kind` |
//!
//! # What is unbounded by design
//! As in asyncio, the program decides here. Each line says how.
//!
//! - **The number of connections.** A server accepts as many as there are descriptors. A [`Semaphore`](crate::Semaphore) that
//!   a client's function takes first bounds what they do, and so does
//!   [`TaskGroup::set_limit`](crate::TaskGroup::set_limit) around `accept`; RLIMIT_NOFILE bounds how many there are.
//! - **The time of a read, a write, a connect, a look-up.** A peer that is silent is waited for. Put
//!   [`timeout`](crate::timeout()) around the operation or the whole client; for peers that are gone, `SO_KEEPALIVE` by
//!   [`Transport::socket`](crate::transport::Transport::socket).
//! - **`write` without `drain`**, see the cap above. The same holds for [`DatagramTransport`](crate::transport::DatagramTransport),
//!   which has no cap.
//! - **[`read_to_end`](crate::stream::StreamReader::read_to_end), [`communicate`](crate::process::Process::communicate),
//!   [`fs::read`](crate::fs::read)**, which return all that comes, and
//!   [`readexactly`](crate::stream::StreamReader::readexactly), whose number a peer must not choose alone. Memory grows with
//!   what has arrived, not with what was announced. Memory that cannot be had is an error, and not the end of the program.
//! - **[`Queue::new(0)`](crate::Queue::new)**, jobs that wait for a thread of a pool, and callbacks that other threads post:
//!   all of them are kept. A queue with a length makes those wait who put.
//! - **Responses of a worker process of a `process_pool`**: it is the same program, and is trusted with its answers. Memory for
//!   one grows as its bytes arrive.
//! - **Tasks.** [`create_task`](crate::create_task()) has no limit; [`for_each_limit`](crate::for_each_limit()) and groups
//!   have.
//! - **Callbacks and steps that do not end.** All of a loop is one thread. [`Builder::debug`](crate::Builder::debug) names what
//!   is slow, an inspector what holds the loop up now.
//!
//! # Who can reach what
//! | what | rule | tests |
//! |---|---|---|
//! | Descriptors | Each is opened close-on-exec, in one call: no other program that any thread starts inherits one. | `nothing_that_the_crate_opens_is_inherited_by_other_programs` |
//! | A child | It has its three standard descriptors, no blocked signal, and no handler. | `h7_a_child_inherits_three_descriptors_no_mask_and_no_dispositions` |
//! | A forked child that runs on | It takes nothing from its parent's loop, and its own loops begin afresh. | `h9_a_forked_child_takes_nothing_of_what_its_sibling_says`, `h9_a_forked_child_has_the_dispositions_from_before_and_leaves_its_parent_s_notifier_alone` |
//! | A Unix socket | Its mode is what the umask leaves of 0777: put it into a folder with a mode of its own, or ask the peer's user by [`peer_cred`](crate::net::UnixStream::peer_cred). | `the_mode_of_a_unix_socket_is_the_umask_s` |
//! | A path that has a socket | A dead one is replaced, a live one and every other file is `AddrInUse`. A server whose path was taken meanwhile says so. | `a_live_socket_and_a_file_are_refused_and_a_dead_socket_is_replaced`, `a_server_whose_path_another_has_taken_does_not_say_that_it_serves` |
//! | An [`inspector`](crate::Builder::inspector) | Mode 0600 before anybody can connect. A client of another user is closed unheard. It shows names of tasks and places in the source, and changes nothing. | `the_socket_is_for_its_user_alone` |
//! | Signals | Dispositions change while somebody listens, and are put back. SIGPIPE never ends a program for what the crate writes, and its disposition stays as it is. SIGCHLD is not used. | `the_disposition_from_before_is_put_back_by_the_last_of_all_listeners`, `h1_a_handler_that_other_code_has_installed_meanwhile_stays` |
//! | TLS | The program chooses the cryptography and what is trusted. A client that names no peer is refused, and what came before a handshake is never taken for data of TLS. A cut connection is an error and never an end. | `g2_plain_text_that_was_slipped_in_before_the_handshake_is_never_read_as_data_of_tls`, `g1_a_fin_at_any_boundary_is_an_error_on_both_sides_and_never_an_end` |
//!
//! [`create_subprocess_shell`](crate::create_subprocess_shell) hands its line to a shell as it is: nothing in it may come from
//! a peer. [`create_subprocess_exec`](crate::create_subprocess_exec) has no shell.
//!
//! `unsafe` code is in the files that [`docs::modules`](crate::docs::modules) names, which a test checks, and each block says
//! why it is sound. The gate runs the tests under AddressSanitizer and those of threads under ThreadSanitizer, fuzzes
//! what reads bytes from outside, and checks dependencies against known advisories where their database can be reached.
//!
//! # Reporting a vulnerability
//! A way for a peer, another user of the machine or safe Rust code to break one of the rows above, to end the program, or to
//! reach memory that is not its own, is a vulnerability. Please report it in private, not as a public issue: through the
//! private vulnerability reports of the repository that `Cargo.toml` names, or, where these are not open to you, by a message
//! to the owners that the package's page in the registry lists. Say the version, the system, and the smallest program that
//! shows it. The latest release is the one that is mended; [`docs::changelog`](crate::docs::changelog) says which release
//! mends what.
