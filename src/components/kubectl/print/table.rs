//! Server-side tables (`metav1.Table`) as rows of text.

use super::template::type_of;
use crate::error::Fail;
use api::gostr;
use api::quantity::Quantity;
use api::value;
use serde_json::Value;
use std::cmp::Ordering;

/// What the flags of `get` show or hide beside the server's columns.
#[derive(Clone, Default)]
pub(crate) struct TableOptions {
    pub wide: bool,
    pub no_headers: bool,
    pub namespace: bool,
    /// The prefix of names: `pod` prints `pod/web`.
    pub kind: Option<String>,
    pub labels: bool,
    /// `-L`
    pub label_columns: Vec<String>,
}

/// The columns of a table, to print it or later tables of a watch with.
#[derive(Clone, Default)]
pub(crate) struct Head {
    columns: Vec<Value>,
}

impl Head {
    pub(crate) fn of(table: &Value) -> Head {
        Head { columns: value::list(table, "columnDefinitions").to_vec() }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.columns.is_empty()
    }

    fn visible(&self, options: &TableOptions) -> Vec<usize> {
        let wanted = |i: &usize| options.wide || value::int(&self.columns[*i], "priority").unwrap_or(0) == 0;
        (0..self.columns.len()).filter(wanted).collect()
    }

    /// `NAMESPACE NAME READY … L LABELS`
    pub(crate) fn header(&self, options: &TableOptions) -> Vec<String> {
        let mut cells = vec![];
        if options.namespace {
            cells.push("NAMESPACE".to_string());
        }
        cells.extend(
            self.visible(options).iter().map(|i| value::text(&self.columns[*i], "name").to_uppercase()),
        );
        cells.extend(options.label_columns.iter().map(|l| l.rsplit('/').next().unwrap_or(l).to_uppercase()));
        if options.labels {
            cells.push("LABELS".into());
        }
        cells
    }

    /// The cells of one row.
    pub(crate) fn row(&self, row: &Value, options: &TableOptions) -> Vec<String> {
        let mut cells = vec![];
        let object = value::at(row, "object");
        if options.namespace {
            cells.push(value::text(object, "metadata.namespace").to_string());
        }
        let values = value::list(row, "cells");
        for i in self.visible(options) {
            let column = &self.columns[i];
            let mut text = match values.get(i) {
                None | Some(Value::Null) => String::new(),
                Some(given) => gostr::plain(given),
            };
            let is_name = value::text(column, "type") == "string" && value::text(column, "format") == "name";
            if let (Some(kind), true) = (&options.kind, is_name) {
                text = format!("{kind}/{text}");
            }
            cells.push(text);
        }
        let labels = value::at(object, "metadata.labels");
        cells
            .extend(options.label_columns.iter().map(|name| labels[name].as_str().unwrap_or("").to_string()));
        if options.labels {
            cells.push(labels_of(labels));
        }
        cells.iter().map(|text| one_line(text)).collect()
    }
}

/// `a=1,b=2`, or `<none>`
pub(crate) fn labels_of(labels: &Value) -> String {
    let Some(map) = labels.as_object().filter(|m| !m.is_empty()) else { return "<none>".into() };
    let mut pairs: Vec<String> = map.iter().map(|(k, v)| format!("{k}={}", gostr::plain(v))).collect();
    pairs.sort();
    pairs.join(",")
}

/// The text of a cell up to its first line break, which would end the row.
fn one_line(text: &str) -> String {
    match text.split_once(['\n', '\r', '\u{c}']) {
        Some((first, _)) => escaped(first) + "...",
        None => escaped(text),
    }
}

/// Shows terminal control characters instead of sending them: texts of the cluster must not steer
/// the user's terminal.
pub(crate) fn escaped(text: &str) -> String {
    text.replace('\u{1b}', "^[").replace('\r', "\\r")
}

/// Why rows were not sorted.
#[derive(Debug)]
pub(crate) enum Unsorted {
    /// The path cannot be read or followed, or leads nowhere in every row; in kubectl's words.
    Path(String),
    /// Two of the values have no order.
    Type(String),
}

impl From<String> for Unsorted {
    fn from(why: String) -> Unsorted {
        Unsorted::Path(why)
    }
}

impl From<Unsorted> for Fail {
    fn from(unsorted: Unsorted) -> Fail {
        match unsorted {
            Unsorted::Path(why) | Unsorted::Type(why) => Fail::Text(why),
        }
    }
}

/// Sorts rows by a path into their objects, as `--sort-by` does: texts that are all quantities by
/// their amounts, others letter by letter.
pub(crate) fn sort(rows: &mut [Value], expression: &str) -> Result<(), Unsorted> {
    let path = super::jsonpath::relaxed(expression)?;
    let mut found_any = rows.is_empty();
    let mut keyed: Vec<(Option<Value>, Value)> = vec![];
    for row in rows.iter() {
        let object = if row["object"].is_null() { row } else { &row["object"] };
        let key = path.find(object)?.into_iter().flatten().next();
        found_any |= key.is_some();
        keyed.push((key, row.clone()));
    }
    let field = format!("{{{}}}", dotted(expression));
    if !found_any {
        let field = gostr::quote(&field);
        let why = format!("couldn't find any field with path {field} in the list of objects");
        return Err(Unsorted::Path(why));
    }
    let keys: Vec<&Value> = keyed.iter().filter_map(|(key, _)| key.as_ref()).collect();
    if let Some(why) = unsortable(&keys) {
        return Err(Unsorted::Type(format!("Field {field} is an unsortable type: {why}")));
    }
    // Quantities or words, but not both: an order in which `1k` > `500` > `2a` > `1k` is none.
    let text = |key: &Option<Value>| key.as_ref().and_then(Value::as_str).map(Quantity::parse);
    let quantities = keyed.iter().filter_map(|(key, _)| text(key)).all(|q| q.is_some());
    keyed.sort_by(|(a, _), (b, _)| compare(a.as_ref(), b.as_ref(), quantities));
    for (slot, (_, row)) in rows.iter_mut().zip(keyed) {
        *slot = row;
    }
    Ok(())
}

/// Returns Go's reason why values have no order: only texts have one, or only numbers. Source:
/// kubectl's `get/sorter.go`, `isLess`.
fn unsortable(keys: &[&Value]) -> Option<String> {
    let keys: Vec<&Value> = keys.iter().copied().filter(|key| !key.is_null()).collect();
    let is_one_type = keys.iter().all(|key| key.is_string()) || keys.iter().all(|key| key.is_number());
    if keys.len() < 2 {
        return None; // nothing is compared
    }
    match keys.iter().find(|key| !key.is_string() && !key.is_number()) {
        Some(key) => Some(format!("unsortable type: {}", type_of(key))),
        None => (!is_one_type).then(|| "unsortable interface: interface".to_string()),
    }
}

fn dotted(expression: &str) -> String {
    let inner = expression.trim_start_matches('{').trim_end_matches('}').trim_start_matches('.');
    format!(".{inner}")
}

fn compare(a: Option<&Value>, b: Option<&Value>, quantities: bool) -> Ordering {
    match (a, b) {
        (Some(Value::String(a)), Some(Value::String(b))) if quantities => {
            Quantity::parse(a).partial_cmp(&Quantity::parse(b)).unwrap_or(Ordering::Equal)
        }
        (Some(Value::String(a)), Some(Value::String(b))) => a.cmp(b),
        (Some(a), Some(b)) => {
            let number = |v: &Value| v.as_f64().unwrap_or(f64::NEG_INFINITY);
            a.is_string().cmp(&b.is_string()).then(number(a).total_cmp(&number(b)))
        }
        (a, b) => a.is_some().cmp(&b.is_some()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn no_cell_breaks_its_row_or_steers_the_terminal() {
        let column = |name: &str| json!({"name": name, "type": "string"});
        let date = json!({"name": "When", "type": "date"});
        let table = json!({"columnDefinitions": [column("Name"), column("Note"), date]});
        let row = json!({"cells": ["\u{1b}[2Ja\nb", "c\u{c}d", "\u{1b}[2JZ"],
            "object": {"metadata": {"labels": {"l": "\u{1b}x\ry"}}}});
        let options =
            TableOptions { labels: true, label_columns: vec!["l".into()], ..TableOptions::default() };
        let cells = Head::of(&table).row(&row, &options);
        assert_eq!(cells, ["^[[2Ja...", "c...", "^[[2JZ", "^[x...", "l=^[x..."]);
    }

    #[test]
    fn what_has_no_order_is_not_sorted() {
        let error = |values: [Value; 2]| {
            let mut rows = values.map(|value| json!({"spec": value}));
            sort(&mut rows, ".spec").err().map(|why| match why {
                Unsorted::Type(why) => why,
                Unsorted::Path(why) => panic!("{why}"),
            })
        };
        let field = "Field {.spec} is an unsortable type: unsortable";
        for (values, why) in [
            ([json!({"a": 1}), json!({"b": 1})], Some("type: map[string]interface {}")),
            ([json!([1]), json!([2])], Some("type: []interface {}")),
            ([json!(true), json!(false)], Some("type: bool")),
            ([json!("a"), json!(1)], Some("interface: interface")),
            ([json!(2), json!(1)], None),
            ([json!("b"), json!(null)], None),
            ([json!({}), json!(null)], None),
        ] {
            let want = why.map(|why| format!("{field} {why}"));
            assert_eq!(error(values.clone()), want, "{values:?}");
        }
    }

    #[test]
    fn names_that_look_like_quantities_are_sorted_all_the_same() {
        let names = |rows: &[Value]| -> Vec<String> {
            rows.iter().map(|r| value::text(r, "metadata.name").to_string()).collect()
        };
        // Many rows, so that a sort that depends on a total order notices that there is none.
        let row = |name: String| json!({"metadata": {"name": name}});
        let mut rows: Vec<Value> = (0..60)
            .map(|i| row([format!("{i}k"), format!("{}", i * 37), format!("{i}a")][i % 3].clone()))
            .collect();
        sort(&mut rows, ".metadata.name").unwrap();
        let sorted = names(&rows);
        assert!(sorted.windows(2).all(|w| w[0] <= w[1]), "{sorted:?}");
        let mut rows: Vec<Value> = ["1k", "500", "2"].map(|n| row(n.into())).into();
        sort(&mut rows, ".metadata.name").unwrap();
        assert_eq!(names(&rows), ["2", "500", "1k"]);
        // Letter by letter, since 1.35: earlier versions had `web-2` first.
        let mut rows: Vec<Value> = ["web-2", "web-10"].map(|n| row(n.into())).into();
        sort(&mut rows, ".metadata.name").unwrap();
        assert_eq!(names(&rows), ["web-10", "web-2"]);
    }
}
