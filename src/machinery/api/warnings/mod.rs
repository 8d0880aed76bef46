//! Warnings that upstream sends with the answer to a valid write: of deprecated fields, labels and
//! annotations, and of what will hardly do what its author meant (`WarningsOnCreate` and
//! `WarningsOnUpdate` of the strategies, `pkg/api/*/warnings.go`).
//!
//! ```text
//! Pod          a variable that is set twice          the first one is hidden
//! Deployment   memory: 500m                          half a byte
//! Service      clusterIP: None, externalIPs: […]     they are ignored
//! ```
//!
//! Two more kinds of warnings stand beside these: addresses in old forms
//! ([`crate::legacy_addresses`]), and fields that this cluster does not honour
//! ([`crate::unhonoured`]).

mod container;
mod custom;
mod overlap;
mod pod;
mod secret;
mod storage;
#[cfg(test)]
mod tests;

pub use pod::app_armor_of_new_pod;

use crate::gostr::quote;
use crate::kinds::Kind;
use crate::meta;
use crate::quantity::Quantity;
use crate::unhonoured::pod_spec;
use crate::validate::names;
use crate::value::{at, empty, int, list, map, text};
use serde_json::Value;

/// Warnings of one object, at most: an answer has room for no more.
const WARNINGS_MAX: usize = 50;
/// Ports of a pod, and paths of a volume, that are compared with each other, at most: an object may
/// have tens of thousands.
const COMPARED_MAX: usize = 1000;

const SERVICE_ACCOUNT: &str = "kubernetes.io/enforce-mountable-secrets";
const INGRESS_CLASS: &str = "kubernetes.io/ingress.class";
const TOPOLOGY_HINTS: &str = "service.kubernetes.io/topology-aware-hints";
const TOPOLOGY_MODE: &str = "service.kubernetes.io/topology-mode";

/// Warnings that were found, at most [`WARNINGS_MAX`].
#[derive(Default)]
struct Found(Vec<String>);

impl Found {
    fn is_full(&self) -> bool {
        self.0.len() >= WARNINGS_MAX
    }

    fn push(&mut self, warning: impl Into<String>) {
        if !self.is_full() {
            self.0.push(warning.into());
        }
    }
}

/// Returns the warnings for a new object, or for an update of the object itself, which may come
/// through its subresource `scale`. As upstream, an update is warned of what stands in the stored
/// object, too; that of a workload only if its generation has grown, and that of a pod never.
///
/// The object has its defaults and is valid. Upstream warns of the old template in an update of a
/// ReplicationController, which is a mistake there; here it is the new one.
pub fn warnings(kind: &Kind, object: &Value, old: Option<&Value>) -> Vec<String> {
    let mut found = Found::default();
    let is_new = old.is_none();
    match (kind.group, kind.kind) {
        _ if kind.custom.is_some() => custom::resource(kind, object, old, &mut found),
        ("", "Pod") if is_new => {
            label_as_name(object, "the Pod's hostname", &mut found);
            pod::pod(object, "", &mut found);
        }
        ("", "Service") => service(object, &mut found),
        ("", "PersistentVolume") => storage::volume(object, &mut found),
        ("", "PersistentVolumeClaim") => storage::claim(object, &mut found),
        ("storage.k8s.io", "StorageClass") => storage::class(object, &mut found),
        ("", "Secret") => secret::key_pair(object, &mut found),
        ("", "ServiceAccount") => service_account(object, old, &mut found),
        ("", "ResourceQuota") if is_new => resource_quota(object, &mut found),
        ("networking.k8s.io", "Ingress") if is_new => ingress(object, &mut found),
        ("apiextensions.k8s.io", "CustomResourceDefinition") => custom::formats(object, old, &mut found),
        ("discovery.k8s.io", "EndpointSlice") if is_new && text(object, "addressType") == "FQDN" => {
            found.push("spec.addressType: FQDN endpoints are deprecated");
        }
        _ => workload(kind, object, old, &mut found),
    }
    found.0
}

fn has_annotation(object: &Value, key: &str) -> bool {
    meta::annotation(object, key).is_some()
}

/// Warns of a name that cannot be a host's whole name.
fn label_as_name(object: &Value, of: &str, found: &mut Found) {
    let problems = names::dns_label(meta::name(object));
    if !problems.is_empty() {
        found.push(format!(
            "metadata.name: this is used in {of}, which can result in surprising behavior; a DNS label is recommended: [{}]",
            problems.join(" ")
        ));
    }
}

fn workload(kind: &Kind, object: &Value, old: Option<&Value>, found: &mut Found) {
    let Some(template) = pod_spec(kind).and_then(|path| path.strip_suffix(".spec")) else { return };
    let names_pods =
        matches!(kind.kind, "Deployment" | "ReplicaSet" | "ReplicationController" | "Job" | "CronJob");
    if old.is_none() && names_pods {
        label_as_name(object, "Pod names and hostnames", found);
    }
    let has_changed = old.is_none_or(|old| match kind.kind {
        "DaemonSet" => at(old, template) != at(object, template),
        _ => meta::generation(old) != meta::generation(object),
    });
    if has_changed {
        if kind.group == "batch" {
            let path = template.trim_end_matches(".template");
            job(at(object, path), path, found);
        }
        pod::pod(at(object, template), &format!("{template}."), found);
    }
    if kind.kind == "CronJob" && old.is_some() && text(object, "spec.schedule").contains("TZ") {
        found.push("cannot use TZ or CRON_TZ in spec.spec.schedule, use timeZone instead, see https://kubernetes.io/docs/concepts/workloads/controllers/cron-jobs/ for more details");
    }
    if kind.kind == "StatefulSet" {
        // The paths are upstream's, which miss a step here and misspell it there.
        let step = if old.is_some() { ".Spec" } else { "" };
        for (i, claim) in list(object, "spec.volumeClaimTemplates").iter().enumerate() {
            let path = format!("spec.volumeClaimTemplates[{i}]{step}");
            storage::claim_spec(at(claim, "spec"), &path, found);
        }
        if int(object, "spec.revisionHistoryLimit").is_some_and(|limit| limit < 0) {
            found.push("spec.revisionHistoryLimit: a negative value retains all historical revisions; a value >= 0 is recommended");
        }
    }
}

/// Warns of an indexed Job that is too large for the list of its finished indexes.
fn job(spec: &Value, path: &str, found: &mut Found) {
    let more = |field: &str, than: i64| int(spec, field).is_some_and(|n| n > than);
    let is_indexed = text(spec, "completionMode") == "Indexed";
    if is_indexed && more("completions", 100_000) && more("parallelism", 10_000) {
        found.push(format!(
            "{path}: In Indexed Jobs with a number of completions higher than 10^5 and a parallelism higher than 10^4, Kubernetes might not be able to track completedIndexes when a big number of indexes fail"
        ));
    }
}

fn service(object: &Value, found: &mut Found) {
    if has_annotation(object, TOPOLOGY_HINTS) {
        found.push(format!("annotation {TOPOLOGY_HINTS} is deprecated, please use {TOPOLOGY_MODE} instead"));
    }
    let kind = text(object, "spec.type");
    let has_external = !empty(object, "spec.externalIPs");
    if kind == "ClusterIP" && text(object, "spec.clusterIP") == "None" {
        let has_affinity = !matches!(text(object, "spec.sessionAffinity"), "" | "None");
        for (field, is_set) in [
            ("loadBalancerIP", !empty(object, "spec.loadBalancerIP")),
            ("externalIPs", has_external),
            ("SessionAffinity", has_affinity),
        ] {
            if is_set {
                found.push(format!("spec.{field} is ignored for headless services"));
            }
        }
    }
    if kind == "ExternalName" && has_external {
        found.push("spec.externalIPs is ignored when spec.type is \"ExternalName\"");
    }
    if kind != "ExternalName" && !empty(object, "spec.externalName") {
        found.push("spec.externalName is ignored when spec.type is not \"ExternalName\"");
    }
    if text(object, "spec.trafficDistribution") == "PreferClose" {
        found.push("spec.trafficDistribution: \"PreferClose\" is deprecated; use \"PreferSameZone\"");
    }
}

fn service_account(object: &Value, old: Option<&Value>, found: &mut Found) {
    let had = old.is_some_and(|old| has_annotation(old, SERVICE_ACCOUNT));
    if has_annotation(object, SERVICE_ACCOUNT) && !had {
        found.push(format!(
            "metadata.annotations[{SERVICE_ACCOUNT}]: deprecated in v1.32+; prefer separate namespaces to isolate access to mounted secrets"
        ));
    }
}

/// Warns of a quota whose requests are more than its limits: they cannot be used up.
fn resource_quota(object: &Value, found: &mut Found) {
    let Some(hard) = map(object, "spec.hard") else { return };
    let amount = |name: &str| hard.get(name).and_then(Value::as_str).and_then(Quantity::parse);
    for resource in ["cpu", "memory", "storage", "ephemeral-storage"] {
        let mut name = format!("requests.{resource}");
        let mut request = amount(&name);
        if request.is_none() && matches!(resource, "cpu" | "memory") {
            (name, request) = (resource.to_string(), amount(resource));
        }
        let limit = amount(&format!("limits.{resource}"));
        if let (Some(request), Some(limit)) = (request, limit)
            && request > limit
        {
            found.push(format!(
                "ResourceQuota {name} ({request}) should be less than limits.{resource} ({limit})"
            ));
        }
    }
}

fn ingress(object: &Value, found: &mut Found) {
    if has_annotation(object, INGRESS_CLASS) && at(object, "spec.ingressClassName").is_null() {
        let class = quote(INGRESS_CLASS);
        found.push(format!("annotation {class} is deprecated, please use 'spec.ingressClassName' instead"));
    }
}

/// Warns of a part of a byte: memory of `500m` is half of one, where `500M` was meant.
fn fractional(amounts: &Value, name: &str, path: &str, found: &mut Found) {
    let amount = amounts.get(name).and_then(Value::as_str).and_then(Quantity::parse);
    // Not by the thousandths: those of `16Pi` are more than 64 bits.
    if let Some(amount) = amount.filter(|amount| !amount.rounded().is_whole()) {
        let shown = quote(&amount.to_string());
        found.push(format!("{path}[{name}]: fractional byte value {shown} is invalid, must be an integer"));
    }
}
