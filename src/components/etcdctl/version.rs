//! Which etcdctl this one answers like.

/// The version that `etcdctl version` names; the documentation of the crate says which answers
/// differ.
pub(crate) const VERSION: &str = "3.6.6";
