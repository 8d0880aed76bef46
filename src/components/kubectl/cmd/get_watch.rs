//! get --watch: what there is, and every change of it.

use super::pages::{Sheet, as_table, fetch, items_of, pages, sorted, table_options};
use crate::builder::Selection;
use crate::ctx::Ctx;
use crate::error::{Fail, text};
use crate::info::Info;
use crate::lists::{self, Listing};
use crate::print::formats::Format;
use crate::print::tab::Remembering;
use crate::print::table::{Head, TableOptions};
use crate::wire::api::{JSON, TABLE};
use crate::wire::paths;
use api::gostr::quote;
use api::value;
use client::discovery::Resource;
use serde_json::Value;
use std::sync::Arc;

/// The object or the resource that is watched.
struct Watched {
    resource: Arc<Resource>,
    /// The path of the collection.
    path: String,
    /// The first read: of one object, or of the list.
    first: Result<Info, Listing>,
    /// The field selector of the one object.
    selector: Option<String>,
}

fn watched(selection: Selection) -> Result<Watched, Fail> {
    match selection {
        Selection::Objects(infos, _) => match infos.as_slice() {
            [info] => {
                let selector = format!("metadata.name={}", info.name);
                let (resource, path) = (info.resource.clone(), info.collection());
                Ok(Watched { resource, path, first: Ok(info.clone()), selector: Some(selector) })
            }
            // Several are shown by `show_several`, so this is none: files without objects.
            _ => text("there is no object to watch in these files"),
        },
        Selection::Lists(lists) => match lists.as_slice() {
            [one] => {
                let path = paths::collection(&one.resource, &one.namespace);
                Ok(Watched { resource: one.resource.clone(), path, first: Err(one.clone()), selector: None })
            }
            _ => text("you may only specify a single resource type"),
        },
    }
}

/// Prints several objects that were named, which cannot be watched. Source: kubectl's
/// `GetOptions.watch`, and `Result.Watch` of its builder.
///
/// # Errors
/// Always, unless one of them does not exist and `--ignore-not-found` allows it.
async fn show_several(ctx: &Ctx, infos: &[Info], format: Option<Format>) -> Result<(), Fail> {
    let resource = &infos[0].resource;
    if !ctx.names_files() && infos.iter().any(|info| info.resource != *resource) {
        return text("you may only specify a single resource type");
    }
    let accept = if format.is_some() { JSON } else { TABLE };
    let mut pages = vec![];
    for info in infos {
        match fetch(ctx, info, accept).await {
            Err(fail) if fail.is_not_found() && ctx.flags.is("ignore-not-found") => return Ok(()),
            found => pages.push(found?),
        }
    }
    if !ctx.flags.is("watch-only") {
        View::new(ctx, resource, format, &pages).pages(&pages)?;
    }
    match ctx.names_files() {
        true => text(format!(
            "watch is only supported on individual resources and resource collections - {} resources were found",
            infos.len()
        )),
        false => text("you may only watch a single resource or type of resource at a time"),
    }
}

/// `--sort-by` orders the rows of what there is. Objects in a format are printed one by one, so
/// that a list of them has no order, and neither has what comes later.
fn in_order(ctx: &Ctx, resource: &Arc<Resource>, pages: Vec<Value>) -> Result<Vec<Value>, Fail> {
    let mut sheets: Vec<Sheet> = pages.into_iter().map(|page| (resource.clone(), page)).collect();
    sorted(&mut sheets, ctx.flags.text("sort-by"))?;
    Ok(sheets.into_iter().map(|(_, page)| page).collect())
}

/// Prints what there is (unless `--watch-only`), then every change.
pub(super) async fn run(ctx: &Ctx, selection: Selection, format: Option<Format>) -> Result<(), Fail> {
    let sorts = !ctx.flags.text("sort-by").is_empty();
    match ctx.flags.is("watch") {
        _ if !sorts => {}
        true => ctx.note("warning: --watch requested, --sort-by will be ignored for watch events received"),
        false => ctx.note("warning: --watch-only requested, --sort-by will be ignored"),
    }
    if let Selection::Objects(infos, _) = &selection
        && infos.len() > 1
    {
        return show_several(ctx, infos, format).await;
    }
    let Watched { resource, path, first, selector: start } = watched(selection)?;
    let accept = if format.is_some() { JSON } else { TABLE };
    let mut pages = match &first {
        Ok(info) => match fetch(ctx, info, accept).await {
            Err(fail) if fail.is_not_found() && ctx.flags.is("ignore-not-found") => return Ok(()),
            found => vec![found?],
        },
        Err(listing) => pages(ctx, listing, accept).await?,
    };
    if sorts && accept == TABLE {
        pages = in_order(ctx, &resource, pages)?;
    }
    let mut view = View::new(ctx, &resource, format, &pages);
    let version = match &first {
        Ok(_) => "0".to_string(),
        Err(_) => pages.first().map_or(String::new(), |p| value::text(p, "metadata.resourceVersion").into()),
    };
    if !ctx.flags.is("watch-only") {
        view.pages(&pages)?;
    }
    let mut query = lists::selectors(ctx);
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

/// The printer of a watch: its format, and the state of the table that it prints row by row.
struct View<'a> {
    ctx: &'a Ctx,
    head: Head,
    widths: Remembering,
    options: TableOptions,
    events: bool,
    format: Option<Format>,
    resource: Arc<Resource>,
    started: bool,
}

impl<'a> View<'a> {
    /// A view that has printed nothing yet. `pages`: what there is, which has the columns.
    fn new(ctx: &'a Ctx, resource: &Arc<Resource>, format: Option<Format>, pages: &[Value]) -> View<'a> {
        View {
            ctx,
            // Of one object's watch only the first event has columns, and that one is skipped.
            head: pages.first().map_or_else(Head::default, Head::of),
            widths: Remembering::default(),
            options: TableOptions {
                namespace: ctx.flags.is("all-namespaces") && resource.namespaced,
                kind: ctx.flags.is("show-kind").then(|| resource.kind_group()),
                ..table_options(ctx)
            },
            events: ctx.flags.is("output-watch-events"),
            format,
            resource: resource.clone(),
            started: false,
        }
    }

    /// Prints what there is: the pages of a list, or objects.
    fn pages(&mut self, pages: &[Value]) -> Result<(), Fail> {
        let Some(format) = &self.format else {
            pages.iter().for_each(|page| self.rows(page, "ADDED"));
            return Ok(());
        };
        let mut objects = vec![];
        for page in pages {
            match page.get("items") {
                Some(_) => objects.extend(items_of(page, &self.resource)),
                None => objects.push(page.clone()),
            }
        }
        self.ctx.out(match self.events {
            true => format.print_events("ADDED", &objects)?,
            false => format.print_each(&objects)?,
        });
        Ok(())
    }

    fn rows(&mut self, page: &Value, kind: &str) {
        let head = Head::of(page);
        if !head.is_empty() {
            self.head = head;
        }
        let mut rows = vec![];
        let found = value::list(page, "rows");
        if !self.started && !self.options.no_headers && !found.is_empty() {
            let mut header = self.head.header(&self.options);
            if self.events {
                header.insert(0, "EVENT".into());
            }
            rows.push(header);
        }
        self.started |= !found.is_empty();
        for row in found {
            let mut cells = self.head.row(row, &self.options);
            if self.events {
                // The cell is as wide for every event, so that the columns stay where they are.
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
                self.ctx.out(match self.events {
                    true => format.print_events(kind, std::slice::from_ref(object))?,
                    false => format.print(object, true)?,
                });
            }
            (None, _) => self.rows(&as_table(object.clone()), kind),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::{Server, at, config_map};
    use serde_json::{Value, json};

    #[tokio::test]
    async fn columns_of_a_watch_are_as_wide_as_all_that_is_there() {
        let server = Server::start().await;
        for name in ["a", "longer-name"] {
            server.hold(&at(name), config_map(name, json!({})));
        }
        let columns = "custom-columns=NAME:.metadata.name,KIND:.kind";
        let result = server.kubectl(&["get", "cm", "-w", "-o", columns]).await;
        let want = [("NAME", "KIND"), ("a", "ConfigMap"), ("longer-name", "ConfigMap")];
        let want = want.map(|(name, kind)| format!("{name:<14}{kind}\n")).concat();
        assert_eq!((result.code, result.out), (0, want));
    }

    #[tokio::test]
    async fn events_have_the_names_of_their_objects_and_are_lines_of_json() {
        let server = Server::start().await;
        for name in ["a", "b"] {
            server.hold(&at(name), config_map(name, json!({})));
        }
        let line = ["get", "cm", "-w", "--output-watch-events", "-o"];
        let result = server.kubectl(&[&line[..], &["name"]].concat()).await;
        assert_eq!((result.code, result.out.as_str()), (0, "configmap/a\nconfigmap/b\n"), "{result:?}");
        let result = server.kubectl(&[&line[..], &["json"]].concat()).await;
        let lines: Vec<&str> = result.out.lines().collect();
        assert_eq!(lines.len(), 2, "{result:?}");
        for line in lines {
            assert!(line.starts_with(r#"{"type":"ADDED","object":{"apiVersion":"v1","#), "{result:?}");
        }
    }

    #[tokio::test]
    async fn a_watch_of_an_object_that_is_not_there_may_be_silent() {
        let server = Server::start().await;
        let line = ["get", "cm", "nope", "-w"];
        let result = server.kubectl(&line).await;
        assert!(result.code == 1 && result.err.contains("not found"), "{result:?}");
        let result = server.kubectl(&[&line[..], &["--ignore-not-found"]].concat()).await;
        assert_eq!((result.code, result.out.as_str(), result.err.as_str()), (0, "", ""));
    }

    #[tokio::test]
    async fn a_watch_sorts_what_is_there_and_says_that_events_are_not_sorted() {
        let row = |name: &str| json!({"cells": [name], "object": {"metadata": {"name": name}}});
        let table = json!({"kind": "Table", "columnDefinitions": [{"name": "Name", "type": "string", "format": "name"}],
            "rows": [row("b"), row("a")]});
        let server = Server::start_with(move |request| {
            (request.path.contains("configmaps") && !request.query.contains("watch"))
                .then(|| (200, table.clone()))
        })
        .await;
        let result = server.kubectl(&["get", "cm", "-w", "--sort-by=.metadata.name"]).await;
        assert_eq!((result.code, result.out.as_str()), (0, "NAME\na\nb\n"), "{result:?}");
        let want = "warning: --watch requested, --sort-by will be ignored for watch events received\n";
        assert_eq!(result.err, want);
        let result = server.kubectl(&["get", "cm", "--watch-only", "--sort-by=.metadata.name"]).await;
        assert_eq!(result.err, "warning: --watch-only requested, --sort-by will be ignored\n");
    }

    #[tokio::test]
    async fn several_objects_are_shown_and_not_watched() {
        let server = Server::start().await;
        for name in ["a", "b"] {
            server.hold(&at(name), config_map(name, json!({})));
        }
        let one = "error: you may only watch a single resource or type of resource at a time\n";
        for (words, out, err) in [
            (&["cm", "a", "b", "-w"][..], "configmap/a\nconfigmap/b\n", one),
            (&["cm/a", "cm/b", "--watch-only"], "", one),
            (&["cm/a", "ns/n", "-w"], "", "error: you may only specify a single resource type\n"),
        ] {
            let result = server.kubectl(&[&["get", "-o", "name"], words].concat()).await;
            let got = (result.code, result.out.as_str(), result.err.as_str());
            assert_eq!(got, (1, out, err), "{words:?}");
        }
    }

    #[tokio::test]
    async fn a_watch_of_nothing_is_refused() {
        let result = Server::start().await.kubectl(&["get", "-w"]).await;
        assert!(
            result.code == 1 && result.err.starts_with("error: You must provide one or more"),
            "{result:?}"
        );
    }

    #[tokio::test]
    async fn a_watch_of_one_object_knows_its_columns() {
        let server = Server::start_with(|request| {
            let columns = json!([{"name": "Name", "type": "string", "format": "name"}]);
            let table = |columns: &Value| {
                let row = json!({"cells": ["a"], "object": {"metadata": {"name": "a"}}});
                json!({"kind": "Table", "columnDefinitions": columns, "rows": [row]})
            };
            let event = |columns: &Value| json!({"type": "MODIFIED", "object": table(columns)});
            match (request.path == at("a"), request.query.contains("watch=true")) {
                (true, _) => Some((200, table(&columns))),
                (_, true) => Some((200, json!({"events": [event(&columns), event(&Value::Null)]}))),
                _ => None,
            }
        })
        .await;
        for (flag, out) in [("--watch-only", "NAME\na\n"), ("--watch", "NAME\na\na\n")] {
            let result = server.kubectl(&["get", "cm", "a", flag]).await;
            assert_eq!((result.code, result.out.as_str()), (0, out), "{flag}: {result:?}");
        }
    }

    /// Lessons count what the user has seen, so not a list that kubectl reads and does not print.
    /// `only` is `tap::WATCH_ONLY`.
    #[tokio::test]
    async fn a_header_says_whether_the_list_before_a_watch_is_printed() {
        let server = Server::start().await;
        server.hold(&at("a"), config_map("a", json!({})));
        for (line, want) in [("get cm --watch-only", "only"), ("get cm -w", "true"), ("get cm", "")] {
            let words: Vec<&str> = line.split(' ').collect();
            server.kubectl(&words).await;
            let request = server.requests().pop().expect("a request");
            assert_eq!(request.watch, want, "{line}");
        }
    }

    #[tokio::test]
    async fn a_watch_prints_the_header_of_its_columns_once() {
        let server = Server::start().await;
        for name in ["a", "b"] {
            server.hold(&at(name), config_map(name, json!({})));
        }
        let result = server.kubectl(&["get", "cm", "-w", "-o", "custom-columns=NAME:.metadata.name"]).await;
        assert_eq!((result.code, result.out.as_str()), (0, "NAME\na\nb\n"), "{result:?}");
        let table = json!({"kind": "Table", "columnDefinitions": [{"name": "Name", "type": "string", "format": "name"}],
            "rows": [{"cells": ["a"], "object": {}}]});
        let server = Server::start_with(move |request| {
            (request.path.contains("configmaps") && !request.query.contains("watch"))
                .then(|| (200, table.clone()))
        })
        .await;
        let result = server.kubectl(&["get", "cm", "-w", "--output-watch-events"]).await;
        assert_eq!((result.code, result.out.as_str()), (0, "EVENT      NAME\nADDED      a\n"), "{result:?}");
    }
}
