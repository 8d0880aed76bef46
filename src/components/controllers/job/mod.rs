//! # Job: work that ends
//!
//! A Job makes pods until enough of them have succeeded, or too many have failed. Because an ended
//! pod is the only proof of its work, each carries a finalizer ([`TRACKING`]) that keeps it until
//! its end is written into the Job's status. [`decide`] is pure; here it is carried out. A finished
//! Job with `ttlSecondsAfterFinished` deletes itself. Source: `pkg/controller/job`,
//! `pkg/controller/ttlafterfinished`.

mod case;
mod decide;
pub(crate) mod dismissed;
mod ending;
pub(crate) mod ends;
pub(crate) mod facts;
mod failure;
#[cfg(test)]
mod golden;
mod indexes;
mod manage;
mod names;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod world;

use super::pods;
use super::workload::{self, Look, PodOwner};
use crate::error::{Error, message_of};
use crate::names::name_prefix;
use crate::shared::{Controller, Shared};
use case::{Memory, New, Plan};
use client::{Backoff, Client, Key, Outcome, is_code};
use ends::Remembered;
use facts::is_tracked;
use k8s_openapi::api::batch::v1::{Job, JobStatus};
use k8s_openapi::api::core::v1::{EnvVar, EnvVarSource, ObjectFieldSelector, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams, Preconditions};
use names::{INDEX, INDEX_FAILURES, INDEX_IGNORED};
use serde_json::json;
use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;
use tap::{Component, Event};

pub(crate) use names::TRACKING;

/// The label of a pod that names its Job.
const JOB_NAME: &str = "batch.kubernetes.io/job-name";
/// What a program in a pod of an Indexed Job reads to know its share of the work.
const INDEX_VARIABLE: &str = "JOB_COMPLETION_INDEX";

pub(crate) const CONTROLLER: Controller = Controller {
    informers: |informers| {
        informers.all::<Job>();
        informers.all::<Pod>();
    },
    start: |shared| drop(workload::start::<Jobs>(shared)),
};

/// The controller of Jobs.
pub(crate) struct Jobs;

impl PodOwner for Jobs {
    type Kind = Job;
    const COMPONENT: Component = Component::JobController;
    const WORKERS: usize = 5;
    /// Pods that a quota refuses are tried again within a minute: no change of the Job follows when
    /// there is room. Upstream: `MaxJobApiBackOff`.
    const BACKOFF: Backoff = Backoff { longest: Duration::from_secs(60), ..client::BACKOFF };
    const FINALIZER: Option<&'static str> = Some(TRACKING);

    fn selector(job: &Job) -> Option<Cow<'_, LabelSelector>> {
        job.spec.as_ref()?.selector.as_ref().map(Cow::Borrowed)
    }

    async fn sync(look: &Look<'_, Job>) -> Result<Outcome, Error> {
        let job = &look.object;
        let spec = job.spec.clone().unwrap_or_default();
        if spec.managed_by.as_ref().is_some_and(|m| m != "kubernetes.io/job-controller") {
            // Another controller makes its pods and writes its status. Upstream the controller that
            // deletes finished jobs is one of its own, which asks only whether a job is finished.
            return match decide::expiry(job, clock::now()) {
                (true, _) => expire(look).await,
                (false, left) => Ok(left.map_or(Outcome::Done, Outcome::After)),
            };
        }
        let selector = spec.selector.clone().unwrap_or_default();
        let mine = look.claim(&selector, claimable(job)).await?;
        // Pods of an earlier Job hold up nothing of this one.
        let freed =
            release(&look.shared.config.client, look.key, &strays(look.shared, look.key, Some(job))).await;
        let uid = &job.metadata.uid;
        let memory =
            Memory { dismissed: look.dismissed.among(look.key, &mine), known: look.ends.of(look.key, uid) };
        let mut plan = decide::decide(job, &mine, &memory, look.settled, clock::now());
        let (ends, version) = (std::mem::take(&mut plan.remembered), job.metadata.resource_version.clone());
        look.ends.keep(look.key, uid, Remembered { ends, version });
        if plan.expired {
            // Its deletion in the foreground would wait for ever for a pod that is still held.
            release(&look.shared.config.client, look.key, &pods::named(&mine, &plan.release)).await?;
            return expire(look).await;
        }
        if !plan.create.is_empty() && !fresh(look).await? {
            return Err(Error::Conflict(format!("Job {} is newer than the cache", look.key)));
        }
        if !plan.create.is_empty() || plan.ends {
            let counted = job.status.as_ref().and_then(|s| s.active);
            // At an end also those that were active when the status was written.
            let is_known = |p: &&Arc<Pod>| pods::is_active(p) || (plan.ends && is_tracked(p));
            look.expect_pods(&selector, counted, mine.iter().filter(is_known).count()).await?;
        }
        if !plan.create.is_empty() || !plan.delete.is_empty() {
            let indexes: Vec<i32> = plan.create.iter().filter_map(|n| n.index).collect();
            let (create, delete) = (plan.create.len(), plan.delete.clone());
            look.did(Event::ReconcileJob { create, delete, indexes });
        }
        let client = &look.shared.config.client;
        let (early, late): (Vec<_>, Vec<_>) =
            pods::named(&mine, &plan.release).into_iter().partition(|p| is_among(p, &plan.delete));
        let mut result = delete_surplus(look, pods::named(&mine, &plan.delete), &early).await;
        if result.is_ok() {
            let made = plan.create.iter().map(|new| pod_of(look, new)).collect();
            result = look.control.create_all(made).await.map_err(Error::from);
        }
        if result.is_err() {
            // What has ended is counted all the same: pods may be refused for as long as a quota is
            // full.
            let active = mine.iter().filter(|p| pods::is_active(p)).count() as i32;
            plan.status.active = (active > 0).then_some(active);
        }
        write(look, &plan).await?;
        release(client, look.key, &late).await?;
        result?;
        freed?;
        Ok(plan.again.map_or(Outcome::Done, Outcome::After))
    }

    /// Returns the job whose name the pod's labels have. For a pod without that label the name is
    /// empty, which no job has: the look at it takes the finalizer off as if the job were gone.
    fn lost_owner(pod: &Pod) -> Option<Key> {
        let name = pod.metadata.labels.as_ref().and_then(|labels| labels.get(JOB_NAME));
        let key =
            Key::new(pod.metadata.namespace.clone().unwrap_or_default(), name.cloned().unwrap_or_default());
        is_tracked(pod).then_some(key)
    }

    /// Takes the finalizer off the pods of a job that is gone: no controller counts them any more.
    async fn gone(shared: &Shared, key: &Key) -> Result<(), Error> {
        release(&shared.config.client, key, &strays(shared, key, None)).await
    }
}

/// Returns a test of the pods that the Job may adopt or let go. One that has finished adopts none,
/// as upstream, whose `syncJob` ends before it looks at pods: an adopted pod would be deleted
/// together with the Job. It lets go what it still holds and no longer selects, also a pod that is
/// being deleted: no other Job would take its finalizer off.
fn claimable(job: &Job) -> fn(&Pod) -> bool {
    match facts::finished(job) {
        Some(_) => is_held,
        None => |pod: &Pod| is_held(pod) || pods::is_staying(pod),
    }
}

/// Returns whether a Job owns the pod and keeps it from being deleted.
fn is_held(pod: &Pod) -> bool {
    is_tracked(pod) && pods::controller_of(&pod.metadata).is_some()
}

fn is_among(pod: &Pod, names: &[String]) -> bool {
    pod.metadata.name.as_ref().is_some_and(|name| names.contains(name))
}

/// Returns pods that wait for a job that is no more or has finished: pods of an earlier job of this
/// name, or orphaned ones.
///
/// Only the Job that counts a pod takes its finalizer off. If that Job is gone, the finalizer would
/// stay, and the pod could never be deleted.
fn strays(shared: &Shared, key: &Key, job: Option<&Job>) -> Vec<Arc<Pod>> {
    let uid = job.and_then(|job| job.metadata.uid.as_ref());
    // Also one that this Job would have adopted if it had not finished meanwhile.
    let is_chosen = |pod: &Pod| {
        let selector = job.and_then(Jobs::selector);
        selector.is_some_and(|selector| pods::selects(&selector, pod.metadata.labels.as_ref()))
    };
    let stray = |pod: &Arc<Pod>| match pods::controller_of(&pod.metadata) {
        Some(owner) => owner.kind == "Job" && owner.name == key.name && Some(&owner.uid) != uid,
        None => {
            let is_lost = Jobs::lost_owner(pod).as_ref() == Some(key) || is_chosen(pod);
            is_lost && !is_wanted(shared, pod)
        }
    };
    shared
        .informer::<Pod>()
        .within(&key.namespace)
        .into_iter()
        .filter(|p| is_tracked(p) && stray(p))
        .collect()
}

/// Returns whether a live job that has not finished selects this pod, and so adopts it.
fn is_wanted(shared: &Shared, pod: &Pod) -> bool {
    let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
    let labels = pod.metadata.labels.as_ref();
    shared.informer::<Job>().within(namespace).iter().any(|job| {
        job.metadata.deletion_timestamp.is_none()
            && facts::finished(job).is_none()
            && pods::is_staying(pod)
            && Jobs::selector(job).is_some_and(|selector| pods::selects(&selector, labels))
    })
}

/// Takes the finalizer off the pods. A pod that keeps it does not keep the others from losing it.
///
/// # Errors
/// The first one of the API server.
async fn release(client: &Client, key: &Key, pods: &[Arc<Pod>]) -> Result<(), Error> {
    let api = client.within::<Pod>(&key.namespace);
    let mut result = Ok(());
    for pod in pods {
        let name = pod.metadata.name.as_deref().unwrap_or_default();
        let patch =
            json!({"metadata": {"uid": pod.metadata.uid, "$deleteFromPrimitiveList/finalizers": [TRACKING]}});
        match api.patch(name, &PatchParams::default(), &Patch::Strategic(patch)).await {
            Err(error) if !(is_code(&error, 404) || is_code(&error, 409) || is_code(&error, 422)) => {
                result = result.and(Err(error.into()));
            }
            _ => {}
        }
    }
    result
}

/// Deletes pods that are too many. `held`: those of them that lose their finalizer first. One that
/// keeps it is not deleted, since its end would count as a failure, and it does not keep the others
/// from being deleted (upstream: `deleteJobPods`).
///
/// # Errors
/// The first one of the API server.
async fn delete_surplus(
    look: &Look<'_, Job>,
    mut surplus: Vec<Arc<Pod>>,
    held: &[Arc<Pod>],
) -> Result<(), Error> {
    let mut result = Ok(());
    for pod in held {
        if let Err(error) = release(&look.shared.config.client, look.key, std::slice::from_ref(pod)).await {
            surplus.retain(|other| other.metadata.uid != pod.metadata.uid);
            result = result.and(Err(error));
        }
    }
    look.dismissed.add(look.key, &surplus);
    let deleted = look.control.delete_all(&surplus).await.map_err(Error::from);
    result.and(deleted)
}

/// Returns whether the job is still what the cache says. Its status holds the counts: with an old
/// one, work that is done would be done again.
async fn fresh(look: &Look<'_, Job>) -> Result<bool, Error> {
    let found = client::optional(look.api::<Job>().get_metadata(&look.key.name).await)?;
    Ok(found.is_some_and(|m| m.metadata.resource_version == look.object.metadata.resource_version))
}

async fn write(look: &Look<'_, Job>, plan: &Plan) -> Result<(), Error> {
    let unchanged = |old: &JobStatus| *old == plan.status;
    if look.object.status.as_ref().is_some_and(unchanged) {
        return Ok(());
    }
    let mut next = (*look.object).clone();
    next.status = Some(plan.status.clone());
    // The resource version goes with it: counts are never written over newer ones.
    match look.api::<Job>().replace_status(&look.key.name, &PostParams::default(), &next).await {
        Ok(_) => {}
        Err(error) if is_code(&error, 404) => return Ok(()),
        Err(error) if is_code(&error, 409) => return Err(Error::Conflict(message_of(&error))),
        Err(error) => return Err(error.into()),
    }
    let (about, recorder) = (&look.control.about, look.control.recorder);
    plan.notices.iter().for_each(|notice| notice.emit(recorder, about, look.cause));
    Ok(())
}

/// Deletes a job whose `ttlSecondsAfterFinished` is over, its pods first.
async fn expire(look: &Look<'_, Job>) -> Result<Outcome, Error> {
    if !look.alive() || !fresh(look).await? {
        return Ok(Outcome::Done);
    }
    let preconditions = Some(Preconditions { uid: look.object.metadata.uid.clone(), resource_version: None });
    let params = DeleteParams { preconditions, ..DeleteParams::foreground() };
    match look.api::<Job>().delete(&look.key.name, &params).await {
        Err(error) if !(is_code(&error, 404) || is_code(&error, 409)) => return Err(error.into()),
        _ => look.did(Event::Expire {}),
    }
    Ok(Outcome::Done)
}

/// Makes a pod of the job; of an Indexed one, with its index in name, host name, label, annotation
/// and environment.
///
/// The pod of index 3 of the Job `render` has the host name `render-3`, a name such as
/// `render-3-x7k2p`, and 3 in the variable `JOB_COMPLETION_INDEX` of its containers.
fn pod_of(look: &Look<'_, Job>, new: &New) -> Pod {
    let template = look.object.spec.as_ref().map(|s| s.template.clone()).unwrap_or_default();
    let job = &look.key.name;
    let prefix = name_prefix(job, new.index);
    let mut pod = pods::from_template(&template, look.pod_name(&prefix), &look.key.namespace, look.owner());
    pod.metadata.generate_name = Some(prefix);
    let finalizers = pod.metadata.finalizers.get_or_insert_default();
    if !finalizers.iter().any(|f| f == TRACKING) {
        finalizers.push(TRACKING.into());
    }
    let Some(index) = new.index else { return pod };
    pod.metadata.labels.get_or_insert_default().insert(INDEX.into(), index.to_string());
    let annotations = pod.metadata.annotations.get_or_insert_default();
    annotations.insert(INDEX.into(), index.to_string());
    if let Some(failures) = new.failures {
        annotations.insert(INDEX_FAILURES.into(), failures.to_string());
    }
    if new.ignored > 0 {
        annotations.insert(INDEX_IGNORED.into(), new.ignored.to_string());
    }
    if let Some(spec) = &mut pod.spec {
        // In place of the template's, which would be the same for all pods.
        spec.hostname = Some(format!("{job}-{index}"));
        for container in spec.init_containers.iter_mut().flatten().chain(&mut spec.containers) {
            let env = container.env.get_or_insert_default();
            if !env.iter().any(|e| e.name == INDEX_VARIABLE) {
                env.push(index_variable());
            }
        }
    }
    pod
}

fn index_variable() -> EnvVar {
    let field_path = format!("metadata.labels['{INDEX}']");
    let field_ref = Some(ObjectFieldSelector { api_version: None, field_path });
    let value_from = Some(EnvVarSource { field_ref, ..EnvVarSource::default() });
    EnvVar { name: INDEX_VARIABLE.into(), value: None, value_from }
}
