//! The verbs.

pub(crate) mod endpoint;
pub(crate) mod keys;
pub(crate) mod lease;
pub(crate) mod lock;
pub(crate) mod maintenance;
pub(crate) mod member;
mod program;
pub(crate) mod txn;
pub(crate) mod watch;
