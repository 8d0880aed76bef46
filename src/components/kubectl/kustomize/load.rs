//! Reading kustomization files and what they name.

use super::Resource;
use crate::error::{Fail, text};
use crate::manifest;
use api::value;
use serde_json::Value;
use std::path::Path;

const NAMES: [&str; 3] = ["kustomization.yaml", "kustomization.yml", "Kustomization"];
/// Fields that are understood.
const FIELDS: [&str; 23] = [
    "apiVersion",
    "kind",
    "metadata",
    "resources",
    "bases",
    "namespace",
    "namePrefix",
    "nameSuffix",
    "commonLabels",
    "labels",
    "commonAnnotations",
    "images",
    "replicas",
    "patches",
    "patchesStrategicMerge",
    "patchesJson6902",
    "configMapGenerator",
    "secretGenerator",
    "generatorOptions",
    "buildMetadata",
    "sortOptions",
    "imageTags",
    "openapi",
];
/// Fields that kustomize has and this one refuses.
const REFUSED: [&str; 11] = [
    "components",
    "replacements",
    "vars",
    "generators",
    "transformers",
    "validators",
    "helmCharts",
    "helmGlobals",
    "helmChartInflationGenerator",
    "configurations",
    "crds",
];
const DEPRECATED: [(&str, &str); 5] = [
    ("bases", "resources"),
    ("commonLabels", "labels"),
    ("imageTags", "images"),
    ("patchesJson6902", "patches"),
    ("patchesStrategicMerge", "patches"),
];

/// Fields of what a list, or a map, holds; others are mistakes.
const INNER: &[(&str, &[&str])] = &[
    ("images", &["name", "newName", "newTag", "digest", "tagSuffix"]),
    ("imageTags", &["name", "newName", "newTag", "digest", "tagSuffix"]),
    ("replicas", &["name", "count"]),
    ("labels", &["pairs", "includeSelectors", "includeTemplates", "includeVolumeClaimTemplates", "fields"]),
    ("patches", &["path", "patch", "target", "options"]),
    ("patchesJson6902", &["path", "patch", "target", "options"]),
    ("configMapGenerator", &["namespace", "name", "behavior", "literals", "files", "envs", "env", "options"]),
    (
        "secretGenerator",
        &["namespace", "name", "behavior", "literals", "files", "envs", "env", "options", "type"],
    ),
    ("generatorOptions", &["labels", "annotations", "disableNameSuffixHash", "immutable"]),
    ("sortOptions", &["order", "legacySortOptions"]),
];
/// Inner fields that kustomize has and this one refuses unless they are empty.
const INNER_REFUSED: [(&str, &str); 4] = [
    ("images", "tagSuffix"),
    ("imageTags", "tagSuffix"),
    ("labels", "fields"),
    ("sortOptions", "legacySortOptions"),
];

/// Refuses inner fields that are unknown, or known and not carried out.
fn check_inner(content: &Value) -> Result<(), Fail> {
    for (field, known) in INNER {
        let items = match value::at(content, field) {
            Value::Array(items) => items.as_slice(),
            other => std::slice::from_ref(other),
        };
        for inner in items.iter().filter_map(Value::as_object).flat_map(|map| map.keys()) {
            if !known.contains(&inner.as_str()) {
                return text(format!("invalid Kustomization: json: unknown field {inner:?}"));
            }
        }
        let refused = INNER_REFUSED.iter().filter(|(of, _)| of == field).map(|(_, inner)| *inner);
        for inner in refused {
            if items.iter().any(|item| !value::empty(item, inner)) {
                return text(format!(
                    "kustomize: '{field}.{inner}' is not implemented in ropewalk's built-in kubectl"
                ));
            }
        }
    }
    Ok(())
}

/// What stands in a kustomization file.
pub(super) struct Kustomization(Value);

impl Kustomization {
    pub(super) fn load(root: &Path) -> Result<Kustomization, Fail> {
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
        let content =
            manifest::parse_yaml(&bytes).map_err(|e| Fail::Text(format!("invalid Kustomization: {e}")))?;
        Kustomization::read(content, root)
    }

    fn read(content: Value, root: &Path) -> Result<Kustomization, Fail> {
        let Some(map) = content.as_object().filter(|m| !m.is_empty()) else {
            return text("kustomization.yaml is empty");
        };
        for field in map.keys() {
            let refused_unless_empty = ["openapi", "buildMetadata"].contains(&field.as_str());
            if REFUSED.contains(&field.as_str()) || (refused_unless_empty && !value::empty(&content, field)) {
                return text(format!(
                    "kustomize: '{field}' is not implemented in ropewalk's built-in kubectl"
                ));
            }
            if !FIELDS.contains(&field.as_str()) {
                return text(format!("invalid Kustomization: json: unknown field {field:?}"));
            }
        }
        let kind = value::text(&content, "kind");
        if !matches!(kind, "" | "Kustomization") {
            let wrong = if kind == "Component" {
                "components are not implemented"
            } else {
                "kind should be Kustomization or Component"
            };
            return text(format!("Failed to read kustomization file under {}:\n{wrong}", root.display()));
        }
        for list in [
            "labels",
            "images",
            "imageTags",
            "replicas",
            "patches",
            "configMapGenerator",
            "secretGenerator",
            "resources",
        ] {
            if !matches!(value::at(&content, list), Value::Null | Value::Array(_)) {
                return text(format!(
                    "invalid Kustomization: json: cannot unmarshal into Go struct field Kustomization.{list}: a list is needed"
                ));
            }
        }
        check_inner(&content)?;
        if !matches!(value::text(&content, "sortOptions.order"), "" | "fifo" | "legacy") {
            return text("the field 'sortOptions.order' must be one of [fifo, legacy]");
        }
        let pairs = value::list(&content, "labels").iter().filter_map(|l| value::map(l, "pairs"));
        let common = ["commonLabels", "commonAnnotations"].iter().filter_map(|f| value::map(&content, f));
        for text_of in pairs.chain(common).flat_map(|m| m.values()) {
            if !text_of.is_string() {
                let found = if text_of.is_boolean() { "bool" } else { "number" };
                return text(format!(
                    "invalid Kustomization: json: cannot unmarshal {found} into Go struct field Label.labels.pairs of type string"
                ));
            }
        }
        Ok(Kustomization(content))
    }

    pub(super) fn text(&self, field: &str) -> &str {
        value::text(&self.0, field)
    }
    pub(super) fn list(&self, field: &str) -> &[Value] {
        value::list(&self.0, field)
    }
    pub(super) fn at(&self, field: &str) -> &Value {
        value::at(&self.0, field)
    }

    /// `resources`, and what was called `bases` once.
    pub(super) fn resources(&self) -> Vec<String> {
        let both = self.list("resources").iter().chain(self.list("bases"));
        both.filter_map(Value::as_str).map(String::from).collect()
    }

    /// `images`, and what was called `imageTags` once.
    pub(super) fn images(&self) -> impl Iterator<Item = &Value> {
        self.list("images").iter().chain(self.list("imageTags"))
    }

    /// Records whether objects stay in the order in which they were named.
    pub(super) fn keeps_order(&self) -> bool {
        self.text("sortOptions.order") == "fifo"
    }

    /// Words about fields that have better ones now.
    pub(super) fn warnings(&self) -> Vec<String> {
        let used = DEPRECATED.iter().filter(|(old, _)| !self.at(old).is_null());
        used.map(|(old, new)| {
            format!(
                "# Warning: '{old}' is deprecated. Please use '{new}' instead. Run 'kustomize edit fix' to update your Kustomization automatically."
            )
        })
        .collect()
    }
}

/// A file in or below a folder. Errors are in kustomize's words.
pub(super) fn file(root: &Path, entry: &str) -> Result<Vec<u8>, Fail> {
    let path = root.join(entry);
    let Ok(real) = std::fs::canonicalize(&path) else {
        let missing = super::first_missing(&path);
        return text(format!(
            "evalsymlink failure on '{}' : lstat {}: no such file or directory",
            missing.display(),
            missing.display()
        ));
    };
    if !real.starts_with(root) {
        return text(format!("security; file '{}' is not in or below '{}'", real.display(), root.display()));
    }
    std::fs::read(&real)
        .map_err(|e| Fail::Text(format!("read {}: {}", real.display(), crate::error::go_io(&e))))
}

/// The objects of a manifest; lists are taken apart.
pub(super) fn objects(bytes: &[u8], name: &str) -> Result<Vec<Resource>, Fail> {
    let broken = |why: String| {
        Fail::Text(format!(
            "accumulating resources: accumulation err='accumulating resources from '{name}': {why}'"
        ))
    };
    let mut out = vec![];
    for document in manifest::kustomize_documents(bytes)
        .map_err(|e| broken(format!("MalformedYAMLError: {e} in File: {name}")))?
    {
        let items = match document.get("items") {
            Some(Value::Array(items)) if value::text(&document, "kind").ends_with("List") => items.clone(),
            _ => vec![document],
        };
        for object in items {
            if value::text(&object, "kind").is_empty() {
                return Err(broken(format!(
                    "missing Resource metadata in object from '{name}': kind is not set"
                )));
            }
            if value::text(&object, "metadata.name").is_empty() {
                let shown = crate::print::json::compact(&object);
                return Err(broken(format!("missing metadata.name in object {shown}")));
            }
            out.push(Resource::new(object));
        }
    }
    Ok(out)
}
