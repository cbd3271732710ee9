//! System calls that fail on purpose, in one thread.

#![allow(unsafe_code)]

/// Makes the calling thread's system call `number` fail with `errno`, for the rest of the thread's life; where `first`
/// is given, only calls with that first argument. Threads that it starts from now on inherit that. Returns false, and
/// changes nothing, where the system has no filters.
#[must_use]
pub(crate) fn forbid(number: libc::c_long, first: Option<i32>, errno: i32) -> bool {
    // Where `seccomp_data` keeps the call's number and the low half of its first argument.
    const NUMBER: u32 = 0;
    const FIRST: u32 = if cfg!(target_endian = "little") {
        16
    } else {
        20
    };
    let load = |offset| instruction(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, offset, 0);
    let unless_equal = |value: i64, skip| {
        instruction(
            libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K,
            value as u32,
            skip,
        )
    };
    let give = |verdict| instruction(libc::BPF_RET | libc::BPF_K, verdict, 0);
    let fail = give(libc::SECCOMP_RET_ERRNO | errno as u32);
    let allow = give(libc::SECCOMP_RET_ALLOW);
    let mut program = vec![load(NUMBER)];
    match first {
        Some(first) => program.extend([
            unless_equal(number, 3),
            load(FIRST),
            unless_equal(i64::from(first), 1),
            fail,
            allow,
        ]),
        None => program.extend([unless_equal(number, 1), fail, allow]),
    }
    install(&mut program)
}

fn instruction(code: u32, k: u32, jump_if_not: u8) -> libc::sock_filter {
    libc::sock_filter {
        code: code as u16,
        jt: 0,
        jf: jump_if_not,
        k,
    }
}

fn install(program: &mut [libc::sock_filter]) -> bool {
    let filter = libc::sock_fprog {
        len: program.len() as u16,
        filter: program.as_mut_ptr(),
    };
    // SAFETY: the first call takes numbers only. The second reads `filter` and the `len` instructions that it points
    // to, which are initialised and borrowed until after the call; the kernel checks the program and copies it.
    unsafe {
        libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0
            && libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &filter) == 0
    }
}
