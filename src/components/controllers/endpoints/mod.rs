//! # Endpoints: which pods are behind a Service
//!
//! [`decide`] turns a Service and its pods into endpoints; here they are written as EndpointSlices,
//! which [`slices`] fills, and as the older Endpoints object ([`old`]) that many tools still read.
//! Source: `pkg/controller/endpointslice`, `pkg/controller/endpoint`.

mod decide;
mod group;
mod old;
mod refusals;
mod slices;
mod written;

use super::expectations::Expectations;
use super::names;
use super::pods::{self, owned_by};
use crate::error::{Error, is_namespace_ending};
use crate::shared::{Controller, Shared, record};
use client::{Api, Change, Key, Outcome, WorkQueue, is_code};
use k8s_openapi::api::core::v1::{Endpoints, Node, Pod, Service};
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointSlice};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kube::api::{DeleteParams, PostParams, Preconditions};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tap::{Cause, Component, Event};

use decide::{address_of, decide, look_up_nodes, zone};
use group::{Group, label_headless};
use refusals::Refusals;
use written::Written;

const WORKERS: usize = 5;
/// The label of an EndpointSlice that names its Service.
pub(crate) const SERVICE_NAME: &str = "kubernetes.io/service-name";
const MANAGED_BY: &str = "endpointslice.kubernetes.io/managed-by";
const MANAGER: &str = "endpointslice-controller.k8s.io";

/// The addresses of pods.
const ADDRESSES: &str = "IPv4";

/// Returns the services that select a pod, by its labels or by those that it had `before`.
///
/// Earlier labels count, too: a pod that is relabelled from `app=web` to `app=debug` has to leave
/// the endpoints of `web`.
fn services_of(shared: &Shared, pod: &Pod, before: Option<&BTreeMap<String, String>>) -> Vec<Key> {
    let selects = |service: &Service| {
        let selector = service.spec.as_ref().and_then(|s| s.selector.as_ref()).filter(|s| !s.is_empty());
        let mut labels = [pod.metadata.labels.as_ref(), before].into_iter().flatten();
        selector.is_some_and(|all| labels.any(|has| all.iter().all(|(k, v)| has.get(k) == Some(v))))
    };
    let services = shared.informer::<Service>().within(pod.metadata.namespace.as_deref().unwrap_or_default());
    services.iter().filter(|service| selects(service)).map(|service| Key::of(&**service)).collect()
}

/// Returns the services that have to be looked at after a change of a node: those with pods on a
/// node that appears, whose endpoints were left out, or that has another zone now. The deletion of
/// a node brings no look, as upstream: the next one leaves out the endpoints on it.
fn services_on(shared: &Shared, change: &Change<Node>) -> Vec<Key> {
    let concerns = match change {
        Change::Added(_) => true,
        Change::Updated { old, new } => zone(old) != zone(new),
        Change::Deleted(_) => false,
    };
    if !concerns {
        return vec![];
    }
    let node = change.key().name;
    let is_here = |pod: &Pod| pod.spec.as_ref().and_then(|s| s.node_name.as_ref()) == Some(&node);
    let pods = shared.informer::<Pod>().list();
    pods.iter().filter(|pod| is_here(pod)).flat_map(|pod| services_of(shared, pod, None)).collect()
}

pub(crate) const CONTROLLER: Controller = Controller {
    informers: |informers| {
        informers.all::<Service>();
        informers.all::<Pod>();
        informers.all::<Node>();
        informers.all::<EndpointSlice>();
        informers.all::<Endpoints>();
    },
    start,
};

fn start(shared: &Shared) {
    let queue: WorkQueue<Key> = WorkQueue::new(&shared.crew);
    let q = queue.clone();
    shared.informer::<Service>().on(move |change| q.add(change.key(), change.cause()));
    let (q, all) = (queue.clone(), shared.clone());
    shared.informer::<Pod>().on(move |change| {
        if let Change::Updated { old, new } = change
            && is_same_to_endpoints(old, new)
        {
            return;
        }
        let before = match change {
            Change::Updated { old, .. } => old.metadata.labels.as_ref(),
            _ => None,
        };
        let services = services_of(&all, change.object(), before);
        services.into_iter().for_each(|service| q.add(service, change.cause()));
    });
    let (q, all) = (queue.clone(), shared.clone());
    shared.informer::<Node>().on(move |change| {
        services_on(&all, change).into_iter().for_each(|service| q.add(service, change.cause()));
    });
    let worker = Arc::new(Worker::new(shared));
    let awaited = worker.awaited.clone();
    awaited.watch(shared.informer::<EndpointSlice>(), &queue);
    worker.watch_writes(&queue);
    let (q, all) = (queue.clone(), shared.clone());
    shared.informer::<EndpointSlice>().on(move |change| {
        awaited.seen(change).into_iter().for_each(|service| q.add(service, change.cause()));
        // One of ours was deleted or changed: put it right. Those of a service that is gone go.
        let service = ours(change.object()).filter(|key| all.informer::<Service>().get(key).is_some());
        service.into_iter().for_each(|service| q.add(service, change.cause()));
    });
    let q = queue.clone();
    // Also those that an earlier life of this controller left: their service may be gone.
    shared.informer::<Endpoints>().on(move |change| {
        if is_ours(change.object()) {
            q.add(change.key(), change.cause());
        }
    });
    shared.report_panics(&queue, shared.informer::<Service>(), "endpointslice");
    queue.work("endpointslice", WORKERS, move |key, cause| {
        let worker = worker.clone();
        async move { worker.sync(key, cause).await }
    });
}

/// Returns the service of a slice that this controller writes; `None`: the slice is another
/// client's.
fn ours(slice: &EndpointSlice) -> Option<Key> {
    let labels = slice.metadata.labels.as_ref()?;
    let service =
        labels.get(SERVICE_NAME).filter(|_| labels.get(MANAGED_BY).is_some_and(|m| m == MANAGER))?;
    Some(Key::new(slice.metadata.namespace.clone().unwrap_or_default(), service.clone()))
}

/// Returns whether this controller has made the Endpoints object.
fn is_ours(endpoints: &Endpoints) -> bool {
    let labels = endpoints.metadata.labels.as_ref();
    labels.and_then(|l| l.get(old::MANAGED_BY)).map(String::as_str) == Some(old::MANAGER)
}

/// Returns whether the object was last written before the revision that is the cause.
fn is_older(endpoints: &Endpoints, cause: &Option<Cause>) -> bool {
    let Some(Cause::Revision(gone)) = cause else { return false };
    let written = endpoints.metadata.resource_version.as_deref().and_then(|v| v.parse::<u64>().ok());
    written.is_some_and(|written| written < *gone)
}

/// Returns whether no endpoint shows the change of a pod. A pod's status changes often, for example
/// with each restart of a container; such a change is not worth a look at every Service that
/// selects the pod.
fn is_same_to_endpoints(old: &Pod, new: &Pod) -> bool {
    let of = |p: &Pod| {
        let ip = address_of(p);
        let ready = pods::ready_since(p).is_some();
        (ip, pods::has_ended(p), ready, p.metadata.deletion_timestamp.is_some(), p.metadata.labels.clone())
    };
    of(old) == of(new)
}

struct Worker {
    shared: Shared,
    /// Slices that were made and have not been seen yet. Their names are random: without this a
    /// look at an old cache would make a second one.
    awaited: Expectations,
    /// Slices that were replaced, and that the cache still shows as they were.
    slices: Written,
    /// Endpoints objects that the cache still shows as they were before the last write.
    old: Written,
    refusals: Refusals,
}

impl Worker {
    fn new(shared: &Shared) -> Worker {
        let (slices, old) = (Written::default(), Written::default());
        let (awaited, refusals) = (Expectations::default(), Refusals::new(shared));
        Worker { shared: shared.clone(), awaited, slices, old, refusals }
    }

    fn watch_writes(&self, queue: &WorkQueue<Key>) {
        self.slices.watch(self.shared.informer::<EndpointSlice>(), queue);
        self.old.watch(self.shared.informer::<Endpoints>(), queue);
    }

    async fn sync(&self, key: Key, cause: Option<Cause>) -> Result<Outcome, Error> {
        let Some(service) = self.shared.informer::<Service>().get(&key) else {
            return self.forget(&key, &cause).await;
        };
        let spec = service.spec.clone().unwrap_or_default();
        let selects = spec.selector.as_ref().is_some_and(|s| !s.is_empty());
        if !selects || spec.type_.as_deref() == Some("ExternalName") {
            return Ok(Outcome::Done); // others write its endpoints, or it has none
        }
        let start = clock::Instant::now();
        let groups = decide(&service, &self.shared.informer::<Pod>().within(&key.namespace));
        let mut sliced = groups.clone();
        let keeps_lost = spec.publish_not_ready_addresses.unwrap_or(false);
        look_up_nodes(&mut sliced, keeps_lost, |name| {
            self.shared.informer::<Node>().get(&Key::new("", name))
        });
        let slices = self.write_slices(&key, &service, &sliced, &cause).await;
        let old =
            old::write((&self.shared, &self.old, &self.refusals), &key, &service, &groups, &cause).await;
        if slices? | old? {
            let ready: usize = sliced.iter().flat_map(|g| &g.endpoints).filter(|e| is_ready(e)).count();
            let all: usize = sliced.iter().map(|g| g.endpoints.len()).sum();
            let event = Event::Endpoints { ready, all };
            let record = record(event, "services", &key, &cause).took(start.elapsed());
            self.shared.tap(Component::EndpointSliceController).emit(record);
        }
        // What a list has put in doubt while it was on its way brings no change that would bring
        // the key back.
        Ok(if self.awaited.in_doubt(&key) { Outcome::After(Duration::ZERO) } else { Outcome::Done })
    }

    /// Deletes the Endpoints object of a service that is gone, if the API server has not deleted it
    /// with its service: this controller may have written it at the same moment. The slices go with
    /// their owner, but an Endpoints object has none. One that a user wrote for a service without a
    /// selector goes, too, as upstream. If it was written after the service went, it is for the
    /// next service of this name.
    async fn forget(&self, key: &Key, cause: &Option<Cause>) -> Result<Outcome, Error> {
        self.awaited.forget(key);
        let known = self.shared.informer::<Endpoints>().get(key);
        let Some(old) = known.filter(|e| is_ours(e) || is_older(e, cause)) else {
            return Ok(Outcome::Done);
        };
        let params = DeleteParams {
            preconditions: Some(Preconditions { uid: old.metadata.uid.clone(), resource_version: None }),
            ..DeleteParams::default()
        };
        let api = self.shared.config.client.caused_by(cause.clone()).within::<Endpoints>(&key.namespace);
        match api.delete(&key.name, &params).await {
            Err(error) if !(is_code(&error, 404) || is_code(&error, 409)) => Err(error.into()),
            _ => Ok(Outcome::Done),
        }
    }

    /// Brings the slices of a service up to date. Returns whether one was written.
    async fn write_slices(
        &self,
        key: &Key,
        service: &Service,
        groups: &[Group],
        cause: &Option<Cause>,
    ) -> Result<bool, Error> {
        let api = self.shared.config.client.caused_by(cause.clone()).within::<EndpointSlice>(&key.namespace);
        if self.awaited.in_doubt(key) {
            self.awaited.resolve(key, &api).await?;
        }
        if !self.awaited.met(key) {
            return Ok(false); // the slice brings the next look when it is seen
        }
        if self.slices.is_behind(key) {
            return Ok(false); // likewise
        }
        let (have, other) = self.present_slices(key, service);
        let mut labels = service.metadata.labels.clone().unwrap_or_default();
        labels.insert(SERVICE_NAME.into(), key.name.clone());
        labels.insert(MANAGED_BY.into(), MANAGER.into());
        label_headless(&mut labels, service);
        let mut plan = slices::plan(groups, have);
        plan.delete.extend(other);
        if service.metadata.deletion_timestamp.is_some() {
            // Slices that it has are kept up to date as long as a finalizer holds it. The garbage
            // collector may be deleting them just now, and would find new ones for ever.
            plan.create.clear();
        }
        let mut changed = false;
        for group in plan.create {
            match self.create_slice(&api, key, service, &labels, group).await {
                Ok(()) => changed = true,
                Err(error) if is_code(&error, 404) || is_namespace_ending(&error) => return Ok(changed),
                Err(error) => return Err(self.refusals.slice(service, "create", "", error, cause)),
            }
        }
        for (slice, group) in plan.keep {
            let mut next = (*slice).clone();
            next.metadata.labels = Some(labels.clone());
            (next.ports, next.endpoints) = (slices::ports_of(&group), group.endpoints);
            if next != *slice {
                self.replace_slice(&api, key, service, &slice, &next, cause).await?;
                changed = true;
            }
        }
        for extra in plan.delete {
            let name = extra.metadata.name.as_deref().unwrap_or_default();
            match api.delete(name, &DeleteParams::default()).await {
                Err(error) if !is_code(&error, 404) => {
                    return Err(self.refusals.slice(service, "delete", name, error, cause));
                }
                _ => changed = true,
            }
        }
        Ok(changed)
    }

    /// Returns the slices of a service: those that can be written, and those that have to go. The
    /// type of a slice's addresses cannot be changed. A slice of an earlier service of the same
    /// name goes with that one, whatever would be written into it.
    fn present_slices(
        &self,
        key: &Key,
        service: &Service,
    ) -> (Vec<Arc<EndpointSlice>>, Vec<Arc<EndpointSlice>>) {
        // What is written into one that is going would go with it.
        let stays = |s: &Arc<EndpointSlice>| s.metadata.deletion_timestamp.is_none();
        let is_ours = |s: &Arc<EndpointSlice>| stays(s) && ours(s).as_ref() == Some(key);
        let is_owned = |s: &EndpointSlice| {
            let uid = service.metadata.uid.as_ref();
            let by = |o: &OwnerReference| o.kind == "Service" && Some(&o.uid) == uid;
            s.metadata.owner_references.iter().flatten().any(by)
        };
        let all = self.shared.informer::<EndpointSlice>().within(&key.namespace).into_iter().filter(is_ours);
        all.partition(|slice| slice.address_type == ADDRESSES && is_owned(slice))
    }

    /// Writes a slice over the one that the cache shows.
    ///
    /// # Errors
    /// [`Error::Conflict`] if that one is gone, or another client has written it.
    async fn replace_slice(
        &self,
        api: &Api<EndpointSlice>,
        key: &Key,
        service: &Service,
        shown: &EndpointSlice,
        next: &EndpointSlice,
        cause: &Option<Cause>,
    ) -> Result<(), Error> {
        let (name, at) = (shown.metadata.name.as_deref().unwrap_or_default(), Key::of(shown));
        self.slices.sent(key, &at, Some(&shown.metadata));
        let replaced = api.replace(name, &PostParams::default(), next).await;
        self.slices.answered(&at, replaced.as_ref().ok().map(|stored| &stored.metadata));
        match replaced {
            Ok(_) => Ok(()),
            Err(error) if is_code(&error, 404) || is_code(&error, 409) => {
                Err(Error::Conflict(format!("EndpointSlice {at} is gone, or another client wrote it")))
            }
            Err(error) => Err(self.refusals.slice(service, "update", name, error, cause)),
        }
    }

    /// Makes a slice under a new name.
    async fn create_slice(
        &self,
        api: &Api<EndpointSlice>,
        key: &Key,
        service: &Service,
        labels: &BTreeMap<String, String>,
        group: Group,
    ) -> Result<(), kube::Error> {
        let prefix = names::name_prefix(&key.name, None);
        let name = names::generated_name(&prefix, &self.shared.config.rng.name_suffix(5));
        let slice = EndpointSlice {
            address_type: ADDRESSES.into(),
            metadata: ObjectMeta {
                name: Some(name.clone()),
                generate_name: Some(prefix),
                namespace: Some(key.namespace.clone()),
                labels: Some(labels.clone()),
                owner_references: Some(vec![owned_by(service)]),
                ..ObjectMeta::default()
            },
            ports: slices::ports_of(&group),
            endpoints: group.endpoints,
        };
        let lists = || self.shared.informer::<EndpointSlice>().lists();
        self.awaited.creating(key, &name, lists());
        let made = api.create(&PostParams::default(), &slice).await;
        match &made {
            Ok(made) => self.awaited.answered(key, &name, made.metadata.uid.clone(), lists()),
            Err(_) => self.awaited.forget_creation(key, &name),
        }
        made.map(drop)
    }
}

fn is_ready(endpoint: &Endpoint) -> bool {
    endpoint.conditions.as_ref().and_then(|c| c.ready).unwrap_or(true)
}

#[cfg(test)]
mod golden;
#[cfg(test)]
mod tests;
