//! `metav1.Status`: how an answer says what went wrong, in Kubernetes' own words.

use super::errors::Errors;
use serde_json::{Value, json};

/// An answer that is not an object. `code` is also the HTTP status.
#[derive(Clone, Debug, PartialEq)]
pub struct Status {
    /// The HTTP status, e.g. 404.
    pub code: u16,
    /// `NotFound`, `Conflict`, …; may be empty.
    pub reason: &'static str,
    /// For people, in upstream's words.
    pub message: String,
    /// `details`, or null.
    pub details: Value,
}

/// `pods` or `deployments.apps`: how messages name a resource.
pub fn qualified(group: &str, resource: &str) -> String {
    if group.is_empty() { resource.to_string() } else { format!("{resource}.{group}") }
}

/// `details` with empty members left out, as Go encodes them.
pub fn details(group: &str, resource: &str, name: &str) -> Value {
    let mut map = serde_json::Map::new();
    for (key, text) in [("name", name), ("group", group), ("kind", resource)] {
        if !text.is_empty() {
            map.insert(key.into(), text.into());
        }
    }
    Value::Object(map)
}

impl Status {
    /// Makes an answer without details.
    pub fn new(code: u16, reason: &'static str, message: impl Into<String>) -> Status {
        Status { code, reason, message: message.into(), details: Value::Null }
    }
    /// Sets its `details`.
    pub fn with(mut self, details: Value) -> Status {
        self.details = details;
        self
    }

    /// 404: there is no object of this name.
    pub fn not_found(group: &str, resource: &str, name: &str) -> Status {
        let message = format!("{} \"{name}\" not found", qualified(group, resource));
        Status::new(404, "NotFound", message).with(details(group, resource, name))
    }
    /// 409: the name of a new object is taken.
    pub fn already_exists(group: &str, resource: &str, name: &str) -> Status {
        let message = format!("{} \"{name}\" already exists", qualified(group, resource));
        Status::new(409, "AlreadyExists", message).with(details(group, resource, name))
    }
    /// 409: the write does not fit the object as it is now, for the reason `why`.
    pub fn conflict(group: &str, resource: &str, name: &str, why: &str) -> Status {
        let message =
            format!("Operation cannot be fulfilled on {} \"{name}\": {why}", qualified(group, resource));
        Status::new(409, "Conflict", message).with(details(group, resource, name))
    }
    /// 409: another client has written the object since this one read it.
    pub fn stale(group: &str, resource: &str, name: &str) -> Status {
        let why =
            "the object has been modified; please apply your changes to the latest version and try again";
        Status::conflict(group, resource, name, why)
    }
    /// 403: admission or authorization refuses. `name` is empty for a request without one.
    pub fn forbidden(group: &str, resource: &str, name: &str, why: &str) -> Status {
        let what = qualified(group, resource);
        let message = match name {
            "" => format!("{what} is forbidden: {why}"),
            name => format!("{what} \"{name}\" is forbidden: {why}"),
        };
        Status::new(403, "Forbidden", message).with(details(group, resource, name))
    }
    /// 401: the client is not authenticated.
    pub fn unauthorized() -> Status {
        Status::new(401, "Unauthorized", "Unauthorized")
    }
    /// 400: the request cannot be understood.
    pub fn bad_request(message: impl Into<String>) -> Status {
        Status::new(400, "BadRequest", message)
    }
    /// A 422 from field errors; `kind` is the Kind, not the resource. The message has an error that
    /// was found more than once only once, the list of causes has all (`ErrorList.ToAggregate`
    /// upstream).
    pub fn invalid(group: &str, kind: &str, name: &str, errors: &Errors) -> Status {
        let text = errors.aggregate();
        let message = format!("{} \"{name}\" is invalid: {text}", qualified(group, kind));
        let mut detail = details(group, kind, name);
        let causes: Vec<Value> = errors.iter().map(|e| e.cause()).collect();
        detail["causes"] = causes.into();
        Status::new(422, "Invalid", message).with(detail)
    }
    /// 405: the resource does not have this verb.
    pub fn method_not_allowed() -> Status {
        let message = "the server does not allow this method on the requested resource";
        Status::new(405, "MethodNotAllowed", message).with(json!({}))
    }
    /// 415: the body has another media type than those that `accepted` lists.
    pub fn unsupported_media_type(accepted: &str) -> Status {
        let message = format!(
            "the body of the request was in an unknown format - accepted media types include: {accepted}"
        );
        Status::new(415, "UnsupportedMediaType", message)
    }
    /// 500: the server failed.
    pub fn internal(why: impl std::fmt::Display) -> Status {
        let why = why.to_string();
        Status::new(500, "InternalError", format!("Internal error occurred: {why}"))
            .with(json!({"causes": [{"message": why}]}))
    }
    /// 410: the resourceVersion or the continue token is too old: its revision is compacted.
    pub fn expired(message: impl Into<String>) -> Status {
        Status::new(410, "Expired", message)
    }
    /// 503: the server or its store cannot answer now.
    pub fn unavailable(message: impl Into<String>) -> Status {
        Status::new(503, "ServiceUnavailable", message)
    }
    /// 504: it took too long; the client should try again after one second.
    pub fn timeout(message: impl std::fmt::Display) -> Status {
        Status::new(504, "Timeout", format!("Timeout: {message}")).with(json!({"retryAfterSeconds": 1}))
    }
    /// 413: the body has more than `limit` bytes.
    pub fn too_large(limit: usize) -> Status {
        Status::new(413, "RequestEntityTooLarge", format!("Request entity too large: limit is {limit}"))
    }

    /// Returns the failure as a `Status` object.
    pub fn to_value(&self) -> Value {
        let mut out = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure"});
        if self.code < 400 {
            out["status"] = "Success".into();
        }
        if !self.message.is_empty() {
            out["message"] = self.message.clone().into();
        }
        if !self.reason.is_empty() {
            out["reason"] = self.reason.into();
        }
        if !self.details.is_null() {
            out["details"] = self.details.clone();
        }
        out["code"] = self.code.into();
        out
    }
}

/// Returns the answer to a delete that is done.
pub fn deleted(group: &str, resource: &str, name: &str, uid: &str) -> Value {
    let mut detail = details(group, resource, name);
    if !uid.is_empty() {
        detail["uid"] = uid.into();
    }
    json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": detail})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_those_that_people_search_for() {
        assert_eq!(
            Status::not_found("apps", "deployments", "web").message,
            "deployments.apps \"web\" not found"
        );
        let mut errors = Errors::default();
        errors.required("spec.a", "");
        let one = Status::invalid("apps", "Deployment", "web", &errors);
        assert_eq!(one.message, "Deployment.apps \"web\" is invalid: spec.a: Required value");
        errors.invalid("spec.b", &json!("q"), "must be x");
        let two = Status::invalid("apps", "Deployment", "web", &errors);
        assert_eq!(
            two.message,
            "Deployment.apps \"web\" is invalid: [spec.a: Required value, spec.b: Invalid value: \"q\": must be x]"
        );
        assert_eq!(
            two.details["causes"][1],
            json!({"reason":"FieldValueInvalid","message":"Invalid value: \"q\": must be x","field":"spec.b"})
        );
        errors.required("spec.a", "");
        let again = Status::invalid("apps", "Deployment", "web", &errors);
        assert_eq!(again.message, two.message, "the same error twice");
        assert_eq!(again.details["causes"].as_array().map(Vec::len), Some(3));
    }
}
