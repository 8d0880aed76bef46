//! The control plane's static pods, and the addons' objects: what kubeadm writes.

use super::addon_pods::{CONTAINERS, is_settled, make_all, refresh_addon_pods, yield_default};
use super::images::PREFIX;
use super::{API_PORT, PEER_PORT};
use crate::error::chain;
use crate::world::{SERVICE_CIDR, World};
use client::{Api, Client, Codec, kube};
use k8s_openapi::api::core::v1::Pod;
use kube::api::{DynamicObject, ListParams, Patch, PatchParams, PostParams};
use kube::core::{ApiResource, GroupVersionKind};
use net::addresses;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::sync::OnceLock;
use std::time::Duration;

/// Lists the pods that a control-plane node's kubelet runs without being asked through the API.
pub(crate) fn static_pods(world: &World, node: &str, index: u8) -> Vec<Pod> {
    let ip = addresses::node_ip(index);
    let dir = "/var/lib/ropewalk";
    let secure = format!("--kubeconfig={dir}/{{}}.conf");
    let of = |component: &str| secure.replace("{}", component);
    let members: Vec<String> = world
        .control_planes()
        .iter()
        .map(|m| format!("{}=https://{}:{PEER_PORT}", m.name, addresses::node_ip(m.index)))
        .collect();
    let external = world.spec.external_etcd.as_ref();
    let store = external.map_or("https://127.0.0.1:2379".to_string(), |etcd| etcd.endpoints.join(","));
    let pods = [
        (
            "etcd",
            "100m",
            vec![
                "etcd".to_string(),
                format!("--name={node}"),
                format!("--data-dir={dir}/etcd"),
                format!("--initial-cluster={}", members.join(",")),
            ],
        ),
        (
            "kube-apiserver",
            "250m",
            vec![
                "kube-apiserver".to_string(),
                format!("--advertise-address={ip}"),
                format!("--secure-port={API_PORT}"),
                "--authorization-mode=Node,RBAC".to_string(),
                format!("--etcd-servers={store}"),
                format!("--service-cluster-ip-range={SERVICE_CIDR}"),
                format!("--service-node-port-range={}-{}", world.spec.node_ports.0, world.spec.node_ports.1),
            ],
        ),
        (
            "kube-controller-manager",
            "200m",
            vec![
                "kube-controller-manager".to_string(),
                of("controller-manager"),
                "--leader-elect=true".to_string(),
                "--cluster-cidr=10.244.0.0/16".to_string(),
            ],
        ),
        (
            "kube-scheduler",
            "100m",
            vec!["kube-scheduler".to_string(), of("scheduler"), "--leader-elect=true".to_string()],
        ),
    ];
    pods.into_iter()
        .filter(|(component, ..)| *component != "etcd" || external.is_none())
        .filter_map(|(component, cpu, command)| static_pod(component, node, cpu, &command))
        .collect()
}

fn static_pod(component: &str, node: &str, cpu: &str, command: &[String]) -> Option<Pod> {
    let mut pod = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "name": format!("{component}-{node}"), "namespace": "kube-system",
            "labels": {"component": component, "tier": "control-plane"},
        },
        "spec": {
            "containers": [{
                "name": component, "image": image(component), "imagePullPolicy": "IfNotPresent", "command": command,
                "resources": {"requests": {"cpu": cpu}},
            }],
            "hostNetwork": true, "nodeName": node, "restartPolicy": "Always", "dnsPolicy": "ClusterFirst",
            "priorityClassName": "system-node-critical", "priority": 2_000_001_000,
            "enableServiceLinks": true, "terminationGracePeriodSeconds": 30,
            "tolerations": [{"operator": "Exists", "effect": "NoExecute"}],
        },
    });
    let hash: String = Sha256::digest(pod.to_string()).iter().take(16).map(|b| format!("{b:02x}")).collect();
    pod["metadata"]["uid"] = json!(hash);
    Pod::decode(&pod).ok()
}

fn image(component: &str) -> String {
    format!("{}{component}:{}", PREFIX, env!("CARGO_PKG_VERSION"))
}

const PROVISIONER: &str = "storage-provisioner";

/// Returns the words of kubeadm's Corefile that the name server honours. It is shown and not read.
fn corefile(domain: &str) -> String {
    format!(
        ".:53 {{
    health {{
       lameduck 1s
    }}
    ready
    kubernetes {domain} in-addr.arpa ip6.arpa {{
       pods insecure
       fallthrough in-addr.arpa ip6.arpa
       ttl 30
    }}
    forward . /etc/resolv.conf
    loadbalance
}}
"
    )
}

/// Returns the name server's Deployment.
fn coredns(labels: &Value, tolerations: &Value) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": "coredns", "namespace": "kube-system", "labels": labels},
        "spec": {
            "replicas": 2, "selector": {"matchLabels": labels},
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 1}},
            "template": {
                "metadata": {"labels": labels},
                "spec": {
                    "serviceAccountName": "coredns", "priorityClassName": "system-cluster-critical",
                    "dnsPolicy": "Default", "tolerations": tolerations, "automountServiceAccountToken": false,
                    "containers": [{
                        "name": "coredns", "image": image("coredns"), "imagePullPolicy": "IfNotPresent",
                        "args": ["-conf", "/etc/coredns/Corefile"],
                        "ports": [
                            {"name": "dns", "containerPort": 53, "protocol": "UDP"},
                            {"name": "dns-tcp", "containerPort": 53, "protocol": "TCP"},
                            {"name": "liveness-probe", "containerPort": addons::dns::HEALTH_PORT, "protocol": "TCP"},
                            {"name": "readiness-probe", "containerPort": addons::dns::READY_PORT, "protocol": "TCP"},
                        ],
                        "livenessProbe": {
                            "httpGet": {"path": "/health", "port": "liveness-probe", "scheme": "HTTP"},
                            "initialDelaySeconds": 60, "timeoutSeconds": 5, "successThreshold": 1, "failureThreshold": 5,
                        },
                        // kubeadm leaves the period at ten seconds; a start would wait for that.
                        "readinessProbe": {
                            "httpGet": {"path": "/ready", "port": "readiness-probe", "scheme": "HTTP"},
                            "periodSeconds": 1,
                        },
                        "resources": {"requests": {"cpu": "100m", "memory": "70Mi"}, "limits": {"memory": "170Mi"}},
                    }],
                },
            },
        },
    })
}

/// Lists everything that is made through the API once it answers. Of what exists two things are
/// changed: the tag of a component's image becomes this program's version ([`newer_image`]), and a
/// role gets back the rules that its component needs ([`missing_rules`]). All else that a learner
/// edited stays, and so does an image of another name.
fn addons(world: &World) -> Vec<Value> {
    let labels = json!({"k8s-app": "kube-dns"});
    let critical = json!([
        {"key": "CriticalAddonsOnly", "operator": "Exists"},
        {"key": "node-role.kubernetes.io/control-plane", "effect": "NoSchedule"},
    ]);
    let mut all = accounts();
    all.extend([
        json!({
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "coredns", "namespace": "kube-system"},
            "data": {"Corefile": corefile(&world.domain)},
        }),
        dns_service(world, &labels),
        coredns(&labels, &critical),
        kube_proxy(),
        json!({
            "apiVersion": "storage.k8s.io/v1", "kind": "StorageClass",
            "metadata": {"name": "standard", "annotations": {"storageclass.kubernetes.io/is-default-class": "true"}},
            "provisioner": addons::storage::PROVISIONER,
            "reclaimPolicy": "Delete", "volumeBindingMode": "WaitForFirstConsumer",
        }),
        provisioner(&critical),
    ]);
    all
}

/// Lists the accounts of the addons, and what each may do.
fn accounts() -> Vec<Value> {
    let account = |name: &str| json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name, "namespace": "kube-system"}});
    let binding = |name: &str, role: &str, account: &str| {
        json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": {"name": name},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
            "subjects": [{"kind": "ServiceAccount", "name": account, "namespace": "kube-system"}],
        })
    };
    let rules = |name: &str, rules: Value| json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": name}, "rules": rules});
    vec![
        account("coredns"),
        account("kube-proxy"),
        account("storage-provisioner"),
        rules(
            "system:coredns",
            json!([
                {"apiGroups": [""], "resources": ["endpoints", "services", "pods", "namespaces"], "verbs": ["list", "watch"]},
                {"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": ["list", "watch"]},
            ]),
        ),
        binding("system:coredns", "system:coredns", "coredns"),
        rules(
            "system:storage-provisioner",
            json!([
                {"apiGroups": [""], "resources": ["persistentvolumes"], "verbs": ["get", "list", "watch", "create", "delete", "patch"]},
                {"apiGroups": [""], "resources": ["persistentvolumeclaims"], "verbs": ["get", "list", "watch", "update"]},
                {"apiGroups": ["storage.k8s.io"], "resources": ["storageclasses"], "verbs": ["get", "list", "watch"]},
                {"apiGroups": [""], "resources": ["events"], "verbs": ["create", "patch", "update"]},
            ]),
        ),
        binding("system:storage-provisioner", "system:storage-provisioner", "storage-provisioner"),
    ]
}

/// Returns the Service of the cluster's DNS, which selects its pods by these labels.
fn dns_service(world: &World, labels: &Value) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {
            "name": "kube-dns", "namespace": "kube-system",
            "labels": {"k8s-app": "kube-dns", "kubernetes.io/cluster-service": "true", "kubernetes.io/name": "CoreDNS"},
        },
        "spec": {
            "clusterIP": world.dns_ip(), "selector": labels,
            "ports": [
                {"name": "dns", "port": 53, "protocol": "UDP", "targetPort": 53},
                {"name": "dns-tcp", "port": 53, "protocol": "TCP", "targetPort": 53},
            ],
        },
    })
}

/// Returns the DaemonSet of kube-proxy.
fn kube_proxy() -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "DaemonSet",
        "metadata": {"name": "kube-proxy", "namespace": "kube-system", "labels": {"k8s-app": "kube-proxy"}},
        "spec": {
            "selector": {"matchLabels": {"k8s-app": "kube-proxy"}},
            "template": {
                "metadata": {"labels": {"k8s-app": "kube-proxy"}},
                "spec": {
                    "serviceAccountName": "kube-proxy", "priorityClassName": "system-node-critical",
                    "hostNetwork": true, "tolerations": [{"operator": "Exists"}], "automountServiceAccountToken": false,
                    "containers": [{
                        "name": "kube-proxy", "image": image("kube-proxy"), "imagePullPolicy": "IfNotPresent",
                        "command": ["kube-proxy", "--proxy-mode=nftables"],
                    }],
                },
            },
        },
    })
}

/// Returns the Deployment that makes volumes of the class `standard`.
fn provisioner(tolerations: &Value) -> Value {
    let labels = json!({"app": PROVISIONER});
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": PROVISIONER, "namespace": "kube-system", "labels": labels},
        "spec": {
            // A node runs one provisioner at a time.
            "replicas": 1, "selector": {"matchLabels": labels}, "strategy": {"type": "Recreate"},
            "template": {
                "metadata": {"labels": labels},
                "spec": {
                    "serviceAccountName": PROVISIONER, "tolerations": tolerations,
                    "nodeSelector": {"node-role.kubernetes.io/control-plane": ""}, "automountServiceAccountToken": false,
                    "containers": [{
                        "name": PROVISIONER, "image": image(PROVISIONER),
                        "imagePullPolicy": "IfNotPresent", "command": ["/storage-provisioner"],
                    }],
                },
            },
        },
    })
}

/// Makes what is missing, brings the components' images to this program's version, and notes which
/// pods the addons have. `answered`: when the first object was in their namespace.
///
/// # Errors
/// What could not be made: all else was.
pub(crate) async fn apply(
    world: &World,
    client: &Client,
    answered: &OnceLock<clock::Instant>,
) -> Result<(), String> {
    let make = |object: Value| async move { apply_one(client, &object).await };
    let (made, mut failed) = make_all(addons(world), make).await;
    failed.extend(remove_bare_provisioner(client).await.err());
    let tried =
        if made.objects > 0 { answered.get_or_init(clock::Instant::now).elapsed() } else { Duration::ZERO };
    if is_settled(failed.len(), made.objects, tried) {
        world.addons.send_replace(Some(made));
    }
    failed.dedup(); // while the API does not answer, each has the same reason
    if failed.is_empty() { Ok(()) } else { Err(failed.join("; ")) }
}

/// Deletes the provisioner as programs made it that had no Deployment for it: beside that pod the
/// Deployment's could not start.
async fn remove_bare_provisioner(client: &Client) -> Result<(), String> {
    let pods: Api<Pod> = client.within("kube-system");
    let found = client::optional(pods.get(PROVISIONER).await).map_err(|e| chain(&e))?;
    let is_own = |pod: &Pod| {
        let images = pod.spec.iter().flat_map(|s| &s.containers).filter_map(|c| c.image.as_deref());
        images.into_iter().any(|image| image.starts_with(PREFIX))
    };
    if found.is_some_and(|pod| is_own(&pod)) {
        let deleted = pods.delete(PROVISIONER, &kube::api::DeleteParams::default()).await;
        client::optional(deleted).map_err(|e| format!("cannot delete Pod {PROVISIONER}: {}", chain(&e)))?;
    }
    Ok(())
}

/// Reads the addons' workloads every second until the start `is_complete`: it waits for their pods,
/// and a learner may scale an addon or delete it before they run. A start that takes less than a
/// second sends no request for that.
pub(crate) async fn follow_addons(world: &World, client: &Client, is_complete: impl Fn() -> bool) {
    const LOOK_EVERY: Duration = Duration::from_secs(1);
    let mut workloads = addons(world);
    workloads.retain(|object| CONTAINERS.iter().any(|path| object.pointer(path).is_some()));
    loop {
        clock::pause(LOOK_EVERY).await;
        if is_complete() {
            return;
        }
        let look = |object: Value| async move {
            find(client, &object).await.map(|(_, there)| there.unwrap_or_default())
        };
        refresh_addon_pods(&world.addons, workloads.clone(), look).await;
    }
}

/// Returns the API of an object's kind, and the object as it is there now, if it is.
async fn find(client: &Client, object: &Value) -> Result<(Api<DynamicObject>, Option<Value>), String> {
    let text = |path: &str| object.pointer(path).and_then(Value::as_str).unwrap_or_default().to_string();
    let (kind, namespace, api_version) = (text("/kind"), text("/metadata/namespace"), text("/apiVersion"));
    let (group, of_group) = api_version.split_once('/').unwrap_or(("", &api_version));
    let plural = match kind.as_str() {
        "StorageClass" => "storageclasses".to_string(),
        other => format!("{}s", other.to_lowercase()),
    };
    let resource = ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, of_group, &kind), &plural);
    let api: Api<DynamicObject> = match namespace.is_empty() {
        true => Api::all_with(client.kube(), &resource),
        false => Api::namespaced_with(client.kube(), &namespace, &resource),
    };
    let there = client::optional(api.get(&text("/metadata/name")).await).map_err(|e| chain(&e))?;
    let there = there.map(|there| there.encode().map_err(|e| e.to_string())).transpose()?;
    Ok((api, there))
}

/// Returns the object as it is there now.
async fn apply_one(client: &Client, object: &Value) -> Result<Value, String> {
    let text = |path: &str| object.pointer(path).and_then(Value::as_str).unwrap_or_default().to_string();
    let (kind, name) = (text("/kind"), text("/metadata/name"));
    let (api, there) = find(client, object).await?;
    let Some(there) = there else {
        let mut object = object.clone();
        if kind == "StorageClass" {
            let others = api.list(&ListParams::default()).await.map_err(|e| chain(&e))?.items;
            yield_default(&mut object, others.iter().filter_map(|class| class.metadata.annotations.as_ref()));
        }
        let wanted: DynamicObject = DynamicObject::decode(&object).map_err(|e| e.to_string())?;
        match api.create(&PostParams::default(), &wanted).await {
            Ok(_) => return Ok(object),
            Err(error) if client::is_code(&error, 409) => return Ok(object), // made meanwhile
            Err(error) => return Err(format!("cannot make {kind} {name}: {}", chain(&error))),
        }
    };
    let patch = newer_image(object, &there).map(Patch::Strategic);
    let Some(patch) = patch.or_else(|| missing_rules(object, &there).map(Patch::Merge)) else {
        return Ok(there);
    };
    let patched = api.patch(&name, &PatchParams::default(), &patch).await;
    patched.map_err(|e| format!("cannot bring {kind} {name} to {}: {}", api::VERSION, chain(&e)))?;
    Ok(there)
}

/// Returns the patch that brings a component's container to this program's version, if it has
/// another one: a program runs its own components only. An image of another name, which a learner
/// chose, stays.
fn newer_image(wanted: &Value, there: &Value) -> Option<Value> {
    let path = CONTAINERS.into_iter().find(|path| wanted.pointer(path).is_some())?;
    let own = wanted.pointer(path)?.as_array()?.first()?;
    let (name, image) = (own["name"].as_str()?, own["image"].as_str()?);
    let found = there.pointer(path)?.as_array()?.iter().find(|c| c["name"] == name)?;
    let old = found["image"].as_str()?;
    let component = |image: &str| image.split_once(':').map_or(image, |(name, _)| name).to_string();
    if old == image || component(old) != component(image) {
        return None;
    }
    let container = json!({"containers": [{"name": name, "image": image}]});
    Some(match path.starts_with("/spec/template") {
        true => json!({"spec": {"template": {"spec": container}}}),
        false => json!({"spec": container}),
    })
}

/// Returns the patch that gives a role of a component the rules that this program's components
/// need, if it lacks some: it was made by an earlier program. Rules that a learner added stay.
fn missing_rules(wanted: &Value, there: &Value) -> Option<Value> {
    let mut rules = there["rules"].as_array().cloned().unwrap_or_default();
    let missing = wanted["rules"].as_array()?.iter().filter(|rule| !rules.contains(rule));
    let missing: Vec<Value> = missing.cloned().collect();
    (!missing.is_empty()).then(|| {
        rules.extend(missing);
        json!({"rules": rules})
    })
}

#[cfg(test)]
mod tests;
