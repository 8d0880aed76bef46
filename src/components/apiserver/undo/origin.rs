//! Where a cluster begins: no way back of everything leads to an earlier revision.

use crate::auth::policy;
use crate::state::State;
use crate::storage::keys::{ROOT, key_of};
use crate::storage::store::status_of;
use crate::undo::restore::{BEFORE_ADDONS, NO_SUCH_REVISION};
use api::Status;
use etcd::api::{Error, RangeRequest, Revision};
use tap::Journey;

/// The workloads of the addons, in `kube-system`.
const ADDONS: [(&str, &str); 3] =
    [("deployments", "coredns"), ("daemonsets", "kube-proxy"), ("deployments", "storage-provisioner")];

impl State {
    /// Checks that a way back of everything leads to a cluster that works. Only a rewind can lead
    /// to before the bootstrap: the steps of people come later.
    ///
    /// # Errors
    /// Those of the two checks.
    pub(super) async fn check_origin(&self, way: Journey) -> Result<(), Status> {
        if let Journey::Rewind(to) = way {
            self.check_bootstrapped(to).await?;
        }
        self.check_addons(way).await
    }

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
    async fn check_bootstrapped(&self, at: Revision) -> Result<(), Status> {
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

    /// Checks that the addons that the cluster has now were made where a way back leads. Each start
    /// makes those that are missing, and nothing does so later.
    ///
    /// ```text
    /// 7        a person's first command, while the cluster still starts
    /// 12..71   the addons are made
    /// undo     of that command: to 6, where no Service has a name: refused
    ///
    /// 7        a person's first command
    /// 8        its undo, to 6
    /// 12..71   the addons are made; no person's write, so there is still something to redo
    /// redo     to 7: refused
    ///
    /// 90       a person deletes all addons
    /// 91       the undo brings them back
    /// redo     takes away what the undo has made: allowed
    /// ```
    ///
    /// A person may have deleted one of them by then, so most of them are enough.
    ///
    /// # Errors
    /// 409 if it leads to before that; those of the store.
    async fn check_addons(&self, way: Journey) -> Result<(), Status> {
        let at = way.to();
        // Addons that were made until then have not come since.
        let until = match way {
            Journey::Redo(_) => self.cache.steps.snapshot().undone_at,
            Journey::Undo(_) | Journey::Rewind(_) => at,
        };
        let (mut now, mut then) = (0, 0);
        for (resource, name) in ADDONS {
            let key = format!("{resource}/kube-system/{name}");
            if let Some(made) = self.made_at(&key).await? {
                now += 1;
                then += usize::from(made <= until || self.had(&key, at).await?);
            }
        }
        if now == 0 || 2 * then > now {
            return Ok(());
        }
        let message = format!(
            "the cluster does not go back to revision {at}: its addons (DNS, kube-proxy, the default StorageClass) were made later, and nothing makes them again before the next start"
        );
        Err(Status::new(409, BEFORE_ADDONS, message))
    }

    /// Returns the revision at which a key of the registry was made; `None` if it is not there now.
    async fn made_at(&self, key: &str) -> Result<Option<Revision>, Status> {
        let request = RangeRequest { key: format!("{ROOT}{key}").into(), ..Default::default() };
        let found = self.kv.range(request).await.map_err(status_of)?;
        Ok(found.kvs.first().map(|kv| kv.create_revision))
    }

    /// Returns whether the registry had a key at a revision. A revision that is no longer kept
    /// counts as one that had it: the read of the whole registry refuses it.
    async fn had(&self, key: &str, at: Revision) -> Result<bool, Status> {
        let request = RangeRequest { key: format!("{ROOT}{key}").into(), revision: at, ..Default::default() };
        match self.kv.range(request).await {
            Ok(found) => Ok(!found.kvs.is_empty()),
            Err(Error::Compacted { .. }) => Ok(true),
            Err(other) => Err(status_of(other)),
        }
    }
}

/// Returns the key of the last role or binding that the bootstrap makes.
fn last_role() -> Option<String> {
    let role = policy::objects().pop()?;
    let kind = policy::kind_of(&role)?;
    Some(format!("{}/{}", kind.place(), key_of(kind, &role)))
}
