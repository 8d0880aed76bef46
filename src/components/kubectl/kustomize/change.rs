//! The changes of a folder to all objects below it, in kustomize's order.

use super::patches;
use super::refs::each;
use super::resource::Resource;
use super::types::{Image, Kustomization, Label, Pairs, Replica};
use crate::error::{Fail, text as fail};
use crate::print::json;
use api::value::{self, text};
use regex::Regex;
use serde_json::Value;
use std::path::Path;

/// Kinds whose names have a meaning, so that prefixes and suffixes do not change them.
const KEEP_NAME: [&str; 3] = ["APIService", "CustomResourceDefinition", "Namespace"];

pub(super) fn run(kustomization: &Kustomization, root: &Path, all: &mut Vec<Resource>) -> Result<(), Fail> {
    patches::run(kustomization, root, all)?;
    namespace(all, &kustomization.namespace)?;
    names(all, &kustomization.name_prefix, &kustomization.name_suffix);
    labels(kustomization, all);
    annotations(all, &kustomization.common_annotations);
    patches::run_json(kustomization, root, all)?;
    replicas(all, &kustomization.replicas)?;
    images(all, &kustomization.images)
}

// -- namespace and names
// ----------------------------------------------------------------------------------------------

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
        let cluster_scoped = resource.is_cluster_scoped();
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
        let same: Vec<String> =
            all.iter().filter(|r| r.is_same_as(&all[index])).map(|r| json::compact(&r.object)).collect();
        if same.len() > 1 {
            return fail(format!("namespace transformation produces ID conflict: [{}]", same.join(" ")));
        }
    }
    Ok(())
}

fn names(all: &mut [Resource], prefix: &str, suffix: &str) {
    for resource in all.iter_mut().filter(|r| !KEEP_NAME.contains(&r.kind())) {
        for (affixes, affix) in [(&mut resource.prefixes, prefix), (&mut resource.suffixes, suffix)] {
            affixes.extend(Some(affix.to_string()).filter(|affix| !affix.is_empty()));
        }
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

/// The paths to the metadata of the objects that a kind makes from templates.
fn templates(kind: &str) -> &'static [&'static str] {
    match kind {
        "Job" => &["spec.template.metadata"],
        "CronJob" => &["spec.jobTemplate.metadata", "spec.jobTemplate.spec.template.metadata"],
        kind if WORKLOADS.contains(&kind) => &["spec.template.metadata"],
        _ => &[],
    }
}

/// Returns whether the paths of a kind are those of its objects in this API group. Other groups
/// have kinds of the same name, whose pods and selectors stand elsewhere. Source: the groups in
/// kustomize's `commonlabels.go` and `metadatalabels.go`.
///
/// Example: false for the Job of `batch.volcano.sh`.
fn is_of_group(kind: &str, group: &str) -> bool {
    match kind {
        "StatefulSet" => group == "apps",
        "Job" | "CronJob" => group == "batch",
        "PodDisruptionBudget" => group == "policy",
        "NetworkPolicy" => group == "networking.k8s.io",
        _ => true,
    }
}

/// The paths at which a kind selects by labels: those that are made if they are missing, and those
/// that are only changed.
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

/// The kinds whose pod templates have selectors that labels change.
const FOLLOWED_WITHIN: [&str; 2] = ["Deployment", "StatefulSet"];
/// Selectors inside a pod's spec.
const WITHIN: [&str; 5] = [
    "spec.template.spec.affinity.podAffinity.preferredDuringSchedulingIgnoredDuringExecution.podAffinityTerm.labelSelector.matchLabels",
    "spec.template.spec.affinity.podAffinity.requiredDuringSchedulingIgnoredDuringExecution.labelSelector.matchLabels",
    "spec.template.spec.affinity.podAntiAffinity.preferredDuringSchedulingIgnoredDuringExecution.podAffinityTerm.labelSelector.matchLabels",
    "spec.template.spec.affinity.podAntiAffinity.requiredDuringSchedulingIgnoredDuringExecution.labelSelector.matchLabels",
    "spec.template.spec.topologySpreadConstraints.labelSelector.matchLabels",
];

fn put_pairs(map: &mut Value, pairs: &Pairs) {
    let map = value::as_map(map);
    for (key, text) in pairs {
        map.insert(key.clone(), text.as_str().into());
    }
}

/// Carries out `labels`, and then `commonLabels`, which counts if both set the same label.
fn labels(kustomization: &Kustomization, all: &mut [Resource]) {
    let pairs = kustomization.common_labels.clone();
    let common = Label { pairs, include_selectors: true, ..Label::default() };
    for rule in kustomization.labels.iter().chain([&common]) {
        let pairs = &rule.pairs;
        if pairs.is_empty() {
            continue;
        }
        let in_selectors = rule.include_selectors;
        for resource in all.iter_mut() {
            put_pairs(value::slot(&mut resource.object, "metadata.labels"), pairs);
            let (kind, group) = (resource.kind().to_string(), resource.group().to_string());
            if !is_of_group(&kind, &group) {
                continue;
            }
            if in_selectors || rule.include_templates {
                for path in templates(&kind) {
                    put_pairs(value::slot(&mut resource.object, &format!("{path}.labels")), pairs);
                }
            }
            if kind == "StatefulSet" && (in_selectors || rule.include_templates) {
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
            let is_followed = group == "apps" && FOLLOWED_WITHIN.contains(&kind.as_str());
            for path in followed.iter().chain(WITHIN.iter().filter(|_| is_followed)) {
                let steps: Vec<&str> = path.split('.').collect();
                each(&mut resource.object, &steps, &mut |map| put_pairs(map, pairs));
            }
        }
    }
}

fn annotations(all: &mut [Resource], pairs: &Pairs) {
    if pairs.is_empty() {
        return;
    }
    for resource in all {
        put_pairs(value::slot(&mut resource.object, "metadata.annotations"), pairs);
        // As in kustomize a StatefulSet of any group gets annotations; labels go by the group, too.
        if resource.kind() == "StatefulSet" || is_of_group(resource.kind(), resource.group()) {
            for path in templates(resource.kind()) {
                put_pairs(value::slot(&mut resource.object, &format!("{path}.annotations")), pairs);
            }
        }
    }
}

// -- replicas and images
// ----------------------------------------------------------------------------------------------

fn replicas(all: &mut [Resource], rules: &[Replica]) -> Result<(), Fail> {
    for rule in rules {
        let name = &rule.name;
        let scaled = ["Deployment", "ReplicaSet", "ReplicationController", "StatefulSet"];
        let mut any = false;
        // Objects are found by their name alone, in every namespace.
        let is_named = |r: &&mut Resource| {
            scaled.contains(&r.kind()) && (r.name() == name || r.known.iter().any(|k| k.name == *name))
        };
        for resource in all.iter_mut().filter(is_named) {
            value::put(&mut resource.object, "spec.replicas", rule.count);
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

/// `host:5000/name:tag@digest` → name, tag, digest. The colon of the port does not count. Source:
/// kustomize, `internal/image`.
fn split(image: &str) -> (&str, &str, &str) {
    let path = image.find('/').unwrap_or(0);
    let (rest, digest) = match image[path..].find('@') {
        Some(at) => (&image[..path + at], &image[path + at + 1..]),
        None => (image, ""),
    };
    match rest[path..].find(':') {
        Some(colon) => (&rest[..path + colon], &rest[path + colon + 1..], digest),
        None => (rest, "", digest),
    }
}

/// The image with the changes of a rule of `images` that matches it.
fn renamed(image: &str, rule: &Image) -> String {
    let (name, tag, digest) = split(image);
    let name = if rule.new_name.is_empty() { name } else { &rule.new_name };
    let (tag, digest) = match (rule.new_tag.as_str(), rule.digest.as_str()) {
        ("", "") => (tag, digest),
        both => both,
    };
    let mut out = name.to_string();
    if !tag.is_empty() {
        out.push_str(&format!(":{tag}"));
    }
    if !digest.is_empty() {
        out.push_str(&format!("@{digest}"));
    }
    out
}

/// The paths of images. Kustomize follows containers wherever they are.
const IMAGES: [&[&str]; 4] = [
    &["**", "containers", "image"],
    &["**", "initContainers", "image"],
    &["spec", "volumes", "image", "reference"],
    &["spec", "template", "spec", "volumes", "image", "reference"],
];

fn images(all: &mut [Resource], rules: &[Image]) -> Result<(), Fail> {
    for rule in rules {
        // Source: kustomize, `IsImageMatched`: the name is a regular expression.
        let pattern = format!("^{}(:[a-zA-Z0-9_.{{}}-]*)?(@sha256:[a-zA-Z0-9_.{{}}-]*)?$", rule.name);
        let Ok(pattern) = Regex::new(&pattern) else {
            return fail(format!("images: the name {:?} is not a regular expression", rule.name));
        };
        for resource in all.iter_mut().filter(|r| r.kind() != "CustomResourceDefinition") {
            for path in IMAGES {
                each(&mut resource.object, path, &mut |image| {
                    if let Some(found) = image.as_str().filter(|found| pattern.is_match(found)) {
                        *image = renamed(found, rule).into();
                    }
                });
            }
        }
    }
    Ok(())
}
