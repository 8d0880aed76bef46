//! What a command speaks of: `TYPE NAME`, `TYPE/NAME`, `-l`, `--all`, `-f FILE`, as objects to visit.

use super::ctx::Ctx;
use super::error::{Fail, text};
use super::files;
use super::gostr::quote;
use super::wire::discovery::Resource;
use super::wire::paths;
use crate::api::value;
use serde_json::Value;
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
        match ctx.api().await?.get(&self.path(), &[]).await {
            Ok(object) => self.object = object,
            Err(fail) => return Err(self.lost(ctx, fail).await),
        }
        Ok(())
    }

    /// An object that is not there: perhaps its namespace is not there either, which then is what there is to tell.
    pub async fn lost(&self, ctx: &Ctx, fail: Fail) -> Fail {
        if !fail.is_not_found() || matches!(self.namespace.as_str(), "" | "default") {
            return fail;
        }
        let Ok(api) = ctx.api().await else { return fail };
        match api.get(&format!("/api/v1/namespaces/{}", paths::segment(&self.namespace)), &[]).await {
            Err(nowhere) if nowhere.is_not_found() => nowhere,
            _ => fail,
        }
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
    /// `--selector` of this verb says something else than which objects are meant.
    pub other_selector: bool,
}

/// Reads files (`-f`), or arguments.
pub async fn ask(ctx: &Ctx, args: &[String], options: Options) -> Result<Asked, Fail> {
    let named = ctx.flags.list("filename");
    if !named.is_empty() || !ctx.flags.text("kustomize").is_empty() {
        if !args.is_empty() {
            return text(
                "when paths, URLs, or stdin is provided as input, you may not specify resource arguments as well",
            );
        }
        let (infos, failures) = files::read(ctx, &named, options).await?;
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
        if let Some(mistake) = unselectable(ctx).filter(|_| !options.other_selector) {
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
    for word in args[0].split(',') {
        let category = ctx.discovery().await?.category(word);
        if category.is_empty() {
            resources.push(ctx.resource(word).await?);
        } else {
            resources.extend(category);
        }
    }
    let names = &args[1..];
    if !names.is_empty() {
        if let Some(mistake) = unselectable(ctx).filter(|_| !options.other_selector) {
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
                    Err(fail @ (Fail::Api(_) | Fail::Text(_))) => failures.push(fail),
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
    let mut list =
        whole(ctx, &path, &selectors(ctx)).await.map_err(|fail| unlistable(ctx, &listing.resource, fail))?;
    let (api_version, kind) = (listing.resource.api_version(), listing.resource.kind.clone());
    let items = taken(&mut list);
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

/// The items of a list, which has none from then on.
fn taken(list: &mut Value) -> Vec<Value> {
    match list.get_mut("items").map(Value::take) {
        Some(Value::Array(items)) => items,
        _ => vec![],
    }
}

/// So many objects are asked for at a time.
const PAGE: &str = "500";

/// A list with the items of all its pages.
pub async fn whole(ctx: &Ctx, path: &str, query: &[(&str, &str)]) -> Result<Value, Fail> {
    let api = ctx.api().await?;
    let page = |token: String| async move {
        let mut query = query.to_vec();
        query.push(("limit", PAGE));
        if !token.is_empty() {
            query.push(("continue", token.as_str()));
        }
        api.get(path, &query).await
    };
    let mut list = page(String::new()).await?;
    loop {
        let token = value::text(&list, "metadata.continue").to_string();
        if token.is_empty() {
            return Ok(list);
        }
        let mut next = match page(token).await {
            Ok(next) => next,
            // The server no longer knows where it was: then everything at once, as client-go does.
            Err(fail) if fail.code() == Some(410) => return api.get(path, query).await,
            Err(fail) => return Err(fail),
        };
        let mut items = taken(&mut list);
        items.append(&mut taken(&mut next));
        value::put(&mut next, "items", items);
        list = next;
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

/// A refused request about an object from a file: `error when creating "x.yaml": …`.
pub fn about(fail: Fail, doing: &str, source: &str) -> Fail {
    match fail {
        Fail::Api(refusal) if refusal.reason != "Invalid" && !source.is_empty() => {
            Fail::Api(refusal.prefixed(&format!("error when {doing} {}: ", quote(source))))
        }
        Fail::Text(why) if !source.is_empty() => {
            Fail::Text(format!("error when {doing} {}: {why}", quote(source)))
        }
        other => other,
    }
}
