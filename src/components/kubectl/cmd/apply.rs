//! apply: makes the cluster be as the files say.

use super::common::{
    DryRun, LAST_APPLIED, Teller, annotate_last_applied, subresource, validation, warn_if_deleting,
};
use super::delete::{propagation, wait_gone};
use super::wait::{Deadline, GONE_WITHIN};
use super::{migrate, prune};
use crate::builder::about;
use crate::ctx::Ctx;
use crate::error::{Fail, text};
use crate::files;
use crate::info::{Info, Options};
use crate::manifest;
use crate::merge;
use crate::print::{formats, json, yaml};
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
    propagation(ctx)?;
    prune::check(ctx).await?;
    let teller = Teller::of(ctx, dry_run)?;
    let format = formats::of(ctx, false)?;
    let options = Options { validated: validation(ctx)? != "Ignore", ..Options::default() };
    let (infos, mut failures) = files::read(ctx, &files, options).await?;
    if infos.is_empty() {
        Fail::join(failures)?;
        return text("no objects passed to apply");
    }
    let (mut done, mut seen) = (Vec::<Value>::new(), prune::Seen::default());
    for info in infos {
        let outcome = if server_side {
            on_server(ctx, &info, dry_run).await
        } else {
            on_client(ctx, &info, dry_run).await
        };
        match outcome {
            Ok((object, operation)) => {
                seen.add(&info, &object);
                match &format {
                    Some(format) if !format.is_name() => done.push(object),
                    _ => teller.tell(ctx, &object, operation, true)?,
                }
            }
            Err(fail @ (Fail::Api(_) | Fail::Text(_))) => failures.push(fail),
            Err(other) => return Err(other),
        }
    }
    if ctx.flags.is("prune") && failures.is_empty() {
        let names = format.as_ref().is_none_or(|f| f.is_name());
        let pruned = prune::run(ctx, &seen, dry_run, names.then_some(&teller)).await?;
        if !names {
            done.extend(pruned);
        }
    }
    if let Some(format) = format
        && !done.is_empty()
    {
        let shown = match done.as_slice() {
            [one] => one.clone(),
            _ => {
                let items: Vec<Value> = done.iter().cloned().map(manifest::sorted).collect();
                json!({"kind": "List", "apiVersion": "v1", "metadata": {}, "items": items})
            }
        };
        ctx.out(format.print(&shown, done.len() == 1)?);
    }
    Fail::join(failures)
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

/// The field manager of a server-side apply: the one that was named, else kubectl's own.
pub(crate) fn server_side_manager(ctx: &Ctx) -> &str {
    match ctx.flags.text("field-manager") {
        "kubectl-client-side-apply" | "" => "kubectl",
        named => named,
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
        let prefix = value::text(&info.object, "metadata.generateName");
        return match prefix {
            "" => text("resource name may not be empty"),
            prefix => text(format!("from {prefix}: cannot use generate name with apply")),
        };
    }
    let mut modified = info.object.clone();
    annotate_last_applied(&mut modified, true);
    modified = manifest::sorted(modified);
    let current = match ctx.api().await?.get(&info.path(), &[]).await {
        Ok(current) => current,
        Err(fail) if fail.is_not_found() => return create(ctx, info, modified, dry_run).await,
        Err(Fail::Api(refusal)) => {
            let kind = format!("{}, Kind={}", info.resource.api_version(), info.resource.kind);
            let gvr = format!("{}, Resource={}", info.resource.api_version(), info.resource.plural);
            let head = format!(
                "error when retrieving current configuration of:\nResource: {}, GroupVersionKind: {}\nName: {}, Namespace: {}\nfrom server for: {}: ",
                quote(&gvr),
                quote(&kind),
                quote(&info.name),
                quote(&info.namespace),
                quote(&info.source)
            );
            return Err(Fail::Api(refusal.prefixed(&head)));
        }
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
    warn_if_deleting(ctx, &info.name, &object);
    Ok((object, if changed { "configured" } else { "unchanged" }))
}

async fn create(
    ctx: &Ctx,
    info: &Info,
    object: Value,
    dry_run: DryRun,
) -> Result<(Value, &'static str), Fail> {
    if dry_run == DryRun::Client {
        return Ok((object, "created"));
    }
    let mut query =
        vec![("fieldManager", ctx.flags.text("field-manager")), ("fieldValidation", validation(ctx)?)];
    dry_run.query(&mut query);
    let created = ctx.api().await?.post(&info.collection(), &query, &object).await;
    created.map(|object| (object, "created")).map_err(|fail| about(fail, "creating", &info.source))
}

/// Is a strategic merge patch understood for this kind?
pub(crate) fn is_strategic(resource: &Resource) -> bool {
    kinds::all()
        .iter()
        .any(|k| k.group == resource.group && k.version == resource.version && k.kind == resource.kind)
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
    let fail = match api.post(&info.collection(), &query, modified).await {
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
                let gvr = format!("{}, Resource={}", info.resource.api_version(), info.resource.plural);
                let gvk = format!("{}, Kind={}", info.resource.api_version(), info.resource.kind);
                if refusal.reason == "Invalid" {
                    return Err(Fail::Api(refusal));
                }
                let head = format!(
                    "error when applying patch:\n{}\nto:\nResource: {}, GroupVersionKind: {}\nName: {}, Namespace: {}\nfor: {}: error when patching {}: ",
                    json::compact(&patch),
                    quote(&gvr),
                    quote(&gvk),
                    quote(&info.name),
                    quote(&info.namespace),
                    quote(&info.source),
                    quote(&info.source)
                );
                return Err(Fail::Api(refusal.prefixed(&head)));
            }
            Err(other) => return Err(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Server, at, config_map, refusal};

    /// A file of one ConfigMap with this data.
    fn file(dir: &tempfile::TempDir, data: Value) -> String {
        let mut object = config_map("a", json!({}));
        object["data"] = data;
        let path = dir.path().join("a.yaml");
        std::fs::write(&path, object.to_string()).unwrap();
        path.display().to_string()
    }

    fn immutable(asked: &crate::testing::Asked) -> Option<(u16, Value)> {
        (asked.method == "PATCH").then(|| refusal(422, "Invalid", "field is immutable"))
    }

    #[tokio::test]
    async fn force_creates_an_object_anew_that_cannot_be_patched() {
        let (server, dir) = (Server::start_with(immutable).await, tempfile::tempdir().unwrap());
        server.hold(&at("a"), config_map("a", json!({})));
        let path = file(&dir, json!({"k": "new"}));
        let said = server.kubectl(&["apply", "-f", &path]).await;
        assert!(said.code == 1 && said.err.contains("is invalid"), "{said:?}");
        let said = server.kubectl(&["apply", "--force", "-f", &path]).await;
        assert_eq!((said.code, said.out.as_str()), (0, "configmap/a configured\n"), "{said:?}");
        assert_eq!(server.object(&at("a")).unwrap()["data"]["k"], "new");
    }

    #[tokio::test]
    async fn force_puts_the_old_object_back_when_the_new_one_is_refused() {
        let server = Server::start_with(|asked| {
            let new = asked.method == "POST" && asked.body["data"]["k"] == "new";
            if new { Some(refusal(403, "Forbidden", "not this")) } else { immutable(asked) }
        })
        .await;
        let dir = tempfile::tempdir().unwrap();
        let mut old = config_map("a", json!({}));
        old["data"] = json!({"k": "old"});
        server.hold(&at("a"), old);
        let said = server.kubectl(&["apply", "--force", "-f", &file(&dir, json!({"k": "new"}))]).await;
        assert!(said.code == 1 && said.err.contains("not this"), "{said:?}");
        assert_eq!(server.object(&at("a")).expect("it is back")["data"]["k"], "old");
    }

    #[tokio::test]
    async fn without_overwrite_a_value_of_somebody_else_is_a_conflict() {
        let (server, dir) = (Server::start().await, tempfile::tempdir().unwrap());
        let said = server.kubectl(&["apply", "-f", &file(&dir, json!({"k": "1"}))]).await;
        assert_eq!(said.code, 0, "{said:?}");
        let mut live = server.object(&at("a")).unwrap();
        live["data"]["k"] = "theirs".into();
        server.hold(&at("a"), live);
        let path = file(&dir, json!({"k": "2"}));
        let said = server.kubectl(&["apply", "--overwrite=false", "-f", &path]).await;
        assert!(
            said.code == 1 && said.err.contains("conflicts with changes made from original to current"),
            "{said:?}"
        );
        assert_eq!(server.object(&at("a")).unwrap()["data"]["k"], "theirs");
        let said = server.kubectl(&["apply", "-f", &path]).await;
        assert_eq!(
            (said.code, server.object(&at("a")).unwrap()["data"]["k"].as_str()),
            (0, Some("2")),
            "{said:?}"
        );
    }

    #[tokio::test]
    async fn an_annotation_that_cannot_be_read_is_told() {
        let (server, dir) = (Server::start().await, tempfile::tempdir().unwrap());
        let mut live = config_map("a", json!({}));
        live["metadata"]["annotations"] = json!({LAST_APPLIED: "{broken"});
        server.hold(&at("a"), live);
        for verb in ["apply", "diff"] {
            let said = server.kubectl(&[verb, "-f", &file(&dir, json!({"k": "1"}))]).await;
            assert!(said.code > 0 && said.err.contains("cannot be read"), "{said:?}");
        }
        assert!(server.object(&at("a")).unwrap()["data"].is_null());
    }

    #[tokio::test]
    async fn a_subresource_is_applied_on_the_server_only_and_where_it_is() {
        let (server, dir) = (Server::start().await, tempfile::tempdir().unwrap());
        let status = format!("{}/status", at("a"));
        for path in [at("a"), status.clone()] {
            server.hold(&path, config_map("a", json!({})));
        }
        let path = file(&dir, json!({"k": "1"}));
        let said = server.kubectl(&["apply", "--subresource=status", "-f", &path]).await;
        assert!(said.code == 1 && said.err.contains("--server-side"), "{said:?}");
        let said = server.kubectl(&["apply", "--server-side", "--subresource=status", "-f", &path]).await;
        assert_eq!(said.code, 0, "{said:?}");
        assert!(server.object(&at("a")).unwrap()["data"].is_null());
        assert_eq!(server.object(&status).unwrap()["data"]["k"], "1");
        let said =
            server.kubectl(&["replace", "--subresource=status", "-f", &file(&dir, json!({"k": "2"}))]).await;
        assert_eq!(said.code, 0, "{said:?}");
        assert_eq!(server.object(&status).unwrap()["data"]["k"], "2");
        let said = server.kubectl(&["diff", "--server-side", "--field-manager=me", "-f", &path]).await;
        let asked = server.asked();
        assert!(asked.last().is_some_and(|a| a.query.contains("fieldManager=me")), "{said:?}");
    }

    #[tokio::test]
    async fn a_server_side_apply_takes_over_the_fields_of_client_side_apply() {
        let (server, dir) = (Server::start().await, tempfile::tempdir().unwrap());
        let mut live = config_map("a", json!({}));
        live["metadata"]["managedFields"] = json!([{"manager": "kubectl-client-side-apply", "operation": "Update", "apiVersion": "v1",
            "fieldsV1": {"f:metadata": {"f:annotations": {format!("f:{LAST_APPLIED}"): {}}}, "f:data": {"f:old": {}}}}]);
        server.hold(&at("a"), live);
        let said = server.kubectl(&["apply", "--server-side", "-f", &file(&dir, json!({"k": "1"}))]).await;
        assert_eq!(said.code, 0, "{said:?}");
        let sent: Vec<_> = server.asked().into_iter().filter(|a| a.method == "PATCH").collect();
        assert_eq!(sent.len(), 3, "applied, moved, applied again: {sent:?}");
        let moved = &sent[1].body[0];
        assert_eq!(
            (moved["path"].as_str(), moved["value"][0]["operation"].as_str()),
            (Some("/metadata/managedFields"), Some("Apply"))
        );
    }
}
