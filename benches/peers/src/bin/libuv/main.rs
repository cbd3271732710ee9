//! libuv, the distribution's: a loop of callbacks, no tasks. Handles are made beforehand, as a C program embeds them in
//! its own structures; so nothing here is allocated for a callback or a timer.

#[cfg(libuv)]
mod uv;

#[cfg(libuv)]
fn main() -> std::process::ExitCode {
    peers::main_with(|row, ops| Some(uv::work(row, ops)))
}

#[cfg(not(libuv))]
fn main() -> std::process::ExitCode {
    eprintln!("pkg-config finds no libuv");
    std::process::ExitCode::from(peers::FAILED)
}
