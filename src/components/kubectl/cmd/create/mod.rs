//! create: from files, or generated from flags.

pub(crate) mod data;
pub(crate) mod file;
pub(crate) mod ingress;
pub(crate) mod rbac;
mod rules;
pub(crate) mod services;
pub(crate) mod simple;
pub(crate) mod workloads;

use super::common::{DryRun, Printer, annotate_last_applied, validation};
use crate::ctx::Ctx;
use crate::error::{Fail, text};
use crate::wire::paths;
use api::value;
use serde_json::Value;

/// Creates a generated object in `collection` (a path), or with `--dry-run=client` prints it alone.
/// `noun`: what a failure says could not be created; empty: the server's refusal is printed as it
/// is.
async fn submit(ctx: &Ctx, collection: &str, mut object: Value, noun: &str) -> Result<(), Fail> {
    let dry_run = DryRun::of(ctx)?;
    let printer = Printer::of(ctx, dry_run)?;
    let strictness = validation(ctx)?;
    if value::empty(&object, "metadata.name") {
        return text("name must be specified");
    }
    if ctx.flags.is("save-config") {
        annotate_last_applied(&mut object, false);
    }
    if dry_run != DryRun::Client {
        let manager = ctx.flags.text("field-manager");
        let mut query = vec![("fieldManager", manager), ("fieldValidation", strictness)];
        dry_run.query(&mut query);
        let api = ctx.api().await?;
        object = match api.post(collection, &query, &object).await {
            Ok(object) => object,
            Err(Fail::Api(refusal)) if !noun.is_empty() => {
                return text(format!("failed to create {noun}{}", refusal.message));
            }
            Err(fail) => return Err(fail),
        };
    }
    printer.print(ctx, &object, "created", false)
}

/// A namespaced collection of the current namespace.
fn within(ctx: &Ctx, group_version: &str, plural: &str) -> Result<String, Fail> {
    let (namespace, _) = ctx.namespace()?;
    Ok(paths::within(&format!("/{group_version}"), &namespace, plural))
}
