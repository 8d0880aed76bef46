//! `DeleteOptions`: what a delete asks for beside the object.

use super::kinds::is_only_marked_first;
use crate::request::context::Context;
use crate::request::decode;
use crate::request::http::{Query, header};
use api::kinds::Kind;
use api::value::{self, at, int, text};
use api::{Status, meta};
use bytes::Bytes;
use serde_json::Value;

/// `DeleteOptions`, from the body or from the query.
///
/// A text that is there and empty is not absent, as in upstream's pointers. Example: a script whose
/// `$UID` is not set sends `{"preconditions": {"uid": ""}}`. No object has that uid, so the answer
/// is 409 and nothing is deleted.
///
/// `ignoreStoreReadErrorWithClusterBreakingPotential` changes nothing: every delete removes an
/// object that cannot be read, and upstream drops the option unless an alpha feature is on.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Options {
    pub(crate) grace: Option<i64>,
    /// `Orphan`, `Foreground` or `Background`.
    pub(crate) propagation: Option<String>,
    /// `orphanDependents: false` was asked for: the old way to say `Background`.
    pub(crate) cascades: bool,
    /// The precondition on the object's uid.
    pub(crate) uid: Option<String>,
    /// The precondition on the object's resourceVersion.
    pub(crate) version: Option<String>,
    pub(crate) dry_run: bool,
}

impl Options {
    /// Reads the options of a delete. The query counts only without a body. `dryRun` is the
    /// exception: a client that writes it in the query, too, only wants to try, so it counts beside
    /// a body (upstream ignores it and deletes).
    ///
    /// # Errors
    /// 400 for a body that is no `DeleteOptions`, and for a value of another type; 422 for a value
    /// that is not supported.
    pub(crate) fn of(ctx: &Context, body: &Bytes) -> Result<Options, Status> {
        let dry_run = decode::dry_run(ctx)?;
        let mut options = if body.iter().all(u8::is_ascii_whitespace) {
            Options::of_query(&ctx.query)?
        } else {
            // Go's decoder reads `null` as a body without a field.
            let body = if body.trim_ascii() == b"null" { &b"{}"[..] } else { &body[..] };
            let body = decode::body(header(&ctx.headers, "content-type"), body)?;
            check_kind(&body)?;
            let mut options = Options::default();
            options.read(&body)?;
            options
        };
        options.dry_run |= dry_run;
        Ok(options)
    }

    /// Reads the query of a delete without a body. Empty preconditions are none there (upstream:
    /// `Convert_url_Values_To_v1_DeleteOptions`).
    ///
    /// # Errors
    /// 400 for a grace period that is no number; 422 for a policy that is not supported.
    fn of_query(query: &Query) -> Result<Options, Status> {
        let first = |key: &str| query.all(key).next().map(String::from);
        let mut options = Options {
            grace: query.number("gracePeriodSeconds")?,
            propagation: first("propagationPolicy"),
            uid: first("uid").filter(|uid| !uid.is_empty()),
            version: first("resourceVersion").filter(|version| !version.is_empty()),
            ..Options::default()
        };
        if query.has("orphanDependents") {
            if let Some(policy) = &options.propagation {
                return Err(two_policies(&policy.as_str().into()));
            }
            let orphans = query.is_true("orphanDependents");
            options.propagation = Some(policy_of_orphans(orphans).into());
            options.cascades = !orphans;
        }
        options.check()?;
        Ok(options)
    }

    /// # Errors
    /// 422 for a propagation policy that is not supported.
    fn check(&self) -> Result<(), Status> {
        let Some(policy) = &self.propagation else { return Ok(()) };
        if matches!(policy.as_str(), "Orphan" | "Foreground" | "Background") {
            return Ok(());
        }
        let mut errors = api::errors::Errors::default();
        let supported = ["Foreground", "Background", "Orphan", "nil"];
        errors.not_supported("propagationPolicy", &policy.clone().into(), &supported);
        Err(Status::invalid("meta.k8s.io", "DeleteOptions", "", &errors))
    }

    /// Reads a `DeleteOptions` object. Its values are judged as by upstream's
    /// `ValidateDeleteOptions`.
    ///
    /// # Errors
    /// 400 for a value of another type; 422 for one that is not supported.
    pub(crate) fn read(&mut self, body: &Value) -> Result<(), Status> {
        check_types(body)?;
        if !at(body, "orphanDependents").is_null() && !at(body, "propagationPolicy").is_null() {
            return Err(two_policies(at(body, "propagationPolicy")));
        }
        let given = |path: &str| at(body, path).as_str().map(String::from);
        self.grace = int(body, "gracePeriodSeconds");
        self.propagation = match at(body, "orphanDependents").as_bool() {
            Some(orphans) => Some(policy_of_orphans(orphans).into()),
            None => given("propagationPolicy"),
        };
        self.cascades = at(body, "orphanDependents").as_bool() == Some(false);
        self.uid = given("preconditions.uid");
        self.version = given("preconditions.resourceVersion");
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

/// Checks that the object is the one that `options` mean. As upstream, the refusal names the kind
/// in the place of the resource, but for kinds with a delete of their own.
///
/// # Errors
/// 409 if it is not.
pub(crate) fn preconditions(kind: &Kind, object: &Value, options: &Options) -> Result<(), Status> {
    let name = meta::name(object);
    let check = |wanted: &Option<String>, what: &str, found: &str, done: &str| {
        let Some(wanted) = wanted.as_deref().filter(|wanted| *wanted != found) else { return Ok(()) };
        let (named, why) = match is_only_marked_first(kind) {
            true => {
                let why = format!(
                    "Precondition failed: {what} in precondition: {wanted}, {what} in object meta: {found}"
                );
                (kind.plural, why)
            }
            false => {
                let why = format!(
                    "the {what} in the precondition ({wanted}) does not match the {what} in record ({found}). The object might have been {done}"
                );
                (kind.kind, why)
            }
        };
        Err(Status::conflict(kind.group, named, name, &why))
    };
    check(&options.uid, "UID", meta::uid(object), "deleted and then recreated")?;
    check(&options.version, "ResourceVersion", meta::resource_version(object), "modified")
}

/// Checks that the body of a delete is a `DeleteOptions`, of any group and version, or names no
/// kind. A client that sends the object itself means something else than a delete without options.
///
/// # Errors
/// 400 for another kind.
fn check_kind(body: &Value) -> Result<(), Status> {
    match at(body, "kind") {
        Value::Null => Ok(()),
        kind if matches!(kind.as_str(), Some("" | "DeleteOptions")) => Ok(()),
        kind => {
            let version = text(body, "apiVersion");
            Err(Status::bad_request(format!(
                "the body of a delete has to be of kind DeleteOptions, not of kind {kind} in version {version:?}"
            )))
        }
    }
}

/// Returns the policy that `orphanDependents` asks for. False is a wish, too: it counts more than
/// the default of the kind.
fn policy_of_orphans(orphans: bool) -> &'static str {
    if orphans { "Orphan" } else { "Background" }
}

/// Returns the answer to a delete that names its policy twice.
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
    let fields: [(&str, &str, Fits); 8] = [
        ("gracePeriodSeconds", "int64", Value::is_i64),
        ("ignoreStoreReadErrorWithClusterBreakingPotential", "bool", Value::is_boolean),
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
            (options.grace, options.propagation.as_deref(), options.dry_run),
            (Some(5), Some("Foreground"), true)
        );
        assert_eq!(read(Value::Null), Ok(Options::default()));
        for (orphans, policy) in [(true, "Orphan"), (false, "Background")] {
            let options = read(json!({ "orphanDependents": orphans })).unwrap();
            assert_eq!((options.propagation.as_deref(), options.cascades), (Some(policy), !orphans));
        }
        let options = read(json!({"preconditions": {"uid": "", "resourceVersion": ""}})).unwrap();
        assert_eq!((options.uid.as_deref(), options.version.as_deref()), (Some(""), Some("")));
        for (body, code, field) in [
            (json!({"propagationPolicy": "Sideways"}), 422, "propagationPolicy"),
            (json!({"propagationPolicy": ""}), 422, "propagationPolicy"),
            (json!({"propagationPolicy": "Orphan", "orphanDependents": false}), 422, "propagationPolicy"),
            (json!({"dryRun": ["Some"]}), 422, "dryRun"),
            (json!({"propagationPolicy": 5}), 400, "propagationPolicy"),
            (json!({"gracePeriodSeconds": "5"}), 400, "gracePeriodSeconds"),
            (json!({"preconditions": {"uid": 5}}), 400, "preconditions.uid"),
            (json!({"ignoreStoreReadErrorWithClusterBreakingPotential": "x"}), 400, "ignoreStoreReadError"),
            (json!([]), 400, "DeleteOptions"),
        ] {
            let (got, message) = read(body.clone()).unwrap_err();
            assert!(got == code && message.contains(field), "{body}: {got} {message}");
        }
    }

    #[test]
    fn a_query_keeps_what_is_empty_apart_from_what_is_absent() {
        let read = |query: &str| Options::of_query(&Query::parse(Some(query)));
        assert_eq!(read(""), Ok(Options::default()));
        let all = read("gracePeriodSeconds=5&propagationPolicy=Foreground&uid=u&resourceVersion=7").unwrap();
        let want = Options {
            grace: Some(5),
            propagation: Some("Foreground".into()),
            uid: Some("u".into()),
            version: Some("7".into()),
            ..Options::default()
        };
        assert_eq!(all, want);
        assert_eq!(read("uid=&resourceVersion="), Ok(Options::default()));
        for (query, policy) in [("orphanDependents=false", "Background"), ("orphanDependents=", "Orphan")] {
            assert_eq!(read(query).unwrap().propagation.as_deref(), Some(policy), "{query}");
        }
        for (query, code) in [
            ("gracePeriodSeconds=", 400),
            ("gracePeriodSeconds=x", 400),
            ("propagationPolicy=", 422),
            ("propagationPolicy=Sideways", 422),
            ("orphanDependents=true&propagationPolicy=Background", 422),
        ] {
            assert_eq!(read(query).unwrap_err().code, code, "{query}");
        }
    }
}
