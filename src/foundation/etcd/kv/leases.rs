//! Calls about leases, whose keys are deleted when their holder no longer renews them.

use super::super::api::Error;
use super::super::command::Command;
use super::super::lease::{LEASE_SIZE, LeaseTtl};
use super::super::machine::Outcome;
use super::super::question::{Answer, Question};
use super::{Kv, REQUEST_TIMEOUT};
use std::time::Duration;

/// A question to the leader that is not answered is asked again after this time.
const ASK_AGAIN: Duration = Duration::from_millis(500);
/// Between two questions, if no member could answer the first one (etcd: 50 ms).
const ASK_PAUSE: Duration = Duration::from_millis(50);

/// Shortest lease in whole seconds: one and a half election timeouts, so that a change of leader
/// alone ends no lease. It is 2 with etcd's defaults, by which the timeout is four times as long.
pub(crate) const LEASE_TTL_MIN: i64 = 1;

impl Kv {
    /// Grants a lease and returns its id. `id` 0 lets the store choose one. A TTL below
    /// [`LEASE_TTL_MIN`] seconds is raised to that.
    ///
    /// # Errors
    /// - `LeaseExist` if the id is in use.
    /// - `LeaseTtlTooLarge` above 9 000 000 000 s.
    /// - Those of every write ([`Kv`]).
    pub async fn lease_grant(&self, ttl_seconds: i64, id: i64) -> Result<i64, Error> {
        self.check_quota(LEASE_SIZE).await?;
        let id = if id != 0 { id } else { (self.rng.u64() >> 1) as i64 | 1 };
        self.propose(Command::LeaseGrant { id, ttl: ttl_seconds.max(LEASE_TTL_MIN) }).await?;
        Ok(id)
    }

    /// Revokes a lease and deletes its keys. Errors: `LeaseNotFound`.
    pub(crate) async fn lease_revoke(&self, id: i64) -> Result<(), Error> {
        self.propose(Command::LeaseRevoke { id }).await.map(drop)
    }

    /// Renews a lease and returns its TTL in seconds. Errors: `LeaseNotFound`.
    pub(crate) async fn lease_keep_alive(&self, id: i64) -> Result<i64, Error> {
        match self.propose(Command::LeaseRenew { id }).await? {
            Outcome::Renewed(ttl) => Ok(ttl),
            Outcome::Done | Outcome::Txn(_) => Err(Error::Stopped),
        }
    }

    /// Returns what is known of a lease: keys and TTL as this member knows them, and the time that
    /// is left, which only the leader knows, as in etcd. Errors: `LeaseNotFound`.
    pub(crate) async fn lease_time_to_live(&self, id: i64) -> Result<LeaseTtl, Error> {
        self.read_barrier().await?;
        let (granted, keys) = self.shared.leases().ttl_and_keys(id)?;
        let left = clock::limit(REQUEST_TIMEOUT, self.lease_left(id)).await.unwrap_or(Err(Error::Timeout))?;
        Ok(LeaseTtl { granted, remaining: left.as_secs() as i64, keys })
    }

    /// Returns how long the leader lets a lease live that is not renewed. Asks until it answers.
    /// Errors: `LeaseNotFound`.
    pub(crate) async fn lease_left(&self, id: i64) -> Result<Duration, Error> {
        loop {
            let pending = self.backend.ask(&Question::LeaseLeft { id })?;
            // Without an answer the question was lost, or the answer, or the leader is behind.
            let Some(answer) = clock::limit(ASK_AGAIN, pending).await else { continue };
            // The sender is gone only if the member is.
            let Some(bytes) = answer.unwrap_or(Err(Error::Stopped))? else {
                clock::pause(ASK_PAUSE).await;
                continue;
            };
            let Answer::LeaseLeft(left) = Answer::decode(&bytes).map_err(|_| Error::NoLeader)?;
            return left.ok_or(Error::LeaseNotFound);
        }
    }

    /// Returns all leases that this member knows, the one that ends first before the others. As
    /// etcd's `LeaseLeases` it asks no leader.
    pub fn leases(&self) -> Vec<i64> {
        // Sorted without the lock, for which every write waits.
        let mut leases = self.shared.leases().ends();
        leases.sort_unstable();
        leases.into_iter().map(|(_, id)| id).collect()
    }
}
