//! Nonsense, and almost sense, against everything that is served: what the server says of itself (discovery, OpenAPI) is the
//! grammar, and what comes out of it is bent. Whatever is asked, the answer is one of Kubernetes': never a panic, never a 5xx,
//! never none. A failing run prints its seed: `SEED=17 cargo test --lib fuzz`; `ROPEWALK_FUZZ_SECS=600` makes a long one.

use super::http::{Body, full};
use super::testing;
use super::user::User;
use crate::rng::Rng;
use ::http::Request;
use bytes::Bytes;
use futures::FutureExt;
use http_body_util::BodyExt;
use serde_json::{Map, Value, json};
use std::panic::AssertUnwindSafe;
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// An answer that takes longer than this is none.
const STALL: Duration = Duration::from_secs(10);
/// Objects that are remembered.
const SEEN_MAX: usize = 2000;
/// Subresources that lead to a kubelet, which this server has none of.
const AWAY: [&str; 5] = ["log", "exec", "attach", "portforward", "proxy"];
/// Answers above 500 that are Kubernetes' own: a revision that is still to come.
const OWN: [u16; 1] = [504];

/// Something that can be asked for.
struct Target {
    path: String,
    verbs: Vec<String>,
    namespaced: bool,
    api_version: String,
    kind: String,
    schema: Value,
}

struct Fuzz {
    rng: Rng,
    server: super::Server,
    schemas: Map<String, Value>,
    targets: Vec<Target>,
    /// Objects that the server has shown: what is almost right starts from one of these.
    seen: Mutex<Vec<Value>>,
}

impl Fuzz {
    fn below(&self, n: usize) -> usize {
        self.rng.range(0, n as u64) as usize
    }
    fn pick<'a, T>(&self, all: &'a [T]) -> &'a T {
        &all[self.below(all.len())]
    }

    async fn ask(&self, request: Request<Body>) -> Result<(u16, Value), String> {
        let user = User::new("fuzz", &["system:masters"]);
        let watch = request.uri().to_string().contains("watch=");
        let call = async {
            let answer = self.server.call(request, user).await;
            let code = answer.status().as_u16();
            if watch && code < 300 {
                return (code, Value::Null); // it goes on for ever
            }
            let bytes = answer.into_body().collect().await.map(|b| b.to_bytes()).unwrap_or_default();
            (code, serde_json::from_slice(&bytes).unwrap_or_default())
        };
        match tokio::time::timeout(STALL, AssertUnwindSafe(call).catch_unwind()).await {
            Err(_) => Err("no answer".into()),
            Ok(Err(panic)) => {
                let said = panic.downcast_ref::<String>().cloned();
                let said = said.or_else(|| panic.downcast_ref::<&str>().map(|s| s.to_string()));
                Err(format!("panic: {}", said.unwrap_or_default()))
            }
            Ok(Ok((code, said))) if code >= 500 && !OWN.contains(&code) => Err(format!("{code}: {said}")),
            Ok(Ok(answer)) => Ok(answer),
        }
    }

    async fn get(&self, path: &str) -> Value {
        let request = Request::get(path).body(full("")).unwrap();
        self.ask(request).await.unwrap().1
    }

    /// What is served, with its schemas.
    async fn learn(&mut self) {
        let index = self.get("/openapi/v3").await;
        let paths: Vec<String> = index["paths"].as_object().unwrap().keys().cloned().collect();
        self.targets.clear();
        for path in paths {
            let document = self.get(&format!("/openapi/v3/{path}")).await;
            let schemas = document["components"]["schemas"].as_object().cloned().unwrap_or_default();
            let list = self.get(&format!("/{path}")).await;
            for resource in list["resources"].as_array().cloned().unwrap_or_default() {
                let name = resource["name"].as_str().unwrap().to_string();
                if name.split_once('/').is_some_and(|(_, sub)| AWAY.contains(&sub)) {
                    continue;
                }
                let word = |field: &str| resource[field].as_str().unwrap_or_default().to_string();
                let own = list["groupVersion"].as_str().unwrap_or_default();
                let (group, version) = (word("group"), word("version"));
                let api_version = match version.as_str() {
                    "" => own.to_string(),
                    version => format!("{group}/{version}").trim_start_matches('/').to_string(),
                };
                let kind = word("kind");
                let suffix = format!(".{kind}");
                let schema = schemas.iter().find(|(name, _)| name.ends_with(&suffix));
                self.targets.push(Target {
                    path: format!("/{path}|{name}"),
                    verbs: resource["verbs"]
                        .as_array()
                        .unwrap()
                        .iter()
                        .filter_map(Value::as_str)
                        .map(String::from)
                        .collect(),
                    namespaced: resource["namespaced"] == true,
                    api_version,
                    kind,
                    schema: schema.map_or(json!({"type": "object"}), |(_, s)| s.clone()),
                });
            }
            self.schemas.extend(schemas);
        }
        for target in &self.targets {
            let path = target.path.replace('|', "/");
            if target.verbs.iter().any(|v| v == "list") && !target.path.contains("events") {
                let list = self.get(&path).await;
                for mut item in list["items"].as_array().cloned().unwrap_or_default() {
                    item["apiVersion"] = target.api_version.clone().into();
                    item["kind"] = target.kind.clone().into();
                    self.remember(item);
                }
            }
        }
        assert!(self.targets.len() > 40, "only {} targets", self.targets.len());
    }

    fn remember(&self, object: Value) {
        let mut seen = self.seen.lock().unwrap();
        if seen.len() >= SEEN_MAX {
            let at = self.below(seen.len());
            seen.swap_remove(at);
        }
        seen.push(object);
    }

    /// Bends one place of a value.
    fn bend(&self, value: &mut Value, depth: usize) {
        let here = self.rng.chance(0.2);
        match value {
            Value::Object(map) if !map.is_empty() && !here => {
                let at = self.below(map.len());
                if let Some((_, inner)) = map.iter_mut().nth(at) {
                    self.bend(inner, depth + 1);
                }
            }
            Value::Array(list) if !list.is_empty() && !here => {
                let at = self.below(list.len());
                match self.below(4) {
                    0 => list.push(list[at].clone()),
                    1 => drop(list.remove(at)),
                    _ => self.bend(&mut list[at], depth + 1),
                }
            }
            Value::Object(map) if self.rng.chance(0.3) => drop(map.insert(self.word(), self.nonsense(depth))),
            other if depth > 0 => *other = self.nonsense(depth),
            _ => {}
        }
    }

    /// A value of a schema, more or less.
    fn value(&self, schema: &Value, depth: usize) -> Value {
        if self.rng.chance(0.03) {
            return self.nonsense(depth);
        }
        let inner = schema["allOf"].get(0).unwrap_or(schema);
        if let Some(name) = inner["$ref"].as_str().and_then(|r| r.strip_prefix("#/components/schemas/")) {
            return match self.schemas.get(name) {
                Some(schema) if depth < 9 => self.value(schema, depth + 1),
                _ => json!({}),
            };
        }
        if let Some(Value::Array(all)) = schema.get("enum") {
            return self.pick(all).clone();
        }
        match schema["type"].as_str().unwrap_or("") {
            "object" => {
                let mut map = Map::new();
                for (name, field) in schema["properties"].as_object().into_iter().flatten() {
                    let needed = schema["required"].as_array().is_some_and(|r| r.iter().any(|r| r == name));
                    if self.rng.chance(if needed { 0.97 } else { 0.25 }) {
                        map.insert(name.clone(), self.value(field, depth + 1));
                    }
                }
                if schema["additionalProperties"].is_object() {
                    for _ in 0..self.below(3) {
                        map.insert(self.word(), self.value(&schema["additionalProperties"], depth + 1));
                    }
                }
                Value::Object(map)
            }
            "array" => (0..self.below(3)).map(|_| self.value(&schema["items"], depth + 1)).collect(),
            "string" => self.word().into(),
            "integer" => self.number(),
            "number" => json!(self.rng.u64() as f64 / 1e9),
            "boolean" => self.rng.chance(0.5).into(),
            _ => self.pick(&[json!("80"), json!(80), json!({}), json!("50%")]).clone(),
        }
    }

    fn number(&self) -> Value {
        let odd = [0, 1, -1, 2, 80, 443, 30000, 65536, i64::MAX, i64::MIN, 1 << 31, 1 << 32];
        json!(self.pick(&odd))
    }

    fn word(&self) -> String {
        let words = [
            "",
            "a",
            "web",
            "default",
            "TCP",
            "Always",
            "nginx",
            "metadata.name",
            "app=web",
            "10.0.0.1",
            "::1",
            "1Gi",
            "250m",
            "-1",
            "1e400",
            "2026-01-02T03:04:05Z",
            "0001-01-01T00:00:00Z",
            "/",
            "..",
            "%00",
            "a/b/c",
            "ü",
            "\u{0}",
            "\u{7f}",
            "'\"\\",
            "{{",
            "$(X)",
            "all",
            "*",
            "null",
            "true",
            "a.b.c/d",
            "kubernetes.io/x",
            "-",
            "a-",
            "A",
            "999999999999999999999",
            "Service",
            "v1",
            "apps/v1",
            "self.a == 1",
            "((((((",
            "^(",
            "[a-",
            ".spec.a",
            "{.a[",
            "1s",
        ];
        match self.below(20) {
            0 => "x".repeat(self.below(300)),
            1 => "🦀".repeat(self.below(70)),
            _ => self.pick(&words).to_string(),
        }
    }

    fn nonsense(&self, depth: usize) -> Value {
        match self.below(9) {
            0 => Value::Null,
            1 => json!([]),
            2 => json!({}),
            3 => self.number(),
            4 => json!(1.5e308),
            5 => self.word().into(),
            6 if depth < 30 => json!([self.nonsense(depth + 1)]),
            7 if depth < 30 => json!({ self.word(): self.nonsense(depth + 1) }),
            _ => json!(true),
        }
    }

    fn object(&self, target: &Target) -> Value {
        if self.rng.chance(0.6) {
            let known = {
                let seen = self.seen.lock().unwrap();
                let alike: Vec<&Value> = seen.iter().filter(|o| o["kind"] == target.kind.as_str()).collect();
                if alike.is_empty() { None } else { Some((*self.pick(&alike)).clone()) }
            };
            if let Some(mut object) = known {
                if let Value::Object(metadata) = &mut object["metadata"] {
                    for field in ["resourceVersion", "uid"] {
                        if self.rng.chance(0.9) {
                            metadata.shift_remove(field);
                        }
                    }
                    if self.rng.chance(0.3) {
                        metadata.insert("name".into(), self.name().into());
                    }
                }
                (0..self.below(4)).for_each(|_| self.bend(&mut object, 0));
                return object;
            }
        }
        let mut object = self.value(&target.schema, 0);
        if !object.is_object() {
            return object;
        }
        if self.rng.chance(0.95) {
            object["apiVersion"] = target.api_version.clone().into();
            object["kind"] = target.kind.clone().into();
        }
        if self.rng.chance(0.9) {
            if !object["metadata"].is_object() {
                object["metadata"] = json!({});
            }
            object["metadata"]["name"] = self.name().into();
            let placed = self.rng.chance(0.9);
            for field in ["namespace", "resourceVersion", "uid", "managedFields", "deletionTimestamp"] {
                if placed && let Value::Object(metadata) = &mut object["metadata"] {
                    metadata.shift_remove(field);
                }
            }
        }
        object
    }

    fn name(&self) -> String {
        match self.below(8) {
            0 => self.word(),
            1..4 => self
                .seen
                .lock()
                .unwrap()
                .get(self.below(SEEN_MAX))
                .and_then(|o| o["metadata"]["name"].as_str().map(String::from))
                .unwrap_or("a".into()),
            _ => self.pick(&["a", "b", "gardens.fuzz.example.com", "default", "kubernetes"]).to_string(),
        }
    }

    fn query(&self) -> String {
        let keys = [
            "dryRun",
            "fieldManager",
            "fieldValidation",
            "force",
            "labelSelector",
            "fieldSelector",
            "limit",
            "continue",
            "resourceVersion",
            "resourceVersionMatch",
            "timeoutSeconds",
            "watch",
            "allowWatchBookmarks",
            "sendInitialEvents",
            "gracePeriodSeconds",
            "propagationPolicy",
            "orphanDependents",
            "pretty",
            "includeObject",
        ];
        let values = [
            "All",
            "true",
            "false",
            "Strict",
            "Warn",
            "Ignore",
            "app=web",
            "app in (a,b)",
            "!x",
            "metadata.name=a",
            "a",
            "1",
            "0",
            "-1",
            "99999999999999999999",
            "Exact",
            "NotOlderThan",
            "Foreground",
            "Orphan",
            "eyJ2IjoibWV0YS5rOHMuaW8vdjEifQ",
            "fuzz",
        ];
        let pairs = (0..self.below(4)).map(|_| {
            let value = if self.rng.chance(0.15) { self.word() } else { self.pick(&values).to_string() };
            let encoded = percent_encoding::utf8_percent_encode(&value, percent_encoding::NON_ALPHANUMERIC);
            format!("{}={encoded}", self.pick(&keys))
        });
        pairs.collect::<Vec<_>>().join("&")
    }

    fn bytes(&self, target: &Target) -> (String, Bytes) {
        let object = self.object(target);
        let types = [
            "application/json",
            "application/yaml",
            "application/vnd.kubernetes.protobuf",
            "",
            "text/plain",
            "a/b;c=d",
        ];
        let media = if self.rng.chance(0.8) { "application/json" } else { *self.pick(&types) };
        let mut bytes = match media {
            "application/vnd.kubernetes.protobuf" => self.protobuf(target),
            "application/yaml" => serde_yaml::to_string(&object).unwrap_or_default().into_bytes(),
            _ => object.to_string().into_bytes(),
        };
        if self.rng.chance(0.05) && !bytes.is_empty() {
            let at = self.below(bytes.len());
            match self.below(3) {
                0 => bytes.truncate(at),
                1 => bytes[at] = self.below(256) as u8,
                _ => bytes.extend_from_within(at..),
            }
        }
        (media.to_string(), bytes.into())
    }

    /// An envelope as it must be, with a message that need not be one.
    fn protobuf(&self, target: &Target) -> Vec<u8> {
        let part = |number: u8, bytes: &[u8]| [&[number << 3 | 2, bytes.len() as u8 & 0x7f], bytes].concat();
        let mut raw = vec![];
        for _ in 0..self.below(6) {
            let inner: Vec<u8> = (0..self.below(20)).map(|_| self.below(256) as u8).collect();
            raw.extend(part(1 + self.below(9) as u8, &part(1 + self.below(9) as u8, &inner)));
        }
        raw.truncate(120);
        let kind = [part(1, target.api_version.as_bytes()), part(2, target.kind.as_bytes())].concat();
        [b"k8s\0".to_vec(), part(1, &kind), part(2, &raw)].concat()
    }

    fn request(&self) -> (String, Request<Body>) {
        let target = self.pick(&self.targets);
        let (base, name) = target.path.split_once('|').unwrap();
        let (plural, sub) = name.split_once('/').map_or((name, None), |(plural, sub)| (plural, Some(sub)));
        let (verb, forbidden) = match self.rng.chance(0.9) {
            // Writes more often than reads.
            true if self.rng.chance(0.5) && target.verbs.iter().any(|v| v == "patch") => {
                (*self.pick(&["create", "update", "patch"]), false)
            }
            true => (self.pick(&target.verbs).as_str(), false),
            false => (*self.pick(&["create", "update", "patch", "delete", "get"]), true),
        };
        let namespace = if self.rng.chance(0.95) { "default".into() } else { self.word() };
        let encode = |text: &str| {
            percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string()
        };
        let mut path = base.to_string();
        if target.namespaced && (self.rng.chance(0.95) || verb == "create") {
            path.push_str(&format!("/namespaces/{}", encode(&namespace)));
        }
        path.push_str(&format!("/{plural}"));
        let one = !matches!(verb, "create" | "list" | "watch" | "deletecollection")
            || sub.is_some()
            || (forbidden && self.rng.chance(0.5));
        if one {
            path.push_str(&format!("/{}", encode(&self.name())));
        }
        if let Some(sub) = sub {
            path.push_str(&format!("/{sub}"));
        }
        let mut query = self.query();
        if verb == "watch" {
            query.push_str("&watch=1&timeoutSeconds=1");
        }
        let method = match verb {
            "create" => "POST",
            "update" => "PUT",
            "patch" => "PATCH",
            "delete" | "deletecollection" => "DELETE",
            _ => "GET",
        };
        let (mut media, mut body) = match method {
            "GET" => (String::new(), Bytes::new()),
            "DELETE" if self.rng.chance(0.7) => (String::new(), Bytes::new()),
            _ => self.bytes(target),
        };
        if method == "PATCH" {
            let kinds =
                ["merge-patch+json", "strategic-merge-patch+json", "json-patch+json", "apply-patch+yaml"];
            media = format!("application/{}", self.pick(&kinds));
            if media.contains("json-patch") {
                let ops = ["add", "remove", "replace", "move", "copy", "test", "x"];
                let patch: Vec<Value> = (0..self.below(4)).map(|_| {
                    let paths = ["/spec", "/metadata/labels/a", "/data/x", "/spec/containers/0", "/spec/containers/-", "", "/", "/metadata"];
                    json!({"op": self.pick(&ops), "path": self.pick(&paths), "from": self.pick(&paths), "value": self.nonsense(0)})
                }).collect();
                body = Value::from(patch).to_string().into();
            } else if media.contains("apply") && !query.contains("fieldManager") {
                query.push_str("&fieldManager=fuzz&force=true");
            }
        }
        let accepts = [
            "application/json",
            "*/*",
            "application/json;as=Table;v=v1;g=meta.k8s.io",
            "text/html",
            "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io",
            "application/vnd.kubernetes.protobuf",
            ";;,=",
            "",
        ];
        let url = format!("{path}?{query}");
        let told = format!("{method} {url} [{media}] {}", String::from_utf8_lossy(&body));
        let request = Request::builder().method(method).uri(&url);
        let accept = if self.rng.chance(0.8) { accepts[0] } else { *self.pick(&accepts) };
        let request = request.header("content-type", &media).header("accept", accept).body(full(body));
        (told, request.unwrap())
    }
}

/// A kind with a bit of everything, so that custom resources are among what is asked.
const DEFINITION: &str = r#"
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: gardens.fuzz.example.com}
spec:
  group: fuzz.example.com
  scope: Namespaced
  names: {plural: gardens, kind: Garden}
  versions:
  - name: v1
    served: true
    storage: true
    subresources:
      status: {}
      scale: {specReplicasPath: .spec.size, statusReplicasPath: .status.size}
    additionalPrinterColumns:
    - {name: Size, type: integer, jsonPath: .spec.size}
    - {name: All, type: string, jsonPath: '.spec.list[*].name'}
    schema:
      openAPIV3Schema:
        type: object
        properties:
          spec:
            type: object
            x-kubernetes-validations:
            - {rule: "!has(self.size) || self.size < 100"}
            - {rule: "!has(self.list) || self.list.all(i, i.name != oldSelf.name)"}
            properties:
              size: {type: integer, default: 1, maximum: 1000}
              name: {type: string, pattern: '^[a-z]*$', maxLength: 20}
              port: {x-kubernetes-int-or-string: true}
              when: {type: string, format: date-time}
              any: {x-kubernetes-preserve-unknown-fields: true}
              map: {type: object, additionalProperties: {type: integer}}
              list:
                type: array
                x-kubernetes-list-type: map
                x-kubernetes-list-map-keys: [name]
                items:
                  type: object
                  required: [name]
                  properties: {name: {type: string}, n: {type: number, nullable: true}}
          status: {type: object, properties: {size: {type: integer}}}
"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_is_asked_the_answer_is_one_of_kubernetes() {
    let number = |name: &str| std::env::var(name).ok().and_then(|s| s.parse::<u64>().ok());
    let seed = number("SEED").unwrap_or_else(|| Rng::from_os().range(0, 1_000_000));
    let life = Duration::from_secs(number("ROPEWALK_FUZZ_SECS").unwrap_or(8));
    println!("SEED={seed}");
    let dir = tempfile::tempdir().unwrap();
    let fixture = testing::start(dir.path()).await;
    let mut fuzz = Fuzz {
        rng: Rng::seeded(seed),
        server: fixture.server.clone(),
        schemas: Map::new(),
        targets: vec![],
        seen: Mutex::default(),
    };
    let post = |path: &str, body: Value| {
        Request::post(path).header("content-type", "application/json").body(full(body.to_string())).unwrap()
    };
    let account = json!({"metadata": {"name": "default"}});
    fuzz.ask(post("/api/v1/namespaces/default/serviceaccounts", account)).await.unwrap();
    let definition = crate::api::yaml::parse(DEFINITION.as_bytes()).unwrap();
    let made =
        fuzz.ask(post("/apis/apiextensions.k8s.io/v1/customresourcedefinitions", definition)).await.unwrap();
    assert_eq!(made.0, 201, "{}", made.1);
    while fuzz.ask(Request::get("/apis/fuzz.example.com/v1").body(full("")).unwrap()).await.unwrap().0 != 200
    {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    fuzz.learn().await;
    let (start, mut asked, mut codes) = (Instant::now(), 0, std::collections::BTreeMap::<u16, usize>::new());
    while start.elapsed() < life {
        let (told, request) = fuzz.request();
        match fuzz.ask(request).await {
            Ok((code, said)) => {
                *codes.entry(code).or_default() += 1;
                if code < 300 && said["metadata"]["name"].is_string() && said["kind"] != "Table" {
                    fuzz.remember(said);
                }
            }
            Err(why) => panic!("SEED={seed}, request {asked}: {why}\n{told}"),
        }
        asked += 1;
        if asked % 2000 == 0 {
            fuzz.learn().await; // definitions may have come and gone
        }
    }
    println!("{asked} requests: {codes:?}");
    let some = |code: u16| codes.get(&code).copied().unwrap_or_default() > 0;
    assert!(some(200) && some(201) && some(422) && some(400), "what was asked is not varied: {codes:?}");
}
