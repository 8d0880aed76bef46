//! How the zygote makes a child: by itself, or through a helper that ends afterwards.

use super::init::ChildContext;
use super::spec::{Answer, Role};
use super::words::line_of;
use linux::Context;
use linux::process::{self, flags, spawn_forked};
use std::os::fd::{AsFd, BorrowedFd};

/// Makes a child of main and tells main about it.
pub(super) fn spawn_child(
    context: &ChildContext,
    cgroup: Option<BorrowedFd<'_>>,
    wanted: u64,
    run: impl FnOnce() -> i32,
) -> linux::Result<()> {
    let child =
        spawn_forked(wanted | flags::PARENT, cgroup, |_| run()).during(|| "cannot clone a process".into())?;
    let sent = context.answer(&Answer::Child(child.pid), &[child.pidfd.as_fd()]);
    if sent.is_err() {
        // Main does not know of the process, so it would never end it.
        let _ = process::pidfd_send_signal(child.pidfd.as_fd(), nix::libc::SIGKILL);
    }
    sent
}

/// Does what the zygote cannot do to itself, in a process that ends afterwards. It is in the cgroup
/// that came with the request.
pub(super) fn run_in_helper(
    context: &ChildContext,
    work: impl FnOnce() -> linux::Result<()>,
) -> linux::Result<()> {
    let run = |_| match context.answer(&helper_started(), &[]).and_then(|()| work()) {
        Ok(()) => 0,
        Err(e) => {
            let _ = context.answer(&Answer::Failed(line_of(&e)), &[]);
            1
        }
    };
    let cgroup = context.fd(Role::Cgroup).ok();
    spawn_forked(flags::PARENT, cgroup, run).during(|| "cannot clone a helper".into()).map(drop)
}

/// Returns what a helper process tells main before it does anything else.
pub(super) fn helper_started() -> Answer {
    Answer::Helper(std::process::id().cast_signed())
}
