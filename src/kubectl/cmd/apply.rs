//! apply: makes the cluster be as the files say.

use super::common::{DryRun, LAST_APPLIED, Teller, annotate_last_applied, validation};
use super::prune;
use crate::api::{kinds, value};
use crate::kubectl::builder::{Info, Options, about};
use crate::kubectl::ctx::Ctx;
use crate::kubectl::error::{Fail, text};
use crate::kubectl::files;
use crate::kubectl::gostr::quote;
use crate::kubectl::merge;
use crate::kubectl::print::{formats, json};
use crate::kubectl::wire::api::{APPLY_PATCH, MERGE_PATCH, STRATEGIC_PATCH, encoded};
use crate::kubectl::wire::discovery::Resource;
use serde_json::{Value, json};

/// How often a patch that somebody else's write made stale is computed again.
const RETRIES: usize = 5;
const CONFLICT_HELP: &str = "\nPlease review the fields above--they currently have other managers. Here\nare the ways you can resolve this warning:\n* If you intend to manage all of these fields, please re-run the apply\n  command with the `--force-conflicts` flag.\n* If you do not intend to manage all of the fields, please edit your\n  manifest to remove references to the fields that should keep their\n  current managers.\n* You may co-own fields by updating your manifest to match the existing\n  value; in this case, you'll become the manager if the other manager(s)\n  stop managing the field (remove it from their configuration).\nSee https://kubernetes.io/docs/reference/using-api/server-side-apply/#conflicts";

pub async fn run(ctx: &Ctx) -> Result<(), Fail> {
    if !ctx.args.is_empty() {
        return ctx.usage(format!("Unexpected args: [{}]", ctx.args.join(" ")));
    }
    let files = ctx.flags.list("filename");
    if files.is_empty() && ctx.flags.text("kustomize").is_empty() {
        return text("must specify one of -f and -k");
    }
    let server_side = ctx.flags.is("server-side");
    if ctx.flags.is("force-conflicts") && !server_side {
        return text("--force-conflicts only works with --server-side");
    }
    let dry_run = DryRun::of(ctx)?;
    if dry_run == DryRun::Client && server_side {
        return text(
            "--dry-run=client doesn't work with --server-side (did you mean --dry-run=server instead?)",
        );
    }
    prune::check(ctx).await?;
    let teller = Teller::of(ctx, dry_run)?;
    let format = formats::of(ctx, false)?;
    let options = Options { validated: validation(ctx)? != "Ignore", ..Options::default() };
    let (infos, mut failures) = files::read(ctx, &files, options).await?;
    if infos.is_empty() {
        Fail::join(failures)?;
        return text("no objects passed to apply");
    }
    let selector = match ctx.flags.text("selector") {
        "" => None,
        given => Some(crate::api::labels::Selector::parse(given).map_err(Fail::Text)?),
    };
    let (mut done, mut seen) = (Vec::<Value>::new(), prune::Seen::default());
    for info in infos {
        if selector.as_ref().is_some_and(|s| !s.matches(&info.object["metadata"]["labels"])) {
            continue;
        }
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
                let items: Vec<Value> = done.iter().cloned().map(files::sorted).collect();
                json!({"kind": "List", "apiVersion": "v1", "metadata": {}, "items": items})
            }
        };
        ctx.out(format.print(&shown, done.len() == 1)?);
    }
    Fail::join(failures)
}

async fn on_server(ctx: &Ctx, info: &Info, dry_run: DryRun) -> Result<(Value, &'static str), Fail> {
    let force = ctx.flags.is("force-conflicts").to_string();
    let manager = match ctx.flags.text("field-manager") {
        "kubectl-client-side-apply" | "" => "kubectl",
        named => named,
    };
    let mut query =
        vec![("fieldManager", manager), ("fieldValidation", validation(ctx)?), ("force", force.as_str())];
    dry_run.query(&mut query);
    let body = bytes::Bytes::from(json::compact(&info.object));
    let answer = ctx.api().await?.patch(&info.path(), &query, APPLY_PATCH, body).await;
    match answer {
        Ok(object) => Ok((object, "serverside-applied")),
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
    modified = files::sorted(modified);
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
    let deleting = value::text(&object, "metadata.deletionTimestamp");
    if !deleting.is_empty() {
        ctx.note(format!(
            "Warning: Detected changes to resource {} which is currently being deleted.",
            info.name
        ));
    }
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
pub fn is_strategic(resource: &Resource) -> bool {
    kinds::all()
        .iter()
        .any(|k| k.group == resource.group && k.version == resource.version && k.kind == resource.kind)
}

/// The patch from `current` to `modified`, and its content type.
pub fn patch_between(info: &Info, modified: &Value, current: &Value) -> (Value, &'static str) {
    let last = current["metadata"]["annotations"][LAST_APPLIED].as_str().unwrap_or("");
    let original: Value = serde_json::from_str(last).unwrap_or(Value::Null);
    if is_strategic(&info.resource) {
        (merge::strategic(&info.resource.kind, &original, modified, current), STRATEGIC_PATCH)
    } else {
        (merge::merge(&original, modified, current), MERGE_PATCH)
    }
}

/// Sends the patch, again if somebody else wrote in between; says whether there was anything to change.
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
        let (patch, kind) = patch_between(info, modified, &current);
        if merge::is_empty(&patch) {
            return Ok((current, false));
        }
        let api = ctx.api().await?;
        match api.patch(&info.path(), &query, kind, encoded(&patch)).await {
            Ok(object) => return Ok((object, true)),
            Err(fail) if fail.code() == Some(409) && tries < RETRIES => {
                tries += 1;
                current = api.get(&info.path(), &[]).await?;
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
