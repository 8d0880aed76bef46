//! replace: a whole object in place of another.

use super::common::{DryRun, Teller, annotate_last_applied, send_raw, validation};
use super::delete::wait_gone;
use crate::api::value;
use crate::kubectl::builder::{Options, about};
use crate::kubectl::ctx::Ctx;
use crate::kubectl::error::{Fail, text};
use crate::kubectl::files;
use crate::kubectl::gostr::quote;
use serde_json::json;

pub async fn run(ctx: &Ctx) -> Result<(), Fail> {
    if !ctx.args.is_empty() {
        return ctx.usage(format!("Unexpected args: [{}]", ctx.args.join(" ")));
    }
    let files = ctx.flags.list("filename");
    if files.is_empty() {
        return text("must specify one of -f and -k");
    }
    let dry_run = DryRun::of(ctx)?;
    let teller = Teller::of(ctx, dry_run)?;
    let raw = ctx.flags.text("raw");
    if !raw.is_empty() {
        return send_raw(ctx, http::Method::PUT, raw, &files).await;
    }
    let force = ctx.flags.is("force");
    if ctx.flags.int("grace-period") >= 0 && !force {
        return text("--grace-period must have --force specified");
    }
    if !ctx.flags.duration("timeout").is_zero() && !force {
        return text("--timeout must have --force specified");
    }
    let options = Options { validated: validation(ctx)? != "Ignore", ..Options::default() };
    let (infos, mut failures) = files::read(ctx, &files, options).await?;
    if infos.is_empty() {
        return Fail::join(failures);
    }
    let mut query =
        vec![("fieldManager", ctx.flags.text("field-manager")), ("fieldValidation", validation(ctx)?)];
    dry_run.query(&mut query);
    if force && dry_run == DryRun::No {
        for info in &infos {
            let mut body = json!({"propagationPolicy": "Background"});
            let grace = ctx.flags.int("grace-period");
            if grace >= 0 {
                value::put(&mut body, "gracePeriodSeconds", grace);
            }
            match ctx.api().await?.delete(&info.path(), &[], &body).await {
                Ok(_) => ctx.line(format!("{} {} deleted", info.resource.kind_group(), quote(&info.name))),
                Err(fail) if fail.is_not_found() => {}
                Err(fail) => return Err(fail),
            }
        }
        for info in &infos {
            wait_gone(ctx, &mut info.clone(), "", ctx.flags.duration("timeout")).await?;
        }
    }
    for mut info in infos {
        if ctx.flags.is("save-config") {
            annotate_last_applied(&mut info.object, true);
        }
        if dry_run == DryRun::Client {
            teller.tell(ctx, &info.object, "replaced", true)?;
            continue;
        }
        let api = ctx.api().await?;
        let outcome = if force && dry_run == DryRun::No {
            api.post(&info.collection(), &query, &info.object).await
        } else {
            match api.get(&info.path(), &[]).await {
                Err(fail) => Err(fail),
                Ok(live) => {
                    if value::empty(&info.object, "metadata.resourceVersion") {
                        let version = value::at(&live, "metadata.resourceVersion").clone();
                        value::put(&mut info.object, "metadata.resourceVersion", version);
                    }
                    api.put(&info.path(), &query, &info.object).await
                }
            }
        };
        match outcome {
            Ok(object) => teller.tell(ctx, &object, "replaced", true)?,
            Err(fail @ (Fail::Api(_) | Fail::Text(_))) => {
                failures.push(about(fail, "replacing", &info.source))
            }
            Err(other) => return Err(other),
        }
    }
    Fail::join(failures)
}
