//! The memory for heads of requests that have not come whole. [`super::http_head`] says who takes
//! it.

use crate::flowcontrol::flow::{Flow, Level};
use crate::flowcontrol::pool::{Place, Pool};
use std::net::IpAddr;
use std::sync::Arc;

/// KiB of heads at a time on connections whose clients have not authenticated.
pub(super) const STRANGERS_KIB: usize = 8 << 10;
/// KiB of heads at a time on all other connections.
pub(super) const KNOWN_KIB: usize = 32 << 10;

/// The memory for the heads of one listener.
pub(crate) struct Heads {
    pub(super) strangers: Arc<Pool>,
    pub(super) known: Arc<Pool>,
}

impl Default for Heads {
    fn default() -> Heads {
        Heads { strangers: Pool::new(STRANGERS_KIB), known: Pool::new(KNOWN_KIB) }
    }
}

impl Heads {
    /// Takes memory for a head: on the account of the connection's user, or of its source before
    /// one has authenticated. `None` if the account, or all together, have as much as they may.
    pub(super) fn take(&self, user: Option<&Flow>, source: IpAddr, kib: usize) -> Option<Place> {
        match user {
            Some(flow) => self.known.take(flow, kib),
            None => self.strangers.take(&Flow { level: Level::Users, account: account(source) }, kib),
        }
    }
}

/// Returns the account of a source. All addresses of the loopback network are one: every user of
/// this machine has all of them.
fn account(source: IpAddr) -> String {
    match source.to_canonical() {
        IpAddr::V4(v4) if v4.is_loopback() => "127.0.0.0/8".into(),
        source => source.to_string(),
    }
}
