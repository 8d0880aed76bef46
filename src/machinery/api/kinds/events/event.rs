//! Events of the group `events.k8s.io`: the newer form of the Events of the core group. The same
//! objects are stored, in the form of the core group, and served in both.

use crate::errors::Errors;
use crate::kinds::core::event::{COMPONENT, PRINTER};
use crate::kinds::entry::{Conversion, Kind, of};
use crate::meta;
use crate::validate::fields::{IMMUTABLE, finalizer_domain};
use crate::value::{self, at, empty, int, text};
use k8s_openapi::api::events::v1::Event;
use serde_json::Value;

pub(super) fn kind() -> Kind {
    Kind {
        short_names: &["ev"],
        singular: "event".into(),
        create_on_update: true,
        fields: FIELDS,
        printer: Some(&PRINTER),
        conversion: Some(Conversion { to_stored, from_stored, fields: &RENAMED, validate: validate_new }),
        ..of::<Event>()
    }
}

/// Fields that a selector may ask for, with their paths in the stored form
/// (`AddFieldLabelConversionsForEvent` upstream).
const FIELDS: &[(&str, &str)] = &[
    ("reason", "reason"),
    ("regarding.kind", "involvedObject.kind"),
    ("regarding.namespace", "involvedObject.namespace"),
    ("regarding.name", "involvedObject.name"),
    ("regarding.uid", "involvedObject.uid"),
    ("regarding.apiVersion", "involvedObject.apiVersion"),
    ("regarding.resourceVersion", "involvedObject.resourceVersion"),
    ("regarding.fieldPath", "involvedObject.fieldPath"),
    ("reportingController", "reportingComponent"),
    ("type", "type"),
];

/// Fields that have another name in each version: (core, events.k8s.io).
const RENAMED: [(&str, &str); 7] = [
    ("involvedObject", "regarding"),
    ("message", "note"),
    ("source", "deprecatedSource"),
    ("firstTimestamp", "deprecatedFirstTimestamp"),
    ("lastTimestamp", "deprecatedLastTimestamp"),
    ("count", "deprecatedCount"),
    ("reportingComponent", "reportingController"),
];

fn rename(object: &mut Value, pairs: impl Iterator<Item = (&'static str, &'static str)>, api_version: &str) {
    let Value::Object(map) = object else { return };
    for (from, to) in pairs {
        if let Some(v) = map.shift_remove(from) {
            map.insert(to.to_string(), v);
        }
    }
    map.insert("apiVersion".into(), api_version.into());
}

/// Turns an Event of events.k8s.io/v1 into one of core/v1, which is stored.
fn to_stored(object: &mut Value) {
    rename(object, RENAMED.into_iter().map(|(core, new)| (new, core)), "v1");
}

/// Turns an Event of core/v1 into one of events.k8s.io/v1. In Go the names of the reporter are left
/// out of this version where they are empty, and not out of the core group's.
fn from_stored(object: &mut Value) {
    rename(object, RENAMED.into_iter(), "events.k8s.io/v1");
    for name in [CONTROLLER, "reportingInstance"] {
        if text(object, name).is_empty() {
            value::remove(object, name);
        }
    }
}

/// The component that reports an Event, as this version calls it.
const CONTROLLER: &str = "reportingController";

/// Rules of `events.k8s.io/v1` beyond those of the core group, for an object in its stored form
/// (`ValidateEventCreate`, `ValidateEventUpdate`). The fields have the names of the stored form, as
/// upstream's, but for the component that reports: `errors` has what was found about it until now.
fn validate_new(object: &Value, old: Option<&Value>, errors: &mut Errors) {
    for mut error in std::mem::take(errors) {
        if error.field == COMPONENT {
            error.field = CONTROLLER.into();
        }
        errors.add(error);
    }
    for (i, name) in meta::finalizers(object).enumerate() {
        finalizer_domain(name, &format!("metadata.finalizers[{i}]"), errors);
    }
    if old.is_none_or(|old| at(old, "series") != at(object, "series")) && !at(object, "series").is_null() {
        if int(object, "series.count").unwrap_or(0) < 2 {
            errors.invalid_text("series.count", "", "should be at least 2");
        }
        if text(object, "series.lastObservedTime").is_empty() {
            errors.required("series.lastObservedTime", "");
        }
    }
    if let Some(old) = old {
        for field in [
            "involvedObject",
            "reason",
            "message",
            "source",
            "firstTimestamp",
            "lastTimestamp",
            "count",
            "type",
            "eventTime",
            "action",
            "related",
            COMPONENT,
            "reportingInstance",
        ] {
            // A client in Go writes an empty source where there is none.
            let is_same = at(object, field) == at(old, field) || (empty(object, field) && empty(old, field));
            if !is_same {
                let name = if field == COMPONENT { CONTROLLER } else { field };
                errors.invalid(name, at(object, field), IMMUTABLE);
            }
        }
        return;
    }
    if text(object, "eventTime").is_empty() {
        errors.required("eventTime", "");
    }
    let kind = text(object, "type");
    if !matches!(kind, "Normal" | "Warning") {
        errors.invalid_text("type", "", &format!("has invalid value: {kind}"));
    }
    let is_set = [
        ("firstTimestamp", !text(object, "firstTimestamp").is_empty()),
        ("lastTimestamp", !text(object, "lastTimestamp").is_empty()),
        ("count", int(object, "count").unwrap_or(0) != 0),
        ("source", ["component", "host"].iter().any(|part| !text(at(object, "source"), part).is_empty())),
    ];
    for (field, _) in is_set.into_iter().filter(|(_, is_set)| *is_set) {
        errors.invalid_text(field, "", "needs to be unset");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fields::FieldSelector;
    use serde_json::json;

    fn made_by_the_new_api() -> Value {
        json!({"metadata": {"name": "e", "namespace": "default"}, "eventTime": "2026-01-02T03:04:05.000006Z",
            "involvedObject": {"kind": "Pod", "name": "p", "namespace": "default"}, "type": "Normal", "reason": "R",
            "message": "m", "reportingComponent": "x", "reportingInstance": "y", "action": "z"})
    }

    fn fields(check: impl FnOnce(&mut Errors)) -> Vec<String> {
        let mut errors = Errors::default();
        check(&mut errors);
        errors.iter().map(|e| e.field.to_string()).collect()
    }

    #[test]
    fn events_of_the_group_are_selected_by_their_own_fields() {
        let mut event = made_by_the_new_api();
        event["involvedObject"]["fieldPath"] = "spec.containers{c}".into();
        let selects = |text: &str| FieldSelector::parse(text, kind().fields).map(|s| s.matches(&event));
        for good in ["regarding.name=p", "regarding.fieldPath=spec.containers{c}", "reportingController=x"] {
            assert_eq!(selects(good), Ok(true), "{good}");
        }
        for other in ["involvedObject.name", "reportingComponent", "source"] {
            let refused = Err(format!("field label not supported: {other}"));
            assert_eq!(selects(&format!("{other}=p")), refused);
        }
    }

    #[test]
    fn a_reporter_that_is_not_set_is_shown_in_the_core_group_alone() {
        let shown = |reporter: &str| {
            let mut event =
                json!({"reportingComponent": reporter, "reportingInstance": reporter, "eventTime": null});
            from_stored(&mut event);
            event
        };
        assert_eq!(shown(""), json!({"apiVersion": "events.k8s.io/v1", "eventTime": null}));
        let named = json!({"apiVersion": "events.k8s.io/v1", "eventTime": null, "reportingController": "x",
            "reportingInstance": "x"});
        assert_eq!(shown("x"), named);
    }

    #[test]
    fn the_component_that_reports_has_the_name_of_the_version() {
        let mut event = made_by_the_new_api();
        event["reportingComponent"] = "a b".into();
        let stored = crate::kinds::stored("events").expect("a kind of the table");
        let errors_of = |is_new: bool| {
            fields(|errors| {
                *errors = crate::validate::create(stored, &event);
                if is_new {
                    validate_new(&event, None, errors);
                }
            })
        };
        assert_eq!((errors_of(false), errors_of(true)), (vec![COMPONENT.into()], vec![CONTROLLER.into()]));
    }

    #[test]
    fn finalizers_have_a_domain_in_the_new_api_alone() {
        let old = made_by_the_new_api();
        let mut event = old.clone();
        event["metadata"]["finalizers"] = json!(["x", "example.com/x"]);
        for old in [None, Some(&old)] {
            assert_eq!(fields(|errors| validate_new(&event, old, errors)), ["metadata.finalizers[0]"]);
        }
        let stored = crate::kinds::stored("events").expect("a kind of the table");
        assert_eq!(fields(|errors| *errors = crate::validate::create(stored, &event)), [""; 0]);
    }

    #[test]
    fn the_new_api_of_events_takes_no_old_fields_and_no_changes() {
        let new = made_by_the_new_api();
        let create = |event: &Value| fields(|errors| validate_new(event, None, errors));
        let update = |event: &Value| fields(|errors| validate_new(event, Some(&new), errors));
        assert!(create(&new).is_empty() && update(&new).is_empty());
        let mut event = new.clone();
        event["eventTime"] = Value::Null;
        event["type"] = "Odd".into();
        event["count"] = 2.into();
        event["lastTimestamp"] = "2026-01-02T03:04:05Z".into();
        event["source"] = json!({"component": "x"});
        event["series"] = json!({"count": 1});
        let wanted = [
            "series.count",
            "series.lastObservedTime",
            "eventTime",
            "type",
            "lastTimestamp",
            "count",
            "source",
        ];
        assert_eq!(create(&event), wanted);
        let mut changed = new.clone();
        changed["message"] = "another".into();
        changed["reportingComponent"] = "z".into();
        assert_eq!(update(&changed), ["message", "reportingController"]);
        changed = new.clone();
        changed["series"] = json!({"count": 2, "lastObservedTime": "2026-01-02T03:04:06.000000Z"});
        assert!(update(&changed).is_empty());
        changed["source"] = json!({});
        assert!(update(&changed).is_empty(), "no source, as Go writes it");
        changed["source"] = json!({"component": "x"});
        assert_eq!(update(&changed), ["source"]);
    }
}
