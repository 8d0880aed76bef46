//! How the binding of a pod waits for the volumes that were requested for its open claims, until
//! every claim has one. Upstream: `checkBindings` in
//! `pkg/scheduler/framework/plugins/volumebinding/binder.go`.

use super::Scheduler;
use super::requests::{Requested, version_of};
use crate::node_info::NodeInfo;
use crate::volumes::Choice;
use api::volumes::{SELECTED_NODE, is_bound, is_reserved_for};
use client::Key;
use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim, Pod};
use std::time::Duration;

/// The claims of a pod that wait for their first consumer get this long, together, to be bound.
const BIND_TIMEOUT: Duration = Duration::from_secs(600);
/// The words of upstream's message when that time is over; they are Go's.
const TIMED_OUT: &str = "context deadline exceeded";

impl Scheduler {
    /// Waits until every claim of the pod is bound to a volume that the cache shows.
    ///
    /// # Errors
    /// A claim, the pod or its node is gone, a claim gets no volume there any more, or the time is
    /// over.
    pub(super) async fn await_volumes(
        &self,
        requested: &[Requested],
        node: &str,
        key: &Key,
        pod: &Pod,
    ) -> Result<(), String> {
        let mut news = self.news.subscribe();
        let bound = async {
            while self.first_unbound(requested, node, key, pod)?.is_some() {
                news.changed().await.map_err(|_| "the scheduler is gone".to_string())?;
            }
            Ok::<(), String>(())
        };
        if let Some(ended) = clock::limit(BIND_TIMEOUT, bound).await {
            return ended;
        }
        match self.first_unbound(requested, node, key, pod)? {
            Some(claim) => Err(format!("{TIMED_OUT}: claim {claim} is not bound")),
            None => Ok(()),
        }
    }

    /// Returns the first claim that has no known volume yet; `None` if all have one. Looks at all
    /// claims each time: one may be refused while another one's volume is being made.
    fn first_unbound<'r>(
        &self,
        requested: &'r [Requested],
        node: &str,
        key: &Key,
        pod: &Pod,
    ) -> Result<Option<&'r Key>, String> {
        let mut unbound = Vec::new();
        for request in requested {
            let (name, uid) = (&request.open.key, &request.open.claim.metadata.uid);
            let claim = self.claims.get(name).filter(|now| now.metadata.uid == *uid);
            let claim = claim.ok_or_else(|| format!("claim {name} is gone"))?;
            if !self.has_known_volume(&claim) {
                unbound.push((request, claim));
            }
        }
        let Some(&(first, _)) = unbound.first() else { return Ok(None) };
        if self.pods.get(key).is_none_or(|now| now.metadata.uid != pod.metadata.uid) {
            return Err("the pod is gone".into());
        }
        if self.nodes.get(&Key::new("", node)).is_none() {
            return Err(format!("node {node:?} is gone"));
        }
        for (request, claim) in &unbound {
            self.check_request(request, claim, node)?;
        }
        Ok(Some(&first.open.key))
    }

    /// Returns whether the claim is bound to a volume that the cache shows, which may be behind
    /// that of the claims: the volume says on which nodes it can be used.
    fn has_known_volume(&self, claim: &PersistentVolumeClaim) -> bool {
        let name = claim.spec.as_ref().and_then(|s| s.volume_name.as_ref()).filter(|_| is_bound(claim));
        name.is_some_and(|name| self.volumes.get(&Key::new("", name)).is_some())
    }

    /// Checks that a claim without a known volume may still get one on the node.
    ///
    /// # Errors
    /// The provisioner refused the claim, or the volume that was reserved for it is not any more.
    fn check_request(
        &self,
        requested: &Requested,
        claim: &PersistentVolumeClaim,
        node: &str,
    ) -> Result<(), String> {
        let Requested { open, choice, version } = requested;
        let name = &open.key;
        let selected = claim.metadata.annotations.as_ref().and_then(|a| a.get(SELECTED_NODE));
        let is_selected = selected.is_some_and(|selected| selected == node);
        let is_reserved = || self.volumes.list().iter().any(|v| is_reserved_for(v, &open.claim));
        let refusal = match choice {
            // The provisioner removes the annotation if it cannot make a volume. It may have done
            // so before the cache showed the annotation: by the versions that differs from a cache
            // that is behind the request.
            Choice::Provision => {
                let is_seen = version.is_some() && version_of(claim) >= *version;
                (is_seen && !is_selected && !is_bound(claim)).then(|| {
                    let claim = &name.name;
                    format!("provisioning failed for PVC {claim:?}: the provisioner cannot make a volume for node {node:?}")
                })
            }
            // The first change of the chosen volume is the reservation: its request names the
            // version that the decision has seen.
            Choice::Reserve(chosen) => {
                let volume = chosen.metadata.name.clone().unwrap_or_default();
                let is_ours = |now: &PersistentVolume| {
                    now.metadata.resource_version == chosen.metadata.resource_version
                        || is_reserved_for(now, &open.claim)
                };
                let now = self.volumes.get(&Key::new("", volume.clone()));
                now.is_none_or(|now| !is_ours(&now))
                    .then(|| format!("claim {name}: volume {volume:?} is no longer reserved for it"))
            }
            // The pod that has requested the volume may be gone by now. Its request goes on without
            // it.
            Choice::Await if open.is_shared => {
                let is_on_its_way = self.reserved.lock().claims.contains_key(name);
                (!is_on_its_way && !is_selected && !is_reserved())
                    .then(|| format!("claim {name} did not get the volume that another pod was to give it"))
            }
            Choice::Await => {
                (!is_reserved()).then(|| format!("claim {name}: no volume is reserved for it any more"))
            }
        };
        refusal.map_or(Ok(()), Err)
    }

    /// Checks that the volumes, which are bound by now, are where the node is: another client may
    /// have bound a claim meanwhile, to a volume of another node.
    ///
    /// # Errors
    /// The reason why the pod cannot run on the node.
    pub(super) fn check_volumes_are_on(&self, pod: &Pod, node: &str) -> Result<(), String> {
        let volumes = self.volumes_of(pod).map_err(|why| why.reason)?;
        match self.nodes.get(&Key::new("", node)).map(|n| NodeInfo::of(&n)) {
            None => Err(format!("node {node:?} is gone")),
            Some(info) => match volumes.refusals(&info).first() {
                None => Ok(()),
                Some(why) => Err(format!("{node}: {}", why.reason)),
            },
        }
    }
}

#[cfg(test)]
mod tests;
