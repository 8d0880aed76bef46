//! From a request's body to an object of its kind.

mod well_formed;

use crate::request::context::{Context, MANAGER_MAX};
use crate::request::duplicates;
use crate::request::http::header;
use api::errors::Errors;
use api::gostr::is_print;
use api::kinds::Kind;
use api::path::UnknownFields;
use api::yaml;
use api::{Status, bounds, protobuf, schema, unhonoured, value};
use serde_json::{Map, Value};
pub(crate) use well_formed::well_formed;

/// The media types of a body.
pub(crate) const ACCEPTED: &str = "application/json, application/yaml, application/vnd.kubernetes.protobuf";

/// The media types of a custom resource. Without a Go type it has no form in protobuf.
const ACCEPTED_CUSTOM: &str = "application/json, application/yaml";

/// What is to be done with unknown fields (`fieldValidation`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Validation {
    Ignore,
    Warn,
    Strict,
}

/// Returns what `fieldValidation` asks for.
///
/// # Errors
/// 422 for an unknown value.
pub(crate) fn validation(ctx: &Context) -> Result<Validation, Status> {
    match ctx.query.get("fieldValidation") {
        "" | "Warn" => Ok(Validation::Warn),
        "Ignore" => Ok(Validation::Ignore),
        "Strict" => Ok(Validation::Strict),
        other => {
            let mut errors = Errors::default();
            unknown_validation(other, &mut errors);
            Err(invalid_options(ctx, &errors))
        }
    }
}

fn unknown_validation(value: &str, errors: &mut Errors) {
    errors.not_supported("fieldValidation", &value.into(), &["", "Ignore", "Strict", "Warn"]);
}

/// Returns the refusal of a write's options. They are an object of their own, one for each verb.
fn invalid_options(ctx: &Context, errors: &Errors) -> Status {
    let kind = match ctx.info.verb.as_str() {
        "update" => "UpdateOptions",
        "patch" => "PatchOptions",
        "delete" | "deletecollection" => "DeleteOptions",
        _ => "CreateOptions",
    };
    Status::invalid("meta.k8s.io", kind, "", errors)
}

/// Judges the options of a create, an update or a patch before its body is read and its object is
/// looked for. The refusal names everything that is wrong (upstream: `ValidatePatchOptions` and
/// those of the other verbs).
///
/// # Errors
/// 422 for a manager whose name is too long or cannot be shown, for an apply without one, for
/// `force` without an apply, and for unknown values of `dryRun` and `fieldValidation`.
pub(crate) fn write_options(ctx: &Context) -> Result<(), Status> {
    let (manager, validation) = (ctx.query.get("fieldManager"), ctx.query.get("fieldValidation"));
    let mut errors = Errors::default();
    if ctx.applies() && manager.is_empty() {
        errors.required("fieldManager", "is required for apply patch");
    }
    if ctx.info.verb == "patch" && !ctx.applies() && ctx.query.has("force") {
        errors.forbidden("force", "may not be specified for non-apply patch");
    }
    if manager.len() > MANAGER_MAX {
        errors.too_long("fieldManager", MANAGER_MAX);
    }
    check_characters(manager, &mut errors);
    check_dry_run(ctx, &mut errors);
    if !matches!(validation, "" | "Ignore" | "Strict" | "Warn") {
        unknown_validation(validation, &mut errors);
    }
    if errors.is_empty() { Ok(()) } else { Err(invalid_options(ctx, &errors)) }
}

/// Checks that a manager's name can be seen. Each character that Go does not print is an error of
/// its own. Of a name that is too long only the first one is: every error repeats the name.
fn check_characters(manager: &str, errors: &mut Errors) {
    let most = if manager.len() > MANAGER_MAX { 1 } else { MANAGER_MAX };
    let unseen = manager.char_indices().filter(|(_, c)| !is_print(*c));
    for (at, c) in unseen.take(most) {
        let why = format!("invalid character U+{:04X} (at position {at})", u32::from(c));
        errors.invalid_text("fieldManager", manager, &why);
    }
}

/// Returns whether a delete is only to be tried, by its query.
///
/// # Errors
/// 422 for every value of `dryRun` but `All`.
pub(crate) fn dry_run(ctx: &Context) -> Result<bool, Status> {
    let mut errors = Errors::default();
    check_dry_run(ctx, &mut errors);
    if errors.is_empty() { Ok(ctx.query.has("dryRun")) } else { Err(invalid_options(ctx, &errors)) }
}

/// Refuses a dry run of what another server carries out: a command in a container, a session or a
/// proxied request (upstream: `ConnectResource`). It would be done, not tried.
///
/// # Errors
/// 400 for `dryRun` with any value at such a subresource.
pub(crate) fn refuse_dry_run(ctx: &Context) -> Result<(), Status> {
    match tap::is_connection(&ctx.info.subresource) && ctx.query.has("dryRun") {
        true => Err(Status::bad_request("dryRun is not supported")),
        false => Ok(()),
    }
}

/// Refuses what `kubectl get --export` once asked for: an object without what belongs to its
/// cluster (upstream: `GetResource`). A client that got the whole object would take it for that.
///
/// # Errors
/// 400 for a get of an object with `export`.
pub(crate) fn refuse_export(ctx: &Context) -> Result<(), Status> {
    let sub = ctx.info.subresource.as_str();
    let reads_object = ctx.info.verb == "get" && sub != "log" && !tap::is_connection(sub);
    match reads_object && ctx.query.is_true("export") {
        true => {
            let why = "the export parameter, deprecated since v1.14, is no longer supported";
            Err(Status::bad_request(why))
        }
        false => Ok(()),
    }
}

/// Checks the values of `dryRun`. Only `All` is known, which may stand there more than once
/// (upstream: `ValidateDryRun`). The empty value is refused, too: a script whose variable is not
/// set must not write what it wanted to try.
fn check_dry_run(ctx: &Context, errors: &mut Errors) {
    let values: Vec<&str> = ctx.query.all("dryRun").collect();
    if values.iter().any(|value| *value != "All") {
        errors.not_supported("dryRun", &serde_json::json!(values), &["All"]);
    }
}

/// Reads a body as JSON, whatever it was written in; of YAML its first document. No Content-Type
/// means JSON. Upper and lower case are the same in it (RFC 2045, 5.1; upstream:
/// `mime.ParseMediaType`).
pub(crate) fn body(content_type: &str, bytes: &[u8]) -> Result<Value, Status> {
    let (value, _) = document(content_type, bytes, None)?;
    check_object(&value)?;
    Ok(value)
}

/// Reads a body as [`body`] does, at an endpoint that takes this kind. Also returns what a strict
/// YAML decoder says of keys that stand twice in a map.
fn body_with_duplicates(
    content_type: &str,
    bytes: &[u8],
    kind: &str,
) -> Result<(Value, Vec<String>), Status> {
    let (value, duplicates) = document(content_type, bytes, Some(kind))?;
    check_object(&value)?;
    Ok((value, duplicates))
}

/// Checks that a body is an object, and does not nest too deeply.
fn check_object(value: &Value) -> Result<(), Status> {
    match value.is_object() {
        true => bounds::check_depth(value),
        false => Err(Status::bad_request("the object provided is unrecognized (must be an object)")),
    }
}

/// Reads a body of any type. `kind`: what the endpoint takes, which errors name.
fn document(content_type: &str, bytes: &[u8], kind: Option<&str>) -> Result<(Value, Vec<String>), Status> {
    let media = content_type.split(';').next().unwrap_or("").trim().to_ascii_lowercase();
    let mut duplicates = vec![];
    let value = match media.as_str() {
        "" | "application/json" => {
            bounds::check_json(bytes)?;
            serde_json::from_slice(bytes).map_err(|e| {
                Status::bad_request(format!("the object provided is unrecognized (must be valid JSON): {e}"))
            })?
        }
        "application/yaml" => {
            let document = yaml::parse_body(bytes).map_err(Status::bad_request)?;
            duplicates = document.duplicates.iter().map(ToString::to_string).collect();
            document.value
        }
        "application/vnd.kubernetes.protobuf" => {
            protobuf::decode(bytes, kind).map_err(Status::bad_request)?
        }
        _ => return Err(Status::unsupported_media_type(ACCEPTED)),
    };
    Ok((value, duplicates))
}

/// Reads the body of a server-side apply. Keys that stand twice in a map are an error for `Strict`
/// and a warning for `Warn`. A body of `~` has no fields: it is refused because it says no kind.
pub(crate) fn applied(ctx: &Context, bytes: &[u8]) -> Result<Value, Status> {
    let read = document("application/yaml", bytes, None).and_then(|(value, duplicates)| {
        let value = if value.is_null() { Value::Object(Map::new()) } else { value };
        check_object(&value).map(|()| (value, duplicates))
    });
    let (value, duplicates) = read.map_err(|mut status| {
        let why = status.message.trim_start_matches("error converting YAML to JSON: ").to_string();
        status.message = format!("error decoding YAML: {why}");
        status
    })?;
    match validation(ctx)? {
        Validation::Strict if !duplicates.is_empty() => {
            return Err(Status::bad_request(format!("error strict decoding YAML: {}", as_one(&duplicates))));
        }
        Validation::Warn => duplicates.into_iter().for_each(|d| ctx.warn(d)),
        _ => {}
    }
    Ok(value)
}

/// Joins the lines of a strict YAML decoder to its one error.
fn as_one(duplicates: &[String]) -> String {
    format!("yaml: unmarshal errors:\n  {}", duplicates.join("\n  "))
}

/// Checks that kind and version are those of the path, and fills in empty ones.
///
/// # Errors
/// 400 for others, and for what is no string.
pub(crate) fn check_type(api_version: &str, kind: &str, object: &mut Value) -> Result<(), Status> {
    let is_string = |field: &&str| matches!(value::at(object, field), Value::Null | Value::String(_));
    if let Some(field) = ["apiVersion", "kind"].iter().find(|field| !is_string(field)) {
        let why = format!("couldn't get version/kind; json parse error: {field} is not a string");
        return Err(Status::bad_request(why));
    }
    let given = value::text(object, "apiVersion").to_string();
    if given.is_empty() {
        value::put(object, "apiVersion", api_version);
    } else if given != api_version {
        return Err(Status::bad_request(format!(
            "the API version in the data ({given}) does not match the expected API version ({api_version})"
        )));
    }
    let given = value::text(object, "kind").to_string();
    if given.is_empty() {
        value::put(object, "kind", kind);
    } else if given != kind {
        return Err(Status::bad_request(format!(
            "{given} in version {api_version:?} cannot be handled as a {kind}: the kind in the data does not match the expected kind"
        )));
    }
    Ok(())
}

/// Reads the object of a create or update, in the form in which it is stored.
pub(crate) fn object(ctx: &Context, kind: &Kind, bytes: &[u8]) -> Result<Value, Status> {
    let content_type = header(&ctx.headers, "content-type");
    if kind.custom.is_some() && Media::of(content_type) == Media::Protobuf {
        return Err(Status::unsupported_media_type(ACCEPTED_CUSTOM));
    }
    let (mut object, duplicates) = body_with_duplicates(content_type, bytes, kind.kind)?;
    check_type(&kind.api_version(), kind.kind, &mut object)?;
    if Media::of(content_type) == Media::Json {
        schema::keep_number_texts(kind, &mut object, bytes);
    }
    let how = validation(ctx)?;
    let unknown = conform(kind, &mut object)?;
    let (media, is_custom) = (Media::of(content_type), kind.custom.is_some());
    let found = StrictErrors { bytes, media, is_custom, duplicates, unknown };
    found.judge(ctx, how, (kind.kind, kind.version))?;
    kind.to_stored(&mut object);
    Ok(object)
}

/// A type that only a subresource takes: it is no kind of the table.
pub(crate) struct SubresourceType {
    /// Its name in the schemas.
    schema: &'static str,
    pub api_version: &'static str,
    pub kind: &'static str,
    /// An older version with the same fields, which is taken, too.
    older: Option<&'static str>,
}

pub(crate) const SCALE: SubresourceType = SubresourceType {
    schema: "io.k8s.api.autoscaling.v1.Scale",
    api_version: "autoscaling/v1",
    kind: "Scale",
    older: None,
};
pub(crate) const BINDING: SubresourceType =
    SubresourceType { schema: "io.k8s.api.core.v1.Binding", api_version: "v1", kind: "Binding", older: None };
pub(crate) const TOKEN_REQUEST: SubresourceType = SubresourceType {
    schema: "io.k8s.api.authentication.v1.TokenRequest",
    api_version: "authentication.k8s.io/v1",
    kind: "TokenRequest",
    older: None,
};
/// Upstream accepts an Eviction of `policy/v1beta1`, too, a version without any other kind.
pub(crate) const EVICTION: SubresourceType = SubresourceType {
    schema: "io.k8s.api.policy.v1.Eviction",
    api_version: "policy/v1",
    kind: "Eviction",
    older: Some("policy/v1beta1"),
};

impl SubresourceType {
    /// `v1` of `autoscaling/v1`.
    fn version(&self) -> &'static str {
        self.api_version.rsplit('/').next().unwrap_or_default()
    }

    /// Checks type and fields of an object. Also returns its unknown fields, which are gone from
    /// it.
    ///
    /// # Errors
    /// 400 for an object of another type.
    pub(crate) fn conform(&self, object: &mut Value) -> Result<UnknownFields, Status> {
        if self.older == Some(value::text(object, "apiVersion")) {
            value::put(object, "apiVersion", self.api_version);
        }
        check_type(self.api_version, self.kind, object)?;
        let (kind, version) = (self.kind, self.version());
        schema::conform_named(self.schema, object).map_err(|e| {
            Status::bad_request(format!("{kind} in version {version:?} cannot be handled as a {kind}: {e}"))
        })
    }

    /// Returns what Go's decoder says of a field whose value has another type; `None` if all fit.
    pub(crate) fn mistyped(&self, object: &Value) -> Option<String> {
        schema::conform_named(self.schema, &mut object.clone()).err()
    }

    /// Reads the body of a create or update. Unknown fields and keys that stand twice are refused
    /// or warned of, as `fieldValidation` asks.
    ///
    /// # Errors
    /// 400 for an object of another type.
    pub(crate) fn read(&self, ctx: &Context, bytes: &[u8]) -> Result<Value, Status> {
        let content_type = header(&ctx.headers, "content-type");
        let (mut object, duplicates) = body_with_duplicates(content_type, bytes, self.kind)?;
        let how = validation(ctx)?;
        let unknown = self.conform(&mut object)?;
        let media = Media::of(content_type);
        let found = StrictErrors { bytes, media, is_custom: false, duplicates, unknown };
        found.judge(ctx, how, (self.kind, self.version()))?;
        Ok(object)
    }
}

/// What a strict decoder finds in the body of a create or update.
struct StrictErrors<'a> {
    bytes: &'a [u8],
    media: Media,
    is_custom: bool,
    /// Keys that stand twice in a map of YAML.
    duplicates: Vec<String>,
    unknown: UnknownFields,
}

impl StrictErrors<'_> {
    /// Refuses the body, warns or does nothing, as `fieldValidation` asks.
    ///
    /// # Errors
    /// 400 for [`Validation::Strict`] and a body with such errors.
    fn judge(mut self, ctx: &Context, how: Validation, (kind, version): (&str, &str)) -> Result<(), Status> {
        if how == Validation::Ignore {
            return Ok(());
        }
        let problems = self.problems();
        if how == Validation::Warn {
            self.duplicates.into_iter().chain(problems).for_each(|p| ctx.warn(p));
            return Ok(());
        }
        let yaml = Some(as_one(&self.duplicates)).filter(|_| !self.duplicates.is_empty());
        let all: Vec<String> = yaml.into_iter().chain(problems).collect();
        match all.is_empty() {
            true => Ok(()),
            false => Err(Status::bad_request(format!(
                "{kind} in version {version:?} cannot be handled as a {kind}: strict decoding error: {}",
                all.join(", ")
            ))),
        }
    }

    /// Returns what is wrong beside keys that stand twice in YAML, in the order in which upstream
    /// says it.
    fn problems(&mut self) -> Vec<String> {
        let is_json = self.media == Media::Json;
        if !self.is_custom && self.media == Media::Yaml {
            // Go turns YAML into JSON with sorted keys.
            self.unknown.shown_mut().sort_by(|a, b| by_sorted_keys(a, b));
        }
        let mut problems = match is_json {
            true if self.is_custom => duplicates::problems(self.bytes, &UnknownFields::default()),
            true => duplicates::problems(self.bytes, &self.unknown),
            false => vec![],
        };
        if self.is_custom || !is_json {
            problems.extend(self.unknown.problems());
        }
        problems
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Media {
    Json,
    Yaml,
    Protobuf,
}

impl Media {
    fn of(content_type: &str) -> Media {
        match content_type.to_ascii_lowercase() {
            media if media.contains("protobuf") => Media::Protobuf,
            media if media.contains("yaml") => Media::Yaml,
            _ => Media::Json,
        }
    }
}

/// Orders paths of fields (`spec.containers[10].a`) as they are met in JSON whose keys are sorted.
fn by_sorted_keys(a: &str, b: &str) -> std::cmp::Ordering {
    fn steps(path: &str) -> impl Iterator<Item = (usize, &str)> {
        let steps = path.split(['.', '[']).map(|s| s.trim_end_matches(']'));
        steps.map(|s| (s.parse().unwrap_or(0), s))
    }
    steps(a).cmp(steps(b))
}

/// Prunes and checks types in the version of the request.
///
/// # Errors
/// 400 for an object of another type, or with too many maps, and for a pod with too many containers
/// or volumes.
pub(crate) fn conform(kind: &Kind, object: &mut Value) -> Result<UnknownFields, Status> {
    if kind.custom.is_none() {
        bounds::check_maps(object)?;
    }
    if let Some(path) = unhonoured::pod_spec(kind) {
        bounds::check_pod_lists(value::at(object, path))?;
    }
    let conformed = match &kind.custom {
        Some(custom) => custom.conform(object),
        None => schema::conform(kind, object),
    };
    conformed.map_err(|e| {
        Status::bad_request(format!(
            "{} in version {:?} cannot be handled as a {}: {e}",
            kind.kind, kind.version, kind.kind
        ))
    })
}

#[cfg(test)]
mod tests;
