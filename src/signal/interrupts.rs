//! Ctrl-C for `run` and `Runner`, which run a whole program.

use std::panic::Location;
use std::rc::Rc;

use crate::kernel::loop_handle::LoopHandle;
use crate::signal::error::SignalError;
use crate::signal::listeners::{Callback, Listener, Role, may_listen};
use crate::sys::signal::Registration;

/// The listener for Ctrl-C of `run`. It is installed only while SIGINT has its default action, and receives nothing as long
/// as the program has another listener for it.
///
/// The first arrival is an event of the loop. The second one has the signal's default action, at once and in signal context:
/// so it ends a process whose loop is stuck in a callback.
pub(crate) struct Interrupts {
    handle: LoopHandle,
    listener: Rc<Listener>,
}

impl Interrupts {
    /// Installs the listener, which calls `first` in the loop. Returns `None` if the signal is handled or ignored already.
    #[track_caller]
    pub(crate) fn install(
        handle: &LoopHandle,
        first: impl FnMut() + 'static,
    ) -> Result<Option<Self>, SignalError> {
        may_listen(handle, libc::SIGINT)?;
        let Some(registration) = Registration::if_default(libc::SIGINT)? else {
            return Ok(None);
        };
        let callback: Callback = Box::new(first);
        let place = Location::caller();
        let listener =
            handle.listen_for_signal(registration, Role::Interrupts, Some(callback), place)?;
        listener.start();
        Ok(Some(Self {
            handle: handle.clone(),
            listener,
        }))
    }
}

impl Drop for Interrupts {
    fn drop(&mut self) {
        self.listener.end(&self.handle);
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::os::unix::process::ExitStatusExt;
    use std::process::Command;

    use super::*;
    use crate::event_loop::owner::EventLoop;
    use crate::sys::signal::{raise, reset};

    const CHILD: &str = "CALLSOON_INTERRUPTED_CHILD";

    const REACHED: &str = "the scenario has reached its last line";

    /// Runs `scenario` in a process of its own, with the default action for Ctrl-C. Returns the signal that ended the process
    /// after it had written [`REACHED`].
    fn killed_by(test: &str, scenario: fn()) -> Option<i32> {
        if std::env::var_os(CHILD).is_some() {
            reset(libc::SIGINT);
            scenario();
            std::process::exit(0);
        }
        let mut child = Command::new(std::env::current_exe().unwrap());
        let name = format!("signal::interrupts::tests::{test}");
        child.args(["--exact", &name, "--test-threads", "1", "--nocapture"]);
        let output = child.env(CHILD, "1").output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(text.contains(REACHED), "{text}");
        output.status.signal()
    }

    /// Installs interrupts that stop the loop, and counts how often they were called.
    fn interrupted(event_loop: &EventLoop) -> (Interrupts, Rc<Cell<u64>>) {
        let (handle, arrived) = (event_loop.handle(), Rc::new(Cell::new(0)));
        let count = Rc::clone(&arrived);
        let first = move || {
            count.set(count.get() + 1);
            handle.stop();
        };
        let interrupts = Interrupts::install(event_loop, first);
        (interrupts.unwrap().unwrap(), arrived)
    }

    #[test]
    fn the_first_ctrl_c_is_an_event_and_the_second_ends_a_process_that_is_stuck() {
        let test = "the_first_ctrl_c_is_an_event_and_the_second_ends_a_process_that_is_stuck";
        let scenario = || {
            let event_loop = EventLoop::new().unwrap();
            let (_interrupts, arrived) = interrupted(&event_loop);
            raise(libc::SIGINT).unwrap();
            event_loop.run_forever().unwrap();
            assert_eq!(arrived.get(), 1);
            println!("{REACHED}");
            raise(libc::SIGINT).unwrap();
            std::process::exit(1);
        };
        assert_eq!(killed_by(test, scenario), Some(libc::SIGINT));
    }

    #[test]
    fn a_program_s_own_listener_goes_before_interrupts() {
        let test = "a_program_s_own_listener_goes_before_interrupts";
        let scenario = || {
            let event_loop = EventLoop::new().unwrap();
            let (interrupts, arrived) = interrupted(&event_loop);
            let handle = event_loop.handle();
            event_loop
                .add_signal_handler(libc::SIGINT, move || handle.stop())
                .unwrap();
            for _ in 0..3 {
                // Both arrive before the loop dispatches any.
                raise(libc::SIGINT).unwrap();
                raise(libc::SIGINT).unwrap();
                event_loop.run_forever().unwrap();
            }
            assert_eq!(arrived.get(), 0);
            assert!(Interrupts::install(&event_loop, || ()).unwrap().is_none());
            event_loop.remove_signal_handler(libc::SIGINT);
            println!("{REACHED}");
            drop(interrupts);
            raise(libc::SIGINT).unwrap();
            std::process::exit(1);
        };
        assert_eq!(killed_by(test, scenario), Some(libc::SIGINT));
    }

    #[test]
    fn interrupts_that_are_gone_leave_the_default_action() {
        let test = "interrupts_that_are_gone_leave_the_default_action";
        let scenario = || {
            let event_loop = EventLoop::new().unwrap();
            let (_interrupts, arrived) = interrupted(&event_loop);
            event_loop.close().unwrap();
            assert_eq!(arrived.get(), 0);
            println!("{REACHED}");
            raise(libc::SIGINT).unwrap();
            std::process::exit(1);
        };
        assert_eq!(killed_by(test, scenario), Some(libc::SIGINT));
    }
}
