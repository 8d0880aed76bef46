//! # kustomize: the same manifests, a little different in every place
//!
//! ## In Kubernetes
//! A folder with a `kustomization.yaml` names manifests (or other such folders) and what is to be
//! changed in them: labels, names, the namespace, images, patches. ConfigMaps and Secrets are made
//! from files, with a hash of their content in their name, so that a changed setting is a new
//! object and the workloads that use it are rolled out anew. `kubectl kustomize` prints the result,
//! `-k` sends it.
//! ## How this one works
//! [`build`] goes down the folders and, on its way up, applies each folder's changes to all that
//! was found below it (`accumulate`): generators, patches, namespace, prefix, labels, annotations,
//! replicas, images. Hashes come last; then fields that name a renamed object are corrected
//! ([`refs`]), and everything is put into the order in which it can be applied.
//! ## Left out
//! Components, replacements and vars, generators and transformers as plugins, Helm charts, own
//! `configurations` and `openapi`, bases in git, `buildMetadata`, `images.tagSuffix`,
//! `labels.fields`, `sortOptions.legacySortOptions`: each is refused by its name.
//! ## Read next
//! `change`, the changes; `builder`, which reads the result as if it were a file.

mod change;
mod generate;
mod load;
mod order;
mod patches;
mod refs;
mod strict;
mod target;
mod types;

pub(crate) use generate::hash;

use crate::error::{Fail, text};
use crate::manifest::sorted;
use crate::print::yaml;
use crate::wire;
use api::value;
use change::is_cluster_scoped;
use load::Loaded;
use serde_json::Value;
use std::path::{Path, PathBuf};

/// Kind, namespace and name of an object.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub kind: String,
    pub namespace: String,
    pub name: String,
}

impl Place {
    fn of(object: &Value) -> Place {
        let part = |path| value::text(object, path).to_string();
        Place { kind: part("kind"), namespace: part("metadata.namespace"), name: part("metadata.name") }
    }
}

/// One object on its way up.
#[derive(Clone, Debug)]
pub(crate) struct Resource {
    pub object: Value,
    /// Where it was before each change of its place, the first one first.
    pub known: Vec<Place>,
    /// What was put before its name at each level, also if it was nothing.
    pub prefixes: Vec<String>,
    /// The same behind its name.
    pub suffixes: Vec<String>,
    /// A generator made it.
    pub generated: bool,
    /// Its name gets a hash of its content.
    pub hashed: bool,
}

impl Resource {
    pub(crate) fn new(object: Value) -> Resource {
        let (prefixes, suffixes) = (vec![], vec![]);
        Resource { object, known: vec![], prefixes, suffixes, generated: false, hashed: false }
    }
    /// Remembers where it is before that changes.
    pub(crate) fn remember_place(&mut self) {
        self.known.push(self.place());
    }
    pub(crate) fn place(&self) -> Place {
        Place::of(&self.object)
    }
    /// Returns where it was at first.
    pub(crate) fn first_place(&self) -> Place {
        self.known.first().cloned().unwrap_or_else(|| self.place())
    }
    pub(crate) fn kind(&self) -> &str {
        value::text(&self.object, "kind")
    }
    pub(crate) fn name(&self) -> &str {
        value::text(&self.object, "metadata.name")
    }
    pub(crate) fn group(&self) -> &str {
        value::text(&self.object, "apiVersion").split_once('/').map_or("", |(group, _)| group)
    }
    pub(crate) fn version(&self) -> &str {
        let version = value::text(&self.object, "apiVersion");
        version.split_once('/').map_or(version, |(_, version)| version)
    }
    /// Returns the namespace that counts for one of the object's places: `default` for none, and
    /// one of its own for what is cluster-scoped. Source: kustomize, `ResId.EffectiveNamespace`.
    pub(crate) fn effective_namespace<'a>(&self, place: &'a Place) -> &'a str {
        match place.namespace.as_str() {
            _ if is_cluster_scoped(self.group(), self.version(), &place.kind) => "_non_namespaceable_",
            "" => "default",
            named => named,
        }
    }
    /// Records whether an object of its kind has no namespace.
    pub(crate) fn is_cluster_scoped(&self) -> bool {
        is_cluster_scoped(self.group(), self.version(), self.kind())
    }
    /// Is this object, at one of its places, what `other` now is?
    fn has_id(&self, place: &Place, other: &Resource) -> bool {
        let there = other.place();
        (self.group(), self.version()) == (other.group(), other.version())
            && (&place.kind, &place.name) == (&there.kind, &there.name)
            && self.effective_namespace(place) == other.effective_namespace(&there)
    }
    /// Records whether both have the same kind, name and effective namespace now.
    pub(crate) fn is_same_as(&self, other: &Resource) -> bool {
        self.has_id(&self.place(), other)
    }
    /// Records whether the object has, or once had, the place that `other` has now.
    pub(crate) fn is_known_as(&self, other: &Resource) -> bool {
        self.known.iter().any(|place| self.has_id(place, other)) || self.is_same_as(other)
    }
    /// `Pod.v1.[noGrp]/b.[noNs]`
    pub(crate) fn id(&self) -> String {
        id(
            self.kind(),
            self.version(),
            self.group(),
            self.name(),
            value::text(&self.object, "metadata.namespace"),
        )
    }
}

fn id(kind: &str, version: &str, group: &str, name: &str, namespace: &str) -> String {
    let or = |text: &str, none: &str| if text.is_empty() { none.to_string() } else { text.to_string() };
    format!("{kind}.{}.{}/{name}.{}", or(version, "[noVer]"), or(group, "[noGrp]"), or(namespace, "[noNs]"))
}

/// What a folder comes to.
pub(crate) struct Built {
    pub objects: Vec<Value>,
    /// Sentences for standard error.
    pub warnings: Vec<String>,
}

impl Built {
    pub(crate) fn to_yaml(&self) -> String {
        self.objects.iter().map(yaml::to_string).collect::<Vec<_>>().join("---\n")
    }
}

/// Builds the folder `dir`, called `shown` by the user.
pub(crate) async fn build(dir: &Path, shown: &str) -> Result<Built, Fail> {
    let mut warnings = vec![];
    if shown.contains("://") || shown.starts_with("git@") || shown.starts_with("github.com/") {
        return text(format!(
            "kustomization in a repository ({shown}) is not implemented: clone it and name the folder"
        ));
    }
    let root = folder(dir, shown)?;
    let loaded = load::kustomization(&root)?;
    let mut found = accumulate(&root, &loaded, &mut vec![], &mut warnings).await?;
    generate::add_hashes(&mut found);
    refs::follow(&mut found)?;
    if !loaded.file.keeps_order() {
        order::sort(&mut found);
    }
    let objects = found.into_iter().map(|r| sorted(r.object)).collect();
    Ok(Built { objects, warnings })
}

fn folder(dir: &Path, shown: &str) -> Result<PathBuf, Fail> {
    match std::fs::canonicalize(dir) {
        Ok(root) if root.is_dir() => Ok(root),
        Ok(root) => text(format!("must build at directory: '{}': file is not directory", root.display())),
        Err(_) => text(format!(
            "must build at directory: not a valid directory: evalsymlink failure on '{shown}' : lstat {}: no such file or directory",
            first_missing(dir).display()
        )),
    }
}

/// The part of a path where it ends in nothing.
fn first_missing(path: &Path) -> PathBuf {
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

/// Everything below a folder, with the folder's changes. `above`: the folders that led here.
async fn accumulate(
    root: &Path,
    loaded: &Loaded,
    above: &mut Vec<PathBuf>,
    warnings: &mut Vec<String>,
) -> Result<Vec<Resource>, Fail> {
    if above.iter().any(|a| a == root) {
        return text(format!(
            "accumulating resources: cycle detected: candidate root '{}' contains visited root '{}'",
            root.display(),
            root.display()
        ));
    }
    for warning in &loaded.warnings {
        if !warnings.contains(warning) {
            warnings.push(warning.clone());
        }
    }
    let kustomization = &loaded.file;
    let mut all: Vec<Resource> = vec![];
    above.push(root.to_path_buf());
    for entry in &kustomization.resources {
        let found = resources(root, entry, above, warnings).await?;
        for resource in found {
            if all.iter().any(|r| r.is_same_as(&resource)) {
                return text(format!(
                    "accumulating resources: accumulation err='merging resources from '{entry}': may not add resource with an already registered id: {}': must build at directory: '{}': file is not directory",
                    resource.id(),
                    root.join(entry).display()
                ));
            }
            all.push(resource);
        }
    }
    above.pop();
    generate::run(kustomization, root, &mut all)?;
    change::run(kustomization, root, &mut all)?;
    Ok(all)
}

/// The objects of a file, a folder or a URL.
async fn resources(
    root: &Path,
    entry: &str,
    above: &mut Vec<PathBuf>,
    warnings: &mut Vec<String>,
) -> Result<Vec<Resource>, Fail> {
    if entry.starts_with("http://") || entry.starts_with("https://") {
        let path = entry.split(['?', '#']).next().unwrap_or(entry);
        if ![".yaml", ".yml", ".json"].iter().any(|end| path.ends_with(end)) {
            return text(format!(
                "accumulating resources: {entry} is a repository; remote folders are not implemented"
            ));
        }
        let bytes = wire::url::read(entry)
            .await
            .map_err(|e| Fail::Text(format!("accumulating resources: {}", e.message())))?;
        return load::objects(&bytes, entry);
    }
    let path = root.join(entry);
    if path.is_dir() {
        let below = folder(&path, entry)?;
        let accumulated = async {
            let loaded = load::kustomization(&below)?;
            accumulate(&below, &loaded, above, warnings).await
        };
        return Box::pin(accumulated).await.map_err(|fail| match fail {
            Fail::Text(why) if why.starts_with("accumulating") || why.starts_with("invalid Kustom") => {
                Fail::Text(format!("accumulating resources: accumulation err='accumulating resources from '{entry}': read {}: is a directory': recursed {why}", path.display()))
            }
            other => other,
        });
    }
    let bytes = load::file(root, entry).map_err(|fail| {
        let why = fail.message();
        Fail::Text(format!(
            "accumulating resources: accumulation err='accumulating resources from '{entry}': {why}': must build at directory: not a valid directory: {why}"
        ))
    })?;
    load::objects(&bytes, entry)
}

#[cfg(test)]
mod places;
#[cfg(test)]
mod tests;
