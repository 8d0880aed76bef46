//! Which objects a patch is for.

use super::Resource;
use crate::error::{Fail, text as fail};
use api::labels::Selector;
use api::value::{self, at, text};
use regex::Regex;
use serde_json::Value;

/// Does a resource match a patch's `target`? Names and kinds are regular expressions for the whole
/// text.
pub(super) fn matches(target: &Value, resource: &Resource) -> Result<bool, Fail> {
    let whole = |field: &str, found: &[&str]| -> Result<bool, Fail> {
        let pattern = text(target, field);
        if pattern.is_empty() {
            return Ok(true);
        }
        match Regex::new(&format!("^(?:{pattern})$")) {
            Ok(regex) => Ok(found.iter().any(|f| regex.is_match(f))),
            Err(error) => fail(format!("error parsing regexp {pattern}: {error}")),
        }
    };
    let names: Vec<&str> = resource.known.iter().map(|(_, n)| n.as_str()).chain([resource.name()]).collect();
    let own = text(&resource.object, "metadata.namespace");
    let namespaces: Vec<&str> = resource.known.iter().map(|(ns, _)| ns.as_str()).chain([own]).collect();
    let selected = |field: &str, path: &str| -> Result<bool, Fail> {
        match text(target, field) {
            "" => Ok(true),
            given => Ok(Selector::parse(given).map_err(Fail::Text)?.matches(at(&resource.object, path))),
        }
    };
    Ok(whole("group", &[resource.group()])?
        && whole("version", &[resource.version()])?
        && whole("kind", &[resource.kind()])?
        && whole("name", &names)?
        && whole("namespace", &namespaces)?
        && selected("labelSelector", "metadata.labels")?
        && selected("annotationSelector", "metadata.annotations")?)
}

/// The resources that a patch names by its own kind and name.
pub(super) fn named_by(patch: &Value, all: &[Resource]) -> Vec<usize> {
    let wanted = Resource::new(patch.clone());
    let namespace = value::text(patch, "metadata.namespace");
    let same = |r: &Resource| {
        (r.group(), r.version(), r.kind()) == (wanted.group(), wanted.version(), wanted.kind())
            && r.is_known_as(namespace, wanted.name())
    };
    all.iter().enumerate().filter(|(_, r)| same(r)).map(|(i, _)| i).collect()
}
