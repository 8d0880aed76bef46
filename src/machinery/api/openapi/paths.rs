//! The paths of a document: what may be asked of each kind, with which words. Clients are generated
//! from it, so each word in braces is a parameter, and every operation has upstream's name.

use crate::kinds::{Kind, Sub};
use serde_json::{Map, Value, json};

/// Parameters of queries: name, type, what for.
const QUERY: &[(&str, &str, &str)] = &[
    ("allowWatchBookmarks", "boolean", "A watch gets BOOKMARK events, which say how far it is."),
    ("continue", "string", "Where the next part of a list begins: the token that came with the part before."),
    ("dryRun", "string", "All: everything is checked and nothing is stored."),
    ("fieldManager", "string", "Who writes: whose the fields are from now on. Needed for apply."),
    ("fieldSelector", "string", "Only objects with these fields."),
    ("fieldValidation", "string", "What becomes of unknown and repeated fields: Ignore, Warn or Strict."),
    ("force", "boolean", "An apply takes over fields that another manager owns."),
    ("gracePeriodSeconds", "integer", "Seconds until the object goes; 0 is now."),
    ("labelSelector", "string", "Only objects with these labels."),
    ("limit", "integer", "At most so many objects at once; the rest is asked for with continue."),
    ("orphanDependents", "boolean", "Dependents stay. Deprecated: propagationPolicy says more."),
    ("pretty", "string", "Indent the answer: true or false."),
    ("propagationPolicy", "string", "What becomes of dependents: Orphan, Background or Foreground."),
    ("resourceVersion", "string", "How new the answer has to be, or where a watch begins."),
    ("resourceVersionMatch", "string", "How resourceVersion is meant for a list: Exact or NotOlderThan."),
    ("sendInitialEvents", "boolean", "A watch begins with what there is."),
    ("timeoutSeconds", "integer", "How long the call may last."),
    ("watch", "boolean", "Changes from now on in place of a list."),
];

const LIST: &[&str] = &[
    "allowWatchBookmarks",
    "continue",
    "fieldSelector",
    "labelSelector",
    "limit",
    "resourceVersion",
    "resourceVersionMatch",
    "sendInitialEvents",
    "timeoutSeconds",
    "watch",
];
const WRITE: &[&str] = &["dryRun", "fieldManager", "fieldValidation"];
const PATCH: &[&str] = &["dryRun", "fieldManager", "fieldValidation", "force"];
const DELETE: &[&str] = &["dryRun", "gracePeriodSeconds", "orphanDependents", "propagationPolicy"];
const DELETE_MANY: &[&str] = &[
    "continue",
    "dryRun",
    "fieldSelector",
    "gracePeriodSeconds",
    "labelSelector",
    "limit",
    "orphanDependents",
    "propagationPolicy",
    "resourceVersion",
    "resourceVersionMatch",
    "sendInitialEvents",
    "timeoutSeconds",
];

/// The verbs of the API. Each has its HTTP method, upstream's words for it in `x-kubernetes-action`
/// and in the operation's name, and its parameters.
const VERBS: &[(&str, &str, &str, &str, &[&str])] = &[
    ("list", "get", "list", "list", LIST),
    ("create", "post", "post", "create", WRITE),
    ("deletecollection", "delete", "deletecollection", "delete", DELETE_MANY),
    ("get", "get", "get", "read", &[]),
    ("update", "put", "put", "replace", WRITE),
    ("patch", "patch", "patch", "patch", PATCH),
    ("delete", "delete", "delete", "delete", DELETE),
];
/// Verbs of a whole collection.
const OF_MANY: [&str; 3] = ["list", "create", "deletecollection"];
/// Subresources that are no objects but connections.
const CONNECTS: [&str; 5] = ["attach", "exec", "log", "portforward", "proxy"];

const DELETE_OPTIONS: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions";
const LIST_META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.ListMeta";
const PATCH_BODY: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.Patch";
const STATUS: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.Status";
/// Schemas that documents name beside those of their kinds.
pub(super) const SHARED: [&str; 4] = [DELETE_OPTIONS, LIST_META, PATCH_BODY, STATUS];

fn reference(schema: &str) -> Value {
    json!({"$ref": format!("#/components/schemas/{schema}")})
}

fn parameter(name: &str) -> Value {
    let (name, kind, what) = QUERY.iter().find(|(n, ..)| *n == name).copied().unwrap_or((name, "string", ""));
    json!({"name": name, "in": "query", "description": what, "schema": {"type": kind}})
}

fn in_path(name: &str, what: &str) -> Value {
    json!({"name": name, "in": "path", "required": true, "description": what, "schema": {"type": "string"}})
}

/// `AppsV1`, `CoreV1`, `RbacAuthorizationV1`, `ExampleComV1`.
fn group_title(group: &str, version: &str) -> String {
    let group = if group.is_empty() { "core" } else { group.strip_suffix(".k8s.io").unwrap_or(group) };
    group.split(['.', '-']).chain([version]).map(title).collect()
}

fn title(word: &str) -> String {
    let mut chars = word.chars();
    chars.next().map(|c| c.to_uppercase().chain(chars).collect()).unwrap_or_default()
}

/// `DeploymentList`, as it stands in a document; a custom kind names its own list.
pub(super) fn list_schema(kind: &Kind, gvk: &Value) -> (String, Value) {
    let list = kind.list_kind();
    let package = kind.schema_name.strip_suffix(kind.kind).unwrap_or_default();
    let mut gvk = gvk.clone();
    gvk["kind"] = list.as_str().into();
    let schema = json!({
        "description": format!("{list} is a list of {}", kind.kind),
        "type": "object",
        "required": ["items"],
        "properties": {
            "apiVersion": {"type": "string"},
            "kind": {"type": "string"},
            "metadata": {"allOf": [reference(LIST_META)]},
            "items": {"type": "array", "items": {"allOf": [reference(kind.schema_name)]}},
        },
        "x-kubernetes-group-version-kind": [gvk],
    });
    (format!("{package}{list}"), schema)
}

/// One kind's part of a document.
struct Paths<'a> {
    kind: &'a Kind,
    gvk: &'a Value,
    group: String,
}

impl Paths<'_> {
    /// Returns one schema as the content of each of these media types.
    fn content(&self, schema: &str, types: &[&str]) -> Value {
        let content: Map<String, Value> =
            types.iter().map(|t| ((*t).to_string(), json!({"schema": reference(schema)}))).collect();
        content.into()
    }

    /// Returns what may be sent with a verb: the body's schema and media types.
    fn body(&self, verb: &str, schema: &str) -> Option<Value> {
        let mut types = vec!["application/json", "application/yaml"];
        if self.kind.custom.is_none() {
            types.push("application/vnd.kubernetes.protobuf");
        }
        let (schema, required) = match verb {
            "create" | "update" => (schema, true),
            "delete" | "deletecollection" => (DELETE_OPTIONS, false),
            "patch" => {
                // A client that finds the strategic merge patch here makes it from these schemas.
                types = crate::patch::media_types(self.kind).to_vec();
                types.sort_unstable();
                (PATCH_BODY, true)
            }
            _ => return None,
        };
        Some(json!({"content": self.content(schema, &types), "required": required}))
    }

    fn responses(&self, verb: &str, schema: &str) -> Value {
        let types = ["application/json"];
        let mut responses = json!({"401": {"description": "Unauthorized"}});
        let answered = match verb {
            "delete" if self.kind.returns_deleted => schema,
            "delete" | "deletecollection" => STATUS,
            _ => schema,
        };
        let codes: &[(&str, &str)] = match verb {
            "create" => &[("200", "OK"), ("201", "Created"), ("202", "Accepted")],
            "update" | "patch" => &[("200", "OK"), ("201", "Created")],
            "delete" => &[("200", "OK"), ("202", "Accepted")],
            _ => &[("200", "OK")],
        };
        for (code, text) in codes {
            responses[*code] = json!({"description": text, "content": self.content(answered, &types)});
        }
        responses
    }

    /// `listAppsV1NamespacedDeployment`, `replaceAppsV1NamespacedDeploymentScale`.
    fn operation_id(&self, word: &str, verb: &str, rest: &str) -> String {
        let middle = match (verb, self.kind.namespaced) {
            ("deletecollection", true) => "CollectionNamespaced",
            ("deletecollection", false) => "Collection",
            (_, true) => "Namespaced",
            (_, false) => "",
        };
        format!("{word}{}{middle}{}{rest}", self.group, self.kind.kind)
    }

    fn operation(&self, verb: &str, schema: &str, gvk: &Value, rest: &str) -> Option<(&'static str, Value)> {
        let (_, method, action, word, parameters) = VERBS.iter().find(|(v, ..)| *v == verb)?;
        let id = match rest {
            "ForAllNamespaces" => format!("{word}{}{}{rest}", self.group, self.kind.kind),
            rest => self.operation_id(word, verb, rest),
        };
        let mut operation = json!({
            "operationId": id,
            "parameters": parameters.iter().map(|p| parameter(p)).collect::<Vec<_>>(),
            "responses": self.responses(verb, schema),
            "x-kubernetes-action": action,
            "x-kubernetes-group-version-kind": gvk,
        });
        if let Some(body) = self.body(verb, schema) {
            operation["requestBody"] = body;
        }
        Some((method, operation))
    }

    /// Returns the entry of a path: its operations, and the parameters that it has in braces.
    fn item(&self, path: &str, operations: Map<String, Value>) -> Value {
        let mut item = operations;
        let mut parameters = vec![];
        if path.contains("{name}") {
            parameters.push(in_path("name", &format!("name of the {}", self.kind.kind)));
        }
        if path.contains("{namespace}") {
            parameters.push(in_path("namespace", "namespace of the object"));
        }
        if path.contains("{path}") {
            parameters.push(in_path("path", "what is asked for behind the proxy"));
        }
        parameters.push(parameter("pretty"));
        item.insert("parameters".into(), parameters.into());
        item.into()
    }

    fn subresource(&self, sub: &Sub) -> Map<String, Value> {
        let rest = title(sub.name);
        if CONNECTS.contains(&sub.name) {
            let log = sub.name == "log";
            let connect = |method: &'static str| {
                let namespaced = if self.kind.namespaced { "Namespaced" } else { "" };
                let id = match log {
                    true => self.operation_id("read", "", &rest),
                    false => {
                        let (group, kind) = (&self.group, self.kind.kind);
                        format!("connect{group}{}{namespaced}{kind}{rest}", title(method))
                    }
                };
                let text = json!({"description": "OK", "content": {"*/*": {"schema": {"type": "string"}}}});
                let operation = json!({
                    "operationId": id,
                    "parameters": connect_parameters(sub.name),
                    "responses": {"200": text, "401": {"description": "Unauthorized"}},
                    "x-kubernetes-action": if log { "get" } else { "connect" },
                    "x-kubernetes-group-version-kind": self.gvk,
                });
                (method.to_string(), operation)
            };
            let known = VERBS.iter().filter(|(verb, ..)| sub.verbs.contains(verb));
            // A proxy takes two more, which are no verbs.
            let more = if sub.name == "proxy" { &["head", "options"][..] } else { &[] };
            return known.map(|(_, method, ..)| *method).chain(more.iter().copied()).map(connect).collect();
        }
        let own = sub.group.is_empty() && sub.version.is_empty();
        let (group, version) =
            if own { (self.kind.group, self.kind.version) } else { (sub.group, sub.version) };
        let gvk = json!({"group": group, "version": version, "kind": sub.kind});
        let schema = match sub.kind == self.kind.kind {
            true => self.kind.schema_name,
            false => crate::published::name(group, version, sub.kind),
        };
        let made = sub.verbs.iter().filter_map(|verb| self.operation(verb, schema, &gvk, &rest));
        made.map(|(method, operation)| (method.to_string(), operation)).collect()
    }
}

/// Returns the parameters of a connection through this subresource.
fn connect_parameters(sub: &str) -> Value {
    let in_query = |all: &[(&str, &str)]| -> Value {
        all.iter()
            .map(|(name, kind)| json!({"name": name, "in": "query", "schema": {"type": kind}}))
            .collect()
    };
    let streams = [
        ("container", "string"),
        ("stderr", "boolean"),
        ("stdin", "boolean"),
        ("stdout", "boolean"),
        ("tty", "boolean"),
    ];
    match sub {
        "log" => in_query(&[
            ("container", "string"),
            ("follow", "boolean"),
            ("limitBytes", "integer"),
            ("previous", "boolean"),
            ("sinceSeconds", "integer"),
            ("sinceTime", "string"),
            ("tailLines", "integer"),
            ("timestamps", "boolean"),
        ]),
        "attach" => in_query(&streams),
        "exec" => in_query(&[&[("command", "string")][..], &streams].concat()),
        "portforward" => in_query(&[("ports", "integer")]),
        _ => in_query(&[("path", "string")]),
    }
}

/// Adds a kind's paths.
pub(super) fn add(kind: &Kind, gvk: &Value, paths: &mut Map<String, Value>) {
    let paths_of_kind = Paths { kind, gvk, group: group_title(kind.group, kind.version) };
    let root = kind.root_path();
    let middle = if kind.namespaced { "/namespaces/{namespace}" } else { "" };
    let collection = format!("{root}{middle}/{}", kind.plural);
    let one = format!("{collection}/{{name}}");
    let list = list_schema(kind, gvk).0;
    let mut put = |path: String, operations: Map<String, Value>| {
        if !operations.is_empty() {
            let item = paths_of_kind.item(&path, operations);
            paths.insert(path, item);
        }
    };
    let (mut many, mut single) = (Map::new(), Map::new());
    for verb in kind.verbs {
        let schema = if *verb == "list" { list.as_str() } else { kind.schema_name };
        let Some((method, operation)) = paths_of_kind.operation(verb, schema, gvk, "") else { continue };
        let place = if OF_MANY.contains(verb) { &mut many } else { &mut single };
        place.insert(method.into(), operation);
    }
    if kind.namespaced && kind.verbs.contains(&"list") {
        let all = paths_of_kind.operation("list", &list, gvk, "ForAllNamespaces");
        put(format!("{root}/{}", kind.plural), all.into_iter().map(|(m, o)| (m.into(), o)).collect());
    }
    put(collection, many);
    for sub in &kind.subresources {
        put(format!("{one}/{}", sub.name), paths_of_kind.subresource(sub));
        if sub.name == "proxy" {
            put(format!("{one}/{}/{{path}}", sub.name), paths_of_kind.subresource(sub));
        }
    }
    put(one, single);
}

#[cfg(test)]
mod tests {
    use super::super::make;
    use crate::kinds;
    use serde_json::Value;
    use std::collections::BTreeSet;

    /// What a generator of clients insists on: every word in braces is a parameter, every reference
    /// leads somewhere, every operation has a name of its own.
    #[test]
    fn documents_are_whole() {
        let catalog = kinds::Catalog::default();
        for (group, version, kinds) in catalog.group_versions() {
            let document = make(group, version, &kinds, "v0");
            let mut names = BTreeSet::new();
            for (path, item) in document["paths"].as_object().unwrap() {
                let named: BTreeSet<&str> = item["parameters"]
                    .as_array()
                    .unwrap()
                    .iter()
                    .filter(|p| p["in"] == "path")
                    .map(|p| p["name"].as_str().unwrap())
                    .collect();
                let braces: BTreeSet<&str> =
                    path.split('{').skip(1).filter_map(|rest| rest.split('}').next()).collect();
                assert_eq!(named, braces, "{path}");
                for (method, operation) in
                    item.as_object().unwrap().iter().filter(|(m, _)| *m != "parameters")
                {
                    let id = operation["operationId"].as_str().unwrap();
                    let behind = if path.ends_with("/{path}") { "WithPath" } else { "" };
                    assert!(names.insert(format!("{id}{behind}")), "{method} {path}: {id} is taken");
                }
            }
            references(&document, &document);
        }
    }

    fn references(at: &Value, document: &Value) {
        if let Some(reference) = at.get("$ref").and_then(Value::as_str) {
            let there = document.pointer(reference.trim_start_matches('#'));
            assert!(there.is_some_and(Value::is_object), "{reference} leads nowhere");
        }
        match at {
            Value::Object(map) => map.values().for_each(|v| references(v, document)),
            Value::Array(list) => list.iter().for_each(|v| references(v, document)),
            _ => {}
        }
    }

    #[test]
    fn operations_are_called_as_upstream_calls_them() {
        let catalog = kinds::Catalog::default();
        let of = |group: &str, version: &str| {
            let found = catalog.group_versions().into_iter().find(|(g, v, _)| *g == group && *v == version);
            make(group, version, &found.unwrap().2, "v0")
        };
        let (apps, core) = (of("apps", "v1"), of("", "v1"));
        for (document, path, method, id) in [
            (
                &apps,
                "/apis/apps/v1/namespaces/{namespace}/deployments",
                "get",
                "listAppsV1NamespacedDeployment",
            ),
            (&apps, "/apis/apps/v1/deployments", "get", "listAppsV1DeploymentForAllNamespaces"),
            (
                &apps,
                "/apis/apps/v1/namespaces/{namespace}/deployments",
                "delete",
                "deleteAppsV1CollectionNamespacedDeployment",
            ),
            (
                &apps,
                "/apis/apps/v1/namespaces/{namespace}/deployments/{name}/scale",
                "patch",
                "patchAppsV1NamespacedDeploymentScale",
            ),
            (&core, "/api/v1/nodes/{name}/status", "put", "replaceCoreV1NodeStatus"),
            (&core, "/api/v1/namespaces/{namespace}/pods/{name}/log", "get", "readCoreV1NamespacedPodLog"),
            (
                &core,
                "/api/v1/namespaces/{namespace}/pods/{name}/exec",
                "post",
                "connectCoreV1PostNamespacedPodExec",
            ),
            (
                &core,
                "/api/v1/namespaces/{namespace}/pods/{name}/eviction",
                "post",
                "createCoreV1NamespacedPodEviction",
            ),
            (
                &core,
                "/api/v1/namespaces/{namespace}/services/{name}/proxy/{path}",
                "options",
                "connectCoreV1OptionsNamespacedServiceProxy",
            ),
            (&core, "/api/v1/nodes/{name}/proxy", "put", "connectCoreV1PutNodeProxy"),
        ] {
            assert_eq!(document["paths"][path][method]["operationId"], id, "{path}");
        }
        let patch = &apps["paths"]["/apis/apps/v1/namespaces/{namespace}/deployments/{name}"]["patch"];
        assert!(patch["parameters"].as_array().unwrap().iter().any(|p| p["name"] == "fieldValidation"));
    }
}
