//! `Command`: the program to start, and its arguments, environment and standard descriptors.
//!
//! It is built on std's `Command`, which starts the child by `posix_spawn` where it can, without copying memory. The child
//! has descriptors 0 to 2 only: everything that this crate and std open is close-on-exec. Its signal mask is empty, and
//! SIGPIPE has its default action.

use std::ffi::OsStr;
use std::fmt;
use std::future::{Future, IntoFuture};
use std::io;
use std::num::NonZeroUsize;
use std::panic::Location;
use std::path::Path;
use std::pin::Pin;
use std::process::{Command as StdCommand, Stdio as StdStdio};
use std::task::{Context, Poll};

use crate::error::LoopClosed;
use crate::event_loop::free::get_running_loop;
use crate::kernel::loop_handle::LoopHandle;
use crate::kernel::proceed::poll_within_budget;
use crate::process::child::{Process, Watched};
use crate::process::error::StartError;
use crate::process::into_args::IntoArgs;
use crate::process::pipes::Pipes;
use crate::process::stdio::{INHERIT, Kind, Stdio};
use crate::stream::protocol::LIMIT;

/// Starts a program. Awaiting the returned builder gives a [`Process`].
///
/// The program is searched in `PATH` unless its name has a slash. Arguments are passed as they are, without a shell. They
/// may be an array, `[]` for none, a slice, a `Vec` or an iterator: [`IntoArgs`] lists them. Where the arguments come one by
/// one, [`Command::new`] begins without any; it is awaited too.
///
/// # Errors
/// Awaiting it gives the errors of [`LoopHandle::spawn_process`]. Those about the program or its folder name it. No process
/// is left then.
///
/// # Panics
/// When awaited outside a running loop.
///
/// # Cancellation
/// It starts the process at its first poll, and is ready then. Dropping it before starts nothing.
///
/// ```
/// use callsoon::process::{PIPE, create_subprocess_exec};
/// callsoon::run(async {
///     let mut process = create_subprocess_exec("echo", ["hello", "world"]).stdout(PIPE).await?;
///     let output = process.communicate(None).await?;
///     assert!(output.status.success());
///     assert_eq!(output.stdout, b"hello world\n");
///
///     let status = create_subprocess_exec("true", []).await?.wait().await?;
///     assert!(status.success());
///
///     let error = create_subprocess_exec("no-such", []).current_dir("/").await.unwrap_err();
///     assert!(error.to_string().starts_with("cannot start no-such in /: "), "{error}");
///     Ok::<(), std::io::Error>(())
/// }).unwrap().unwrap();
/// ```
pub fn create_subprocess_exec<const LIST: bool>(
    program: impl AsRef<OsStr>,
    args: impl IntoArgs<LIST>,
) -> Command {
    let mut command = StdCommand::new(program);
    args.add_to(&mut command);
    command.into()
}

/// Runs a command line by `/bin/sh`. Awaiting the returned builder gives a [`Process`].
///
/// Quote everything in the command line that comes from elsewhere. Arguments of [`create_subprocess_exec`] need no quotes.
///
/// # Errors
/// Awaiting it gives the errors of [`LoopHandle::spawn_process`]. A program that the shell does not find is no error: the
/// shell exits with status 127.
///
/// # Panics
/// When awaited outside a running loop.
///
/// # Cancellation
/// Like [`create_subprocess_exec`].
///
/// ```
/// use callsoon::process::{PIPE, create_subprocess_shell};
/// callsoon::run(async {
///     let mut process = create_subprocess_shell("echo hello | tr a-z A-Z").stdout(PIPE).await?;
///     assert_eq!(process.communicate(None).await?.stdout, b"HELLO\n");
///     Ok::<(), std::io::Error>(())
/// }).unwrap().unwrap();
/// ```
pub fn create_subprocess_shell(line: impl AsRef<OsStr>) -> Command {
    Command::shell(line)
}

/// The settings of a process to start. [`create_subprocess_exec`] and [`create_subprocess_shell`] return one too.
///
/// [`spawn`](Self::spawn) may be called several times. [`as_std_mut`](Self::as_std_mut) gives access to further settings.
///
/// ```
/// use callsoon::process::{Command, PIPE};
/// callsoon::run(async {
///     let mut sort = Command::new("sort").arg("-r").env("LC_ALL", "C").stdin(PIPE).stdout(PIPE);
///     let output = sort.spawn()?.communicate(Some(b"1\n2\n")).await?;
///     assert_eq!(output.stdout, b"2\n1\n");
///     Ok::<(), std::io::Error>(())
/// }).unwrap().unwrap();
/// ```
#[must_use = "nothing is started until it is awaited or spawned"]
pub struct Command {
    std: StdCommand,
    /// `None` if it was not set, and the same for the other two.
    stdin: Option<Stdio>,
    stdout: Option<Stdio>,
    stderr: Option<Stdio>,
    kill_on_drop: bool,
    limit: NonZeroUsize,
}

impl Command {
    /// Creates the settings of a program without arguments.
    ///
    /// ```
    /// # callsoon::doctest::run(async {
    /// let process = callsoon::process::Command::new("true").spawn()?;
    /// assert!(process.wait().await?.success());
    /// # Ok(()) });
    /// ```
    pub fn new(program: impl AsRef<OsStr>) -> Self {
        StdCommand::new(program).into()
    }

    /// Creates the settings of a command line for `/bin/sh`.
    ///
    /// ```
    /// # callsoon::doctest::run(async {
    /// let process = callsoon::process::Command::shell("exit 3").spawn()?;
    /// assert_eq!(process.wait().await?.code(), Some(3));
    /// # Ok(()) });
    /// ```
    pub fn shell(line: impl AsRef<OsStr>) -> Self {
        Self::new("/bin/sh").arg("-c").arg(line)
    }

    /// Adds an argument.
    ///
    /// ```
    /// let command = callsoon::process::Command::new("ls").arg("-l");
    /// ```
    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.std.arg(arg);
        self
    }

    /// Adds arguments.
    ///
    /// ```
    /// let command = callsoon::process::Command::new("ls").args(["-l", "-a"]);
    /// ```
    pub fn args<I, S>(mut self, args: I) -> Self
    where
        I: IntoIterator<Item = S>,
        S: AsRef<OsStr>,
    {
        self.std.args(args);
        self
    }

    /// Sets one of the child's environment variables. The others are those of the parent.
    ///
    /// ```
    /// # callsoon::doctest::run(async {
    /// let shell = callsoon::process::Command::shell("test $ANSWER = 42").env("ANSWER", "42");
    /// assert!(shell.await?.wait().await?.success());
    /// # Ok(()) });
    /// ```
    pub fn env(mut self, key: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.std.env(key, value);
        self
    }

    /// Sets several environment variables.
    ///
    /// ```
    /// let command = callsoon::process::Command::new("ls").envs([("LANG", "C"), ("TZ", "UTC")]);
    /// ```
    pub fn envs<I, K, V>(mut self, variables: I) -> Self
    where
        I: IntoIterator<Item = (K, V)>,
        K: AsRef<OsStr>,
        V: AsRef<OsStr>,
    {
        self.std.envs(variables);
        self
    }

    /// Removes an environment variable, so that the child does not inherit it.
    ///
    /// ```
    /// let command = callsoon::process::Command::new("ls").env_remove("LANG");
    /// ```
    pub fn env_remove(mut self, key: impl AsRef<OsStr>) -> Self {
        self.std.env_remove(key);
        self
    }

    /// Removes all environment variables, including those that were set here before.
    ///
    /// ```
    /// let command = callsoon::process::Command::new("/bin/ls").env_clear();
    /// ```
    pub fn env_clear(mut self) -> Self {
        self.std.env_clear();
        self
    }

    /// Sets the working directory of the child.
    ///
    /// ```
    /// # use callsoon::process::{Command, PIPE};
    /// # callsoon::doctest::run(async {
    /// let mut pwd = Command::new("pwd").current_dir("/").stdout(PIPE).await?;
    /// assert_eq!(pwd.communicate(None).await?.stdout, b"/\n");
    /// # Ok(()) });
    /// ```
    pub fn current_dir(mut self, folder: impl AsRef<Path>) -> Self {
        self.std.current_dir(folder);
        self
    }

    /// Sets what the child's input is connected to.
    ///
    /// ```
    /// use callsoon::process::{Command, DEVNULL};
    /// let command = Command::new("cat").stdin(DEVNULL);
    /// ```
    pub fn stdin(mut self, stdin: impl Into<Stdio>) -> Self {
        self.stdin = Some(stdin.into());
        self
    }

    /// Sets what the child's output is connected to.
    ///
    /// ```
    /// use callsoon::process::{Command, PIPE};
    /// let command = Command::new("ls").stdout(PIPE);
    /// ```
    pub fn stdout(mut self, stdout: impl Into<Stdio>) -> Self {
        self.stdout = Some(stdout.into());
        self
    }

    /// Sets what the child's errors are connected to.
    ///
    /// ```
    /// use callsoon::process::{Command, PIPE, STDOUT};
    /// let command = Command::new("ls").stdout(PIPE).stderr(STDOUT);
    /// ```
    pub fn stderr(mut self, stderr: impl Into<Stdio>) -> Self {
        self.stderr = Some(stderr.into());
        self
    }

    /// Sets the child's process group. With 0 it has a group of its own, which Ctrl-C at the terminal does not reach.
    ///
    /// ```
    /// let command = callsoon::process::Command::new("sleep").arg("1").process_group(0);
    /// ```
    pub fn process_group(mut self, group: i32) -> Self {
        std::os::unix::process::CommandExt::process_group(&mut self.std, group);
        self
    }

    /// Sets whether the child is killed when its [`Process`] is dropped. By default it runs on.
    ///
    /// ```
    /// # callsoon::doctest::run(async {
    /// let mut sleeper = callsoon::process::Command::new("sleep").arg("1000").kill_on_drop(true);
    /// drop(sleeper.spawn()?);
    /// # Ok(()) });
    /// ```
    pub fn kill_on_drop(mut self, kill: bool) -> Self {
        self.kill_on_drop = kill;
        self
    }

    /// Sets how many bytes a line that is read from the child may have. The default is 64 KiB.
    ///
    /// A reader buffers about twice as much before it pauses reading and the child has to wait.
    ///
    /// ```
    /// let limit = std::num::NonZeroUsize::new(1 << 20).unwrap();
    /// let command = callsoon::process::Command::new("ls").limit(limit);
    /// ```
    pub fn limit(mut self, bytes: NonZeroUsize) -> Self {
        self.limit = bytes;
        self
    }

    /// Returns std's `Command`, for settings that have no method here: uid, `pre_exec`, `arg0` and others.
    ///
    /// Its standard descriptors are replaced when the process is started.
    ///
    /// ```
    /// use std::os::unix::process::CommandExt;
    /// let mut command = callsoon::process::Command::new("ls");
    /// command.as_std_mut().arg0("list");
    /// ```
    pub fn as_std_mut(&mut self) -> &mut StdCommand {
        &mut self.std
    }

    /// Starts the process on the running loop. Awaiting the command does the same.
    ///
    /// # Errors
    /// Those of [`LoopHandle::spawn_process`]. `InvalidInput` if [`STDOUT`](crate::process::STDOUT) is set for another
    /// descriptor than stderr.
    ///
    /// # Panics
    /// Outside a running loop.
    ///
    /// ```
    /// # callsoon::doctest::run(async {
    /// let process = callsoon::process::Command::new("true").spawn()?;
    /// assert!(process.wait().await?.success());
    /// # Ok(()) });
    /// ```
    #[track_caller]
    pub fn spawn(&mut self) -> io::Result<Process> {
        self.spawn_on(&get_running_loop())
    }

    /// Starts the process on a loop, which need not be running.
    ///
    /// # Errors
    /// Those of [`spawn`](Self::spawn). [`LoopClosed`], inside an `io::Error`, if the loop is closed.
    ///
    /// ```
    /// let event_loop = callsoon::EventLoop::new()?;
    /// let process = callsoon::process::Command::new("true").spawn_on(&event_loop)?;
    /// assert!(event_loop.run_until_complete(process.wait())??.success());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[track_caller]
    pub fn spawn_on(&mut self, handle: &LoopHandle) -> io::Result<Process> {
        self.spawn_at(handle, Location::caller())
    }

    fn spawn_at(
        &mut self,
        handle: &LoopHandle,
        location: &'static Location<'static>,
    ) -> io::Result<Process> {
        let (watched, pipes) = self.start(handle, &INHERIT)?;
        let mut process = Process::new(watched, pipes, self.limit, location)?;
        process.kill_on_drop = self.kill_on_drop;
        Ok(process)
    }

    /// Starts the process. `default` is for the standard descriptors that were not set. If the pipes cannot be registered,
    /// the child is killed and reaped.
    pub(crate) fn start(
        &mut self,
        handle: &LoopHandle,
        default: &Stdio,
    ) -> io::Result<(Watched, Pipes)> {
        if handle.is_closed() {
            return Err(LoopClosed.into());
        }
        let stdin = self.stdin.as_ref().unwrap_or(default).to_std()?;
        let stdout = self.stdout.as_ref().unwrap_or(default);
        let stderr = self.stderr.as_ref().unwrap_or(default);
        let (stdout, stderr, both) = if matches!(stderr.0, Kind::Stdout) {
            stdout.to_both()?
        } else {
            (stdout.to_std()?, stderr.to_std()?, None)
        };
        let spawned = self.std.stdin(stdin).stdout(stdout).stderr(stderr).spawn();
        // std keeps the descriptors for another start, so a pipe would stay open at the child's end.
        self.std
            .stdin(StdStdio::inherit())
            .stdout(StdStdio::inherit())
            .stderr(StdStdio::inherit());
        let child = spawned.map_err(|error| StartError::wrap(&self.std, error))?;
        let watched = Watched::new(handle, child)?;
        let pipes = watched.take_pipes(both)?;
        Ok((watched, pipes))
    }
}

/// Takes over the program, arguments and environment. Standard descriptors have to be set again, since std has no way to
/// read them.
impl From<StdCommand> for Command {
    fn from(std: StdCommand) -> Self {
        Self {
            std,
            stdin: None,
            stdout: None,
            stderr: None,
            kill_on_drop: false,
            limit: LIMIT,
        }
    }
}

/// Starts the process when it is awaited.
impl IntoFuture for Command {
    type Output = io::Result<Process>;
    type IntoFuture = Starting;

    #[track_caller]
    fn into_future(self) -> Starting {
        Starting {
            command: Some(self),
            location: Location::caller(),
        }
    }
}

/// A future that starts a process at its first poll. Awaiting a [`Command`] creates one.
///
/// # Cancellation
/// Dropping it before its first poll starts nothing.
///
/// ```
/// # use std::future::IntoFuture;
/// # callsoon::doctest::run(async {
/// let starting: callsoon::process::Starting = callsoon::process::Command::new("true").into_future();
/// assert!(starting.await?.wait().await?.success());
/// # Ok(()) });
/// ```
#[derive(Debug)]
#[must_use = "nothing is started until it is awaited"]
pub struct Starting {
    command: Option<Command>,
    location: &'static Location<'static>,
}

impl Future for Starting {
    type Output = io::Result<Process>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        poll_within_budget(context, |_| match self.command.take() {
            Some(mut command) => Poll::Ready(command.spawn_at(&get_running_loop(), self.location)),
            None => panic!("Starting: polled after it was done"),
        })
    }
}

impl fmt::Debug for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Command")
            .field("std", &self.std)
            .field("stdin", &self.stdin)
            .field("stdout", &self.stdout)
            .field("stderr", &self.stderr)
            .field("kill_on_drop", &self.kill_on_drop)
            .finish_non_exhaustive()
    }
}
