//! Strategic merge patches and JSON patches of a kustomization.

use super::resource::Resource;
use super::types::{Kustomization, Patch};
use super::{load, target};
use crate::error::{Fail, text as fail};
use crate::manifest;
use api::value::{self, text};
use api::{patch, strategic};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::Path;

/// The options of a patch: `allowNameChange` and `allowKindChange` count.
type Options = BTreeMap<String, bool>;

/// What a patch consists of.
enum Content {
    /// Strategic merge patches.
    Merges(Vec<Resource>),
    /// The operations of a JSON patch.
    Operations(Value),
}

/// Carries out `patchesStrategicMerge` and `patches`.
pub(super) fn run(kustomization: &Kustomization, root: &Path, all: &mut Vec<Resource>) -> Result<(), Fail> {
    for entry in &kustomization.patches_strategic_merge {
        // What is no patch itself is the path of a file with some.
        let merges = match load::objects(entry.0.as_bytes(), "patch") {
            Ok(merges) => merges,
            Err(_) => load::objects(&load::file(root, &entry.0)?, &entry.0)?,
        };
        for merge in merges {
            merge_by_name(&merge, &Options::new(), all)?;
        }
    }
    for item in &kustomization.patches {
        apply(item, root, all)?;
    }
    Ok(())
}

/// Carries out `patchesJson6902`.
pub(super) fn run_json(kustomization: &Kustomization, root: &Path, all: &mut [Resource]) -> Result<(), Fail> {
    for item in &kustomization.patches_json6902 {
        let Some(goal) = item.target.as_ref().filter(|goal| !goal.name.is_empty()) else {
            return fail("must specify the target name");
        };
        let (bytes, shown) = source(root, item)?;
        let Ok(Content::Operations(operations)) = parse(&bytes) else {
            return fail(format!("unable to parse JSON patch from {shown}"));
        };
        for index in target::select(goal, all)? {
            json_patch(&mut all[index], &operations)?;
        }
    }
    Ok(())
}

/// A patch's text, from the file or from where it stands, and how errors show it.
fn source(root: &Path, item: &Patch) -> Result<(Vec<u8>, String), Fail> {
    match (item.path.as_str(), item.patch.trim()) {
        ("", "") => fail("must specify one of patch and path in patches"),
        ("", inline) => Ok((inline.as_bytes().to_vec(), format!("[patch: {inline:?}]"))),
        (path, "") => {
            let bytes = load::file(root, path).map_err(|e| {
                Fail::Text(format!("failed to get the patch file from path({path}): {}", e.message()))
            })?;
            Ok((bytes, format!("[path: {path:?}]")))
        }
        _ => fail("patch and path can't be set at the same time in patches"),
    }
}

/// Reads a patch. Text that begins with a bracket must be JSON.
fn parse(bytes: &[u8]) -> Result<Content, Fail> {
    if bytes.starts_with(b"[") {
        let operations: Value =
            serde_json::from_slice(bytes).map_err(|e| Fail::Text(format!("decoding the patch: {e}")))?;
        return Ok(Content::Operations(operations));
    }
    // Operations are read as by `kubectl patch`, for which `y` is true; objects as resources are.
    let documents = manifest::documents(bytes).map_err(Fail::Text)?;
    match documents.into_iter().next() {
        Some(operations @ Value::Array(_)) => Ok(Content::Operations(operations)),
        None => fail("it is empty"),
        Some(_) => load::objects(bytes, "patch").map(Content::Merges),
    }
}

fn apply(item: &Patch, root: &Path, all: &mut Vec<Resource>) -> Result<(), Fail> {
    let (bytes, shown) = source(root, item)?;
    let Ok(content) = parse(&bytes) else {
        return fail(format!("unable to parse SM or JSON patch from {shown}"));
    };
    match (content, &item.target) {
        (Content::Operations(_), None) => fail(format!("must specify a target for JSON patch {shown}")),
        (Content::Operations(operations), Some(goal)) => {
            for index in target::select(goal, all)? {
                all[index].remember_place();
                json_patch(&mut all[index], &operations)?;
            }
            Ok(())
        }
        (Content::Merges(merges), Some(goal)) => {
            let [one] = merges.as_slice() else {
                return fail(format!(
                    "Multiple Strategic-Merge Patches in one `patches` entry is not allowed to set `patches.target` field: {shown}"
                ));
            };
            // From the end, as a patch may remove objects.
            for index in target::select(goal, all)?.into_iter().rev() {
                merge(index, &one.object, all, &item.options)?;
            }
            Ok(())
        }
        (Content::Merges(merges), None) => {
            merges.iter().try_for_each(|one| merge_by_name(one, &item.options, all))
        }
    }
}

/// Patches the object that the patch names by its own kind, name and namespace.
fn merge_by_name(wanted: &Resource, options: &Options, all: &mut Vec<Resource>) -> Result<(), Fail> {
    let found: Vec<usize> = (0..all.len()).filter(|i| all[*i].is_known_as(wanted)).collect();
    match found.as_slice() {
        [one] => merge(*one, &wanted.object, all, options),
        found => {
            let id = wanted.id();
            let why = if found.is_empty() { "no matches for Id" } else { "multiple matches for Id" };
            fail(format!(
                "no resource matches strategic merge patch {id:?}: {why} {id}; failed to find unique target for patch {id}"
            ))
        }
    }
}

/// A strategic merge patch; name and kind stay unless the options let them change. `$patch: delete`
/// takes the object away.
fn merge(index: usize, document: &Value, all: &mut Vec<Resource>, options: &Options) -> Result<(), Fail> {
    if text(document, "$patch") == "delete" {
        all.remove(index);
        return Ok(());
    }
    let resource = &mut all[index];
    let allows = |option: &str| options.get(option).copied().unwrap_or(false);
    let (name, kind) = (allows("allowNameChange"), allows("allowKindChange"));
    if name || kind {
        resource.remember_place();
    }
    let mut document = document.clone();
    for (path, may_change) in
        [("metadata.name", name), ("metadata.namespace", false), ("kind", kind), ("apiVersion", kind)]
    {
        if !may_change {
            value::remove(&mut document, path);
        }
    }
    let kind = resource.kind().to_string();
    strategic::apply(&kind, &mut resource.object, &document).map_err(Fail::Text)
}

/// Applies a JSON patch. Kustomize keeps what it knows of an object in annotations of its own, so
/// a patch may add to the annotations of an object that has none.
fn json_patch(resource: &mut Resource, operations: &Value) -> Result<(), Fail> {
    const ANNOTATIONS: &str = "metadata.annotations";
    let annotated = resource.generated || !resource.known.is_empty();
    if annotated && value::at(&resource.object, ANNOTATIONS).is_null() {
        value::put(&mut resource.object, ANNOTATIONS, json!({}));
    }
    patch::json(&mut resource.object, operations.to_string().as_bytes()).map_err(|status| {
        let reason = text(&status.details["causes"][0], "message");
        let why = if reason.is_empty() { &status.message } else { reason };
        Fail::Text(format!("{}: {why}", resource.id()))
    })?;
    // Kustomize writes its annotations back, and with them all others, as text.
    let map = value::at_mut(&mut resource.object, ANNOTATIONS).and_then(Value::as_object_mut);
    for text in map.into_iter().flat_map(|map| map.values_mut()) {
        if text.is_boolean() || text.is_number() {
            *text = text.to_string().into();
        }
    }
    if annotated && value::empty(&resource.object, ANNOTATIONS) {
        value::remove(&mut resource.object, ANNOTATIONS);
    }
    Ok(())
}
