//! Get and list.

use crate::State;
use crate::flowcontrol::compute::{LARGE, ListBody, Pace};
use crate::flowcontrol::fair_queue::Permit;
use crate::registry::filter::Filter;
use crate::request::context::Context;
use crate::request::http::Answer;
use crate::request::negotiate::{self, ListMeta, ListWriter, form};
use crate::storage::cache::{Measure, ROOT};
use crate::storage::object::Object;
use crate::storage::store::{object_key, status_of};
use api::Status;
use api::errors::Errors;
use api::kinds::Kind;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use etcd::api::{KeyValue, RangeRequest};
use http_body::Body as _;
use serde_json::{Value, json};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

/// How long a list waits for a revision that is still to come.
const FUTURE_WAIT: Duration = Duration::from_secs(3);
/// How many times as long it takes to decode and check an object as to copy it, about.
const DECODING: usize = 16;
/// Keys of the first page that is read from the store for a list of the past, and of the largest.
/// Pages double, as upstream's: only one of them is in memory beside the answer, and a selector
/// that matches little costs few of them.
const PAGE: i64 = 500;
const PAGE_MAX: i64 = 10_000;
/// Bytes of a page, about: how many objects that is, the page before tells (today's objects for the
/// first), and it has at most as many objects as have shown how large they are. Example: pages of a
/// namespace that is empty today have 1, 1, 2, 4 objects, because its objects of the past may be of
/// any size; a large object in front of many small ones makes the next page short, and not all
/// pages.
const PAGE_BYTES: usize = 4 << 20;

/// Answers one object. Without a `resourceVersion` as the store has it now; with one as this server
/// remembers it, once it has reached that revision: 0 is any, and needs no quorum of the store.
///
/// # Errors
/// 404 without the object, 400 for a revision that is none, 504 for one that does not come.
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
    Ok(negotiate::one(200, kind, form, &object))
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

fn at(ctx: &Context, limit: i64) -> Result<At, Status> {
    let (version, how) = (ctx.query.get("resourceVersion"), ctx.query.get("resourceVersionMatch"));
    let token = ctx.query.get("continue");
    if ctx.query.has("sendInitialEvents") {
        return Err(options_error("sendInitialEvents", "sendInitialEvents is forbidden for list"));
    }
    if !token.is_empty() {
        if !matches!(version, "" | "0") {
            return Err(Status::bad_request(
                "specifying resource version is not allowed when using continue",
            ));
        }
        if !how.is_empty() {
            return Err(options_error(
                "resourceVersionMatch",
                "resourceVersionMatch is forbidden when continue is provided",
            ));
        }
        return decode(token).ok_or_else(|| Status::bad_request("continue key is not valid"));
    }
    if version.is_empty() {
        if !how.is_empty() {
            return Err(options_error(
                "resourceVersionMatch",
                "resourceVersionMatch is forbidden unless resourceVersion is provided",
            ));
        }
        return Ok(At::Now);
    }
    let number = revision(version)?;
    match (how, number) {
        ("Exact", 0) => Err(options_error(
            "resourceVersionMatch",
            "resourceVersionMatch \"Exact\" is forbidden for resourceVersion \"0\"",
        )),
        ("Exact", n) => Ok(At::Exactly(n)),
        ("NotOlderThan", 0) | ("", 0) => Ok(At::Any),
        ("NotOlderThan", n) => Ok(At::NotOlderThan(n)),
        ("", n) if limit > 0 => Ok(At::Exactly(n)),
        ("", n) => Ok(At::NotOlderThan(n)),
        (other, _) => Err(Status::bad_request(format!(
            "Unsupported value: {other:?}: supported values: \"Exact\", \"NotOlderThan\""
        ))),
    }
}

/// Reads a resourceVersion of a request.
///
/// # Errors
/// 400 for what is no number, or a negative one.
pub(crate) fn revision(text: &str) -> Result<i64, Status> {
    let number = text.parse::<u64>().ok().and_then(|number| i64::try_from(number).ok());
    number.ok_or_else(|| {
        Status::bad_request(format!(
            "Invalid value: {text:?}: strconv.ParseUint: parsing {text:?}: invalid syntax"
        ))
    })
}

fn encode(revision: i64, start: &str) -> String {
    URL_SAFE_NO_PAD.encode(json!({"v": "meta.k8s.io/v1", "rv": revision, "start": start}).to_string())
}

fn decode(token: &str) -> Option<At> {
    let token: Value =
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(token.trim_end_matches('=')).ok()?).ok()?;
    Some(At::Continue {
        revision: token.get("rv")?.as_i64().filter(|revision| *revision > 0)?,
        start: token.get("start")?.as_str()?.to_string(),
    })
}

/// The answer to a revision that is not there yet.
pub(crate) fn too_large(wanted: i64, current: i64) -> Status {
    Status::timeout(format!("Too large resource version: {wanted}, current: {current}")).with(json!({
        "causes": [{"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}], "retryAfterSeconds": 1}))
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
/// and a client that is told so takes all objects for deleted.
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

pub(crate) async fn list(state: &State, ctx: &Context, kind: &Kind) -> Result<Answer, Status> {
    let form = form(ctx.accept(), &ctx.query)?;
    let limit = ctx.query.number("limit")?.unwrap_or(0).max(0);
    let filter = Filter::of(kind, ctx.info.object_namespace(), &ctx.query)?;
    match at(ctx, limit)? {
        At::Now => {
            state.fresh().await?;
        }
        At::Any => filled(state).await?,
        At::NotOlderThan(n) => reach(state, n).await?,
        At::Exactly(revision) => {
            return from_store(state, ctx, kind, form, &filter, &Page { revision, start: "", limit }).await;
        }
        At::Continue { revision, start } => {
            let page = Page { revision, start: &start, limit };
            return from_store(state, ctx, kind, form, &filter, &page).await;
        }
    }
    // A selector looks at all objects, and lets other tasks on meanwhile: many such lists must not
    // hold all keys at a time.
    let looked_at = looked_at(state, kind, &filter);
    let looking = state.compute.body(&ctx.user, looked_at).await?;
    let (mut objects, mut meta) = of_now(state, kind, &filter, limit).await;
    drop(looking); // a list that holds memory waits for none
    let bytes = negotiate::estimate(form, &objects).max(looked_at);
    let (memory, _turn) = {
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
                (objects, meta) = of_now(state, kind, &filter, limit).await;
                memory.cover(negotiate::estimate(form, &objects))?;
                (memory, turn)
            }
        }
    };
    Ok(kept(ctx, negotiate::many(kind, form, &objects, &meta).await, memory))
}

/// The objects that match now, and what a list of them says of itself.
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

/// The objects that match now, from the key `start` on, and at most `limit` of them unless it is 0.
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

/// The key with which a page of a collection begins that a request asks for by `continue`; `None`
/// for the first page.
///
/// # Errors
/// 400 for a token that is none.
pub(crate) fn start_of_page(ctx: &Context) -> Result<Option<String>, Status> {
    match ctx.query.get("continue") {
        "" => Ok(None),
        token => match decode(token) {
            Some(At::Continue { start, .. }) => Ok(Some(start)),
            _ => Err(Status::bad_request("continue key is not valid: the token cannot be read")),
        },
    }
}

/// Bytes in memory while a selector looks at objects; 0 without one, where nothing waits between
/// the copy and the reservation.
pub(crate) fn looked_at(state: &State, kind: &Kind, filter: &Filter) -> usize {
    match filter.is_selective() && filter.name.is_empty() {
        true => state.cache.measure(kind.place(), &prefix_of(filter)).keys,
        false => 0,
    }
}

/// The keys of a filter's namespace begin so.
fn prefix_of(filter: &Filter) -> String {
    if filter.namespace.is_empty() { String::new() } else { format!("{}/", filter.namespace) }
}

/// Waits for the memory of a list that takes about `bytes` bytes, and for a turn if `work` bytes
/// have to be worked on for it.
async fn reserve(
    state: &State,
    ctx: &Context,
    bytes: usize,
    work: usize,
) -> Result<(ListBody, Option<Permit>), Status> {
    let memory = state.compute.body(&ctx.user, bytes).await?;
    Ok((memory, state.compute.list(&ctx.user, work).await))
}

/// Keeps the memory of a list until its client has read it.
pub(crate) fn kept(ctx: &Context, answer: Answer, memory: ListBody) -> Answer {
    let bytes = answer.body().size_hint().upper().and_then(|bytes| usize::try_from(bytes).ok());
    if let Some(turn) = memory.settle(bytes.unwrap_or(usize::MAX)) {
        ctx.seat.cover(turn);
    }
    answer
}

/// What the cache has of a kind, in key order. A filter that looks at many objects lets other tasks
/// on.
pub(crate) async fn matching(
    state: &State,
    kind: &Kind,
    filter: &Filter,
) -> (Vec<(String, Arc<Object>)>, i64) {
    if !filter.name.is_empty() && (!filter.namespace.is_empty() || !kind.namespaced) {
        let revision = state.cache.revision();
        let key = object_key(kind, &filter.namespace, &filter.name);
        let found = state.cache.get(kind.place(), &key).filter(|o| filter.matches(&o.value));
        return (found.map(|o| (key, o)).into_iter().collect(), revision);
    }
    let snapshot = state.cache.list(kind.place(), &prefix_of(filter));
    if !filter.is_selective() {
        return (snapshot.objects, snapshot.revision);
    }
    let (mut objects, mut pace) = (vec![], Pace::default());
    for (key, object) in snapshot.objects {
        if filter.matches(&object.value) {
            objects.push((key, object));
        }
        pace.step(0).await;
    }
    (objects, snapshot.revision)
}

/// Which part of a list of the past is wanted.
struct Page<'a> {
    revision: i64,
    /// The key that it begins with; empty for the first.
    start: &'a str,
    /// Objects; 0 for all.
    limit: i64,
}

/// What a list of the past takes, as today's objects tell.
struct Forecast {
    /// Bytes of the answer.
    answer: usize,
    /// Bytes of the objects that are looked at for it.
    scanned: usize,
    /// Bytes of one object.
    each: usize,
    /// Objects that tell this.
    count: usize,
}

async fn forecast(
    state: &State,
    kind: &Kind,
    form: negotiate::Form,
    filter: &Filter,
    most: usize,
) -> Forecast {
    let Measure { count, objects: all, .. } = state.cache.measure(kind.place(), &prefix_of(filter));
    let (today, _) = matching(state, kind, filter).await;
    let today: Vec<Arc<Object>> = today.into_iter().map(|(_, object)| object).collect();
    let answer = negotiate::estimate(form, &today) / today.len().max(1) * today.len().min(most);
    let each = (all / count.max(1)).max(1);
    // Nobody knows how many objects a selector passes over before it has found enough.
    let scanned = if filter.is_selective() { all } else { each * count.min(most) };
    Forecast { answer, scanned, each, count }
}

/// An object of the past: decoded here if it is small, otherwise as all work on large objects.
///
/// # Errors
/// Those of [`Compute::run`](crate::flowcontrol::compute::Compute::run).
async fn decoded(
    state: &State,
    ctx: &Context,
    kind: &Kind,
    key: &str,
    kv: &KeyValue,
) -> Result<Result<Object, String>, Status> {
    if kv.value.len() <= LARGE {
        return Ok(Object::decode(kind.place(), key, &kv.value, kv.mod_revision));
    }
    let (place, key) = (kind.place().to_string(), key.to_string());
    let (value, revision) = (kv.value.clone(), kv.mod_revision);
    let decoding = async move { Ok(Object::decode(&place, &key, &value, revision)) };
    state.compute.run(&ctx.user, kv.value.len(), state.stop.clone(), decoding).await
}

/// A list at a revision of the past, read from the store itself. Each object is written as soon as
/// it is decoded.
async fn from_store(
    state: &State,
    ctx: &Context,
    kind: &Kind,
    form: negotiate::Form,
    filter: &Filter,
    page: &Page<'_>,
) -> Result<Answer, Status> {
    let &Page { revision, start, limit } = page;
    let current = state.kv.revision();
    if revision > current {
        return Err(too_large(revision, current));
    }
    let base = format!("{ROOT}{}/", kind.place());
    let prefix =
        if filter.namespace.is_empty() { base.clone() } else { format!("{base}{}/", filter.namespace) };
    // The token is the client's: it must not begin the list in another namespace, whose objects
    // would be counted.
    if !start.is_empty()
        && !filter.namespace.is_empty()
        && !start.starts_with(&format!("{}/", filter.namespace))
    {
        return Err(Status::bad_request("continue key is not valid"));
    }
    let mut from = if start.is_empty() { prefix.clone() } else { format!("{base}{start}") };
    let end = format!("{}0", &prefix[..prefix.len() - 1]); // '0' follows '/'
    let most = usize::try_from(limit).ok().filter(|limit| *limit > 0).unwrap_or(usize::MAX);
    let looking = state.compute.body(&ctx.user, looked_at(state, kind, filter)).await?;
    let Forecast { answer, scanned, mut each, count: mut known } =
        forecast(state, kind, form, filter, most).await;
    drop(looking);
    // A page is in memory beside the answer, and all that is looked at is work, whether it matches
    // or not.
    let (mut memory, mut turn) = reserve(state, ctx, answer + scanned.min(PAGE_BYTES), scanned).await?;
    let expected = answer;
    let mut list = ListWriter::new(kind, form, if form == negotiate::Form::Object { expected } else { 0 });
    let (mut next, mut remaining): (String, Option<i64>) = (String::new(), None);
    let (mut pace, mut taken, mut work) = (Pace::default(), 0, 0);
    // Keys that are left of the range. They are counted once: at one revision there are always as
    // many.
    let mut left: Option<i64> = None;
    let mut page = if limit > 0 { limit.min(PAGE_MAX) } else { PAGE };
    loop {
        let request = RangeRequest {
            key: from.clone().into(),
            range_end: Bytes::from(end.clone()),
            limit: page.min(i64::try_from(known.min(PAGE_BYTES / each)).unwrap_or(PAGE_MAX)).max(1),
            revision,
            continued: left.is_some(),
            ..Default::default()
        };
        page = (page * 2).min(PAGE_MAX);
        let response = state.kv.range(request).await.map_err(|e| match status_of(e) {
            s if s.reason == "Expired" && !start.is_empty() => Status::expired("The provided continue parameter is too old to display a consistent list result. You can start a new list without the continue parameter."),
            s => s,
        })?;
        let read: usize = response.kvs.iter().map(|kv| kv.value.len()).sum();
        each = (read / response.kvs.len().max(1)).max(1);
        known += response.kvs.len();
        memory.cover(list.written() + read)?;
        work += read;
        if turn.is_none() {
            turn = state.compute.list(&ctx.user, work).await; // there was more than today's objects told
        }
        let mut last = String::new();
        let mut seen = 0;
        for kv in &response.kvs {
            if limit > 0 && taken == limit {
                break;
            }
            last = String::from_utf8_lossy(&kv.key).into_owned();
            seen += 1;
            let key = last.strip_prefix(&base).unwrap_or_default();
            // What cannot be decoded is left out; the cache has told it in the log.
            if let Ok(object) = decoded(state, ctx, kind, key, kv).await?
                && filter.matches(&object.value)
            {
                list.put(&object).await;
                memory.cover(list.written() + read)?;
                taken += 1;
            }
            let here = if kv.value.len() <= LARGE { kv.value.len() } else { 0 };
            pace.step(here.saturating_mul(DECODING)).await;
        }
        let more = left.unwrap_or(response.count) - seen;
        left = Some(more);
        if more <= 0 || last.is_empty() {
            break;
        }
        from = format!("{last}\0");
        if limit > 0 && taken >= limit {
            next = encode(revision, from.strip_prefix(&base).unwrap_or(""));
            remaining = (!filter.is_selective()).then_some(more);
            break;
        }
    }
    Ok(kept(ctx, list.finish(&ListMeta { revision, next, remaining }), memory))
}
