//! Which resources the server has, and which one a word on the command line means.

use super::api::{Api, JSON};
use super::resource::Resource;
use crate::error::Fail;
use api::value;
use serde_json::Value;
use std::sync::Arc;

const AGGREGATED: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList,application/json";

/// All resources, the preferred version of a group first.
#[derive(Debug, Default)]
pub(crate) struct Discovery {
    pub resources: Vec<Arc<Resource>>,
    /// `apps/v1`, … in the server's order.
    pub group_versions: Vec<String>,
}

impl Discovery {
    /// Asks the server for all its resources: two requests, or one for each group version if the
    /// server has no aggregated discovery.
    ///
    /// # Errors
    /// As [`Api::get`], for `/api` and `/apis`. A single group version that the server refuses is
    /// left out, so that a broken one does not hide the others.
    pub(crate) async fn load(api: &Api) -> Result<Discovery, Fail> {
        let mut all = Discovery::default();
        for path in ["/api", "/apis"] {
            let list = api.get_as(path, &[("timeout", "32s")], AGGREGATED).await?;
            if list["kind"] == "APIGroupDiscoveryList" {
                all.take(&list);
            } else {
                all.load_legacy(api, &list).await?;
            }
        }
        Ok(all)
    }

    fn take(&mut self, list: &Value) {
        for group in value::list(list, "items") {
            let name = value::text(group, "metadata.name");
            for version in value::list(group, "versions") {
                let word = value::text(version, "version");
                self.group_versions.push(if name.is_empty() {
                    word.into()
                } else {
                    format!("{name}/{word}")
                });
                if value::text(version, "freshness") == "Stale" {
                    continue;
                }
                for resource in value::list(version, "resources") {
                    self.resources.push(Arc::new(aggregated(name, word, resource)));
                }
            }
        }
    }

    /// Servers without aggregated discovery: one document a group version.
    async fn load_legacy(&mut self, api: &Api, list: &Value) -> Result<(), Fail> {
        let mut found: Vec<(String, String, String)> = vec![];
        for version in value::list(list, "versions").iter().filter_map(Value::as_str) {
            found.push((String::new(), version.into(), format!("/api/{version}")));
        }
        for group in value::list(list, "groups") {
            for version in value::list(group, "versions") {
                let (name, word) = (value::text(group, "name"), value::text(version, "version"));
                found.push((name.into(), word.into(), format!("/apis/{name}/{word}")));
            }
        }
        for (group, version, path) in found {
            self.group_versions.push(if group.is_empty() {
                version.clone()
            } else {
                format!("{group}/{version}")
            });
            let document = match api.get_as(&path, &[("timeout", "32s")], JSON).await {
                Ok(document) => document,
                Err(Fail::Api(_)) => continue, // one broken group does not hide the others
                Err(other) => return Err(other),
            };
            let items = value::list(&document, "resources");
            for item in items.iter().filter(|i| !value::text(i, "name").contains('/')) {
                let mut resource = aggregated(&group, &version, item);
                resource.plural = value::text(item, "name").into();
                resource.singular = value::text(item, "singularName").into();
                resource.kind = value::text(item, "kind").into();
                resource.namespaced = value::flag(item, "namespaced");
                let prefix = format!("{}/", resource.plural);
                let names = items.iter().filter_map(|i| value::text(i, "name").strip_prefix(&prefix));
                resource.subresources = names.map(String::from).collect();
                self.resources.push(Arc::new(resource));
            }
        }
        Ok(())
    }

    /// The resource that a word means: `po`, `pods`, `Pod`, `deployments.apps`, `deploy.v1.apps`.
    pub(crate) fn find(&self, word: &str) -> Option<Arc<Resource>> {
        if word.is_empty() {
            return None; // some resources have no singular name
        }
        let word = word.to_lowercase();
        let named = |r: &&Arc<Resource>, name: &str| {
            r.plural == name || r.singular == name || r.kind.to_lowercase() == name
        };
        let short = |r: &&Arc<Resource>, name: &str| r.short_names.iter().any(|s| s == name);
        let parts: Vec<&str> = word.splitn(3, '.').collect();
        if let [name, version, group] = parts.as_slice() {
            let exact = |r: &&Arc<Resource>| r.version == *version && r.group == *group;
            let found = self.resources.iter().filter(exact).find(|r| named(r, name) || short(r, name));
            if let Some(found) = found {
                return Some(found.clone());
            }
        }
        let (name, group) = match word.split_once('.') {
            Some((name, group)) => (name, Some(group)),
            None => (word.as_str(), None),
        };
        // A group may be shortened (`storageclasses.storage`), unless there is one of exactly that
        // name.
        let exactly = |r: &Resource| group.is_none_or(|g| r.group == g);
        let begins = |r: &Resource| group.is_some_and(|g| !g.is_empty() && r.group.starts_with(g));
        let of = |fits: &dyn Fn(&Resource) -> bool| {
            let candidates = || self.resources.iter().filter(|r| fits(r));
            candidates().find(|r| named(r, name)).or_else(|| candidates().find(|r| short(r, name))).cloned()
        };
        of(&exactly).or_else(|| of(&begins))
    }

    /// The resource of a manifest's kind.
    pub(crate) fn of_kind(&self, api_version: &str, kind: &str) -> Option<Arc<Resource>> {
        self.resources.iter().find(|r| r.kind == kind && r.api_version() == api_version).cloned()
    }

    /// Resources of a category (`all`).
    pub(crate) fn category(&self, name: &str) -> Vec<Arc<Resource>> {
        let mut found: Vec<Arc<Resource>> = vec![];
        for resource in &self.resources {
            let known = found.iter().any(|f| f.group == resource.group && f.plural == resource.plural);
            if !known && resource.categories.iter().any(|c| c == name) {
                found.push(resource.clone());
            }
        }
        found
    }

    /// Each resource once, in its preferred version.
    pub(crate) fn preferred(&self) -> Vec<Arc<Resource>> {
        let mut found: Vec<Arc<Resource>> = vec![];
        for resource in &self.resources {
            if !found.iter().any(|f| f.group == resource.group && f.plural == resource.plural) {
                found.push(resource.clone());
            }
        }
        found
    }
}

fn aggregated(group: &str, version: &str, resource: &Value) -> Resource {
    let strings =
        |path: &str| value::list(resource, path).iter().filter_map(Value::as_str).map(String::from).collect();
    let subresources = value::list(resource, "subresources").iter();
    Resource {
        group: group.into(),
        version: version.into(),
        kind: value::text(resource, "responseKind.kind").into(),
        plural: value::text(resource, "resource").into(),
        singular: value::text(resource, "singularResource").into(),
        namespaced: value::text(resource, "scope") == "Namespaced",
        verbs: strings("verbs"),
        short_names: strings("shortNames"),
        categories: strings("categories"),
        subresources: subresources.map(|s| value::text(s, "subresource").to_string()).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn words_mean_resources_as_kubectl_reads_them() {
        let mut all = Discovery::default();
        let resource = |plural: &str, kind: &str, short: &str| {
            json!({"resource": plural, "responseKind": {"kind": kind}, "scope": "Namespaced", "verbs": ["get"],
                "singularResource": kind.to_lowercase(), "shortNames": [short], "categories": ["all"]})
        };
        all.take(&json!({"items": [
            {"metadata": {}, "versions": [{"version": "v1", "resources": [resource("pods", "Pod", "po"), resource("events", "Event", "ev")]}]},
            {"metadata": {"name": "apps"}, "versions": [{"version": "v1", "resources": [resource("deployments", "Deployment", "deploy")]}]},
            {"metadata": {"name": "events.k8s.io"}, "versions": [{"version": "v1", "resources": [resource("events", "Event", "ev")]}]}]}));
        let find = |word: &str| all.find(word).map(|r| r.qualified());
        for (word, want) in [
            ("po", Some("pods")),
            ("Pod", Some("pods")),
            ("deploy", Some("deployments.apps")),
            ("deployments.apps", Some("deployments.apps")),
            ("deployment.v1.apps", Some("deployments.apps")),
            ("ev", Some("events")),
            ("events.events.k8s.io", Some("events.events.k8s.io")),
            ("deployments.app", Some("deployments.apps")),
            ("ev.events", Some("events.events.k8s.io")),
            ("nope", None),
            ("", None),
            ("pods.apps", None),
        ] {
            assert_eq!(find(word).as_deref(), want, "{word}");
        }
        assert_eq!(all.category("all").len(), 4);
    }
}
