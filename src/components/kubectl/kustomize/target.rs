//! Selects the objects of a patch.

use super::resource::Resource;
use super::types::Selector as Target;
use crate::error::{Fail, text as fail};
use api::labels::Selector;
use api::value::at;
use regex::Regex;

/// Returns the resources that a patch's `target` selects. Names and kinds are regular expressions
/// for the whole text; name and namespace may be the first or the current ones. Source: kustomize,
/// `resWrangler.Select`.
pub(super) fn select(target: &Target, all: &[Resource]) -> Result<Vec<usize>, Fail> {
    let patterns = Patterns {
        group: whole(&target.group)?,
        version: whole(&target.version)?,
        kind: whole(&target.kind)?,
        name: whole(&target.name)?,
        namespace: whole(&target.namespace)?,
        labels: Selector::parse(&target.label_selector).map_err(Fail::Text)?,
        annotations: Selector::parse(&target.annotation_selector).map_err(Fail::Text)?,
    };
    Ok(all.iter().enumerate().filter(|(_, r)| patterns.match_resource(r)).map(|(i, _)| i).collect())
}

struct Patterns {
    group: Option<Regex>,
    version: Option<Regex>,
    kind: Option<Regex>,
    name: Option<Regex>,
    namespace: Option<Regex>,
    labels: Selector,
    annotations: Selector,
}

/// The pattern for a whole text; none matches everything.
fn whole(pattern: &str) -> Result<Option<Regex>, Fail> {
    match Regex::new(&format!("^(?:{pattern})$")) {
        _ if pattern.is_empty() => Ok(None),
        Ok(regex) => Ok(Some(regex)),
        Err(error) => fail(format!("error parsing regexp {pattern}: {error}")),
    }
}

impl Patterns {
    fn match_resource(&self, resource: &Resource) -> bool {
        let fits = |pattern: &Option<Regex>, found: &[&str]| {
            pattern.as_ref().is_none_or(|regex| found.iter().any(|text| regex.is_match(text)))
        };
        let (first, now) = (resource.first_place(), resource.place());
        let namespaces = [resource.effective_namespace(&first), resource.effective_namespace(&now)];
        fits(&self.group, &[resource.group()])
            && fits(&self.version, &[resource.version()])
            && fits(&self.kind, &[&now.kind])
            && fits(&self.name, &[&first.name, &now.name])
            && fits(&self.namespace, &namespaces)
            && self.labels.matches(at(&resource.object, "metadata.labels"))
            && self.annotations.matches(at(&resource.object, "metadata.annotations"))
    }
}
