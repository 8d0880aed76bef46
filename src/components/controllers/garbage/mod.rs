//! # The garbage collector: what belongs to nobody goes
//!
//! An object names its owners. This controller watches the metadata of everything, keeps the graph
//! of who owns whom, and deletes an object when all its owners are gone (*background*), holds an
//! owner until its dependents are gone (*foreground*), or cuts the bonds (*orphan*), as the owner's
//! finalizers ask. [`graph::verdict`] is pure. Source: `pkg/controller/garbagecollector`.

#[cfg(test)]
mod golden;
mod graph;

use super::resources::{Mapper, Resource, discover};
use crate::error::Error;
use crate::shared::{Controller, Shared, record};
use api::kinds;
use client::{Api, Delta, Informer, Item, Key, Outcome, Recorder, Reflector, WorkQueue, is_code};
use graph::{FOREGROUND, Graph, Node, Standing, Verdict, verdict};
use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kube::Resource as _;
use kube::api::{DeleteParams, DynamicObject, Patch, PatchParams, Preconditions, PropagationPolicy};
use kube::core::{ApiResource, GroupVersionKind, PartialObjectMeta};
use kube::runtime::watcher;
use parking_lot::{Mutex, MutexGuard};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use tap::{Cause, Component, Event};
use tokio::sync::Notify;

const ORPHAN: &str = "orphan";
const WORKERS: usize = 8;
/// New kinds are looked for whenever a definition changes, and this often at least.
const REDISCOVER: Duration = Duration::from_secs(30);
/// After the watch of a kind has ended, before its kind is looked for again.
const ENDED: Duration = Duration::from_millis(500);
/// An owner whose kind is not watched (an event, a kind that is just being defined) is asked for
/// again after this: nobody tells of its end.
const UNWATCHED: Duration = Duration::from_secs(2);
/// What the API server says and the graph does not know yet is on its way: the object is looked at
/// again after this.
const BEHIND: Duration = Duration::from_millis(100);

pub(crate) struct Collector {
    shared: Shared,
    graph: Mutex<Graph>,
    /// Kinds that are watched: `apps/deployments`.
    watched: Mutex<BTreeSet<String>>,
    /// What is defined has changed.
    defined: Notify,
    queue: WorkQueue<String>,
    /// Where the kinds of owners that are not watched are served.
    kinds: Mapper,
    recorder: Recorder,
}

/// Who writes its events.
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
        defined: Notify::new(),
        queue: queue.clone(),
        kinds: Mapper::default(),
        recorder: Recorder::new(&shared.crew, &shared.config.client, SOURCE, ""),
    });
    let (watching, tell) = (collector.clone(), collector);
    let definitions = Informer::<Definition>::all(&shared.crew, &shared.config.client);
    definitions.on(move |_| tell.defined.notify_one());
    shared.crew.spawn_essential(async move {
        let mut first = true;
        loop {
            match discover(&watching.shared.config.client).await {
                Ok(resources) => {
                    let mut synced = Vec::new();
                    for resource in
                        resources.into_iter().filter(|r| r.can("watch") && r.can("list") && r.can("delete"))
                    {
                        // Events belong to nobody and are many.
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
                    // The kind is gone, and with it its objects, or is served in another version
                    // only. A watch that cannot be started is tried again and not listed anew.
                    Err(
                        watcher::Error::InitialListFailed(error) | watcher::Error::WatchStartFailed(error),
                    ) if is_code(&error, 404) => break,
                    Err(_) => {} // logged; the next call waits
                }
            }
            collector.keep_only(&resource.api, &BTreeSet::new());
            collector.watched().remove(&name_of(&resource.api));
            // It may be defined again by now: a discovery meanwhile found it watched.
            clock::pause(ENDED).await;
            collector.defined.notify_one();
        });
        async move {
            let _ = synced.await;
        }
    }

    /// Takes over a complete list. What is in it comes first: when the end of an owner is told, the
    /// newest owners of its dependents are known.
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
            if let Some(node) = graph.nodes.get(uid).filter(|n| n.namespaced) {
                let _ = self.shared.gone.send((node.key.namespace.clone(), cause.clone())); // to whom it may concern
            }
            let owners: Vec<String> = graph
                .nodes
                .get(uid)
                .map(|n| n.owners.iter().map(|o| o.uid.clone()).collect())
                .unwrap_or_default();
            let dependents: Vec<String> = graph.dependents.get(uid).into_iter().flatten().cloned().collect();
            let namespaced = graph.nodes.get(uid).map(|n| n.namespaced);
            graph.remove(uid);
            graph.absent.insert(uid, namespaced);
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
            self.shared.tell_panic(&reference(uid, &node), "garbage-collector", panic);
        });
    }

    /// Tells on an object that one of its owners cannot be one, because it is in another namespace.
    fn warn_of_namespace(&self, uid: &str, node: &Node, owner: &OwnerReference, cause: &Option<Cause>) {
        let OwnerReference { api_version, kind, name, uid: of, .. } = owner;
        let namespace = &node.key.namespace;
        let told = format!(
            "ownerRef [{api_version}/{kind}, namespace: {namespace}, name: {name}, uid: {of}] does not exist in \
             namespace {namespace:?}"
        );
        self.recorder.warning(&reference(uid, node), "OwnerRefInvalidNamespace", told, cause.clone());
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
            let told = |(owner, standing): (&OwnerReference, &Standing)| {
                graph.nodes.contains_key(&owner.uid) || *standing == Standing::Gone
            };
            // Nothing changes for an owner that can never be resolved: it is asked about once.
            let settled =
                standings.contains(&Standing::Unresolvable) || node.owners.iter().zip(&standings).all(told);
            (graph.dependents.contains_key(&uid), !settled)
        };
        match verdict(&standings, has_dependents) {
            Verdict::Keep { cut: false } => {}
            Verdict::Keep { cut: true } => {
                let gone = node.owners.iter().zip(&standings).filter(|(_, s)| **s != Standing::Solid);
                let uids: Vec<&str> = gone.map(|(o, _)| o.uid.as_str()).collect();
                self.cut(&uid, &node, &uids, &cause).await?;
            }
            verdict => {
                let start = clock::Instant::now();
                let Some(version) = self.confirm_deletion(&uid, &node, &cause).await? else {
                    return Ok(Outcome::Done);
                };
                let policy = match verdict {
                    Verdict::DeleteForeground => PropagationPolicy::Foreground,
                    _ if node.finalizers.iter().any(|f| f == ORPHAN) => PropagationPolicy::Orphan,
                    _ if node.finalizers.iter().any(|f| f == FOREGROUND) => PropagationPolicy::Foreground,
                    _ => PropagationPolicy::Background,
                };
                let params = DeleteParams {
                    propagation_policy: Some(policy),
                    preconditions: Some(Preconditions {
                        uid: Some(uid.clone()),
                        resource_version: Some(version),
                    }),
                    ..DeleteParams::default()
                };
                match self.api(&node, &cause).delete(&node.key.name, &params).await {
                    Err(error) if is_code(&error, 409) => {
                        return Err(Error::Conflict(format!("{} {}", node.api.plural, node.key)));
                    }
                    Err(error) if !is_code(&error, 404) => return Err(error.into()),
                    _ => {}
                }
                let record =
                    record(Event::Collect, &node.api.plural, &node.key, &cause).took(start.elapsed());
                self.shared.tap(Component::GarbageCollector).emit(record);
            }
        }
        Ok(if unwatched { Outcome::Pause(UNWATCHED) } else { Outcome::Done })
    }

    /// How an owner stands, and whether it is known to be in another namespace than the dependent.
    async fn standing(&self, dependent: &Node, owner: &OwnerReference) -> Result<(Standing, bool), Error> {
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

    /// How an owner that is gone stands. Its scope is that of the kind which this dependent's own
    /// reference names: other dependents may name the same uid with another kind, and must not
    /// decide for this one. The scope that the owner had counts if its kind is not served any more.
    ///
    /// A ClusterRole `c` belonged to the ClusterRole `o`. ConfigMaps name the uid of `o` too, as
    /// that of a ConfigMap. For `c` the owner is gone all the same, and not one that it cannot
    /// have.
    async fn standing_of_absent(&self, dependent: &Node, owner: &OwnerReference) -> Result<Standing, Error> {
        if dependent.namespaced {
            return Ok(Standing::Gone); // of every scope
        }
        let namespaced = match self.place_of(owner, None).await {
            Ok((_, namespaced)) => namespaced,
            Err(Error::NotYet(why)) => {
                let seen = self.graph().absent.is_namespaced(&owner.uid);
                seen.ok_or(Error::NotYet(why))?
            }
            Err(error) => return Err(error),
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
    async fn confirm_deletion(
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
            // The answer was on its way for a while: what the watch has told meanwhile is newer. An
            // object that it has told to be gone would come back into the graph for ever, and an
            // owner that is deleted in the foreground would wait for it.
            let mut graph = self.graph();
            let unchanged = graph.nodes.get(uid).is_some_and(|known| known.version == node.version);
            let waiting_owners = if unchanged { graph.put(uid, fresh) } else { Vec::new() };
            drop(graph);
            waiting_owners.into_iter().for_each(|owner| self.queue.add(owner, cause.clone()));
            self.queue.add_after_pause(uid.to_string(), cause.clone(), BEHIND);
            return Ok(None);
        }
        for owner in &node.owners {
            // Those in the graph are watched; of the others it is only remembered that they were
            // gone.
            let remembered = !self.graph().nodes.contains_key(&owner.uid);
            if !remembered {
                continue;
            }
            match self.ask_standing(node, owner, Some(asked)).await {
                // A kind that is no longer served has no objects.
                Ok(Standing::Gone) | Err(Error::NotYet(_)) => {}
                Ok(_) => {
                    self.graph().absent.remove(&owner.uid);
                    self.queue.add_after_pause(uid.to_string(), cause.clone(), BEHIND);
                    return Ok(None);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(live.resource_version)
    }

    /// Asks the API server how an owner stands, and remembers it if it is gone. `since`:
    /// discovery that was read earlier does not say that the owner's kind is not served; `None`:
    /// what was read in the last seconds does.
    ///
    /// # Errors
    /// `NotYet`: the kind is not served.
    async fn ask_standing(
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
        let lives = match self.ask_for(dependent, owner, &resource, namespaced).await {
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
        if !lives {
            self.graph().absent.insert(&owner.uid, None);
        }
        Ok(if lives { Standing::Solid } else { Standing::Gone })
    }

    /// Where an owner's kind is served, and whether it has namespaces.
    ///
    /// # Errors
    /// `NotYet`: the kind is not served.
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
        let unserved = || Error::NotYet(format!("owner kind {group}/{version} {kind} is not served"));
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
    ) -> Result<bool, Error> {
        let client = self.shared.config.client.kube();
        let api: Api<DynamicObject> = match namespaced {
            true => Api::namespaced_with(client, &dependent.key.namespace, resource),
            false => Api::all_with(client, resource),
        };
        match api.get_metadata(&owner.name).await {
            Ok(found) => Ok(found.metadata.uid.as_ref() == Some(&owner.uid)),
            Err(kube::Error::Api(status)) if status.code == 404 && status.reason == "NotFound" => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Takes owners off an object.
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
