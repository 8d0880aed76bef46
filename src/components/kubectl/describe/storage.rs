//! Volume claims, volumes, storage classes.

use super::containers::canonical;
use super::text::{Text, joined_labels, since};
use super::volumes;
use crate::ctx::Ctx;
use crate::error::Fail;
use crate::info::Info;
use crate::wire::paths;
use api::gostr;
use api::volumes::{class_named_by, is_default_class};
use api::{meta, value};
use serde_json::Value;

/// `RWO,ROX`
fn modes(object: &Value, path: &str) -> String {
    let found: Vec<&str> = value::list(object, path).iter().filter_map(Value::as_str).collect();
    let short = [
        ("ReadWriteOnce", "RWO"),
        ("ReadOnlyMany", "ROX"),
        ("ReadWriteMany", "RWX"),
        ("ReadWriteOncePod", "RWOP"),
    ];
    let texts: Vec<&str> =
        short.iter().filter(|(long, _)| found.contains(long)).map(|(_, short)| *short).collect();
    texts.join(",")
}

/// Writes all finalizers, as Go prints a list of strings.
fn finalizers(text: &mut Text, object: &Value) {
    let list = value::at(object, "metadata.finalizers");
    text.field(0, "Finalizers", if list.is_null() { "[]".to_string() } else { gostr::plain(list) });
}

fn phase(object: &Value) -> String {
    match value::text(object, "metadata.deletionTimestamp") {
        "" => value::text(object, "status.phase").to_string(),
        at => format!("Terminating (lasts {})", since(at)),
    }
}

pub(super) async fn claim(ctx: &Ctx, text: &mut Text, info: &Info) -> Result<(), Fail> {
    let claim = &info.object;
    text.field(0, "Name", value::text(claim, "metadata.name"));
    text.field(0, "Namespace", value::text(claim, "metadata.namespace"));
    text.field(0, "StorageClass", class_named_by(claim));
    text.field(0, "Status", phase(claim));
    text.field(0, "Volume", value::text(claim, "spec.volumeName"));
    text.labels("Labels", value::at(claim, "metadata.labels"));
    text.annotations("Annotations", value::at(claim, "metadata.annotations"));
    finalizers(text, claim);
    let bound = !value::text(claim, "spec.volumeName").is_empty();
    let capacity = value::at(claim, "status.capacity.storage");
    // A claim that names its volume may have to wait for it: then it has no capacity yet.
    let capacity = match bound {
        false => String::new(),
        true if capacity.is_null() => "0".to_string(),
        true => canonical(capacity),
    };
    text.field(0, "Capacity", capacity);
    text.field(0, "Access Modes", if bound { modes(claim, "status.accessModes") } else { String::new() });
    if !value::empty(claim, "spec.volumeMode") {
        text.field(0, "VolumeMode", value::text(claim, "spec.volumeMode"));
    }
    let source = value::at(claim, "spec.dataSource");
    if !source.is_null() {
        text.line(0, "DataSource:");
        if !source["apiGroup"].is_null() {
            text.field(1, "APIGroup", value::text(source, "apiGroup"));
        }
        text.field(1, "Kind", value::text(source, "kind"));
        text.field(1, "Name", value::text(source, "name"));
    }
    let path = paths::within("/api/v1", &info.namespace, "pods");
    let pods = crate::lists::whole(ctx, &path, &[]).await?;
    let users = users(claim, value::list(&pods, "items"));
    text.put(0, "Used By:\t");
    if users.is_empty() {
        text.line(0, "<none>");
    }
    for (i, name) in users.iter().enumerate() {
        text.line(0, format!("{}{name}", if i > 0 { "\t" } else { "" }));
    }
    let conditions = value::list(claim, "status.conditions");
    if !conditions.is_empty() {
        text.line(0, "Conditions:");
        text.line(1, "Type\tStatus\tLastProbeTime\tLastTransitionTime\tReason\tMessage");
        text.line(1, "----\t------\t-----------------\t------------------\t------\t-------");
        for c in conditions {
            let part = |key: &str| value::text(c, key);
            let time = super::text::rfc1123;
            text.line(
                1,
                format!(
                    "{} \t{} \t{} \t{} \t{} \t{}",
                    part("type"),
                    part("status"),
                    time(part("lastProbeTime")),
                    time(part("lastTransitionTime")),
                    part("reason"),
                    part("message")
                ),
            );
        }
    }
    Ok(())
}

/// Returns the names of the pods that use a claim: those that mount it, and those that own it
/// because it belongs to their ephemeral volume.
fn users<'a>(claim: &Value, pods: &'a [Value]) -> Vec<&'a str> {
    let name = value::text(claim, "metadata.name");
    let owners = value::list(claim, "metadata.ownerReferences").iter();
    let owners: Vec<&str> =
        owners.filter(|o| value::text(o, "kind") == "Pod").map(|o| value::text(o, "uid")).collect();
    let uses = |pod: &&Value| {
        let volumes = value::list(pod, "spec.volumes");
        volumes.iter().any(|v| value::text(v, "persistentVolumeClaim.claimName") == name)
            || owners.contains(&value::text(pod, "metadata.uid"))
    };
    let mut users: Vec<&str> = pods.iter().filter(uses).map(|p| value::text(p, "metadata.name")).collect();
    users.sort_unstable();
    users
}

pub(super) fn volume(text: &mut Text, volume: &Value) {
    let part = |path: &str| value::text(volume, path);
    text.field(0, "Name", part("metadata.name"));
    text.labels("Labels", value::at(volume, "metadata.labels"));
    text.annotations("Annotations", value::at(volume, "metadata.annotations"));
    finalizers(text, volume);
    text.field(0, "StorageClass", class_named_by(volume));
    text.field(0, "Status", phase(volume));
    match part("spec.claimRef.name") {
        "" => text.field(0, "Claim", ""),
        name => text.field(0, "Claim", format!("{}/{name}", part("spec.claimRef.namespace"))),
    }
    text.field(0, "Reclaim Policy", part("spec.persistentVolumeReclaimPolicy"));
    text.field(0, "Access Modes", modes(volume, "spec.accessModes"));
    if !part("spec.volumeMode").is_empty() {
        text.field(0, "VolumeMode", part("spec.volumeMode"));
    }
    text.field(0, "Capacity", canonical(value::at(volume, "spec.capacity.storage")));
    affinity(text, value::at(volume, "spec.nodeAffinity"));
    text.field(0, "Message", part("status.message"));
    text.line(0, "Source:");
    volumes::source(text, value::at(volume, "spec"));
}

fn affinity(text: &mut Text, affinity: &Value) {
    let required = value::at(affinity, "required");
    if required.is_null() {
        text.field(0, "Node Affinity", "<none>");
        return;
    }
    text.line(0, "Node Affinity:\t");
    let terms = value::list(required, "nodeSelectorTerms");
    if terms.is_empty() {
        text.field(1, "Required Terms", "<none>");
        return;
    }
    text.line(1, "Required Terms:\t");
    for (i, given) in terms.iter().enumerate() {
        let rules = value::list(given, "matchExpressions").iter();
        let rules = rules.map(|r| rule(r, &value::text(r, "operator").to_lowercase()));
        term(text, 2, i, &rules.collect::<Vec<String>>());
    }
}

/// `zone in [a, b]`
fn rule(rule: &Value, operator: &str) -> String {
    let values: Vec<&str> = value::list(rule, "values").iter().filter_map(Value::as_str).collect();
    let head = format!("{} {operator}", value::text(rule, "key"));
    if values.is_empty() { head } else { format!("{head} [{}]", values.join(", ")) }
}

/// Writes one term of several, with a line for each of its rules.
fn term(text: &mut Text, level: usize, number: usize, rules: &[String]) {
    text.put(level, format!("Term {number}:\t"));
    if rules.is_empty() {
        text.line(0, "<none>");
    }
    for (i, rule) in rules.iter().enumerate() {
        if i > 0 {
            text.put(level, "\t");
        }
        text.line(0, rule);
    }
}

/// Writes the topologies in which volumes of a class may be.
fn topologies(text: &mut Text, terms: &[Value]) {
    if terms.is_empty() {
        return text.field(0, "AllowedTopologies", "<none>");
    }
    text.line(0, "AllowedTopologies:\t");
    for (i, given) in terms.iter().enumerate() {
        let rules = value::list(given, "matchLabelExpressions").iter().map(|r| rule(r, "in"));
        term(text, 1, i, &rules.collect::<Vec<String>>());
    }
}

pub(super) fn class(text: &mut Text, class: &Value) {
    let part = |path: &str| value::text(class, path);
    let annotations = value::at(class, "metadata.annotations");
    let default = is_default_class(|key| meta::annotation(class, key));
    text.field(0, "Name", part("metadata.name"));
    text.field(0, "IsDefaultClass", if default { "Yes" } else { "No" });
    text.field(0, "Annotations", joined_labels(annotations));
    text.field(0, "Provisioner", part("provisioner"));
    text.field(0, "Parameters", joined_labels(value::at(class, "parameters")));
    let expansion = value::at(class, "allowVolumeExpansion").as_bool();
    text.field(0, "AllowVolumeExpansion", expansion.map_or("<unset>", |e| super::text::capital(e)));
    let options: Vec<&str> = value::list(class, "mountOptions").iter().filter_map(Value::as_str).collect();
    text.line(0, if options.is_empty() { "MountOptions:\t<none>" } else { "MountOptions:" });
    options.iter().for_each(|o| text.line(1, o));
    // An empty policy is a policy: the API stores it.
    for (title, field) in [("ReclaimPolicy", "reclaimPolicy"), ("VolumeBindingMode", "volumeBindingMode")] {
        if class[field].is_string() {
            text.field(0, title, part(field));
        }
    }
    if class["allowedTopologies"].is_array() {
        topologies(text, value::list(class, "allowedTopologies"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_claim_is_used_by_pods_that_mount_or_own_it() {
        let owner = json!({"kind": "Pod", "uid": "u3"});
        let claim = json!({"metadata": {"name": "data", "ownerReferences": [owner]}});
        let pod = |name: &str, uid: &str, claim: &str| {
            let volumes = json!([{"persistentVolumeClaim": {"claimName": claim}}]);
            json!({"metadata": {"name": name, "uid": uid}, "spec": {"volumes": volumes}})
        };
        let pods = [pod("c", "u1", "data"), pod("a", "u2", "data"), pod("b", "u3", "x"), pod("d", "u4", "x")];
        assert_eq!(users(&claim, &pods), ["a", "b", "c"]);
    }

    #[test]
    fn the_class_that_an_annotation_names_goes_before_the_field() {
        let old = json!({"volume.beta.kubernetes.io/storage-class": "old"});
        for (annotations, want) in [(json!({}), "new"), (old, "old")] {
            let spec = json!({"storageClassName": "new", "capacity": {"storage": "1Gi"}});
            let mut text = Text::default();
            volume(&mut text, &json!({"metadata": {"annotations": annotations}, "spec": spec}));
            let printed = text.plain();
            assert!(printed.contains(&format!("StorageClass:\t{want}\n")), "{printed}");
        }
    }

    #[test]
    fn a_class_prints_where_its_volumes_may_be() {
        let zone = json!({"key": "zone", "values": ["a", "b"]});
        let terms = json!([{"matchLabelExpressions": [zone, {"key": "rack", "values": ["1"]}]}, {}]);
        let mut text = Text::default();
        class(&mut text, &json!({"metadata": {"name": "c"}, "allowedTopologies": terms}));
        let printed = text.plain();
        let want = "AllowedTopologies:\t\n  Term 0:\tzone in [a, b]\n  \track in [1]\n  Term 1:\t<none>\n";
        assert!(printed.ends_with(want), "{printed}");
        let mut text = Text::default();
        class(&mut text, &json!({"metadata": {"name": "c"}}));
        assert!(!text.plain().contains("AllowedTopologies"));
    }

    #[test]
    fn a_class_prints_an_empty_policy_too() {
        for (class_of, want) in [(json!({}), false), (json!({"reclaimPolicy": ""}), true)] {
            let mut text = Text::default();
            class(&mut text, &class_of);
            assert_eq!(text.plain().contains("ReclaimPolicy:"), want, "{class_of}");
        }
    }

    #[test]
    fn rules_of_a_volume_are_lines_of_their_term() {
        let rule = |key: &str, operator: &str| json!({"key": key, "operator": operator, "values": ["x"]});
        let rules = json!([rule("zone", "In"), rule("rack", "NotIn")]);
        let terms = json!([{"matchExpressions": rules}]);
        let mut text = Text::default();
        affinity(&mut text, &json!({"required": {"nodeSelectorTerms": terms}}));
        for (given, want) in [
            (json!({}), "Node Affinity:\t<none>\n"),
            (json!({"required": {}}), "Node Affinity:\t\n  Required Terms:\t<none>\n"),
        ] {
            let mut text = Text::default();
            affinity(&mut text, &given);
            assert_eq!(text.plain(), want);
        }
        let want = "Node Affinity:\t\n  Required Terms:\t\n    Term 0:\tzone in [x]\n    \track notin [x]\n";
        assert_eq!(text.plain(), want);
    }
}
