//! Contexts: the values of context variables that a task or callback sees.
//!
//! A [`Context`] is a handle to a list of values. A copy shares the list until the first `set` on either side, which
//! copies the list. So a copy costs one allocation, and a task that sets nothing shares its parent's values. The
//! current context is one cell of the loop (`kernel/current_context`); `None` is an empty context. In a loop in which
//! no variable was ever set every context is `None`, and the turn does not handle contexts at all.

use std::any::Any;
use std::cell::RefCell;
use std::fmt;
use std::rc::Rc;

/// Makes a copy of a value for another thread.
pub(crate) type Carry = fn(&dyn Any) -> Option<Box<dyn Any + Send>>;

/// One variable's number and value.
#[derive(Clone)]
struct Binding {
    variable: usize,
    value: Rc<dyn Any>,
    /// `None` for a variable whose values stay on their thread.
    carry: Option<Carry>,
}

/// A binding on its way to another thread.
pub(crate) struct Carried {
    variable: usize,
    value: Box<dyn Any + Send>,
    carry: Carry,
}

/// The values of context variables, as one task or callback sees them.
///
/// Clones are the same context: what is set while running in one is seen through the other. [`copy`](Self::copy) makes
/// one of its own, with the same values.
///
/// ```
/// static USER: callsoon::ContextVar<&str> = callsoon::ContextVar::new("user");
/// callsoon::run(async {
///     USER.set("ann");
///     let context = callsoon::copy_context();
///     USER.set("bob");
///     assert_eq!(context.run(|| USER.get()), Some("ann"));
/// }).unwrap();
/// ```
#[derive(Clone, Default)]
pub struct Context {
    values: Rc<RefCell<Rc<Vec<Binding>>>>,
}

impl Context {
    /// Returns a context without values.
    ///
    /// ```
    /// static USER: callsoon::ContextVar<&str> = callsoon::ContextVar::new("user");
    /// callsoon::run(async {
    ///     USER.set("ann");
    ///     assert_eq!(callsoon::Context::new().run(|| USER.get()), None);
    /// }).unwrap();
    /// ```
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns a context of its own with the same values: what is set in one from now on the other does not see.
    ///
    /// ```
    /// static USER: callsoon::ContextVar<&str> = callsoon::ContextVar::new("user");
    /// callsoon::run(async {
    ///     let (context, copy) = { let context = callsoon::Context::new(); (context.clone(), context.copy()) };
    ///     context.run(|| { USER.set("ann"); });
    ///     assert_eq!(copy.run(|| USER.get()), None);
    /// }).unwrap();
    /// ```
    pub fn copy(&self) -> Self {
        let values = Rc::clone(&self.values.borrow());
        Self {
            values: Rc::new(RefCell::new(values)),
        }
    }

    /// Returns how many variables have a value here.
    ///
    /// ```
    /// assert_eq!(callsoon::Context::new().len(), 0);
    /// ```
    pub fn len(&self) -> usize {
        self.values.borrow().len()
    }

    /// Returns whether no variable has a value here.
    ///
    /// ```
    /// assert!(callsoon::Context::new().is_empty());
    /// ```
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the value of a variable.
    pub(crate) fn value(&self, variable: usize) -> Option<Rc<dyn Any>> {
        let values = self.values.borrow();
        let place = values
            .binary_search_by_key(&variable, |binding| binding.variable)
            .ok()?;
        Some(Rc::clone(&values[place].value))
    }

    /// Returns copies of the values that may be sent to another thread.
    pub(crate) fn carry(&self) -> Vec<Carried> {
        // Copying runs user code, and may set a variable.
        let values = Rc::clone(&self.values.borrow());
        let carried = values.iter().filter_map(|binding| {
            let carry = binding.carry?;
            Some(Carried {
                variable: binding.variable,
                value: carry(&*binding.value)?,
                carry,
            })
        });
        carried.collect()
    }

    /// Makes a context of values that were sent from another thread.
    pub(crate) fn arrived(carried: Vec<Carried>) -> Self {
        // They arrive sorted by variable, as a context keeps them.
        let values = carried.into_iter().map(|carried| Binding {
            variable: carried.variable,
            value: Rc::from(carried.value as Box<dyn Any>),
            carry: Some(carried.carry),
        });
        Self {
            values: Rc::new(RefCell::new(Rc::new(values.collect()))),
        }
    }

    /// Sets or removes the value of a variable. Returns the former value, for the caller to drop with nothing borrowed.
    pub(crate) fn replace(
        &self,
        variable: usize,
        value: Option<Rc<dyn Any>>,
        carry: Option<Carry>,
    ) -> Option<Rc<dyn Any>> {
        // The replaced list is dropped after the borrow: it may hold the last references to values with destructors.
        let mut changed = Rc::clone(&self.values.borrow());
        let list = Rc::make_mut(&mut changed);
        let former = match (
            list.binary_search_by_key(&variable, |binding| binding.variable),
            value,
        ) {
            (Ok(place), Some(value)) => Some(std::mem::replace(&mut list[place].value, value)),
            (Ok(place), None) => Some(list.remove(place).value),
            (Err(place), Some(value)) => {
                let binding = Binding {
                    variable,
                    value,
                    carry,
                };
                list.insert(place, binding);
                None
            }
            (Err(_), None) => None,
        };
        let replaced = self.values.replace(changed);
        drop(replaced);
        former
    }
}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context")
            .field("values", &self.len())
            .finish()
    }
}
