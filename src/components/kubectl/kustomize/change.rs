//! What a folder changes in everything below it, in kustomize's order.

use super::load::{self, Kustomization};
use super::refs::each;
use super::{Resource, target};
use crate::error::{Fail, text as fail};
use crate::manifest;
use crate::print::json;
use api::value::{self, at, text};
use api::{kinds, patch, strategic};
use serde_json::{Value, json};
use std::path::Path;

/// Kinds whose name is their meaning.
const KEEP_NAME: [&str; 3] = ["APIService", "CustomResourceDefinition", "Namespace"];
/// Cluster-scoped kinds that the table of kinds does not have.
const CLUSTER: [&str; 13] = [
    "APIService",
    "CSIDriver",
    "CSINode",
    "ClusterTrustBundle",
    "CustomResourceDefinition",
    "FlowSchema",
    "MutatingWebhookConfiguration",
    "PriorityLevelConfiguration",
    "RuntimeClass",
    "ValidatingAdmissionPolicy",
    "ValidatingAdmissionPolicyBinding",
    "ValidatingWebhookConfiguration",
    "VolumeAttachment",
];

pub(super) fn run(kustomization: &Kustomization, root: &Path, all: &mut Vec<Resource>) -> Result<(), Fail> {
    patches(kustomization, root, all)?;
    namespace(all, kustomization.text("namespace"))?;
    names(all, kustomization.text("namePrefix"), kustomization.text("nameSuffix"));
    labels(kustomization, all);
    annotations(all, kustomization.at("commonAnnotations"));
    json_patches(kustomization, root, all)?;
    replicas(all, kustomization.list("replicas"))?;
    images(all, kustomization);
    Ok(())
}

// -- patches
// -------------------------------------------------------------------------------------------

/// A patch's text, from the file or from where it stands.
fn source(root: &Path, item: &Value) -> Result<Vec<u8>, Fail> {
    match (text(item, "path"), text(item, "patch")) {
        ("", "") => fail("must specify one of patch and path in patches"),
        ("", inline) => Ok(inline.as_bytes().to_vec()),
        (path, "") => load::file(root, path),
        _ => fail("patch and path can't be set at the same time in patches"),
    }
}

fn patches(kustomization: &Kustomization, root: &Path, all: &mut Vec<Resource>) -> Result<(), Fail> {
    for entry in kustomization.list("patchesStrategicMerge").iter().filter_map(Value::as_str) {
        // Inline text has several lines, a path has one.
        let bytes = if entry.contains('\n') { entry.as_bytes().to_vec() } else { load::file(root, entry)? };
        for document in manifest::kustomize_documents(&bytes).map_err(Fail::Text)? {
            by_own_name(&document, all)?;
        }
    }
    for item in kustomization.list("patches") {
        let bytes = source(root, item)?;
        let documents = manifest::kustomize_documents(&bytes).map_err(Fail::Text)?;
        let goal = at(item, "target");
        for document in documents {
            match (&document, goal.is_object()) {
                (Value::Array(_), false) => {
                    return fail(format!(
                        "must specify a target for JSON patch [{}]",
                        String::from_utf8_lossy(&bytes).trim_end()
                    ));
                }
                (Value::Array(_), true) => {
                    for resource in chosen(goal, all)? {
                        all[resource].remember_place();
                        json_patch(&mut all[resource], &document)?;
                    }
                }
                (Value::Object(_), true) => {
                    for resource in chosen(goal, all)?.into_iter().rev() {
                        merge(resource, &document, all, item)?;
                    }
                }
                (Value::Object(_), false) => by_own_name(&document, all)?,
                _ => return fail("unable to parse SM or JSON patch from one of patches"),
            }
        }
    }
    Ok(())
}

fn chosen(goal: &Value, all: &[Resource]) -> Result<Vec<usize>, Fail> {
    let mut found = vec![];
    for (i, resource) in all.iter().enumerate() {
        if target::matches(goal, resource)? {
            found.push(i);
        }
    }
    Ok(found)
}

fn by_own_name(document: &Value, all: &mut Vec<Resource>) -> Result<(), Fail> {
    match target::named_by(document, all).as_slice() {
        [one] => merge(*one, document, all, &Value::Null),
        found => {
            let id = Resource::new(document.clone()).id();
            let why = if found.is_empty() { "no matches for Id" } else { "multiple matches for Id" };
            fail(format!(
                "no resource matches strategic merge patch {id:?}: {why} {id}; failed to find unique target for patch {id}"
            ))
        }
    }
}

/// A strategic merge patch; name and kind stay unless the options let them change. `$patch: delete`
/// takes the object away.
fn merge(index: usize, document: &Value, all: &mut Vec<Resource>, item: &Value) -> Result<(), Fail> {
    if text(document, "$patch") == "delete" {
        all.remove(index);
        return Ok(());
    }
    let resource = &mut all[index];
    if value::flag(item, "options.allowNameChange") || value::flag(item, "options.allowKindChange") {
        resource.remember_place();
    }
    let mut document = document.clone();
    for (path, option) in [
        ("metadata.name", "options.allowNameChange"),
        ("metadata.namespace", ""),
        ("kind", "options.allowKindChange"),
        ("apiVersion", "options.allowKindChange"),
    ] {
        if option.is_empty() || !value::flag(item, option) {
            value::remove(&mut document, path);
        }
    }
    let kind = resource.kind().to_string();
    strategic::apply(&kind, &mut resource.object, &document).map_err(Fail::Text)
}

fn json_patch(resource: &mut Resource, operations: &Value) -> Result<(), Fail> {
    patch::json(&mut resource.object, operations.to_string().as_bytes())
        .map_err(|status| Fail::Text(format!("{}: {}", resource.id(), status.message)))
}

fn json_patches(kustomization: &Kustomization, root: &Path, all: &mut [Resource]) -> Result<(), Fail> {
    for item in kustomization.list("patchesJson6902") {
        let operations = manifest::parse_yaml(&source(root, item)?).map_err(Fail::Text)?;
        for resource in chosen(at(item, "target"), all)? {
            json_patch(&mut all[resource], &operations)?;
        }
    }
    Ok(())
}

// -- namespace and names
// ----------------------------------------------------------------------------------------------

/// Records whether an object has no namespace.
pub(super) fn is_cluster_scoped(resource: &Resource) -> bool {
    match kinds::find(resource.group(), resource.version(), resource.kind()) {
        Some(kind) => !kind.namespaced,
        None => CLUSTER.contains(&resource.kind()),
    }
}

/// Sets the namespace of a map that is at a path, or `made` if it is not there.
fn put_namespace(object: &mut Value, path: &str, namespace: &str, made: bool) {
    if made || value::at_mut(object, path).is_some() {
        value::put(object, path, namespace);
    }
}

fn namespace(all: &mut [Resource], namespace: &str) -> Result<(), Fail> {
    if namespace.is_empty() {
        return Ok(());
    }
    for index in 0..all.len() {
        let resource = &mut all[index];
        resource.remember_place();
        let (kind, core) = (resource.kind().to_string(), resource.group().is_empty());
        let cluster_scoped = is_cluster_scoped(resource);
        let object = &mut resource.object;
        if kind == "Namespace" && core {
            value::put(object, "metadata.name", namespace);
        } else if !cluster_scoped {
            value::put(object, "metadata.namespace", namespace);
        }
        match kind.as_str() {
            "RoleBinding" | "ClusterRoleBinding" => each(object, &["subjects"], &mut |subject| {
                if text(subject, "name") == "default" {
                    value::put(subject, "namespace", namespace);
                }
            }),
            "APIService" => put_namespace(object, "spec.service.namespace", namespace, true),
            "CustomResourceDefinition" => {
                let path = "spec.conversion.webhook.clientConfig.service.namespace";
                put_namespace(object, path, namespace, false);
            }
            _ => {}
        }
        let id = all[index].id();
        let same: Vec<String> =
            all.iter().filter(|r| r.id() == id).map(|r| json::compact(&r.object)).collect();
        if same.len() > 1 {
            return fail(format!("namespace transformation produces ID conflict: [{}]", same.join(" ")));
        }
    }
    Ok(())
}

fn names(all: &mut [Resource], prefix: &str, suffix: &str) {
    for resource in all.iter_mut().filter(|r| !KEEP_NAME.contains(&r.kind())) {
        resource.prefixes.push(prefix.into());
        resource.suffixes.push(suffix.into());
        if !prefix.is_empty() || !suffix.is_empty() {
            resource.remember_place();
            let name = format!("{prefix}{}{suffix}", resource.name());
            value::put(&mut resource.object, "metadata.name", name);
        }
    }
}

// -- labels and annotations
// -------------------------------------------------------------------------------------------

const WORKLOADS: [&str; 5] =
    ["DaemonSet", "Deployment", "ReplicaSet", "ReplicationController", "StatefulSet"];

/// Where the labels of pods stand that a kind makes.
fn templates(kind: &str) -> &'static [&'static str] {
    match kind {
        "Job" => &["spec.template.metadata"],
        "CronJob" => &["spec.jobTemplate.metadata", "spec.jobTemplate.spec.template.metadata"],
        kind if WORKLOADS.contains(&kind) => &["spec.template.metadata"],
        _ => &[],
    }
}

/// Where a kind selects by labels: paths that are made, and paths that are only followed.
fn selectors(kind: &str) -> (&'static [&'static str], &'static [&'static str]) {
    match kind {
        "Service" | "ReplicationController" => (&["spec.selector"], &[]),
        "Deployment" | "ReplicaSet" | "DaemonSet" | "StatefulSet" => (&["spec.selector.matchLabels"], &[]),
        "Job" | "PodDisruptionBudget" => (&[], &["spec.selector.matchLabels"]),
        "CronJob" => (&[], &["spec.jobTemplate.spec.selector.matchLabels"]),
        "NetworkPolicy" => (
            &[],
            &[
                "spec.podSelector.matchLabels",
                "spec.ingress.from.podSelector.matchLabels",
                "spec.egress.to.podSelector.matchLabels",
            ],
        ),
        _ => (&[], &[]),
    }
}

/// Selectors inside a pod's spec, which are followed where the pod's own are made.
const WITHIN: [&str; 5] = [
    "spec.template.spec.affinity.podAffinity.preferredDuringSchedulingIgnoredDuringExecution.podAffinityTerm.labelSelector.matchLabels",
    "spec.template.spec.affinity.podAffinity.requiredDuringSchedulingIgnoredDuringExecution.labelSelector.matchLabels",
    "spec.template.spec.affinity.podAntiAffinity.preferredDuringSchedulingIgnoredDuringExecution.podAffinityTerm.labelSelector.matchLabels",
    "spec.template.spec.affinity.podAntiAffinity.requiredDuringSchedulingIgnoredDuringExecution.labelSelector.matchLabels",
    "spec.template.spec.topologySpreadConstraints.labelSelector.matchLabels",
];

fn put_pairs(map: &mut Value, pairs: &Value) {
    let map = value::as_map(map);
    for (key, text) in pairs.as_object().into_iter().flatten() {
        map.insert(key.clone(), text.clone());
    }
}

fn labels(kustomization: &Kustomization, all: &mut [Resource]) {
    let common = json!({"pairs": kustomization.at("commonLabels"), "includeSelectors": true});
    for rule in [&common].into_iter().chain(kustomization.list("labels")) {
        let pairs = at(rule, "pairs");
        if !pairs.is_object() {
            continue;
        }
        let in_selectors = value::flag(rule, "includeSelectors");
        for resource in all.iter_mut() {
            put_pairs(value::slot(&mut resource.object, "metadata.labels"), pairs);
            let kind = resource.kind().to_string();
            if in_selectors || value::flag(rule, "includeTemplates") {
                for path in templates(&kind) {
                    put_pairs(value::slot(&mut resource.object, &format!("{path}.labels")), pairs);
                }
            }
            if kind == "StatefulSet" && (in_selectors || value::flag(rule, "includeVolumeClaimTemplates")) {
                for claim in value::list_mut(&mut resource.object, "spec.volumeClaimTemplates") {
                    put_pairs(value::slot(claim, "metadata.labels"), pairs);
                }
            }
            if !in_selectors {
                continue;
            }
            let (made, followed) = selectors(&kind);
            for path in made {
                put_pairs(value::slot(&mut resource.object, path), pairs);
            }
            for path in followed.iter().chain(WITHIN.iter().filter(|_| WORKLOADS.contains(&kind.as_str()))) {
                let steps: Vec<&str> = path.split('.').collect();
                each(&mut resource.object, &steps, &mut |map| put_pairs(map, pairs));
            }
        }
    }
}

fn annotations(all: &mut [Resource], pairs: &Value) {
    if !pairs.is_object() {
        return;
    }
    for resource in all {
        put_pairs(value::slot(&mut resource.object, "metadata.annotations"), pairs);
        for path in templates(resource.kind()) {
            put_pairs(value::slot(&mut resource.object, &format!("{path}.annotations")), pairs);
        }
    }
}

// -- replicas and images
// ----------------------------------------------------------------------------------------------

fn replicas(all: &mut [Resource], rules: &[Value]) -> Result<(), Fail> {
    for rule in rules {
        let name = text(rule, "name");
        let scaled = ["Deployment", "ReplicaSet", "ReplicationController", "StatefulSet"];
        let mut any = false;
        for resource in all.iter_mut().filter(|r| scaled.contains(&r.kind()) && r.is_known_as("", name)) {
            value::put(&mut resource.object, "spec.replicas", at(rule, "count").clone());
            any = true;
        }
        if !any {
            return fail(format!(
                "resource with name {name} does not match a config with the following GVK [Deployment.[noVer].[noGrp] StatefulSet.[noVer].[noGrp] ReplicaSet.[noVer].[noGrp] ReplicationController.[noVer].[noGrp]]"
            ));
        }
    }
    Ok(())
}

/// `host:5000/name:tag@digest` → name, tag, digest.
fn split(image: &str) -> (&str, &str, &str) {
    let (rest, digest) = image.split_once('@').unwrap_or((image, ""));
    match rest.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => (name, tag, digest),
        _ => (rest, "", digest),
    }
}

/// The image after the rule, if the rule is about it.
fn renamed(image: &str, rule: &Value) -> Option<String> {
    let (name, tag, digest) = split(image);
    if name != text(rule, "name") {
        return None;
    }
    let new = if value::empty(rule, "newName") { name } else { text(rule, "newName") };
    let new_tag = match at(rule, "newTag") {
        Value::Number(number) => number.to_string(),
        other => other.as_str().unwrap_or("").to_string(),
    };
    let (tag, digest) = match (new_tag.as_str(), text(rule, "digest")) {
        ("", "") => (tag, digest),
        both => both,
    };
    let mut out = new.to_string();
    if !tag.is_empty() {
        out.push_str(&format!(":{tag}"));
    }
    if !digest.is_empty() {
        out.push_str(&format!("@{digest}"));
    }
    Some(out)
}

fn images(all: &mut [Resource], kustomization: &Kustomization) {
    for rule in kustomization.images() {
        for resource in all.iter_mut() {
            for list in ["containers", "initContainers"] {
                each(&mut resource.object, &["**", list, "image"], &mut |image| {
                    if let Some(new) = image.as_str().and_then(|i| renamed(i, rule)) {
                        *image = new.into();
                    }
                });
            }
        }
    }
}
