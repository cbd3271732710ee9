//! `Function`: a function with a name, and the format of requests and responses.
//!
//! ```text
//! request   length of the rest, 8 bytes · name, as the codec writes a string · argument
//! response  length of the rest, 8 bytes · kind, 1 byte · result, or an error's text
//! ```
//! Both ends are the same program, so the format has no version.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::Panicked;
use crate::process_pool::error::ProcessPoolError;

// The kinds of responses.
const DONE: u8 = 0;
const PANICKED: u8 = 1;
const UNREADABLE: u8 = 2;
const UNWRITABLE: u8 = 3;

/// A function that worker processes can run, identified by its name.
///
/// Declare it as a static, and pass the static to [`worker`](crate::process_pool::worker).
///
/// ```
/// use callsoon::process_pool::Function;
/// static LENGTH: Function<String, usize> = Function::new("length", |text| text.len());
/// assert_eq!(LENGTH.name(), "length");
/// ```
pub struct Function<A, R> {
    name: &'static str,
    function: fn(A) -> R,
}

impl<A, R> Function<A, R> {
    /// Creates a function with a name, which must be unique in the program.
    ///
    /// ```
    /// # use callsoon::process_pool::Function;
    /// fn square(n: u64) -> u64 {
    ///     n * n
    /// }
    /// static SQUARE: Function<u64, u64> = Function::new("square", square);
    /// ```
    pub const fn new(name: &'static str, function: fn(A) -> R) -> Self {
        Self { name, function }
    }

    /// Returns the name.
    ///
    /// ```
    /// # use callsoon::process_pool::Function;
    /// assert_eq!(Function::new("nothing", |()| ()).name(), "nothing");
    /// ```
    pub const fn name(&self) -> &'static str {
        self.name
    }
}

impl<A, R> fmt::Debug for Function<A, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Function")
            .field("name", &self.name)
            .finish()
    }
}

/// A [`Function`] of any types, as [`worker`](crate::process_pool::worker) takes it.
///
/// ```
/// use callsoon::process_pool::{Function, Registered};
/// static SQUARE: Function<u64, u64> = Function::new("square", |n| n * n);
/// let functions: [&'static dyn Registered; 1] = [&SQUARE];
/// ```
pub trait Registered: Sync + sealed::Answer {}

impl<A: DeserializeOwned, R: Serialize> Registered for Function<A, R> {}

pub(crate) mod sealed {
    /// The worker's side of a function.
    pub trait Answer {
        /// Returns the name.
        fn key(&self) -> &'static str;
        /// Calls the function with a serialized argument, and returns the response without its length.
        fn answer(&self, argument: &[u8]) -> Vec<u8>;
    }
}

impl<A: DeserializeOwned, R: Serialize> sealed::Answer for Function<A, R> {
    fn key(&self) -> &'static str {
        self.name
    }

    fn answer(&self, argument: &[u8]) -> Vec<u8> {
        let argument = match postcard::from_bytes(argument) {
            Ok(argument) => argument,
            Err(error) => return failure(UNREADABLE, &error.to_string()),
        };
        let run = || (self.function)(argument);
        match catch_unwind(AssertUnwindSafe(run)) {
            Ok(result) => match postcard::to_extend(&result, vec![DONE]) {
                Ok(response) => response,
                Err(error) => failure(UNWRITABLE, &error.to_string()),
            },
            Err(payload) => failure(PANICKED, Panicked::new(payload).message()),
        }
    }
}

fn failure(kind: u8, text: &str) -> Vec<u8> {
    let mut response = vec![kind];
    response.extend(text.as_bytes());
    response
}

/// Serializes a request, with its length in front.
pub(crate) fn request<A: Serialize>(name: &str, argument: &A) -> Result<Vec<u8>, ProcessPoolError> {
    let written = postcard::to_extend(name, vec![0; 8])
        .and_then(|request| postcard::to_extend(argument, request));
    let unwritten = |error| ProcessPoolError::Codec(format!("the argument of {name}: {error}"));
    let mut request = written.map_err(unwritten)?;
    let length = (request.len() - 8) as u64;
    request[..8].copy_from_slice(&length.to_le_bytes());
    Ok(request)
}

/// Splits a request without its length into the name and the argument.
pub(crate) fn parts(request: &[u8]) -> Option<(&str, &[u8])> {
    postcard::take_from_bytes(request).ok()
}

/// Deserializes a function's response without its length.
pub(crate) fn result<R: DeserializeOwned>(
    function: &'static str,
    response: &[u8],
) -> Result<R, ProcessPoolError> {
    let codec =
        |what: &str, why: &str| ProcessPoolError::Codec(format!("the {what} of {function}: {why}"));
    let Some((kind, rest)) = response.split_first() else {
        return Err(codec("result", "an empty response"));
    };
    let text = String::from_utf8_lossy;
    match *kind {
        DONE => postcard::from_bytes(rest).map_err(|error| codec("result", &error.to_string())),
        PANICKED => Err(ProcessPoolError::Panicked {
            function,
            message: text(rest).into_owned(),
        }),
        UNREADABLE => Err(codec("argument", &text(rest))),
        _ => Err(codec("result", &text(rest))),
    }
}
