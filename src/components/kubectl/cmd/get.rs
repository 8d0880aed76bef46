//! get: one or many objects as a table or in any format, once or as they change.

use super::common::ask_raw;
use super::pages::{Sheet, fetch, items_of, pages, sorted, table_options};
use crate::builder::{self, Selection};
use crate::ctx::Ctx;
use crate::error::{Fail, text};
use crate::info::Options;
use crate::print::formats::{self, Format};
use crate::print::tab::Remembering;
use crate::print::table::{self, Head};
use crate::wire::api::{JSON, TABLE};
use api::gostr::quote;
use api::value;
use client::discovery::Resource;
use serde_json::{Value, json};
use std::sync::Arc;

const UNTYPED: &str = "You must specify the type of resource to get. Use \"kubectl api-resources\" for a complete list of supported resources.";

pub(crate) async fn run(ctx: &Ctx) -> Result<(), Fail> {
    let raw = ctx.flags.text("raw");
    if !raw.is_empty() {
        return self::raw(ctx, raw).await;
    }
    let format = formats::of(ctx, true)?;
    let watching = ctx.flags.is("watch") || ctx.flags.is("watch-only");
    // A watch without a type gets the words of the builder, as in kubectl.
    if ctx.args.is_empty() && !ctx.names_files() && !watching {
        let path = ctx.command_path();
        ctx.output.err(&format!("{UNTYPED}\n\n"));
        return Err(Fail::Text(format!(
            "Required resource not specified.\nUse \"kubectl explain <resource>\" for a detailed description of that resource (e.g. kubectl explain pods).\nSee '{path} -h' for help and examples"
        )));
    }
    let output = ctx.flags.text("output");
    if ctx.flags.is("show-labels") && !matches!(output, "" | "wide") {
        return text(format!("--show-labels option cannot be used with {output} printer"));
    }
    if ctx.flags.is("output-watch-events") && !watching {
        return text("--output-watch-events option can only be used with --watch or --watch-only");
    }
    let all_namespaces = ctx.flags.is("all-namespaces");
    let options = Options { all_by_type: true, all_namespaces, latest: true, ..Options::default() };
    let mut selection = builder::select(ctx, &ctx.args, options).await?;
    if watching {
        Fail::join(selection.take_unread())?;
        return super::get_watch::run(ctx, selection, format).await;
    }
    match format {
        Some(format) => print_objects(ctx, selection, &format).await,
        None => {
            // The failures of tables are an aggregate to kubectl, also where there is but one.
            selection.print_unread_plainly();
            print_tables(ctx, selection).await
        }
    }
}

async fn raw(ctx: &Ctx, path: &str) -> Result<(), Fail> {
    if !ctx.args.is_empty() {
        return text("arguments may not be passed when --raw is specified");
    }
    if ctx.flags.is("watch") || ctx.flags.is("watch-only") || !ctx.flags.text("selector").is_empty() {
        return text(
            "--raw may not be specified with other flags that filter the server request or alter the output",
        );
    }
    if !ctx.flags.text("output").is_empty() {
        return text("--raw and --output are mutually exclusive");
    }
    if !path.starts_with('/') {
        return text(format!(
            "--raw must be a valid URL path: parse {}: invalid URI for request",
            quote(path)
        ));
    }
    ask_raw(ctx, http::Method::GET, path, bytes::Bytes::new()).await
}

/// Reads everything that was selected as tables, in order. Refusals go to `failures`.
async fn tables(ctx: &Ctx, mut selection: Selection, failures: &mut Vec<Fail>) -> Result<Vec<Sheet>, Fail> {
    failures.append(&mut selection.take_unread());
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
    match selection {
        Selection::Objects(infos, _) => {
            for info in infos {
                let answer = fetch(ctx, &info, TABLE).await.map(|t| vec![t]);
                keep(&info.resource, answer)?;
            }
        }
        Selection::Lists(listings) => {
            for listing in listings {
                let answer = pages(ctx, &listing, TABLE).await;
                keep(&listing.resource, answer)?;
            }
        }
    }
    Ok(found)
}

fn namespaced(selection: &Selection) -> bool {
    match selection {
        Selection::Objects(infos, _) => infos.iter().all(|i| i.resource.namespaced),
        Selection::Lists(lists) => lists.iter().all(|l| l.resource.namespaced),
    }
}

async fn print_tables(ctx: &Ctx, selection: Selection) -> Result<(), Fail> {
    let all_namespaced = namespaced(&selection);
    let mut failures = vec![];
    let mut sheets = tables(ctx, selection, &mut failures).await?;
    // Names have a prefix where several resources could be read, also if they have no objects.
    let prefixed = ctx.flags.is("show-kind") || sheets.windows(2).any(|w| w[0].0 != w[1].0);
    let sort = ctx.flags.text("sort-by");
    if !sort.is_empty() {
        sorted(&mut sheets, sort)?;
    }
    let base = table_options(ctx);
    let (mut printed, mut with_namespace) = (false, false);
    let mut at = 0;
    while at < sheets.len() {
        let resource = sheets[at].0.clone();
        let end = sheets[at..].iter().position(|(r, _)| r != &resource).map_or(sheets.len(), |n| at + n);
        let group = &sheets[at..end];
        at = end;
        let mut options = base.clone();
        // The column stays for later resources that have no namespace: kubectl's printers share it.
        with_namespace |= ctx.flags.is("all-namespaces") && resource.namespaced;
        options.namespace = with_namespace;
        options.kind = prefixed.then(|| resource.kind_group());
        let mut rows: Vec<Vec<String>> = vec![];
        for (_, table) in group {
            let head = Head::of(table);
            if rows.is_empty() && !options.no_headers && !value::list(table, "rows").is_empty() {
                rows.push(head.header(&options));
            }
            rows.extend(value::list(table, "rows").iter().map(|row| head.row(row, &options)));
        }
        if rows.is_empty() {
            continue;
        }
        if printed && !options.no_headers {
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

async fn print_objects(ctx: &Ctx, selection: Selection, format: &Format) -> Result<(), Fail> {
    // Several files, or standard input, are a list also where they have one object.
    let means_one = builder::means_one(ctx, &ctx.args);
    let single = matches!(&selection, Selection::Objects(infos, _) if infos.len() == 1)
        && (!ctx.names_files() || means_one);
    let (mut found, mut failures): (Vec<Value>, Vec<Fail>) = (vec![], vec![]);
    let ignore = ctx.flags.is("ignore-not-found");
    match selection {
        Selection::Objects(infos, unread) => {
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
        Selection::Lists(listings) => {
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
    // Of one file whose objects cannot all be read nothing is printed: a list would say that it
    // names no more. A table has those that could be read. Source: kubectl's `GetOptions.Run` and
    // `printGeneric`.
    if means_one {
        Fail::join(std::mem::take(&mut failures))?;
    }
    if single {
        if let Some(object) = found.first() {
            ctx.out(format.print(object, true)?);
        }
        return Fail::join(failures);
    }
    let sort = ctx.flags.text("sort-by");
    if !sort.is_empty() {
        table::sort(&mut found, sort)?;
    }
    if found.is_empty() && (ignore || format.is_name()) {
        return Fail::join(failures);
    }
    let list =
        json!({"apiVersion": "v1", "items": found, "kind": "List", "metadata": {"resourceVersion": ""}});
    ctx.out(format.print(&list, true)?);
    Fail::join(failures)
}

#[cfg(test)]
mod tests {
    use crate::Env;
    use crate::testing::{Server, at, config_map, refusal};
    use serde_json::{Value, json};

    #[tokio::test]
    async fn one_object_of_standard_input_or_of_two_files_is_a_list() {
        let (server, dir) = (Server::start().await, tempfile::tempdir().unwrap());
        let a = config_map("a", json!({}));
        server.hold(&at("a"), a.clone());
        for (file, text) in [("a.yaml", a.to_string()), ("empty.yaml", String::new())] {
            std::fs::write(dir.path().join(file), text).unwrap();
        }
        let path = |file: &str| dir.path().join(file).display().to_string();
        let (file, empty) = (path("a.yaml"), path("empty.yaml"));
        let kind = ["get", "-o", "jsonpath={.kind}"];
        for (files, want) in [
            (vec!["-f", &file], "ConfigMap"),
            (vec!["-f", "-"], "List"),
            (vec!["-f", &file, "-f", &empty], "List"),
        ] {
            let words: Vec<&str> = kind.iter().copied().chain(files.iter().copied()).collect();
            let result = server.kubectl_in(&words, &a.to_string(), Env::default()).await;
            assert_eq!((result.code, result.out.as_str()), (0, want), "{files:?}: {result:?}");
        }
        std::fs::remove_file(&empty).unwrap();
        let folder = dir.path().display().to_string();
        let result = server.kubectl(&[&kind[..], &["-f", &folder]].concat()).await;
        assert_eq!(result.out, "ConfigMap", "a folder with one manifest: {result:?}");
    }

    #[tokio::test]
    async fn the_column_of_namespaces_stays_for_what_follows() {
        let server = Server::start_with(|request| {
            let column = json!({"name": "Name", "type": "string", "format": "name"});
            let table = |metadata: Value| {
                let row = json!({"cells": ["a"], "object": {"metadata": metadata}});
                (200, json!({"kind": "Table", "columnDefinitions": [column], "rows": [row]}))
            };
            match request.path.as_str() {
                "/api/v1/configmaps" => Some(table(json!({"name": "a", "namespace": "n"}))),
                "/api/v1/namespaces" => Some(table(json!({"name": "a"}))),
                _ => None,
            }
        })
        .await;
        let (map, space) = ("NAMESPACE   NAME\nn           configmap/a\n", "NAME\nnamespace/a\n");
        for (kinds, out) in [
            ("cm,ns", format!("{map}\nNAMESPACE   NAME\n            namespace/a\n")),
            ("ns,cm", format!("{space}\n{map}")),
        ] {
            let result = server.kubectl(&["get", kinds, "-A"]).await;
            assert_eq!((result.code, result.out), (0, out), "{kinds}");
        }
    }

    /// An API server behind an APIService may have no tables.
    #[tokio::test]
    async fn objects_of_a_server_without_tables_have_names_and_ages() {
        let server = Server::start().await;
        for name in ["a", "b"] {
            server.hold(&at(name), config_map(name, json!({"x": name})));
        }
        for (words, want) in [
            (&["cm", "a"][..], "NAME   AGE\na      <unknown>\n"),
            (&["cm", "-L", "x"], "NAME   AGE         X\na      <unknown>   a\nb      <unknown>   b\n"),
            (&["cm", "-w", "--no-headers"], "a     <unknown>\nb     <unknown>\n"),
        ] {
            let result = server.kubectl(&[&["get"], words].concat()).await;
            assert_eq!(result.out, want, "{words:?}: {result:?}");
        }
    }

    #[tokio::test]
    async fn one_object_is_not_sorted() {
        let server = Server::start().await;
        server.hold(&at("a"), config_map("a", json!({})));
        for (words, code) in [(&["get", "cm", "a"][..], 0), (&["get", "cm"], 1)] {
            let result = server.kubectl(&[words, &["-o", "name", "--sort-by=.none"]].concat()).await;
            assert_eq!(result.code, code, "{words:?}: {result:?}");
        }
    }

    #[tokio::test]
    async fn of_a_file_with_an_unknown_kind_a_table_has_the_other_objects() {
        let server = Server::start_with(|request| {
            let column = json!({"name": "Name", "type": "string", "format": "name"});
            let row = json!({"cells": ["a"], "object": {"metadata": {"name": "a"}}});
            let table = json!({"kind": "Table", "columnDefinitions": [column], "rows": [row]});
            (request.path == at("a")).then_some((200, table))
        })
        .await;
        let dir = tempfile::tempdir().unwrap();
        let unknown = json!({"apiVersion": "v1", "kind": "Foo", "metadata": {"name": "b"}});
        let file = dir.path().join("both.yaml");
        std::fs::write(&file, format!("{}\n{unknown}\n", config_map("a", json!({})))).unwrap();
        let file = file.display().to_string();
        for (output, out) in [(None, "NAME\na\n"), (Some("-oname"), "")] {
            let words: Vec<&str> = ["get", "-f", &file].into_iter().chain(output).collect();
            let result = server.kubectl(&words).await;
            assert_eq!((result.code, result.out.as_str()), (1, out), "{result:?}");
            assert!(result.err.contains("no matches for kind \"Foo\""), "{result:?}");
        }
    }

    #[tokio::test]
    async fn a_file_is_printed_whole_or_not_at_all() {
        let server = Server::start().await;
        server.hold(&at("a"), config_map("a", json!({})));
        let dir = tempfile::tempdir().unwrap();
        let file = |name: &str, objects: &[&str]| {
            let path = dir.path().join(name).display().to_string();
            let texts: Vec<String> = objects.iter().map(|o| config_map(o, json!({})).to_string()).collect();
            std::fs::write(&path, texts.join("\n---\n")).unwrap();
            path
        };
        let (both, one) = (file("both.yaml", &["a", "gone"]), file("one.yaml", &["a"]));
        let (alone, two) = (vec!["-f", &both], vec!["-f", &both, "-f", &one]);
        for (files, out) in [(alone, ""), (two, "configmap/a\nconfigmap/a\n")] {
            let words: Vec<&str> = ["get", "-o", "name"].into_iter().chain(files).collect();
            let result = server.kubectl(&words).await;
            assert_eq!((result.code, result.out.as_str()), (1, out), "{result:?}");
            assert!(result.err.contains("gone not found"), "{result:?}");
        }
        let result = server.kubectl(&["get", "-o", "name", "-f", &both, "--ignore-not-found"]).await;
        assert_eq!((result.code, result.out.as_str()), (0, "configmap/a\n"), "{result:?}");
        let broken = dir.path().join("broken.yaml").display().to_string();
        std::fs::write(&broken, "kind: [").unwrap();
        for (how, want) in [("-owide", "error parsing "), ("-oname", "error: error parsing ")] {
            let result = server.kubectl(&["get", how, "-f", &broken]).await;
            assert!(result.code == 1 && result.err.starts_with(want), "{result:?}");
        }
    }

    #[tokio::test]
    async fn flags_that_exclude_each_other_are_refused() {
        let server = Server::start().await;
        let filtered =
            "--raw may not be specified with other flags that filter the server request or alter the output";
        for (words, why) in [
            ("--raw /healthz -w", filtered),
            ("--raw /healthz --watch-only", filtered),
            ("--raw /healthz -l a=b", filtered),
            ("--raw /healthz -o json", "--raw and --output are mutually exclusive"),
            ("cm --show-labels -o json", "--show-labels option cannot be used with json printer"),
        ] {
            let line: Vec<&str> = ["get"].into_iter().chain(words.split(' ')).collect();
            let result = server.kubectl(&line).await;
            assert_eq!((result.code, result.err), (1, format!("error: {why}\n")), "{words}");
        }
        assert!(server.requests().is_empty(), "nothing was asked");
    }

    #[tokio::test]
    async fn names_are_of_one_resource_and_one_namespace_or_of_none() {
        let server = Server::start_with(|request| {
            let of = |kind: &str| {
                json!({"resource": kind.to_lowercase(), "responseKind": {"kind": kind}, "scope": "Namespaced",
                    "verbs": ["get", "list"], "categories": ["all"]})
            };
            let versions = json!([{"version": "v1", "resources": [of("A"), of("B")]}]);
            let groups = json!([{"metadata": {"name": "g"}, "versions": versions}]);
            let list = || (200, json!({"kind": "APIGroupDiscoveryList", "items": groups}));
            (request.path == "/apis").then(list)
        })
        .await;
        let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "n"}});
        server.hold("/api/v1/namespaces/n", namespace);
        server.hold(&at("n"), config_map("n", json!({})));
        let across = "a resource cannot be retrieved by name across all namespaces";
        for (words, out, why) in [
            ("ns n -A", "namespace/n\n", ""),
            ("ns/n -A", "namespace/n\n", ""),
            ("cm n -A", "", across),
            ("ns/n cm/n -A", "", across),
            ("cm,ns,cm n", "configmap/n\nnamespace/n\n", ""),
            ("cm, ns", "", "arguments in resource/name form must have a single resource and name"),
            ("all n", "", "you must specify only one resource"),
        ] {
            let line: Vec<&str> = ["get", "-o", "name"].into_iter().chain(words.split(' ')).collect();
            let result = server.kubectl(&line).await;
            let err = if why.is_empty() { String::new() } else { format!("error: {why}\n") };
            assert_eq!((result.out.as_str(), result.err), (out, err), "{words}");
        }
    }

    #[tokio::test]
    async fn names_have_a_prefix_where_several_resources_could_be_read() {
        let server = Server::start_with(|request| {
            let column = json!({"name": "Name", "type": "string", "format": "name"});
            let row = json!({"cells": ["a"], "object": {"metadata": {"name": "a"}}});
            let table =
                |rows: &[Value]| json!({"kind": "Table", "columnDefinitions": [column], "rows": rows});
            match request.path.rsplit('/').next() {
                Some("configmaps") => Some((200, table(std::slice::from_ref(&row)))),
                Some("services") => Some((200, table(&[]))),
                Some("pods") => Some(refusal(403, "Forbidden", "you may not")),
                _ => None,
            }
        })
        .await;
        for (kinds, want) in [("cm,svc", "NAME\nconfigmap/a\n"), ("cm,pods", "NAME\na\n")] {
            let result = server.kubectl(&["get", kinds]).await;
            assert_eq!(result.out, want, "{kinds}: {result:?}");
        }
    }

    #[tokio::test]
    async fn a_resource_is_listed_once_and_an_object_as_often_as_it_is_named() {
        let table = json!({"kind": "Table", "columnDefinitions": [{"name": "Name", "type": "string", "format": "name"}],
            "rows": [{"cells": ["a"], "object": {}}]});
        let server = Server::start_with(move |request| {
            request.path.contains("configmaps").then(|| (200, table.clone()))
        })
        .await;
        let result = server.kubectl(&["get", "cm", "--sort-by=.nope"]).await;
        assert_eq!(result.out, "NAME\na\n", "one row needs no order");
        let result = server.kubectl(&["get", "cm,cm,configmap"]).await;
        assert_eq!(result.out, "NAME\na\n", "a resource is shown once");
        let result = server.kubectl(&["get", "cm", "--subresource=status"]).await;
        assert_eq!(result.err, "error: subresource cannot be used when bulk resources are specified\n");
        let result = server.kubectl(&["get", "cm", "a", "a"]).await;
        assert_eq!(result.out, "NAME\na\na\n", "an object as often as it is named");
    }
}
