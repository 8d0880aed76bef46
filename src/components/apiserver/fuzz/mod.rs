//! Nonsense, and almost sense, against everything that is served: what the server says of itself
//! (discovery, OpenAPI) is the grammar, and what comes out of it is bent. Whatever is asked, the
//! answer is one of Kubernetes': never a panic, never a 5xx, never none, and another client is
//! served meanwhile. A failing run prints its seed; `ROPEWALK_FUZZ_SECONDS=600` makes a long one.

mod requests;

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

/// True for an answer of 500 or more that Kubernetes gives, too. A 500 without a reason is the
/// answer to a strategic merge patch (`api::strategic::refusal`), or to an apply with fields that
/// cannot be owned.
fn is_of_kubernetes(code: u16, body: &Value) -> bool {
    let is_of_patch = code == 500 && body["status"] == "Failure" && body.get("reason").is_none();
    let has_no_replicas = body["message"].as_str().is_some_and(|why| why.starts_with(NO_REPLICAS));
    OWN.contains(&code) || is_of_patch || has_no_replicas
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
            Ok(Ok((code, body))) if code >= 500 && !is_of_kubernetes(code, &body) => {
                Err(format!("{code}: {body}"))
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
        seed => seed,
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
    let (start, mut count, mut codes) = (Instant::now(), 0, std::collections::BTreeMap::<u16, usize>::new());
    while start.elapsed() < life {
        let (description, request) = fuzz.request();
        match fuzz.ask(request).await {
            Ok((code, body)) => {
                *codes.entry(code).or_default() += 1;
                if code < 300 && body["metadata"]["name"].is_string() && body["kind"] != "Table" {
                    fuzz.remember(body);
                }
            }
            Err(why) => panic!(
                "{why}\nagain with: ROPEWALK_SEED_FROM={seed} cargo test -p apiserver --lib {AGAIN}\nrequest {count}: {description}"
            ),
        }
        count += 1;
        if count % 2000 == 0 {
            fuzz.learn().await; // definitions may have come and gone
        }
    }
    let ended = others.try_join_next();
    assert!(ended.is_none(), "{ended:?}");
    println!("{count} requests: {codes:?}");
    let some = |code: u16| codes.get(&code).copied().unwrap_or_default() > 0;
    assert!(some(200) && some(201) && some(422) && some(400), "what was asked is not varied: {codes:?}");
}
