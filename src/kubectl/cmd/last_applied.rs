//! apply view-last-applied

use super::common::LAST_APPLIED;
use crate::kubectl::builder::{self, Options};
use crate::kubectl::ctx::Ctx;
use crate::kubectl::error::Fail;
use crate::kubectl::gostr::quote;
use crate::kubectl::print::{json, yaml};
use serde_json::Value;

pub async fn view(ctx: &Ctx) -> Result<(), Fail> {
    let output = ctx.flags.text("output");
    if !matches!(output, "yaml" | "json") {
        return ctx.usage(format!(
            "Unexpected -o output mode: {output}, the flag 'output' must be one of yaml|json"
        ));
    }
    let options = Options { all_by_type: ctx.flags.is("all"), ..Options::default() };
    let asked = builder::ask(ctx, &ctx.args, options).await?;
    let (infos, failures) = builder::objects(ctx, asked).await?;
    Fail::join(failures)?;
    for info in infos {
        let Some(last) = info.object["metadata"]["annotations"][LAST_APPLIED].as_str() else {
            continue;
        };
        let last: Value = serde_json::from_str(last)
            .map_err(|e| Fail::Text(format!("{} cannot be read: {e}", quote(LAST_APPLIED))))?;
        match output {
            "json" => ctx.line(json::pretty(&last, "  ", true)),
            _ => ctx.out(yaml::to_string(&last)),
        }
    }
    Ok(())
}
