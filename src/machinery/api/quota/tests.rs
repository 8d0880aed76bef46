use super::*;
use serde_json::json;

fn pod(requests: Value, limits: Value) -> Value {
    json!({"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "resources": {"requests": requests, "limits": limits}}]}})
}
fn text_of(amounts: &Amounts) -> String {
    join_amounts(amounts)
}
fn used(object: &Value) -> Amounts {
    usage("", "pods", object, Timestamp::UNIX_EPOCH)
}
fn charge_pod(quota: &Value, object: &Value, more: &Amounts) -> Result<Option<Amounts>, String> {
    charge(quota, Charge { group: "", plural: "pods", object, more, is_limited: true })
}

#[test]
fn a_grace_period_beyond_the_calendar_is_not_over() {
    let mut one = pod(json!({"cpu": "1"}), json!({}));
    value::put(&mut one, "metadata.deletionTimestamp", "1970-01-01T00:00:00Z");
    let charged = |one: &Value, at: i64| is_charged(one, Timestamp::from_second(at).unwrap());
    for seconds in [300_000_000_000, i64::MAX] {
        value::put(&mut one, "metadata.deletionGracePeriodSeconds", seconds);
        assert!(charged(&one, 1_000_000));
    }
    value::put(&mut one, "metadata.deletionGracePeriodSeconds", 30);
    assert!(charged(&one, 30) && !charged(&one, 31));
}

#[test]
fn a_pod_costs_what_it_asks_for_until_it_ends() {
    let mut one = pod(json!({"cpu": "250m", "memory": "1Gi"}), json!({"cpu": "1"}));
    assert_eq!(
        text_of(&used(&one)),
        "count/pods=1,cpu=250m,limits.cpu=1,memory=1Gi,pods=1,requests.cpu=250m,requests.memory=1Gi"
    );
    value::put(&mut one, "status.phase", "Succeeded");
    assert_eq!(text_of(&used(&one)), "count/pods=1");
}

#[test]
fn services_and_claims_cost_more_than_their_number() {
    let service = json!({"spec": {"type": "LoadBalancer", "ports": [{"port": 80}, {"port": 81}]}});
    let of = usage("", "services", &service, Timestamp::UNIX_EPOCH);
    assert_eq!(text_of(&of), "count/services=1,services=1,services.loadbalancers=1,services.nodeports=2");
    let claim = json!({"spec": {"storageClassName": "fast", "resources": {"requests": {"storage": "2Gi"}}}});
    let of = usage("", "persistentvolumeclaims", &claim, Timestamp::UNIX_EPOCH);
    assert_eq!(of["fast.storageclass.storage.k8s.io/requests.storage"].to_string(), "2Gi");
    let of = usage("apps", "deployments", &json!({}), Timestamp::UNIX_EPOCH);
    assert_eq!(text_of(&of), "count/deployments.apps=1");
    assert_eq!(kind_counted_by("count/deployments.apps"), ("apps", "deployments"));
    assert_eq!(
        kind_counted_by("fast.storageclass.storage.k8s.io/persistentvolumeclaims").1,
        "persistentvolumeclaims"
    );
}

#[test]
fn a_refusal_names_what_was_asked_used_and_allowed() {
    let quota = json!({"metadata": {"name": "q"}, "status": {"hard": {"pods": "2", "requests.cpu": "1"}, "used": {"pods": "2", "requests.cpu": "500m"}}});
    let asks = pod(json!({"cpu": "100m"}), json!({}));
    let why = charge_pod(&quota, &asks, &used(&asks)).unwrap_err();
    assert_eq!(why, "exceeded quota: q, requested: pods=1, used: pods=2, limited: pods=2");
    let silent = pod(json!({}), json!({}));
    let why = charge_pod(&quota, &silent, &used(&silent)).unwrap_err();
    assert_eq!(why, "failed quota: q: must specify requests.cpu for: c");
    let new = json!({"metadata": {"name": "q"}, "status": {"hard": {"pods": "2"}}});
    let why = charge_pod(&new, &asks, &used(&asks)).unwrap_err();
    assert_eq!(why, "status unknown for quota: q, resources: pods");
    let room = json!({"metadata": {"name": "q"}, "status": {"hard": {"pods": "2"}, "used": {"pods": "1"}}});
    assert_eq!(text_of(&charge_pod(&room, &asks, &used(&asks)).unwrap().unwrap()), "pods=2");
}

#[test]
fn a_pod_with_resources_of_its_own_speaks_for_its_containers() {
    let hard = amounts(&json!({"hard": {"requests.cpu": "1"}}), "hard");
    let with = |resources: Value| {
        let mut one = pod(json!({}), json!({}));
        value::put(&mut one, "spec.resources", resources);
        missing_amounts(&one, &hard)
    };
    assert_eq!(with(json!({})).as_deref(), Some("requests.cpu for: c"));
    assert_eq!(with(json!({"limits": {"cpu": "1"}})), None);
    assert_eq!(with(json!({"requests": {"memory": "1Gi"}})), None);
}

#[test]
fn what_frees_something_is_never_refused() {
    let quota = json!({"metadata": {"name": "q"}, "status": {"hard": {"pods": "1"}, "used": {"pods": "3"}}});
    let by = |n: &str| charge_pod(&quota, &json!({}), &amounts(&json!({"a": {"pods": n}}), "a"));
    assert_eq!(
        text_of(&by("-1").unwrap().unwrap()),
        "pods=2",
        "still above the limit, and charged all the same"
    );
    assert!(by("1").is_err());
}

#[test]
fn scopes_choose_pods() {
    let (best, some) = (pod(json!({}), json!({})), pod(json!({"cpu": "1"}), json!({})));
    let spec = json!({"scopes": ["BestEffort"]});
    assert!(matches(&spec, "", "pods", &best) && !matches(&spec, "", "pods", &some));
    assert!(!matches(&spec, "", "services", &json!({})));
    let mut high = some.clone();
    value::put(&mut high, "spec.priorityClassName", "high");
    let spec = json!({"scopeSelector": {"matchExpressions": [{"scopeName": "PriorityClass", "operator": "In", "values": ["high"]}]}});
    assert!(matches(&spec, "", "pods", &high) && !matches(&spec, "", "pods", &some));
}

#[test]
fn claims_are_in_the_scope_of_their_attributes_classes() {
    let claim = |spec: Value, status: Value| json!({"spec": spec, "status": status});
    let none = claim(json!({}), json!({}));
    let asks = claim(json!({"volumeAttributesClassName": "gold"}), json!({}));
    let has = claim(json!({}), json!({"currentVolumeAttributesClassName": "gold"}));
    let changes = claim(
        json!({"volumeAttributesClassName": ""}),
        json!({"currentVolumeAttributesClassName": "silver",
            "modifyVolumeStatus": {"targetVolumeAttributesClassName": "gold", "status": "Pending"}}),
    );
    let is_in = |spec: &Value, claim: &Value| matches(spec, "", "persistentvolumeclaims", claim);
    let scope = json!({"scopes": ["VolumeAttributesClass"]});
    assert!(!is_in(&scope, &none) && is_in(&scope, &asks) && is_in(&scope, &has) && is_in(&scope, &changes));
    assert!(!matches(&scope, "", "pods", &pod(json!({}), json!({}))), "a pod has no such class");
    assert!(!is_in(&json!({"scopes": ["BestEffort"]}), &asks), "a claim has no other scope");
    let rule = |operator: &str, values: &[&str]| {
        let rule = json!({"scopeName": "VolumeAttributesClass", "operator": operator, "values": values});
        json!({"scopeSelector": {"matchExpressions": [rule]}})
    };
    let selected = |spec: Value| [&none, &asks, &changes].map(|claim| is_in(&spec, claim));
    assert_eq!(selected(rule("In", &["gold"])), [false, true, true]);
    assert_eq!(selected(rule("NotIn", &["gold"])), [true, false, true], "silver is another one");
    assert_eq!(selected(rule("DoesNotExist", &[])), [true, false, false]);
}

/// As `getStorageUsage` upstream.
#[test]
fn a_claim_is_charged_whole_bytes_of_what_it_asks_for_or_was_given() {
    let storage = |asked: Value, given: Value| {
        let claim =
            json!({"spec": {"resources": {"requests": asked}}, "status": {"allocatedResources": given}});
        let used = usage("", "persistentvolumeclaims", &claim, Timestamp::UNIX_EPOCH);
        used.get("requests.storage").map(Quantity::to_string)
    };
    assert_eq!(storage(json!({"storage": "1500m"}), json!({})).as_deref(), Some("2"));
    assert_eq!(storage(json!({"storage": "1Gi"}), json!({"storage": "2Gi"})).as_deref(), Some("2Gi"));
    assert_eq!(storage(json!({"storage": "1Gi"}), json!({"storage": "1Mi"})).as_deref(), Some("1Gi"));
    assert_eq!(storage(json!({"storage": "1"}), json!({"storage": "2500m"})).as_deref(), Some("3"));
    assert_eq!(storage(json!({}), json!({"storage": "1Gi"})), None);
}

/// As `hasUsageStats` upstream.
#[test]
fn a_quota_is_charged_only_if_all_that_it_limits_of_the_kind_is_counted() {
    let status = json!({"hard": {"pods": "5", "requests.cpu": "5", "secrets": "5"}, "used": {"pods": "0"}});
    let quota = json!({"metadata": {"name": "q"}, "status": status});
    let one = pod(json!({"cpu": "1"}), json!({}));
    let why = charge_pod(&quota, &one, &amounts(&json!({"a": {"pods": "1"}}), "a")).unwrap_err();
    assert_eq!(why, "status unknown for quota: q, resources: pods,requests.cpu");
}

#[test]
fn a_status_is_charged_beyond_the_limit() {
    let status = json!({"hard": {"requests.storage": "1Gi"}, "used": {"requests.storage": "1Gi"}});
    let quota = json!({"metadata": {"name": "q"}, "status": status});
    let (claim, more) = (json!({}), amounts(&json!({"a": {"requests.storage": "1Gi"}}), "a"));
    let write = |is_limited| Charge {
        group: "",
        plural: "persistentvolumeclaims",
        object: &claim,
        more: &more,
        is_limited,
    };
    assert!(charge(&quota, write(true)).unwrap_err().starts_with("exceeded quota"));
    let used = charge(&quota, write(false)).unwrap().unwrap();
    assert_eq!(text_of(&used), "requests.storage=2Gi");
}
