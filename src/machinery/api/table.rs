//! Server-side Tables: the columns that `kubectl get` prints.

use crate::custom::{self, Column as Custom};
use crate::duration;
use crate::kinds::Kind;
use crate::labels::Selector;
use crate::value::{self, at, list, text};
use clock::{self, Timestamp};
use serde_json::{Value, json};

/// `(name, type, wide?)`
pub type Column = (&'static str, &'static str, bool);

/// How objects of a kind become rows. Cells come in the order of the columns, wide ones too.
pub struct Printer {
    pub columns: &'static [Column],
    pub cells: fn(&Value, Timestamp) -> Vec<Value>,
    pub conditions: Option<fn(&Value) -> Value>,
}

/// For kinds without a printer of their own.
static PLAIN: Printer = Printer {
    columns: &[("Name", "string", false), ("Created At", "date", false)],
    cells: |o, _| vec![name(o), at(o, "metadata.creationTimestamp").clone()],
    conditions: None,
};

/// The columns of a Scale.
pub static SCALE: Printer = Printer {
    columns: &[
        ("Name", "", false),
        ("Desired", "integer", false),
        ("Available", "integer", false),
        ("Age", "", false),
    ],
    cells: |o, now| vec![name(o), number(o, "spec.replicas"), number(o, "status.replicas"), age(o, now)],
    conditions: None,
};

/// How a kind's objects are printed: by a printer of ours, or in the columns of a definition.
#[derive(Clone, Copy)]
pub enum Printing<'a> {
    Own(&'static Printer),
    Columns(&'a [Custom]),
}

/// What a row carries beside its cells.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Include {
    Metadata,
    Object,
    None,
}

/// The `columnDefinitions` of a kind.
pub fn definitions(printing: Printing) -> Value {
    let printer = match printing {
        Printing::Own(printer) => printer,
        Printing::Columns(columns) => {
            let name = json!({"name": "Name", "type": "string", "format": "name", "description": describe("Name"), "priority": 0});
            return std::iter::once(name).chain(columns.iter().map(Custom::definition)).collect();
        }
    };
    let columns = printer.columns.iter().enumerate().map(|(i, (name, kind, wide))| {
        let is_name = *name == "Name" && *kind == "string" && (i == 0 || *wide);
        json!({
            "name": name,
            "type": if kind.is_empty() { "string" } else { kind },
            "format": if is_name { "name" } else { "" },
            "description": describe(name),
            "priority": i32::from(*wide),
        })
    });
    Value::Array(columns.collect())
}

pub(super) fn describe(column: &str) -> &'static str {
    match column {
        "Name" => {
            "Name must be unique within a namespace. Is required when creating resources, although some resources may allow a client to request the generation of an appropriate name automatically. Name is primarily intended for creation idempotence and configuration definition. Cannot be updated. More info: https://kubernetes.io/docs/concepts/overview/working-with-objects/names#names"
        }
        "Age" | "Created At" => {
            "CreationTimestamp is a timestamp representing the server time when this object was created. It is not guaranteed to be set in happens-before order across separate operations. Clients may not set this value. It is represented in RFC3339 form and is in UTC.\n\nPopulated by the system. Read-only. Null for lists. More info: https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#metadata"
        }
        _ => "",
    }
}

/// How the objects of a kind are printed.
pub fn printing(kind: &Kind) -> Printing<'_> {
    match &kind.custom {
        Some(custom) => Printing::Columns(&custom.columns),
        None => Printing::Own(kind.printer.unwrap_or(&PLAIN)),
    }
}

/// One row.
pub fn row(printing: Printing, object: &Value, include: Include, now: Timestamp) -> Value {
    let cells = match printing {
        Printing::Own(printer) => (printer.cells)(object, now),
        Printing::Columns(columns) => std::iter::once(custom::name_cell(object))
            .chain(columns.iter().map(|c| c.cell(object, now)))
            .collect(),
    };
    let mut row = json!({"cells": cells});
    if let Printing::Own(Printer { conditions: Some(conditions), .. }) = printing {
        let conditions = conditions(object);
        if !conditions.is_null() {
            row["conditions"] = conditions;
        }
    }
    row["object"] = match include {
        Include::Object => object.clone(),
        Include::None => Value::Null,
        Include::Metadata => partial(object, "meta.k8s.io/v1"),
    };
    row
}

/// Only the metadata of an object.
pub fn partial(object: &Value, api_version: &str) -> Value {
    json!({"kind": "PartialObjectMetadata", "apiVersion": api_version, "metadata": at(object, "metadata")})
}

// -- cells
// -------------------------------------------------------------------------------------------------

pub(super) fn name(object: &Value) -> Value {
    at(object, "metadata.name").clone()
}

/// The cell of a number; 0 if it is not there.
pub(super) fn number(object: &Value, path: &str) -> Value {
    value::int(object, path).unwrap_or(0).into()
}

/// The text at `path`, or `other`.
pub(super) fn or<'a>(object: &'a Value, path: &str, other: &'a str) -> &'a str {
    match text(object, path) {
        "" => other,
        s => s,
    }
}

pub(super) fn age(object: &Value, now: Timestamp) -> Value {
    since(text(object, "metadata.creationTimestamp"), now).into()
}

/// `5m` since a time in RFC 3339, `<unknown>` if it is none.
pub(super) fn since(time: &str, now: Timestamp) -> String {
    match time.parse::<Timestamp>() {
        Ok(then) => duration::human(now.duration_since(then).as_secs()),
        Err(_) => "<unknown>".to_string(),
    }
}

/// `a=b,c=d`, or `<none>`.
pub(super) fn labels(object: &Value, path: &str) -> String {
    let mut pairs: Vec<String> = value::pairs(object, path).map(|(k, v)| format!("{k}={v}")).collect();
    pairs.sort();
    if pairs.is_empty() { "<none>".into() } else { pairs.join(",") }
}

/// A LabelSelector as text, `empty` if there is nothing in it.
pub(super) fn selector(object: &Value, path: &str, empty: &str) -> String {
    match Selector::of(at(object, path)) {
        Some(s) if !s.is_empty() => s.to_string(),
        _ => empty.into(),
    }
}

/// The cells `Containers` and `Images` of a pod spec.
pub(super) fn containers(object: &Value, path: &str) -> (Value, Value) {
    let all = list(object, path);
    let join = |field: &str| all.iter().map(|c| text(c, field)).collect::<Vec<_>>().join(",");
    (join("name").into(), join("image").into())
}

/// The first `max` joined by commas, then how many more.
pub(super) fn some(items: &[String], max: usize, none: &str) -> String {
    match items.len() {
        0 => none.to_string(),
        n if n > max => format!("{} + {} more...", items[..max].join(","), n - max),
        _ => items.join(","),
    }
}

/// Now, for callers outside this room that print a whole table at one instant.
pub fn now() -> Timestamp {
    clock::now()
}
