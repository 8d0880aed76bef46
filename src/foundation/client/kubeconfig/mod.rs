//! Kubeconfig files: how they are found, merged and changed, and which server and user they name.
//!
//! ```text
//! files ──load──▶ Kubeconfig ──target──▶ Target ──▶ remote
//!                    ▲  the command line: Overrides
//! ```

mod change;
mod entries;
mod env;
mod error;
mod exec;
mod in_pod;
mod merged;
mod overrides;
mod resolve;
mod target;
#[cfg(test)]
mod tests;
mod types;
mod view;

pub use change::{ConfigLock, LOCK_WITHIN, LockError, replace};
pub use env::Env;
pub use error::{Error, PluginError};
pub use exec::Plugin;
pub use merged::{Entry, Kubeconfig, default_path};
pub use overrides::Overrides;
pub use target::Target;
pub use types::as_written;
pub use view::{View, view};
