//! cordon and uncordon: whether new pods may come to a node.

use super::common::DryRun;
use crate::builder::{self, Asked, Listing};
use crate::ctx::Ctx;
use crate::error::Fail;
use crate::info::Info;
use crate::wire::api::{STRATEGIC_PATCH, encoded};
use api::value;
use serde_json::{Value, json};

pub(crate) async fn cordon(ctx: &Ctx) -> Result<(), Fail> {
    mark(ctx, true).await
}

pub(crate) async fn uncordon(ctx: &Ctx) -> Result<(), Fail> {
    mark(ctx, false).await
}

/// The nodes that the arguments or the selector name.
pub(super) async fn nodes(ctx: &Ctx) -> Result<(Vec<Info>, Vec<Fail>), Fail> {
    let selector = ctx.flags.text("selector");
    if ctx.args.is_empty() && selector.is_empty() {
        return ctx.usage(format!("USAGE: {} [flags]", ctx.usage_line.trim_end_matches(" [options]")));
    }
    if !ctx.args.is_empty() && !selector.is_empty() {
        return ctx.usage("error: cannot specify both a node name and a --selector option");
    }
    let resource = ctx.resource("nodes").await?;
    let asked = match ctx.args.is_empty() {
        true => Asked::Lists(vec![Listing { resource, namespace: String::new() }]),
        false => {
            let named = |word: &String| Info {
                resource: resource.clone(),
                namespace: String::new(),
                name: word.strip_prefix("node/").or(word.strip_prefix("nodes/")).unwrap_or(word).to_string(),
                object: Value::Null,
                source: String::new(),
            };
            Asked::Objects(ctx.args.iter().map(named).collect(), vec![])
        }
    };
    builder::objects(ctx, asked).await
}

pub(super) async fn mark(ctx: &Ctx, unschedulable: bool) -> Result<(), Fail> {
    let dry_run = DryRun::of(ctx)?;
    let (infos, mut failures) = nodes(ctx).await?;
    let word = if unschedulable { "cordoned" } else { "uncordoned" };
    for info in infos {
        if value::flag(&info.object, "spec.unschedulable") == unschedulable {
            ctx.line(format!("node/{} {}", info.name, dry_run.told(&format!("already {word}"))));
            continue;
        }
        if dry_run != DryRun::Client {
            let mut query = vec![];
            dry_run.query(&mut query);
            let wanted = if unschedulable { json!(true) } else { Value::Null };
            let patch = encoded(&json!({"spec": {"unschedulable": wanted}}));
            if let Err(fail) = ctx.api().await?.patch(&info.path(), &query, STRATEGIC_PATCH, patch).await {
                failures.push(fail);
                continue;
            }
        }
        ctx.line(format!("node/{} {}", info.name, dry_run.told(word)));
    }
    Fail::join(failures)
}
