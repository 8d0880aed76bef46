//! The columns that a definition adds to `kubectl get`: a path into the object each.

use crate::jsonpath::JsonPath;
use crate::table::cells::describe;
use crate::value::{at, int, text};
use crate::{duration, gotime};
use clock::Timestamp;
use serde_json::{Value, json};

/// Values that the path of a column may come to for each value of an object: a server follows it in
/// every object of a list. `..name` comes to four for each.
const VALUES_EACH: u64 = 20;

/// A path in a definition: `.status.conditions[?(@.type=="Ready")].status`.
pub(crate) struct Path(JsonPath);

impl Path {
    pub(crate) fn read(source: &str) -> Result<Path, String> {
        if !source.starts_with('.') {
            return Err("must be a simple json path starting with .".into());
        }
        JsonPath::parse(&format!("{{{source}}}")).map(Path)
    }

    /// Returns the first value that the path leads to. Upstream prints no other.
    fn find<'a>(&'a self, object: &'a Value) -> Option<&'a Value> {
        let found = self.0.find_in(object, VALUES_EACH).ok()?;
        found.first()?.first().copied()
    }
}

/// A column, from a definition's `additionalPrinterColumns`.
pub struct Column {
    /// The heading.
    pub name: String,
    /// `integer`, `number`, `string`, `boolean` or `date`.
    pub kind: String,
    /// A hint for clients, e.g. `byte`; as a rule empty.
    pub format: String,
    /// A sentence about the column for clients; may be empty.
    pub description: String,
    /// Above 0: shown with `-o wide` only.
    pub priority: i64,
    path: Path,
}

/// Returns the columns of a version, after the name. A version without any has its age.
pub(crate) fn of(definitions: &[Value]) -> Vec<Column> {
    if definitions.is_empty() {
        let age = json!({"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"});
        return column(&age).into_iter().collect();
    }
    definitions.iter().filter_map(column).collect()
}

fn column(definition: &Value) -> Option<Column> {
    let word = |field| text(definition, field).to_string();
    Some(Column {
        name: word("name"),
        kind: word("type"),
        format: word("format"),
        description: word("description"),
        priority: int(definition, "priority").unwrap_or(0),
        path: Path::read(text(definition, "jsonPath")).ok()?,
    })
}

impl Column {
    /// Returns the `columnDefinition` that clients read.
    pub fn definition(&self) -> Value {
        let described = match (self.description.as_str(), self.name.as_str()) {
            ("", "Age") => describe("Age").to_string(),
            ("", _) => {
                format!("Custom resource definition column (in JSONPath format): {}", self.path.0.source())
            }
            (printed, _) => printed.to_string(),
        };
        json!({"name": self.name, "type": self.kind, "format": self.format, "description": described, "priority": self.priority})
    }

    /// Returns the value of an object in this column; null if the object has none there, or one
    /// that does not fit the column's type. A date is shown as its age at `now`, e.g. `5m`, or as
    /// `<invalid>`; an empty one as `<unknown>`. A null is `<no value>` in a column of text.
    pub fn cell(&self, object: &Value, now: Timestamp) -> Value {
        let Some(first) = self.path.find(object) else { return Value::Null };
        match self.kind.as_str() {
            "integer" => match first {
                Value::Number(n) => {
                    n.as_i64().or(n.as_f64().map(|f| f as i64)).map_or(Value::Null, Value::from)
                }
                _ => Value::Null,
            },
            "number" => first.as_f64().map_or(Value::Null, |_| first.clone()),
            "boolean" => first.as_bool().map_or(Value::Null, Value::from),
            "date" => match first.as_str() {
                Some("" | "null") => "<unknown>".into(), // no time, as Go reads it
                Some(time) => gotime::parse(time).map_or_else(
                    |_| "<invalid>".into(),
                    |then| duration::human(now.duration_since(then).as_secs()).into(),
                ),
                None => Value::Null,
            },
            // As upstream, which prints it as a template would.
            _ if first.is_null() => "<no value>".into(),
            _ => crate::jsonpath::text_of(first).into(),
        }
    }
}

/// Returns the name, which stands before all columns.
pub fn name(object: &Value) -> Value {
    at(object, "metadata.name").clone()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_that_comes_to_too_many_values_finds_nothing() {
        let object = json!({"s": {"a": vec![1; 2_000]}});
        let path = |copies: usize| Path::read(&format!(".s[{}][*]", vec!["'a'"; copies].join(","))).unwrap();
        assert_eq!(path(2).find(&object), Some(&json!(1)));
        assert_eq!(path(50).find(&object), None);
        assert_eq!(Path::read("..a").unwrap().find(&object), Some(&object["s"]["a"]));
    }
}
