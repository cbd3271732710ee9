//! A context variable follows each request through its tasks and callbacks; no request sees another's.
//!
//! ```text
//! [-] the server starts
//! [ann] asks
//! [bob] asks
//! [ann] a child task looks it up
//! [bob] a child task looks it up
//! [ann] is answered
//! [bob] is answered
//! [-] the server ends
//! ```

use callsoon::{ContextVar, create_task, get_running_loop, yield_now};

#[path = "common/command_line.rs"]
mod command_line;

static USER: ContextVar<&str> = ContextVar::with_default("user", || "-");

/// The user is not an argument of this function.
fn log(what: &str) {
    println!("[{}] {what}", USER.get().unwrap_or_default());
}

async fn handle(user: &'static str) {
    USER.set(user);
    log("asks");
    let lookup = create_task(async { log("a child task looks it up") });
    lookup.await.expect("nobody cancels it");
    get_running_loop().call_soon(|| log("is answered"));
    yield_now().await;
}

fn main() -> Result<(), callsoon::RunError> {
    command_line::arguments!("");
    callsoon::run(async {
        log("the server starts");
        let requests = [create_task(handle("ann")), create_task(handle("bob"))];
        for request in requests {
            request.await.expect("nobody cancels it");
        }
        log("the server ends");
    })
}
