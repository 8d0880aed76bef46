//! What a CustomResourceDefinition needs beside being stored: names, and an end that takes its
//! objects along. Upstream these are controllers inside the API server, too. Every server runs
//! them; their writes say what is so and do not depend on which server is first.
//!
//! That the kinds of an established definition are served is not decided here: the watch cache
//! takes them over in the same step as the definition itself, so that a client that reads
//! `Established` finds the kind.

use crate::auth::user::{MASTERS, User};
use crate::registry::delete::{self, Options};
use crate::registry::strategy::Part;
use crate::registry::write::modify;
use crate::request::context::Context;
use crate::request::http::Query;
use crate::request::info::Info;
use crate::state::State;
use crate::storage::cache::DEFINITIONS;
use crate::storage::keys::namespace_and_name;
use api::custom::{self, definition};
use api::kinds::{self, Kind};
use api::value::{self, list, text};
use api::{Status, meta};
use etcd::api::Revision;
use http::HeaderMap;
use serde_json::Value;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;
use tap::Tap;
use tokio::sync::watch;

/// The pause before a definition that failed is tried again, at first. It doubles each time.
const RETRY_PAUSE: Duration = Duration::from_millis(200);
/// The longest pause before such a retry.
const RETRY_PAUSE_MAX: Duration = Duration::from_secs(30);
/// Objects of one definition that are deleted in a pass. There may be tens of thousands, and the
/// other definitions wait for the end of a pass: a new one is not served before.
const AT_ONCE: usize = 100;
/// Messages of refused deletions that the condition of a definition has, at most.
const MESSAGES_MAX: usize = 10;
/// The condition that says how the deletion of the objects goes, and its reason after a failure.
const TERMINATING: &str = "Terminating";
const FAILED: &str = "InstanceDeletionFailed";

fn kind() -> Result<&'static Kind, Status> {
    kinds::resource("apiextensions.k8s.io", "v1", DEFINITIONS)
        .ok_or_else(|| Status::internal("definitions are not served"))
}

/// Reconciles the definitions when one of them changes, when objects change that one which is
/// being deleted waits for, and when a retry is due.
pub(crate) async fn run(state: Arc<State>, tap: Tap) {
    state.cache.wait_for(1).await;
    let mut reconciler = Reconciler::default();
    while let Some(mut changes) = state.cache.changes(DEFINITIONS) {
        loop {
            changes.mark_unchanged(); // before the pass: what happens meanwhile causes another one
            reconciler.reconcile(&state, &tap).await;
            let filled_anew = tokio::select! {
                changed = changes.changed() => changed.is_err(),
                () = reconciler.due() => false,
            };
            if filled_anew {
                break;
            }
        }
    }
}

/// A definition that could not be finished in the last pass.
#[derive(Debug)]
struct Pending {
    /// The definition's revision in that pass. Another one is a reason for the next.
    revision: Revision,
    /// Changes of its objects since that pass, while it is being deleted.
    objects: Option<watch::Receiver<Revision>>,
    /// After a failure: when to retry, and the pause before it. Until then changes of its objects
    /// are no reason for a pass: each one would be one more attempt.
    retry: Option<(clock::Instant, Duration)>,
}

impl Pending {
    fn is_due(&self, revision: Revision) -> bool {
        self.revision != revision
            || match (&self.retry, &self.objects) {
                (Some((at, _)), _) => *at <= clock::Instant::now(),
                (None, Some(objects)) => objects.has_changed().unwrap_or(true),
                (None, None) => true,
            }
    }

    /// Returns when a pass is due for another reason than a change of a definition.
    async fn due(&mut self) {
        match (&self.retry, &mut self.objects) {
            (Some((at, _)), _) => clock::pause_until(*at).await,
            // An error: the cache was filled anew.
            (None, Some(objects)) => {
                if objects.changed().await.is_ok() {
                    objects.mark_changed(); // for the pass, which asks again
                }
            }
            (None, None) => std::future::pending().await,
        }
    }
}

/// Reconciles every definition: gives it its names, or deletes its objects. One that fails holds up
/// no other.
#[derive(Debug, Default)]
pub(crate) struct Reconciler {
    pending: HashMap<String, Pending>,
}

impl Reconciler {
    /// Reconciles the definitions that are new, have changed, or are due.
    pub(crate) async fn reconcile(&mut self, state: &Arc<State>, tap: &Tap) {
        let all = state.cache.list(DEFINITIONS, "").objects;
        let there: HashSet<&str> = all.iter().map(|(name, _)| name.as_str()).collect();
        self.pending.retain(|name, _| there.contains(name.as_str()));
        for (name, object) in &all {
            let before = self.pending.get(name);
            if before.is_some_and(|pending| !pending.is_due(object.revision)) {
                continue;
            }
            let pause = before.and_then(|pending| Some(pending.retry?.1));
            let mut objects = None;
            let done = if !meta::is_terminating(&object.value) {
                let others = all.iter().map(|(_, o)| &o.value);
                match definition::accept_names(&object.value, others, kinds::all()) {
                    Some(named) => write_status(state, tap, name, &named).await,
                    None => Ok(true),
                }
            } else if meta::finalizers(&object.value).any(|f| f == definition::FINALIZER) {
                let kind = custom::stored_kind(&object.value);
                objects = kind.and_then(|kind| state.cache.changes(kind.place()));
                clean(state, tap, &object.value).await
            } else {
                Ok(true)
            };
            let retry = match done {
                // Another server was faster with the definition itself: the change is on its way
                // here.
                Err(Failure::Definition(status)) if matches!(status.reason, "NotFound" | "Conflict") => None,
                Err(Failure::Definition(status) | Failure::Object(status)) => {
                    tracing::warn!(
                        definition = name,
                        message = status.message,
                        "a definition cannot be reconciled, trying again"
                    );
                    // Less and less often: a definition that can never be reconciled costs next
                    // to nothing.
                    let pause = pause.map_or(RETRY_PAUSE, |pause| (pause * 2).min(RETRY_PAUSE_MAX));
                    Some((clock::Instant::now() + pause, pause))
                }
                Ok(false) => None,
                Ok(true) => {
                    self.pending.remove(name);
                    continue;
                }
            };
            self.pending.insert(name.clone(), Pending { revision: object.revision, objects, retry });
        }
    }

    /// Returns when a pass is due for another reason than a change of a definition.
    pub(crate) async fn due(&mut self) {
        let pending: Vec<_> = self.pending.values_mut().map(|pending| Box::pin(pending.due())).collect();
        match pending.is_empty() {
            true => std::future::pending().await,
            false => drop(futures::future::select_all(pending).await),
        }
    }

    /// Returns the pause before the retry of a definition that failed.
    #[cfg(test)]
    pub(crate) fn retry_pause(&self, name: &str) -> Option<Duration> {
        Some(self.pending.get(name)?.retry?.1)
    }
}

/// What could not be written: the definition, or one of its objects.
enum Failure {
    Definition(Status),
    Object(Status),
}

/// Makes the context of a write that the server makes by itself, without a client's request.
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

/// Writes the status of a definition.
async fn write_status(state: &Arc<State>, tap: &Tap, name: &str, new: &Value) -> Result<bool, Failure> {
    let ctx = context(state, tap, "update", DEFINITIONS, "", name, "status");
    let kind = kind().map_err(Failure::Definition)?;
    let written = modify(state, &ctx, kind, Part::Status, name, |_| Ok(new.clone())).await;
    written.map(|_| true).map_err(Failure::Definition)
}

/// Says in the definition, once, how the deletion of its objects goes: `kubectl describe crd` then
/// shows why a definition whose objects have finalizers is still there.
async fn set_terminating(
    state: &Arc<State>,
    tap: &Tap,
    object: &Value,
    reason: &str,
    why: &str,
) -> Result<(), Failure> {
    if !definition::set_condition(&mut object.clone(), TERMINATING, true, reason, why) {
        return Ok(());
    }
    let name = meta::name(object);
    let ctx = context(state, tap, "update", DEFINITIONS, "", name, "status");
    let kind = kind().map_err(Failure::Definition)?;
    // The condition goes into the definition as it is now: the same pass may have written it
    // already.
    let written = modify(state, &ctx, kind, Part::Status, name, |now| {
        if meta::uid(now) != meta::uid(object) {
            return Err(Status::not_found(kind.group, kind.plural, name));
        }
        let mut new = now.clone();
        value::remove(&mut new, "metadata.resourceVersion");
        definition::set_condition(&mut new, TERMINATING, true, reason, why);
        Ok(new)
    })
    .await;
    written.map(|_| ()).map_err(Failure::Definition)
}

/// As [`set_terminating`]: the objects are being deleted.
async fn report_progress(state: &Arc<State>, tap: &Tap, object: &Value) -> Result<(), Failure> {
    let why = "CustomResource deletion is in progress";
    set_terminating(state, tap, object, "InstanceDeletionInProgress", why).await
}

/// True if the condition says that some objects could not be deleted. It says so until an attempt
/// without a failure, so that attempts that fail write nothing: each write would be a reason to
/// begin the next pass at once.
fn reports_failure(object: &Value) -> bool {
    let has_failed = |c: &Value| text(c, "type") == TERMINATING && text(c, "reason") == FAILED;
    list(object, "status.conditions").iter().any(has_failed)
}

/// As [`set_terminating`]: some could not be deleted. If the condition cannot be written now, the
/// next attempt writes it.
async fn report_failure(state: &Arc<State>, tap: &Tap, object: &Value, failed: &[Status]) {
    let mut messages: Vec<&str> = vec![];
    for status in failed {
        if !messages.contains(&status.message.as_str()) && messages.len() < MESSAGES_MAX {
            messages.push(&status.message);
        }
    }
    let messages = match messages.as_slice() {
        [one] => one.to_string(),
        many => format!("[{}]", many.join(", ")),
    };
    let _ = set_terminating(state, tap, object, FAILED, &format!("could not issue all deletes: {messages}"))
        .await;
}

/// True while this definition is going. An undo may bring it back while its objects are deleted.
fn is_going(state: &State, object: &Value) -> bool {
    let now = state.cache.get(DEFINITIONS, meta::name(object));
    now.is_some_and(|now| meta::uid(&now.value) == meta::uid(object) && meta::is_terminating(&now.value))
}

/// Returns the keys of the objects that are not being deleted yet, and of the values that cannot be
/// decoded, each with the version to delete: what an undo brings back meanwhile has another one.
fn living(state: &State, place: &str) -> impl Iterator<Item = (String, String)> {
    let objects = state.cache.list(place, "").objects.into_iter();
    let living = objects.filter(|(_, one)| !meta::is_terminating(&one.value));
    let unread = state.cache.undecodable_keys(place, "").into_iter();
    let unread = unread.filter_map(move |key| {
        let found = state.cache.undecodable(place, &key)?;
        Some((key, found.revision.to_string()))
    });
    living.map(|(key, one)| (key, one.revision.to_string())).chain(unread)
}

/// Deletes the objects of a definition that is being deleted, [`AT_ONCE`] of them; once there are
/// none the definition goes itself. Returns whether it has gone. Failures are reported when nothing
/// else is left to delete. The objects of a definition that an undo has brought back stay.
async fn clean(state: &Arc<State>, tap: &Tap, object: &Value) -> Result<bool, Failure> {
    if !is_going(state, object) {
        return Ok(false); // the change of the definition brings the next pass
    }
    if let Some(kind) = custom::stored_kind(object) {
        let there = || state.cache.list(kind.place(), "").objects;
        let unread = || state.cache.undecodable_keys(kind.place(), "");
        let has_failed = reports_failure(object);
        if !has_failed && (!there().is_empty() || !unread().is_empty()) {
            report_progress(state, tap, object).await?;
        }
        let (mut deleted, mut failed) = (0, vec![]);
        for (key, version) in living(state, kind.place()) {
            if !is_going(state, object) {
                return Ok(false);
            }
            let (namespace, name) = namespace_and_name(&key);
            let ctx = context(state, tap, "delete", kind.plural, namespace, name, "");
            let options = Options { version: Some(version), ..Options::default() };
            match delete::remove(state, &ctx, &kind, namespace, name, &options).await {
                // It has changed, which brings the next pass; or an undo has kept it.
                Err(status) if status.reason == "Conflict" => {}
                Err(status) if status.reason != "NotFound" => failed.push(status),
                _ => deleted += 1,
            }
            if deleted == AT_ONCE {
                return Ok(false); // these changes bring the next pass
            }
        }
        if !failed.is_empty() && !has_failed {
            report_failure(state, tap, object, &failed).await;
        }
        if let Some(status) = failed.pop() {
            return Err(Failure::Object(status));
        }
        if !there().is_empty() || !unread().is_empty() {
            if has_failed {
                report_progress(state, tap, object).await?;
            }
            return Ok(false);
        }
    }
    let (reason, why) = match definition::has_condition(object, "Established") {
        true => ("InstanceDeletionCompleted", "removed all instances"),
        false => ("NeverEstablished", "resource was never established"),
    };
    let name = meta::name(object);
    let ctx = context(state, tap, "update", DEFINITIONS, "", name, "");
    let kind = kind().map_err(Failure::Definition)?;
    let written = modify(state, &ctx, kind, Part::Internal, name, |old| {
        if meta::uid(old) != meta::uid(object) || !meta::is_terminating(old) {
            return Err(Status::not_found(kind.group, kind.plural, name));
        }
        let mut new = old.clone();
        value::remove(&mut new, "metadata.resourceVersion");
        let mut finalizers = list(&new, "metadata.finalizers").to_vec();
        finalizers.retain(|f| f != definition::FINALIZER);
        value::put(&mut new, "metadata.finalizers", finalizers);
        definition::set_condition(&mut new, TERMINATING, false, reason, why);
        Ok(new)
    })
    .await;
    written.map(|_| true).map_err(Failure::Definition)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Api;
    use etcd::api::{PutRequest, RequestOp, TxnRequest};
    use futures::FutureExt;
    use serde_json::json;

    /// One pass writes the progress and then the failure, with the definition as it was before
    /// both.
    #[tokio::test]
    async fn a_failure_is_told_by_a_definition_that_was_written_meanwhile() {
        let api = Api::bare().await;
        let all = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
        let schema = json!({"openAPIV3Schema": {"type": "object"}});
        let version = json!({"name": "v1", "served": true, "storage": true, "schema": schema});
        let names = json!({"plural": "aaas", "kind": "AAAS"});
        let spec =
            json!({"group": "example.com", "scope": "Namespaced", "names": names, "versions": [version]});
        api.made(all, json!({"metadata": {"name": "aaas.example.com"}, "spec": spec})).await;
        let path = format!("{all}/aaas.example.com");
        let older = api.get(&path).await.1;
        let note = json!({"metadata": {"annotations": {"a": "b"}}});
        assert_eq!(api.patch(&path, note).await.0, 200);
        let (state, tap) = (api.state(), &api.fixture.tap);
        assert!(set_terminating(state, tap, &older, FAILED, "why").await.is_ok());
        assert!(reports_failure(&api.get(&path).await.1));
        let mut other = older.clone();
        other["metadata"]["uid"] = "other".into();
        assert!(set_terminating(state, tap, &other, "Progress", "why").await.is_err(), "it is another one");
    }

    /// A user undoes the deletion of a definition while its objects are being deleted.
    #[tokio::test]
    async fn the_objects_of_a_definition_that_is_back_stay() {
        let api = Api::bare().await;
        let all = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
        let schema = json!({"openAPIV3Schema": {"type": "object"}});
        let version = json!({"name": "v1", "served": true, "storage": true, "schema": schema});
        let names = json!({"plural": "aaas", "kind": "AAAS"});
        let spec = json!({"group": "example.com", "scope": "Cluster", "names": names, "versions": [version]});
        let (state, tap) = (api.state(), &api.fixture.tap);
        let mut progress = state.cache.progress();
        api.made(all, json!({"metadata": {"name": "aaas.example.com"}, "spec": spec})).await;
        while state.cache.kinds().resource("example.com", "v1", "aaas").is_none() {
            progress.changed().await.unwrap();
        }
        let object = json!({"apiVersion": "example.com/v1", "kind": "AAAS", "metadata": {"name": "a"}});
        api.made("/apis/example.com/v1/aaas", object).await;
        let mut going = api.get(&format!("{all}/aaas.example.com")).await.1;
        going["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z".into();
        assert!(matches!(clean(state, tap, &going).await, Ok(false)));
        assert_eq!(api.get("/apis/example.com/v1/aaas/a").await.0, 200);
    }

    /// As of any other object: an undo may put one that is good in its place.
    #[tokio::test]
    async fn a_value_that_cannot_be_decoded_is_deleted_in_its_version_only() {
        let api = Api::bare().await;
        let state = api.state();
        let put = async |value: &str| {
            let (key, value) = ("/registry/configmaps/default/odd".into(), value.to_string().into());
            let put = RequestOp::Put(PutRequest { key, value, ..PutRequest::default() });
            let txn = TxnRequest { success: vec![put], ..TxnRequest::default() };
            let made = state.kv.txn(txn).await.unwrap();
            state.fresh().await.unwrap();
            made.revision.to_string()
        };
        let version = put("no object").await;
        let odd = || living(state, "configmaps").find(|(key, _)| key == "default/odd");
        assert_eq!(odd(), Some(("default/odd".into(), version.clone())));
        let metadata = json!({"name": "odd", "namespace": "default", "uid": "u"});
        let good = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata});
        assert_ne!(put(&good.to_string()).await, version);
        let kind = kinds::resource("", "v1", "configmaps").unwrap();
        let ctx = context(state, &api.fixture.tap, "delete", "configmaps", "default", "odd", "");
        let options = Options { version: Some(version), ..Options::default() };
        let done = delete::remove(state, &ctx, kind, "default", "odd", &options).await;
        assert_eq!(done.err().map(|status| status.reason), Some("Conflict"));
    }

    #[test]
    fn a_retry_waits_its_time_whatever_happens_to_the_objects() {
        let (moved, objects) = watch::channel(5);
        let mut pending = Pending { revision: 7, objects: Some(objects), retry: None };
        assert!(!pending.is_due(7));
        assert!(pending.is_due(8), "the definition has changed");
        moved.send_replace(6);
        assert!(pending.is_due(7), "an object has changed");
        assert!(pending.due().now_or_never().is_some() && pending.is_due(7), "waiting does not use it up");
        let now = clock::Instant::now();
        pending.retry = Some((now + RETRY_PAUSE_MAX * 100, RETRY_PAUSE_MAX));
        assert!(!pending.is_due(7));
        pending.retry = Some((now, RETRY_PAUSE));
        assert!(pending.is_due(7));
        drop(moved);
        pending.retry = None;
        assert!(pending.is_due(7), "the cache was filled anew");
    }
}
