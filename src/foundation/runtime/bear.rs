//! How the zygote makes a child: by itself, or through a helper that ends afterwards.

use super::init::Birth;
use super::spec::{Answer, Role};
use super::words::line_of;
use linux::Context;
use linux::process::{self, flags, spawn_forked};
use std::os::fd::{AsFd, BorrowedFd};

/// Makes a child of main and tells main about it.
pub(super) fn bear(
    birth: &Birth,
    cgroup: Option<BorrowedFd<'_>>,
    wanted: u64,
    life: impl FnOnce() -> i32,
) -> linux::Result<()> {
    let child = spawn_forked(wanted | flags::PARENT, cgroup, |_| life())
        .during(|| "cannot clone a process".into())?;
    let announced = birth.answer(&Answer::Born(child.pid), &[child.pidfd.as_fd()]);
    if announced.is_err() {
        // Main does not know of the process, so it would never end it.
        let _ = process::pidfd_send_signal(child.pidfd.as_fd(), nix::libc::SIGKILL);
    }
    announced
}

/// Does what the zygote cannot do to itself, in a process that ends afterwards. It is in the cgroup
/// that came with the request.
pub(super) fn in_helper(birth: &Birth, work: impl FnOnce() -> linux::Result<()>) -> linux::Result<()> {
    let life = |_| match birth.answer(&helps(), &[]).and_then(|()| work()) {
        Ok(()) => 0,
        Err(e) => {
            let _ = birth.answer(&Answer::Failed(line_of(&e)), &[]);
            1
        }
    };
    let cgroup = birth.fd(Role::Cgroup).ok();
    spawn_forked(flags::PARENT, cgroup, life).during(|| "cannot clone a helper".into()).map(drop)
}

/// Returns what a helper process tells main before it does anything else.
pub(super) fn helps() -> Answer {
    Answer::Helps(std::process::id().cast_signed())
}
