//! Revisions of a template, kept as ControllerRevisions: what DaemonSets and StatefulSets remember for `rollout history` and `undo`.
//! Source: `pkg/controller/history`.

use super::Error;
use super::pods::{self, template_hash};
use super::workload::{Look, Typed};
use crate::client::is_code;
use k8s_openapi::api::apps::v1::ControllerRevision;
use k8s_openapi::api::core::v1::PodTemplateSpec;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::apimachinery::pkg::runtime::RawExtension;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use serde_json::json;
use std::sync::Arc;

/// The label by which a pod tells its revision.
pub const HASH: &str = "controller-revision-hash";

/// The revision that a pod says it is of.
pub fn of_pod(pod: &k8s_openapi::api::core::v1::Pod) -> Option<&String> {
    pod.metadata.labels.as_ref().and_then(|l| l.get(HASH))
}

/// The template that a revision keeps.
pub fn template(revision: &ControllerRevision) -> Option<PodTemplateSpec> {
    let mut template = revision.data.as_ref()?.0.pointer("/spec/template")?.clone();
    if let Some(map) = template.as_object_mut() {
        map.shift_remove("$patch");
    }
    serde_json::from_value(template).ok()
}

/// Pure: the revisions to forget, the oldest first: those beyond `limit` that no pod is of and that are not the newest.
fn forgotten(
    all: &[Arc<ControllerRevision>],
    newest: &str,
    live: impl Fn(&str) -> bool,
    limit: usize,
) -> Vec<String> {
    let names = all.iter().filter_map(|r| r.metadata.name.clone());
    let idle: Vec<String> = names.filter(|name| name != newest && !live(name)).collect();
    let surplus = idle.len().saturating_sub(limit);
    idle.into_iter().take(surplus).collect()
}

/// A workload's revisions, the oldest first; the last is the template as it is now.
pub async fn keep<K: Typed>(
    look: &Look<'_, K>,
    template: &PodTemplateSpec,
    collisions: Option<i32>,
    limit: Option<i32>,
    live: impl Fn(&str) -> bool,
) -> Result<Vec<Arc<ControllerRevision>>, Error> {
    let api = look.api::<ControllerRevision>();
    let uid = look.object.meta().uid.as_ref();
    let owned =
        |r: &Arc<ControllerRevision>| pods::controller_of(&r.metadata).is_some_and(|o| Some(&o.uid) == uid);
    let mut all: Vec<_> =
        look.shared.revisions.within(&look.key.namespace).into_iter().filter(owned).collect();
    all.sort_by_key(|r| r.revision);
    let hash = template_hash(template, collisions.unwrap_or(0));
    let name = format!("{}-{hash}", look.key.name);
    let next = all.last().map_or(1, |r| r.revision.saturating_add(1));
    match all.iter().position(|r| r.metadata.name.as_deref() == Some(&name)) {
        Some(at) if at + 1 == all.len() => {}
        Some(at) => {
            // A rollback: the old one is the newest again.
            let patch = Patch::Merge(json!({"revision": next}));
            all.remove(at);
            all.push(Arc::new(api.patch(&name, &PatchParams::default(), &patch).await?));
        }
        None => {
            let revision = made(look, template, &name, &hash, next);
            let made = match api.create(&PostParams::default(), &revision).await {
                Err(error) if is_code(&error, 409) => api.get(&name).await?, // the cache was behind
                other => other?,
            };
            all.push(Arc::new(made));
        }
    }
    for old in forgotten(&all, &name, live, limit.unwrap_or(10).max(0) as usize) {
        match api.delete(&old, &DeleteParams::default()).await {
            Err(error) if !is_code(&error, 404) => return Err(error.into()),
            _ => all.retain(|r| r.metadata.name.as_ref() != Some(&old)),
        }
    }
    Ok(all)
}

fn made<K: Typed>(
    look: &Look<'_, K>,
    template: &PodTemplateSpec,
    name: &str,
    hash: &str,
    number: i64,
) -> ControllerRevision {
    let mut data = serde_json::to_value(template).unwrap_or_default();
    data["$patch"] = json!("replace");
    let mut labels = template.metadata.as_ref().and_then(|m| m.labels.clone()).unwrap_or_default();
    labels.insert(HASH.into(), hash.into());
    let mut annotations = look.object.meta().annotations.clone().unwrap_or_default();
    annotations.remove("kubectl.kubernetes.io/last-applied-configuration");
    ControllerRevision {
        metadata: ObjectMeta {
            name: Some(name.into()),
            namespace: Some(look.key.namespace.clone()),
            labels: Some(labels),
            annotations: (!annotations.is_empty()).then_some(annotations),
            owner_references: Some(vec![look.owner()]),
            ..ObjectMeta::default()
        },
        data: Some(RawExtension(json!({"spec": {"template": data}}))),
        revision: number,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_pod_is_of_and_the_newest_stay() {
        let revision = |name: &str| {
            Arc::new(ControllerRevision {
                metadata: ObjectMeta { name: Some(name.into()), ..ObjectMeta::default() },
                ..ControllerRevision::default()
            })
        };
        let all = ["a", "b", "c", "d", "e"].map(revision);
        assert_eq!(forgotten(&all, "e", |name| name == "a", 1), ["b", "c"]);
        assert_eq!(forgotten(&all, "e", |name| name == "a", 3), Vec::<String>::new());
        assert_eq!(forgotten(&all, "e", |_| false, 0), ["a", "b", "c", "d"]);
    }
}
