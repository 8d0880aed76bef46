//! Delete: at once, after a grace period, or when the last finalizer is gone.

use super::State;
use super::admission;
use super::cache::Undecodable;
use super::context::Context;
use super::decode;
use super::filter::Filter;
use super::http::{Answer, header, json};
use super::negotiate::{self, Form, ListMeta, ListWriter, form};
use super::object::Object;
use super::read;
use super::services;
use super::store::{Deadline, Extra, Refused, object_key};
use super::write::stored_kind;
use api::kinds::Kind;
use api::value::{self, at, int, text};
use api::{Status, meta, status};
use bytes::Bytes;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use tap::Write;
use tokio_util::sync::CancellationToken;

const ORPHAN: &str = "orphan";
const FOREGROUND: &str = "foregroundDeletion";

/// Bytes that the mark of a deletion adds to an object, at most.
const MARK: usize = 256;

/// `DeleteOptions`, from body and query.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Options {
    pub grace: Option<i64>,
    /// `Orphan`, `Foreground`, `Background` or empty.
    pub propagation: String,
    pub uid: String,
    pub version: String,
    pub dry_run: bool,
}

impl Options {
    pub fn of(ctx: &Context, body: &Bytes) -> Result<Options, Status> {
        let mut options = Options {
            grace: ctx.query.number("gracePeriodSeconds")?,
            propagation: ctx.query.get("propagationPolicy").to_string(),
            dry_run: decode::dry_run(ctx)?,
            ..Options::default()
        };
        if !ctx.query.get("orphanDependents").is_empty() {
            if !options.propagation.is_empty() {
                return Err(two_policies(&options.propagation.into()));
            }
            options.propagation = policy_of_orphans(ctx.query.is_true("orphanDependents")).into();
        }
        if !body.iter().all(u8::is_ascii_whitespace) {
            let body = decode::body(header(&ctx.headers, "content-type"), body)?;
            options.read(&body)?;
        }
        options.check()?;
        Ok(options)
    }

    /// # Errors
    /// 422 for a propagation policy that there is none.
    fn check(&self) -> Result<(), Status> {
        if matches!(self.propagation.as_str(), "" | "Orphan" | "Foreground" | "Background") {
            return Ok(());
        }
        let mut errors = api::errors::Errors::default();
        let supported = ["Foreground", "Background", "Orphan", "nil"];
        errors.not_supported("propagationPolicy", &self.propagation.clone().into(), &supported);
        Err(Status::invalid("meta.k8s.io", "DeleteOptions", "", &errors))
    }

    /// Takes what a `DeleteOptions` object says, as upstream's `ValidateDeleteOptions` lets it.
    ///
    /// # Errors
    /// 400 for a value of another type; 422 for one that is not supported.
    pub fn read(&mut self, body: &Value) -> Result<(), Status> {
        check_types(body)?;
        if !at(body, "orphanDependents").is_null() && !at(body, "propagationPolicy").is_null() {
            return Err(two_policies(at(body, "propagationPolicy")));
        }
        if let Some(grace) = int(body, "gracePeriodSeconds") {
            self.grace = Some(grace);
        }
        if !text(body, "propagationPolicy").is_empty() {
            self.propagation = text(body, "propagationPolicy").to_string();
        } else if let Some(orphans) = at(body, "orphanDependents").as_bool() {
            self.propagation = policy_of_orphans(orphans).into();
        }
        self.uid = text(body, "preconditions.uid").to_string();
        self.version = text(body, "preconditions.resourceVersion").to_string();
        for item in value::list(body, "dryRun") {
            if item != "All" {
                let mut errors = api::errors::Errors::default();
                errors.not_supported("dryRun", at(body, "dryRun"), &["All"]);
                return Err(Status::invalid("meta.k8s.io", "DeleteOptions", "", &errors));
            }
            self.dry_run = true;
        }
        self.check()
    }
}

/// Returns the policy that `orphanDependents` asks for. False is a wish, too: it counts more than
/// the default of the kind.
fn policy_of_orphans(orphans: bool) -> &'static str {
    if orphans { "Orphan" } else { "Background" }
}

/// The answer to a delete that names its policy twice.
fn two_policies(policy: &Value) -> Status {
    let mut errors = api::errors::Errors::default();
    let both = "orphanDependents and deletionPropagation cannot be both set";
    errors.invalid("propagationPolicy", policy, both);
    Status::invalid("meta.k8s.io", "DeleteOptions", "", &errors)
}

/// # Errors
/// 400 for a field of `DeleteOptions` whose value has another type than the field.
fn check_types(body: &Value) -> Result<(), Status> {
    type Fits = fn(&Value) -> bool;
    let is_text: Fits = Value::is_string;
    let fields: [(&str, &str, Fits); 7] = [
        ("gracePeriodSeconds", "int64", Value::is_i64),
        ("orphanDependents", "bool", Value::is_boolean),
        ("propagationPolicy", "string", is_text),
        ("preconditions", "object", Value::is_object),
        ("preconditions.uid", "string", is_text),
        ("preconditions.resourceVersion", "string", is_text),
        ("dryRun", "[]string", |value| value.as_array().is_some_and(|all| all.iter().all(Value::is_string))),
    ];
    if !body.is_null() && !body.is_object() {
        return Err(Status::bad_request("DeleteOptions is no object"));
    }
    match fields.iter().find(|(field, _, fits)| !at(body, field).is_null() && !fits(at(body, field))) {
        Some((field, wanted, _)) => {
            Err(Status::bad_request(format!("DeleteOptions.{field}: it has to be of type {wanted}")))
        }
        None => Ok(()),
    }
}

/// Is an object that is being deleted ready to go?
pub fn is_finished(kind: &Kind, object: &Value) -> bool {
    meta::is_terminating(object)
        && value::empty(object, "metadata.finalizers")
        && int(object, "metadata.deletionGracePeriodSeconds").unwrap_or(0) == 0
        && (!is_namespace(kind) || value::empty(object, "spec.finalizers"))
}

fn is_namespace(kind: &Kind) -> bool {
    kind.group.is_empty() && kind.kind == "Namespace"
}

/// What a delete does to an object.
#[derive(Debug, PartialEq)]
enum Step {
    /// It goes now.
    Erase,
    /// It is marked; a kubelet or finalizers finish it.
    Mark(Box<Value>),
    /// Nothing changes: it is on its way already.
    Pending,
}

/// Seconds that an object has to end by itself.
fn grace(kind: &Kind, object: &Value, asked: Option<i64>) -> i64 {
    if kind.kind != "Pod" || !kind.group.is_empty() {
        return 0;
    }
    let unscheduled = value::empty(object, "spec.nodeName");
    if unscheduled || matches!(text(object, "status.phase"), "Succeeded" | "Failed") {
        return 0;
    }
    let seconds = asked.or(int(object, "spec.terminationGracePeriodSeconds")).unwrap_or(30);
    if seconds < 0 { 1 } else { seconds }
}

/// Returns the deletion time and the grace period of a terminating object after a repeated delete;
/// `None` if the delete does not shorten the period `left`. The phase does not count here: the
/// kubelet still tears the pod down and removes it with a period of 0.
///
/// The new period counts from the first delete: 30 s asked at 12:00:00, then 25 s at 12:00:20, end
/// at 12:00:25. If that time has passed, the period is 1 s from now (upstream's `BeforeDelete`).
fn shortened(
    object: &Value,
    left: i64,
    asked: Option<i64>,
    now: clock::Timestamp,
) -> Option<(clock::Timestamp, i64)> {
    let seconds = asked.map(|seconds| if seconds < 0 { 1 } else { seconds })?;
    if seconds >= left {
        return None;
    }
    let ends = text(object, "metadata.deletionTimestamp").parse().unwrap_or(now);
    let until = clock::before(ends, Duration::from_secs((left - seconds) as u64));
    Some(if until < now { (now, seconds.min(1)) } else { (until, seconds) })
}

/// Pure: what `options` ask for, done to `object` at `now`.
fn decide(kind: &Kind, object: &Value, options: &Options, now: clock::Timestamp) -> Step {
    let mut new = object.clone();
    mark_finalizers(kind, &mut new, &options.propagation);
    if meta::is_terminating(object) {
        let left = int(object, "metadata.deletionGracePeriodSeconds").unwrap_or(0);
        if left > 0 {
            let Some((until, seconds)) = shortened(object, left, options.grace, now) else {
                return Step::Pending;
            };
            value::put(&mut new, "metadata.deletionTimestamp", clock::rfc3339(until));
            value::put(&mut new, "metadata.deletionGracePeriodSeconds", seconds);
        }
    } else {
        let seconds = grace(kind, object, options.grace);
        let until = clock::rfc3339(clock::after(now, Duration::from_secs(seconds as u64)));
        value::put(&mut new, "metadata.deletionTimestamp", until);
        value::put(&mut new, "metadata.deletionGracePeriodSeconds", seconds);
        if kind.generation && meta::generation(object) > 0 {
            value::put(&mut new, "metadata.generation", meta::generation(object) + 1);
        }
        (kind.prepare_delete)(&mut new);
    }
    if is_finished(kind, &new) {
        Step::Erase
    } else if new == *object {
        Step::Pending
    } else {
        Step::Mark(Box::new(new))
    }
}

/// Sets the garbage collector's finalizers as the propagation policy asks. Without a policy those
/// that are there stay, and the default of the kind is for an object without them: a second delete
/// of a Job that goes in the foreground does not orphan its pods (`shouldOrphanDependents`
/// upstream). Events never get one: the collector does not look at them, so nobody would take it
/// off (their `DefaultGarbageCollectionPolicy` is `Unsupported`).
fn mark_finalizers(kind: &Kind, object: &mut Value, policy: &str) {
    let is_marked = meta::finalizers(object).any(|f| f == ORPHAN || f == FOREGROUND);
    let policy = match policy {
        _ if kind.custom.is_none() && kind.plural == "events" => "Background",
        "" if kind.orphans && !is_marked => "Orphan",
        asked => asked,
    };
    let wanted = match policy {
        "Orphan" => Some(ORPHAN),
        "Foreground" => Some(FOREGROUND),
        "Background" => None,
        _ => return,
    };
    let mut all: Vec<Value> = value::list(object, "metadata.finalizers").to_vec();
    all.retain(|f| f != ORPHAN && f != FOREGROUND);
    all.extend(wanted.map(Value::from));
    if all.is_empty() {
        value::remove(object, "metadata.finalizers");
    } else {
        value::put(object, "metadata.finalizers", all);
    }
}

/// What became of the object.
pub struct Removed {
    pub object: Arc<Object>,
    pub gone: bool,
}

/// Deletes one object by name.
pub async fn remove(
    state: &State,
    ctx: &Context,
    kind: &Kind,
    namespace: &str,
    name: &str,
    options: &Options,
) -> Result<Removed, Status> {
    // Before anything is refused: the record of a refusal says so, too.
    if options.dry_run {
        ctx.only_tried();
    }
    let is_node = ctx.user.node().is_some();
    let deadline = Deadline::new();
    loop {
        deadline.check()?;
        let object = match state.get(kind, namespace, name).await {
            Ok(object) => object,
            Err(unread) => match state.undecodable(kind, namespace, name) {
                None => return Err(unread),
                Some(_) if is_node && kind.kind == "Pod" => return Err(unread), // whose pod it is cannot be told
                Some(found) => {
                    match remove_undecodable(state, ctx, kind, namespace, name, options, &found).await {
                        Err(Refused::Changed) => continue,
                        Err(Refused::Error(status)) => return Err(status),
                        Ok(removed) => return Ok(removed),
                    }
                }
            },
        };
        admission::nodes::removal(ctx, kind, &object.value)?;
        preconditions(kind, &object.value, options)?;
        let step = decide(kind, &object.value, options, clock::now());
        if options.dry_run {
            let gone = step == Step::Erase;
            return Ok(Removed { object, gone });
        }
        let done = match step {
            Step::Pending => return Ok(Removed { object, gone: false }),
            Step::Erase => {
                let last = Object::unsent(object.value.clone(), object.revision);
                let mut extra = services::release(kind, &object.value);
                state.cache.steps.note(ctx, kind, &object.value, &mut extra);
                state.erase(kind, &last, &extra).await.map(|o| (o, true))
            }
            Step::Mark(new) => {
                let mut extra = Extra { repairs: true, ..Extra::default() };
                state.cache.steps.note(ctx, kind, &object.value, &mut extra);
                state.write(kind, *new, object.revision, &extra).await.map(|o| (o, false))
            }
        };
        match done {
            Ok((object, gone)) => {
                ctx.committed(&object, if gone { Write::DELETED } else { Write::DELETING });
                return Ok(Removed { object, gone });
            }
            Err(Refused::Error(status)) => return Err(status),
            Err(Refused::Changed) => {}
        }
    }
}

/// Removes what is stored although it cannot be decoded, at once: nobody can read its finalizers or
/// its grace period. The answer has kind and name alone.
async fn remove_undecodable(
    state: &State,
    ctx: &Context,
    kind: &Kind,
    namespace: &str,
    name: &str,
    options: &Options,
    found: &Undecodable,
) -> Result<Removed, Refused> {
    let mut last = json!({"kind": kind.kind, "apiVersion": kind.api_version(), "metadata": {"name": name}});
    if kind.namespaced {
        value::put(&mut last, "metadata.namespace", namespace);
    }
    value::put(&mut last, "metadata.resourceVersion", found.revision.to_string());
    preconditions(kind, &last, options).map_err(Refused::Error)?;
    if options.dry_run {
        return Ok(Removed { object: Arc::new(Object::new(last, found.revision)), gone: true });
    }
    let mut extra = services::release_all(state, kind, namespace, name).await.map_err(Refused::Error)?;
    state.cache.steps.note(ctx, kind, &last, &mut extra);
    let revision = state.erase_undecodable(kind, namespace, name, found, &extra).await?;
    let object = Arc::new(Object::new(last, revision));
    ctx.committed(&object, Write::DELETED);
    Ok(Removed { object, gone: true })
}

/// Errors: 409 if the object is not the one that `options` mean.
pub fn preconditions(kind: &Kind, object: &Value, options: &Options) -> Result<(), Status> {
    let name = meta::name(object);
    if !options.uid.is_empty() && options.uid != meta::uid(object) {
        let why = format!(
            "the UID in the precondition ({}) does not match the UID in record ({}). The object might have been deleted and then recreated",
            options.uid,
            meta::uid(object)
        );
        return Err(Status::conflict("", kind.kind, name, &why));
    }
    if !options.version.is_empty() && options.version != meta::resource_version(object) {
        let why = format!(
            "the ResourceVersion in the precondition ({}) does not match the ResourceVersion in record ({}). The object might have been modified",
            options.version,
            meta::resource_version(object)
        );
        return Err(Status::conflict("", kind.kind, name, &why));
    }
    Ok(())
}

pub async fn delete(state: &State, ctx: &Context, kind: &Kind, body: &Bytes) -> Result<Answer, Status> {
    let form = form(ctx.accept(), &ctx.query)?;
    let options = Options::of(ctx, body)?;
    let stored = stored_kind(kind);
    if is_namespace(stored) && matches!(ctx.info.name.as_str(), "default" | "kube-system" | "kube-public") {
        let why = "this namespace may not be deleted";
        return Err(Status::forbidden("", "namespaces", &ctx.info.name, why));
    }
    let removed = remove(state, ctx, stored, ctx.info.object_namespace(), &ctx.info.name, &options).await?;
    if removed.gone && !kind.returns_deleted {
        let uid = meta::uid(&removed.object.value);
        return Ok(json(200, &status::deleted(kind.group, kind.plural, &ctx.info.name, uid)));
    }
    Ok(negotiate::one(200, kind, form, &removed.object))
}

/// Deletes the objects of a collection one after the other. Each deletion that has begun goes on to
/// its end; the next one does not begin once the client has `left` (upstream asks `ctx.Done()`
/// before each page, and each deletion ends with the request).
///
/// # Errors
/// That of the first object that cannot be deleted; 504 if the client has left.
pub(crate) async fn delete_collection(
    state: &State,
    ctx: &Context,
    kind: &Kind,
    body: &Bytes,
    left: &CancellationToken,
) -> Result<Answer, Status> {
    let is_there = || match left.is_cancelled() {
        true => Err(Status::timeout("the client has left before the end of the collection")),
        false => Ok(()),
    };
    let form = form(ctx.accept(), &ctx.query)?;
    let options = Options::of(ctx, body)?;
    let stored = stored_kind(kind);
    let filter = Filter::of(kind, ctx.info.object_namespace(), &ctx.query)?;
    let limit = ctx.query.number("limit")?.unwrap_or(0).max(0);
    let start = read::start_of_page(ctx)?;
    state.fresh().await?;
    let looking = state.compute.body(&ctx.user, read::looked_at(state, stored, &filter)).await?;
    let page = read::page_of_now(state, stored, &filter, start.as_deref().unwrap_or_default(), limit).await;
    let (targets, answer) = targets(&page.objects, form);
    let (next, remaining) = (page.meta.next, page.meta.remaining);
    drop(page.objects);
    drop(looking);
    let is_part = start.is_some() || !next.is_empty();
    let unread = match is_part || filter.is_selective() || !filter.name.is_empty() {
        true => vec![], // nobody can tell whether it is meant
        false => state.cache.undecodable_keys(stored.place(), &prefix(&filter.namespace)),
    };
    // The answer lists them all, so it needs a list's memory; a dry run does not even make them
    // fewer.
    let keys: usize = targets.iter().map(|t| size_of::<Target>() + t.key.len() + t.uid.len()).sum();
    let mut memory = state.compute.body(&ctx.user, answer + keys).await?;
    let mut list = ListWriter::new(kind, form, if form == Form::Object { answer } else { 0 });
    for target in &targets {
        is_there()?;
        if let Some(removed) = remove_target(state, ctx, stored, target, &options).await? {
            list.put(&removed.object).await;
            memory.cover(list.written() + keys)?;
        }
    }
    for key in unread {
        is_there()?;
        let (namespace, name) = split(&key);
        match remove(state, ctx, stored, namespace, name, &options).await {
            Err(status) if status.reason != "NotFound" => return Err(status),
            _ => {} // there is nothing to show
        }
    }
    let revision = state.cache.revision();
    let meta = ListMeta { revision, next, remaining };
    Ok(read::kept(ctx, list.finish(&meta), memory))
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
        answer += negotiate::estimate(form, std::slice::from_ref(object)) + MARK;
        Target { key: key.clone(), uid: meta::uid(&object.value).to_string() }
    };
    let all: Vec<Target> = objects.iter().map(keep).collect();
    (all, answer)
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
    let (namespace, name) = split(&target.key);
    let mut options = options.clone();
    let is_free = options.uid.is_empty() && options.version.is_empty();
    if is_free {
        options.uid.clone_from(&target.uid);
    }
    match remove(state, ctx, kind, namespace, name, &options).await {
        Err(status) if status.reason == "NotFound" => Ok(None),
        Err(status) if status.reason == "Conflict" && is_free => Ok(None),
        done => done.map(Some),
    }
}

/// Namespace and name of a key in the cache.
fn split(key: &str) -> (&str, &str) {
    key.split_once('/').unwrap_or(("", key))
}

/// What the keys of a namespace begin with; empty for all of them.
fn prefix(namespace: &str) -> String {
    if namespace.is_empty() { String::new() } else { format!("{namespace}/") }
}

/// The key of an object, for callers that have only the object.
pub fn key_of(kind: &Kind, object: &Value) -> String {
    object_key(kind, meta::namespace(object), meta::name(object))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Server;
    use crate::testing;
    use crate::user::User;
    use api::kinds;

    fn pod() -> Value {
        json!({"metadata": {"name": "p", "generation": 1}, "spec": {"nodeName": "n", "terminationGracePeriodSeconds": 30}, "status": {"phase": "Running"}})
    }
    fn marked(step: Step) -> Value {
        match step {
            Step::Mark(value) => *value,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_running_pod_gets_its_grace_period_and_it_only_shrinks() {
        let kind = kinds::find("", "v1", "Pod").unwrap();
        let now = "2026-01-02T03:04:05Z".parse().unwrap();
        let first = marked(decide(kind, &pod(), &Options::default(), now));
        assert_eq!(text(&first, "metadata.deletionTimestamp"), "2026-01-02T03:04:35Z");
        assert_eq!(int(&first, "metadata.generation"), Some(2));
        let ask = |grace| Options { grace: Some(grace), ..Options::default() };
        assert_eq!(decide(kind, &first, &Options::default(), now), Step::Pending);
        assert_eq!(decide(kind, &first, &ask(60), now), Step::Pending);
        assert_eq!(
            int(&marked(decide(kind, &first, &ask(5), now)), "metadata.deletionGracePeriodSeconds"),
            Some(5)
        );
        assert_eq!(decide(kind, &first, &ask(0), now), Step::Erase);
        let late = marked(decide(kind, &pod(), &ask(i64::MAX), now));
        assert_eq!(text(&late, "metadata.deletionTimestamp"), clock::rfc3339(clock::Timestamp::MAX));
        let mut waiting = pod();
        value::remove(&mut waiting, "spec.nodeName");
        assert_eq!(decide(kind, &waiting, &Options::default(), now), Step::Erase);
    }

    #[test]
    fn a_repeated_delete_counts_its_grace_period_from_the_first_one() {
        let kind = kinds::find("", "v1", "Pod").unwrap();
        let time = |text: &str| text.parse().unwrap();
        let ask = |grace| Options { grace: Some(grace), ..Options::default() };
        let first = marked(decide(kind, &pod(), &Options::default(), time("2026-01-02T03:04:00Z")));
        let later = time("2026-01-02T03:04:20Z");
        for (grace, until, seconds) in [
            (25, "2026-01-02T03:04:25Z", 25),
            (15, "2026-01-02T03:04:20Z", 1),
            (-1, "2026-01-02T03:04:20Z", 1),
        ] {
            let second = marked(decide(kind, &first, &ask(grace), later));
            assert_eq!(text(&second, "metadata.deletionTimestamp"), until, "{grace}");
            assert_eq!(int(&second, "metadata.deletionGracePeriodSeconds"), Some(seconds), "{grace}");
        }
    }

    #[test]
    fn a_terminating_pod_that_has_ended_waits_for_its_kubelet() {
        let kind = kinds::find("", "v1", "Pod").unwrap();
        let now = "2026-01-02T03:04:05Z".parse().unwrap();
        let ask = |grace| Options { grace: Some(grace), ..Options::default() };
        let mut ended = marked(decide(kind, &pod(), &Options::default(), now));
        value::put(&mut ended, "status.phase", "Succeeded");
        assert_eq!(decide(kind, &ended, &Options::default(), now), Step::Pending);
        assert_eq!(
            int(&marked(decide(kind, &ended, &ask(5), now)), "metadata.deletionGracePeriodSeconds"),
            Some(5)
        );
        assert_eq!(decide(kind, &ended, &ask(0), now), Step::Erase);
    }

    /// The body of a delete and `deleteOptions` of an eviction are read by the same rules.
    #[test]
    fn delete_options_that_mean_nothing_are_refused() {
        let read = |body: Value| {
            let mut options = Options::default();
            options.read(&body).map(|()| options).map_err(|status| (status.code, status.message))
        };
        let good = json!({"gracePeriodSeconds": 5, "propagationPolicy": "Foreground", "dryRun": ["All"], "preconditions": {"uid": "u"}});
        let options = read(good).unwrap();
        assert_eq!(
            (options.grace, options.propagation.as_str(), options.dry_run),
            (Some(5), "Foreground", true)
        );
        assert_eq!(read(Value::Null), Ok(Options::default()));
        for (orphans, policy) in [(true, "Orphan"), (false, "Background")] {
            assert_eq!(read(json!({ "orphanDependents": orphans })).unwrap().propagation, policy);
        }
        for (body, code, field) in [
            (json!({"propagationPolicy": "Sideways"}), 422, "propagationPolicy"),
            (json!({"propagationPolicy": "Orphan", "orphanDependents": false}), 422, "propagationPolicy"),
            (json!({"dryRun": ["Some"]}), 422, "dryRun"),
            (json!({"propagationPolicy": 5}), 400, "propagationPolicy"),
            (json!({"gracePeriodSeconds": "5"}), 400, "gracePeriodSeconds"),
            (json!({"preconditions": {"uid": 5}}), 400, "preconditions.uid"),
            (json!([]), 400, "DeleteOptions"),
        ] {
            let (got, message) = read(body.clone()).unwrap_err();
            assert!(got == code && message.contains(field), "{body}: {got} {message}");
        }
    }

    const MAPS: &str = "/api/v1/namespaces/default/configmaps";

    async fn ask(server: &Server, method: &str, path: &str, body: Value) -> (u16, Value) {
        let user = User::new("admin", &["system:masters"]);
        testing::send(server, user, (method, path), ("application/json", body.to_string()), "").await
    }

    #[tokio::test]
    async fn a_collection_answers_what_it_deleted() {
        let dir = tempfile::tempdir().unwrap();
        let fixture = testing::start(dir.path()).await;
        for (name, finalizers) in [("a", json!([])), ("b", json!(["test/hold"])), ("c", json!([]))] {
            let map = json!({"metadata": {"name": name, "finalizers": finalizers}});
            assert_eq!(ask(&fixture.server, "POST", MAPS, map).await.0, 201);
        }
        let (code, list) = ask(&fixture.server, "DELETE", MAPS, json!({})).await;
        assert_eq!((code, text(&list, "kind")), (200, "ConfigMapList"), "{list}");
        let names: Vec<&str> = value::list(&list, "items").iter().map(meta::name).collect();
        assert_eq!(names, ["a", "b", "c"]);
        assert!(meta::is_terminating(&list["items"][1]), "its finalizer holds it: {list}");
        let (_, left) = ask(&fixture.server, "GET", MAPS, Value::Null).await;
        assert_eq!(value::list(&left, "items").iter().map(meta::name).collect::<Vec<_>>(), ["b"]);
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
        let other = Options { uid: "x".into(), ..Options::default() };
        let refused = remove(&listed[0], other).await.err().expect("the client's own precondition");
        assert_eq!(refused.reason, "Conflict");
    }

    #[test]
    fn finalizers_hold_an_object() {
        let kind = kinds::find("apps", "v1", "Deployment").unwrap();
        let now = "2026-01-02T03:04:05Z".parse().unwrap();
        let object = json!({"metadata": {"name": "d"}});
        assert_eq!(decide(kind, &object, &Options::default(), now), Step::Erase);
        let orphan = Options { propagation: "Orphan".into(), ..Options::default() };
        let held = marked(decide(kind, &object, &orphan, now));
        assert_eq!(at(&held, "metadata.finalizers"), &json!(["orphan"]));
        assert_eq!(decide(kind, &held, &orphan, now), Step::Pending);
    }
}
