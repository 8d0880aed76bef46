//! Who owns which field: `metadata.managedFields`.
//!
//! Every write leaves its manager's name at the fields that it set. Server-side [`apply`] merges by
//! that: it removes what its manager no longer says, and refuses to change what another says,
//! unless forced. [`track`] does the same book-keeping for all other writes, which take whatever
//! they touch. Field sets are kept in their wire form, FieldsV1: `{"f:spec": {"f:replicas": {}}}`
//! ([`set`]); what identifies the items of a list stands in [`crate::shape`]. Source: KEP-555,
//! structured-merge-diff.

pub mod apply;
mod check;
mod entries;
mod last_applied;
mod names;
mod set;
mod track;
mod types;

pub use apply::{Applied, Conflict, apply, apply_resetting};
pub use check::problems;
pub use entries::{Manager, is_readable, renew};
pub use last_applied::{LAST_APPLIED, sync_last_applied};
pub use names::{to_own_names, to_stored_names};
pub use track::track;
pub use types::mistyped;

#[cfg(test)]
mod tests;
