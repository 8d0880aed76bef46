//! The beginning and the end of a request: its place, its record, its answer's form and headers.

use crate::auth::bearer;
use crate::auth::user::User;
use crate::flowcontrol::seat::Seat;
use crate::request::connections::Counted;
use crate::request::context::Context;
use crate::request::http::{Answer, Body, Query, failure};
use crate::request::info::Info;
use crate::request::pretty;
use crate::server::Server;
use crate::state::State;
use api::Status;
use clock::Instant;
use http::header::CACHE_CONTROL;
use http::{HeaderMap, HeaderValue, Request, StatusCode};
use std::sync::Arc;
use tap::Event;

const AUDIT_ID: &str = "audit-id";

/// Lets an authenticated request in, if flow control has a place for it, and opens its record under
/// the name `id`.
///
/// # Errors
/// 429 if there is no place.
pub(crate) fn enter(
    server: &Server,
    id: String,
    user: User,
    request: &Request<Body>,
    seat: &Arc<Seat>,
) -> Result<Arc<Context>, Status> {
    let query = Query::parse(request.uri().query());
    let info = Info::parse(request.method(), request.uri().path(), &query);
    server.state.bounds.enter(&user, &info, seat)?;
    let headers = request.headers().clone();
    let ctx = Context::new(id, user, info, query, headers, server.tap.clone());
    let ctx = ctx.seated(seat.clone()).inside(is_inside(&server.state, request));
    if ctx.user.is_anonymous() && bearer::is_behind_space(&ctx.headers) {
        ctx.warn(bearer::BEHIND_SPACE);
    }
    ctx.stage(Event::Authenticate { groups: ctx.user.groups.clone() });
    Ok(Arc::new(ctx))
}

/// Records the answer 401: the API server found no user for the request, so the record names none
/// and counts as a guest's. Other refusals of authentication leave no record.
pub(crate) fn record_unauthenticated(
    server: &Server,
    id: String,
    request: &Request<Body>,
    started: Instant,
    status: &Status,
) {
    if status.code != 401 {
        return;
    }
    let query = Query::parse(request.uri().query());
    let info = Info::parse(request.method(), request.uri().path(), &query);
    let headers = request.headers().clone();
    let ctx = Context::new(id, User::default(), info, query, headers, server.tap.clone());
    let ctx = ctx.inside(is_inside(&server.state, request));
    ctx.answered(status.code, started.elapsed(), &status.message);
}

/// Returns whether a request came over a connection of a pod or of a node.
fn is_inside(state: &State, request: &Request<Body>) -> bool {
    let connection = request.extensions().get::<Arc<Counted>>();
    connection.is_some_and(|counted| (state.is_inside)(counted.source().ip()))
}

/// Completes the answer to a request that was let in: its form, its warnings, its headers, and its
/// record.
pub(crate) async fn finish(
    state: &Arc<State>,
    ctx: &Arc<Context>,
    started: Instant,
    done: Result<Answer, Status>,
) -> Answer {
    let refused = done.as_ref().err().map(|status| status.message.clone());
    let answer = done.unwrap_or_else(|status| failure(&status));
    let mut answer = pretty::formatted(state, ctx, answer, refused.is_some()).await;
    // A kubelet's refusal is passed on as it is, and recorded as well.
    ctx.answered(answer.status().as_u16(), started.elapsed(), refused.as_deref().unwrap_or_default());
    answer = state.bounds.answer(&ctx.user, &ctx.info, &ctx.seat, answer);
    for warning in ctx.take_warnings() {
        if let Some(value) = warning_value(&warning) {
            answer.headers_mut().append("warning", value);
        }
    }
    fill_headers(&mut answer, &ctx.headers, &ctx.request.id);
    answer
}

/// Fills in the headers that every answer has: the name of the request (`of_request` are the
/// headers of the request), and that no cache keeps the answer unless it says otherwise (upstream:
/// `WithAuditInit`, `WithCacheControl`).
pub(crate) fn fill_headers(answer: &mut Answer, of_request: &HeaderMap, id: &str) {
    // A client may name its request itself; its record has our name.
    let named = of_request.get(AUDIT_ID).filter(|id| !id.is_empty()).cloned();
    if let Some(id) = named.or_else(|| HeaderValue::from_str(id).ok()) {
        answer.headers_mut().insert(AUDIT_ID, id);
    }
    let is_upgrade = answer.status() == StatusCode::SWITCHING_PROTOCOLS;
    if !is_upgrade && !answer.headers().contains_key(CACHE_CONTROL) {
        answer.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-cache, private"));
    }
}

/// Writes a warning as the value of its header, quoted (RFC 7234, 5.5). Text of any language goes
/// as it is, in UTF-8, as by upstream's `net.NewWarningHeader`.
fn warning_value(text: &str) -> Option<HeaderValue> {
    let text: String = text.chars().filter(|c| !c.is_control()).collect();
    let text = text.replace('\\', "\\\\").replace('"', "\\\"");
    HeaderValue::from_bytes(format!("299 - \"{text}\"").as_bytes()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_warning_is_quoted_on_one_line_in_any_language() {
        let value = warning_value("say \"a\\b\"\r\n지금").unwrap();
        assert_eq!(value.as_bytes(), r#"299 - "say \"a\\b\"지금""#.as_bytes());
    }

    #[test]
    fn an_answer_has_the_name_of_its_request_and_may_say_how_long_it_is_kept() {
        let headers = |of_request: &HeaderMap, mut answer: Answer| {
            fill_headers(&mut answer, of_request, "ours");
            let text = |name: &str| answer.headers().get(name).map(|v| v.to_str().unwrap().to_string());
            (text("audit-id").unwrap(), text("cache-control"))
        };
        let empty = || Answer::new(crate::request::http::full(""));
        let mut named = HeaderMap::new();
        named.insert(AUDIT_ID, HeaderValue::from_static("theirs"));
        let no_cache = Some("no-cache, private".to_string());
        assert_eq!(headers(&HeaderMap::new(), empty()), ("ours".into(), no_cache.clone()));
        assert_eq!(headers(&named, empty()), ("theirs".into(), no_cache));
        let mut kept = empty();
        kept.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("public"));
        assert_eq!(headers(&named, kept).1.as_deref(), Some("public"));
        let mut upgrade = empty();
        *upgrade.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        assert_eq!(headers(&named, upgrade).1, None);
    }
}
