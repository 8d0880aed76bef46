//! The handle of one API server.

use crate::state::State;
use futures::future::BoxFuture; // compiled in this room once, not in each that awaits it
use std::net::SocketAddr;
use std::sync::Arc;
use tap::Tap;
use task::Crew;

/// One API server. Clones are handles to the same one.
#[derive(Clone)]
pub struct Server {
    pub(crate) state: Arc<State>,
    pub(crate) tap: Tap,
    pub(crate) crew: Crew,
}

impl Server {
    /// Returns whether both are handles to the same server.
    pub fn is(&self, other: &Server) -> bool {
        Arc::ptr_eq(&self.state, &other.state)
    }

    /// Waits until the server is ready for requests for the first time.
    pub async fn ready(&self) {
        let mut started = self.state.started.subscribe();
        let _ = started.wait_for(|s| *s).await;
    }

    /// Returns whether requests may be sent here now, as `/readyz` answers it.
    pub fn is_ready(&self) -> BoxFuture<'_, bool> {
        Box::pin(async move { self.state.ready().await.is_ok() })
    }

    /// True if the client of the connection that comes from this address and port has
    /// authenticated.
    pub fn is_known(&self, from: SocketAddr) -> bool {
        self.state.known.lock().is_authenticated(from)
    }

    /// Returns the tasks of this server: stop or kill them here. Listeners end with them.
    pub fn crew(&self) -> &Crew {
        &self.crew
    }
}
