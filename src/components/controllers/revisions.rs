//! Revisions of a template, kept as ControllerRevisions: what DaemonSets and StatefulSets remember
//! for `rollout history` and `undo`. Source: `pkg/controller/history`.

use super::names::{revision_name, template_hash};
use super::pods;
use super::workload::{Look, Typed};
use super::write::unless_gone;
use crate::error::Error;
use crate::shared::Shared;
use client::{Change, Codec, Key, WorkQueue, is_code};
use k8s_openapi::api::apps::v1::ControllerRevision;
use k8s_openapi::api::core::v1::PodTemplateSpec;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use k8s_openapi::apimachinery::pkg::runtime::RawExtension;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The label of a pod that names its revision.
pub(crate) const HASH: &str = "controller-revision-hash";
/// The label of a StatefulSet's revision that has its own hash (upstream's
/// `history.ControllerRevisionHashLabel`).
const OWN_HASH: &str = "controller.kubernetes.io/hash";

/// Returns the revision that a pod is of, by its label.
pub(crate) fn of_pod(pod: &k8s_openapi::api::core::v1::Pod) -> Option<&String> {
    pod.metadata.labels.as_ref().and_then(|l| l.get(HASH))
}

/// Returns the template that a revision keeps; `None`: it cannot be read.
pub(crate) fn template(revision: &ControllerRevision) -> Option<PodTemplateSpec> {
    let mut template = revision.data.as_ref()?.0.pointer("/spec/template")?.clone();
    if let Some(map) = template.as_object_mut() {
        map.shift_remove("$patch");
    }
    PodTemplateSpec::decode(&template).ok()
}

/// The old revisions that `spec.revisionHistoryLimit` bounds; 10 of them if it says nothing.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Limit {
    /// All of them: DaemonSets (`cleanupHistory`).
    Old(Option<i32>),
    /// Those that no pod is of: StatefulSets (`truncateHistory`).
    Idle(Option<i32>),
}

/// Pure: the revisions to forget, the oldest first. One that a pod is of and the newest stay.
///
/// ```text
/// revisions a (a pod is of it), b, c, d, e (newest), limit 3
/// Old: a b c d are one too many, b goes     Idle: b c d are within the limit
/// ```
fn forgotten(
    all: &[Arc<ControllerRevision>],
    newest: &str,
    live: impl Fn(&str) -> bool,
    limit: Limit,
) -> Vec<String> {
    let old: Vec<String> = all.iter().map(|r| name_of(r)).filter(|name| name != newest).collect();
    let count = old.len();
    let idle: Vec<String> = old.into_iter().filter(|name| !live(name)).collect();
    let (counted, most) = match limit {
        Limit::Old(most) => (count, most),
        Limit::Idle(most) => (idle.len(), most),
    };
    let surplus = counted.saturating_sub(most.unwrap_or(10).max(0) as usize);
    idle.into_iter().take(surplus).collect()
}

/// Returns a workload's revisions, the oldest first; the last is the template as it is now. Those
/// without an owner that `selector` chooses are adopted: an earlier object of this name may have
/// left them.
///
/// # Errors
/// [`Error::NotYet`] if the cache is behind the API server, [`Error::Conflict`] if the name of a
/// new revision is taken: the next look goes on.
pub(crate) async fn keep<K: Typed>(
    look: &Look<'_, K>,
    selector: &LabelSelector,
    template: &PodTemplateSpec,
    collisions: Option<i32>,
    limit: Limit,
    live: impl Fn(&str) -> bool,
) -> Result<Vec<Arc<ControllerRevision>>, Error> {
    let api = look.api::<ControllerRevision>();
    let uid = look.object.meta().uid.as_ref();
    let owned =
        |r: &Arc<ControllerRevision>| pods::controller_of(&r.metadata).is_some_and(|o| Some(&o.uid) == uid);
    let mut all: Vec<_> = look
        .shared
        .informer::<ControllerRevision>()
        .within(&look.key.namespace)
        .into_iter()
        .filter(owned)
        .collect();
    all.extend(adopt_orphans(look, selector).await?);
    all.sort_by_key(|r| r.revision);
    let hash = template_hash(template, collisions.unwrap_or(0));
    let name = revision_name(&look.key.name, &hash);
    let next = all.last().map_or(1, |r| r.revision.saturating_add(1));
    let at = kept_as(&all, template);
    let is_newest = at.is_some_and(|at| at + 1 == all.len());
    if !is_newest && !is_current(look, template).await? {
        let why = format!("{} is gone or has changed, and the cache does not know it", look.key);
        return Err(Error::NotYet(why));
    }
    match at {
        Some(_) if is_newest => {}
        Some(at) => {
            // A rollback: the old one is the newest again.
            let patch = Patch::Merge(json!({"revision": next}));
            let old = name_of(&all.remove(at));
            all.push(Arc::new(api.patch(&old, &PatchParams::default(), &patch).await?));
        }
        None if all.iter().any(|r| name_of(r) == name) => return collide(look, &name, collisions).await,
        None => {
            let revision = made(look, template, &name, &hash, next);
            let made = match api.create(&PostParams::default(), &revision).await {
                Err(error) if is_code(&error, 409) => {
                    let there = api.get(&name).await?;
                    let owner = pods::controller_of(&there.metadata);
                    let (orphan, ours) = (owner.is_none(), owner.is_some_and(|o| Some(&o.uid) == uid));
                    match is_same(&there, template) {
                        true if ours => there,                        // the cache was behind
                        true if orphan => adopt(look, &there).await?, // left by an earlier object of this name
                        _ => return collide(look, &name, collisions).await,
                    }
                }
                other => other?,
            };
            all.push(Arc::new(made));
        }
    }
    let newest = all.last().map(|r| name_of(r)).unwrap_or_default();
    for old in forgotten(&all, &newest, live, limit) {
        match api.delete(&old, &DeleteParams::default()).await {
            Err(error) if !is_code(&error, 404) => return Err(error.into()),
            _ => all.retain(|r| r.metadata.name.as_ref() != Some(&old)),
        }
    }
    Ok(all)
}

/// Returns whether the API server has the workload with this template. Asked before a revision is
/// made or gets another number, because the cache may be behind.
///
/// If the workload is deleted, the garbage collector would remove the new revision, which brings
/// the owner's key back, and so on. Workloads and revisions come over a watch each, and an undo
/// changes both in one transaction. A look that has seen its revisions first would keep once more
/// what was taken back, and `rollout undo` would lead there.
///
/// ```text
///                        template   d-1          d-2
/// before the undo        of d-2     revision 1   revision 2
/// after it               of d-1     revision 1   gone
/// seen by the cache      of d-2     revision 1   gone         d-2 would be made again
/// ```
async fn is_current<K: Typed>(look: &Look<'_, K>, template: &PodTemplateSpec) -> Result<bool, Error> {
    let Some(live) = look.api::<K>().get_opt(&look.key.name).await? else { return Ok(false) };
    let is_there = live.meta().uid == look.object.meta().uid && live.meta().deletion_timestamp.is_none();
    let live = live.encode()?.pointer("/spec/template").and_then(|t| PodTemplateSpec::decode(t).ok());
    Ok(is_there && live.unwrap_or_default() == *template)
}

/// Brings the key of an object back when one of its revisions is deleted or changed: `rollout undo`
/// needs them.
pub(crate) fn watch(shared: &Shared, kind: &'static str, queue: &WorkQueue<Key>) {
    let queue = queue.clone();
    shared.informer::<ControllerRevision>().on(move |change| {
        let meta = &change.object().metadata;
        let owner = pods::controller_of(meta).filter(|o| o.kind == kind);
        if let Some(owner) = owner.filter(|_| !matches!(change, Change::Added(_))) {
            queue.add(Key::new(change.key().namespace, owner.name.clone()), change.cause());
        }
    });
}

fn name_of(revision: &ControllerRevision) -> String {
    revision.metadata.name.clone().unwrap_or_default()
}

fn is_same(revision: &ControllerRevision, of: &PodTemplateSpec) -> bool {
    revision.data.as_ref().is_some_and(|kept| kept.0 == data(of))
}

/// Finds the newest revision that keeps this template. Pure. What a revision keeps decides, as
/// upstream, and not its name: another client may have made one under another name, and a name that
/// was taken leaves a template with a name of its own.
///
/// Example: of `d-1` (keeps A), `d-2` (keeps B) and `copy` (keeps A), all the oldest first, `copy`
/// is the one of A.
fn kept_as(all: &[Arc<ControllerRevision>], template: &PodTemplateSpec) -> Option<usize> {
    let wanted = data(template);
    all.iter().rposition(|r| r.data.as_ref().is_some_and(|kept| kept.0 == wanted))
}

/// Counts a collision: another template, or another object, has the name of the new revision. The
/// next look takes another name.
async fn collide<K: Typed>(
    look: &Look<'_, K>,
    name: &str,
    collisions: Option<i32>,
) -> Result<Vec<Arc<ControllerRevision>>, Error> {
    let count = collisions.unwrap_or(0).saturating_add(1);
    let patch = json!({"metadata": {"uid": look.object.meta().uid}, "status": {"collisionCount": count}});
    let api = look.api::<K>();
    unless_gone(api.patch_status(&look.key.name, &PatchParams::default(), &Patch::Merge(patch)).await)?;
    Err(Error::Conflict(format!("the name of revision {name} is taken")))
}

/// Adopts the revisions without an owner that are of this workload by their labels.
async fn adopt_orphans<K: Typed>(
    look: &Look<'_, K>,
    selector: &LabelSelector,
) -> Result<Vec<Arc<ControllerRevision>>, Error> {
    let is_orphan = |r: &Arc<ControllerRevision>| {
        let meta = &r.metadata;
        pods::controller_of(meta).is_none()
            && meta.deletion_timestamp.is_none()
            && pods::selects(selector, meta.labels.as_ref())
    };
    let mut orphans = look.shared.informer::<ControllerRevision>().within(&look.key.namespace);
    orphans.retain(is_orphan);
    let mut adopted = Vec::new();
    if orphans.is_empty() || !look.still_there().await? {
        return Ok(adopted);
    }
    for orphan in orphans {
        adopted.push(Arc::new(adopt(look, &orphan).await?));
    }
    Ok(adopted)
}

async fn adopt<K: Typed>(
    look: &Look<'_, K>,
    orphan: &ControllerRevision,
) -> Result<ControllerRevision, Error> {
    let name = orphan.metadata.name.as_deref().unwrap_or_default();
    let patch = json!({"metadata": {"uid": orphan.metadata.uid, "ownerReferences": [look.owner()]}});
    let api = look.api::<ControllerRevision>();
    let adopted = unless_gone(api.patch(name, &PatchParams::default(), &Patch::Strategic(patch)).await)?;
    adopted.ok_or_else(|| Error::Conflict(format!("revision {name} is gone")))
}

/// Returns what a revision keeps: the template as a strategic merge patch that replaces another
/// one, with its keys in order. Clients compare it byte for byte with what upstream writes.
fn data(template: &PodTemplateSpec) -> Value {
    let mut data = template.encode().unwrap_or_default();
    data["$patch"] = json!("replace");
    sorted(json!({"spec": {"template": data}}))
}

fn sorted(value: Value) -> Value {
    match value {
        Value::Object(map) => {
            let in_order: BTreeMap<String, Value> = map.into_iter().collect();
            Value::Object(in_order.into_iter().map(|(key, value)| (key, sorted(value))).collect())
        }
        Value::Array(list) => Value::Array(list.into_iter().map(sorted).collect()),
        other => other,
    }
}

/// Returns the label of a revision that has its hash. A DaemonSet's revisions have the label of
/// their pods; the pods of a StatefulSet have the whole name of their revision in theirs.
fn hash_label<K: Typed>() -> &'static str {
    if K::kind(&()) == "DaemonSet" { HASH } else { OWN_HASH }
}

/// Makes a new revision. It has all annotations of its owner, as upstream (`newRevision`,
/// `snapshot`): `kubectl rollout history` finds the cause of the change there.
fn made<K: Typed>(
    look: &Look<'_, K>,
    template: &PodTemplateSpec,
    name: &str,
    hash: &str,
    number: i64,
) -> ControllerRevision {
    let mut labels = template.metadata.as_ref().and_then(|m| m.labels.clone()).unwrap_or_default();
    labels.insert(hash_label::<K>().into(), hash.into());
    ControllerRevision {
        metadata: ObjectMeta {
            name: Some(name.into()),
            namespace: Some(look.key.namespace.clone()),
            labels: Some(labels),
            annotations: look.object.meta().annotations.clone(),
            owner_references: Some(vec![look.owner()]),
            ..ObjectMeta::default()
        },
        data: Some(RawExtension(data(template))),
        revision: number,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_revision_that_is_deleted_brings_its_owner_back() {
        let server = client::testing::Scripted::new(|_| None).await;
        let shared = Shared::fixed(&server.client);
        let queue = WorkQueue::new(&shared.crew);
        watch(&shared, "DaemonSet", &queue);
        let of = |kind: &str| -> ControllerRevision {
            let owner =
                json!({"apiVersion": "apps/v1", "kind": kind, "name": "d", "uid": "u", "controller": true});
            let meta = json!({"name": kind, "namespace": "n", "ownerReferences": [owner]});
            serde_json::from_value(json!({"metadata": meta, "revision": 1})).unwrap()
        };
        for kind in ["StatefulSet", "DaemonSet"] {
            shared.informer::<ControllerRevision>().show(of(kind));
            shared.informer::<ControllerRevision>().show_deleted(of(kind));
        }
        assert_eq!(queue.next().await.0, Key::new("n", "d"));
        let more = clock::timeout(std::time::Duration::from_millis(50), queue.next()).await;
        assert!(more.is_none(), "not for another kind's: {more:?}");
    }

    #[tokio::test]
    async fn a_revision_has_all_annotations_of_its_owner() {
        use crate::statefulset::StatefulSets;
        use k8s_openapi::api::apps::v1::StatefulSet;
        let notes = json!({"kubernetes.io/change-cause": "why",
            "kubectl.kubernetes.io/last-applied-configuration": "{}"});
        let template = json!({"metadata": {"labels": {"a": "b"}}, "spec": {"containers": []}});
        let set = json!({"metadata": {"name": "web", "namespace": "d", "uid": "1", "annotations": notes},
            "spec": {"replicas": 0, "selector": {"matchLabels": {"a": "b"}}, "template": template}});
        let stored = set.clone();
        let server = client::testing::Scripted::new(move |asked| match asked.line.as_str() {
            line if line.contains("/statefulsets/web") => Some((200, stored.clone())),
            line if line.starts_with("POST") => Some((201, asked.body.clone())),
            _ => None,
        })
        .await;
        let shared = Shared::fixed(&server.client);
        shared.informer::<StatefulSet>().show(serde_json::from_value(set).unwrap());
        crate::workload::look_once::<StatefulSets>(&shared, &Key::new("d", "web")).await.unwrap();
        let made = server.take().into_iter().find(|asked| asked.line.starts_with("POST")).unwrap();
        assert!(made.line.ends_with("/controllerrevisions"), "{}", made.line);
        assert_eq!(made.body["metadata"]["annotations"], notes);
        let labels = &made.body["metadata"]["labels"];
        let hash = labels[OWN_HASH].as_str().unwrap();
        assert_eq!(labels, &json!({"a": "b", OWN_HASH: hash}), "pods have another label");
        assert_eq!(made.body["metadata"]["name"], format!("web-{hash}"));
        assert_eq!(hash_label::<k8s_openapi::api::apps::v1::DaemonSet>(), HASH);
    }

    #[test]
    fn a_revision_is_written_as_gos_encoder_writes_it() {
        let template = json!({"spec": {"containers": [{"name": "c", "image": "i"}]}, "metadata": {"labels": {"b": "1", "a": "2"}}});
        let template: PodTemplateSpec = serde_json::from_value(template).unwrap();
        let want = r#"{"spec":{"template":{"$patch":"replace","metadata":{"labels":{"a":"2","b":"1"}},"spec":{"containers":[{"image":"i","name":"c"}]}}}}"#;
        assert_eq!(data(&template).to_string(), want);
        let kept = |template: &PodTemplateSpec| ControllerRevision {
            data: Some(RawExtension(data(template))),
            ..ControllerRevision::default()
        };
        assert!(is_same(&kept(&template), &template));
        assert!(!is_same(&kept(&PodTemplateSpec::default()), &template), "one hash for two templates");
        assert_eq!(super::template(&kept(&template)), Some(template));
    }

    #[test]
    fn a_template_is_found_by_what_a_revision_keeps() {
        let template = |image: &str| -> PodTemplateSpec {
            let containers = json!([{"name": "c", "image": image}]);
            serde_json::from_value(json!({"spec": {"containers": containers}})).unwrap()
        };
        let revision = |name: &str, image: &str| {
            let metadata = ObjectMeta { name: Some(name.into()), ..ObjectMeta::default() };
            let data = Some(RawExtension(data(&template(image))));
            Arc::new(ControllerRevision { metadata, data, revision: 1 })
        };
        let hash = template_hash(&template("b"), 0);
        let all = [revision("d-1", "a"), revision("copy", "a"), revision(&format!("d-{hash}"), "c")];
        assert_eq!(kept_as(&all, &template("a")), Some(1), "the newest, whatever its name");
        assert_eq!(kept_as(&all[1..2], &template("a")), Some(0), "the one of the usual name was deleted");
        assert_eq!(kept_as(&all, &template("b")), None, "the name alone says nothing");
    }

    #[test]
    fn what_a_pod_is_of_and_the_newest_stay() {
        let revision = |name: &str| {
            Arc::new(ControllerRevision {
                metadata: ObjectMeta { name: Some(name.into()), ..ObjectMeta::default() },
                ..ControllerRevision::default()
            })
        };
        let all = ["a", "b", "c", "d", "e"].map(revision);
        let of_a = |name: &str| name == "a";
        let names = |limit: Limit| forgotten(&all, "e", of_a, limit);
        assert_eq!(names(Limit::Idle(Some(1))), ["b", "c"]);
        assert_eq!(names(Limit::Idle(Some(3))), [""; 0]);
        assert_eq!(names(Limit::Old(Some(3))), ["b"], "the one that a pod is of counts");
        assert_eq!(names(Limit::Old(Some(0))), ["b", "c", "d"], "and stays");
        assert_eq!(names(Limit::Old(None)), [""; 0]);
        assert_eq!(forgotten(&all, "e", |_| false, Limit::Idle(Some(0))), ["a", "b", "c", "d"]);
    }
}
