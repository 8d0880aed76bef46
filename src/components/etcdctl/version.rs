//! Which etcdctl this one answers like.

/// The version that `etcdctl version` names; the documentation of the crate says where answers are
/// those of 3.4.
pub(crate) const VERSION: &str = "3.6.6";
