//! Any other kind: its fields, with names in words (`Creation Timestamp`).

use super::text::Text;
use api::gostr;
use api::value;
use serde_json::{Map, Value};

const SKIPPED: [&str; 5] = [
    ".metadata.managedFields",
    ".metadata.name",
    ".metadata.namespace",
    ".metadata.labels",
    ".metadata.annotations",
];
const ACRONYMS: [&str; 5] = ["API", "URL", "UID", "OSB", "GUID"];

pub(super) fn object(text: &mut Text, object: &Value) {
    text.field(0, "Name", value::text(object, "metadata.name"));
    text.field(0, "Namespace", value::text(object, "metadata.namespace"));
    text.labels("Labels", value::at(object, "metadata.labels"));
    text.annotations("Annotations", value::at(object, "metadata.annotations"));
    if let Some(map) = object.as_object() {
        fields(text, 0, map, "");
    }
}

fn fields(text: &mut Text, level: usize, map: &Map<String, Value>, prefix: &str) {
    let mut names: Vec<&String> = map.keys().collect();
    names.sort();
    for name in names {
        let path = format!("{prefix}.{name}");
        if SKIPPED.contains(&path.as_str()) {
            continue;
        }
        match &map[name] {
            Value::Object(inner) => {
                text.line(level, format!("{}:", label(name)));
                fields(text, level + 1, inner, &path);
            }
            Value::Array(items) => {
                text.line(level, format!("{}:", label(name)));
                for item in items {
                    match item {
                        Value::Object(inner) => fields(text, level + 1, inner, &path),
                        other => text.line(level + 1, gostr::plain(other)),
                    }
                }
            }
            leaf => text.field(level, &label(name), gostr::plain(leaf)),
        }
    }
}

/// `creationTimestamp` is `Creation Timestamp`, `apiVersion` is `API Version`, `clusterIP` is
/// `Cluster Ip`.
fn label(field: &str) -> String {
    if field.chars().any(|c| !c.is_alphabetic() && c != '-') {
        return field.to_string();
    }
    let words: Vec<String> = split(field)
        .into_iter()
        .map(|word| {
            let upper = word.to_uppercase();
            if ACRONYMS.contains(&upper.as_str()) {
                return upper;
            }
            let mut chars = word.chars();
            let Some(first) = chars.next() else { return String::new() };
            first.to_uppercase().chain(chars.flat_map(char::to_lowercase)).collect()
        })
        .collect();
    words.join(" ")
}

/// Splits camel case; of a run of capitals the last belongs to the next word.
fn split(field: &str) -> Vec<String> {
    let class = |c: char| {
        if c.is_lowercase() {
            1
        } else if c.is_uppercase() {
            2
        } else {
            3
        }
    };
    let mut runs: Vec<String> = vec![];
    let mut last = 0;
    for c in field.chars() {
        match runs.last_mut().filter(|_| class(c) == last) {
            Some(run) => run.push(c),
            None => runs.push(c.to_string()),
        }
        last = class(c);
    }
    for i in 0..runs.len().saturating_sub(1) {
        let upper = runs[i].chars().next().is_some_and(char::is_uppercase);
        let lower = runs[i + 1].chars().next().is_some_and(char::is_lowercase);
        if upper
            && lower
            && let Some(c) = runs[i].pop()
        {
            runs[i + 1].insert(0, c);
        }
    }
    runs.retain(|r| !r.is_empty());
    runs
}

#[cfg(test)]
mod tests {
    use super::label;

    #[test]
    fn fields_are_named_as_people_would() {
        for (field, want) in [
            ("creationTimestamp", "Creation Timestamp"),
            ("apiVersion", "API Version"),
            ("uid", "UID"),
            ("podIPs", "Pod I Ps"),
            ("clusterIP", "Cluster Ip"),
            ("a.b", "a.b"),
            ("kind", "Kind"),
        ] {
            assert_eq!(label(field), want);
        }
    }
}
