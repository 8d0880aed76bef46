//! One ReplicaSet per version of the template: made, numbered, made new again by a rollback, and
//! forgotten.

use super::look::{COMPONENT, Look};
use super::rollout::{Goal, Set};
use crate::error::{Error, is_namespace_ending, message_of};
use crate::names::{replica_set_name, template_hash};
use crate::pods::{controller_of, owned_by};
use crate::shared::record;
use api::schema::equality;
use client::{Codec, is_code, reference};
use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet, ReplicaSetSpec};
use k8s_openapi::api::core::v1::PodTemplateSpec;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use kube::api::{DeleteParams, Patch, PatchParams, PostParams, Preconditions};
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::Arc;
use tap::Event;

const REVISION: &str = "deployment.kubernetes.io/revision";
const REVISION_HISTORY: &str = "deployment.kubernetes.io/revision-history";
/// Characters of a set's revision history, at most (upstream's `maxRevHistoryLengthInChars`).
const HISTORY_MOST: usize = 2000;
/// How many replicas the deployment wanted, and how many pods it allowed, when the set was last
/// scaled.
pub(super) const DESIRED: &str = "deployment.kubernetes.io/desired-replicas";
pub(super) const MAX: &str = "deployment.kubernetes.io/max-replicas";
const HASH: &str = "pod-template-hash";

/// Returns whether two templates are the same version: they differ in nothing but the hash label
/// and the spelling of amounts (`EqualIgnoreHash` upstream).
pub(super) fn same_template(a: &PodTemplateSpec, b: &PodTemplateSpec) -> bool {
    let plain = |t: &PodTemplateSpec| {
        let mut t = t.clone();
        if let Some(labels) = t.metadata.as_mut().and_then(|m| m.labels.as_mut()) {
            labels.remove(HASH);
        }
        t.encode().unwrap_or_default()
    };
    equality::equal(equality::POD_TEMPLATE, "", &plain(a), &plain(b))
}

/// Returns the revision of a set, or of the deployment; 0: it has none yet.
pub(super) fn revision_of(meta: &ObjectMeta) -> i64 {
    meta.annotations.as_ref().and_then(|a| a.get(REVISION)).and_then(|r| r.parse().ok()).unwrap_or(0)
}

/// Returns whether a set does not take an annotation over from its deployment.
fn is_own_annotation(key: &str) -> bool {
    key == "kubectl.kubernetes.io/last-applied-configuration"
        || key == "deprecated.deployment.rollback.to"
        || [REVISION, REVISION_HISTORY, DESIRED, MAX].contains(&key)
}

/// Pure: a set's earlier revisions (the annotation `revision-history`) with one more. Without a
/// bound, a Deployment that is switched to and fro would fill the annotations of its sets, and the
/// API server would refuse them: the oldest revisions are dropped. `1,3` and 5 become `1,3,5`.
fn with_revision(history: &str, revision: i64) -> String {
    let all = match history {
        "" => revision.to_string(),
        earlier => format!("{earlier},{revision}"),
    };
    let mut kept = all.as_str();
    while kept.len() > HISTORY_MOST
        && let Some((_, newer)) = kept.split_once(',')
    {
        kept = newer;
    }
    kept.to_string()
}

/// Pure: the old sets that are deleted so that `keep` (`revisionHistoryLimit`) are left. All old
/// sets count, the oldest are chosen, and of those only empty ones go, as in upstream.
///
/// ```text
/// keep 1: revision 1 (empty), 2 (3 pods)   1 goes
/// keep 1: revision 1 (3 pods), 2 (empty)   none goes: the oldest one has pods
/// ```
fn forgotten(old: &[Arc<ReplicaSet>], keep: usize) -> Vec<&Arc<ReplicaSet>> {
    let mut staying: Vec<&Arc<ReplicaSet>> =
        old.iter().filter(|s| s.metadata.deletion_timestamp.is_none()).collect();
    staying.sort_by_key(|s| revision_of(&s.metadata));
    let is_empty = |set: &&Arc<ReplicaSet>| {
        let numbers = Set::of(set);
        // A status that is older than the spec says nothing about the pods.
        let observed = set.status.as_ref().and_then(|status| status.observed_generation).unwrap_or(0);
        let is_observed = observed >= set.metadata.generation.unwrap_or(0);
        numbers.wanted == 0 && numbers.pods == 0 && is_observed
    };
    let surplus = staying.len().saturating_sub(keep);
    staying.into_iter().take(surplus).filter(is_empty).collect()
}

impl Look<'_> {
    fn set_annotations(&self, revision: i64) -> BTreeMap<String, String> {
        let goal = Goal::of(&self.spec);
        let mut annotations: BTreeMap<String, String> =
            self.deployment.metadata.annotations.clone().unwrap_or_default();
        annotations.retain(|key, _| !is_own_annotation(key));
        annotations.insert(REVISION.into(), revision.to_string());
        annotations.insert(DESIRED.into(), goal.replicas.to_string());
        annotations.insert(MAX.into(), (goal.replicas + goal.surge).to_string());
        annotations
    }

    /// Creates the ReplicaSet of a template. Its name is the Deployment's and a hash of the
    /// template, for example `web-5d8f6c7b9`. The hash is also a label of its pods and part of its
    /// selector: without it the sets of two versions would count each other's pods. Upstream:
    /// `getNewReplicaSet`.
    ///
    /// The name comes from the content, so a controller that crashed after the request and creates
    /// the set once more gets 409 and finds its own set. Two templates with the same hash differ in
    /// `status.collisionCount`, which is part of what is hashed.
    pub(super) async fn create(&self, revision: i64, replicas: i32) -> Result<Arc<ReplicaSet>, Error> {
        let start = clock::Instant::now();
        let collisions = self.deployment.status.as_ref().and_then(|s| s.collision_count).unwrap_or(0);
        let hash = template_hash(&self.spec.template, collisions);
        let name = replica_set_name(&self.key.name, &hash);
        let mut template = self.spec.template.clone();
        let meta = template.metadata.get_or_insert_default();
        meta.labels.get_or_insert_default().insert(HASH.into(), hash.clone());
        let mut selector: LabelSelector = self.spec.selector.clone();
        selector.match_labels.get_or_insert_default().insert(HASH.into(), hash);
        let set = ReplicaSet {
            metadata: ObjectMeta {
                name: Some(name.clone()),
                namespace: Some(self.key.namespace.clone()),
                labels: template.metadata.as_ref().and_then(|m| m.labels.clone()),
                annotations: Some(self.set_annotations(revision)),
                owner_references: Some(vec![owned_by(self.deployment)]),
                ..ObjectMeta::default()
            },
            spec: Some(ReplicaSetSpec {
                replicas: Some(replicas),
                selector,
                template: Some(template),
                min_ready_seconds: self.spec.min_ready_seconds,
            }),
            status: None,
        };
        match self.api::<ReplicaSet>().create(&PostParams::default(), &set).await {
            Ok(made) => {
                if replicas > 0 {
                    let message = format!("Scaled up replica set {name} from 0 to {replicas}");
                    let about = reference(self.deployment);
                    self.worker.recorder.normal(&about, "ScalingReplicaSet", message, self.cause.clone());
                }
                let event = Event::CreateReplicaSet { replica_set: name, from: 0, to: replicas, revision };
                let record = record(event, "deployments", self.key, self.cause).took(start.elapsed());
                self.worker.shared.tap(COMPONENT).emit(record);
                Ok(Arc::new(made))
            }
            Err(error) if is_code(&error, 409) => {
                let there = self.api::<ReplicaSet>().get(&name).await?;
                let ours = controller_of(&there.metadata)
                    .is_some_and(|o| Some(&o.uid) == self.deployment.metadata.uid.as_ref());
                let same = there.spec.as_ref().and_then(|s| s.template.as_ref());
                if ours && same.is_some_and(|t| same_template(t, &self.spec.template)) {
                    return Ok(Arc::new(there)); // the cache was behind
                }
                // Another template has this hash: count the collision, the next look takes another
                // name.
                let patch = json!({"metadata": {"uid": self.deployment.metadata.uid},
                    "status": {"collisionCount": collisions.saturating_add(1)}});
                let api = self.api::<Deployment>();
                api.patch_status(&self.key.name, &PatchParams::default(), &Patch::Merge(patch)).await?;
                Err(Error::NotYet(format!(
                    "the name of ReplicaSet {name} is taken: the next look takes another one"
                )))
            }
            // Its namespace is being deleted, and the deployment with it.
            Err(error) if is_namespace_ending(&error) => Err(error.into()),
            Err(error) => {
                let message = format!("Failed to create new replica set {name:?}: {}", message_of(&error));
                let (about, cause) = (reference(self.deployment), self.cause.clone());
                self.worker.recorder.warning(&about, "ReplicaSetCreateError", message.clone(), cause);
                self.write_create_error(message).await?;
                Err(error.into())
            }
        }
    }

    /// Brings an existing new set's annotations up to date: it may be an old one that a rollback
    /// made new again.
    ///
    /// ```text
    /// revision 1 (web:1), revision 2 (web:2); `rollout undo` writes web:1 again
    /// the set of revision 1 becomes revision 3, and its history is "1"
    /// ```
    ///
    /// `rollout history` then shows 2 and 3. Two sets never have the same number.
    pub(super) async fn refresh(&self, set: Arc<ReplicaSet>, next: i64) -> Result<Arc<ReplicaSet>, Error> {
        let have = revision_of(&set.metadata);
        let revision = have.max(next);
        let mut want = self.set_annotations(revision);
        let stored = set.metadata.annotations.clone().unwrap_or_default();
        if have > 0 && have < revision {
            let history = stored.get(REVISION_HISTORY).map(String::as_str).unwrap_or_default();
            want.insert(REVISION_HISTORY.into(), with_revision(history, have));
        }
        // The numbers are written together with the replicas, when the set is scaled.
        want.remove(DESIRED);
        want.remove(MAX);
        let ready = self.spec.min_ready_seconds;
        let same_ready =
            set.spec.as_ref().and_then(|s| s.min_ready_seconds).unwrap_or(0) == ready.unwrap_or(0);
        if want.iter().all(|(k, v)| stored.get(k) == Some(v)) && same_ready {
            return Ok(set);
        }
        let name = set.metadata.name.clone().unwrap_or_default();
        let patch = json!({"metadata": {"uid": set.metadata.uid, "annotations": want}, "spec": {"minReadySeconds": ready}});
        Ok(Arc::new(
            self.api::<ReplicaSet>().patch(&name, &PatchParams::default(), &Patch::Merge(patch)).await?,
        ))
    }

    /// Gives the deployment the revision of its newest set. It is written through `/status`, as by
    /// upstream's controller: elsewhere a change of a Deployment's annotations is a new generation.
    pub(super) async fn set_revision(&self, new: &ReplicaSet) -> Result<(), Error> {
        let revision = revision_of(&new.metadata);
        if revision_of(&self.deployment.metadata) == revision {
            return Ok(());
        }
        let (uid, annotations) = (&self.deployment.metadata.uid, json!({REVISION: revision.to_string()}));
        // The uid keeps it from a new deployment of that name, which has other revisions.
        let patch = json!({"metadata": {"uid": uid, "annotations": annotations}});
        match self
            .api::<Deployment>()
            .patch_status(&self.key.name, &PatchParams::default(), &Patch::Merge(patch))
            .await
        {
            Err(error) if !is_code(&error, 404) => Err(error.into()),
            _ => Ok(()),
        }
    }

    /// Deletes what [`forgotten`] says.
    pub(super) async fn clean_up(&self, old: &[Arc<ReplicaSet>]) -> Result<(), Error> {
        let keep = self.spec.revision_history_limit.unwrap_or(10).max(0) as usize;
        for set in forgotten(old, keep) {
            let params = DeleteParams {
                preconditions: Some(Preconditions { uid: set.metadata.uid.clone(), resource_version: None }),
                ..DeleteParams::default()
            };
            match self
                .api::<ReplicaSet>()
                .delete(set.metadata.name.as_deref().unwrap_or_default(), &params)
                .await
            {
                Err(error) if !(is_code(&error, 404) || is_code(&error, 409)) => return Err(error.into()),
                _ => {}
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_sets_with_pods_count_against_the_limit_and_stay() {
        let set = |revision: i64, pods: i32| -> Arc<ReplicaSet> {
            let notes = json!({REVISION: revision.to_string()});
            let set = json!({"metadata": {"name": format!("r{revision}"), "annotations": notes},
                "spec": {"replicas": pods, "selector": {}}, "status": {"replicas": pods}});
            Arc::new(serde_json::from_value(set).unwrap())
        };
        let names = |old: &[Arc<ReplicaSet>], keep: usize| -> Vec<String> {
            forgotten(old, keep).iter().filter_map(|s| s.metadata.name.clone()).collect()
        };
        assert_eq!(names(&[set(2, 3), set(1, 0)], 1), ["r1"]);
        assert_eq!(names(&[set(1, 3), set(2, 0)], 1), [""; 0]);
        assert_eq!(names(&[set(3, 0), set(1, 0), set(2, 0)], 1), ["r1", "r2"]);
        assert_eq!(names(&[set(1, 0)], 1), [""; 0]);
    }

    #[test]
    fn another_spelling_of_an_amount_is_no_new_version() {
        let template = |memory: &str, note: &str, hash: Option<&str>| -> PodTemplateSpec {
            let container = json!({"name": "c", "resources": {"limits": {"memory": memory}}});
            let mut meta = json!({"labels": {"app": "web"}, "annotations": {"note": note}});
            if let Some(hash) = hash {
                meta["labels"][HASH] = hash.into();
            }
            serde_json::from_value(json!({"metadata": meta, "spec": {"containers": [container]}})).unwrap()
        };
        let set = template("1Gi", "1Gi", Some("76f8d594c6"));
        assert!(same_template(&set, &template("1073741824", "1Gi", None)));
        assert!(!same_template(&set, &template("1G", "1Gi", None)));
        assert!(!same_template(&set, &template("1Gi", "1073741824", None)), "annotations are text");
    }

    #[test]
    fn the_oldest_revisions_leave_a_long_history() {
        assert_eq!(with_revision("", 1), "1");
        assert_eq!(with_revision("1,3", 5), "1,3,5");
        let mut history = String::new();
        for revision in 1..=3000 {
            history = with_revision(&history, revision);
            assert!(history.len() <= HISTORY_MOST, "{revision}: {} characters", history.len());
        }
        assert!(history.starts_with("2601,") && history.ends_with(",2999,3000"), "{history}");
        // What users have written is cut as well.
        let long = vec!["1"; 100_000].join(",");
        assert_eq!(with_revision(&long, 7).len(), 1999);
    }
}
