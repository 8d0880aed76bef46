//! The text of a description: levels of indentation, columns, and the parts that every kind has.

use crate::cmd::common::LAST_APPLIED;
use crate::print::tab;
use crate::print::table::escaped;
use api::{duration, value};
use jiff::Timestamp;
use serde_json::Value;

/// An annotation longer than this goes on its own line, and is cut.
pub(super) const ANNOTATION_MAX: usize = 140;

#[derive(Default)]
pub(crate) struct Text {
    done: String,
    open: String,
}

impl Text {
    /// Text at a level; a tab ends a cell. Terminal control characters are escaped.
    pub(crate) fn put(&mut self, level: usize, text: impl AsRef<str>) {
        self.open.push_str(&"  ".repeat(level));
        self.open.push_str(&escaped(text.as_ref()));
    }

    /// A line at a level.
    pub(crate) fn line(&mut self, level: usize, text: impl AsRef<str>) {
        self.put(level, text);
        self.open.push('\n');
    }

    /// `Name:<tab>value`
    pub(crate) fn field(&mut self, level: usize, name: &str, value: impl std::fmt::Display) {
        self.line(level, format!("{name}:\t{value}"));
    }

    /// Aligns what was written so far; later columns are aligned on their own.
    pub(crate) fn flush(&mut self) {
        let aligned = tab::align(&self.open, 0, 2);
        self.done.push_str(&aligned);
        self.open.clear();
    }

    /// The text with its tabs, unaligned.
    pub(crate) fn plain(self) -> String {
        self.done + &self.open
    }

    pub(crate) fn finish(mut self) -> String {
        if !self.open.is_empty() {
            self.flush();
        }
        self.done
    }

    /// Name, namespace (if it has one), labels, annotations.
    pub(crate) fn meta(&mut self, object: &Value) {
        self.field(0, "Name", value::text(object, "metadata.name"));
        if !value::empty(object, "metadata.namespace") {
            self.field(0, "Namespace", value::text(object, "metadata.namespace"));
        }
        self.labels("Labels", value::at(object, "metadata.labels"));
        self.annotations("Annotations", value::at(object, "metadata.annotations"));
    }

    /// One pair a line, sorted.
    pub(crate) fn labels(&mut self, title: &str, labels: &Value) {
        let pairs = pairs(labels);
        self.put(0, format!("{title}:\t"));
        if pairs.is_empty() {
            self.line(0, "<none>");
        }
        for (i, (key, text)) in pairs.iter().enumerate() {
            self.line(0, format!("{}{key}={text}", if i > 0 { "\t" } else { "" }));
        }
    }

    pub(crate) fn annotations(&mut self, title: &str, annotations: &Value) {
        let mut pairs = pairs(annotations);
        pairs.retain(|(key, _)| key != LAST_APPLIED);
        self.put(0, format!("{title}:\t"));
        if pairs.is_empty() {
            self.line(0, "<none>");
        }
        for (i, (key, text)) in pairs.iter().enumerate() {
            if i > 0 {
                self.put(0, "\t");
            }
            let text = text.strip_suffix('\n').unwrap_or(text);
            if text.len() + key.len() + 2 > ANNOTATION_MAX || text.contains('\n') {
                self.line(0, format!("{key}:"));
                for part in text.split('\n') {
                    self.line(0, format!("\t  {}", shortened(part, ANNOTATION_MAX - 2)));
                }
            } else {
                self.line(0, format!("{key}: {text}"));
            }
        }
    }

    pub(crate) fn tolerations(&mut self, title: &str, tolerations: &[Value]) {
        self.put(0, format!("{title}:\t"));
        if tolerations.is_empty() {
            self.line(0, "<none>");
        }
        let mut sorted: Vec<&Value> = tolerations.iter().collect();
        sorted.sort_by_key(|t| value::text(t, "key"));
        for (i, toleration) in sorted.into_iter().enumerate() {
            let part = |key: &str| value::text(toleration, key);
            let mut text = part("key").to_string();
            if !part("value").is_empty() {
                text.push_str(&format!("={}", part("value")));
            }
            if !part("effect").is_empty() {
                text.push_str(&format!(":{}", part("effect")));
            }
            if part("operator") == "Exists" && part("value").is_empty() {
                text.push_str(if text.is_empty() { "op=Exists" } else { " op=Exists" });
            }
            if let Some(secs) = value::int(toleration, "tolerationSeconds") {
                text.push_str(&format!(" for {secs}s"));
            }
            self.line(0, format!("{}{text}", if i > 0 { "\t" } else { "" }));
        }
    }

    /// `Type  Status  Reason` of workloads.
    pub(crate) fn conditions(&mut self, conditions: &[Value]) {
        if conditions.is_empty() {
            return;
        }
        self.line(0, "Conditions:\n  Type\tStatus\tReason");
        self.line(1, "----\t------\t------");
        for c in conditions {
            let part = |key: &str| value::text(c, key);
            self.line(1, format!("{} \t{}\t{}", part("type"), part("status"), part("reason")));
        }
    }

    pub(crate) fn events(&mut self, events: &[Value]) {
        if events.is_empty() {
            self.line(0, "Events:\t<none>");
            return;
        }
        self.flush();
        let mut sorted: Vec<&Value> = events.iter().collect();
        sorted.sort_by_key(|e| value::text(e, "lastTimestamp"));
        self.line(0, "Events:\n  Type\tReason\tAge\tFrom\tMessage");
        self.line(1, "----\t------\t----\t----\t-------");
        for event in sorted {
            let part = |path: &str| value::text(event, path);
            let source = match part("source.component") {
                "" => part("reportingComponent"),
                source => source,
            };
            let message = match (part("involvedObject.fieldPath"), part("message").trim()) {
                ("", message) => message.to_string(),
                (field, message) => format!("{field}: {message}"),
            };
            self.line(
                1,
                format!("{}\t{}\t{}\t{source}\t{message}", part("type"), part("reason"), interval(event)),
            );
        }
    }
}

/// `5s`, or `5s (x3 over 2m)`
pub(crate) fn interval(event: &Value) -> String {
    let first = match value::text(event, "eventTime") {
        "" => since(value::text(event, "firstTimestamp")),
        time => since(time),
    };
    let series = value::at(event, "series");
    let count = value::int(event, "count").unwrap_or(0);
    if !series.is_null() {
        let last = since(value::text(series, "lastObservedTime"));
        return format!("{last} (x{} over {first})", value::int(series, "count").unwrap_or(0));
    }
    if count > 1 {
        return format!("{} (x{count} over {first})", since(value::text(event, "lastTimestamp")));
    }
    first
}

fn pairs(map: &Value) -> Vec<(String, String)> {
    let mut pairs: Vec<(String, String)> = map
        .as_object()
        .into_iter()
        .flatten()
        .map(|(k, v)| (k.clone(), v.as_str().unwrap_or("").to_string()))
        .collect();
    pairs.sort();
    pairs
}

pub(super) fn shortened(text: &str, max: usize) -> String {
    if text.len() <= max {
        return text.to_string();
    }
    let end = (0..=max).rev().find(|i| text.is_char_boundary(*i)).unwrap_or(0);
    format!("{}...", &text[..end])
}

/// The age of a timestamp, `<unknown>` if there is none.
pub(crate) fn since(timestamp: &str) -> String {
    match timestamp.parse::<Timestamp>() {
        Ok(at) => duration::human(clock::now().duration_since(at).as_secs()),
        Err(_) => "<unknown>".into(),
    }
}

/// `Fri, 29 Nov 2024 13:08:34 +0900`, in this machine's time zone.
pub(super) fn rfc1123(timestamp: &str) -> String {
    match timestamp.parse::<Timestamp>() {
        Ok(at) => at.to_zoned(jiff::tz::TimeZone::system()).strftime("%a, %d %b %Y %H:%M:%S %z").to_string(),
        Err(_) => "Mon, 01 Jan 0001 00:00:00 +0000".into(),
    }
}

pub(super) fn or_none(text: &str) -> &str {
    if text.is_empty() { "<none>" } else { text }
}

/// `a=b,c=d` or `<none>`
pub(super) fn joined_labels(labels: &Value) -> String {
    crate::print::table::labels_of(labels)
}

/// `ReplicaSet/web-1`
pub(super) fn controller(object: &Value) -> Option<String> {
    let owner =
        value::list(object, "metadata.ownerReferences").iter().find(|o| value::flag(o, "controller"))?;
    Some(format!("{}/{}", value::text(owner, "kind"), value::text(owner, "name")))
}

/// `True`/`False`
pub(super) fn capital(flag: bool) -> &'static str {
    if flag { "True" } else { "False" }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn events_name_the_container_that_they_are_about() {
        let mut text = Text::default();
        text.events(&[
            json!({"reason": "Started", "message": " Container started\n",
                   "involvedObject": {"fieldPath": "spec.containers{web}"}}),
            json!({"reason": "Scheduled", "message": "assigned"}),
        ]);
        let printed = text.finish();
        assert!(printed.contains("  spec.containers{web}: Container started\n"), "{printed}");
        assert!(printed.ends_with("  assigned\n"), "{printed}");
    }

    #[test]
    fn texts_of_objects_do_not_steer_the_terminal() {
        let mut text = Text::default();
        text.annotations("Annotations", &json!({"a": "x\u{1b}]0;t\ry"}));
        text.events(&[json!({"type": "Normal", "reason": "R", "message": "\u{1b}[2J"})]);
        let printed = text.finish();
        assert!(printed.contains("a: x^[]0;t\\ry") && printed.contains("^[[2J"), "{printed:?}");
        assert!(!printed.contains(['\u{1b}', '\r']), "{printed:?}");
    }
}
