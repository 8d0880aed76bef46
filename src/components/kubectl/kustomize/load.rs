//! Reads kustomization files, and the files that they name.

use super::resource::Resource;
use super::strict::{At, Decode};
use super::types::Kustomization;
use crate::error::{Fail, text};
use crate::go_path;
use crate::manifest;
use api::value;
use serde_json::Value;
use std::collections::VecDeque;
use std::path::{Path, PathBuf};

const NAMES: [&str; 3] = ["kustomization.yaml", "kustomization.yml", "Kustomization"];
const API_VERSION: &str = "kustomize.config.k8s.io/v1beta1";
const DEPRECATED: [(&str, &str); 5] = [
    ("bases", "resources"),
    ("commonLabels", "labels"),
    ("imageTags", "images"),
    ("patchesJson6902", "patches"),
    ("patchesStrategicMerge", "patches"),
];

/// A kustomization file, and the warnings about it.
pub(super) struct Loaded {
    pub file: Kustomization,
    /// Warnings about fields that have better ones now.
    pub warnings: Vec<String>,
}

/// Reads the kustomization file of a folder.
///
/// # Errors
/// There is none or more than one, it is not valid, or it has a field that is not implemented.
pub(super) fn kustomization(root: &Path) -> Result<Loaded, Fail> {
    let there: Vec<&str> = NAMES.into_iter().filter(|n| root.join(n).is_file()).collect();
    let name = match there.as_slice() {
        [] => {
            return text(format!(
                "unable to find one of 'kustomization.yaml', 'kustomization.yml' or 'Kustomization' in directory '{}'",
                root.display()
            ));
        }
        [one] => one,
        _ => return text(format!("Found multiple kustomization files under: {}\n", root.display())),
    };
    let bytes = std::fs::read(root.join(name))?;
    let invalid = |why| Fail::Text(format!("invalid Kustomization: {why}"));
    let content = manifest::yaml_to_json(&bytes).map_err(invalid)?;
    let mut file = Kustomization::read(&content, &At::root()).map_err(invalid)?;
    check(&content, &file, root)?;
    // `bases` and `imageTags` are older names of `resources` and `images`.
    file.resources.append(&mut file.bases);
    file.images.append(&mut file.image_tags);
    Ok(Loaded { file, warnings: warnings(&content) })
}

fn check(content: &Value, file: &Kustomization, root: &Path) -> Result<(), Fail> {
    let is_set = |(key, value): (&String, &Value)| {
        let of_type = ["kind", "apiVersion"].iter().any(|name| name.eq_ignore_ascii_case(key));
        !of_type && !value.is_null() && value.as_str() != Some("")
    };
    if !content.as_object().is_some_and(|map| map.iter().any(is_set)) {
        return text("kustomization.yaml is empty");
    }
    let wrong = match (file.kind.as_str(), file.api_version.as_str()) {
        ("" | "Kustomization", "" | API_VERSION) => None,
        ("" | "Kustomization", _) => Some(format!("apiVersion for Kustomization should be {API_VERSION}")),
        ("Component", _) => Some("components are not implemented".into()),
        _ => Some("kind should be Kustomization or Component".into()),
    };
    if let Some(wrong) = wrong {
        return text(format!("Failed to read kustomization file under {}:\n{wrong}", root.display()));
    }
    if let Some(field) = file.refused() {
        return text(format!("kustomize: '{field}' is not implemented in ropewalk's built-in kubectl"));
    }
    let order = file.sort_options.as_ref().map_or("", |sort| sort.order.0.as_str());
    if !matches!(order, "" | "fifo" | "legacy") {
        return text("the field 'sortOptions.order' must be one of [fifo, legacy]");
    }
    Ok(())
}

fn warnings(content: &Value) -> Vec<String> {
    let set: Vec<&String> =
        content.as_object().into_iter().flatten().filter(|(_, v)| !v.is_null()).map(|(key, _)| key).collect();
    let used = DEPRECATED.iter().filter(|(old, _)| set.iter().any(|key| key.eq_ignore_ascii_case(old)));
    used.map(|(old, new)| {
        format!(
            "# Warning: '{old}' is deprecated. Please use '{new}' instead. Run 'kustomize edit fix' to update your Kustomization automatically."
        )
    })
    .collect()
}

/// A file in or below a folder. Errors are in kustomize's words.
pub(super) fn file(root: &Path, entry: &str) -> Result<Vec<u8>, Fail> {
    let path = root.join(entry);
    let Ok(real) = std::fs::canonicalize(&path) else {
        return text(format!(
            "evalsymlink failure on '{}' : lstat {}: no such file or directory",
            go_path::clean(&path.to_string_lossy()),
            first_missing(&path).display()
        ));
    };
    if !real.starts_with(root) {
        return text(format!("security; file '{}' is not in or below '{}'", real.display(), root.display()));
    }
    std::fs::read(&real)
        .map_err(|e| Fail::Text(format!("read {}: {}", real.display(), crate::error::go_io(&e))))
}

/// Returns why an entry that could not be read as a file is no folder either: kustomize tries both.
/// `why`: the failure to read it as a file. Source: `FileLoader.New` and `ConfirmDir`.
pub(super) fn no_folder(root: &Path, entry: &str, why: &str) -> String {
    match std::fs::canonicalize(root.join(entry)) {
        _ if entry.is_empty() => "new root cannot be empty".into(),
        _ if Path::new(entry).is_absolute() => format!("new root '{entry}' cannot be absolute"),
        Ok(real) if !real.is_dir() => {
            format!("must build at directory: '{}': file is not directory", real.display())
        }
        _ => format!("must build at directory: not a valid directory: {why}"),
    }
}

/// The shortest part of a path that does not exist.
pub(super) fn first_missing(path: &Path) -> PathBuf {
    let mut here = PathBuf::new();
    for part in path.components() {
        match part {
            std::path::Component::ParentDir => drop(here.pop()),
            std::path::Component::CurDir => {}
            other => here.push(other),
        }
        if !here.exists() {
            break;
        }
    }
    here
}

/// The objects of a manifest. Lists are taken apart, also those within lists, and their items come
/// behind everything else of the file; an item that is empty is none. Source: kustomize's
/// `inlineAnyEmbeddedLists`.
pub(super) fn objects(bytes: &[u8], name: &str) -> Result<Vec<Resource>, Fail> {
    let broken = |why: String| {
        Fail::Text(format!(
            "accumulating resources: accumulation err='accumulating resources from '{name}': {why}'"
        ))
    };
    let mut out = vec![];
    // For a file that is no YAML kustomize's error does not speak of a folder.
    let malformed = |why: String| {
        let from = format!("accumulating resources: accumulating resources from '{name}'");
        Fail::Text(format!("{from}: MalformedYAMLError: {why} in File: {name}"))
    };
    let mut left = VecDeque::from(manifest::kustomize::documents(bytes).map_err(malformed)?);
    while let Some(mut object) = left.pop_front() {
        let kind = value::text(&object, "kind").to_string();
        if kind.ends_with("List") {
            match object.get_mut("items") {
                Some(Value::Array(items)) => {
                    left.extend(std::mem::take(items).into_iter().filter(|item| !is_empty(item)));
                    continue;
                }
                Some(Value::Null) => continue,
                Some(_) => return Err(broken(format!("expected array in {kind}/items"))),
                None => {}
            }
        }
        if kind.is_empty() {
            return Err(broken(format!(
                "missing Resource metadata in object from '{name}': kind is not set"
            )));
        }
        if value::text(&object, "metadata.name").is_empty() {
            let content = crate::print::json::compact(&object);
            return Err(broken(format!("missing metadata.name in object {content}")));
        }
        out.push(Resource::new(object));
    }
    Ok(out)
}

fn is_empty(item: &Value) -> bool {
    item.is_null() || item.as_object().is_some_and(serde_json::Map::is_empty)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_taken_apart_however_deep() {
        let map = |name: &str| format!("{{kind: ConfigMap, apiVersion: v1, metadata: {{name: {name}}}}}");
        let (a, b, c, d) = (map("a"), map("b"), map("c"), map("d"));
        let inner = format!("{{kind: ConfigMapList, apiVersion: v1, items: [{b}, {{}}]}}");
        let text =
            format!("kind: List\nitems: [{a}, {inner}, null, {c}]\n---\nkind: List\nitems:\n---\n{d}\n");
        let found = objects(text.as_bytes(), "l.yaml").map_err(|fail| fail.message()).unwrap();
        let names: Vec<&str> = found.iter().map(|one| value::text(&one.object, "metadata.name")).collect();
        assert_eq!(names, ["d", "a", "c", "b"]);
        let message = objects(b"{kind: List, metadata: {name: x}, items: {a: b}}", "l.yaml").err();
        let message = message.map(|fail| fail.message()).unwrap_or_default();
        assert!(message.contains("expected array in List/items"), "{message}");
    }
}
