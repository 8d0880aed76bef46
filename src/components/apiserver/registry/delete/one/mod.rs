//! The delete of one object: at once, after a grace period, or when the last finalizer is gone.

use super::kept;
use super::kinds::{is_definition, is_namespace, is_only_marked_first, is_pod, warn_of_orphans};
use super::options::{Options, preconditions};
use crate::admission;
use crate::pipeline::{self, Write};
use crate::registry::services;
use crate::registry::strategy::stored_kind;
use crate::registry::write::record_beside;
use crate::request::context::Context;
use crate::request::http::{Answer, json};
use crate::request::negotiate::{self, form};
use crate::state::State;
use crate::storage::cache::Undecodable;
use crate::storage::extra::Extra;
use crate::storage::object::Object;
use crate::storage::store::{Deadline, Refused};
use api::kinds::Kind;
use api::value::{self, int, text};
use api::{Status, meta, status};
use bytes::Bytes;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

const ORPHAN: &str = "orphan";
const FOREGROUND: &str = "foregroundDeletion";

/// True for an object that is being deleted and that nothing holds any more.
pub(crate) fn is_finished(kind: &Kind, object: &Value) -> bool {
    meta::is_terminating(object)
        && value::empty(object, "metadata.finalizers")
        && int(object, "metadata.deletionGracePeriodSeconds").unwrap_or(0) == 0
        && (!is_namespace(kind) || value::empty(object, "spec.finalizers"))
}

/// What a delete does to an object.
#[derive(Debug, PartialEq)]
enum Step {
    /// The object is erased now.
    Erase,
    /// The object is marked and then erased at once, in two writes.
    MarkAndErase(Box<Value>),
    /// The object is marked. It is erased when its kubelet and the finalizers have finished.
    Mark(Box<Value>),
    /// Nothing changes: the object is being deleted already.
    Pending,
}

/// Seconds that an object has to end by itself.
///
/// Only a pod that a kubelet runs needs time: 30 s, or what it says, or what the client asks for. A
/// negative number asks for the shortest, 1 s.
fn grace(kind: &Kind, object: &Value, requested: Option<i64>) -> i64 {
    if !is_pod(kind) {
        return 0;
    }
    let unscheduled = value::empty(object, "spec.nodeName");
    if unscheduled || matches!(text(object, "status.phase"), "Succeeded" | "Failed") {
        return 0;
    }
    let seconds = requested.or(int(object, "spec.terminationGracePeriodSeconds")).unwrap_or(30);
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
    requested: Option<i64>,
    now: clock::Timestamp,
) -> Option<(clock::Timestamp, i64)> {
    let seconds = requested.map(|seconds| if seconds < 0 { 1 } else { seconds })?;
    if seconds >= left {
        return None;
    }
    let ends = text(object, "metadata.deletionTimestamp").parse().unwrap_or(now);
    let until = clock::before(ends, Duration::from_secs((left - seconds) as u64));
    Some(if until < now { (now, seconds.min(1)) } else { (until, seconds) })
}

/// Decides what `options` ask for, done to `object` at `now`.
///
/// ```text
/// ConfigMap                               Erase
/// ConfigMap with a finalizer              Mark: deletionTimestamp now
/// running pod, 30 s of grace              Mark: deletionTimestamp in 30 s
/// pod that no node has yet                MarkAndErase: its watchers see the mark first
/// running pod, the first delete, 0 s      MarkAndErase
/// Deployment, policy Foreground           Mark, with the finalizer foregroundDeletion
/// definition, whatever the policy         Mark, with its own finalizer; no grace period is noted
/// full namespace, a second delete         Pending, whatever the policy (`REST.Delete` upstream)
/// running pod, a second delete            Pending
/// running pod, the kubelet's, with 0 s    Erase
/// ```
///
/// A marked object is still there and can be read. It is erased when its grace period is 0 and the
/// last finalizer is gone; a write that takes this finalizer off erases it.
fn decide(kind: &Kind, object: &Value, options: &Options, now: clock::Timestamp) -> Step {
    let mut new = object.clone();
    if !is_definition(kind) || meta::is_terminating(object) {
        mark_finalizers(kind, &mut new, options.propagation.as_deref());
    }
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
        if !is_only_marked_first(kind) {
            value::put(&mut new, "metadata.deletionGracePeriodSeconds", seconds);
            if meta::generation(object) > 0 {
                value::put(&mut new, "metadata.generation", meta::generation(object).saturating_add(1));
            }
        }
        (kind.prepare_delete)(&mut new);
    }
    let is_first = !meta::is_terminating(object);
    if is_first && is_only_marked_first(kind) {
        Step::Mark(Box::new(new))
    } else if is_finished(kind, &new) && is_pod(kind) && is_first {
        Step::MarkAndErase(Box::new(new))
    } else if is_finished(kind, &new) {
        Step::Erase
    } else if new == *object || is_namespace(kind) && !value::empty(object, "spec.finalizers") {
        Step::Pending
    } else {
        Step::Mark(Box::new(new))
    }
}

/// Sets the garbage collector's finalizers as the propagation policy asks. Without a policy those
/// that are there stay, and the default of the kind is for an object without them: a second delete
/// of a Job that goes in the foreground does not orphan its pods (`shouldOrphanDependents`
/// upstream). Events never get one: the collector does not look at them and would never take it
/// off (their `DefaultGarbageCollectionPolicy` is `Unsupported`).
fn mark_finalizers(kind: &Kind, object: &mut Value, policy: Option<&str>) {
    let is_marked = meta::finalizers(object).any(|f| f == ORPHAN || f == FOREGROUND);
    let policy = match policy {
        _ if kind.custom.is_none() && kind.plural == "events" => "Background",
        None if kind.orphans && !is_marked => "Orphan",
        asked => asked.unwrap_or_default(),
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
pub(crate) struct Removed {
    pub object: Arc<Object>,
    pub gone: bool,
}

/// Deletes one object by name.
pub(crate) async fn remove(
    state: &State,
    ctx: &Context,
    kind: &Kind,
    namespace: &str,
    name: &str,
    options: &Options,
) -> Result<Removed, Status> {
    // Before anything is refused: the record of a refusal says so, too.
    if options.dry_run {
        ctx.mark_tried();
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
        if let Some(removed) = pipeline::write(&Deletion { state, ctx, kind, object, options }).await? {
            return Ok(removed);
        }
    }
}

/// The deletion of one object.
struct Deletion<'a> {
    state: &'a State,
    ctx: &'a Context,
    kind: &'a Kind,
    /// The object as it is stored.
    object: Arc<Object>,
    options: &'a Options,
}

impl<'a> Write for Deletion<'a> {
    type Wanted = &'a Options;
    type Planned = Step;
    /// `None`: the object has changed meanwhile.
    type Done = Option<Removed>;

    fn decode(&self) -> Result<&'a Options, Status> {
        Ok(self.options)
    }

    /// Sets the finalizers of the garbage collector, the deletion time and the grace period.
    fn default(&self, options: &'a Options) -> Result<Step, Status> {
        Ok(decide(self.kind, &self.object.value, options, clock::now()))
    }

    async fn admit(&self, _: &mut Step) -> Result<(), Status> {
        admission::nodes::removal(self.ctx, self.kind, &self.object.value)
    }

    async fn validate(&self, step: &Step) -> Result<(), Status> {
        preconditions(self.kind, &self.object.value, self.options)?;
        match step {
            Step::Pending => Ok(()), // it was asked about before
            _ => {
                let Deletion { state, ctx, kind, options, .. } = *self;
                admission::policies::check_deletion(state, ctx, kind, &self.object.value, options)
            }
        }
    }

    async fn commit(&self, step: Step) -> Result<Option<Removed>, Status> {
        let Deletion { state, ctx, kind, .. } = *self;
        let object = &self.object;
        if self.options.dry_run {
            return Ok(Some(tried(object, step)));
        }
        let done = match step {
            Step::Pending => return Ok(Some(Removed { object: object.clone(), gone: false })),
            Step::MarkAndErase(new) => return self.mark_and_erase(*new).await,
            Step::Erase => self.erase(object).await.map(|o| (o, true)),
            Step::Mark(new) => {
                let mut extra = Extra { repairs: true, ..Extra::default() };
                state.cache.steps.note(ctx, kind, &object.value, &mut extra);
                let marked = state.write(kind, *new, object.revision, &extra).await;
                marked.inspect(|o| ctx.committed(o, tap::Write::DELETING)).map(|o| (o, false))
            }
        };
        match done {
            Ok((object, gone)) => Ok(Some(Removed { object, gone })),
            Err(Refused::Error(status)) => Err(status),
            Err(Refused::Changed) => Ok(None),
        }
    }
}

impl Deletion<'_> {
    async fn erase(&self, object: &Object) -> Result<Arc<Object>, Refused> {
        let Deletion { state, ctx, kind, .. } = *self;
        let last = Object::unsent(object.value.clone(), object.revision);
        let mut extra = services::removal(state, kind, &object.value);
        state.cache.steps.note(ctx, kind, &object.value, &mut extra);
        let erased = state.erase(kind, &last, &extra).await?;
        ctx.committed(&erased, tap::Write::DELETED);
        record_beside(ctx, &extra, erased.revision);
        Ok(erased)
    }

    /// Erases a pod that gets no time to end. As upstream this takes two writes: a watcher sees the
    /// deletion time and a grace period of 0, then the end. If the server ends in between, the pod
    /// stays with its mark, and the next delete erases it (that of its kubelet, for example).
    async fn mark_and_erase(&self, new: Value) -> Result<Option<Removed>, Status> {
        let Deletion { state, ctx, kind, .. } = *self;
        let mut extra = Extra { repairs: true, ..Extra::default() };
        state.cache.steps.note(ctx, kind, &new, &mut extra);
        let marked = match state.write(kind, new, self.object.revision, &extra).await {
            Ok(marked) => {
                ctx.committed(&marked, tap::Write::DELETING);
                marked
            }
            // A store that is full has no room for the mark. The deletion makes room.
            Err(Refused::Error(status)) if status.code == 507 => self.object.clone(),
            Err(Refused::Error(status)) => return Err(status),
            Err(Refused::Changed) => return Ok(None),
        };
        match self.erase(&marked).await {
            Ok(object) => Ok(Some(Removed { object, gone: true })),
            Err(Refused::Error(status)) => Err(status),
            // The kubelet of the pod may have removed it first. A new pod of this name stays.
            Err(Refused::Changed) => {
                state.fresh().await?;
                let (namespace, name) = (meta::namespace(&marked.value), meta::name(&marked.value));
                let there = state.remembered(kind, namespace, name);
                let is_there = there.is_some_and(|o| meta::uid(&o.value) == meta::uid(&marked.value));
                Ok((!is_there).then(|| Removed { object: marked.clone(), gone: true }))
            }
        }
    }
}

/// Returns what a deletion that is only tried would have made of the object: with the mark of a
/// deletion if it would be marked.
fn tried(object: &Arc<Object>, step: Step) -> Removed {
    match step {
        Step::Erase => Removed { object: object.clone(), gone: true },
        Step::MarkAndErase(new) => Removed { object: Arc::new(Object::unwritten(*new)), gone: true },
        Step::Pending => Removed { object: object.clone(), gone: false },
        Step::Mark(new) => Removed { object: Arc::new(Object::unwritten(*new)), gone: false },
    }
}

/// Removes what is stored although it cannot be decoded, at once: its finalizers and its grace
/// period cannot be read. The answer has kind and name alone.
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
    admission::nodes::removal(ctx, kind, &last).map_err(Refused::Error)?;
    preconditions(kind, &last, options).map_err(Refused::Error)?;
    if options.dry_run {
        return Ok(Removed { object: Arc::new(Object::new(last, found.revision)), gone: true });
    }
    let mut extra = services::release_all(state, kind, namespace, name).await.map_err(Refused::Error)?;
    state.cache.steps.note(ctx, kind, &last, &mut extra);
    let revision = state.erase_undecodable(kind, namespace, name, found, &extra).await?;
    let object = Arc::new(Object::new(last, revision));
    ctx.committed(&object, tap::Write::DELETED);
    record_beside(ctx, &extra, revision);
    Ok(Removed { object, gone: true })
}

pub(crate) async fn delete(
    state: &State,
    ctx: &Context,
    kind: &Kind,
    body: &Bytes,
) -> Result<Answer, Status> {
    let form = form(ctx.accept(), &ctx.query)?;
    let options = Options::of(ctx, body)?;
    let stored = stored_kind(kind);
    kept::check(stored, &ctx.info.name)?;
    warn_of_orphans(ctx, stored, &options);
    let removed = remove(state, ctx, stored, ctx.info.object_namespace(), &ctx.info.name, &options).await?;
    if removed.gone && !kind.returns_deleted {
        let uid = meta::uid(&removed.object.value);
        return Ok(json(200, &status::deleted(kind.group, kind.plural, &ctx.info.name, uid)));
    }
    // Upstream would like to answer 202 for every object that stays for a while. It answers 200
    // otherwise, because of clients that do not know 202.
    let code = if !removed.gone && options.cascades { 202 } else { 200 };
    Ok(negotiate::one(code, kind, form, &removed.object))
}

#[cfg(test)]
mod tests;
