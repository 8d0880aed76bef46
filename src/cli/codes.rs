//! Exit codes.

/// Exit code of a command that was written wrongly.
pub(crate) const USAGE: i32 = 2;
