//! Scale, Binding and TokenRequest: what each takes of a body and what it refuses.

use crate::auth::user::{MASTERS, User};
use crate::request::http::full;
use crate::testing::{self, Api};
use serde_json::{Value, json};

pub(super) const PODS: &str = "/api/v1/namespaces/default/pods";
const DEPLOYMENTS: &str = "/apis/apps/v1/namespaces/default/deployments";
const SCALE: &str = "/apis/apps/v1/namespaces/default/deployments/d/scale";

fn admin() -> User {
    User::new("admin", &[MASTERS])
}

pub(super) fn pod(name: &str) -> Value {
    json!({"metadata": {"name": name, "labels": {"a": "b"}},
        "spec": {"containers": [{"name": "c", "image": "nginx"}]}})
}

impl Api {
    /// A server with the Deployment `d` of three replicas.
    async fn with_deployment() -> Api {
        let api = Api::new().await;
        let template = json!({"metadata": {"labels": {"a": "b"}}, "spec": pod("x")["spec"]});
        let spec = json!({"replicas": 3, "selector": {"matchLabels": {"a": "b"}}, "template": template});
        api.made(DEPLOYMENTS, json!({"metadata": {"name": "d"}, "spec": spec})).await;
        api
    }

    /// Applies an object on the server's side as the manager `m`.
    async fn apply(&self, path: &str, body: &Value) -> (u16, Value) {
        let body = ("application/apply-patch+yaml", body.to_string());
        testing::send(&self.fixture.server, admin(), ("PATCH", path), body, "").await
    }

    /// Returns code and warnings of the answer to a merge patch.
    async fn warnings(&self, path: &str, body: Value) -> (u16, Vec<String>) {
        let request = ::http::Request::builder().method("PATCH").uri(path);
        let request = request.header("content-type", "application/merge-patch+json");
        let request = request.body(full(body.to_string())).unwrap();
        let answer = self.fixture.server.call(request, admin()).await;
        let told = answer.headers().get_all("warning").iter();
        (answer.status().as_u16(), told.map(|text| text.to_str().unwrap().to_string()).collect())
    }
}

fn scale(spec: Value) -> Value {
    json!({"kind": "Scale", "apiVersion": "autoscaling/v1", "metadata": {"name": "d"}, "spec": spec})
}

/// Otherwise a typing error in `replicas` asks for none.
#[tokio::test]
async fn unknown_fields_of_a_scale_are_judged_as_field_validation_asks() {
    let api = Api::with_deployment().await;
    let strict = format!("{SCALE}?fieldValidation=Strict");
    let (code, got) = api.put(&strict, scale(json!({"replica": 5}))).await;
    let why = "Scale in version \"v1\" cannot be handled as a Scale: strict decoding error: unknown field \"spec.replica\"";
    assert_eq!((code, &got["message"]), (400, &json!(why)), "{got}");
    let (code, got) = api.patch(&strict, json!({"spec": {"replica": 5, "replicas": null}})).await;
    assert!(
        code == 422 && got["message"].as_str().unwrap().contains("unknown field \"spec.replica\""),
        "{got}"
    );
    let other = format!("{SCALE}?fieldValidation=Foo");
    assert_eq!(api.put(&other, scale(json!({"replicas": 5}))).await.0, 422);
    assert_eq!(api.patch(&other, json!({"spec": {"replicas": 5}})).await.0, 422);
    let (code, got) = api.apply(&format!("{SCALE}?fieldManager=m"), &scale(json!({"replica": 5}))).await;
    let why = ".spec.replica: field not declared in schema";
    assert!(code == 500 && got["message"].as_str().unwrap().contains(why), "{got}");
    let (code, warnings) = api.warnings(SCALE, json!({"spec": {"replica": 5}})).await;
    assert_eq!(code, 200);
    assert!(
        warnings.iter().any(|text| text.contains("unknown field") && text.contains("spec.replica")),
        "{warnings:?}"
    );
    let (code, warnings) =
        api.warnings(&format!("{SCALE}?fieldValidation=Ignore"), json!({"spec": {"x": 5}})).await;
    assert_eq!((code, warnings), (200, vec![]));
    assert_eq!(api.get(SCALE).await.1["spec"]["replicas"], 3);
}

/// As a patch of the object itself.
#[tokio::test]
async fn a_patch_of_a_scale_keeps_the_types_of_its_fields() {
    let api = Api::with_deployment().await;
    let (code, got) = api.patch(SCALE, json!({"spec": {"replicas": "3"}})).await;
    let why = "json: cannot unmarshal string into Go struct field ScaleSpec.spec.replicas of type int32";
    assert!(code == 422 && got["message"].as_str().unwrap().ends_with(why), "{got}");
    let path = format!("{SCALE}?fieldManager=m");
    let (code, got) = api.apply(&path, &scale(json!({"replicas": "3"}))).await;
    assert!(code == 500 && got["message"].as_str().unwrap().ends_with(why), "{got}");
}

/// As upstream: whatever makes the generation grow, a scale as well, is warned of the template.
#[tokio::test]
async fn a_template_is_warned_of_with_every_new_generation() {
    let api = Api::with_deployment().await;
    let (one, twice) = (format!("{DEPLOYMENTS}/d"), json!([{"name": "A", "value": "1"}, {"name": "A"}]));
    let containers = json!([{"name": "c", "image": "nginx", "env": twice}]);
    let (code, warnings) =
        api.warnings(&one, json!({"spec": {"template": {"spec": {"containers": containers}}}})).await;
    assert_eq!(code, 200);
    let is_warned = |warnings: &[String]| {
        let why = "spec.template.spec.containers[0].env[1]: hides previous definition of";
        warnings.len() == 1 && warnings[0].contains(why)
    };
    assert!(is_warned(&warnings), "{warnings:?}");
    let (code, warnings) = api.warnings(&one, json!({"metadata": {"labels": {"a": "b"}}})).await;
    assert_eq!((code, warnings), (200, vec![]));
    let (code, warnings) = api.warnings(SCALE, json!({"spec": {"replicas": 5}})).await;
    assert!(code == 200 && is_warned(&warnings), "{warnings:?}");
    let profile = "container.apparmor.security.beta.kubernetes.io/c";
    let mut annotated = pod("p");
    annotated["metadata"]["annotations"] = json!({profile: "runtime/default"});
    let request = ::http::Request::post(PODS).header("content-type", "application/json");
    let answer = api.fixture.server.call(request.body(full(annotated.to_string())).unwrap(), admin()).await;
    let warnings = answer.headers().get("warning").map_or("", |text| text.to_str().unwrap());
    assert!(answer.status() == 201 && warnings.contains("deprecated since v1.30"), "{warnings}");
}

/// It changes nothing, and conflicts with no manager; only the replicas of the same manager go.
#[tokio::test]
async fn an_apply_of_a_scale_without_replicas_applies_none() {
    let api = Api::with_deployment().await;
    let (by, nothing) = (format!("{SCALE}?fieldManager=m"), scale(json!({})));
    let forced = format!("{by}&force=true");
    for path in [&by, &forced] {
        let (code, got) = api.apply(path, &nothing).await;
        assert_eq!((code, &got["spec"]["replicas"]), (200, &json!(3)), "{got}");
    }
    let (code, got) = api.apply(&forced, &scale(json!({"replicas": 5}))).await;
    assert_eq!((code, &got["spec"]["replicas"]), (200, &json!(5)), "{got}");
    assert_eq!(api.apply(&by, &nothing).await.0, 200);
    assert_eq!(api.get(&format!("{DEPLOYMENTS}/d")).await.1["spec"]["replicas"], 0);
    let mut owned = nothing;
    owned["metadata"]["managedFields"] = json!([{"manager": "m"}]);
    let (code, got) = api.apply(&by, &owned).await;
    assert_eq!((code, &got["message"]), (400, &json!("metadata.managedFields must be nil")), "{got}");
}

/// An operator may have a default for the missing field: 0 would scale it to nothing.
#[tokio::test]
async fn a_custom_resource_has_no_scale_until_its_replicas_are_set() {
    let api = Api::new().await;
    let names = json!({"plural": "tabs", "kind": "Tab"});
    let schema = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
    let paths = json!({"specReplicasPath": ".spec.replicas", "statusReplicasPath": ".status.replicas"});
    let version = json!({"name": "v1", "served": true, "storage": true,
        "schema": {"openAPIV3Schema": schema}, "subresources": {"scale": paths}});
    let definition = json!({"metadata": {"name": "tabs.example.com"},
        "spec": {"group": "example.com", "scope": "Namespaced", "names": names, "versions": [version]}});
    let mut progress = api.state().cache.progress();
    api.made("/apis/apiextensions.k8s.io/v1/customresourcedefinitions", definition).await;
    while api.state().cache.kinds().resource("example.com", "v1", "tabs").is_none() {
        progress.changed().await.unwrap();
    }
    let all = "/apis/example.com/v1/namespaces/default/tabs";
    let one = json!({"kind": "Tab", "apiVersion": "example.com/v1", "metadata": {"name": "d"}, "spec": {}});
    api.made(all, one).await;
    let path = format!("{all}/d/scale");
    let (code, got) = api.get(&path).await;
    let why = "Internal error occurred: the spec replicas field \".spec.replicas\" does not exist";
    assert_eq!((code, &got["message"]), (500, &json!(why)));
    let why = json!("the spec replicas field \".spec.replicas\" cannot be empty");
    let (code, got) = api.patch(&path, json!({})).await;
    assert_eq!((code, &got["message"]), (400, &why));
    let (code, got) = api.apply(&format!("{path}?fieldManager=m"), &scale(json!({}))).await;
    assert_eq!((code, &got["message"]), (400, &why));
    let (code, got) = api.patch(&path, json!({"spec": {"replicas": 2}})).await;
    assert_eq!((code, &got["spec"]["replicas"]), (200, &json!(2)), "{got}");
    assert_eq!(api.get(&path).await.1["spec"]["replicas"], 2);
}

#[tokio::test]
async fn unknown_fields_of_bindings_and_token_requests_are_judged_as_field_validation_asks() {
    let api = Api::new().await;
    api.made(PODS, pod("p")).await;
    let binding = json!({"metadata": {"name": "p"}, "target": {"kind": "Node", "name": "n", "x": 1}});
    let token = json!({"spec": {"expirationSecond": 700}});
    let token_path = "/api/v1/namespaces/default/serviceaccounts/default/token";
    for (path, body, field) in
        [(&*format!("{PODS}/p/binding"), binding, "target.x"), (token_path, token, "spec.expirationSecond")]
    {
        let (code, got) = api.post(&format!("{path}?fieldValidation=Strict"), body.clone()).await;
        let why = format!("strict decoding error: unknown field {field:?}");
        assert!(code == 400 && got["message"].as_str().unwrap().ends_with(&why), "{got}");
        let (code, got) = api.post(path, body).await;
        assert_eq!(code, 201, "{got}");
    }
}

/// A scheduler that names a version has judged the pod of that version.
#[tokio::test]
async fn a_binding_binds_the_version_of_the_pod_that_it_names() {
    let api = Api::new().await;
    let read = api.made(PODS, pod("p")).await;
    let label = json!({"metadata": {"labels": {"later": "1"}}});
    let (code, now) = api.patch(&format!("{PODS}/p"), label).await;
    assert_eq!(code, 200, "{now}");
    let bind = async |version: &Value| {
        let binding = json!({"metadata": {"name": "p", "resourceVersion": version},
            "target": {"kind": "Node", "name": "n1"}});
        api.post(&format!("{PODS}/p/binding"), binding).await
    };
    let (code, got) = bind(&read["metadata"]["resourceVersion"]).await;
    let [asked, there] = [&read, &now].map(|pod| pod["metadata"]["resourceVersion"].as_str().unwrap());
    let why = format!(
        "Operation cannot be fulfilled on pods \"p\": StorageError: invalid object, Code: 4, Key: /registry/pods/default/p, ResourceVersion: 0, AdditionalErrorMsg: Precondition failed: ResourceVersion in precondition: {asked}, ResourceVersion in object meta: {there}"
    );
    assert_eq!((code, &got["message"]), (409, &json!(why)), "{got}");
    assert_eq!(api.get(&format!("{PODS}/p")).await.1["spec"].get("nodeName"), None);
    let (code, got) = bind(&now["metadata"]["resourceVersion"]).await;
    assert_eq!(code, 201, "{got}");
}

/// A rewind writes pods and nodes in one revision, and a scheduler may hear of the pod first.
#[tokio::test]
async fn a_binding_to_a_node_that_filters_would_judge_anew_is_refused() {
    let api = Api::new().await;
    api.made(PODS, pod("p")).await;
    let seen =
        api.made("/api/v1/nodes", json!({"metadata": {"name": "n1", "labels": {"disk": "ssd"}}})).await;
    let bind = async |version: &Value| {
        let target = json!({"kind": "Node", "name": "n1", "resourceVersion": version});
        api.post(&format!("{PODS}/p/binding"), json!({"metadata": {"name": "p"}, "target": target})).await
    };
    let (code, now) = api.patch("/api/v1/nodes/n1", json!({"metadata": {"labels": {"disk": null}}})).await;
    assert_eq!(code, 200, "{now}");
    let (code, got) = bind(&seen["metadata"]["resourceVersion"]).await;
    let why = "node n1 has changed since the scheduler looked at it";
    assert!(code == 409 && got["message"].as_str().unwrap().contains(why), "{got}");
    // What is no concern of filters may change: a heartbeat does.
    let note = json!({"metadata": {"annotations": {"a": "b"}}});
    assert_eq!(api.patch("/api/v1/nodes/n1", note).await.0, 200);
    let (code, got) = bind(&now["metadata"]["resourceVersion"]).await;
    assert_eq!(code, 201, "{got}");
}

#[tokio::test]
async fn a_binding_brings_its_labels_and_takes_the_nominated_node_away() {
    let api = Api::new().await;
    api.made(PODS, pod("p")).await;
    let (one, nominated) = (format!("{PODS}/p"), json!({"status": {"nominatedNodeName": "n2"}}));
    let (code, got) = api.patch(&format!("{one}/status"), nominated).await;
    assert_eq!((code, &got["status"]["nominatedNodeName"]), (200, &json!("n2")), "{got}");
    let binding = json!({"metadata": {"name": "p", "labels": {"a": "c", "zone": "z"}},
        "target": {"kind": "Node", "name": "n1"}});
    let (code, got) = api.post(&format!("{one}/binding"), binding).await;
    assert_eq!(code, 201, "{got}");
    let bound = api.get(&one).await.1;
    assert_eq!(bound["status"].get("nominatedNodeName"), None, "{bound}");
    assert_eq!(bound["metadata"]["labels"], json!({"a": "c", "zone": "z"}));
}

/// Upstream does not say of which object these errors are, and its clients see no reason.
#[tokio::test]
async fn a_binding_to_nothing_that_can_be_bound_to_is_an_unnamed_error() {
    let api = Api::new().await;
    api.made(PODS, pod("p")).await;
    let kind = "target.kind: Unsupported value: \"Pod\": supported values: \"Node\", \"<empty>\"";
    let name = "target.name: Required value";
    for (target, why) in [
        (json!({"kind": "Node"}), name.to_string()),
        (json!({"kind": "Pod", "name": "n1"}), kind.to_string()),
        (json!({"kind": "Pod"}), format!("[{kind}, {name}]")),
    ] {
        let binding = json!({"metadata": {"name": "p"}, "target": target});
        let (code, got) = api.post(&format!("{PODS}/p/binding"), binding).await;
        assert_eq!((code, &got["message"], got.get("reason")), (500, &json!(why), None), "{got}");
    }
}

#[tokio::test]
async fn the_namespace_in_a_body_is_that_of_the_path() {
    let api = Api::with_deployment().await;
    api.made(PODS, pod("p")).await;
    let elsewhere = |mut body: Value| {
        body["metadata"]["namespace"] = "elsewhere".into();
        body
    };
    let five = elsewhere(scale(json!({"replicas": 5})));
    let binding = json!({"metadata": {"name": "p"}, "target": {"kind": "Node", "name": "n1"}});
    let eviction = json!({"kind": "Eviction", "apiVersion": "policy/v1", "metadata": {"name": "p"}});
    let refused = [
        api.put(SCALE, five.clone()).await,
        api.patch(SCALE, json!({"metadata": {"namespace": "elsewhere"}})).await,
        api.apply(&format!("{SCALE}?fieldManager=m&force=true"), &five).await,
        api.post(&format!("{PODS}/p/binding"), elsewhere(binding.clone())).await,
        api.post("/api/v1/namespaces/default/bindings", elsewhere(binding)).await,
        api.post(&format!("{PODS}/p/eviction"), elsewhere(eviction)).await,
    ];
    let why = "the namespace of the provided object does not match the namespace sent on the request";
    for (code, got) in refused {
        assert_eq!((code, &got["message"]), (400, &json!(why)), "{got}");
    }
    assert_eq!(api.get(SCALE).await.1["spec"]["replicas"], 3);
    assert_eq!(api.get(&format!("{PODS}/p")).await.1["spec"].get("nodeName"), None);
}

/// A pod has the zone of its node as a label, so that its program can read it by the downward API.
#[tokio::test]
async fn a_pod_gets_the_zone_and_region_of_its_node_as_labels() {
    const ZONE: &str = "topology.kubernetes.io/zone";
    const REGION: &str = "topology.kubernetes.io/region";
    let api = Api::new().await;
    let labels = json!({ZONE: "a", REGION: "r", "disk": "ssd"});
    api.made("/api/v1/nodes", json!({"metadata": {"name": "n1", "labels": labels}})).await;
    api.fixture.server.state.fresh().await.unwrap();
    let own = |name: &str, node: Value| {
        let mut pod = pod(name);
        pod["metadata"]["labels"][ZONE] = "own".into();
        pod["spec"]["nodeName"] = node;
        pod
    };
    for (name, kind, want) in [
        ("bound", "Node", json!({"a": "b", ZONE: "a", REGION: "r"})),
        ("unsaid", "", json!({"a": "b", ZONE: "own"})),
    ] {
        let made = api.made(PODS, own(name, Value::Null)).await;
        assert_eq!(made["metadata"]["labels"], json!({"a": "b", ZONE: "own"}), "it has no node yet");
        let binding = json!({"metadata": {"name": name}, "target": {"kind": kind, "name": "n1"}});
        let (code, got) = api.post(&format!("{PODS}/{name}/binding"), binding).await;
        assert_eq!(code, 201, "{got}");
        assert_eq!(api.get(&format!("{PODS}/{name}")).await.1["metadata"]["labels"], want, "{name}");
    }
    for (node, want) in
        [("n1", json!({"a": "b", ZONE: "a", REGION: "r"})), ("unknown", json!({"a": "b", ZONE: "own"}))]
    {
        let made = api.made(PODS, own(node, json!(node))).await;
        assert_eq!(made["metadata"]["labels"], want, "it names {node}");
    }
}

/// A user who may write the status, or the ephemeral containers, cannot take over the fields of
/// other managers by that.
#[tokio::test]
async fn a_subresource_changes_no_managers() {
    let api = Api::with_deployment().await;
    api.made(PODS, pod("p")).await;
    for path in [format!("{DEPLOYMENTS}/d"), format!("{PODS}/p")] {
        let managers = async || {
            let (_, object) = api.get(&path).await;
            object["metadata"]["managedFields"].clone()
        };
        let own = managers().await;
        assert_eq!(own.as_array().map(Vec::len), Some(1), "{own}");
        let other = json!({"manager": "other", "operation": "Apply", "apiVersion": "v1",
            "fieldsType": "FieldsV1", "fieldsV1": {"f:spec": {}}});
        for told in [json!([]), json!([{}]), json!([other])] {
            let change = json!({"metadata": {"managedFields": told}});
            for subresource in ["status", "ephemeralcontainers"] {
                if subresource == "status" || path.starts_with(PODS) {
                    let (code, got) = api.patch(&format!("{path}/{subresource}"), change.clone()).await;
                    assert_eq!(code, 200, "{got}");
                    assert_eq!(managers().await, own, "{subresource}: {told}");
                }
            }
        }
        let (code, got) = api.patch(&path, json!({"metadata": {"managedFields": []}})).await;
        assert_eq!((code, managers().await), (200, Value::Null), "{got}");
    }
}

/// A program that reads its token only once goes on for longer than an hour.
#[tokio::test]
async fn the_token_of_a_pod_has_a_year_and_says_when_it_should_have_been_renewed() {
    use base64::Engine as _;
    let api = Api::new().await;
    api.made(PODS, pod("p")).await;
    let year = 365 * 24 * 3600;
    for (seconds, audiences, is_bound, life) in [
        (3607, json!([]), true, year),
        (3607, json!([crate::auth::authn::ISSUER]), true, year),
        (3600, json!([]), true, 3600),
        (3607, json!(["vault"]), true, 3607),
        (3607, json!([]), false, 3607),
    ] {
        let mut spec = json!({"expirationSeconds": seconds, "audiences": audiences});
        if is_bound {
            spec["boundObjectRef"] = json!({"kind": "Pod", "apiVersion": "v1", "name": "p"});
        }
        let path = "/api/v1/namespaces/default/serviceaccounts/default/token";
        let made = api.made(path, json!({"spec": spec})).await;
        let payload = made["status"]["token"].as_str().unwrap().split('.').nth(1).unwrap();
        let payload = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(payload).unwrap();
        let claims: Value = serde_json::from_slice(&payload).unwrap();
        let issued = claims["iat"].as_i64().unwrap();
        assert_eq!(claims["exp"], issued + life, "{claims}");
        let warned = if life == year { json!(issued + seconds) } else { Value::Null };
        assert_eq!(claims["kubernetes.io"]["warnafter"], warned);
        let told: clock::Timestamp = made["status"]["expirationTimestamp"].as_str().unwrap().parse().unwrap();
        assert_eq!(told.as_second(), issued + seconds);
    }
}
