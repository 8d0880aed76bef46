//! The verbs.

pub(crate) mod keys;
pub(crate) mod lease;
pub(crate) mod lock;
pub(crate) mod maintenance;
pub(crate) mod member;
pub(crate) mod txn;
pub(crate) mod watch;
