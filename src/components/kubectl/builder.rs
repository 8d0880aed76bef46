//! The objects that a command names: `TYPE NAME`, `TYPE/NAME`, `-l`, `--all`, `-f FILE`, as
//! objects.

use super::ctx::Ctx;
use super::error::{Fail, text};
use super::info::{Info, Options};
use super::lists::{Listing, list, selector};
use super::{beside, file_names, files};
use api::gostr::quote;
use client::discovery::Resource;
use serde_json::Value;
use std::sync::Arc;

/// The error of a command that names no object.
pub(crate) const NOTHING: &str = "You must provide one or more resources by argument or filename.\nExample resource specifications include:\n   '-f rsrc.yaml'\n   '--filename=rsrc.json'\n   '<resource> <name>'\n   '<resource>'";

/// The objects that the arguments or files of a command name, before any of them is fetched.
#[derive(Clone, Debug)]
pub(crate) enum Selection {
    /// Objects by name or from files, and why documents of the files could not be read: the others
    /// are worked on all the same.
    Objects(Vec<Info>, Vec<Fail>),
    /// Whole resources, to be listed.
    Lists(Vec<Listing>),
}

impl Selection {
    /// Prints why documents could not be read without `error: ` before each reason.
    pub(crate) fn print_unread_plainly(&mut self) {
        let Selection::Objects(_, unread) = self else { return };
        for fail in unread {
            if let Fail::Text(why) = fail {
                *fail = Fail::Plain(std::mem::take(why));
            }
        }
    }

    /// Takes out the reasons why documents could not be read.
    pub(crate) fn take_unread(&mut self) -> Vec<Fail> {
        match self {
            Selection::Objects(_, unread) => std::mem::take(unread),
            Selection::Lists(_) => vec![],
        }
    }
}

/// Finds what a command names: in files (`-f`), or by its arguments.
pub(crate) async fn select(ctx: &Ctx, args: &[String], options: Options) -> Result<Selection, Fail> {
    let named = ctx.flags.list("filename");
    if ctx.names_files() {
        if !args.is_empty() {
            return Err(beside::refusal(ctx, &named, in_pairs(args).iter().any(|arg| arg.contains('/'))));
        }
        let (infos, unread) = files::read(ctx, &named, options).await?;
        let infos = if options.latest { files::selected_there(ctx, infos, options).await? } else { infos };
        return Ok(Selection::Objects(infos, unread));
    }
    match args {
        [] if is_selected(ctx, options) => text("at least one resource must be specified to use a selector"),
        [] => text(NOTHING),
        args => by_arguments(ctx, args, options).await,
    }
}

/// Several types with names are pairs: `pods,svc web` is `pods/web svc/web`.
/// (`normalizeMultipleResourcesArgs` of kubectl's builder.)
fn in_pairs(args: &[String]) -> Vec<String> {
    let Some((types, names)) = args.split_first() else { return vec![] };
    let mut kinds: Vec<&str> = types.split(',').collect();
    let mut seen = std::collections::HashSet::new();
    kinds.retain(|kind| seen.insert(*kind));
    if names.is_empty() || kinds.len() == 1 {
        return args.to_vec();
    }
    kinds.iter().flat_map(|kind| names.iter().map(move |name| format!("{kind}/{name}"))).collect()
}

/// Returns whether the user's words name one object, however many are found: a selector means
/// several, also where one matches. (`IntoSingleItemImplied` of kubectl's builder.)
pub(crate) fn means_one(ctx: &Ctx, args: &[String]) -> bool {
    if ctx.names_files() {
        return file_names::names_one(ctx);
    }
    match in_pairs(args).as_slice() {
        [pair] => pair.contains('/'),
        [kind, _] => !kind.contains('/'),
        _ => false,
    }
}

/// As [`select`], for arguments alone, also beside files.
pub(crate) async fn by_arguments(ctx: &Ctx, args: &[String], options: Options) -> Result<Selection, Fail> {
    let args = in_pairs(args);
    let (namespace, _) = ctx.namespace()?;
    let slashes = args.iter().filter(|a| a.contains('/')).count();
    if slashes > 0 && slashes != args.len() {
        return text(
            "there is no need to specify a resource type as a separate argument when passing arguments in resource/name form (e.g. 'kubectl get resource/<resource_name>' instead of 'kubectl get resource resource/<resource_name>'",
        );
    }
    if slashes > 0 {
        return by_pairs(ctx, &args, &namespace, options).await;
    }
    let resources = resources_of(ctx, &args[0]).await?;
    let names = &args[1..];
    if !names.is_empty() {
        if is_selected(ctx, options) {
            return text("name cannot be provided when a selector is specified");
        }
        // A word such as `all` means several.
        let [resource] = resources.as_slice() else { return text("you must specify only one resource") };
        let infos = names.iter().map(|name| unread(resource, &namespace, name)).collect();
        return in_one_namespace(infos, options);
    }
    let by_selector = !selector(ctx, "selector").is_empty() || !selector(ctx, "field-selector").is_empty();
    if ctx.flags.is("all") && by_selector {
        return text("setting 'all' parameter but found a non empty selector. ");
    }
    // An empty selector, such as an unset variable leaves, selects nothing here: it must not become
    // everything.
    let selected = (by_selector && !options.other_selector) || ctx.flags.is("all");
    if !options.all_by_type && !selected {
        return text("resource(s) were provided, but no name was specified");
    }
    if !ctx.flags.text("subresource").is_empty() {
        return text("subresource cannot be used when bulk resources are specified");
    }
    let listings = resources
        .into_iter()
        .map(|resource| Listing {
            namespace: if options.all_namespaces || !resource.namespaced {
                String::new()
            } else {
                namespace.clone()
            },
            resource,
        })
        .collect();
    Ok(Selection::Lists(listings))
}

/// An object that is known by its name alone.
pub(crate) fn unread(resource: &Arc<Resource>, namespace: &str, name: &str) -> Info {
    Info {
        namespace: if resource.namespaced { namespace.to_string() } else { String::new() },
        resource: resource.clone(),
        name: name.to_string(),
        object: Value::Null,
        source: String::new(),
    }
}

/// Reads arguments of the form `pod/web`.
async fn by_pairs(ctx: &Ctx, args: &[String], namespace: &str, options: Options) -> Result<Selection, Fail> {
    let pairs = args.iter().map(|arg| type_and_name(arg)).collect::<Result<Vec<_>, Fail>>()?;
    if is_selected(ctx, options) {
        return text("selectors and the all flag cannot be used when passing resource/name arguments");
    }
    let mut infos = vec![];
    for (kind, name) in pairs {
        infos.push(unread(&ctx.resource(kind).await?, namespace, name));
    }
    in_one_namespace(infos, options)
}

/// Refuses names of objects that may be in any namespace.
fn in_one_namespace(infos: Vec<Info>, options: Options) -> Result<Selection, Fail> {
    if options.all_namespaces && infos.iter().any(|info| info.resource.namespaced) {
        return text("a resource cannot be retrieved by name across all namespaces");
    }
    Ok(Selection::Objects(infos, vec![]))
}

/// The resources of a word such as `pods,services` or `all`, each once.
async fn resources_of(ctx: &Ctx, word: &str) -> Result<Vec<Arc<Resource>>, Fail> {
    let mut resources: Vec<Arc<Resource>> = vec![];
    for word in word.split(',') {
        let category = ctx.discovery().await?.category(word);
        if category.is_empty() {
            resources.push(ctx.resource(word).await?);
        } else {
            resources.extend(category);
        }
    }
    let mut seen: Vec<Arc<Resource>> = vec![];
    resources.retain(|resource| {
        let fresh = !seen.contains(resource);
        seen.extend(fresh.then(|| resource.clone()));
        fresh
    });
    Ok(resources)
}

/// True if flags select the objects, so that arguments must not name them.
fn is_selected(ctx: &Ctx, options: Options) -> bool {
    let by_selector = !selector(ctx, "selector").is_empty() || !selector(ctx, "field-selector").is_empty();
    (by_selector && !options.other_selector) || (options.all_selects && ctx.flags.is("all"))
}

/// `deploy/web`
pub(crate) fn type_and_name(arg: &str) -> Result<(&str, &str), Fail> {
    let parts: Vec<&str> = arg.split('/').collect();
    match parts.as_slice() {
        [kind, name] if !kind.is_empty() && !name.is_empty() && !kind.contains(',') => Ok((kind, name)),
        [_, _] => text("arguments in resource/name form must have a single resource and name"),
        _ => text("arguments in resource/name form may not have more than one slash"),
    }
}

/// The objects that a verb with `--local` works on: those of the server, or with that flag those of
/// the files and nothing else.
pub(crate) async fn local_or_there(
    ctx: &Ctx,
    args: &[String],
    options: Options,
) -> Result<(Vec<Info>, Vec<Fail>), Fail> {
    let local = ctx.flags.is("local");
    if local && ctx.flags.text("dry-run") == "server" {
        return text("cannot specify --local and --dry-run=server - did you mean --dry-run=client?");
    }
    if local && !ctx.names_files() {
        return text(
            "you must specify resources by --filename when --local is set.\nExample resource specifications include:\n   '-f rsrc.yaml'\n   '--filename=rsrc.json'",
        );
    }
    match select(ctx, args, Options { local, latest: !local, ..options }).await? {
        Selection::Objects(infos, unread) if local => Ok((infos, unread)),
        selection => objects(ctx, selection).await,
    }
}

/// Fetches the named objects one by one and lists whole resources. Returns what was found, and the
/// failures.
pub(crate) async fn objects(ctx: &Ctx, selection: Selection) -> Result<(Vec<Info>, Vec<Fail>), Fail> {
    let (mut found, mut failures) = (vec![], vec![]);
    match selection {
        Selection::Objects(infos, unread) => {
            failures = unread;
            for mut info in infos {
                match info.fetch(ctx).await {
                    Ok(()) => found.push(info),
                    Err(fail @ (Fail::Api(_) | Fail::Text(_))) => failures.push(fail),
                    Err(other) => return Err(other),
                }
            }
        }
        Selection::Lists(listings) => {
            for listing in listings {
                match list(ctx, &listing).await {
                    Ok(infos) => found.extend(infos),
                    Err(fail @ Fail::Api(_)) => failures.push(fail),
                    Err(other) => return Err(other),
                }
            }
        }
    }
    Ok((found, failures))
}

/// A refused request about an object from a file: `error when creating "x.yaml": …`. kubectl prints
/// these words of a refusal as `Invalid` only beside other failures; alone it is printed with its
/// causes.
pub(crate) fn about(fail: Fail, doing: &str, source: &str) -> Fail {
    match fail {
        Fail::Api(refusal) if !source.is_empty() => {
            Fail::Api(refusal.prefixed(&format!("error when {doing} {}: ", quote(source))))
        }
        Fail::Text(why) if !source.is_empty() => {
            Fail::Text(format!("error when {doing} {}: {why}", quote(source)))
        }
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::{Server, at, config_map};
    use serde_json::json;

    fn two() -> String {
        let text = |name, app| config_map(name, json!({"app": app})).to_string();
        format!("{}\n{}\n", text("web", "web"), text("db", "db"))
    }

    /// A server with both ConfigMaps, and a file with both.
    async fn both() -> (Server, tempfile::TempDir, String) {
        let (server, dir) = (Server::start().await, tempfile::tempdir().unwrap());
        for name in ["web", "db"] {
            server.hold(&at(name), config_map(name, json!({"app": name})));
        }
        let file = dir.path().join("both.yaml");
        std::fs::write(&file, two()).unwrap();
        (server, dir, file.display().to_string())
    }

    #[tokio::test]
    async fn a_selector_limits_what_files_name_for_every_verb() {
        for verb in ["delete", "apply", "create", "diff"] {
            let (server, _dir, file) = both().await;
            let result = server.kubectl(&[verb, "-f", &file, "-l", "app=web"]).await;
            let requests = server.requests();
            assert!(requests.iter().any(|a| a.path.contains("configmaps")), "{verb}: {result:?}");
            assert!(
                requests.iter().all(|a| !a.path.ends_with("/db") && a.body["metadata"]["name"] != "db"),
                "{verb}"
            );
        }
        let (server, _dir, file) = both().await;
        let result = server.kubectl(&["delete", "-f", &file, "-l", "app=web"]).await;
        assert_eq!(
            (result.code, result.out.as_str()),
            (0, "configmap \"web\" deleted from default namespace\n"),
            "{result:?}"
        );
        assert!(server.object(&at("web")).is_none() && server.object(&at("db")).is_some());
        let result = server.kubectl(&["delete", "-f", &file, "-l", "app==="]).await;
        assert!(
            result.code == 1 && result.err.contains("the provided selector \"app===\" is not valid"),
            "{result:?}"
        );
        assert!(server.object(&at("db")).is_some());
    }

    /// As with kubectl: the readable documents are worked on, the unreadable one is reported, the
    /// exit code is 1.
    #[tokio::test]
    async fn one_unreadable_document_does_not_keep_the_others() {
        let (server, dir, file) = both().await;
        std::fs::write(dir.path().join("a.yaml"), "kind: [").unwrap();
        std::fs::write(dir.path().join("c.yaml"), "apiVersion: v1\nmetadata: {name: x}\n").unwrap();
        let yaml = std::path::Path::new(&file).with_file_name("both.json");
        std::fs::rename(&file, yaml).unwrap();
        let broken = dir.path().join("a.yaml");
        let result = server.kubectl(&["get", "-o", "yaml", "-f", broken.to_str().unwrap()]).await;
        assert_eq!((result.code, result.out.as_str()), (1, ""), "no list of nothing: {result:?}");
        let result = server.kubectl(&["delete", "-i", "-f", dir.path().to_str().unwrap()]).await;
        assert!(result.code == 1 && result.err.contains("a.yaml"), "told before the question: {result:?}");
        for verb in ["get", "delete"] {
            let result = server.kubectl(&[verb, "-o", "name", "-f", dir.path().to_str().unwrap()]).await;
            assert!(
                result.code == 1 && result.out.contains("web") && result.out.contains("db"),
                "{result:?}"
            );
            assert!(result.err.contains("a.yaml") && result.err.contains("c.yaml"), "{result:?}");
        }
        assert!(server.object(&at("web")).is_none() && server.object(&at("db")).is_none());
    }

    #[tokio::test]
    async fn verbs_that_read_the_server_select_by_its_labels() {
        let (server, _dir, file) = both().await;
        // Since the file was written the two have changed places.
        server.hold(&at("web"), config_map("web", json!({"app": "db"})));
        server.hold(&at("db"), config_map("db", json!({"app": "web"})));
        let result = server.kubectl(&["label", "-f", &file, "-l", "app=web", "tier=x"]).await;
        assert_eq!((result.code, result.out.as_str()), (0, "configmap/db labeled\n"), "{result:?}");
        assert!(server.object(&at("web")).unwrap()["metadata"]["labels"]["tier"].is_null());
        let result = server.kubectl(&["get", "-f", &file, "-l", "app=web", "-o", "name"]).await;
        assert_eq!(result.out, "configmap/db\n", "{result:?}");
    }

    #[tokio::test]
    async fn a_field_selector_beside_files_is_refused() {
        let (server, _dir, file) = both().await;
        let result = server.kubectl(&["delete", "-f", &file, "--field-selector", "metadata.name=web"]).await;
        assert!(result.code == 1 && result.err.contains("--field-selector cannot be used"), "{result:?}");
        assert!(server.object(&at("web")).is_some() && server.object(&at("db")).is_some());
    }

    #[tokio::test]
    async fn names_and_selectors_exclude_each_other() {
        let pairs = "selectors and the all flag cannot be used when passing resource/name arguments";
        let names = "name cannot be provided when a selector is specified";
        let no_type = "at least one resource must be specified to use a selector";
        for (line, why) in [
            (["delete", "cm", "web", "--all"], names),
            (["delete", "-lapp=web", "--now", "--wait=false"], no_type),
            (["delete", "cm/web", "cm/db", "--all"], pairs),
            (["delete", "cm", "web", "--selector=app=web"], names),
            (["delete", "cm", "web", "--field-selector=metadata.name=web"], names),
            (["get", "cm/web", "cm/db", "--selector=app=web"], pairs),
            (["apply", "view-last-applied", "cm/web", "--all"], pairs),
        ] {
            let (server, _dir, _file) = both().await;
            let result = server.kubectl(&line).await;
            assert_eq!((result.code, result.err), (1, format!("error: {why}\n")), "{line:?}");
            assert!(server.object(&at("web")).is_some() && server.object(&at("db")).is_some());
        }
        let (server, _dir, _file) = both().await;
        let result = server.kubectl(&["label", "cm", "web", "tier=x", "--all"]).await;
        assert_eq!((result.code, result.out.as_str()), (0, "configmap/web labeled\n"), "{result:?}");
    }
}
