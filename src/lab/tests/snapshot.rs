//! The snapshot against which a test evaluates expressions: objects, and versions of objects, are
//! put into its facts one by one. Tests of labs ([`super::built_in`]) begin with no object, tests
//! of lessons with those of [`super::objects`].

use crate::cel::facts::{self, Facts, Object};
use crate::cel::version::Version;
use api::kinds::Kind;
use serde_json::Value as Json;
use std::sync::Arc;

/// Watches kinds, of which there are no objects until a test puts one there. A name that is no
/// kind's is passed over.
pub(super) fn watch<'a>(facts: &mut Facts, kinds: impl IntoIterator<Item = &'a str>) {
    for kind in kinds.into_iter().filter_map(facts::kind) {
        facts.objects.entry(kind.qualified()).or_default();
    }
}

/// Puts an object in the place of the one of its kind, namespace and name.
pub(super) fn put(facts: &mut Facts, object: Json) {
    let all = facts.objects.entry(kind_of(&object).qualified()).or_default();
    Arc::make_mut(all).insert(facts::key(&object), Object::new(object));
}

/// Takes away the object of this kind and name that is in the namespace `default`.
pub(super) fn take_away(facts: &mut Facts, kind: &str, name: &str) {
    let kind = facts::kind(kind).expect("a kind");
    let all = facts.objects.get_mut(&kind.qualified()).expect("it is watched");
    Arc::make_mut(all).remove(&("default".to_string(), name.to_string()));
}

/// A version of an object without a user who wrote it. `verb` is `ADDED`, `MODIFIED` or `DELETED`.
pub(super) fn version(object: &Json, revision: i64, verb: &'static str) -> Version {
    Version::new(revision, None, verb, object.to_string().into())
}

/// Replaces the versions of an object. They are in their order, the oldest first.
pub(super) fn put_versions(facts: &mut Facts, object: &Json, versions: Vec<Version>) {
    let versions: Vec<Arc<Version>> = versions.into_iter().map(Arc::new).collect();
    Arc::make_mut(&mut facts.history).insert(place(object), Arc::new(versions));
}

/// Adds the only version of an object, unless it has versions already.
pub(super) fn put_only_version(facts: &mut Facts, object: &Json, version: Version) {
    let versions = Arc::make_mut(&mut facts.history).entry(place(object));
    versions.or_insert_with(|| Arc::new(vec![Arc::new(version)]));
}

fn kind_of(object: &Json) -> &'static Kind {
    facts::kind(object["kind"].as_str().expect("an object with its kind")).expect("a kind")
}

/// The (plural, namespace, name) under which the versions of an object are kept.
fn place(object: &Json) -> (String, String, String) {
    let (namespace, name) = facts::key(object);
    (kind_of(object).plural.into(), namespace, name)
}
