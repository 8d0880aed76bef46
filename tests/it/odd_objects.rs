//! Odd objects for a running cluster: whatever the API accepts, and whatever is put into the store
//! beside it, no component stops.
//!
//! Each seed is a history: objects of every kind, bent ones among them, are created, changed and
//! deleted through the API, values that nobody can decode are put into the store, and components
//! are killed on the way. Afterwards a new Deployment becomes Ready, `undo` works, every list can
//! be read, and no component ended but those that were killed. `ROPEWALK_FUZZ_SECONDS=3600` makes a
//! long run, `ROPEWALK_SEED_FROM` begins elsewhere.

use super::support::{Cluster, Home, PATIENCE, TIMEOUT, World, built_in, capable, eventually, turn, turn_of};
use rng::Rng;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

/// How long an ordinary `cargo test` bends.
const USUAL: Duration = Duration::from_secs(20);
/// Requests of one seed.
const HISTORY: usize = 120;
const NAMESPACES: u64 = 3;
/// Killed on the way, one a seed.
const KILLED: &[&str] = &[
    "kube-scheduler",
    "kube-controller-manager",
    "kube-apiserver",
    "kubelet/ropewalk-worker",
    "kube-proxy/ropewalk-worker",
];
/// A component that is killed again sooner waits longer before it comes back, as any container, and
/// the odd objects would meet nobody.
const KILLED_AGAIN: Duration = Duration::from_secs(660);
/// Fields that are left as they are: paths of this machine, images that would be run, and what
/// keeps pods from being let in at all.
const SPARED: &[&str] = &[
    "kind",
    "apiVersion",
    "image",
    "mountPath",
    "path",
    "workingDir",
    "subPath",
    "hostPath",
    "command",
    "namespace",
];
/// Kinds whose odd objects may refuse or mislead honest ones: there an odd cluster is what was
/// asked for.
const LEFT_OUT: &[&str] = &[
    "mutatingwebhookconfigurations",
    "validatingwebhookconfigurations",
    "validatingadmissionpolicies",
    "validatingadmissionpolicybindings",
    "mutatingadmissionpolicies",
    "mutatingadmissionpolicybindings",
    "apiservices",
    "nodes",
    "leases",
];

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// Speaks HTTP with the API through a `kubectl proxy`.
struct Api {
    proxy: Child,
    port: u16,
}

impl Drop for Api {
    fn drop(&mut self) {
        let _ = self.proxy.kill(); // it may have ended by itself
        let _ = self.proxy.wait();
    }
}

impl Api {
    fn open(cluster: &Cluster) -> Api {
        let with = built_in();
        let mut command = cluster.home.command(&with.program);
        command.args(&with.leading).args(["proxy", "--port=0"]).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut proxy = command.spawn().expect("a proxy");
        let mut line = String::new();
        BufReader::new(proxy.stdout.take().expect("its output")).read_line(&mut line).expect("its address");
        let port = line.trim().rsplit(':').next().and_then(|p| p.parse().ok());
        Api { proxy, port: port.unwrap_or_else(|| panic!("an address in {line:?}")) }
    }

    /// The code and the body; `None` if nobody answered, as while an API server is dead.
    fn ask(&self, method: &str, path: &str, kind: &str, body: &str) -> Option<(u16, String)> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).ok()?;
        stream.set_read_timeout(Some(Duration::from_secs(60))).ok()?;
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body.as_bytes())).ok()?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).ok()?;
        let answer = String::from_utf8_lossy(&answer).into_owned();
        let code = answer.split(' ').nth(1)?.parse().ok()?;
        let body = answer.split_once("\r\n\r\n")?.1.to_string();
        Some((code, body))
    }

    fn get(&self, path: &str) -> Value {
        let answer = eventually(
            PATIENCE,
            || self.ask("GET", path, "", ""),
            |a| a.as_ref().is_some_and(|(code, _)| *code == 200),
        );
        let body = answer.expect("an answer").1;
        let json = body.find('{').and_then(|at| body.rfind('}').map(|end| &body[at..=end]));
        serde_json::from_str(json.unwrap_or_default()).unwrap_or_default()
    }
}

/// A resource that objects are made of.
#[derive(Clone, Debug)]
struct Kind {
    /// `/api/v1` or `/apis/GROUP/VERSION`.
    root: String,
    group_version: String,
    kind: String,
    plural: String,
    namespaced: bool,
    has_status: bool,
}

fn kinds(api: &Api) -> Vec<Kind> {
    let mut roots = vec!["/api/v1".to_string()];
    for group in api.get("/apis")["groups"].as_array().into_iter().flatten() {
        let version = group["preferredVersion"]["groupVersion"].as_str().unwrap_or_default();
        roots.push(format!("/apis/{version}"));
    }
    let mut all = Vec::new();
    for root in roots {
        let list = api.get(&root);
        let resources = list["resources"].as_array().cloned().unwrap_or_default();
        for resource in &resources {
            let plural = resource["name"].as_str().unwrap_or_default().to_string();
            let verbs = resource["verbs"].as_array().cloned().unwrap_or_default();
            let can = |verb: &str| verbs.iter().any(|v| v == verb);
            if plural.contains('/') || !can("create") || !can("list") || LEFT_OUT.contains(&plural.as_str()) {
                continue;
            }
            let status = format!("{plural}/status");
            all.push(Kind {
                root: root.clone(),
                group_version: list["groupVersion"].as_str().unwrap_or("v1").to_string(),
                kind: resource["kind"].as_str().unwrap_or_default().to_string(),
                namespaced: resource["namespaced"] == true,
                has_status: resources.iter().any(|r| r["name"] == status.as_str()),
                plural,
            });
        }
    }
    all
}

impl Kind {
    fn path(&self, namespace: &str, name: &str) -> String {
        let base = match self.namespaced {
            true => format!("{}/namespaces/{namespace}/{}", self.root, self.plural),
            false => format!("{}/{}", self.root, self.plural),
        };
        if name.is_empty() { base } else { format!("{base}/{name}") }
    }

    /// Where its objects rest in the store.
    fn key(&self, namespace: &str, name: &str) -> String {
        let place = match self.group_version.split_once('/') {
            Some((group, _)) if group.contains("example.com") => format!("{group}/{}", self.plural),
            _ => self.plural.clone(),
        };
        if self.namespaced {
            format!("/registry/{place}/{namespace}/{name}")
        } else {
            format!("/registry/{place}/{name}")
        }
    }
}

/// A sensible object of a kind, to be bent.
fn sensible(kind: &Kind, namespace: &str, name: &str) -> Value {
    let labels = json!({"app": "odd"});
    let pod = json!({
        "containers": [{"name": "c", "image": "nginx", "ports": [{"containerPort": 80, "name": "http"}],
            "env": [{"name": "A", "value": "b"}], "resources": {"requests": {"cpu": "1m", "memory": "1Mi"}},
            "readinessProbe": {"tcpSocket": {"port": 80}, "periodSeconds": 1}}],
        "terminationGracePeriodSeconds": 1, "tolerations": [{"key": "k", "operator": "Exists"}],
        "nodeSelector": {"kubernetes.io/os": "linux"}, "securityContext": {"runAsUser": 1000},
    });
    let template = json!({"metadata": {"labels": labels}, "spec": pod});
    let mut once = template.clone();
    once["spec"]["restartPolicy"] = json!("Never");
    let selector = json!({"matchLabels": labels});
    let mut body = match kind.plural.as_str() {
        "pods" => json!({"spec": pod}),
        "podtemplates" => json!({"template": template}),
        "replicationcontrollers" => {
            json!({"spec": {"replicas": 1, "selector": labels, "template": template}})
        }
        "deployments" | "replicasets" => {
            json!({"spec": {"replicas": 1, "selector": selector, "template": template}})
        }
        "daemonsets" => json!({"spec": {"selector": selector, "template": template}}),
        "statefulsets" => {
            json!({"spec": {"replicas": 1, "serviceName": "x", "selector": selector, "template": template}})
        }
        "jobs" => {
            json!({"spec": {"completions": 2, "parallelism": 1, "completionMode": "Indexed", "backoffLimit": 1, "template": once}})
        }
        "cronjobs" => json!({"spec": {"schedule": "* * * * *", "jobTemplate": {"spec": {"template": once}}}}),
        "services" => {
            json!({"spec": {"selector": labels, "externalIPs": ["10.96.0.1"], "sessionAffinity": "ClientIP",
            "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 5}}, "ports": [{"port": 443, "targetPort": 80}]}})
        }
        "endpoints" => json!({"subsets": [{"addresses": [{"ip": "10.1.2.3"}], "ports": [{"port": 80}]}]}),
        "endpointslices" => {
            json!({"addressType": "IPv4", "endpoints": [{"addresses": ["10.1.2.3"], "conditions": {"ready": true}}],
            "ports": [{"port": 80, "name": "http"}]})
        }
        "persistentvolumes" => {
            json!({"spec": {"capacity": {"storage": "1Mi"}, "accessModes": ["ReadWriteOnce"],
            "storageClassName": "odd", "nfs": {"server": "x", "path": "/x"}}})
        }
        "persistentvolumeclaims" => {
            json!({"spec": {"accessModes": ["ReadWriteOnce"], "storageClassName": "odd",
            "resources": {"requests": {"storage": "1Mi"}}}})
        }
        "storageclasses" => {
            json!({"provisioner": "example.com/none", "volumeBindingMode": "WaitForFirstConsumer"})
        }
        "resourcequotas" => json!({"spec": {"hard": {"pods": "50", "count/secrets": "100"}}}),
        "limitranges" => json!({"spec": {"limits": [{"type": "Container", "default": {"cpu": "10m"}}]}}),
        "horizontalpodautoscalers" => json!({"spec": {"minReplicas": 1, "maxReplicas": 2,
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": name},
            "metrics": [{"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 50}}}]}}),
        "poddisruptionbudgets" => {
            json!({"spec": {"minAvailable": 1, "selector": {"matchLabels": {"app": "odd"}}}})
        }
        "networkpolicies" => {
            json!({"spec": {"podSelector": {"matchLabels": {"app": "odd"}}, "policyTypes": ["Ingress"]}})
        }
        "ingresses" => {
            json!({"spec": {"rules": [{"host": "x.example.com", "http": {"paths": [{"path": "/", "pathType": "Prefix",
            "backend": {"service": {"name": "x", "port": {"number": 80}}}}]}}]}})
        }
        "roles" | "clusterroles" => {
            json!({"rules": [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}]})
        }
        "rolebindings" | "clusterrolebindings" => {
            json!({"subjects": [{"kind": "User", "name": "odd", "apiGroup": "rbac.authorization.k8s.io"}],
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "odd"}})
        }
        "customresourcedefinitions" => {
            let plural = name.replace('-', "");
            return json!({"apiVersion": kind.group_version, "kind": kind.kind,
                "metadata": {"name": format!("{plural}.odd.example.com")},
                "spec": {"group": "odd.example.com", "scope": "Namespaced",
                    "names": {"plural": plural, "kind": format!("K{plural}")},
                    "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema":
                        {"type": "object", "x-kubernetes-preserve-unknown-fields": true}}}]}});
        }
        "certificatesigningrequests" => {
            json!({"spec": {"request": "AAAA", "signerName": "example.com/odd", "usages": ["client auth"]}})
        }
        "priorityclasses" => json!({"value": -7}),
        "configmaps" => json!({"data": {"a": "b"}, "binaryData": {"c": "AAAA"}}),
        "secrets" => json!({"type": "kubernetes.io/service-account-token", "stringData": {"a": "b"}}),
        "controllerrevisions" => json!({"revision": 1, "data": {"a": 1}}),
        "events" => {
            json!({"involvedObject": {"kind": "Pod", "name": name, "namespace": namespace}, "reason": "Odd", "message": "m",
            "metadata": {}, "type": "Normal", "reportingController": "example.com/odd", "reportingInstance": "x", "action": "a",
            "eventTime": "2026-01-01T00:00:00.000000Z"})
        }
        _ => json!({"spec": {}}),
    };
    body["apiVersion"] = json!(kind.group_version);
    body["kind"] = json!(kind.kind);
    body["metadata"] = json!({"name": name, "labels": labels, "annotations": {"a": "b"}});
    if kind.namespaced {
        body["metadata"]["namespace"] = json!(namespace);
    }
    body
}

/// A value that the author of a component may not have thought of.
fn odd(rng: &Rng) -> Value {
    let numbers = [
        json!(0),
        json!(-1),
        json!(1),
        json!(65_535),
        json!(65_536),
        json!(i32::MAX),
        json!(i32::MIN),
        json!(i64::MAX),
        json!(i64::MIN),
        json!(1.5),
        json!(1e300),
        json!(u64::MAX),
    ];
    let texts = [
        "",
        " ",
        "-",
        "a",
        "*",
        "0",
        "-1",
        "null",
        "true",
        "…",
        "한글",
        "\u{0}",
        "\u{202e}gnp",
        "a\nb\r\tc",
        "../../..",
        "%s%n",
        "{{.}}",
        "$(A)",
        "1e99",
        "9223372036854775807",
        "999999999999Gi",
        "-5m",
        "0.0000000001",
        "100%",
        "-1%",
        "101%",
        "0001-01-01T00:00:00Z",
        "9999-12-31T23:59:59Z",
        "-009999-01-01T00:00:00Z",
        "2026-02-30T00:00:00Z",
        "1970-01-01T00:00:00.000000001Z",
        "10.96.0.1",
        "255.255.255.255",
        "::1",
        "0.0.0.0",
        "None",
        "Always",
        "0-2147483646",
        "*/0 * * * *",
        "0 0 30 2 *",
        "foregroundDeletion",
        "orphan",
        "kubernetes.io/x",
        "example.com/x",
    ];
    match rng.range(0, 12) {
        0..4 => numbers[rng.range(0, numbers.len() as u64) as usize].clone(),
        4..8 => texts[rng.range(0, texts.len() as u64) as usize].into(),
        8 => "x".repeat(rng.range(1, 5000) as usize).into(),
        9 => json!({}),
        10 => json!([]),
        _ => {
            let depth = rng.range(1, 60);
            (0..depth)
                .fold(json!("deep"), |inner, n| if n % 2 == 0 { json!([inner]) } else { json!({"a": inner}) })
        }
    }
}

/// Changes a few places of a value.
fn bend(rng: &Rng, value: &mut Value, chance: f64) {
    bend_within(rng, value, chance, &mut 100);
}

/// `more`: items that lists may still grow by. Lists in lists would grow without end.
fn bend_within(rng: &Rng, value: &mut Value, chance: f64, more: &mut u64) {
    match value {
        Value::Object(map) => {
            let keys: Vec<String> = map.keys().filter(|k| !SPARED.contains(&k.as_str())).cloned().collect();
            for key in keys {
                if key != "metadata" && rng.chance(chance) {
                    match rng.range(0, 4) {
                        0 => drop(map.remove(&key)),
                        _ => drop(map.insert(key, odd(rng))),
                    }
                } else if let Some(inner) = map.get_mut(&key) {
                    bend_within(rng, inner, chance, more);
                }
            }
        }
        Value::Array(items) => {
            if rng.chance(chance)
                && let Some(item) = items.first().cloned()
            {
                let count = rng.range(1, 40).min(*more);
                *more -= count;
                items.extend((0..count).map(|_| item.clone()));
            }
            items.iter_mut().for_each(|item| bend_within(rng, item, chance, more));
        }
        other if rng.chance(chance) => *other = odd(rng),
        _ => {}
    }
}

/// Metadata as people may write it: owners in circles and of nobody, finalizers, many labels.
fn metadata(rng: &Rng, known: &[(String, Value)]) -> Map<String, Value> {
    let mut more = Map::new();
    let owner = |uid: &Value, of: &Value| {
        json!({"apiVersion": of["apiVersion"], "kind": of["kind"], "name": of["metadata"]["name"], "uid": uid,
            "controller": rng.chance(0.3), "blockOwnerDeletion": rng.chance(0.6)})
    };
    if rng.chance(0.4)
        && let Some((_, of)) = known.get(rng.range(0, known.len() as u64) as usize)
    {
        let uid = if rng.chance(0.8) { of["metadata"]["uid"].clone() } else { json!("nobody") };
        more.insert("ownerReferences".into(), json!([owner(&uid, of)]));
    }
    if rng.chance(0.2) {
        let finalizer = ["example.com/odd", "foregroundDeletion", "orphan"][rng.range(0, 3) as usize];
        more.insert("finalizers".into(), json!([finalizer]));
    }
    if rng.chance(0.1) {
        let time = ["", "0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z"][rng.range(0, 3) as usize];
        more.insert(
            "managedFields".into(),
            json!([{"manager": "x", "operation": "Update", "apiVersion": "v1", "time": time,
            "fieldsType": "FieldsV1", "fieldsV1": {"f:metadata": {}}}]),
        );
    }
    if rng.chance(0.1) {
        let labels: Map<String, Value> =
            (0..rng.range(1, 500)).map(|n| (format!("l{n}"), json!("v"))).collect();
        more.insert("labels".into(), labels.into());
    }
    more
}

/// A value for the store that no API server wrote.
fn stored(rng: &Rng, whole: &str, name: &str, namespace: &str) -> String {
    let cut = |text: &str| {
        let at = rng.range(0, text.len() as u64) as usize;
        text[..(0..=at).rev().find(|n| text.is_char_boundary(*n)).unwrap_or(0)].to_string()
    };
    match rng.range(0, 8) {
        0 => (0..rng.range(1, 300))
            .map(|_| char::from_u32(rng.range(0, 0x300) as u32).unwrap_or('x'))
            .collect(),
        1 => format!("k8s\u{0}{}", cut(whole)),
        2 => cut(whole),
        3 => json!({"metadata": {"name": name, "namespace": namespace}, "spec": 5}).to_string(),
        4 => odd(rng).to_string(),
        5 => format!("{}{}{}", "[".repeat(5000), name, "]".repeat(5000)),
        6 => {
            let mut value: Value = serde_json::from_str(whole).unwrap_or_default();
            value["metadata"] = odd(rng);
            value.to_string()
        }
        _ => {
            let mut value: Value = serde_json::from_str(whole).unwrap_or_default();
            bend(rng, &mut value, 0.3);
            value.to_string()
        }
    }
}

struct Play<'a> {
    home: &'a Home,
    api: &'a Api,
    kinds: Vec<Kind>,
    /// Code of the answer (0: none) → how often; `put` and `delete` for the store.
    answers: BTreeMap<String, usize>,
    killed: BTreeMap<String, u64>,
    /// Path and what was answered when it was made.
    known: Vec<(String, Value)>,
}

impl Play<'_> {
    fn count(&mut self, what: String) {
        *self.answers.entry(what).or_default() += 1;
    }

    fn send(&mut self, method: &str, path: &str, kind: &str, body: &Value) -> Option<(u16, String)> {
        let answer = self.api.ask(method, path, kind, &body.to_string());
        let code = answer.as_ref().map_or(0, |(code, _)| *code);
        assert_ne!(code, 500, "{method} {path} {body}: {:?}", answer.map(|(_, body)| body));
        self.count(format!("{code}"));
        answer
    }

    fn etcdctl(&mut self, args: &[&str], input: &str) {
        let mut command = self.home.command(self.home.program());
        // No argument of a program can have a NUL.
        command.args(["etcdctl", "--name", "t"]).args(args.iter().map(|arg| arg.replace('\0', "\u{1}")));
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("etcdctl");
        let _ = child.stdin.take().expect("its input").write_all(input.as_bytes()); // it may refuse before it reads
        let good = child.wait().expect("its end").success();
        self.count(format!("store {} {good}", args[0]));
    }

    fn one(&mut self, rng: &Rng, number: usize) {
        let kind = self.kinds[rng.range(0, self.kinds.len() as u64) as usize].clone();
        let namespace = format!("fuzz-{}", rng.range(0, NAMESPACES));
        let long = if rng.chance(0.05) { "x".repeat(200) } else { String::new() };
        let name = format!("fuzz-{}-{number}{long}", rng.range(0, 1000));
        let mut object = sensible(&kind, &namespace, &name);
        if rng.chance(0.8) {
            let chance = [0.01, 0.05, 0.2][rng.range(0, 3) as usize];
            bend(rng, &mut object, chance);
        }
        let more = metadata(rng, &self.known);
        if let Some(meta) = object["metadata"].as_object_mut() {
            meta.extend(more);
        }
        const JSON: &str = "application/json";
        const MERGE: &str = "application/merge-patch+json";
        let old = self.known.get(rng.range(0, self.known.len() as u64) as usize).cloned();
        match (rng.range(0, 20), old) {
            (0..2, _) => {
                let name = object["metadata"]["name"].as_str().unwrap_or("odd").to_string();
                let value = stored(rng, &object.to_string(), &name, &namespace);
                let key = match rng.range(0, 8) {
                    0 => format!("/registry/{}/{name}", kind.plural),
                    1 => format!("/registry/odd\u{1}/{name}"),
                    2 => format!("/ropewalk/steps/{name}"),
                    _ => kind.key(&namespace, &name),
                };
                self.etcdctl(&["put", "--", &key], &value);
            }
            (2, Some((path, old))) => {
                // Over what an API server wrote.
                let name = old["metadata"]["name"].as_str().unwrap_or("odd").to_string();
                let namespace = old["metadata"]["namespace"].as_str().unwrap_or_default().to_string();
                let value = stored(rng, &old.to_string(), &name, &namespace);
                let plural = path.rsplit('/').nth(1).unwrap_or_default().to_string();
                if let Some(kind) = self.kinds.iter().find(|k| k.plural == plural).cloned() {
                    self.etcdctl(&["put", "--", &kind.key(&namespace, &name)], &value);
                }
            }
            (3..7, Some((path, mut old))) => {
                bend(rng, &mut old, 0.1);
                let part = if rng.chance(0.5) { "spec" } else { "metadata" };
                let patch = json!({part: old[part]});
                self.patch(&path, MERGE, &patch);
            }
            (7..10, Some((path, old))) => {
                let plural = path.rsplit('/').nth(1).unwrap_or_default();
                if self.kinds.iter().any(|k| k.plural == plural && k.has_status) {
                    let mut status = status_of(plural);
                    bend(rng, &mut status, 0.2);
                    let patch = json!({"metadata": {"uid": old["metadata"]["uid"]}, "status": status});
                    self.patch(&format!("{path}/status"), MERGE, &patch);
                }
            }
            (10..12, Some((path, _))) => {
                let policy = ["Foreground", "Background", "Orphan"][rng.range(0, 3) as usize];
                let options =
                    json!({"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": policy});
                self.patchless("DELETE", &path, JSON, &options);
            }
            _ => {
                let answer = self.send("POST", &kind.path(&namespace, ""), JSON, &object);
                if let Some((201, body)) = answer
                    && let Some(made) = body.find('{').and_then(|at| {
                        serde_json::from_str::<Value>(body[at..].trim_end_matches(|c| c != '}')).ok()
                    })
                {
                    let name = made["metadata"]["name"].as_str().unwrap_or_default();
                    self.known.push((kind.path(&namespace, name), made));
                }
            }
        }
    }

    fn patch(&mut self, path: &str, kind: &str, body: &Value) {
        self.patchless("PATCH", path, kind, body);
    }

    /// Sends what may meet a value that cannot be decoded: that alone may be answered with 500.
    fn patchless(&mut self, method: &str, path: &str, kind: &str, body: &Value) {
        let answer = self.api.ask(method, path, kind, &body.to_string());
        let (code, said) = answer.unwrap_or_default();
        assert!(code != 500 || said.contains("StorageReadError"), "{method} {path} {body}: {said}");
        self.count(format!("{code}"));
    }
}

/// A status as controllers read it.
fn status_of(plural: &str) -> Value {
    let now = "2026-01-01T00:00:00Z";
    let conditions = json!([{"type": "Ready", "status": "False", "lastTransitionTime": now, "reason": "Odd", "message": "m"}]);
    match plural {
        "pods" => {
            json!({"phase": "Running", "startTime": now, "podIP": "10.1.2.3", "conditions": conditions, "containerStatuses":
            [{"name": "c", "ready": true, "restartCount": 1, "image": "nginx", "imageID": "", "state": {"running": {"startedAt": now}}}]})
        }
        "jobs" => {
            json!({"startTime": now, "active": 1, "succeeded": 1, "failed": 0, "completedIndexes": "0", "failedIndexes": "1",
            "uncountedTerminatedPods": {"succeeded": ["x"]}})
        }
        "services" => json!({"loadBalancer": {"ingress": [{"ip": "10.96.0.1"}]}}),
        "persistentvolumes" | "persistentvolumeclaims" => {
            json!({"phase": "Bound", "capacity": {"storage": "1Mi"}})
        }
        "cronjobs" => json!({"lastScheduleTime": now, "active": [{"kind": "Job", "name": "x"}]}),
        _ => {
            json!({"replicas": 1, "readyReplicas": 1, "observedGeneration": 1, "collisionCount": 1, "conditions": conditions})
        }
    }
}

/// How often each component's container was started again.
fn restarts(api: &Api) -> BTreeMap<String, u64> {
    let pods = api.get("/api/v1/namespaces/kube-system/pods");
    let pods = pods["items"].as_array().cloned().unwrap_or_default();
    let count = |pod: &Value| {
        let name = pod["metadata"]["name"].as_str().unwrap_or_default().to_string();
        let statuses = pod["status"]["containerStatuses"].as_array().cloned().unwrap_or_default();
        (name, statuses.iter().filter_map(|s| s["restartCount"].as_u64()).sum())
    };
    pods.iter().map(count).filter(|(name, _)| !name.starts_with("fuzz")).collect()
}

/// How each component's container ended that has ended since it was last looked: (pod, time) and
/// the code and message.
fn ends(api: &Api, found: &mut BTreeMap<(String, String), String>) {
    let pods = api.get("/api/v1/namespaces/kube-system/pods");
    for pod in pods["items"].as_array().into_iter().flatten() {
        for status in pod["status"]["containerStatuses"].as_array().into_iter().flatten() {
            for state in [&status["state"]["terminated"], &status["lastState"]["terminated"]] {
                if let (Some(name), Some(at)) =
                    (pod["metadata"]["name"].as_str(), state["finishedAt"].as_str())
                {
                    let end = format!(
                        "code {}: {}",
                        state["exitCode"],
                        state["message"].as_str().unwrap_or_default()
                    );
                    found.insert((name.to_string(), at.to_string()), end);
                }
            }
        }
    }
}

#[test]
fn odd_objects_stop_no_component() {
    if !capable() {
        return;
    }
    let life = number("ROPEWALK_FUZZ_SECONDS").map_or(USUAL, Duration::from_secs);
    let (_turn, home) = (turn_of(life + Duration::from_secs(900)), Home::new());
    let cluster = home.up(&["--workers", "1"]);
    let main = cluster.pid("main");
    let api = Api::open(&cluster);
    let k = |args: &[&str]| cluster.kubectl(&built_in(), args);
    for n in 0..NAMESPACES {
        let name = format!("fuzz-{n}");
        k(&["create", "namespace", &name]).ok();
        // Two thousand million replicas are asked for on the way; the node has room for 110 pods.
        k(&["create", "quota", "keep", "--hard=pods=12", "-n", &name]).ok();
    }
    let (before, mut ended) = (restarts(&api), BTreeMap::new());
    let all = kinds(&api);
    assert!(all.len() > 25, "{all:?}");
    let mut play = Play {
        home: &home,
        api: &api,
        kinds: all,
        answers: BTreeMap::new(),
        killed: BTreeMap::new(),
        known: vec![],
    };
    let (start, mut seed) = (Instant::now(), number("ROPEWALK_SEED_FROM").unwrap_or(0));
    let mut killed_at = BTreeMap::new();
    while start.elapsed() < life {
        let rng = Rng::seeded(seed);
        let victim = KILLED[seed as usize % KILLED.len()];
        for number in 0..HISTORY {
            let rested = killed_at.get(victim).is_none_or(|at: &Instant| at.elapsed() > KILLED_AGAIN);
            // A container's status keeps its last end only.
            if number % 10 == 0 {
                ends(&api, &mut ended);
            }
            if number == HISTORY / 2 && rested {
                ends(&api, &mut ended);
                killed_at.insert(victim, Instant::now());
                let said = home.ropewalk(&["fault", "kill", victim, "--name", "t"]);
                if said.code == 0 {
                    let component = victim.split('/').next().unwrap_or(victim);
                    *play.killed.entry(component.to_string()).or_default() += 1;
                }
                let answers = || api.ask("GET", "/readyz", "", "").is_some_and(|(code, _)| code == 200);
                eventually(PATIENCE, answers, |ready| *ready);
                ends(&api, &mut ended);
            }
            play.one(&rng, number);
        }
        play.known.drain(..play.known.len().saturating_sub(300));
        ends(&api, &mut ended);
        println!("odd objects: seed {seed}, after {:?}: {:?}", start.elapsed(), play.answers);
        assert_eq!(cluster.pid("main"), main, "seed {seed}: the program ended");
        seed += 1;
    }
    // Not one component ended by itself, but for one that could not renew its Lease: while the API
    // server is killed, or on a machine with more work than processors, it has to. It says so as it
    // ends.
    let killed = play.killed.clone();
    let made = play.answers.get("201").copied().unwrap_or_default();
    assert!(made > 20, "too few were accepted: {:?}", play.answers);
    ends(&api, &mut ended);
    let all: Vec<String> = ended.iter().map(|((pod, at), end)| format!("{at} {pod} {end}")).collect();
    println!("odd objects: killed {killed:?}; ended:\n{}", all.join("\n"));
    let mut too_often = vec![];
    for (name, count) in restarts(&api) {
        let by_us: u64 =
            killed.iter().filter(|(component, _)| name.starts_with(component.as_str())).map(|(_, n)| n).sum();
        let lost = ended.iter().filter(|((pod, _), end)| *pod == name && end.contains("leaderelection lost"));
        let more = count.saturating_sub(before.get(&name).copied().unwrap_or_default());
        if more > by_us + lost.count() as u64 {
            too_often.push(format!("{name} was started {more} times, killed {by_us} times"));
        }
    }
    assert!(too_often.is_empty(), "{}\n{}\n{}", too_often.join("\n"), all.join("\n"), tail(&home.log()));
    let panics = panics(&home);
    assert!(panics.is_empty(), "{}", panics.join("\n"));
    for kind in &play.kinds {
        assert!(api.get(&format!("{}/{}", kind.root, kind.plural))["items"].is_array(), "{}", kind.plural);
    }
    // The cluster still works for a user who wants nothing odd.
    k(&["create", "namespace", "after"]).ok();
    k(&["create", "deployment", "later", "--image=nginx", "--replicas=2", "-n", "after"]).ok();
    let ready =
        || k(&["get", "deployment", "later", "-n", "after", "-o", "jsonpath={.status.readyReplicas}"]).out;
    eventually(PATIENCE, ready, |n| n == "2");
    let said = home.ropewalk(&["undo", "--name", "t"]).ok();
    assert!(said.contains("undone: kubectl create deployment"), "{said}");
    k(&["get", "deployment", "later", "-n", "after"]).fails("not found");
    let pods = || k(&["get", "pods", "-n", "after", "-o", "name"]).out;
    eventually(PATIENCE, pods, |left| left.trim().is_empty());
}

/// One object after the other that once kept others from being served.
#[test]
fn one_odd_object_is_told_of_and_the_others_are_served() {
    if !capable() {
        return;
    }
    let (_turn, home) = (turn(), Home::new());
    let w = World::up(&home, &["--workers", "1"]);
    let wait =
        |what: &str, wanted: &str| eventually(PATIENCE, || w.say(what).out, |out| out.trim() == wanted);

    // A stored value of the wrong shape: left out of lists, 500 by its name, and gone when it is
    // deleted.
    let odd = r#"{"kind":"Pod","apiVersion":"v1","metadata":{"name":"odd","namespace":"default"},"spec":5}"#;
    home.ropewalk(&["etcdctl", "--name", "t", "put", "/registry/pods/default/odd", odd]).ok();
    w.say("run good --image=nginx").ok();
    w.k(&["wait", "--for=condition=Ready", "pod/good", TIMEOUT]);
    assert_eq!(w.say("get pods -o name").ok().trim(), "pod/good");
    w.say("get pod odd").fails("cannot unmarshal number into Go struct field");
    w.say("run odd --image=nginx").fails("already exists");
    w.say("delete pod odd").ok();
    w.say("get pod odd").fails("not found");

    // Pods that own each other in a circle, deleted in the foreground.
    let uid = |name: &str| w.object(&format!("pod {name} -n ring"))["metadata"]["uid"].clone();
    w.create_namespace("ring");
    for name in ["a", "b", "c"] {
        w.say(&format!("run {name} -n ring --image=nginx")).ok();
    }
    for (name, owner) in [("a", "c"), ("b", "a"), ("c", "b")] {
        let reference = json!({"apiVersion": "v1", "kind": "Pod", "name": owner, "uid": uid(owner),
            "controller": true, "blockOwnerDeletion": true});
        let patch = json!({"metadata": {"ownerReferences": [reference]}}).to_string();
        w.k(&["patch", "pod", name, "-n", "ring", "--type=merge", "-p", &patch]);
    }
    w.say("delete pod a -n ring --cascade=foreground --wait=false --grace-period=1").ok();
    wait("get pods -n ring -o name", "");
    w.k(&["delete", "namespace", "ring", TIMEOUT]);

    // A pod that its Job lets go, with all of its labels.
    w.say("create job work --image=busybox -- sleep 600").ok();
    let pods = || w.pod_names("job-name=work");
    let pod = eventually(PATIENCE, pods, |names| names.len() == 1).remove(0);
    let labels = json!([{"op": "replace", "path": "/metadata/labels", "value": {}}]).to_string();
    w.k(&["patch", "pod", &pod, "--type=json", "-p", &labels]);
    let what = format!("get pod {pod} -o jsonpath={{.metadata.ownerReferences}}{{.metadata.finalizers}}");
    wait(&what, "");

    // A Service that claims another one's address.
    w.say("create service clusterip thief --tcp=443:80").ok();
    let theft = ["patch", "service", "thief", "-p", r#"{"spec":{"externalIPs":["10.96.0.1"]}}"#];
    w.cluster.kubectl(&w.any, &theft).fails("may not be an address of this cluster");
    w.rewrite_stored("/registry/services/default/thief", |service| {
        service["spec"]["externalIPs"] = json!(["10.96.0.1"]);
    });
    w.told("Service", "thief", "10.96.0.1:443 belongs to default/kubernetes");
    w.say("expose pod good --port=80").ok();
    w.say("run env --image=busybox --restart=Never --env=my-name=dash -- sh -c env").ok();
    // As a client does that may be earlier than the proxy and the name server.
    let ask = "until wget -qO- -T 30 http://good; do sleep 1; done";
    w.k(&["run", "ask", "--image=busybox", "--restart=Never", "--", "sh", "-c", ask]);
    wait("get pod ask -o jsonpath={.status.phase}", "Succeeded");
    wait("get pod env -o jsonpath={.status.phase}", "Succeeded");
    assert!(w.say("logs env").ok().lines().any(|line| line == "my-name=dash"));
}

/// What the program and its components say of panics: they are survived, and are faults all the
/// same.
fn panics(home: &Home) -> Vec<String> {
    fn logs(dir: &std::path::Path, found: &mut Vec<String>) {
        for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
            let path = entry.path();
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => logs(&path, found),
                Ok(kind) if kind.is_file() => found.push(std::fs::read_to_string(&path).unwrap_or_default()),
                _ => {}
            }
        }
    }
    let mut texts = vec![home.log()];
    for node in std::fs::read_dir(home.path().join("clusters/t/data")).into_iter().flatten().flatten() {
        logs(&node.path().join("log"), &mut texts);
    }
    let lines = texts.iter().flat_map(|text| text.lines());
    lines.filter(|line| line.contains("panicked")).take(40).map(String::from).collect()
}

fn tail(log: &str) -> String {
    let lines: Vec<&str> = log.lines().filter(|l| l.contains("panick") || l.contains("ended")).collect();
    lines[lines.len().saturating_sub(40)..].join("\n")
}
