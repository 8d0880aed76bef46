//! What a kubelet answers to a request for a log.

use crate::request::context::Context;
use crate::request::http::{Answer, full};
use api::Status;
use api::gostr::quote;
use api::status::details;
use bytes::Bytes;
use futures::{StreamExt, stream};
use http::Response;
use http_body_util::{BodyExt, BodyStream, StreamBody};

/// Bytes of a kubelet's refusal that its client gets; upstream's.
const REFUSAL_MAX: usize = 50_000;

/// Passes a log on. Unless it is followed, waits for its first piece, and notes if there is none,
/// as with `--since=1s` where nothing was written for longer.
///
/// # Errors
/// The refusal of the kubelet.
pub(crate) async fn pass(ctx: &Context, answer: Answer) -> Result<Answer, Status> {
    if !(200..=206).contains(&answer.status().as_u16()) {
        return Err(refusal(&ctx.info.name, answer).await);
    }
    match ctx.query.is_true("follow") {
        true => Ok(answer),
        false => Ok(note_empty_log(ctx, answer).await),
    }
}

/// Waits for the first piece of a log, and notes in the request's record if there is none.
async fn note_empty_log(ctx: &Context, answer: Answer) -> Answer {
    let (parts, mut body) = answer.into_parts();
    let first = loop {
        match body.frame().await {
            Some(Ok(frame)) if frame.data_ref().is_some_and(Bytes::is_empty) => {}
            first => break first,
        }
    };
    let Some(first) = first else {
        ctx.mark_log_empty();
        return Response::from_parts(parts, full(""));
    };
    let whole = stream::iter([first]).chain(BodyStream::new(body));
    Response::from_parts(parts, StreamBody::new(whole).boxed_unsync())
}

/// Makes a Status of what a kubelet says about the log of the pod `name`, which is plain text:
/// clients show the message of a Status, and of a text only its code (upstream:
/// `GenericHttpResponseChecker`).
///
/// Example: 400 and `container "c" in pod "p" is not available` are shown by kubectl as `Error from
/// server (BadRequest): container "c" in pod "p" is not available`.
async fn refusal(name: &str, answer: Answer) -> Status {
    let code = answer.status().as_u16();
    let (mut body, mut bytes) = (answer.into_body(), vec![]);
    while let Some(Ok(frame)) = body.frame().await {
        let Ok(data) = frame.into_data() else { continue };
        bytes.extend_from_slice(&data[..data.len().min(REFUSAL_MAX - bytes.len())]);
        if bytes.len() == REFUSAL_MAX {
            break;
        }
    }
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let (reason, message) = match code {
        400 => return Status::bad_request(text),
        500 => return Status::internal(text),
        401 => ("Unauthorized", "the server has asked for the client to provide credentials".to_string()),
        403 => ("Forbidden", text),
        404 => ("NotFound", "the server could not find the requested resource".to_string()),
        422 => ("Invalid", "the server rejected our request due to an error in our request".to_string()),
        503 => ("ServiceUnavailable", "the server is currently unable to handle the request".to_string()),
        501.. => {
            let why = quote(&text);
            (
                "InternalError",
                format!("an error on the server ({why}) has prevented the request from succeeding"),
            )
        }
        _ => {
            let more = "but did not return more information";
            ("", format!("the server responded with the status code {code} {more}"))
        }
    };
    // Upstream names no verb before the resource.
    Status::new(code, reason, format!("{message} ( pods/log {name})")).with(details("", "pods/log", name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::http::plain;

    #[tokio::test]
    async fn a_kubelets_refusal_is_a_status() {
        for (code, text, reason, message) in [
            (400, "it is not available", "BadRequest", "it is not available"),
            (500, "no answer", "InternalError", "Internal error occurred: no answer"),
            (403, "not you", "Forbidden", "not you ( pods/log p)"),
            (404, "no", "NotFound", "the server could not find the requested resource ( pods/log p)"),
            (
                422,
                "no",
                "Invalid",
                "the server rejected our request due to an error in our request ( pods/log p)",
            ),
            (
                503,
                "no",
                "ServiceUnavailable",
                "the server is currently unable to handle the request ( pods/log p)",
            ),
            (
                502,
                "a\"b",
                "InternalError",
                "an error on the server (\"a\\\"b\") has prevented the request from succeeding ( pods/log p)",
            ),
        ] {
            let status = refusal("p", plain(code, text)).await;
            assert_eq!((status.code, status.reason, status.message.as_str()), (code, reason, message));
        }
        let long = refusal("p", plain(400, "x".repeat(REFUSAL_MAX + 1))).await;
        assert_eq!(long.message.len(), REFUSAL_MAX);
    }
}
