//! The rules for a pod's status, which kubelets and controllers write through `/status`.

use super::validate::annotations_update;
use crate::errors::Errors;
use crate::pod_spec::annotations::{check_profiles, check_tolerations};
use crate::pod_spec::{disabled, user_id};
use crate::validate::addresses::{legacy_ip, one_of_each_family};
use crate::validate::fields::add_problems;
use crate::validate::names::{dns_subdomain, qualified_name};
use crate::value::{self, at, empty, int, list, list_mut, put, text};
use serde_json::{Value, json};
use std::collections::{HashMap, HashSet, VecDeque};

/// Keeps two fields that a kubelet may leave out of a status: the quality of service, which never
/// changes, and the generation that the status is about. Drops what belongs to features that are
/// off.
pub(super) fn prepare_status_update(new: &mut Value, old: &Value, _: &str) {
    if text(new, "status.qosClass").is_empty() {
        value::copy(old, new, "status.qosClass");
    }
    if at(new, "status.observedGeneration").as_i64().unwrap_or(0) == 0 {
        value::copy(old, new, "status.observedGeneration");
    }
    keep_generations(new, old);
    disabled::drop_status_fields(new, old);
    pair_addresses(new);
}

/// Conditions without a generation keep the one that they had. A type may stand there more than
/// once: then the first takes that of the first (`preserveOldObservedGeneration` upstream).
fn keep_generations(new: &mut Value, old: &Value) {
    const CONDITIONS: &str = "status.conditions";
    let generation = |condition: &Value| int(condition, "observedGeneration").unwrap_or(0);
    let mut before: HashMap<&str, VecDeque<i64>> = HashMap::new();
    for condition in list(old, CONDITIONS) {
        before.entry(text(condition, "type")).or_default().push_back(generation(condition));
    }
    for condition in list_mut(new, CONDITIONS) {
        let had = before.get_mut(text(condition, "type")).and_then(VecDeque::pop_front).unwrap_or(0);
        if generation(condition) == 0 && had != 0 {
            put(condition, "observedGeneration", had);
        }
    }
}

/// Fills in the list of addresses if the writer knows the single address alone, and the other way
/// round. Where they differ, the single one counts (`Convert_v1_PodStatus_To_core_PodStatus`
/// upstream).
fn pair_addresses(pod: &mut Value) {
    let one = text(pod, "status.podIP").to_string();
    let first = list(pod, "status.podIPs").first().map_or("", |first| text(first, "ip")).to_string();
    if one.is_empty() && !first.is_empty() {
        put(pod, "status.podIP", first);
    } else if one != first {
        put(pod, "status.podIPs", json!([{"ip": one}]));
    }
}

/// Checks the parts of a status that other components go by (part of `ValidatePodStatusUpdate`
/// upstream).
pub(super) fn validate_status_update(new: &Value, old: &Value, errors: &mut Errors) {
    annotations_update(new, old, errors);
    profiles(new, old, errors);
    for (i, condition) in list(new, "status.conditions").iter().enumerate() {
        let kind = text(condition, "type");
        let generation = at(condition, "observedGeneration");
        if generation.as_i64().is_some_and(|number| number < 0) {
            let field = format!("status.conditions[{i}].observedGeneration");
            errors.invalid(field, generation, "must be a non-negative integer");
        }
        if !["PodScheduled", "Ready", "Initialized"].contains(&kind) {
            let field = format!("status.conditions[{i}].Type");
            qualified_name(kind).iter().for_each(|why| errors.invalid_text(&field, kind, why));
        }
    }
    nominated_node(new, old, errors);
    if at(new, "status.observedGeneration").as_i64().is_some_and(|generation| generation < 0) {
        let why = "must be a non-negative integer";
        errors.invalid("status.observedGeneration", at(new, "status.observedGeneration"), why);
    }
    let class = text(new, "status.qosClass");
    if class != text(old, "status.qosClass") {
        errors.invalid_text("status.qosClass", class, "field is immutable");
    }
    ended_containers(new, old, errors);
    claims(new, errors);
    addresses("status.podIPs", new, old, errors);
    let host = list(new, "status.hostIPs").first().map_or("", |first| text(first, "ip"));
    if !empty(new, "status.hostIPs") && host != text(new, "status.hostIP") {
        errors.invalid_text("status.hostIPs[0].ip", host, "must be equal to `hostIP`");
    }
    addresses("status.hostIPs", new, old, errors);
    users(new, errors);
}

/// Refuses a status that brings a container back that has ended for good: others have taken its
/// exit code for final. Upstream: `ValidateContainerStateTransition` and its counterparts for init
/// and ephemeral containers.
///
/// ```text
/// Never, exit 0 -> running        refused
/// OnFailure, exit 1 -> waiting    allowed
/// ```
fn ended_containers(new: &Value, old: &Value, errors: &mut Errors) {
    let policy = text(old, "spec.restartPolicy");
    for (field, specs) in [
        ("status.containerStatuses", "spec.containers"),
        ("status.initContainerStatuses", "spec.initContainers"),
        ("status.ephemeralContainerStatuses", ""), // they never run again
    ] {
        let (now, specs) = (by_name(new, field), by_name(old, specs));
        for (i, before) in list(old, field).iter().enumerate() {
            let (name, end) = (text(before, "name"), at(before, "state.terminated"));
            let is_back = now.get(name).is_some_and(|now| at(now, "state.terminated").is_null());
            if end.is_null() || !is_back {
                continue;
            }
            let code = int(end, "exitCode").unwrap_or(0);
            if !specs.get(name).is_some_and(|spec| may_restart(policy, spec, code)) {
                let why = "may not be transitioned to non-terminated state";
                errors.forbidden(format!("{field}[{i}].state"), why);
            }
        }
    }
}

/// Checks the tolerations and the profiles in the annotations of a pod. What is stored already
/// keeps no kubelet from writing the status: an older version accepted more.
fn profiles(new: &Value, old: &Value, errors: &mut Errors) {
    let wrong_in = |pod: &Value| {
        let mut wrong = Errors::default();
        check_tolerations(pod, "metadata.annotations", &mut wrong);
        check_profiles(pod, "metadata.annotations", &mut wrong);
        wrong
    };
    let wrong = wrong_in(new);
    if !wrong.is_empty() {
        errors.append(wrong.without(&wrong_in(old)));
    }
}

/// Checks that the claims that were made for a pod are claims of its spec.
fn claims(pod: &Value, errors: &mut Errors) {
    const FIELD: &str = "status.resourceClaimStatuses";
    let known: HashSet<&str> = list(pod, "spec.resourceClaims").iter().map(|c| text(c, "name")).collect();
    let mut seen = HashSet::new();
    for (i, status) in list(pod, FIELD).iter().enumerate() {
        let (field, name) = (format!("{FIELD}[{i}].name"), text(status, "name"));
        if !known.contains(name) {
            errors.invalid_text(&*field, name, "must match the name of an entry in `spec.resourceClaims`");
        }
        if !seen.insert(name) {
            errors.duplicate(&*field, &json!(name));
        }
        if let Some(made) = at(status, "resourceClaimName").as_str() {
            add_problems(dns_subdomain(made), &field, made, errors);
        }
    }
}

/// Checks the users with which the containers run (`validateContainerStatusUsers` upstream).
fn users(pod: &Value, errors: &mut Errors) {
    for statuses in
        ["status.containerStatuses", "status.initContainerStatuses", "status.ephemeralContainerStatuses"]
    {
        for (i, status) in list(pod, statuses).iter().enumerate() {
            let (user, field) = (at(status, "user.linux"), format!("{statuses}[{i}].user.linux"));
            if text(pod, "spec.os.name") == "windows" {
                if !user.is_null() {
                    errors.forbidden(field, "cannot be set for a windows pod");
                }
                continue;
            }
            for id in ["uid", "gid"] {
                user_id(at(user, id), &format!("{field}.{id}"), errors);
            }
            for (j, group) in list(user, "supplementalGroups").iter().enumerate() {
                user_id(group, &format!("{field}.supplementalGroups[{j}]"), errors);
            }
        }
    }
}

/// Returns the maps of a list by their names, the first one where several have the same.
fn by_name<'a>(object: &'a Value, path: &str) -> HashMap<&'a str, &'a Value> {
    list(object, path).iter().rev().map(|item| (text(item, "name"), item)).collect()
}

/// Returns whether a container may run again after it ended with this code: one of its own restart
/// rules says so, else its own restart policy, else that of the pod (`ContainerShouldRestart`
/// upstream).
fn may_restart(policy: &str, spec: &Value, exit_code: i64) -> bool {
    let fits = |rule: &Value| {
        let is_listed = list(rule, "exitCodes.values").iter().any(|code| *code == exit_code);
        match text(rule, "exitCodes.operator") {
            "In" => is_listed,
            "NotIn" => !is_listed,
            _ => false,
        }
    };
    if list(spec, "restartPolicyRules").iter().any(fits) {
        return true;
    }
    match at(spec, "restartPolicy").as_str().unwrap_or(policy) {
        "Never" => false,
        "OnFailure" => exit_code != 0,
        _ => true,
    }
}

/// Checks the node for which a pod without a node waits.
fn nominated_node(new: &Value, old: &Value, errors: &mut Errors) {
    const FIELD: &str = "status.nominatedNodeName";
    let name = text(new, FIELD);
    if name.is_empty() || name == text(old, FIELD) {
        return;
    }
    dns_subdomain(name).iter().for_each(|why| errors.invalid_text(FIELD, name, why));
    if !text(old, "spec.nodeName").is_empty() {
        errors.forbidden(FIELD, "may not be set on pods that are already bound to a node");
    }
}

/// Checks that there is at most one address of each family, of the pod and of its node. One that
/// was wrong before may stay.
fn addresses(field: &str, new: &Value, old: &Value, errors: &mut Errors) {
    let all = || list(new, field).iter().map(|one| text(one, "ip"));
    let before: HashSet<&str> = list(old, field).iter().map(|one| text(one, "ip")).collect();
    for (i, ip) in all().enumerate().filter(|(_, ip)| !before.contains(ip)) {
        legacy_ip(ip, &format!("{field}[{i}]"), errors);
    }
    if !one_of_each_family(all()) {
        let why = "may specify no more than one IP for each IP family";
        errors.invalid(field, at(new, field), why);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn errors_of(status: Value, old: &Value) -> Vec<String> {
        let mut new = old.clone();
        crate::patch::merge(&mut new, &json!({ "status": status }));
        prepare_status_update(&mut new, old, "status");
        let mut errors = Errors::default();
        validate_status_update(&new, old, &mut errors);
        errors.iter().map(|e| format!("{}: {}", e.field, e.body.split(':').next().unwrap_or(""))).collect()
    }

    #[test]
    fn a_status_says_only_what_others_can_go_by() {
        let old = json!({"spec": {"nodeName": "n"}, "status": {"qosClass": "BestEffort", "nominatedNodeName": "m"}});
        let waiting = json!({"spec": {}, "status": {"qosClass": "BestEffort"}});
        for (status, old, want) in [
            (json!({"phase": "Running", "podIP": "10.0.0.1"}), &old, ""),
            (json!({"podIPs": [{"ip": "10.0.0.1"}, {"ip": "fd00::1"}]}), &old, ""),
            (json!({"conditions": [{"type": "Ready"}, {"type": "example.com/gate"}]}), &old, ""),
            (json!({"nominatedNodeName": "m"}), &old, ""),
            (json!({"nominatedNodeName": "m"}), &waiting, ""),
            (json!({"qosClass": "Guaranteed"}), &old, "status.qosClass: Invalid value"),
            (json!({"podIP": "banana"}), &old, "status.podIPs[0]: Invalid value"),
            (json!({"podIP": "010.0.0.1"}), &old, ""),
            (json!({"podIPs": [{"ip": "::ffff:10.0.0.1"}, {"ip": "fd00::1"}]}), &old, ""),
            (
                json!({"podIPs": [{"ip": "10.0.0.1"}, {"ip": "::ffff:10.0.0.2"}]}),
                &old,
                "status.podIPs: Invalid value",
            ),
            (json!({"hostIP": "010.0.0.1", "hostIPs": [{"ip": "010.0.0.1"}]}), &old, ""),
            (
                json!({"podIPs": [{"ip": "10.0.0.1"}, {"ip": "10.0.0.2"}]}),
                &old,
                "status.podIPs: Invalid value",
            ),
            (json!({"hostIP": "10.0.0.1", "hostIPs": [{"ip": "10.0.0.1"}, {"ip": "fd00::1"}]}), &old, ""),
            (json!({"hostIP": "x", "hostIPs": [{"ip": "x"}]}), &old, "status.hostIPs[0]: Invalid value"),
            (
                json!({"hostIP": "10.0.0.1", "hostIPs": [{"ip": "10.0.0.2"}]}),
                &old,
                "status.hostIPs[0].ip: Invalid value",
            ),
            (json!({"observedGeneration": -1}), &old, "status.observedGeneration: Invalid value"),
            (json!({"conditions": [{"type": "a b"}]}), &old, "status.conditions[0].Type: Invalid value"),
            (json!({"nominatedNodeName": "A"}), &waiting, "status.nominatedNodeName: Invalid value"),
            (json!({"nominatedNodeName": "o"}), &old, "status.nominatedNodeName: Forbidden"),
        ] {
            let found = errors_of(status.clone(), old);
            assert_eq!(found, want.split_terminator('\n').collect::<Vec<_>>(), "{status}");
        }
    }

    /// As `ValidateContainerStateTransition` upstream and its counterparts.
    #[test]
    fn a_container_that_has_ended_for_good_does_not_come_back() {
        let back = |policy: &str, spec: Value, code: i64, list: &str, specs: &str| {
            let mut one = json!({"name": "a"});
            crate::patch::merge(&mut one, &spec);
            let status = |state: Value| json!({ list: [{"name": "a", "state": state}] });
            let ended = status(json!({"terminated": {"exitCode": code}}));
            let old = json!({"spec": {"restartPolicy": policy, specs: [one]}, "status": ended});
            assert_eq!(errors_of(ended, &old), [""; 0], "it may stay as it is");
            errors_of(status(json!({"running": {}})), &old)
        };
        let main = |policy: &str, code| back(policy, json!({}), code, "containerStatuses", "containers");
        let refused = ["status.containerStatuses[0].state: Forbidden"];
        assert_eq!(main("Never", 0), refused);
        assert_eq!(main("Never", 1), refused);
        assert_eq!(main("OnFailure", 0), refused);
        assert_eq!(main("OnFailure", 1), [""; 0]);
        assert_eq!(main("Always", 0), [""; 0]);
        let own = |policy: &str, code| {
            back("Always", json!({ "restartPolicy": policy }), code, "containerStatuses", "containers")
        };
        assert_eq!(own("Never", 1), refused, "its own policy comes first");
        let rules = json!([{"action": "Restart", "exitCodes": {"operator": "In", "values": [3]}}]);
        let ruled = |code| {
            let spec = json!({"restartPolicy": "Never", "restartPolicyRules": rules});
            back("Never", spec, code, "containerStatuses", "containers")
        };
        assert_eq!((ruled(3).len(), ruled(4).len()), (0, 1));
        let init = |spec: Value| back("Never", spec, 0, "initContainerStatuses", "initContainers");
        assert_eq!(init(json!({})), ["status.initContainerStatuses[0].state: Forbidden"]);
        assert_eq!(init(json!({"restartPolicy": "Always"})), [""; 0], "a sidecar runs again");
        let debug = back("Always", json!({}), 1, "ephemeralContainerStatuses", "ephemeralContainers");
        assert_eq!(debug, ["status.ephemeralContainerStatuses[0].state: Forbidden"]);
    }

    #[test]
    fn conditions_keep_the_generation_that_they_were_about() {
        let of = |conditions: Value| json!({"status": {"conditions": conditions}});
        let one = |kind: &str, generation: i64| json!({"type": kind, "observedGeneration": generation});
        let old = of(json!([one("Ready", 2), one("a/b", 3), one("a/b", 4)]));
        let mut new = of(json!([{"type": "a/b"}, {"type": "Ready"}, one("a/b", 5), {"type": "c/d"}]));
        keep_generations(&mut new, &old);
        assert_eq!(new, of(json!([one("a/b", 3), one("Ready", 2), one("a/b", 5), {"type": "c/d"}])));
        let found = errors_of(json!({"conditions": [one("Ready", -1)]}), &json!({"spec": {}, "status": {}}));
        assert_eq!(found, ["status.conditions[0].observedGeneration: Invalid value"]);
    }

    #[test]
    fn a_wrong_profile_that_is_stored_keeps_no_status_from_being_written() {
        let pod = |profile: &str| {
            let annotations = json!({"seccomp.security.alpha.kubernetes.io/pod": profile});
            json!({"metadata": {"annotations": annotations}, "spec": {}, "status": {}})
        };
        assert_eq!(errors_of(json!({"phase": "Running"}), &pod("x")), [""; 0]);
        let mut errors = Errors::default();
        validate_status_update(&pod("y"), &pod("x"), &mut errors);
        assert_eq!(errors.iter().count(), 1, "another one is refused");
    }

    #[test]
    fn claims_of_a_status_are_those_of_the_spec() {
        let old = json!({"spec": {"resourceClaims": [{"name": "a"}]}, "status": {}});
        let of = |names: &[&str]| {
            let all: Vec<Value> = names.iter().map(|name| json!({"name": name})).collect();
            errors_of(json!({ "resourceClaimStatuses": all }), &old)
        };
        assert_eq!(of(&["a"]), [""; 0]);
        assert_eq!(of(&["b"]), ["status.resourceClaimStatuses[0].name: Invalid value"]);
        assert_eq!(of(&["a", "a"]), ["status.resourceClaimStatuses[1].name: Duplicate value"]);
    }

    #[test]
    fn containers_run_as_users_of_the_node() {
        let old = |os: &str| json!({"spec": {"os": {"name": os}}, "status": {}});
        let user = |id: i64, group: i64| {
            let linux = json!({"uid": id, "gid": 0, "supplementalGroups": [0, group]});
            json!({"initContainerStatuses": [{"name": "a", "user": {"linux": linux}}]})
        };
        assert_eq!(errors_of(user(0, 7), &old("linux")), [""; 0]);
        let linux = "status.initContainerStatuses[0].user.linux";
        let want =
            [format!("{linux}.uid: Invalid value"), format!("{linux}.supplementalGroups[1]: Invalid value")];
        assert_eq!(errors_of(user(-1, 1 << 31), &old("linux")), want);
        assert_eq!(errors_of(user(0, 7), &old("windows")), [format!("{linux}: Forbidden")]);
    }

    #[test]
    fn one_address_and_the_list_go_together() {
        for (status, one, list) in [
            (json!({"podIP": "10.0.0.1"}), json!("10.0.0.1"), json!([{"ip": "10.0.0.1"}])),
            (json!({"podIPs": [{"ip": "10.0.0.1"}]}), json!("10.0.0.1"), json!([{"ip": "10.0.0.1"}])),
            (
                json!({"podIP": "10.0.0.2", "podIPs": [{"ip": "10.0.0.1"}, {"ip": "fd00::1"}]}),
                json!("10.0.0.2"),
                json!([{"ip": "10.0.0.2"}]),
            ),
            (json!({}), Value::Null, Value::Null),
        ] {
            let mut pod = json!({ "status": status });
            pair_addresses(&mut pod);
            assert_eq!((at(&pod, "status.podIP"), at(&pod, "status.podIPs")), (&one, &list), "{status}");
        }
    }
}
