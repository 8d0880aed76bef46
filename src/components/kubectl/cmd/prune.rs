//! apply --prune: what was applied once, fits the selector, and is in the files no more, goes.

use super::common::{DryRun, LAST_APPLIED, Printer};
use super::delete::propagation;
use crate::ctx::Ctx;
use crate::error::{Fail, text};
use crate::info::Info;
use crate::lists::selectors;
use crate::wire::paths;
use api::value;
use client::discovery::Resource;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::sync::Arc;

/// The kinds that are pruned without `--prune-allowlist`: apiVersion and kind.
const USUAL: &[(&str, &str)] = &[
    ("v1", "ConfigMap"),
    ("v1", "Endpoints"),
    ("v1", "PersistentVolumeClaim"),
    ("v1", "Pod"),
    ("v1", "ReplicationController"),
    ("v1", "Secret"),
    ("v1", "Service"),
    ("batch/v1", "Job"),
    ("batch/v1", "CronJob"),
    ("networking.k8s.io/v1", "Ingress"),
    ("apps/v1", "DaemonSet"),
    ("apps/v1", "Deployment"),
    ("apps/v1", "ReplicaSet"),
    ("apps/v1", "StatefulSet"),
    ("v1", "Namespace"),
    ("v1", "PersistentVolume"),
];

/// Checks `--prune` and the flags beside it.
///
/// # Errors
/// [`Fail::Text`]: the flags exclude each other, nothing says which objects may be pruned, or the
/// allowlist names a kind that the server does not have.
pub(crate) async fn check(ctx: &Ctx) -> Result<(), Fail> {
    let (all, selector) = (ctx.flags.is("all"), ctx.flags.text("selector"));
    if all && !selector.is_empty() {
        return text("cannot set --all and --selector at the same time");
    }
    if ctx.flags.is("prune") && !all && selector.is_empty() {
        return text(
            "all resources selected for prune without explicitly passing --all. To prune all resources, pass the --all flag. If you did not mean to prune all resources, specify a label selector",
        );
    }
    if ctx.flags.is("prune") { kinds(ctx).await.map(drop) } else { Ok(()) }
}

/// The UIDs of the objects of the files, and the namespaces in which these objects are.
#[derive(Default)]
pub(crate) struct Seen {
    uids: BTreeSet<String>,
    namespaces: BTreeSet<String>,
}

impl Seen {
    /// Begins with the namespace that the user named, if any: it is searched for objects to prune
    /// even if no object of the files is in it.
    pub(crate) fn in_namespace(named: &str) -> Seen {
        let namespaces = Some(named.to_string()).filter(|named| !named.is_empty());
        Seen { uids: BTreeSet::new(), namespaces: namespaces.into_iter().collect() }
    }

    pub(crate) fn add(&mut self, info: &Info, object: &Value) {
        self.uids.insert(value::text(object, "metadata.uid").to_string());
        if info.resource.namespaced {
            self.namespaces.insert(info.namespace.clone());
        }
    }
}

/// Finds the objects that were applied once, match the selector, and were not seen this time.
pub(crate) async fn find_unseen(ctx: &Ctx, seen: &Seen) -> Result<Vec<(Arc<Resource>, Value)>, Fail> {
    let kinds = kinds(ctx).await?;
    let mut found = vec![];
    for namespace in &seen.namespaces {
        for resource in kinds.iter().filter(|r| r.namespaced) {
            add_unseen(ctx, seen, resource, namespace, &mut found).await?;
        }
    }
    for resource in kinds.iter().filter(|r| !r.namespaced) {
        add_unseen(ctx, seen, resource, "", &mut found).await?;
    }
    Ok(found)
}

/// Deletes what [`find_unseen`] finds, and prints each object.
pub(crate) async fn run(ctx: &Ctx, seen: &Seen, dry_run: DryRun, printer: &Printer) -> Result<(), Fail> {
    let api = ctx.api().await?;
    let mut options = json!({"propagationPolicy": propagation(ctx)?});
    let grace = ctx.flags.int("grace-period");
    if grace >= 0 {
        options["gracePeriodSeconds"] = grace.into();
    }
    if dry_run == DryRun::Server {
        options["dryRun"] = json!(["All"]);
    }
    for (resource, object) in find_unseen(ctx, seen).await? {
        if dry_run != DryRun::Client {
            let (namespace, name) =
                (value::text(&object, "metadata.namespace"), value::text(&object, "metadata.name"));
            match api.delete(&paths::object(&resource, namespace, name), &[], &options).await {
                Err(fail) if !fail.is_not_found() => return Err(fail),
                _ => {}
            }
        }
        // At once: the next deletion may fail, and this object is gone all the same.
        printer.print(ctx, &object, "pruned", true)?;
    }
    Ok(())
}

/// The kinds of the allowlist, else the usual ones that this server has.
async fn kinds(ctx: &Ctx) -> Result<Vec<Arc<Resource>>, Fail> {
    let discovery = ctx.discovery().await?;
    let allowed = ctx.flags.list("prune-allowlist");
    if allowed.is_empty() {
        return Ok(USUAL.iter().filter_map(|(version, kind)| discovery.of_kind(version, kind)).collect());
    }
    let mut kinds = vec![];
    for word in allowed {
        let parts: Vec<&str> = word.split('/').collect();
        let [group, version, kind] = parts.as_slice() else {
            return text(format!(
                "invalid GroupVersionKind format: {word}, please follow <group/version/kind>"
            ));
        };
        let api_version = match *group {
            "" | "core" => version.to_string(),
            group => format!("{group}/{version}"),
        };
        match discovery.of_kind(&api_version, kind) {
            Some(found) => kinds.push(found),
            None => return text(format!("no matches for kind {kind:?} in version {api_version:?}")),
        }
    }
    Ok(kinds)
}

/// Adds the objects of a kind in a namespace that were applied once and not seen this time.
async fn add_unseen(
    ctx: &Ctx,
    seen: &Seen,
    resource: &Arc<Resource>,
    namespace: &str,
    found: &mut Vec<(Arc<Resource>, Value)>,
) -> Result<(), Fail> {
    let path = paths::collection(resource, namespace);
    let there = match ctx.api().await?.get(&path, &selectors(ctx)).await {
        Ok(there) => there,
        // A kind that cannot be listed has nothing to be pruned.
        Err(fail) if matches!(fail.code(), Some(404 | 405)) => return Ok(()),
        Err(fail) => return Err(fail),
    };
    for item in value::list(&there, "items") {
        let applied = !item["metadata"]["annotations"][LAST_APPLIED].is_null();
        if !applied || seen.uids.contains(value::text(item, "metadata.uid")) {
            continue;
        }
        let mut object = item.clone();
        object["apiVersion"] = resource.api_version().into();
        object["kind"] = resource.kind.clone().into();
        found.push((resource.clone(), object));
    }
    Ok(())
}
