//! What kubectl 1.33's own kustomize says about the same folders.

use super::*;
use serde_json::json;

fn write(dir: &Path, files: &[(&str, &str)]) {
    for (name, content) in files {
        let path = dir.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }
}

async fn built(dir: &Path, shown: &str) -> Result<Vec<Value>, String> {
    build(&dir.join(shown), shown).await.map(|b| b.objects).map_err(|f| f.message())
}

const BASE: &str = "
resources: [app.yaml]
labels: [{pairs: {app: web}, includeSelectors: true}]
configMapGenerator:
- name: settings
  literals: [a=1, 'b=x<y']
  files: [f.txt, k=f.txt]
  envs: [e.env]
secretGenerator: [{name: keys, literals: [pw=s3cret]}]
";
const APP: &str = "
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  selector: {matchLabels: {tier: a}}
  template:
    metadata: {labels: {tier: a}}
    spec:
      containers:
      - {name: c, image: 'nginx:1.27', envFrom: [{configMapRef: {name: settings}}, {secretRef: {name: keys}}]}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {selector: {tier: a}}
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: web}
spec: {defaultBackend: {service: {name: web, port: {number: 80}}}}
";
const OVER: &str = "
resources: [../base]
namespace: team
namePrefix: pre-
nameSuffix: -suf
commonAnnotations: {note: hi}
images: [{name: nginx, newTag: '1.28'}]
replicas: [{name: web, count: 3}]
configMapGenerator: [{name: settings, behavior: merge, literals: [a=2, c=3]}]
patches:
- patch: |-
    apiVersion: apps/v1
    kind: Deployment
    metadata: {name: web}
    spec: {template: {spec: {containers: [{name: c, tty: true}]}}}
- target: {kind: Service}
  patch: |-
    - {op: add, path: /spec/type, value: NodePort}
";

#[tokio::test]
async fn a_base_is_changed_by_an_overlay_and_hashes_are_kubectls() {
    let dir = tempfile::tempdir().unwrap();
    write(
        dir.path(),
        &[
            ("base/kustomization.yaml", BASE),
            ("base/app.yaml", APP),
            ("base/f.txt", "hello\nworld\n"),
            ("base/e.env", "E1=v1\n# c\nE2=v 2\n"),
            ("over/kustomization.yaml", OVER),
        ],
    );
    let base = built(dir.path(), "base").await.unwrap();
    let names: Vec<String> = base
        .iter()
        .map(|o| format!("{}/{}", value::text(o, "kind"), value::text(o, "metadata.name")))
        .collect();
    // The hashes are what kubectl 1.33 makes of the same content.
    assert_eq!(
        names,
        [
            "ConfigMap/settings-kd2g88g2fk",
            "Secret/keys-c6mc6k7dmf",
            "Service/web",
            "Deployment/web",
            "Ingress/web"
        ]
    );
    let over = built(dir.path(), "over").await.unwrap();
    assert_eq!(value::text(&over[0], "metadata.name"), "pre-settings-suf-8f99k2bc9t");
    let (service, deployment, ingress) = (&over[2], &over[3], &over[4]);
    assert_eq!(service["spec"], json!({"selector": {"app": "web", "tier": "a"}, "type": "NodePort"}));
    assert_eq!(deployment["spec"]["replicas"], 3);
    let container = &deployment["spec"]["template"]["spec"]["containers"][0];
    assert_eq!((&container["image"], &container["tty"]), (&json!("nginx:1.28"), &json!(true)));
    assert_eq!(container["envFrom"][0]["configMapRef"]["name"], "pre-settings-suf-8f99k2bc9t");
    assert_eq!(container["envFrom"][1]["secretRef"]["name"], "pre-keys-suf-c6mc6k7dmf");
    assert_eq!(ingress["spec"]["defaultBackend"]["service"]["name"], "pre-web-suf");
    assert!(
        over.iter()
            .all(|o| o["metadata"]["namespace"] == "team" && o["metadata"]["annotations"]["note"] == "hi")
    );
}

#[tokio::test]
async fn what_is_wrong_or_not_there_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let root = std::fs::canonicalize(dir.path()).unwrap();
    for (content, why) in [
        ("", "kustomization.yaml is empty"),
        ("foo: 1", "invalid Kustomization: json: unknown field \"foo\""),
        ("components: [x]", "'components' is not implemented"),
        ("resources: [missing.yaml]", "missing.yaml: no such file or directory"),
        ("resources: [../out.yaml]", "is not in or below"),
        ("resources: [.]", "cycle detected"),
        (
            "patches: [{patch: '{apiVersion: v1, kind: Pod, metadata: {name: nono}}'}]",
            "no matches for Id Pod.v1.[noGrp]/nono.[noNs]",
        ),
        ("replicas: [{name: zz, count: 2}]", "resource with name zz does not match a config"),
        (
            "labels: [{pairs: {a: y}}]",
            "cannot unmarshal bool into Go struct field Label.labels.pairs of type string",
        ),
    ] {
        write(&root, &[("k/kustomization.yaml", content), ("out.yaml", "{}")]);
        let told = built(&root, "k").await.unwrap_err();
        assert!(told.contains(why), "{content}: {told}");
    }
}
