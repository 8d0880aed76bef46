//! Delete and deletecollection.

mod collection;
pub(crate) mod kept;
mod kinds;
mod one;
mod options;

pub(crate) use collection::delete_collection;
pub(crate) use one::{delete, is_finished, remove};
pub(crate) use options::{Options, preconditions};
