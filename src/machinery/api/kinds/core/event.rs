//! Events: what a component noticed about an object. They are deleted an hour after their last
//! change.

use crate::errors::Errors;
use crate::kinds::entry::{Kind, of};
use crate::meta;
use crate::table::cells::{Printer, name, since, text_or};
use crate::validate::names;
use crate::value::{at, int, text};
use clock::Timestamp;
use k8s_openapi::api::core::v1::Event;
use serde_json::{Value, json};

pub(super) fn kind() -> Kind {
    Kind {
        short_names: &["ev"],
        create_on_update: true,
        ttl_secs: TTL_SECS,
        fields: FIELDS,
        defaults,
        validate,
        printer: Some(&PRINTER),
        ..of::<Event>()
    }
}

/// Events are kept for an hour after their last change.
const TTL_SECS: u32 = 3600;
/// Fields that a selector of core Events may ask for; those of `events.k8s.io` have other names.
const FIELDS: &[(&str, &str)] = &[
    ("involvedObject.kind", "involvedObject.kind"),
    ("involvedObject.namespace", "involvedObject.namespace"),
    ("involvedObject.name", "involvedObject.name"),
    ("involvedObject.uid", "involvedObject.uid"),
    ("involvedObject.apiVersion", "involvedObject.apiVersion"),
    ("involvedObject.resourceVersion", "involvedObject.resourceVersion"),
    ("involvedObject.fieldPath", "involvedObject.fieldPath"),
    ("reason", "reason"),
    ("reportingComponent", "reportingComponent"),
    ("source", "source.component|reportingComponent"),
    ("type", "type"),
];

/// Bytes of an Event's short texts, and of its message (`ReportingInstanceLengthLimit`,
/// `NoteLengthLimit`).
const TEXT_MAX: usize = 128;
const MESSAGE_MAX: usize = 1024;

/// The component that reports an Event. In `events.k8s.io` the field has another name.
pub(crate) const COMPONENT: &str = "reportingComponent";

/// Fills in what Go always writes: the zero time as null, for example the `eventTime` of an Event
/// that was made with the old API, the names of the reporter, and the structs that are no pointers.
fn defaults(object: &mut Value) {
    let Value::Object(map) = object else { return };
    for part in ["involvedObject", "source"] {
        map.entry(part).or_insert_with(|| json!({}));
    }
    for time in ["eventTime", "firstTimestamp", "lastTimestamp"] {
        map.entry(time).or_insert(Value::Null);
    }
    for name in [COMPONENT, "reportingInstance"] {
        map.entry(name).or_insert_with(|| "".into());
    }
}

/// Rules of both versions (`legacyValidateEvent`). An Event with an `eventTime` was made with the
/// new API, and must have its fields.
fn validate(object: &Value, errors: &mut Errors) {
    let (namespace, involved) = (meta::namespace(object), text(object, "involvedObject.namespace"));
    let is_new = !text(object, "eventTime").is_empty();
    let fits = match (involved, is_new) {
        ("", true) => matches!(namespace, "default" | "kube-system"),
        ("", false) => matches!(namespace, "" | "default"),
        (involved, false) => involved == namespace,
        (_, true) => true,
    };
    if !fits {
        errors.invalid_text("involvedObject.namespace", involved, "does not match event.namespace");
    }
    if !is_new {
        return;
    }
    let controller = text(object, COMPONENT);
    if controller.is_empty() {
        errors.required(COMPONENT, "");
    }
    for problem in names::qualified_name(controller) {
        errors.invalid_text(COMPONENT, controller, &problem);
    }
    for field in ["reportingInstance", "action", "reason"] {
        match text(object, field).len() {
            0 => errors.required(field, ""),
            length if length > TEXT_MAX => {
                errors.invalid_text(field, "", &format!("can have at most {TEXT_MAX} characters"));
            }
            _ => {}
        }
    }
    if text(object, "message").len() > MESSAGE_MAX {
        errors.invalid_text("message", "", &format!("can have at most {MESSAGE_MAX} characters"));
    }
}

pub(crate) static PRINTER: Printer = Printer {
    columns: &[
        ("Last Seen", "string", false),
        ("Type", "string", false),
        ("Reason", "string", false),
        ("Object", "string", false),
        ("Subobject", "string", true),
        ("Source", "string", true),
        ("Message", "string", false),
        ("First Seen", "string", true),
        ("Count", "string", true),
        ("Name", "string", true),
    ],
    cells,
    conditions: None,
};

fn cells(o: &Value, now: Timestamp) -> Vec<Value> {
    let first = text_or(o, "firstTimestamp", text(o, "eventTime"));
    // A series counts for itself, also if it says 0; one event alone has no count in the new API.
    let series = at(o, "series");
    let (last, count) = match series.is_null() {
        true => (text_or(o, "lastTimestamp", first), int(o, "count").filter(|n| *n != 0).unwrap_or(1)),
        false => (text(series, "lastObservedTime"), int(series, "count").unwrap_or(0)),
    };
    let kind = text(o, "involvedObject.kind").to_lowercase();
    let object = match text(o, "involvedObject.name") {
        "" => kind,
        name => format!("{kind}/{name}"),
    };
    let component = text_or(o, "source.component", text(o, "reportingComponent"));
    let host = text_or(o, "source.host", text(o, "reportingInstance"));
    let source = if host.is_empty() { component.to_string() } else { format!("{component}, {host}") };
    vec![
        since(last, now).into(),
        text(o, "type").into(),
        text(o, "reason").into(),
        object.into(),
        text(o, "involvedObject.fieldPath").into(),
        source.into(),
        text(o, "message").trim().into(),
        since(first, now).into(),
        json!(count),
        name(o),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fields::FieldSelector;

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
    fn core_events_are_selected_by_their_own_fields() {
        let event = made_by_the_new_api();
        let selects = |text: &str| FieldSelector::parse(text, kind().fields).map(|s| s.matches(&event));
        for good in ["involvedObject.name=p", "reportingComponent=x", "source=x"] {
            assert_eq!(selects(good), Ok(true), "{good}");
        }
        for other in ["regarding.name", "reportingController"] {
            let refused = Err(format!("field label not supported: {other}"));
            assert_eq!(selects(&format!("{other}=p")), refused);
        }
    }

    #[test]
    fn an_event_has_the_fields_that_go_writes() {
        let mut event = json!({"firstTimestamp": "2026-01-02T03:04:05Z", "reportingComponent": "x"});
        crate::kinds::stored("events").expect("a kind of the table").fill(&mut event).unwrap();
        let wanted = json!({"firstTimestamp": "2026-01-02T03:04:05Z", "lastTimestamp": null, "eventTime": null,
            "reportingComponent": "x", "reportingInstance": "", "involvedObject": {}, "source": {}});
        assert_eq!(event, wanted);
    }

    #[test]
    fn a_series_counts_for_itself() {
        let cells = |more: Value| {
            let mut event = made_by_the_new_api();
            crate::patch::merge(&mut event, &more);
            let row = cells(&event, "2026-01-02T03:05:05Z".parse().unwrap());
            (row[0].clone(), row[8].clone())
        };
        assert_eq!(cells(json!({})), (json!("59s"), json!(1)));
        assert_eq!(cells(json!({"count": 3})).1, 3);
        let series = json!({"count": 0, "lastObservedTime": "2026-01-02T03:05:00Z"});
        assert_eq!(cells(json!({ "series": series, "count": 3 })), (json!("5s"), json!(0)));
        assert_eq!(cells(json!({"series": {"count": 2}})), (json!("<unknown>"), json!(2)));
    }

    #[test]
    fn an_event_is_asked_for_the_fields_of_the_api_that_made_it() {
        let of = |event: &Value| fields(|errors| validate(event, errors));
        let old = |namespace: &str, involved: &str| json!({"metadata": {"name": "e", "namespace": namespace}, "involvedObject": {"namespace": involved}});
        assert!(of(&old("default", "")).is_empty() && of(&old("d", "d")).is_empty());
        for (namespace, involved) in [("d", ""), ("d", "e"), ("kube-system", "")] {
            assert_eq!(of(&old(namespace, involved)), ["involvedObject.namespace"], "{namespace} {involved}");
        }
        let new = made_by_the_new_api();
        assert!(of(&new).is_empty());
        let mut poor = new.clone();
        poor["action"] = "".into();
        poor["reason"] = "r".repeat(129).into();
        poor["message"] = "m".repeat(1025).into();
        poor["reportingComponent"] = "no name".into();
        assert_eq!(of(&poor), ["reportingComponent", "action", "reason", "message"]);
    }
}
