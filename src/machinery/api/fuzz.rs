//! Everything here that reads what a client has written, given nonsense.

use super::fields::FieldSelector;
use super::jsonpath::{self, JsonPath};
use super::kinds::{self, Kind};
use super::labels::Selector;
use super::managed::{Manager, apply};
use super::shape::Shape;
use super::yaml::Words;
use super::{cron, patch, protobuf, quantity, schema, strategic, yaml};
use clock::Timestamp;
use jiff::tz::TimeZone;
use rng::fuzz::{Target, all};
use serde_json::{Value, json};

const POD: &str = r#"{"apiVersion":"v1","kind":"Pod","metadata":{"name":"web","namespace":"default","labels":{"app":"web"},
"annotations":{"a":"1"},"finalizers":["example.com/a"],"ownerReferences":[{"apiVersion":"apps/v1","kind":"ReplicaSet","name":"r","uid":"u"}],
"managedFields":[{"manager":"kubectl","operation":"Apply","apiVersion":"v1","time":"2026-01-02T03:04:05Z","fieldsType":"FieldsV1",
"fieldsV1":{"f:metadata":{"f:labels":{"f:app":{}}},"f:spec":{"f:containers":{"k:{\"name\":\"c\"}":{".":{},"f:image":{},"f:name":{},
"f:ports":{"k:{\"containerPort\":80,\"protocol\":\"TCP\"}":{".":{},"f:containerPort":{}}}}}}}}]},
"spec":{"containers":[{"name":"c","image":"nginx","ports":[{"containerPort":80,"protocol":"TCP"}],"env":[{"name":"A","value":"b"}],
"volumeMounts":[{"name":"v","mountPath":"/v"}],"resources":{"limits":{"cpu":"100m","memory":"1Gi"}}}],
"volumes":[{"name":"v","emptyDir":{}}],"tolerations":[{"key":"k","operator":"Exists"}]}}"#;

/// Returns an object and a patch, as one list.
fn pair(patch: &str) -> Vec<u8> {
    format!("[{POD},{patch}]").into_bytes()
}

fn two(input: &[u8]) -> Option<(Value, Value)> {
    let Ok(Value::Array(both)) = serde_json::from_slice(input) else { return None };
    <[Value; 2]>::try_from(both).ok().map(|[object, patch]| (object, patch))
}

fn pods() -> &'static Kind {
    kinds::find("", "v1", "Pod").expect("there are pods")
}

fn merges(input: &[u8]) -> bool {
    let Some((mut object, change)) = two(input) else { return false };
    patch::merge(&mut object, &change);
    let once = object.clone();
    patch::merge(&mut object, &change);
    assert_eq!(object, once, "twice is as once");
    true
}

fn patches(input: &[u8]) -> bool {
    let Some((mut object, change)) = two(input) else { return false };
    patch::json(&mut object, change.to_string().as_bytes()).is_ok()
}

fn merges_strategically(input: &[u8]) -> bool {
    let Some((mut object, change)) = two(input) else { return false };
    strategic::apply("Pod", &mut object, &change).is_ok()
}

fn applies(input: &[u8]) -> bool {
    let Some((live, applied)) = two(input) else { return false };
    let manager = Manager { name: "fuzz", api_version: "v1", subresource: "", now: "2026-01-02T03:04:05Z" };
    // The server takes nothing else than objects.
    if !live.is_object() || !applied.is_object() {
        return false;
    }
    let once = apply(Shape::of(pods()), &live, &applied, manager);
    let again = apply(Shape::of(pods()), &once.object, &applied, manager);
    again.conflicts.is_empty()
}

fn text(input: &[u8]) -> Option<&str> {
    std::str::from_utf8(input).ok()
}

fn reads_yaml(input: &[u8]) -> bool {
    let _ = yaml::parse_document(input, Words::Numbers); // kustomize reads it so
    yaml::parse_body(input).is_ok()
}

/// What a body goes through until it is an object of its kind.
fn reads_protobuf(input: &[u8]) -> bool {
    let Ok(mut object) = protobuf::decode(input, None) else { return false };
    let expected = |field: &str| object[field].as_str().unwrap_or_default().to_string();
    let (version, kind) = (expected("apiVersion"), expected("kind"));
    let (group, version) = version.split_once('/').unwrap_or(("", &version));
    match kinds::find(group, version, &kind) {
        Some(kind) => schema::conform(kind, &mut object).is_ok(),
        None => true,
    }
}

fn reads_labels(input: &[u8]) -> bool {
    let Some(Ok(selector)) = text(input).map(Selector::parse) else { return false };
    let _ = selector.matches(&json!({"app": "web", "tier": "1"})); // either is right
    true
}

fn reads_fields(input: &[u8]) -> bool {
    let known = [("status.phase", "status.phase"), ("spec.nodeName", "spec.nodeName")];
    let Some(Ok(selector)) = text(input).map(|t| FieldSelector::parse(t, &known)) else { return false };
    let _ = selector.matches(&json!({"metadata": {"name": "web"}, "status": {"phase": "Running"}})); // either is right
    true
}

fn reads_jsonpath(input: &[u8]) -> bool {
    let Some(text) = text(input) else { return false };
    let object: Value = serde_json::from_str(POD).expect("an example");
    for parsed in [JsonPath::parse(text), jsonpath::relaxed(text)] {
        let Ok(path) = parsed else { continue };
        let _ = (path.print(&object, false), path.print(&object, true)); // either is right
        return true;
    }
    false
}

fn reads_quantities(input: &[u8]) -> bool {
    let Some(quantity) = text(input).and_then(quantity::Quantity::parse) else { return false };
    let again = quantity::Quantity::parse(&quantity.to_string()).expect("what it printed itself");
    assert_eq!(again.to_string(), quantity.to_string());
    true
}

fn reads_schedules(input: &[u8]) -> bool {
    let Some(Ok(schedule)) = text(input).map(cron::Schedule::parse) else { return false };
    let mut now: Timestamp = "2026-01-02T03:04:05Z".parse().expect("a time");
    for _ in 0..3 {
        let Some(next) = schedule.next(now, &TimeZone::UTC) else { break };
        assert!(next > now, "{next} is not after {now}");
        now = next;
    }
    true
}

/// Field `number` of a message.
fn part(number: u8, bytes: &[u8]) -> Vec<u8> {
    let mut out = vec![number << 3 | 2];
    let mut length = bytes.len();
    while length > 0x7f {
        out.push(length as u8 | 0x80);
        length >>= 7;
    }
    out.push(length as u8);
    out.extend(bytes);
    out
}

fn envelope(version: &str, kind: &str, raw: &[u8]) -> Vec<u8> {
    let kind = [part(1, version.as_bytes()), part(2, kind.as_bytes())].concat();
    [b"k8s\0".to_vec(), part(1, &kind), part(2, raw)].concat()
}

/// Returns a pod, a config map and a definition, as kubectl posts them.
fn messages() -> Vec<Vec<u8>> {
    let entry = [part(1, b"app"), part(2, b"web")].concat();
    let time = part(8, &[0x08, 0x80, 0x80, 0x80, 0x10]);
    let meta = part(1, &[part(1, b"web"), part(3, b"default"), part(11, &entry), time].concat());
    let limit = [part(1, b"cpu"), part(2, &part(1, b"100m"))].concat();
    let port = part(6, &[part(1, b"http"), vec![0x18, 80], part(4, b"TCP")].concat());
    let container = [part(1, b"c"), part(2, b"nginx"), port, part(8, &part(1, &limit))].concat();
    let volume = [part(1, b"v"), part(2, &part(2, b""))].concat();
    let pod = [meta.clone(), part(2, &[part(1, &volume), part(2, &container)].concat())].concat();
    let map = [meta.clone(), part(2, &entry)].concat();
    let scale = [meta, part(2, &[0x08, 3])].concat();
    vec![
        envelope("v1", "Pod", &pod),
        envelope("v1", "ConfigMap", &map),
        envelope("autoscaling/v1", "Scale", &scale),
        envelope("v1", "DeleteOptions", &[part(4, b"Orphan"), vec![0x08, 5]].concat()),
    ]
}

/// Words of patches of all kinds.
const PATCHES: &[&str] = &[
    "$patch",
    "replace",
    "delete",
    "merge",
    "$retainKeys",
    "$setElementOrder/containers",
    "$deleteFromPrimitiveList/finalizers",
    "op",
    "add",
    "remove",
    "test",
    "move",
    "copy",
    "from",
    "path",
    "value",
    "/spec/containers/-",
    "/spec/containers/0",
    "~1",
    "~0",
    "metadata",
    "managedFields",
    "f:",
    "k:{",
    "v:",
    "i:",
];
/// Words of YAML.
const YAML: &[&str] = &[
    "- ",
    ": ",
    "\n",
    "  ",
    "&a ",
    "*a",
    "<<: *a",
    "!!binary ",
    "!!x ",
    "|\n",
    ">-\n",
    "---\n",
    "...\n",
    "#",
    "'",
    "\"",
    "? ",
    "{",
    "}",
    "[",
    "]",
    "0644",
    "yes",
    ".inf",
    ".nan",
    "0x1f",
    "0o7",
    "1e400",
    "~",
    "%YAML 1.1\n",
    "\t",
    "\u{feff}",
];
/// Words of label and field selectors.
const SELECTORS: &[&str] = &[
    "in",
    "notin",
    "exists",
    "(",
    ")",
    ",",
    "!",
    "=",
    "==",
    "!=",
    ">",
    "<",
    " ",
    "\\",
    "app",
    "metadata.name",
    "status.phase",
    "spec.nodeName",
    "a.b/c",
];
/// Words of JSONPath.
const PATHS: &[&str] = &[
    "{",
    "}",
    "{range",
    "{end}",
    "..",
    "[*]",
    "[?(",
    ")]",
    "@",
    "@.",
    "$",
    "[-1]",
    "[0:9:2]",
    "[::-1]",
    "&&",
    "==",
    "'",
    "\"",
    "[,]",
    "*",
    "\\.",
    ".items",
    "{\"\\n\"}",
];
/// Words of quantities.
const NUMBERS: &[&str] =
    &["Ki", "Ei", "m", "n", "u", "k", "E", "e", "e-3", "E+30", "-", "+", ".", "0", "9", "1"];
/// Words of schedules.
const SCHEDULES: &[&str] = &[
    "*", "/", ",", "-", " ", "@every ", "@daily", "1h", "MON", "JAN", "29", "2", "31", "0", "TZ=UTC ", "?",
    "L",
];

#[test]
fn nonsense_is_refused() {
    let examples = |patches: &[&str]| patches.iter().map(|p| pair(p)).collect::<Vec<_>>();
    let patch = |name, patches: &[&str], reads: fn(&[u8]) -> bool| Target {
        name,
        examples: examples(patches),
        words: PATCHES,
        reads,
    };
    let merge = r#"{"metadata":{"labels":null},"spec":{"x":[1]}}"#;
    let operations = r#"[{"op":"add","path":"/spec/containers/-","value":{}},{"op":"move","from":"/metadata/labels",
        "path":"/metadata/annotations"},{"op":"test","path":"/kind","value":"Pod"},{"op":"copy","from":"/spec","path":"/spec/a"}]"#;
    let strategic = [
        r#"{"spec":{"containers":[{"name":"c","image":"busybox"},{"name":"d","$patch":"delete"}],
            "$setElementOrder/containers":[{"name":"d"},{"name":"c"}]}}"#,
        r#"{"metadata":{"$deleteFromPrimitiveList/finalizers":["example.com/a"]},
            "spec":{"volumes":[{"$patch":"replace"},{"name":"w","$retainKeys":["name"]}]}}"#,
    ];
    let applied = r#"{"apiVersion":"v1","kind":"Pod","metadata":{"name":"web","labels":{"b":"c"}},
        "spec":{"containers":[{"name":"c","ports":[{"containerPort":80}]}]}}"#;
    let yaml = [
        "a: &x {b: [1, 0644, yes]}\nc:\n- *x\n- |\n  text\n  more\n- >-\n  folded\nd: !!binary aGk=\n'e': \"f\\u00e9\"\n? g\n: h\n",
        "apiVersion: v1\nkind: Pod\nmetadata: {name: web, labels: {app: 'on'}}\nspec:\n  containers:\n  - name: c\n    image: nginx # a web server\n",
    ];
    let selectors = ["app=web,tier!=1,!gone,here", "app in (a,b),tier notin (c),x>1,y<2,z=="];
    let fields = ["metadata.name=web,status.phase!=Running", "spec.nodeName==a\\,b\\=c\\\\d"];
    let paths = [
        "{.spec.containers[*].name}",
        "{range .spec.containers[?(@.name=='c')]}{.image}{\"\\n\"}{end}",
        "{..name} {.metadata.labels.app} {.spec.containers[-1:]['name','image']} {$.kind}",
        ".metadata.name",
    ];
    all(
        "api::fuzz",
        vec![
            patch("merge patch", &[merge], merges),
            patch("JSON patch", &[operations], patches),
            patch("strategic merge patch", &strategic, merges_strategically),
            patch("server-side apply", &[applied], applies),
            Target { name: "protobuf", examples: messages(), words: &[], reads: reads_protobuf },
            Target::text("YAML", &yaml, YAML, reads_yaml),
            Target::text("label selectors", &selectors, SELECTORS, reads_labels),
            Target::text("field selectors", &fields, SELECTORS, reads_fields),
            Target::text("JSONPath", &paths, PATHS, reads_jsonpath),
            Target::text("quantities", &["1.5Gi", "250m", "1e3", "-0.001n"], NUMBERS, reads_quantities),
            Target::text(
                "schedules",
                &["*/5 1-3 1,15 * MON", "@every 1h30m", "@yearly"],
                SCHEDULES,
                reads_schedules,
            ),
        ],
    );
}
