//! # StatefulSet: pods that are somebody
//!
//! The pods of a StatefulSet are numbered. Each keeps its name, its host name in the set's headless Service and its claims, whatever node it comes back on.
//! [`decide`] says which pod is next; here its claims and then the pod itself are made. What pods are made of is kept in ControllerRevisions.
//! Source: `pkg/controller/statefulset`.

pub mod decide;
mod identity;

use super::pods::{self, Words};
use super::revisions;
use super::workload::{self, Look, PodOwner};
use super::{Error, Shared};
use crate::client::{Informer, Outcome, is_code};
use crate::clock;
use decide::{Plan, Revisions};
use k8s_openapi::api::apps::v1::{ControllerRevision, StatefulSet};
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::api::{Patch, PatchParams, PostParams};
use serde_json::json;
use std::borrow::Cow;
use std::sync::Arc;

/// The controller of StatefulSets.
pub(crate) struct StatefulSets;

pub(crate) fn start(shared: &Shared) {
    let queue = workload::start::<StatefulSets>(shared);
    revisions::watch(shared, "StatefulSet", &queue);
}

impl PodOwner for StatefulSets {
    type Kind = StatefulSet;
    const COMPONENT: &'static str = "statefulset-controller";
    const WORKERS: usize = 5;
    const WORDS: Words = Words {
        created: |set, pod| format!("create Pod {pod} in StatefulSet {set} successful"),
        deleted: |set, pod| format!("delete Pod {pod} in StatefulSet {set} successful"),
        refused: |set, pod, why| format!("create Pod {pod} in StatefulSet {set} failed error: {why}"),
    };

    fn informer(shared: &Shared) -> &Informer<StatefulSet> {
        &shared.stateful_sets
    }

    fn selector(set: &StatefulSet) -> Option<Cow<'_, LabelSelector>> {
        set.spec.as_ref().map(|s| Cow::Borrowed(&s.selector))
    }

    async fn sync(look: &Look<'_, StatefulSet>) -> Result<Outcome, Error> {
        let set = &look.object;
        let spec = set.spec.clone().unwrap_or_default();
        let status = set.status.clone().unwrap_or_default();
        let mut mine = look.claim(&spec.selector, pods::is_staying).await?;
        mine.retain(|p| {
            identity::ordinal(&look.key.name, p.metadata.name.as_deref().unwrap_or_default()).is_some()
        });
        if !look.alive() {
            return Ok(Outcome::Done); // the garbage collector does the rest
        }
        let named = status.current_revision.clone().unwrap_or_default();
        let live = |name: &str| {
            named == name || mine.iter().any(|p| revisions::of_pod(p).is_some_and(|r| r == name))
        };
        let (limit, collisions) = (spec.revision_history_limit, status.collision_count);
        let kept = revisions::keep(look, &spec.template, collisions, limit, live).await?;
        let name = |r: &Arc<ControllerRevision>| r.metadata.name.clone().unwrap_or_default();
        let update = kept.last().map(name).unwrap_or_default();
        let current = kept.iter().find(|r| name(r) == named);
        let revision =
            Revisions { current: if current.is_some() { &named } else { &update }, update: &update };
        let mut result = Ok(());
        if look.settled {
            let plan = decide::decide(set, &mine, revision, clock::now());
            result = act(look, &plan, &mine, current, revision).await;
        }
        look.write_status(set.status.as_ref(), &decide::status(set, &mine, revision, clock::now())).await?;
        result?;
        let seconds = spec.min_ready_seconds.unwrap_or(0);
        let next = mine.iter().filter_map(|p| pods::until_available(p, seconds)).min();
        Ok(next.map_or(Outcome::Done, Outcome::After))
    }
}

async fn act(
    look: &Look<'_, StatefulSet>,
    plan: &Plan,
    mine: &[Arc<Pod>],
    current: Option<&Arc<ControllerRevision>>,
    revision: Revisions<'_>,
) -> Result<(), Error> {
    own_claims(look, plan, mine).await?;
    for ordinal in &plan.waiting {
        make_claims(look, *ordinal).await?;
    }
    if !plan.create.is_empty() && look.still_there().await? {
        let spec = look.object.spec.clone().unwrap_or_default();
        let before = current.and_then(|r| revisions::template(r)).unwrap_or_else(|| spec.template.clone());
        let mut made = Vec::new();
        for (ordinal, new) in &plan.create {
            make_claims(look, *ordinal).await?;
            let (template, of) =
                if *new { (&spec.template, revision.update) } else { (&before, revision.current) };
            made.push(identity::pod(&look.object, template, of, *ordinal));
        }
        look.hands.create_all(made).await?;
    }
    let doomed = pods::named(mine, &plan.delete);
    look.hands.delete_all(&doomed).await?;
    if !plan.create.is_empty() || !doomed.is_empty() {
        let create: Vec<i32> = plan.create.iter().map(|(ordinal, _)| *ordinal).collect();
        look.did("reconcile", json!({"create": create, "delete": plan.delete}));
    }
    Ok(())
}

/// The claims of one pod that are not there yet. They outlive the pod.
async fn make_claims(look: &Look<'_, StatefulSet>, ordinal: i32) -> Result<(), Error> {
    let api = look.api::<PersistentVolumeClaim>();
    for mut claim in identity::claims(&look.object, ordinal) {
        let name = claim.metadata.name.clone().unwrap_or_default();
        let key = crate::client::Key::new(look.key.namespace.clone(), name.clone());
        match look.shared.claims.get(&key) {
            Some(there) if there.metadata.deletion_timestamp.is_some() => {
                return Err(Error::NotYet(format!("pvc {name} is being deleted")));
            }
            Some(_) => continue,
            None => {}
        }
        claim.metadata.owner_references = Some(identity::claim_owners(&look.object, &claim, None, false));
        let (set, pod) = (&look.key.name, format!("{}-{ordinal}", look.key.name));
        let about = &look.hands.about;
        match api.create(&PostParams::default(), &claim).await {
            Ok(_) => {
                let told = format!("create Claim {name} Pod {pod} in StatefulSet {set} success");
                look.hands.recorder.normal(about, "SuccessfulCreate", told, look.cause.clone());
            }
            Err(error) if is_code(&error, 409) => {}
            Err(error) => {
                let told =
                    format!("create Claim {name} for Pod {pod} in StatefulSet {set} failed error: {error}");
                look.hands.recorder.warning(about, "FailedCreate", told, look.cause.clone());
                return Err(error.into());
            }
        }
    }
    Ok(())
}

/// Claims are owned by whom the retention policy says, before a pod goes that would take them along.
async fn own_claims(look: &Look<'_, StatefulSet>, plan: &Plan, mine: &[Arc<Pod>]) -> Result<(), Error> {
    for pod in mine {
        let name = pod.metadata.name.as_deref().unwrap_or_default();
        let Some(ordinal) = identity::ordinal(&look.key.name, name) else { continue };
        let condemned = plan.condemned.iter().any(|n| n == name);
        for wanted in identity::claims(&look.object, ordinal) {
            let claim_name = wanted.metadata.name.unwrap_or_default();
            let key = crate::client::Key::new(look.key.namespace.clone(), claim_name.clone());
            let Some(claim) = look.shared.claims.get(&key) else { continue };
            let owners = identity::claim_owners(&look.object, &claim, Some(pod), condemned);
            if owners == claim.metadata.owner_references.clone().unwrap_or_default() {
                continue;
            }
            let patch = json!({"metadata": {"uid": claim.metadata.uid, "ownerReferences": owners}});
            let api = look.api::<PersistentVolumeClaim>();
            match api.patch(&claim_name, &PatchParams::default(), &Patch::Merge(patch)).await {
                Err(error) if !(is_code(&error, 404) || is_code(&error, 409)) => return Err(error.into()),
                _ => {}
            }
        }
    }
    Ok(())
}
