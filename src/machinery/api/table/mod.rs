//! Server-side Tables: the columns that `kubectl get` prints.

pub(crate) mod cells;

pub use cells::{Column, Printer};

use crate::custom::columns::{Column as Custom, name as name_cell};
use crate::kinds::entry::Kind;
use crate::value::at;
use cells::{age, describe, name, number};
use clock::{self, Timestamp};
use serde_json::{Value, json};

/// The printer of kinds without one of their own.
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
    /// Columns and cells of a kind of the table.
    Own(&'static Printer),
    /// `additionalPrinterColumns`, after the name.
    Columns(&'a [Custom]),
}

/// What a row carries beside its cells.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Include {
    /// The object's metadata (`PartialObjectMetadata`): what clients get that do not ask.
    Metadata,
    /// The whole object, e.g. for `--sort-by`.
    Object,
    /// Nothing.
    None,
}

/// Returns the `columnDefinitions` of a kind.
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

/// Returns how the objects of a kind are printed.
pub fn printing(kind: &Kind) -> Printing<'_> {
    match &kind.custom {
        Some(custom) => Printing::Columns(&custom.columns),
        None => Printing::Own(kind.printer.unwrap_or(&PLAIN)),
    }
}

/// Returns the row of one object.
pub fn row(printing: Printing, object: &Value, include: Include, now: Timestamp) -> Value {
    let cells = match printing {
        Printing::Own(printer) => (printer.cells)(object, now),
        Printing::Columns(columns) => {
            std::iter::once(name_cell(object)).chain(columns.iter().map(|c| c.cell(object, now))).collect()
        }
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

/// Returns only the metadata of an object, as `PartialObjectMetadata`.
pub fn partial(object: &Value, api_version: &str) -> Value {
    json!({"kind": "PartialObjectMetadata", "apiVersion": api_version, "metadata": at(object, "metadata")})
}

/// Returns the present time, for callers outside this room that print a whole table at one instant.
pub fn now() -> Timestamp {
    clock::now()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kinds;

    fn at_ten() -> Timestamp {
        "2026-01-02T03:04:15Z".parse().unwrap()
    }

    #[test]
    fn a_row_carries_what_the_client_asks_for() {
        let object = json!({"kind": "ConfigMap", "data": {"k": "v"},
            "metadata": {"name": "a", "creationTimestamp": "2026-01-02T03:04:05Z"}});
        let of_kind = printing(kinds::find("", "v1", "ConfigMap").unwrap());
        let with = |include| row(of_kind, &object, include, at_ten());
        assert_eq!(with(Include::None), json!({"cells": ["a", 1, "10s"], "object": null}));
        assert_eq!(with(Include::Object)["object"], object);
        let metadata = json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1",
            "metadata": object["metadata"]});
        assert_eq!(with(Include::Metadata)["object"], metadata);
    }

    /// `kubectl get` takes the first column of names from the format.
    #[test]
    fn a_column_has_its_type_and_says_whether_it_is_wide() {
        let plain = definitions(Printing::Own(&PLAIN));
        assert_eq!((&plain[0]["format"], &plain[0]["priority"]), (&json!("name"), &json!(0)));
        assert_eq!((&plain[1]["type"], &plain[1]["format"]), (&json!("date"), &json!("")));
        let scale = definitions(Printing::Own(&SCALE));
        assert_eq!((&scale[0]["type"], &scale[0]["format"]), (&json!("string"), &json!("")));
        let pods = definitions(printing(kinds::find("", "v1", "Pod").unwrap()));
        let wide = pods.as_array().unwrap().iter().find(|column| column["name"] == "IP").unwrap();
        assert_eq!(wide["priority"], 1);
        let custom = definitions(Printing::Columns(&[]));
        assert_eq!(custom, json!([plain[0]]), "a custom kind without columns has its name");
    }

    /// Also of an object that has nothing: a client may store one with few fields.
    #[test]
    fn every_printer_makes_a_cell_for_each_of_its_columns() {
        for (kind, printer) in kinds::all().iter().filter_map(|kind| Some((kind, kind.printer?))) {
            let cells = (printer.cells)(&json!({}), at_ten());
            assert_eq!(cells.len(), printer.columns.len(), "{} {}", kind.group, kind.kind);
        }
    }
}
