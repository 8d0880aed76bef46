//! Nonsense, and almost sense, against everything that is served: what the server says of itself
//! (discovery, OpenAPI) is the grammar, and what comes out of it is bent. Whatever is asked, the
//! answer is one of Kubernetes': never a panic, never a 5xx, never none, and another client is
//! served meanwhile. A failing run prints its seed; `ROPEWALK_FUZZ_SECONDS=600` makes a long one.

use crate::auth::user::User;
use crate::request::http::{Body, full};
use crate::testing;
use ::http::Request;
use bytes::Bytes;
use futures::FutureExt;
use http_body_util::BodyExt;
use parking_lot::Mutex;
use rng::Rng;
use rng::fuzz::{self, Bender};
use serde_json::{Map, Value, json};
use std::panic::AssertUnwindSafe;
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

/// An answer that takes longer than this is none.
const STALL: Duration = Duration::from_secs(10);
/// Objects that are remembered.
const SEEN_MAX: usize = 2000;
/// Subresources that lead to a kubelet, which this server has none of.
const AWAY: [&str; 5] = ["log", "exec", "attach", "portforward", "proxy"];
/// Answers above 500 that are Kubernetes' own: a revision that is still to come.
const OWN: [u16; 1] = [504];
/// How the 500 begins that Kubernetes answers to a GET of a Scale whose custom resource has no
/// replicas.
const NO_REPLICAS: &str = "Internal error occurred: the spec replicas field";

/// What an ordinary request may wait for while nonsense is asked.
const PATIENCE: Duration = Duration::from_secs(5);
const AGAIN: &str = "whatever_is_asked";

/// True for an answer of 500 or more that Kubernetes gives, too.
fn is_of_kubernetes(code: u16, said: &Value) -> bool {
    OWN.contains(&code) || said["message"].as_str().is_some_and(|why| why.starts_with(NO_REPLICAS))
}

/// Another client, which asks for ordinary things all the time. Returns only if an answer takes
/// longer than [`PATIENCE`] or is a refusal; then it says which.
async fn neighbour(server: crate::Server) -> String {
    loop {
        for path in ["/version", "/api/v1/namespaces/default", "/api/v1/configmaps?limit=5"] {
            let request = Request::get(path).body(full("")).unwrap();
            let asked = server.call(request, User::new("neighbour", &["system:masters"]));
            match tokio::time::timeout(PATIENCE, asked).await {
                Ok(answer) if answer.status().is_success() => {}
                Ok(answer) => return format!("{path} is answered with {}", answer.status()),
                Err(_) => return format!("{path} is not answered within {PATIENCE:?}"),
            }
        }
        clock::pause(Duration::from_millis(10)).await;
    }
}

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
    bender: Bender,
    server: crate::Server,
    schemas: Map<String, Value>,
    targets: Vec<Target>,
    /// Objects that the server has shown: what is almost right starts from one of these.
    seen: Mutex<Vec<Value>>,
}

impl Fuzz {
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
            Ok(Err(panic)) => Err(format!("panic: {}", fuzz::said(&*panic))),
            Ok(Ok((code, said))) if code >= 500 && !is_of_kubernetes(code, &said) => {
                Err(format!("{code}: {said}"))
            }
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
        let mut seen = self.seen.lock();
        if seen.len() >= SEEN_MAX {
            let at = self.bender.below(seen.len());
            seen.swap_remove(at);
        }
        seen.push(object);
    }

    /// Some object that the server has shown.
    fn pick_seen(&self) -> Value {
        let seen = self.seen.lock();
        seen.get(self.bender.below(seen.len())).cloned().unwrap_or_default()
    }

    /// A value of a schema, more or less.
    fn value(&self, schema: &Value, depth: usize) -> Value {
        if self.bender.0.chance(0.03) {
            return self.bender.nonsense(depth);
        }
        let inner = schema["allOf"].get(0).unwrap_or(schema);
        if let Some(name) = inner["$ref"].as_str().and_then(|r| r.strip_prefix("#/components/schemas/")) {
            return match self.schemas.get(name) {
                Some(schema) if depth < 9 => self.value(schema, depth + 1),
                _ => json!({}),
            };
        }
        if let Some(Value::Array(all)) = schema.get("enum") {
            return self.bender.pick(all).clone();
        }
        match schema["type"].as_str().unwrap_or("") {
            "object" => {
                let mut map = Map::new();
                for (name, field) in schema["properties"].as_object().into_iter().flatten() {
                    let needed = schema["required"].as_array().is_some_and(|r| r.iter().any(|r| r == name));
                    if self.bender.0.chance(if needed { 0.97 } else { 0.25 }) {
                        map.insert(name.clone(), self.value(field, depth + 1));
                    }
                }
                if schema["additionalProperties"].is_object() {
                    for _ in 0..self.bender.below(3) {
                        map.insert(
                            self.bender.word(),
                            self.value(&schema["additionalProperties"], depth + 1),
                        );
                    }
                }
                Value::Object(map)
            }
            "array" => (0..self.bender.below(3)).map(|_| self.value(&schema["items"], depth + 1)).collect(),
            "string" => self.bender.word().into(),
            "integer" => self.bender.number(),
            "number" => json!(self.bender.0.u64() as f64 / 1e9),
            "boolean" => self.bender.0.chance(0.5).into(),
            _ => self.bender.pick(&[json!("80"), json!(80), json!({}), json!("50%")]).clone(),
        }
    }

    fn object(&self, target: &Target) -> Value {
        if self.bender.0.chance(0.6) {
            let known = {
                let seen = self.seen.lock();
                let alike: Vec<&Value> = seen.iter().filter(|o| o["kind"] == target.kind.as_str()).collect();
                if alike.is_empty() { None } else { Some((*self.bender.pick(&alike)).clone()) }
            };
            if let Some(mut object) = known {
                if let Value::Object(metadata) = &mut object["metadata"] {
                    for field in ["resourceVersion", "uid"] {
                        if self.bender.0.chance(0.9) {
                            metadata.shift_remove(field);
                        }
                    }
                    if self.bender.0.chance(0.3) {
                        metadata.insert("name".into(), self.name().into());
                    }
                }
                (0..self.bender.below(4)).for_each(|_| self.bender.value(&mut object, 0));
                return object;
            }
        }
        let mut object = self.value(&target.schema, 0);
        if !object.is_object() {
            return object;
        }
        if self.bender.0.chance(0.95) {
            object["apiVersion"] = target.api_version.clone().into();
            object["kind"] = target.kind.clone().into();
        }
        if self.bender.0.chance(0.9) {
            if !object["metadata"].is_object() {
                object["metadata"] = json!({});
            }
            object["metadata"]["name"] = self.name().into();
            let placed = self.bender.0.chance(0.9);
            for field in ["namespace", "resourceVersion", "uid", "managedFields", "deletionTimestamp"] {
                if placed && let Value::Object(metadata) = &mut object["metadata"] {
                    metadata.shift_remove(field);
                }
            }
        }
        object
    }

    fn name(&self) -> String {
        match self.bender.below(8) {
            0 => self.bender.word(),
            1..4 => self
                .seen
                .lock()
                .get(self.bender.below(SEEN_MAX))
                .and_then(|o| o["metadata"]["name"].as_str().map(String::from))
                .unwrap_or("a".into()),
            _ => {
                self.bender.pick(&["a", "b", "gardens.fuzz.example.com", "default", "kubernetes"]).to_string()
            }
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
        let pairs = (0..self.bender.below(4)).map(|_| {
            let value = if self.bender.0.chance(0.15) {
                self.bender.word()
            } else {
                self.bender.pick(&values).to_string()
            };
            let encoded = percent_encoding::utf8_percent_encode(&value, percent_encoding::NON_ALPHANUMERIC);
            format!("{}={encoded}", self.bender.pick(&keys))
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
        let media = if self.bender.0.chance(0.8) { "application/json" } else { *self.bender.pick(&types) };
        let mut bytes = match media {
            "application/vnd.kubernetes.protobuf" => self.protobuf(target),
            "application/yaml" => serde_yaml::to_string(&object).unwrap_or_default().into_bytes(),
            _ => object.to_string().into_bytes(),
        };
        if self.bender.0.chance(0.05) {
            let other = self.pick_seen().to_string().into_bytes();
            self.bender.bytes(&mut bytes, &[other], &["metadata", "null", "}", "]", "{", "["]);
        }
        (media.to_string(), bytes.into())
    }

    /// An envelope as it must be, with a message that need not be one.
    fn protobuf(&self, target: &Target) -> Vec<u8> {
        let part = |number: u8, bytes: &[u8]| [&[number << 3 | 2, bytes.len() as u8 & 0x7f], bytes].concat();
        let mut raw = vec![];
        for _ in 0..self.bender.below(6) {
            let inner: Vec<u8> = (0..self.bender.below(20)).map(|_| self.bender.below(256) as u8).collect();
            raw.extend(part(1 + self.bender.below(9) as u8, &part(1 + self.bender.below(9) as u8, &inner)));
        }
        raw.truncate(120);
        let kind = [part(1, target.api_version.as_bytes()), part(2, target.kind.as_bytes())].concat();
        [b"k8s\0".to_vec(), part(1, &kind), part(2, &raw)].concat()
    }

    /// A request, and a line that tells it.
    fn request(&self) -> (String, Request<Body>) {
        let target = self.bender.pick(&self.targets);
        let (verb, is_served) = self.verb(target);
        let path = self.path(target, verb, is_served);
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
            "DELETE" if self.bender.0.chance(0.7) => (String::new(), Bytes::new()),
            _ => self.bytes(target),
        };
        if method == "PATCH" {
            media = self.patch_media();
            if media.contains("json-patch") {
                body = self.json_patch();
            } else if media.contains("apply") && !query.contains("fieldManager") {
                query.push_str("&fieldManager=fuzz&force=true");
            }
        }
        let url = format!("{path}?{query}");
        let told = format!("{method} {url} [{media}] {}", String::from_utf8_lossy(&body));
        let request = Request::builder().method(method).uri(&url);
        let request = request.header("content-type", &media).header("accept", self.accept()).body(full(body));
        (told, request.unwrap())
    }

    /// A verb, and whether it is one that the target has. Writes come more often than reads.
    fn verb<'t>(&self, target: &'t Target) -> (&'t str, bool) {
        match self.bender.0.chance(0.9) {
            true if self.bender.0.chance(0.5) && target.verbs.iter().any(|v| v == "patch") => {
                (*self.bender.pick(&["create", "update", "patch"]), true)
            }
            true => (self.bender.pick(&target.verbs).as_str(), true),
            false => (*self.bender.pick(&["create", "update", "patch", "delete", "get"]), false),
        }
    }

    fn path(&self, target: &Target, verb: &str, is_served: bool) -> String {
        let (base, name) = target.path.split_once('|').unwrap();
        let (plural, sub) = name.split_once('/').map_or((name, None), |(plural, sub)| (plural, Some(sub)));
        let namespace = if self.bender.0.chance(0.95) { "default".into() } else { self.bender.word() };
        let encode = |text: &str| {
            percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string()
        };
        let mut path = base.to_string();
        if target.namespaced && (self.bender.0.chance(0.95) || verb == "create") {
            path.push_str(&format!("/namespaces/{}", encode(&namespace)));
        }
        path.push_str(&format!("/{plural}"));
        let is_of_one = !matches!(verb, "create" | "list" | "watch" | "deletecollection")
            || sub.is_some()
            || (!is_served && self.bender.0.chance(0.5));
        if is_of_one {
            path.push_str(&format!("/{}", encode(&self.name())));
        }
        if let Some(sub) = sub {
            path.push_str(&format!("/{sub}"));
        }
        path
    }

    fn patch_media(&self) -> String {
        let kinds = ["merge-patch+json", "strategic-merge-patch+json", "json-patch+json", "apply-patch+yaml"];
        format!("application/{}", self.bender.pick(&kinds))
    }

    fn json_patch(&self) -> Bytes {
        let ops = ["add", "remove", "replace", "move", "copy", "test", "x"];
        let paths = [
            "/spec",
            "/metadata/labels/a",
            "/data/x",
            "/spec/containers/0",
            "/spec/containers/-",
            "",
            "/",
            "/metadata",
        ];
        let operation = |_| json!({"op": self.bender.pick(&ops), "path": self.bender.pick(&paths), "from": self.bender.pick(&paths), "value": self.bender.nonsense(0)});
        let patch: Vec<Value> = (0..self.bender.below(4)).map(operation).collect();
        Value::from(patch).to_string().into()
    }

    fn accept(&self) -> &'static str {
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
        let other = *self.bender.pick(&accepts);
        if self.bender.0.chance(0.8) { accepts[0] } else { other }
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
    let seed = match fuzz::first_seed() {
        0 => Rng::from_os().range(1, 1_000_000),
        said => said,
    };
    let life = fuzz::budget(Duration::from_secs(8));
    println!("ROPEWALK_SEED_FROM={seed}");
    let dir = tempfile::tempdir().unwrap();
    let fixture = testing::start(dir.path()).await;
    let mut fuzz = Fuzz {
        bender: Bender(Rng::seeded(seed)),
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
    let definition = api::yaml::parse(DEFINITION.as_bytes()).unwrap();
    let made =
        fuzz.ask(post("/apis/apiextensions.k8s.io/v1/customresourcedefinitions", definition)).await.unwrap();
    assert_eq!(made.0, 201, "{}", made.1);
    while fuzz.ask(Request::get("/apis/fuzz.example.com/v1").body(full("")).unwrap()).await.unwrap().0 != 200
    {
        clock::pause(Duration::from_millis(5)).await;
    }
    fuzz.learn().await;
    let mut others = JoinSet::new();
    others.spawn(neighbour(fixture.server.clone()));
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
            Err(why) => panic!(
                "{why}\nagain with: ROPEWALK_SEED_FROM={seed} cargo test -p apiserver --lib {AGAIN}\nrequest {asked}: {told}"
            ),
        }
        asked += 1;
        if asked % 2000 == 0 {
            fuzz.learn().await; // definitions may have come and gone
        }
    }
    let ended = others.try_join_next();
    assert!(ended.is_none(), "{ended:?}");
    println!("{asked} requests: {codes:?}");
    let some = |code: u16| codes.get(&code).copied().unwrap_or_default() > 0;
    assert!(some(200) && some(201) && some(422) && some(400), "what was asked is not varied: {codes:?}");
}
