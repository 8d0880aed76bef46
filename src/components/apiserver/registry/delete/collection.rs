//! Deletes all objects of a collection that match.

use super::kinds::warn_of_orphans;
use super::one::{Removed, remove};
use super::options::Options;
use crate::registry::filter::Filter;
use crate::registry::strategy::stored_kind;
use crate::registry::{listing, read};
use crate::request::context::Context;
use crate::request::http::Answer;
use crate::request::list_writer::{self, ListWriter};
use crate::request::negotiate::{Form, form_of_list};
use crate::state::State;
use crate::storage::keys::{self, namespace_and_name};
use crate::storage::object::Object;
use crate::storage::store::Deadline;
use api::kinds::Kind;
use api::{Status, meta};
use bytes::Bytes;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// Time for all deletions of one request: upstream's `--request-timeout`. Its bound of 34 s for
/// other writes does not hold for a collection.
const REQUEST_TIME: Duration = Duration::from_secs(60);

/// Deletes the objects of a collection one after the other. Each deletion that has begun goes on to
/// its end; the next one does not begin once the client has `left` or the time of the request is
/// over (upstream asks `ctx.Done()` before each page, and each deletion ends with the request).
///
/// The answer is the list as it was before the first deletion: its items have no mark of this
/// deletion, and a client waits for those whose finalizers hold them by reading them again
/// (upstream: `Store.DeleteCollection`).
///
/// # Errors
/// Those of [`read::start_of_page`], before anything is deleted; that of the first object that
/// cannot be deleted; 504 if the client has left, or after [`REQUEST_TIME`].
pub(crate) async fn delete_collection(
    state: &State,
    ctx: &Context,
    kind: &Kind,
    body: &Bytes,
    left: &CancellationToken,
) -> Result<Answer, Status> {
    let deadline = Deadline::within(REQUEST_TIME);
    let form = form_of_list(ctx.accept(), &ctx.query)?;
    let options = Options::of(ctx, body)?;
    let stored = stored_kind(kind);
    warn_of_orphans(ctx, stored, &options);
    let filter = Filter::of(kind, ctx.info.object_namespace(), &ctx.query)?;
    let limit = ctx.query.number("limit")?.unwrap_or(0).max(0);
    let start = read::start_of_page(state, ctx).await?;
    let looking = state.compute.body(&ctx.user, listing::looked_at(state, stored, &filter)).await?;
    let page = read::page_of_now(state, stored, &filter, start.as_deref().unwrap_or_default(), limit).await;
    let (targets, answer) = targets(&page.objects, form);
    let meta = page.meta;
    drop(page.objects);
    drop(looking);
    let is_part = start.is_some() || !meta.next.is_empty();
    let unread = match is_part || filter.is_selective() || !filter.name.is_empty() {
        true => vec![], // whether the filter or the page means them cannot be known
        false => state.cache.undecodable_keys(stored.place(), &keys::prefix(&filter.namespace)),
    };
    // The answer lists them all, so it needs a list's memory; a dry run does not even make them
    // fewer.
    let keys: usize = targets.iter().map(|t| size_of::<Target>() + t.key.len() + t.uid.len()).sum();
    let mut memory = state.compute.body(&ctx.user, answer + keys).await?;
    let mut list = ListWriter::new(kind, form, if form == Form::Object { answer } else { 0 });
    for target in &targets {
        if let Some(object) = listed(state, stored, target) {
            list.put(&object).await;
            if list.is_full_of_defaults() {
                list.leave_out_defaults(); // a collection can be deleted however large they are
            }
            memory.cover(list.written() + keys)?;
        }
    }
    for target in &targets {
        goes_on(left, &deadline)?;
        remove_target(state, ctx, stored, target, &options).await?;
    }
    for key in unread {
        goes_on(left, &deadline)?;
        let (namespace, name) = namespace_and_name(&key);
        match remove(state, ctx, stored, namespace, name, &options).await {
            Err(status) if status.reason != "NotFound" => return Err(status),
            _ => {} // there is nothing to show
        }
    }
    Ok(listing::hold_memory(ctx, list.finish(&meta), memory))
}

/// # Errors
/// 504 if the client has left, or the time of the request is over.
fn goes_on(left: &CancellationToken, deadline: &Deadline) -> Result<(), Status> {
    match left.is_cancelled() {
        true => Err(Status::timeout("the client has left before the end of the collection")),
        false => deadline.check(),
    }
}

/// An object of a collection that is to be deleted.
struct Target {
    key: String,
    uid: String,
}

/// Lists what a collection has, and returns about how many bytes the answer takes. Keys and uids
/// are kept alone: an object in memory is parsed and takes many times its bytes, and those that are
/// deleted first would stay there until the last one is.
fn targets(objects: &[(String, Arc<Object>)], form: Form) -> (Vec<Target>, usize) {
    let mut answer = 0;
    let keep = |(key, object): &(String, Arc<Object>)| {
        answer += list_writer::estimate(form, std::slice::from_ref(object));
        Target { key: key.clone(), uid: meta::uid(&object.value).to_string() }
    };
    let all: Vec<Target> = objects.iter().map(keep).collect();
    (all, answer)
}

/// Returns the object of a target from this server's memory; `None` if it has gone while the list
/// waited for its memory, or if another object has its name.
fn listed(state: &State, kind: &Kind, target: &Target) -> Option<Arc<Object>> {
    let (namespace, name) = namespace_and_name(&target.key);
    let object = state.remembered(kind, namespace, name)?;
    (meta::uid(&object.value) == target.uid).then_some(object)
}

/// Deletes one object of a collection; `None` if it has gone by itself. Another one that has taken
/// its name meanwhile stays.
async fn remove_target(
    state: &State,
    ctx: &Context,
    kind: &Kind,
    target: &Target,
    options: &Options,
) -> Result<Option<Removed>, Status> {
    let (namespace, name) = namespace_and_name(&target.key);
    let mut options = options.clone();
    let is_free = options.uid.is_none() && options.version.is_none();
    if is_free {
        options.uid = Some(target.uid.clone());
    }
    match remove(state, ctx, kind, namespace, name, &options).await {
        Err(status) if status.reason == "NotFound" => Ok(None),
        Err(status) if status.reason == "Conflict" && is_free => Ok(None),
        done => done.map(Some),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Server;
    use crate::auth::user::User;
    use crate::testing;
    use api::kinds;
    use api::value::{self, text};
    use serde_json::{Value, json};

    const MAPS: &str = "/api/v1/namespaces/default/configmaps";

    async fn ask(server: &Server, method: &str, path: &str, body: Value) -> (u16, Value) {
        let user = User::new("admin", &["system:masters"]);
        testing::send(server, user, (method, path), ("application/json", body.to_string()), "").await
    }

    #[tokio::test]
    async fn a_collection_answers_what_it_deleted_as_it_was_listed() {
        let dir = tempfile::tempdir().unwrap();
        let fixture = testing::start(dir.path()).await;
        for (name, finalizers) in [("a", json!([])), ("b", json!(["test/hold"])), ("c", json!([]))] {
            let map = json!({"metadata": {"name": name, "finalizers": finalizers}});
            assert_eq!(ask(&fixture.server, "POST", MAPS, map).await.0, 201);
        }
        let (_, before) = ask(&fixture.server, "GET", MAPS, Value::Null).await;
        let (code, list) = ask(&fixture.server, "DELETE", MAPS, json!({})).await;
        assert_eq!((code, text(&list, "kind")), (200, "ConfigMapList"), "{list}");
        let names: Vec<&str> = value::list(&list, "items").iter().map(meta::name).collect();
        assert_eq!(names, ["a", "b", "c"]);
        assert_eq!(list["items"], before["items"], "no item has the mark of a deletion");
        let (_, left) = ask(&fixture.server, "GET", MAPS, Value::Null).await;
        assert!(meta::is_terminating(&left["items"][0]), "its finalizer holds it: {left}");
        assert_eq!(value::list(&left, "items").iter().map(meta::name).collect::<Vec<_>>(), ["b"]);
    }

    #[test]
    fn a_collection_ends_with_its_client_and_with_its_time() {
        let left = CancellationToken::new();
        let code = |left: &CancellationToken, time| {
            goes_on(left, &Deadline::within(time)).map_err(|status| status.code)
        };
        assert_eq!(code(&left, REQUEST_TIME), Ok(()));
        assert_eq!(code(&left, Duration::ZERO), Err(504));
        left.cancel();
        assert_eq!(code(&left, REQUEST_TIME), Err(504));
    }

    #[tokio::test]
    async fn a_collection_takes_no_object_that_was_made_after_it_was_listed() {
        let dir = tempfile::tempdir().unwrap();
        let fixture = testing::start(dir.path()).await;
        let (server, map) = (&fixture.server, json!({"metadata": {"name": "a"}}));
        assert_eq!(ask(server, "POST", MAPS, map.clone()).await.0, 201);
        let kind = kinds::stored("configmaps").unwrap();
        let filter = Filter { namespace: "default".into(), ..Filter::default() };
        server.state.fresh().await.unwrap();
        let page = read::page_of_now(&server.state, kind, &filter, "", 0).await;
        let (listed, _) = targets(&page.objects, Form::Object);
        assert_eq!(ask(server, "DELETE", &format!("{MAPS}/a"), json!({})).await.0, 200);
        let (info, query, headers) = Default::default();
        let user = User::new("admin", &["system:masters"]);
        let ctx = Context::new("r".into(), user, info, query, headers, fixture.tap.clone());
        let remove = async |target: &Target, options: Options| {
            remove_target(&server.state, &ctx, kind, target, &options).await
        };
        assert!(remove(&listed[0], Options::default()).await.unwrap().is_none(), "it is gone");
        let (_, made) = ask(server, "POST", MAPS, map).await;
        server.state.fresh().await.unwrap();
        assert!(remove(&listed[0], Options::default()).await.unwrap().is_none(), "another one");
        let (code, left) = ask(server, "GET", &format!("{MAPS}/a"), Value::Null).await;
        assert_eq!((code, meta::uid(&left)), (200, meta::uid(&made)));
        let other = Options { uid: Some("x".into()), ..Options::default() };
        let refused = remove(&listed[0], other).await.err().expect("the client's own precondition");
        assert_eq!(refused.reason, "Conflict");
    }
}
