//! The entry of a kind: its names, verbs, rules and printing. The kinds make theirs here; so do the
//! definitions of custom kinds.

use crate::custom::version::Custom;
use crate::errors::Errors;
use crate::published;
use crate::status::Status;
use crate::table::cells::Printer;
use crate::validate::names as valid;
use crate::{value, zeros};
use serde_json::{Value, json};
use std::borrow::Cow;
use std::sync::Arc;

/// The verbs of a kind whose objects are stored.
pub const ALL: &[&str] = &["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"];
/// The verbs of a kind whose objects are answered and never stored.
pub const CREATE: &[&str] = &["create"];

/// A subresource: `pods/eviction`.
pub struct Sub {
    /// The last part of the path, e.g. `eviction`.
    pub name: &'static str,
    /// Group, version and kind of its objects; empty group and version: the parent's.
    pub group: &'static str,
    /// See `group`.
    pub version: &'static str,
    /// The kind of the objects that are read and written through it, e.g. `Eviction`.
    pub kind: &'static str,
    /// What clients may do with it, e.g. `get` and `update`.
    pub verbs: &'static [&'static str],
}

pub(super) const STATUS_VERBS: &[&str] = &["get", "patch", "update"];

/// Returns the subresource `status` of this kind.
pub(crate) const fn status(kind: &'static str) -> Sub {
    sub("status", kind, STATUS_VERBS)
}

/// Returns a subresource whose objects have the group and version of the parent.
pub(super) const fn sub(name: &'static str, kind: &'static str, verbs: &'static [&'static str]) -> Sub {
    Sub { name, group: "", version: "", kind, verbs }
}

/// Returns the subresource `proxy`: another server, which answers every method.
pub(super) const fn proxy(kind: &'static str) -> Sub {
    sub("proxy", kind, &["create", "delete", "get", "patch", "update"])
}

/// The subresource `scale`.
pub(crate) const SCALE: Sub =
    Sub { name: "scale", group: "autoscaling", version: "v1", kind: "Scale", verbs: STATUS_VERBS };

/// Another version of a kind: how its objects are turned into those that are stored, and back.
#[derive(Clone, Copy)]
pub struct Conversion {
    /// Turns an object of this version into the stored one.
    pub to_stored: fn(&mut Value),
    /// Turns a stored object into this version.
    pub from_stored: fn(&mut Value),
    /// Fields at the top of the object that have another name in this version: (stored, here).
    pub fields: &'static [(&'static str, &'static str)],
    /// What this version asks for beyond the stored one: the new object in its stored form, and the
    /// one that it replaces.
    pub validate: fn(&Value, Option<&Value>, &mut Errors),
}

/// Where a kind keeps what `/scale` shows.
#[derive(Clone, Copy)]
pub struct ScalePaths {
    /// How many are wanted, e.g. `spec.replicas`.
    pub spec_replicas: &'static str,
    /// How many there are, e.g. `status.replicas`.
    pub status_replicas: &'static str,
    /// Which pods are meant, e.g. `spec.selector`; empty if the kind has none.
    pub selector: &'static str,
}

/// What the API server, its clients and `kubectl` have to know about one version of a kind: names,
/// verbs, rules and printing. It is an entry of the table of kinds, or made from a
/// CustomResourceDefinition.
pub struct Kind {
    /// The API group; empty for the core group.
    pub group: &'static str,
    /// The version, e.g. `v1`.
    pub version: &'static str,
    /// The name in manifests, e.g. `Pod`.
    pub kind: &'static str,
    /// The name in paths, e.g. `pods`.
    pub plural: &'static str,
    /// The name of one object on the command line, e.g. `pod`.
    pub singular: String,
    /// Further names on the command line, e.g. `po`.
    pub short_names: &'static [&'static str],
    /// Names of groups of kinds on the command line, e.g. `all`.
    pub categories: &'static [&'static str],
    /// Its objects are in namespaces.
    pub namespaced: bool,
    /// What clients may do with its objects, in alphabetical order.
    pub verbs: &'static [&'static str],
    /// What has a path below an object, e.g. `status`.
    pub subresources: Vec<Sub>,
    /// Names under which the schema is known: `io.k8s.api.core.v1.Pod`.
    pub schema_name: &'static str,
    /// Computed for each request and never stored (`metrics.k8s.io`).
    pub computed: bool,
    /// Its status is written through `/status`, everything else through the object itself.
    pub has_status: bool,
    /// What the creator says about the status counts (Nodes).
    pub keeps_first_status: bool,
    /// Seconds after its last write at which an object goes by itself (Events); 0 for never.
    pub ttl_secs: u32,
    /// The warning for clients that still use this version; empty for none.
    pub deprecated: Cow<'static, str>,
    /// `metadata.generation` counts changes of the spec.
    pub generation: bool,
    /// It counts changes of the annotations, too (Deployments).
    pub generation_of_annotations: bool,
    /// It counts changes of the labels, too (EndpointSlices).
    pub generation_of_labels: bool,
    /// It stays as the creation has set it, whatever an update changes (PriorityClasses).
    pub generation_fixed: bool,
    /// A delete answers with the object rather than a Status.
    pub returns_deleted: bool,
    /// PUT creates what is not there.
    pub create_on_update: bool,
    /// PUT needs a resourceVersion.
    pub needs_version: bool,
    /// Deleting orphans dependents unless asked otherwise (Jobs).
    pub orphans: bool,
    /// What is wrong with a name of its objects, one sentence each; empty: nothing.
    pub name_rule: fn(&str) -> Vec<String>,
    /// Fills in what the client left out.
    pub defaults: fn(&mut Value),
    /// What a new object gets beside defaults, and loses: its first status.
    pub prepare: fn(&mut Value),
    /// Takes from the stored object what an update may not change. (new, old)
    pub prepare_update: fn(&mut Value, &Value),
    /// Takes from the stored object what a write through `/status`, or another subresource
    /// of the status, may not change. (new, old, subresource)
    pub prepare_status_update: fn(&mut Value, &Value, &str),
    /// Subresource (empty for the object itself) and path of the fields that a write through it
    /// takes from the stored object, so that no apply owns them (`GetResetFields` upstream). Beside
    /// these, the status and the metadata belong to the subresources, and everything but the status
    /// to the object itself.
    pub resets: &'static [(&'static str, &'static str)],
    /// Rules that upstream checks before all others; if one is broken, the others are not checked.
    /// (new, old)
    pub validate_first: fn(&Value, Option<&Value>, &mut Errors),
    /// What no object may have, new or changed.
    pub validate: fn(&Value, &mut Errors),
    /// What only a new object may not have.
    pub validate_create: fn(&Value, &mut Errors),
    /// What an update may not change, beside [`Kind::immutable`]. (new, old)
    pub validate_update: fn(&Value, &Value, &mut Errors),
    /// What a write through `/status`, or another subresource of the status, may not say.
    /// (new, old)
    pub validate_status_update: fn(&Value, &Value, &mut Errors),
    /// What a write through one subresource may not do. It is called for those of the status and
    /// for a namespace's `finalize`. (new, old, subresource)
    pub validate_subresource: fn(&Value, &Value, &str, &mut Errors),
    /// Paths whose problems do not count in an update that leaves them as they are: older versions
    /// accepted more.
    pub unjudged: &'static [&'static str],
    /// Paths that never change once they are set.
    pub immutable: &'static [&'static str],
    /// Fields that a field selector may ask for, with their paths.
    pub fields: &'static [(&'static str, &'static str)],
    /// The columns of `kubectl get`; `None`: name and age.
    pub printer: Option<&'static Printer>,
    /// For a version that is not the stored one.
    pub conversion: Option<Conversion>,
    /// Returns what answers show in place of a stored object; `None`: the object itself (upstream:
    /// `Store.Decorator`). Answers of `/status` show the object itself. It comes before
    /// `conversion`. A kind with `custom` has none: its objects are shown as [`Custom::shown`]
    /// says.
    pub shown: fn(&Value) -> Option<Value>,
    /// For a kind with the subresource `scale`.
    pub scale: Option<ScalePaths>,
    /// The first thing that a deletion does to an object that does not go at once.
    pub prepare_delete: fn(&mut Value),
    /// What a CustomResourceDefinition says; `None` for the kinds of the table.
    pub custom: Option<Arc<Custom>>,
}

/// Gives an object the first status of many kinds: what Go writes for a status without any field.
pub(super) fn prepare_status(object: &mut Value) {
    value::put(object, "status", json!({}));
}

fn nothing(_: &mut Value) {}
fn nothing_old(_: &mut Value, _: &Value) {}
fn fine(_: &Value, _: &mut Errors) {}
fn fine_old(_: &Value, _: &Value, _: &mut Errors) {}

/// Whether a scope is that of namespaced objects.
pub trait ScopeOf {
    /// True for the scope of namespaced objects.
    const NAMESPACED: bool;
}
impl ScopeOf for k8s_openapi::NamespaceResourceScope {
    const NAMESPACED: bool = true;
}
impl ScopeOf for k8s_openapi::ClusterResourceScope {
    const NAMESPACED: bool = false;
}

/// Makes the entry for a type of k8s-openapi.
pub(crate) fn of<T>() -> Kind
where
    T: k8s_openapi::Resource,
    T::Scope: ScopeOf,
{
    Kind {
        namespaced: T::Scope::NAMESPACED,
        schema_name: published::name(T::GROUP, T::VERSION, T::KIND),
        ..plain(T::GROUP, T::VERSION, T::KIND, T::URL_PATH_SEGMENT)
    }
}

/// Makes an entry in which everything is as most kinds have it.
pub(crate) fn plain(
    group: &'static str,
    version: &'static str,
    kind: &'static str,
    plural: &'static str,
) -> Kind {
    Kind {
        group,
        version,
        kind,
        plural,
        singular: kind.to_lowercase(),
        short_names: &[],
        categories: &[],
        namespaced: true,
        verbs: ALL,
        subresources: vec![],
        schema_name: "",
        computed: false,
        has_status: false,
        keeps_first_status: false,
        ttl_secs: 0,
        deprecated: Cow::Borrowed(""),
        generation: false,
        generation_of_annotations: false,
        generation_of_labels: false,
        generation_fixed: false,
        returns_deleted: false,
        create_on_update: false,
        needs_version: false,
        orphans: false,
        name_rule: valid::dns_subdomain,
        defaults: nothing,
        prepare: nothing,
        prepare_update: nothing_old,
        prepare_status_update: |_, _, _| {},
        resets: &[],
        validate_first: |_, _, _| {},
        validate: fine,
        validate_create: fine,
        validate_update: fine_old,
        validate_status_update: fine_old,
        validate_subresource: |_, _, _, _| {},
        unjudged: &[],
        immutable: &[],
        fields: &[],
        printer: None,
        conversion: None,
        shown: |_| None,
        scale: None,
        prepare_delete: nothing,
        custom: None,
    }
}

/// Metadata that a write through `/status` may change.
const METADATA: [&str; 5] = [
    "metadata.labels",
    "metadata.annotations",
    "metadata.finalizers",
    "metadata.ownerReferences",
    "metadata.managedFields",
];

impl Kind {
    /// Returns what a write of `new` through a subresource of the status makes of the stored
    /// object: the status and the metadata change, but for what [`Kind::resets`] names. Of the
    /// metadata of a custom resource only the managed fields do.
    pub fn through_status(&self, new: &Value, old: &Value, subresource: &str) -> Value {
        let mut made = old.clone();
        value::copy(new, &mut made, "status");
        let is_reset = |path: &str| match &self.custom {
            Some(_) => path != "metadata.managedFields",
            None => self.resets.contains(&(subresource, path)),
        };
        for path in METADATA.into_iter().filter(|path| !is_reset(path)) {
            value::copy(new, &mut made, path);
        }
        if self.custom.is_none() {
            // Go writes the zero time as null, whether a client sent that or nothing.
            let times = ["lastTransitionTime"].into_iter().chain(self.other_condition_time());
            for condition in value::list_mut(&mut made, "status.conditions") {
                if let Value::Object(condition) = condition {
                    for time in times.clone() {
                        condition.entry(time).or_insert(Value::Null);
                    }
                }
            }
        }
        made
    }
    /// Returns the time that the conditions of the kind have beside that of their transition.
    fn other_condition_time(&self) -> Option<&'static str> {
        match (self.group, self.kind) {
            ("", "Pod" | "PersistentVolumeClaim") | ("batch", "Job") => Some("lastProbeTime"),
            ("", "Node") => Some("lastHeartbeatTime"),
            ("apps", "Deployment") => Some("lastUpdateTime"),
            _ => None,
        }
    }
    /// Returns the `apiVersion` of the objects: `v1` or `apps/v1`.
    pub fn api_version(&self) -> String {
        if self.group.is_empty() {
            self.version.to_string()
        } else {
            format!("{}/{}", self.group, self.version)
        }
    }
    /// Returns the path of the group and version: `/api/v1` or `/apis/apps/v1`.
    pub(crate) fn root_path(&self) -> String {
        if self.group.is_empty() {
            format!("/api/{}", self.version)
        } else {
            format!("/apis/{}/{}", self.group, self.version)
        }
    }
    /// True if the kind has the verb, e.g. `patch`. Subresources have verbs of their own.
    pub(crate) fn has_verb(&self, verb: &str) -> bool {
        self.verbs.contains(&verb)
    }
    /// Returns whether objects of this kind are stored, and not only answered.
    pub fn is_stored(&self) -> bool {
        self.has_verb("get") && !self.computed
    }
    /// Finds the subresource of this name, e.g. `status`.
    pub fn sub(&self, name: &str) -> Option<&Sub> {
        self.subresources.iter().find(|s| s.name == name)
    }
    /// Returns where its objects rest in the store: `pods`, `stable.example.com/crontabs`.
    pub fn place(&self) -> &str {
        self.custom.as_ref().map_or(self.plural, |c| &c.place)
    }
    /// Returns the kind of a list of the objects: `PodList`.
    pub fn list_kind(&self) -> String {
        self.custom.as_ref().map_or_else(|| format!("{}List", self.kind), |c| c.list_kind.clone())
    }
    /// Fields that a field selector may ask for, with their paths.
    pub fn selectable(&self) -> Vec<(&str, &str)> {
        match &self.custom {
            Some(custom) => {
                custom.fields.iter().map(|(field, path)| (field.as_str(), path.as_str())).collect()
            }
            None => self.fields.to_vec(),
        }
    }
    /// Takes out the zero values that a Go server does not store, such as `tty: false`
    /// (`zeros.rs`). Of a custom resource only the metadata has a Go type.
    pub fn drop_zeros(&self, object: &mut Value) {
        match &self.custom {
            None => zeros::drop_zeros(self.schema_name, object),
            Some(_) => {
                if let Some(metadata) = object.get_mut("metadata") {
                    zeros::drop_zeros(published::OBJECT_META, metadata);
                }
            }
        }
    }
    /// Fills in what the client left out.
    ///
    /// # Errors
    /// As [`Custom::fill`].
    pub fn fill(&self, object: &mut Value) -> Result<(), Status> {
        (self.defaults)(object);
        self.custom.as_ref().map_or(Ok(()), |custom| custom.fill(object))
    }
    /// Fills in what the client left out of an object that replaces `old`.
    ///
    /// # Errors
    /// As [`Custom::refill`].
    pub fn refill(&self, object: &mut Value, old: &Value) -> Result<(), Status> {
        (self.defaults)(object);
        self.custom.as_ref().map_or(Ok(()), |custom| custom.refill(object, old))
    }
    /// Brings an object of this version into the form in which it is stored.
    pub fn to_stored(&self, object: &mut Value) {
        if let Some(conversion) = self.conversion {
            (conversion.to_stored)(object);
        }
        if let Some(custom) = &self.custom {
            custom.to_stored(object);
        }
    }
    /// Returns a stored object as this version shows it.
    pub fn from_stored<'a>(&self, object: &'a Value) -> Cow<'a, Value> {
        self.from_stored_and_added(object).0
    }
    /// As [`Kind::from_stored`], with about how many bytes later defaults of a custom kind add.
    pub fn from_stored_and_added<'a>(&self, object: &'a Value) -> (Cow<'a, Value>, usize) {
        if let Some(custom) = &self.custom {
            return custom.shown(self.group, self.version, object);
        }
        (self.converted((self.shown)(object).map_or(Cow::Borrowed(object), Cow::Owned)), 0)
    }
    /// Turns an object of the stored version into this one.
    fn converted<'a>(&self, object: Cow<'a, Value>) -> Cow<'a, Value> {
        let Some(conversion) = self.conversion else { return object };
        let mut converted = object.into_owned();
        (conversion.from_stored)(&mut converted);
        Cow::Owned(converted)
    }
    /// As [`Kind::from_stored`], with what answers leave out ([`Kind::shown`]): a patch changes the
    /// stored object, also where its client cannot see all of it. Answers of `/status` show it,
    /// too.
    pub fn from_stored_whole<'a>(&self, object: &'a Value) -> Cow<'a, Value> {
        match &self.custom {
            Some(_) => self.from_stored(object),
            None => self.converted(Cow::Borrowed(object)),
        }
    }
    /// As [`Kind::from_stored`], without the later defaults of a custom kind.
    pub fn from_stored_without_defaults<'a>(&self, object: &'a Value) -> Cow<'a, Value> {
        match &self.custom {
            Some(custom) => custom.without_defaults(self.group, self.version, object),
            None => self.from_stored(object),
        }
    }
    /// Returns the plural with the group, as messages have it: `deployments.apps`.
    pub fn qualified(&self) -> String {
        crate::status::qualified(self.group, self.plural)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Upstream decorates an object before it is converted to the version of the answer.
    #[test]
    fn what_answers_show_is_converted_to_their_version() {
        let conversion = Conversion {
            to_stored: |_| {},
            from_stored: |object| {
                let renamed = value::remove(object, "a").unwrap();
                value::put(object, "b", renamed);
            },
            fields: &[("a", "b")],
            validate: |_, _, _| {},
        };
        let shown: fn(&Value) -> Option<Value> = |object| object.get("secret").map(|_| json!({"a": "shown"}));
        let kind = Kind { conversion: Some(conversion), shown, ..plain("", "v1", "Thing", "things") };
        let (hiding, open) = (json!({"a": "stored", "secret": 1}), json!({"a": "stored"}));
        assert_eq!(*kind.from_stored(&hiding), json!({"b": "shown"}));
        assert_eq!(*kind.from_stored(&open), json!({"b": "stored"}));
        assert_eq!(*kind.from_stored_whole(&hiding), json!({"b": "stored", "secret": 1}));
        let stored = Kind { conversion: None, ..kind };
        assert_eq!(*stored.from_stored(&hiding), json!({"a": "shown"}));
        assert!(matches!(stored.from_stored(&open), Cow::Borrowed(_)));
        assert_eq!(*stored.from_stored_whole(&hiding), hiding);
    }
}
