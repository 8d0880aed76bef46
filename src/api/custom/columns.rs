//! The columns that a definition adds to `kubectl get`: a path into the object each.

use crate::api::duration;
use crate::api::gostr;
use crate::api::jsonpath::JsonPath;
use crate::api::value::{at, int, text};
use crate::clock::Timestamp;
use serde_json::{Value, json};

/// A path in a definition: `.status.conditions[?(@.type=="Ready")].status`.
pub struct Path(JsonPath);

impl Path {
    pub fn read(said: &str) -> Result<Path, String> {
        if !said.starts_with('.') && !said.starts_with('[') {
            return Err("must be a simple json path starting with .".into());
        }
        JsonPath::parse(&format!("{{{said}}}")).map(Path)
    }

    /// What it leads to, none if that is nothing.
    fn find(&self, object: &Value) -> Vec<Value> {
        let found = self.0.find(object).unwrap_or_default();
        found.into_iter().flatten().filter(|v| !v.is_null()).collect()
    }
}

pub struct Column {
    pub name: String,
    /// `integer`, `number`, `string`, `boolean` or `date`.
    pub kind: String,
    pub format: String,
    pub description: String,
    pub priority: i64,
    path: Path,
}

/// The columns of a version after the name; its age if it says none.
pub fn of(said: &[Value]) -> Vec<Column> {
    if said.is_empty() {
        let age = json!({"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"});
        return column(&age).into_iter().collect();
    }
    said.iter().filter_map(column).collect()
}

fn column(said: &Value) -> Option<Column> {
    let word = |field| text(said, field).to_string();
    Some(Column {
        name: word("name"),
        kind: word("type"),
        format: word("format"),
        description: word("description"),
        priority: int(said, "priority").unwrap_or(0),
        path: Path::read(text(said, "jsonPath")).ok()?,
    })
}

impl Column {
    /// The `columnDefinition` that clients read.
    pub fn definition(&self) -> Value {
        let described = match (self.description.as_str(), self.name.as_str()) {
            ("", "Age") => crate::api::table::describe("Age").to_string(),
            ("", _) => {
                format!("Custom resource definition column (in JSONPath format): {}", self.path.0.source())
            }
            (said, _) => said.to_string(),
        };
        json!({"name": self.name, "type": self.kind, "format": self.format, "description": described, "priority": self.priority})
    }

    pub fn cell(&self, object: &Value, now: Timestamp) -> Value {
        let found = self.path.find(object);
        let Some(first) = found.first() else { return Value::Null };
        match self.kind.as_str() {
            "integer" => match first {
                Value::Number(n) => {
                    n.as_i64().or(n.as_f64().map(|f| f as i64)).map_or(Value::Null, Value::from)
                }
                _ => Value::Null,
            },
            "number" => first.as_f64().map_or(Value::Null, |_| first.clone()),
            "boolean" => first.as_bool().map_or(Value::Null, Value::from),
            "date" => match first.as_str().map(str::parse::<Timestamp>) {
                Some(Ok(then)) => duration::human(now.duration_since(then).as_secs()).into(),
                Some(Err(_)) => "<invalid>".into(),
                None => Value::Null,
            },
            _ if found.len() > 1 => {
                format!("[{}]", found.iter().map(gostr::plain).collect::<Vec<_>>().join(" ")).into()
            }
            _ => crate::api::jsonpath::text_of(first).into(),
        }
    }
}

/// The name, which stands before all columns.
pub fn name(object: &Value) -> Value {
    at(object, "metadata.name").clone()
}
