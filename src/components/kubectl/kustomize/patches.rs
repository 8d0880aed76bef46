//! Strategic merge patches and JSON patches of a kustomization.

use super::resource::Resource;
use super::types::{Kustomization, Patch};
use super::{load, merge, target};
use crate::error::{Fail, text as fail};
use crate::manifest;
use crate::print::yaml;
use api::patch;
use api::value::{self, text};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::path::Path;

/// The options of a patch: `allowNameChange` and `allowKindChange` count.
type Options = BTreeMap<String, bool>;

/// The content of a patch.
enum Content {
    /// Strategic merge patches.
    Merges(Vec<Resource>),
    /// The operations of a JSON patch.
    Operations(Value),
}

/// Carries out `patchesStrategicMerge` and `patches`.
pub(super) fn run(kustomization: &Kustomization, root: &Path, all: &mut Vec<Resource>) -> Result<(), Fail> {
    for entry in &kustomization.patches_strategic_merge {
        // An entry that is no patch itself is the path of a file with patches.
        let merges = match load::objects(entry.0.as_bytes(), "patch") {
            Ok(merges) => merges,
            Err(_) => {
                let read = load::file(root, &entry.0).and_then(|bytes| load::objects(&bytes, &entry.0));
                read.map_err(|fail| {
                    let paths: Vec<&str> =
                        kustomization.patches_strategic_merge.iter().map(|entry| entry.0.as_str()).collect();
                    misconfigured("PatchStrategicMergeTransformer", &json!({"paths": paths}), &fail.message())
                })?
            }
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
        let wrong =
            |why: &str| misconfigured("PatchJson6902Transformer", &configuration(item, "jsonOp"), why);
        let Some(goal) = item.target.as_ref().filter(|goal| !goal.name.is_empty()) else {
            return Err(wrong("must specify the target name"));
        };
        let (bytes, origin) = json_source(root, item).map_err(|why| wrong(&why))?;
        let Ok(Content::Operations(operations)) = parse(&bytes) else {
            return Err(wrong(&format!("unable to parse JSON patch from {origin}")));
        };
        for index in target::select(goal, all)? {
            json_patch(&mut all[index], &operations)?;
        }
    }
    Ok(())
}

/// kustomize's error for a patch that cannot be read. It has the configuration which kustomize made
/// of the patch for one of its parts, the `builtin`. Source: `configureBuiltinPlugin`.
fn misconfigured(builtin: &str, config: &Value, why: &str) -> Fail {
    let config = yaml::to_string(config);
    Fail::Text(format!("trouble configuring builtin {builtin} with config: `\n{config}`: {why}"))
}

/// The configuration for one item; `inline`: the name of the field with the patch itself.
fn configuration(item: &Patch, inline: &str) -> Value {
    let mut config = Map::new();
    if inline == "patch" && !item.options.is_empty() {
        config.insert("options".into(), json!(item.options));
    }
    let texts = |pairs: &[(&str, &String)], into: &mut Map<String, Value>| {
        for (key, text) in pairs.iter().filter(|(_, text)| !text.is_empty()) {
            into.insert((*key).into(), json!(text));
        }
    };
    texts(&[(inline, &item.patch), ("path", &item.path)], &mut config);
    if let Some(goal) = &item.target {
        let mut target = Map::new();
        let fields = [
            ("annotationSelector", &goal.annotation_selector),
            ("group", &goal.group),
            ("kind", &goal.kind),
            ("labelSelector", &goal.label_selector),
            ("name", &goal.name),
            ("namespace", &goal.namespace),
            ("version", &goal.version),
        ];
        texts(&fields, &mut target);
        config.insert("target".into(), target.into());
    }
    config.into()
}

/// A patch's text, from the file or from where it stands, and how errors show it.
fn source(root: &Path, item: &Patch) -> Result<(Vec<u8>, String), String> {
    let config = || yaml::to_string(&configuration(item, "patch"));
    match (item.path.as_str(), item.patch.trim()) {
        ("", "") => Err(format!("must specify one of patch and path in\n{}", config())),
        ("", inline) => Ok((inline.as_bytes().to_vec(), format!("[patch: {inline:?}]"))),
        (path, "") => match load::file(root, path) {
            Ok(bytes) => Ok((bytes, format!("[path: {path:?}]"))),
            Err(why) => Err(format!("failed to get the patch file from path({path}): {}", why.message())),
        },
        _ => Err(format!("patch and path can't be set at the same time\n{}", config())),
    }
}

/// As [`source`], for `patchesJson6902`.
fn json_source(root: &Path, item: &Patch) -> Result<(Vec<u8>, String), String> {
    match (item.path.as_str(), item.patch.trim()) {
        ("", "") => Err("empty file path and empty jsonOp".into()),
        (path, "") => {
            let bytes = load::file(root, path).map_err(|why| why.message())?;
            Ok((bytes, format!("[path: {path:?}]")))
        }
        ("", inline) => Ok((inline.as_bytes().to_vec(), format!("[patch: {inline:?}]"))),
        _ => Err("must specify a file path or jsonOp, not both".into()),
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
    let wrong = |why: &str| misconfigured("PatchTransformer", &configuration(item, "patch"), why);
    let (bytes, origin) = source(root, item).map_err(|why| wrong(&why))?;
    let Ok(content) = parse(&bytes) else {
        return Err(wrong(&format!("unable to parse SM or JSON patch from {origin}")));
    };
    match (content, &item.target) {
        (Content::Operations(_), None) => fail(format!("must specify a target for JSON patch {origin}")),
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
                    "Multiple Strategic-Merge Patches in one `patches` entry is not allowed to set `patches.target` field: {origin}"
                ));
            };
            // The last object comes first, since a patch may remove objects.
            for index in target::select(goal, all)?.into_iter().rev() {
                merge_one(index, &one.object, all, &item.options)?;
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
        [one] => merge_one(*one, &wanted.object, all, options),
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
fn merge_one(index: usize, document: &Value, all: &mut Vec<Resource>, options: &Options) -> Result<(), Fail> {
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
    let shape = resource.shape();
    if !merge::apply(shape, &mut resource.object, document).map_err(Fail::Text)? {
        all.remove(index);
    }
    Ok(())
}

/// Applies a JSON patch. Kustomize keeps facts about an object in annotations of its own, so a
/// patch may add to the annotations of an object that has none.
fn json_patch(resource: &mut Resource, operations: &Value) -> Result<(), Fail> {
    const ANNOTATIONS: &str = "metadata.annotations";
    let annotated = resource.generated || !resource.known.is_empty();
    if annotated && value::at(&resource.object, ANNOTATIONS).is_null() {
        value::put(&mut resource.object, ANNOTATIONS, json!({}));
    }
    patch::json(&mut resource.object, operations.to_string().as_bytes()).map_err(|status| {
        let reason = text(&status.details["causes"][0], "message");
        Fail::Text(if reason.is_empty() { status.message.clone() } else { reason.to_string() })
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
