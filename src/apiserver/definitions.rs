//! What a CustomResourceDefinition needs beside being stored: names, and an end that takes its objects along. Upstream these
//! are controllers inside the API server, too. Every server runs them; their writes say what is so and do not depend on who is first.
//!
//! That the kinds of an established definition are served is not decided here: the watch cache takes them over in the same
//! step as the definition itself, so that whoever reads `Established` finds the kind.

use super::State;
use super::context::Context;
use super::filter::Filter;
use super::http::Query;
use super::remove::{self, Options};
use super::request::Info;
use super::user::{MASTERS, User};
use super::write::{Part, modify};
use crate::api::custom::{self, definition};
use crate::api::kinds::{self, Kind};
use crate::api::value::{self, list};
use crate::api::{Status, meta};
use crate::clock;
use crate::tap::Tap;
use http::HeaderMap;
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;

/// Where definitions rest.
pub const PLACE: &str = "customresourcedefinitions";
/// After something went wrong.
const AGAIN: Duration = Duration::from_millis(200);

fn kind() -> Result<&'static Kind, Status> {
    kinds::resource("apiextensions.k8s.io", "v1", PLACE)
        .ok_or_else(|| Status::internal("definitions are not served"))
}

/// Looks whenever a definition changes, and, while one is going, whenever anything does.
pub async fn run(state: Arc<State>, tap: Tap) {
    state.cache.wait_for(1).await;
    loop {
        let Ok(mut changes) = state.cache.watch(PLACE, Filter::default(), None) else { return };
        loop {
            let mut progress = state.cache.progress();
            progress.mark_unchanged();
            let more = match look(&state, &tap).await {
                Ok(Left::Nothing) => changes.live.recv().await.is_some(),
                Ok(Left::Objects) => progress.changed().await.is_ok(),
                Err(status) => {
                    tracing::warn!(
                        message = status.message,
                        "a definition cannot be looked after, trying again"
                    );
                    clock::sleep(AGAIN).await;
                    true
                }
            };
            while changes.live.try_recv().is_some() {}
            if !more || changes.live.is_closed() {
                break; // the cache was filled anew, or these were too many
            }
        }
        clock::sleep(AGAIN).await;
    }
}

/// What a look leaves to wait for.
#[derive(PartialEq)]
enum Left {
    Nothing,
    /// Objects of a definition that is going: of those that others hold back one hears when they go.
    Objects,
}

async fn look(state: &Arc<State>, tap: &Tap) -> Result<Left, Status> {
    let all = state.cache.list(PLACE, "").objects;
    let mut left = Left::Nothing;
    for (name, object) in &all {
        let done = if !meta::is_terminating(&object.value) {
            let others = all.iter().map(|(_, o)| &o.value);
            match definition::name(&object.value, others) {
                Some(named) => establish(state, tap, name, &named).await,
                None => Ok(true),
            }
        } else if meta::finalizers(&object.value).any(|f| f == definition::FINALIZER) {
            clean(state, tap, &object.value).await
        } else {
            Ok(true)
        };
        match done {
            Ok(true) => {}
            Ok(false) => left = Left::Objects,
            // Somebody else was faster: the change is on its way here.
            Err(status) if matches!(status.reason, "NotFound" | "Conflict") => {}
            Err(status) => return Err(status),
        }
    }
    Ok(left)
}

/// One's own request: nobody asked for it.
fn context(
    state: &State,
    tap: &Tap,
    verb: &str,
    resource: &str,
    namespace: &str,
    name: &str,
    sub: &str,
) -> Context {
    let info = Info {
        verb: verb.into(),
        is_resource: true,
        resource: resource.into(),
        subresource: sub.into(),
        namespace: namespace.into(),
        name: name.into(),
        ..Info::default()
    };
    let user = User::new("system:apiserver", &[MASTERS]);
    Context::new(state.rng.uuid(), user, info, Query::default(), HeaderMap::new(), tap.clone())
}

async fn establish(state: &Arc<State>, tap: &Tap, name: &str, named: &Value) -> Result<bool, Status> {
    let ctx = context(state, tap, "update", PLACE, "", name, "status");
    modify(state, &ctx, kind()?, Part::Status, name, |_| Ok(named.clone())).await?;
    Ok(true)
}

/// Deletes the objects of a definition that is going; once there are none it goes itself. Answers whether that is so.
async fn clean(state: &Arc<State>, tap: &Tap, object: &Value) -> Result<bool, Status> {
    if let Some(kind) = custom::stored_kind(object) {
        let there = state.cache.list(kind.place(), "").objects;
        for (_, one) in &there {
            if meta::is_terminating(&one.value) {
                continue;
            }
            let (namespace, name) = (meta::namespace(&one.value), meta::name(&one.value));
            let ctx = context(state, tap, "delete", kind.plural, namespace, name, "");
            match remove::remove(state, &ctx, &kind, namespace, name, &Options::default()).await {
                Err(status) if status.reason != "NotFound" => return Err(status),
                _ => {}
            }
        }
        if !state.cache.list(kind.place(), "").objects.is_empty() {
            return Ok(false);
        }
    }
    let name = meta::name(object);
    let ctx = context(state, tap, "update", PLACE, "", name, "");
    modify(state, &ctx, kind()?, Part::Internal, name, |old| {
        let mut new = old.clone();
        value::remove(&mut new, "metadata.resourceVersion");
        let mut finalizers = list(&new, "metadata.finalizers").to_vec();
        finalizers.retain(|f| f != definition::FINALIZER);
        value::put(&mut new, "metadata.finalizers", finalizers);
        Ok(new)
    })
    .await?;
    Ok(true)
}
