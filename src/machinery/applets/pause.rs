//! The program that does nothing: a pod's namespaces belong to its process. As pid 1 of a pod whose
//! containers share their processes it collects orphans.

use nix::sys::signal::{SigSet, Signal};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};

pub(crate) fn main() -> i32 {
    let signals: SigSet = [Signal::SIGTERM, Signal::SIGINT, Signal::SIGCHLD].into_iter().collect();
    // No others stay blocked: a runtime may hold stop signals until this program waits for them.
    if signals.thread_set_mask().is_err() {
        return 1;
    }
    loop {
        match signals.wait() {
            Ok(Signal::SIGCHLD) => {
                while !matches!(
                    waitpid(None, Some(WaitPidFlag::WNOHANG)),
                    Err(_) | Ok(WaitStatus::StillAlive)
                ) {}
            }
            Ok(_) => return 0,
            Err(nix::errno::Errno::EINTR) => {}
            Err(_) => return 1,
        }
    }
}
