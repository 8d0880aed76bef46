//! Where a cluster begins: no rewind of everything leads to an earlier revision.

use crate::auth::policy;
use crate::state::State;
use crate::storage::cache::ROOT;
use crate::storage::store::{key_of, status_of};
use crate::undo::restore::NO_SUCH_REVISION;
use api::Status;
use etcd::api::{Error, RangeRequest, Revision};

impl State {
    /// Checks that the bootstrap of the cluster was complete at a revision.
    ///
    /// Example: revision 1 is the empty store. A rewind to it would remove all roles with the rest.
    /// Controllers and kubelets would get 403 until an API server starts again, because roles are
    /// made only then.
    ///
    /// The bootstrap makes the namespaces first and the `kubernetes` Service last, behind the
    /// roles. A person may have deleted that Service or a role later, so one of the two is enough.
    ///
    /// # Errors
    /// 400 for a revision before that; those of the store.
    pub(super) async fn check_bootstrapped(&self, at: Revision) -> Result<(), Status> {
        let is_bootstrapped = self.had("namespaces/kube-system", at).await?
            && (self.had("services/default/kubernetes", at).await?
                || self.had(&last_role().unwrap_or_default(), at).await?);
        if is_bootstrapped {
            return Ok(());
        }
        let message = format!(
            "revision {at} is none of this cluster's: its namespaces and roles were made later; choose a later one"
        );
        Err(Status::new(400, NO_SUCH_REVISION, message))
    }

    /// Returns whether the registry had a key at a revision. A revision that is no longer kept
    /// counts as one that had it: the read of the whole registry refuses it.
    async fn had(&self, key: &str, at: Revision) -> Result<bool, Status> {
        let asked = RangeRequest { key: format!("{ROOT}{key}").into(), revision: at, ..Default::default() };
        match self.kv.range(asked).await {
            Ok(found) => Ok(!found.kvs.is_empty()),
            Err(Error::Compacted { .. }) => Ok(true),
            Err(other) => Err(status_of(other)),
        }
    }
}

/// The key of the last role or binding that the bootstrap makes.
fn last_role() -> Option<String> {
    let role = policy::objects().pop()?;
    let kind = policy::kind_of(&role)?;
    Some(format!("{}/{}", kind.place(), key_of(kind, &role)))
}
