//! rollout: history, pause, restart, resume, status, undo.

mod state;

use super::common::{DryRun, Printer, strategic_patch};
use super::record::CHANGE_CAUSE;
use super::until::until;
use crate::builder;
use crate::ctx::Ctx;
use crate::describe::{self, related};
use crate::error::{Fail, text};
use crate::info::{Info, Options};
use crate::print::{formats, tab};
use crate::scheme;
use crate::wire::api::{JSON_PATCH, STRATEGIC_PATCH, encoded};
use api::gostr::quote;
use api::schema::equality;
use api::{strategic, value};
use serde_json::{Map, Value, json};
use state::state;

const REVISION: &str = "deployment.kubernetes.io/revision";
const RESTARTED_AT: &str = "kubectl.kubernetes.io/restartedAt";
/// Annotations that belong to a deployment, not to one of its revisions.
const OWN: [&str; 6] = [
    super::common::LAST_APPLIED,
    REVISION,
    "deployment.kubernetes.io/revision-history",
    "deployment.kubernetes.io/desired-replicas",
    "deployment.kubernetes.io/max-replicas",
    "deprecated.deployment.rollback.to",
];

/// A former template of a workload.
struct Revision {
    number: i64,
    cause: String,
    template: Value,
    /// The ReplicaSet or ControllerRevision that keeps it.
    keeper: Value,
}

async fn selected_objects(ctx: &Ctx) -> Result<(Vec<Info>, Vec<Fail>), Fail> {
    if ctx.args.is_empty() && !ctx.names_files() {
        return text("required resource not specified");
    }
    let options = Options { all_by_type: true, latest: true, ..Options::default() };
    let selection = builder::select(ctx, &ctx.args, options).await?;
    scheme::objects(ctx, selection).await
}

/// `Deployment.apps`, as Go prints a GroupKind.
fn group_kind(info: &Info) -> String {
    match info.resource.group.as_str() {
        "" => info.resource.kind.clone(),
        group => format!("{}.{group}", info.resource.kind),
    }
}

/// `error: deployments.apps "web"`, as failures begin, also where several are printed.
fn about(info: &Info, mistake: &str) -> Fail {
    Fail::Text(format!("error: {} {} {mistake}", info.resource.qualified(), quote(&info.name)))
}

fn owned_by<'a>(objects: &'a [Value], owner: &'a Value) -> impl Iterator<Item = &'a Value> {
    let uid = value::text(owner, "metadata.uid");
    objects.iter().filter(move |o| {
        value::list(o, "metadata.ownerReferences")
            .iter()
            .any(|r| value::flag(r, "controller") && value::text(r, "uid") == uid)
    })
}

fn annotation<'a>(object: &'a Value, name: &str) -> &'a str {
    value::pairs(object, "metadata.annotations").find(|(key, _)| *key == name).map_or("", |(_, text)| text)
}

/// Workloads that keep no revisions; kubectl knows their kinds all the same.
const WITHOUT_REVISIONS: &[&str] =
    &["Job.batch", "CronJob.batch", "Pod", "ReplicaSet.apps", "ReplicationController"];

/// All revisions, the oldest first. For errors, `seeker` is kubectl's name of what needs them
/// (`history viewer`), `sought` of what they are (`history`).
async fn revisions(ctx: &Ctx, info: &Info, seeker: &str, sought: &str) -> Result<Vec<Revision>, Fail> {
    let selector = value::at(&info.object, "spec.selector");
    let mut found: Vec<Revision> = match info.resource.kind.as_str() {
        "Deployment" => {
            let sets = related::list(ctx, info, "replicasets", selector).await.map_err(|fail| {
                let (name, why) = (&info.name, fail.message());
                Fail::Text(format!("failed to retrieve replica sets from deployment {name}: {why}"))
            })?;
            let revision = |set: &Value| Revision {
                number: annotation(set, REVISION).parse().unwrap_or(0),
                cause: annotation(set, CHANGE_CAUSE).to_string(),
                template: value::at(set, "spec.template").clone(),
                keeper: set.clone(),
            };
            owned_by(&sets, &info.object).map(revision).collect()
        }
        "DaemonSet" | "StatefulSet" => {
            let kept = related::list(ctx, info, "controllerrevisions", selector).await?;
            let revision = |kept: &Value| Revision {
                number: value::int(kept, "revision").unwrap_or(0),
                cause: annotation(kept, CHANGE_CAUSE).to_string(),
                template: value::at(kept, "data.spec.template").clone(),
                keeper: kept.clone(),
            };
            owned_by(&kept, &info.object).map(revision).collect()
        }
        _ if WITHOUT_REVISIONS.contains(&group_kind(info).as_str()) => {
            return text(format!("no {seeker} has been implemented for {}", quote(&group_kind(info))));
        }
        kind => {
            let (kind, group) = (quote(kind), &info.resource.group);
            return text(format!(
                "error retrieving {sought} for {kind}, no visitor method exists for {{{group} {}}}",
                info.resource.kind
            ));
        }
    };
    found.sort_by_key(|r| r.number);
    Ok(found)
}

/// A revision's template as text. `cause`: with the change cause among the annotations, as kubectl
/// has it for Deployments only.
fn template_text(revision: &Revision, cause: bool) -> String {
    let mut template = revision.template.clone();
    value::remove(&mut template, "$patch");
    if cause && !revision.cause.is_empty() {
        value::slot_map(&mut template, "metadata.annotations")
            .insert(CHANGE_CAUSE.into(), revision.cause.as_str().into());
    }
    describe::template(&template)
}

pub(crate) async fn history(ctx: &Ctx) -> Result<(), Fail> {
    let (infos, mut failures) = selected_objects(ctx).await?;
    let wanted = ctx.flags.int("revision");
    if wanted < 0 {
        return text(format!("revision must be a positive integer: {wanted}"));
    }
    let format = formats::of(ctx, false)?;
    for info in &infos {
        let all = match revisions(ctx, info, "history viewer", "history").await {
            Ok(all) => all,
            Err(fail) => {
                failures.push(fail);
                continue;
            }
        };
        if let Some(format) = &format {
            match as_objects(info, &all, wanted) {
                Ok(objects) => ctx.out(format.print_each(&objects)?),
                Err(fail) => failures.push(fail),
            }
            continue;
        }
        let text = match wanted {
            _ if all.is_empty() => "No rollout history found.".to_string(),
            0 => {
                let mut table = "REVISION\tCHANGE-CAUSE\n".to_string();
                for revision in &all {
                    let cause = if revision.cause.is_empty() { "<none>" } else { &revision.cause };
                    table.push_str(&format!("{}\t{cause}\n", revision.number));
                }
                tab::align(&table, 0, 2)
            }
            number => match all.iter().find(|r| r.number == number) {
                Some(revision) => template_text(revision, info.resource.kind == "Deployment"),
                None => {
                    failures.push(Fail::Text("unable to find the specified revision".into()));
                    continue;
                }
            },
        };
        let which = if wanted > 0 { format!("with revision #{wanted}") } else { String::new() };
        ctx.line(format!("{} {which}\n{text}", info.named()));
    }
    Fail::join(failures)
}

/// Returns the objects that `-o` prints: the revision of `--revision`, or all of them, the oldest
/// first. Source: kubectl's `RolloutHistoryOptions.Run`.
fn as_objects(info: &Info, all: &[Revision], wanted: i64) -> Result<Vec<Value>, Fail> {
    let chosen: Vec<&Revision> = all.iter().filter(|r| wanted == 0 || r.number == wanted).collect();
    if wanted > 0 && chosen.is_empty() {
        return text("unable to find the specified revision");
    }
    chosen.into_iter().map(|revision| as_object(info, revision)).collect()
}

/// Returns a revision as an object: of a Deployment its ReplicaSet, of a DaemonSet or StatefulSet
/// the object itself with the template of that revision. Source: kubectl's
/// `polymorphichelpers/history.go`, `GetHistory`.
fn as_object(info: &Info, revision: &Revision) -> Result<Value, Fail> {
    let (mut object, kind) = match info.resource.kind.as_str() {
        "Deployment" => (revision.keeper.clone(), "ReplicaSet"),
        kind => {
            let mut object = info.object.clone();
            strategic::apply(kind, &mut object, value::at(&revision.keeper, "data")).map_err(Fail::Text)?;
            (object, kind)
        }
    };
    value::put(&mut object, "apiVersion", "apps/v1");
    value::put(&mut object, "kind", kind);
    Ok(object)
}

/// The number at a path of the object; 0 if there is none.
fn int(object: &Value, path: &str) -> i64 {
    value::int(object, path).unwrap_or(0)
}

pub(crate) async fn status(ctx: &Ctx) -> Result<(), Fail> {
    let revision = ctx.flags.int("revision");
    if revision < 0 {
        return text(format!("revision must be a positive integer: {revision}"));
    }
    let (infos, mut failures) = selected_objects(ctx).await?;
    if infos.is_empty() && failures.is_empty() {
        let (namespace, _) = ctx.namespace()?;
        ctx.note(format!("No resources found in {namespace} namespace."));
    }
    let limit = ctx.flags.duration("timeout");
    for mut info in infos {
        let outcome = match ctx.flags.is("watch") {
            false => state(&info, &info.object, revision).map(|(message, _)| ctx.line(message)),
            true => {
                let frozen = info.clone();
                let followed = until(ctx, &mut info, limit, |object| {
                    if object.is_null() {
                        return text("object has been deleted");
                    }
                    let (message, done) = state(&frozen, object, revision)?;
                    ctx.line(message);
                    Ok(done)
                });
                followed.await.map_err(|fail| match fail.message().starts_with("timed out waiting") {
                    true => Fail::Text("timed out waiting for the condition".into()),
                    false => fail,
                })
            }
        };
        if let Err(fail) = outcome {
            failures.push(fail);
        }
    }
    Fail::join(failures)
}

/// Patches each object with the result of `change`; `None`: the object needs no change.
async fn patch_each(
    ctx: &Ctx,
    operation: &str,
    change: impl Fn(&Info) -> Result<Option<Value>, Fail>,
) -> Result<(), Fail> {
    let printer = Printer::of(ctx, DryRun::No)?;
    let (infos, mut failures) = selected_objects(ctx).await?;
    if infos.is_empty() && failures.is_empty() {
        let (namespace, _) = ctx.namespace()?;
        ctx.note(format!("No resources found in {namespace} namespace."));
    }
    for info in infos {
        let patch = match change(&info) {
            Ok(Some(patch)) => patch,
            Ok(None) => continue,
            Err(fail) => {
                failures.push(fail);
                continue;
            }
        };
        match strategic_patch(ctx, &info, DryRun::No, &patch).await {
            Ok(object) => printer.print(ctx, &object, operation, true)?,
            Err(Fail::Api(refusal)) => {
                failures.push(Fail::Text(format!("failed to patch: {}", refusal.message)));
            }
            Err(fail) => return Err(fail),
        }
    }
    Fail::join(failures)
}

pub(crate) async fn restart(ctx: &Ctx) -> Result<(), Fail> {
    let now = jiff::Zoned::new(clock::now(), jiff::tz::TimeZone::system());
    let now = now.strftime("%Y-%m-%dT%H:%M:%S%:z").to_string().replace("+00:00", "Z");
    patch_each(ctx, "restarted", |info| match info.resource.kind.as_str() {
        "Deployment" if value::flag(&info.object, "spec.paused") => {
            Err(about(info, "can't restart paused deployment (run rollout resume first)"))
        }
        "Deployment" | "DaemonSet" | "StatefulSet" => restarted(info, &now).map(Some),
        _ => Err(about(info, "restarting is not supported")),
    })
    .await
}

/// The patch that restarts an object. Refuses a second restart within a second: the annotation has
/// whole seconds, so it would not change.
fn restarted(info: &Info, now: &str) -> Result<Value, Fail> {
    let annotations = value::at(&info.object, "spec.template.metadata.annotations");
    if annotations.get(RESTARTED_AT).is_some_and(|last| last == now) {
        return text(format!(
            "failed to create patch for {}: if restart has already been triggered within the past second, please wait before attempting to trigger another",
            info.name
        ));
    }
    Ok(json!({"spec": {"template": {"metadata": {"annotations": {RESTARTED_AT: now}}}}}))
}

pub(crate) async fn pause(ctx: &Ctx) -> Result<(), Fail> {
    patch_each(ctx, "paused", |info| match info.resource.kind.as_str() {
        "Deployment" if value::flag(&info.object, "spec.paused") => Err(about(info, "is already paused")),
        "Deployment" => Ok(Some(json!({"spec": {"paused": true}}))),
        _ => Err(about(info, "pausing is not supported")),
    })
    .await
}

pub(crate) async fn resume(ctx: &Ctx) -> Result<(), Fail> {
    patch_each(ctx, "resumed", |info| match info.resource.kind.as_str() {
        "Deployment" if !value::flag(&info.object, "spec.paused") => Err(about(info, "is not paused")),
        "Deployment" => Ok(Some(json!({"spec": {"paused": null}}))),
        _ => Err(about(info, "resuming is not supported")),
    })
    .await
}

/// For a Deployment two spellings of one amount are equal, as for its controller.
fn same_template(kind: &str, a: &Value, b: &Value) -> bool {
    let plain = |template: &Value| {
        let mut template = template.clone();
        if let Some(labels) = template.pointer_mut("/metadata/labels").and_then(Value::as_object_mut) {
            labels.remove("pod-template-hash");
        }
        value::remove(&mut template, "$patch");
        template
    };
    let (a, b) = (plain(a), plain(b));
    a == b || (kind == "Deployment" && equality::equal(equality::POD_TEMPLATE, "", &a, &b))
}

pub(crate) async fn undo(ctx: &Ctx) -> Result<(), Fail> {
    let to = ctx.flags.int("to-revision");
    let dry_run = DryRun::of(ctx)?;
    let printer = Printer::of(ctx, DryRun::No)?;
    let (infos, mut failures) = selected_objects(ctx).await?;
    for info in &infos {
        match undo_one(ctx, info, to, dry_run).await {
            Ok(operation) => printer.print(ctx, &info.object, &operation, true)?,
            Err(fail) => failures.push(fail),
        }
    }
    Fail::join(failures)
}

/// The revision to go back to: the one that was named, else the one before the last.
fn chosen<'a>(all: &'a [Revision], to: i64, info: &Info) -> Result<&'a Revision, Fail> {
    let kind = info.resource.kind.to_lowercase();
    let found = match to {
        0 if all.len() < 2 => {
            return text(match kind.as_str() {
                "deployment" => format!("no rollout history found for deployment {}", quote(&info.name)),
                _ => "no last revision to roll back to".to_string(),
            });
        }
        0 => all.get(all.len() - 2),
        number => all.iter().find(|r| r.number == number),
    };
    found.ok_or_else(|| Fail::Text(format!("unable to find specified revision {to} in history")))
}

async fn undo_one(ctx: &Ctx, info: &Info, to: i64, dry_run: DryRun) -> Result<String, Fail> {
    let all = revisions(ctx, info, "rollbacker", "rollbacker").await?;
    let revision = chosen(&all, to, info)?;
    let current = value::at(&info.object, "spec.template");
    if dry_run == DryRun::Client {
        let head = if info.resource.kind == "Deployment" { "" } else { "will roll back to " };
        let template = template_text(revision, false);
        return Ok(dry_run.suffixed(&format!("{head}{}\n", template.trim_end_matches('\n'))));
    }
    let deployment = info.resource.kind == "Deployment";
    if deployment && value::flag(&info.object, "spec.paused") {
        return text(
            "you cannot rollback a paused deployment; resume it first with 'kubectl rollout resume' and try again",
        );
    }
    if same_template(&info.resource.kind, current, &revision.template) {
        // As in kubectl the message has the number of `--to-revision`: 0 if the flag was not given.
        let skipped = format!("skipped rollback (current template already matches revision {to})");
        return Ok(dry_run.suffixed(&skipped));
    }
    let mut query = vec![];
    dry_run.query(&mut query);
    let (kind, patch) = if deployment {
        let mut template = revision.template.clone();
        if let Some(labels) = template.pointer_mut("/metadata/labels").and_then(Value::as_object_mut) {
            labels.shift_remove("pod-template-hash");
        }
        let keep = |object: &Value, own: bool| -> Map<String, Value> {
            value::pairs(object, "metadata.annotations")
                .filter(|(key, _)| OWN.contains(key) == own)
                .map(|(key, text)| (key.to_string(), text.into()))
                .collect()
        };
        let mut annotations = keep(&info.object, true);
        annotations.extend(keep(&revision.keeper, false));
        let patch = json!([
            {"op": "replace", "path": "/spec/template", "value": template},
            {"op": "replace", "path": "/metadata/annotations", "value": annotations},
        ]);
        (JSON_PATCH, patch)
    } else {
        (STRATEGIC_PATCH, value::at(&revision.keeper, "data").clone())
    };
    let outcome = ctx.api().await?.patch(&info.path(), &query, kind, encoded(&patch)).await;
    outcome.map_err(|fail| {
        Fail::Text(format!("failed restoring revision {}: {}", revision.number, fail.message()))
    })?;
    Ok(dry_run.suffixed("rolled back"))
}

#[cfg(test)]
mod tests;
