//! Where a cluster begins: no way back of everything leads to an earlier revision.

use crate::auth::policy;
use crate::state::State;
use crate::storage::cache::ROOT;
use crate::storage::store::{key_of, status_of};
use crate::undo::restore::NO_SUCH_REVISION;
use api::Status;
use etcd::api::{Error, RangeRequest, Revision};
use tap::Journey;

/// The workloads of the addons, in `kube-system`.
const ADDONS: [(&str, &str); 3] =
    [("deployments", "coredns"), ("daemonsets", "kube-proxy"), ("deployments", "storage-provisioner")];

impl State {
    /// Checks that a way back of everything leads to a cluster that works. A redo leads to where
    /// one was.
    ///
    /// # Errors
    /// Those of the two checks.
    pub(super) async fn check_origin(&self, way: Journey) -> Result<(), Status> {
        match way {
            Journey::Redo(_) => Ok(()),
            Journey::Undo(to) => self.check_addons(way, to).await,
            Journey::Rewind(to) => {
                self.check_bootstrapped(to).await?;
                self.check_addons(way, to).await
            }
        }
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

    /// Checks that the addons that the cluster has now were made at a revision. Each start makes
    /// those that are missing, and nothing does so later.
    ///
    /// Example: a person's first command comes while the cluster still starts, at revision 7. The
    /// addons are made at 12 to 71. An undo of that command leads to 6, where no Service has a
    /// name.
    ///
    /// A person may have deleted one of them by then, so most of them are enough.
    ///
    /// # Errors
    /// 400 for the revision of a rewind and 409 for an undo that lead to before that; those of the
    /// store.
    async fn check_addons(&self, way: Journey, at: Revision) -> Result<(), Status> {
        let (mut now, mut then) = (0, 0);
        for (resource, name) in ADDONS {
            let key = format!("kube-system/{name}");
            if self.cache.get(resource, &key).is_some() {
                now += 1;
                then += usize::from(self.had(&format!("{resource}/{key}"), at).await?);
            }
        }
        if now == 0 || 2 * then > now {
            return Ok(());
        }
        let message = format!(
            "the cluster does not go back to revision {at}: its addons (DNS, kube-proxy, the default StorageClass) were made later, and nothing makes them again before the next start"
        );
        Err(match way {
            Journey::Rewind(_) => Status::new(400, NO_SUCH_REVISION, message),
            _ => Status::new(409, "Conflict", message),
        })
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
