//! Which objects a list or watch is about.

use super::http::Query;
use super::object::{Change, Event};
use crate::api::fields::FieldSelector;
use crate::api::kinds::Kind;
use crate::api::labels::Selector;
use crate::api::{Status, meta, value};
use serde_json::Value;

#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Empty: all namespaces.
    pub namespace: String,
    /// Empty: all names.
    pub name: String,
    pub labels: Selector,
    pub fields: FieldSelector,
}

impl Filter {
    /// From the query of a list or watch in `namespace`.
    pub fn of(kind: &Kind, namespace: &str, query: &Query) -> Result<Filter, Status> {
        let labels = Selector::parse(query.get("labelSelector")).map_err(Status::bad_request)?;
        let fields = FieldSelector::parse(query.get("fieldSelector"), &kind.selectable())
            .map_err(Status::bad_request)?;
        let name = fields.name().unwrap_or("").to_string();
        Ok(Filter { namespace: namespace.to_string(), name, labels, fields })
    }

    pub fn is_selective(&self) -> bool {
        !self.labels.is_empty() || !self.fields.is_empty()
    }

    pub fn matches(&self, object: &Value) -> bool {
        (self.namespace.is_empty() || meta::namespace(object) == self.namespace)
            && (self.name.is_empty() || meta::name(object) == self.name)
            && self.labels.matches(value::at(object, "metadata.labels"))
            && self.fields.matches(object)
    }

    /// What an event is to someone who sees only what matches.
    pub fn classify(&self, event: &Event) -> Option<Change> {
        let now = !event.deleted && self.matches(&event.object.value);
        let before = event.previous.as_ref().is_some_and(|p| self.matches(&p.value));
        match (before, now) {
            (false, true) => Some(Change::Added),
            (true, true) => Some(Change::Modified),
            (true, false) => Some(Change::Deleted),
            (false, false) => None,
        }
    }
}
