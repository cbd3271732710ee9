//! The children of a `gather`: tasks of one type in a list, or of several types in a tuple.

use std::future::IntoFuture;
use std::panic::Location;
use std::rc::Rc;

use crate::combine::child_count::ChildCount;
use crate::error::TaskError;
use crate::kernel::task::handle::Task;

/// The index of a child that failed, and its error.
pub(crate) type Failure = (usize, TaskError);

/// The operations of `gather` on its tasks. This private trait also seals [`Tasks`].
pub(crate) trait TakeResults {
    type Values;
    type Settled;
    /// Takes the error of a child that ended without a value.
    fn take_failure(&mut self, number: usize) -> Option<Failure>;
    /// Takes all values; all children have ended.
    fn take_values(&mut self) -> Result<Self::Values, Failure>;
    /// Takes all results; all children have ended.
    fn take_settled(&mut self) -> Self::Settled;
    /// Discards later failures unreported.
    fn forgive(&self);
}

/// Makes tasks of futures. This private trait also seals [`GatherFutures`].
pub(crate) trait IntoTasks {
    type Tasks;
    /// Makes a task of each future.
    fn into_tasks(
        self,
        child_count: &Rc<ChildCount>,
        location: &'static Location<'static>,
    ) -> Self::Tasks;
}

/// The tasks of one [`Gather`](crate::Gather): a list of one type, or a tuple of up to twelve.
///
/// ```
/// fn gathered<C: callsoon::Tasks>(_: &callsoon::Gather<C>) {}
/// callsoon::run(async {
///     let both = callsoon::gather!(async { 1 }, async { "one" });
///     gathered(&both);
///     both.await.unwrap();
/// }).unwrap();
/// ```
#[allow(private_bounds, reason = "it is for this crate to implement")]
pub trait Tasks:
    TakeResults<Values = <Self as Tasks>::Values, Settled = <Self as Tasks>::Settled>
{
    /// The values of the tasks.
    type Values;
    /// The result of each task.
    type Settled;
}

/// A tuple of up to twelve futures of any types, for [`gather_tuple`](crate::gather_tuple).
///
/// ```
/// fn takes<F: callsoon::GatherFutures>(_: F) {}
/// takes((async { 1 }, async { "one" }));
/// ```
#[allow(private_bounds, reason = "it is for this crate to implement")]
pub trait GatherFutures: IntoTasks<Tasks = <Self as GatherFutures>::Tasks> {
    /// The tasks that are made of the futures.
    type Tasks: Tasks;
}

/// Takes the result of a task that has ended.
fn take_result<T: 'static>(task: &mut Task<T>) -> Result<T, TaskError> {
    task.result().unwrap_or(Err(TaskError::Taken))
}

fn take_failure_of<T: 'static>(task: &mut Task<T>) -> Option<TaskError> {
    let failed = task.cancelled() || task.panicked();
    if failed {
        take_result(task).err()
    } else {
        None
    }
}

impl<T: 'static> Tasks for Vec<Task<T>> {
    type Values = Vec<T>;
    type Settled = Vec<Result<T, TaskError>>;
}

impl<T: 'static> TakeResults for Vec<Task<T>> {
    type Values = Vec<T>;
    type Settled = Vec<Result<T, TaskError>>;

    fn take_failure(&mut self, number: usize) -> Option<Failure> {
        let error = take_failure_of(self.get_mut(number)?)?;
        Some((number, error))
    }

    fn take_values(&mut self) -> Result<Vec<T>, Failure> {
        // `collect` would not know how many there are.
        let mut values = Vec::with_capacity(self.len());
        for (number, task) in self.iter_mut().enumerate() {
            values.push(take_result(task).map_err(|error| (number, error))?);
        }
        Ok(values)
    }

    fn take_settled(&mut self) -> Self::Settled {
        self.iter_mut().map(take_result).collect()
    }

    fn forgive(&self) {
        self.iter().for_each(Task::forgive);
    }
}

/// Implements the four traits for tuples of one length.
macro_rules! tuples {
    ($($future:ident $value:ident $number:tt),+) => {
        impl<$($value: 'static),+> Tasks for ($(Task<$value>,)+) {
            type Values = ($($value,)+);
            type Settled = ($(Result<$value, TaskError>,)+);
        }

        impl<$($value: 'static),+> TakeResults for ($(Task<$value>,)+) {
            type Values = ($($value,)+);
            type Settled = ($(Result<$value, TaskError>,)+);

            fn take_failure(&mut self, number: usize) -> Option<Failure> {
                match number {
                    $($number => take_failure_of(&mut self.$number).map(|error| (number, error)),)+
                    _ => None,
                }
            }

            fn take_values(&mut self) -> Result<Self::Values, Failure> {
                Ok(($(take_result(&mut self.$number).map_err(|error| ($number, error))?,)+))
            }

            fn take_settled(&mut self) -> Self::Settled {
                ($(take_result(&mut self.$number),)+)
            }

            fn forgive(&self) {
                $(self.$number.forgive();)+
            }
        }

        impl<$($future),+> GatherFutures for ($($future,)+)
        where
            $($future: IntoFuture<IntoFuture: 'static, Output: 'static>),+
        {
            type Tasks = ($(Task<$future::Output>,)+);
        }

        impl<$($future),+> IntoTasks for ($($future,)+)
        where
            $($future: IntoFuture<IntoFuture: 'static, Output: 'static>),+
        {
            type Tasks = ($(Task<$future::Output>,)+);

            fn into_tasks(
                self,
                child_count: &Rc<ChildCount>,
                location: &'static Location<'static>,
            ) -> Self::Tasks {
                ($(child_count.spawn(self.$number.into_future(), location),)+)
            }
        }
    };
}

tuples!(A At 0);
tuples!(A At 0, B Bt 1);
tuples!(A At 0, B Bt 1, C Ct 2);
tuples!(A At 0, B Bt 1, C Ct 2, D Dt 3);
tuples!(A At 0, B Bt 1, C Ct 2, D Dt 3, E Et 4);
tuples!(A At 0, B Bt 1, C Ct 2, D Dt 3, E Et 4, F Ft 5);
tuples!(A At 0, B Bt 1, C Ct 2, D Dt 3, E Et 4, F Ft 5, G Gt 6);
tuples!(A At 0, B Bt 1, C Ct 2, D Dt 3, E Et 4, F Ft 5, G Gt 6, H Ht 7);
tuples!(A At 0, B Bt 1, C Ct 2, D Dt 3, E Et 4, F Ft 5, G Gt 6, H Ht 7, I It 8);
tuples!(A At 0, B Bt 1, C Ct 2, D Dt 3, E Et 4, F Ft 5, G Gt 6, H Ht 7, I It 8, J Jt 9);
tuples!(A At 0, B Bt 1, C Ct 2, D Dt 3, E Et 4, F Ft 5, G Gt 6, H Ht 7, I It 8, J Jt 9, K Kt 10);
tuples!(A At 0, B Bt 1, C Ct 2, D Dt 3, E Et 4, F Ft 5, G Gt 6, H Ht 7, I It 8, J Jt 9, K Kt 10, L Lt 11);
