//! Roles and bindings of the cluster's components, of nodes, and of single users.

use super::parts::{EVENTS, RBAC, READ, WRITE, cluster_role, meta, named, rule, urls};
use serde_json::{Value, json};

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

fn role_binding(namespace: &str, name: &str, role: &str, subjects: &[&str]) -> Value {
    let mut metadata = meta(name);
    metadata["namespace"] = namespace.into();
    let subjects: Vec<Value> = subjects.iter().filter_map(|s| subject(s)).collect();
    json!({"kind": "RoleBinding", "apiVersion": format!("{RBAC}/v1"), "metadata": metadata, "subjects": subjects,
        "roleRef": {"apiGroup": RBAC, "kind": "Role", "name": role}})
}

fn scheduler_rules() -> Vec<Value> {
    vec![
        rule(&["create", "patch", "update"], EVENTS, &["events"]),
        rule(&["create", "get", "list", "watch", "update", "patch"], &["coordination.k8s.io"], &["leases"]),
        // Not upstream's: a Lease that cannot be decoded is deleted, and made again.
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

/// Returns the rules of the controllers, which run under one identity here; upstream gives each a
/// service account of its own.
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

/// Rules of kubelets. They reach the API by the node authorizer; this role is for those that an
/// administrator binds it to.
fn node_rules() -> Vec<Value> {
    vec![
        rule(&["create"], &["authentication.k8s.io"], &["tokenreviews"]),
        rule(&["create"], &["authorization.k8s.io"], &["localsubjectaccessreviews", "subjectaccessreviews"]),
        rule(&["create", "get", "list", "watch", "patch", "update"], &[""], &["nodes"]),
        rule(&["patch", "update"], &[""], &["nodes/status", "pods/status"]),
        rule(&["create", "patch", "update"], EVENTS, &["events"]),
        rule(&["get", "list", "watch", "create", "delete"], &[""], &["pods"]),
        rule(&["create"], &[""], &["pods/eviction", "serviceaccounts/token"]),
        rule(READ, &[""], &["services", "configmaps", "secrets"]),
        rule(
            &["get"],
            &[""],
            &["endpoints", "persistentvolumeclaims", "persistentvolumes", "serviceaccounts"],
        ),
        rule(&["get", "patch", "update"], &[""], &["persistentvolumeclaims/status"]),
        certificate_requests(),
        rule(&["create", "delete", "get", "patch", "update"], &["coordination.k8s.io"], &["leases"]),
    ]
}

/// Returns the rules by which a node asks for its client certificate, and waits for it.
fn certificate_requests() -> Value {
    rule(&["create", "get", "list", "watch"], &["certificates.k8s.io"], &["certificatesigningrequests"])
}

/// Paths that are no resources, by the role that may get them.
#[rustfmt::skip]
const PAGES: &[(&str, &[&str])] = &[
    ("system:discovery", &[
        "/api", "/api/*", "/apis", "/apis/*", "/healthz", "/livez", "/openapi", "/openapi/*", "/readyz",
        "/version", "/version/",
    ]),
    ("system:public-info-viewer", &["/healthz", "/livez", "/readyz", "/version", "/version/"]),
    ("system:service-account-issuer-discovery", &[
        "/.well-known/openid-configuration", "/.well-known/openid-configuration/", "/openid/v1/jwks",
        "/openid/v1/jwks/",
    ]),
];

/// Roles of users and of programs that run beside the cluster's components.
fn roles_of_users() -> Vec<Value> {
    let everything = rule(&["*"], &["*"], &["*"]);
    let delegated = ["subjectaccessreviews"];
    let own = ["selfsubjectaccessreviews", "selfsubjectrulesreviews"];
    let health =
        ["/healthz", "/healthz/*", "/livez", "/livez/*", "/metrics", "/metrics/slis", "/readyz", "/readyz/*"];
    let mut roles = vec![
        cluster_role("cluster-admin", vec![everything, json!({"verbs": ["*"], "nonResourceURLs": ["*"]})]),
        cluster_role(
            "system:basic-user",
            vec![
                rule(&["create"], &["authorization.k8s.io"], &own),
                rule(&["create"], &["authentication.k8s.io"], &["selfsubjectreviews"]),
            ],
        ),
        cluster_role("system:monitoring", vec![urls(&health), rule(&["get"], &[""], &["nodes/metrics"])]),
        cluster_role(
            "system:auth-delegator",
            vec![
                rule(&["create"], &["authentication.k8s.io"], &["tokenreviews"]),
                rule(&["create"], &["authorization.k8s.io"], &delegated),
            ],
        ),
        cluster_role(
            "system:heapster",
            vec![
                rule(READ, &[""], &["events", "namespaces", "nodes", "pods"]),
                rule(READ, &["extensions"], &["deployments"]),
            ],
        ),
        cluster_role("system:kube-aggregator", vec![rule(READ, &[""], &["endpoints", "services"])]),
    ];
    roles.extend(PAGES.iter().map(|(name, pages)| cluster_role(name, vec![urls(pages)])));
    roles
}

/// Roles of nodes, and of what runs on them.
fn roles_of_nodes() -> Vec<Value> {
    let events = || rule(&["create", "patch", "update"], EVENTS, &["events"]);
    let of_kubelet = ["nodes/configz", "nodes/healthz", "nodes/log", "nodes/metrics", "nodes/pods"];
    let of_kubelet = [&of_kubelet[..], &["nodes/proxy", "nodes/stats"]].concat();
    vec![
        cluster_role("system:node", node_rules()),
        cluster_role("system:node-bootstrapper", vec![certificate_requests()]),
        cluster_role(
            "system:node-problem-detector",
            vec![rule(&["get"], &[""], &["nodes"]), rule(&["patch"], &[""], &["nodes/status"]), events()],
        ),
        cluster_role(
            "system:kubelet-api-admin",
            vec![
                rule(READ, &[""], &["nodes"]),
                rule(&["proxy"], &[""], &["nodes"]),
                rule(&["*"], &[""], &of_kubelet),
            ],
        ),
        cluster_role(
            "system:node-proxier",
            vec![
                rule(&["list", "watch"], &[""], &["endpoints", "services"]),
                rule(READ, &[""], &["nodes"]),
                events(),
                rule(&["list", "watch"], &["discovery.k8s.io"], &["endpointslices"]),
            ],
        ),
    ]
}

/// Roles of the cluster's components.
fn roles_of_components() -> Vec<Value> {
    let read_update = ["get", "list", "patch", "update", "watch"];
    let volumes = ["persistentvolumeclaims", "persistentvolumes"];
    vec![
        cluster_role("system:kube-scheduler", scheduler_rules()),
        cluster_role(
            "system:volume-scheduler",
            vec![rule(&read_update, &[""], &volumes), rule(READ, &["storage.k8s.io"], &["storageclasses"])],
        ),
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
        request_role("certificatesigningrequests:nodeclient", "nodeclient"),
        request_role("certificatesigningrequests:selfnodeclient", "selfnodeclient"),
        approver("kube-apiserver-client"),
        approver("kube-apiserver-client-kubelet"),
        approver("kubelet-serving"),
        approver("legacy-unknown"),
    ]
}

/// Returns the role of kubelets whose certificate requests a controller approves.
fn request_role(name: &str, subresource: &str) -> Value {
    let resource = format!("certificatesigningrequests/{subresource}");
    let rules = vec![rule(&["create"], &["certificates.k8s.io"], &[&resource])];
    cluster_role(&format!("system:certificates.k8s.io:{name}"), rules)
}

/// Returns the role of people who approve requests to one of the cluster's signers.
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

/// Roles that hold in one namespace only, and their bindings. Roles of controllers that this
/// program does not have (the signer and the cleaner of bootstrap tokens, cloud providers) have no
/// binding.
fn roles() -> Vec<Value> {
    let events = || rule(&["create", "patch", "update"], EVENTS, &["events"]);
    let read_auth = vec![named(READ, "", "configmaps", &["extension-apiserver-authentication"])];
    let verbs = ["create", "get", "list", "update", "watch"];
    let leader = || vec![rule(&verbs, &["coordination.k8s.io"], &["leases"])];
    let (of_auth, signer) =
        ("extension-apiserver-authentication-reader", "system:controller:bootstrap-signer");
    let (scheduler, manager) =
        ("system::leader-locking-kube-scheduler", "system::leader-locking-kube-controller-manager");
    let cleaner = vec![rule(&["delete", "get", "list", "watch"], &[""], &["secrets"]), events()];
    let cloud = vec![rule(&["create", "get", "list", "watch"], &[""], &["configmaps"])];
    let info = vec![
        rule(READ, &[""], &["configmaps"]),
        named(&["update"], "", "configmaps", &["cluster-info"]),
        events(),
    ];
    vec![
        role("kube-system", of_auth, read_auth),
        role_binding(
            "kube-system",
            &format!("system::{of_auth}"),
            of_auth,
            &["User:system:kube-controller-manager", "User:system:kube-scheduler"],
        ),
        role("kube-system", scheduler, leader()),
        role_binding(
            "kube-system",
            scheduler,
            scheduler,
            &["User:system:kube-scheduler", "ServiceAccount:kube-system/kube-scheduler"],
        ),
        role("kube-system", manager, leader()),
        role_binding(
            "kube-system",
            manager,
            manager,
            &[
                "User:system:kube-controller-manager",
                "ServiceAccount:kube-system/kube-controller-manager",
                "ServiceAccount:kube-system/leader-election-controller",
            ],
        ),
        role("kube-system", signer, vec![rule(READ, &[""], &["secrets"])]),
        role("kube-system", "system:controller:cloud-provider", cloud),
        role("kube-system", "system:controller:token-cleaner", cleaner),
        role("kube-public", signer, info),
    ]
}

/// Returns the roles and bindings of this file.
pub(super) fn objects() -> Vec<Value> {
    let mut all = [roles_of_users(), roles_of_nodes(), roles_of_components()].concat();
    all.extend(cluster_role_bindings());
    all.extend(roles());
    all
}
