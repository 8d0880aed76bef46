//! # The kernel, behind functions that cannot be misused
//!
//! ## In Kubernetes
//! A node is mostly Linux: namespaces make a container's world, cgroups bound what it may use,
//! capabilities and seccomp what it may ask for. runc makes these calls; containerd and the kubelet
//! decide which.
//! ## How this one works
//! Every system call that Rust's standard library or `nix` has no safe form for is here, and
//! `unsafe` is nowhere else. Read [`boot`] first. It explains the four processes of a cluster: the
//! *supervisor* (S) outside, *main* (M), which is pid 1 of a private PID namespace and runs the
//! components, the *zygote* (Z) beside it, which makes containers, and the *janitor*, which removes
//! control groups when S is gone. M waits for the containers that Z has made.
//!
//! | for | modules |
//! |---|---|
//! | processes | [`boot`], [`process`] (clone3, pidfds), [`signal`], [`reap`] (no zombies below pid 1), [`lock`] |
//! | namespaces of a container | [`namespace`] (runs code in a network namespace on a thread of its own), [`user`] and [`ranges`] (user namespaces and their ids), [`mount`] (root file systems) |
//! | what a container may use | [`cgroup`] (v1, hybrid and v2), [`limits`], [`oom`] (which process the kernel ends first), [`usage`] |
//! | what a container may ask for | [`confine`] (capabilities), [`seccomp`] |
//! | files of pods | [`beneath`] resolves each path that a pod chooses; [`tree`] measures and removes what a pod wrote, and [`trash`] first moves it out of the pods' reach |
//! | descriptors and sockets | [`fds`] passes descriptors, [`descriptors`] keeps a reserve that connections cannot take, [`connection_bounds`] says which unknown client makes room for another; [`tcp`], [`udp`], and [`relay`] (splice between two connections) |
//! | shells and terminals | [`pty`], [`fork`], [`trap`], [`script_fds`] |
//! | names of users and groups | [`accounts`] |
//! | the machine | [`probe`] says what it allows and how to mend what it does not, [`required_calls`] which system calls it refuses |
//! ## Left out
//! Nothing here knows what a pod or a container image is. Other architectures
//! than x86_64 and aarch64 have no seccomp filter.
//! ## Read next
//! [`boot`], then `runtime`, which builds containers from these parts.

#![warn(missing_docs)]

pub mod accounts;
pub mod beneath;
pub mod boot;
pub mod cgroup;
pub mod confine;
pub mod connection_bounds;
pub mod descriptors;
pub mod fds;
pub mod fork;
pub mod limits;
pub mod lock;
pub mod mount;
pub mod namespace;
pub mod oom;
pub mod probe;
pub mod process;
pub mod pty;
pub mod ranges;
pub mod reap;
pub mod relay;
mod required_calls;
pub mod script_fds;
pub mod seccomp;
pub mod signal;
pub mod tcp;
pub mod trap;
pub mod trash;
pub mod tree;
pub mod udp;
pub mod usage;
pub mod user;

use std::io;

/// A system call that failed: what was tried, and the kernel's answer as its source.
#[derive(Debug, thiserror::Error)]
#[error("{what}")]
pub struct Error {
    /// What was tried, with its object: `cannot mount /proc`.
    pub what: String,
    /// The kernel's answer, e.g. `EPERM` as `Operation not permitted`.
    #[source]
    pub cause: io::Error,
}

/// What a system call returned, or its [`Error`].
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// Makes an error from what was tried, e.g. `cannot open /x`, and why it failed.
    pub fn new(what: impl Into<String>, cause: impl Into<io::Error>) -> Error {
        Error { what: what.into(), cause: cause.into() }
    }

    /// Returns `what: cause` on one line, for logs and for messages that cross a process border.
    pub fn line(&self) -> String {
        format!("{}: {}", self.what, self.cause)
    }
}

/// Says what was tried when a call fails.
pub trait Context<T> {
    /// Turns the error into an [`Error`]; `what` is called only then.
    fn during(self, what: impl FnOnce() -> String) -> Result<T>;
}

impl<T, E: Into<io::Error>> Context<T> for std::result::Result<T, E> {
    fn during(self, what: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|cause| Error { what: what(), cause: cause.into() })
    }
}

/// Reads a file of /proc. Names in it, of processes and of mount points, may be any bytes, and the
/// kernel cuts that of a process after 15 of them: what is no UTF-8 is replaced.
pub(crate) fn read_text(path: impl AsRef<std::path::Path>) -> io::Result<String> {
    Ok(String::from_utf8_lossy(&std::fs::read(path)?).into_owned())
}

/// Turns a raw system call's answer into a `Result`.
pub(crate) fn check(answer: i64) -> io::Result<i64> {
    if answer < 0 { Err(io::Error::last_os_error()) } else { Ok(answer) }
}

/// Writes a line to standard error, if that takes it. Standard error of a cluster's processes is
/// the log: on a full disk `eprintln!` would panic, and the cluster would end with its zygote.
pub fn say(line: impl std::fmt::Display) {
    let _ = io::Write::write_all(&mut io::stderr(), format!("ropewalk: {line}\n").as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Command, Stdio};

    /// Set in the process that the test below runs.
    const INSIDE: &str = "ROPEWALK_TEST_SAY";
    /// The exit code of that process after the line. A run of no test at all would end with 0.
    const SAID: i32 = 7;

    /// Not a test of its own: what the one below runs in a process.
    #[test]
    fn says_a_line() {
        if std::env::var_os(INSIDE).is_some() {
            say("a line");
            std::process::exit(SAID);
        }
    }

    #[test]
    fn a_line_that_a_full_disk_does_not_take_ends_no_process() {
        let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "tests::says_a_line", "--nocapture"]).env(INSIDE, "1");
        let ended = command.stdout(Stdio::null()).stderr(full).status().unwrap();
        assert_eq!(ended.code(), Some(SAID));
    }
}
