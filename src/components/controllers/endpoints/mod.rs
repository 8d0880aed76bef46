//! # Endpoints: which pods are behind a Service
//!
//! [`decide`] turns a Service and its pods into endpoints; the edge writes them as EndpointSlices,
//! and as the older Endpoints object that many tools still read. Source:
//! `pkg/controller/endpointslice`, `pkg/controller/endpoint`.

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
use api::cidr;
use client::{Api, Change, Key, Outcome, WorkQueue, is_code};
use k8s_openapi::api::core::v1::{Endpoints, Node, ObjectReference, Pod, Service};
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointConditions, EndpointPort, EndpointSlice};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::api::{DeleteParams, PostParams, Preconditions};
use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;
use tap::{Cause, Component, Event};

use group::{Group, label_headless};
use refusals::Refusals;
use written::Written;

const WORKERS: usize = 5;
const ZONE: &str = "topology.kubernetes.io/zone";
/// The label of an EndpointSlice that names its Service.
pub(crate) const SERVICE_NAME: &str = "kubernetes.io/service-name";
const MANAGED_BY: &str = "endpointslice.kubernetes.io/managed-by";
const MANAGER: &str = "endpointslice-controller.k8s.io";

/// The addresses of pods.
const ADDRESSES: &str = "IPv4";

/// The address of a pod that its endpoints have, in its usual form: a pod's status may have it in
/// others, and a text that is no address would keep all endpoints of the slice from being written.
fn address_of(pod: &Pod) -> Option<Ipv4Addr> {
    let status = pod.status.as_ref()?;
    let all = status.pod_ips.iter().flatten().map(|one| one.ip.as_str());
    status.pod_ip.as_deref().into_iter().chain(all).find_map(cidr::ipv4)
}

/// Pure: the endpoints of a service, grouped by ports (a named target port may be another number in
/// each pod), by pod name. A pod that has none of the ports is an endpoint all the same, as
/// upstream: DNS answers its address for a headless service.
///
/// The Service selects `app=web` and has the port 80; the script `golden/readiness` has more.
///
/// ```text
/// pod                                 ready   serving   terminating
/// a, passes its readiness probe       true    true      false
/// b, fails its readiness probe        false   false     false
/// a, being deleted, still answers     false   true      true
/// c, phase Succeeded                  no endpoint
/// d, no address yet                   no endpoint
/// ```
///
/// A proxy sends to `ready` endpoints. If there is none, it may send to those that serve while they
/// terminate, so that the last pods of a rollout still answer (KEP-1672, KEP-1669). With
/// `publishNotReadyAddresses` all of them are ready: members of a database find each other before
/// they are. Left out: IPv6.
pub(crate) fn decide(service: &Service, all: &[Arc<Pod>]) -> Vec<Group> {
    let Some(spec) = &service.spec else { return vec![] };
    let selector = spec.selector.clone().unwrap_or_default();
    let publish_unready = spec.publish_not_ready_addresses.unwrap_or(false);
    let mut groups: Vec<Group> = Vec::new();
    let matching = |p: &&Arc<Pod>| {
        let labels = p.metadata.labels.as_ref();
        !selector.is_empty() && selector.iter().all(|(k, v)| labels.and_then(|l| l.get(k)) == Some(v))
    };
    for pod in all.iter().filter(matching) {
        let Some(ip) = address_of(pod) else { continue };
        if pods::has_ended(pod) {
            continue;
        }
        let terminating = pod.metadata.deletion_timestamp.is_some();
        let serving = pods::ready_since(pod).is_some();
        let mut ports = Vec::new();
        for port in spec.ports.iter().flatten() {
            let number = match &port.target_port {
                None => Some(port.port),
                Some(IntOrString::Int(0)) => Some(port.port),
                Some(IntOrString::Int(n)) => Some(*n),
                Some(IntOrString::String(name)) => container_port(pod, name, port.protocol.as_deref()),
            };
            // The pod has no port of that name.
            let Some(number) = number else { continue };
            ports.push(EndpointPort {
                name: Some(port.name.clone().unwrap_or_default()),
                port: Some(number),
                protocol: Some(port.protocol.clone().unwrap_or_else(|| "TCP".into())),
                app_protocol: port.app_protocol.clone(),
            });
        }
        let hostname = pod.spec.as_ref().and_then(|s| match (&s.hostname, &s.subdomain) {
            (Some(host), Some(sub)) if !host.is_empty() && Some(sub) == service.metadata.name.as_ref() => {
                Some(host.clone())
            }
            _ => None,
        });
        let endpoint = Endpoint {
            addresses: vec![ip.to_string()],
            conditions: Some(EndpointConditions {
                ready: Some((serving && !terminating) || publish_unready),
                serving: Some(serving),
                terminating: Some(terminating),
            }),
            hostname,
            node_name: pod.spec.as_ref().and_then(|s| s.node_name.clone()),
            target_ref: Some(ObjectReference {
                kind: Some("Pod".into()),
                name: pod.metadata.name.clone(),
                namespace: pod.metadata.namespace.clone(),
                uid: pod.metadata.uid.clone(),
                ..ObjectReference::default()
            }),
            ..Endpoint::default()
        };
        match groups.iter_mut().find(|g| g.ports == ports) {
            Some(group) => group.endpoints.push(endpoint),
            None => groups.push(Group { ports, endpoints: vec![endpoint] }),
        }
    }
    groups
}

/// Writes the zone of its node into each endpoint, and removes endpoints whose node does not exist:
/// pods of a deleted node get no more traffic. With `keeps_lost`, the service's
/// `publishNotReadyAddresses`, they stay, without a zone. Upstream's controller of the older
/// Endpoints objects has no such rule.
fn look_up_nodes(groups: &mut [Group], keeps_lost: bool, node_of: impl Fn(&str) -> Option<Arc<Node>>) {
    for group in groups {
        group.endpoints.retain_mut(|endpoint| {
            let node = endpoint.node_name.as_deref().and_then(&node_of);
            endpoint.zone = node.as_deref().and_then(zone).cloned();
            node.is_some() || keeps_lost
        });
    }
}

/// The zone that a node's label names.
fn zone(node: &Node) -> Option<&String> {
    node.metadata.labels.as_ref().and_then(|l| l.get(ZONE)).filter(|zone| !zone.is_empty())
}

/// The port of this name in a container that runs as long as the pod: an ordinary one or a sidecar.
/// Other init containers have ended when traffic comes.
fn container_port(pod: &Pod, name: &str, protocol: Option<&str>) -> Option<i32> {
    let spec = pod.spec.as_ref()?;
    let sidecars = spec.init_containers.iter().flatten();
    let sidecars = sidecars.filter(|c| c.restart_policy.as_deref() == Some("Always"));
    spec.containers.iter().chain(sidecars).flat_map(|c| c.ports.iter().flatten()).find_map(|p| {
        let same = p.protocol.as_deref().unwrap_or("TCP") == protocol.unwrap_or("TCP");
        (p.name.as_deref() == Some(name) && same).then_some(p.container_port)
    })
}

/// The services that select a pod, by its labels or by those that it had `before`.
///
/// Labels of before count, too: a pod that is relabelled from `app=web` to `app=debug` has to leave
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

/// The services that have to be looked at after a change of a node: those with pods on a node that
/// appears, whose endpoints were left out, or that has another zone now. The deletion of a node
/// brings no look, as upstream: the next one leaves out the endpoints on it.
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
            && same_for_us(old, new)
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

/// The service of a slice that this controller writes.
fn ours(slice: &EndpointSlice) -> Option<Key> {
    let labels = slice.metadata.labels.as_ref()?;
    let service =
        labels.get(SERVICE_NAME).filter(|_| labels.get(MANAGED_BY).is_some_and(|m| m == MANAGER))?;
    Some(Key::new(slice.metadata.namespace.clone().unwrap_or_default(), service.clone()))
}

/// Did this controller make it?
fn is_ours(endpoints: &Endpoints) -> bool {
    let labels = endpoints.metadata.labels.as_ref();
    labels.and_then(|l| l.get(old::MANAGED_BY)).map(String::as_str) == Some(old::MANAGER)
}

/// True if the object was last written before the revision that is the cause.
fn is_older(endpoints: &Endpoints, cause: &Option<Cause>) -> bool {
    let Some(Cause::Revision(gone)) = cause else { return false };
    let written = endpoints.metadata.resource_version.as_deref().and_then(|v| v.parse::<u64>().ok());
    written.is_some_and(|written| written < *gone)
}

/// A pod's status changes often, for example with each restart of a container. A change that no
/// endpoint shows is not worth a look at every Service that selects the pod.
fn same_for_us(old: &Pod, new: &Pod) -> bool {
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
    /// Slices that were replaced, and Endpoints objects, that the cache still shows as they were.
    slices: Written,
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
            if next == *slice {
                continue;
            }
            let name = slice.metadata.name.as_deref().unwrap_or_default();
            let at = Key::of(&*slice);
            self.slices.sent(key, &at, Some(&slice.metadata));
            let replaced = api.replace(name, &PostParams::default(), &next).await;
            self.slices.answered(&at, replaced.as_ref().ok().map(|stored| &stored.metadata));
            match replaced {
                Ok(_) => changed = true,
                Err(error) if is_code(&error, 404) || is_code(&error, 409) => {
                    return Err(Error::Conflict("its slice is another one by now".into()));
                }
                Err(error) => return Err(self.refusals.slice(service, "update", name, error, cause)),
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
