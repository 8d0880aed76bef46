//! Custom resources, from their definition to their end, with the built-in kubectl and with a real
//! one.

use super::support::{
    Cluster, Home, Kubectl, PATIENCE, Said, TIMEOUT, built_in, capable, eventually, real_kubectl, turn,
};
use serde_json::Value;

const DEFINITION: &str = r#"
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: crontabs.GROUP}
spec:
  group: GROUP
  scope: Namespaced
  names: {plural: crontabs, kind: CronTab, shortNames: [ct], categories: [all]}
  versions:
  - name: v1beta1
    served: true
    storage: false
    deprecated: true
    schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}
  - name: v1
    served: true
    storage: true
    subresources:
      status: {}
      scale: {specReplicasPath: .spec.replicas, statusReplicasPath: .status.replicas, labelSelectorPath: .status.selector}
    additionalPrinterColumns:
    - {name: Schedule, type: string, jsonPath: .spec.schedule, description: when it runs}
    - {name: Replicas, type: integer, jsonPath: .spec.replicas}
    - {name: Ready, type: string, jsonPath: '.status.conditions[?(@.type=="Ready")].status'}
    - {name: Image, type: string, jsonPath: .spec.image, priority: 1}
    - {name: Age, type: date, jsonPath: .metadata.creationTimestamp}
    selectableFields: [{jsonPath: .spec.schedule}]
    schema:
      openAPIV3Schema:
        type: object
        required: [spec]
        properties:
          spec:
            description: What is to be run, and when.
            type: object
            required: [schedule]
            x-kubernetes-validations:
            - {rule: "!has(self.most) || self.replicas <= self.most", message: replicas must not exceed most}
            - {rule: "self.schedule == oldSelf.schedule", reason: FieldValueForbidden, fieldPath: .schedule, messageExpression: "'it was ' + oldSelf.schedule"}
            properties:
              schedule: {type: string, pattern: '^(\S+ ){4}\S+$', description: Five fields of cron.}
              image: {type: string, default: busybox}
              replicas: {type: integer, default: 1, minimum: 0, maximum: 10}
              most: {type: integer}
              port: {x-kubernetes-int-or-string: true}
              free: {type: object, x-kubernetes-preserve-unknown-fields: true}
              env:
                type: array
                x-kubernetes-list-type: map
                x-kubernetes-list-map-keys: [name]
                items: {type: object, required: [name], properties: {name: {type: string}, value: {type: string}}}
          status:
            type: object
            properties:
              replicas: {type: integer}
              selector: {type: string}
              conditions: {type: array, items: {type: object, properties: {type: {type: string}, status: {type: string}}}}
"#;

const OBJECT: &str = r#"
apiVersion: GROUP/v1
kind: CronTab
metadata: {name: nightly, labels: {app: night}}
spec: {schedule: "0 3 * * *", port: http, free: {any: [thing]}, env: [{name: A, value: "1"}]}
"#;

/// One kubectl with one group of its own.
struct Session<'a> {
    cluster: &'a Cluster<'a>,
    kubectl: Kubectl,
    group: String,
}

impl Session<'_> {
    fn k(&self, line: &str) -> Said {
        let words = shlex(line);
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        self.cluster.kubectl(&self.kubectl, &words)
    }

    fn file(&self, name: &str, text: &str) -> String {
        let path = self.cluster.home.path().join(format!("{}-{name}.yaml", self.group));
        std::fs::write(&path, text.replace("GROUP", &self.group)).expect("a file");
        path.to_str().expect("a path").to_string()
    }

    fn get(&self, line: &str) -> Value {
        serde_json::from_str(&self.k(&format!("get {line} -o json")).ok()).expect("JSON")
    }
}

/// Words of a line; single quotes hold one together.
fn shlex(line: &str) -> Vec<String> {
    let mut words = vec![];
    for (i, part) in line.split('\'').enumerate() {
        match i % 2 {
            0 => words.extend(part.split_whitespace().map(String::from)),
            _ => words.push(part.to_string()),
        }
    }
    words
}

#[test]
fn a_definition_makes_a_kind_like_any_other() {
    if !capable() {
        return;
    }
    let (_turn, home) = (turn(), Home::new());
    let cluster = home.up(&["--workers", "1"]);
    let mut sessions =
        vec![Session { cluster: &cluster, kubectl: built_in(), group: "own.example.com".into() }];
    sessions.extend(real_kubectl().map(|kubectl| Session {
        cluster: &cluster,
        kubectl,
        group: "real.example.com".into(),
    }));
    for session in &sessions {
        story(session);
    }
    foreign_names(&sessions[0]);
    undone(&sessions[0]);
}

/// A definition and its objects, from the first to the end.
fn story(session: &Session) {
    let (k, group) = (|line: &str| session.k(line), session.group.as_str());
    let definition = session.file("definition", DEFINITION);
    k(&format!("apply -f {definition}")).ok();
    k(&format!("wait --for=condition=Established crd/crontabs.{group} {TIMEOUT}")).ok();
    let kept = session.get(&format!("crd crontabs.{group}"));
    assert_eq!(kept["status"]["storedVersions"], serde_json::json!(["v1"]));
    assert_eq!(kept["status"]["acceptedNames"]["listKind"], "CronTabList");
    assert!(k(&format!("api-resources --api-group={group}")).ok().contains("CronTab"));

    // Made, pruned, filled in, told.
    let object = session.file("object", OBJECT);
    k(&format!("apply -f {object}")).ok();
    let nightly = session.get(&format!("crontabs.{group} nightly"));
    assert_eq!((&nightly["spec"]["image"], &nightly["spec"]["replicas"]), (&"busybox".into(), &1.into()));
    assert_eq!(nightly["spec"]["free"]["any"][0], "thing");
    assert_eq!(nightly["metadata"]["generation"], 1);
    let table = k(&format!("get crontabs.{group}")).ok();
    assert!(
        table.starts_with("NAME      SCHEDULE    REPLICAS   READY   AGE\nnightly   0 3 * * *   1  "),
        "{table}"
    );
    assert!(k(&format!("get crontabs.{group} -o wide")).ok().contains("IMAGE"));
    assert!(k("get all").ok().contains(&format!("crontab.{group}/nightly")));
    let explained = k(&format!("explain crontabs.{group}.spec")).out;
    let explained = if explained.is_empty() {
        k(&format!("explain crontabs.spec --api-version={group}/v1")).ok()
    } else {
        explained
    };
    assert!(explained.contains("What is to be run, and when."), "{explained}");
    assert!(explained.contains("schedule\t<string> -required-"), "{explained}");

    old_version_and_refusals(session);
    selection_and_subresources(session);
    apply(session);
    dependents(session);
    new_default_and_end(session, &definition);
}

/// Another version shows the same object, and the deprecated one says so; what is wrong is refused
/// in Kubernetes' words.
fn old_version_and_refusals(session: &Session) {
    let (k, group) = (|line: &str| session.k(line), session.group.as_str());
    let old = k(&format!("get crontabs.v1beta1.{group} nightly -o yaml"));
    assert!(old.err.contains(&format!("{group}/v1beta1 CronTab is deprecated")), "{}", old.err);
    assert!(old.ok().contains(&format!("apiVersion: {group}/v1beta1")));

    let said = |spec: &str, validate: &str| {
        let text = format!("apiVersion: GROUP/v1\nkind: CronTab\nmetadata: {{name: bad}}\nspec: {spec}\n");
        k(&format!("create -f {} --validate={validate}", session.file("bad", &text)))
    };
    said("{}", "strict").fails("spec.schedule: Required value");
    said("{schedule: often}", "strict").fails("spec.schedule in body should match '^(\\S+ ){4}\\S+$'");
    said("{schedule: '* * * * *', replicas: 11}", "strict")
        .fails("spec.replicas: Invalid value: 11: spec.replicas in body should be less than or equal to 10");
    said("{schedule: '* * * * *', replicas: x}", "strict").fails(
        "spec.replicas: Invalid value: \"string\": spec.replicas in body must be of type integer: \"string\"",
    );
    said("{schedule: '* * * * *', most: 0}", "strict")
        .fails("spec: Invalid value: \"object\": replicas must not exceed most");
    said("{schedule: '* * * * *', typo: 1}", "strict")
        .fails("strict decoding error: unknown field \"spec.typo\"");
    let warned = said("{schedule: '* * * * *', typo: 1}", "warn");
    assert!(warned.err.contains("unknown field \"spec.typo\""), "{}", warned.err);
    assert!(session.get(&format!("crontabs.{group} bad"))["spec"].get("typo").is_none());
    k(&format!(
        "patch crontabs.{group} nightly --type=merge -p '{{\"spec\":{{\"schedule\":\"1 1 1 1 1\"}}}}'"
    ))
    .fails("spec.schedule: Forbidden: it was 0 3 * * *");
}

/// Fields that may be selected, and those that may not; scale and status have writers of their own.
fn selection_and_subresources(session: &Session) {
    let (k, group) = (|line: &str| session.k(line), session.group.as_str());
    let selected =
        k(&format!("get crontabs.{group} -o name --field-selector 'spec.schedule=0 3 * * *'")).ok();
    assert_eq!(selected, format!("crontab.{group}/nightly\n"));
    k(&format!("get crontabs.{group} --field-selector spec.image=x"))
        .fails("field label not supported: spec.image");

    k(&format!("scale crontabs.{group} nightly --replicas=3")).ok();
    let status = r#"{"status":{"replicas":2,"conditions":[{"type":"Ready","status":"True"}]},"spec":{"image":"other"}}"#;
    k(&format!("patch crontabs.{group} nightly --subresource=status --type=merge -p '{status}'")).ok();
    let scaled = session.get(&format!("crontabs.{group} nightly"));
    assert_eq!((&scaled["spec"]["replicas"], &scaled["spec"]["image"]), (&3.into(), &"busybox".into()));
    assert_eq!((&scaled["status"]["replicas"], &scaled["metadata"]["generation"]), (&2.into(), &2.into()));
    k(&format!("wait --for=condition=Ready crontabs.{group}/nightly {TIMEOUT}")).ok();
}

/// A new default shows at once, also in what was stored before; the end takes everything along.
fn new_default_and_end(session: &Session, definition: &str) {
    let (k, group) = (|line: &str| session.k(line), session.group.as_str());
    let newer = DEFINITION.replace("default: busybox", "default: busybox:2").replace(
        "free: {type: object, x-kubernetes-preserve-unknown-fields: true}",
        "free: {type: object, x-kubernetes-preserve-unknown-fields: true}\n              mood: {type: string, default: calm}",
    );
    k(&format!("apply -f {}", session.file("newer", &newer))).ok();
    let mood = || session.get(&format!("crontabs.{group} nightly"))["spec"]["mood"].clone();
    eventually(PATIENCE, mood, |m| m == "calm");
    k(&format!("delete crd crontabs.{group} {TIMEOUT}")).ok();
    k(&format!("get crontabs.{group}")).fails("the server"); // does not have it, or could not find it: as discovery is cached
    k(&format!("apply -f {definition}")).ok();
    k(&format!("wait --for=condition=Established crd/crontabs.{group} {TIMEOUT}")).ok();
    let empty = k(&format!("get --raw /apis/{group}/v1/crontabs")).ok();
    assert!(
        empty.contains("\"items\":[]"),
        "what was deleted with its definition does not come back: {empty}"
    );
    k(&format!("delete crd crontabs.{group} {TIMEOUT}")).ok();
}

/// Server-side apply: whose field is it?
fn apply(session: &Session) {
    let (k, group) = (|line: &str| session.k(line), session.group.as_str());
    let object = |spec: &str| {
        let text = format!("apiVersion: GROUP/v1\nkind: CronTab\nmetadata: {{name: shared}}\nspec: {spec}\n");
        session.file("shared", &text)
    };
    let by = |who: &str, spec: &str, more: &str| {
        k(&format!("apply --server-side --field-manager={who} {more} -f {}", object(spec)))
    };
    by("one", "{schedule: '* * * * *', replicas: 2, env: [{name: A, value: a}]}", "").ok();
    by("two", "{schedule: '* * * * *', env: [{name: B, value: b}]}", "").ok();
    let kept = || session.get(&format!("crontabs.{group} shared --show-managed-fields"));
    assert_eq!(kept()["spec"]["env"].as_array().map(Vec::len), Some(2), "lists that are maps are merged");
    by("two", "{schedule: '* * * * *', replicas: 3}", "").fails("conflict with \"one\": .spec.replicas");
    by("two", "{schedule: '* * * * *', replicas: x}", "")
        .fails(".spec.replicas: expected numeric (int or float), got string");
    by("two", "{schedule: '* * * * *', replicas: 3}", "--force-conflicts").ok();
    let now = kept();
    assert_eq!(now["spec"]["replicas"], 3);
    assert_eq!(now["spec"]["env"], serde_json::json!([{"name": "A", "value": "a"}]), "two applies B no more");
    k(&format!("scale crontabs.{group} shared --replicas=4")).ok();
    by("two", "{schedule: '* * * * *', replicas: 3}", "").fails("with subresource \"scale\" using");
    by("one", "{schedule: '* * * * *'}", "").ok();
    let now = kept();
    assert!(now["spec"].get("env").is_none(), "nobody applies it any more: {}", now["spec"]);
    let managers: Vec<&str> = now["metadata"]["managedFields"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|e| e["manager"].as_str())
        .collect();
    assert!(managers.contains(&"one") && managers.contains(&"kubectl"), "{managers:?}");
    assert!(!k(&format!("get crontabs.{group} shared -o yaml")).ok().contains("managedFields"));
}

/// The garbage collector and a dying namespace reach custom objects.
fn dependents(session: &Session) {
    let (k, group) = (|line: &str| session.k(line), session.group.as_str());
    let uid = session.get(&format!("crontabs.{group} shared"))["metadata"]["uid"].clone();
    let child = format!(
        "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: child\n  ownerReferences: [{{apiVersion: GROUP/v1, kind: CronTab, name: shared, uid: {uid}}}]\n"
    );
    k(&format!("apply -f {}", session.file("child", &child))).ok();
    k("create namespace attic").ok();
    k(&format!("apply -n attic -f {}", session.file("object", OBJECT))).ok();
    k(&format!("delete crontabs.{group} shared")).ok();
    eventually(PATIENCE, || k("get configmap child --ignore-not-found -o name").ok(), |left| left.is_empty());
    // An owner of a kind that the collector does not watch is asked for until it is gone.
    let event = "apiVersion: v1\nkind: Event\nmetadata: {name: thunder, namespace: default}\ninvolvedObject: {kind: Pod, name: none, namespace: default}\n";
    k(&format!("create -f {}", session.file("event", event))).ok();
    let uid = session.get("event thunder")["metadata"]["uid"].clone();
    let child = format!(
        "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: echo\n  ownerReferences: [{{apiVersion: events.k8s.io/v1, kind: Event, name: thunder, uid: {uid}}}]\n"
    );
    k(&format!("create -f {}", session.file("child", &child))).ok();
    k("get configmap echo").ok();
    k("delete event thunder").ok();
    eventually(PATIENCE, || k("get configmap echo --ignore-not-found -o name").ok(), |left| left.is_empty());
    k(&format!("delete namespace attic {TIMEOUT}")).ok();
    let left = k(&format!("get crontabs.{group} -A -o name")).ok();
    assert!(!left.contains("attic"), "{left}");
}

/// A definition takes its objects along, and an undo brings both back as they were.
fn undone(session: &Session) {
    let (k, group) = (|line: &str| session.k(line), session.group.as_str());
    k(&format!("delete crd others.{group} {TIMEOUT}")).ok(); // it has the names by now
    k(&format!("apply -f {}", session.file("definition", DEFINITION))).ok();
    k(&format!("wait --for=condition=Established crd/crontabs.{group} {TIMEOUT}")).ok();
    k(&format!("apply -f {}", session.file("object", OBJECT))).ok();
    let uids = || {
        let part = |line: String| session.get(&line)["metadata"]["uid"].clone();
        (part(format!("crd crontabs.{group}")), part(format!("crontabs.{group} nightly")))
    };
    let before = uids();
    k(&format!("delete crd crontabs.{group} {TIMEOUT}")).ok();
    k(&format!("get --raw /apis/{group}/v1/crontabs")).fails("could not find the requested resource");
    let said = session.cluster.home.ropewalk(&["undo", "--name", "t"]).ok();
    assert!(said.contains("undone: kubectl delete customresourcedefinitions"), "{said}");
    eventually(PATIENCE, || k(&format!("get crontabs.{group} nightly")).code, |code| *code == 0);
    assert_eq!(uids(), before);
    k(&format!("delete crd crontabs.{group} {TIMEOUT}")).ok();
}

/// A second definition may not take a name that is in use, and what is wrong in one is told.
fn foreign_names(session: &Session) {
    let (k, group) = (|line: &str| session.k(line), session.group.as_str());
    k(&format!("apply -f {}", session.file("definition", DEFINITION))).ok();
    k(&format!("wait --for=condition=Established crd/crontabs.{group} {TIMEOUT}")).ok();
    let second = DEFINITION
        .replace("crontabs", "others")
        .replace("shortNames: [ct], ", "")
        .replace("plural: others", "plural: others, singular: other");
    k(&format!("apply -f {}", session.file("second", &second))).ok();
    let refused = || session.get(&format!("crd others.{group}"))["status"]["conditions"][0].clone();
    let condition = eventually(PATIENCE, refused, |c| c["status"] == "False");
    assert_eq!(condition["reason"], "ListKindConflict", "{condition}");
    k(&format!("get others.{group}")).fails("the server doesn't have a resource type");
    k(&format!("delete crd crontabs.{group} {TIMEOUT}")).ok();
    eventually(PATIENCE, || k(&format!("get others.{group}")).code, |code| *code == 0);
    let unstructured =
        DEFINITION.replace("image: {type: string, default: busybox}", "image: {default: busybox}");
    k(&format!("apply -f {}", session.file("unstructured", &unstructured)))
        .fails("properties[spec].properties[image].type: Required value: must not be empty for specified object fields");
}
