//! What lists of now and of the past have in common: their objects, their memory, their tokens.

use crate::flowcontrol::compute::{ListBody, Pace};
use crate::flowcontrol::fair_queue::Permit;
use crate::registry::filter::Filter;
use crate::request::context::Context;
use crate::request::http::Answer;
use crate::state::State;
use crate::storage::keys::{self, object_key};
use crate::storage::object::Object;
use api::Status;
use api::kinds::Kind;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http_body::Body as _;
use serde_json::json;
use std::sync::Arc;

/// Returns the `continue` token of a list that goes on at `start`.
pub(super) fn encode(revision: i64, start: &str) -> String {
    URL_SAFE_NO_PAD.encode(json!({"v": "meta.k8s.io/v1", "rv": revision, "start": start}).to_string())
}

/// Returns the answer to a revision that is not there yet.
pub(crate) fn too_large(wanted: i64, current: i64) -> Status {
    Status::timeout(format!("Too large resource version: {wanted}, current: {current}")).with(json!({
        "causes": [{"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}], "retryAfterSeconds": 1}))
}

/// Bytes in memory while a selector looks at objects; 0 without one, where nothing waits between
/// the copy and the reservation.
pub(crate) fn looked_at(state: &State, kind: &Kind, filter: &Filter) -> usize {
    match filter.is_selective() && filter.name.is_empty() {
        true => state.cache.measure(kind.place(), &keys::prefix(&filter.namespace)).keys,
        false => 0,
    }
}

/// Waits for the memory of a list that takes about `bytes` bytes, and for a turn if `work` bytes
/// have to be worked on for it.
pub(super) async fn reserve(
    state: &State,
    ctx: &Context,
    bytes: usize,
    work: usize,
) -> Result<(ListBody, Option<Permit>), Status> {
    let memory = state.compute.body(&ctx.user, bytes).await?;
    Ok((memory, state.compute.list(&ctx.user, work).await))
}

/// Keeps the memory of a list until its client has read it.
pub(crate) fn hold_memory(ctx: &Context, answer: Answer, memory: ListBody) -> Answer {
    let bytes = answer.body().size_hint().upper().and_then(|bytes| usize::try_from(bytes).ok());
    if let Some(turn) = memory.settle(bytes.unwrap_or(usize::MAX)) {
        ctx.seat.cover(turn);
    }
    answer
}

/// Returns the objects of a kind in the cache that match, in key order. A filter that looks at many
/// objects lets other tasks on.
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
    let snapshot = state.cache.list(kind.place(), &keys::prefix(&filter.namespace));
    if !filter.is_selective() {
        return (snapshot.objects, snapshot.revision);
    }
    let (mut objects, mut pace) = (vec![], Pace::default());
    for (key, object) in snapshot.objects {
        let work = filter.bytes_to_judge(object.bytes.len());
        if filter.matches(&object.value) {
            objects.push((key, object));
        }
        pace.step(work).await;
    }
    (objects, snapshot.revision)
}
