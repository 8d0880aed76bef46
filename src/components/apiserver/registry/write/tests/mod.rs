//! Writes through the whole server: what is refused at the door, and what is answered with a
//! warning.

mod bounds;

use crate::auth::user::User;
use crate::request::http::full;
use crate::testing::Api;
use ::http::Request;
use http_body_util::BodyExt;
use serde_json::{Value, json};

/// The answer to a write.
struct Got {
    code: u16,
    body: Value,
    warnings: Vec<String>,
}

impl Got {
    fn message(&self) -> &str {
        self.body["message"].as_str().unwrap_or_default()
    }
}

const PODS: &str = "/api/v1/namespaces/default/pods";
const MAPS: &str = "/api/v1/namespaces/default/configmaps";

fn person() -> User {
    User::new("person", &["system:masters"])
}

impl Api {
    async fn with_accounts() -> Api {
        Api::new().await.with_account("kube-system").await
    }

    async fn answer(
        &self,
        user: User,
        method: &str,
        path: &str,
        media: &str,
        body: impl Into<bytes::Bytes>,
    ) -> Got {
        let builder = Request::builder().method(method).uri(path).header("content-type", media);
        let answer = self.fixture.server.call(builder.body(full(body)).unwrap(), user).await;
        let code = answer.status().as_u16();
        let warnings = answer.headers().get_all("warning").iter();
        let warnings = warnings.map(|w| w.to_str().unwrap().to_string()).collect();
        let bytes = answer.into_body().collect().await.unwrap().to_bytes();
        Got { code, body: serde_json::from_slice(&bytes).unwrap_or_default(), warnings }
    }

    async fn post_answer(&self, path: &str, body: Value) -> Got {
        self.answer(person(), "POST", path, "application/json", body.to_string()).await
    }

    async fn patch_answer(&self, path: &str, media: &str, body: impl Into<bytes::Bytes>) -> Got {
        self.answer(person(), "PATCH", path, &format!("application/{media}"), body).await
    }
}

fn pod(name: &str) -> Value {
    json!({"metadata": {"name": name}, "spec": {"containers": [{"name": "c", "image": "nginx"}]}})
}

#[tokio::test]
async fn an_empty_time_is_refused_at_every_door() {
    let api = Api::with_accounts().await;
    assert_eq!(api.post_answer(PODS, pod("r7")).await.code, 201);
    let fields = json!({"metadata": {"managedFields": [{"manager": "x", "operation": "Update", "apiVersion": "v1", "time": "",
        "fieldsType": "FieldsV1", "fieldsV1": {"f:metadata": {}}}]}});
    let got = api.patch_answer(&format!("{PODS}/r7"), "merge-patch+json", fields.to_string()).await;
    assert_eq!(got.code, 422, "{}", got.body);
    assert!(got.message().contains("cannot parse \"\" as \"2006\""), "{}", got.message());
    let lease = json!({"metadata": {"name": "l"}, "spec": {"renewTime": ""}});
    let got = api.post_answer("/apis/coordination.k8s.io/v1/namespaces/default/leases", lease).await;
    assert_eq!(got.code, 400, "{}", got.body);
    let mut deployment = json!({"metadata": {"name": "d"}, "spec": {"selector": {"matchLabels": {"a": "b"}}, "template": pod("x")}});
    deployment["spec"]["template"]["metadata"] = json!({"labels": {"a": "b"}, "creationTimestamp": ""});
    let got = api.post_answer("/apis/apps/v1/namespaces/default/deployments", deployment).await;
    assert_eq!(got.code, 400, "{}", got.body);
}

#[tokio::test]
async fn fields_that_are_not_honoured_are_answered_with_a_warning() {
    let api = Api::with_accounts().await;
    let mut odd = pod("odd");
    odd["spec"]["hostPID"] = true.into();
    odd["spec"]["containers"][0]["ports"] = json!([{"containerPort": 80, "hostPort": 8080}]);
    let want = ["spec.hostPID: ", "spec.containers[0].ports[0].hostPort: "];
    for query in ["?dryRun=All", ""] {
        let got = api.post_answer(&format!("{PODS}{query}"), odd.clone()).await;
        assert_eq!(got.code, 201, "{}", got.body);
        assert_eq!(got.warnings.len(), want.len(), "{:?}", got.warnings);
        for (warning, want) in got.warnings.iter().zip(want) {
            assert!(warning.starts_with("299 - ") && warning.contains(want), "{warning}");
        }
    }
    let label = json!({"metadata": {"labels": {"a": "b"}}});
    let got = api.patch_answer(&format!("{PODS}/odd"), "merge-patch+json", label.to_string()).await;
    assert_eq!((got.code, got.warnings), (200, vec![]));
    let got = api.post_answer(PODS, pod("plain")).await;
    assert_eq!((got.code, got.warnings), (201, vec![]));
    let template = json!({"metadata": {"labels": {"a": "b"}}, "spec": odd["spec"]});
    let deployment = json!({"metadata": {"name": "d"}, "spec": {"selector": {"matchLabels": {"a": "b"}}, "template": template}});
    let got = api.post_answer("/apis/apps/v1/namespaces/default/deployments", deployment).await;
    assert!(got.warnings[0].contains("spec.template.spec.hostPID: "), "{:?}", got.warnings);
}

#[tokio::test]
async fn images_of_components_belong_to_the_cluster() {
    let api = Api::with_accounts().await;
    let with = |name: &str, image: &str| {
        let mut pod = pod(name);
        pod["spec"]["containers"][0]["image"] = image.into();
        pod
    };
    let etcd = with("r6", "ropewalk.io/etcd");
    let got = api.post_answer(PODS, etcd.clone()).await;
    assert_eq!(got.code, 403, "{}", got.body);
    assert!(got.message().contains("spec.containers[0].image: ropewalk.io/etcd"), "{}", got.message());
    let template = json!({"metadata": {"labels": {"a": "b"}}, "spec": etcd["spec"]});
    let set = json!({"metadata": {"name": "d"}, "spec": {"selector": {"matchLabels": {"a": "b"}}, "template": template}});
    let sets = "/apis/apps/v1/namespaces/kube-system/daemonsets";
    assert_eq!(api.post_answer(sets, set).await.code, 403);
    assert_eq!(api.post_answer(PODS, pod("later")).await.code, 201);
    let image = json!({"spec": {"containers": [{"name": "c", "image": "ropewalk.io/kube-proxy"}]}});
    let got =
        api.patch_answer(&format!("{PODS}/later"), "strategic-merge-patch+json", image.to_string()).await;
    assert_eq!(got.code, 403, "{}", got.body);
    let as_user = |user: User, path: &'static str, pod: Value| {
        let api = &api;
        async move { api.answer(user, "POST", path, "application/json", pod.to_string()).await.code }
    };
    let system = "/api/v1/namespaces/kube-system/pods";
    let masters = ["system:masters"];
    let controller = || User::new("system:kube-controller-manager", &masters);
    // A user who may make accounts in kube-system may give one the name of a controller.
    let account = User::new("system:serviceaccount:kube-system:replicaset-controller", &masters);
    assert_eq!(as_user(account, system, with("dns", "ropewalk.io/coredns:1")).await, 403);
    assert_eq!(as_user(controller(), system, with("dns", "ropewalk.io/coredns:1")).await, 201);
    assert_eq!(as_user(controller(), PODS, with("dns", "ropewalk.io/coredns:1")).await, 403);
    assert_eq!(as_user(controller(), system, etcd.clone()).await, 403);
    assert_eq!(as_user(User::new(tap::ADMIN, &masters), system, etcd.clone()).await, 201);
    let impersonated = User { impersonator: "somebody".into(), ..User::new(tap::ADMIN, &masters) };
    assert_eq!(as_user(impersonated, PODS, etcd).await, 403);
}

#[tokio::test]
async fn strict_decoding_speaks_as_upstream() {
    let api = Api::with_accounts().await;
    let path = "/apis/apps/v1/namespaces/default/deployments?fieldValidation=Strict";
    let json = r#"{"metadata": {"name": "d"}, "spec": {"unknownField": "foo", "replicas": 2, "replicas": 3,
        "selector": {"matchLabels": {"a": "b"}}}}"#;
    let got = api.answer(person(), "POST", path, "application/json", json).await;
    assert_eq!(got.code, 400);
    assert!(
        got.message().ends_with(
            r#"strict decoding error: unknown field "spec.unknownField", duplicate field "spec.replicas""#
        ),
        "{}",
        got.message()
    );
    let yaml = "metadata:\n  name: d\nspec:\n  zz: 1\n  aa: 1\n  replicas: 1\n  replicas: 2\n";
    let got = api.answer(person(), "POST", path, "application/yaml", yaml).await;
    assert!(
        got.message().ends_with("strict decoding error: yaml: unmarshal errors:\n  line 7: key \"replicas\" already set in map, unknown field \"spec.aa\", unknown field \"spec.zz\""),
        "{}",
        got.message()
    );
    let map = "\napiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: m\ndata:\n  foo: a\n  foo: b\n";
    let apply = format!("{MAPS}/m?fieldManager=m&fieldValidation=");
    let got = api.patch_answer(&format!("{apply}Strict"), "apply-patch+yaml", map).await;
    assert!(got.message().contains("line 8: key \"foo\" already set in map"), "{}", got.message());
    let got = api.patch_answer(&format!("{apply}Warn"), "apply-patch+yaml", map).await;
    assert!(
        (got.code, got.warnings.len()) == (201, 1) && got.warnings[0].contains("line 8: key"),
        "{:?}",
        got.warnings
    );
    let got = api
        .patch_answer(
            &format!("{apply}Ignore"),
            "apply-patch+yaml",
            "apiVersion: v1\nkind: ConfigMap\nfoo: 1\n",
        )
        .await;
    let why = ": .foo: field not declared in schema";
    assert!(got.code == 500 && got.message().ends_with(why), "{} {}", got.code, got.message());
}

#[tokio::test]
async fn a_binding_is_no_new_generation_of_a_pod() {
    let api = Api::with_accounts().await;
    let mut object = pod("g");
    object["metadata"]["generation"] = 100.into();
    assert_eq!(api.post_answer(PODS, object).await.body["metadata"]["generation"], 1);
    let binding = json!({"metadata": {"name": "g"}, "target": {"kind": "Node", "name": "n"}});
    assert_eq!(api.post_answer(&format!("{PODS}/g/binding"), binding).await.code, 201);
    let path = format!("{PODS}/g");
    let generation = |got: Got| got.body["metadata"]["generation"].as_i64().unwrap();
    let label = json!({"metadata": {"labels": {"a": "b"}}}).to_string();
    assert_eq!(generation(api.patch_answer(&path, "merge-patch+json", label).await), 1);
    let deadline = json!({"spec": {"activeDeadlineSeconds": 5000}}).to_string();
    assert_eq!(generation(api.patch_answer(&path, "merge-patch+json", deadline).await), 2);
    let debug = json!({"spec": {"ephemeralContainers": [{"name": "d", "image": "busybox"}]}}).to_string();
    let doors = format!("{path}/ephemeralcontainers");
    assert_eq!(generation(api.patch_answer(&doors, "strategic-merge-patch+json", debug).await), 3);
    let changed = json!({"spec": {"ephemeralContainers": [{"name": "d", "image": "nginx"}]}}).to_string();
    let got = api.patch_answer(&doors, "strategic-merge-patch+json", changed).await;
    assert!(got.code == 422 && got.message().contains("may not be changed"), "{}", got.body);
}

#[tokio::test]
async fn ephemeral_containers_are_written_to_the_pod_that_was_read() {
    let api = Api::with_accounts().await;
    let old = api.post_answer(PODS, pod("e")).await.body;
    let path = format!("{PODS}/e");
    let label = json!({"metadata": {"labels": {"a": "b"}}}).to_string();
    assert_eq!(api.patch_answer(&path, "merge-patch+json", label).await.code, 200);
    let door = format!("{path}/ephemeralcontainers");
    let put = async |mut object: Value| {
        object["spec"]["ephemeralContainers"] = json!([{"name": "d", "image": "busybox"}]);
        api.answer(person(), "PUT", &door, "application/json", object.to_string()).await
    };
    let got = put(old).await;
    assert!(got.code == 409 && got.message().contains("has been modified"), "{}", got.body);
    let mut other = api.answer(person(), "GET", &path, "", "").await.body;
    other["metadata"]["uid"] = "another".into();
    assert_eq!(put(other).await.code, 409);
    let current = api.answer(person(), "GET", &path, "", "").await.body;
    let got = put(current).await;
    assert_eq!(
        (got.code, &got.body["spec"]["ephemeralContainers"][0]["name"]),
        (200, &json!("d")),
        "{}",
        got.body
    );
}

/// An autoscaler that applies a scale owns the number of replicas, so that another manager's apply
/// finds the conflict.
#[tokio::test]
async fn an_apply_of_a_scale_owns_the_replicas() {
    let api = Api::with_accounts().await;
    let deployments = "/apis/apps/v1/namespaces/default/deployments";
    let template = json!({"metadata": {"labels": {"a": "b"}}, "spec": pod("x")["spec"]});
    let deployment = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d"},
        "spec": {"selector": {"matchLabels": {"a": "b"}}, "template": template}});
    assert_eq!(api.post_answer(deployments, deployment.clone()).await.code, 201);
    let path = format!("{deployments}/d/scale");
    let scale = json!({"apiVersion": "autoscaling/v1", "kind": "Scale", "metadata": {"name": "d"}, "spec": {"replicas": 3}});
    assert_eq!(
        api.patch_answer(&path, "apply-patch+yaml", scale.to_string()).await.code,
        422,
        "it names no manager"
    );
    let by = |manager: &str| format!("{path}?fieldManager={manager}");
    let got = api.patch_answer(&by("scaler"), "apply-patch+yaml", scale.to_string()).await;
    assert_eq!(got.code, 409, "whoever created the Deployment owns what was filled in: {}", got.body);
    let got = api
        .patch_answer(&format!("{}&force=true", by("scaler")), "apply-patch+yaml", scale.to_string())
        .await;
    assert_eq!((got.code, &got.body["spec"]["replicas"]), (200, &json!(3)), "{}", got.body);
    let there = api.answer(person(), "GET", &format!("{deployments}/d"), "", "").await.body;
    let entries = there["metadata"]["managedFields"].as_array().unwrap();
    let own = entries.iter().find(|e| e["manager"] == "scaler").unwrap();
    assert_eq!((&own["operation"], &own["subresource"]), (&json!("Apply"), &json!("scale")));
    assert_eq!(own["fieldsV1"], json!({"f:spec": {"f:replicas": {}}}));
    let mut five = deployment;
    five["spec"]["replicas"] = 5.into();
    let got = api
        .patch_answer(&format!("{deployments}/d?fieldManager=another"), "apply-patch+yaml", five.to_string())
        .await;
    assert!(got.code == 409 && got.message().contains("scaler"), "{}", got.body);
    let wrong = json!({"metadata": {"name": "other"}, "spec": {"replicas": 1}});
    assert_eq!(api.answer(person(), "PUT", &path, "application/json", wrong.to_string()).await.code, 400);
    let foreign = json!({"metadata": {"name": "d", "uid": "another"}, "spec": {"replicas": 1}});
    assert_eq!(api.answer(person(), "PUT", &path, "application/json", foreign.to_string()).await.code, 409);
}

#[tokio::test]
async fn what_cannot_change_is_refused_or_stays() {
    let api = Api::with_accounts().await;
    let made = api.post_answer(MAPS, json!({"metadata": {"name": "c"}})).await;
    assert_eq!(made.code, 201);
    let path = format!("{MAPS}/c");
    for (field, value, code) in [
        ("namespace", json!("kube-system"), 400),
        ("creationTimestamp", json!("2001-01-01T00:00:00Z"), 200),
        ("uid", json!("another"), 422),
        ("deletionTimestamp", json!("2001-01-01T00:00:00Z"), 422),
        ("deletionGracePeriodSeconds", json!(30), 422),
    ] {
        let change = json!({"metadata": {field: value}});
        let got = api.patch_answer(&path, "merge-patch+json", change.to_string()).await;
        assert_eq!(got.code, code, "{field}: {}", got.body);
        let mut apply = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}});
        apply["metadata"][field] = value;
        let got =
            api.patch_answer(&format!("{path}?fieldManager=m"), "apply-patch+yaml", apply.to_string()).await;
        assert_eq!(got.code, code, "{field}: {}", got.body);
        let there = api.answer(person(), "GET", &path, "", "").await.body;
        assert_eq!(there["metadata"]["creationTimestamp"], made.body["metadata"]["creationTimestamp"]);
    }
    for (field, value) in [("priority", json!(7)), ("preemptionPolicy", json!("Never"))] {
        let mut odd = pod("odd");
        odd["spec"][field] = value;
        let got = api.post_answer(PODS, odd).await;
        assert!(
            got.code == 403 && got.message().contains("must not be provided in pod spec"),
            "{}",
            got.body
        );
    }
    let mut same = pod("same");
    same["spec"]["priority"] = 0.into();
    same["spec"]["preemptionPolicy"] = "PreemptLowerPriority".into();
    assert_eq!(api.post_answer(PODS, same).await.code, 201);
}

#[tokio::test]
async fn a_claim_grows_if_its_class_allows_it() {
    let api = Api::with_accounts().await;
    const CLASSES: &str = "/apis/storage.k8s.io/v1/storageclasses";
    const CLAIMS: &str = "/api/v1/namespaces/default/persistentvolumeclaims";
    for (class, grows) in [("fixed", false), ("grows", true)] {
        let object = json!({"metadata": {"name": class}, "provisioner": "example.com/x", "allowVolumeExpansion": grows});
        assert_eq!(api.post_answer(CLASSES, object).await.code, 201);
        let claim = json!({"metadata": {"name": class}, "spec": {"storageClassName": class,
            "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}});
        assert_eq!(api.post_answer(CLAIMS, claim).await.code, 201);
        let bound = json!({"status": {"phase": "Bound", "capacity": {"storage": "1Gi"}}}).to_string();
        let path = format!("{CLAIMS}/{class}");
        let got = api.patch_answer(&format!("{path}/status"), "merge-patch+json", bound).await;
        assert_eq!(got.code, 200, "{}", got.body);
        let more = json!({"spec": {"resources": {"requests": {"storage": "2Gi"}}}}).to_string();
        let got = api.patch_answer(&path, "merge-patch+json", more).await;
        assert_eq!(got.code, if grows { 200 } else { 403 }, "{}", got.body);
        if !grows {
            let why = "only dynamically provisioned pvc can be resized and the storageclass that provisions the pvc must support resize";
            assert!(got.message().ends_with(&format!("is forbidden: {why}")), "{}", got.body);
        }
    }
}

#[tokio::test]
async fn one_priority_class_is_the_default() {
    let api = Api::with_accounts().await;
    const CLASSES: &str = "/apis/scheduling.k8s.io/v1/priorityclasses";
    let class =
        |name: &str, default: bool| json!({"metadata": {"name": name}, "value": 5, "globalDefault": default});
    assert_eq!(api.post_answer(CLASSES, class("a", true)).await.code, 201);
    let second = api.post_answer(CLASSES, class("b", true)).await;
    assert_eq!(second.code, 403, "{}", second.body);
    assert_eq!(
        second.message(),
        "priorityclasses.scheduling.k8s.io \"b\" is forbidden: PriorityClass a is already marked as default. Only one default can exist"
    );
    assert_eq!(api.post_answer(CLASSES, class("b", false)).await.code, 201);
    let patch = json!({"globalDefault": true}).to_string();
    let marked = api.patch_answer(&format!("{CLASSES}/b"), "merge-patch+json", patch.clone()).await;
    assert_eq!(marked.code, 403, "{}", marked.body);
    assert_eq!(api.patch_answer(&format!("{CLASSES}/a"), "merge-patch+json", patch).await.code, 200);
}

#[tokio::test]
async fn an_apply_orders_init_containers_and_refuses_variables_that_occur_twice() {
    let api = Api::with_accounts().await;
    let path = "/apis/apps/v1/namespaces/default/deployments/web?fieldManager=me&force=true";
    let deployment = |inits: &[&str], env: Value| {
        let inits: Vec<Value> = inits.iter().map(|name| json!({"name": name, "image": "x"})).collect();
        let spec = json!({"initContainers": inits, "containers": [{"name": "c", "image": "x", "env": env}]});
        json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}, "spec": {
            "selector": {"matchLabels": {"a": "b"}}, "template": {"metadata": {"labels": {"a": "b"}}, "spec": spec}}})
        .to_string()
    };
    let one = json!([{"name": "A", "value": "1"}]);
    let made =
        api.patch_answer(path, "apply-patch+yaml", deployment(&["migrate", "seed"], one.clone())).await;
    assert_eq!(made.code, 201, "{}", made.body);
    let again =
        api.patch_answer(path, "apply-patch+yaml", deployment(&["wait", "seed", "migrate"], one)).await;
    assert_eq!(again.code, 200, "{}", again.body);
    let inits = again.body["spec"]["template"]["spec"]["initContainers"].as_array().unwrap();
    let names: Vec<&str> = inits.iter().map(|c| c["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["wait", "seed", "migrate"]);
    assert_eq!(again.body["metadata"]["generation"], 2);
    let twice = json!([{"name": "A", "value": "1"}, {"name": "A", "value": "2"}]);
    let refused = api.patch_answer(path, "apply-patch+yaml", deployment(&["wait"], twice)).await;
    assert_eq!(refused.code, 500, "{}", refused.body);
    assert!(
        refused.message().ends_with(
            ".spec.template.spec.containers[name=\"c\"].env: duplicate entries for key [name=\"A\"]"
        ),
        "{}",
        refused.message()
    );
}

/// A Go server writes objects from structs, where `tty: false` is the same as no line at all. So is
/// it here, but an apply owns what it said.
#[tokio::test]
async fn zero_values_are_no_change() {
    let api = Api::with_accounts().await;
    let deployments = "/apis/apps/v1/namespaces/default/deployments";
    let deployment = |name: &str| {
        let container = json!({"name": "c", "image": "x", "tty": false, "env": []});
        let spec = json!({"containers": [container], "hostNetwork": false});
        json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name, "labels": {}},
            "spec": {"paused": false, "selector": {"matchLabels": {"a": "b"}, "matchExpressions": []},
                "template": {"metadata": {"labels": {"a": "b"}}, "spec": spec}}})
    };
    let made = api.post_answer(deployments, deployment("d")).await.body;
    let template = &made["spec"]["template"]["spec"];
    assert!(
        template["containers"][0].get("tty").is_none() && template.get("hostNetwork").is_none(),
        "{made}"
    );
    let mut without = made.clone();
    without["spec"]["selector"] = json!({"matchLabels": {"a": "b"}});
    let path = format!("{deployments}/d");
    let put = api.answer(person(), "PUT", &path, "application/json", without.to_string()).await;
    assert_eq!((put.code, &put.body), (200, &made), "the selector is as it was");
    let fewer = json!({"spec": {"template": {"spec": {"hostNetwork": null}}}}).to_string();
    assert_eq!(api.patch_answer(&path, "merge-patch+json", fewer).await.body, made, "no new generation");

    let mut posted = pod("p");
    posted["spec"]["hostNetwork"] = false.into();
    posted["spec"]["hostname"] = "".into();
    let mut typed = api.post_answer(PODS, posted).await.body;
    assert!(typed["spec"].get("hostname").is_none(), "{typed}");
    typed["metadata"]["labels"] = json!({"a": "b"});
    let put = api.answer(person(), "PUT", &format!("{PODS}/p"), "application/json", typed.to_string()).await;
    assert_eq!(put.code, 200, "{}", put.body);

    let path = format!("{deployments}/applied?fieldManager=me");
    let first = api.patch_answer(&path, "apply-patch+yaml", deployment("applied").to_string()).await.body;
    assert!(first["spec"].get("paused").is_none(), "{first}");
    let owned = &first["metadata"]["managedFields"][0]["fieldsV1"]["f:spec"];
    assert_eq!(owned["f:paused"], json!({}), "{owned}");
    let again = api.patch_answer(&path, "apply-patch+yaml", deployment("applied").to_string()).await.body;
    assert_eq!(again, first, "applying the same again changes nothing");
}
