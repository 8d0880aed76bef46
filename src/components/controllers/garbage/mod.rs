//! # The garbage collector: an object without an owner left goes
//!
//! An object names its owners. This controller watches the metadata of everything, keeps the graph
//! of who owns whom, and deletes an object when all its owners are gone (*background*), holds an
//! owner until its dependents are gone (*foreground*), or cuts the bonds (*orphan*), as the owner's
//! finalizers ask. [`graph::verdict`] is pure. Source: `pkg/controller/garbagecollector`.

mod graph;
mod owners;

use super::resources::{Mapper, Resource, discover};
use crate::error::Error;
use crate::shared::{Controller, Shared, record};
use client::{Api, Delta, Informer, Item, Key, Outcome, Recorder, Reflector, WorkQueue, is_code, optional};
use graph::{FOREGROUND, Graph, Node, Standing, Verdict, verdict};
use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kube::Resource as _;
use kube::api::{DeleteParams, DynamicObject, Patch, PatchParams, Preconditions, PropagationPolicy};
use kube::core::{ApiResource, PartialObjectMeta};
use kube::runtime::watcher;
use parking_lot::{Mutex, MutexGuard};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use tap::{Cause, Component, Event};
use tokio::sync::Notify;

#[cfg(test)]
mod golden;

const ORPHAN: &str = "orphan";
const WORKERS: usize = 8;
/// New kinds are looked for whenever a definition changes, and this often at least.
const REDISCOVER: Duration = Duration::from_secs(30);
/// After the watch of a kind has ended, before its kind is looked for again.
const ENDED: Duration = Duration::from_millis(500);
/// An owner whose kind is not watched (an event, a kind that is just being defined) is asked for
/// again after this: no watch shows its end.
const UNWATCHED: Duration = Duration::from_secs(2);
/// What the API server says and the graph does not know yet is on its way: the object is looked at
/// again after this.
const BEHIND: Duration = Duration::from_millis(100);

pub(crate) struct Collector {
    shared: Shared,
    graph: Mutex<Graph>,
    /// Kinds that are watched: `apps/deployments`.
    watched: Mutex<BTreeSet<String>>,
    /// Kinds whose watch has ended because they are not served, by the same name. They stay here
    /// until they are watched again or not defined any more.
    unserved: Mutex<BTreeMap<String, ApiResource>>,
    /// A definition of a kind has changed: the kinds are looked for again.
    defined: Notify,
    queue: WorkQueue<String>,
    /// Where the kinds of owners that are not watched are served.
    kinds: Mapper,
    recorder: Recorder,
}

/// The source of its events.
const SOURCE: &str = "garbage-collector-controller";
pub(crate) const CONTROLLER: Controller = Controller {
    // It reads every kind that can be watched, also custom ones: its graph is a cache of its own.
    informers: |_| {},
    start,
};

fn start(shared: &Shared) {
    let queue: WorkQueue<String> = WorkQueue::new(&shared.crew);
    let collector = Arc::new(Collector {
        shared: shared.clone(),
        graph: Mutex::default(),
        watched: Mutex::default(),
        unserved: Mutex::default(),
        defined: Notify::new(),
        queue: queue.clone(),
        kinds: Mapper::default(),
        recorder: Recorder::new(&shared.crew, &shared.config.client, SOURCE, ""),
    });
    let (watching, notifier) = (collector.clone(), collector);
    let definitions = Informer::<Definition>::all(&shared.crew, &shared.config.client);
    definitions.on(move |_| notifier.defined.notify_one());
    shared.crew.spawn_essential(async move {
        let mut first = true;
        loop {
            match discover(&watching.shared.config.client).await {
                Ok(resources) => {
                    let mut synced = Vec::new();
                    for resource in
                        resources.into_iter().filter(|r| r.can("watch") && r.can("list") && r.can("delete"))
                    {
                        // Events have no owners and are many.
                        let events = resource.api.plural == "events"
                            && matches!(&*resource.api.group, "" | "events.k8s.io");
                        if !events && watching.watched().insert(name_of(&resource.api)) {
                            synced.push(watching.watch(resource));
                        }
                    }
                    if first {
                        // A decision needs the whole graph: work begins when every kind was listed
                        // once.
                        futures::future::join_all(synced).await;
                        first = false;
                        let workers = watching.clone();
                        workers.clone().report_panics(&queue);
                        queue.work("garbage-collector", WORKERS, move |uid, cause| {
                            let collector = workers.clone();
                            async move { collector.sync(uid, cause).await }
                        });
                    }
                    watching.forget_undefined().await;
                }
                Err(error) => tracing::debug!(%error, "discovery failed, trying again"),
            }
            match first {
                true => clock::pause(Duration::from_millis(200)).await,
                false => drop(clock::limit(REDISCOVER, watching.defined.notified()).await),
            }
        }
    });
}

/// Of a definition only that it changed counts.
type Definition = PartialObjectMeta<CustomResourceDefinition>;
/// Of an object of any kind only its metadata counts.
type Metadata = Item<PartialObjectMeta<DynamicObject>>;

/// Of a kind, whatever its version: every version shows all objects, and a second watch that ends,
/// because its version is no longer served, would take the objects out of the graph.
fn name_of(api: &ApiResource) -> String {
    format!("{}/{}", api.group, api.plural)
}

impl Collector {
    fn watched(&self) -> MutexGuard<'_, BTreeSet<String>> {
        self.watched.lock()
    }

    fn unserved(&self) -> MutexGuard<'_, BTreeMap<String, ApiResource>> {
        self.unserved.lock()
    }

    fn graph(&self) -> MutexGuard<'_, Graph> {
        self.graph.lock()
    }

    /// Watches the metadata of one kind; the future ends when its first list is in the graph.
    fn watch(self: &Arc<Self>, resource: Resource) -> impl Future<Output = ()> + use<> {
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
            collector.unserved().insert(name_of(&resource.api), resource.api.clone());
            collector.watched().remove(&name_of(&resource.api));
            // It may be defined again by now: a discovery meanwhile found it watched.
            clock::pause(ENDED).await;
            collector.defined.notify_one();
        });
        async move {
            let _ = synced.await;
        }
    }

    /// Takes the objects of kinds that are not defined any more out of the graph.
    ///
    /// A kind that is defined and not served (`served: false` in all its versions) keeps its
    /// objects: they are stored, and so what they own must stay. Upstream keeps them in its graph,
    /// too.
    async fn forget_undefined(&self) {
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
    fn replace(&self, resource: &Resource, objects: &[Metadata]) {
        objects.iter().for_each(|object| self.saw(resource, object));
        let fresh = objects.iter().map(|object| object.meta().uid.clone().unwrap_or_default());
        self.keep_only(&resource.api, &fresh.collect());
    }

    fn saw(&self, resource: &Resource, object: &Metadata) {
        let meta = object.meta();
        let Some(uid) = meta.uid.clone() else { return };
        if let Item::Undecodable(found) = object {
            // It is there, and owns what it owns. Whose it is cannot be read: what was known of
            // that stays.
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

    fn lost(&self, meta: &ObjectMeta) {
        let Some(uid) = &meta.uid else { return };
        self.forget(uid, cause_of(meta));
    }

    fn forget(&self, uid: &str, cause: Option<Cause>) {
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

    fn report_panics(self: Arc<Self>, queue: &WorkQueue<String>) {
        queue.on_panic(move |uid, panic| {
            let Some(node) = self.graph().nodes.get(uid).cloned() else { return };
            self.shared.report_panic(&reference(uid, &node), "garbage-collector", panic);
        });
    }

    /// Warns on an object that one of its owners cannot be one, because it is in another namespace.
    fn warn_of_namespace(&self, uid: &str, node: &Node, owner: &OwnerReference, cause: &Option<Cause>) {
        let OwnerReference { api_version, kind, name, uid: of, .. } = owner;
        let namespace = &node.key.namespace;
        let message = format!(
            "ownerRef [{api_version}/{kind}, namespace: {namespace}, name: {name}, uid: {of}] does not exist in \
             namespace {namespace:?}"
        );
        self.recorder.warning(&reference(uid, node), "OwnerRefInvalidNamespace", message, cause.clone());
    }

    fn api(&self, node: &Node, cause: &Option<Cause>) -> Api<DynamicObject> {
        let client = self.shared.config.client.caused_by(cause.clone()).kube();
        match node.namespaced {
            true => Api::namespaced_with(client, &node.key.namespace, &node.api),
            false => Api::all_with(client, &node.api),
        }
    }

    async fn sync(&self, uid: String, cause: Option<Cause>) -> Result<Outcome, Error> {
        let Some(node) = self.graph().nodes.get(&uid).cloned() else { return Ok(Outcome::Done) };
        if node.going {
            if node.finalizers.iter().any(|f| f == ORPHAN) {
                self.orphan(&uid, &node, &cause).await?;
            } else if node.finalizers.iter().any(|f| f == FOREGROUND) {
                self.foreground(&uid, &node, &cause).await?;
            }
            return Ok(Outcome::Done);
        }
        let mut standings = Vec::new();
        for owner in &node.owners {
            let (standing, is_elsewhere) = self.standing(&node, owner).await?;
            if is_elsewhere {
                self.warn_of_namespace(&uid, &node, owner, &cause);
            }
            standings.push(standing);
        }
        let (has_dependents, unwatched) = {
            let graph = self.graph();
            // No watch reports the end of an owner that is not in the graph. That another look has
            // found it gone meanwhile does not count: the owner was there when this look asked.
            let is_reported = |(owner, standing): (&OwnerReference, &Standing)| {
                graph.nodes.contains_key(&owner.uid) || *standing == Standing::Gone
            };
            // Nothing changes for an owner that can never be resolved: it is asked about once.
            let settled = standings.contains(&Standing::Unresolvable)
                || node.owners.iter().zip(&standings).all(is_reported);
            (graph.dependents.contains_key(&uid), !settled)
        };
        match verdict(&standings, has_dependents) {
            Verdict::Keep { cut: false } => {}
            Verdict::Keep { cut: true } => {
                let gone = node.owners.iter().zip(&standings).filter(|(_, s)| **s != Standing::Solid);
                let gone: Vec<&OwnerReference> = gone.map(|(owner, _)| owner).collect();
                let asked = clock::Instant::now();
                if !self.any_came_back(&uid, &node, &gone, asked, &cause).await? {
                    let uids: Vec<&str> = gone.iter().map(|owner| owner.uid.as_str()).collect();
                    self.cut(&uid, &node, &uids, &cause).await?;
                }
            }
            verdict => self.collect(&uid, &node, verdict, &cause).await?,
        }
        Ok(if unwatched { Outcome::Pause(UNWATCHED) } else { Outcome::Done })
    }

    /// Deletes an object whose owners are gone or wait for it, unless the API server has newer
    /// ones.
    async fn collect(
        &self,
        uid: &str,
        node: &Node,
        verdict: Verdict,
        cause: &Option<Cause>,
    ) -> Result<(), Error> {
        let start = clock::Instant::now();
        let Some(version) = self.confirm_deletion(uid, node, cause).await? else { return Ok(()) };
        let policy = match verdict {
            Verdict::DeleteForeground => PropagationPolicy::Foreground,
            _ if node.finalizers.iter().any(|f| f == ORPHAN) => PropagationPolicy::Orphan,
            _ if node.finalizers.iter().any(|f| f == FOREGROUND) => PropagationPolicy::Foreground,
            _ => PropagationPolicy::Background,
        };
        let preconditions =
            Some(Preconditions { uid: Some(uid.to_string()), resource_version: Some(version) });
        let propagation_policy = Some(policy);
        let params = DeleteParams { propagation_policy, preconditions, ..DeleteParams::default() };
        match self.api(node, cause).delete(&node.key.name, &params).await {
            Err(error) if is_code(&error, 409) => {
                return Err(Error::Conflict(format!("{} {}", node.api.plural, node.key)));
            }
            Err(error) if !is_code(&error, 404) => return Err(error.into()),
            _ => {}
        }
        let record = record(Event::Collect, &node.api.plural, &node.key, cause).took(start.elapsed());
        self.shared.tap(Component::GarbageCollector).emit(record);
        Ok(())
    }

    /// Takes these owners off an object.
    async fn cut(&self, uid: &str, node: &Node, owners: &[&str], cause: &Option<Cause>) -> Result<(), Error> {
        let left: Vec<&OwnerReference> =
            node.owners.iter().filter(|o| !owners.contains(&o.uid.as_str())).collect();
        self.patch(
            uid,
            node,
            json!({"ownerReferences": if left.is_empty() { json!(null) } else { json!(left) }}),
            cause,
        )
        .await
    }

    async fn drop_finalizer(
        &self,
        uid: &str,
        node: &Node,
        name: &str,
        cause: &Option<Cause>,
    ) -> Result<(), Error> {
        let left: Vec<&String> = node.finalizers.iter().filter(|f| *f != name).collect();
        self.patch(uid, node, json!({"finalizers": left}), cause).await
    }

    /// Changes lists of an object's metadata as they follow from what the graph knows: whatever
    /// changed since is looked at first.
    async fn patch(
        &self,
        uid: &str,
        node: &Node,
        mut meta: Value,
        cause: &Option<Cause>,
    ) -> Result<(), Error> {
        meta["uid"] = json!(uid);
        meta["resourceVersion"] = json!(node.version);
        let patch = Patch::Merge(json!({"metadata": meta}));
        match self.api(node, cause).patch(&node.key.name, &PatchParams::default(), &patch).await {
            Err(error) if is_code(&error, 404) => Ok(()),
            Err(error) if is_code(&error, 409) => {
                Err(Error::Conflict(format!("{} {}", node.api.plural, node.key)))
            }
            result => Ok(result.map(drop)?),
        }
    }

    async fn orphan(&self, uid: &str, node: &Node, cause: &Option<Cause>) -> Result<(), Error> {
        let dependents = self.graph().dependents_of(uid);
        for (dependent, d) in &dependents {
            self.cut(dependent, d, &[uid], cause).await?;
        }
        self.drop_finalizer(uid, node, ORPHAN, cause).await
    }

    async fn foreground(&self, uid: &str, node: &Node, cause: &Option<Cause>) -> Result<(), Error> {
        let (dependents, blocked) = {
            let graph = self.graph();
            let dependents = graph.dependents_of(uid);
            // One that this owner cannot own stays, and so cannot be waited for.
            let waits_for = |n: &Node| n.blocks(uid) && n.may_have_owner(node.namespaced);
            let blocked = dependents.iter().any(|(d, n)| waits_for(n) && !graph.waits_in_circle(uid, d));
            (dependents, blocked)
        };
        if !blocked {
            return self.drop_finalizer(uid, node, FOREGROUND, cause).await;
        }
        for (dependent, d) in dependents.into_iter().filter(|(_, d)| !d.going) {
            tracing::trace!(kind = d.api.plural, name = %d.key, "its owner waits for it to go");
            self.queue.add(dependent, cause.clone());
        }
        Ok(())
    }
}

fn reference(uid: &str, node: &Node) -> ObjectReference {
    ObjectReference {
        api_version: Some(node.api.api_version.clone()),
        kind: Some(node.api.kind.clone()),
        name: Some(node.key.name.clone()),
        namespace: Some(node.key.namespace.clone()).filter(|n| !n.is_empty()),
        uid: Some(uid.to_string()),
        ..ObjectReference::default()
    }
}

fn cause_of(meta: &ObjectMeta) -> Option<Cause> {
    meta.resource_version.as_deref()?.parse().ok().map(Cause::Revision)
}

#[cfg(test)]
mod tests;
