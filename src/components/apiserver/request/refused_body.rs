//! The body of a write that is refused because the impersonated user has no right to it (403). The
//! record of the answer has the object, so that a lesson can show what was sent:
//!
//! ```text
//! kubectl create --as=guest -f crate.yaml    the object of crate.yaml
//! kubectl create -f crate.yaml, as guest     nothing: guest impersonates no user
//! ```
//!
//! Upstream does not read the body of a request that it does not authorize. Here it is read only
//! for callers who may impersonate others, and so have rights of their own.

use crate::request::context::Context;
use crate::request::http::{Body, header};
use crate::request::info::Info;
use http::Request;
use http::header::EXPECT;
use http_body_util::{BodyExt, Limited};
use serde_json::Value;
use std::time::Duration;

/// Bytes of a body, at most. A longer one is not recorded.
const BODY_MAX: usize = 16 << 10;
/// How long the body is waited for.
const TIME: Duration = Duration::from_millis(500);

/// Remembers the object that was sent. Secrets and the tokens of a TokenReview are left out, and so
/// is a body that the client holds back: reading it would answer `100 Continue` before the refusal.
pub(crate) async fn note(ctx: &Context, request: Request<Body>) {
    let info = &ctx.info;
    let is_write = matches!(info.verb.as_str(), "create" | "update") && info.subresource.is_empty();
    let is_json = header(&ctx.headers, "content-type").starts_with("application/json");
    let is_held_back = ctx.headers.contains_key(EXPECT);
    let is_impersonated = !ctx.user.impersonator.is_empty();
    if !(is_write && is_json && is_impersonated) || has_credentials(info) || is_held_back {
        return;
    }
    let body = Limited::new(request.into_body(), BODY_MAX).collect();
    // A body that does not come, or is no object, is not recorded.
    let Some(Ok(read)) = clock::limit(TIME, body).await else { return };
    if let Ok(object @ Value::Object(_)) = serde_json::from_slice(&read.to_bytes()) {
        ctx.would_make(&object);
    }
}

/// Returns whether bodies of the resource may have passwords or tokens.
fn has_credentials(info: &Info) -> bool {
    info.resource == "secrets" || info.group == "authentication.k8s.io"
}
