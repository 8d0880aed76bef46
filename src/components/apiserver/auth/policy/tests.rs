use super::*;
use api::validate;

#[test]
fn namespace_roles_read_endpoints_and_do_not_write_them() {
    for role in &roles_of_people()[..3] {
        let (role, rules) = (&role["metadata"]["name"], role["rules"].as_array().unwrap());
        for resource in ["endpoints", "endpointslices"] {
            let of = |verb: &str| {
                let has = |rule: &Value, field: &str, word: &str| {
                    rule[field].as_array().is_some_and(|all| all.iter().any(|w| w == word || w == "*"))
                };
                rules.iter().any(|rule| has(rule, "resources", resource) && has(rule, "verbs", verb))
            };
            assert!(of("get"), "{role} {resource}");
            assert!(!WRITE.iter().any(|verb| of(verb)), "{role} {resource}");
        }
    }
}

/// An operator with an account of its own leads by a Lease, and writes Events.
#[test]
fn the_role_edit_writes_leases_and_events() {
    let edit = edit_rules();
    for (group, resource, verb) in [
        ("coordination.k8s.io", "leases", "get"),
        ("coordination.k8s.io", "leases", "update"),
        ("events.k8s.io", "events", "create"),
    ] {
        let has =
            |rule: &Value, field: &str, word: &str| rule[field].as_array().unwrap().iter().any(|w| w == word);
        let may = |rule: &Value| {
            has(rule, "apiGroups", group) && has(rule, "resources", resource) && has(rule, "verbs", verb)
        };
        assert!(edit.iter().any(may), "{verb} {resource}.{group}");
    }
}

/// Otherwise the controller would write them anew at a cluster's first start.
#[test]
fn the_rules_of_the_aggregated_roles_are_those_of_the_roles_that_they_choose() {
    let mut all: Vec<Value> = objects().into_iter().filter(|o| o["kind"] == "ClusterRole").collect();
    all.sort_by_key(|role| role["metadata"]["name"].to_string());
    let aggregated: Vec<&Value> = all.iter().filter(|role| role["aggregationRule"].is_object()).collect();
    assert_eq!(aggregated.len(), 3);
    for role in aggregated {
        let chosen = &role["aggregationRule"]["clusterRoleSelectors"][0]["matchLabels"];
        let (label, _) = chosen.as_object().unwrap().iter().next().unwrap();
        let others = all.iter().filter(|other| !other["metadata"]["labels"][label].is_null());
        let mut rules: Vec<&Value> = vec![];
        for rule in others.flat_map(|other| other["rules"].as_array().unwrap()) {
            if !rules.contains(&rule) {
                rules.push(rule);
            }
        }
        let own: Vec<&Value> = role["rules"].as_array().unwrap().iter().collect();
        assert_eq!(own, rules, "{}", role["metadata"]["name"]);
    }
}

#[test]
fn viewers_read_the_status_of_what_they_read() {
    let rules = view_rules();
    for (group, resource) in NAMESPACED.iter().flat_map(|(g, all)| all.iter().map(move |r| (g, r))) {
        let catalog = kinds::Catalog::default();
        let found = catalog.iter().find(|kind| kind.group == *group && kind.plural == *resource);
        if !found.is_some_and(|kind| kind.has_status) {
            continue;
        }
        let status = format!("{resource}/status");
        let granted = rules.iter().any(|rule| {
            let has = |field: &str, word: &str| {
                rule[field].as_array().is_some_and(|all| all.iter().any(|w| w == word))
            };
            has("apiGroups", group) && has("resources", &status)
        });
        assert!(granted, "{group} {status}");
    }
}

#[test]
fn every_default_is_valid_and_every_binding_finds_its_role() {
    let all = objects();
    for object in &all {
        let kind = kind_of(object).unwrap();
        let mut object = object.clone();
        (kind.defaults)(&mut object);
        let errors = validate::create(kind, &object);
        assert!(errors.is_empty(), "{}: {errors:?}", object["metadata"]["name"]);
        if let Some(role) = object.get("roleRef") {
            assert!(
                all.iter().any(|o| o["kind"] == role["kind"] && o["metadata"]["name"] == role["name"]),
                "{role}"
            );
        }
    }
}

/// Rights that upstream's roles give, whatever they are bound to: role, verb, group, resource.
const GRANTED: &[(&str, &str, &str, &str)] = &[
    ("view", "list", "events.k8s.io", "events"),
    ("system:heapster", "watch", "", "nodes"),
    ("system:kube-aggregator", "list", "", "services"),
    ("system:kubelet-api-admin", "create", "", "nodes/proxy"),
    ("system:kubelet-api-admin", "get", "", "nodes"),
    ("system:monitoring", "get", "", "nodes/metrics"),
    ("system:node", "create", "", "serviceaccounts/token"),
    ("system:node", "create", "authorization.k8s.io", "subjectaccessreviews"),
    ("system:node", "patch", "", "persistentvolumeclaims/status"),
    ("system:node-bootstrapper", "create", "certificates.k8s.io", "certificatesigningrequests"),
    ("system:node-problem-detector", "create", "", "events"),
    ("system:node-problem-detector", "patch", "", "nodes/status"),
    ("system:volume-scheduler", "update", "", "persistentvolumeclaims"),
    ("system::leader-locking-kube-controller-manager", "update", "coordination.k8s.io", "leases"),
    ("system::leader-locking-kube-scheduler", "create", "coordination.k8s.io", "leases"),
    ("system:controller:bootstrap-signer", "get", "", "secrets"),
    ("system:controller:cloud-provider", "create", "", "configmaps"),
    ("system:controller:token-cleaner", "delete", "", "secrets"),
];

#[test]
fn default_roles_give_what_upstreams_give() {
    let all = objects();
    for (role, verb, group, resource) in GRANTED {
        let rules =
            all.iter().filter(|o| o["metadata"]["name"] == *role).filter_map(|o| o["rules"].as_array());
        let mut rules = rules.flatten();
        let granted = rules.any(|rule| {
            let has = |field: &str, word: &str| {
                rule[field].as_array().is_some_and(|all| all.iter().any(|w| w == word || w == "*"))
            };
            has("verbs", verb) && has("apiGroups", group) && has("resources", resource)
        });
        assert!(granted, "{role}: {verb} {resource}.{group}");
    }
}

/// A component that runs with a ServiceAccount leads by the same Lease.
#[test]
fn leaders_are_bound_by_their_users_and_accounts() {
    let all = objects();
    let named = |name: &str| {
        let of = |o: &&Value| o["kind"] == "RoleBinding" && o["metadata"]["name"] == name;
        let subjects = all.iter().find(of).and_then(|binding| binding["subjects"].as_array()).unwrap();
        subjects.iter().map(|s| s["name"].as_str().unwrap().to_string()).collect::<Vec<_>>()
    };
    let scheduler = ["system:kube-scheduler", "kube-scheduler"];
    assert_eq!(named("system::leader-locking-kube-scheduler"), scheduler);
    let manager = ["system:kube-controller-manager", "kube-controller-manager", "leader-election-controller"];
    assert_eq!(named("system::leader-locking-kube-controller-manager"), manager);
}
