//! The verbs.

pub mod keys;
pub mod lease;
pub mod lock;
pub mod maintenance;
pub mod member;
pub mod txn;
pub mod watch;
