//! `DeleteOptions`: what a delete asks for beside the object.

use crate::request::context::Context;
use crate::request::decode;
use crate::request::http::header;
use api::Status;
use api::value::{self, at, int, text};
use bytes::Bytes;
use serde_json::Value;

/// `DeleteOptions`, from body and query.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Options {
    pub(crate) grace: Option<i64>,
    /// `Orphan`, `Foreground`, `Background` or empty.
    pub(crate) propagation: String,
    pub(crate) uid: String,
    pub(crate) version: String,
    pub(crate) dry_run: bool,
}

impl Options {
    pub(crate) fn of(ctx: &Context, body: &Bytes) -> Result<Options, Status> {
        let mut options = Options {
            grace: ctx.query.number("gracePeriodSeconds")?,
            propagation: ctx.query.get("propagationPolicy").to_string(),
            dry_run: decode::dry_run(ctx)?,
            ..Options::default()
        };
        if !ctx.query.get("orphanDependents").is_empty() {
            if !options.propagation.is_empty() {
                return Err(two_policies(&options.propagation.into()));
            }
            options.propagation = policy_of_orphans(ctx.query.is_true("orphanDependents")).into();
        }
        if !body.iter().all(u8::is_ascii_whitespace) {
            let body = decode::body(header(&ctx.headers, "content-type"), body)?;
            options.read(&body)?;
        }
        options.check()?;
        Ok(options)
    }

    /// # Errors
    /// 422 for a propagation policy that there is none.
    fn check(&self) -> Result<(), Status> {
        if matches!(self.propagation.as_str(), "" | "Orphan" | "Foreground" | "Background") {
            return Ok(());
        }
        let mut errors = api::errors::Errors::default();
        let supported = ["Foreground", "Background", "Orphan", "nil"];
        errors.not_supported("propagationPolicy", &self.propagation.clone().into(), &supported);
        Err(Status::invalid("meta.k8s.io", "DeleteOptions", "", &errors))
    }

    /// Takes what a `DeleteOptions` object says, as upstream's `ValidateDeleteOptions` lets it.
    ///
    /// # Errors
    /// 400 for a value of another type; 422 for one that is not supported.
    pub(crate) fn read(&mut self, body: &Value) -> Result<(), Status> {
        check_types(body)?;
        if !at(body, "orphanDependents").is_null() && !at(body, "propagationPolicy").is_null() {
            return Err(two_policies(at(body, "propagationPolicy")));
        }
        if let Some(grace) = int(body, "gracePeriodSeconds") {
            self.grace = Some(grace);
        }
        if !text(body, "propagationPolicy").is_empty() {
            self.propagation = text(body, "propagationPolicy").to_string();
        } else if let Some(orphans) = at(body, "orphanDependents").as_bool() {
            self.propagation = policy_of_orphans(orphans).into();
        }
        self.uid = text(body, "preconditions.uid").to_string();
        self.version = text(body, "preconditions.resourceVersion").to_string();
        for item in value::list(body, "dryRun") {
            if item != "All" {
                let mut errors = api::errors::Errors::default();
                errors.not_supported("dryRun", at(body, "dryRun"), &["All"]);
                return Err(Status::invalid("meta.k8s.io", "DeleteOptions", "", &errors));
            }
            self.dry_run = true;
        }
        self.check()
    }
}

/// Returns the policy that `orphanDependents` asks for. False is a wish, too: it counts more than
/// the default of the kind.
fn policy_of_orphans(orphans: bool) -> &'static str {
    if orphans { "Orphan" } else { "Background" }
}

/// The answer to a delete that names its policy twice.
fn two_policies(policy: &Value) -> Status {
    let mut errors = api::errors::Errors::default();
    let both = "orphanDependents and deletionPropagation cannot be both set";
    errors.invalid("propagationPolicy", policy, both);
    Status::invalid("meta.k8s.io", "DeleteOptions", "", &errors)
}

/// # Errors
/// 400 for a field of `DeleteOptions` whose value has another type than the field.
fn check_types(body: &Value) -> Result<(), Status> {
    type Fits = fn(&Value) -> bool;
    let is_text: Fits = Value::is_string;
    let fields: [(&str, &str, Fits); 7] = [
        ("gracePeriodSeconds", "int64", Value::is_i64),
        ("orphanDependents", "bool", Value::is_boolean),
        ("propagationPolicy", "string", is_text),
        ("preconditions", "object", Value::is_object),
        ("preconditions.uid", "string", is_text),
        ("preconditions.resourceVersion", "string", is_text),
        ("dryRun", "[]string", |value| value.as_array().is_some_and(|all| all.iter().all(Value::is_string))),
    ];
    if !body.is_null() && !body.is_object() {
        return Err(Status::bad_request("DeleteOptions is no object"));
    }
    match fields.iter().find(|(field, _, fits)| !at(body, field).is_null() && !fits(at(body, field))) {
        Some((field, wanted, _)) => {
            Err(Status::bad_request(format!("DeleteOptions.{field}: it has to be of type {wanted}")))
        }
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// The body of a delete and `deleteOptions` of an eviction are read by the same rules.
    #[test]
    fn delete_options_that_mean_nothing_are_refused() {
        let read = |body: Value| {
            let mut options = Options::default();
            options.read(&body).map(|()| options).map_err(|status| (status.code, status.message))
        };
        let good = json!({"gracePeriodSeconds": 5, "propagationPolicy": "Foreground", "dryRun": ["All"], "preconditions": {"uid": "u"}});
        let options = read(good).unwrap();
        assert_eq!(
            (options.grace, options.propagation.as_str(), options.dry_run),
            (Some(5), "Foreground", true)
        );
        assert_eq!(read(Value::Null), Ok(Options::default()));
        for (orphans, policy) in [(true, "Orphan"), (false, "Background")] {
            assert_eq!(read(json!({ "orphanDependents": orphans })).unwrap().propagation, policy);
        }
        for (body, code, field) in [
            (json!({"propagationPolicy": "Sideways"}), 422, "propagationPolicy"),
            (json!({"propagationPolicy": "Orphan", "orphanDependents": false}), 422, "propagationPolicy"),
            (json!({"dryRun": ["Some"]}), 422, "dryRun"),
            (json!({"propagationPolicy": 5}), 400, "propagationPolicy"),
            (json!({"gracePeriodSeconds": "5"}), 400, "gracePeriodSeconds"),
            (json!({"preconditions": {"uid": 5}}), 400, "preconditions.uid"),
            (json!([]), 400, "DeleteOptions"),
        ] {
            let (got, message) = read(body.clone()).unwrap_err();
            assert!(got == code && message.contains(field), "{body}: {got} {message}");
        }
    }
}
