//! What is known of connections, by the address and port that they come from.

use super::forwarded::Clients;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;

/// All listeners of a server share it.
pub(crate) type Known = Arc<Mutex<Sources>>;

#[derive(Default)]
pub(crate) struct Sources {
    /// How many connections from each address and port have authenticated. A client may use one
    /// port towards two listeners, and the kernel gives the port of a connection that was reset to
    /// the next one before this server has dropped the first.
    authenticated: HashMap<SocketAddr, usize>,
    /// The clients for which a balancer makes connections ([`super::forwarded`]).
    pub(super) clients: Clients,
}

impl Sources {
    /// Returns whether a connection from this address and port has authenticated.
    pub(crate) fn is_authenticated(&self, from: SocketAddr) -> bool {
        self.authenticated.contains_key(&from)
    }

    /// Counts a connection that has authenticated.
    pub(super) fn add_authenticated(&mut self, from: SocketAddr) {
        *self.authenticated.entry(from).or_default() += 1;
    }

    /// Takes such a connection off the count when it ends.
    pub(super) fn remove_authenticated(&mut self, from: SocketAddr) {
        let Some(count) = self.authenticated.get_mut(&from) else { return };
        *count -= 1;
        if *count == 0 {
            self.authenticated.remove(&from);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_connection_forgets_no_other_one_from_its_port() {
        let mut sources = Sources::default();
        let from = SocketAddr::from(([127, 0, 0, 1], 40_000));
        sources.add_authenticated(from); // it was reset, and is not dropped yet
        sources.add_authenticated(from);
        sources.remove_authenticated(from);
        assert!(sources.is_authenticated(from));
        sources.remove_authenticated(from);
        assert!(!sources.is_authenticated(from) && sources.authenticated.is_empty());
    }
}
