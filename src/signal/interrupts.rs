//! Ctrl-C for what runs a whole program.

use std::panic::Location;
use std::rc::Rc;

use crate::kernel::loop_handle::LoopHandle;
use crate::signal::error::SignalError;
use crate::signal::listeners::{Callback, Listener, Role, may_listen};
use crate::sys::signal::Registration;

/// Ctrl-C for whoever runs a whole program, where nobody else has an opinion on it: asked for only while the signal has
/// its default action, and silent as long as any other listener for it lives.
///
/// The first arrival is an event in the loop. Each further one ends the process, in the signal's own way and at once:
/// a loop that is stuck in a callback hears of nothing.
pub(crate) struct Interrupts {
    handle: LoopHandle,
    listener: Rc<Listener>,
}

impl Interrupts {
    /// Calls `first` in the loop for a Ctrl-C; `None` where the signal is handled or ignored already.
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

    const SO_FAR: &str = "so far, so good";

    /// Runs `scenario` in a process of its own, with the default action for Ctrl-C, and says by which signal it ended
    /// after it had written [`SO_FAR`].
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
        assert!(text.contains(SO_FAR), "{text}");
        output.status.signal()
    }

    /// Interrupts that stop the loop, and how often they have been heard.
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
            println!("{SO_FAR}");
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
                // More than one before the loop hears of any.
                raise(libc::SIGINT).unwrap();
                raise(libc::SIGINT).unwrap();
                event_loop.run_forever().unwrap();
            }
            assert_eq!(arrived.get(), 0);
            assert!(Interrupts::install(&event_loop, || ()).unwrap().is_none());
            event_loop.remove_signal_handler(libc::SIGINT);
            println!("{SO_FAR}");
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
            println!("{SO_FAR}");
            raise(libc::SIGINT).unwrap();
            std::process::exit(1);
        };
        assert_eq!(killed_by(test, scenario), Some(libc::SIGINT));
    }
}
