//! `/readyz`: whether this server can serve requests.
//!
//! Anonymous clients may ask, and no bound on requests holds for health checks. So the store is
//! asked at most once in [`REMEMBERED`]; requests that come meanwhile wait for that answer or get
//! the last one. `/livez` and `/healthz` do not ask the store: a server that waits for it is alive.

use crate::State;
use clock::Instant;
use std::time::Duration;
use tokio::sync::Mutex;

/// A server whose store does not answer in this time is not ready.
pub(crate) const READY_TIMEOUT: Duration = Duration::from_millis(400);
/// How long an answer of the store is remembered.
const REMEMBERED: Duration = Duration::from_secs(1);

/// The last answer of the store, and when it was asked for.
#[derive(Default)]
pub(crate) struct Readiness(Mutex<Option<(Instant, Result<(), String>)>>);

impl State {
    /// Asks the store whether the server is ready.
    ///
    /// # Errors
    /// Why it is not.
    pub(crate) async fn ready(&self) -> Result<(), String> {
        if !*self.started.borrow() {
            return Err("[-]poststarthook/bootstrap failed: not finished".to_string());
        }
        match tokio::time::timeout(READY_TIMEOUT, self.kv.read_barrier()).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(format!("[-]etcd failed: {error}")),
            Err(_) => Err("[-]etcd failed: no answer".to_string()),
        }
    }

    /// The same for clients: the store is asked at most once a second.
    ///
    /// # Errors
    /// Why the server is not ready.
    pub(crate) async fn remembered_ready(&self) -> Result<(), String> {
        let mut last = self.readiness.0.lock().await;
        if let Some((asked, answer)) = &*last
            && asked.elapsed() < REMEMBERED
        {
            return answer.clone();
        }
        let asked = Instant::now();
        let answer = self.ready().await;
        *last = Some((asked, answer.clone()));
        answer
    }
}
