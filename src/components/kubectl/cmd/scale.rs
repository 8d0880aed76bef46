//! scale: a new number of replicas.

use super::common::{DryRun, Teller};
use crate::builder::{self, Options};
use crate::ctx::Ctx;
use crate::error::{Fail, text};
use crate::wire::api::MERGE_PATCH;
use api::value;
use std::time::Duration;

pub async fn run(ctx: &Ctx) -> Result<(), Fail> {
    let replicas = ctx.flags.int("replicas");
    if replicas < 0 {
        return text("The --replicas=COUNT flag is required, and COUNT must be greater than or equal to 0");
    }
    let current = if ctx.flags.changed("current-replicas") { ctx.flags.int("current-replicas") } else { -1 };
    if current < -1 {
        return text("The --current-replicas must specify an integer of -1 or greater");
    }
    let dry_run = DryRun::of(ctx)?;
    let teller = Teller::of(ctx, dry_run)?;
    let asked = builder::ask(ctx, &ctx.args, Options::default()).await?;
    let (infos, mut failures) = builder::objects(ctx, asked).await?;
    if infos.is_empty() {
        let refused = Fail::join(failures).err().map_or(String::new(), |f| format!(" {}", f.message()));
        return text(format!("no objects passed to scale{refused}"));
    }
    let version = ctx.flags.text("resource-version");
    for mut info in infos {
        let path = format!("{}/scale", info.path());
        let mut query = vec![];
        dry_run.query(&mut query);
        if dry_run == DryRun::Client {
            teller.tell(ctx, &info.object, "scaled", true)?;
            continue;
        }
        let api = ctx.api().await?;
        let outcome = if current >= 0 || !version.is_empty() {
            let mut scale = api.get(&path, &[]).await?;
            let now = value::int(&scale, "spec.replicas").unwrap_or(0);
            if current >= 0 && now != current {
                failures.push(Fail::Text(format!("Expected replicas to be {current}, was {now}")));
                continue;
            }
            let there = value::text(&scale, "metadata.resourceVersion").to_string();
            if !version.is_empty() && there != version {
                failures.push(Fail::Text(format!("Expected resource version to be {version}, was {there}")));
                continue;
            }
            value::put(&mut scale, "spec.replicas", replicas);
            api.put(&path, &query, &scale).await
        } else {
            let patch = format!("{{\"spec\":{{\"replicas\":{replicas}}}}}");
            api.patch(&path, &query, MERGE_PATCH, patch.into()).await
        };
        if let Err(fail) = outcome {
            match fail {
                Fail::Api(_) => failures.push(fail),
                other => return Err(other),
            }
            continue;
        }
        let limit = ctx.flags.duration("timeout");
        if !limit.is_zero() && dry_run == DryRun::No {
            reached(ctx, &path, replicas, limit).await?;
        }
        if !ctx.flags.text("output").is_empty() {
            info.fetch(ctx).await?;
        }
        teller.tell(ctx, &info.object, "scaled", true)?;
    }
    Fail::join(failures)
}

/// Asks until as many replicas run as are wanted.
async fn reached(ctx: &Ctx, path: &str, replicas: i64, limit: Duration) -> Result<(), Fail> {
    let deadline = tokio::time::Instant::now() + limit;
    loop {
        let scale = ctx.api().await?.get(path, &[]).await?;
        let (wanted, there) = (value::int(&scale, "spec.replicas"), value::int(&scale, "status.replicas"));
        if wanted.unwrap_or(0) != replicas || wanted.unwrap_or(0) == there.unwrap_or(0) {
            return Ok(());
        }
        if tokio::time::Instant::now() >= deadline {
            return text("timed out waiting for the condition");
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
