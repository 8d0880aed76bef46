//! Answers for eyes: indented, where a person seems to read them. Programs get them without a space, as they do from Kubernetes.

use super::State;
use super::context::Context;
use super::http::{Answer, failure, full};
use crate::api::Status;
use http::header::CONTENT_TYPE;
use http_body::Body as _;
use http_body_util::BodyExt;
use serde_json::Value;

/// Programs that people type, by how they call themselves. Source: `negotiation.isPrettyPrint`.
const BY_HAND: [&str; 3] = ["curl", "Wget", "Mozilla/5.0"];

fn wanted(ctx: &Context) -> bool {
    match ctx.query.get("pretty") {
        "" => {
            let agent = ctx.headers.get("user-agent").and_then(|v| v.to_str().ok()).unwrap_or_default();
            BY_HAND.iter().any(|name| agent.starts_with(name))
        }
        asked => matches!(asked, "1" | "t" | "T" | "true" | "TRUE" | "True"),
    }
}

/// Longer answers, in bytes, stay as they are: indented, a list takes several times its memory, and a program or `jq` reads it
/// as well without. Upstream has no bound.
const LONGEST: u64 = 512 << 10;
/// Told with a long answer that stays as it is.
const AS_IT_IS: &str = "the answer is longer than 512 KiB and therefore not indented; jq . indents it";

/// Indents an answer, if that is wanted and it is a document of our own: no stream of events, and nothing that somebody else said.
/// A long one is indented where large objects are worked on; 429 if too many wait there.
pub async fn shown(state: &State, ctx: &Context, answer: Answer) -> Answer {
    let foreign = ["proxy", "log", "exec", "attach", "portforward"].contains(&ctx.info.subresource.as_str());
    let kind = answer.headers().get(CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or_default();
    let json = kind.split(';').next() == Some("application/json");
    if !json || foreign || ctx.info.verb == "watch" || !wanted(ctx) {
        return answer;
    }
    if answer.body().size_hint().lower() > LONGEST {
        ctx.warn(AS_IT_IS);
        return answer;
    }
    let (head, body) = answer.into_parts();
    let bytes = match body.collect().await {
        Ok(body) => body.to_bytes(),
        Err(error) => return failure(&Status::internal(error.to_string())),
    };
    let length = bytes.len();
    let work = async move {
        let indented =
            serde_json::from_slice::<Value>(&bytes).and_then(|value| serde_json::to_vec_pretty(&value));
        Ok(indented.map_or(bytes, Into::into))
    };
    match state.compute.run(&ctx.user, length, state.stop.clone(), work).await {
        Ok(indented) => Answer::from_parts(head, full(indented)),
        Err(status) => failure(&status),
    }
}
