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
/// After something went wrong, at first and at most.
const AGAIN: Duration = Duration::from_millis(200);
const AGAIN_MAX: Duration = Duration::from_secs(30);

fn kind() -> Result<&'static Kind, Status> {
    kinds::resource("apiextensions.k8s.io", "v1", PLACE)
        .ok_or_else(|| Status::internal("definitions are not served"))
}

/// Looks whenever a definition changes, and, while one is going, whenever anything does.
pub async fn run(state: Arc<State>, tap: Tap) {
    state.cache.wait_for(1).await;
    let mut again = AGAIN;
    loop {
        let Ok(mut changes) = state.cache.watch(PLACE, Filter::default(), None) else { return };
        loop {
            let mut progress = state.cache.progress();
            progress.mark_unchanged();
            let left = look(&state, &tap).await;
            let more = tokio::select! {
                told = changes.live.recv() => told.is_some(),
                moved = progress.changed(), if left.objects => moved.is_ok(),
                () = clock::sleep(again), if left.failures => true,
            };
            // Less and less often: a definition that can never be looked after costs next to nothing.
            again = if left.failures { (again * 2).min(AGAIN_MAX) } else { AGAIN };
            while changes.live.try_recv().is_some() {}
            if !more || changes.live.is_closed() {
                break; // the cache was filled anew, or these were too many
            }
        }
        clock::sleep(AGAIN).await;
    }
}

/// What a look leaves to wait for, beside changes of the definitions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Left {
    /// Objects of a definition that is going: of those that others hold back one hears when they go.
    pub objects: bool,
    /// Definitions or objects that could not be written.
    pub failures: bool,
}

/// Looks after every definition: one that fails holds up no other.
pub(super) async fn look(state: &Arc<State>, tap: &Tap) -> Left {
    let all = state.cache.list(PLACE, "").objects;
    let mut left = Left::default();
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
            Ok(false) => left.objects = true,
            // Another server was faster with the definition itself: the change is on its way here.
            Err(Failure::Definition(status)) if matches!(status.reason, "NotFound" | "Conflict") => {}
            Err(Failure::Definition(status) | Failure::Object(status)) => {
                tracing::warn!(
                    definition = name,
                    message = status.message,
                    "a definition cannot be looked after, trying again"
                );
                left.failures = true;
            }
        }
    }
    left
}

/// What could not be written: the definition, or one of its objects.
enum Failure {
    Definition(Status),
    Object(Status),
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
    Context::new(state.rng.uuid(), user, info, Query::default(), HeaderMap::new(), tap.clone()).of_server()
}

async fn establish(state: &Arc<State>, tap: &Tap, name: &str, named: &Value) -> Result<bool, Failure> {
    let ctx = context(state, tap, "update", PLACE, "", name, "status");
    let kind = kind().map_err(Failure::Definition)?;
    let written = modify(state, &ctx, kind, Part::Status, name, |_| Ok(named.clone())).await;
    written.map(|_| true).map_err(Failure::Definition)
}

/// Deletes the objects of a definition that is going; once there are none it goes itself. Answers whether that is so.
async fn clean(state: &Arc<State>, tap: &Tap, object: &Value) -> Result<bool, Failure> {
    if let Some(kind) = custom::stored_kind(object) {
        let there = || state.cache.list(kind.place(), "").objects;
        let unread = || state.cache.undecodable_keys(kind.place(), "");
        let living = there().into_iter().filter(|(_, one)| !meta::is_terminating(&one.value));
        let mut failed = None;
        for key in living.map(|(key, _)| key).chain(unread()) {
            let (namespace, name) = key.split_once('/').unwrap_or(("", &key));
            let ctx = context(state, tap, "delete", kind.plural, namespace, name, "");
            match remove::remove(state, &ctx, &kind, namespace, name, &Options::default()).await {
                Err(status) if status.reason != "NotFound" => failed = Some(status),
                _ => {}
            }
        }
        if let Some(status) = failed {
            return Err(Failure::Object(status));
        }
        if !there().is_empty() || !unread().is_empty() {
            return Ok(false);
        }
    }
    let name = meta::name(object);
    let ctx = context(state, tap, "update", PLACE, "", name, "");
    let kind = kind().map_err(Failure::Definition)?;
    let written = modify(state, &ctx, kind, Part::Internal, name, |old| {
        let mut new = old.clone();
        value::remove(&mut new, "metadata.resourceVersion");
        let mut finalizers = list(&new, "metadata.finalizers").to_vec();
        finalizers.retain(|f| f != definition::FINALIZER);
        value::put(&mut new, "metadata.finalizers", finalizers);
        Ok(new)
    })
    .await;
    written.map(|_| true).map_err(Failure::Definition)
}
