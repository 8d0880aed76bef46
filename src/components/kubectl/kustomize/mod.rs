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
//! ([`refs`]), what is annotated as local is left out, and the rest is put into the order in which
//! it can be applied.
//! ## Left out
//! Components, replacements and vars, generators and transformers as plugins, Helm charts, own
//! `configurations` and `openapi`, bases in git, `buildMetadata`, `images.tagSuffix`,
//! `labels.fields`, `sortOptions.legacySortOptions`: each is refused by its name.
//!
//! A plain date in a resource stays as it is written; kustomize makes a time of it. A number among
//! annotations becomes a text in its usual spelling (`1.5` of `1.50`). Kinds that are newer than
//! kustomize's schema, e.g. ValidatingAdmissionPolicy, are known to have no namespace.
//! ## Read next
//! `change`, the changes; `builder`, which reads the result as if it were a file.

mod annotations;
mod change;
mod generate;
mod identity;
mod load;
mod merge;
mod order;
mod patches;
mod refs;
mod resource;
mod strict;
mod target;
mod types;

pub(crate) use generate::hash;
pub(crate) use resource::namespace_of;

use crate::ctx::Ctx;
use crate::error::{Fail, text};
use crate::manifest::sorted;
use crate::print::yaml;
use crate::wire;
use load::Loaded;
use resource::Resource;
use serde_json::Value;
use std::path::{Path, PathBuf};

/// The result of a build.
pub(crate) struct Built {
    pub objects: Vec<Value>,
}

impl Built {
    pub(crate) fn to_yaml(&self) -> String {
        self.objects.iter().map(yaml::to_string).collect::<Vec<_>>().join("---\n")
    }
}

/// Builds a folder, which the user named with the path `typed`. Warnings are printed also if it
/// fails.
pub(crate) async fn build(ctx: &Ctx, typed: &str) -> Result<Built, Fail> {
    let mut warnings = vec![];
    let built = build_at(&ctx.path(typed), typed, &mut warnings).await;
    warnings.iter().for_each(|warning| ctx.note(warning));
    built
}

/// Returns whether a name is a URL or one of a Git repository.
fn is_remote(name: &str) -> bool {
    name.contains("://") || ["git@", "git::", "github.com/"].iter().any(|start| name.starts_with(start))
}

async fn build_at(dir: &Path, typed: &str, warnings: &mut Vec<String>) -> Result<Built, Fail> {
    if is_remote(typed) {
        return text(format!(
            "kustomization in a repository ({typed}) is not implemented: clone it and name the folder"
        ));
    }
    let root = folder(dir, typed)?;
    let loaded = load::kustomization(&root)?;
    let mut found = accumulate(&root, &loaded, &mut vec![], warnings).await?;
    generate::add_hashes(&mut found);
    refs::follow(&mut found)?;
    found.iter_mut().for_each(|resource| annotations::finish(&mut resource.object));
    found.retain(|resource| !annotations::is_local(&resource.object));
    if !loaded.file.keeps_order() {
        order::sort(&mut found);
    }
    let objects = found.into_iter().map(|r| sorted(r.object)).collect();
    Ok(Built { objects })
}

fn folder(dir: &Path, typed: &str) -> Result<PathBuf, Fail> {
    match std::fs::canonicalize(dir) {
        Ok(root) if root.is_dir() => Ok(root),
        Ok(_) => text(format!("must build at directory: '{typed}': file is not directory")),
        Err(_) => text(format!(
            "must build at directory: not a valid directory: evalsymlink failure on '{typed}' : lstat {}: no such file or directory",
            load::first_missing(dir).display()
        )),
    }
}

/// The objects of a folder with its changes. `above`: the folders whose kustomizations led here, to
/// find circles.
async fn accumulate(
    root: &Path,
    loaded: &Loaded,
    above: &mut Vec<PathBuf>,
    warnings: &mut Vec<String>,
) -> Result<Vec<Resource>, Fail> {
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
                return Err(doubled(root, entry, "merging", &resource));
            }
            all.push(resource);
        }
    }
    above.pop();
    generate::run(kustomization, root, &mut all)?;
    change::run(kustomization, root, &mut all)?;
    Ok(all)
}

/// kustomize's error for an object that is there already. `doing`: `merging`, or `accumulating` if
/// it stands twice in one file.
fn doubled(root: &Path, entry: &str, doing: &str, resource: &Resource) -> Fail {
    let head = "accumulating resources: accumulation err=";
    let why = format!("may not add resource with an already registered id: {}", resource.id());
    let path = root.join(entry);
    match std::fs::canonicalize(&path).ok().filter(|real| real.is_dir()) {
        Some(real) => {
            let at = real.display();
            Fail::Text(format!(
                "{head}'accumulating resources from '{entry}': '{at}' must resolve to a file': recursed merging from path '{at}': {why}"
            ))
        }
        None => {
            let folder = load::no_folder(root, entry, &why);
            Fail::Text(format!("{head}'{doing} resources from '{entry}': {why}': {folder}"))
        }
    }
}

/// The objects of a folder that a kustomization names. Source of the words: kustomize's
/// `accumulateDirectory` and `errIfArgEqualOrHigher`.
async fn base(
    below: &Path,
    above: &mut Vec<PathBuf>,
    warnings: &mut Vec<String>,
) -> Result<Vec<Resource>, Fail> {
    let at = below.display();
    // As in kustomize a folder that contains one of `above` is a circle, too.
    if let Some(visited) = above.iter().rev().find(|visited| visited.starts_with(below)) {
        let visited = visited.display();
        return text(format!("cycle detected: candidate root '{at}' contains visited root '{visited}'"));
    }
    let about = |doing: &str, fail: Fail| match fail {
        Fail::Text(why) => Fail::Text(format!("{doing} '{at}': {why}")),
        other => other,
    };
    let loaded = load::kustomization(below).map_err(|fail| about("couldn't make target for path", fail))?;
    let accumulated = accumulate(below, &loaded, above, warnings).await;
    accumulated.map_err(|fail| about("recursed accumulation of path", fail))
}

/// The objects of a file, a folder or a URL.
async fn resources(
    root: &Path,
    entry: &str,
    above: &mut Vec<PathBuf>,
    warnings: &mut Vec<String>,
) -> Result<Vec<Resource>, Fail> {
    if is_remote(entry) && !root.join(entry).exists() {
        let is_web = entry.starts_with("http://") || entry.starts_with("https://");
        let path = entry.split(['?', '#']).next().unwrap_or(entry);
        if !is_web || ![".yaml", ".yml", ".json"].iter().any(|end| path.ends_with(end)) {
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
        let wrong = |why: String| {
            Fail::Text(format!(
                "accumulating resources: accumulation err='accumulating resources from '{entry}': '{}' must resolve to a file': {why}",
                below.display()
            ))
        };
        if entry.is_empty() || Path::new(entry).is_absolute() {
            return Err(wrong(load::no_folder(root, entry, "")));
        }
        return Box::pin(base(&below, above, warnings)).await.map_err(|fail| match fail {
            Fail::Text(why) => wrong(why),
            other => other,
        });
    }
    let bytes = load::file(root, entry).map_err(|fail| {
        let why = fail.message();
        Fail::Text(format!(
            "accumulating resources: accumulation err='accumulating resources from '{entry}': {why}': {}",
            load::no_folder(root, entry, &why)
        ))
    })?;
    let found = load::objects(&bytes, entry)?;
    let is_there = |(at, one): &(usize, &Resource)| found[..*at].iter().any(|other| other.is_same_as(one));
    let twice = found.iter().enumerate().find(is_there);
    match twice.map(|(_, one)| doubled(root, entry, "accumulating", one)) {
        Some(fail) => Err(fail),
        None => Ok(found),
    }
}

#[cfg(test)]
mod places;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod words;
