//! Kubeconfig files: how they are found, read and changed.

mod change;
mod env;
mod view;

pub use change::{ConfigLock, LOCK_WITHIN, LockError, replace};
pub use env::Env;
pub use view::{View, view};
