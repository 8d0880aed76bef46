//! Manifests (`-f`, `-k`): files, folders, URLs and standard input, as objects with their resources
//! and namespaces.

use super::ctx::Ctx;
use super::error::{Fail, go_io, text};
use super::file_names::{self, EXTENSIONS};
use super::info::{Info, Options};
use super::manifest::{self, sorted};
use super::metadata;
use api::gostr::quote;
use api::labels::Selector;
use api::value;
use client::discovery::Resource;
use serde_json::Value;
use std::io::ErrorKind;
use std::sync::Arc;

/// Fields that each item of a list must have, with kubectl's words behind [`UNTYPED`] for an item
/// that lacks them.
const OF_ITEMS: [(&str, &str); 2] = [
    ("kind", "Object 'Kind' is missing in 'object has no kind field '"),
    ("apiVersion", "Object 'apiVersion' is missing in 'object has no apiVersion field'"),
];
const UNTYPED: &str = "unable to get type info from the object \"*unstructured.Unstructured\"";

/// A file's name and content, or its failure: the other files are read all the same.
struct Source {
    name: String,
    text: Result<Vec<u8>, Fail>,
}

/// Objects of manifests that match `--selector`, with resource and namespace found for each;
/// failures of single documents stand beside them.
pub(crate) async fn read(
    ctx: &Ctx,
    files: &[String],
    options: Options,
) -> Result<(Vec<Info>, Vec<Fail>), Fail> {
    let (mut infos, mut failures) = (vec![], vec![]);
    let selector = selector_of_files(ctx, options)?.filter(|_| !options.latest);
    for Source { name, text } in sources(ctx, files).await? {
        let documents = text.and_then(|text| {
            let parsed = manifest::documents_with_warnings(&text);
            parsed.map_err(|why| Fail::Text(format!("error parsing {name}: {why}")))
        });
        let (documents, warnings) = match documents {
            Ok(found) => found,
            Err(fail) => {
                failures.push(fail);
                continue;
            }
        };
        warnings.iter().for_each(|why| ctx.note(format!("Warning: {name}: {why}")));
        for document in documents.into_iter().map(sorted) {
            let outcome = match metadata::mistyped(&document, &name) {
                Some(fail) => Err(fail),
                None => flatten(ctx, document, &name, options, &mut infos).await,
            };
            match outcome {
                Ok(()) => {}
                Err(fail @ Fail::Text(_)) => failures.push(fail),
                Err(fail) if fail.message().starts_with(UNTYPED) => failures.push(fail),
                Err(other) => return Err(other),
            }
        }
    }
    if let Some(selector) = selector {
        infos.retain(|info| selector.matches(value::at(&info.object, "metadata.labels")));
    }
    Ok((infos, failures))
}

/// Returns the selector that limits the objects of files. kubectl ignores a field selector beside
/// files, and so would change objects that the user excluded; here it is refused.
fn selector_of_files(ctx: &Ctx, options: Options) -> Result<Option<Selector>, Fail> {
    if !ctx.flags.text("field-selector").is_empty() {
        return text(
            "--field-selector cannot be used with objects from files; name the files of the objects you mean, or use --selector",
        );
    }
    match ctx.flags.text("selector").trim() {
        "" => Ok(None),
        _ if options.other_selector => Ok(None),
        given => Selector::parse(given)
            .map(Some)
            .map_err(|why| Fail::Text(format!("the provided selector {} is not valid: {why}", quote(given)))),
    }
}

/// Drops the objects whose labels on the server do not match `--selector`. One that cannot be read
/// stays: the verb that works on it reports why.
pub(crate) async fn selected_there(ctx: &Ctx, infos: Vec<Info>, options: Options) -> Result<Vec<Info>, Fail> {
    let Some(selector) = selector_of_files(ctx, options)? else { return Ok(infos) };
    let mut kept = vec![];
    for info in infos {
        let mut there = info.clone();
        match there.fetch(ctx).await {
            Ok(()) if !selector.matches(value::at(&there.object, "metadata.labels")) => {}
            Ok(()) | Err(Fail::Api(_) | Fail::Text(_)) => kept.push(info),
            Err(other) => return Err(other),
        }
    }
    Ok(kept)
}

/// The objects of one document that was not read from a file.
pub(crate) async fn of_document(ctx: &Ctx, document: Value, source: &str) -> Result<Vec<Info>, Fail> {
    let mut infos = vec![];
    flatten(ctx, sorted(document), source, Options::default(), &mut infos).await?;
    Ok(infos)
}

async fn sources(ctx: &Ctx, files: &[String]) -> Result<Vec<Source>, Fail> {
    let mut found = vec![];
    let folder = ctx.flags.text("kustomize");
    if !folder.is_empty() {
        let mistakes = [
            (!files.is_empty(), "only one of -f or -k can be specified"),
            (ctx.flags.is("recursive"), "the -k flag can't be used with -f or -R"),
        ];
        let made = mistakes.into_iter().filter(|(is_made, _)| *is_made);
        Fail::join(made.map(|(_, why)| Fail::Text(why.into())).collect())?;
        let built = super::kustomize::build(ctx, folder).await?;
        found.push(Source { name: folder.into(), text: Ok(built.to_yaml().into_bytes()) });
    }
    // Files that are not there are reported before any file is read.
    Fail::join(super::beside::missing(ctx, files))?;
    for file in files {
        if file == "-" {
            let text = manifest::without_byte_order_mark(ctx.read_stdin().await?);
            found.push(Source { name: "STDIN".into(), text: Ok(text) });
        } else if file.starts_with("http://") || file.starts_with("https://") {
            let text = super::wire::url::read(file).await.map(|text| text.to_vec());
            found.push(Source { name: file.clone(), text });
        } else {
            for (path, name) in file_names::expand(ctx, file)? {
                let text = std::fs::read(&path).map_err(|e| match e.kind() {
                    ErrorKind::IsADirectory => format!("error parsing {name}: read {name}: {}", go_io(&e)),
                    _ => format!("open {name}: {}", go_io(&e)),
                });
                let text = text.map(manifest::without_byte_order_mark).map_err(Fail::Text);
                found.push(Source { name, text });
            }
            if found.is_empty() {
                // Mostly a folder of folders without -R. To do nothing without a word would look
                // like success.
                let known = EXTENSIONS.map(|extension| format!(".{extension}")).join(" ");
                return text(format!("error reading [{file}]: recognized file extensions are [{known}]"));
            }
        }
    }
    Ok(found)
}

/// Replaces a list by its items, and finds the resource and namespace of each object.
async fn flatten(
    ctx: &Ctx,
    document: Value,
    source: &str,
    options: Options,
    into: &mut Vec<Info>,
) -> Result<(), Fail> {
    let (api_version, kind) = (value::text(&document, "apiVersion"), value::text(&document, "kind"));
    let invalid = |why: &str| {
        text(format!(
            "error validating {}: error validating data: {why}; if you choose to ignore these errors, turn validation off with --validate=false",
            quote(source)
        ))
    };
    let undecodable = |what: &str| {
        let content = super::print::json::compact(&document);
        text(format!("unable to decode {}: Object '{what}' is missing in '{content}'", quote(source)))
    };
    if !document.is_object() {
        if options.validated {
            return invalid("invalid object to validate");
        }
        let found = match &document {
            Value::Array(_) => "array",
            Value::String(_) => "string",
            Value::Number(_) => "number",
            _ => "bool",
        };
        return text(format!(
            "unable to decode {}: json: cannot unmarshal {found} into Go value of type unstructured.detector",
            quote(source)
        ));
    }
    if kind.is_empty() {
        return if options.validated { invalid("kind not set") } else { undecodable("Kind") };
    }
    // A kind of the core group is found without its version. An `apiVersion` that is no text is
    // refused, though.
    if api_version.is_empty() && (options.validated || !value::empty(&document, "apiVersion")) {
        return if options.validated { invalid("apiVersion not set") } else { undecodable("apiVersion") };
    }
    if kind.ends_with("List") && document.get("items").is_some_and(Value::is_array) {
        for item in value::list(&document, "items") {
            let mut item = item.clone();
            // Items of a typed list (`PodList`) need no kind of their own.
            let of = kind.trim_end_matches("List");
            if item.is_object()
                && !of.is_empty()
                && ["kind", "apiVersion"].iter().all(|f| value::empty(&item, f))
            {
                value::put(&mut item, "kind", of);
                value::put(&mut item, "apiVersion", api_version);
            }
            let lacks = |field: &str| value::empty(&item, field) && (item.is_object() || item.is_null());
            let missing = OF_ITEMS.into_iter().find(|(field, _)| lacks(field));
            if let Some((_, why)) = missing.filter(|_| !options.validated) {
                return Err(Fail::Plain(format!("{UNTYPED}: {why}")));
            }
            Box::pin(flatten(ctx, item, source, options, into)).await?;
        }
        return Ok(());
    }
    into.push(info_of(ctx, document, source, options).await?);
    Ok(())
}

/// Finds the resource and the namespace of a document that has a kind.
async fn info_of(ctx: &Ctx, mut document: Value, source: &str, options: Options) -> Result<Info, Fail> {
    let (api_version, kind) = (value::text(&document, "apiVersion"), value::text(&document, "kind"));
    let name = value::text(&document, "metadata.name").to_string();
    let (default, enforced) = ctx.namespace()?;
    if options.local {
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        let (group, version, plural) = (group.into(), version.into(), kind.to_lowercase());
        let resource = Resource { kind: kind.into(), group, version, plural, ..Resource::default() };
        let namespace = value::text(&document, "metadata.namespace").to_string();
        let (resource, source) = (Arc::new(resource), source.to_string());
        return Ok(Info { resource, namespace, name, object: document, source });
    }
    let of_version = if api_version.is_empty() { "v1" } else { api_version };
    let resource = match ctx.discovery().await?.of_kind(of_version, kind) {
        Some(resource) => resource,
        None => {
            let namespace = value::text(&document, "metadata.namespace");
            return text(format!(
                "resource mapping not found for name: {} namespace: {} from {}: no matches for kind {} in version {}\nensure CRDs are installed first",
                quote(&name),
                quote(namespace),
                quote(source),
                quote(kind),
                quote(api_version)
            ));
        }
    };
    let mut namespace = value::text(&document, "metadata.namespace").to_string();
    if !resource.namespaced {
        // `FilterNamespace` of kubectl's builder
        namespace = String::new();
        value::remove(&mut document, "metadata.namespace");
    } else if namespace.is_empty() {
        namespace = default;
        value::put(&mut document, "metadata.namespace", namespace.as_str());
    } else if enforced && namespace != default {
        return text(format!(
            "the namespace from the provided object {0} does not match the namespace {1}. You must pass '--namespace={namespace}' to perform this operation.",
            quote(&namespace),
            quote(&default)
        ));
    }
    Ok(Info { resource, namespace, name, object: document, source: source.to_string() })
}

#[cfg(test)]
mod tests {
    use crate::Env;
    use crate::testing::{Server, at, config_map};
    use serde_json::json;

    /// `create` and `apply` need the version of a kind; `get` and `delete` do not.
    #[tokio::test]
    async fn a_kind_of_the_core_group_is_found_without_its_version() {
        let server = Server::start().await;
        server.hold(&at("a"), config_map("a", json!({})));
        let get = ["get", "-o", "name", "-f", "-"];
        let result = server.kubectl_in(&get, "{kind: ConfigMap, metadata: {name: a}}", Env::default()).await;
        assert_eq!((result.code, result.out.as_str()), (0, "configmap/a\n"), "{result:?}");
        for (text, want) in [
            ("{kind: Deployment, metadata: {name: a}}", "no matches for kind \"Deployment\" in version \"\""),
            ("{kind: ConfigMap, apiVersion: 1}", "Object 'apiVersion' is missing in '{"),
            (
                "{kind: ConfigMapList, apiVersion: v1, items: [{kind: ConfigMap, metadata: {name: a}}]}",
                "Object 'apiVersion' is missing in 'object has no apiVersion field'",
            ),
            (
                "{kind: List, apiVersion: v1, items: [{metadata: {name: a}}]}",
                "Object 'Kind' is missing in 'object",
            ),
        ] {
            let result = server.kubectl_in(&get, text, Env::default()).await;
            assert!(result.code == 1 && result.err.contains(want), "{text}: {result:?}");
        }
        let text = "{kind: ConfigMap, metadata: {name: b}}";
        let result = server.kubectl_in(&["create", "-f", "-"], text, Env::default()).await;
        assert!(result.code == 1 && result.err.contains("apiVersion not set"), "{result:?}");
    }

    /// `-R` was forgotten, mostly.
    #[tokio::test]
    async fn a_folder_without_manifests_is_refused_by_every_verb() {
        let (server, dir) = (Server::start().await, tempfile::tempdir().unwrap());
        std::fs::create_dir(dir.path().join("sub")).unwrap();
        std::fs::write(dir.path().join("sub/a.yaml"), config_map("a", json!({})).to_string()).unwrap();
        server.hold(&at("a"), config_map("a", json!({})));
        let folder = dir.path().display().to_string();
        let want = format!("error reading [{folder}]: recognized file extensions are [.json .yaml .yml]\n");
        for verb in [
            "diff",
            "replace",
            "delete",
            "apply",
            "create",
            "get",
            "auth reconcile",
            "apply set-last-applied",
        ] {
            let words: Vec<&str> = verb.split(' ').chain(["-f", &folder]).collect();
            let result = server.kubectl(&words).await;
            assert!(result.code != 0 && result.err.ends_with(&want), "{verb}: {result:?}");
        }
        let result = server.kubectl(&["get", "-R", "-o", "name", "-f", &folder]).await;
        assert_eq!((result.code, result.out.as_str()), (0, "configmap/a\n"), "{result:?}");
        // Beside something to read it is no fault, as with kubectl.
        let file = format!("{folder}/sub/a.yaml");
        let result = server.kubectl(&["get", "-o", "name", "-f", &file, "-f", &folder]).await;
        assert_eq!((result.code, result.out.as_str()), (0, "configmap/a\n"), "{result:?}");
    }

    /// Upstream's kubectl prints no warning here.
    #[tokio::test]
    async fn a_duplicate_key_is_a_warning() {
        let server = Server::start().await;
        let head = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a, namespace: default}\n";
        let text = format!("{head}data: {{a: b}}\ndata: {{c: d}}\n");
        let result = server.kubectl_in(&["create", "-f", "-"], &text, Env::default()).await;
        assert_eq!((result.code, result.out.as_str()), (0, "configmap/a created\n"), "{result:?}");
        let why = "line 5: duplicate key \"data\": only its last value is used";
        assert_eq!(result.err, format!("Warning: STDIN: {why}\n"));
        assert_eq!(server.object(&at("a")).unwrap()["data"], json!({"c": "d"}));
    }

    /// PowerShell's `>` writes UTF-16.
    #[tokio::test]
    async fn a_file_in_utf_16_is_read() {
        let (server, dir) = (Server::start().await, tempfile::tempdir().unwrap());
        let text = format!("\u{feff}{}", config_map("a", json!({"k": "v"})));
        let bytes: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
        let file = dir.path().join("a.yaml").display().to_string();
        std::fs::write(&file, bytes).unwrap();
        let result = server.kubectl(&["create", "-f", &file]).await;
        assert_eq!((result.code, result.out.as_str()), (0, "configmap/a created\n"), "{result:?}");
    }

    #[tokio::test]
    async fn a_pattern_names_the_files_that_match() {
        let (server, dir) = (Server::start().await, tempfile::tempdir().unwrap());
        for name in ["a", "b"] {
            std::fs::write(dir.path().join(format!("{name}.json")), config_map(name, json!({})).to_string())
                .unwrap();
        }
        std::fs::write(dir.path().join("c.txt"), "no manifest").unwrap();
        let env = || Env { cwd: dir.path().into(), ..Env::default() };
        let result = server.kubectl_in(&["create", "-f", "*.json"], "", env()).await;
        assert_eq!(
            (result.code, result.out.as_str()),
            (0, "configmap/a created\nconfigmap/b created\n"),
            "{result:?}"
        );
        for (pattern, why) in [
            ("*.yaml", "the path \"*.yaml\" does not exist"),
            ("[", "pattern \"[\" is not valid: syntax error in pattern"),
        ] {
            let result = server.kubectl_in(&["create", "-f", pattern], "", env()).await;
            assert_eq!((result.code, result.err), (1, format!("error: {why}\n")));
        }
    }

    #[tokio::test]
    async fn standard_input_is_read_for_one_thing_only() {
        let server = Server::start().await;
        let text = config_map("a", json!({})).to_string();
        let result = server.kubectl_in(&["apply", "-f", "-", "-f", "-"], &text, Env::default()).await;
        let want = "error: standard input cannot be used for multiple arguments\n";
        assert_eq!((result.code, result.err.as_str()), (1, want), "{result:?}");
        assert!(server.object(&at("a")).is_none());
    }

    #[tokio::test]
    async fn a_kustomization_is_not_read_recursively() {
        let server = Server::start().await;
        let result = server.kubectl(&["get", "-R", "-k", "/nowhere"]).await;
        assert_eq!(
            (result.code, result.err.as_str()),
            (1, "error: the -k flag can't be used with -f or -R\n")
        );
        let result = server.kubectl(&["get", "-R", "-k", "/nowhere", "-f", "/nothing"]).await;
        for why in ["only one of -f or -k can be specified\n", "the -k flag can't be used with -f or -R\n"] {
            assert!(result.code == 1 && result.err.contains(why), "{result:?}");
        }
    }
}
