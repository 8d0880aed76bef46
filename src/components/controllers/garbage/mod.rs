//! # The garbage collector: an object without an owner left goes
//!
//! An object names its owners. This controller watches the metadata of everything, keeps the graph
//! of who owns whom, and deletes an object when all its owners are gone (*background*), holds an
//! owner until its dependents are gone (*foreground*), or cuts the bonds (*orphan*), as the owner's
//! finalizers ask. [`watches`] fills the graph, [`graph::verdict`] is pure, and [`owners`] asks the
//! API server how an owner stands before anything is deleted. Source:
//! `pkg/controller/garbagecollector`.

mod graph;
mod owners;
mod watches;

use super::resources::{Mapper, discover};
use crate::error::Error;
use crate::shared::{Controller, Shared, record};
use client::{Api, Informer, Outcome, Recorder, WorkQueue, is_code};
use graph::{FOREGROUND, Graph, Node, Standing, Verdict, verdict};
use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::api::{DeleteParams, DynamicObject, Patch, PatchParams, Preconditions, PropagationPolicy};
use kube::core::{ApiResource, PartialObjectMeta};
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
/// The pause between two discoveries until the first one has succeeded.
const FIRST_TRIES: Duration = Duration::from_millis(200);
/// So many discoveries that fail in a row are a warning: some 5 s at the start, when the API server
/// may be late, and some 12 min later on.
const WARN_EVERY: u32 = 25;
/// An owner whose kind is not watched (an event, a kind that is just being defined) is asked for
/// again after this: no watch shows its end.
const UNWATCHED: Duration = Duration::from_secs(2);
/// An object is looked at again after this if the API server has a newer state of it or its owners
/// than the graph: the change is on its way over a watch.
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
    /// Finds where the kinds of owners are served that are not watched.
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
    let collector = Arc::new(Collector {
        shared: shared.clone(),
        graph: Mutex::default(),
        watched: Mutex::default(),
        unserved: Mutex::default(),
        defined: Notify::new(),
        queue: WorkQueue::new(&shared.crew),
        kinds: Mapper::default(),
        recorder: Recorder::new(&shared.crew, &shared.config.client, SOURCE, ""),
    });
    let (watching, notifier) = (collector.clone(), collector);
    let definitions = Informer::<Definition>::all(&shared.crew, &shared.config.client);
    definitions.on(move |_| notifier.defined.notify_one());
    shared.crew.spawn_essential(async move {
        let (mut works, mut failures) = (false, 0u32);
        loop {
            match discover(&watching.shared.config.client).await {
                Ok(resources) => {
                    failures = 0;
                    let synced = watching.watch_new(resources);
                    if !works {
                        // A decision needs the whole graph: work begins when every kind was listed
                        // once.
                        futures::future::join_all(synced).await;
                        watching.start_workers();
                        works = true;
                    }
                    watching.forget_undefined().await;
                }
                Err(error) => {
                    failures = failures.saturating_add(1);
                    match discovery_warning(failures, works) {
                        Some(warning) => tracing::warn!(%error, failures, "{warning}"),
                        None => tracing::debug!(%error, "discovery failed, trying again"),
                    }
                }
            }
            match works {
                true => drop(clock::limit(REDISCOVER, watching.defined.notified()).await),
                false => clock::pause(FIRST_TRIES).await,
            }
        }
    });
}

/// Pure: the warning after so many discoveries that failed in a row; `None`: there is none at this
/// number. `works`: an earlier discovery has succeeded, so the collector works with the kinds that
/// it knows.
fn discovery_warning(failures: u32, works: bool) -> Option<&'static str> {
    failures.is_multiple_of(WARN_EVERY).then_some(match works {
        true => "discovery fails: objects of new kinds are not collected, trying again",
        false => "discovery fails: the garbage collector cannot begin and deletes nothing, trying again",
    })
}

/// A definition of a kind, of which only the metadata is read: what counts is that it changes.
type Definition = PartialObjectMeta<CustomResourceDefinition>;

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

    /// Starts the workers, once the graph has the first list of every kind.
    fn start_workers(self: &Arc<Self>) {
        self.clone().report_panics(&self.queue);
        let collector = self.clone();
        self.queue.work("garbage-collector", WORKERS, move |uid, cause| {
            let collector = collector.clone();
            async move { collector.sync(uid, cause).await }
        });
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

    /// Takes this owner off all of its dependents, and then lets it go. A dependent that may not be
    /// changed keeps its owner, and keeps no other dependent from losing it.
    async fn orphan(&self, uid: &str, node: &Node, cause: &Option<Cause>) -> Result<(), Error> {
        let dependents = self.graph().dependents_of(uid);
        let mut result = Ok(());
        for (dependent, d) in &dependents {
            result = result.and(self.cut(dependent, d, &[uid], cause).await);
        }
        result?;
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

#[cfg(test)]
mod tests;
