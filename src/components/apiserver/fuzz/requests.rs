//! Requests that are almost sense: what the grammar allows, bent.

use super::*;

impl Fuzz {
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

    /// A request, and a line that describes it.
    pub(super) fn request(&self) -> (String, Request<Body>) {
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
        let description = format!("{method} {url} [{media}] {}", String::from_utf8_lossy(&body));
        let request = Request::builder().method(method).uri(&url);
        let request = request.header("content-type", &media).header("accept", self.accept()).body(full(body));
        (description, request.unwrap())
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

    pub(super) fn path(&self, target: &Target, verb: &str, is_served: bool) -> String {
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
