//! apply: creates or patches objects until they are as the files say.

use super::common::{
    DryRun, LAST_APPLIED, Printer, annotate_last_applied, subresource, validation, warn_if_deleting,
};
use super::delete::{checked_propagation, propagation, wait_gone};
use super::record::record;
use super::until::{Deadline, GONE_WITHIN};
use super::{migrate, prune};
use crate::builder::about;
use crate::ctx::Ctx;
use crate::error::{Fail, text};
use crate::files;
use crate::info::{Info, Options};
use crate::manifest;
use crate::merge;
use crate::print::formats::{self, Format};
use crate::print::{json, yaml};
use crate::scheme;
use crate::wire::api::{APPLY_PATCH, MERGE_PATCH, STRATEGIC_PATCH, encoded};
use api::gostr::quote;
use api::{kinds, value};
use client::discovery::Resource;
use serde_json::{Value, json};

/// How often a patch is computed anew because another client wrote the object meanwhile.
const RETRIES: usize = 5;
const CONFLICT_HELP: &str = "\nPlease review the fields above--they currently have other managers. Here\nare the ways you can resolve this warning:\n* If you intend to manage all of these fields, please re-run the apply\n  command with the `--force-conflicts` flag.\n* If you do not intend to manage all of the fields, please edit your\n  manifest to remove references to the fields that should keep their\n  current managers.\n* You may co-own fields by updating your manifest to match the existing\n  value; in this case, you'll become the manager if the other manager(s)\n  stop managing the field (remove it from their configuration).\nSee https://kubernetes.io/docs/reference/using-api/server-side-apply/#conflicts";

pub(crate) async fn run(ctx: &Ctx) -> Result<(), Fail> {
    if !ctx.args.is_empty() {
        return ctx.usage(format!("Unexpected args: [{}]", ctx.args.join(" ")));
    }
    let files = ctx.flags.list("filename");
    if !ctx.names_files() {
        return text("must specify one of -f and -k");
    }
    let server_side = ctx.flags.is("server-side");
    let dry_run = checked_dry_run(ctx, server_side)?;
    checked_propagation(ctx)?;
    prune::check(ctx).await?;
    if ctx.flags.is("prune") {
        check_prune(ctx)?;
    }
    let printer = Printer::of(ctx, dry_run)?;
    let format = formats::of(ctx, false)?;
    let options = Options { validated: validation(ctx)? != "Ignore", ..Options::default() };
    let (infos, mut failures) = files::read(ctx, &files, options).await?;
    if infos.is_empty() {
        Fail::join(failures)?;
        return text("no objects passed to apply");
    }
    let mut done = Vec::<Value>::new();
    let mut seen = prune::Seen::in_namespace(ctx.flags.global("namespace"));
    for mut info in infos {
        record(ctx, &mut info.object);
        let prefix = value::text(&info.object, "metadata.generateName");
        let outcome = match server_side {
            _ if info.name.is_empty() && !prefix.is_empty() => {
                text(format!("from {prefix}: cannot use generate name with apply"))
            }
            true => on_server(ctx, &info, dry_run).await,
            false => on_client(ctx, &info, dry_run).await,
        };
        match outcome {
            Ok((object, operation)) => {
                if dry_run != DryRun::Client {
                    warn_if_deleting(ctx, &info.name, &object);
                }
                seen.add(&info, &object);
                match &format {
                    Some(format) if !format.is_name() => done.push(object),
                    _ => printer.print(ctx, &object, operation, true)?,
                }
            }
            Err(fail @ (Fail::Api(_) | Fail::Text(_))) => failures.push(fail),
            Err(other) => return Err(other),
        }
    }
    // As in kubectl the objects are printed if all of them are applied, and pruned ones on their
    // own.
    Fail::join(failures)?;
    if let Some(format) = format
        && !done.is_empty()
    {
        print_applied(ctx, &format, &done)?;
    }
    match ctx.flags.is("prune") {
        true => prune::run(ctx, &seen, dry_run, &printer).await,
        false => Ok(()),
    }
}

/// Prints objects that were applied, in the format of `-o`: one as it is, several as a List.
fn print_applied(ctx: &Ctx, format: &Format, objects: &[Value]) -> Result<(), Fail> {
    let printed = match objects {
        [one] => one.clone(),
        _ => {
            let items: Vec<Value> = objects.iter().cloned().map(manifest::sorted).collect();
            json!({"kind": "List", "apiVersion": "v1", "metadata": {}, "items": items})
        }
    };
    ctx.out(format.print(&printed, objects.len() == 1)?);
    Ok(())
}

/// Reads `--dry-run`, and checks that the flags fit to each other and to it.
fn checked_dry_run(ctx: &Ctx, server_side: bool) -> Result<DryRun, Fail> {
    if ctx.flags.is("force-conflicts") && !server_side {
        return text("--force-conflicts only works with --server-side");
    }
    let dry_run = DryRun::of(ctx)?;
    if dry_run == DryRun::Client && server_side {
        return text(
            "--dry-run=client doesn't work with --server-side (did you mean --dry-run=server instead?)",
        );
    }
    if ctx.flags.is("force") && server_side {
        return text("--force cannot be used with --server-side");
    }
    if ctx.flags.is("force") && dry_run == DryRun::Server {
        return text("--dry-run=server cannot be used with --force");
    }
    if !ctx.flags.text("subresource").is_empty() && !server_side {
        return text("--subresource can only be specified for --server-side");
    }
    Ok(dry_run)
}

/// Refuses the ways to apply that pruning cannot follow: it knows the objects of the files by their
/// UIDs, which `--force` changes, and those that left the files by an annotation, which a
/// server-side apply does not write.
fn check_prune(ctx: &Ctx) -> Result<(), Fail> {
    if ctx.flags.is("force") {
        return text("--force cannot be used with --prune");
    }
    if ctx.flags.is("server-side") {
        return text(
            "--prune is in alpha and doesn't currently work on objects created by server-side apply",
        );
    }
    Ok(())
}

/// The field manager of a server-side apply: the one that was named, else kubectl's own.
pub(crate) fn server_side_manager(ctx: &Ctx) -> &str {
    match ctx.flags.changed("field-manager") {
        // Also an empty name is sent; the server refuses it.
        true => ctx.flags.text("field-manager"),
        false => "kubectl",
    }
}

async fn on_server(ctx: &Ctx, info: &Info, dry_run: DryRun) -> Result<(Value, &'static str), Fail> {
    let force = ctx.flags.is("force-conflicts").to_string();
    let (manager, below) = (server_side_manager(ctx), subresource(ctx));
    let mut query =
        vec![("fieldManager", manager), ("fieldValidation", validation(ctx)?), ("force", force.as_str())];
    dry_run.query(&mut query);
    let body = bytes::Bytes::from(json::compact(&info.object));
    let api = ctx.api().await?;
    let path = format!("{}{below}", info.path());
    match api.patch(&path, &query, APPLY_PATCH, body.clone()).await {
        Ok(object) if dry_run != DryRun::No || !below.is_empty() => Ok((object, "serverside-applied")),
        Ok(object) => {
            // The object is applied. What fails from here on is tried again at the next apply.
            let object = match migrate::run(ctx, info, &object, manager).await {
                Ok(false) => object,
                Ok(true) => match api.patch(&path, &query, APPLY_PATCH, body).await {
                    Ok(again) => again,
                    Err(fail) => {
                        ctx.note(format!(
                            "Warning: failed to re-apply configuration after performing Server-Side Apply migration. This is non-fatal and will be retried next time you apply. Error: {}",
                            fail.message()
                        ));
                        object
                    }
                },
                Err(fail) => {
                    ctx.note(format!(
                        "Warning: server rejected managed fields migration to Server-Side Apply. This is non-fatal and will be retried next time you apply. Error: {}",
                        fail.message()
                    ));
                    object
                }
            };
            Ok((object, "serverside-applied"))
        }
        Err(Fail::Api(refusal))
            if refusal.reason == "Conflict" && refusal.message.starts_with("Apply failed") =>
        {
            text(format!("{}{CONFLICT_HELP}", refusal.message))
        }
        Err(fail) => Err(fail),
    }
}

async fn on_client(ctx: &Ctx, info: &Info, dry_run: DryRun) -> Result<(Value, &'static str), Fail> {
    if info.name.is_empty() {
        return text(format!("{}resource name may not be empty", retrieving(info)));
    }
    let mut modified = info.object.clone();
    annotate_last_applied(&mut modified, true);
    modified = manifest::sorted(modified);
    let current = match ctx.api().await?.get(&info.path(), &[]).await {
        Ok(current) => current,
        Err(fail) if fail.is_not_found() => return create(ctx, info, modified, dry_run).await,
        Err(Fail::Api(refusal)) => return Err(Fail::Api(refusal.prefixed(&retrieving(info)))),
        Err(other) => return Err(other),
    };
    if dry_run == DryRun::Client {
        return Ok((current, "configured"));
    }
    if current["metadata"]["annotations"][LAST_APPLIED].is_null() {
        ctx.note(format!(
            "Warning: resource {}/{} is missing the {LAST_APPLIED} annotation which is required by kubectl apply. kubectl apply should only be used on resources created declaratively by either kubectl create --save-config or kubectl apply. The missing annotation will be patched automatically.",
            info.resource.plural, info.name
        ));
    }
    let (object, changed) = patch(ctx, info, &modified, current, dry_run).await?;
    Ok((object, if changed { "configured" } else { "unchanged" }))
}

/// Which object it is, as Go prints it: `/v1, Resource=configmaps` and `/v1, Kind=ConfigMap`.
fn go_names(info: &Info) -> String {
    let r = &info.resource;
    let of = |what: &str, name: &str| quote(&format!("{}/{}, {what}={name}", r.group, r.version));
    format!(
        "Resource: {}, GroupVersionKind: {}\nName: {}, Namespace: {}",
        of("Resource", &r.plural),
        of("Kind", &r.kind),
        quote(&info.name),
        quote(&info.namespace)
    )
}

/// The head of the error for a live object that cannot be read.
fn retrieving(info: &Info) -> String {
    let (named, source) = (go_names(info), quote(&info.source));
    format!("error when retrieving current configuration of:\n{named}\nfrom server for: {source}: ")
}

async fn create(
    ctx: &Ctx,
    info: &Info,
    object: Value,
    dry_run: DryRun,
) -> Result<(Value, &'static str), Fail> {
    // A patch removes a field that is null, so a new object has none of them. The annotation is
    // written already and keeps them.
    let object = manifest::without_nulls(object);
    if dry_run == DryRun::Client {
        return Ok((object, "created"));
    }
    let mut query =
        vec![("fieldManager", ctx.flags.text("field-manager")), ("fieldValidation", validation(ctx)?)];
    dry_run.query(&mut query);
    let created = ctx.api().await?.create(&info.collection(), &query, &object).await;
    created.map(|object| (object, "created")).map_err(|fail| about(fail, "creating", &info.source))
}

/// Returns whether a strategic merge patch is made for this kind. As in kubectl, none is made for a
/// CustomResourceDefinition, which its scheme does not have.
pub(crate) fn is_strategic(resource: &Resource) -> bool {
    let is = |k: &kinds::Kind| {
        k.group == resource.group && k.version == resource.version && k.kind == resource.kind
    };
    scheme::has_group(&resource.group) && kinds::all().iter().any(is)
}

/// What the annotation of the live object says was applied last; null if nothing was.
fn last_applied(info: &Info, current: &Value) -> Result<Value, Fail> {
    match current["metadata"]["annotations"][LAST_APPLIED].as_str().unwrap_or("") {
        "" => Ok(Value::Null),
        last => serde_json::from_str(last).map_err(|why| {
            Fail::Text(format!(
                "the annotation {LAST_APPLIED} of {} on the server cannot be read, so it is unknown which fields to remove: {why}; correct it with `kubectl apply set-last-applied`",
                info.named()
            ))
        }),
    }
}

/// The patch from `current` to `modified`, and its content type.
pub(crate) fn patch_between(
    info: &Info,
    modified: &Value,
    current: &Value,
) -> Result<(Value, &'static str), Fail> {
    let original = last_applied(info, current)?;
    Ok(if is_strategic(&info.resource) {
        (merge::strategic(&info.resource.kind, &original, modified, current), STRATEGIC_PATCH)
    } else {
        (merge::merge(&original, modified, current), MERGE_PATCH)
    })
}

/// With `--overwrite=false`: refuses a patch that sets a field which another client changed since
/// the last apply.
fn check_conflicts(ctx: &Ctx, info: &Info, patch: &Value, current: &Value) -> Result<(), Fail> {
    if ctx.flags.is("overwrite") {
        return Ok(());
    }
    let original = last_applied(info, current)?;
    // The annotation is kubectl's own and differs with every change.
    let bare = |object: &Value| {
        let mut object = object.clone();
        if let Some(Value::Object(annotations)) = value::at_mut(&mut object, "metadata.annotations") {
            annotations.shift_remove(LAST_APPLIED);
        }
        object
    };
    let (patch, current) = (&bare(patch), &bare(current));
    let (kind, changed) = match is_strategic(&info.resource) {
        true => {
            let kind = info.resource.kind.as_str();
            (kind, merge::strategic_two_way(kind, &original, current))
        }
        false => ("", merge::merge_two_way(&original, current)),
    };
    if !merge::conflicts(kind, patch, &changed) {
        return Ok(());
    }
    text(format!(
        "patch:\n{}\nconflicts with changes made from original to current:\n{}\n",
        yaml::to_string(patch),
        yaml::to_string(&changed)
    ))
}

/// Deletes an object that cannot be patched and creates it as the file says; if that fails, creates
/// it as it was.
async fn recreate(ctx: &Ctx, info: &Info, modified: &Value, current: &Value) -> Result<Value, Fail> {
    let api = ctx.api().await?;
    let mut body = json!({"propagationPolicy": propagation(ctx)?});
    let grace = ctx.flags.int("grace-period");
    if grace >= 0 {
        value::put(&mut body, "gracePeriodSeconds", grace);
    }
    api.delete(&info.path(), &[], &body).await?;
    let deadline = Deadline::of(ctx.flags.duration("timeout"), GONE_WITHIN);
    wait_gone(ctx, &mut info.clone(), "", deadline).await?;
    let query = [("fieldManager", ctx.flags.text("field-manager")), ("fieldValidation", validation(ctx)?)];
    let fail = match api.create(&info.collection(), &query, modified).await {
        Ok(created) => return Ok(created),
        Err(fail) => fail,
    };
    let mut before = current.clone();
    for own in ["metadata.resourceVersion", "metadata.uid"] {
        value::remove(&mut before, own);
    }
    match api.post(&info.collection(), &query[..1], &before).await {
        Ok(_) => Err(fail),
        Err(again) => text(format!(
            "An error occurred force-replacing the existing object with the newly provided one:\n\n{}.\n\nAdditionally, an error occurred attempting to restore the original object:\n\n{}",
            fail.message(),
            again.message()
        )),
    }
}

/// Sends the patch, and a new one if another client wrote in between; returns the object, and
/// whether there was anything to change.
async fn patch(
    ctx: &Ctx,
    info: &Info,
    modified: &Value,
    mut current: Value,
    dry_run: DryRun,
) -> Result<(Value, bool), Fail> {
    let mut query =
        vec![("fieldManager", ctx.flags.text("field-manager")), ("fieldValidation", validation(ctx)?)];
    dry_run.query(&mut query);
    let mut tries = 0;
    loop {
        let (patch, kind) = patch_between(info, modified, &current)?;
        if merge::is_empty(&patch) {
            return Ok((current, false));
        }
        check_conflicts(ctx, info, &patch, &current)?;
        let api = ctx.api().await?;
        match api.patch(&info.path(), &query, kind, encoded(&patch)).await {
            Ok(object) => return Ok((object, true)),
            Err(fail) if fail.code() == Some(409) && tries < RETRIES => {
                tries += 1;
                current = api.get(&info.path(), &[]).await?;
            }
            Err(fail) if ctx.flags.is("force") && matches!(fail.code(), Some(409 | 422)) => {
                return recreate(ctx, info, modified, &current).await.map(|object| (object, true));
            }
            Err(Fail::Api(refusal)) => {
                let (patch, named, source) = (json::compact(&patch), go_names(info), quote(&info.source));
                let head = format!(
                    "error when applying patch:\n{patch}\nto:\n{named}\nfor: {source}: error when patching {source}: "
                );
                return Err(Fail::Api(refusal.prefixed(&head)));
            }
            Err(other) => return Err(other),
        }
    }
}

#[cfg(test)]
mod tests;
