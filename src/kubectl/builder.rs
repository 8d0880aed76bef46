//! What a command speaks of: `TYPE NAME`, `TYPE/NAME`, `-l`, `--all`, `-f FILE`, as objects to visit.

use super::ctx::Ctx;
use super::error::{Fail, Refusal, go_io, text};
use super::gostr::quote;
use super::manifest;
use super::wire::discovery::Resource;
use super::wire::paths;
use crate::api::value;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::sync::Arc;

const NOTHING: &str = "You must provide one or more resources by argument or filename.\nExample resource specifications include:\n   '-f rsrc.yaml'\n   '--filename=rsrc.json'\n   '<resource> <name>'\n   '<resource>'";

/// One object that a command is about.
#[derive(Clone, Debug)]
pub struct Info {
    pub resource: Arc<Resource>,
    /// Empty for cluster-scoped objects.
    pub namespace: String,
    pub name: String,
    /// As read from the file or the server; null before it was fetched.
    pub object: Value,
    /// The file it came from; empty if it was named.
    pub source: String,
}

impl Info {
    pub fn path(&self) -> String {
        paths::object(&self.resource, &self.namespace, &self.name)
    }

    pub fn collection(&self) -> String {
        paths::collection(&self.resource, &self.namespace)
    }

    /// `deployment.apps/web`
    pub fn named(&self) -> String {
        format!("{}/{}", self.resource.kind_group(), self.name)
    }

    /// `deployments.apps/web`, as errors and waits name it.
    pub fn plural_named(&self) -> String {
        format!("{}/{}", self.resource.qualified(), self.name)
    }

    /// Reads the object again.
    pub async fn fetch(&mut self, ctx: &Ctx) -> Result<(), Fail> {
        self.object = ctx.api().await?.get(&self.path(), &[]).await?;
        Ok(())
    }
}

/// One resource, to list.
#[derive(Clone, Debug)]
pub struct Listing {
    pub resource: Arc<Resource>,
    /// Empty: all namespaces.
    pub namespace: String,
}

/// What was asked for, before any object is fetched.
#[derive(Clone, Debug)]
pub enum Asked {
    /// Objects by name or from files.
    Objects(Vec<Info>),
    /// Whole resources.
    Lists(Vec<Listing>),
}

/// How a verb reads its arguments.
#[derive(Clone, Copy, Default)]
pub struct Options {
    /// A type alone means all of its objects.
    pub all_by_type: bool,
    /// `--all-namespaces` was given.
    pub all_namespaces: bool,
    /// Files need not be sent to a server, nor their kinds be known there.
    pub local: bool,
    /// Files are validated before they are decoded.
    pub validated: bool,
}

/// Reads files (`-f`), or arguments.
pub async fn ask(ctx: &Ctx, args: &[String], options: Options) -> Result<Asked, Fail> {
    let files = ctx.flags.list("filename");
    if !files.is_empty() || !ctx.flags.text("kustomize").is_empty() {
        if !args.is_empty() {
            return text(
                "when paths, URLs, or stdin is provided as input, you may not specify resource arguments as well",
            );
        }
        let (infos, failures) = from_files(ctx, &files, options).await?;
        Fail::join(failures)?;
        return Ok(Asked::Objects(infos));
    }
    if args.is_empty() {
        return text(NOTHING);
    }
    by_arguments(ctx, args, options).await
}

/// `pods, svc` typed with a space is `pods,svc`.
fn joined(args: &[String]) -> Vec<String> {
    let Some(first) = args.first() else { return vec![] };
    let mut out = vec![first.clone()];
    for arg in &args[1..] {
        if out.len() == 1 && (out[0].ends_with(',') || arg.starts_with(',')) {
            out[0].push_str(arg);
        } else {
            out.push(arg.clone());
        }
    }
    out
}

async fn by_arguments(ctx: &Ctx, args: &[String], options: Options) -> Result<Asked, Fail> {
    let args = joined(args);
    let (namespace, _) = ctx.namespace()?;
    let slashes = args.iter().filter(|a| a.contains('/')).count();
    if slashes > 0 && slashes != args.len() {
        return text(
            "there is no need to specify a resource type as a separate argument when passing arguments in resource/name form (e.g. 'kubectl get resource/<resource_name>' instead of 'kubectl get resource resource/<resource_name>'",
        );
    }
    let at = |resource: &Arc<Resource>, name: &str| Info {
        namespace: if resource.namespaced { namespace.clone() } else { String::new() },
        resource: resource.clone(),
        name: name.to_string(),
        object: Value::Null,
        source: String::new(),
    };
    if slashes > 0 {
        let mut pairs = vec![];
        for arg in &args {
            pairs.push(type_and_name(arg)?);
        }
        if let Some(mistake) = unselectable(ctx) {
            return text(mistake);
        }
        let mut infos = vec![];
        for (kind, name) in pairs {
            infos.push(at(&ctx.resource(kind).await?, name));
        }
        if options.all_namespaces {
            return text("a resource cannot be retrieved by name across all namespaces");
        }
        return Ok(Asked::Objects(infos));
    }
    let mut resources: Vec<Arc<Resource>> = vec![];
    for word in args[0].split(',').filter(|w| !w.is_empty()) {
        let category = ctx.discovery().await?.category(word);
        if category.is_empty() {
            resources.push(ctx.resource(word).await?);
        } else {
            resources.extend(category);
        }
    }
    let names = &args[1..];
    if !names.is_empty() {
        if let Some(mistake) = unselectable(ctx) {
            return text(mistake);
        }
        if options.all_namespaces {
            return text("a resource cannot be retrieved by name across all namespaces");
        }
        let mut infos: Vec<Info> = vec![];
        for resource in &resources {
            for (i, name) in names.iter().enumerate() {
                if !names[..i].contains(name) {
                    infos.push(at(resource, name));
                }
            }
        }
        return Ok(Asked::Objects(infos));
    }
    if ctx.flags.is("all")
        && (!ctx.flags.text("selector").is_empty() || !ctx.flags.text("field-selector").is_empty())
    {
        return text("setting 'all' parameter but found a non empty selector. ");
    }
    let selected =
        ctx.flags.changed("selector") || ctx.flags.changed("field-selector") || ctx.flags.is("all");
    if !options.all_by_type && !selected {
        return text("resource(s) were provided, but no name was specified");
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
    Ok(Asked::Lists(listings))
}

fn unselectable(ctx: &Ctx) -> Option<&'static str> {
    if !ctx.flags.text("selector").is_empty() {
        return Some("name cannot be provided when a selector is specified");
    }
    if !ctx.flags.text("field-selector").is_empty() {
        return Some("name cannot be provided when a field selector is specified");
    }
    None
}

/// `deploy/web`
pub fn type_and_name(arg: &str) -> Result<(&str, &str), Fail> {
    let parts: Vec<&str> = arg.split('/').collect();
    match parts.as_slice() {
        [kind, name] if !kind.is_empty() && !name.is_empty() && !kind.contains(',') => Ok((kind, name)),
        [_, _] => text("arguments in resource/name form must have a single resource and name"),
        _ => text("arguments in resource/name form may not have more than one slash"),
    }
}

/// All objects: those asked for by name fetched one by one, lists listed. Failures are collected beside what was found.
pub async fn objects(ctx: &Ctx, asked: Asked) -> Result<(Vec<Info>, Vec<Fail>), Fail> {
    let (mut found, mut failures) = (vec![], vec![]);
    match asked {
        Asked::Objects(infos) => {
            for mut info in infos {
                match info.fetch(ctx).await {
                    Ok(()) => found.push(info),
                    Err(fail @ Fail::Api(_)) => failures.push(fail),
                    Err(other) => return Err(other),
                }
            }
        }
        Asked::Lists(listings) => {
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

/// All objects of a listing that match the selectors.
pub async fn list(ctx: &Ctx, listing: &Listing) -> Result<Vec<Info>, Fail> {
    let path = paths::collection(&listing.resource, &listing.namespace);
    let mut query = vec![("limit", "500")];
    query.extend(selectors(ctx));
    let list =
        all_pages(ctx, &path, &query).await.map_err(|fail| unlistable(ctx, &listing.resource, fail))?;
    let (api_version, kind) = (listing.resource.api_version(), listing.resource.kind.clone());
    let items = match list {
        Value::Array(items) => items,
        _ => vec![],
    };
    let info = |mut object: Value| {
        value::put(&mut object, "apiVersion", api_version.as_str());
        value::put(&mut object, "kind", kind.as_str());
        Info {
            resource: listing.resource.clone(),
            namespace: value::text(&object, "metadata.namespace").into(),
            name: value::text(&object, "metadata.name").into(),
            object,
            source: String::new(),
        }
    };
    Ok(items.into_iter().map(info).collect())
}

/// The items of all pages.
async fn all_pages(ctx: &Ctx, path: &str, query: &[(&str, &str)]) -> Result<Value, Fail> {
    let mut items: Vec<Value> = vec![];
    let mut token = String::new();
    loop {
        let mut query = query.to_vec();
        if !token.is_empty() {
            query.push(("continue", token.as_str()));
        }
        let mut page = ctx.api().await?.get(path, &query).await?;
        if let Some(Value::Array(more)) = page.get_mut("items") {
            items.append(more);
        }
        token = value::text(&page, "metadata.continue").to_string();
        if token.is_empty() {
            return Ok(Value::Array(items));
        }
    }
}

/// kubectl's words for a list that was refused.
pub fn unlistable(ctx: &Ctx, resource: &Resource, fail: Fail) -> Fail {
    let gvr = match resource.group.as_str() {
        "" => format!("/{}, Resource={}", resource.version, resource.plural),
        group => format!("{group}/{}, Resource={}", resource.version, resource.plural),
    };
    match fail {
        Fail::Api(refusal) if refusal.code == 400 || refusal.code == 404 => {
            let (label, field) = (ctx.flags.text("selector"), ctx.flags.text("field-selector"));
            let prefix = if label.is_empty() && field.is_empty() {
                format!("Unable to list {}: ", quote(&gvr))
            } else {
                format!(
                    "Unable to find {} that match label selector {}, field selector {}: ",
                    quote(&gvr),
                    quote(label),
                    quote(field)
                )
            };
            Fail::Api(refusal.prefixed(&prefix))
        }
        other => other,
    }
}

/// `labelSelector` and `fieldSelector` as the flags say.
pub fn selectors(ctx: &Ctx) -> Vec<(&str, &str)> {
    let mut found = vec![];
    for (flag, key) in [("selector", "labelSelector"), ("field-selector", "fieldSelector")] {
        let text = ctx.flags.text(flag);
        if !text.is_empty() {
            found.push((key, text));
        }
    }
    found
}

/// A file's name and content.
struct Source {
    name: String,
    text: Vec<u8>,
}

/// Objects of manifests, with resource and namespace found for each; what could not be read stands beside them.
pub async fn from_files(
    ctx: &Ctx,
    files: &[String],
    options: Options,
) -> Result<(Vec<Info>, Vec<Fail>), Fail> {
    let (mut infos, mut failures) = (vec![], vec![]);
    for source in sources(ctx, files).await? {
        let documents = match manifest::documents(&source.text) {
            Ok(documents) => documents,
            Err(why) => {
                failures.push(Fail::Text(format!("error parsing {}: {why}", source.name)));
                continue;
            }
        };
        for document in documents {
            match flatten(ctx, sorted(document), &source.name, options, &mut infos).await {
                Ok(()) => {}
                Err(fail @ Fail::Text(_)) => failures.push(fail),
                Err(other) => return Err(other),
            }
        }
    }
    Ok((infos, failures))
}

/// Keys in alphabetical order, as a Go map is encoded.
pub fn sorted(value: Value) -> Value {
    match value {
        Value::Object(map) => {
            let mut pairs: Vec<(String, Value)> = map.into_iter().collect();
            pairs.sort_by(|a, b| a.0.cmp(&b.0));
            Value::Object(pairs.into_iter().map(|(k, v)| (k, sorted(v))).collect())
        }
        Value::Array(list) => Value::Array(list.into_iter().map(sorted).collect()),
        other => other,
    }
}

async fn sources(ctx: &Ctx, files: &[String]) -> Result<Vec<Source>, Fail> {
    let mut found = vec![];
    let folder = ctx.flags.text("kustomize");
    if !folder.is_empty() {
        if !files.is_empty() {
            return text("only one of -f or -k can be specified");
        }
        let built = super::kustomize::build(&ctx.path(folder), folder).await?;
        built.warnings.iter().for_each(|warning| ctx.note(warning));
        found.push(Source { name: folder.into(), text: built.to_yaml().into_bytes() });
    }
    for file in files {
        if file == "-" {
            found.push(Source { name: "STDIN".into(), text: ctx.read_stdin().await? });
        } else if file.starts_with("http://") || file.starts_with("https://") {
            found.push(Source { name: file.clone(), text: super::wire::url::read(file).await?.to_vec() });
        } else {
            let path = ctx.path(file);
            if !path.exists() {
                return text(format!("the path {} does not exist", quote(file)));
            }
            let mut names: Vec<(PathBuf, String)> = vec![];
            walk(&path, Path::new(file), ctx.flags.is("recursive"), &mut names)?;
            for (path, name) in names {
                let text =
                    std::fs::read(&path).map_err(|e| Fail::Text(format!("open {name}: {}", go_io(&e))))?;
                found.push(Source { name, text });
            }
        }
    }
    Ok(found)
}

fn walk(path: &Path, shown: &Path, deep: bool, found: &mut Vec<(PathBuf, String)>) -> Result<(), Fail> {
    if !path.is_dir() {
        found.push((path.into(), shown.display().to_string()));
        return Ok(());
    }
    let mut entries: Vec<_> = std::fs::read_dir(path)?.flatten().map(|e| e.file_name()).collect();
    entries.sort();
    for entry in entries {
        let (path, shown) = (path.join(&entry), shown.join(&entry));
        if path.is_dir() {
            if deep {
                walk(&path, &shown, deep, found)?;
            }
        } else if matches!(path.extension().and_then(|e| e.to_str()), Some("json" | "yaml" | "yml")) {
            found.push((path, shown.display().to_string()));
        }
    }
    Ok(())
}

/// Lists become their items.
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
        let shown = super::print::json::compact(&document);
        text(format!("unable to decode {}: Object '{what}' is missing in '{shown}'", quote(source)))
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
    if api_version.is_empty() {
        return if options.validated { invalid("apiVersion not set") } else { undecodable("apiVersion") };
    }
    if kind.ends_with("List") && document.get("items").is_some_and(Value::is_array) {
        for item in value::list(&document, "items") {
            Box::pin(flatten(ctx, item.clone(), source, options, into)).await?;
        }
        return Ok(());
    }
    let name = value::text(&document, "metadata.name").to_string();
    let (default, enforced) = ctx.namespace()?;
    if options.local {
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        let (group, version, plural) = (group.into(), version.into(), kind.to_lowercase());
        let resource = Resource { kind: kind.into(), group, version, plural, ..Resource::default() };
        let namespace = value::text(&document, "metadata.namespace").to_string();
        let (resource, source) = (Arc::new(resource), source.to_string());
        into.push(Info { resource, namespace, name, object: document, source });
        return Ok(());
    }
    let resource = match ctx.discovery().await?.of_kind(api_version, kind) {
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
    let mut document = document;
    let mut namespace = value::text(&document, "metadata.namespace").to_string();
    if !resource.namespaced {
        namespace = String::new();
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
    into.push(Info { resource, namespace, name, object: document, source: source.to_string() });
    Ok(())
}

/// A refused request about an object from a file: `error when creating "x.yaml": …`.
pub fn about(fail: Fail, doing: &str, source: &str) -> Fail {
    match fail {
        Fail::Api(refusal) if refusal.reason != "Invalid" && !source.is_empty() => {
            Fail::Api(refusal.prefixed(&format!("error when {doing} {}: ", quote(source))))
        }
        other => other,
    }
}

/// `pods "x" not found`, made up where no request was made.
pub fn not_found(info: &Info) -> Fail {
    let message = format!("{} {} not found", info.resource.qualified(), quote(&info.name));
    Fail::Api(Refusal { code: 404, reason: "NotFound".into(), message, details: Value::Null })
}
