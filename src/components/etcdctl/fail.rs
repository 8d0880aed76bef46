//! Why a command failed, with etcdctl's exit codes.

/// etcdctl's exit codes.
pub(crate) const FAILED: i32 = 1;
pub(crate) const CONNECTION: i32 = 2;
pub(crate) const INPUT: i32 = 3;
pub(crate) const FEATURE: i32 = 4;
pub(crate) const CANCELED: i32 = 5;
pub(crate) const FILE: i32 = 6;
pub(crate) const ARGUMENTS: i32 = 128;
/// The exit code of a command that was interrupted.
pub(crate) const INTERRUPTED: i32 = 130;
/// The exit code of a command whose output is read no more: that of SIGPIPE in a shell.
pub(crate) const READER_LEFT: i32 = 141;

/// Why a command failed, for people, and its exit code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fail {
    pub code: i32,
    pub text: String,
}

impl Fail {
    /// A failure with one of etcdctl's exit codes; an empty text prints nothing.
    pub(crate) fn new(code: i32, text: impl Into<String>) -> Fail {
        Fail { code, text: text.into() }
    }
    /// A failure because of the arguments on the command line: exit code 128.
    pub(crate) fn arguments(text: impl Into<String>) -> Fail {
        Fail::new(ARGUMENTS, text)
    }
}
