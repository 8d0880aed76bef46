//! Bodies as clients post them, and the list of messages against the table of kinds.

use super::*;
use crate::kinds;
use serde_json::json;

fn decode(body: &[u8]) -> Result<Value, String> {
    super::decode(body, None)
}

/// Kinds that have no message: apiVersion and kind, with the reason.
const WITHOUT: &[(&str, &str, &str)] = &[];

#[test]
fn every_kind_of_the_table_has_a_message() {
    for kind in kinds::all() {
        let (version, name) = (kind.api_version(), kind.kind);
        let exception = WITHOUT.iter().find(|(v, k, _)| (*v, *k) == (version.as_str(), name));
        match (decode(&body(&version, name, &[])), exception) {
            (Err(error), None) => panic!("{version} {name}: add it to messages.txt, or to WITHOUT: {error}"),
            (Ok(_), Some((_, _, why))) => panic!("{version} {name} is no exception any more: {why}"),
            (Ok(object), None) => assert_eq!(object, json!({"apiVersion": version, "kind": name})),
            (Err(_), Some(_)) => {}
        }
    }
}

/// Encodes field `number` as a length-delimited value.
fn put(number: u32, bytes: &[u8]) -> Vec<u8> {
    let mut out = vec![(number << 3 | 2) as u8, bytes.len() as u8];
    out.extend(bytes);
    out
}

fn message(name: &str, bytes: &[u8], depth: usize) -> Result<Value, String> {
    let left = Cell::new(VALUES_MAX);
    super::message(name, bytes, Room { depth, left: &left })
}

/// Empty names have two bytes each, and JSON inside of a message counts with the rest.
#[test]
fn a_message_has_as_many_values_as_there_is_memory_for() {
    let names = |count: usize| [0x72, 0x00].repeat(count); // finalizers
    assert!(message("apimachinery.pkg.apis.meta.v1.ObjectMeta", &names(400_000), 0).is_ok());
    for (name, bytes) in [
        ("apimachinery.pkg.apis.meta.v1.ObjectMeta", names(1_500_000)),
        ("api.core.v1.PodSpec", [0x12, 0x00].repeat(1_500_000)), // containers
    ] {
        assert_eq!(message(name, &bytes, 0).unwrap_err(), TOO_MANY, "{name}");
    }
    // What is not kept takes nothing: Go writes each empty text, and each `false`.
    let none = message("apimachinery.pkg.apis.meta.v1.ObjectMeta", &[0x0a, 0x00].repeat(1_000_000), 0);
    assert_eq!(none, Ok(json!({})));
    let nested = "[[[[0]]]],".repeat(100_000);
    let json = long(1, format!("[{nested}0]").as_bytes());
    assert_eq!(message("api.apiextensions.v1.JSON", &json, 0).unwrap_err(), TOO_MANY);
}

/// The body has a field's number and not its name, and says nothing of the map or list around the
/// values of a field.
#[test]
fn names_of_fields_are_counted_and_what_holds_their_values() {
    let cost = |name: &str, bytes: &[u8]| {
        let left = Cell::new(VALUES_MAX);
        super::message(name, bytes, Room { depth: 0, left: &left }).unwrap();
        VALUES_MAX - left.get()
    };
    let (object, value) = ("apimachinery.pkg.apis.meta.v1.ObjectMeta", FURTHER + TEXT);
    let label = |key: &str| put(11, &[put(1, key.as_bytes()), put(2, b"v")].concat());
    let named = |name: &str| TEXT + name.len();
    for (bytes, wanted) in [
        (put(1, b""), 0), // it is not kept
        (put(1, b"a"), value + named("name")),
        (label("k"), value + TEXT + named("labels") + MAP),
        ([label("k"), label("l")].concat(), 2 * (value + TEXT) + named("labels") + MAP),
        (put(14, b"").repeat(2), 2 * value + named("finalizers") + LIST),
    ] {
        assert_eq!(cost(object, &bytes), MAP + wanted, "{bytes:?}");
    }
    let extra = |values: usize| cost("api.authentication.v1.ExtraValue", &put(1, b"a").repeat(values));
    assert_eq!((extra(0), extra(1), extra(2)), (0, LIST + TEXT, LIST + FURTHER + 2 * TEXT));
}

#[test]
fn a_config_map_as_kubectl_posts_it() {
    let meta = [put(1, b"cm"), put(2, b""), put(8, b"")].concat();
    let raw = [put(1, &meta), put(2, &[put(1, b"a"), put(2, b"1")].concat())].concat();
    let types = [put(1, b"v1"), put(2, b"ConfigMap")].concat();
    let body = [b"k8s\0".to_vec(), put(1, &types), put(2, &raw), put(3, b""), put(4, b"")].concat();
    let want =
        json!({"kind": "ConfigMap", "apiVersion": "v1", "metadata": {"name": "cm"}, "data": {"a": "1"}});
    assert_eq!(decode(&body).unwrap(), want);
    for cut in 4..body.len() - 5 {
        let _ = decode(&body[..cut]); // never a panic
    }
}

/// As `Unmarshal` of each message answers in Go. Only the entries of a map have no such check.
#[test]
fn a_field_has_a_number_in_each_message() {
    let zero = [0x02, 0x00]; // field 0 with an empty text
    for name in names().chain(["api.apiextensions.v1.JSONSchemaPropsOrBool"]) {
        let shown = match name.rsplit('.').next() {
            Some("Time" | "MicroTime") => "Timestamp",
            short => short.unwrap_or_default(),
        };
        let why = format!("proto: {shown}: illegal tag 0 (wire type 2)");
        assert_eq!(message(name, &zero, 0), Err(why), "{name}");
    }
    let of_map = |meta: &[u8]| decode(&body("v1", "ConfigMap", &put(1, meta)));
    let nested = of_map(&[put(1, b"cm"), vec![0x00, 0x01]].concat()).unwrap_err();
    let why = "proto: ObjectMeta: illegal tag 0 (wire type 0)";
    assert_eq!(nested, format!("ConfigMap in version \"v1\" cannot be handled as a ConfigMap: {why}"));
    let posted = super::decode(&body("v1", "Secret", &zero), Some("ConfigMap")).unwrap_err();
    let why = "proto: Secret: illegal tag 0 (wire type 2)";
    assert_eq!(posted, format!("Secret in version \"v1\" cannot be handled as a ConfigMap: {why}"));
    let entry = [put(1, b"k"), zero.to_vec(), put(2, b"v")].concat();
    let labels = of_map(&put(11, &entry)).unwrap();
    assert_eq!(labels["metadata"]["labels"], json!({"k": "v"}));
    let types = [put(1, b"v1"), put(2, b"ConfigMap")].concat();
    let whole = |rest: Vec<u8>| decode(&[MAGIC, rest.as_slice()].concat()).unwrap_err();
    let envelope = whole([zero.to_vec(), put(1, &types)].concat());
    assert_eq!(envelope, "proto: Unknown: illegal tag 0 (wire type 2)");
    assert_eq!(whole(put(1, &zero)), "proto: TypeMeta: illegal tag 0 (wire type 2)");
    // What has no place in a message behind its one field is read, too.
    for (name, first) in [("Quantity", &b"1"[..]), ("FieldsV1", b"{}"), ("RawExtension", b"{}")] {
        let behind = [put(1, first), zero.to_vec()].concat();
        let why = format!("proto: {name}: illegal tag 0 (wire type 2)");
        assert_eq!(message(name, &behind, 0), Err(why));
    }
    let negative = [0xf8, 0xff, 0xff, 0xff, 0x7f, 0x00]; // a tag of 35 bits: in 32 of them field -1
    let why = "proto: Pod: illegal tag -1 (wire type 34359738360)".to_string();
    assert_eq!(message("api.core.v1.Pod", &negative, 0), Err(why));
    let end = message("api.core.v1.Pod", &[0x0c], 0).unwrap_err();
    assert_eq!(end, "proto: Pod: wiretype end group for non-group");
}

/// As `skipGenerated` upstream. A group begins with wire type 3 and ends with 4.
#[test]
fn an_unknown_group_is_skipped_with_all_that_is_in_it() {
    let begin = |number: u8| [0x83 | number << 3, 0x06]; // fields from 96 on, which nothing has
    let end = |number: u8| [0x84 | number << 3, 0x06];
    let meta = "apimachinery.pkg.apis.meta.v1.ObjectMeta";
    let inside =
        [&[0x08, 0x01][..], &[0x03, 0x04], &put(1, b"x"), &[0x01], &[0; 8], &[0x05], &[0; 4]].concat();
    let name = put(1, b"n");
    for group in [
        [&begin(1)[..], &end(1)].concat(),
        [&begin(1)[..], &inside, &end(1)].concat(),
        [&begin(1)[..], &end(2)].concat(), // Go compares no numbers
        [begin(1).repeat(100_000), end(1).repeat(100_000)].concat(),
    ] {
        let read = message(meta, &[&group[..], &name].concat(), 0);
        assert_eq!(read, Ok(json!({"name": "n"})), "{} bytes", group.len());
    }
    for (bytes, why) in [
        (begin(1).to_vec(), "unexpected EOF"),
        ([&begin(1)[..], &begin(1), &end(1)].concat(), "unexpected EOF"),
        ([&begin(1)[..], &[0x0a, 0x7f]].concat(), "unexpected EOF"),
        ([&begin(1)[..], &[0x06]].concat(), "proto: illegal wireType 6"),
        (end(1).to_vec(), "proto: ObjectMeta: wiretype end group for non-group"),
        (put(11, &end(1)), "proto: unexpected end of group"), // in an entry of the labels
        (vec![0x0b, 0x0c], WRONG_WIRE),                       // the name
        (vec![0x5b, 0x5c], WRONG_WIRE),                       // the labels
    ] {
        assert_eq!(message(meta, &bytes, 0), Err(why.to_string()), "{bytes:?}");
    }
    let label = [put(1, b"k"), put(2, b"v"), begin(1).to_vec(), end(1).to_vec()].concat();
    assert_eq!(message(meta, &put(11, &label), 0), Ok(json!({"labels": {"k": "v"}})));
}

/// As `Unmarshal` of each message in Go. Those that are a scalar in JSON took it for no value.
#[test]
fn a_value_of_another_form_than_its_type_is_refused() {
    let (number, bytes) = (vec![0x08, 0x01], put(1, b"1")); // both are field 1
    for (name, wrong) in [
        ("apimachinery.pkg.apis.meta.v1.ObjectMeta", &number),
        ("apimachinery.pkg.apis.meta.v1.Time", &bytes),
        ("apimachinery.pkg.apis.meta.v1.Duration", &bytes),
        ("apimachinery.pkg.api.resource.Quantity", &number),
        ("apimachinery.pkg.util.intstr.IntOrString", &bytes),
        ("apimachinery.pkg.apis.meta.v1.FieldsV1", &number),
        ("api.authentication.v1.ExtraValue", &number),
        ("api.apiextensions.v1.JSONSchemaPropsOrBool", &bytes),
        ("api.apiextensions.v1.JSONSchemaPropsOrArray", &number),
    ] {
        assert_eq!(message(name, wrong, 0), Err(WRONG_WIRE.to_string()), "{name}");
    }
    let envelope = decode(&[MAGIC, number.as_slice()].concat());
    assert_eq!(envelope, Err(WRONG_WIRE.to_string()));
}

/// As `PodSecurityContext.Unmarshal` upstream: both forms, also in one message.
#[test]
fn numbers_of_a_list_have_a_field_each_or_one_together() {
    let groups = |bytes: &[u8]| message("api.core.v1.PodSecurityContext", bytes, 0);
    let of = |all: Value| Ok(json!({ "supplementalGroups": all }));
    assert_eq!(groups(&[0x20, 1, 0x20, 2]), of(json!([1, 2])));
    assert_eq!(groups(&put(4, &[1, 0xac, 0x02])), of(json!([1, 300])));
    assert_eq!(groups(&[&[0x20, 7][..], &put(4, &[1, 2])].concat()), of(json!([7, 1, 2])));
    assert_eq!(groups(&put(4, &[])), Ok(json!({})));
    assert_eq!(groups(&put(4, &[0xac])), Err("unexpected EOF".to_string()));
}

#[test]
fn an_entry_of_a_map_without_a_value_has_the_empty_one() {
    let of = |name: &str, number: u32| message(name, &put(number, &put(1, b"k")), 0);
    assert_eq!(of("api.core.v1.LimitRangeItem", 2), Ok(json!({"max": {"k": "0"}})));
    assert_eq!(of("apimachinery.pkg.apis.meta.v1.ObjectMeta", 11), Ok(json!({"labels": {"k": ""}})));
    assert_eq!(of("api.policy.v1.PodDisruptionBudgetStatus", 2), Ok(json!({"disruptedPods": {"k": null}})));
}

/// As `Quantity.Unmarshal` upstream: fields that it does not know change nothing.
#[test]
fn an_amount_without_a_text_is_zero() {
    let quantity = |bytes: &[u8]| message("apimachinery.pkg.api.resource.Quantity", bytes, 0).unwrap();
    assert_eq!((quantity(&[]), quantity(&put(2, b"1"))), (json!("0"), json!("0")));
    assert_eq!(quantity(&[put(1, b"1"), put(1, b"2Gi"), put(2, b"3")].concat()), json!("2Gi"));
    assert_eq!(quantity(&put(1, b"")), json!(""), "this is no amount, as what reads it says");
}

/// What a client sends that approves a request of a user with extra attributes.
#[test]
fn an_extra_attribute_of_a_user_is_a_list() {
    let value = [put(1, b"a"), put(1, b"b")].concat();
    let spec = put(6, &[put(1, b"x.io/id"), put(2, &value)].concat());
    let object = decode(&body("certificates.k8s.io/v1", "CertificateSigningRequest", &put(2, &spec)));
    assert_eq!(object.unwrap()["spec"], json!({"extra": {"x.io/id": ["a", "b"]}}));
}

#[test]
fn a_time_without_seconds_is_the_beginning_of_1970() {
    let time = |name: &str, bytes: &[u8]| message(&format!("apimachinery.pkg.apis.meta.v1.{name}"), bytes, 0);
    assert_eq!(time("Time", &[0x10, 0x00]), Ok(json!("1970-01-01T00:00:00Z")));
    assert_eq!(time("MicroTime", &[0x10, 0xe8, 0x07]), Ok(json!("1970-01-01T00:00:00.000001Z")));
    assert_eq!(time("Time", &[]), Ok(Value::Null));
}

/// The last second of the year 9999, and one before the year -9999.
#[test]
fn a_time_that_no_object_can_have_is_named() {
    let time = |bytes: &[u8]| message("apimachinery.pkg.apis.meta.v1.Time", bytes, 0).unwrap_err();
    assert_eq!(time(&[0x08, 0xff, 0x82, 0xd1, 0xff, 0xaf, 0x07]), gotime::TOO_LATE);
    assert_eq!(time(&[0x08, 0xff, 0xb6, 0x9a, 0xd7, 0x80, 0xf5, 0xff, 0xff, 0xff, 0x01]), TOO_EARLY);
}

/// The message of a group that has a repository of its own, with a duration.
#[test]
fn metrics_of_a_node() {
    let window = [0x08, 0x80, 0x92, 0xe5, 0x8e, 0x27]; // 10 500 000 000 ns
    let usage = [put(1, b"cpu"), put(2, &put(1, b"250m"))].concat();
    let raw = [put(1, &put(1, b"n")), put(2, &[0x08, 0x01]), put(3, &window), put(4, &usage)].concat();
    let want = json!({"apiVersion": "metrics.k8s.io/v1beta1", "kind": "NodeMetrics", "metadata": {"name": "n"},
        "timestamp": "1970-01-01T00:00:01Z", "window": "10.5s", "usage": {"cpu": "250m"}});
    assert_eq!(decode(&body("metrics.k8s.io/v1beta1", "NodeMetrics", &raw)).unwrap(), want);
    let raw = put(4, &[put(1, b"c"), put(2, &usage)].concat());
    let object = decode(&body("metrics.k8s.io/v1beta1", "PodMetrics", &raw)).unwrap();
    assert_eq!(object["containers"], json!([{"name": "c", "usage": {"cpu": "250m"}}]));
}

/// As [`put`], for values of any length.
fn long(number: u32, bytes: &[u8]) -> Vec<u8> {
    let varint = |mut n: u64| {
        let mut out = vec![];
        while n >= 0x80 {
            out.push(n as u8 | 0x80);
            n >>= 7;
        }
        out.push(n as u8);
        out
    };
    [varint(u64::from(number << 3 | 2)), varint(bytes.len() as u64), bytes.to_vec()].concat()
}

fn body(api_version: &str, kind: &str, raw: &[u8]) -> Vec<u8> {
    let types = [put(1, api_version.as_bytes()), put(2, kind.as_bytes())].concat();
    [b"k8s\0".to_vec(), long(1, &types), long(2, raw)].concat()
}

#[test]
fn a_definition_with_its_schema() {
    let flag = |number: u32| vec![(number << 3) as u8, 1];
    let text = long(5, b"string");
    let entry = |name: &str, schema: &[u8]| long(29, &[put(1, name.as_bytes()), long(2, schema)].concat());
    let list = [long(5, b"array"), long(24, &long(1, &text)), long(8, &put(1, b"[\"a\"]"))].concat();
    let free = [long(5, b"object"), long(30, &[8, 1])].concat();
    let rule = long(44, &[put(1, b"self.a == 'x'"), put(4, b"FieldValueInvalid")].concat());
    let preserve = vec![0xb0, 0x02, 1];
    let schema =
        [long(5, b"object"), entry("a", &text), entry("l", &list), entry("m", &free), rule, preserve]
            .concat();
    let version =
        [put(1, b"v1"), flag(2), flag(3), long(4, &long(1, &schema)), long(5, &put(1, b""))].concat();
    let names = [put(1, b"foos"), put(4, b"Foo")].concat();
    let spec = [put(1, b"x.io"), long(3, &names), put(4, b"Namespaced"), long(7, &version)].concat();
    let raw = [long(1, &put(1, b"foos.x.io")), long(2, &spec)].concat();
    let object = decode(&body("apiextensions.k8s.io/v1", "CustomResourceDefinition", &raw)).unwrap();
    let want = json!({"type": "object", "properties": {
            "a": {"type": "string"},
            "l": {"type": "array", "items": {"type": "string"}, "default": ["a"]},
            "m": {"type": "object", "additionalProperties": true}},
        "x-kubernetes-validations": [{"rule": "self.a == 'x'", "reason": "FieldValueInvalid"}],
        "x-kubernetes-preserve-unknown-fields": true});
    let version = &object["spec"]["versions"][0];
    assert_eq!(version["schema"]["openAPIV3Schema"], want);
    assert_eq!(version["subresources"], json!({"status": {}}));
    assert_eq!(object["spec"]["names"], json!({"plural": "foos", "kind": "Foo"}));
    assert_eq!(object["metadata"]["name"], "foos.x.io");
}

#[test]
fn every_field_of_a_definition_is_one_of_its_schema() {
    for (name, fields) in MESSAGES.iter().filter(|(name, _)| name.starts_with("api.apiextensions.")) {
        let short = name.rsplit('.').next().unwrap();
        let schema = format!("io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.{short}");
        let published = crate::published::schemas();
        let Some(properties) = published.get(&schema).and_then(|s| s["properties"].as_object()) else {
            continue;
        };
        for field in fields.values() {
            assert!(properties.contains_key(field.json), "{name}.{}", field.json);
        }
    }
}

#[test]
fn schemas_that_nest_without_end_are_refused() {
    let mut schema = long(5, b"object");
    for _ in 0..300 {
        schema = long(28, &schema);
    }
    let version = long(4, &long(1, &schema));
    let raw = long(2, &long(7, &version));
    let error = decode(&body("apiextensions.k8s.io/v1", "CustomResourceDefinition", &raw)).unwrap_err();
    assert_eq!(error, "protobuf message is nested too deeply");
}

#[test]
fn embedded_messages_stand_inline_and_pointers_keep_their_zero() {
    let volume = [put(1, b"v"), put(2, &put(2, b""))].concat();
    assert_eq!(message("api.core.v1.Volume", &volume, 0).unwrap(), json!({"name": "v", "emptyDir": {}}));
    let spec = [vec![0x08, 0x00], vec![0x28, 0x00]].concat(); // replicas 0, minReadySeconds 0
    assert_eq!(message("api.apps.v1.DeploymentSpec", &spec, 0).unwrap(), json!({"replicas": 0}));
    let spec = [0x60, 0, 0x68, 0]; // backoffLimitPerIndex 0, maxFailedIndexes 0: the first failure ends the Job
    let want = json!({"backoffLimitPerIndex": 0, "maxFailedIndexes": 0});
    assert_eq!(message("api.batch.v1.JobSpec", &spec, 0).unwrap(), want);
    let client = message("api.core.v1.ClientIPConfig", &[0x08, 0x00], 0).unwrap();
    assert_eq!(client, json!({"timeoutSeconds": 0}), "10800 would be filled in");
}

/// IntOrString, JSON and bool-or-schema are messages that stand for a scalar.
#[test]
fn pointers_to_messages_that_are_scalars_keep_their_zero() {
    let zero = [0x08, 0x00, 0x10, 0x00]; // an IntOrString: a number, 0
    let json = |text: &str| put(1, text.as_bytes());
    let closed = [0x08, 0x00]; // no other fields are allowed
    let schema = "api.apiextensions.v1.JSONSchemaProps";
    let apps = |name: &str| format!("api.apps.v1.{name}");
    for (name, raw, want) in [
        ("api.policy.v1.PodDisruptionBudgetSpec", put(1, &zero), json!({"minAvailable": 0})),
        ("api.policy.v1.PodDisruptionBudgetSpec", put(3, &zero), json!({"maxUnavailable": 0})),
        ("api.networking.v1.NetworkPolicyPort", put(2, &zero), json!({"port": 0})),
        (&apps("RollingUpdateDeployment"), put(1, &zero), json!({"maxUnavailable": 0})),
        (&apps("RollingUpdateDeployment"), put(2, &zero), json!({"maxSurge": 0})),
        (&apps("RollingUpdateDaemonSet"), put(1, &zero), json!({"maxUnavailable": 0})),
        (&apps("RollingUpdateDaemonSet"), put(2, &zero), json!({"maxSurge": 0})),
        (&apps("RollingUpdateStatefulSetStrategy"), put(2, &zero), json!({"maxUnavailable": 0})),
        (schema, long(8, &json("false")), json!({"default": false})),
        (schema, long(8, &json("0")), json!({"default": 0})),
        (schema, long(8, &json("\"\"")), json!({"default": ""})),
        (schema, long(30, &closed), json!({"additionalProperties": false})),
        ("api.core.v1.ServicePort", put(4, &zero), json!({})),
    ] {
        assert_eq!(message(name, &raw, 0).unwrap(), want, "{name}");
    }
}
