//! From a request's body to an object of its kind.

use super::context::{Context, MANAGER_MAX};
use super::http::header;
use crate::api::kinds::Kind;
use crate::api::schema::UnknownFields;
use crate::api::{Status, protobuf, schema, value, yaml};
use serde_json::Value;

pub const ACCEPTED: &str = "application/json, application/yaml, application/vnd.kubernetes.protobuf";

/// Nobody knows how a custom resource would be written in protobuf.
const ACCEPTED_CUSTOM: &str = "application/json, application/yaml";

/// What is to be done with fields that nobody knows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Validation {
    Ignore,
    Warn,
    Strict,
}

pub fn validation(ctx: &Context) -> Result<Validation, Status> {
    match ctx.query.get("fieldValidation") {
        "" | "Warn" => Ok(Validation::Warn),
        "Ignore" => Ok(Validation::Ignore),
        "Strict" => Ok(Validation::Strict),
        other => {
            let mut errors = crate::api::errors::Errors::default();
            errors.not_supported("fieldValidation", &other.into(), &["", "Ignore", "Strict", "Warn"]);
            Err(Status::invalid("meta.k8s.io", "CreateOptions", "", &errors))
        }
    }
}

/// A field manager's name can be read, and is not too long.
pub fn manager(ctx: &Context) -> Result<(), Status> {
    let name = ctx.query.get("fieldManager");
    let mut errors = crate::api::errors::Errors::default();
    if name.len() > MANAGER_MAX {
        errors.too_long("fieldManager", MANAGER_MAX);
    }
    if name.chars().any(char::is_control) {
        errors.invalid_text("fieldManager", name, "should only contain printable characters");
    }
    let options = if ctx.info.verb == "patch" { "PatchOptions" } else { "CreateOptions" };
    if errors.is_empty() { Ok(()) } else { Err(Status::invalid("meta.k8s.io", options, "", &errors)) }
}

/// Only `dryRun=All` is known.
pub fn dry_run(ctx: &Context) -> Result<bool, Status> {
    let values: Vec<&str> = ctx.query.all("dryRun").filter(|v| !v.is_empty()).collect();
    match values.as_slice() {
        [] => Ok(false),
        ["All"] => Ok(true),
        others => {
            let mut errors = crate::api::errors::Errors::default();
            errors.not_supported("dryRun", &serde_json::json!(others), &["All"]);
            Err(Status::invalid("meta.k8s.io", "CreateOptions", "", &errors))
        }
    }
}

/// The body as JSON, whatever it was written in. No Content-Type means JSON.
pub fn body(content_type: &str, bytes: &[u8]) -> Result<Value, Status> {
    let media = content_type.split(';').next().unwrap_or("").trim();
    let value = match media {
        "" | "application/json" | "*/*" => serde_json::from_slice(bytes).map_err(|e| {
            Status::bad_request(format!("the object provided is unrecognized (must be valid JSON): {e}"))
        })?,
        "application/yaml" | "application/apply-patch+yaml" | "text/yaml" | "application/x-yaml" => {
            yaml::parse(bytes).map_err(Status::bad_request)?
        }
        "application/vnd.kubernetes.protobuf" => protobuf::decode(bytes).map_err(Status::bad_request)?,
        _ => return Err(Status::unsupported_media_type(ACCEPTED)),
    };
    if !value.is_object() {
        return Err(Status::bad_request("the object provided is unrecognized (must be an object)"));
    }
    Ok(value)
}

/// Kind and version must be those of the path; empty ones are filled in.
pub fn check_type(api_version: &str, kind: &str, object: &mut Value) -> Result<(), Status> {
    let told = value::text(object, "apiVersion").to_string();
    if told.is_empty() {
        value::put(object, "apiVersion", api_version);
    } else if told != api_version {
        return Err(Status::bad_request(format!(
            "the API version in the data ({told}) does not match the expected API version ({api_version})"
        )));
    }
    let told = value::text(object, "kind").to_string();
    if told.is_empty() {
        value::put(object, "kind", kind);
    } else if told != kind {
        return Err(Status::bad_request(format!(
            "{told} in version {api_version:?} cannot be handled as a {kind}: the kind in the data does not match the expected kind"
        )));
    }
    Ok(())
}

/// Reads the object of a create or update, in the form in which it is stored.
pub fn object(ctx: &Context, kind: &Kind, bytes: &[u8]) -> Result<Value, Status> {
    let content_type = header(&ctx.headers, "content-type");
    if kind.custom.is_some() && content_type.contains("protobuf") {
        return Err(Status::unsupported_media_type(ACCEPTED_CUSTOM));
    }
    let mut object = body(content_type, bytes)?;
    check_type(&kind.api_version(), kind.kind, &mut object)?;
    let how = validation(ctx)?;
    let mut problems = vec![];
    if how != Validation::Ignore && !content_type.contains("protobuf") {
        problems.extend(
            super::duplicates::find(content_type, bytes)
                .into_iter()
                .map(|f| format!("duplicate field {f:?}")),
        );
    }
    let unknown = conform(kind, &mut object)?;
    problems.extend(unknown.into_iter().map(|f| format!("unknown field {f:?}")));
    match how {
        Validation::Strict if !problems.is_empty() => {
            return Err(Status::bad_request(format!(
                "{} in version {:?} cannot be handled as a {}: strict decoding error: {}",
                kind.kind,
                kind.version,
                kind.kind,
                problems.join(", ")
            )));
        }
        Validation::Warn => problems.into_iter().for_each(|p| ctx.warn(p)),
        _ => {}
    }
    kind.to_stored(&mut object);
    Ok(object)
}

/// Prunes and checks types in the version of the request.
pub fn conform(kind: &Kind, object: &mut Value) -> Result<UnknownFields, Status> {
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
