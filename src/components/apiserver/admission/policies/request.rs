//! A request as policies see it.

use crate::registry::delete::Options;
use crate::request::context::Context;
use crate::request::http::Query;
use crate::state::State;
use api::admission::{Criteria, Request, Review};
use api::kinds::Kind;
use api::meta;
use api::value::{self, at};
use serde_json::{Map, Value, json};

/// A request that policies are asked about.
pub(super) struct PolicyRequest<'a> {
    pub state: &'a State,
    pub ctx: &'a Context,
    pub kind: &'a Kind,
    pub operation: &'static str,
    /// The object as it is to be; null for a deletion.
    pub object: &'a Value,
    /// The object as it is; null for a creation.
    pub old: &'a Value,
    /// The options of a deletion.
    pub deletion: Option<&'a Options>,
    /// The server has made the object's name of its `generateName`.
    pub is_name_generated: bool,
}

impl PolicyRequest<'_> {
    /// Returns the name that the request gives. It is empty for a creation whose object gets its
    /// name from the server, and for each object of a deletecollection (upstream:
    /// `Attributes.GetName`).
    fn name(&self) -> &str {
        match (self.ctx.info.name.as_str(), self.operation) {
            ("", "CREATE") if !self.is_name_generated => meta::name(self.object),
            (name, _) => name,
        }
    }

    /// Returns the namespace of the object; of a namespace its own name.
    pub(super) fn namespace(&self) -> &str {
        let info = &self.ctx.info;
        let is_namespace = (info.group.as_str(), info.resource.as_str()) == ("", "namespaces");
        if is_namespace { self.name() } else { &info.namespace }
    }

    /// Returns the groups and versions in which the resource of the request is served.
    pub(super) fn served(&self) -> Vec<(&'static str, &'static str)> {
        let info = &self.ctx.info;
        let catalog = self.state.cache.kinds();
        let same = |kind: &&Kind| kind.plural == info.resource && kind.place() == self.kind.place();
        let served: Vec<_> = catalog.iter().filter(same).map(|kind| (kind.group, kind.version)).collect();
        match served.is_empty() {
            // A Binding has a resource of its own, and is stored as a part of its pod.
            true => {
                let own = api::kinds::resource(&info.group, &info.version, &info.resource);
                own.into_iter().map(|kind| (kind.group, kind.version)).collect()
            }
            false => served,
        }
    }

    /// Returns the labels by which a selector of namespaces judges; `None` for what is in none.
    pub(super) fn labels(&self) -> Option<Value> {
        let of = |object: &Value| Some(at(object, "metadata.labels").clone());
        let info = &self.ctx.info;
        match (info.group.as_str(), info.resource.as_str(), self.namespace()) {
            ("", "namespaces", _) if !self.object.is_null() => of(self.object),
            (.., "") => None,
            (.., namespace) => {
                let found = self.state.cache.get("namespaces", namespace);
                found.map_or(Some(Value::Null), |found| of(&found.value))
            }
        }
    }

    /// Returns the group and version in which policies or bindings with these criteria match.
    /// `served` and `labels`: of [`PolicyRequest::served`] and [`PolicyRequest::labels`].
    pub(super) fn matches(
        &self,
        criteria: &Criteria,
        served: &[(&'static str, &'static str)],
        labels: Option<&Value>,
    ) -> Option<(&'static str, &'static str)> {
        let info = &self.ctx.info;
        let request = Request {
            operation: self.operation,
            resource: (&info.group, &info.version, &info.resource),
            subresource: &info.subresource,
            name: self.name(),
            namespace: self.namespace(),
            equivalents: served,
        };
        let objects = [self.object, self.old].map(|object| Some(object).filter(|o| !o.is_null()));
        let found = criteria.matches(&request, objects, labels)?;
        served.iter().find(|known| **known == found).copied()
    }

    /// Makes the variables of the request, with its objects in this group and version.
    pub(super) fn view(&self, (group, version): (&str, &str)) -> Review {
        let info = &self.ctx.info;
        let catalog = self.state.cache.kinds();
        let in_version = |object: &Value, is_shown: bool| {
            let kind = catalog.resource(group, version, &info.resource);
            match kind.filter(|_| self.is_whole() && !object.is_null()) {
                Some(kind) if is_shown => kind.from_stored(object).into_owned(),
                Some(kind) => kind.from_stored_whole(object).into_owned(),
                // What is written below an object is of another kind than the object.
                None => object.clone(),
            }
        };
        // `REST.beginUpdate` of Services upstream decorates the old object before policies see it.
        let is_old_shown = self.operation == "UPDATE" && info.subresource.is_empty();
        let namespace = match (info.resource.as_str(), info.namespace.as_str()) {
            ("namespaces", _) | (_, "") => Value::Null,
            (_, namespace) => {
                let found = self.state.cache.get("namespaces", namespace);
                found.map_or(Value::Null, |found| namespace_object(&found.value))
            }
        };
        let (object, old) = (in_version(self.object, false), in_version(self.old, is_old_shown));
        Review::new(object, old, self.request((group, version)), namespace)
    }

    /// True if the request is about the object itself, or its status.
    fn is_whole(&self) -> bool {
        matches!(
            self.ctx.info.subresource.as_str(),
            "" | "status" | "approval" | "ephemeralcontainers" | "finalize"
        )
    }

    /// Returns the variable `request` (`CreateAdmissionRequest` upstream).
    fn request(&self, (group, version): (&str, &str)) -> Value {
        let (ctx, info) = (self.ctx, &self.ctx.info);
        let kind = |group: &str, version: &str| {
            let (group, version, kind) = self.kind_of(group, version);
            json!({"group": group, "version": version, "kind": kind})
        };
        let resource = |group: &str, version: &str| json!({"group": group, "version": version, "resource": info.resource});
        let user = &ctx.user;
        let mut who = json!({});
        for (field, text) in [("username", &user.name), ("uid", &user.uid)] {
            put_text(&mut who, field, text);
        }
        if !user.groups.is_empty() {
            who["groups"] = json!(user.groups);
        }
        if !user.extra.is_empty() {
            who["extra"] = json!(user.extra);
        }
        let is_dry = ctx.dry_run || ctx.is_tried();
        let mut request = json!({
            "uid": "", "kind": kind(group, version), "resource": resource(group, version),
            "requestKind": kind(&info.group, &info.version),
            "requestResource": resource(&info.group, &info.version),
            "operation": self.operation, "userInfo": who, "object": null, "oldObject": null,
            "dryRun": is_dry, "options": self.options(is_dry)});
        for field in ["subResource", "requestSubResource"] {
            put_text(&mut request, field, &info.subresource);
        }
        put_text(&mut request, "name", self.name());
        put_text(&mut request, "namespace", self.namespace());
        request
    }

    /// Returns group, version and kind of the written object, as it is shown in this group and
    /// version.
    fn kind_of(&self, group: &str, version: &str) -> (String, String, String) {
        let info = &self.ctx.info;
        if !self.is_whole() || self.operation == "CONNECT" {
            let object = if self.object.is_null() { self.old } else { self.object };
            let api_version = value::text(object, "apiVersion");
            let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
            return (group.to_string(), version.to_string(), value::text(object, "kind").to_string());
        }
        let catalog = self.state.cache.kinds();
        let kind = catalog.resource(group, version, &info.resource);
        let kind = kind.map_or(self.kind.kind, |kind| kind.kind);
        (group.to_string(), version.to_string(), kind.to_string())
    }

    /// Returns the variable `request.options`; null for a connection.
    fn options(&self, is_dry: bool) -> Value {
        let kind = match self.operation {
            "CREATE" => "CreateOptions",
            "UPDATE" => "UpdateOptions", // of a patch as well (`patchToUpdateOptions`)
            "DELETE" => "DeleteOptions",
            _ => return Value::Null,
        };
        let mut options = json!({"kind": kind, "apiVersion": "meta.k8s.io/v1"});
        if let Some(deletion) = self.deletion {
            put_deletion(&mut options, deletion);
        }
        for field in ["fieldManager", "fieldValidation"] {
            put_text(&mut options, field, self.ctx.query.get(field));
        }
        if is_dry {
            options["dryRun"] = json!(["All"]);
        }
        options
    }
}

/// Sets a field, unless its text is empty.
fn put_text(object: &mut Value, field: &str, text: &str) {
    if !text.is_empty() {
        object[field] = text.into();
    }
}

/// Adds the options of a deletion, as a `DeleteOptions` has them.
fn put_deletion(options: &mut Value, deletion: &Options) {
    if let Some(seconds) = deletion.grace {
        options["gracePeriodSeconds"] = seconds.into();
    }
    if let Some(policy) = &deletion.propagation {
        options["propagationPolicy"] = policy.as_str().into();
    }
    for (field, wanted) in [("uid", &deletion.uid), ("resourceVersion", &deletion.version)] {
        if let Some(wanted) = wanted {
            options["preconditions"][field] = wanted.as_str().into();
        }
    }
}

/// Returns the part of a namespace that expressions see (`CreateNamespaceObject` upstream).
fn namespace_object(namespace: &Value) -> Value {
    let mut metadata = at(namespace, "metadata").clone();
    if let Value::Object(fields) = &mut metadata {
        fields.retain(|name, _| !matches!(name.as_str(), "managedFields" | "ownerReferences"));
    }
    json!({"metadata": metadata, "spec": at(namespace, "spec"), "status": at(namespace, "status")})
}

/// Returns the object of a connection to a pod: what its query asks for.
///
/// Example: `kubectl exec -it web -- sh` is a PodExecOptions with `stdin`, `tty` and the command.
pub(crate) fn connect_options(subresource: &str, query: &Query) -> Value {
    let kind = match subresource {
        "exec" => "PodExecOptions",
        "attach" => "PodAttachOptions",
        _ => "PodPortForwardOptions",
    };
    let mut options = Map::from_iter([("kind".into(), kind.into()), ("apiVersion".into(), "v1".into())]);
    for field in ["stdin", "stdout", "stderr", "tty"] {
        if query.is_true(field) {
            options.insert(field.into(), true.into());
        }
    }
    if !query.get("container").is_empty() {
        options.insert("container".into(), query.get("container").into());
    }
    let words: Vec<&str> = query.all("command").collect();
    if !words.is_empty() {
        options.insert("command".into(), json!(words));
    }
    let ports: Vec<i64> = query.all("ports").filter_map(|port| port.parse().ok()).collect();
    if !ports.is_empty() {
        options.insert("ports".into(), json!(ports));
    }
    options.into()
}
