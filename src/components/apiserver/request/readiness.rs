//! `/livez`, `/readyz` and `/healthz`: whether this server lives, and whether it can serve requests
//! (upstream: `apiserver/pkg/server/healthz`).
//!
//! Anonymous clients may ask, and no bound on requests holds for health checks. So the store is
//! asked at most once in [`REMEMBERED`]; requests that come meanwhile wait for that answer or get
//! the last one. `/livez` and `/healthz` do not ask the store: a server that waits for it is alive.

use crate::request::http::{Answer, Query, not_found_page, plain};
use crate::state::State;
use api::gostr::quote;
use clock::Instant;
use std::collections::BTreeSet;
use std::time::Duration;

/// A server whose store does not answer in this time is not ready.
pub(crate) const READY_TIMEOUT: Duration = Duration::from_millis(400);
/// How long an answer of the store is remembered.
const REMEMBERED: Duration = Duration::from_secs(1);

const STORE: &str = "etcd";
const BOOTSTRAP: &str = "poststarthook/bootstrap";

impl State {
    /// Asks the store whether the server is ready.
    ///
    /// # Errors
    /// Why it is not.
    pub(crate) async fn ready(&self) -> Result<(), String> {
        self.has_started()?;
        self.store_answers().await
    }

    /// Checks that the server has made what every cluster has.
    fn has_started(&self) -> Result<(), String> {
        let started = *self.started.borrow();
        if started { Ok(()) } else { Err("not finished".to_string()) }
    }

    /// Asks the store for a barrier.
    ///
    /// # Errors
    /// Its error, or that it does not answer within [`READY_TIMEOUT`].
    async fn store_answers(&self) -> Result<(), String> {
        match tokio::time::timeout(READY_TIMEOUT, self.kv.read_barrier()).await {
            Ok(answer) => answer.map_err(|error| error.to_string()),
            Err(_) => Err("no answer".to_string()),
        }
    }

    /// Asks the store as [`State::store_answers`] does, for clients: at most once in
    /// [`REMEMBERED`]. Requests that come meanwhile get the same answer.
    async fn store_answered_lately(&self) -> Result<(), String> {
        let mut last = self.readiness.0.lock().await;
        if let Some((begun, answer)) = &*last
            && begun.elapsed() < REMEMBERED
        {
            return answer.clone();
        }
        let begun = Instant::now();
        let answer = self.store_answers().await;
        *last = Some((begun, answer.clone()));
        answer
    }

    /// Carries out one check of a health page.
    ///
    /// # Errors
    /// Why it fails.
    async fn check(&self, name: &str) -> Result<(), String> {
        match name {
            STORE => self.store_answered_lately().await,
            BOOTSTRAP => self.has_started(),
            _ => Ok(()), // ping: there is an answer
        }
    }
}

/// Answers the health page `page` (`livez`, `readyz` or `healthz`). It has a line for each check
/// with `?verbose` and if a check fails; `?exclude=NAME` leaves a check out. As upstream it
/// withholds the reason of a failure: anonymous clients may read it.
pub(crate) async fn health(state: &State, page: &str, query: &Query) -> Answer {
    let mut unknown: BTreeSet<&str> = query.all("exclude").collect();
    let (mut lines, mut failed) = (String::new(), false);
    for name in checks_of(page) {
        let line = match unknown.remove(name) {
            true => format!("[+]{name} excluded: ok\n"),
            false => match state.check(name).await {
                Ok(()) => format!("[+]{name} ok\n"),
                Err(why) => {
                    tracing::debug!(page, check = name, why, "a health check failed");
                    failed = true;
                    format!("[-]{name} failed: reason withheld\n")
                }
            },
        };
        lines.push_str(&line);
    }
    if !unknown.is_empty() {
        let names: Vec<String> = unknown.iter().map(|name| quote(name)).collect();
        let names = names.join(",");
        lines.push_str(&format!("warn: some health checks cannot be excluded: no matches for {names}\n"));
    }
    match (failed, query.has("verbose")) {
        (true, _) => plain(500, format!("{lines}{page} check failed\n")),
        (false, true) => plain(200, format!("{lines}{page} check passed\n")),
        (false, false) => plain(200, "ok"),
    }
}

/// Answers one check of a health page, such as `/readyz/etcd`, with the reason if it fails: reading
/// it takes a right of its own. 404 if the page has no such check.
pub(crate) async fn health_check(state: &State, page: &str, name: &str) -> Answer {
    if !checks_of(page).contains(&name) {
        return not_found_page();
    }
    match state.check(name).await {
        Ok(()) => plain(200, "ok"),
        Err(why) => plain(500, format!("internal server error: {why}\n")),
    }
}

/// Returns upstream's names of the checks that this server has.
pub(super) fn checks_of(page: &str) -> &'static [&'static str] {
    if page == "readyz" { &["ping", STORE, BOOTSTRAP] } else { &["ping"] }
}
