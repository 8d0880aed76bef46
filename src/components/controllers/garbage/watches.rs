//! From the watches of all kinds into the graph. Upstream: `graph_builder.go`.

use super::graph::{FOREGROUND, Node};
use super::{Collector, ORPHAN};
use crate::resources::Resource;
use client::{Api, Delta, Item, Key, Reflector, is_code, optional};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource as _;
use kube::api::DynamicObject;
use kube::core::{ApiResource, PartialObjectMeta};
use kube::runtime::watcher;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use tap::Cause;

/// After the watch of a kind has ended, before its kind is looked for again.
const ENDED: Duration = Duration::from_millis(500);

/// An object of any kind, of which only the metadata is read.
pub(super) type Metadata = Item<PartialObjectMeta<DynamicObject>>;

/// Returns the name of a kind, whatever its version: every version shows all objects, and a second
/// watch that ends, because its version is no longer served, would take the objects out of the
/// graph.
pub(super) fn name_of(api: &ApiResource) -> String {
    format!("{}/{}", api.group, api.plural)
}

impl Collector {
    /// Watches the kinds that are not watched yet, of those that can be collected, each as
    /// [`Collector::watch`] does.
    pub(super) fn watch_new(
        self: &Arc<Self>,
        resources: Vec<Resource>,
    ) -> Vec<impl Future<Output = ()> + use<>> {
        let mut synced = Vec::new();
        for resource in resources.into_iter().filter(|r| r.can("watch") && r.can("list") && r.can("delete")) {
            // Events have no owners and are many.
            let is_events =
                resource.api.plural == "events" && matches!(&*resource.api.group, "" | "events.k8s.io");
            if !is_events && self.watched().insert(name_of(&resource.api)) {
                synced.push(self.watch(resource));
            }
        }
        synced
    }

    /// Watches the metadata of one kind; the future ends when its first list is in the graph, or
    /// the kind is not served.
    pub(super) fn watch(self: &Arc<Self>, resource: Resource) -> impl Future<Output = ()> + use<> {
        let collector = self.clone();
        let (done, synced) = tokio::sync::oneshot::channel();
        self.shared.crew.spawn_essential(async move {
            let client = collector.shared.config.client.kube();
            let api: Api<Metadata> = Api::all_with(client, &resource.api);
            let mut reflector = Reflector::new(&resource.api.plural, api, watcher::Config::default());
            let mut done = Some(done);
            while let Some(delta) = reflector.next().await {
                match delta {
                    Ok(Delta::Replaced(objects)) => {
                        collector.replace(&resource, &objects);
                        done.take().map(|d: tokio::sync::oneshot::Sender<()>| d.send(()));
                    }
                    Ok(Delta::Updated(object)) => collector.saw(&resource, &object),
                    Ok(Delta::Deleted(object)) => collector.lost(object.meta()),
                    // The kind is not defined any more, or not served in this version.
                    Err(
                        watcher::Error::InitialListFailed(error) | watcher::Error::WatchStartFailed(error),
                    ) if is_code(&error, 404) => break,
                    Err(_) => {} // logged; the next call waits
                }
            }
            collector.end_watch(&resource.api);
            // It may be defined again by now: a discovery meanwhile found it watched.
            clock::pause(ENDED).await;
            collector.defined.notify_one();
        });
        async move {
            let _ = synced.await;
        }
    }

    /// Notes that the watch of a kind has ended, because the kind is not served. Both locks are
    /// held until the end: [`Collector::forget_undefined`] drops from `unserved` what is watched,
    /// and a kind that is in neither of the two would keep its objects in the graph for ever.
    pub(super) fn end_watch(&self, api: &ApiResource) {
        let mut watched = self.watched();
        self.unserved().insert(name_of(api), api.clone());
        watched.remove(&name_of(api));
    }

    /// Takes the objects of kinds that are not defined any more out of the graph.
    ///
    /// A kind that is defined and not served (`served: false` in all its versions) keeps its
    /// objects: they are stored, and so what they own must stay. Upstream keeps them in its graph,
    /// too.
    pub(super) async fn forget_undefined(&self) {
        let unserved = {
            let watched = self.watched();
            let mut unserved = self.unserved();
            unserved.retain(|name, _| !watched.contains(name));
            unserved.clone()
        };
        let definitions = self.shared.config.client.all::<CustomResourceDefinition>();
        for (name, api) in unserved {
            let definition = format!("{}.{}", api.plural, api.group);
            match optional(definitions.get_metadata(&definition).await) {
                Ok(None) => {
                    self.keep_only(&api, &BTreeSet::new());
                    self.unserved().remove(&name);
                }
                Ok(Some(_)) => {} // asked again when a definition changes
                Err(error) => {
                    tracing::debug!(%error, definition, "a definition could not be read, trying again")
                }
            }
        }
    }

    /// Takes over a complete list. What is in it comes first: when the end of an owner is handled,
    /// the newest owners of its dependents are known.
    pub(super) fn replace(&self, resource: &Resource, objects: &[Metadata]) {
        objects.iter().for_each(|object| self.saw(resource, object));
        let fresh = objects.iter().map(|object| object.meta().uid.clone().unwrap_or_default());
        self.keep_only(&resource.api, &fresh.collect());
    }

    /// Takes over an object that a watch shows. It and its owners are looked at if that may change
    /// what follows for them.
    fn saw(&self, resource: &Resource, object: &Metadata) {
        let meta = object.meta();
        let Some(uid) = meta.uid.clone() else { return };
        if let Item::Undecodable(found) = object {
            // The object exists, so what it owns stays. Its own owners cannot be read: those that
            // were known of it stay, too.
            tracing::warn!(kind = resource.api.kind, name = ?meta.name, reason = found.reason(), "object cannot be decoded");
            if self.graph().nodes.contains_key(&uid) {
                return;
            }
        }
        let node = Node {
            api: resource.api.clone(),
            namespaced: resource.namespaced,
            key: Key::new(meta.namespace.clone().unwrap_or_default(), meta.name.clone().unwrap_or_default()),
            version: meta.resource_version.clone(),
            owners: meta.owner_references.clone().unwrap_or_default(),
            going: meta.deletion_timestamp.is_some(),
            finalizers: meta.finalizers.clone().unwrap_or_default(),
        };
        let cause = cause_of(meta);
        let held = node.going && node.finalizers.iter().any(|f| f == ORPHAN || f == FOREGROUND);
        let owned = !node.owners.is_empty();
        let waiting_owners = self.graph().put(&uid, node);
        if owned || held {
            self.queue.add(uid, cause.clone());
        }
        waiting_owners.into_iter().for_each(|owner| self.queue.add(owner, cause.clone()));
    }

    /// Takes out an object whose end a watch shows.
    fn lost(&self, meta: &ObjectMeta) {
        let Some(uid) = &meta.uid else { return };
        self.forget(uid, cause_of(meta));
    }

    /// Takes an object that is gone out of the graph, and has its dependents and owners looked at.
    pub(super) fn forget(&self, uid: &str, cause: Option<Cause>) {
        let (dependents, owners) = {
            let mut graph = self.graph();
            let dependents: Vec<String> = graph.dependents.get(uid).into_iter().flatten().cloned().collect();
            let was = graph.remove(uid);
            if let Some(node) = was.as_ref().filter(|n| n.namespaced) {
                let _ = self.shared.gone.send((node.key.namespace.clone(), cause.clone())); // without a receiver it is dropped
            }
            let owners: Vec<String> = was.iter().flat_map(|n| &n.owners).map(|o| o.uid.clone()).collect();
            graph.absent.insert(uid, was);
            (dependents, owners)
        };
        // Dependents may have to go, and an owner may have waited for just this one.
        dependents.into_iter().chain(owners).for_each(|uid| self.queue.add(uid, cause.clone()));
    }

    /// Takes all objects of a kind out of the graph but these.
    fn keep_only(&self, api: &ApiResource, fresh: &BTreeSet<String>) {
        let gone: Vec<String> = {
            let graph = self.graph();
            let same = |n: &Node| n.api.plural == api.plural && n.api.group == api.group;
            graph
                .nodes
                .iter()
                .filter(|(uid, n)| same(n) && !fresh.contains(*uid))
                .map(|(uid, _)| uid.clone())
                .collect()
        };
        gone.iter().for_each(|uid| self.forget(uid, None));
    }
}

/// Returns the change that wrote this metadata as a cause.
fn cause_of(meta: &ObjectMeta) -> Option<Cause> {
    meta.resource_version.as_deref()?.parse().ok().map(Cause::Revision)
}
