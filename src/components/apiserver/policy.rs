//! The roles and bindings that every cluster starts with
//! (`plugin/pkg/auth/authorizer/rbac/bootstrappolicy` upstream).

use super::object::Object;
use api::kinds;
use serde_json::{Value, json};
use std::sync::Arc;

const RBAC: &str = "rbac.authorization.k8s.io";
const READ: &[&str] = &["get", "list", "watch"];
const WRITE: &[&str] = &["create", "delete", "deletecollection", "patch", "update"];
const ALL: &[&str] = &["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"];

fn rule(verbs: &[&str], groups: &[&str], resources: &[&str]) -> Value {
    json!({"verbs": verbs, "apiGroups": groups, "resources": resources})
}
fn named(verbs: &[&str], group: &str, resource: &str, names: &[&str]) -> Value {
    json!({"verbs": verbs, "apiGroups": [group], "resources": [resource], "resourceNames": names})
}
fn urls(urls: &[&str]) -> Value {
    json!({"verbs": ["get"], "nonResourceURLs": urls})
}

fn meta(name: &str) -> Value {
    json!({"name": name, "labels": {"kubernetes.io/bootstrapping": "rbac-defaults"},
        "annotations": {"rbac.authorization.kubernetes.io/autoupdate": "true"}})
}

fn cluster_role(name: &str, rules: Vec<Value>) -> Value {
    json!({"kind": "ClusterRole", "apiVersion": format!("{RBAC}/v1"), "metadata": meta(name), "rules": rules})
}

/// Subjects are `User:x`, `Group:x` or `ServiceAccount:namespace/x`.
fn binding(name: &str, role: &str, subjects: &[&str]) -> Value {
    let subjects: Vec<Value> = subjects.iter().filter_map(|s| subject(s)).collect();
    json!({"kind": "ClusterRoleBinding", "apiVersion": format!("{RBAC}/v1"), "metadata": meta(name), "subjects": subjects,
        "roleRef": {"apiGroup": RBAC, "kind": "ClusterRole", "name": role}})
}

fn subject(text: &str) -> Option<Value> {
    let (kind, name) = text.split_once(':')?;
    Some(match kind {
        "ServiceAccount" => {
            let (namespace, name) = name.split_once('/')?;
            json!({"kind": kind, "namespace": namespace, "name": name})
        }
        _ => json!({"kind": kind, "apiGroup": RBAC, "name": name}),
    })
}

fn role(namespace: &str, name: &str, rules: Vec<Value>) -> Value {
    let mut metadata = meta(name);
    metadata["namespace"] = namespace.into();
    json!({"kind": "Role", "apiVersion": format!("{RBAC}/v1"), "metadata": metadata, "rules": rules})
}

fn role_binding(namespace: &str, name: &str, subjects: &[&str]) -> Value {
    let mut metadata = meta(name);
    metadata["namespace"] = namespace.into();
    let subjects: Vec<Value> = subjects.iter().filter_map(|s| subject(s)).collect();
    json!({"kind": "RoleBinding", "apiVersion": format!("{RBAC}/v1"), "metadata": metadata, "subjects": subjects,
        "roleRef": {"apiGroup": RBAC, "kind": "Role", "name": name}})
}

/// What a namespace's owner works with, by group; secrets stand apart.
const NAMESPACED: &[(&str, &[&str])] = &[
    (
        "",
        &[
            "configmaps",
            "endpoints",
            "events",
            "persistentvolumeclaims",
            "pods",
            "replicationcontrollers",
            "replicationcontrollers/scale",
            "services",
            "serviceaccounts",
        ],
    ),
    (
        "apps",
        &[
            "daemonsets",
            "deployments",
            "deployments/scale",
            "replicasets",
            "replicasets/scale",
            "statefulsets",
            "statefulsets/scale",
            "controllerrevisions",
        ],
    ),
    ("autoscaling", &["horizontalpodautoscalers"]),
    ("batch", &["cronjobs", "jobs"]),
    ("discovery.k8s.io", &["endpointslices"]),
    ("networking.k8s.io", &["ingresses", "networkpolicies"]),
    ("policy", &["poddisruptionbudgets"]),
];

fn view_rules() -> Vec<Value> {
    let mut rules: Vec<Value> =
        NAMESPACED.iter().map(|(group, resources)| rule(READ, &[group], resources)).collect();
    rules.push(rule(
        READ,
        &[""],
        &[
            "bindings",
            "limitranges",
            "namespaces",
            "namespaces/status",
            "persistentvolumeclaims/status",
            "pods/log",
            "pods/status",
            "replicationcontrollers/status",
            "resourcequotas",
            "resourcequotas/status",
            "services/status",
        ],
    ));
    rules.push(rule(READ, &["metrics.k8s.io"], &["nodes", "pods"]));
    rules.push(rule(
        READ,
        &["apps"],
        &["daemonsets/status", "deployments/status", "replicasets/status", "statefulsets/status"],
    ));
    rules.push(rule(READ, &["autoscaling"], &["horizontalpodautoscalers/status"]));
    rules.push(rule(READ, &["batch"], &["cronjobs/status", "jobs/status"]));
    rules.push(rule(READ, &["networking.k8s.io"], &["ingresses/status"]));
    rules.push(rule(READ, &["policy"], &["poddisruptionbudgets/status"]));
    rules
}

/// What `edit` may do beyond `view`.
fn edit_rules() -> Vec<Value> {
    let mut rules = vec![];
    for (group, resources) in NAMESPACED {
        // Whoever writes endpoints sends a Service's clients to addresses of his choice
        // (CVE-2021-25740).
        let made_by_controllers = ["endpoints", "endpointslices", "controllerrevisions"];
        let own: Vec<&str> = resources.iter().copied().filter(|r| !made_by_controllers.contains(r)).collect();
        if !own.is_empty() {
            rules.push(rule(WRITE, &[group], &own));
        }
    }
    rules.push(rule(ALL, &[""], &["secrets"]));
    rules.push(rule(
        ALL,
        &[""],
        &["pods/attach", "pods/exec", "pods/portforward", "pods/proxy", "services/proxy"],
    ));
    rules.push(rule(&["create"], &[""], &["pods/eviction", "serviceaccounts/token"]));
    rules.push(rule(ALL, &["coordination.k8s.io"], &["leases"]));
    rules.push(rule(WRITE, &["events.k8s.io"], &["events"]));
    rules.push(rule(WRITE, &["apps"], &["deployments/rollback"]));
    rules.push(rule(&["impersonate"], &[""], &["serviceaccounts"]));
    rules
}

/// What `admin` may do beyond `edit`.
fn admin_rules() -> Vec<Value> {
    vec![
        rule(ALL, &[RBAC], &["rolebindings", "roles"]),
        rule(&["create"], &["authorization.k8s.io"], &["localsubjectaccessreviews"]),
    ]
}

/// The label of roles whose rules this role has, too.
fn aggregates_to(role: &str) -> String {
    format!("{RBAC}/aggregate-to-{role}")
}

/// The roles of a namespace's people. Their rules are those of all roles with the label
/// `rbac.authorization.k8s.io/aggregate-to-NAME`: so the author of a new kind says in roles of his
/// own who may work with it. The controller `clusterrole-aggregation` puts them together; what it
/// makes of the roles here is there from the beginning, in its order.
fn roles_of_people() -> Vec<Value> {
    let parts = [("admin", admin_rules()), ("edit", edit_rules()), ("view", view_rules())];
    let [admin, edit, view] = parts.clone().map(|(_, rules)| rules);
    let edit = [edit, view.clone()].concat();
    let admin = [edit.clone(), admin].concat(); // `edit` comes before `system:aggregate-to-admin`
    let whole = [("admin", None, admin), ("edit", Some("admin"), edit), ("view", Some("edit"), view)];
    let whole = whole.map(|(name, to, rules)| {
        let mut role = cluster_role(name, rules);
        let chosen = json!({"matchLabels": {aggregates_to(name): "true"}});
        role["aggregationRule"] = json!({ "clusterRoleSelectors": [chosen] });
        to.into_iter().for_each(|to| role["metadata"]["labels"][aggregates_to(to)] = "true".into());
        role
    });
    let parts = parts.map(|(name, rules)| {
        let mut role = cluster_role(&format!("system:aggregate-to-{name}"), rules);
        role["metadata"]["labels"][aggregates_to(name)] = "true".into();
        role
    });
    whole.into_iter().chain(parts).collect()
}

/// In a cluster that an older program made, the roles of people are no aggregated ones, and its
/// administrators added rules to them. A part that is to be made has the rules of its old whole
/// then; what it lacks comes later (upstream: `primeAggregatedClusterRoles`).
pub fn keep_added_rules(objects: &mut [Value], stored: impl Fn(&str) -> Option<Arc<Object>>) {
    for name in ["admin", "edit", "view"] {
        let old = stored(name).filter(|role| !role.value["aggregationRule"].is_object());
        let Some(old) = old else { continue };
        let part = format!("system:aggregate-to-{name}");
        for object in objects.iter_mut().filter(|o| o["metadata"]["name"] == part.as_str()) {
            object["rules"] = old.value["rules"].clone();
        }
    }
}

const EVENTS: &[&str] = &["", "events.k8s.io"];

fn scheduler_rules() -> Vec<Value> {
    vec![
        rule(&["create", "patch", "update"], EVENTS, &["events"]),
        rule(&["create", "get", "list", "watch", "update", "patch"], &["coordination.k8s.io"], &["leases"]),
        // Not upstream's: a Lease that nobody can decode is deleted, and made again.
        named(&["delete"], "coordination.k8s.io", "leases", &["kube-scheduler"]),
        rule(
            READ,
            &[""],
            &[
                "nodes",
                "namespaces",
                "persistentvolumeclaims",
                "persistentvolumes",
                "replicationcontrollers",
                "services",
            ],
        ),
        rule(&["patch", "update"], &[""], &["persistentvolumeclaims", "persistentvolumes"]),
        rule(&["delete", "get", "list", "watch"], &[""], &["pods"]),
        rule(&["create"], &[""], &["bindings", "pods/binding"]),
        rule(&["get", "patch", "update"], &[""], &["pods/status"]),
        rule(READ, &["apps"], &["replicasets", "statefulsets"]),
        rule(READ, &["policy"], &["poddisruptionbudgets"]),
        rule(
            READ,
            &["storage.k8s.io"],
            &["csidrivers", "csinodes", "csistoragecapacities", "storageclasses"],
        ),
        rule(READ, &["scheduling.k8s.io"], &["priorityclasses"]),
        rule(&["create"], &["authentication.k8s.io"], &["tokenreviews"]),
        rule(&["create"], &["authorization.k8s.io"], &["subjectaccessreviews"]),
    ]
}

/// All controllers run under one identity here; upstream gives each a service account of its own.
fn controller_rules() -> Vec<Value> {
    vec![
        rule(READ, &["*"], &["*"]),
        rule(&["create", "patch", "update"], EVENTS, &["events"]),
        rule(
            WRITE,
            &[""],
            &[
                "configmaps",
                "endpoints",
                "persistentvolumeclaims",
                "persistentvolumes",
                "pods",
                "secrets",
                "serviceaccounts",
                "services",
            ],
        ),
        rule(&["create"], &[""], &["pods/eviction", "serviceaccounts/token", "pods/binding"]),
        rule(&["patch", "update", "delete"], &[""], &["namespaces", "nodes"]),
        rule(&["update"], &[""], &["namespaces/finalize"]),
        rule(&["patch", "update"], &["*"], &["*/status", "*/scale", "*/finalizers"]),
        // The garbage collector and the namespace controller delete and orphan whatever there is.
        rule(&["delete", "deletecollection", "patch", "update"], &["*"], &["*"]),
        rule(&["create"], &["apps"], &["controllerrevisions", "replicasets"]),
        // Aggregated roles have rules that their writer need not hold.
        rule(&["escalate"], &[RBAC], &["clusterroles"]),
        rule(&["create"], &["batch"], &["jobs"]),
        rule(&["update"], &["certificates.k8s.io"], &["certificatesigningrequests/approval"]),
        named(
            &["approve", "sign"],
            "certificates.k8s.io",
            "signers",
            &[
                "kubernetes.io/kube-apiserver-client",
                "kubernetes.io/kube-apiserver-client-kubelet",
                "kubernetes.io/kubelet-serving",
                "kubernetes.io/legacy-unknown",
            ],
        ),
        rule(&["create"], &["discovery.k8s.io"], &["endpointslices"]),
        rule(&["create"], &["coordination.k8s.io"], &["leases"]),
        rule(&["create"], &["authentication.k8s.io"], &["tokenreviews"]),
        rule(&["create"], &["authorization.k8s.io"], &["subjectaccessreviews"]),
        urls(&["/api", "/api/*", "/apis", "/apis/*"]),
    ]
}

fn cluster_roles() -> Vec<Value> {
    let node = vec![
        rule(&["create", "get", "list", "watch", "patch", "update"], &[""], &["nodes", "nodes/status"]),
        rule(&["get", "list", "watch", "create", "delete"], &[""], &["pods"]),
        rule(&["patch", "update"], &[""], &["pods/status"]),
        rule(
            READ,
            &[""],
            &["services", "configmaps", "secrets", "persistentvolumeclaims", "persistentvolumes"],
        ),
        rule(&["create", "patch", "update"], EVENTS, &["events"]),
        rule(&["create", "delete", "get", "patch", "update"], &["coordination.k8s.io"], &["leases"]),
    ];
    let mut roles = roles_of_people();
    roles.extend([
        cluster_role(
            "cluster-admin",
            vec![rule(&["*"], &["*"], &["*"]), json!({"verbs": ["*"], "nonResourceURLs": ["*"]})],
        ),
        cluster_role(
            "system:basic-user",
            vec![
                rule(
                    &["create"],
                    &["authorization.k8s.io"],
                    &["selfsubjectaccessreviews", "selfsubjectrulesreviews"],
                ),
                rule(&["create"], &["authentication.k8s.io"], &["selfsubjectreviews"]),
            ],
        ),
        cluster_role(
            "system:discovery",
            vec![urls(&[
                "/api",
                "/api/*",
                "/apis",
                "/apis/*",
                "/healthz",
                "/livez",
                "/openapi",
                "/openapi/*",
                "/readyz",
                "/version",
                "/version/",
            ])],
        ),
        cluster_role(
            "system:public-info-viewer",
            vec![urls(&["/healthz", "/livez", "/readyz", "/version", "/version/"])],
        ),
        cluster_role(
            "system:monitoring",
            vec![urls(&[
                "/healthz",
                "/healthz/*",
                "/livez",
                "/livez/*",
                "/metrics",
                "/metrics/slis",
                "/readyz",
                "/readyz/*",
            ])],
        ),
        cluster_role(
            "system:service-account-issuer-discovery",
            vec![urls(&[
                "/.well-known/openid-configuration",
                "/.well-known/openid-configuration/",
                "/openid/v1/jwks",
                "/openid/v1/jwks/",
            ])],
        ),
        cluster_role("system:node", node),
        cluster_role(
            "system:node-proxier",
            vec![
                rule(&["list", "watch"], &[""], &["endpoints", "services"]),
                rule(READ, &[""], &["nodes"]),
                rule(&["create", "patch", "update"], EVENTS, &["events"]),
                rule(&["list", "watch"], &["discovery.k8s.io"], &["endpointslices"]),
            ],
        ),
        cluster_role("system:kube-scheduler", scheduler_rules()),
        cluster_role("system:kube-controller-manager", controller_rules()),
        cluster_role("system:kube-dns", vec![rule(&["list", "watch"], &[""], &["endpoints", "services"])]),
        cluster_role(
            "system:coredns",
            vec![
                rule(&["list", "watch"], &[""], &["endpoints", "services", "pods", "namespaces"]),
                rule(&["list", "watch"], &["discovery.k8s.io"], &["endpointslices"]),
            ],
        ),
        cluster_role(
            "system:persistent-volume-provisioner",
            vec![
                rule(
                    &["create", "delete", "get", "list", "watch", "patch", "update"],
                    &[""],
                    &["persistentvolumes"],
                ),
                rule(&["get", "list", "watch", "update", "patch"], &[""], &["persistentvolumeclaims"]),
                rule(READ, &["storage.k8s.io"], &["storageclasses"]),
                rule(READ, &[""], &["nodes", "pods", "configmaps"]),
                rule(&["create", "patch", "update"], EVENTS, &["events"]),
                rule(&["create", "get", "update", "patch"], &["coordination.k8s.io"], &["leases"]),
                rule(READ, EVENTS, &["events"]),
            ],
        ),
        cluster_role(
            "system:auth-delegator",
            vec![
                rule(&["create"], &["authentication.k8s.io"], &["tokenreviews"]),
                rule(&["create"], &["authorization.k8s.io"], &["subjectaccessreviews"]),
            ],
        ),
        request_role("certificatesigningrequests:nodeclient", "nodeclient"),
        request_role("certificatesigningrequests:selfnodeclient", "selfnodeclient"),
        approver("kube-apiserver-client"),
        approver("kube-apiserver-client-kubelet"),
        approver("kubelet-serving"),
        approver("legacy-unknown"),
        cluster_role("system:volume-scheduler", vec![rule(READ, &["storage.k8s.io"], &["storageclasses"])]),
    ]);
    roles
}

/// For kubelets whose requests are approved by themselves.
fn request_role(name: &str, subresource: &str) -> Value {
    let resource = format!("certificatesigningrequests/{subresource}");
    let rules = vec![rule(&["create"], &["certificates.k8s.io"], &[&resource])];
    cluster_role(&format!("system:certificates.k8s.io:{name}"), rules)
}

/// For people who approve requests to one of the cluster's signers.
fn approver(signer: &str) -> Value {
    let name = format!("{signer}-approver");
    let signer = format!("kubernetes.io/{signer}");
    let rules = vec![named(&["approve"], "certificates.k8s.io", "signers", &[&signer])];
    cluster_role(&format!("system:certificates.k8s.io:{name}"), rules)
}

fn cluster_role_bindings() -> Vec<Value> {
    let everybody = "Group:system:authenticated";
    vec![
        binding("cluster-admin", "cluster-admin", &["Group:system:masters"]),
        binding("system:basic-user", "system:basic-user", &[everybody]),
        binding("system:discovery", "system:discovery", &[everybody]),
        binding(
            "system:public-info-viewer",
            "system:public-info-viewer",
            &[everybody, "Group:system:unauthenticated"],
        ),
        binding("system:monitoring", "system:monitoring", &["Group:system:monitoring"]),
        binding(
            "system:service-account-issuer-discovery",
            "system:service-account-issuer-discovery",
            &["Group:system:serviceaccounts"],
        ),
        binding("system:node", "system:node", &[]),
        binding(
            "system:node-proxier",
            "system:node-proxier",
            &["User:system:kube-proxy", "ServiceAccount:kube-system/kube-proxy"],
        ),
        binding("system:kube-scheduler", "system:kube-scheduler", &["User:system:kube-scheduler"]),
        binding("system:volume-scheduler", "system:volume-scheduler", &["User:system:kube-scheduler"]),
        binding(
            "system:kube-controller-manager",
            "system:kube-controller-manager",
            &["User:system:kube-controller-manager"],
        ),
        binding("system:kube-dns", "system:kube-dns", &["ServiceAccount:kube-system/kube-dns"]),
        binding(
            "system:coredns",
            "system:coredns",
            &["ServiceAccount:kube-system/coredns", "User:system:kube-dns"],
        ),
        binding(
            "ropewalk:storage-provisioner",
            "system:persistent-volume-provisioner",
            &["ServiceAccount:kube-system/storage-provisioner", "User:system:kube-storage-provisioner"],
        ),
    ]
}

/// Roles that hold in one namespace only.
fn roles() -> Vec<Value> {
    let read_auth = vec![named(READ, "", "configmaps", &["extension-apiserver-authentication"])];
    let leader = |names: &[&str]| {
        vec![rule(&["watch"], &[""], &["configmaps"]), named(&["get", "update"], "", "configmaps", names)]
    };
    vec![
        role("kube-system", "extension-apiserver-authentication-reader", read_auth),
        role_binding(
            "kube-system",
            "extension-apiserver-authentication-reader",
            &["User:system:kube-controller-manager", "User:system:kube-scheduler"],
        ),
        role("kube-system", "system::leader-locking-kube-scheduler", leader(&["kube-scheduler"])),
        role_binding("kube-system", "system::leader-locking-kube-scheduler", &["User:system:kube-scheduler"]),
        role("kube-public", "system:controller:bootstrap-signer", vec![rule(READ, &[""], &["configmaps"])]),
    ]
}

/// All of them.
pub fn objects() -> Vec<Value> {
    let mut all = cluster_roles();
    all.extend(cluster_role_bindings());
    all.extend(roles());
    all
}

/// The kind of an object of this program's own making.
pub fn kind_of(object: &Value) -> Option<&'static kinds::Kind> {
    let api_version = object.get("apiVersion")?.as_str()?;
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    kinds::find(group, version, object.get("kind")?.as_str()?)
}

#[cfg(test)]
mod tests {
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

    /// An operator with an account of its own leads by a Lease, and tells what it does in Events.
    #[test]
    fn who_may_edit_may_lead_and_tell() {
        let edit = edit_rules();
        for (group, resource, verb) in [
            ("coordination.k8s.io", "leases", "get"),
            ("coordination.k8s.io", "leases", "update"),
            ("events.k8s.io", "events", "create"),
        ] {
            let has = |rule: &Value, field: &str, word: &str| {
                rule[field].as_array().unwrap().iter().any(|w| w == word)
            };
            let may = |rule: &Value| {
                has(rule, "apiGroups", group) && has(rule, "resources", resource) && has(rule, "verbs", verb)
            };
            assert!(edit.iter().any(may), "{verb} {resource}.{group}");
        }
    }

    /// Otherwise the controller would write them anew at a cluster's first start.
    #[test]
    fn the_rules_of_the_aggregated_roles_are_those_of_the_roles_that_they_choose() {
        let mut all = cluster_roles();
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
}
