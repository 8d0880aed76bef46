//! An object of a build, with the kinds, names and namespaces that it had before each change.

use api::gostr::quote;
use api::kinds;
use api::shape::Shape;
use api::value;
use serde_json::Value;

/// Cluster-scoped kinds that the table of kinds does not have.
const CLUSTER: [&str; 13] = [
    "APIService",
    "CSIDriver",
    "CSINode",
    "ClusterTrustBundle",
    "CustomResourceDefinition",
    "FlowSchema",
    "MutatingWebhookConfiguration",
    "PriorityLevelConfiguration",
    "RuntimeClass",
    "ValidatingAdmissionPolicy",
    "ValidatingAdmissionPolicyBinding",
    "ValidatingWebhookConfiguration",
    "VolumeAttachment",
];

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

/// One object of a build.
#[derive(Clone, Debug)]
pub(crate) struct Resource {
    pub object: Value,
    /// Where it was before each change of its place, the first one first.
    pub known: Vec<Place>,
    /// The prefixes that its name got, without the empty ones.
    pub prefixes: Vec<String>,
    /// The suffixes that its name got, without the empty ones.
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
    /// Remembers kind, namespace and name before a change of them.
    pub(crate) fn remember_place(&mut self) {
        self.known.push(self.place());
    }
    pub(crate) fn place(&self) -> Place {
        Place::of(&self.object)
    }
    /// Returns its first kind, namespace and name.
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
    /// Returns the merge keys of its lists; a kind that is not built in has none.
    pub(crate) fn shape(&self) -> Shape<'static> {
        kinds::find(self.group(), self.version(), self.kind()).map_or(Shape::Free, Shape::of)
    }
    /// Returns whether an object of its kind has no namespace.
    pub(crate) fn is_cluster_scoped(&self) -> bool {
        is_cluster_scoped(self.group(), self.version(), self.kind())
    }
    /// True if this object had at `place` the same identity that `other` has now.
    fn has_id(&self, place: &Place, other: &Resource) -> bool {
        let there = other.place();
        (self.group(), self.version()) == (other.group(), other.version())
            && (&place.kind, &place.name) == (&there.kind, &there.name)
            && self.effective_namespace(place) == other.effective_namespace(&there)
    }
    /// Returns whether both have the same kind, name and effective namespace now.
    pub(crate) fn is_same_as(&self, other: &Resource) -> bool {
        self.has_id(&self.place(), other)
    }
    /// Returns whether the object has, or once had, the place that `other` has now.
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

    /// Its id in the form of Go's `%#v`, which errors of kustomize's generators have.
    pub(crate) fn go_id(&self) -> String {
        format!(
            "resid.ResId{{Gvk:resid.Gvk{{Group:{}, Version:{}, Kind:{}, isClusterScoped:{}}}, Name:{}, Namespace:{}}}",
            quote(self.group()),
            quote(self.version()),
            quote(self.kind()),
            self.is_cluster_scoped(),
            quote(self.name()),
            quote(value::text(&self.object, "metadata.namespace")),
        )
    }
}

/// Returns the namespace that counts for an object, `default` for none; `None`: the object is
/// cluster-scoped.
pub(crate) fn namespace_of(object: &Value) -> Option<String> {
    let resource = Resource::new(object.clone());
    let place = resource.place();
    (!resource.is_cluster_scoped()).then(|| resource.effective_namespace(&place).to_string())
}

fn id(kind: &str, version: &str, group: &str, name: &str, namespace: &str) -> String {
    let or = |text: &str, none: &str| if text.is_empty() { none.to_string() } else { text.to_string() };
    format!("{kind}.{}.{}/{name}.{}", or(version, "[noVer]"), or(group, "[noGrp]"), or(namespace, "[noNs]"))
}

/// Returns whether objects of a kind have no namespace.
fn is_cluster_scoped(group: &str, version: &str, kind: &str) -> bool {
    match kinds::find(group, version, kind) {
        Some(kind) => !kind.namespaced,
        None => CLUSTER.contains(&kind),
    }
}
