//! Create, update and patch: decode, default, admit, validate, commit.

mod apply;
mod conform;
mod create;
mod patch;
mod shared;
#[cfg(test)]
mod tests;
mod update;

pub(crate) use apply::{applied, check_says_type, undeclared_of, untyped_of};
pub(crate) use create::create;
#[cfg(test)]
pub(crate) use create::create_object;
pub(crate) use patch::{check_media, fields_to_merge, judge_fields, mistyped_of, patch};
pub(crate) use shared::record_beside;
pub(crate) use update::{check_name, modify, update};
