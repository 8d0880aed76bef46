//! Server-side apply: merge by list keys, remember who applied which field, remove what a manager no longer applies.
//!
//! Field sets are kept in their wire form, FieldsV1: `{"f:spec": {"f:replicas": {}}}`. Only Apply is recorded: two appliers
//! conflict, while an ordinary update wins without a trace (upstream records those too).

use super::strategic::{Merge, merge_of};
use super::value::{self, as_map, at, list, text};
use serde_json::{Map, Value, json};

/// A field that another manager applied with another value.
#[derive(Clone, Debug, PartialEq)]
pub struct Conflict {
    pub manager: String,
    /// `.spec.template.spec.containers[name="c"].image`
    pub field: String,
}

/// How server-side apply sees a list.
enum Keys {
    Atomic,
    By(&'static [&'static str]),
    Set,
}

fn keys_of(kind: &str, parent: &str, field: &str) -> Keys {
    match merge_of(kind, parent, field) {
        Merge::Atomic => Keys::Atomic,
        Merge::Set => Keys::Set,
        Merge::By("containerPort") => Keys::By(&["containerPort", "protocol"]),
        Merge::By("port") => Keys::By(&["port", "protocol"]),
        Merge::By("topologyKey") => Keys::By(&["topologyKey", "whenUnsatisfiable"]),
        Merge::By("name") => Keys::By(&["name"]),
        Merge::By("uid") => Keys::By(&["uid"]),
        Merge::By("ip") => Keys::By(&["ip"]),
        Merge::By("type") => Keys::By(&["type"]),
        Merge::By("mountPath") => Keys::By(&["mountPath"]),
        Merge::By(_) => Keys::By(&["devicePath"]),
    }
}

/// Maps that are owned as a whole.
fn is_atomic_map(parent: &str, field: &str) -> bool {
    matches!(
        (parent, field),
        (_, "selector" | "labelSelector" | "namespaceSelector" | "nodeSelector" | "podSelector")
            | (_, "configMapKeyRef" | "secretKeyRef" | "fieldRef" | "resourceFieldRef")
            | (_, "roleRef" | "claimRef" | "involvedObject" | "targetRef" | "scaleTargetRef" | "secretRef")
    )
}

/// `k:{"name":"c"}`
fn key_of(item: &Value, keys: &[&str]) -> Option<String> {
    let mut map = Map::new();
    for key in keys {
        let value = match item.get(*key) {
            Some(v) => v.clone(),
            None if *key == "protocol" => "TCP".into(),
            None => return None,
        };
        map.insert((*key).to_string(), value);
    }
    Some(format!("k:{}", Value::Object(map)))
}

/// The fields that an applied object sets.
pub fn fields_of(kind: &str, applied: &Value) -> Value {
    let mut top = applied.clone();
    let map = as_map(&mut top);
    map.shift_remove("apiVersion");
    map.shift_remove("kind");
    if let Some(Value::Object(meta)) = map.get_mut("metadata") {
        for own in [
            "name",
            "namespace",
            "uid",
            "resourceVersion",
            "generation",
            "creationTimestamp",
            "selfLink",
            "managedFields",
            "generateName",
        ] {
            meta.shift_remove(own);
        }
        if meta.is_empty() {
            map.shift_remove("metadata");
        }
    }
    set(kind, "", "", &top)
}

fn set(kind: &str, parent: &str, name: &str, value: &Value) -> Value {
    match value {
        Value::Object(map) if !is_atomic_map(parent, name) => {
            map.iter().map(|(k, v)| (format!("f:{k}"), set(kind, name, k, v))).collect::<Map<_, _>>().into()
        }
        Value::Array(items) => match keys_of(kind, parent, name) {
            Keys::Atomic => json!({}),
            Keys::Set => items.iter().map(|v| (format!("v:{v}"), json!({}))).collect::<Map<_, _>>().into(),
            Keys::By(keys) => items
                .iter()
                .filter_map(|item| {
                    let mut fields = Map::from_iter([(".".to_string(), json!({}))]);
                    fields.append(as_map(&mut set(kind, parent, name, item)));
                    Some((key_of(item, keys)?, Value::Object(fields)))
                })
                .collect::<Map<_, _>>()
                .into(),
        },
        _ => json!({}),
    }
}

/// The outcome of an apply.
pub struct Applied {
    pub object: Value,
    pub conflicts: Vec<Conflict>,
}

/// Applies `applied` over `live` (null if it does not exist) as `manager`. Conflicts are found, and overridden.
pub fn apply(
    kind: &str,
    live: &Value,
    applied: &Value,
    manager: &str,
    subresource: &str,
    now: &str,
) -> Applied {
    let fields = fields_of(kind, applied);
    let entries: Vec<Value> = list(live, "metadata.managedFields").to_vec();
    let mine = |e: &Value| {
        text(e, "manager") == manager
            && text(e, "operation") == "Apply"
            && text(e, "subresource") == subresource
    };
    let mut object = live.clone();
    let mut conflicts = vec![];
    for other in entries.iter().filter(|e| !mine(e)) {
        let walk = Walk { kind, other: text(other, "manager") };
        walk.conflicts("", "", "", &fields, at(other, "fieldsV1"), live, applied, &mut conflicts);
    }
    conflicts.sort_by(|a, b| (&a.manager, &a.field).cmp(&(&b.manager, &b.field)));
    merge(kind, "", "", &mut object, applied);
    if let Some(before) = entries.iter().find(|e| mine(e)) {
        let others: Vec<&Value> = entries.iter().filter(|e| !mine(e)).map(|e| at(e, "fieldsV1")).collect();
        remove(kind, "", "", &mut object, at(before, "fieldsV1"), &fields, &others);
    }
    let unchanged = entries.iter().find(|e| mine(e)).filter(|e| at(e, "fieldsV1") == &fields);
    let mut entry = json!({"manager": manager, "operation": "Apply", "apiVersion": text(applied, "apiVersion"),
        "time": unchanged.map_or(now, |e| text(e, "time")), "fieldsType": "FieldsV1", "fieldsV1": fields});
    if !subresource.is_empty() {
        entry["subresource"] = subresource.into();
    }
    let lost: Vec<(String, String)> =
        conflicts.iter().map(|c| (c.manager.clone(), c.field.clone())).collect();
    let place = entries.iter().position(mine);
    let mut kept: Vec<Value> = entries.iter().filter(|e| !mine(e)).cloned().collect();
    for e in &mut kept {
        let manager = text(e, "manager").to_string();
        let gone: Vec<&str> = lost.iter().filter(|(m, _)| *m == manager).map(|(_, f)| f.as_str()).collect();
        if let Some(fields) = e.get_mut("fieldsV1") {
            disown(fields, "", &gone);
        }
    }
    kept.retain(|e| value::map(e, "fieldsV1").is_some_and(|m| !m.is_empty()));
    kept.insert(place.unwrap_or(kept.len()).min(kept.len()), entry);
    value::put(&mut object, "metadata.managedFields", kept);
    Applied { object, conflicts }
}

fn merge(kind: &str, parent: &str, name: &str, live: &mut Value, applied: &Value) {
    match (&mut *live, applied) {
        (Value::Object(map), Value::Object(fields)) if !is_atomic_map(parent, name) => {
            for (key, value) in fields {
                merge(kind, name, key, map.entry(key).or_insert(Value::Null), value);
            }
        }
        (Value::Array(items), Value::Array(wanted)) => match keys_of(kind, parent, name) {
            Keys::Atomic => *live = applied.clone(),
            Keys::Set => {
                items.extend(wanted.iter().filter(|w| !items.contains(w)).cloned().collect::<Vec<_>>())
            }
            Keys::By(keys) => {
                for want in wanted {
                    let key = key_of(want, keys);
                    match items.iter_mut().find(|i| key.is_some() && key_of(i, keys) == key) {
                        Some(found) => merge(kind, parent, name, found, want),
                        None => items.push(want.clone()),
                    }
                }
            }
        },
        _ => *live = applied.clone(),
    }
}

/// Removes from `live` what stands in `before` but not in `now` nor in any of `others`.
fn remove(
    kind: &str,
    parent: &str,
    name: &str,
    live: &mut Value,
    before: &Value,
    now: &Value,
    others: &[&Value],
) {
    let Value::Object(before) = before else { return };
    for (element, inner) in before {
        let (still, theirs): (Option<&Value>, Vec<&Value>) =
            (now.get(element), others.iter().filter_map(|o| o.get(element)).collect());
        if let Some(field) = element.strip_prefix("f:") {
            if still.is_none() && theirs.is_empty() {
                if let Value::Object(map) = live {
                    map.shift_remove(field);
                }
            } else if let Some(child) = live.get_mut(field) {
                remove(kind, name, field, child, inner, still.unwrap_or(&Value::Null), &theirs);
            }
        } else if let Value::Array(items) = live {
            if element.starts_with("v:") {
                if still.is_none() && theirs.is_empty() {
                    items.retain(|i| format!("v:{i}") != *element);
                }
            } else if let Keys::By(keys) = keys_of(kind, parent, name) {
                let is_it = |i: &Value| key_of(i, keys).as_deref() == Some(element);
                if still.is_none() && theirs.is_empty() {
                    items.retain(|i| !is_it(i));
                } else if let Some(item) = items.iter_mut().find(|i| is_it(i)) {
                    remove(kind, parent, name, item, inner, still.unwrap_or(&Value::Null), &theirs);
                }
            }
        }
    }
}

struct Walk<'a> {
    kind: &'a str,
    other: &'a str,
}

impl Walk<'_> {
    /// Leaves of `mine` that are in `theirs` and change the live value.
    #[allow(clippy::too_many_arguments)]
    fn conflicts(
        &self,
        parent: &str,
        name: &str,
        path: &str,
        mine: &Value,
        theirs: &Value,
        live: &Value,
        applied: &Value,
        out: &mut Vec<Conflict>,
    ) {
        let Value::Object(fields) = mine else { return };
        let leaf = fields.keys().all(|k| k == ".");
        if leaf {
            if live != applied {
                out.push(Conflict { manager: self.other.to_string(), field: path.to_string() });
            }
            return;
        }
        for (element, inner) in fields.iter().filter(|(k, _)| *k != ".") {
            let Some(their) = theirs.get(element) else { continue };
            if let Some(field) = element.strip_prefix("f:") {
                let (l, a) =
                    (live.get(field).unwrap_or(&Value::Null), applied.get(field).unwrap_or(&Value::Null));
                self.conflicts(name, field, &format!("{path}.{field}"), inner, their, l, a, out);
            } else if let Keys::By(keys) = keys_of(self.kind, parent, name) {
                let item = |list: &Value| {
                    list.as_array()
                        .into_iter()
                        .flatten()
                        .find(|i| key_of(i, keys).as_deref() == Some(element))
                        .cloned()
                        .unwrap_or(Value::Null)
                };
                let place = format!("{path}{}", bracket(element));
                self.conflicts(parent, name, &place, inner, their, &item(live), &item(applied), out);
            }
        }
    }
}

/// `[name="c"]`
fn bracket(element: &str) -> String {
    let keys: Map<String, Value> = serde_json::from_str(element.trim_start_matches("k:")).unwrap_or_default();
    let all: Vec<String> = keys.iter().map(|(k, v)| format!("{k}={v}")).collect();
    format!("[{}]", all.join(","))
}

/// Takes the fields in `gone` out of a field set.
fn disown(fields: &mut Value, path: &str, gone: &[&str]) {
    let Value::Object(map) = fields else { return };
    map.retain(|element, inner| {
        let here = match element.strip_prefix("f:") {
            Some(field) => format!("{path}.{field}"),
            None if element.starts_with("k:") => format!("{path}{}", bracket(element)),
            None => return true,
        };
        if gone.contains(&here.as_str()) {
            return false;
        }
        let had = inner.as_object().is_some_and(|m| !m.is_empty());
        disown(inner, &here, gone);
        !had || inner.as_object().is_some_and(|m| !m.is_empty())
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cm(data: Value) -> Value {
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}, "data": data})
    }

    #[test]
    fn what_is_no_longer_applied_goes_unless_others_own_it() {
        let first = apply("ConfigMap", &Value::Null, &cm(json!({"a": "1", "b": "2"})), "me", "", "t").object;
        let shared = apply("ConfigMap", &first, &cm(json!({"b": "2"})), "you", "", "t");
        assert_eq!(shared.conflicts, []);
        let second = apply("ConfigMap", &shared.object, &cm(json!({"c": "3"})), "me", "", "t").object;
        assert_eq!(second["data"], json!({"b": "2", "c": "3"}));
        let again = apply("ConfigMap", &second, &cm(json!({"c": "3"})), "me", "", "later").object;
        assert_eq!(again, second, "applying the same again changes nothing");
    }

    #[test]
    fn two_appliers_of_different_values_conflict() {
        let pod = |image: &str| {
            json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"},
            "spec": {"containers": [{"name": "c", "image": image}]}})
        };
        let first = apply("Pod", &Value::Null, &pod("x"), "me", "", "t").object;
        let clash = apply("Pod", &first, &pod("y"), "you", "", "t");
        assert_eq!(
            clash.conflicts,
            [Conflict { manager: "me".into(), field: ".spec.containers[name=\"c\"].image".into() }]
        );
        let mine = &list(&clash.object, "metadata.managedFields")[0]["fieldsV1"];
        assert_eq!(
            mine,
            &json!({"f:spec": {"f:containers": {"k:{\"name\":\"c\"}": {".": {}, "f:name": {}}}}})
        );
        assert_eq!(list(&clash.object, "spec.containers").len(), 1);
    }
}
