//! One Event, two faces: core/v1 (stored) and events.k8s.io/v1.

use serde_json::Value;

/// core name, events.k8s.io name
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

/// events.k8s.io/v1 → core/v1
pub fn to_core(object: &mut Value) {
    rename(object, RENAMED.into_iter().map(|(core, new)| (new, core)), "v1");
}

/// core/v1 → events.k8s.io/v1
pub fn from_core(object: &mut Value) {
    rename(object, RENAMED.into_iter(), "events.k8s.io/v1");
}
