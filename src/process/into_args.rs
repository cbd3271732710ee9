//! `IntoArgs`: what a program is given as its arguments, an empty array among it.
//!
//! With `IntoIterator` alone nothing says what the elements of `[]` would be, and the compiler refuses it. So the arrays have
//! an implementation for each length, and the one for no elements has a type of its own choice. Iterators have theirs beside
//! them, which the parameter `LIST` keeps apart: the compiler finds it out from the argument.

use std::ffi::OsStr;
use std::process::Command as StdCommand;

/// Arguments of a program: an array of up to 32, a slice, a `Vec`, an `Option`, or an iterator.
///
/// Other collections have `iter` or `into_iter`. The compiler finds `LIST` out.
///
/// ```
/// fn takes<const LIST: bool>(_: impl callsoon::process::IntoArgs<LIST>) {}
/// takes([]);
/// takes(["-l", "-a"]);
/// takes(&["-l", "-a"]);
/// takes(vec![String::from("-l")]);
/// takes(Some("-l"));
/// takes(std::env::args_os().skip(1));
/// ```
///
/// ```compile_fail,E0277
/// callsoon::create_subprocess_exec("ls", "-l");
/// ```
#[allow(private_bounds, reason = "it is for this crate to implement")]
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no list of arguments",
    label = "one argument is `[argument]`, none is `[]`",
    note = "an array of up to 32, a slice, a `Vec`, an `Option`, or an iterator; other collections have `iter()`"
)]
pub trait IntoArgs<const LIST: bool>: AddArgs<LIST> {}

impl<A: AddArgs<LIST>, const LIST: bool> IntoArgs<LIST> for A {}

/// Adds arguments to a command. This private trait also seals [`IntoArgs`].
pub(crate) trait AddArgs<const LIST: bool> {
    fn add_to(self, command: &mut StdCommand);
}

impl<I: Iterator<Item: AsRef<OsStr>>> AddArgs<false> for I {
    fn add_to(self, command: &mut StdCommand) {
        command.args(self);
    }
}

/// The one implementation that an empty array fits, so its elements are of this type.
impl AddArgs<true> for [&str; 0] {
    fn add_to(self, _: &mut StdCommand) {}
}

macro_rules! lists {
    ($([$($generics:tt)*] $list:ty),+ $(,)?) => {$(
        impl<S: AsRef<OsStr>, $($generics)*> AddArgs<true> for $list {
            fn add_to(self, command: &mut StdCommand) {
                command.args(self);
            }
        }
    )+};
}

lists!([] Vec<S>, [] &Vec<S>, [] Option<S>, [] &[S], [const N: usize] &[S; N]);
lists!([] [S; 1], [] [S; 2], [] [S; 3], [] [S; 4], [] [S; 5], [] [S; 6], [] [S; 7], [] [S; 8]);
lists!([] [S; 9], [] [S; 10], [] [S; 11], [] [S; 12], [] [S; 13], [] [S; 14], [] [S; 15]);
lists!([] [S; 16], [] [S; 17], [] [S; 18], [] [S; 19], [] [S; 20], [] [S; 21], [] [S; 22]);
lists!([] [S; 23], [] [S; 24], [] [S; 25], [] [S; 26], [] [S; 27], [] [S; 28], [] [S; 29]);
lists!([] [S; 30], [] [S; 31], [] [S; 32]);
