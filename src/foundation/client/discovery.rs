//! Discovery: which resources the server has, and which one a word on the command line means.
//!
//! Nothing here asks the server: the caller gets the two documents [`ROOTS`] in its own way, and
//! for a server without aggregated discovery one more for each [`GroupVersion`].
//!
//! Source: client-go, `discovery` and `restmapper`.

use api::value;
use serde_json::Value;
use std::sync::Arc;

/// The paths of the two documents: the core group's, and that of all other groups.
pub const ROOTS: [&str; 2] = ["/api", "/apis"];

/// `Accept` for [`ROOTS`]: aggregated discovery, or the names of groups from a server that has
/// none.
pub const AGGREGATED: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList,application/json";

/// One resource of the server in one version, as discovery describes it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Resource {
    /// `apps`; empty: the core group.
    pub group: String,
    /// `v1`
    pub version: String,
    /// `Deployment`
    pub kind: String,
    /// `deployments`
    pub plural: String,
    /// `deployment`; some resources have none.
    pub singular: String,
    /// True if each object is in a namespace.
    pub namespaced: bool,
    /// `get`, `list`, …
    pub verbs: Vec<String>,
    /// `deploy`
    pub short_names: Vec<String>,
    /// `all`
    pub categories: Vec<String>,
    /// Names of its subresources: `scale`, `status`.
    pub subresources: Vec<String>,
}

impl Resource {
    /// `deployments.apps`, `pods`
    pub fn qualified(&self) -> String {
        api::status::qualified(&self.group, &self.plural)
    }

    /// `apps/v1`, `v1`
    pub fn api_version(&self) -> String {
        api_version(&self.group, &self.version)
    }

    /// `deployment.apps`, `pod`: how kubectl names a kind in its answers.
    pub fn kind_group(&self) -> String {
        let kind = self.kind.to_lowercase();
        if self.group.is_empty() { kind } else { format!("{kind}.{}", self.group) }
    }

    /// Returns true if the resource has this verb (`list`, `patch`).
    pub fn can(&self, verb: &str) -> bool {
        self.verbs.iter().any(|v| v == verb)
    }
}

/// A group version, and the path of its own document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupVersion {
    /// `apps`; empty: the core group.
    pub group: String,
    /// `v1`
    pub version: String,
    /// `/apis/apps/v1`
    pub path: String,
}

/// All resources, the preferred version of a group first.
#[derive(Debug, Default)]
pub struct Discovery {
    /// Each in every version that serves it.
    pub resources: Vec<Arc<Resource>>,
    /// `apps/v1`, … in the server's order, the preferred version of a group first.
    pub group_versions: Vec<String>,
}

impl Discovery {
    /// Adds an answer to one of [`ROOTS`]. Returns the group versions whose own documents have to
    /// be asked for: none, if the server has aggregated discovery.
    pub fn add(&mut self, answer: &Value) -> Vec<GroupVersion> {
        match answer["kind"] == "APIGroupDiscoveryList" {
            true => {
                self.add_aggregated(answer);
                Vec::new()
            }
            false => self.add_names(answer),
        }
    }

    /// Adds an `APIGroupDiscoveryList`. A version whose resources the server may not know by now
    /// (`Stale`) is left out: its own server does not answer.
    pub fn add_aggregated(&mut self, list: &Value) {
        for group in value::list(list, "items") {
            let name = value::text(group, "metadata.name");
            for version in value::list(group, "versions") {
                if value::text(version, "freshness") == "Stale" {
                    continue;
                }
                let word = value::text(version, "version");
                self.group_versions.push(api_version(name, word));
                for resource in value::list(version, "resources") {
                    let resource = aggregated(name, word, resource);
                    // One without a kind has subresources only, and no objects of its own.
                    if !resource.kind.is_empty() {
                        self.resources.push(Arc::new(resource));
                    }
                }
            }
        }
    }

    /// Servers without aggregated discovery: `APIVersions` of the core group, `APIGroupList`.
    fn add_names(&mut self, list: &Value) -> Vec<GroupVersion> {
        let mut found = Vec::new();
        for version in value::list(list, "versions").iter().filter_map(Value::as_str) {
            let path = format!("/api/{version}");
            found.push(GroupVersion { group: String::new(), version: version.into(), path });
        }
        for group in value::list(list, "groups") {
            let preferred = value::text(group, "preferredVersion.version");
            let is_preferred = |version: &&Value| value::text(version, "version") == preferred;
            let (first, others): (Vec<&Value>, Vec<&Value>) =
                value::list(group, "versions").iter().partition(is_preferred);
            for version in first.into_iter().chain(others) {
                let (name, word) = (value::text(group, "name"), value::text(version, "version"));
                let path = format!("/apis/{name}/{word}");
                found.push(GroupVersion { group: name.into(), version: word.into(), path });
            }
        }
        self.group_versions.extend(found.iter().map(|of| api_version(&of.group, &of.version)));
        found
    }

    /// Adds the document of one group version, an `APIResourceList`.
    pub fn add_version(&mut self, of: &GroupVersion, document: &Value) {
        let items = value::list(document, "resources");
        for item in items.iter().filter(|i| !value::text(i, "name").contains('/')) {
            let mut resource = aggregated(&of.group, &of.version, item);
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

    /// Returns the resource that a word means: `po`, `pods`, `Pod`, `deployments.apps`,
    /// `deploy.v1.apps`. As in client-go, capital letters do not matter in a name, but in a short
    /// name (`PO` means nothing), a version and a group they do.
    pub fn find(&self, word: &str) -> Option<Arc<Resource>> {
        if word.is_empty() {
            return None; // some resources have no singular name
        }
        let parts: Vec<&str> = word.splitn(3, '.').collect();
        let (written, group) = match word.split_once('.') {
            Some((written, group)) => (written, Some(group)),
            None => (word, None),
        };
        let name = written.to_lowercase();
        let named =
            |r: &&Arc<Resource>| r.plural == name || r.singular == name || r.kind.to_lowercase() == name;
        let short = |r: &&Arc<Resource>| r.short_names.iter().any(|s| s == written);
        if let [_, version, group] = parts.as_slice() {
            let exact = |r: &&Arc<Resource>| r.version == *version && r.group == *group;
            let found = self.resources.iter().filter(exact).find(|r| named(r) || short(r));
            if let Some(found) = found {
                return Some(found.clone());
            }
        }
        // A group may be shortened (`storageclasses.storage`), unless there is one of exactly that
        // name.
        let exactly = |r: &Resource| group.is_none_or(|g| r.group == g);
        let begins = |r: &Resource| group.is_some_and(|g| !g.is_empty() && r.group.starts_with(g));
        let of = |fits: &dyn Fn(&Resource) -> bool| {
            let candidates = || self.resources.iter().filter(|r| fits(r));
            candidates().find(named).or_else(|| candidates().find(short)).cloned()
        };
        of(&exactly).or_else(|| of(&begins))
    }

    /// Returns the other resources that a short name could mean, behind the one that
    /// [`Discovery::find`] returns; none for a plural or a singular. client-go warns of them
    /// (`shortcutExpander`).
    ///
    /// Example: if widgets of two groups have the short name `wd`, `wd` means those of the first
    /// group, and could mean `widgets.other.example.com`.
    pub fn lower_priority(&self, word: &str) -> Vec<String> {
        let (name, group) = match word.split_once('.') {
            Some((name, group)) => (name, Some(group)),
            None => (word, None),
        };
        let fits = self.resources.iter().filter(|r| group.is_none_or(|g| r.group == g));
        if fits.clone().any(|r| r.plural == name || r.singular == name) {
            return Vec::new();
        }
        let mut meant: Vec<String> = vec![];
        for resource in fits.filter(|r| r.short_names.iter().any(|s| s == name)) {
            let qualified = resource.qualified();
            if !meant.contains(&qualified) {
                meant.push(qualified);
            }
        }
        meant.into_iter().skip(1).collect()
    }

    /// Returns the resource of a manifest's kind.
    pub fn of_kind(&self, api_version: &str, kind: &str) -> Option<Arc<Resource>> {
        self.resources.iter().find(|r| r.kind == kind && r.api_version() == api_version).cloned()
    }

    /// Resources of a category (`all`).
    pub fn category(&self, name: &str) -> Vec<Arc<Resource>> {
        let mut found: Vec<Arc<Resource>> = vec![];
        for resource in &self.resources {
            let known = found.iter().any(|f| f.group == resource.group && f.plural == resource.plural);
            if !known && resource.categories.iter().any(|c| c == name) {
                found.push(resource.clone());
            }
        }
        found
    }

    /// Returns each resource once, in its preferred version.
    pub fn preferred(&self) -> Vec<Arc<Resource>> {
        let mut found: Vec<Arc<Resource>> = vec![];
        for resource in &self.resources {
            if !found.iter().any(|f| f.group == resource.group && f.plural == resource.plural) {
                found.push(resource.clone());
            }
        }
        found
    }
}

/// `apps/v1`, `v1`
fn api_version(group: &str, version: &str) -> String {
    if group.is_empty() { version.into() } else { format!("{group}/{version}") }
}

/// Reads one resource of an `APIGroupDiscoveryList`.
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
        all.add_aggregated(&json!({"items": [
            {"metadata": {}, "versions": [{"version": "v1", "resources": [resource("pods", "Pod", "po"), resource("events", "Event", "ev")]}]},
            {"metadata": {"name": "apps"}, "versions": [{"version": "v1", "resources": [resource("deployments", "Deployment", "deploy")]}]},
            {"metadata": {"name": "events.k8s.io"}, "versions": [{"version": "v1", "resources": [resource("events", "Event", "ev")]}]}]}));
        let find = |word: &str| all.find(word).map(|r| r.qualified());
        for (word, want) in [
            ("po", Some("pods")),
            ("Pod", Some("pods")),
            ("PODS", Some("pods")),
            ("PO", None),
            ("Deploy.v1.apps", None),
            ("deploy", Some("deployments.apps")),
            ("deployments.apps", Some("deployments.apps")),
            ("deployment.v1.apps", Some("deployments.apps")),
            ("ev", Some("events")),
            ("events.events.k8s.io", Some("events.events.k8s.io")),
            ("deployments.app", Some("deployments.apps")),
            ("Deployments.v1.apps", Some("deployments.apps")),
            ("deployments.Apps", None),
            ("deployments.V1.apps", None),
            ("ev.events", Some("events.events.k8s.io")),
            ("nope", None),
            ("", None),
            ("pods.apps", None),
        ] {
            assert_eq!(find(word).as_deref(), want, "{word}");
        }
        assert_eq!(all.category("all").len(), 4);
    }

    #[test]
    fn a_short_name_of_two_resources_is_warned_of() {
        let mut all = Discovery::default();
        let version = |version: &str, plural: &str| {
            let kind = json!({"kind": plural});
            let resource = json!({"resource": plural, "responseKind": kind, "shortNames": ["wd"]});
            json!({"version": version, "resources": [resource]})
        };
        all.add_aggregated(&json!({"items": [
            {"metadata": {"name": "a.com"}, "versions": [version("v2", "widgets"), version("v1", "widgets")]},
            {"metadata": {"name": "b.com"}, "versions": [version("v1", "widgets")]}]}));
        assert_eq!(all.find("wd").unwrap().qualified(), "widgets.a.com");
        assert_eq!(all.lower_priority("wd"), ["widgets.b.com"]);
        for word in ["widgets", "wd.b.com", "nope"] {
            assert_eq!(all.lower_priority(word), [""; 0], "{word}");
        }
    }

    /// client-go's `convertAPIResource` leaves it out. Otherwise `get all` or the garbage collector
    /// would ask the server for objects that it does not have.
    #[test]
    fn a_resource_that_has_subresources_only_is_left_out() {
        let mut all = Discovery::default();
        let scale = json!({"subresource": "scale", "responseKind": {"kind": "Scale"}, "verbs": ["get"]});
        let resources = json!([
            {"resource": "models", "scope": "Namespaced", "subresources": [scale]},
            {"resource": "things", "scope": "Namespaced", "responseKind": {"kind": "Thing"}, "verbs": ["get"]}]);
        all.add_aggregated(&json!({"items": [{"metadata": {"name": "example.com"},
            "versions": [{"version": "v1", "resources": resources}]}]}));
        assert!(all.find("models").is_none());
        assert_eq!(all.preferred().len(), 1);
    }

    /// client-go's `convertAPIGroup`. The metrics server does not answer: `kubectl top` says that
    /// there is no such API, and `kubectl api-versions` does not name it.
    #[test]
    fn a_version_whose_server_does_not_answer_is_left_out() {
        let mut all = Discovery::default();
        let version = |freshness: &str| {
            let nodes =
                json!({"resource": "nodes", "scope": "Cluster", "responseKind": {"kind": "NodeMetrics"}});
            json!({"version": freshness.to_lowercase(), "freshness": freshness, "resources": [nodes]})
        };
        let versions = json!([version("Stale"), version("Current")]);
        all.add_aggregated(
            &json!({"items": [{"metadata": {"name": "metrics.k8s.io"}, "versions": versions}]}),
        );
        assert_eq!(all.group_versions, ["metrics.k8s.io/current"]);
        let left: Vec<String> = all.resources.iter().map(|r| r.api_version()).collect();
        assert_eq!(left, ["metrics.k8s.io/current"]);
    }

    #[test]
    fn a_server_without_aggregated_discovery_is_asked_for_each_group_version() {
        let mut all = Discovery::default();
        let core = all.add(&json!({"kind": "APIVersions", "versions": ["v1"]}));
        let groups = json!([{"name": "apps", "preferredVersion": {"version": "v1"},
            "versions": [{"version": "v1beta1"}, {"version": "v1"}]}]);
        let apps = all.add(&json!({"kind": "APIGroupList", "groups": groups}));
        let paths: Vec<&str> = core.iter().chain(&apps).map(|of| of.path.as_str()).collect();
        assert_eq!(paths, ["/api/v1", "/apis/apps/v1", "/apis/apps/v1beta1"]);
        assert_eq!(all.group_versions, ["v1", "apps/v1", "apps/v1beta1"]);
        let document = json!({"resources": [
            {"name": "deployments", "singularName": "deployment", "kind": "Deployment", "namespaced": true, "verbs": ["get"], "shortNames": ["deploy"]},
            {"name": "deployments/scale", "kind": "Scale", "namespaced": true, "verbs": ["get"]}]});
        all.add_version(&apps[0], &document);
        let found = all.find("deploy").unwrap();
        assert_eq!((found.api_version().as_str(), found.kind.as_str()), ("apps/v1", "Deployment"));
        assert!(found.namespaced && found.can("get"));
        assert_eq!(found.subresources, ["scale"]);
        assert_eq!(all.resources.len(), 1, "a subresource is none of its own");
    }
}
