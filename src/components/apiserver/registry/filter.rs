//! Which objects a list or watch is about.
//!
//! A selector is the client's, and it is judged for every object of a list and for every event of a
//! watch. So its size has a bound, which upstream leaves to the length of a request's head; and a
//! selector that costs more than a few comparisons is judged by the task of its own watch, not by
//! the one task that hands events to all watchers ([`crate::storage::cache`]).

use crate::request::http::Query;
use crate::storage::object::{Change, Event};
use api::custom::{Custom, ShownFields};
use api::fields::FieldSelector;
use api::kinds::Kind;
use api::labels::Selector;
use api::{Status, meta, value};
use serde_json::Value;
use std::fmt;
use std::sync::Arc;

/// Bytes of a selector, and comparisons that one object costs at most: the requirements, and the
/// values of `in (…)`.
pub(crate) const SELECTOR_BYTES: usize = 32 << 10;
const COMPARISONS: usize = 512;
/// Comparisons up to which a selector is judged for all watchers together.
const CHEAP: usize = 16;

#[derive(Clone, Debug, Default)]
pub(crate) struct Filter {
    /// Empty: all namespaces.
    pub namespace: String,
    /// Empty: all names.
    pub name: String,
    pub labels: Selector,
    pub fields: FieldSelector,
    /// Objects of a custom kind are judged by their fields as this version shows them. `None` also
    /// where the selector asks for metadata alone, which has no defaults.
    pub shape: Option<Shape>,
}

/// A version of a custom kind.
///
/// Example: `spec.color` was given the default `red` after `a` was stored without a color. A read
/// of `a` shows `red`, and so `spec.color=red` selects it, as upstream, which fills in defaults
/// when it decodes an object.
#[derive(Clone)]
pub(crate) struct Shape {
    custom: Arc<Custom>,
    group: &'static str,
    version: &'static str,
}

impl fmt::Debug for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.group, self.version)
    }
}

impl Filter {
    /// Reads the filter from the query of a list or watch in `namespace`.
    ///
    /// # Errors
    /// 400 for a selector that cannot be read, or that is too large.
    pub(crate) fn of(kind: &Kind, namespace: &str, query: &Query) -> Result<Filter, Status> {
        for parameter in ["labelSelector", "fieldSelector"] {
            let bytes = query.get(parameter).len();
            if bytes > SELECTOR_BYTES {
                return Err(Status::bad_request(format!(
                    "the {parameter} has {bytes} bytes and may have {SELECTOR_BYTES}: select by fewer values at a time"
                )));
            }
        }
        let labels = Selector::parse(query.get("labelSelector")).map_err(Status::bad_request)?;
        let fields = FieldSelector::of_kind(query.get("fieldSelector"), kind).map_err(Status::bad_request)?;
        let name = fields.name().unwrap_or("").to_string();
        let (group, version) = (kind.group, kind.version);
        let needs_shape = fields.0.iter().any(|term| !term.path.starts_with("metadata."));
        let shape = kind.custom.clone().filter(|_| needs_shape);
        let shape = shape.map(|custom| Shape { custom, group, version });
        let filter = Filter { namespace: namespace.to_string(), name, labels, fields, shape };
        let comparisons = filter.comparisons();
        if comparisons > COMPARISONS {
            return Err(Status::bad_request(format!(
                "the selectors have {comparisons} requirements and values and may have {COMPARISONS}: select by fewer at a time"
            )));
        }
        Ok(filter)
    }

    /// Returns how many comparisons an object costs at most.
    fn comparisons(&self) -> usize {
        self.labels.0.iter().map(|requirement| requirement.values.len().max(1)).sum::<usize>()
            + self.fields.0.len()
    }

    /// Returns whether the filter costs so little that it is judged for all watchers together. To
    /// find out whether an object has room for a default takes time that grows with the object.
    pub(crate) fn is_cheap(&self) -> bool {
        self.comparisons() <= CHEAP && self.shape.is_none()
    }

    /// Returns whether the object has the namespace and the name that are asked for.
    pub(crate) fn is_about(&self, object: &Value) -> bool {
        self.is_about_key((meta::namespace(object), meta::name(object)))
    }

    pub(crate) fn is_about_key(&self, (namespace, name): (&str, &str)) -> bool {
        (self.namespace.is_empty() || namespace == self.namespace)
            && (self.name.is_empty() || name == self.name)
    }

    pub(crate) fn is_selective(&self) -> bool {
        !self.labels.is_empty() || !self.fields.is_empty()
    }

    /// Bytes of work that it takes at most to judge an object of `bytes` bytes, beside the
    /// comparisons.
    pub(crate) fn bytes_to_judge(&self, bytes: usize) -> usize {
        if self.shape.is_some() { bytes } else { 0 }
    }

    pub(crate) fn matches(&self, object: &Value) -> bool {
        self.is_about(object)
            && self.labels.matches(value::at(object, "metadata.labels"))
            && self.matches_fields(object)
    }

    fn matches_fields(&self, object: &Value) -> bool {
        match &self.shape {
            Some(Shape { custom, group, version }) => {
                let shown = ShownFields::new(custom, group, version, object);
                self.fields.matches_values(|path| shown.at(path))
            }
            None => self.fields.matches(object),
        }
    }

    /// Returns the change that a watcher with this filter sees in an event. `None`: the object did
    /// not match before, nor does it now.
    pub(crate) fn classify(&self, event: &Event) -> Option<Change> {
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

#[cfg(test)]
mod tests {
    use super::*;
    use api::kinds;
    use serde_json::json;

    #[test]
    fn an_object_of_a_custom_kind_is_selected_by_the_default_that_came_later() {
        let color = json!({"type": "string", "default": "red"});
        let free = json!({"type": "boolean"});
        let spec = json!({"type": "object", "properties": {"color": color, "unschedulable": free}});
        let schema = json!({"type": "object", "properties": {"spec": spec}});
        let names = json!({"plural": "tabs", "singular": "tab", "kind": "Tab", "listKind": "TabList"});
        let version = json!({"name": "v1", "served": true, "storage": true,
            "schema": {"openAPIV3Schema": schema}, "selectableFields": [{"jsonPath": ".spec.color"}, {"jsonPath": ".spec.unschedulable"}]});
        let definition = json!({
            "metadata": {"name": "tabs.example.com"},
            "spec": {"group": "example.com", "scope": "Namespaced", "names": names, "versions": [version]},
            "status": {"acceptedNames": names, "conditions": [{"type": "Established", "status": "True"}]},
        });
        let kind = &api::custom::kinds_of(&definition)[0];
        let tab = |spec: Value| {
            json!({"apiVersion": "example.com/v1", "kind": "Tab", "spec": spec,
                "metadata": {"name": "a", "namespace": "d"}})
        };
        for (selector, spec, is_selected) in [
            ("spec.color=red", json!({}), true),
            ("spec.color!=red", json!({}), false),
            ("spec.color=", json!({}), false),
            ("spec.color=red", json!({"color": "blue"}), false),
            ("spec.color=blue,metadata.name=a", json!({"color": "blue"}), true),
            // A node that lacks it is `false`; a custom kind has no such rule.
            ("spec.unschedulable=", json!({}), true),
            ("spec.unschedulable=false", json!({"unschedulable": false}), true),
        ] {
            let mut query = Query::default();
            query.append("fieldSelector", selector);
            let filter = Filter::of(kind, "d", &query).unwrap();
            assert_eq!(filter.matches(&tab(spec)), is_selected, "{selector}");
            assert!(!filter.is_cheap());
        }
        let mut query = Query::default();
        query.append("fieldSelector", "metadata.name=a");
        assert!(Filter::of(kind, "d", &query).unwrap().is_cheap());
    }

    #[test]
    fn a_selector_that_is_too_large_is_refused() {
        let kind = kinds::find("", "v1", "Pod").unwrap();
        let of = |parameter: &str, selector: &str| {
            let mut query = Query::default();
            query.append(parameter, selector);
            Filter::of(kind, "default", &query).map_err(|status| (status.code, status.message))
        };
        let values = |count: usize| (0..count).map(|n| format!("v{n}")).collect::<Vec<_>>().join(",");
        let cheap = of("labelSelector", "app=web,tier in (a,b)").unwrap();
        assert!(cheap.is_cheap() && cheap.is_selective());
        let dear = of("labelSelector", &format!("app in ({})", values(COMPARISONS))).unwrap();
        assert!(!dear.is_cheap());
        let fields = vec!["metadata.name!=x"; COMPARISONS + 1].join(",");
        for (parameter, selector, says) in [
            ("labelSelector", format!("app in ({})", values(COMPARISONS + 1)), "513 requirements and values"),
            ("labelSelector", format!("a={}", "b,a=".repeat(SELECTOR_BYTES / 4)), "the labelSelector has"),
            ("fieldSelector", fields, "513 requirements and values"),
            (
                "fieldSelector",
                format!("metadata.name={}", "x".repeat(SELECTOR_BYTES)),
                "the fieldSelector has",
            ),
        ] {
            let (code, message) = of(parameter, &selector).unwrap_err();
            assert!(
                code == 400 && message.contains(says) && message.contains("select by fewer"),
                "{message}"
            );
        }
    }
}
