//! The expected texts are those of kubectl 1.33's kustomize for the same folders.

use super::*;
use api::value;
use serde_json::json;

pub(super) fn write(dir: &Path, files: &[(&str, &str)]) {
    for (name, content) in files {
        let path = dir.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }
}

pub(super) async fn built(dir: &Path, folder: &str) -> Result<Vec<Value>, String> {
    build_at(&dir.join(folder), folder, &mut vec![]).await.map(|b| b.objects).map_err(|f| f.message())
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
    // The hashes are those of kubectl 1.33 for the same content.
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
        ("buildMetadata: [managedByLabel]", "'buildMetadata' is not implemented"),
        ("labels: [{pairs: {a: b}, fields: [{path: x}]}]", "'labels.fields' is not implemented"),
        ("images: [{name: a, tagSuffix: x}]", "'images.tagSuffix' is not implemented"),
        ("images: [{name: a, newtags: '2'}]", "invalid Kustomization: json: unknown field \"newtags\""),
        ("namePrefix: ''\nkind: Kustomization", "kustomization.yaml is empty"),
        ("apiVersion: v1\nresources: []", "should be kustomize.config.k8s.io/v1beta1"),
        ("patchesJson6902: [{target: {kind: Pod}, patch: '[]'}]", "must specify the target name"),
        (
            "patches: [{target: {kind: Pod}, patch: '[{op: remove, path: /a}]'}]",
            "unable to parse SM or JSON patch",
        ),
        ("patches: [{target: {kind: Pod}, patch: '{spec: {a: 1}}'}]", "unable to parse SM or JSON patch"),
        ("patches: [{patch: '[{\"op\": \"remove\"}]'}]", "must specify a target for JSON patch"),
        ("images: [{name: '(', newTag: '1'}]", "is not a regular expression"),
        (
            "configMapGenerator: [{name: a, files: [no.txt]}]",
            "loading KV pairs: file sources: [no.txt]: evalsymlink failure",
        ),
        ("configMapGenerator: [{literals: [a=b]}]", "a configmap must have a name"),
        ("configMapGenerator: [{name: a, literals: [a=b, a=c]}]", "illegally repeats the key `a`"),
        ("generatorOptions: {immutabel: true}", "unknown field \"immutabel\""),
        ("sortOptions: {order: a}", "the field 'sortOptions.order' must be one of [fifo, legacy]"),
        ("resources: [missing.yaml]", "missing.yaml: no such file or directory"),
        ("resources: [../out.yaml]", "is not in or below"),
        ("resources: [.]", "cycle detected"),
        ("resources: [github.com/a/b]", "github.com/a/b is a repository; remote folders are not implemented"),
        ("resources: ['git@x:a/b.yaml']", "git@x:a/b.yaml is a repository"),
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
        let message = built(&root, "k").await.unwrap_err();
        assert!(message.contains(why), "{content}: {message}");
    }
}

#[tokio::test]
async fn a_json_patch_that_fails_has_the_words_of_its_library() {
    let dir = tempfile::tempdir().unwrap();
    let root = std::fs::canonicalize(dir.path()).unwrap();
    let content = "configMapGenerator: [{name: a, literals: [a=b]}]
patches: [{target: {kind: ConfigMap}, patch: '[{\"op\": \"remove\", \"path\": \"/spec\"}]'}]";
    write(&root, &[("k/kustomization.yaml", content)]);
    let message = built(&root, "k").await.unwrap_err();
    assert_eq!(
        message,
        "error in remove for path: '/spec': Unable to remove nonexistent key: spec: missing value"
    );
}

/// The texts are those of kustomize 5.7, which kubectl 1.35 has.
#[tokio::test]
async fn failures_of_a_base_name_it_at_each_level() {
    let dir = tempfile::tempdir().unwrap();
    let root = std::fs::canonicalize(dir.path()).unwrap();
    write(
        &root,
        &[
            ("base/kustomization.yaml", "resources: [x.yaml]"),
            ("over/kustomization.yaml", "resources: [../base]"),
            ("around/kustomization.yaml", "resources: [in]"),
            ("around/in/kustomization.yaml", "resources: [..]"),
        ],
    );
    let at = root.display();
    let head = format!(
        "accumulation err='accumulating resources from '../base': '{at}/base' must resolve to a file': "
    );
    let recursed = format!("{head}recursed accumulation of path '{at}/base': accumulating resources: ");
    let message = built(&root, "over").await.unwrap_err();
    let missing = "accumulation err='accumulating resources from 'x.yaml': evalsymlink failure";
    assert!(message.contains(&format!("{recursed}{missing}")), "{message}");
    write(&root, &[("base/x.yaml", "a: [")]);
    let message = built(&root, "over").await.unwrap_err();
    let malformed = "accumulating resources from 'x.yaml': MalformedYAMLError: yaml: ";
    assert!(message.contains(&format!("{recursed}{malformed}")), "{message}");
    std::fs::remove_file(root.join("base/kustomization.yaml")).unwrap();
    let message = built(&root, "over").await.unwrap_err();
    assert!(
        message.contains(&format!("{head}couldn't make target for path '{at}/base': unable to find one of")),
        "{message}"
    );
    let message = built(&root, "around").await.unwrap_err();
    let cycle =
        format!("cycle detected: candidate root '{at}/around' contains visited root '{at}/around/in'");
    assert!(message.contains(&cycle), "{message}");
}

#[tokio::test]
async fn rules_and_webhooks_follow_what_they_name() {
    let dir = tempfile::tempdir().unwrap();
    write(
        dir.path(),
        &[
            (
                "k/kustomization.yaml",
                "resources: [all.yaml]\nnamespace: team\nnamePrefix: pre-\nsecretGenerator: [{name: keys, literals: [a=b]}]\n",
            ),
            (
                "k/all.yaml",
                "
apiVersion: v1
kind: Service
metadata: {name: hook, namespace: system}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: reader}
rules: [{apiGroups: [''], resources: [secrets], resourceNames: [keys, other], verbs: [get]}]
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingWebhookConfiguration
metadata: {name: checks}
webhooks: [{name: a.b.c, clientConfig: {service: {name: hook, namespace: system}}}]
---
apiVersion: apiregistration.k8s.io/v1
kind: APIService
metadata: {name: v1.x}
spec: {service: {name: hook, namespace: system}}
",
            ),
        ],
    );
    let found = built(dir.path(), "k").await.unwrap();
    let of = |kind: &str| found.iter().find(|o| o["kind"] == kind).unwrap();
    let secret = of("Secret")["metadata"]["name"].as_str().unwrap();
    assert!(secret.starts_with("pre-keys-"), "{secret}");
    assert_eq!(of("Role")["rules"][0]["resourceNames"], json!([secret, "other"]));
    let service = json!({"name": "pre-hook", "namespace": "team"});
    let hooks = &of("ValidatingWebhookConfiguration")["webhooks"];
    assert_eq!(hooks[0]["clientConfig"]["service"], service);
    assert_eq!(of("APIService")["spec"]["service"], service);
}

#[tokio::test]
async fn the_order_may_stay_and_image_tags_are_images() {
    let dir = tempfile::tempdir().unwrap();
    let pod =
        "{apiVersion: v1, kind: Pod, metadata: {name: p}, spec: {containers: [{name: c, image: 'web:1'}]}}";
    let space = "{apiVersion: v1, kind: Namespace, metadata: {name: s}}";
    let kustomization = |order: &str| {
        format!("resources: [p.yaml, s.yaml]\nimageTags: [{{name: web, newTag: '2'}}]\n{order}")
    };
    let (fifo, legacy) = (kustomization("sortOptions: {order: fifo}"), kustomization(""));
    for (content, want) in [(fifo, ["Pod", "Namespace"]), (legacy, ["Namespace", "Pod"])] {
        write(
            dir.path(),
            &[("k/kustomization.yaml", content.as_str()), ("k/p.yaml", pod), ("k/s.yaml", space)],
        );
        let found = built(dir.path(), "k").await.unwrap();
        let kinds: Vec<&str> = found.iter().map(|o| value::text(o, "kind")).collect();
        assert_eq!(kinds, want);
        let pod = found.iter().find(|o| o["kind"] == "Pod").unwrap();
        assert_eq!(pod["spec"]["containers"][0]["image"], "web:2");
    }
}

#[tokio::test]
async fn labels_of_selectors_reach_volume_claims() {
    let dir = tempfile::tempdir().unwrap();
    let set = "
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: db}
spec: {volumeClaimTemplates: [{metadata: {name: data}}]}
";
    for (rule, want) in [
        ("includeSelectors: true", json!({"app": "db"})),
        ("includeTemplates: true", json!({"app": "db"})),
        ("includeTemplates: false", Value::Null),
    ] {
        let content = format!("resources: [set.yaml]\nlabels: [{{pairs: {{app: db}}, {rule}}}]\n");
        write(dir.path(), &[("k/kustomization.yaml", content.as_str()), ("k/set.yaml", set)]);
        let found = built(dir.path(), "k").await.unwrap();
        assert_eq!(found[0]["spec"]["volumeClaimTemplates"][0]["metadata"]["labels"], want, "{rule}");
    }
}

const TWICE: &str = "
apiVersion: v1
kind: ConfigMap
metadata: {name: c}
---
apiVersion: v1
kind: Service
metadata: {name: hook}
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: sa}
---
apiVersion: x.io/v1
kind: Custom
metadata: {name: cu}
spec: {configMapKeyRef: {name: c}}
";
const ABOVE: &str = "
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: cross, namespace: third}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: r}
subjects: [{kind: ServiceAccount, name: sa, namespace: nsb}, {kind: User, name: default}]
---
apiVersion: v1
kind: Pod
metadata: {name: p, namespace: nsa}
spec: {containers: [{name: x, envFrom: [{configMapRef: {name: c}}]}]}
---
apiVersion: v1
kind: Pod
metadata: {name: q, namespace: third}
spec: {containers: [{name: x, envFrom: [{configMapRef: {name: c}}]}]}
---
apiVersion: admissionregistration.k8s.io/v1
kind: MutatingWebhookConfiguration
metadata: {name: w}
webhooks: [{name: a.b.c, clientConfig: {service: {name: hook, namespace: nsb}}}]
";

/// The same objects in two namespaces, under two names, and those above that name them. The
/// expected text is that of kubectl.
#[tokio::test]
async fn a_reference_stays_in_its_namespace() {
    let dir = tempfile::tempdir().unwrap();
    write(
        dir.path(),
        &[
            ("a/kustomization.yaml", "resources: [r.yaml]\nnamePrefix: a-\nnamespace: nsa\n"),
            ("b/kustomization.yaml", "resources: [r.yaml]\nnameSuffix: -b\nnamespace: nsb\n"),
            ("a/r.yaml", TWICE),
            ("b/r.yaml", TWICE),
            ("o/kustomization.yaml", "resources: [../a, ../b, r.yaml]\n"),
            ("o/r.yaml", ABOVE),
        ],
    );
    let found = built(dir.path(), "o").await.unwrap();
    let of = |kind: &str, name: &str| {
        found.iter().find(|o| o["kind"] == kind && o["metadata"]["name"] == name).unwrap()
    };
    let named = |pod: &str| &of("Pod", pod)["spec"]["containers"][0]["envFrom"][0]["configMapRef"]["name"];
    assert_eq!(named("p"), "a-c", "an object that a folder below renamed is still known by its first name");
    assert_eq!(named("q"), "c", "there is none in its namespace");
    let subjects = &of("RoleBinding", "cross")["subjects"];
    assert_eq!(subjects[0], json!({"kind": "ServiceAccount", "name": "sa-b", "namespace": "nsb"}));
    let hooks = &of("MutatingWebhookConfiguration", "w")["webhooks"];
    assert_eq!(hooks[0]["clientConfig"]["service"], json!({"name": "hook-b", "namespace": "nsb"}));
    assert_eq!(of("Custom", "a-cu")["spec"]["configMapKeyRef"]["name"], "c", "kustomize does not know it");
}

#[tokio::test]
async fn a_namespace_reaches_bindings_and_services_and_hides_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let several = "
apiVersion: apiregistration.k8s.io/v1
kind: APIService
metadata: {name: v1.x}
spec: {group: x}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: b}
subjects: [{kind: User, name: default}, {kind: ServiceAccount, name: own}]
";
    let maps = "
apiVersion: v1
kind: ConfigMap
metadata: {name: c, namespace: x}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: c, namespace: y}
";
    write(
        dir.path(),
        &[
            ("k/kustomization.yaml", "resources: [r.yaml]\nnamespace: team\n"),
            ("k/r.yaml", several),
            ("c/kustomization.yaml", "resources: [r.yaml]\nnamespace: team\n"),
            ("c/r.yaml", maps),
        ],
    );
    let found = built(dir.path(), "k").await.unwrap();
    let of = |kind: &str| found.iter().find(|o| o["kind"] == kind).unwrap();
    assert_eq!(of("APIService")["spec"]["service"]["namespace"], "team");
    let subjects = json!([{"kind": "User", "name": "default", "namespace": "team"}, {"kind": "ServiceAccount", "name": "own"}]);
    assert_eq!(of("ClusterRoleBinding")["subjects"], subjects);
    let message = built(dir.path(), "c").await.unwrap_err();
    assert!(message.contains("namespace transformation produces ID conflict"), "{message}");
}
