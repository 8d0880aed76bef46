//! `describe`: BEING WRITTEN RIGHT NOW BY ANOTHER ENGINEER (10:13). Leave this directory alone and wire the verb to
//! `crate::kubectl::describe::run(ctx)`; work on the other verbs (run, delete, apply, scale, expose, logs, exec, rollout, edit, diff, wait, explain, set, config).

use super::ctx::Ctx;
use super::error::Fail;

pub async fn run(ctx: &Ctx) -> Result<(), Fail> {
    super::cmd::info::missing(ctx).await
}
