//! Tests of the objects that a kustomization selects, and of its changes to them. The expected
//! texts are those of kubectl for the same folders.

use super::tests::{built, write};
use serde_json::{Value, json};

const WEB: &str = "
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 1
  selector: {matchLabels: {a: b}}
  template: {metadata: {labels: {a: b}}, spec: {containers: [{name: c, image: 'nginx:1'}]}}
";

/// Builds a kustomization of the files `web.yaml` and `foo.yaml`, which is the same in the
/// namespace `foo`.
async fn of_web(kustomization: &str) -> Result<Vec<Value>, String> {
    let dir = tempfile::tempdir().unwrap();
    let foo = WEB.replace("{name: web}", "{name: web, namespace: foo}");
    write(dir.path(), &[("k/kustomization.yaml", kustomization), ("k/web.yaml", WEB), ("k/foo.yaml", &foo)]);
    built(dir.path(), "k").await
}

const SCALED: &str = "{apiVersion: apps/v1, kind: Deployment, metadata: {name: web}, spec: {replicas: 5}}";

#[tokio::test]
async fn no_namespace_means_the_default_one() {
    let scale = format!("patches: [{{patch: '{SCALED}'}}]\n");
    let message = of_web(&format!("resources: [foo.yaml]\n{scale}")).await.unwrap_err();
    assert!(message.contains("no matches for Id Deployment.v1.apps/web.[noNs]"), "{message}");

    let found = of_web(&format!("resources: [foo.yaml, web.yaml]\n{scale}")).await.unwrap();
    let replicas: Vec<(&Value, &Value)> =
        found.iter().map(|o| (&o["metadata"]["namespace"], &o["spec"]["replicas"])).collect();
    assert!(replicas.contains(&(&Value::Null, &json!(5))) && replicas.contains(&(&json!("foo"), &json!(1))));

    let target = "patches: [{target: {kind: Deployment, namespace: default}, patch: '[{\"op\": \"add\", \"path\": \"/spec/replicas\", \"value\": 7}]'}]\n";
    let found = of_web(&format!("resources: [web.yaml]\n{target}")).await.unwrap();
    assert_eq!(found[0]["spec"]["replicas"], 7);
    let found = of_web(&format!("resources: [foo.yaml]\n{target}")).await.unwrap();
    assert_eq!(found[0]["spec"]["replicas"], 1);

    let generator =
        "configMapGenerator: [{name: c, literals: [a=b]}, {name: c, namespace: foo, literals: [a=b]}]";
    assert_eq!(of_web(generator).await.unwrap().len(), 2);
    let generator =
        "configMapGenerator: [{name: c, literals: [a=b]}, {name: c, namespace: default, literals: [a=b]}]";
    let message = of_web(generator).await.unwrap_err();
    assert!(message.contains("exists; behavior must be merge or replace"), "{message}");
}

#[tokio::test]
async fn a_target_means_the_first_place_or_the_current_one() {
    let dir = tempfile::tempdir().unwrap();
    let patch = |name: &str, key: &str| {
        format!(
            "{{target: {{name: {name}}}, patch: '[{{\"op\": \"add\", \"path\": \"/{key}\", \"value\": 1}}]'}}"
        )
    };
    let top = format!(
        "resources: [../b]\npatches: [{}, {}, {}]",
        patch("web", "x"),
        patch("a-web", "y"),
        patch("b-a-web", "z")
    );
    write(
        dir.path(),
        &[
            ("a/kustomization.yaml", "resources: [web.yaml]\nnamePrefix: a-\n"),
            ("a/web.yaml", WEB),
            ("b/kustomization.yaml", "resources: [../a]\nnamePrefix: b-\n"),
            ("k/kustomization.yaml", &top),
        ],
    );
    let found = built(dir.path(), "k").await.unwrap();
    let marks = ["x", "y", "z"].map(|key| found[0][key] == 1);
    assert_eq!(marks, [true, false, true], "the place between does not count");
}

#[tokio::test]
async fn a_generator_takes_the_place_of_what_it_merges_with_or_replaces() {
    let dir = tempfile::tempdir().unwrap();
    let base = "
configMapGenerator:
- {name: m, literals: [a=1, b=2], options: {labels: {old: '1'}}}
- {name: r, literals: [a=1, b=2], options: {labels: {old: '1'}}}
secretGenerator: [{name: s, type: kubernetes.io/tls, literals: [a=1]}]
";
    let over = "
resources: [../base]
namePrefix: p-
configMapGenerator:
- {name: m, behavior: merge, literals: [b=3], options: {disableNameSuffixHash: true, immutable: true}}
- {name: r, behavior: replace, literals: [c=3], options: {labels: {over: '1'}, immutable: true}}
secretGenerator: [{name: s, behavior: merge, literals: [b=2]}]
";
    write(dir.path(), &[("base/kustomization.yaml", base), ("k/kustomization.yaml", over)]);
    let found = built(dir.path(), "k").await.unwrap();
    let of = |name: &str| {
        found.iter().find(|o| o["metadata"]["name"] == name).unwrap_or_else(|| panic!("{name}: {found:?}"))
    };
    let merged = of("p-m");
    assert_eq!(merged["immutable"], true);
    assert_eq!(
        (&merged["data"], &merged["metadata"]["labels"]),
        (&json!({"a": "1", "b": "3"}), &json!({"old": "1"}))
    );
    let replaced = of("p-r-c966fbk687");
    assert_eq!(replaced["immutable"], true);
    assert_eq!(replaced["data"], json!({"c": "3"}));
    assert_eq!(replaced["metadata"]["labels"], json!({"old": "1", "over": "1"}));
    let secret = of("p-s-8fb7cfch84");
    assert_eq!((&secret["type"], &secret["data"]), (&json!("Opaque"), &json!({"a": "MQ==", "b": "Mg=="})));
}

#[tokio::test]
async fn replicas_labels_and_images_are_kustomizes() {
    let one = "resources: [web.yaml]\n";
    let found = of_web(&format!("{one}replicas: [{{name: web}}]")).await.unwrap();
    assert_eq!(found[0]["spec"]["replicas"], 0);

    let labels = "commonLabels: {a: common}\nlabels: [{pairs: {a: label}, includeSelectors: true}]";
    let found = of_web(&format!("{one}{labels}")).await.unwrap();
    assert_eq!(found[0]["metadata"]["labels"]["a"], "common");
    assert_eq!(found[0]["spec"]["selector"]["matchLabels"]["a"], "common");

    let image = async |rules: &str| {
        let found = of_web(&format!("{one}images: [{rules}]")).await.unwrap();
        found[0]["spec"]["template"]["spec"]["containers"][0]["image"].clone()
    };
    assert_eq!(image("{name: 'ng.*', newTag: '9'}").await, "nginx:9");
    assert_eq!(image("{name: 'ginx', newTag: '9'}").await, "nginx:1");
    assert_eq!(image("{name: nginx, newName: 'h:5/x', digest: 'sha256:0'}").await, "h:5/x@sha256:0");
}

#[tokio::test]
async fn json_patches_see_annotations_that_kustomize_keeps() {
    let patch = |path: &str| format!("[{{\"op\": \"add\", \"path\": \"{path}\", \"value\": \"y\"}}]");
    let build = async |field: &str, path: &str| {
        let content =
            format!("resources: [web.yaml]\n{field}: [{{target: {{name: web}}, patch: '{}'}}]", patch(path));
        of_web(&content).await
    };
    let found = build("patches", "/metadata/annotations/x").await.unwrap();
    assert_eq!(found[0]["metadata"], json!({"annotations": {"x": "y"}, "name": "web"}));
    let found = build("patches", "/x").await.unwrap();
    assert_eq!(found[0]["metadata"], json!({"name": "web"}), "no empty annotations stay");
    let found = build("namePrefix: p-\npatchesJson6902", "/metadata/annotations/x").await.unwrap();
    assert_eq!(found[0]["metadata"], json!({"annotations": {"x": "y"}, "name": "p-web"}));
    let message = build("patchesJson6902", "/metadata/annotations/x").await.unwrap_err();
    assert!(message.contains("/metadata/annotations/x") && !message.contains("server"), "{message}");
    let message = build("patches", "/metadata/labels/x").await.unwrap_err();
    assert!(message.contains("/metadata/labels/x") && !message.contains("server"), "{message}");
}

#[tokio::test]
async fn plain_words_of_operations_are_those_of_old_yaml() {
    let patch = "[{target: {name: web}, patch: '- {op: add, path: /metadata/annotations/x, value: y}'}]";
    for field in ["patches", "namePrefix: p-\npatchesJson6902"] {
        let found = of_web(&format!("resources: [web.yaml]\n{field}: {patch}")).await.unwrap();
        assert_eq!(found[0]["metadata"]["annotations"]["x"], "true");
    }
}

#[tokio::test]
async fn selectors_within_pods_are_followed_in_two_kinds() {
    let constraint = "{labelSelector: {matchLabels: {a: b}}}";
    for (kind, follows) in
        [("Deployment", true), ("StatefulSet", true), ("DaemonSet", false), ("ReplicaSet", false)]
    {
        let dir = tempfile::tempdir().unwrap();
        let object = format!(
            "apiVersion: apps/v1\nkind: {kind}\nmetadata: {{name: w}}\nspec: {{template: {{spec: {{topologySpreadConstraints: [{constraint}]}}}}}}\n"
        );
        let content = "resources: [w.yaml]\nlabels: [{pairs: {l: m}, includeSelectors: true}]\n";
        write(dir.path(), &[("k/kustomization.yaml", content), ("k/w.yaml", &object)]);
        let found = built(dir.path(), "k").await.unwrap();
        let spread = &found[0]["spec"]["template"]["spec"]["topologySpreadConstraints"][0];
        let want = if follows { json!({"a": "b", "l": "m"}) } else { json!({"a": "b"}) };
        assert_eq!(spread["labelSelector"]["matchLabels"], want, "{kind}");
    }
}

/// Builds a kustomization of one object, and a Secret that a generator makes.
async fn of_one(object: &str, fields: &str) -> Value {
    let dir = tempfile::tempdir().unwrap();
    let content =
        format!("resources: [one.yaml]\nsecretGenerator: [{{name: s, literals: [a=b]}}]\n{fields}\n");
    write(dir.path(), &[("k/kustomization.yaml", &content), ("k/one.yaml", object)]);
    let found = built(dir.path(), "k").await.unwrap();
    found.into_iter().find(|object| object["kind"] != "Secret").expect("the object")
}

#[tokio::test]
async fn kinds_of_other_groups_keep_their_form() {
    let fields = "commonLabels: {l: m}\ncommonAnnotations: {k: o}";
    let job =
        |group: &str| format!("{{apiVersion: {group}/v1, kind: Job, metadata: {{name: j}}, spec: {{}}}}");
    let of_batch = of_one(&job("batch"), fields).await;
    let want = json!({"template": {"metadata": {"annotations": {"k": "o"}, "labels": {"l": "m"}}}});
    assert_eq!(of_batch["spec"], want);
    let of_other = of_one(&job("batch.volcano.sh"), fields).await;
    assert_eq!(of_other["spec"], json!({}), "its pods stand in its tasks");
    let metadata = json!({"annotations": {"k": "o"}, "labels": {"l": "m"}, "name": "j"});
    assert_eq!(of_other["metadata"], metadata);
    let budget = "{apiVersion: other.io/v1, kind: PodDisruptionBudget, metadata: {name: b}, spec: {selector: {matchLabels: {a: b}}}}";
    let found = of_one(budget, fields).await;
    assert_eq!(found["spec"]["selector"]["matchLabels"], json!({"a": "b"}));
}

#[tokio::test]
async fn a_reference_follows_an_object_that_gets_another_kind() {
    let service = "{apiVersion: apps/v1, kind: StatefulSet, metadata: {name: w}, spec: {serviceName: x}}\n---\n{apiVersion: v1, kind: Service, metadata: {name: x}}\n";
    let patch = "patches: [{target: {kind: Service}, patch: '{kind: Q, metadata: {name: z}}', options: {allowNameChange: true, allowKindChange: true}}]";
    let dir = tempfile::tempdir().unwrap();
    let content = format!("resources: [all.yaml]\n{patch}\n");
    write(dir.path(), &[("k/kustomization.yaml", &content), ("k/all.yaml", service)]);
    let found = built(dir.path(), "k").await.unwrap();
    let set = found.iter().find(|object| object["kind"] == "StatefulSet").expect("the set");
    assert_eq!(set["spec"]["serviceName"], "z");
}

#[tokio::test]
async fn a_service_of_knative_follows_its_secrets() {
    let env = "[{name: A, valueFrom: {secretKeyRef: {name: s, key: a}}}]";
    let service = format!(
        "{{apiVersion: serving.knative.dev/v1, kind: Service, metadata: {{name: k}}, spec: {{template: {{spec: {{containers: [{{env: {env}}}]}}}}}}}}"
    );
    let found = of_one(&service, "").await;
    let named = &found["spec"]["template"]["spec"]["containers"][0]["env"][0]["valueFrom"]["secretKeyRef"];
    assert!(named["name"].as_str().is_some_and(|name| name.starts_with("s-")), "{named}");
}

#[tokio::test]
async fn a_secret_without_data_has_the_name_that_kubectl_gives_it() {
    let found = of_web("secretGenerator: [{name: q}]").await.unwrap();
    assert_eq!(found[0]["metadata"]["name"], "q-46f8b28mk5");
    assert_eq!(found[0]["data"], json!({}));
}

#[tokio::test]
async fn strategic_patches_stand_in_the_list_or_in_files() {
    let inline = format!("resources: [web.yaml]\npatchesStrategicMerge: ['{SCALED}']");
    assert_eq!(of_web(&inline).await.unwrap()[0]["spec"]["replicas"], 5);
    let message = of_web("resources: [web.yaml]\npatchesStrategicMerge: [nope.yaml]").await.unwrap_err();
    assert!(message.contains("nope.yaml: no such file or directory"), "{message}");
    let two = format!(
        "resources: [web.yaml]\npatches:\n- target: {{kind: Deployment}}\n  patch: |\n    {SCALED}\n    ---\n    {SCALED}\n"
    );
    let message = of_web(&two).await.unwrap_err();
    assert!(message.contains("Multiple Strategic-Merge Patches in one `patches` entry"), "{message}");
}

#[tokio::test]
async fn policies_are_followed_and_classes_of_ingresses_are_not() {
    let dir = tempfile::tempdir().unwrap();
    let object = |group: &str, kind: &str, name: &str, spec: &str| {
        format!("{{apiVersion: {group}/v1, kind: {kind}, metadata: {{name: {name}}}, spec: {spec}}}\n")
    };
    let (admission, networking) = ("admissionregistration.k8s.io", "networking.k8s.io");
    let all = [
        object(admission, "ValidatingAdmissionPolicy", "policy", "{}"),
        object(admission, "ValidatingAdmissionPolicyBinding", "binding", "{policyName: policy}"),
        object(networking, "IngressClass", "class", "{}"),
        object(networking, "Ingress", "web", "{ingressClassName: class}"),
    ];
    let content = "resources: [all.yaml]\nnamePrefix: p-\n";
    write(dir.path(), &[("k/kustomization.yaml", content), ("k/all.yaml", &all.join("---\n"))]);
    let found = built(dir.path(), "k").await.unwrap();
    let spec = |kind: &str| found.iter().find(|o| o["kind"] == kind).map(|o| o["spec"].clone());
    assert_eq!(spec("ValidatingAdmissionPolicyBinding"), Some(json!({"policyName": "p-policy"})));
    assert_eq!(spec("Ingress"), Some(json!({"ingressClassName": "class"})));
}

/// Both ConfigMaps were called `cfg`; the pod has the suffix of one of them.
#[tokio::test]
async fn a_name_means_what_has_the_affixes_of_the_referrer() {
    let dir = tempfile::tempdir().unwrap();
    let cfg = "{apiVersion: v1, kind: ConfigMap, metadata: {name: cfg}}\n";
    let pod =
        "{apiVersion: v1, kind: Pod, metadata: {name: a}, spec: {volumes: [{configMap: {name: cfg}}]}}\n";
    let base = "resources: [cfg.yaml, pod.yaml]\nnameSuffix: -s\n";
    let top = "resources: [../base, cfg.yaml]\nnamePrefix: p-\n";
    write(
        dir.path(),
        &[
            ("base/kustomization.yaml", base),
            ("base/cfg.yaml", cfg),
            ("base/pod.yaml", pod),
            ("k/kustomization.yaml", top),
            ("k/cfg.yaml", cfg),
        ],
    );
    let found = built(dir.path(), "k").await.unwrap();
    let pod = found.iter().find(|o| o["kind"] == "Pod").expect("the pod");
    assert_eq!(pod["spec"]["volumes"][0]["configMap"]["name"], "p-cfg-s");
}
