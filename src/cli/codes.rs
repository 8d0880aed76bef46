//! Exit codes.

/// Exit code of a command that was written wrongly.
pub(crate) const USAGE: i32 = 2;

/// Exit code of `status`: the cluster does not run. As of an init script (LSB, "Init Script
/// Actions"), and so is the next one.
pub(crate) const NOT_RUNNING: i32 = 3;

/// Exit code of `status`: whether the cluster runs cannot be found out.
pub(crate) const UNKNOWN: i32 = 4;
