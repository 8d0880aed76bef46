//! Failed answers of the API server.

use super::http::Body;
use super::paths::resource_of;
use crate::error::{Fail, Refusal};
use http::{Method, Response};
use http_body_util::BodyExt;
use serde_json::Value;

/// Reads a failed answer. A body that is no `Status` becomes client-go's words, with the resource
/// of the path, if it has one.
pub(super) async fn refusal(method: &Method, path: &str, response: Response<Body>) -> Fail {
    let code = response.status().as_u16();
    let body = response.into_body().collect().await.map(|c| c.to_bytes()).unwrap_or_default();
    if let Ok(status) = serde_json::from_slice::<Value>(&body)
        && status["kind"] == "Status"
    {
        return Fail::Api(Refusal::of(&status, code));
    }
    let text = String::from_utf8_lossy(&body).trim().to_string();
    let (reason, message) = match code {
        400 => ("BadRequest", "the server rejected our request for an unknown reason".to_string()),
        401 => ("Unauthorized", "the server has asked for the client to provide credentials".into()),
        403 | 415 => {
            let reason = if code == 403 { "Forbidden" } else { "UnsupportedMediaType" };
            (reason, if text.is_empty() { "unknown".into() } else { text })
        }
        404 => ("NotFound", "the server could not find the requested resource".into()),
        405 => ("MethodNotAllowed", "the server does not allow this method on the requested resource".into()),
        406 if text.is_empty() => (
            "NotAcceptable",
            "the server was unable to respond with a content type that the client supports".into(),
        ),
        406 => ("NotAcceptable", text), // it names the types that it knows
        409 => ("Conflict", "the server reported a conflict".into()),
        422 => ("Invalid", "the server rejected our request due to an error in our request".into()),
        429 => (
            "TooManyRequests",
            "the server has received too many requests and has asked us to try again later".into(),
        ),
        503 => ("ServiceUnavailable", "the server is currently unable to handle the request".into()),
        504 => (
            "Timeout",
            "the server was unable to return a response in the time allotted, but may still be processing the request"
                .into(),
        ),
        code if code >= 500 => (
            "InternalError",
            format!(
                "an error on the server ({}) has prevented the request from succeeding",
                api::gostr::quote(&text)
            ),
        ),
        code => ("", format!("the server responded with the status code {code} but did not return more information")),
    };
    let verb = method.as_str().to_lowercase();
    let message = match resource_of(path) {
        Some((resource, name)) if name.is_empty() => format!("{message} ({verb} {resource})"),
        Some((resource, name)) => format!("{message} ({verb} {resource} {name})"),
        None => message,
    };
    Fail::Api(Refusal { code, reason: reason.into(), message, details: Value::Null })
}

#[cfg(test)]
mod tests {
    use crate::testing::{Server, at};
    use serde_json::json;

    #[tokio::test]
    async fn a_server_without_a_status_says_itself_which_types_it_knows() {
        for (code, reason) in [(403, "Forbidden"), (406, "NotAcceptable"), (415, "UnsupportedMediaType")] {
            let server = Server::start_with(move |_| Some((code, json!("why")))).await;
            let result = server.kubectl(&["get", "--raw", &at("a")]).await;
            let want = format!("Error from server ({reason}): \"why\"\n");
            assert_eq!((result.code, result.err), (1, want));
        }
    }
}
