//! get: one or many objects as a table or in any format, once or as they change.

use super::common::subresource;
use crate::builder::{self, Asked, Info, Listing, Options, unlistable};
use crate::ctx::Ctx;
use crate::error::{Fail, text};
use crate::gostr::quote;
use crate::print::formats::{self, Format};
use crate::print::tab::Remembering;
use crate::print::table::{self, Head, Shown};
use crate::wire::api::{JSON, TABLE};
use crate::wire::discovery::Resource;
use crate::wire::paths;
use api::value;
use serde_json::{Value, json};
use std::sync::Arc;

const UNTYPED: &str = "You must specify the type of resource to get. Use \"kubectl api-resources\" for a complete list of supported resources.";

pub(crate) async fn run(ctx: &Ctx) -> Result<(), Fail> {
    let raw = ctx.flags.text("raw");
    if !raw.is_empty() {
        return self::raw(ctx, raw).await;
    }
    let format = formats::of(ctx, true)?;
    if ctx.args.is_empty() && !ctx.names_files() {
        let path = ctx.verb.command_path();
        ctx.output.err(&format!("{UNTYPED}\n\n"));
        return Err(Fail::Text(format!(
            "Required resource not specified.\nUse \"kubectl explain <resource>\" for a detailed description of that resource (e.g. kubectl explain pods).\nSee '{path} -h' for help and examples"
        )));
    }
    let watching = ctx.flags.is("watch") || ctx.flags.is("watch-only");
    if ctx.flags.is("output-watch-events") && !watching {
        return text("--output-watch-events option can only be used with --watch or --watch-only");
    }
    let all_namespaces = ctx.flags.is("all-namespaces");
    let options = Options { all_by_type: true, all_namespaces, latest: true, ..Options::default() };
    let mut asked = builder::ask(ctx, &ctx.args, options).await?;
    asked.tell_plainly("resource mapping not found");
    if watching || ctx.names_one_file() {
        Fail::join(asked.take_unread())?;
    }
    if watching {
        return watch(ctx, asked, format).await;
    }
    match format {
        Some(format) => print_objects(ctx, asked, &format).await,
        None => print_tables(ctx, asked).await,
    }
}

async fn raw(ctx: &Ctx, path: &str) -> Result<(), Fail> {
    if !ctx.args.is_empty() {
        return text("arguments may not be passed when --raw is specified");
    }
    if !path.starts_with('/') {
        return text(format!(
            "--raw must be a valid URL path: parse {}: invalid URI for request",
            quote(path)
        ));
    }
    let api = ctx.api().await?;
    let (path, query) = path.split_once('?').map_or((path, String::new()), |(p, q)| (p, format!("?{q}")));
    let response =
        api.send(http::Method::GET, &format!("{path}{query}"), &[], "application/json, */*", None).await?;
    let mut body = response.into_body();
    use http_body_util::BodyExt;
    while let Some(frame) = body.frame().await {
        if let Some(data) = frame?.data_ref() {
            ctx.output.bytes(data);
            ctx.output.flush().await;
        }
    }
    Ok(())
}

/// What the flags ask to show.
fn shown(ctx: &Ctx) -> Shown {
    Shown {
        wide: ctx.flags.text("output") == "wide",
        no_headers: ctx.flags.is("no-headers"),
        labels: ctx.flags.is("show-labels"),
        label_columns: ctx.flags.list("label-columns"),
        ..Shown::default()
    }
}

async fn fetch(ctx: &Ctx, info: &Info, accept: &str) -> Result<Value, Fail> {
    let path = format!("{}{}", info.path(), subresource(ctx));
    let answer = ctx.api().await?.get_as(&path, &[], accept).await;
    match answer {
        Err(fail) => Err(info.lost(ctx, fail).await),
        found => found,
    }
}

/// One page after another.
async fn pages(ctx: &Ctx, listing: &Listing, accept: &str) -> Result<Vec<Value>, Fail> {
    let path = paths::collection(&listing.resource, &listing.namespace);
    let sorted = !ctx.flags.text("sort-by").is_empty();
    let chunk = ctx.flags.int("chunk-size").max(0).to_string();
    let (mut found, mut token) = (vec![], String::new());
    loop {
        let mut query = builder::selectors(ctx);
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
        found.push(page);
        if token.is_empty() {
            return Ok(found);
        }
    }
}

/// One table and the resource it is of.
type Sheet = (Arc<Resource>, Value);

/// Everything asked for, as tables, in order; refusals beside them.
async fn tables(ctx: &Ctx, mut asked: Asked, failures: &mut Vec<Fail>) -> Result<Vec<Sheet>, Fail> {
    failures.append(&mut asked.take_unread());
    let mut found: Vec<Sheet> = vec![];
    let mut keep = |resource: &Arc<Resource>, answer: Result<Vec<Value>, Fail>| match answer {
        Ok(all) => {
            found.extend(all.into_iter().map(|t| (resource.clone(), t)));
            Ok(())
        }
        Err(fail @ (Fail::Api(_) | Fail::Text(_))) => {
            if !(ctx.flags.is("ignore-not-found") && fail.is_not_found()) {
                failures.push(fail);
            }
            Ok(())
        }
        Err(other) => Err(other),
    };
    match asked {
        Asked::Objects(infos, _) => {
            for info in infos {
                let answer = fetch(ctx, &info, TABLE).await.map(|t| vec![t]);
                keep(&info.resource, answer)?;
            }
        }
        Asked::Lists(listings) => {
            for listing in listings {
                let answer = pages(ctx, &listing, TABLE).await;
                keep(&listing.resource, answer)?;
            }
        }
    }
    Ok(found)
}

/// Several resources in one answer: names get a prefix.
fn several(asked: &Asked) -> bool {
    let kinds: Vec<String> = match asked {
        Asked::Objects(infos, _) => infos.iter().map(|i| i.resource.kind_group()).collect(),
        Asked::Lists(lists) => lists.iter().map(|l| l.resource.kind_group()).collect(),
    };
    kinds.windows(2).any(|w| w[0] != w[1])
}

fn namespaced(asked: &Asked) -> bool {
    match asked {
        Asked::Objects(infos, _) => infos.iter().all(|i| i.resource.namespaced),
        Asked::Lists(lists) => lists.iter().all(|l| l.resource.namespaced),
    }
}

async fn print_tables(ctx: &Ctx, asked: Asked) -> Result<(), Fail> {
    let all_namespaced = namespaced(&asked);
    let mut failures = vec![];
    let lists = matches!(asked, Asked::Lists(_));
    let of_lists = several(&asked);
    let mut sheets = tables(ctx, asked, &mut failures).await?;
    let found_several = sheets.windows(2).any(|w| w[0].0 != w[1].0);
    let prefixed = ctx.flags.is("show-kind") || if lists { of_lists } else { found_several };
    let sort = ctx.flags.text("sort-by");
    if !sort.is_empty() {
        sorted(&mut sheets, sort)?;
    }
    let base = shown(ctx);
    let mut printed = false;
    let mut at = 0;
    while at < sheets.len() {
        let resource = sheets[at].0.clone();
        let end = sheets[at..].iter().position(|(r, _)| r != &resource).map_or(sheets.len(), |n| at + n);
        let group = &sheets[at..end];
        at = end;
        let mut shown = base.clone();
        shown.namespace = ctx.flags.is("all-namespaces") && resource.namespaced;
        shown.kind = prefixed.then(|| resource.kind_group());
        let mut rows: Vec<Vec<String>> = vec![];
        for (_, table) in group {
            let head = Head::of(table);
            if rows.is_empty() && !shown.no_headers && !value::list(table, "rows").is_empty() {
                rows.push(head.header(&shown));
            }
            rows.extend(value::list(table, "rows").iter().map(|row| head.row(row, &shown)));
        }
        if rows.is_empty() {
            continue;
        }
        if printed && !shown.no_headers {
            ctx.out("\n");
        }
        printed = true;
        ctx.out(Remembering::default().rows(&rows));
    }
    if !printed && failures.is_empty() && !ctx.flags.is("ignore-not-found") {
        nothing(ctx, all_namespaced)?;
    }
    Fail::join(failures)
}

fn nothing(ctx: &Ctx, namespaced: bool) -> Result<(), Fail> {
    if namespaced && !ctx.flags.is("all-namespaces") {
        let (namespace, _) = ctx.namespace()?;
        ctx.note(format!("No resources found in {namespace} namespace."));
    } else {
        ctx.note("No resources found");
    }
    Ok(())
}

/// Rows of each resource in the order of `--sort-by`.
fn sorted(sheets: &mut Vec<Sheet>, by: &str) -> Result<(), Fail> {
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
            // kubectl shows nothing where none of several rows has the field.
            if table::sort(rows, by).is_err() && rows.len() > 1 {
                rows.clear();
            }
        }
    }
    *sheets = merged;
    Ok(())
}

async fn print_objects(ctx: &Ctx, asked: Asked, format: &Format) -> Result<(), Fail> {
    let single = matches!(&asked, Asked::Objects(infos, _) if infos.len() == 1);
    let (mut found, mut failures): (Vec<Value>, Vec<Fail>) = (vec![], vec![]);
    let ignore = ctx.flags.is("ignore-not-found");
    match asked {
        Asked::Objects(infos, unread) => {
            failures = unread;
            for info in infos {
                match fetch(ctx, &info, JSON).await {
                    Ok(object) => found.push(object),
                    Err(fail) if fail.is_not_found() && ignore => {}
                    Err(fail @ (Fail::Api(_) | Fail::Text(_))) => failures.push(fail),
                    Err(other) => return Err(other),
                }
            }
        }
        Asked::Lists(listings) => {
            for listing in listings {
                match pages(ctx, &listing, JSON).await {
                    Ok(pages) => {
                        for page in pages {
                            found.extend(items_of(&page, &listing.resource));
                        }
                    }
                    Err(fail @ Fail::Api(_)) => failures.push(fail),
                    Err(other) => return Err(other),
                }
            }
        }
    }
    let sort = ctx.flags.text("sort-by");
    if !sort.is_empty() {
        table::sort(&mut found, sort).map_err(Fail::Text)?;
    }
    if single {
        if let Some(object) = found.first() {
            ctx.out(format.print(object, true)?);
        }
        return Fail::join(failures);
    }
    if found.is_empty() && (ignore || format.is_name()) {
        return Fail::join(failures);
    }
    let list =
        json!({"apiVersion": "v1", "items": found, "kind": "List", "metadata": {"resourceVersion": ""}});
    ctx.out(format.print(&list, true)?);
    Fail::join(failures)
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

/// Prints what there is (unless `--watch-only`), then every change.
async fn watch(ctx: &Ctx, asked: Asked, format: Option<Format>) -> Result<(), Fail> {
    let (resource, path, first, start) = match asked {
        Asked::Objects(infos, _) => match infos.as_slice() {
            [info] => {
                let selector = format!("metadata.name={}", info.name);
                (info.resource.clone(), info.collection(), Ok(info.clone()), Some(selector))
            }
            many => {
                for info in many {
                    fetch(ctx, info, TABLE).await?;
                }
                return text(format!(
                    "watch is only supported on individual resources and resource collections - {} resources were found",
                    many.len()
                ));
            }
        },
        Asked::Lists(lists) => match lists.as_slice() {
            [one] => (
                one.resource.clone(),
                paths::collection(&one.resource, &one.namespace),
                Err(one.clone()),
                None,
            ),
            _ => return text("you may only specify a single resource type"),
        },
    };
    let accept = if format.is_some() { JSON } else { TABLE };
    let pages = match &first {
        Ok(info) => vec![fetch(ctx, info, accept).await?],
        Err(listing) => pages(ctx, listing, accept).await?,
    };
    let mut view = View {
        ctx,
        head: Head::default(),
        widths: Remembering::default(),
        shown: Shown {
            namespace: ctx.flags.is("all-namespaces") && resource.namespaced,
            kind: ctx.flags.is("show-kind").then(|| resource.kind_group()),
            ..shown(ctx)
        },
        events: ctx.flags.is("output-watch-events"),
        format,
        resource: resource.clone(),
        started: false,
    };
    let version = match &first {
        Ok(_) => "0".to_string(),
        Err(_) => pages.first().map_or(String::new(), |p| value::text(p, "metadata.resourceVersion").into()),
    };
    if !ctx.flags.is("watch-only") {
        for page in &pages {
            view.page(page)?;
        }
    }
    let mut query = builder::selectors(ctx);
    query.retain(|(key, _)| start.is_none() || *key != "fieldSelector");
    if let Some(selector) = &start {
        query.push(("fieldSelector", selector));
    }
    query.extend([("resourceVersion", version.as_str()), ("watch", "true")]);
    let mut events = ctx.api().await?.watch(&path, &query, accept).await?;
    // The first event of one object's watch says what was just printed.
    let mut skip = start.is_some();
    ctx.output.flush().await;
    while let Some(event) = events.next().await {
        if std::mem::take(&mut skip) {
            continue;
        }
        view.event(&event)?;
        ctx.output.flush().await;
    }
    Ok(())
}

/// What a watch has printed so far.
struct View<'a> {
    ctx: &'a Ctx,
    head: Head,
    widths: Remembering,
    shown: Shown,
    events: bool,
    format: Option<Format>,
    resource: Arc<Resource>,
    started: bool,
}

impl View<'_> {
    fn page(&mut self, page: &Value) -> Result<(), Fail> {
        if let Some(format) = &self.format {
            let items =
                if page.get("items").is_some() { items_of(page, &self.resource) } else { vec![page.clone()] };
            for item in items {
                let shown = if self.events { json!({"type": "ADDED", "object": item}) } else { item };
                self.ctx.out(format.print(&shown, true)?);
            }
            return Ok(());
        }
        self.rows(page, "ADDED");
        Ok(())
    }

    fn rows(&mut self, page: &Value, kind: &str) {
        let head = Head::of(page);
        if !head.is_empty() {
            self.head = head;
        }
        let mut rows = vec![];
        let found = value::list(page, "rows");
        if !self.started && !self.shown.no_headers && !found.is_empty() {
            let mut header = self.head.header(&self.shown);
            if self.events {
                header.insert(0, "EVENT".into());
            }
            rows.push(header);
        }
        self.started |= !found.is_empty();
        for row in found {
            let mut cells = self.head.row(row, &self.shown);
            if self.events {
                // As wide for every event, so that the columns stay where they are.
                cells.insert(0, format!("{kind:<8}"));
            }
            rows.push(cells);
        }
        self.ctx.out(self.widths.rows(&rows));
    }

    fn event(&mut self, event: &Value) -> Result<(), Fail> {
        let (kind, object) = (value::text(event, "type"), value::at(event, "object"));
        match (&self.format, kind) {
            (_, "BOOKMARK") => {}
            (_, "ERROR") => {
                return text(format!(
                    "unable to decode an event from the watch stream: {}",
                    quote(value::text(object, "message"))
                ));
            }
            (Some(format), _) => {
                let shown = if self.events { event.clone() } else { object.clone() };
                self.ctx.out(format.print(&shown, true)?);
            }
            (None, _) => self.rows(object, kind),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::{Server, at, config_map};
    use serde_json::json;

    #[tokio::test]
    async fn a_watch_prints_the_header_of_its_columns_once() {
        let server = Server::start().await;
        for name in ["a", "b"] {
            server.hold(&at(name), config_map(name, json!({})));
        }
        let said = server.kubectl(&["get", "cm", "-w", "-o", "custom-columns=NAME:.metadata.name"]).await;
        assert_eq!((said.code, said.out.as_str()), (0, "NAME\na\nb\n"), "{said:?}");
        let table = json!({"kind": "Table", "columnDefinitions": [{"name": "Name", "type": "string", "format": "name"}],
            "rows": [{"cells": ["a"], "object": {}}]});
        let server = Server::start_with(move |asked| {
            (asked.path.contains("configmaps") && !asked.query.contains("watch"))
                .then(|| (200, table.clone()))
        })
        .await;
        let said = server.kubectl(&["get", "cm", "-w", "--output-watch-events"]).await;
        assert_eq!((said.code, said.out.as_str()), (0, "EVENT      NAME\nADDED      a\n"), "{said:?}");
        let said = server.kubectl(&["get", "cm", "--sort-by=.nope"]).await;
        assert_eq!(said.out, "NAME\na\n", "one row needs no order");
        let said = server.kubectl(&["get", "cm,cm,configmap"]).await;
        assert_eq!(said.out, "NAME\na\n", "a resource is shown once");
        let said = server.kubectl(&["get", "cm", "--subresource=status"]).await;
        assert_eq!(said.err, "error: subresource cannot be used when bulk resources are specified\n");
        let said = server.kubectl(&["get", "cm", "a", "a"]).await;
        assert_eq!(said.out, "NAME\na\na\n", "an object as often as it is named");
    }
}
