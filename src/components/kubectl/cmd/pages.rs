//! What a server answers to a `get`: one object, or a list page after page, as objects or as
//! tables.

use super::common::subresource;
use crate::ctx::Ctx;
use crate::describe::since;
use crate::error::Fail;
use crate::info::Info;
use crate::lists::{self, Listing, unlistable};
use crate::print::table::{self, TableOptions, Unsorted};
use crate::wire::api::TABLE;
use crate::wire::paths;
use api::value;
use client::discovery::Resource;
use serde_json::{Value, json};
use std::sync::Arc;

/// Reads the flags about the columns of tables.
pub(super) fn table_options(ctx: &Ctx) -> TableOptions {
    TableOptions {
        wide: ctx.flags.text("output") == "wide",
        no_headers: ctx.flags.is("no-headers"),
        labels: ctx.flags.is("show-labels"),
        label_columns: ctx.flags.list("label-columns"),
        ..TableOptions::default()
    }
}

pub(super) async fn fetch(ctx: &Ctx, info: &Info, accept: &str) -> Result<Value, Fail> {
    let path = format!("{}{}", info.path(), subresource(ctx));
    let answer = ctx.api().await?.get_as(&path, &[], accept).await;
    match answer {
        Err(fail) => Err(info.lost(ctx, fail).await),
        Ok(object) if accept == TABLE => Ok(as_table(object)),
        found => found,
    }
}

/// Returns an answer as a table. An API server that has no tables answers with the objects: of
/// these the names and ages are shown. Source: cli-runtime's `tableprinter.go`,
/// `defaultHandlerEntry`.
pub(super) fn as_table(mut answer: Value) -> Value {
    if value::text(&answer, "kind") == "Table" {
        return answer;
    }
    let row = |object: Value| {
        let name = value::text(&object, "metadata.name").to_string();
        let cells = [name, since(value::text(&object, "metadata.creationTimestamp"))];
        json!({"cells": cells, "object": object})
    };
    let metadata = value::at(&answer, "metadata").clone();
    let items = answer.get_mut("items").map(Value::take);
    let rows: Vec<Value> = match items {
        Some(Value::Array(items)) => items.into_iter().map(row).collect(),
        Some(_) => vec![],
        None => vec![row(answer)],
    };
    let name = json!({"name": "Name", "type": "string", "format": "name"});
    let columns = [name, json!({"name": "Age", "type": "string"})];
    json!({"kind": "Table", "metadata": metadata, "columnDefinitions": columns, "rows": rows})
}

/// One page after another.
pub(super) async fn pages(ctx: &Ctx, listing: &Listing, accept: &str) -> Result<Vec<Value>, Fail> {
    let path = paths::collection(&listing.resource, &listing.namespace);
    let sorted = !ctx.flags.text("sort-by").is_empty();
    let chunk = ctx.flags.int("chunk-size").max(0).to_string();
    let (mut found, mut token) = (vec![], String::new());
    loop {
        let mut query = lists::selectors(ctx);
        if !sorted && chunk != "0" {
            query.push(("limit", chunk.as_str()));
        }
        if sorted && accept == TABLE {
            query.push(("includeObject", "Object"));
        }
        if !token.is_empty() {
            query.push(("continue", token.as_str()));
        }
        let page = ctx.api().await?.get_as(&path, &query, accept).await;
        let page = page.map_err(|fail| unlistable(ctx, &listing.resource, fail))?;
        token = value::text(&page, "metadata.continue").to_string();
        found.push(if accept == TABLE { as_table(page) } else { page });
        if token.is_empty() {
            return Ok(found);
        }
    }
}

/// One table and the resource it is of.
pub(super) type Sheet = (Arc<Resource>, Value);

/// Rows of each resource in the order of `--sort-by`.
pub(super) fn sorted(sheets: &mut Vec<Sheet>, by: &str) -> Result<(), Fail> {
    let mut merged: Vec<Sheet> = vec![];
    for (resource, table) in sheets.drain(..) {
        match merged.last_mut() {
            Some((last, into)) if *last == resource => {
                let more = value::list(&table, "rows").to_vec();
                if let Some(Value::Array(rows)) = into.get_mut("rows") {
                    rows.extend(more);
                }
            }
            _ => merged.push((resource, table)),
        }
    }
    for (_, table) in &mut merged {
        if let Some(Value::Array(rows)) = table.get_mut("rows") {
            match table::sort(rows, by) {
                // kubectl shows nothing where none of several rows has the field.
                Err(Unsorted::Path(_)) if rows.len() > 1 => rows.clear(),
                Ok(()) | Err(Unsorted::Path(_)) => {}
                Err(unsorted @ Unsorted::Type(_)) => return Err(unsorted.into()),
            }
        }
    }
    *sheets = merged;
    Ok(())
}

/// The items of a list, each with its kind.
pub(crate) fn items_of(list: &Value, resource: &Resource) -> Vec<Value> {
    let with_kind = |item: &Value| {
        let mut item = item.clone();
        value::put(&mut item, "apiVersion", resource.api_version());
        value::put(&mut item, "kind", resource.kind.as_str());
        item
    };
    value::list(list, "items").iter().map(with_kind).collect()
}
