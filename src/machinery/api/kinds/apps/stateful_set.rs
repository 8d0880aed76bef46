//! Stateful sets: pods with fixed names and claims of their own, created in order.

use crate::errors::{Errors, FieldError};
use crate::kinds::core::persistent_volume_claim;
use crate::kinds::entry::{Kind, SCALE, of, status};
use crate::kinds::workload::{
    self, CONTAINERS, collisions, is_zero, shown_rolling_update, shown_strategy, with_pods,
};
use crate::pod_spec::defaults::template;
use crate::schema::equality;
use crate::table::cells::{Printer, age, name, number};
use crate::validate::fields::{int_or_part, not_negative, one_of};
use crate::validate::names::{self, dns_label};
use crate::validate::status::{ABOVE_REPLICAS, at_most, not_negatives};
use crate::value::{self, at, default, default_zero, list, list_mut, put, text};
use k8s_openapi::api::apps::v1::StatefulSet;
use serde_json::{Value, json};
use std::collections::BTreeSet;

pub(super) fn kind() -> Kind {
    Kind {
        short_names: &["sts"],
        categories: &["all"],
        subresources: vec![SCALE, status("StatefulSet")],
        has_status: true,
        generation: true,
        name_rule: dns_label,
        defaults,
        prepare,
        prepare_update: workload::prepare_template,
        validate,
        validate_update,
        validate_status_update,
        printer: Some(&PRINTER),
        scale: Some(workload::SCALE_PATHS),
        ..of::<StatefulSet>()
    }
}

fn defaults(object: &mut Value) {
    template(object, "spec.template");
    default_zero(object, "spec.podManagementPolicy", "OrderedReady");
    if text(object, "spec.updateStrategy.type").is_empty() {
        put(object, "spec.updateStrategy.type", "RollingUpdate");
        default(object, "spec.updateStrategy.rollingUpdate", json!({}));
    }
    // A strategy that is named and has no parameters stays without, as upstream.
    let rolling = at(object, "spec.updateStrategy.rollingUpdate");
    if text(object, "spec.updateStrategy.type") == "RollingUpdate" && rolling.is_object() {
        default(object, "spec.updateStrategy.rollingUpdate.partition", 0);
        default(object, "spec.updateStrategy.rollingUpdate.maxUnavailable", 1);
    }
    default_zero(object, "spec.persistentVolumeClaimRetentionPolicy.whenDeleted", "Retain");
    default_zero(object, "spec.persistentVolumeClaimRetentionPolicy.whenScaled", "Retain");
    default(object, "spec.serviceName", "");
    default(object, "spec.replicas", 1);
    default(object, "spec.revisionHistoryLimit", 10);
    for claim in list_mut(object, "spec.volumeClaimTemplates") {
        // Whatever the template says, as upstream (`Convert_apps_StatefulSetSpec_To_…`).
        put(claim, "kind", "PersistentVolumeClaim");
        put(claim, "apiVersion", "v1");
        persistent_volume_claim::defaults(claim);
        default_zero(claim, "status.phase", "Pending");
    }
}

fn prepare(object: &mut Value) {
    put(object, "status", json!({"availableReplicas": 0, "replicas": 0}));
    workload::prepare_template(object, &Value::Null);
}

fn validate(object: &Value, errors: &mut Errors) {
    // A container may mount the volume that a claim template adds to the pod.
    let mut whole = object.clone();
    // That volume replaces one with the same name in the template, as the controller does it.
    let mut claims: BTreeSet<&str> =
        list(object, "spec.volumeClaimTemplates").iter().map(|c| text(c, "metadata.name")).collect();
    let claimed = |name: &str| json!({"name": name, "persistentVolumeClaim": {"claimName": name}});
    let own = |volume: &Value| match claims.take(text(volume, "name")) {
        Some(name) => claimed(name),
        None => volume.clone(),
    };
    let mut volumes: Vec<Value> = list(object, "spec.template.spec.volumes").iter().map(own).collect();
    volumes.extend(claims.iter().map(|name| claimed(name)));
    if !volumes.is_empty() {
        value::put(&mut whole, "spec.template.spec.volumes", volumes);
    }
    // The controller gives its pods names of their own, whatever the template says.
    for overwritten in ["hostname", "subdomain"] {
        value::remove(&mut whole, &format!("spec.template.spec.{overwritten}"));
    }
    workload::validate(&whole, "statefulset", errors);
    claim_templates(object, errors);
    let service = text(object, "spec.serviceName");
    for problem in names::dns_label(service).iter().filter(|_| !service.is_empty()) {
        errors.invalid_text("spec.serviceName", service, problem);
    }
    let management = text(object, "spec.podManagementPolicy");
    if !["OrderedReady", "Parallel"].contains(&management) {
        let why = "must be 'OrderedReady' or 'Parallel'";
        errors.invalid_text("spec.podManagementPolicy", management, why);
    }
    strategy(object, errors);
    rolling(object, errors);
    not_negative(object, "spec.ordinals.start", errors);
    for when in ["whenDeleted", "whenScaled"] {
        let path = format!("spec.persistentVolumeClaimRetentionPolicy.{when}");
        one_of(object, &path, &path, &["Retain", "Delete"], errors);
    }
}

/// Checks the type of the update strategy, and that only a rolling update has parameters.
fn strategy(object: &Value, errors: &mut Errors) {
    const STRATEGY: &str = "spec.updateStrategy";
    let (own, parts) = (at(object, STRATEGY), [("partition", json!(0)), ("maxUnavailable", Value::Null)]);
    let rules = at(own, "rollingUpdate");
    match text(own, "type") {
        "RollingUpdate" => {}
        "OnDelete" if rules.is_null() => {}
        "OnDelete" => {
            let why = "only allowed for updateStrategy 'RollingUpdate'";
            errors.invalid(format!("{STRATEGY}.rollingUpdate"), &shown_rolling_update(rules, parts), why);
        }
        _ => {
            let why = "must be 'RollingUpdate' or 'OnDelete'";
            errors.invalid(STRATEGY, &shown_strategy(own, parts), why);
        }
    }
}

/// Checks the claim templates as claims: the controller could not create the first pod with a claim
/// that is refused.
fn claim_templates(object: &Value, errors: &mut Errors) {
    for (i, template) in list(object, "spec.volumeClaimTemplates").iter().enumerate() {
        let mut own = Errors::default();
        persistent_volume_claim::validate(template, &mut own);
        for error in own {
            let field = format!("spec.volumeClaimTemplates[{i}].{}", error.field);
            errors.add(FieldError { field, ..error });
        }
    }
}

/// Checks `partition` and `maxUnavailable` of a rolling update.
fn rolling(object: &Value, errors: &mut Errors) {
    const MOST: &str = "spec.updateStrategy.rollingUpdate.maxUnavailable";
    not_negative(object, "spec.updateStrategy.rollingUpdate.partition", errors);
    if at(object, MOST).is_null() {
        return;
    }
    int_or_part(object, MOST, errors);
    if is_zero(object, MOST) {
        errors.invalid(MOST, at(object, MOST), "cannot be 0");
    }
}

fn validate_update(new: &Value, old: &Value, errors: &mut Errors) {
    const MAY: [&str; 7] = [
        "replicas",
        "ordinals",
        "template",
        "updateStrategy",
        "revisionHistoryLimit",
        "persistentVolumeClaimRetentionPolicy",
        "minReadySeconds",
    ];
    let frozen = |o: &Value| {
        let mut spec = at(o, "spec").clone();
        if let Some(map) = spec.as_object_mut() {
            map.retain(|k, _| !MAY.contains(&k.as_str()));
        }
        spec
    };
    if !equality::equal("io.k8s.api.apps.v1.StatefulSetSpec", "", &frozen(new), &frozen(old)) {
        errors.forbidden("spec", "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden");
    }
}

/// Checks the counters that a write through `/status` sets.
fn validate_status_update(new: &Value, old: &Value, errors: &mut Errors) {
    let counters = ["replicas", "readyReplicas", "currentReplicas", "updatedReplicas", "availableReplicas"];
    not_negatives(new, &counters, errors);
    not_negatives(new, &["observedGeneration"], errors);
    collisions(new, old, errors);
    at_most(new, &counters[1..], "replicas", ABOVE_REPLICAS, errors);
    let why = "cannot be greater than status.readyReplicas";
    at_most(new, &["availableReplicas"], "readyReplicas", why, errors);
}

static PRINTER: Printer = Printer {
    columns: &[
        ("Name", "string", false),
        ("Ready", "string", false),
        ("Age", "string", false),
        ("Containers", "string", true),
        ("Images", "string", true),
    ],
    cells: |o, now| {
        let ready = format!("{}/{}", number(o, "status.readyReplicas"), number(o, "spec.replicas"));
        with_pods(vec![name(o), ready.into(), age(o, now)], o, CONTAINERS, None)
    },
    conditions: None,
};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::validate::fields::problems;

    fn about(found: Vec<String>, part: &str) -> Vec<String> {
        found.into_iter().filter(|e| e.contains(part)).collect()
    }

    #[test]
    fn parameters_of_a_strategy_are_filled_in_where_upstream_does() {
        let filled = |strategy: Value| {
            let mut set = json!({"spec": {"updateStrategy": strategy}});
            defaults(&mut set);
            at(&set, "spec.updateStrategy").clone()
        };
        let rules = |partition: i64| json!({"partition": partition, "maxUnavailable": 1});
        let whole = |partition| json!({"type": "RollingUpdate", "rollingUpdate": rules(partition)});
        assert_eq!(filled(Value::Null), whole(0));
        assert_eq!(filled(json!({"rollingUpdate": {"partition": 2}})), whole(2));
        assert_eq!(filled(json!({"type": "RollingUpdate", "rollingUpdate": {}})), whole(0));
        for named in ["RollingUpdate", "OnDelete"] {
            assert_eq!(filled(json!({ "type": named })), json!({ "type": named }));
        }
    }

    #[test]
    fn a_stateful_set_can_make_its_claims_and_name_its_service() {
        let set = |spec: Value| problems(validate, json!({ "spec": spec }));
        let claim = |spec: Value| {
            let template = json!({"metadata": {"name": "data"}, "spec": spec});
            about(set(json!({"volumeClaimTemplates": [template]})), "volumeClaimTemplates")
        };
        let requests = json!({"requests": {"storage": "1Gi"}});
        assert_eq!(claim(json!({"accessModes": ["ReadWriteOnce"], "resources": requests})), [""; 0]);
        const SPEC: &str = "spec.volumeClaimTemplates[0].spec";
        assert_eq!(
            claim(json!({})),
            [
                format!("{SPEC}.accessModes: Required value: at least 1 access mode is required"),
                format!("{SPEC}.resources[storage]: Required value"),
            ]
        );
        let device =
            json!({"name": "c", "image": "i", "volumeDevices": [{"name": "data", "devicePath": "/dev/x"}]});
        let block = set(json!({"volumeClaimTemplates": [{"metadata": {"name": "data"}}],
            "template": {"spec": {"containers": [device], "volumes": [{"name": "data", "emptyDir": {}}]}}}));
        assert_eq!(about(block, "volumeDevices"), [""; 0], "it is a claim, whatever the template calls so");
        let wrong = set(json!({"volumeClaimTemplates": [{"metadata": {"name": "data"}}],
            "template": {"spec": {"volumes": [{"name": "h", "hostPath": {"path": "/../x"}}]}}}));
        let wrong = about(wrong, "hostPath");
        assert!(wrong.len() == 1 && wrong[0].contains("volumes[0].hostPath"), "{wrong:?}");
        assert_eq!(about(set(json!({"serviceName": "db"})), "serviceName"), [""; 0]);
        assert_eq!(about(set(json!({"serviceName": ""})), "serviceName"), [""; 0]);
        assert!(
            about(set(json!({"serviceName": "My_DB"})), "serviceName")[0]
                .starts_with("spec.serviceName: Invalid value: \"My_DB\": a lowercase RFC 1123 label")
        );
        let kind = crate::kinds::find("apps", "v1", "StatefulSet").unwrap();
        let named = |name: &str| {
            let object = json!({"metadata": {"name": name, "namespace": "d"}});
            let found = crate::validate::create(kind, &object);
            found.iter().filter(|e| e.field == "metadata.name").count()
        };
        assert_eq!((named("web"), named("a.b")), (0, 1), "the names of its pods are host names");
    }

    #[test]
    fn host_names_that_the_controller_overwrites_are_not_judged() {
        let errors_of = |spec: Value| {
            let found = problems(validate, json!({"spec": {"template": {"spec": spec}}}));
            let fields = ["hostname", "subdomain", "hostnameOverride"];
            fields.map(|field| about(found.clone(), &format!("spec.template.spec.{field}: ")).len())
        };
        assert_eq!(errors_of(json!({"hostname": "My_Host", "subdomain": "My_Domain"})), [0, 0, 0]);
        assert_eq!(errors_of(json!({"hostnameOverride": "My_Host"})), [0, 0, 1]);
    }

    #[test]
    fn templates_of_claims_are_claims_whatever_they_say() {
        let claim = json!({"apiVersion": "v2", "kind": "Volume", "status": {"phase": ""}});
        let mut set = json!({"spec": {"volumeClaimTemplates": [claim]}});
        defaults(&mut set);
        let filled = &list(&set, "spec.volumeClaimTemplates")[0];
        let texts = ["apiVersion", "kind", "status.phase"].map(|field| text(filled, field));
        assert_eq!(texts, ["v1", "PersistentVolumeClaim", "Pending"]);
    }

    #[test]
    fn another_spelling_of_a_claim_s_size_is_no_change_of_a_stateful_set() {
        let set = |size: &str| {
            let spec =
                json!({"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": size}}});
            json!({"spec": {"volumeClaimTemplates": [{"metadata": {"name": "data"}, "spec": spec}]}})
        };
        let count_errors = |new: &str| {
            let mut errors = Errors::default();
            validate_update(&set(new), &set("1Gi"), &mut errors);
            errors.iter().count()
        };
        assert_eq!((count_errors("1073741824"), count_errors("1G")), (0, 1));
    }

    #[test]
    fn a_stateful_set_has_one_way_to_update_and_pods_without_a_deadline() {
        let errors_of = |field: &str, spec: Value| about(problems(validate, json!({ "spec": spec })), field);
        let strategy = |strategy: Value| errors_of("updateStrategy", json!({ "updateStrategy": strategy }));
        assert_eq!(strategy(json!({"type": "OnDelete"})), [""; 0]);
        assert_eq!(
            strategy(json!({"type": "OnDelete", "rollingUpdate": {"partition": 1}})),
            [
                "spec.updateStrategy.rollingUpdate: Invalid value: {\"Partition\":1,\"MaxUnavailable\":null}: only allowed for updateStrategy 'RollingUpdate'"
            ]
        );
        assert_eq!(
            strategy(json!({"type": "Recreate"})),
            [
                "spec.updateStrategy: Invalid value: {\"Type\":\"Recreate\",\"RollingUpdate\":null}: must be 'RollingUpdate' or 'OnDelete'"
            ]
        );
        assert_eq!(
            errors_of("podManagementPolicy", json!({"podManagementPolicy": "parallel"})),
            ["spec.podManagementPolicy: Invalid value: \"parallel\": must be 'OrderedReady' or 'Parallel'"]
        );
        let ending = json!({"template": {"spec": {"activeDeadlineSeconds": 5}}});
        assert_eq!(
            errors_of("activeDeadlineSeconds", ending),
            [
                "spec.template.spec.activeDeadlineSeconds: Forbidden: activeDeadlineSeconds in StatefulSet is not Supported"
            ]
        );
    }

    #[test]
    fn ordinals_begin_at_zero_or_above_and_claims_are_kept_or_deleted() {
        let set = |spec: Value| problems(validate, json!({"spec": spec}));
        assert_eq!(about(set(json!({"ordinals": {"start": -1}})), "ordinals").len(), 1);
        assert_eq!(about(set(json!({"ordinals": {"start": 0}})), "ordinals").len(), 0);
        let policy = json!({"persistentVolumeClaimRetentionPolicy": {"whenDeleted": "delete", "whenScaled": "Retain"}});
        let found = about(set(policy), "RetentionPolicy");
        assert!(found.len() == 1 && found[0].contains("whenDeleted: Unsupported value"), "{found:?}");
    }
}
