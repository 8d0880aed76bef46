//! Whether the owners of an object are there: by the graph, or by a question to the server.

use super::graph::{FOREGROUND, Node, Standing};
use super::{BEHIND, Collector};
use crate::error::Error;
use api::kinds;
use client::{Api, is_code};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::api::DynamicObject;
use kube::core::{ApiResource, GroupVersionKind};
use tap::Cause;

impl Collector {
    /// Returns how an owner stands, and whether it is known to be in another namespace than the
    /// dependent.
    pub(super) async fn standing(
        &self,
        dependent: &Node,
        owner: &OwnerReference,
    ) -> Result<(Standing, bool), Error> {
        let is_absent = {
            let graph = self.graph();
            // A reference with its uid and another kind or name means an object that may not be.
            if let Some(known) = graph.nodes.get(&owner.uid).filter(|known| known.is_meant_by(owner)) {
                // An owner in another namespace is no owner.
                let reachable = !known.namespaced || known.key.namespace == dependent.key.namespace;
                return Ok(match (reachable, known.waits_for_dependents()) {
                    _ if !dependent.may_have_owner(known.namespaced) => (Standing::Unresolvable, true),
                    (false, _) => (Standing::Gone, true),
                    (true, true) => (Standing::Waiting, false),
                    (true, false) => (Standing::Solid, false),
                });
            }
            graph.absent.contains(&owner.uid)
        };
        // Never seen: ask before anything is deleted on a guess.
        let standing = match is_absent {
            true => self.standing_of_absent(dependent, owner).await?,
            false => self.ask_standing(dependent, owner, None).await?,
        };
        Ok((standing, standing == Standing::Unresolvable))
    }

    /// Returns how an owner stands whose uid is known to be gone. Its scope is that of the kind
    /// which this dependent's own reference names: other dependents may name the same uid with
    /// another kind, and must not decide for this one. The kind need not be served any more if the
    /// owner was seen; if it never was, the reference says nothing that could be looked up, as
    /// upstream.
    ///
    /// A ClusterRole `c` belonged to the ClusterRole `o`. ConfigMaps name the uid of `o` too, as
    /// that of a ConfigMap. For `c` the owner is gone all the same, and not one that it cannot
    /// have. A Secret names the uid of `o` as that of a `Widget`, which is not defined: it
    /// stays.
    async fn standing_of_absent(&self, dependent: &Node, owner: &OwnerReference) -> Result<Standing, Error> {
        let seen = self.graph().absent.is_namespaced(owner);
        let namespaced = match seen {
            Some(namespaced) => namespaced,
            None => self.place_of(owner, None).await?.1,
        };
        Ok(if dependent.may_have_owner(namespaced) { Standing::Gone } else { Standing::Unresolvable })
    }

    /// Asks the API server once more before an object is deleted, and returns the version that may
    /// be deleted; `None` if the object has other owners than the graph says, or one of them lives:
    /// then the graph is brought up to date.
    ///
    /// The kinds come over watches of their own, so the end of an owner may be heard of before the
    /// change that made its dependent independent of it. An undo does both in one transaction: it
    /// removes a Deployment, and gives the ReplicaSet that the Deployment had adopted back its
    /// state without an owner. It also brings owners back under the uids that they had.
    pub(super) async fn confirm_deletion(
        &self,
        uid: &str,
        node: &Node,
        cause: &Option<Cause>,
    ) -> Result<Option<String>, Error> {
        let asked = clock::Instant::now();
        let live = match self.api(node, &None).get_metadata(&node.key.name).await {
            Ok(live) if live.metadata.uid.as_deref() == Some(uid) => live.metadata,
            Err(error) if !is_code(&error, 404) => return Err(error.into()),
            _ => return Ok(None), // its own end is on the way here
        };
        let owners = live.owner_references.clone().unwrap_or_default();
        if owners != node.owners || live.deletion_timestamp.is_some() != node.going {
            let fresh = Node {
                version: live.resource_version,
                owners,
                going: live.deletion_timestamp.is_some(),
                finalizers: live.finalizers.unwrap_or_default(),
                ..node.clone()
            };
            // The answer was on its way for a while: what the watch has shown meanwhile is newer.
            // An object whose end it has shown would come back into the graph for ever, and an
            // owner that is deleted in the foreground would wait for it.
            let mut graph = self.graph();
            let unchanged = graph.nodes.get(uid).is_some_and(|known| known.version == node.version);
            let waiting_owners = if unchanged { graph.put(uid, fresh) } else { Vec::new() };
            drop(graph);
            waiting_owners.into_iter().for_each(|owner| self.queue.add(owner, cause.clone()));
            self.queue.add_after_pause(uid.to_string(), cause.clone(), BEHIND);
            return Ok(None);
        }
        let owners: Vec<&OwnerReference> = node.owners.iter().collect();
        let is_back = self.any_came_back(uid, node, &owners, asked, cause).await?;
        Ok(if is_back { None } else { live.resource_version })
    }

    /// Looks once more at owners that are gone, or wait for their dependents, before something
    /// follows from that. If one of them is back after all, the object is looked at again a little
    /// later.
    ///
    /// An undo brings the Deployment `web` and its ReplicaSets back. The watch of the ReplicaSets
    /// is the faster one: of `web` it is still remembered that it was deleted. While the API server
    /// is asked for the ReplicaSet, `web` comes into the graph.
    pub(super) async fn any_came_back(
        &self,
        uid: &str,
        node: &Node,
        owners: &[&OwnerReference],
        asked: clock::Instant,
        cause: &Option<Cause>,
    ) -> Result<bool, Error> {
        for owner in owners {
            match self.standing_now(node, owner, asked).await {
                Ok(Standing::Gone | Standing::Waiting) => {}
                // It was seen to go, and a kind that is not served cannot show another one.
                Err(Error::Unserved(_)) if self.graph().absent.is_namespaced(owner).is_some() => {}
                Ok(Standing::Solid | Standing::Unresolvable) => {
                    self.graph().absent.remove(&owner.uid);
                    self.queue.add_after_pause(uid.to_string(), cause.clone(), BEHIND);
                    return Ok(true);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(false)
    }

    /// Returns how an owner stands, by the graph where the graph says that it lives, and by the API
    /// server where it is only remembered that the owner was gone, or waited for its dependents.
    ///
    /// An undo ends the foreground deletion of the Deployment `web`, and one of its ReplicaSets is
    /// looked at before the watch of the Deployments shows that. Upstream asks for every owner
    /// at every look (`isDangling`).
    async fn standing_now(
        &self,
        dependent: &Node,
        owner: &OwnerReference,
        asked: clock::Instant,
    ) -> Result<Standing, Error> {
        let is_watched = self.graph().nodes.contains_key(&owner.uid);
        if !is_watched {
            return self.ask_standing(dependent, owner, Some(asked)).await;
        }
        let (heard, _) = self.standing(dependent, owner).await?;
        if heard != Standing::Waiting {
            return Ok(heard);
        }
        match self.ask_standing(dependent, owner, Some(asked)).await {
            // A kind that is not served cannot show another owner: what was heard counts.
            Err(Error::Unserved(_)) => Ok(heard),
            answer => answer,
        }
    }

    /// Asks the API server how an owner stands, and remembers it if it is gone. `since`:
    /// discovery that was read earlier does not say that the owner's kind is not served; `None`:
    /// what was read in the last seconds does.
    ///
    /// # Errors
    /// `Unserved`: the kind is not served.
    pub(super) async fn ask_standing(
        &self,
        dependent: &Node,
        owner: &OwnerReference,
        since: Option<clock::Instant>,
    ) -> Result<Standing, Error> {
        let (resource, namespaced) = self.place_of(owner, since).await?;
        if !dependent.may_have_owner(namespaced) {
            return Ok(Standing::Unresolvable);
        }
        let asked = clock::Instant::now();
        let standing = match self.ask_for(dependent, owner, &resource, namespaced).await {
            Err(Error::Api(error)) if is_code(&error, 404) => {
                // The path is not served any more: the definition is gone, or is a new one.
                self.kinds.forget(&resource.group, &owner.kind);
                let (resource, namespaced) = self.place_of(owner, Some(asked)).await?;
                if !dependent.may_have_owner(namespaced) {
                    return Ok(Standing::Unresolvable);
                }
                self.ask_for(dependent, owner, &resource, namespaced).await?
            }
            answer => answer?,
        };
        if standing == Standing::Gone {
            self.graph().absent.insert(&owner.uid, None);
        }
        Ok(standing)
    }

    /// Returns where an owner's kind is served, and whether it has namespaces.
    ///
    /// # Errors
    /// `Unserved`: the kind is not served.
    async fn place_of(
        &self,
        owner: &OwnerReference,
        since: Option<clock::Instant>,
    ) -> Result<(ApiResource, bool), Error> {
        let (group, version) = owner.api_version.split_once('/').unwrap_or(("", &owner.api_version));
        let built_in = kinds::all()
            .iter()
            .find(|k| k.group == group && k.kind == owner.kind && k.is_stored() && k.conversion.is_none());
        if let Some(kind) = built_in {
            let gvk = GroupVersionKind::gvk(kind.group, kind.version, kind.kind);
            return Ok((ApiResource::from_gvk_with_plural(&gvk, kind.plural), kind.namespaced));
        }
        let client = &self.shared.config.client;
        let found = match since {
            Some(since) => self.kinds.find_since(client, group, &owner.kind, since).await?,
            None => self.kinds.find(client, group, &owner.kind).await?,
        };
        let kind = &owner.kind;
        let unserved = || Error::Unserved(format!("owner kind {group}/{version} {kind} is not served"));
        found.map(|found| (found.api, found.namespaced)).ok_or_else(unserved)
    }

    /// Asks for the owner at the path of its kind.
    ///
    /// # Errors
    /// 404 if the path itself is not served.
    async fn ask_for(
        &self,
        dependent: &Node,
        owner: &OwnerReference,
        resource: &ApiResource,
        namespaced: bool,
    ) -> Result<Standing, Error> {
        let client = self.shared.config.client.kube();
        let api: Api<DynamicObject> = match namespaced {
            true => Api::namespaced_with(client, &dependent.key.namespace, resource),
            false => Api::all_with(client, resource),
        };
        match api.get_metadata(&owner.name).await {
            Ok(found) if found.metadata.uid.as_ref() != Some(&owner.uid) => Ok(Standing::Gone),
            Ok(found) => {
                let is_going = found.metadata.deletion_timestamp.is_some();
                let waits = found.metadata.finalizers.iter().flatten().any(|f| f == FOREGROUND);
                Ok(if is_going && waits { Standing::Waiting } else { Standing::Solid })
            }
            Err(kube::Error::Api(status)) if status.code == 404 && status.reason == "NotFound" => {
                Ok(Standing::Gone)
            }
            Err(error) => Err(error.into()),
        }
    }
}
