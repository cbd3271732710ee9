//! Errors of task groups, and what a child may return.

use std::error::Error;
use std::fmt;
use std::io;
use std::panic::Location;

use crate::error::Panicked;
use crate::kernel::task::reference::TaskId;

/// What a child or the body of a [`task_group`](crate::task_group) may return: `()`, or a `Result` whose `Err` makes
/// the group fail.
///
/// ```
/// use callsoon::{run, task_group};
/// run(async {
///     let sum = task_group(async |group| {
///         let one = group.create_task(async { Ok::<_, std::io::Error>(1) });
///         group.create_task(async { println!("nothing to return") });
///         one.await.map(|one| one + 1)
///     });
///     assert_eq!(sum.await.unwrap(), 2);
/// }).unwrap();
/// ```
#[diagnostic::on_unimplemented(
    message = "a group cannot tell whether `{Self}` is a failure",
    note = "its children and its body return `()`, or a `Result` whose `Err` makes the group fail: wrap the value in `Ok`",
    note = "the `Err` is an error that is `Send` and `Sync`, a text, `anyhow::Error` or `Box<dyn Error + Send + Sync>`: a `Box<dyn Error>` is none"
)]
pub trait Outcome {
    /// The value of a success.
    type Value;
    /// Returns the value, or the error that makes the group fail.
    ///
    /// # Errors
    /// The `Err` of the `Result`; never for `()`.
    ///
    /// ```
    /// use callsoon::Outcome;
    /// assert_eq!(Err::<u8, _>("no").into_result().unwrap_err().to_string(), "no");
    /// ```
    fn into_result(self) -> Result<Self::Value, Box<dyn Error + Send + Sync>>;
}

impl Outcome for () {
    type Value = ();

    fn into_result(self) -> Result<(), Box<dyn Error + Send + Sync>> {
        Ok(())
    }
}

#[diagnostic::do_not_recommend]
impl<T, E: Into<Box<dyn Error + Send + Sync>>> Outcome for Result<T, E> {
    type Value = T;

    fn into_result(self) -> Result<T, Box<dyn Error + Send + Sync>> {
        self.map_err(Into::into)
    }
}

/// Gives the never type a name, since stable Rust has none for it.
pub(crate) trait FunctionOutput {
    /// The return type of the function.
    type Output;
}

impl<T> FunctionOutput for fn() -> T {
    type Output = T;
}

/// For a child that ends in [`resume`](crate::Cancelled::resume) and therefore never returns.
#[allow(private_interfaces, reason = "the projection is `!`, which is public")]
impl Outcome for <fn() -> ! as FunctionOutput>::Output {
    type Value = ();

    fn into_result(self) -> Result<(), Box<dyn Error + Send + Sync>> {
        self
    }
}

/// The error of a [`task_group`](crate::task_group).
///
/// It is `Send` and `Sync`, so that `?` passes it on in functions that return `anyhow::Result` or a
/// `Box<dyn Error + Send + Sync>`.
///
/// ```
/// use std::error::Error;
/// async fn find() -> Result<(), Box<dyn Error + Send + Sync>> {
///     let search = callsoon::task_group(async |group| {
///         group.create_task(async { Err::<(), _>("no such host") });
///     });
///     Ok(search.await?)
/// }
/// assert!(callsoon::run(find()).unwrap().unwrap_err().to_string().contains("no such host"));
/// ```
///
/// ```
/// use callsoon::{GroupError, run, task_group};
/// run(async {
///     let error = task_group(async |group| {
///         group.create_task(async { Err::<(), _>("no such host") });
///         group.create_task(async { Err::<(), _>("no such port") });
///     })
///     .await
///     .unwrap_err();
///     assert_eq!(error.failures().len(), 2);
///     assert!(matches!(error, GroupError::Failed(_)));
/// }).unwrap();
/// ```
#[derive(Debug)]
pub enum GroupError {
    /// Children or the body have failed. These are all failures, in the order in which they happened.
    Failed(Vec<Failure>),
    /// The group was [cancelled](crate::TaskGroup::cancel) before its body had ended, so there is no value.
    Stopped,
}

impl GroupError {
    /// Returns the failures in the order in which they happened; none if the group was stopped.
    ///
    /// ```
    /// assert!(callsoon::GroupError::Stopped.failures().is_empty());
    /// ```
    pub fn failures(&self) -> &[Failure] {
        match self {
            Self::Failed(failures) => failures,
            Self::Stopped => &[],
        }
    }
}

impl GroupError {
    /// Returns the [`failures`](Self::failures) by value.
    ///
    /// ```
    /// # use callsoon::{run, task_group};
    /// run(async {
    ///     let error = task_group(async |_| Err::<(), _>("no")).await.unwrap_err();
    ///     assert_eq!(error.into_failures().len(), 1);
    /// }).unwrap();
    /// ```
    pub fn into_failures(self) -> Vec<Failure> {
        match self {
            Self::Failed(failures) => failures,
            Self::Stopped => Vec::new(),
        }
    }
}

impl fmt::Display for GroupError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let failures = self.failures();
        match failures {
            [] => f.write_str("the task group was stopped"),
            [only] => write!(f, "1 failure in a task group: {only}"),
            [first, ..] => write!(
                f,
                "{} failures in a task group, the first: {first}",
                failures.len()
            ),
        }
    }
}

/// The group's error is inside, as `Other`.
///
/// ```
/// let error = std::io::Error::from(callsoon::GroupError::Stopped);
/// assert_eq!(error.to_string(), "the task group was stopped");
/// ```
impl From<GroupError> for io::Error {
    fn from(error: GroupError) -> Self {
        Self::other(error)
    }
}

impl Error for GroupError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        let first = self.failures().first()?;
        Some(first)
    }
}

/// One failure in a group.
///
/// ```
/// use callsoon::{run, task_builder, task_group};
/// run(async {
///     let error = task_group(async |group| {
///         group.create_task_with(task_builder().name("finder"), async { Err::<(), _>("lost") });
///     })
///     .await
///     .unwrap_err();
///     let failure = &error.failures()[0];
///     assert_eq!(failure.task(), Some("finder"));
///     assert_eq!(failure.error().unwrap().to_string(), "lost");
/// }).unwrap();
/// ```
#[derive(Debug)]
pub struct Failure {
    pub(crate) task: Option<String>,
    pub(crate) task_id: Option<TaskId>,
    pub(crate) location: Option<&'static Location<'static>>,
    pub(crate) cause: FailureCause,
}

/// The cause of a failure.
///
/// ```
/// use callsoon::{FailureCause, run, task_group};
/// # std::panic::set_hook(Box::new(|_| ()));
/// run(async {
///     let error = task_group(async |group| { group.create_task(async { panic!("oh") }); }).await.unwrap_err();
///     assert!(matches!(error.failures()[0].cause(), FailureCause::Panicked(_)));
/// }).unwrap();
/// ```
#[derive(Debug)]
pub enum FailureCause {
    /// The child or the body returned this error.
    Error(Box<dyn Error + Send + Sync>),
    /// The child panicked.
    Panicked(Panicked),
}

impl Failure {
    /// Returns the name of the child; `None` for the body.
    ///
    /// ```
    /// # use callsoon::{run, task_group};
    /// run(async {
    ///     let error = task_group(async |_| Err::<(), _>("no")).await.unwrap_err();
    ///     assert_eq!(error.failures()[0].task(), None);
    /// }).unwrap();
    /// ```
    pub fn task(&self) -> Option<&str> {
        self.task.as_deref()
    }

    /// Returns the id of the child's task; `None` for the body. The task itself stays on its thread, and an error may leave
    /// it.
    ///
    /// ```
    /// # use callsoon::{run, task_group};
    /// run(async {
    ///     let error = task_group(async |group| { group.create_task(async { Err::<(), _>("no") }); }).await.unwrap_err();
    ///     assert!(error.failures()[0].task_id().is_some());
    /// }).unwrap();
    /// ```
    pub fn task_id(&self) -> Option<TaskId> {
        self.task_id
    }

    /// Returns where the child was created; `None` for the body.
    ///
    /// ```
    /// # use callsoon::{run, task_group};
    /// run(async {
    ///     let error = task_group(async |group| { group.create_task(async { Err::<(), _>("no") }); }).await.unwrap_err();
    ///     assert!(error.failures()[0].location().unwrap().line() > 0);
    /// }).unwrap();
    /// ```
    pub fn location(&self) -> Option<&'static Location<'static>> {
        self.location
    }

    /// Returns the cause.
    ///
    /// ```
    /// # use callsoon::{FailureCause, run, task_group};
    /// run(async {
    ///     let error = task_group(async |_| Err::<(), _>("no")).await.unwrap_err();
    ///     assert!(matches!(error.failures()[0].cause(), FailureCause::Error(_)));
    /// }).unwrap();
    /// ```
    pub fn cause(&self) -> &FailureCause {
        &self.cause
    }

    /// Returns the cause by value.
    ///
    /// ```
    /// # use callsoon::{FailureCause, GroupError, run, task_group};
    /// run(async {
    ///     let Err(GroupError::Failed(mut failures)) = task_group(async |_| Err::<(), _>("no")).await else { unreachable!() };
    ///     assert!(matches!(failures.remove(0).into_cause(), FailureCause::Error(_)));
    /// }).unwrap();
    /// ```
    pub fn into_cause(self) -> FailureCause {
        self.cause
    }

    /// Returns the error that the child or the body returned; `None` for a panic.
    ///
    /// ```
    /// # use callsoon::{run, task_group};
    /// run(async {
    ///     let error = task_group(async |_| Err::<(), _>("no")).await.unwrap_err();
    ///     assert_eq!(error.failures()[0].error().unwrap().to_string(), "no");
    /// }).unwrap();
    /// ```
    pub fn error(&self) -> Option<&(dyn Error + 'static)> {
        match &self.cause {
            FailureCause::Error(error) => Some(&**error),
            FailureCause::Panicked(_) => None,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whose = self.task().unwrap_or("the body");
        match &self.cause {
            FailureCause::Error(error) => write!(f, "{whose}: {error}"),
            FailureCause::Panicked(panicked) => write!(f, "{whose} {panicked}"),
        }
    }
}

impl Error for Failure {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match &self.cause {
            FailureCause::Error(error) => error.source(),
            FailureCause::Panicked(panicked) => Some(panicked),
        }
    }
}
