//! Get and list.

use crate::registry::filter::Filter;
use crate::registry::list_past::PastList;
use crate::registry::listing::{encode, hold_memory, looked_at, matching, reserve, too_large};
use crate::request::context::Context;
use crate::request::http::Answer;
use crate::request::list_writer::{self, ListMeta, ListWriter};
use crate::request::negotiate::{self, form, form_of_list};
use crate::state::State;
use crate::storage::keys::key_of;
use crate::storage::object::Object;
use api::Status;
use api::errors::{Errors, brief};
use api::gostr::quote;
use api::kinds::Kind;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use std::num::IntErrorKind;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

/// How long a list waits for a revision that is still to come.
const FUTURE_WAIT: Duration = Duration::from_secs(3);

/// Answers one object. Without a `resourceVersion` as the store has it now; with one as this server
/// remembers it, once it has reached that revision: 0 is any, and needs no quorum of the store.
///
/// # Errors
/// 404 without the object, 500 for a revision that is none, 504 for one that does not come.
pub(crate) async fn get(state: &State, ctx: &Context, kind: &Kind) -> Result<Answer, Status> {
    let form = form(ctx.accept(), &ctx.query)?;
    let (namespace, name) = (ctx.info.object_namespace(), &ctx.info.name);
    let version = ctx.query.get("resourceVersion");
    let wanted = if version.is_empty() { None } else { Some(revision(version)?) };
    let object = match wanted {
        None => state.get(kind, namespace, name).await?,
        Some(wanted) => {
            match wanted {
                0 => filled(state).await?,
                wanted => reach(state, wanted).await?,
            }
            state.last_known(kind, namespace, name)?
        }
    };
    Ok(negotiate::one_through(200, kind, &ctx.info.subresource, form, &object))
}

fn options_error(field: &str, detail: &str) -> Status {
    let mut errors = Errors::default();
    errors.forbidden(field, detail);
    Status::invalid("meta.k8s.io", "ListOptions", "", &errors)
}

/// Which revision a list asks for.
#[derive(Debug, PartialEq)]
enum At {
    Now,
    Any,
    NotOlderThan(i64),
    Exactly(i64),
    Continue { revision: i64, start: String },
}

/// Reads the revision of options that `request::list_options` has judged.
///
/// # Errors
/// 400 for a revision or a `continue` token that cannot be read, or for both together.
fn requested_revision(ctx: &Context, limit: i64) -> Result<At, Status> {
    let (version, how) = (ctx.query.get("resourceVersion"), ctx.query.get("resourceVersionMatch"));
    let token = ctx.query.get("continue");
    if !token.is_empty() {
        if !matches!(version, "" | "0") {
            return Err(Status::bad_request(
                "specifying resource version is not allowed when using continue",
            ));
        }
        return decode(token)
            .ok_or_else(|| Status::bad_request("invalid continue token: continue key is not valid"));
    }
    if version.is_empty() {
        return Ok(At::Now);
    }
    let number = parse_revision(version)
        .map_err(|why| Status::bad_request(format!("invalid resource version: {why}")))?;
    Ok(match (how, number) {
        (_, 0) => At::Any,
        ("Exact", n) => At::Exactly(n),
        ("", n) if limit > 0 => At::Exactly(n),
        (_, n) => At::NotOlderThan(n),
    })
}

/// Reads the resourceVersion of a get or a watch.
///
/// # Errors
/// 500 for what is no number, or a negative one: upstream gives this error a code in lists alone.
pub(crate) fn revision(text: &str) -> Result<i64, Status> {
    parse_revision(text).map_err(|why| Status::new(500, "", why))
}

/// # Errors
/// Why the text is no revision, in upstream's words (`ParseResourceVersion`).
fn parse_revision(text: &str) -> Result<i64, String> {
    parse_uint(text).map_err(|why| {
        let mut errors = Errors::default();
        errors.invalid_text("resourceVersion", text, &why);
        errors.aggregate()
    })
}

/// Reads a revision as Go reads a `uint64`: without a sign. Revisions of the store have a bit less.
///
/// # Errors
/// Why it is no such number, in the words of Go's `strconv`.
pub(crate) fn parse_uint(text: &str) -> Result<i64, String> {
    let is_unsigned = text.bytes().all(|byte| byte.is_ascii_digit());
    let why = match text.parse::<i64>() {
        Ok(number) if is_unsigned => return Ok(number),
        Err(error) if is_unsigned && *error.kind() == IntErrorKind::PosOverflow => "value out of range",
        _ => "invalid syntax",
    };
    Err(format!("strconv.ParseUint: parsing {}: {why}", quote(brief(text))))
}

fn decode(token: &str) -> Option<At> {
    let token: Value =
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(token.trim_end_matches('=')).ok()?).ok()?;
    Some(At::Continue {
        revision: token.get("rv")?.as_i64().filter(|revision| *revision > 0)?,
        start: token.get("start")?.as_str()?.to_string(),
    })
}

/// Waits until this server has reached a revision.
///
/// # Errors
/// 504 if it does not within [`FUTURE_WAIT`].
pub(crate) async fn reach(state: &State, wanted: i64) -> Result<(), Status> {
    match clock::limit(FUTURE_WAIT, state.cache.wait_for(wanted)).await {
        Some(()) => Ok(()),
        None => Err(too_large(wanted, state.cache.revision())),
    }
}

/// Waits until this server has read the store for the first time. Before that it knows of nothing,
/// and a client that got an empty list would take all objects for deleted.
///
/// # Errors
/// 429 if that takes longer than [`FUTURE_WAIT`], as upstream's before its cache is filled.
pub(crate) async fn filled(state: &State) -> Result<(), Status> {
    match clock::limit(FUTURE_WAIT, state.cache.wait_for(1)).await {
        Some(()) => Ok(()),
        None => Err(Status::new(429, "TooManyRequests", "storage is (re)initializing")
            .with(json!({"retryAfterSeconds": 1}))),
    }
}

/// Answers a list. With a limit, a page that is full of later defaults ends early, as
/// [`ListWriter::is_full_of_defaults`] says. At `resourceVersion=0` it counts for that alone.
///
/// # Errors
/// Those of the list's options; 504 for a revision that does not come, 410 for one that is no
/// longer kept; 429 without memory for the answer; 413 if later defaults add too much to a list
/// without a limit.
pub(crate) async fn list(state: &State, ctx: &Context, kind: &Kind) -> Result<Answer, Status> {
    let form = form_of_list(ctx.accept(), &ctx.query)?;
    let limit = ctx.query.number("limit")?.unwrap_or(0).max(0);
    let filter = Filter::of(kind, ctx.info.object_namespace(), &ctx.query)?;
    let at = requested_revision(ctx, limit)?;
    let most = if at == At::Any { 0 } else { limit }; // as upstream's `computeListLimit`
    match at {
        At::Now => {
            state.fresh().await?;
        }
        At::Any => filled(state).await?,
        At::NotOlderThan(n) => reach(state, n).await?,
        At::Exactly(revision) => {
            let filter = &filter;
            return PastList { state, ctx, kind, form, filter, revision, start: "", limit }.answer().await;
        }
        At::Continue { revision, start } => {
            let (filter, start) = (&filter, start.as_str());
            return PastList { state, ctx, kind, form, filter, revision, start, limit }.answer().await;
        }
    }
    // A selector looks at all objects, and lets other tasks on meanwhile: many such lists must not
    // hold all keys at a time.
    let looked_at = looked_at(state, kind, &filter);
    let looking = state.compute.body(&ctx.user, looked_at).await?;
    let (mut objects, mut meta) = of_now(state, kind, &filter, most).await;
    drop(looking); // a list that holds memory waits for none
    let mut bytes = list_writer::estimate(form, &objects).max(looked_at);
    let (mut memory, mut turn) = {
        let reserving = reserve(state, ctx, bytes, bytes);
        tokio::pin!(reserving);
        let polled = futures::poll!(reserving.as_mut());
        match polled {
            Poll::Ready(reserved) => reserved?,
            Poll::Pending => {
                // A list that waits keeps no objects: the cache may replace them all meanwhile, for
                // each of many lists.
                objects.clear();
                let (mut memory, turn) = reserving.await?;
                (objects, meta) = of_now(state, kind, &filter, most).await;
                bytes = list_writer::estimate(form, &objects);
                memory.cover(bytes)?;
                (memory, turn)
            }
        }
    };
    let mut list = ListWriter::with_room(kind, form, &objects);
    for (at, object) in objects.iter().enumerate() {
        list.put(object).await;
        if list.added() > 0 {
            memory.cover(bytes + list.added())?;
            if turn.is_none() {
                turn = state.compute.list(&ctx.user, bytes + list.added()).await;
            }
        }
        if list.is_full_of_defaults() {
            if limit == 0 {
                return Err(list_writer::too_many_defaults(kind));
            }
            go_on_behind(kind, &filter, object, objects.len() - at - 1, &mut meta);
            break;
        }
    }
    Ok(hold_memory(ctx, list.finish(&meta), memory))
}

/// Lets a page end with an object, although `left` of its objects come behind it.
fn go_on_behind(kind: &Kind, filter: &Filter, last: &Object, left: usize, meta: &mut ListMeta) {
    if left == 0 {
        return;
    }
    meta.next = encode(meta.revision, &format!("{}\0", key_of(kind, &last.value)));
    meta.remaining = (!filter.is_selective()).then_some(meta.remaining.unwrap_or(0) + left as i64);
}

/// Returns the objects that match now, and what a list of them says of itself.
async fn of_now(state: &State, kind: &Kind, filter: &Filter, limit: i64) -> (Vec<Arc<Object>>, ListMeta) {
    let NowPage { objects, meta } = page_of_now(state, kind, filter, "", limit).await;
    (objects.into_iter().map(|(_, object)| object).collect(), meta)
}

/// A part of what matches now.
pub(crate) struct NowPage {
    /// With their keys, in the order of these.
    pub objects: Vec<(String, Arc<Object>)>,
    pub meta: ListMeta,
}

/// Returns the objects that match now, from the key `start` on, and at most `limit` of them unless
/// it is 0.
pub(crate) async fn page_of_now(
    state: &State,
    kind: &Kind,
    filter: &Filter,
    start: &str,
    limit: i64,
) -> NowPage {
    let (mut objects, revision) = matching(state, kind, filter).await;
    objects.retain(|(key, _)| key.as_str() >= start);
    let mut meta = ListMeta { revision, next: String::new(), remaining: None };
    if limit > 0 && objects.len() as i64 > limit {
        let remaining = objects.len() as i64 - limit;
        objects.truncate(limit as usize);
        let last = objects.last().map_or("", |(key, _)| key);
        meta.next = encode(revision, &format!("{last}\0"));
        meta.remaining = (!filter.is_selective()).then_some(remaining);
    }
    NowPage { objects, meta }
}

/// Waits for the state that the list options of a deletecollection ask for, and returns the key
/// that its page begins with; `None` for the first page. The options are judged as those of a list.
/// A resourceVersion without a match is an exact one, because upstream reads the collection in
/// pages.
///
/// # Errors
/// Those of a list's options; 422 for an exact revision, because only the objects of now are
/// deleted; 504 for a revision that does not come.
pub(crate) async fn start_of_page(state: &State, ctx: &Context) -> Result<Option<String>, Status> {
    const PAGED: i64 = 1;
    let start = match requested_revision(ctx, PAGED)? {
        At::Now | At::Any => None,
        At::NotOlderThan(wanted) => {
            reach(state, wanted).await?;
            None
        }
        At::Exactly(_) => {
            let why = "a collection is deleted as it is now, not as it was at an exact resourceVersion";
            return Err(options_error("resourceVersion", why));
        }
        At::Continue { start, .. } => Some(start),
    };
    state.fresh().await?;
    Ok(start)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As `strconv.ParseUint`.
    #[test]
    fn a_revision_is_a_number_without_a_sign() {
        for (text, number) in [("0", 0), ("7", 7), ("007", 7), ("9223372036854775807", i64::MAX)] {
            assert_eq!(parse_revision(text), Ok(number), "{text}");
        }
        let (syntax, range) = ("invalid syntax", "value out of range");
        for (text, why) in [
            ("+5", syntax),
            ("-1", syntax),
            (" 5", syntax),
            ("1e3", syntax),
            ("", syntax),
            ("9223372036854775808", range),
        ] {
            let message = parse_revision(text).unwrap_err();
            let want = format!(
                "resourceVersion: Invalid value: {text:?}: strconv.ParseUint: parsing {text:?}: {why}"
            );
            assert_eq!(message, want);
        }
        // A body may have one of megabytes, and the record of the request repeats what is said.
        assert!(parse_uint(&"x".repeat(1 << 20)).unwrap_err().len() < 32 << 10);
    }
}
