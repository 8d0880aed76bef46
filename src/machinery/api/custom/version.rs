//! What stands behind the kind of a definition: the schema and the columns of one version.

use super::columns::Column;
use super::schema::Schema;
use super::{check, embedded, fill, numbers, prune, rules};
use crate::errors::Errors;
use crate::path::{Path, UnknownFields};
use crate::published::OBJECT_META;
use crate::schema::decode;
use crate::status::Status;
use crate::value::{self, text};
use serde_json::Value;
use std::borrow::Cow;
use std::sync::Arc;

/// What a definition says about one of its versions.
pub struct Custom {
    /// Where the objects rest in the store: `stable.example.com/crontabs`.
    pub place: String,
    /// The kind of a list, e.g. `CronTabList`.
    pub list_kind: String,
    /// What `kubectl get` prints after the name.
    pub columns: Vec<Column>,
    /// Fields that a field selector may ask for, with their paths.
    pub fields: Vec<(String, String)>,
    /// The schema as clients get it, in OpenAPI.
    pub published: Value,
    /// The schema that objects are read, pruned, filled and judged by.
    pub schema: Arc<Schema>,
    /// The version in which objects are stored, as `group/version`.
    pub(super) stored: String,
}

impl Custom {
    /// Removes the fields that the schema does not name, and returns their paths. Numbers are
    /// written as a Go server writes them.
    ///
    /// # Errors
    /// The decoder's message for metadata that has a value of the wrong type, here or in an
    /// embedded object. The object may be pruned in part then.
    pub fn conform(&self, object: &mut Value) -> Result<UnknownFields, String> {
        numbers::normalize(object);
        let mut unknown = UnknownFields::default();
        if let Some(metadata) = object.get_mut("metadata").filter(|m| !m.is_null()) {
            unknown.add_below("metadata", decode::conform_named(OBJECT_META, metadata)?);
        }
        let of_metadata = unknown.shown().len();
        prune::prune(&self.schema, object, &mut unknown);
        unknown.shown_mut()[of_metadata..].sort(); // as upstream tells them
        fill::nulls(&self.schema, object);
        embedded::conform(&self.schema, object, Path::Root, &mut unknown)?;
        Ok(unknown)
    }

    /// Fills in defaults.
    ///
    /// # Errors
    /// 413 if the object would be larger with them than the store takes. It is as it was then.
    pub fn fill(&self, object: &mut Value) -> Result<(), Status> {
        fill::defaults(&self.schema, object).map(drop).map_err(|fill::TooMuch| {
            let message = format!(
                "Request entity too large: the object would have more than {} bytes with the defaults of its kind's schema",
                fill::FILLED_MAX
            );
            Status::new(413, "RequestEntityTooLarge", message)
        })
    }

    /// Fills in the defaults of an object that replaces `old`.
    ///
    /// Defaults that a definition got later may make stored objects larger than the store takes.
    /// Upstream such an object cannot be written any more: etcd refuses each change, also the one
    /// that takes its last finalizer away, until the default is smaller. Here it is read and
    /// written without the defaults that it lacks, so that it can be changed and deleted; an object
    /// that fits is refused as a new one would be if the change makes it too large.
    ///
    /// # Errors
    /// As [`Custom::fill`], unless `old` is too large with its defaults, too.
    pub fn refill(&self, object: &mut Value, old: &Value) -> Result<(), Status> {
        match self.fill(object) {
            Err(_) if fill::added(&self.schema, old).is_err() => Ok(()),
            done => done,
        }
    }

    /// Judges an object by the schema and its rules, as a change of `old` if there is one. A change
    /// of metadata alone is not judged if the object lacks its defaults ([`Custom::refill`]): a
    /// field may be required, or read by a rule, because it has a default.
    pub fn validate(&self, object: &Value, old: Option<&Value>, errors: &mut Errors) {
        if old.is_some_and(|old| self.changes_metadata_without_defaults(object, old)) {
            return;
        }
        // The old object as clients read it: a default that its definition got later is no change.
        let before = old.map(|old| self.as_read(old));
        let old = before.as_deref();
        check::object(&self.schema, object, old, errors);
        if errors.iter().any(|e| e.kind.hides_rules()) {
            let why = "some validation rules were not checked because the object was invalid; correct the existing errors to complete validation";
            if self.schema.has_rules {
                errors.invalid("<nil>", &Value::Null, why);
            }
            return;
        }
        rules::judge(&self.schema, object, old, errors);
    }

    /// Returns the rules that an object breaks where it is as `old` was: those only warn.
    pub(crate) fn broken_before(&self, object: &Value, old: &Value) -> Errors {
        rules::broken_before(&self.schema, object, &self.as_read(old))
    }

    /// Returns a stored object as clients read it in the version that it was written in.
    fn as_read<'a>(&self, stored: &'a Value) -> Cow<'a, Value> {
        match text(stored, "apiVersion").split_once('/') {
            Some((group, version)) => self.shown(group, version, stored).0,
            None => Cow::Borrowed(stored),
        }
    }

    fn changes_metadata_without_defaults(&self, object: &Value, old: &Value) -> bool {
        let content = |object: &Value| {
            let mut content = object.clone();
            self.fit(&mut content);
            for field in ["apiVersion", "metadata"] {
                value::remove(&mut content, field);
            }
            content
        };
        fill::added(&self.schema, object).is_err() && content(object) == content(old)
    }

    /// Removes the fields that the schema does not name any more, and nulls that it does not allow.
    fn fit(&self, object: &mut Value) {
        prune::prune(&self.schema, object, &mut UnknownFields::default());
        fill::nulls(&self.schema, object);
    }

    /// Gives an object the name of the version in which objects are stored.
    pub fn to_stored(&self, object: &mut Value) {
        value::put(object, "apiVersion", self.stored.clone());
    }

    /// Returns a stored object under the name of this version, with the fields and the defaults
    /// that the definition has now: it may have been stored under an older schema, or in another
    /// version. If it is too large with its defaults, it is shown without those that it lacks
    /// ([`Custom::refill`]). The number is about how many bytes the defaults add.
    pub fn shown<'a>(&self, group: &str, version: &str, object: &'a Value) -> (Cow<'a, Value>, usize) {
        let mut shown = self.without_defaults(group, version, object);
        match fill::added(&self.schema, &shown) {
            Ok(added @ 1..) => {
                fill::fill(&self.schema, shown.to_mut());
                (shown, added)
            }
            _ => (shown, 0),
        }
    }

    /// As [`Custom::shown`], with the defaults that it is stored with alone.
    pub fn without_defaults<'a>(&self, group: &str, version: &str, object: &'a Value) -> Cow<'a, Value> {
        let as_it_is = text(object, "apiVersion").split_once('/') == Some((group, version));
        let fits = prune::is_pruned(&self.schema, object) && !fill::has_nulls(&self.schema, object);
        if as_it_is && fits {
            return Cow::Borrowed(object);
        }
        let mut shown = object.clone();
        value::put(&mut shown, "apiVersion", format!("{group}/{version}"));
        if !fits {
            self.fit(&mut shown);
        }
        Cow::Owned(shown)
    }
}
