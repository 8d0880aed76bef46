//! The entry of one verb. Its look-ups of other verbs and flags stand beside the table.

use crate::ctx::{Ctx, command_path};
use crate::error::Fail;
use crate::flag::Flag;
use futures::future::BoxFuture;

/// The function that runs a verb.
pub(crate) type Run = for<'a> fn(&'a Ctx) -> BoxFuture<'a, Result<(), Fail>>;

/// One verb, e.g. `rollout status`.
pub struct Verb {
    /// Words after `kubectl`, separated by a space.
    pub path: &'static str,
    /// Other names of the last word.
    pub(crate) aliases: &'static [&'static str],
    pub(crate) short: &'static str,
    /// The usage line without `kubectl `.
    pub(crate) usage: &'static str,
    /// The verb's own flags, without the global ones.
    pub flags: &'static [Flag],
    /// Flags that must be given.
    pub(crate) required: &'static [&'static str],
    pub(crate) run: Run,
}

impl Verb {
    /// The last word.
    pub fn name(&self) -> &'static str {
        self.path.rsplit(' ').next().unwrap_or("")
    }

    /// `kubectl rollout status`
    pub fn command_path(&self) -> String {
        command_path(self.path)
    }
}
