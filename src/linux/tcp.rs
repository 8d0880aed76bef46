//! TCP's patience.

use nix::sys::socket::{setsockopt, sockopt};
use std::io;
use std::os::fd::AsFd;
use std::time::Duration;

/// Ends the connection when sent bytes stay unacknowledged for this long, in whole milliseconds (`TCP_USER_TIMEOUT`, tcp(7)).
pub fn give_up_after(socket: &impl AsFd, patience: Duration) -> io::Result<()> {
    let millis = u32::try_from(patience.as_millis()).unwrap_or(u32::MAX);
    Ok(setsockopt(socket, sockopt::TcpUserTimeout, &millis)?)
}
